"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import Framer, PluginError, ReadCondition, SpecError
from framestream.cli.output import prints_aside

if TYPE_CHECKING:
    from framestream.registry.plugin import Plugin


def complete_framer(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of framers that begin with this text, for the shell's completion."""
    from framestream import plugins  # noqa: PLC0415  # only a shell that completes needs them here

    return [name for name in plugins.names() if name.startswith(incomplete)]


def matching(name: str) -> list[Plugin]:
    """Return the plugins of this name; without one, raise a usage error."""
    from framestream import plugins  # noqa: PLC0415  # --help does without

    try:
        return plugins.matching(name)
    except PluginError as error:
        raise click.UsageError(str(error)) from error


def get_framer(spec: str) -> ReadCondition[Any]:
    """Return the framer of a spec string."""
    with prints_aside():
        return framestream.get_framer(spec)


def writing_framer(spec: str) -> Framer[Any]:
    """Return the framer of a spec string; if it can only read, raise a usage error."""
    framer = get_framer(spec)
    if not isinstance(framer, Framer):
        raise click.UsageError(f"{framer} can only read; what is sent takes a framer that writes")
    return framer


# The names of these functions are the help's names for a value.


def size(text: str) -> int:
    """Return a number of bytes, with or without a unit, as spec strings spell it."""
    if (number := int(_spelled(text, int))) < 0:
        raise click.BadParameter(f"{text!r} is not a size: it is negative")
    return number


def seconds(text: str) -> float:
    """Return a number of seconds that a clock can count."""
    with suppress(ValueError):
        if 0 <= (number := float(text)) < inf:
            return number
    raise click.BadParameter(f"{text!r} is not a number of seconds")


def text(text: str) -> bytes:
    """Return text with backslashes interpreted as in spec strings."""
    return bytes(_spelled(text, bytes))


def _spelled(text: str, kind: type) -> Any:
    from framestream.registry.specs import Takes, Word  # noqa: PLC0415  # --help does without

    try:
        return Takes(kind).convert(Word(text))
    except SpecError as error:
        raise click.BadParameter(str(error)) from error


def spec(*names: str, **settings: Any) -> Callable[..., Any]:
    """Return an option that takes a spec string."""
    return click.option(*names, metavar="SPEC", shell_complete=complete_framer, **settings)


def goes_with(option: str, what: str, there: bool) -> None:
    """Refuse an option of the running command that was given, although what it acts on is not there."""
    name = next(it.name for it in click.get_current_context().command.params if option in it.opts)
    given = click.get_current_context().get_parameter_source(str(name))
    if not there and given is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError(f"{option} goes with {what}")


FORM: Final = click.Choice(["json", "hex", "text", "raw"])
FILE: Final = click.Path()  # the code that opens it reports errors

framer: Final = spec("-f", "--framer", "spec", required=True, help="How frames are cut.")
max_size: Final = partial(click.option, "--max-size", "max_frame_size", type=size)
on_oversize: Final = click.option(
    "--on-oversize",
    type=click.Choice(["raise", "discard", "truncate", "close"]),
    default="raise",
    help="What to do with a larger frame.",
)
on_payload_error: Final = click.option(
    "--on-payload-error",
    type=click.Choice(["skip", "close"]),
    default="skip",
    help="What to do after a frame that cannot be decoded.",
)
count: Final = click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many frames.")
separator: Final = click.option(
    "--separator",
    type=text,
    help=r"Text after each frame in text and raw output.  [default: \n in text, nothing in raw]",
)
