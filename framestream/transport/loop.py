"""A transport over the event loop's own: where descriptors cannot be watched, or where that is slower."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from framestream.transport.base import Buffer, Sink, Transport, is_reset, joined
from framestream.transport.descriptor import Readiness, address_of_peer, discard_received, prepare_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Handed to the loop at once: it keeps what the socket does not take, and copies it for that in places.
_MOST_AT_ONCE: Final = 1 << 18
# Receives from a peer that is gone: a frame or so.
_MOST_OF_A_REST: Final = 16


class LoopTransport(Transport, asyncio.BufferedProtocol):
    """Let the loop's transport receive into the sink's buffers, and hand it what is to be sent.

    It is there at once and sends nothing until the loop has made its own, some passes later. A failure to
    make one is a lost connection.

    The loop's transport keeps what it cannot send at once. So that nothing is kept twice and `send` means
    what it says, bytes count as taken only when none of them is left in there.

    Without a socket this is a protocol for whatever else makes transports that go both ways, such as the
    Proactor loop's ``create_pipe_connection``; it can be attached before or after that.

    Args:
        sock: a connected stream socket; belongs to the transport from here on.
        peer: the peer's address as text, where it is known.
    """

    # The sink's own methods: the loop calls them without a detour.
    get_buffer: Callable[[int], memoryview]  # type: ignore[assignment]
    buffer_updated: Callable[[int], None]  # type: ignore[assignment]

    def __init__(self, sock: socket.socket | None = None, peer: str = "") -> None:
        if sock is not None:
            prepare_socket(sock)
        self._socket = sock
        self._peer = peer
        self._transport: Any = None
        self._opening: asyncio.Task[Any] | None = None
        self._reading = False
        self._blocked = True  # there is no transport yet, or it holds something
        self._owed = 0  # what it holds, and is not yet reported as sent
        self._writable: Readiness | None = None
        self._error: Exception | None = None
        self._closed = False

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink`; the first time, have the loop make its transport."""
        super().attach(sink, loop)
        self.get_buffer = sink.get_buffer
        self.buffer_updated = sink.buffer_updated
        if self._transport is not None:
            self._transport.set_protocol(self)  # a loop may have kept the methods of another sink
        elif self._socket is not None and self._opening is None:
            opening = loop.connect_accepted_socket(lambda: self, self._socket)
            self._opening = loop.create_task(opening)
            self._opening.add_done_callback(self._opened)
            # In the pass of the loop in which `connection_made` is called, but after it: a loop (uvloop)
            # begins to read then, whatever `connection_made` has told it.
            loop.call_soon(loop.call_soon, self._settle)

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        self._opening = None
        if self._transport is None:
            assert self._socket is not None
            self._socket.close()
            if not opening.cancelled():
                self.connection_lost(opening.exception())  # type: ignore[arg-type]  # of a task: no exit

    def _settle(self) -> None:
        if self._transport is not None and not self._reading:
            self._transport.pause_reading()

    # The protocol of the loop's transport

    def connection_made(self, transport: Any) -> None:
        """Begin; called by the loop."""
        self._transport = transport
        if self._closed:
            transport.abort()
            return
        # TLS may have begun since the loop was asked for its transport: then a loop (uvloop) has kept the
        # methods of the sink before.
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=0)
        if not self._reading:
            transport.pause_reading()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Take note that something has not left; called by the loop."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Take note that everything has left; called by the loop."""
        self._blocked = False
        if self._writable is not None:
            self._writable.poke()

    def eof_received(self) -> bool:
        """Push the end, and keep the other half open; called by the loop."""
        if not self._closed:
            self.sink.eof_received()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Push the loss; called by the loop."""
        self._blocked = True
        self._error = error or ConnectionResetError(errno.ECONNRESET, "the connection was closed")
        if is_reset(error):
            self._push_rest()
        if not self._closed:
            self.sink.connection_lost(error)
        if self._writable is not None:
            self._writable.poke()

    def _push_rest(self) -> None:
        # The loop has failed to write, and receives no more. What the peer has sent before it left is there
        # still, often the reason. The loop closes the socket when it is told of the loss, not before.
        with suppress(OSError, ValueError):
            for _ in range(_MOST_OF_A_REST):
                if self._closed or self._socket is None:
                    return
                received = self._socket.recv_into(self.get_buffer(-1))
                if not received:
                    return
                self.buffer_updated(received)

    # Towards the stream

    def resume_reading(self) -> None:
        """Have the loop receive."""
        self._reading = True
        if self._transport is not None:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Have the loop receive nothing."""
        self._reading = False
        if self._transport is not None:
            self._transport.pause_reading()

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Hand it to the loop, which sends at once what it can."""
        transport = self._transport
        # A loop's transport that closes by itself has met an error, and tells in the next pass.
        if self._blocked or transport.is_closing():
            raise self._error or BlockingIOError
        if self._owed:
            taken, self._owed = self._owed, 0
            return taken
        # One buffer, since `writelines` forgets to call `pause_writing` in Python up to 3.12.8 and 3.13.1.
        data = joined(buffers, _MOST_AT_ONCE)
        transport.write(data)
        if transport.is_closing():
            raise BlockingIOError
        if transport.get_write_buffer_size():
            self._owed = len(data)
            raise BlockingIOError
        return len(data)

    def _can_send(self) -> bool:
        return self._error is not None or not (self._blocked or self._transport.is_closing())

    def watch_writing(self, wanted: bool) -> None:
        """Call the sink while nothing is left in the loop's transport."""
        if self._writable is None:
            if not wanted:
                return
            self._writable = Readiness(self._can_send)
        self._writable.watch(self.loop, self.sink.resume_writing if wanted else None)

    def shutdown(self) -> None:
        """Have the loop end the sending half."""
        if self._blocked or self._transport.is_closing():
            raise self._error or BlockingIOError
        if not self._transport.can_write_eof():
            raise OSError(errno.EOPNOTSUPP, "this transport of the loop cannot be half closed")
        self._transport.write_eof()

    def discard(self) -> None:
        """Throw away what has arrived, as for sockets."""
        if self._socket is not None:
            discard_received(self._socket)

    def close(self) -> None:
        """Close the loop's transport, and drop what it has not sent."""
        self._closed = True
        # The Proactor loop hands on what it has received in pieces, whatever happens in between.
        self.get_buffer = lambda sizehint: memoryview(bytearray(max(sizehint, 1)))
        self.buffer_updated = lambda nbytes: None
        if self._writable is not None:
            self._writable.watch(self.loop, None)
        if self._transport is None:
            if self._opening is not None:
                self._opening.cancel()
            elif self._socket is not None:
                self._socket.close()
        elif self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    @property
    def socket(self) -> socket.socket | None:
        """The socket, if this was made over one."""
        return self._socket

    @property
    def peer(self) -> str:
        """The peer's address as text; empty if nobody has asked while there was one."""
        if not self._peer and self._socket is not None:
            self._peer = address_of_peer(self._socket)
        return self._peer
