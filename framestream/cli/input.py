"""Where bytes come from: a file, standard input, a TCP or Unix socket; whatever is there, as it comes."""

from __future__ import annotations

import os
import re
import select
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    import socket

CHUNK_SIZE: Final = 1 << 16

# What would take an event loop: TLS, programs, descriptors that may not be read alone.
_FOR_CONNECT: Final = ("tls:", "exec:", "pipe:", "fd:")
_TCP: Final = re.compile(r"tcp://(\[[^]]+\]|[^][:/]+):(\d+)/?")


class Source:
    """An open file descriptor with a name.

    Attributes:
        name: how messages call it.
        size: how many bytes it holds, if it is a regular file, else None.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self) -> bytes:
        """Return what is there, waiting only if nothing is; ``b""`` at the end."""
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
            return False  # this kind of descriptor cannot be asked here


@contextmanager
def open_source(place: str) -> Iterator[Source]:
    """Open ``-``, a path, ``tcp://host:port`` or ``unix:path``; refuse in one line if that fails."""
    try:
        opened = _open(place)
    except OSError as error:
        raise _refusal(place, error) from error
    with opened:
        yield Source(opened.fileno(), "standard input" if place == "-" else place)


def _open(place: str) -> FileIO | socket.socket:
    if place == "-":
        return FileIO(0, closefd=False)
    if place.startswith(("tcp:", "unix:")):
        return _connect(place)
    if place.startswith(_FOR_CONNECT) and not os.path.exists(place):
        hint = f"framestream connect {shlex.quote(place)} --framer SPEC"
        raise click.UsageError(f"{place!r} is no file, and cut does not connect there: {hint}")
    return FileIO(place)


def _connect(place: str) -> socket.socket:
    import socket  # noqa: PLC0415  # files need none

    if place.startswith("tcp:"):
        address = _TCP.fullmatch(place)
        with suppress(UnicodeError, OverflowError):  # what can be no name, and no port
            if address:
                return socket.create_connection((address[1].strip("[]"), int(address[2])))
        raise click.UsageError(f"{place!r} is no address such as tcp://localhost:4000")
    path = place.removeprefix("unix:").removeprefix("//")
    if not hasattr(socket, "AF_UNIX"):
        raise click.UsageError(f"{place!r}: there are no Unix sockets here")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError:
        connection.close()
        raise
    return connection


def _refusal(place: str, error: OSError) -> click.ClickException:
    # An error without a number is Python's: the path is too long for a Unix socket.
    kind = click.ClickException if error.errno else click.UsageError
    return kind(f"{place}: {error.strerror or error}")
