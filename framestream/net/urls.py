"""Where to connect or listen: one small value for each kind of URL."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeAlias, TypeVar, cast

from framestream.errors import AddressError, describe_os_error

F = TypeVar("F", bound=Callable[..., Any])


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

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*)"
# A URL without a scheme of ours: another scheme or none, a host, perhaps a port.
_MEANT: Final = re.compile(rf"(?:([a-z]+)://)?({_HOST})(?::([0-9]+))?(/.*)?")
_TLS_SCHEMES: Final = {"https", "wss", "ssl", "mqtts", "rediss", "amqps"}
_MAX_PORT: Final = 65535
_MAX_FD: Final = (1 << 31) - 1
# sizeof sun_path in unix(7); a path is followed by a NUL, a name in the abstract name space begins with one.
_MAX_UNIX_ADDRESS: Final = 108 if sys.platform == "linux" else 104


def parse_url(url: str) -> Endpoint:
    """Return the endpoint of a URL. For a bare path, look what it is: socket, FIFO or device.

    Raises:
        AddressError: the URL is malformed; says what is wrong with it and what to write.
    """
    if not isinstance(url, str):
        raise TypeError(f"url is {url!r}; it must be text{_as_text(url)}")
    if "\0" in url:
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
        known, hint = ", ".join(_SCHEMES), ""
        found = _MEANT.fullmatch(url)
        if found and (found[2] or found[3]) and (found[1] or not found[4]):  # no relative path
            tcp = "tls" if found[1] in _TLS_SCHEMES else "tcp"
            hint = f"; did you mean '{tcp}://{found[2]}:{found[3] or 'PORT'}'?"
        raise AddressError(f"{url!r} begins with none of the schemes {known}{hint}", url=url)
    return parse(rest, url)


def _as_text(url: object) -> str:
    """Return the text that was meant by an address of another form, as a hint."""
    match url:
        case (str(host), int(port), *_):
            return f": {str(Tcp(host, port))!r}"
        case int(port):
            return f": {str(Tcp('', port))!r}"
        case bytes():
            return f": {url.decode('utf-8', 'replace')!r}"
        case os.PathLike():
            path = os.fsdecode(url)
            return f": {path if path.startswith(('/', './', '../')) else f'./{path}'!r}"
        case socket.socket():
            return "; IOStream(sock) makes a stream of a connected socket, and 'fd:N' names a listening one"
    return ""


def _path_endpoint(path: str) -> Endpoint:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise AddressError(f"{path}: {describe_os_error(error)}", url=path) from error
    if stat.S_ISSOCK(mode):
        return _unix_at(path, path)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return Pipe(path)
    raise AddressError(f"{path} is not a socket, FIFO or device", url=path)


def _tcp(rest: str, url: str) -> Tcp:
    scheme = url.partition(":")[0]
    form = f"write {scheme}://HOST:PORT"
    if not rest.startswith("//"):
        raise AddressError(f"no // in {url!r}; {form}", url=url)
    host, colon, port = rest[2:].removesuffix("/").rpartition(":")
    if not colon or port.endswith("]"):
        raise AddressError(f"no port in {url!r}; {form}", url=url)
    if "@" in host:
        raise AddressError(f"a user in {url!r}, which is never used; {form}", url=url)
    in_brackets = host.startswith("[") and host.endswith("]")
    if in_brackets:
        host = host[1:-1]
    if in_brackets is not (":" in host):
        what = f"no IPv6 address in the brackets of {url!r}"
        if not in_brackets:
            what = f"the IPv6 address in {url!r} needs brackets"
        raise AddressError(f"{what}; write {scheme}://[::1]:PORT", url=url)
    check_host(host, repr(url), url)
    if not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise AddressError(f"port {port!r} in {url!r} is not a number from 0 to {_MAX_PORT}", url=url)
    return Tcp(host, int(port), tls=scheme == "tls")


def check_host(host: str, place: str, url: str = "") -> None:
    """Raise `AddressError` for text that cannot be a host name: the resolver would not even be asked."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        rule = "each part of one has 1 to 63 letters, digits or hyphens"
        raise AddressError(f"{host!r} in {place} is not a host name; {rule}", url=url) from error


def _unix(rest: str, url: str) -> Unix:
    path = rest.removeprefix("//")
    if path in ("", "@"):
        raise AddressError(f"no path in {url!r}; write unix:/PATH or unix:@NAME", url=url)
    return _unix_at(path, url)


def _unix_at(path: str, url: str) -> Unix:
    if not hasattr(socket, "AF_UNIX"):
        raise AddressError(f"{url!r} asks for a Unix socket, and this system has none", url=url)
    what, limit = "the path", _MAX_UNIX_ADDRESS - 1
    if path.startswith("@"):
        what, limit = "the name, with its @,", _MAX_UNIX_ADDRESS
    if (size := len(os.fsencode(path))) > limit:
        raise AddressError(f"{what} in {url!r} has {size} bytes; a Unix socket's has {limit} at most", url=url)
    return Unix(path)


def _descriptors(rest: str, url: str) -> Descriptors:
    found = re.fullmatch(r"([0-9]{1,10})(?:,([0-9]{1,10}))?", rest)
    read, write = (int(number or found[1]) for number in found.groups()) if found else (_MAX_FD + 1, 0)
    if max(read, write) > _MAX_FD:
        raise AddressError(f"{url!r} names no descriptor; write fd:N or fd:READ,WRITE", url=url)
    return Descriptors(read, write)


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


# Calls that were meant for another library ------------------------------------------------------


def takes_url(function: F) -> F:
    """Let a function that takes a URL say what to write where another library's call was meant.

    Others take a host and a port, and Python would only say that there are too many arguments.
    """
    before = list(inspect.signature(function).parameters).index("url")

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)  # a coroutine function looks at its arguments now, and runs later
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from inside the function
            raise TypeError(f"{error}{_meant(*arguments[before:], **options)}") from None

    async def call_and_wait(*arguments: Any, **options: Any) -> Any:
        return await call(*arguments, **options)

    return cast("F", wraps(function)(call_and_wait if inspect.iscoroutinefunction(function) else call))


def _meant(
    first: object = None, second: object = None, *_: object, host: object = None, port: object = None, **options: object
) -> str:
    if isinstance(first, tuple):
        first, second = (*first, None, None)[:2]
    host, port = host or first or "", port or second
    if isinstance(host, str) and str(port).isdecimal():
        return f"; the URL has both host and port: {str(Tcp(host, int(str(port))))!r}"
    if "path" in options:
        return f"; the URL of a Unix socket is {str(Unix(str(options['path'])))!r}"
    if isinstance(options.get("sock"), socket.socket):
        return _as_text(options["sock"])
    return "" if second is None else "; pass a framer by name: framer=..."
