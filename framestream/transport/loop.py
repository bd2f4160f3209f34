"""A transport over the event loop's own, for loops that cannot watch descriptors: Proactor, on Windows.

On other loops `SocketTransport` is as fast as the loop's own transports, uvloop's included, and it can
receive inside a read.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from framestream.transport.base import Buffer, Sink, Transport, is_reset, joined
from framestream.transport.descriptor import Readiness, Socket, address_of_peer, discard_received, prepare_socket

# Given to the loop at once: it keeps, and in places copies, bytes that the socket does not take.
_MOST_AT_ONCE: Final = 1 << 18
# Receives from a peer that is gone: a frame or so.
_MOST_OF_A_REST: Final = 16


class LoopTransport(Transport, asyncio.BufferedProtocol):
    """Let the loop's transport receive into the sink's buffers, and give it the bytes to send.

    It exists at once but sends nothing until the loop has made its own transport, some passes later. If
    that fails, the connection is lost.

    The loop's transport keeps bytes that it cannot send at once. So that nothing is kept twice and the result
    of `send` is true, bytes count as taken only when the loop's transport has sent them all.

    Without a socket, its maker calls `connection_made` with a transport of the loop, before or after `attach`.

    Args:
        sock: a connected stream socket; the transport owns it from here on.
        peer: the peer's address as text, if known.
    """

    peer = ""
    socket: Socket | None = None

    def __init__(self, sock: Socket | None = None, peer: str = "") -> None:
        if sock is not None:
            prepare_socket(sock)
            peer = peer or address_of_peer(sock)
        self.socket = sock
        self.peer = peer
        self._transport: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._reading = False
        self._blocked = True  # there is no transport yet, or it holds bytes
        self._owed = 0  # bytes it holds that are not yet reported as sent
        self._writable = Readiness(lambda: self._error is not None or self._can_send())
        self._error: Exception | None = None
        self._closed = False

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink`; the first time, let the loop make its transport."""
        super().attach(sink, loop)
        if self.socket is not None and self._opening is None:
            self._opening = loop.create_task(self._open(self.socket))

    async def _open(self, sock: Socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: self, sock)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no connection
            sock.close()
            self.connection_lost(error)

    # The protocol of the loop's transport

    def connection_made(self, transport: Any) -> None:
        """Begin; called by the loop."""
        self._transport = transport
        if self._closed:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)
        self._hold_back()
        asyncio.get_running_loop().call_soon(self._hold_back)  # uvloop begins to read after this call, whatever it did
        self.resume_writing()

    def _hold_back(self) -> None:
        if not (self._reading or self._transport.is_closing()):
            self._transport.pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the sink's buffer; called by the loop."""
        return self.sink.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Push; called by the loop."""
        if not self._closed:  # the Proactor loop passes received bytes on in pieces, whatever happens in between
            self.sink.buffer_updated(nbytes)

    def pause_writing(self) -> None:
        """Note that bytes have not left; called by the loop."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Note that everything has left; called by the loop."""
        self._blocked = False
        self._writable.notify()

    def eof_received(self) -> bool:
        """Push the end, and keep the other half open; called by the loop."""
        if not self._closed:
            self.sink.eof_received()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Push the loss; called by the loop."""
        if is_reset(error) and self.socket is not None:
            self._push_rest(self.socket)
        if not self._closed:
            self.sink.connection_lost(error)
        self.fail_writing(error or ConnectionResetError(errno.ECONNRESET, "the connection was closed"))

    def fail_writing(self, error: Exception) -> None:
        """Make `send` raise this, now that the loop's transport is unusable."""
        self._blocked = True
        self._error = error
        self._writable.notify()

    def _push_rest(self, sock: Socket) -> None:
        # The loop has failed to write, and receives no more. What the peer sent before it left is still
        # there, often the reason. The loop closes the socket after it reports the loss, not before.
        with suppress(OSError, ValueError):
            for _ in range(_MOST_OF_A_REST):
                if self._closed or not (received := sock.recv_into(self.sink.get_buffer(-1))):
                    return
                self.sink.buffer_updated(received)

    # Towards the stream

    def resume_reading(self) -> None:
        """Let the loop receive."""
        self._reading = True
        if self._transport is not None:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Stop the loop's receiving."""
        self._reading = False
        if self._transport is not None:
            self._transport.pause_reading()

    def _can_send(self) -> bool:
        # A loop's transport that closes by itself has met an error, and reports it in the next pass.
        return not (self._blocked or self._transport.is_closing())

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Give it to the loop, which sends at once what it can."""
        if not self._can_send():
            raise self._error or BlockingIOError
        if not self._owed:
            # One buffer: `writelines` forgets to call `pause_writing` in Python up to 3.12.8 and 3.13.1.
            data = joined(buffers, _MOST_AT_ONCE)
            self._owed = len(data)
            self._transport.write(data)
            if not self._can_send():
                raise BlockingIOError
        taken, self._owed = self._owed, 0
        return taken

    def watch_writing(self, wanted: bool) -> None:
        """Call the sink while the loop's transport holds no bytes."""
        self._writable.watch(self.loop, self.sink.resume_writing if wanted else None)

    def shutdown(self) -> None:
        """Let the loop end the sending half."""
        if not self._can_send():
            raise self._error or BlockingIOError
        if not self._transport.can_write_eof():
            raise OSError(errno.EOPNOTSUPP, "this transport of the loop cannot be half closed")
        self._transport.write_eof()

    def discard(self) -> None:
        """Discard received bytes, as for sockets."""
        if self.socket is not None:
            discard_received(self.socket)

    def close(self) -> None:
        """Close the loop's transport, and drop its unsent bytes."""
        self._closed = True
        self._writable.watch(self.loop, None)
        if self._transport is None:
            return  # it is closed once it is made
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
