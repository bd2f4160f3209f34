"""``framestream new``: write the project of a new plugin."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from framestream.cli._project import Project, distribution_name, framer_name


@click.command(short_help="Write the project of a new plugin.")
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
    """
    try:
        framer = framer_name(name)
        chosen = distribution_name(distribution, framer)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    project = Project(framer, chosen, author or f"The {chosen} developers", date.today().year)
    folder = directory or Path(chosen)
    _write(project, folder)
    click.echo(_next_steps(project, folder))


def _write(project: Project, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} exists and is not empty; nothing was written")
    for path, text in project.files():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        except OSError as error:
            raise click.ClickException(f"{target}: {error.strerror or error}") from error
        click.echo(f"wrote {target}")


def _next_steps(project: Project, folder: Path) -> str:
    return f"""
Next:
  cd {folder}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -e '.[dev]'
  pytest
  printf '5:hello,0:,' | framestream cut {project.name}
Then make {project.module}/_framer.py and the tests say what {project.name} is."""
