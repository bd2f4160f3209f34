"""Which channel goes over a socket."""

from __future__ import annotations

import socket
import ssl

from framestream.transport._channel import Channel, SocketChannel


def channel_over(sock: socket.socket) -> Channel:
    """Return a channel over a connected socket, which may speak TLS already."""
    if isinstance(sock, ssl.SSLSocket):
        from framestream.transport._tls_socket_channel import TLSSocketChannel  # noqa: PLC0415 - few need it

        return TLSSocketChannel(sock)
    return SocketChannel(sock)
