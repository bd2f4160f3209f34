"""Transports, which carry a stream's bytes; for code that brings its own transport or socket.

`Transport` defines what a stream needs and `Sink` what receives its bytes; `PolledTransport` is the usual
way to write one; `is_reset`, `joined` and `address_of_peer` help with that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from framestream.transport.base import PolledTransport, Sink, Transport, is_reset, joined
from framestream.transport.descriptor import PipeTransport, SocketTransport, address_of_peer
from framestream.transport.loop import LoopTransport
from framestream.transport.tls import TLSTransport

__all__ = [
    "LoopTransport",
    "PipeTransport",
    "PolledTransport",
    "Sink",
    "SocketTransport",
    "TLSTransport",
    "Transport",
    "address_of_peer",
    "is_reset",
    "joined",
    "transport_over",
]

# Asking asyncio's loop takes as long as all else that makes a transport: 6 us.
_watching: dict[type[asyncio.AbstractEventLoop], bool] = {}


def transport_over(sock: socket.socket, loop: asyncio.AbstractEventLoop | None = None, peer: str = "") -> Transport:
    """Return a transport for this loop over a connected socket.

    Args:
        sock: the socket; the transport owns it from here on.
        loop: the loop to use; the running one if None.
        peer: the peer's address as text, if known.

    Raises:
        TypeError, ValueError: it is not a socket, or one that speaks TLS or keeps message boundaries.
    """
    if isinstance(sock, ssl.SSLSocket):
        hint = "; pass it before it is wrapped, and call start_tls"
    elif isinstance(sock, socket.socket):
        return SocketTransport(sock, peer) if can_watch_descriptors(loop) else LoopTransport(sock, peer)
    elif isinstance(sock, str):
        hint = "; connect(url) opens one"
    else:
        hint = "; pass PipeTransport(file.fileno()) for one" if hasattr(sock, "fileno") else ""
    raise TypeError(f"a stream needs a connected socket or a Transport, not {sock!r}{hint}")


def can_watch_descriptors(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Tell whether a loop, by default the running one, can watch descriptors; Windows' Proactor cannot."""
    loop = loop or asyncio.get_running_loop()
    kind = type(loop)
    if kind not in _watching:
        try:
            loop.remove_reader((1 << 31) - 1)  # no process has so many: this is only a test
            _watching[kind] = True
        except NotImplementedError:
            _watching[kind] = False
    return _watching[kind]
