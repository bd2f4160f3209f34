"""ReceiveBuffer: chunks go in whole, frames come out copied once."""

from __future__ import annotations

import random

import pytest

from framestream.buffer import ReceiveBuffer


def filled(*chunks: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer()
    for chunk in chunks:
        buffer.append(chunk)
    return buffer


def test_a_single_chunk_becomes_the_head_uncopied() -> None:
    chunk = b"abc" * 2000
    buffer = filled(chunk)
    assert buffer.head is chunk
    buffer.advance(len(chunk))
    buffer.append(chunk)
    assert buffer.head is chunk
    assert buffer.copied == 0
    assert buffer.offset == len(chunk)


def test_growing_joins_one_chunk_at_a_time() -> None:
    big = b"x" * 5000
    buffer = filled(big, big, big)
    buffer.advance(4000)
    buffer.grow(1001)
    assert (len(buffer.head), buffer.pos, buffer.queued) == (6000, 0, 5000)
    assert buffer.offset == 4000


def test_small_chunks_are_joined_many_at_a_time() -> None:
    buffer = filled(*[b"x"] * 10_000)
    buffer.grow(1)
    assert len(buffer.head) >= 4096


def test_a_third_chunk_makes_the_head_grow_in_place_and_consuming_makes_it_immutable_again() -> None:
    big = b"x" * 5000
    buffer = filled(b"y" * 5000, *[big] * 10)
    for size in range(1, 50_001, 5000):
        if size > len(buffer.head):
            buffer.grow(size)
    assert type(buffer.head) is bytearray
    assert buffer.take(1, 3, 40_000) == b"yy"
    assert type(buffer.head) is bytes
    assert buffer.offset == 40_000
    assert buffer.peek(99_999) == b"x" * 15_000


@pytest.mark.parametrize("seed", range(5))
def test_any_mix_of_operations_gives_the_bytes_in_order(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(60_000)
    buffer = ReceiveBuffer()
    fed = read = 0
    while read < len(data):
        if fed < len(data) and (buffer.size < 10 or rng.random() < 0.5):
            size = rng.choice([1, 5, 700, 6000])
            buffer.append(data[fed : fed + size])
            fed = min(fed + size, len(data))
            continue
        size = rng.randint(1, min(buffer.size, 3000))
        way = rng.randrange(5)
        if way == 0:
            got = buffer.take(0, size, size)
        elif way == 1:
            got = buffer.take_some(size)
        elif way == 2:
            got = data[read : read + buffer.drop(size)]
        elif way == 3:
            start = rng.randint(0, size)
            assert buffer.take(start, size, size) == data[read + start : read + size]
            got = data[read : read + size]
        else:
            if buffer.queued:
                buffer.grow(size)
            got = b""
        assert got == data[read : read + len(got)]
        read += len(got)
        assert (buffer.offset, buffer.size) == (read, fed - read)
        assert buffer.peek(20) == data[read : min(fed, read + 20)]


def test_a_large_frame_is_copied_once() -> None:
    chunks = [b"x" * 65_536] * 64
    buffer = filled(b"head", *chunks)
    size = 4 + 64 * 65_536
    assert len(buffer.take(4, size, size)) == 64 * 65_536
    assert buffer.copied == 0
