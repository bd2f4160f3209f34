"""The seam between a stream and what it reads from and writes to; and sockets behind it.

A channel never blocks and knows neither frames nor tasks. A stream works with anything that has these
methods: a socket, a pipe, TLS over either, a pair in memory.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final, TypeAlias

from framestream.transport._poller import watch_readable

Buffer: TypeAlias = "bytes | memoryview"
Callback: TypeAlias = Callable[[], object]

# The kernel refuses more buffers than this in one call (IOV_MAX is 1024 on Linux).
MOST_BUFFERS: Final = 512

# A peer that goes on sending is not waited for.
_MOST_TO_DISCARD: Final = 1 << 22
_DISCARDED_AT_ONCE: Final = 1 << 16

_RESETS: Final = frozenset(
    {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN}
)


def is_reset(error: BaseException) -> bool:
    """Tell whether this error only says that the other side is gone: a close, not a fault."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    return isinstance(error, OSError) and error.errno in _RESETS


class Channel(ABC):
    """Move bytes without blocking, and say when more can be moved.

    `receive`, `receive_into` and `send` raise ``BlockingIOError`` where they would have to wait, and
    ``OSError`` when the connection is broken. Sizes are in bytes.
    """

    __slots__ = ()

    @abstractmethod
    def receive(self, size: int) -> bytes:
        """Return at least one and at most `size` bytes, or ``b""`` at the end of the stream."""

    @abstractmethod
    def receive_into(self, buffer: memoryview) -> int:
        """Put received bytes at the start of `buffer`; return how many, 0 at the end of the stream."""

    @abstractmethod
    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send the first bytes of these buffers; return how many were taken, at least one.

        After a call that took less than it was offered, or none, the next call must begin with the same
        bytes again: a channel may have passed some of them on already.
        """

    @abstractmethod
    def watch_read(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Call `callback` from the loop whenever `receive` would not block; None: no longer."""

    @abstractmethod
    def watch_write(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Call `callback` from the loop whenever `send` would not block; None: no longer."""

    @abstractmethod
    def shutdown(self) -> None:
        """Send the end of the stream; receiving goes on.

        Raises ``BlockingIOError`` where that has to wait, ``OSError`` where it cannot be done.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, without waiting; called once, after both watches have ended."""

    # What only some channels can do

    tls: ssl.SSLObject | None = None
    """The TLS engine: it knows version, certificates and the protocol agreed on. None without TLS."""

    @property
    def has_farewell(self) -> bool:
        """True if `shutdown` says goodbye in the protocol, so that a cut connection can be told apart."""
        return False

    def discard(self) -> None:
        """Throw away what has arrived and was not received: the stream is about to be closed in good order.

        For what would otherwise take the connection for a broken one.
        """
        return

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return None

    @property
    def peer(self) -> str:
        """Who is on the other side, for messages."""
        return type(self).__name__

    def send_file(self, file: BinaryIO, offset: int, size: int) -> int:
        """Send up to `size` bytes of a file from `offset` on without copying them through this process.

        Returns how many; 0 means that the file ends there. Raises ``NotImplementedError`` if this
        channel, or this file, cannot do it.
        """
        raise NotImplementedError


class SocketChannel(Channel):
    """A connected stream socket: TCP or Unix. The socket belongs to the channel from here on.

    TCP is told not to wait for more before it sends: what is written in one pass of the loop leaves
    together anyway.

    Args:
        sock: the socket.
        peer: the peer's address as text, where it is known; otherwise the system is asked when it is
            needed, which knows no peer that is gone.
    """

    __slots__ = ("_peer", "_socket", "receive")

    receive: Callable[[int], bytes]  # type: ignore[assignment]  # the socket's own method: one call less

    def __init__(self, sock: socket.socket, peer: str = "") -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._peer = peer
        self.receive = sock.recv

    def receive_into(self, buffer: memoryview) -> int:
        """Receive straight into the buffer."""
        return self._socket.recv_into(buffer)

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send with one system call, however many buffers there are."""
        if len(buffers) == 1:
            return self._socket.send(buffers[0])
        return self._socket.sendmsg(buffers[:MOST_BUFFERS])

    def watch_read(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Register with the loop, or with what it has for sockets."""
        watch_readable(loop, self._socket, callback)

    def watch_write(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Register with the loop's selector."""
        if callback is None:
            loop.remove_writer(self._socket)
        else:
            loop.add_writer(self._socket, callback)

    def shutdown(self) -> None:
        """Shut the sending half of the socket down."""
        self._socket.shutdown(socket.SHUT_WR)

    def discard(self) -> None:
        """Throw away what has arrived.

        A system that closes a socket over unread bytes resets the connection, and what was sent and is still
        on its way is lost.
        """
        with suppress(OSError, ValueError):  # nothing is there; a TLS socket may know no more than that
            for _ in range(_MOST_TO_DISCARD // _DISCARDED_AT_ONCE):
                if not self._socket.recv(_DISCARDED_AT_ONCE):
                    return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def socket(self) -> socket.socket:
        """The socket."""
        return self._socket

    @property
    def peer(self) -> str:
        """The peer's address as text; empty if nobody has asked while there was one."""
        if not self._peer:
            with suppress(OSError):
                self._peer = format_address(self._socket.getpeername())
        return self._peer

    def send_file(self, file: BinaryIO, offset: int, size: int) -> int:
        """Send straight from the page cache."""
        try:
            return os.sendfile(self._socket.fileno(), file.fileno(), offset, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, (BlockingIOError, InterruptedError)) or is_reset(error):
                raise
            raise NotImplementedError from error


def format_address(address: Any) -> str:
    """Return a socket address as text: ``host:port``, ``[host]:port`` or a path."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address) or "unnamed"
