"""Cut byte streams into protocol frames, with the framing itself as a plugin.

It exports what most users need: the framers that read most protocols, streams, a decoder without any
input or output, framers by name, and every error. The rest is grouped by audience:

* `framestream.framer`: the contract, for authors of framers;
* `framestream.framers`: every built-in framer, combinators included;
* `framestream.decoder`, `framestream.stream`, `framestream.net`, `framestream.transport`: the parts, for
  code built on one of them;
* `framestream.testing`: checks for framers, and streams in memory.

The contract and the errors are imported at once, everything else on first use, so that cutting lines
imports neither asyncio nor msgpack nor pluggy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from framestream.errors import (
    AddressError,
    ArchiveError,
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
from framestream.framer import PADDING, Framer, NeedMore, ReadCondition, Span, Window

if TYPE_CHECKING:
    from framestream.decoder import END, FRAME_END, NEED_DATA, FrameDecoder
    from framestream.framers import (
        Available,
        Delimiter,
        Exactly,
        FixedLength,
        LengthPrefix,
        Line,
        Mapped,
        Msgpack,
        Nested,
        Regex,
        UntilClose,
    )
    from framestream.iterate import aiter_frames, iter_frames
    from framestream.net import client_tls, connect, connect_process, serve, server_tls
    from framestream.registry import available_framers, get_framer, plugins
    from framestream.registry.hookspecs import hookimpl, hookspec
    from framestream.stream.stream import IOStream


_LAZY = {
    "decoder": "END FRAME_END NEED_DATA FrameDecoder",
    "framers": ("Available Delimiter Exactly FixedLength LengthPrefix Line Mapped Msgpack Nested Regex UntilClose"),
    "iterate": "aiter_frames iter_frames",
    "net": "client_tls connect connect_process serve server_tls",
    "registry.hookspecs": "hookimpl hookspec",
    "registry": "available_framers get_framer plugins",
    "stream": "IOStream",
}
"""Module to the names imported from it on first use."""

_PLACES = {name: module for module, names in _LAZY.items() for name in names.split()}

# fmt: off
__all__ = [
    "END", "FRAME_END", "NEED_DATA", "PADDING", "AddressError", "ArchiveError", "Available", "BufferFull",
    "ConnectError", "ConnectTimeout", "Delimiter", "EncodeError", "Exactly", "FixedLength", "FrameDecoder",
    "FrameTooLarge", "Framer", "FramerContractError", "FramestreamError", "FramingError", "IOStream",
    "IncompleteFrame", "LengthPrefix", "Line", "Mapped", "Msgpack", "NeedMore", "Nested", "PayloadError",
    "PluginError", "ReadCondition", "Regex", "Span", "SpecError", "StreamBusy", "StreamClosed",
    "StreamTimeout", "UnknownFramerError", "UntilClose", "Window", "WorkerError", "aiter_frames",
    "available_framers", "client_tls", "connect", "connect_process", "get_framer", "hookimpl", "hookspec",
    "iter_frames", "plugins", "serve", "server_tls",
]
# fmt: on


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'framestream' has no attribute {name!r}")
    value = getattr(import_module(f"framestream.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
