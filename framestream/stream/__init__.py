"""Streams: one receiver, one sender, and the ways to read; for those who build reads of their own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framestream.stream.frames import Batches, FrameBody, Frames
    from framestream.stream.options import StreamOptions
    from framestream.stream.reads import REST, CallbackRead, FrameHandler, PendingRead
    from framestream.stream.receiver import End, EndKind
    from framestream.stream.requests import Requests, handle_frames
    from framestream.stream.stream import IOStream, ReadLimits, StreamStats

_LAZY = {
    "frames": "Batches FrameBody Frames",
    "options": "StreamOptions",
    "reads": "REST CallbackRead FrameHandler PendingRead",
    "receiver": "End EndKind",
    "requests": "Requests handle_frames",
    "stream": "IOStream ReadLimits StreamStats",
}
_PLACES = {name: module for module, names in _LAZY.items() for name in names.split()}

__all__ = [
    "REST",
    "Batches",
    "CallbackRead",
    "End",
    "EndKind",
    "FrameBody",
    "FrameHandler",
    "Frames",
    "IOStream",
    "PendingRead",
    "ReadLimits",
    "Requests",
    "StreamOptions",
    "StreamStats",
    "handle_frames",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
