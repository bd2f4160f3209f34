"""Archives: however a file is divided, its splits give the frames of the whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import (
    Delimiter,
    Exactly,
    FixedLength,
    FramingError,
    LengthPrefix,
    Line,
    Msgpack,
    PayloadError,
    ReadCondition,
    Regex,
    UntilClose,
)
from framestream.archives import InMemory, OnError, Reader, Record, Split, process, stitch
from framestream.decoder import FrameDecoder
from framestream.iterate import placed_frames

Item = tuple[Any, ...]

LIMIT = 300


def cut(whole: FrameDecoder, framer: ReadCondition[Any], on_error: OnError) -> Iterator[Item]:
    """Yield offset, size and frame of each frame of the whole, and what is wrong with the bad ones."""
    frames = placed_frames(whole, framer, ())
    while True:
        try:
            (start, end), frame = next(frames)
            yield start, end - start, frame
        except StopIteration:
            return
        except (PayloadError, FramingError) as error:
            yield told(error)
            if on_error == "raise" or not (
                isinstance(error, PayloadError) or getattr(error, "recoverable", 0)
            ):
                return
            frames = placed_frames(whole, framer, ())


def sequential(data: bytes, framer: ReadCondition[Any], on_error: OnError) -> list[Item]:
    decoder = FrameDecoder(max_frame_size=LIMIT)
    decoder.receive_data(data)
    decoder.receive_eof()
    return list(cut(decoder, framer, on_error))


def told(error: PayloadError | FramingError) -> Item:
    return type(error).__name__, error.reason, error.offset


def in_splits(splits: list[Split], on_error: OnError) -> Iterator[Item]:
    try:
        for split in splits:
            for record in split.records(on_error=on_error):
                yield record[:3] if record.error is None else told(record.error)
    except (PayloadError, FramingError) as error:
        yield told(error)


def in_process(splits: list[Split], on_error: OnError) -> Iterator[Item]:
    def read(reader: Reader) -> list[Record]:
        return list(reader.records(on_error=on_error))

    try:
        for records in process(splits, read, jobs=1):
            yield from (record[:3] if record.error is None else told(record.error) for record in records)
    except (PayloadError, FramingError) as error:
        yield told(error)


def divided(data: bytes, framer: ReadCondition[Any], borders: list[int], step: int = 7) -> list[Split]:
    source = InMemory(data, step=step)
    places = sorted({0, len(data), *(border % (len(data) or 1) for border in borders)})
    pairs = list(pairwise(places)) or [(0, 0)]
    return [Split(source, framer, start, stop, max_frame_size=LIMIT) for start, stop in pairs]


def of_lines(random: Random) -> bytes:
    return b"".join(random.choice((b"", b"a", b"\xff", b"ab\r", b"x" * 40)) + b"\n" for _ in range(20))


def of_prefixes(random: Random) -> bytes:
    return b"".join(
        struct.pack(">H", size) + random.randbytes(size) for size in random.choices(range(9), k=40)
    )


def of_msgpack(random: Random) -> bytes:
    values = [{"id": random.randrange(1000), "text": "x" * random.randrange(9)} for _ in range(20)]
    return b"".join(msgpack.packb(value) for value in values)


FRAMERS: dict[str, tuple[ReadCondition[Any], Any]] = {
    "line": (Line(), of_lines),
    "delimiter": (Delimiter(b"\n"), of_lines),
    "overlapping": (Delimiter(b"\n\n", last=True), lambda r: bytes(r.choices(b"a\n", k=60))),
    "half overlapping": (Delimiter((b"ab", b"ba")), lambda r: bytes(r.choices(b"abc", k=60)) + b"ab"),
    "fixed": (FixedLength(7), lambda r: r.randbytes(70)),
    "fixed, torn": (FixedLength(7), lambda r: r.randbytes(73)),
    "exactly": (Exactly(5), lambda r: r.randbytes(50)),
    "prefix": (LengthPrefix(2), of_prefixes),
    "garbage": (LengthPrefix(1), lambda r: r.randbytes(500)),
    "zeros": (LengthPrefix(2), lambda r: bytes(2 * r.randrange(60))),
    "too large": (LengthPrefix(2, max_size=5), of_prefixes),
    "prefixes in a prefix": (LengthPrefix(2), lambda r: struct.pack(">H", len(d := of_prefixes(r))) + d + d),
    "msgpack": (Msgpack(), of_msgpack),
    "regex": (Regex(rb"[^;]*;"), lambda r: b"".join(b"%d;" % r.randrange(999) for _ in range(30))),
    "until close": (UntilClose(), lambda r: r.randbytes(r.randrange(200))),
}


@pytest.mark.parametrize("on_error", ["raise", "column"])
@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=15)
@given(st.integers(0, 1 << 32), st.lists(st.integers(0, 600), max_size=5))
def test_splits_give_what_the_whole_gives(
    name: str, on_error: OnError, seed: int, borders: list[int]
) -> None:
    framer, make = FRAMERS[name]
    data = make(Random(seed))
    expected = sequential(data, framer, on_error)
    splits = divided(data, framer, borders)

    stitched = stitch(splits)
    assert list(in_splits(stitched.splits, on_error)) == expected
    errors = [item for item in expected if isinstance(item[0], str)]
    if not errors:
        assert sum(chain.count for chain in stitched.chains) == len(expected)
    if framer.synchronises == "exact" and not errors:
        assert list(in_splits(splits, on_error)) == expected

    in_order = list(in_process(splits, on_error))
    assert in_order[-1:] == expected[-1:]
    assert [item for item in expected if item in in_order] == in_order
