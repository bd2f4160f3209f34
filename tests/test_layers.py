"""Imports point down only, as docs/design.md says, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import framestream

ROOT = Path(__file__).parents[1]
PACKAGE = Path(framestream.__file__).parent

# Each room, and the rooms it may import. A room is a module or a package here, with its `__init__`,
# since importing any module of a package runs that.
ROOMS = {
    "errors": "",
    "framer": "errors",
    "buffer": "errors",
    "decoder": "errors framer buffer",
    "iterate": "errors framer decoder",
    "framers": "errors framer",
    "_compression": "errors",
    "_events": "",
    "transport": "errors",
    "stream": "errors framer decoder iterate framers transport _events",
    "archives": "errors framer decoder iterate _compression",
    "net": "errors framer decoder iterate framers transport stream _events",
    "requests": "errors stream",
    "blocking": "errors framer decoder iterate transport stream net _events",
    "registry": "errors framer framers _events",
    "testing": "errors framer decoder iterate framers transport stream registry archives",
    "cli": "errors framer decoder iterate framers transport stream net blocking registry testing archives _compression",
    "__main__": "cli",
    "": "errors framer",  # framestream itself: the rest when it is asked for
}
# What is imported only once somebody gives a name or prints a condition, or a plugin has to be loaded in a worker.
WHEN_ASKED = {("framer", "registry"), ("iterate", "registry"), ("net", "registry")}

UNIX_ONLY = {"fcntl", "termios", "tty", "pty", "pwd", "grp", "resource"}


def statements(body: list[ast.stmt], *, lazy: bool) -> Iterator[ast.stmt]:
    """Yield every statement that runs; those inside functions only if `lazy`; none for type checkers."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if lazy or not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "handlers", "orelse", "finalbody"):
                yield from statements(getattr(statement, field, []), lazy=lazy)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path, *, lazy: bool = False) -> set[str]:
    """Return the modules a file imports; of this package without ``framestream.``."""
    found: set[str] = set()
    for statement in statements(parsed(path).body, lazy=lazy):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: imports are absolute"
            module = statement.module or ""
            names = {f"{module}.{alias.name}" for alias in statement.names}
            found |= {name if name.removeprefix("framestream.") in MODULES else module for name in names}
    return {name.removeprefix("framestream.") for name in found}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def rooms_of(name: str, *, lazy: bool) -> set[str]:
    """Return the other rooms that a module imports."""
    names = {"" if name == "framestream" else name for name in imports(MODULES[name], lazy=lazy)} & set(MODULES)
    return {other.partition(".")[0] for other in names} - {name.partition(".")[0]}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_the_rooms_below_its_own(name: str) -> None:
    room = name.partition(".")[0]
    below = set(ROOMS[room].split())
    if room == "cli":
        below.add("")  # it uses the public names, too
    assert rooms_of(name, lazy=False) <= below
    above = {other for one, other in WHEN_ASKED if one in (room, name)}
    assert rooms_of(name, lazy=True) <= below | above
    assert imports(MODULES[name]) & UNIX_ONLY == set()


def test_no_module_imports_itself_in_a_roundabout_way() -> None:
    graph = {name: imports(path) & set(MODULES) for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())


CORE = {"framestream", "framestream.errors", "framestream.framer"}


@pytest.mark.parametrize(("program", "rooms"), [
    ("import framestream", set()),
    ("import framestream; framestream.Line()", {"framers"}),
    ("import framestream; framestream.get_framer('line')", {"framers", "registry", "_events"}),
    (
        "import framestream; framestream.FrameDecoder().next_frame(framestream.Line())",
        {"framers", "buffer", "decoder"},
    ),
    ("import framestream.net", None),
    ("import framestream.testing; framestream.testing.check_framer", None),
])  # fmt: skip
def test_what_a_program_does_not_use_is_not_imported(program: str, rooms: set[str] | None) -> None:
    show = f"import sys, json; before = set(sys.modules)\n{program}\n"
    ran = subprocess.run(
        [sys.executable, "-c", f"{show}print(json.dumps(sorted(set(sys.modules) - before)))"],
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = set(json.loads(ran.stdout))
    costly = {"pluggy", "msgpack", "importlib.metadata", "click", "packaging", "pytest", "hypothesis"}
    assert loaded & costly == set()
    if rooms is not None:
        ours = {name for name in loaded if name.partition(".")[0] == "framestream"} - CORE
        assert {name.split(".")[1] for name in ours} <= rooms
        assert loaded & {"asyncio", "ssl", "socket", "select", "logging"} == set()


# What is public


PROMISED = """
    Exactly Available Delimiter Line FixedLength LengthPrefix Regex Msgpack UntilClose
    ReadCondition Framer Window Span NeedMore hookspec hookimpl
    FrameDecoder NEED_DATA END iter_frames aiter_frames IOStream connect serve
    get_framer available_framers plugins
    FramingError FrameTooLarge IncompleteFrame PayloadError
    StreamBusy StreamClosed FramerContractError PluginError
"""


SPACES = ("", ".archives", ".blocking", ".framers", ".net", ".requests", ".stream", ".testing", ".transport")

GENERATED = {
    name
    for page in (ROOT / "docs").glob("**/*.md")
    for name in re.findall(r"^::: framestream\.(\S+)$", page.read_text(), re.MULTILINE)
}
"""What the reference shows, generated from docstrings."""


@pytest.mark.parametrize("space", SPACES)
def test_every_public_name_is_there_and_in_the_reference(space: str) -> None:
    module = import_module(f"framestream{space}")
    public = set(module.__all__)
    assert [name for name in public if not hasattr(module, name)] == []
    assert public - {name.rpartition(".")[2] for name in GENERATED} == set()
    assert space or set(PROMISED.split()) <= public
    if space in ("", ".framers", ".testing"):
        assert sorted(public) == dir(module)
    with pytest.raises(AttributeError, match=f"'framestream{space}' has no attribute 'Lines'"):
        module.Lines  # noqa: B018


def test_the_reference_shows_no_module_in_place_of_a_function_of_that_name() -> None:
    for name in GENERATED & set(MODULES):
        parent, _, last = name.rpartition(".")
        assert last not in getattr(import_module(f"framestream.{parent}"), "__all__", ()), name


def test_the_picture_of_the_layers_has_each_of_them() -> None:
    drawn = re.findall(r">(\w+)</text>", (ROOT / "docs/pictures/layers.svg").read_text())
    small = {"", "__main__", "_compression", "_events"}
    assert set(ROOMS) - small == {name for name in drawn if name in ROOMS}


PLUGIN_FILES = [p for p in sorted(ROOT.glob("plugins/*/*/**/*.py")) if "tests" not in p.relative_to(ROOT).parts]


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_only_public_names(path: Path) -> None:
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == "framestream":
            place = import_module(statement.module or "")
            public = getattr(place, "__all__", [name for name in vars(place) if not name.startswith("_")])
            assert "._" not in place.__name__
            assert {alias.name for alias in statement.names} <= set(public)
