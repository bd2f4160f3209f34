"""Streams: one receiver, one sender, and the ways to read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framestream.stream._framed import FramedStream
    from framestream.stream._stats import StreamStats
    from framestream.stream._stream import IOStream

__all__ = ["FramedStream", "IOStream", "StreamStats"]

_PLACES = {"FramedStream": "_framed", "IOStream": "_stream", "StreamStats": "_stats"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
