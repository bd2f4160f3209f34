"""TLS of a socket that Python's own `ssl` has wrapped."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import NoReturn

from framestream.transport._channel import Buffer, SocketChannel
from framestream.transport._tls_channel import TLSChannel, joined


class TLSSocketChannel(TLSChannel):
    """A socket from ``SSLContext.wrap_socket``: for code that has one already, shaken hands or not.

    It belongs to the channel from here on. A handshake that is still due happens within the first read or
    write, unless `handshake` is called. Whether a missing goodbye is an end or an error is as the socket
    was made (``suppress_ragged_eofs``).
    """

    __slots__ = ("_wants_write",)

    tls: ssl.SSLSocket  # type: ignore[assignment]  # it has the methods of the engine in memory

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._start(SocketChannel(sock), sock)  # type: ignore[arg-type]
        self._wants_write = False

    @property
    def wants_write(self) -> bool:
        """True if what blocks is sending, even inside `handshake` or `receive`."""
        return self._wants_write

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt and send, record by record, until the socket takes no more."""
        self._wants_write = False
        sent = 0
        with memoryview(joined(buffers)) as data:
            try:
                while sent < len(data):
                    with data[sent:] as rest:
                        sent += self._write(rest)
            except BlockingIOError:
                if not sent:
                    raise
        return sent

    def _decrypt(self, size: int) -> bytes:
        try:
            return super()._decrypt(size)
        except ValueError:
            return b""  # both sides have said goodbye, and the socket is unwrapped

    # The engine sends and receives by itself, so there is nothing to carry.

    def _push(self) -> None:
        self._wants_write = False

    def _pull(self) -> NoReturn:
        raise BlockingIOError

    def _blocked_by_sending(self) -> NoReturn:
        self._wants_write = True
        if self._read_callback is not None:
            self._update(self._loop)
        raise BlockingIOError

    def _on_writable(self) -> None:
        reader_waits, self._wants_write = self._wants_write, False
        if self._write_callback is not None:
            self._write_callback()
        if reader_waits and self._read_callback is not None:
            self._read_callback()
        self._update(self._loop)
