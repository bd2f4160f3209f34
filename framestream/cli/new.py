"""``framestream new``: write the project of a new plugin, and keep it up to date."""

from __future__ import annotations

import json
import keyword
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

import framestream
from framestream.errors import counted, describe_os_error

# The tree of the new project. Every name ends with ".txt" and a leading dot is spelled "dot-", since tools
# would take these files for their own. MODULE in a name is the package, {{word}} in a text one of the words.
_TEMPLATES: Final = Path(__file__).with_name("templates")

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
# Names up to these lengths keep the lines of the templates within their limit.
_LONGEST_NAME: Final = 32
_LONGEST_DISTRIBUTION: Final = 44

# The record in the project that an update needs.
_RECORD: Final = ".framestream-new.json"
_RECORDED: Final = ("name", "distribution", "author", "year")
_ODD_BYTES: Final = "surrogateescape"  # keeps any bytes in the author's files
_MOST_CONFLICTS: Final = 127  # as git merge-file counts them; more is an error

_NEXT_STEPS: Final = """
Next:
  cd {folder}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -e '.[dev]'
  pytest
  printf '5:hello,0:,' | framestream cut {name}
Then make {module}/_framer.py and the tests say what {name} is."""


@click.command()
@click.argument("name", required=False)
@click.option("--distribution", default="", help="Name on PyPI.  [default: framestream-NAME]")
@click.option("--author", default="", help="Author, for the licence.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to write it; must be empty if it exists.  [default: the distribution's name]",
)
@click.option("--update", is_flag=True, help="Bring the project here, or in --directory, up to date instead.")
def new(name: str | None, distribution: str, author: str, directory: Path | None, update: bool) -> int:
    """Write a complete plugin with a framer called NAME, ready to be tested, changed and published.

    It has a working framer, tests of every promise of the contract, types, lint rules, CI and a licence.

    With --update, merge later changes of our templates into pyproject.toml, the workflows and the
    like. Framers, tests and texts are yours, and left alone. Needs git. The exit status is 1 if you have to
    decide between your change and ours.

    \b
    Examples:
      framestream new acme-frames
      framestream new acme-frames --distribution acme-tools --author 'Acme Ltd' --directory here
      framestream new --update
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    folder = directory or Path()
    recorded = _recorded(folder) if update else None
    if recorded is not None:
        if name or distribution or author:
            raise click.UsageError(f"{folder / _RECORD} has the names; give none with --update")
        names, files = recorded
        return _update(folder, _words(**names), files)
    if name is None:
        where = f"{folder / _RECORD} is missing: " if update else ""
        raise click.UsageError(f"{where}name the framer, such as acme-frames")
    words = _words(name.removeprefix("framestream-"), distribution, author, str(date.today().year))
    if update:
        return _update(folder, words, {})
    folder = directory or Path(words["distribution"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} exists and is not empty; nothing was written")
    rendered = _rendered(words)
    _write(folder, rendered | _record_of(words, rendered))
    click.echo("\n".join(f"wrote {folder / place}" for place in rendered))
    click.echo(_NEXT_STEPS.format(folder=folder, **words))
    return 0


def _words(name: str, distribution: str, author: str, year: str) -> dict[str, str]:
    """Return the words of the templates; refuse names that no plugin can have."""
    distribution = distribution or f"framestream-{name}"
    for wrong, reason in _mistakes(name, distribution):
        if wrong:
            raise click.UsageError(reason)
    return {
        "author": author or f"The {distribution} developers",
        "class": _class_name(name),
        "distribution": distribution,
        "module": re.sub(r"[-.]+", "_", distribution).lower(),
        "name": name,
        "version": ".".join(version("framestream").split(".")[:2]),
        "year": year,
    }


def _rendered(words: dict[str, str]) -> dict[str, str]:
    """Return the text of each file of the project, by its place."""
    files = {}
    for template in sorted(_TEMPLATES.rglob("*.txt")):
        name = template.relative_to(_TEMPLATES).as_posix().removesuffix(".txt")
        place = name.replace("dot-", ".").replace("MODULE", words["module"])
        files[place] = _PLACEHOLDER.sub(lambda found: words[found[1]], template.read_text("utf-8"))
    return files


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files, all or none: the reader of our output may go away, or the disk be full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".draft-") as draft:
            for place, text in files.items():
                target = Path(draft, place)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8", _ODD_BYTES, newline="")
            for place in files:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                Path(draft, place).replace(folder / place)
    except OSError as error:
        raise click.ClickException(f"{folder}: {describe_os_error(error)}; nothing was written") from error


# Updating: the files first written are the common ancestor of the author's version and today's templates.


def _record_of(words: dict[str, str], rendered: dict[str, str]) -> dict[str, str]:
    """Return the record of a project: its names, and the text of what a later update merges."""
    names = {key: words[key] for key in _RECORDED}
    files = {place: None if _is_theirs(place, words) else text for place, text in rendered.items()}
    return {_RECORD: json.dumps({"names": names, "files": files}, indent=1) + "\n"}


def _is_theirs(place: str, words: dict[str, str]) -> bool:
    return place.startswith((f"{words['module']}/", "tests/", "LICENSE")) or place.endswith(".md")


def _recorded(folder: Path) -> tuple[dict[str, str], dict[str, str | None]] | None:
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        names = {key: str(record["names"][key]) for key in _RECORDED}
        return names, {place: text and str(text) for place, text in record["files"].items()}
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise click.ClickException(f"{folder / _RECORD} is not as framestream new wrote it") from error


def _update(folder: Path, words: dict[str, str], before: dict[str, str | None]) -> int:
    """Merge later changes of the templates into a project; return 1 if that leaves a conflict."""
    rendered = _rendered(words)
    written, conflicts, told = dict[str, str](), 0, list[str]()
    for place, text in rendered.items():
        target, ancestor = folder / place, before.get(place)
        present = target.read_bytes().decode("utf-8", _ODD_BYTES) if target.exists() else None
        if text in (present, ancestor) or (present is None and place in before):
            continue
        if present is None or present == ancestor:
            written[place] = text
            told.append(f"wrote {target}")
        elif not _is_theirs(place, words):
            written[place], count = _merged(target, present, ancestor or "", text)
            conflicts += count
            told.append(f"merged {target}" + (f": {counted(count, 'conflict')}, see <<<<<<<" if count else ""))
    _write(folder, written | _record_of(words, rendered))
    click.echo("\n".join(told) or f"{words['distribution']} is up to date")
    return int(conflicts > 0)


def _merged(target: Path, present: str, ancestor: str, text: str) -> tuple[str, int]:
    """Merge as git does; return the text, and the number of conflicts that it has."""
    git = shutil.which("git")
    if git is None:
        raise click.ClickException(f"{target} has changed here and in the template; merging takes git")
    with TemporaryDirectory() as draft:
        sides = {"yours": present, "template-before": ancestor, "template": text}
        for name, side in sides.items():
            Path(draft, name).write_text(side, "utf-8", _ODD_BYTES, newline="")
        command = [git, "merge-file", "-p", "-q", *sides]
        done = subprocess.run(command, cwd=draft, stdout=subprocess.PIPE, check=False)  # noqa: S603
    if done.returncode > _MOST_CONFLICTS:
        raise click.ClickException(f"git cannot merge {target}; nothing was written")
    return done.stdout.decode("utf-8", _ODD_BYTES), done.returncode


def _mistakes(name: str, distribution: str) -> Iterator[tuple[bool, str]]:
    """Yield for each possible mistake in these names whether it was made, and its message."""
    with framestream.plugins.isolated() as built_in:
        taken = name in built_in.names()
    words = f"{name!r} is not a framer name: lower-case words and digits, joined by hyphens"
    yield not _NAME.fullmatch(name), words
    yield len(name) > _LONGEST_NAME, f"framer name of {len(name)} characters, limit {_LONGEST_NAME}"
    yield taken, f"{name!r} is built in, and stays so whatever a plugin says"
    words = f"{distribution!r} is not a distribution name: letters, digits and hyphens, from a letter on"
    yield not _DISTRIBUTION.fullmatch(distribution), words
    words = f"distribution name of {len(distribution)} characters, limit {_LONGEST_DISTRIBUTION}"
    yield len(distribution) > _LONGEST_DISTRIBUTION, words
    yield distribution.lower() == "framestream", "framestream is taken"


def _class_name(name: str) -> str:
    words = "".join(word.capitalize() for word in name.split("-"))
    taken = words in framestream.__all__ or keyword.iskeyword(words)
    return f"{words}Framing" if taken else words
