"""Costs, counted and not timed: bytes examined, bytes copied, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cutting import Feeder, growth_below

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Delimiter,
    Exactly,
    FrameDecoder,
    LengthPrefix,
    Line,
    Msgpack,
    ReadCondition,
    Regex,
    UntilClose,
    Window,
    iter_frames,
)
from framestream.framers import Mapped, Nested
from framestream.testing import transcript
from framestream.testing.driver import By

MIB = 1 << 20


class Counting(ReadCondition[Any]):
    """Pass everything on to a condition; count the bytes that each question lets it examine."""

    def __init__(self, condition: ReadCondition[Any]) -> None:
        self.condition = condition
        self.overhead = condition.overhead
        self.can_be_empty = condition.can_be_empty
        self.max_size = condition.max_size
        self.examined = 0
        self.asked = 0

    def find(self, window: Window) -> Any:
        self.asked += 1
        self.examined += len(window.data) - window.resume
        return self.condition.find(window)

    def split(self, window: Window) -> Any:
        self.asked += 1
        self.examined += len(window.data) - window.start
        return self.condition.split(window)

    def decode(self, payload: bytes) -> Any:
        return self.condition.decode(payload)


def sized(size: int, width: int = 4) -> bytes:
    return size.to_bytes(width, "big")


# Frames of about so many bytes: a long one for each way to find its end, and many. (The kit drips into every framer.)
SLOW: dict[str, Callable[[int], tuple[ReadCondition[Any], bytes]]] = {
    "exactly": lambda n: (Exactly(n), b"x" * n),
    "delimiter": lambda n: (Delimiter(b"\r\n.\r\n"), b"x" * n + b"\r\n.\r\n"),
    "line": lambda n: (Line(), b"x" * n + b"\r\n"),
    "length-prefix": lambda n: (LengthPrefix(), sized(n) + b"x" * n),
    "regex": lambda n: (Regex(rb"\r?\n\r?\n"), b"x" * n + b"\r\n\r\n"),
    "msgpack": lambda n: (Msgpack(), b"\xdd" + sized(n // 4) + b"\xa3abc" * (n // 4)),
    "until-close": lambda n: (UntilClose(), b"x" * n),
    "many": lambda n: (Delimiter(b"\n"), b"some text\n" * (n // 10)),
}


def drip(name: str, size: int, method: str) -> tuple[int, int]:
    condition, wire = SLOW[name](size)
    counting, decoder = Counting(condition), FrameDecoder()
    read, answer = partial(getattr(decoder, method), counting), NEED_DATA
    for i in range(len(wire)):
        decoder.receive_data(wire[i : i + 1])
        answer = read()
    decoder.receive_eof()
    while answer is NEED_DATA or (method == "next_part" and isinstance(answer, bytes)):
        answer = read()
    assert answer is not END
    assert decoder.stats.frames == (wire.count(b"some text\n") or 1)
    return counting.examined, decoder.stats.copied


@pytest.mark.parametrize("method", ["next_frame", "next_batch", "next_part"])
@pytest.mark.parametrize("name", list(SLOW))
def test_dripped_frames_cost_time_in_proportion_to_their_size(name: str, method: str) -> None:
    for once, twice in zip(drip(name, 2048, method), drip(name, 4096, method), strict=True):
        assert twice <= 2.05 * once + 64


EACH = [(300, 6, 1), (3, 6, 100)]  # chunks, bytes of a frame, frames of a chunk
TOGETHER = [(20, 64, 1024), (20, 1000, 65)]


@pytest.mark.parametrize(("method", "limit", "most", "sizes"), [
    *((method, limit, 300, sizes) for method in ("next_frame", "next_part") for limit in (5, MIB) for sizes in EACH),
    *((method, MIB, 60, sizes) for method in ("next_frame", "next_batch") for sizes in TOGETHER),
])  # fmt: skip
def test_each_frame_is_asked_about_once_and_those_that_arrive_together_are_cut_together(
    method: str, limit: int, most: int, sizes: tuple[int, int, int]
) -> None:
    counting, decoder = Counting(Delimiter(b"\n")), FrameDecoder(max_frame_size=limit)
    chunks, size, together = sizes
    for _ in range(chunks):
        decoder.receive_data((b"x" * (size - 1) + b"\n") * together)
        while getattr(decoder, method)(counting) is not NEED_DATA:
            pass
    assert decoder.stats.frames == chunks * together
    assert counting.asked <= most


class Judged(Counting):
    """Count what `split` is shown: all of a batch may be cut before it is decoded, and then thrown away."""

    def find(self, window: Window) -> Any:
        self.asked += 1
        return self.condition.find(window)  # it looks at one frame, whatever follows


@pytest.mark.parametrize("by", ["frame", "batch"])
@pytest.mark.parametrize("wire", [b"!", b"+!", b"!!!+", b"+" * 20 + b"!", b"+" * 3 + b"!" + b"+" * 90 + b"!!"])
@pytest.mark.parametrize(("condition", "good", "bad"), [
    (Nested(LengthPrefix(1), Msgpack()), b"\1\xc0", b"\1\xc1"),
    (Mapped(Msgpack(), (1).__truediv__), b"\xcd\0\1", b"\0"),
    (Line(), b"\n", b"\xff\n"),
], ids=["nested", "values", "line"])  # fmt: skip
def test_bad_frames_cost_what_good_ones_do_whatever_follows_them(
    condition: ReadCondition[Any], good: bytes, bad: bytes, wire: bytes, by: By
) -> None:
    wire *= 700 // len(wire)
    counting, stream = Judged(condition), wire.replace(b"+", good).replace(b"!", bad)
    kinds = Counter(event.kind for event in transcript(counting, [stream], by=by).events)
    assert (kinds["frame"], kinds["PayloadError"]) == (wire.count(b"+"), wire.count(b"!"))
    assert counting.asked <= 2 * len(wire) + 1  # and for the end
    assert counting.examined <= 4 * len(stream) + 1024  # the first look ahead


def test_what_stands_before_a_bad_frame_is_loaded_at_most_twice() -> None:
    loaded: list[bytes] = []

    def load(line: bytes) -> int:
        loaded.append(line)
        if line == b"x":
            raise StopIteration
        return int(line)

    frames = iter_frames(b"1\n" * 300 + b"x\n", Mapped(Line(), load), on_payload_error=lambda error: None)
    assert list(frames) == [1] * 300
    assert len(loaded) <= 2 * 302


# A frame in chunks: the first, the size and number of those between, the last; how much may be examined and copied.
LARGE: dict[str, tuple[ReadCondition[Any], bytes, int, int, bytes, float, float]] = {
    "searched": (Delimiter(b"\n"), b"", 1024, 8192, b"\n", 8.1 * MIB, 8.1 * MIB),
    "declared": (LengthPrefix(), sized(MIB) + bytes(4092), 4096, 255, bytes(4), 8192, 8192),
    "huge": (LengthPrefix(), sized(64 * MIB), 1 << 16, 1024, b"", 16, 0),
}


@pytest.mark.parametrize("asks_for_place", [False, True])
@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
@pytest.mark.parametrize("name", list(LARGE))
def test_a_large_frame_is_examined_and_copied_once_besides_its_delivery(
    name: str, method: str, asks_for_place: bool
) -> None:
    condition, first, size, number, last, examined, copied = LARGE[name]
    counting, decoder = Counting(condition), FrameDecoder(max_frame_size=64 * MIB)
    for chunk in (first, *[bytes(size)] * number, last):
        if asks_for_place:
            decoder.get_buffer()  # and does not use it
        decoder.receive_data(chunk)
        getattr(decoder, method)(counting)
    assert decoder.stats.frames == 1
    assert counting.examined <= examined
    assert decoder.stats.copied <= copied + size * asks_for_place


@pytest.mark.parametrize("read", ["next_frame", "next_batch", "late"])
@pytest.mark.parametrize("feed", ["data", "place", "borrow"])
@pytest.mark.parametrize("name", ["length-prefix", "line"])
def test_bytes_that_trickle_in_take_little_more_than_themselves(name: str, feed: str, read: str) -> None:
    condition, wire = SLOW[name](4_000)
    decoder = FrameDecoder()
    feeder, ask = Feeder(decoder), partial(getattr(decoder, read.replace("late", "next_frame")), condition)
    with growth_below(2.5 * len(wire) + 32_768):
        for byte in wire[:-1]:
            feeder.feed(bytes([byte]), feed)
            feeder.settle()
            assert read == "late" or ask() is NEED_DATA
        assert ask() is NEED_DATA
    decoder.receive_data(wire[-1:])
    assert ask() is not NEED_DATA


MUCH = 1 << 28
ENDLESS: dict[str, tuple[ReadCondition[Any], bytes, int, bytes]] = {
    "declared": (LengthPrefix(8), sized(MUCH, 8), MUCH, b""),
    "searched": (Delimiter(b"\0"), b"", MUCH // 16, b"\0"),
}


@pytest.mark.parametrize("name", list(ENDLESS))
@pytest.mark.parametrize("way", ["stream", "discard"])
def test_a_frame_of_any_size_passes_in_constant_memory(name: str, way: str) -> None:
    condition, before, size, after = ENDLESS[name]
    decoder = FrameDecoder(on_oversize="discard", max_frame_size=65536)
    chunk, passed, end = b"x" * 65536, 0, None
    with growth_below(MIB):
        for piece in (before, *[chunk] * (size >> 16), after):
            decoder.receive_data(piece)
            if way == "discard":
                assert decoder.next_frame(condition) is NEED_DATA
                continue
            while isinstance(part := decoder.next_part(condition), bytes):
                passed += len(part)
            end = end if end is FRAME_END else part
    if way == "stream":
        assert end is FRAME_END
        assert passed >= size
    else:
        assert decoder.stats.discarded >= size
