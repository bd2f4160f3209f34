"""FrameDecoder: however bytes are fed and frames are taken, the frames and their places are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_conditions import Bracketed, Lines, Plain, Prefixed, cut, prefixed

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    FrameDecoder,
    FrameTooLarge,
    FramingError,
    LengthPrefix,
    ReadCondition,
)

# Each kind of reading: the condition, and what writes a payload.
PIECES: dict[str, tuple[ReadCondition[Any], Callable[[bytes], bytes]]] = {
    "lines": (Lines(), lambda payload: payload + b"\n"),
    "plain": (Plain(), lambda payload: payload + b"\n"),
    "prefixed": (Prefixed(), prefixed),
    "padded": (Prefixed(3), lambda payload: prefixed(payload, padding=b"...")),
    "length-prefix": (LengthPrefix(), prefixed),
    "bracketed": (Bracketed(), b"<%b>".__mod__),
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
            if frame is NEED_DATA or frame is END:
                return False
            frames = [frame]
        frames = [frame.encode() if isinstance(frame, str) else frame for frame in frames]
        expected = self.payloads[self.taken : self.taken + len(frames)]
        assert [len(frame) for frame in expected] == [len(frame) for frame in frames]
        assert expected == frames
        self.taken += len(frames)
        return True

    def check(self, received: int) -> None:
        decoder = self.decoder
        assert decoder.received == received
        assert decoder.stats.frames == self.taken
        assert decoder.missing >= 1
        if not decoder.streaming:
            end = self.ends[self.taken]
            assert (decoder.offset, decoder.buffered) == (end, received - end)
            assert decoder.held >= decoder.buffered
            assert decoder.ahead or decoder.held == decoder.buffered
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


@pytest.mark.parametrize("then", ["frame", "part", "line", "hold"])
def test_the_place_of_a_large_frame_serves_every_next_read(then: str) -> None:
    decoder, size = FrameDecoder(max_frame_size=1 << 23), 1 << 22
    decoder.receive_data(prefixed(b"abc")[:5])
    assert decoder.next_frame(LengthPrefix()) is NEED_DATA
    assert (decoder.get_buffer(), decoder.stats.copied) == (None, 0)  # it is not worth a place
    decoder.receive_data(b"bc")
    assert decoder.next_frame(LengthPrefix()) == b"abc"
    wire = prefixed(bytes(size - 1) + b"\n") + b"x"
    Feeder(decoder).feed(wire[:100], "data")
    assert decoder.next_frame(LengthPrefix()) is NEED_DATA
    place = decoder.get_buffer()
    assert place is not None
    assert 0 < len(place) < size // 100  # as much as a few times what has arrived
    holder = memoryview(place) if then == "hold" else None  # as uvloop does
    place[:100] = wire[100:200]
    decoder.buffer_updated(100)
    assert (decoder.buffered, decoder.peek(4)) == (200, wire[:4])
    del holder
    if then == "line":
        assert decoder.next_frame(Lines()) is NEED_DATA
    Feeder(decoder).feed(wire[200:], "data" if then == "part" else "place")
    if then == "line":
        assert decoder.next_frame(Lines()) == wire[:-2]
    elif then == "part":
        parts = iter(lambda: decoder.next_part(LengthPrefix()), FRAME_END)
        assert b"".join(part for part in parts if isinstance(part, bytes)) == wire[4:-1]
    else:
        assert decoder.next_frame(LengthPrefix()) == wire[4:-1]
    assert decoder.leftover == b"x"


def test_a_place_whose_view_is_held_until_the_call_returns_is_copied() -> None:
    decoder, wire = FrameDecoder(), prefixed(bytes(1 << 18))
    decoder.receive_data(wire[: 1 << 17])
    assert decoder.next_frame(LengthPrefix()) is NEED_DATA
    place = decoder.get_buffer()
    assert place is not None
    with memoryview(place):
        place[:] = wire[1 << 17 :]
        decoder.buffer_updated(len(place))
        assert decoder.next_frame(LengthPrefix()) == wire[4:]


def borrowing(wire: bytes) -> Feeder:
    """Read a large frame, after which a decoder borrows, and then have it borrow this."""
    feeder = Feeder(FrameDecoder())
    feeder.feed(prefixed(bytes(40_000)), "data")
    assert feeder.decoder.next_frame(LengthPrefix()) == bytes(40_000)
    feeder.feed(wire, "borrow")
    return feeder


def test_what_is_refused_in_borrowed_bytes_is_refused_at_its_place() -> None:
    with pytest.raises(FramingError, match=r"no '<' where a frame begins \(at offset 40004\)"):
        borrowing(bytes(50_000)).decoder.next_frame(Bracketed())
    with pytest.raises(FrameTooLarge) as caught:
        borrowing(prefixed(bytes(100_000))).decoder.next_frame(LengthPrefix(), max_size=99_999)
    assert (caught.value.size, caught.value.recoverable) == (100_000, True)


def test_of_what_is_lent_right_behind_a_short_rest_only_the_rest_is_copied_again() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"a\nb")
    assert decoder.next_frame(Lines()) == b"a"
    decoder.borrow(memoryview(b"c\n" * 500))
    assert decoder.next_frame(Lines()) == b"bc"
    assert decoder.stats.copied == 1


def test_a_frame_that_begins_in_borrowed_bytes_may_end_in_others() -> None:
    wire = prefixed(bytes(100_000))
    feeder = borrowing(wire[:50_000])
    assert feeder.decoder.next_frame(LengthPrefix()) is NEED_DATA
    feeder.settle()
    feeder.feed(wire[50_000:], "data")
    assert feeder.decoder.next_frame(LengthPrefix()) == bytes(100_000)


def test_large_borrowed_frames_are_copied_once() -> None:
    wire = prefixed(bytes(65_536)) * 40
    decoder, taken = FrameDecoder(), 0
    feeder = Feeder(decoder)
    for chunk in cut(wire, KEPT):
        feeder.feed(chunk, "borrow")
        while decoder.next_frame(LengthPrefix()) is not NEED_DATA:
            taken += 1
        feeder.settle()
    assert taken == 40
    # Of the first buffer all is copied, since nobody knows yet; then what straddles two.
    assert decoder.stats.copied <= KEPT + len(wire) // 3
