"""``framestream new``: write the project of a new plugin, and keep it up to date."""

from __future__ import annotations

import json
import keyword
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

import framestream
from framestream.errors import counted, describe_os_error
from framestream.framers import BUILT_IN

# The tree of the new project. Every name ends with ".txt" and a leading dot is spelled "dot-", since tools
# would take these files for their own. MODULE in a name is the package, {{word}} in a text one of the words.
_TEMPLATES: Final = Path(__file__).with_name("templates")

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
# Longer ones make lines that the project's own linter refuses.
_LONGEST_NAME: Final = 32
_LONGEST_DISTRIBUTION: Final = 44
_TAKEN: Final = {"framestream", *sys.stdlib_module_names}
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")

# The record in the project that an update needs.
_RECORD: Final = ".framestream-new.json"
_MOST_CONFLICTS: Final = 127  # as git merge-file counts them; more is an error

_NEXT_STEPS: Final = """
Next:
  cd {distribution}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -e '.[dev]'  # after framestream itself, if yours is a checkout
  pytest
  printf '5:hello,0:,' | framestream cut {name}
Then make {module}/_framer.py and the tests say what {name} is."""


@click.command()
@click.argument("name", required=False)
@click.option("--distribution", help="Name on PyPI.  [default: framestream-NAME]")
@click.option("--author", help="Author, for the licence.")
@click.option("--update", is_flag=True, help="Bring the project in this folder up to date instead.")
def new(name: str | None, distribution: str | None, author: str | None, update: bool) -> int:
    """Write a complete plugin with a framer called NAME, ready to be tested, changed and published.

    It has a working framer, tests of every promise of the contract, types, lint rules, CI and a licence, in a
    new folder with the name of the distribution.

    With --update, merge later changes of our templates into pyproject.toml, the workflows and the
    like. Framers, tests and texts are yours, and left alone. Needs git. The exit status is 1 if you have to
    decide between your change and ours.

    \b
    Examples:
      framestream new acme-frames
      framestream new acme-frames --distribution acme-tools --author 'Acme Ltd'
      framestream new --update
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    if update:
        if name or distribution or author:
            raise click.UsageError(f"{_RECORD} has the names; give none with --update")
        return _update()
    if name is None:
        raise click.UsageError("name the framer, such as acme-frames")
    name = name.removeprefix("framestream-")
    distribution = distribution or f"framestream-{name}"
    words = _words(name, distribution, author or f"The {distribution} developers", str(date.today().year))
    folder = Path(distribution)
    if folder.exists():
        raise click.ClickException(f"{folder} exists; nothing was written")
    files = _rendered(words)
    try:
        # The project is there as a whole or not at all: the disk may be full.
        with TemporaryDirectory(dir=".", prefix=".draft-") as draft:
            _write(Path(draft, distribution), files | _record_of(words, files))
            Path(draft, distribution).rename(folder)
    except OSError as error:
        raise click.ClickException(f"{folder}: {describe_os_error(error)}; nothing was written") from error
    click.echo("\n".join(f"wrote {folder / place}" for place in files))
    click.echo(_NEXT_STEPS.format(**words))
    return 0


def _words(name: str, distribution: str, author: str, year: str) -> dict[str, str]:
    """Return the words of the templates; refuse names that no plugin can have."""
    module = re.sub(r"[-.]+", "_", distribution).lower()
    is_one_line = author.isprintable() and {*author}.isdisjoint('"\\')
    is_free = module not in _TAKEN and not keyword.iskeyword(module)
    length, most = len(distribution), _LONGEST_DISTRIBUTION
    no_distribution = f"{distribution!r} is not a distribution name: letters, digits and hyphens, from a letter on"
    rules = {
        f"{name!r} is not a framer name: lower-case words and digits, joined by hyphens": _NAME.fullmatch(name),
        f"framer name of {len(name)} characters, limit {_LONGEST_NAME}": len(name) <= _LONGEST_NAME,
        f"{name!r} is built in, and stays so whatever a plugin says": name not in BUILT_IN,
        no_distribution: _DISTRIBUTION.fullmatch(distribution),
        f"distribution name of {length} characters, limit {most}": length <= most,
        f"{module!r} is taken": is_free,
        f"{author!r} is no author: write one line without double quotes and backslashes": is_one_line,
    }
    for complaint, is_kept in rules.items():
        if not is_kept:
            raise click.UsageError(complaint)
    return {
        "author": author,
        "class": _class_name(name),
        "distribution": distribution,
        "module": module,
        "name": name,
        "version": ".".join(version("framestream").split(".")[:2]),
        "year": year,
    }


def _class_name(name: str) -> str:
    words = "".join(word.capitalize() for word in name.split("-"))
    taken = words in framestream.__all__ or keyword.iskeyword(words)
    return f"{words}Framing" if taken else words


def _rendered(words: dict[str, str]) -> dict[str, bytes]:
    """Return the content of each file of the project, by its place."""
    files = {}
    for template in sorted(_TEMPLATES.rglob("*.txt")):
        name = template.relative_to(_TEMPLATES).as_posix().removesuffix(".txt")
        place = name.replace("dot-", ".").replace("MODULE", words["module"])
        text = _PLACEHOLDER.sub(lambda found: words[found[1]], template.read_text("utf-8"))
        files[place] = text.encode()
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for place, content in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)


# Updating: the files first written are the common ancestor of the author's version and today's templates.


def _record_of(words: dict[str, str], files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the record of a project: its names, and the text of what a later update merges."""
    names = {key: words[key] for key in ("name", "distribution", "author", "year")}
    texts = {place: None if _is_theirs(place, words) else content.decode() for place, content in files.items()}
    return {_RECORD: json.dumps({"names": names, "files": texts}, indent=1).encode() + b"\n"}


