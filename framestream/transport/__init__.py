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
from framestream.transport.tls import TLSSocketTransport, TLSTransport

__all__ = [
    "LoopTransport",
    "PipeTransport",
    "PolledTransport",
    "Sink",
    "SocketTransport",
    "TLSSocketTransport",
    "TLSTransport",
    "Transport",
    "address_of_peer",
    "is_reset",
    "joined",
    "transport_over",
]

_watching: dict[type[asyncio.AbstractEventLoop], bool] = {}  # testing a loop costs as much as a system call


def transport_over(sock: socket.socket, loop: asyncio.AbstractEventLoop | None = None, peer: str = "") -> Transport:
    """Return a transport for this loop over a connected socket, which may speak TLS already.

    Args:
        sock: the socket; the transport owns it from here on.
        loop: the loop to use; the running one if None.
        peer: the peer's address as text, if known.

    Raises:
        TypeError, ValueError: it is not a socket, or one that keeps message boundaries.
    """
    if isinstance(sock, ssl.SSLSocket):
        return TLSSocketTransport(sock, peer)
    if not isinstance(sock, socket.socket):
        what = "; pass PipeTransport(file.fileno()) for one" if hasattr(sock, "fileno") else ""
        if isinstance(sock, str):
            what = "; connect(url) opens one"
        raise TypeError(f"a stream needs a connected socket or a Transport, not {sock!r}{what}")
    if can_watch_descriptors(loop):
        return SocketTransport(sock, peer)
    return LoopTransport(sock, peer)


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
