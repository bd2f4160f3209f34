"""IOStream: over a socket, connected or still to be."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.netutil import ssl_wrap_socket

from framestream import FramestreamError, channel_over
from framestream_tornado._base import BaseIOStream
from framestream_tornado._errors import StreamClosedError

if TYPE_CHECKING:
    from typing import Self

    from framestream_tornado._ssl_stream import SSLIOStream


class IOStream(BaseIOStream):
    """A stream over a socket; one that is not connected is by `connect`.

    Args:
        socket: belongs to the stream from here on.
        args, options: see `BaseIOStream`.
    """

    def __init__(self, socket: socket.socket, *args: Any, **options: Any) -> None:
        self.socket = socket
        self.inner = channel_over(socket)
        self._connecting: asyncio.Future[Any] | None = None
        super().__init__(*args, **options)

    def fileno(self) -> int | socket.socket:
        """Return the socket."""
        return self.socket

    def close_fd(self) -> None:
        """Close the socket; a closed stream has none."""
        super().close_fd()
        self.socket = None  # type: ignore[assignment]

    def get_fd_error(self) -> Exception | None:
        """Return the socket's own error."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number))

    # Connecting

    def connect(self, address: Any, server_hostname: str | None = None) -> asyncio.Future[Self]:
        """Return a future of this stream, connected. What is written meanwhile leaves afterwards."""
        self._connecting = future = self.loop.create_future()
        self.fds.hold(self._on_connected, IOLoop.WRITE)
        try:
            self.socket.connect(address)
        except BlockingIOError:
            pass
        except OSError as error:
            self.close(error)
        return future

    def _on_connected(self, fd: object, events: int) -> None:
        error = self.get_fd_error()
        if isinstance(error, OSError) and error.errno:
            self.close(error)
            return
        settle(self._connecting, self)
        self._connecting = None
        self.go_on_connected()

    def go_on_connected(self) -> None:
        """Let the bytes move: the socket is connected."""
        self.fds.go_on()

    def fail_to_open(self) -> None:
        """Fail the future of `connect`."""
        settle(self._connecting, StreamClosedError(real_error=self.error))

    # TLS

    def start_tls(  # type: ignore[override]  # Tornado's gives another stream
        self,
        server_side: bool,
        ssl_options: dict[str, Any] | ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> asyncio.Future[SSLIOStream]:
        """Return a future of a new stream, which goes on with the connection under TLS.

        The close callback moves over. Cancelling the future closes the new stream.

        Raises:
            ValueError: something is under way, or buffered.
        """
        from framestream_tornado._ssl_stream import SSLIOStream  # noqa: PLC0415 - a subclass of this class

        try:
            if self._connecting is not None:
                raise FramestreamError("the stream is not connected")
            self.detach()
        except FramestreamError as error:
            raise ValueError("IOStream is not idle; cannot convert to SSL") from error
        if ssl_options is None:
            ssl_options = default_context(server_side=server_side)
        sock = ssl_wrap_socket(
            self.socket, ssl_options, server_hostname, server_side, do_handshake_on_connect=False
        )
        self.socket = None  # type: ignore[assignment]  # it is the new stream's
        stream = SSLIOStream(sock, self.max_buffer_size, self.read_chunk_size, ssl_options=ssl_options)
        stream.set_close_callback(self._on_close)
        future = stream.wait_for_handshake()
        future.add_done_callback(lambda done: stream.close() if done.cancelled() else None)
        return future


@functools.cache
def default_context(*, server_side: bool) -> ssl.SSLContext:
    """Return the context for streams that are given none; one for the process, as Tornado has.

    Making one loads the platform's certificates, which takes tens of milliseconds.
    """
    return ssl.create_default_context(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)


def settle(future: asyncio.Future[Any] | None, outcome: object) -> None:
    """End a future, if somebody waits for it; nobody need look at an exception."""
    if future is None or future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
        future.exception()
    else:
        future.set_result(outcome)
