"""Feed chunks to a decoder, and collect what comes out; bound what something costs."""

from __future__ import annotations

import re
import tracemalloc
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from framestream.decoder import END, FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import FramestreamError, FrameTooLarge, FramingError, IncompleteFrame, PayloadError
from framestream.framers import UntilClose

if TYPE_CHECKING:
    from framestream.framer import Framer, ReadCondition

FEEDS = ["data", "borrow", "place"]


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


class Feeder:
    """Feed a decoder as streams do: whole chunks, a buffer that is lent, or the place that the decoder has."""

    def __init__(self, decoder: FrameDecoder) -> None:
        self.decoder = decoder
        self.lent = bytearray()

    def feed(self, data: bytes, way: str) -> None:
        if way == "borrow":
            self.lent = bytearray(data)
            self.decoder.borrow(memoryview(self.lent))
            return
        while way == "place" and data and (place := self.decoder.get_buffer()) is not None:
            size = min(len(place), len(data))
            place[:size] = data[:size]
            self.decoder.buffer_updated(size)
            data = data[size:]
        self.decoder.receive_data(data)

    def settle(self) -> None:
        """The buffer that is lent is about to be used again."""
        self.decoder.settle()
        self.lent[:] = bytes(len(self.lent))


def told_by(
    condition: ReadCondition[Any],
    chunks: list[bytes],
    *ways: str,
    chance: Random | None = None,
    takes: bool = False,
    **options: Any,
) -> tuple[list[Any], list[Any], list[Any], bytes, list[Any]]:
    """Return what a decoder tells of a stream.

    In this order: frames and events; their places, where they are known; the discards (the offset of the
    frame, the size it declared, how many bytes of it were skipped); what is left over; the messages.

    Args:
        ways: the methods that are asked; ``pop`` takes a frame that was cut ahead.
        chance: chooses among them each time, how each chunk is fed, whether it is read to its end before the next
            comes, and whether the end is known before the last chunk is read.
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
    wire, feeder = b"".join(chunks), Feeder(decoder)
    parts, is_broken = b"", False
    for number, chunk in enumerate([*chunks, None], 1):
        if chunk is None:
            decoder.receive_eof()
        else:
            feeder.feed(chunk, chance.choice(FEEDS) if chance else "data")
        if number == len(chunks) and chance and chance.random() < 0.5:
            decoder.receive_eof()
        while not is_broken and (decoder.eof or not chance or chance.random() < 0.8):
            way = chance.choice(ways) if chance else ways[0]
            way = "next_part" if decoder.streaming else way
            if way == "pop" and decoder.ahead and decoder.condition is condition:
                out.append(decoder.ahead.pop())
                places.append(decoder.frame_span)
                continue
            method = "next_frame" if way == "pop" else way
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
                if is_broken:  # for ever, and for every reader but of what an end has cut off
                    then = condition if isinstance(error, IncompleteFrame) else UntilClose()
                    with pytest.raises(type(error), match=re.escape(str(error))):
                        getattr(decoder, method)(then)
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
        if chance and chance.random() < 0.5 and not decoder.streaming:
            check(decoder, wire)
            assert decoder.skipping or any(map(is_event, out)) or decoder.stats.frames == len(out)
        feeder.settle()
        if decoder.eof:
            break
    errors = [each[0] for each in out if is_event(each)]
    assert decoder.stats.payload_errors == errors.count("PayloadError")
    assert decoder.stats.broken == (is_broken and errors[-1] != "IncompleteFrame")
    return out, places, discards, decoder.leftover, said


def check(decoder: FrameDecoder, wire: bytes) -> None:
    """Check what a decoder says of its place in these bytes: looking changes nothing."""
    assert decoder.offset + decoder.buffered == decoder.received <= len(wire)
    assert decoder.held == decoder.buffered or decoder.ahead or decoder.skipping
    assert decoder.held >= decoder.buffered
    assert decoder.missing >= 1
    assert decoder.peek(9) == wire[decoder.offset : decoder.received][:9]


def error(condition: ReadCondition[Any], *chunks: bytes) -> FramestreamError:
    """Return the error that reading these chunks and then the end raises."""
    with pytest.raises(FramestreamError) as caught:
        deque(frames(FrameDecoder(), condition, chunks), maxlen=0)
    return caught.value


def refused(kind, call, *arguments, match=None, **options):
    """Return the error of this kind that a call raises at once."""
    with pytest.raises(kind, match=match) as caught:
        call(*arguments, **options)
    return caught.value


def wire(framer: Framer[Any], *frames: Any) -> bytes:
    """Return the bytes that carry these frames."""
    encoded: Iterable[Any] = map(framer.encode, frames)
    return b"".join(each if isinstance(each, bytes | bytearray | memoryview) else b"".join(each) for each in encoded)


@contextmanager
def growth_below(limit: float) -> Iterator[None]:
    """Python allocates no more than this inside the block, at any time."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < limit
    finally:
        tracemalloc.stop()
