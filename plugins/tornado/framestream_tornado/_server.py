"""Tornado servers whose `handle_stream` gets one of our streams, with nothing replaced."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import tornado.tcpserver

from framestream_tornado.iostream import IOStream, SSLIOStream

if TYPE_CHECKING:
    from tornado.iostream import IOStream as Original


def adopt(stream: Original) -> IOStream:
    """Return a stream of ours over the connection of an unused stream of Tornado's.

    Do not use Tornado's stream any more. One of ours is returned unchanged.
    """
    if isinstance(stream, IOStream):
        return stream
    kind = SSLIOStream if isinstance(stream.socket, ssl.SSLSocket) else IOStream
    stream.io_loop.remove_handler(stream.socket)
    return kind(stream.socket, stream.max_buffer_size, stream.read_chunk_size)


class Adopting:
    """Mix into a server, before its class: its `handle_stream` gets streams of ours."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        vars(self)["handle_stream"] = partial(_adopt_and_handle, super().__getattribute__("handle_stream"))


def _adopt_and_handle(handle_stream: Any, stream: Original, address: Any) -> Any:
    return handle_stream(adopt(stream), address)


class TCPServer(Adopting, tornado.tcpserver.TCPServer):
    """Tornado's TCPServer with streams of ours."""
