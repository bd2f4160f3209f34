"""FrameDecoder: however bytes are fed and frames are taken, the frames and their places are the same."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import pytest
from cutting import Feeder, told_by
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_conditions import Bracketed, Drawn, Lines, Plain, Prefixed, cut, prefixed

from framestream import (
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
    "bracketed": (Drawn(opening=b"<", settles=True), b"<%b;".__mod__),
}
KEPT = 1 << 18
LETTERS = bytes(range(65, 91)) * 20_000


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(PIECES)),
    sizes=st.lists(st.sampled_from([0, 1, 40, 600, 5000, 40_000, 300_000]), max_size=8),
    repeat=st.sampled_from([1, 1, 30]),
    chance=st.integers(0, 1 << 32).map(Random),
)
def test_any_feeding_and_any_taking_gives_the_frames_at_their_places(
    kind: str, sizes: list[int], repeat: int, chance: Random
) -> None:
    if sum(sizes) > 100_000:
        repeat = 1
    condition, write = PIECES[kind]
    payloads = [LETTERS[i % 26 :][:size] for i, size in enumerate(sizes * repeat)]
    frames = list(map(write, payloads))
    rest, chunks = b"".join(frames), []
    while rest:
        size = chance.choice([1, 3, 100, 2000, 70_000, 250_000] if len(rest) < 100_000 else [70_000, 250_000])
        chunks.append(rest[:size])
        rest = rest[size:]
    ways = ["next_frame", "next_frame", "pop", "next_batch", "next_part"]
    seen, places, *others = told_by(condition, chunks, *ways, chance=chance)
    assert ([len(payload) for payload in payloads], payloads) == ([len(frame) for frame in seen], seen)
    spans = list(pairwise(accumulate(map(len, frames), initial=0)))
    assert spans == [place or span for place, span in zip(places, spans, strict=True)]  # of a batch, the last's
    assert [[], b"", []] == others


@pytest.mark.parametrize("then", ["frame", "part", "line", "hold", "skip"])
def test_the_place_of_a_large_frame_serves_every_next_read(then: str) -> None:
    decoder, size = FrameDecoder(max_frame_size=1 << 23), 1 << 22
    decoder.receive_data(prefixed(b"abc")[:5])
    assert decoder.next_frame(LengthPrefix()) is NEED_DATA
    assert (decoder.get_buffer(), decoder.stats.copied) == (None, 0)  # it is not worth a place
    decoder.receive_data(b"bc")
    assert decoder.next_frame(LengthPrefix()) == b"abc"
    wire = prefixed((LETTERS * 10)[: size - 1] + b"\n") + b"\0\0\0\xffleft"
    for piece in (wire[:2], wire[2:100]):
        decoder.receive_data(piece)
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
    if then == "skip":
        assert decoder.next_frame(LengthPrefix(), 1000, "discard") is NEED_DATA
    Feeder(decoder).feed(wire[200:], "data" if then == "part" else "place")
    if then == "line":
        assert decoder.next_frame(Lines()) == wire[:-9]
    elif then == "part":
        parts = iter(lambda: decoder.next_part(LengthPrefix()), FRAME_END)
        assert b"".join(part for part in parts if isinstance(part, bytes)) == wire[4:-8]
    elif then == "skip":
        assert decoder.next_frame(LengthPrefix()) is NEED_DATA
    else:
        assert decoder.next_frame(LengthPrefix()) == wire[4:-8]
    assert (decoder.get_buffer(), decoder.leftover) == (None, wire[-8:])


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


@pytest.mark.parametrize("view", [
    memoryview(array("b", b"c\n" * 300)), memoryview(b"c\n" * 300).cast("c"), memoryview(b"c-\n-" * 300)[::2],
    memoryview(b"c\n" * 300).cast("B", (300, 2)),
], ids=["signed", "characters", "strided", "table"])  # fmt: skip
def test_a_view_of_any_format_can_be_lent(view: memoryview) -> None:
    for begun, condition in ((b"ab", Lines()), (prefixed(bytes(1 << 19))[:9], LengthPrefix())):
        decoder = FrameDecoder()
        decoder.receive_data(begun)
        assert decoder.next_frame(condition) is NEED_DATA
        decoder.get_buffer()  # a large frame has its place now
        decoder.borrow(view)
        assert decoder.leftover == begun + view.tobytes()


def test_large_borrowed_frames_are_copied_once() -> None:
    wire = prefixed(bytes(65_536)) * 40
    decoder, taken = FrameDecoder(), 0
    for number, chunk in enumerate(cut(wire, KEPT)):
        assert decoder.borrow(memoryview(chunk)) is (number > 0 and len(chunk) == KEPT)
        while decoder.next_frame(LengthPrefix()) is not NEED_DATA:
            taken += 1
        decoder.settle()
    assert taken == 40
    # Of the first buffer all is copied, since nobody knows yet; then what straddles two.
    assert decoder.stats.copied <= KEPT + len(wire) // 3
