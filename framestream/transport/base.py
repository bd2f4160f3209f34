"""The seam between a stream and what carries its bytes.

A transport *pushes* what arrives into a `Sink`, in the words of ``asyncio.BufferedProtocol``, and takes what
is to be sent without ever waiting. It knows neither frames nor tasks::

    socket, pipe  (PolledTransport) ──┐ get_buffer, buffer_updated
    asyncio's own (LoopTransport)   ──┼──────────────► sink: a stream's receiver, or TLS, which
    a pair in memory, yours         ──┘ eof_received          pushes what it decrypts in turn
                                        connection_lost

A transport of your own subclasses `PolledTransport` if it can be asked ("is there anything?"), or `Transport`
if something calls it with bytes.
"""

from __future__ import annotations

import errno
import ssl
from abc import ABC, abstractmethod
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

Buffer: TypeAlias = "bytes | memoryview"

_RESETS: Final = (errno.ETIMEDOUT, errno.ENOTCONN)  # beside those that Python calls a ConnectionError


def is_reset(error: BaseException | None) -> bool:
    """Tell whether this error only says that the other side is gone: a close, not a fault."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in _RESETS)


class Sink(Protocol):
    """Whom a transport pushes into. None of these raise; call them from the loop, never inside a task."""

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Return where to put bytes next; valid until `buffer_updated`, or until it is asked again."""
        ...

    def buffer_updated(self, nbytes: int, /) -> None:
        """Take note of `nbytes` bytes, at least one, at the start of the buffer asked for last."""
        ...

    def eof_received(self) -> object:
        """Take note that the peer has ended its half of the stream: nothing more will be pushed."""
        ...

    def connection_lost(self, error: Exception | None, /) -> None:
        """Take note that the connection is broken, or was closed below; nothing more will be pushed."""
        ...

    def resume_writing(self) -> None:
        """Take note that `Transport.send` takes something again."""
        ...


class Transport(ABC):
    """Push what arrives into a sink, and send without blocking. Sizes are in bytes.

    `resume_reading`, `pause_reading`, `watch_writing` are told what is wanted, not what has changed: saying
    the same twice changes nothing. TLS works out what it wants anew after each step, and need not remember.

    Attributes:
        sink: whom to push into; set by `attach`.
        loop: the event loop to push from; likewise.
        tls: the TLS engine (``ssl.SSLObject``), which knows version, certificates and the protocol agreed
            on; None without TLS.
    """

    __slots__ = ("loop", "sink")

    sink: Sink
    loop: asyncio.AbstractEventLoop
    tls: ssl.SSLObject | None = None

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink` from now on; TLS that begins in mid-stream takes the place of another sink."""
        self.sink = sink
        self.loop = loop

    @abstractmethod
    def resume_reading(self) -> None:
        """Push whatever arrives, from a later pass of the loop on. A new transport does not push yet."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Leave whatever arrives where it is."""

    def receive_now(self) -> bool:
        """Push once what has arrived already, from inside this call; return False if nothing was pushed.

        The end of the stream, or of the connection, counts as pushed. A transport that cannot be asked
        returns False.
        """
        return False

    @abstractmethod
    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send the first bytes of these buffers; return how many were taken, at least one.

        After a call that took less than it was offered, or none, the next call must begin with the same
        bytes again: a transport may have passed some of them on already.

        Raises ``BlockingIOError`` where it would have to wait, ``OSError`` where the connection is broken.
        """

    def send_bytes(self, data: bytes) -> int:
        """Do as `send` with one buffer: most writes are."""
        return self.send((data,))

    @abstractmethod
    def watch_writing(self, wanted: bool) -> None:
        """Call ``sink.resume_writing()`` whenever `send` takes something, until no longer `wanted`."""

    @abstractmethod
    def shutdown(self) -> None:
        """Send the end of the stream; receiving goes on.

        Raises ``BlockingIOError`` where that has to wait, ``OSError`` where it cannot be done.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, without waiting and without another push. Called once."""

    # What only some transports can do

    @property
    def needs_close_notify(self) -> bool:
        """True if the end must be said in the protocol (by `shutdown`), so that it is no truncation."""
        return False

    def discard(self) -> None:
        """Throw away what has arrived and was not pushed: the stream is about to be closed in good order.

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
        transport, or this file, cannot do it.
        """
        raise NotImplementedError


class PolledTransport(Transport):
    """A transport that is asked for bytes when it is readable: sockets, pipes, whatever has such methods.

    A subclass has `receive_into`, `send`, `watch_readable`, `watch_writable`, `shutdown` and `close`.
    """

    __slots__ = ("_reading", "_writing")

    def __init__(self) -> None:
        self._reading = self._writing = False

    @abstractmethod
    def receive_into(self, buffer: memoryview) -> int:
        """Put received bytes at the start of `buffer`; return how many, 0 at the end of the stream.

        Raises ``BlockingIOError`` where nothing is there, ``OSError`` where the connection is broken.
        """

    @abstractmethod
    def watch_readable(self, callback: Callable[[], object] | None) -> None:
        """Call `callback` from the loop whenever `receive_into` would not block; None: no longer."""

    @abstractmethod
    def watch_writable(self, callback: Callable[[], object] | None) -> None:
        """Call `callback` from the loop whenever `send` would not block; None: no longer."""

    def resume_reading(self) -> None:
        """Watch for bytes."""
        if not self._reading:
            self._reading = True
            self.watch_readable(self._on_readable)

    def pause_reading(self) -> None:
        """Watch no longer."""
        if self._reading:
            self._reading = False
            self.watch_readable(None)

    def receive_now(self) -> bool:
        """Receive once."""
        return self._on_readable()

    def _on_readable(self) -> bool:
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
        if wanted is not self._writing:  # a loop takes a while to find out that it does not watch
            self._writing = wanted
            self.watch_writable(self.sink.resume_writing if wanted else None)

    def stop_watching(self) -> None:
        """Watch for nothing more. `close` begins with it: the next descriptor of that number is another's."""
        self.pause_reading()
        self.watch_writing(False)


def joined(buffers: Sequence[Buffer], size: int) -> Buffer:
    """Return the first bytes of these buffers as one buffer, at most `size` bytes.

    A large buffer is not copied: it is sliced when it is the first, and left for the next time otherwise.
    """
    first = buffers[0]
    if len(first) > size:
        return memoryview(first)[:size]
    if len(buffers) == 1:
        return first
    count = sum(1 for _ in takewhile(size.__ge__, accumulate(map(len, buffers))))
    return first if count == 1 else b"".join(buffers[:count])
