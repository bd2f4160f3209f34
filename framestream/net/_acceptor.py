"""Accept connections: as many as there is room for, whatever the system is short of."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

log = logging.getLogger("framestream.server")

# How many connections one wake-up accepts before others get their turn.
_ACCEPTS_IN_A_ROW: Final = 64

# More than any backlog holds: a flood of new ones does not keep a server from closing.
_LONGEST_BACKLOG: Final = 1 << 16

# Trouble of one connection that was gone before it was accepted (accept(2), "Error handling").
_GONE: Final = frozenset(
    getattr(errno, name)
    for name in [
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "EPERM",
    ]
    if hasattr(errno, name)
)

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0


class Acceptor:
    """Take connections from listening sockets while there is room.

    Where the process or the system is short of descriptors or memory, nothing can be accepted: the
    acceptor pauses, for longer each time, instead of spinning on sockets that stay readable. Until then
    connections wait in the kernel's backlog. It begins with the first `poke`.

    Args:
        sockets: listening and non-blocking. They belong to the acceptor from here on.
        on_connection: takes each accepted socket, and the address of its peer.
        on_failure: told about each ``OSError`` that stopped the accepting for a while.
        room: how many more connections may be accepted now.
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
        self._listening = False
        self._closed = False
        self._pause = FIRST_PAUSE
        self._timer: asyncio.TimerHandle | None = None

    def poke(self) -> None:
        """Accept from now on, if there is room; call it again when a connection has ended."""
        if self._closed or self._listening or self._room() <= 0:
            return
        self._stop_timer()
        self._listening = True
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def close(self, *, take_backlog: bool = True) -> None:
        """Close the listening sockets. Idempotent.

        What has already connected is accepted before, as far as there is room, since the kernel would
        reset it, unless another process listens on the same sockets.
        """
        if self._closed:
            return
        if self._listening and take_backlog:
            for sock in self._sockets:
                self._accept(sock, _LONGEST_BACKLOG)
        self._rest()
        self._closed = True
        self._stop_timer()
        for sock in self._sockets:
            sock.close()

    def _rest(self) -> None:
        if self._listening:
            self._listening = False
            for sock in self._sockets:
                self._loop.remove_reader(sock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accept(self, sock: socket.socket, most: int = _ACCEPTS_IN_A_ROW) -> None:
        for _ in range(most):
            if self._room() <= 0:
                self._rest()
                return
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._back_off(error)
                return
            self._pause = FIRST_PAUSE
            self._on_connection(connection, address)

    def _back_off(self, error: OSError) -> None:
        self._rest()
        self._timer = self._loop.call_later(self._pause, self.poke)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._on_failure(error)
