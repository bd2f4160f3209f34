"""ReceiveBuffer: chunks go in whole, frames come out copied once."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from framestream.buffer import Place, ReceiveBuffer


def filled(*chunks: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer()
    for chunk in chunks:
        buffer.append(chunk)
    return buffer


def took(buffer: ReceiveBuffer, start: int, stop: int, end: int) -> bytes:
    """Return the bytes from `start` to `stop`, and consume all to `end`."""
    taken = buffer.peek(stop - start, at=start)
    assert buffer.drop(end) == end
    return taken


def test_a_single_chunk_becomes_the_head_uncopied() -> None:
    chunk = b"abc" * 2000
    buffer = filled(chunk)
    buffer.advance(len(chunk))
    buffer.append(chunk)
    assert buffer.head is chunk
    assert (buffer.copied, buffer.offset) == (0, len(chunk))


def test_a_frame_that_straddles_two_chunks_takes_one_join() -> None:
    buffer = filled(*[b"x" * 5000] * 4)
    for copied in (10_000, 20_000):
        buffer.grow(5001)
        assert (type(buffer.head), buffer.copied) == (bytes, copied)
        buffer.advance(10_000)


def test_a_third_chunk_makes_the_head_grow_in_place_and_consuming_makes_it_immutable_again() -> None:
    big = b"x" * 5000
    buffer = filled(b"y" * 5000, *[big] * 10)
    for size in range(1, 50_001, 5000):
        if size > len(buffer.head):
            buffer.grow(size)
    assert (type(buffer.head), buffer.copied) == (bytearray, 60_000)
    assert took(buffer, 1, 3, 40_000) == b"yy"
    assert type(buffer.head) is bytes
    assert (buffer.offset, buffer.peek(99_999)) == (40_000, b"x" * 15_000)


def test_bytes_that_drip_into_a_searched_frame_join_its_head_at_once() -> None:
    buffer = filled(b"y" * 5000, *[b"x" * 5000] * 2)
    buffer.grow(5001)
    buffer.grow(10_001)
    assert type(buffer.head) is bytearray
    copied = buffer.copied
    for size in range(15_001, 15_101):
        buffer.append(b"z")
        assert (size, 0) == (len(buffer.head), buffer.queued)
    assert 100 == buffer.copied - copied
    buffer.append(b"!" * 600)  # a chunk worth keeping waits uncopied
    buffer.append(b"?")
    assert (601, 100) == (buffer.queued, buffer.copied - copied)
    assert took(buffer, 0, 1, 15_090) == b"y"
    assert 110 == buffer.copied - copied  # what is left of the head is immutable again
    assert took(buffer, 9, 611, 611) == b"z" + b"!" * 600 + b"?"


def test_a_large_frame_is_copied_once_and_who_lent_it_let_go() -> None:
    body, lent = b"x" * (64 << 16), ReceiveBuffer()
    lent.borrow(memoryview(b"head" + body))
    for buffer in (lent, filled(b"head", *[b"x" * 65_536] * 64)):
        assert took(buffer, 4, 4 + len(body), 4 + len(body)) == body
        assert (buffer.copied, buffer.size, buffer.view) == (0, 0, None)


def test_a_place_has_room_for_as_much_as_has_arrived_and_not_for_all_at_once() -> None:
    place = Place(1 << 24)
    place.put(b"x" * 100)
    while place.size < place.total:
        room = len(place.rest())
        assert min(place.size, place.total - place.size) <= room < 100 * place.size
        place.size += room


WAYS = ["append", "append", "extend", "borrow", "place", "take", "drop", "grow", "unread"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WAYS), st.sampled_from([1, 5, 700, 6000]), st.booleans())))
@example(
    [("append", 6000, True), ("append", 6000, True), ("take", 700, True), ("take", 700, True), ("grow", 6000, True)]
)
@example([("append", 700, True), ("borrow", 5, True), ("take", 6000, True)])
@example([("append", 6000, True), ("place", 700, True), ("drop", 6000, True), ("append", 5, True)])
@example([("append", 6000, True), ("append", 5, True), ("append", 700, True), ("append", 5, True)])
def test_any_mix_of_operations_gives_the_bytes_in_order(steps: list[tuple[str, int, bool]]) -> None:
    data = bytes(i % 251 for i in range(10_000)) * 40
    buffer, fed, read = ReceiveBuffer(), 0, 0
    for way, size, flag in steps:
        if way in ("append", "extend", "borrow") or buffer.size == 0:
            chunk = data[fed : fed + size]
            if way == "borrow":
                buffer.borrow(memoryview(chunk))
            elif way != "extend" or not buffer.extend(memoryview(chunk)):
                buffer.append(chunk)
            fed += size
        elif way == "take":
            end = min(buffer.size, size)
            start, stop = end // 3, end - end // 4 * flag
            assert took(buffer, start, stop, end) == data[read + start : read + stop]
            read += end
        elif way == "drop":
            read += buffer.drop(size)
        elif way == "place":
            start = min(size, buffer.size - 1)
            buffer.open_place(Place(buffer.size - start + 1000), start)
        elif way == "grow":
            buffer.grow(size)
            assert len(buffer.head) - buffer.pos >= min(size, buffer.size)
        elif isinstance(buffer.head, bytes) and buffer.pos < len(buffer.head):
            head, start = buffer.head, buffer.pos
            buffer.advance(len(head) - start)
            if flag and not buffer.queued:
                buffer.append(data[fed : fed + size])
                fed += size
            buffer.unread(head, start, len(head))
        assert (buffer.offset, buffer.size, buffer.end) == (read, fed - read, fed)
        lent = buffer.lent()
        assert lent is None or (buffer.pos, lent) == (0, data[read:fed])
        assert buffer.peek(20, at=3) == data[read + 3 : min(fed, read + 23)]
    assert buffer.peek(fed) == data[read:fed]
