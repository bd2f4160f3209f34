"""Cut byte streams into protocol frames, with the framing itself as a plugin.

The contract, the decoder and the errors are imported at once. Everything else is imported when it is
first asked for, so that cutting lines imports neither asyncio nor msgpack nor pluggy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from framestream.decoder import END, FRAME_END, NEED_DATA, DecoderStats, FrameDecoder, OnOversize
from framestream.errors import (
    AddressError,
    BufferFull,
    ConnectError,
    ConnectTimeout,
    EncodeError,
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    PluginError,
    SpecError,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
    UnknownFramerError,
    WorkerError,
)
from framestream.framer import PADDING, Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.iterate import aiter_frames, iter_frames

if TYPE_CHECKING:
    from framestream.framers._available import Available
    from framestream.framers._delimiter import Delimiter
    from framestream.framers._exactly import Exactly
    from framestream.framers._fields import Body, Fields
    from framestream.framers._first_of import FirstOf
    from framestream.framers._fixed_length import FixedLength
    from framestream.framers._generator import GeneratorFramer
    from framestream.framers._header_then_body import HeaderThenBody
    from framestream.framers._length_prefix import LengthPrefix
    from framestream.framers._line import Line
    from framestream.framers._mapped import Mapped, Nested
    from framestream.framers._msgpack import Msgpack
    from framestream.framers._regex import Regex
    from framestream.framers._sequence import Sequence
    from framestream.framers._until_close import UntilClose
    from framestream.framers._when import When
    from framestream.net import (
        ProcessStream,
        Server,
        ServerStats,
        client_tls,
        connect,
        connect_process,
        serve,
        server_tls,
    )
    from framestream.registry._hookspecs import hookimpl, hookspec
    from framestream.registry._registry import FramerInfo, available_framers, get_framer, plugins
    from framestream.stream._framed import FramedStream
    from framestream.stream._stats import StreamStats
    from framestream.stream._stream import IOStream
    from framestream.transport._channel import Channel, SocketChannel
    from framestream.transport._over import channel_over
    from framestream.transport._pipe_channel import PipeChannel
    from framestream.transport._tls_channel import TLSChannel
    from framestream.transport._tls_socket_channel import TLSSocketChannel

_LAZY = {
    "Available": "framers._available",
    "Body": "framers._fields",
    "Channel": "transport._channel",
    "Delimiter": "framers._delimiter",
    "Exactly": "framers._exactly",
    "Fields": "framers._fields",
    "FirstOf": "framers._first_of",
    "FixedLength": "framers._fixed_length",
    "FramedStream": "stream._framed",
    "FramerInfo": "registry._registry",
    "GeneratorFramer": "framers._generator",
    "HeaderThenBody": "framers._header_then_body",
    "IOStream": "stream._stream",
    "LengthPrefix": "framers._length_prefix",
    "Line": "framers._line",
    "Mapped": "framers._mapped",
    "Msgpack": "framers._msgpack",
    "Nested": "framers._mapped",
    "PipeChannel": "transport._pipe_channel",
    "ProcessStream": "net",
    "Regex": "framers._regex",
    "Sequence": "framers._sequence",
    "Server": "net",
    "ServerStats": "net",
    "SocketChannel": "transport._channel",
    "StreamStats": "stream._stats",
    "TLSChannel": "transport._tls_channel",
    "TLSSocketChannel": "transport._tls_socket_channel",
    "UntilClose": "framers._until_close",
    "When": "framers._when",
    "available_framers": "registry._registry",
    "channel_over": "transport._over",
    "client_tls": "net",
    "connect": "net",
    "connect_process": "net",
    "get_framer": "registry._registry",
    "hookimpl": "registry._hookspecs",
    "hookspec": "registry._hookspecs",
    "plugins": "registry._registry",
    "serve": "net",
    "server_tls": "net",
}

__all__ = [
    "END",
    "FRAME_END",
    "NEED_DATA",
    "PADDING",
    "AddressError",
    "Available",
    "Body",
    "BufferFull",
    "Channel",
    "ConnectError",
    "ConnectTimeout",
    "Decode",
    "DecoderStats",
    "Delimiter",
    "EncodeError",
    "Exactly",
    "Fields",
    "FirstOf",
    "FixedLength",
    "FrameDecoder",
    "FrameTooLarge",
    "FramedStream",
    "Framer",
    "FramerContractError",
    "FramerInfo",
    "FramestreamError",
    "FramingError",
    "GeneratorFramer",
    "HeaderThenBody",
    "IOStream",
    "IncompleteFrame",
    "LengthPrefix",
    "Line",
    "Mapped",
    "Msgpack",
    "NeedMore",
    "Nested",
    "OnOversize",
    "PayloadError",
    "PipeChannel",
    "PluginError",
    "ProcessStream",
    "ReadCondition",
    "Regex",
    "Sequence",
    "Server",
    "ServerStats",
    "SocketChannel",
    "Span",
    "SpecError",
    "StreamBusy",
    "StreamClosed",
    "StreamStats",
    "StreamTimeout",
    "TLSChannel",
    "TLSSocketChannel",
    "UnknownFramerError",
    "UntilClose",
    "ValueSpan",
    "When",
    "Window",
    "WorkerError",
    "aiter_frames",
    "available_framers",
    "channel_over",
    "client_tls",
    "connect",
    "connect_process",
    "get_framer",
    "hookimpl",
    "hookspec",
    "iter_frames",
    "plugins",
    "serve",
    "server_tls",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'framestream' has no attribute {name!r}")
    value = getattr(import_module(f"framestream.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
