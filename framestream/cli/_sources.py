"""Where the bytes come from: a file, standard input, a TCP or Unix socket; whatever is there, as it comes."""

from __future__ import annotations

import os
import select
import shlex
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Final
from urllib.parse import urlsplit

import click

from framestream.iterate import CHUNK_SIZE
from framestream.net.urls import Unix, parse_url

# What would take an event loop: TLS, programs, descriptors that may not be read alone.
_FOR_CONNECT: Final = ("tls:", "exec:", "pipe:", "fd:")


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
            raise _refused(self.name, error) from error

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
        opened = _opened(place)
    except OSError as error:
        raise _refused(place, error) from error
    with opened:
        yield Source(opened.fileno(), "standard input" if place == "-" else place)


def _opened(place: str) -> FileIO | socket.socket:
    if place == "-":
        return FileIO(0, closefd=False)
    if place.startswith("unix:"):
        endpoint = parse_url(place)
        assert isinstance(endpoint, Unix)
        return _connected_to_path(endpoint.address)
    if place.startswith("tcp:"):
        return socket.create_connection(_host_and_port(place))
    try:
        return FileIO(place)
    except FileNotFoundError as error:
        if place.startswith(_FOR_CONNECT):
            hint = f"framestream connect {shlex.quote(place)} --framer SPEC"
            raise click.UsageError(f"{place!r} is no file, and cut does not connect there: {hint}") from error
        raise


def _connected_to_path(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _host_and_port(place: str) -> tuple[str, int]:
    try:
        parts = urlsplit(place)
        if parts.hostname and parts.port and parts.hostname.encode("idna"):
            return parts.hostname, parts.port
    except ValueError:
        pass  # a port that is no number, half an IPv6 address, what can be no name
    raise click.UsageError(f"{place!r} is no address such as tcp://localhost:4000")


def _refused(place: str, error: OSError) -> click.ClickException:
    return click.ClickException(f"{place}: {error.strerror or error}")
