"""The contents of tornado.iostream, on framestream's streams: the module that replaces it."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.log import gen_log
from tornado.netutil import ssl_wrap_socket

from framestream.transport import is_reset
from framestream_tornado._base import BaseIOStream
from framestream_tornado._errors import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from framestream_tornado._futures import settle

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "BaseIOStream",
    "IOStream",
    "PipeIOStream",
    "SSLIOStream",
    "StreamBufferFullError",
    "StreamClosedError",
    "UnsatisfiableReadError",
]


class PipeIOStream(BaseIOStream):
    """A stream over a file descriptor, such as one of `os.pipe`: for reading or for writing.

    Args:
        fd: the stream owns it from here on.
        args, options: see `BaseIOStream`.
    """

    def __init__(self, fd: int, *args: Any, **options: Any) -> None:
        self.fd = fd
        self._reads = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
        os.set_blocking(fd, False)
        super().__init__(*args, **options)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd

    def close_fd(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read; a write-only descriptor is at its end: it becomes readable when its reader is gone."""
        try:
            return os.readv(self.fd, [buf]) if self._reads else 0
        except BlockingIOError:
            return None

    plain_read = read_from_fd

    def write_to_fd(self, data: memoryview) -> int:
        """Write."""
        return os.write(self.fd, data)


