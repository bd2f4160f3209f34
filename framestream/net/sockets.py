"""Sockets: opened to listen, inherited, or handed over by the service manager; accepting; and streams over them."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

from framestream.errors import AddressError, describe_os_error
from framestream.net.tls import retold
from framestream.net.urls import Activated, Descriptors, Endpoint, Tcp, Unix
from framestream.stream.stream import IOStream
from framestream.transport import Transport, can_watch_descriptors, transport_over
from framestream.transport.descriptor import check_is_stream

Address: TypeAlias = tuple[int, Any]
"""An address family, and an address as the socket module spells it."""

FIRST_ACTIVATED: Final = 3
"""The first descriptor of socket activation (SD_LISTEN_FDS_START in sd_listen_fds(3))."""

# A port the kernel chose for one address may be in use at another; it then chooses again.
_PORT_TRIES: Final = 20
# A machine without IPv6 still resolves names to its addresses; one address that works is enough.
_ABSENT: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


async def resolve(host: str, port: int, flags: int = 0) -> list[Address]:
    """Return the addresses of a TCP port, each once; every local one if no host is named.

    Raises:
        socket.gaierror: there is no such host.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


async def listen(endpoint: Endpoint, *, backlog: int, reuse_port: bool) -> list[socket.socket]:
    """Return non-blocking listening sockets for an endpoint, at least one.

    A host with several addresses has a socket for each, all on the same port.

    Raises:
        AddressError: an endpoint of this kind cannot listen, such as ``exec:``.
        OSError: the address is in use or not allowed; the message names it.
    """
    try:
        match endpoint:
            case Tcp():
                return await _listen_tcp(endpoint, backlog, reuse_port)
            case Unix():
                return [_listen_unix(endpoint, backlog)]
            case Descriptors() if endpoint.read == endpoint.write:
                return [_adopt(endpoint.read)]
            case Activated():
                return activated_sockets(endpoint.name)
    except OSError as error:
        raise retold(error, f"cannot listen on {endpoint}: {describe_os_error(error)}") from error
    raise AddressError(f"cannot listen on {endpoint}", url=str(endpoint))


def open_stream(source: socket.socket | Transport, peer: str = "", **options: Any) -> IOStream:
    """Return a stream; `connect` and `serve` open all theirs here. If it fails, the source is closed.

    Args:
        source: a connected socket, or a transport. The stream owns it from here on.
        peer: the address of a socket's peer; if left out, the system is asked, which forgets it when the peer
            is gone.
        options: see `StreamOptions`; also `framer` and `send_framer`.
    """
    with on_failure(source.close):
        transport = transport_over(source, peer=peer) if isinstance(source, socket.socket) else source
        return IOStream(transport, **options)


class on_failure:  # noqa: N801 - to use as contextlib.suppress
    """Call this, such as what closes what was just opened, if the block fails or is cancelled."""

    # A generator with `contextmanager` made opening a stream a seventh dearer ("tls-handshake" in benchmarks/).
    def __init__(self, undo: Callable[..., object], *arguments: Any) -> None:
        self._undo = partial(undo, *arguments)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._undo()


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close every socket."""
    for sock in sockets:
        sock.close()


# TCP


async def _listen_tcp(endpoint: Tcp, backlog: int, reuse_port: bool) -> list[socket.socket]:
    addresses = await resolve(endpoint.host, endpoint.port, socket.AI_PASSIVE)
    tries = _PORT_TRIES if endpoint.port == 0 else 1
    while True:
        tries -= 1
        try:
            return _bind_all(addresses, endpoint.port, backlog, reuse_port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                raise


def _bind_all(addresses: list[Address], port: int, backlog: int, reuse_port: bool) -> list[socket.socket]:
    bound: list[socket.socket] = []
    absent = None
    with on_failure(close_all, bound):
        for family, (host, _, *rest) in addresses:
            place: Any = (host, bound[0].getsockname()[1] if bound else port, *rest)
            try:
                sock = socket.create_server(place, family=family, backlog=backlog, reuse_port=reuse_port)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            bound.append(sock)
            sock.setblocking(False)
        if absent is not None and not bound:
            raise absent
    return bound


# Unix sockets


def _listen_unix(endpoint: Unix, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with on_failure(sock.close):
        sock.setblocking(False)
        if endpoint.address == endpoint.path:
            _remove_stale(endpoint.path)
        sock.bind(endpoint.address)
        sock.listen(backlog)
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that no server listens on any more; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def file_remover(endpoint: Endpoint) -> Callable[[], None]:
    """Return a function that removes the file of a socket, unless another has taken its place by then."""
    if not isinstance(endpoint, Unix) or endpoint.address != endpoint.path:
        return lambda: None
    made = os.stat(endpoint.path)

    def remove() -> None:
        with suppress(OSError):  # it is gone; or privileges are, and the next server replaces it
            if os.path.samestat(os.stat(endpoint.path), made):
                os.unlink(endpoint.path)

    return remove


# Inherited sockets


def inherited_socket(descriptor: int, *, listening: bool) -> socket.socket:
    """Return the stream socket of a descriptor inherited by this process.

    Raises:
        AddressError: it is not a socket, or one for the other purpose. It stays open.
    """
    url = f"fd:{descriptor}"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise AddressError(f"descriptor {descriptor} is not a socket: {error.strerror}", url=url) from error
    try:
        check_is_stream(sock)
        if bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) is not listening:
            what = "does not listen" if listening else "listens: pass it to serve"
            raise ValueError(f"it is a socket that {what}")
    except ValueError as error:
        sock.detach()
        raise AddressError(f"descriptor {descriptor}: {error}", url=url) from error
    return sock


def _adopt(descriptor: int) -> socket.socket:
    sock = inherited_socket(descriptor, listening=True)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def activated_sockets(name: str = "", environment: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that the service manager passed, all or those of one name.

    Implements the receiving side of sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.

    Raises:
        AddressError: none was passed to this process, or none of that name.
    """
    is_meant = environment.get("LISTEN_PID") == str(os.getpid())
    text = environment.get("LISTEN_FDS", "")
    count = int(text) if is_meant and re.fullmatch("[0-9]{1,6}", text) else 0  # no process has more descriptors
    names = environment.get("LISTEN_FDNAMES", "").split(":") + ["unknown"] * count
    wanted = [FIRST_ACTIVATED + i for i in range(count) if name in ("", names[i])]
    if not wanted:
        passed = f", only {', '.join(names[:count])}" if count else " (LISTEN_PID, LISTEN_FDS)"
        named = f" named {name!r}" if name else ""
        raise AddressError(f"no socket{named} was passed to this process{passed}", url=f"systemd:{name}")
    return [_adopt(descriptor) for descriptor in wanted]


