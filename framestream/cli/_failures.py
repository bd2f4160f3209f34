"""What went wrong, as a line or two on standard error, and the exit status that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from framestream.errors import AddressError, FramestreamError, SpecError, UnknownFramerError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141


def report(error: Exception) -> int:
    """Print an error that ended a command; return the exit status."""
    for line in _lines(error):
        click.echo(line, err=True)
    return USAGE if isinstance(error, click.UsageError | SpecError | AddressError) else FAILED


def _lines(error: Exception) -> Iterator[str]:
    if isinstance(error, SpecError):
        yield f"framestream: {error}"
        yield from _pointer(error)
    elif isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "framestream"
        yield f"framestream: {error.format_message()}"
        yield f"hint: {command} --help"
    elif isinstance(error, click.ClickException):
        yield f"framestream: {error.format_message()}"
    else:
        yield f"framestream: {error}"


def _pointer(error: SpecError) -> Iterator[str]:
    """Yield the spec string with a caret under the place where it goes wrong."""
    if error.spec and error.position is not None:
        yield f"  {error.spec}"
        yield "  " + " " * error.position + "^"
    if isinstance(error, UnknownFramerError):
        yield "hint: a plugin's framers have names once it is installed; framestream plugins lists them"
    else:
        yield "hint: framestream framers NAME explains a framer's options"


HANDLED: Final = (click.ClickException, FramestreamError)
"""The errors that `report` explains; anything else is a bug and keeps its traceback."""
