"""Streams: one receiver, one sender, and the ways to read; for code that defines its own reads."""

from framestream.stream.frames import Batches, FrameBody, Frames
from framestream.stream.options import StreamOptions
from framestream.stream.reads import REST, CallbackRead, FrameHandler, PendingRead
from framestream.stream.receiver import End, EndKind
from framestream.stream.requests import Requests, handle_frames
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
    "Requests",
    "StreamOptions",
    "StreamStats",
    "handle_frames",
]
