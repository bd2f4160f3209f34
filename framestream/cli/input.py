"""Where bytes come from: a file, standard input, a TCP or Unix socket; read as they arrive."""

from __future__ import annotations

import os
import select
import shlex
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from framestream.errors import FramestreamError, FrameTooLarge, PayloadError, describe_os_error

if TYPE_CHECKING:
    import socket

CHUNK_SIZE: Final = 1 << 16

_URLS: Final = ("tcp:", "tls:", "unix:", "exec:", "pipe:", "fd:")
_SAMPLES: Final = Path(__file__).parent / "samples"
"""Recordings of real programs, to try commands on: ``sample:redis`` is one of them."""


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


async def good_frames(
    frames: AsyncIterator[Any], on_payload_error: str, tell: Callable[[FramestreamError], object]
) -> AsyncIterator[Any]:
    """Yield the frames of a stream; report those that are bad or too large, and continue after them."""
    while True:
        try:
            async for frame in frames:
                yield frame
            return
        except (FrameTooLarge, PayloadError) as error:
            if not (error.recoverable if isinstance(error, FrameTooLarge) else on_payload_error == "skip"):
                raise
            tell(error)


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
