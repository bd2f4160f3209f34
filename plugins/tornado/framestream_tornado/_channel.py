"""What is behind a stream of Tornado's kind: a channel of ours, or its own methods."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tornado.ioloop import IOLoop

from framestream import Channel

if TYPE_CHECKING:
    import socket

    from framestream_tornado._base import BaseIOStream

_READ = IOLoop.READ

Callback: TypeAlias = Callable[[], object]


class StreamChannel(Channel):
    """Move bytes with `read_from_fd` and `write_to_fd`; past them where they are not replaced.

    While it is held, nothing moves: what is written waits, and so does who reads.
    """

    __slots__ = ("_events", "_held", "_reader", "_stream", "_writer", "receive", "receive_into", "send")

    receive: Callable[[int], bytes]  # type: ignore[assignment]  # chosen anew by `choose`
    receive_into: Callable[[memoryview], int]  # type: ignore[assignment]
    send: Callable[[Sequence[bytes | memoryview]], int]  # type: ignore[assignment]

    def __init__(self, stream: BaseIOStream) -> None:
        self._stream = stream
        self._reader: Callback | None = None
        self._writer: Callback | None = None
        self._held = False
        self._events = 0
        self.choose()

    def choose(self) -> None:
        """Choose the way of the bytes anew: something about the stream has changed."""
        straight = self._stream.straight
        if self._held:
            self.receive = self.receive_into = self.send = _held
        elif straight is None:
            self.receive, self.receive_into, self.send = self._receive, self._receive_into, self._send
        else:
            self.receive, self.receive_into = straight.receive, straight.receive_into
            self.send = straight.send

    def hold(self, handler: Callable[[Any, int], None], events: int) -> None:
        """Move nothing, and have Tornado's loop call `handler` on these events instead."""
        self._held = True
        self.choose()
        self._handle(handler, events)

    def go_on(self) -> None:
        """Move bytes again."""
        self._held = False
        self.choose()
        self._handle(self._on_events, self._wanted)

    # By the methods of the stream

    def _receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            return view[: self._receive_into(view)].tobytes()

    def _receive_into(self, buffer: memoryview) -> int:
        received = self._stream.read_from_fd(buffer)
        if received is None:
            raise BlockingIOError
        # The method may have more, of which the loop does not know: TLS has.
        self._stream.loop.call_soon(self._on_events, None, IOLoop.READ)
        return received

    def _send(self, buffers: Sequence[bytes | memoryview]) -> int:
        with memoryview(buffers[0] if len(buffers) == 1 else b"".join(buffers)) as data:
            sent = self._stream.write_to_fd(data)
        if not sent:
            raise BlockingIOError
        return sent

    # By Tornado's loop, which closes what it knows when it is closed itself

    def watch_read(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Watch it, once the channel is not held any more."""
        self._reader = callback
        self._watch()

    def watch_write(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Watch it, once the channel is not held any more."""
        self._writer = callback
        self._watch()

    @property
    def _wanted(self) -> int:
        return (self._reader is not None) * IOLoop.READ | (self._writer is not None) * IOLoop.WRITE

    def _watch(self) -> None:
        if not self._held and self._wanted != self._events:
            self._handle(self._on_events, self._wanted)

    def _handle(self, handler: Callable[[Any, int], None], events: int) -> None:
        io_loop, fd = self._stream.io_loop, self._stream.fileno()
        io_loop.remove_handler(fd)
        # Also where nothing is to be watched: a loop that is closed with all it knows closes this, too.
        io_loop.add_handler(fd, handler, events or IOLoop.ERROR)
        self._events = events

    def _on_events(self, fd: object, events: int) -> None:
        # Reading and writing are told separately.
        callback = self._reader if events == _READ else self._writer
        if callback is not None:
            callback()

    # The end

    def shutdown(self) -> None:
        """Send the end of the stream."""
        if self._stream.inner is None:
            raise OSError(errno.EOPNOTSUPP, "this stream cannot be half closed")
        self._stream.inner.shutdown()

    def close(self) -> None:
        """Close by the stream's method, and tell who waits for it to open."""
        self._stream.io_loop.remove_handler(self._stream.fileno())
        self._stream.close_fd()
        self._stream.fail_to_open()

    # What it is

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return None if self._stream.inner is None else self._stream.inner.socket

    @property
    def peer(self) -> str:
        """Who is on the other side."""
        return self._stream.inner.peer if self._stream.inner else ""


def _held(_: object) -> NoReturn:
    raise BlockingIOError
