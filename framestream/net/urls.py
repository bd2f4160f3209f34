"""Where to connect or listen: one small value for each kind of URL."""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from framestream.errors import AddressError, describe_os_error


@dataclass(frozen=True)
class Tcp:
    """``tcp://HOST:PORT`` or ``tls://HOST:PORT``; no host is every interface, or this machine."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


@dataclass(frozen=True)
class Unix:
    """``unix:PATH``, or ``unix:@NAME`` in Linux's abstract name space."""

    path: str

    @property
    def address(self) -> str:
        """The address as the socket module spells it: a name without a file begins with NUL."""
        return "\0" + self.path[1:] if self.path.startswith("@") else self.path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True)
class Descriptors:
    """``fd:N`` or ``fd:READ,WRITE``: descriptors that this process already has."""

    read: int
    write: int

    def __str__(self) -> str:
        return f"fd:{self.read}" if self.read == self.write else f"fd:{self.read},{self.write}"


@dataclass(frozen=True)
class Pipe:
    """``pipe:PATH`` to read a FIFO, ``pipe:>PATH`` to write it; a terminal or device is opened for both."""

    path: str
    writes: bool = False

    def __str__(self) -> str:
        return f"pipe:{'>' if self.writes else ''}{self.path}"


@dataclass(frozen=True)
class Command:
    """``exec:PROGRAM ARGUMENTS``: the standard input and output of a program, run without a shell."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"exec:{shlex.join(self.argv)}"


@dataclass(frozen=True)
class Activated:
    """``systemd:`` or ``systemd:NAME``: listening sockets that the service manager handed over."""

    name: str = ""

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Endpoint: TypeAlias = Tcp | Unix | Descriptors | Pipe | Command | Activated


def parse_url(url: str) -> Endpoint:
    """Return the endpoint of a URL. For a bare path, look what it is: socket, FIFO or device.

    Raises:
        AddressError: the URL is malformed; says what is wrong with it and what to write.
    """
    if not isinstance(url, str):
        raise TypeError(f"url is {url!r}; it must be text, such as 'tcp://HOST:PORT'")
    if "\0" in url:  # the system would take what is before it
        raise AddressError(f"a NUL character in {url!r}", url=url)
    try:
        os.fsencode(url)
    except UnicodeEncodeError as error:
        raise AddressError(f"{url!r} is not text that the system can be given: {error.reason}", url=url) from error
    if url.startswith(("/", "./", "../")):
        return _path_endpoint(url)
    scheme, colon, rest = url.partition(":")
    parse = _SCHEMES.get(scheme)
    if not colon or parse is None:
        meant = re.fullmatch(r"(?:(https|wss|ssl|mqtts|rediss|amqps)://|[a-z]+://)?([^/:@]*:[0-9]+)/?", url)
        hint = f"; did you mean '{'tls' if meant[1] else 'tcp'}://{meant[2]}'?" if meant else ""
        if os.path.exists(url):
            hint = f"; did you mean './{url}'?"
        raise AddressError(f"{url!r} begins with none of the schemes {', '.join(_SCHEMES)}{hint}", url=url)
    return parse(rest, url)


def _path_endpoint(path: str) -> Endpoint:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise AddressError(f"{path}: {describe_os_error(error)}", url=path) from error
    if stat.S_ISSOCK(mode):
        return _unix(path, path)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return Pipe(path)
    raise AddressError(f"{path} is not a socket, FIFO or device", url=path)


def _tcp(_: str, url: str) -> Tcp:
    scheme = url.partition(":")[0]
    form = f"write {scheme}://HOST:PORT, an IPv6 address in brackets"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        check_host(host)
    except ValueError as error:
        raise AddressError(f"{url!r}: {describe_os_error(error)}; {form}", url=url) from error
    # Not all that is written need be in the parts: a line feed, or what is beside brackets, is left out there.
    written, _, number = url.partition("//")[2].removesuffix("/").lower().rpartition(":")
    if port is None or written not in (host.lower(), f"[{host.lower()}]") or not number.isdigit():
        what = "no port" if port is None else "more than a host and a port"
        raise AddressError(f"{url!r}: {what}; {form}", url=url)
    return Tcp(host, port, tls=scheme == "tls")


def check_host(name: str) -> None:
    """Refuse what cannot be a host name: neither the resolver nor the TLS library would even look for it.

    Raises:
        ValueError: it has a NUL character, or cannot be spelled as IDNA demands.
    """
    if "\0" in name:
        raise ValueError("it has a NUL character")
    name.encode("idna")


def _unix(rest: str, url: str) -> Unix:
    path = rest.removeprefix("//")
    if path in ("", "@"):
        raise AddressError(f"no path in {url!r}; write unix:/PATH or unix:@NAME", url=url)
    if not hasattr(socket, "AF_UNIX"):
        raise AddressError(f"{url!r} asks for a Unix socket, and this system has none", url=url)
    return Unix(path)


def _descriptors(rest: str, url: str) -> Descriptors:
    found = re.fullmatch("([0-9]{1,9})(?:,([0-9]{1,9}))?", rest)
    if found is None:
        raise AddressError(f"{url!r} names no descriptor; write fd:N or fd:READ,WRITE", url=url)
    return Descriptors(int(found[1]), int(found[2] or found[1]))


def _pipe(rest: str, url: str) -> Pipe:
    path = rest.removeprefix(">")
    if not path:
        raise AddressError(f"no path in {url!r}; write pipe:/PATH or pipe:>/PATH", url=url)
    return Pipe(path, writes=path != rest)


def _command(rest: str, url: str) -> Command:
    try:
        argv = tuple(shlex.split(rest))
    except ValueError as error:
        raise AddressError(f"cannot split {url!r} into words: {str(error).lower()}", url=url) from error
    if not argv or not argv[0]:
        raise AddressError(f"no program in {url!r}; write exec:PROGRAM ARGUMENTS", url=url)
    return Command(argv)


_SCHEMES: Final[dict[str, Callable[[str, str], Endpoint]]] = {
    "tcp": _tcp,
    "tls": _tcp,
    "unix": _unix,
    "fd": _descriptors,
    "pipe": _pipe,
    "exec": _command,
    "systemd": lambda name, _: Activated(name),
}
