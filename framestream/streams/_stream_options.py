"""The options of a stream, with their defaults: one list for `IOStream`, `connect` and `serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from framestream.decoding._decoder import DEFAULT_MAX_FRAME_SIZE, OnOversize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from framestream._errors import FrameTooLarge


class StreamOptions(TypedDict, total=False):
    """What can be set about a stream. Sizes in bytes, times in seconds, None for no limit.

    Attributes:
        max_frame_size: limit on a frame's payload, for conditions without their own.
        on_oversize: what happens to a frame above its limit, see `FrameDecoder`; ``"close"`` also closes the
            stream.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated.
        max_buffer_size: the most to buffer for one read; a read that needs more closes the stream.
        read_chunk_size: the most to receive at a time.
        write_high_water: above this many queued bytes `send` and `drain` wait...
        write_low_water: ...until no more than these are left.
        max_write_buffer_size: a write that would queue more than this raises `BufferFull`.
        half_open: keep the stream open for writing when the peer has ended its half and a reader has been
            told so. Otherwise the stream closes then, behind what was written before.
        frame_timeout: limit on each read from its beginning to its frame.
        idle_timeout: limit on the time without a single byte while a read waits.
        min_rate: bytes per second that a frame must arrive with on average, once it has begun...
        rate_grace: ...and this long has passed.
        write_timeout: limit on the time for which the peer takes nothing of what is queued; the stream is
            closed, since half a frame may have been sent.
    """

    max_frame_size: int
    on_oversize: OnOversize
    on_discard: Callable[[FrameTooLarge], object] | None
    max_buffer_size: int
    read_chunk_size: int
    write_high_water: int
    write_low_water: int
    max_write_buffer_size: int | None
    half_open: bool
    frame_timeout: float | None
    idle_timeout: float | None
    min_rate: float
    rate_grace: float
    write_timeout: float | None


DEFAULTS: Final[Mapping[str, Any]] = {
    "max_frame_size": DEFAULT_MAX_FRAME_SIZE,
    "on_oversize": "raise",
    "on_discard": None,
    "max_buffer_size": 100 << 20,
    # A recv of 256 KiB costs six times one of 64 KiB where messages are small.
    "read_chunk_size": 1 << 16,
    "write_high_water": 1 << 16,
    "write_low_water": 1 << 14,
    "max_write_buffer_size": None,
    "half_open": False,
    "frame_timeout": None,
    "idle_timeout": None,
    "min_rate": 0,
    "rate_grace": 1.0,
    "write_timeout": None,
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for options that no stream has."""
    if unknown := options.keys() - DEFAULTS.keys():
        raise TypeError(f"unknown stream option: {', '.join(sorted(unknown))}")
