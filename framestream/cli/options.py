"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import Framer, PluginError, ReadCondition, SpecError
from framestream.cli.output import prints_aside
from framestream.decoder import POLICIES
from framestream.errors import check_seconds

if TYPE_CHECKING:
    from framestream.registry.plugin import Plugin

_SAMPLES: Final = Path(__file__).parent / "samples"
"""Recordings of real programs, to try commands on: ``sample:redis`` is one of them."""


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
        number = float(text)
        check_seconds("it", number)
        return number
    raise click.BadParameter(f"{text!r} is not a number of seconds")


def text(text: str) -> bytes:
    """Return text with backslashes interpreted as in spec strings."""
    return bytes(_spelled(text, bytes))


def _spelled(text: str, kind: type) -> Any:
    from framestream.registry.options import Takes, Word, unescaped  # noqa: PLC0415  # --help does without

    try:
        return Takes(kind).convert(Word(unescaped(text)))
    except SpecError as error:
        raise click.BadParameter(str(error)) from error


FORM: Final = click.Choice(["json", "hex", "text", "raw"])
FILE: Final = click.Path()  # the code that opens it reports errors

framer: Final = click.option("-f", "--framer", "spec", metavar="SPEC", required=True, help="How frames are cut.")
max_size: Final = partial(click.option, "--max-size", "max_frame_size", type=size)
on_oversize: Final = click.option(
    "--on-oversize", type=click.Choice(POLICIES), default="raise", help="What to do with a larger frame."
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


# Where bytes come from -----------------------------------------------------------------------------


def open_file(place: str) -> FileIO:
    """Open a file to read, or ``-``, which is standard input.

    It has no buffer, whose lock a thread would hold while it waits for input.
    """
    if place == "-":
        with named("standard input"):
            return FileIO(0, closefd=False)
    path = path_of(place)
    if "://" in path and not os.path.exists(path):
        raise click.UsageError(
            f"{path!r} is not a file; cut --jobs reads URLs of files, and framestream connect connects"
        )
    return FileIO(path)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Name what is read in errors of the system."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise


def path_of(place: str) -> str:
    """Return the path or URL of a file; ``sample:NAME`` is one of ours."""
    if not place.startswith("sample:"):
        return place
    name = place.removeprefix("sample:")
    names = sorted(path.stem for path in _SAMPLES.glob("*.bin"))
    if name not in names:
        raise click.UsageError(f"no sample named {name!r} (available: {', '.join(names)})")
    return str(_SAMPLES / f"{name}.bin")
