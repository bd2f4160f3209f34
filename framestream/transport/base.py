"""The interface between a stream and the transport that carries its bytes.

A transport *pushes* received bytes into a `Sink`, with the methods of ``asyncio.BufferedProtocol``, and sends
bytes without ever waiting. It knows neither frames nor tasks::

    socket, pipe  (PolledTransport) ──┐ get_buffer, buffer_updated
    asyncio's own (LoopTransport)   ──┼──────────────► sink: a stream's receiver, or TLS, which
    a pair in memory, yours         ──┘ eof_received          pushes what it decrypts in turn
                                        connection_lost

A transport of your own subclasses `PolledTransport` if it can be asked for bytes, or `Transport` if other
code calls it with bytes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile
from typing import Final, Protocol, TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

# The kernel refuses more buffers than this in one call (IOV_MAX is 1024 on Linux).
MOST_BUFFERS: Final = 512

_RESETS: Final = (errno.ETIMEDOUT, errno.ENOTCONN)  # besides those that Python calls a ConnectionError


def is_reset(error: BaseException | None) -> bool:
    """Tell whether this error only says that the other side is gone: a close, not a fault."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in _RESETS)


def settle(future: asyncio.Future[None], error: BaseException | None = None) -> None:
    """Wake what awaits a future, with an error or without, unless it is done or has been given up."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class Sink(Protocol):
    """The receiver of a transport's pushes. No method raises; call them from the loop, never in a task."""

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Return where to put the next bytes; valid until `buffer_updated`, or until the next call."""

    def buffer_updated(self, nbytes: int, /) -> None:
        """Take `nbytes` bytes, at least one, from the start of the last buffer returned."""

    def eof_received(self) -> object:
        """Note that the peer has ended its half of the stream: nothing more will be pushed."""

    def connection_lost(self, error: Exception | None, /) -> None:
        """Note that the connection is broken, or was closed below; nothing more will be pushed."""

    def resume_writing(self) -> None:
        """Note that `Transport.send` takes bytes again."""


class Transport(ABC):
    """Push received bytes into a sink, and send without blocking. Sizes are in bytes.

    `resume_reading`, `pause_reading`, `watch_writing` receive the wanted state, not a change: repeating a
    call changes nothing. TLS computes what it wants anew after each step, and need not remember.

    Attributes:
        sink: receives the pushes; set by `attach`.
        loop: the event loop to push from; set by `attach`.
        tls: the TLS engine (``ssl.SSLObject``), which knows version, certificates and the agreed
            protocol; None without TLS.
        needs_close_notify: True if `shutdown` must announce the end in the protocol, so that it is no truncation.
        may_read_no_more: True if a peer that reads no more may have ended in good order, as a program may.
    """

    __slots__ = ("loop", "sink")

    sink: Sink
    loop: asyncio.AbstractEventLoop
    tls: ssl.SSLObject | None = None
    needs_close_notify = False
    may_read_no_more = False

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink` from now on; TLS that begins in mid-stream replaces another sink."""
        self.sink = sink
        self.loop = loop

    @abstractmethod
    def resume_reading(self) -> None:
        """Push received bytes, from a later pass of the loop on. A new transport does not push yet."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Leave received bytes where they are."""

    def receive_now(self) -> bool:
        """Push once what has arrived already, inside this call; return False if nothing was pushed.

        The end of the stream, or of the connection, counts as pushed. A transport that cannot be polled
        returns False.
        """
        return False

    @abstractmethod
    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send the first bytes of these buffers; return how many were taken, at least one.

        After a call that took only part of them, or none, the next call must begin with the same
        bytes again: a transport may have passed some of them on already.

        Raises ``BlockingIOError`` if it would have to wait, ``OSError`` if the connection is broken.
        """

    @abstractmethod
    def watch_writing(self, wanted: bool) -> None:
        """Call ``sink.resume_writing()`` whenever `send` takes bytes, while `wanted`."""

    @abstractmethod
    def shutdown(self) -> None:
        """Send the end of the stream; receiving continues.

        Raises ``BlockingIOError`` if it would have to wait, ``OSError`` if it is impossible.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything, without waiting and without another push. Called once."""

    # Only for some transports

    def discard(self) -> None:
        """Discard received bytes that were not pushed: the stream is about to close in good order.

        For systems that would otherwise reset the connection.
        """
        return

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return None

    @property
    def peer(self) -> str:
        """The other side's address, for messages."""
        return type(self).__name__


class PolledTransport(Transport):
    """A transport that is polled for bytes when it is readable: sockets, pipes, anything with these methods.

    A subclass has `receive_into`, `send`, `watch_readable`, `watch_writable`, `shutdown` and `close`.
    """

    __slots__ = ("_reading", "_writing")

    def __init__(self) -> None:
        self._reading = self._writing = False

    @abstractmethod
    def receive_into(self, buffer: memoryview) -> int:
        """Put received bytes at the start of `buffer`; return how many, 0 at the end of the stream.

        Raises ``BlockingIOError`` if nothing has arrived, ``OSError`` if the connection is broken.
        """

    @abstractmethod
    def watch_readable(self, callback: Callable[[], object] | None) -> None:
        """Call `callback` from the loop whenever `receive_into` would not block; with None, stop."""

    @abstractmethod
    def watch_writable(self, callback: Callable[[], object] | None) -> None:
        """Call `callback` from the loop whenever `send` would not block; with None, stop."""

    def resume_reading(self) -> None:
        """Watch for bytes."""
        if not self._reading:
            self._reading = True
            self.watch_readable(self.receive_now)

    def pause_reading(self) -> None:
        """Stop watching."""
        if self._reading:
            self._reading = False
            self.watch_readable(None)

    def receive_now(self) -> bool:
        """Receive once; this is also what the loop calls."""
        sink = self.sink
        try:
            received = self.receive_into(sink.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more can be received
            self.pause_reading()
            sink.connection_lost(error)
            return True
        if received:
            sink.buffer_updated(received)
        else:
            self.pause_reading()
            sink.eof_received()
        return True

    def watch_writing(self, wanted: bool) -> None:
        """Watch for room."""
        if wanted is not self._writing:  # a loop is slow to find out that it does not watch
            self._writing = wanted
            self.watch_writable(self.sink.resume_writing if wanted else None)

    def stop_watching(self) -> None:
        """Stop all watching. `close` begins with it: the next descriptor of that number is another's."""
        self.pause_reading()
        self.watch_writing(False)
        self.sink = None  # type: ignore[assignment]  # nothing is pushed any more, and no cycle keeps the sink alive


def joined(buffers: Sequence[Buffer], size: int) -> Buffer:
    """Return the first bytes of these buffers as one buffer, at most `size` bytes.

    A large buffer is not copied: as the first it is sliced, otherwise it is left for the next call.
    """
    first = buffers[0]
    if len(first) > size:
        return memoryview(first)[:size]
    if len(buffers) == 1:
        return first
    count = sum(1 for _ in takewhile(size.__ge__, accumulate(map(len, buffers))))
    return first if count == 1 else b"".join(buffers[:count])
