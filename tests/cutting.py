"""Feed chunks to a decoder and collect what comes out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from framestream.decoder import END, FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import FramestreamError, FrameTooLarge, FramingError, IncompleteFrame, PayloadError

if TYPE_CHECKING:
    from framestream.framer import Framer, ReadCondition

BOOLEANS = st.booleans()
WAYS = st.sampled_from(["next_frame", "next_batch"])


def frames(
    decoder: FrameDecoder, condition: ReadCondition[Any], chunks: Iterable[bytes], *, eof: bool = True
) -> Iterator[Any]:
    """Yield the frames of these chunks, and of the end after them."""
    for chunk in [*chunks, None] if eof else chunks:
        decoder.receive_eof() if chunk is None else decoder.receive_data(chunk)
        while (frame := decoder.next_frame(condition)) is not NEED_DATA and frame is not END:
            yield frame


def cut(condition: ReadCondition[Any], *chunks: bytes, eof: bool = True) -> list[Any]:
    """Return the frames, then the error if there is one, then what is left over if anything is."""
    decoder, out = FrameDecoder(), list[Any]()
    try:
        for frame in frames(decoder, condition, chunks, eof=eof):
            out.append(frame)
    except FramestreamError as error:
        out.append(type(error))
    return [*out, ("left", decoder.leftover)] if decoder.leftover else out


def told(condition: ReadCondition[Any], chunks: Iterable[bytes]) -> list[Any]:
    """Return the frames, for a bad one what it is told, and last what the stream is told if it breaks."""
    out: list[Any] = []
    decoder = FrameDecoder(on_payload_error=lambda error: out.append(f"bad: {error.reason}"))
    try:
        for frame in frames(decoder, condition, chunks):
            out.append(frame)  # noqa: PERF402 - the bad ones stand between them
    except FramestreamError as error:
        out.append(str(error))
    return out


def event(error: FramingError | PayloadError) -> tuple[Any, ...]:
    """Return an error's class, its place, and what it knows of sizes."""
    if isinstance(error, PayloadError):
        return "PayloadError", error.offset, error.payload
    if isinstance(error, FrameTooLarge):
        return "FrameTooLarge", error.offset, error.size, error.recoverable
    if isinstance(error, IncompleteFrame):
        return "IncompleteFrame", error.offset, error.received, error.expected
    return "FramingError", error.offset


def is_event(said: Any) -> bool:
    return isinstance(said, tuple) and isinstance(said[0], str)


def told_by(
    condition: ReadCondition[Any],
    chunks: list[bytes],
    way: str,
    *,
    draw: Any = None,
    takes: bool = False,
    **options: Any,
) -> tuple[list[Any], list[Any], list[Any], bytes, list[Any]]:
    """Return what a decoder tells of a stream.

    In this order: frames and events; their places, where they are known; the discards (the offset of the
    frame, the size it declared, how many bytes of it were skipped); what is left over; the messages.

    Args:
        way: the method that is asked, or ``mixed`` for one that `draw` chooses each time.
        draw: also chooses whether the end is known before the last chunk is read.
        takes: bad frames are told to `on_payload_error`.
    """
    out: list[Any] = []
    places: list[Any] = []
    discards: list[Any] = []
    said: list[Any] = []

    def refuse(error: PayloadError) -> None:
        out.append(event(error))
        places.append(decoder.frame_span)
        said.append((str(error), error.framer, error.payload_offset))

    decoder = FrameDecoder(
        on_discard=lambda error: discards.append((error.offset, error.size, error.discarded)),
        on_payload_error=refuse if takes else None,
        **options,
    )
    parts, is_broken = b"", False
    for number, chunk in enumerate([*chunks, None], 1):
        decoder.receive_eof() if chunk is None else decoder.receive_data(chunk)
        if number == len(chunks) and draw and draw(BOOLEANS):
            decoder.receive_eof()
        while not is_broken:
            method = draw(WAYS) if way == "mixed" else way
            try:
                asked = condition if len(out) % 3 else replace(condition)  # an equal one is as good
                answer: Any = getattr(decoder, method)(asked)
            except PayloadError as error:
                assert not takes
                refuse(error)
                continue
            except FramingError as error:
                out += [parts, event(error)] if parts else [event(error)]
                places += [None, None] if parts else [None]
                said.append((str(error), error.framer))
                is_broken = not getattr(error, "recoverable", False)
                if is_broken:  # for ever
                    with pytest.raises(type(error), match=re.escape(str(error))):
                        getattr(decoder, method)(condition)
                continue
            if answer is NEED_DATA or answer is END:
                assert (answer is END) is decoder.eof
                break
            if method == "next_part" and answer is not FRAME_END:
                assert answer
                parts += answer
                continue
            frames = answer if method == "next_batch" else [parts if answer is FRAME_END else answer]
            out += frames
            places += [None] * (len(frames) - 1) + [decoder.frame_span]
            parts = b""
        if decoder.eof:
            break
    errors = [each[0] for each in out if is_event(each)]
    assert decoder.stats.payload_errors == errors.count("PayloadError")
    return out, places, discards, decoder.leftover, said


def error(condition: ReadCondition[Any], *chunks: bytes) -> FramestreamError:
    """Return the error that reading these chunks and then the end raises."""
    with pytest.raises(FramestreamError) as caught:
        deque(frames(FrameDecoder(), condition, chunks), maxlen=0)
    return caught.value


def wire(framer: Framer[Any], *frames: Any) -> bytes:
    """Return the bytes that carry these frames."""
    encoded: Iterable[Any] = map(framer.encode, frames)
    return b"".join(each if isinstance(each, bytes | bytearray | memoryview) else b"".join(each) for each in encoded)
