"""Listening sockets: opened from a URL, inherited, or handed over by the service manager."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from framestream.errors import AddressError
from framestream.net._reasons import reason
from framestream.net._urls import Activated, Descriptors, Endpoint, Tcp, Unix

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_ACTIVATED = 3
"""The first descriptor of socket activation (SD_LISTEN_FDS_START in sd_listen_fds(3))."""

# More descriptors than a number of fewer digits can count, no process has.
_MOST_DIGITS = 7

# A port the kernel chose for one address may be taken at another; it then chooses again.
_PORT_TRIES = 20
# A machine without IPv6 still resolves names to its addresses; one address that works is enough.
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


async def listen(endpoint: Endpoint, *, backlog: int, reuse_port: bool) -> list[socket.socket]:
    """Return non-blocking listening sockets for an endpoint, at least one.

    A host with several addresses has a socket for each, all on the same port.

    Raises:
        AddressError: nobody can listen there, such as on ``exec:``.
        OSError: the address is in use or not allowed; the message names it.
    """
    if isinstance(endpoint, Tcp):
        return await _listen_tcp(endpoint, backlog, reuse_port)
    if isinstance(endpoint, Unix):
        return [_listen_unix(endpoint, backlog)]
    if isinstance(endpoint, Descriptors):
        return [_adopt(endpoint.read)]
    if isinstance(endpoint, Activated):
        return activated_sockets(endpoint.name)
    raise AddressError(f"cannot listen on {endpoint}", url=str(endpoint))


async def listen_together(endpoint: Endpoint, count: int, *, backlog: int) -> list[list[socket.socket]]:
    """Return sockets for `count` processes that listen on one endpoint.

    On a TCP port each has sockets of its own, between which the kernel shares the connections out
    (SO_REUSEPORT); anywhere else they share one.
    """
    first = await listen(endpoint, backlog=backlog, reuse_port=isinstance(endpoint, Tcp))
    if not isinstance(endpoint, Tcp):
        return [first] * count
    shares = [first]
    same = replace(endpoint, port=first[0].getsockname()[1])
    try:
        while len(shares) < count:
            shares.append(await listen(same, backlog=backlog, reuse_port=True))
    except BaseException:
        for share in shares:
            _close_all(share)
        raise
    return shares


async def _listen_tcp(endpoint: Tcp, backlog: int, reuse_port: bool) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise _with_place(error, endpoint) from error
    places: list[tuple[int, Any]] = list(dict.fromkeys((family, address) for family, *_, address in found))
    return _bind_all(places, endpoint, backlog, reuse_port, _PORT_TRIES if endpoint.port == 0 else 1)


def _bind_all(
    places: list[tuple[int, Any]], endpoint: Tcp, backlog: int, reuse_port: bool, tries: int
) -> list[socket.socket]:
    bound: list[socket.socket] = []
    absent: list[OSError] = []
    try:
        for family, address in places:
            port = bound[0].getsockname()[1] if bound else endpoint.port
            found = _bind_if_there(family, (address[0], port, *address[2:]), backlog, reuse_port)
            if isinstance(found, OSError):
                absent.append(found)
            else:
                bound.append(found)
        if not bound:
            raise absent[0]
    except OSError as error:
        _close_all(bound)
        if error.errno != errno.EADDRINUSE or tries == 1:
            raise _with_place(error, endpoint) from error
        return _bind_all(places, endpoint, backlog, reuse_port, tries - 1)
    return bound


def _bind_if_there(family: int, address: Any, backlog: int, reuse_port: bool) -> socket.socket | OSError:
    try:
        return _bind_tcp(family, address, backlog, reuse_port)
    except OSError as error:
        if error.errno in _ABSENT:
            return error
        raise


def _bind_tcp(family: int, address: Any, backlog: int, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _with_place(error: OSError, endpoint: Endpoint) -> OSError:
    # Made of the message alone, since Python would print the number in front of it.
    told = type(error)(f"cannot listen on {endpoint}: {reason(error)}")
    told.errno = error.errno
    return told


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _listen_unix(endpoint: Unix, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if not endpoint.abstract:
            _remove_stale(endpoint.path)
        sock.bind(endpoint.address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _with_place(error, endpoint) from error
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


class SocketFile:
    """The file of a Unix socket that this process made, to be removed unless another took its place."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = _identity(path)

    def remove(self) -> None:
        """Remove it if it is still the same."""
        if self._identity is not None and _identity(self._path) == self._identity:
            os.unlink(self._path)


def socket_file(endpoint: Endpoint) -> SocketFile | None:
    """Return the file that listening on an endpoint has made, if it makes one."""
    if isinstance(endpoint, Unix) and not endpoint.abstract:
        return SocketFile(endpoint.path)
    return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _adopt(descriptor: int) -> socket.socket:
    url = f"fd:{descriptor}"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise AddressError(f"descriptor {descriptor} is no socket: {error.strerror}", url=url) from error
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise AddressError(f"descriptor {descriptor} is a socket that does not listen", url=url)
    sock.setblocking(False)
    os.set_inheritable(descriptor, False)
    return sock


def _count(text: str, url: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS):
        raise AddressError(f"LISTEN_FDS is {text[:40]!r}; it must be the number of sockets passed", url=url)
    return int(text)


def activated_sockets(name: str = "", environment: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that the service manager passed, all or those of one name.

    Implements the receiving side of sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.

    Raises:
        AddressError: none was passed to this process, or none of that name.
    """
    url = f"systemd:{name}"
    if environment.get("LISTEN_PID") != str(os.getpid()):
        raise AddressError(
            "no socket was passed to this process (LISTEN_PID names another, or none)", url=url
        )
    count = _count(environment.get("LISTEN_FDS", "0"), url)
    if not count and not name:
        raise AddressError("no socket was passed to this process: LISTEN_FDS is 0", url=url)
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    wanted = [FIRST_ACTIVATED + i for i in range(count) if name in ("", names[i])]
    if not wanted:
        raise AddressError(f"none of the {count} sockets passed is named {name!r}", url=url)
    return [_adopt(descriptor) for descriptor in wanted]
