"""Cut byte streams into protocol frames, with the framing itself as a plugin.

The contract, the decoder and the errors are imported at once. Everything else is imported when it is
first asked for, so that cutting lines imports neither asyncio nor msgpack nor pluggy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from framestream._conditions import PADDING, Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream._decoder import DecoderStats, FrameDecoder, OnOversize
from framestream._errors import (
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
from framestream._iterate import aiter_frames, iter_frames
from framestream._signals import END, FRAME_END, NEED_DATA

if TYPE_CHECKING:
    from framestream._frames import FramedStream
    from framestream._hookspecs import hookimpl, hookspec
    from framestream._network import (
        ProcessStream,
        Server,
        ServerStats,
        client_tls,
        connect,
        connect_process,
        serve,
        server_tls,
    )
    from framestream._registry import FramerInfo, available_framers, get_framer, plugins
    from framestream._stats import StreamStats
    from framestream._stream import IOStream
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

_LAZY = {
    "Available": "framers._available",
    "Body": "framers._fields",
    "Delimiter": "framers._delimiter",
    "Exactly": "framers._exactly",
    "Fields": "framers._fields",
    "FirstOf": "framers._first_of",
    "FixedLength": "framers._fixed_length",
    "FramedStream": "_frames",
    "FramerInfo": "_registry",
    "GeneratorFramer": "framers._generator",
    "HeaderThenBody": "framers._header_then_body",
    "IOStream": "_stream",
    "LengthPrefix": "framers._length_prefix",
    "Line": "framers._line",
    "Mapped": "framers._mapped",
    "Msgpack": "framers._msgpack",
    "Nested": "framers._mapped",
    "ProcessStream": "_network",
    "Regex": "framers._regex",
    "Sequence": "framers._sequence",
    "Server": "_network",
    "ServerStats": "_network",
    "StreamStats": "_stats",
    "UntilClose": "framers._until_close",
    "When": "framers._when",
    "available_framers": "_registry",
    "client_tls": "_network",
    "connect": "_network",
    "connect_process": "_network",
    "get_framer": "_registry",
    "hookimpl": "_hookspecs",
    "hookspec": "_hookspecs",
    "plugins": "_registry",
    "serve": "_network",
    "server_tls": "_network",
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
    "PluginError",
    "ProcessStream",
    "ReadCondition",
    "Regex",
    "Sequence",
    "Server",
    "ServerStats",
    "Span",
    "SpecError",
    "StreamBusy",
    "StreamClosed",
    "StreamStats",
    "StreamTimeout",
    "UnknownFramerError",
    "UntilClose",
    "ValueSpan",
    "When",
    "Window",
    "WorkerError",
    "aiter_frames",
    "available_framers",
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
