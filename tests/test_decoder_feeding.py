"""FrameDecoder: however bytes are fed and frames are taken, the frames and their places are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_conditions import Bracketed, Lines, Number, Plain, Prefixed, Upper, cut, prefixed

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Exactly,
    FrameDecoder,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    PayloadError,
    ReadCondition,
    StreamClosed,
)

# Each kind of reading: the condition, and what writes a payload.
PIECES: dict[str, tuple[ReadCondition[Any], Callable[[bytes], bytes]]] = {
    "lines": (Lines(), lambda payload: payload + b"\n"),
    "plain": (Plain(), lambda payload: payload + b"\n"),
    "prefixed": (Prefixed(), prefixed),
    "padded": (Prefixed(3), lambda payload: prefixed(payload, padding=b"...")),
    "length-prefix": (LengthPrefix(), prefixed),
}
KEPT = 1 << 18


class Feeder:
    """Feed a decoder as streams do: whole chunks, a kept buffer, or the place that the decoder has."""

    def __init__(self, decoder: FrameDecoder) -> None:
        self.decoder = decoder
        self.kept = bytearray(KEPT)

    def feed(self, data: bytes, way: str) -> None:
        if way == "borrow" and len(data) <= KEPT:
            self.kept[: len(data)] = data
            self.decoder.borrow(memoryview(self.kept)[: len(data)])
            return
        while way == "place" and data and (place := self.decoder.get_buffer()) is not None:
            size = min(len(place), len(data))
            place[:size] = data[:size]
            self.decoder.buffer_updated(size)
            data = data[size:]
        self.decoder.receive_data(data)

    def settle(self) -> None:
        """The kept buffer is about to be used again."""
        self.decoder.settle()
        self.kept[:] = bytes(KEPT)


class Taker:
    """Take frames in one way or another, and check what the decoder says of their places."""

    def __init__(self, decoder: FrameDecoder, kind: str, payloads: list[bytes]) -> None:
        self.condition, write = PIECES[kind]
        self.decoder = decoder
        self.payloads = payloads
        self.wire = b"".join(map(write, payloads))
        self.ends = [0]
        for payload in payloads:
            self.ends.append(self.ends[-1] + len(write(payload)))
        self.taken = 0
        self.parts: list[bytes] = []

    def take(self, way: str) -> bool:
        decoder = self.decoder
        if way == "part" or decoder.streaming:
            part = decoder.next_part(self.condition)
            if isinstance(part, bytes):
                assert part
                self.parts.append(part)
                return True
            if part is not FRAME_END:
                return False
            frames, self.parts = [b"".join(self.parts)], []
        elif way == "batch":
            answer = decoder.next_batch(self.condition)
            if not isinstance(answer, list):
                return False
            frames = answer
        elif way == "pop" and decoder.ahead and decoder.condition is self.condition:
            frames = [decoder.ahead.pop()]
        else:
            frame = decoder.next_frame(self.condition, max_size=1 << 20 if way == "sized" else None)
            if not isinstance(frame, bytes):
                return False
            frames = [frame]
        expected = self.payloads[self.taken : self.taken + len(frames)]
        assert [len(frame) for frame in expected] == [len(frame) for frame in frames]
        assert expected == frames
        self.taken += len(frames)
        return True

    def check(self, received: int) -> None:
        decoder = self.decoder
        assert decoder.received == received
        assert decoder.frames == self.taken
        assert decoder.missing >= 1
        if not decoder.streaming:
            end = self.ends[self.taken]
            assert (decoder.offset, decoder.buffered) == (end, received - end)
            assert decoder.held >= decoder.buffered
            assert decoder.peek(9) == self.wire[end : min(end + 9, received)]
            if self.taken:
                assert decoder.frame_span == (self.ends[self.taken - 1], end)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(PIECES)),
    sizes=st.lists(st.sampled_from([0, 1, 40, 600, 5000, 40_000, 300_000]), max_size=8),
    repeat=st.sampled_from([1, 1, 30]),
    data=st.data(),
)
def test_any_feeding_and_any_taking_gives_the_frames_at_their_places(
    kind: str, sizes: list[int], repeat: int, data: st.DataObject
) -> None:
    if sum(sizes) > 100_000:
        repeat = 1
    payloads = [bytes([97 + i % 26]) * size for i, size in enumerate(sizes * repeat)]
    decoder = FrameDecoder()
    feeder, taker = Feeder(decoder), Taker(decoder, kind, payloads)
    fed = 0
    feeding = st.tuples(
        st.sampled_from([1, 3, 100, 2000, 70_000, 250_000]),
        st.sampled_from(["data", "borrow", "borrow", "place"]),
        st.lists(
            st.tuples(st.sampled_from(["frame", "frame", "pop", "sized", "batch", "part", "check"]), st.integers(1, 9)),
            max_size=4,
        ),
    )
    while fed < len(taker.wire):
        size, way, takes = data.draw(feeding)
        if fed > 200_000 or len(taker.wire) > 100_000:
            size = max(size, 70_000)
        chunk = taker.wire[fed : fed + size]
        feeder.feed(chunk, way)
        fed += len(chunk)
        for take, times in takes:
            if take == "check":
                taker.check(fed)
            else:
                all(taker.take(take) for _ in range(times))
        feeder.settle()
    decoder.receive_eof()
    while taker.take("frame"):
        pass
    taker.check(fed)
    assert taker.taken == len(payloads)
    assert decoder.next_frame(taker.condition) is END
