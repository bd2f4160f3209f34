"""SSLIOStream: over a socket that speaks TLS."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.log import gen_log
from tornado.netutil import ssl_wrap_socket

from framestream import TLSSocketChannel
from framestream_tornado._errors import StreamClosedError
from framestream_tornado._rest import is_reset
from framestream_tornado._socket_stream import IOStream, default_context, settle

if TYPE_CHECKING:
    from typing import Self


class SSLIOStream(IOStream):
    """A stream over an `ssl.SSLSocket`, or over a socket that becomes one when it is connected.

    The handshake begins by itself; what is written before its end leaves behind it.

    Args:
        args, options: see `IOStream`.
        ssl_options: what `connect` wraps the socket with: a context, or a dictionary of Tornado's.
    """

    socket: ssl.SSLSocket

    def __init__(
        self, *args: Any, ssl_options: dict[str, Any] | ssl.SSLContext | None = None, **options: Any
    ) -> None:
        self._ssl_options = ssl_options
        self._server_hostname: str | None = None
        self._shaken = False
        self._handshake: asyncio.Future[Any] | None = None
        super().__init__(*args, **options)
        if isinstance(self.inner, TLSSocketChannel):
            # In the loop: whoever gets the stream can still say what it is to wait for.
            self.fds.hold(self._shake_hands, IOLoop.WRITE)

    def connect(self, address: Any, server_hostname: str | None = None) -> asyncio.Future[Self]:
        """Return a future of this stream, connected and past its handshake."""
        self._server_hostname = server_hostname
        super().connect(address)
        return self.wait_for_handshake()

    def wait_for_handshake(self) -> asyncio.Future[Self]:
        """Return a future of this stream, past its handshake; its exception is the handshake's own.

        Raises:
            RuntimeError: somebody waits already.
        """
        if self._handshake is not None:
            raise RuntimeError("Already waiting")
        self._handshake = future = self.loop.create_future()
        if self.closed():
            self.fail_to_open()
        elif self._shaken:
            self._tell_handshake()
        return future

    def go_on_connected(self) -> None:
        """Wrap the socket and begin the handshake."""
        options = default_context(server_side=False) if self._ssl_options is None else self._ssl_options
        try:
            self.socket = ssl_wrap_socket(
                self.socket, options, self._server_hostname, False, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self.close(error)
            return
        self.inner = TLSSocketChannel(self.socket)
        self._shake_hands(None, 0)

    def _shake_hands(self, fd: object, events: int) -> None:
        channel = self.inner
        assert isinstance(channel, TLSSocketChannel)
        try:
            channel.handshake()
        except BlockingIOError:
            self.fds.hold(self._shake_hands, IOLoop.WRITE if channel.wants_write else IOLoop.READ)
        except Exception as error:  # noqa: BLE001 - whoever waits for the handshake is told
            if isinstance(error, ssl.SSLError) and not is_reset(error):
                peer = self.peer or "(not connected)"
                gen_log.warning("SSL Error on %s %s: %s", self.socket.fileno(), peer, error)
            self.close(error)
        else:
            self._shaken = True
            self.fds.go_on()
            self._tell_handshake()
            self.mind_end()

    def _tell_handshake(self) -> None:
        settle(self._handshake, self)
        self._handshake = None

    def fail_to_open(self) -> None:
        """Fail the futures of `connect` and `wait_for_handshake`."""
        super().fail_to_open()
        settle(self._handshake, self.error or StreamClosedError())
