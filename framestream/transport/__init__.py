"""What carries a stream's bytes, for those who bring a transport of their own, or a socket of their own.

`Transport` says what a stream asks of one and `Sink` what a stream is to it; `PolledTransport` is the usual
way to write one.
"""

from __future__ import annotations

import asyncio
import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Any

from framestream.transport.base import PolledTransport, Sink, Transport
from framestream.transport.descriptor import PipeTransport, SocketTransport

if TYPE_CHECKING:
    import socket

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
    "transport_over",
]

_LAZY = {"LoopTransport": "loop", "TLSSocketTransport": "tls", "TLSTransport": "tls"}

_uses_its_own: dict[type[asyncio.AbstractEventLoop], bool] = {}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value


def transport_over(
    sock: socket.socket, loop: asyncio.AbstractEventLoop | None = None, peer: str = ""
) -> Transport:
    """Return the fastest transport for a connected socket, which may speak TLS already, on this loop.

    Args:
        sock: the socket; belongs to the transport from here on.
        loop: the loop to be used; the running one if None.
        peer: the peer's address as text, where it is known.
    """
    if isinstance(sock, ssl.SSLSocket):
        from framestream.transport.tls import TLSSocketTransport  # noqa: PLC0415 - few need it

        return TLSSocketTransport(sock, peer)
    if _prefers_its_own(loop or asyncio.get_running_loop(), sock):
        from framestream.transport.loop import LoopTransport  # noqa: PLC0415 - few need it

        return LoopTransport(sock, peer)
    return SocketTransport(sock, peer)


def _prefers_its_own(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bool:
    """Tell whether this kind of loop is better served through its own transports."""
    kind = type(loop)
    if kind not in _uses_its_own:
        # uvloop receives in C and calls the sink: 64 bytes there and back take it 24 to 30 us, against 32
        # to 48 by watching the descriptor.
        _uses_its_own[kind] = kind.__module__.startswith("uvloop") or not _watches_descriptors(loop, sock)
    return _uses_its_own[kind]


def _watches_descriptors(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bool:
    try:
        loop.add_reader(sock, int)
        loop.remove_reader(sock)
    except NotImplementedError:  # the Proactor loop of Windows
        return False
    return True
