"""Where the bytes come from: a file, standard input, a TCP or Unix socket; whatever is there, as it comes."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click

from framestream._iterate import CHUNK_SIZE


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
        return os.read(self._descriptor, CHUNK_SIZE)

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
        if place == "-":
            yield Source(0, "standard input")
        elif place.startswith(("tcp:", "unix:")):
            with _connect(place) as connection:
                yield Source(connection.fileno(), place)
        else:
            with open(place, "rb", buffering=0) as file:
                yield Source(file.fileno(), place)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"{place}: {error.strerror or error}") from error


def _connect(place: str) -> socket.socket:
    if place.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place.removeprefix("unix:").removeprefix("//"))
        return connection
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise click.UsageError(f"{place!r} is no address such as tcp://localhost:4000")
    return socket.create_connection((host, port))
