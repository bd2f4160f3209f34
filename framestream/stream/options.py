"""The options of a stream, with their defaults: one list for `IOStream`, `connect` and `serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypedDict, get_type_hints

from framestream.decoder import DEFAULT_MAX_FRAME_SIZE, POLICIES, OnOversize
from framestream.errors import (
    FrameTooLarge,
    PayloadError,
    check_choice,
    check_count,
    check_function,
    check_rate,
    check_seconds,
    check_truth,
    unknown_options,
)


class Option(NamedTuple):
    """The default of an option, and the check of a given value."""

    default: Any
    check: Callable[[str, Any], None]


_size = partial(check_count, of=" of bytes")
_room = partial(check_count, of=" of bytes", least=1)
_no_limit = Option(None, partial(check_seconds, optional=True))
_no_function = Option(None, partial(check_function, optional=True))


class StreamOptions(TypedDict, total=False):
    """The options of a stream. Sizes in bytes, times in seconds, None for no limit.

    Attributes:
        max_frame_size: limit on a frame's payload, for conditions without their own.
        on_oversize: what happens to a frame above its limit, see `FrameDecoder`; ``"close"`` also closes the
            stream.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated.
        on_payload_error: called with the `PayloadError` of each frame that cannot be decoded; reading
            then continues after it. Without it, `read`, `frames` and `batches` raise the error; reads with a
            callback log it and continue.
        max_buffer_size: the most to buffer for one read, header and delimiter included; a read that needs
            more closes the stream.
        read_chunk_size: the most to receive at a time, unless a large frame is received in its final place;
            at most 512 KiB, 256 KiB while frames are small (of objects that come in bulk, 32 KiB), and 64 KiB
            while little arrives.
        write_high_water: above this many queued bytes `send` and `drain` wait...
        write_low_water: ...until no more than these are left; at most `write_high_water`.
        max_write_buffer_size: a write that would queue more than this raises `BufferFull`.
        half_open: keep the stream open for writing after the peer has ended its half and a reader has seen
            that end. Otherwise the stream closes then, after sending its queue; for `serve`, see there.
        frame_timeout: limit on each read from its beginning to its frame.
        idle_timeout: limit on the time without a single byte while a read waits.
        min_rate: bytes per second at which a frame must arrive on average, once it has begun...
        rate_grace: ...and this long has passed.
        write_timeout: limit on the time in which the peer takes nothing of the queue; the stream is then
            closed, since half a frame may have been sent.
    """

    max_frame_size: Annotated[int, Option(DEFAULT_MAX_FRAME_SIZE, _size)]
    on_oversize: Annotated[OnOversize, Option("raise", partial(check_choice, allowed=POLICIES))]
    on_discard: Annotated[Callable[[FrameTooLarge], object] | None, _no_function]
    on_payload_error: Annotated[Callable[[PayloadError], object] | None, _no_function]
    max_buffer_size: Annotated[int, Option(100 << 20, _room)]
    read_chunk_size: Annotated[int, Option(1 << 19, _room)]
    write_high_water: Annotated[int, Option(1 << 16, _size)]
    write_low_water: Annotated[int, Option(1 << 14, _size)]
    max_write_buffer_size: Annotated[int | None, Option(None, partial(_size, optional=True))]
    half_open: Annotated[bool, Option(False, check_truth)]
    frame_timeout: Annotated[float | None, _no_limit]
    idle_timeout: Annotated[float | None, _no_limit]
    min_rate: Annotated[float, Option(0, check_rate)]
    rate_grace: Annotated[float, Option(1.0, check_seconds)]
    write_timeout: Annotated[float | None, _no_limit]


_OPTIONS: Final[Mapping[str, Option]] = {
    name: kind.__metadata__[0] for name, kind in get_type_hints(StreamOptions, include_extras=True).items()
}
# What options are called here that asyncio, Tornado and the socket module call so.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "limit": "max_frame_size",
    "ssl": "tls",
    "ssl_context": "tls",
    "ssl_handshake_timeout": "timeout (of connect) or handshake_timeout (of serve)",
    "ssl_options": "tls",
}
DEFAULTS: Final[Mapping[str, Any]] = {name: option.default for name, option in _OPTIONS.items()}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no stream could use, before there is a stream.

    Raises:
        TypeError: no stream has such an option.
        ValueError: a value is invalid.
    """
    if not options:
        return
    if unknown := options.keys() - _OPTIONS.keys():
        raise unknown_options("unknown stream option", unknown, _OPTIONS, _ELSEWHERE)
    for name, value in options.items():
        _OPTIONS[name].check(name, value)
    low, high = options.get("write_low_water"), options.get("write_high_water", DEFAULTS["write_high_water"])
    if low is not None and low > high:
        raise ValueError(f"write_low_water is {low}, above write_high_water {high}")
