"""Costs, counted and not timed: bytes examined, bytes copied, memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Delimiter,
    Exactly,
    FixedLength,
    FrameDecoder,
    LengthPrefix,
    Line,
    Msgpack,
    PayloadError,
    ReadCondition,
    Regex,
    UntilClose,
    Window,
)

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


def slow_frame(name: str, size: int) -> tuple[ReadCondition[Any], bytes]:
    """One long frame of about `size` bytes."""
    body = b"x" * size
    return {
        "exactly": (Exactly(size), body),
        "fixed-length": (FixedLength(size), body),
        "delimiter": (Delimiter(b"\r\n.\r\n"), body + b"\r\n.\r\n"),
        "delimiters": (Delimiter((b"end", b"\0\0")), body + b"end"),
        "line": (Line(), body + b"\r\n"),
        "length-prefix": (LengthPrefix(), size.to_bytes(4, "big") + body),
        "regex": (Regex(rb"\r?\n\r?\n"), body + b"\r\n\r\n"),
        "msgpack:str": (Msgpack(), b"\xdb" + size.to_bytes(4, "big") + body),
        "msgpack:array": (Msgpack(), b"\xdd" + (size // 4).to_bytes(4, "big") + b"\xa3abc" * (size // 4)),
        "msgpack:nested": (
            Msgpack(),
            b"\x91" * 500 + b"\xdc" + (size // 2).to_bytes(2, "big") + b"\xa1z" * (size // 2),
        ),
        "until-close": (UntilClose(), body),
    }[name]


SLOW = """exactly fixed-length delimiter delimiters line length-prefix regex msgpack:str msgpack:array
    msgpack:nested until-close""".split()  # noqa: SIM905


def drip(name: str, size: int, method: str) -> tuple[int, int]:
    condition, wire = slow_frame(name, size)
    counting = Counting(condition)
    decoder = FrameDecoder()
    answer: Any = NEED_DATA
    for i in range(len(wire)):
        decoder.receive_data(wire[i : i + 1])
        answer = getattr(decoder, method)(counting)
    decoder.receive_eof()
    while answer is NEED_DATA or (method == "next_part" and isinstance(answer, bytes)):
        answer = getattr(decoder, method)(counting)
    assert answer is not END
    return counting.examined, decoder.stats.copied


def assert_linear(cost: Callable[[int], Sequence[int]], size: int) -> None:
    """Twice the size costs at most twice as much."""
    for once, twice in zip(cost(size), cost(2 * size), strict=True):
        assert twice <= 2.05 * once + 64


@pytest.mark.parametrize("method", ["next_frame", "next_batch", "next_part"])
@pytest.mark.parametrize("name", SLOW)
def test_a_dripped_frame_costs_time_in_proportion_to_its_size(name: str, method: str) -> None:
    assert_linear(lambda size: drip(name, size, method), 4096)


@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("condition", "wire"),
    [
        (Delimiter(b"\n"), b"some text\n"),
        (LengthPrefix(1), b"\x03abc"),
        (Msgpack(), b"\xa3abc"),
        (Regex(rb"[\n]"), b"abc\n"),
    ],
    ids=str,
)
def test_many_frames_cost_time_in_proportion_to_their_number(
    condition: ReadCondition[Any], wire: bytes, size: int, method: str
) -> None:
    def cost(frames: int) -> tuple[int, int]:
        counting, decoder, count = Counting(condition), FrameDecoder(), 0
        data = wire * frames
        for i in range(0, len(data), size):
            decoder.receive_data(data[i : i + size])
            while (answer := getattr(decoder, method)(counting)) is not NEED_DATA:
                count += len(answer) if method == "next_batch" else 1
        assert count == frames
        return counting.examined, decoder.stats.copied

    assert_linear(cost, 200 if size == 1 else 20_000)


@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
def test_bad_frames_cost_no_more_for_what_is_buffered_after_them(method: str) -> None:
    class Picky(Counting):
        def find(self, window: Window) -> Any:
            return self.condition.find(window)  # it stops at the first delimiter, whatever follows

        def split(self, window: Window) -> Any:
            # All of a batch may be cut before it is decoded, and what comes after a bad frame thrown away.
            self.examined += len(window.data) - window.start
            return ReadCondition.split(self, window)

        def decode(self, payload: bytes) -> Any:
            return int(payload)

    def cost(frames: int) -> tuple[int, int]:
        counting, decoder, bad = Picky(Delimiter(b"\n")), FrameDecoder(), 0
        decoder.receive_data((b"12345\n" * 20 + b"bad\n") * frames)
        while True:
            try:
                if getattr(decoder, method)(counting) is NEED_DATA:
                    break
            except PayloadError:
                bad += 1
        assert (bad, decoder.frames) == (frames, 21 * frames)
        assert counting.examined <= 16 * decoder.received
        return counting.examined, decoder.stats.copied

    assert_linear(cost, 500)


@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
def test_an_8_mib_delimited_frame_in_1_kib_chunks_is_examined_once_and_copied_once(method: str) -> None:
    counting = Counting(Delimiter(b"\n"))
    decoder = FrameDecoder(max_frame_size=16 * MIB)
    chunk = b"x" * 1024
    for _ in range(8192):
        decoder.receive_data(chunk)
        assert getattr(decoder, method)(counting) is NEED_DATA
    decoder.receive_data(b"\n")
    assert getattr(decoder, method)(counting) is not NEED_DATA
    assert counting.examined <= 1.01 * 8 * MIB
    assert decoder.stats.copied <= 1.01 * 8 * MIB


def test_a_64_mib_length_prefixed_frame_is_copied_once() -> None:
    counting = Counting(LengthPrefix())
    decoder = FrameDecoder(max_frame_size=64 * MIB)
    decoder.receive_data((64 * MIB).to_bytes(4, "big"))
    chunk = b"x" * 65536
    for _ in range(1024):
        assert decoder.next_frame(counting) is NEED_DATA
        decoder.receive_data(chunk)
    assert len(decoder.next_frame(counting)) == 64 * MIB
    assert counting.asked == 1
    assert decoder.stats.copied == 0  # besides the one that is delivered


class Growth:
    """The most memory that Python allocated inside the block, beyond what there was before."""

    def __enter__(self) -> Growth:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *exc: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


def test_bytes_that_trickle_in_unread_take_little_more_than_themselves() -> None:
    decoder, size = FrameDecoder(), 100_000
    with Growth() as growth:
        for _ in range(size):
            decoder.receive_data(b"x")
    assert growth.peak < 1.5 * size
    assert decoder.next_frame(Exactly(size)) == b"x" * size


ENDLESS = {
    "length-prefix:8": (LengthPrefix(8), (1 << 30).to_bytes(8, "big"), b""),
    "delimiter": (Delimiter(b"\0"), b"", b"\0"),
    "regex": (Regex(rb"\r?\n\r?\n"), b"", b"\n\n"),
    "msgpack:bin": (Msgpack(), b"\xc6" + (1 << 30).to_bytes(4, "big"), b""),
    "msgpack:array of bin": (Msgpack(), b"\x91\xc6" + (1 << 30).to_bytes(4, "big"), b""),
}


@pytest.mark.parametrize("name", list(ENDLESS))
@pytest.mark.parametrize("way", ["stream", "discard"])
def test_a_1_gib_frame_passes_in_constant_memory(name: str, way: str) -> None:
    condition, before, after = ENDLESS[name]
    decoder = FrameDecoder(on_oversize="discard", max_frame_size=65536)
    chunk = b"x" * 65536
    passed = 0
    end: Any = None
    with Growth() as growth:
        for piece in (before, *[chunk] * (1 << 14), after):
            decoder.receive_data(piece)
            if way == "discard":
                assert decoder.next_frame(condition) is NEED_DATA
                continue
            while isinstance(part := decoder.next_part(condition), bytes):
                passed += len(part)
            end = end if end is FRAME_END else part
    assert growth.peak < MIB
    if way == "stream":
        assert end is FRAME_END
        assert passed >= 1 << 30
    else:
        assert decoder.stats.discarded >= 1 << 30
