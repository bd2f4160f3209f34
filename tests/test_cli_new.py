"""``framestream new``: the project it writes works untouched, and nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import framestream
from framestream.cli import run
from framestream.cli.new import _class_name

New = Callable[..., int]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """Run the command in an empty folder; return its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run(["new", *arguments])


def install(project: Path, name: str, target: str) -> None:
    """Leave what ``pip install -e .`` leaves."""
    info = project / "installed-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project.name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[framestream]\n{name} = {target}\n")


def inside(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(project), str(Path(framestream.__file__).parents[1])))
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_project_passes_its_own_tests_and_works_by_name(new: New, tmp_path: Path) -> None:
    assert new("acme-frames") == 0
    project = tmp_path / "framestream-acme-frames"
    install(project, "acme-frames", "framestream_acme_frames:AcmeFrames")
    tests = inside(project, "pytest", "-q", "-p", "no:cacheprovider")
    assert tests.returncode == 0, tests.stdout
    assert "failed" not in tests.stdout
    checked = inside(project, "framestream", "plugins", "check", "framestream-acme-frames")
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "1 plugin, 0 wrong")


NAMES = ("x", "acme-frames", "framer", "none", "a-name-as-long-as-any-one-may-be")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "."), ("ruff", "format", "--no-cache", "--check", ".")],
    ids=" ".join,
)
def test_a_new_project_is_clean_whatever_its_name(
    new: New, tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    if shutil.which("ruff", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("ruff is not installed")
    assert new(name, "--directory", "here") == 0
    done = inside(tmp_path / "here", *command)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    shutil.which("mypy", path=str(Path(sys.executable).parent)) is None, reason="mypy is not installed"
)
def test_a_new_project_is_typed_strictly(new: New, tmp_path: Path) -> None:
    assert new("none") == 0
    done = inside(tmp_path / "framestream-none", "mypy", "--strict", "--cache-dir", os.devnull)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    shutil.which("mypy", path=str(Path(sys.executable).parent)) is None, reason="mypy is not installed"
)
def test_a_new_project_stays_typed_when_its_frames_are_of_two_types(new: New, tmp_path: Path) -> None:
    assert new("none") == 0
    framer = tmp_path / "framestream-none/framestream_none/_framer.py"
    text = framer.read_text()
    framer.write_text(text.replace("dict[bytes, list[bytes]]", "dict[bytes, list[bytes | int]]"))
    assert text != framer.read_text()
    done = inside(tmp_path / "framestream-none", "mypy", "--strict", "--cache-dir", os.devnull)
    assert done.returncode == 0, done.stdout


def test_what_was_written_and_what_to_do_next_is_printed(
    new: New, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("framestream-acme") == 0
    printed = capsys.readouterr().out
    assert "wrote framestream-acme/pyproject.toml\n" in printed
    assert "  cd framestream-acme\n" in printed
    assert printed.endswith("Then make framestream_acme/_framer.py and the tests say what acme is.\n")


def test_distribution_author_and_directory_can_be_chosen(new: New, tmp_path: Path) -> None:
    chosen = ("--distribution", "Acme.wire-frames", "--author", "Acme Corp.", "--directory", "here")
    assert new("acme", *chosen) == 0
    folder = tmp_path / "here"
    assert (folder / "acme_wire_frames" / "py.typed").read_text() == ""
    assert "class Acme(Framer[bytes])" in (folder / "acme_wire_frames" / "_framer.py").read_text()
    project = (folder / "pyproject.toml").read_text()
    assert 'name = "Acme.wire-frames"' in project
    assert 'acme = "acme_wire_frames:Acme"' in project
    assert " Acme Corp.\n" in (folder / "LICENSE").read_text()


def test_nothing_is_overwritten(new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "README.md").write_text("mine")
    for place in ("file", "folder"):
        assert new("acme", "--directory", place) == 1
        assert capsys.readouterr().err == (
            f"framestream: {place} exists and is not empty; nothing was written\n"
        )
    assert ["README.md"] == [path.name for path in (tmp_path / "folder").iterdir()]


def test_an_empty_folder_may_exist(new: New, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert new("acme", "--directory", "empty") == 0
    assert (tmp_path / "empty" / "pyproject.toml").exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Acme", "'Acme' is no framer name: lower-case words and digits, joined by hyphens"),
        ("acme_frames", "no framer name"),
        ("acme-", "no framer name"),
        ("3270", "no framer name"),
        ("framestream-", "'' is no framer name"),
        ("../acme", "no framer name"),
        ("a" * 33, "framer name of 33 characters, limit 32"),
        ("line", "'line' is built in, and stays so whatever a plugin says"),
    ],
)
def test_a_name_that_no_plugin_can_have_is_refused(
    new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, complaint: str
) -> None:
    assert new(name) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["-acme", "acme-", "a b", "../acme", "framestream", "Framestream", "a" * 45])
def test_a_distribution_that_cannot_be_is_refused(new: New, name: str) -> None:
    assert new("acme", f"--distribution={name}") == 2


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("acme", "Acme"),
        ("acme-frames2", "AcmeFrames2"),
        ("framer", "FramerFraming"),
        ("length-prefix-2", "LengthPrefix2"),
        ("none", "NoneFraming"),
    ],
)
def test_the_class_is_named_after_the_framer_and_after_nothing_else(name: str, class_name: str) -> None:
    assert class_name == _class_name(name)
