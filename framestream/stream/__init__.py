"""Streams: one receiver, one sender, and the ways to read; for code that defines its own reads."""

from framestream.stream.callbacks import CallbackRead, FrameHandler
from framestream.stream.options import StreamOptions
from framestream.stream.reads import REST, Batches, FrameBody, Frames, PendingRead
from framestream.stream.receiver import End, EndKind
from framestream.stream.stream import IOStream, ReadLimits, StreamStats

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
    "StreamOptions",
    "StreamStats",
]