# Accepting

# Connections that one wake-up accepts before other tasks get a turn.
_ACCEPTS_IN_A_ROW: Final = 64

# More than any backlog holds: a flood of new connections does not keep a server from closing.
_LONGEST_BACKLOG: Final = 1 << 16

# Errors of a single connection that was gone before it was accepted (accept(2), "Error handling").
_GONE: Final = {
    *(errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.EPERM),
    *(errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, getattr(errno, "ENONET", errno.EPROTO)),
}

ACCEPT_PAUSE = 0.25
"""Seconds until accepting is tried again after it has failed."""


class Acceptor:
    """Accept connections from listening sockets while there is room.

    If the process or the system is short of descriptors or memory, accepting fails: the
    acceptor pauses instead of spinning on sockets that stay readable, and connections wait in the kernel's
    backlog. It begins with the first `notify`.

    It accepts when the loop finds a socket readable, or, if a loop cannot watch sockets (Windows'
    Proactor), in a task for each socket.

    Args:
        sockets: listening and non-blocking. The acceptor owns them from here on.
        on_connection: called with each accepted socket, and the address of its peer.
        on_failure: called with each ``OSError`` that stopped the accepting for a while.
        room: returns how many more connections may be accepted now.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        on_connection: Callable[[socket.socket, Any], object],
        on_failure: Callable[[OSError], object],
        room: Callable[[], float],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._on_connection = on_connection
        self._on_failure = on_failure
        self._room = room
        self._closed = False
        self._stops: list[Callable[[], object]] = []  # while it accepts: a function for each socket that ends it
        self._retry: asyncio.TimerHandle | None = None

    def notify(self) -> None:
        """Accept from now on, if there is room; call it again after a connection has ended."""
        if not self._closed and not self._stops and self._room() > 0:
            if self._retry is not None:
                self._retry.cancel()
            self._stops = [self._watch(sock) for sock in self._sockets]

    def _watch(self, sock: socket.socket) -> Callable[[], object]:
        if not can_watch_descriptors(self._loop):
            return self._loop.create_task(self._keep_accepting(sock)).cancel
        self._loop.add_reader(sock, self._accept, sock)
        return partial(self._loop.remove_reader, sock)

    async def _keep_accepting(self, sock: socket.socket) -> None:
        await asyncio.sleep(0)  # an eager task begins before there is a way to stop it
        while self._stops:
            with suppress(OSError):  # `_accept` meets the error as well
                self._on_connection(*await self._loop.sock_accept(sock))
            self._accept(sock)

    def close(self, *, take_backlog: bool = True) -> None:
        """Stop accepting, and close the listening sockets in the next pass of the loop. Called once.

        Established connections in the backlog are accepted first, as far as there is room, since the kernel
        would reset them, unless another process listens on the same sockets.
        """
        if self._stops and take_backlog:
            for sock in self._sockets:
                self._accept(sock, _LONGEST_BACKLOG)
        self._closed = True
        self._stop()
        # After tasks have let go: the loop would take a new socket of this number for the old one.
        self._loop.call_soon(close_all, self._sockets)

    def _stop(self) -> None:
        stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def _accept(self, sock: socket.socket, most: int = _ACCEPTS_IN_A_ROW) -> None:
        for _ in range(most):
            if self._room() <= 0:
                self._stop()
                return
            try:
                accepted = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._stop()
                self._retry = self._loop.call_later(ACCEPT_PAUSE, self.notify)
                self._on_failure(error)
                return
            self._on_connection(*accepted)