class IOStream(BaseIOStream):
    """A stream over a socket, which `connect` connects if it is not connected.

    Args:
        socket: the stream owns it from here on; None when the stream is closed.
        args, options: see `BaseIOStream`.
    """

    socket: Any

    def __init__(self, socket: socket.socket, *args: Any, **options: Any) -> None:
        self.socket = socket
        socket.setblocking(False)
        self._opening: asyncio.Future[Any] | None = None  # the future that waits for that
        super().__init__(*args, **options)
        self.set_nodelay(True)

    def fileno(self) -> Any:
        """Return the socket."""
        return self.socket

    def close_fd(self) -> None:
        """Close the socket, unless another stream has it."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Receive."""
        try:
            return self.socket.recv_into(buf)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None

    plain_read = read_from_fd

    def write_to_fd(self, data: memoryview) -> int:
        """Send."""
        return self.socket.send(data)  # type: ignore[no-any-return]

    def get_fd_error(self) -> Exception | None:
        """Return the socket's own error."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number))

    # Connecting

    def connect(self, address: Any, server_hostname: str | None = None) -> asyncio.Future[Self]:
        """Return a future of this stream, connected. Bytes written meanwhile leave afterwards."""
        self._opening = future = self.loop.create_future()
        self.descriptor.hold(self._on_connected, IOLoop.WRITE)
        try:
            self.socket.connect(address)
        except BlockingIOError:
            pass
        except OSError as error:
            self.close(error)
        return future

    def _on_connected(self) -> None:
        error = self.get_fd_error()
        if isinstance(error, OSError) and error.errno:
            self.close(error)
        else:
            self.go_on_connected()

    def go_on_connected(self) -> None:
        """Let the bytes move: the socket is connected, and that is all."""
        self.descriptor.resume()
        self.tell_open(self)

    def tell_open(self, outcome: object) -> None:
        """Tell the future that waits for the stream to open how that ended."""
        settle(self._opening, outcome)
        self._opening = None

    def fail_to_open(self) -> None:
        """Fail the future of `connect`."""
        self.tell_open(StreamClosedError(real_error=self.error))

    # TLS

    def start_tls(  # type: ignore[override]  # Tornado's gives another stream
        self,
        server_side: bool,
        ssl_options: dict[str, Any] | ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> asyncio.Future[SSLIOStream]:
        """Return a future of a new stream, which continues the connection under TLS.

        The close callback moves over. Cancelling the future closes the new stream.

        Raises:
            ValueError: something is under way, or buffered.
        """
        if self._opening is not None or self.closed() or self.reading() or self.writing() or self.buffered:
            raise ValueError("IOStream is not idle; cannot convert to SSL")
        on_close, self._on_close = self._on_close, None
        self.descriptor.forget()
        sock, self.socket = self.socket, None  # the new stream owns it
        self.close()
        if ssl_options is None:
            ssl_options = default_context(server_side=server_side)
        sock = ssl_wrap_socket(sock, ssl_options, server_hostname, server_side, do_handshake_on_connect=False)
        stream = SSLIOStream(sock, self.max_buffer_size, self.read_chunk_size, ssl_options=ssl_options)
        stream.set_close_callback(on_close)
        future = stream.wait_for_handshake()
        future.add_done_callback(lambda done: stream.close() if done.cancelled() else None)
        return future


class SSLIOStream(IOStream):
    """A stream over an `ssl.SSLSocket`, or over a socket that becomes one when it is connected.

    The handshake begins by itself; bytes written before its end leave after it.

    Args:
        args, options: see `IOStream`.
        ssl_options: options to wrap the socket with in `connect`: a context, or a dictionary of Tornado's.
    """

    def __init__(self, *args: Any, ssl_options: dict[str, Any] | ssl.SSLContext | None = None, **options: Any) -> None:
        self._ssl_options = ssl_options
        self._server_hostname: str | None = None
        self._shaken = False
        super().__init__(*args, **options)
        if isinstance(self.socket, ssl.SSLSocket):
            # In the loop: the stream's owner can still say what to wait for.
            self.descriptor.hold(self._shake_hands, IOLoop.WRITE)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Receive and decrypt."""
        try:
            return super().read_from_fd(buf)
        except ssl.SSLWantReadError:
            return None

    plain_read = read_from_fd  # up to a whole record, that is

    def write_to_fd(self, data: memoryview) -> int:
        """Encrypt and send."""
        try:
            return super().write_to_fd(data)
        except ssl.SSLWantWriteError:
            return 0

    def connect(self, address: Any, server_hostname: str | None = None) -> asyncio.Future[Self]:
        """Return a future of this stream, connected and past its handshake."""
        self._server_hostname = server_hostname
        return super().connect(address)

    def wait_for_handshake(self) -> asyncio.Future[Self]:
        """Return a future of this stream, past its handshake; its exception is the handshake's own.

        Raises:
            RuntimeError: another call waits already.
        """
        if self._opening is not None:
            raise RuntimeError("Already waiting")
        self._opening = future = self.loop.create_future()
        if self.closed():
            self.fail_to_open()
        elif self._shaken:
            super().go_on_connected()
        return future

    def go_on_connected(self) -> None:
        """Wrap the socket and begin the handshake."""
        options = default_context(server_side=False) if self._ssl_options is None else self._ssl_options
        self.descriptor.forget()
        try:
            self.socket = ssl_wrap_socket(
                self.socket, options, self._server_hostname, False, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self.close(error)
        else:
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.descriptor.hold(self._shake_hands, IOLoop.READ)
        except ssl.SSLWantWriteError:
            self.descriptor.hold(self._shake_hands, IOLoop.WRITE)
        except Exception as error:  # noqa: BLE001 - the future of the handshake gets it
            if isinstance(error, ssl.SSLError) and not is_reset(error):
                peer = self.peer or "(not connected)"
                gen_log.warning("SSL Error on %s %s: %s", self.socket.fileno(), peer, error)
            self.close(error)
        else:
            self._shaken = True
            super().go_on_connected()

    def fail_to_open(self) -> None:
        """Fail the future of `connect` or `wait_for_handshake`, with the handshake's own exception."""
        self.tell_open(self.error or StreamClosedError())


@functools.cache
def default_context(*, server_side: bool) -> ssl.SSLContext:
    """Return the context for streams that are given none; one for the process, as in Tornado.

    Making one loads the platform's certificates, which takes tens of milliseconds.
    """
    return ssl.create_default_context(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)
