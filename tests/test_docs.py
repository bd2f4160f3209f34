"""Every code block of the documentation runs.

The blocks of a page run in order, in one namespace and one empty folder that has the repository's `examples`:

- ``python`` runs; what it prints is compared with the ``output`` block right below it, if there is one.
  Blocks written with ``>>>`` are compared line by line, as doctest does.
- ``python`` or ``toml`` whose first line is ``# NAME.py`` or ``# NAME.toml`` is written to that file as well,
  and a ``python`` one is not run but can be imported below.
- ``console`` runs each line behind ``$``; the lines below it are what it prints, where ``...`` stands for
  anything. A command that fails must say so: ``|| echo "exit status $?"``. What is one Python program runs in the copy
  of a process that has imported it: starting an interpreter for each costs seconds.
- ``sh`` changes the reader's machine (installing, cloning) and is not run; it may hold nothing else. A
  ``pyproject.toml`` written above counts as installed.
- ``text`` is a drawing, or a form to be filled in.

From ``<!-- needs MODULE -->`` on, a page is skipped where that module is not installed.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import tokenize
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_line import program_in

from framestream import available_framers, errors, plugins
from framestream.framers import BUILT_IN

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import gallery  # noqa: E402 - it lives beside the pages, in no package
import pictures  # noqa: E402
import refresh  # noqa: E402

FRAGMENTS = DOCS / "changes"
PAGES = sorted({*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")} - set(FRAGMENTS.glob("*.*.md")))
READMES = [ROOT / "benchmarks/README.md", ROOT / "plugins/README.md", *sorted(ROOT.glob("plugins/*/README.md"))]
KNOWN = {"python", "output", "console", "sh", "text", "toml"}
INSTALLS = re.compile(
    r"(python3 -m venv|((FRAMESTREAM_COMPILE=1|python -m) )?pip install|(sudo )?apt-get|git clone|uvx|cd) "
)
FENCED = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>.*)\n(?P<body>(?:.*\n)*?)(?P=indent)(?P=fence) *$", re.MULTILINE
)
FILE = re.compile(r"# (?:\S+/)?(\w+\.(?:py|toml))\n")
COMMAND = re.compile(r"((?:[^\n]*\\\n)*[^\n]*\n)(.*)", re.DOTALL)
PROGRAM = re.compile(
    r"""(?:(?P<before>cd\ \S+)\ &&\ (?:PYTHONPATH=\.\ )?|(?P<source>(?:printf|echo)\ [^|&]*)\|[\s\\]+)?
    (?:python\ -m\ |(?=framestream\ ))(?P<arguments>(?:[^|&>'"]|"[^"]*"|'[^']*')+)
    (?:\ \|\|\ echo\ "exit\ status\ \$\?")?""",
    re.VERBOSE,
)
NEEDS = re.compile(r"<!-- needs (\w+) -->")
KINDS = "added|changed|deprecated|removed|fixed|security"
AVOIDED = re.compile(
    r"\b(nobody|somebody|anybody|everybody|whoever|whom|in vain|of one's own"
    r"|(?<!there )(?:is|are) (?-i:none)\b(?! of)"
    r"|behind (?:it|them|that|this|each|the (?:end|first|frame|header|last|other)))\b",
    re.IGNORECASE,
)
CODE = sorted({*ROOT.glob("framestream/**/*.py"), *ROOT.glob("plugins/*/framestream_*/**/*.py")})
LINK = re.compile(r"\[[^]]*\]\(\S+\)[.,:]?")
IGNORE = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Block(NamedTuple):
    """One fenced block: where it stands, in which language, and what it says."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    assert "```" not in FENCED.sub("", text), f"{page}: block without an end"
    for found in FENCED.finditer(text):
        indent, language, body = found["indent"], found["language"], found["body"]
        line = text.count("\n", 0, found.start("body")) + 1
        yield Block(page, line, language.strip(), re.sub(f"^{indent}", "", body, flags=re.MULTILINE))


FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["hypothesis", "pytest", "command_line", "framestream.cli.cut", "framestream.cli.framers"]
)


class Reader:
    """Somebody who works through one page from top to bottom, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""

    def work_through(self, page: Path, end: int | None = None) -> None:
        """Run the blocks above line `end`, or all."""
        for block in blocks_of(page):
            if end is not None and block.line > end:
                return
            assert block.language in KNOWN, f"{block.place}: {block.language!r} is none of {sorted(KNOWN)}"
            getattr(self, block.language)(block)

    def python(self, block: Block) -> None:
        self.printed = ""
        if not self.toml(block):
            self.doctest(block) if block.text.startswith(">>> ") else self.script(block)

    def script(self, block: Block) -> None:
        # Empty lines in front make a traceback show the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, self.names)
        self.printed = printed.getvalue()

    def doctest(self, block: Block) -> None:
        examples = doctest.DocTestParser().get_doctest(
            block.text, self.names, block.place, str(block.page), block.line - 1
        )
        complaints = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=IGNORE)
        assert not runner.run(examples, out=complaints.write, clear_globs=False).failed, complaints.getvalue()
        self.names |= examples.globs

    def output(self, block: Block) -> None:
        compare(block.place, block.text, self.printed)

    def console(self, block: Block) -> None:
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        assert not commands[0].strip(), f"{block.place}: no command, begin the line with '$ '"
        line = block.line
        for entry in commands[1:]:
            command, expected = COMMAND.match(entry).groups()
            compare(f"{block.page.relative_to(ROOT)}:{line}: {command}", expected, self.run(command))
            line += entry.count("\n")

    def run(self, command: str) -> str:
        """Return what a command prints, and its exit status if that is not 0."""
        environment, output = self.environment(), self.folder / ".output"
        if found := PROGRAM.fullmatch(command.strip()):
            source = self.folder / ".input"
            source.write_bytes(subprocess.run(["sh", "-c", found["source"] or ":"], stdout=subprocess.PIPE).stdout)
            folder = self.folder / (found["before"] or "cd .").removeprefix("cd ")
            arguments = shlex.split(found["arguments"])
            program = FORKSERVER.Process(target=program_in, args=(folder, arguments, environment, source, output))
            program.start()
            program.join(60)
            program.kill()  # what takes longer has no right status
            program.join()
            status, said = program.exitcode, "exit status {}\n" if "||" in command else "(exit status {})\n"
            return output.read_text() + (said.format(status) if status else "")
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        failed = f"(exit status {done.returncode})\n" if done.returncode else ""
        return done.stdout.decode() + failed

    def environment(self) -> dict[str, str]:
        """Return what makes `framestream` and `python` the ones under test, installed or not."""
        programs = self.folder / ".bin"
        if not programs.exists():
            programs.mkdir()
            for name, module in [("python", ""), ("framestream", "-m framestream")]:
                (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
                (programs / name).chmod(0o755)
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        ours = {"PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", "PATH": path}
        # Nothing is wrong with modules that were imported before pytest could see to their assertions.
        plain = {
            "PYTEST_ADDOPTS": "-W ignore::pytest.PytestAssertRewriteWarning",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }
        return os.environ | plain | ours

    def toml(self, block: Block) -> bool:
        """Write the block to the file that its first line names, if it names one."""
        if named := FILE.match(block.text):
            (self.folder / named[1]).write_text(block.text)
            if named[1] == "pyproject.toml":
                self.install(block.text)
        return bool(named)

    def install(self, project: str) -> None:
        """Leave what ``pip install -e .`` leaves: the metadata of a distribution, beside its module."""
        name, version = re.search(r'name = "(.+)"\nversion = "(.+)"', project).groups()
        metadata = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = re.search(r"\[project\.entry-points\.(.+)\]\n((?:\S+ = .+\n)+)", project)
        (metadata / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2]}".replace('"', ""))

    def sh(self, block: Block) -> None:
        for line in block.text.splitlines():
            assert INSTALLS.match(line), f"{block.place}: {line!r} changes nothing; make it console"

    def text(self, block: Block) -> None:
        """Take it as it is."""


def compare(place: str, expected: str, got: str) -> None:
    if not doctest.OutputChecker().check_output(expected, got, doctest.ELLIPSIS):
        pytest.fail(f"{place}\nexpected:\n{expected}\ngot:\n{got}", pytrace=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder with the examples in it, from which modules can be imported."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if name not in before and (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text()
    needs = list(NEEDS.finditer(text))
    missing = next((found for found in needs if find_spec(found[1]) is None), None)
    if needs:
        for category in (DeprecationWarning, FutureWarning):  # what that module's own code does is its affair
            warnings.simplefilter("default", category)
        monkeypatch.setattr(sys.modules["__main__"], "__file__", sys.argv[0])  # as Ray and Spark expect of a program
    Reader(folder).work_through(page, text.count("\n", 0, missing.start()) + 1 if missing else None)
    if missing:
        pytest.skip(f"needs {missing[1]} from there on")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_its_title_and_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    assert re.match(r"# \S.*\n\n\S", text)
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", FENCED.sub("", text)):
        if target and not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_claims_about_the_ancestor_name_only_tests_that_exist() -> None:
    files = (ROOT / "tests").glob("test_*.py")
    defined = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "porting.md").read_text()))
    assert len(named) > 30
    assert named - defined == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_changelog_fragments_have_a_kind_and_one_item() -> None:
    for fragment in FRAGMENTS.iterdir():
        if fragment.name != "README.md":
            assert re.fullmatch(rf"[a-z0-9-]+\.({KINDS})\.md", fragment.name), fragment.name
            assert re.fullmatch(r"- .+\n(  .+\n)*", fragment.read_text()), f"{fragment.name} is no list item"


def test_every_page_is_in_the_navigation_and_on_the_index() -> None:
    """The strict build of the site says so, too; this needs nothing but the files."""
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)} - {"changes/README.md"}
    assert sorted(navigation) == sorted(pages)
    index = (DOCS / "index.md").read_text()
    assert [page for page in navigation if f"({page})" not in index] == ["index.md"]


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_keeps_to_the_style(page: Path) -> None:
    """What docs/design/style.md advises against, and lines that are too long."""
    if page.name in ("style.md", "gallery.md", "CODE_OF_CONDUCT.md"):
        pytest.skip("it quotes what not to write, or comes from elsewhere")
    text = page.read_text()
    blocks = [block for block in blocks_of(page) if block.language in ("python", "toml", "text")]
    prose = "\n".join(line for line in FENCED.sub("", text).splitlines() if not line.startswith("|"))
    lines = [*prose.splitlines(), *(line for block in blocks for line in block.text.splitlines())]
    assert [line for line in lines if len(line) > 120 and not LINK.fullmatch(line)] == []
    assert AVOIDED.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", FENCED.sub("", text))) == []


def test_docstrings_comments_and_messages_keep_to_the_style() -> None:
    found = []
    for module in CODE:
        with module.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if tokenize.tok_name[token.type] in ("STRING", "COMMENT", "FSTRING_MIDDLE"):
                    line, words = token.start[0], AVOIDED.findall(token.string)
                    found += [f"{module.relative_to(ROOT)}:{line}: {word}" for word in words]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tables_of_a_page_are_up_to_date(page: Path) -> None:
    assert page.read_text() == refresh.refreshed(page.read_text()), "run: python docs/refresh.py"


@pytest.mark.parametrize("picture", pictures.PICTURES, ids=lambda picture: picture.__name__)
def test_a_picture_is_up_to_date(picture: Callable[[], pictures.Canvas]) -> None:
    drawn = (pictures.FOLDER / f"{picture.__name__}.svg").read_text()
    assert drawn == picture().svg(), "run: python docs/pictures.py"


def test_the_reference_shows_every_built_in_framer_and_explains_every_error() -> None:
    page = (DOCS / "reference" / "framers.md").read_text()
    for name in BUILT_IN:
        assert f"\n## {name}\n" in page
        assert f"\n<!-- options of {name} -->\n" in page
    page = (DOCS / "reference" / "errors.md").read_text()
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FramestreamError) and not name.startswith("_"):
            assert re.search(rf"[─ ]{name} |^{name}$", page, re.MULTILINE), f"{name} is not in the tree"
            in_table = re.search(rf"^\| .*`{name}`", page, re.MULTILINE)
            assert name == "FramestreamError" or in_table, f"{name} is not in the table"


def test_the_gallery_has_every_framer_of_the_plugins_in_this_repository() -> None:
    page = gallery.PAGE.read_text()
    before = [plugin.title for plugin in plugins]
    with gallery.repository_plugins():
        seen = [plugin.distribution for plugin in plugins]
        ours = [info.name for info in available_framers() if info.distribution != gallery.OURS]
    assert [f"framestream-{folder.name}" for folder in gallery.framer_folders()] == seen
    assert [name for name in ours if f"\n## {name}\n" not in page] == [], "run: python docs/gallery.py"
    assert before == [plugin.title for plugin in plugins]
