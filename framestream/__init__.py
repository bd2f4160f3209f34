"""Cut byte streams into protocol frames, with the framing itself as a plugin.

The contract, the decoder and the errors are imported at once. Everything else is imported when it is
first asked for, so that cutting lines imports neither asyncio nor msgpack nor pluggy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from framestream._signals import END, FRAME_END, NEED_DATA
from framestream.decoding._decoder import FrameDecoder
from framestream.decoding._oversize import OnOversize
from framestream.decoding._stats import DecoderStats
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
    from framestream.framers.amounts import Available, Exactly, FixedLength, UntilClose
    from framestream.framers.choice import FirstOf, When
    from framestream.framers.delimiter import Delimiter
    from framestream.framers.generator import Body, Fields, GeneratorFramer
    from framestream.framers.length_prefix import LengthPrefix
    from framestream.framers.line import Line
    from framestream.framers.mapped import Mapped, Nested
    from framestream.framers.msgpack import Msgpack
    from framestream.framers.regex import Regex
    from framestream.framers.sequence import HeaderThenBody, Sequence
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
    "Available": "framers.amounts",
    "Body": "framers.generator",
    "Channel": "transport._channel",
    "Delimiter": "framers.delimiter",
    "Exactly": "framers.amounts",
    "Fields": "framers.generator",
    "FirstOf": "framers.choice",
    "FixedLength": "framers.amounts",
    "FramedStream": "stream._framed",
    "FramerInfo": "registry._registry",
    "GeneratorFramer": "framers.generator",
    "HeaderThenBody": "framers.sequence",
    "IOStream": "stream._stream",
    "LengthPrefix": "framers.length_prefix",
    "Line": "framers.line",
    "Mapped": "framers.mapped",
    "Msgpack": "framers.msgpack",
    "Nested": "framers.mapped",
    "PipeChannel": "transport._pipe_channel",
    "ProcessStream": "net",
    "Regex": "framers.regex",
    "Sequence": "framers.sequence",
    "Server": "net",
    "ServerStats": "net",
    "SocketChannel": "transport._channel",
    "StreamStats": "stream._stats",
    "TLSChannel": "transport._tls_channel",
    "TLSSocketChannel": "transport._tls_socket_channel",
    "UntilClose": "framers.amounts",
    "When": "framers.choice",
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
