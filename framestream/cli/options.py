"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

import os
import select
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import FileIO
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import Framer, PluginError, ReadCondition, SpecError
from framestream.cli.output import prints_aside
from framestream.errors import describe_os_error

if TYPE_CHECKING:
    import socket

    from framestream.registry.plugin import Plugin

CHUNK_SIZE: Final = 1 << 16
_URLS: Final = ("tcp:", "tls:", "unix:", "exec:", "pipe:", "fd:")
_SAMPLES: Final = Path(__file__).parent / "samples"
"""Recordings of real programs, to try commands on: ``sample:redis`` is one of them."""


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
    from framestream.registry.options import Takes, Word, unescaped  # noqa: PLC0415  # --help does without

    try:
        return Takes(kind).convert(Word(unescaped(text)))
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


# Where bytes come from -----------------------------------------------------------------------------


class Source:
    """An open file descriptor with a name.

    Attributes:
        name: its name in messages.
        size: its size in bytes, if it is a regular file, else None.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self) -> bytes:
        """Return the available bytes, waiting only if there are none; ``b""`` at the end."""
        try:
            return os.read(self._descriptor, CHUNK_SIZE)
        except OSError as error:
            raise _refusal(self.name, error) from error

    def is_ready(self) -> bool:
        """Tell whether `read` returns at once."""
        if self.size is not None:
            return True
        try:
            return bool(select.select([self._descriptor], [], [], 0)[0])
        except (OSError, ValueError):
            return False  # this kind of descriptor cannot tell


@contextmanager
def open_source(place: str) -> Iterator[Source]:
    """Open ``-``, a path, a sample, ``tcp://host:port`` or ``unix:path``; report a failure in one line."""
    try:
        opened = _open(place)
    except OSError as error:
        raise _refusal(place, error) from error
    with opened:
        yield Source(opened.fileno(), "standard input" if place == "-" else place)


def _open(place: str) -> FileIO | socket.socket:
    if place == "-":
        return FileIO(0, closefd=False)
    if place.startswith("sample:") and not os.path.exists(place):
        return FileIO(_sample(place.removeprefix("sample:")))
    if place.startswith("file://"):
        return FileIO(place.removeprefix("file://"))
    if "://" in place and not place.startswith(_URLS) and not os.path.exists(place):
        raise click.UsageError(f"{place!r} is read in parts: add --jobs 1")
    if not place.startswith(_URLS) or os.path.exists(place):
        return FileIO(place)
    # Imported here: files need neither sockets nor an event loop.
    import socket  # noqa: PLC0415

    from framestream.net.urls import Tcp, Unix, parse_url  # noqa: PLC0415

    match parse_url(place):
        case Tcp(host, port, tls=False):
            return socket.create_connection((host or None, port))
        case Unix() as endpoint:
            with ExitStack() as unless_connected:
                connection = unless_connected.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(endpoint.address)
                unless_connected.pop_all()
            return connection
    # These need an event loop: TLS, programs, descriptors that may not be read alone.
    hint = f"framestream connect {shlex.quote(place)} --framer SPEC"
    raise click.UsageError(f"{place!r} is not a file, and cut does not connect there: {hint}")


def file_of(place: str, *, changed: bool = False) -> str:
    """Return the path or URL of a file that is read in parts; refuse what is read once, as it arrives.

    A sample is no file to be `changed`, nor to be written next to.
    """
    if os.path.exists(place):
        return place
    if place.startswith("sample:"):
        if changed:
            raise click.UsageError(f"{place} comes with framestream and is only read; name a file of your own")
        return str(_sample(place.removeprefix("sample:")))
    if place == "-" or place.startswith(_URLS):
        raise click.UsageError(f"{place!r} is no file; framestream cut SPEC PLACE --stats reads a stream")
    return place


def _sample(name: str) -> Path:
    names = sorted(path.stem for path in _SAMPLES.glob("*.bin"))
    if name not in names:
        raise click.UsageError(f"no sample named {name!r} (available: {', '.join(names)})")
    return _SAMPLES / f"{name}.bin"


def _refusal(place: str, error: OSError) -> click.ClickException:
    return click.ClickException(f"{place}: {describe_os_error(error)}")
