"""The transport of a stream of Tornado's kind: calls the stream's methods when Tornado's loop says so."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING, Any, TypeAlias

from tornado.ioloop import IOLoop

from framestream.transport import PolledTransport, address_of_peer, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Callback: TypeAlias = Callable[[], object]

_READ, _WRITE = IOLoop.READ, IOLoop.WRITE
# Sent at a time. A single buffer is not copied for that; and TLS takes less.
_MOST_TO_SEND = 1 << 17


class DescriptorTransport(PolledTransport):
    """Move bytes with a stream's `read_from_fd` and `write_to_fd`.

    While the stream is being opened (`hold`), nothing moves: writes and reads wait.

    Args:
        stream: whose methods to use; they are looked up at each call, since the user of a stream may
            replace them.
        hides: `read_from_fd` may have more even if it did not fill its buffer.
    """

    __slots__ = ("_events", "_hides", "_more", "_on_read", "_on_write", "_opening", "_stream")

    def __init__(self, stream: Any, hides: bool) -> None:
        super().__init__()
        self._stream = stream
        self._hides = hides
        self._more = False  # there may be more bytes, unknown to the loop: TLS keeps some
        self._on_read: Callback | None = None
        self._on_write: Callback | None = None
        self._opening: Callback | None = None
        self._events: int | None = None  # the events asked of the loop; None before it knows the descriptor

    def receive_into(self, buffer: memoryview) -> int:
        """Receive by the stream's method."""
        if self._opening is not None:
            raise BlockingIOError
        received: int | None = self._stream.read_from_fd(buffer)
        self._more = received == len(buffer) or (self._hides and bool(received))
        if received is None:
            raise BlockingIOError
        if self._more:
            self._read_soon()
        return received

    def send(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Send by the stream's method."""
        if self._opening is not None:
            raise BlockingIOError
        with memoryview(joined(buffers, _MOST_TO_SEND)) as data:
            sent: int = self._stream.write_to_fd(data)
        if not sent:
            raise BlockingIOError
        return sent

    # When they move: Tornado's loop closes what it knows when it is closed itself

    def hold(self, callback: Callback, events: int) -> None:
        """Move nothing, and call `callback` on these events, until `resume`."""
        self._opening = callback
        self._watch(events)

    def resume(self) -> None:
        """Move bytes again."""
        self._opening = None
        self._watch_both()

    def watch_readable(self, callback: Callback | None) -> None:
        """Watch it, once the transport is not held any more."""
        self._on_read = callback
        if callback is not None and self._more:
            self._read_soon()
        self._watch_both()

    def watch_writable(self, callback: Callback | None) -> None:
        """Watch it, once the transport is not held any more."""
        self._on_write = callback
        self._watch_both()

    def _watch_both(self) -> None:
        if self._opening is None:
            self._watch((self._on_read is not None) * _READ | (self._on_write is not None) * _WRITE)

    def _watch(self, events: int) -> None:
        if events == (self._events or 0):
            return
        io_loop, fd = self._stream.io_loop, self._stream.fileno()
        if self._events is None:
            io_loop.add_handler(fd, self._on_events, events)
        else:
            io_loop.update_handler(fd, events)
        self._events = events

    def _on_events(self, fd: object, events: int) -> None:
        # Reading and writing are reported separately.
        callback = self._opening or (self._on_read if events == _READ else self._on_write)
        if callback is not None:
            callback()

    def _read_soon(self) -> None:
        self.loop.call_soon(self._on_events, None, _READ)

    def forget(self) -> None:
        """Make the loop forget the descriptor: it is about to be closed, or to be another's."""
        if self._events is not None:
            self._stream.io_loop.remove_handler(self._stream.fileno())
            self._events = None

    # The end

    def shutdown(self) -> None:
        """Send the end of the stream, if that takes only a system call."""
        sock = self._stream.socket
        if sock is None or isinstance(sock, ssl.SSLSocket):
            raise OSError(errno.EOPNOTSUPP, "this stream cannot be half closed")
        sock.shutdown(1)

    def close(self) -> None:
        """Close by the stream's method, and tell the futures that wait for it to open."""
        self.forget()
        self._stream.close_fd()
        self._stream.fail_to_open()

    # What it is

    @property
    def socket(self) -> Any:
        """The socket underneath, if there is one."""
        return self._stream.socket

    @property
    def peer(self) -> str:
        """The other side's address."""
        sock = self._stream.socket
        return "" if sock is None else address_of_peer(sock)
