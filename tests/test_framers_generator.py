"""Frames of many fields: each kind of field, bodies, what goes wrong, and what it costs."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from cutting import told
from framer_examples import Headed, Many, Never, Packet, many
from sample_conditions import Spaced

from framestream import (
    NEED_DATA,
    Delimiter,
    FrameDecoder,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    LengthPrefix,
    Line,
    Msgpack,
    PayloadError,
    ReadCondition,
    iter_frames,
)
from framestream.framer import PADDING
from framestream.framers import Body, Fields, GeneratorFramer
from framestream.testing import chunkings


def of(generator: Callable[[], Any]) -> GeneratorFramer[Any]:
    """A framer whose fields this generator reads."""

    class Made(GeneratorFramer[Any]):
        def fields(self) -> Any:
            return generator()

    return Made()


# Limits, parts, policies


@pytest.mark.parametrize("field", [1, 2, b",", struct.Struct("B")], ids=str)
def test_many_small_fields_take_little_more_memory_than_their_bytes(field: Any) -> None:
    def fields() -> Any:
        while (yield field) not in (b"!", b"!!", (33,)):
            pass

    framer, decoder, wire = of(fields), FrameDecoder(), (b"x," if field == b"," else b"xx") * 10_000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for at in range(0, len(wire), 10):
        decoder.receive_data(wire[at : at + 10])
        assert decoder.next_frame(framer) is NEED_DATA
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held < 2.4 * len(wire) + 8_192  # as they are received, and as they are kept


def test_truncated_bodies_of_known_size_are_made_frames_of_and_others_are_not() -> None:
    packets = b"\5\0\0\1hello\1\0\0\2!"
    assert list(iter_frames(packets, Packet(), max_frame_size=2, on_oversize="truncate")) == [(1, b"he"), (2, b"!")]
    with pytest.raises(PayloadError, match="nothing can be made of the first 2 bytes"):
        list(iter_frames(b"put hello\n", Headed(Delimiter(b"\n")), max_frame_size=2, on_oversize="truncate"))
    with pytest.raises(PayloadError, match="nothing can be made of the first 2 bytes"):
        list(iter_frames(many(4), Many(), max_frame_size=2, on_oversize="truncate"))


# What is read, and what is refused


def every_kind() -> Any:
    number = yield 2
    word = yield b", "
    numbers = yield struct.Struct("<HB")
    line = yield Line()
    packed = yield Msgpack()
    prefixed = yield LengthPrefix(1)
    nothing = yield 0
    return number, word, numbers, line, packed, prefixed, nothing


def two(condition: ReadCondition[Any]) -> GeneratorFramer[Any]:
    def fields() -> Any:
        return (yield condition), (yield condition)

    return of(fields)


def small_numbers() -> Any:
    yield 2
    number = int((yield b";"))
    if number > 9:
        raise FramingError("too many")
    if number > 5:
        raise FramingError("too many by far", position=0)
    if number == 5:
        raise PayloadError("five")
    return number


def negative(kind: str) -> Callable[[], Any]:
    def fields() -> Any:
        [number] = yield struct.Struct("b")
        if kind == "field":
            yield number
        return Body(number, bytes)

    return fields


def pings() -> Any:
    line = yield b"\n"
    return PADDING if line == b"ping" else line


class Prefixed(GeneratorFramer[bytes]):
    def fields(self) -> Fields[bytes]:
        return Body(int((yield b":")), bytes, trailer=b",")


ABOVE_3 = "frame of 4 bytes exceeds the limit 3 (at offset %d)"
NO_NUMBER = "bad: invalid literal for int() with base 10: b'x'"
NO_TEXT = (
    "a field cannot be decoded: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte (at offset 2)"
)
READ: list[tuple[GeneratorFramer[Any], bytes, list[Any]]] = [
    (of(every_kind), b"12word, \1\0\2line\n\x92\1\2\1p", [(b"12", b"word", (1, 2), "line", [1, 2], b"p", b"")]),
    (Headed(Spaced()), b"a   b\nc d\n", [(b"a", b"b"), (b"c", b"d")]),
    (two(Spaced()), b"  a\n   b\n", [(b"a", b"b")]),
    (of(pings), b"ping\nhello\nping\n", [b"hello"]),
    (two(Delimiter(b"\n", max_size=3)), b"abc\n\nabcd\n", [(b"abc", b""), ABOVE_3 % 5]),
    (two(LengthPrefix(1, max_size=3)), b"\3abc\0\4abcd", [(b"abc", b""), ABOVE_3 % 5]),
    (of(small_numbers), b"ab1;ab10;", [1, "too many (at offset 6)"]),
    (of(small_numbers), b"ab6;", ["too many by far (at offset 0)"]),
    (of(small_numbers), b"ab5;ab1;", ["bad: five", 1]),
    (of(small_numbers), b"abx;", ["invalid literal for int() with base 10: b'x' (at offset 2)"]),
    (of(negative("field")), b"\xfd", ["a field of -3 bytes (at offset 0)"]),
    (of(negative("body")), b"\xfd", ["a body of -3 bytes (at offset 0)"]),
    (Headed(Never()), b"put x", ["never (at offset 4)"]),
    (Headed(Delimiter(b"\n"), int), b"put 1\nput x\nput 2\n", [(b"put", 1), NO_NUMBER, (b"put", 2)]),
    (Prefixed(), b"5:hello,0:;", [b"hello", "frame ends with b';' where b',' is expected (at offset 10)"]),
    (two(Prefixed()), b"5:hello,0:,", [(b"hello", b"")]),
    (two(Prefixed()), b"5:hello;", ["payload is not followed by b',' (at offset 7)"]),
    (two(Line()), b"a\n\xff\n", [NO_TEXT]),
]


@pytest.mark.parametrize(("framer", "data", "expected"), READ)
def test_it_reads_the_same_in_any_chunking(framer: Any, data: bytes, expected: list[Any]) -> None:
    for chunks in chunkings(data, two_way=20):
        assert told(framer, chunks) == expected


def test_the_limit_counts_all_bytes_of_a_frame_of_fields() -> None:
    wire = many(98)
    assert list(iter_frames(wire, Many(), max_frame_size=100)) == [list(range(98))]
    with pytest.raises(FrameTooLarge):
        list(iter_frames(wire, Many(), max_frame_size=99))


def test_the_body_of_a_condition_takes_no_trailer() -> None:
    with pytest.raises(TypeError, match="takes no trailer"):
        Body(Line(), str, trailer=b",")


@pytest.mark.parametrize("wrong", [b"", None, 1.5, "text"])
def test_what_is_no_field_is_the_authors_fault(wrong: Any) -> None:
    def fields() -> Any:
        yield wrong

    with pytest.raises(FramerContractError, match="not a size, delimiter, struct or condition"):
        list(iter_frames(b"abc", of(fields)))
