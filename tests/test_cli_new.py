"""``framestream new``: the project it writes works untouched, and nothing is overwritten."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import command_line
import pytest
from distributions import Site

from framestream import __file__ as package
from framestream.cli import run

framestream = command_line.framestream


def inside(project, *command, **environment):
    paths = os.pathsep.join((str(project), str(Path(package).parents[1])))
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def installed(tool):
    return shutil.which(tool, path=str(Path(sys.executable).parent)) is not None


def test_a_new_project_works_by_name_and_keeps_every_promise(framestream, tmp_path):
    """That it passes the rest of its tests is shown in docs/publish-a-plugin.md, which is run, too."""
    assert framestream("new", "acme-frames").status == 0
    project = tmp_path / "framestream-acme-frames"
    points = {"acme-frames": "framestream_acme_frames:AcmeFrames"}
    Site(project).write_metadata(project.name, "0.1.0", points)
    tests = inside(project, "pytest", "-q", "-p", "no:cacheprovider", "-k", "by_name")
    assert (tests.returncode, "1 passed" in tests.stdout) == (0, True), tests.stdout
    checked = inside(project, "framestream", "plugins", "check", "framestream-acme-frames")
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "1 plugin, 0 wrong")


@pytest.mark.slow
@pytest.mark.skipif(not (installed("ruff") and installed("mypy")), reason="ruff or mypy is not installed")
def test_new_projects_are_clean_and_typed_strictly_whatever_their_names_and_frames(framestream, tmp_path):
    for name in ("x", "acme-frames", "framer", "none"):
        assert framestream("new", name).status == 0
    for command in ("check", "format --check"):
        done = inside(tmp_path, "ruff", *command.split(), "--no-cache", ".")
        assert done.returncode == 0, done.stdout
    framer = tmp_path / "framestream-x/framestream_x/_framer.py"
    text = framer.read_text()
    changed = text.replace("dict[bytes, list[bytes]]", "dict[bytes, list[bytes | int]]")
    # A span of three places, for a framing without a trailer.
    framer.write_text(changed.replace(', Decode(bytes, trailer=b",")', ""))
    assert text != framer.read_text()
    folders = [f"framestream-{name}/{part}" for name in ("x", "none") for part in (f"framestream_{name}", "tests")]
    search = {"MYPYPATH": os.pathsep.join(str(folder) for folder in tmp_path.iterdir())}
    done = inside(tmp_path, "mypy", "--strict", "--cache-dir", os.devnull, *folders, **search)
    assert done.returncode == 0, done.stdout


def test_distribution_and_author_can_be_chosen_and_what_to_do_next_is_printed(framestream, tmp_path):
    chosen = ("--distribution", "Acme.wire-frames", "--author", "Acme Corp.")
    status, printed, _ = framestream("new", "framestream-acme", *chosen)
    for path, text in (
        ("acme_wire_frames/_framer.py", "class Acme(Framer[bytes])"),
        ("acme_wire_frames/py.typed", ""),
        ("pyproject.toml", 'name = "Acme.wire-frames"'),
        ("pyproject.toml", 'acme = "acme_wire_frames:Acme"'),
        ("LICENSE", " Acme Corp.\n"),
    ):
        assert text in (tmp_path / "Acme.wire-frames" / path).read_text()
    assert (0, True) == (status, b"wrote Acme.wire-frames/pyproject.toml\n" in printed)
    assert b"\n  cd Acme.wire-frames\n" in printed
    assert printed.endswith(b"Then make acme_wire_frames/_framer.py and the tests say what acme is.\n")


def test_a_reader_that_leaves_finds_a_whole_project(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", closed)
        patched.chdir(tmp_path)
        assert run(["new", "acme"]) == 141
    assert (tmp_path / "framestream-acme/tests/test_framestream_acme.py").exists()


def test_a_project_is_written_whole_or_not_at_all(framestream, tmp_path):
    # What coverage would leave at its end is too large, too; bytecode would stay, cut off, and break imports.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    # A shell sets the limit, which counts blocks of 512 bytes: a fork of a process with threads may hang.
    limited = ["/bin/sh", "-c", f"ulimit -f 1 && exec {sys.executable} -m framestream new acme"]
    done = subprocess.run(limited, cwd=tmp_path, env=env, capture_output=True, check=False)
    told = b"framestream: framestream-acme: file too large; nothing was written\n"
    assert (1, b"", told) == (done.returncode, done.stdout, done.stderr)
    assert [] == os.listdir(tmp_path)
    assert framestream("new", "acme").status == 0


def test_nothing_is_overwritten(framestream, tmp_path):
    (tmp_path / "framestream-acme").mkdir()
    told = "framestream: framestream-acme exists; nothing was written\n"
    assert (1, b"", told) == framestream("new", "acme")
    assert [] == os.listdir(tmp_path / "framestream-acme")


# Updating

RECORD, CI = ".framestream-new.json", ".github/workflows/ci.yml"
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def project(framestream, tmp_path, monkeypatch):
    """A project that an older template wrote: other limits of lines, no CI, another .gitignore; we are in it."""
    assert framestream("new", "acme", "--author", "Acme Corp.").status == 0
    folder = tmp_path / "framestream-acme"
    shutil.copytree(folder, tmp_path / "newest")
    record = json.loads((folder / RECORD).read_text())
    del record["files"][CI]
    (folder / CI).unlink()
    assert record["files"]["README.md"] is None  # the author's own is not kept for later
    record["files"][".gitignore"] = record["files"]["tests/test_framestream_acme.py"] = "older\n"
    record["files"]["pyproject.toml"] = record["files"]["pyproject.toml"].replace("length = 100", "length = 90")
    (folder / RECORD).write_text(json.dumps(record))
    for place in ("pyproject.toml", ".gitignore"):
        (folder / place).write_text(record["files"][place])
    monkeypatch.chdir(folder)
    return folder


def changed(place, before, after):
    text = place.read_text()
    assert before in text
    place.write_text(text.replace(before, after))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def conflict(place, ours):
    return f"<<<<<<< yours\nline-length = {ours}\n=======\nline-length = 100\n>>>>>>> template\n" in place.read_text()


def test_a_project_that_nobody_has_changed_becomes_the_newest(framestream, project, tmp_path):
    told = {f"wrote {place}" for place in ("pyproject.toml", ".gitignore", CI)}
    assert told == set(framestream("new", "--update").out.splitlines())
    assert contents(tmp_path / "newest") == contents(project)
    assert (0, b"framestream-acme is up to date\n", "") == framestream("new", "--update")


@needs_git
def test_what_the_author_has_changed_is_merged_and_framers_tests_and_texts_are_left_alone(framestream, project):
    changed(project / "pyproject.toml", "acme for framestream", "Acme\xe9")
    (project / "pyproject.toml").write_bytes((project / "pyproject.toml").read_bytes() + b"# \xff\r\n")
    (project / ".gitignore").unlink()
    for place in ("framestream_acme/_framer.py", "tests/test_framestream_acme.py", "README.md"):
        (project / place).write_text("mine")
    (project / "LICENSE").unlink()
    updated = framestream("new", "--update")
    assert (0, {f"wrote {CI}", "merged pyproject.toml"}) == (updated.status, set(updated.out.splitlines()))
    assert not {".gitignore", "LICENSE"} & set(os.listdir(project))
    assert "mine" == (project / "framestream_acme/_framer.py").read_text()
    merged = (project / "pyproject.toml").read_bytes()
    assert (True, True) == (b"line-length = 100" in merged, "Acme\xe9".encode() in merged)
    assert merged.endswith(b"# \xff\r\n")


@needs_git
def test_what_both_have_changed_is_a_conflict_that_keeps_both(framestream, project):
    changed(project / "pyproject.toml", "line-length = 90", "line-length = 120")
    updated = framestream("new", "--update")
    assert (1, True) == (updated.status, "merged pyproject.toml: 1 conflict, see <<<<<<<" in updated.out)
    assert conflict(project / "pyproject.toml", 120)
    assert framestream("new", "--update").status == 0


NAMES = {"name": "acme", "distribution": "acme", "author": "", "year": "2030"}


@pytest.mark.parametrize(("record", "arguments", "status", "complaint"), [
    *((None, [name], 2, "has the names; give none with") for name in ("acme", "--author=A", "--distribution=a")),
    *((json.dumps(record), [], 1, f"{RECORD} is not as framestream new wrote it") for record in (
        5,
        {"names": {}, "files": {}},
        {"names": NAMES},
        {"names": NAMES | {"author": None}, "files": {}},
        {"names": NAMES | {"year": 2030}, "files": {}},
        {"names": NAMES, "files": []},
        {"names": NAMES, "files": {CI: 5}},
    )),
    *((text, [], 1, "is not as framestream new wrote it") for text in ("{", "[" * 200_000)),
    (json.dumps({"names": NAMES | {"name": "../x"}, "files": {}}), [], 2, "is not a framer name"),
], ids=range(13))  # fmt: skip
def test_a_record_that_cannot_be_used_is_refused(framestream, project, record, arguments, status, complaint):
    (project / RECORD).write_text(record or (project / RECORD).read_text())
    before = contents(project)
    refused = framestream("new", "--update", *arguments)
    assert (status, True) == (refused.status, complaint in refused.err)
    assert before == contents(project)


def test_what_cannot_be_merged_is_left_as_it_is(framestream, project, monkeypatch):
    (project / "pyproject.toml").write_bytes(b"\0binary")
    before = contents(project)
    for path, complaint in ((os.environ["PATH"], "git cannot merge pyproject.toml"), ("", "git: no such file")):
        monkeypatch.setenv("PATH", path)
        refused = framestream("new", "--update")
        assert (1, True) == (refused.status, complaint in refused.err)
        assert before == contents(project)


NO_NAME = "is not a framer name: lower-case words and digits, joined by hyphens"
NO_DISTRIBUTION = "is not a distribution name: letters, digits and hyphens"


@pytest.mark.parametrize(("arguments", "complaint"), [
    ([], "name the framer, such as acme-frames"),
    *(([name], NO_NAME) for name in ("Acme", "acme_frames", "acme-", "3270", "framestream-", "../acme")),
    (["line"], "'line' is built in, and stays so whatever a plugin says"),
    (["a" * 33], "framer name of 33 characters, limit 32"),
    *((["acme", f"--distribution={name}"], NO_DISTRIBUTION) for name in ("-acme", "acme-", "a b", "../acme")),
    (["acme", f"--distribution={'a' * 45}"], "distribution name of 45 characters, limit 44"),
    *((["acme", f"--distribution={name}"], f"{name.lower()!r} is taken") for name in ("Framestream", "json", "class")),
    *((["acme", f"--author={name}"], "is no author: write") for name in ('A "B"', "A\\", "A\nB", "A\udcff")),
])  # fmt: skip
def test_a_name_that_no_plugin_can_have_is_refused(framestream, tmp_path, arguments, complaint):
    refused = framestream("new", *arguments)
    assert (2, True, []) == (refused.status, complaint in refused.err, list(tmp_path.iterdir()))


def test_the_class_is_named_after_the_framer_and_after_nothing_else(framestream, tmp_path):
    for name, class_name in {"acme-frames2": "AcmeFrames2", "framer": "FramerFraming", "none": "NoneFraming"}.items():
        assert framestream("new", name).status == 0
        (module,) = tmp_path.glob(f"framestream-{name}/framestream_*/_framer.py")
        assert f"class {class_name}(Framer" in module.read_text()
