"""``framestream new``: write the project of a new plugin."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

import framestream
from framestream.errors import describe_os_error

# The tree of the project to be. Every name ends with ".txt" and a leading dot is spelled "dot-", since tools
# would take these files for their own. MODULE in a name is the package, {{word}} in a text one of the words.
_TEMPLATES: Final = Path(__file__).with_name("templates")

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
# Names as long as these still leave the lines of the templates within their limit.
_LONGEST_NAME: Final = 32
_LONGEST_DISTRIBUTION: Final = 44

_NEXT_STEPS: Final = """
Next:
  cd {folder}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -e '.[dev]'
  pytest
  printf '5:hello,0:,' | framestream cut {name}
Then make {module}/_framer.py and the tests say what {name} is."""


@click.command()
@click.argument("name")
@click.option("--distribution", default="", help="What pip will install.  [default: framestream-NAME]")
@click.option("--author", default="", help="Whose it is, for the licence.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to write it; must be empty if it exists.  [default: the distribution's name]",
)
def new(name: str, distribution: str, author: str, directory: Path | None) -> None:
    """Write a complete plugin with a framer called NAME, ready to be tested, changed and published.

    It has a working framer, tests of every promise of the contract, types, lint rules, CI and a licence.

    \b
    Examples:
      framestream new acme-frames
      framestream new acme-frames --distribution acme-tools --author 'Acme Ltd' --directory here
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    name = name.removeprefix("framestream-")
    distribution = distribution or f"framestream-{name}"
    for wrong, reason in _mistakes(name, distribution):
        if wrong:
            raise click.UsageError(reason)
    folder = directory or Path(distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} exists and is not empty; nothing was written")
    words = {
        "author": author or f"The {distribution} developers",
        "class": _class_name(name),
        "distribution": distribution,
        "module": re.sub(r"[-.]+", "_", distribution).lower(),
        "name": name,
        "version": ".".join(version("framestream").split(".")[:2]),
        "year": str(date.today().year),
    }
    written = _write(folder, words)
    click.echo("\n".join(f"wrote {target}" for target in written))
    click.echo(_NEXT_STEPS.format(folder=folder, **words))


def _write(folder: Path, words: dict[str, str]) -> list[Path]:
    """Write the project, whole or not at all: whoever reads what we print may leave, or the disk be full."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".draft-") as draft:
            for template in sorted(_TEMPLATES.rglob("*.txt")):
                name = template.relative_to(_TEMPLATES).as_posix().removesuffix(".txt")
                place = name.replace("dot-", ".").replace("MODULE", words["module"])
                target = Path(draft, place)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = _PLACEHOLDER.sub(lambda found: words[found[1]], template.read_text("utf-8"))
                target.write_text(text, "utf-8")
                written.append(folder / place)
            for entry in Path(draft).iterdir():
                entry.rename(folder / entry.name)
    except OSError as error:
        raise click.ClickException(f"{folder}: {describe_os_error(error)}; nothing was written") from error
    return written


def _mistakes(name: str, distribution: str) -> Iterator[tuple[bool, str]]:
    """Yield for each mistake in these names whether it was made, and what it is."""
    with framestream.plugins.isolated() as built_in:
        taken = name in built_in.names()
    words = f"{name!r} is no framer name: lower-case words and digits, joined by hyphens"
    yield not _NAME.fullmatch(name), words
    yield len(name) > _LONGEST_NAME, f"framer name of {len(name)} characters, limit {_LONGEST_NAME}"
    yield taken, f"{name!r} is built in, and stays so whatever a plugin says"
    words = f"{distribution!r} is no distribution name: letters, digits and hyphens, from a letter on"
    yield not _DISTRIBUTION.fullmatch(distribution), words
    words = f"distribution name of {len(distribution)} characters, limit {_LONGEST_DISTRIBUTION}"
    yield len(distribution) > _LONGEST_DISTRIBUTION, words
    yield distribution.lower() == "framestream", "framestream is taken"


def _class_name(name: str) -> str:
    words = "".join(word.capitalize() for word in name.split("-"))
    taken = words in framestream.__all__ or keyword.iskeyword(words)
    return f"{words}Framing" if taken else words