def _is_theirs(place: str, words: dict[str, str]) -> bool:
    return place.startswith((f"{words['module']}/", "tests/", "LICENSE")) or place.endswith(".md")


def _update() -> int:
    """Merge later changes of the templates into the project here; return 1 if that leaves a conflict."""
    try:
        record = json.loads(Path(_RECORD).read_text("utf-8"))
        words = _words(**record["names"])
        files, before = _rendered(words), {place: (text or "").encode() for place, text in record["files"].items()}
    except FileNotFoundError as error:
        where = f"no {_RECORD} here; run this in the folder of a project that framestream new wrote"
        raise click.ClickException(where) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise click.ClickException(f"{_RECORD} is not as framestream new wrote it") from error
    written, conflicts, told = dict[str, bytes](), 0, list[str]()
    for place, newest in files.items():
        target, ancestor = Path(place), before.get(place, b"")
        present = target.read_bytes() if target.exists() else None
        is_left = place in before if present is None else _is_theirs(place, words)  # deleted, or not ours any more
        if is_left or newest in (present, ancestor):
            continue
        written[place] = newest
        told.append(f"wrote {place}")
        if present not in (None, ancestor):
            written[place], count = _merged(place, present, ancestor, newest)
            conflicts += count
            told[-1] = f"merged {place}" + (f": {counted(count, 'conflict')}, see <<<<<<<" if count else "")
    _write(Path(), written | _record_of(words, files))
    click.echo("\n".join(told) or f"{words['distribution']} is up to date")
    return int(conflicts > 0)


def _merged(place: str, present: bytes, ancestor: bytes, newest: bytes) -> tuple[bytes, int]:
    """Merge as git does; return the content, and the number of conflicts that it has."""
    with TemporaryDirectory() as draft:
        sides = {"yours": present, "template-before": ancestor, "template": newest}
        _write(Path(draft), sides)
        command = ["git", "merge-file", "-p", "-q", *sides]
        done = subprocess.run(command, cwd=draft, stdout=subprocess.PIPE, check=False)  # noqa: S603
    if done.returncode > _MOST_CONFLICTS:
        raise click.ClickException(f"git cannot merge {place}; nothing was written")
    return done.stdout, done.returncode
