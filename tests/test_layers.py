"""Imports point down only, as docs/design.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import framestream
import framestream.testing

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "framestream"

# What the decoder may not know: event loops, sockets, plugins, the shell.
OUTSIDE = {"asyncio", "socket", "ssl", "select", "threading", "pluggy", "msgpack", "click", "rich"}


def statements(body: list[ast.stmt], *, lazy: bool) -> Iterator[ast.stmt]:
    """Yield every statement that runs; those inside functions only if `lazy`; none for type checkers."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if lazy or not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "handlers", "orelse", "finalbody"):
                yield from statements(getattr(statement, field, []), lazy=lazy)


def imports(path: Path, *, lazy: bool = False) -> set[str]:
    """Return the modules a file imports; of this package without ``framestream.``."""
    found: set[str] = set()
    for statement in statements(ast.parse(path.read_text()).body, lazy=lazy):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: imports are absolute"
            names = {f"framestream.{alias.name}" for alias in statement.names}
            module = statement.module or ""
            found |= names if module == "framestream" else {module}
    return {name.removeprefix("framestream.") for name in found}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def everything_below(name: str) -> set[str]:
    """Return all that is imported when a module is, this package's modules and others."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imports(MODULES[name]) if name in MODULES else []
    return seen


def test_no_module_imports_itself_in_a_roundabout_way() -> None:
    graph = {name: imports(path, lazy=True) & set(MODULES) for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", ["decoding._decoder", "iterate", "framer", "decoding._buffer"])
def test_the_decoder_knows_no_event_loop_no_plugin_and_no_framer(name: str) -> None:
    below = everything_below(name)
    assert below & OUTSIDE == set()
    assert {module for module in below if module.startswith(("framers", "registry", "cli"))} == set()


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("framers.")))
def test_built_in_framers_use_the_contract_and_nothing_else(name: str) -> None:
    ours = imports(MODULES[name], lazy=True) & set(MODULES)
    allowed = {"framer", "errors", "checks"}
    assert {module for module in ours if not module.startswith("framers.")} <= allowed


def test_streams_import_neither_pluggy_nor_the_command_line() -> None:
    below = everything_below("net")
    assert below & {"pluggy", "click", "rich", "registry._registry"} == set()


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    users = {
        name for name, path in MODULES.items() if any(m.startswith("cli") for m in imports(path, lazy=True))
    }
    assert {name for name in users if not name.startswith("cli")} == {"__main__"}


PLUGIN_FILES = [p for p in sorted(ROOT.glob("plugins/*/*/**/*.py")) if "tests" not in p.parts]


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_only_public_names(path: Path) -> None:
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.ImportFrom) and statement.module == "framestream":
            assert {alias.name for alias in statement.names} <= set(framestream.__all__)
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            assert not module.startswith("framestream.") or module == "framestream.testing"
