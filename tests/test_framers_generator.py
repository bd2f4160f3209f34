"""Frames of many fields: each kind of field, bodies, what goes wrong, and what it costs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from test_costs import Counting

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Delimiter,
    EncodeError,
    Exactly,
    FrameDecoder,
    Framer,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    Line,
    Msgpack,
    NeedMore,
    PayloadError,
    ReadCondition,
    UntilClose,
    Window,
    iter_frames,
)
from framestream.framer import PADDING
from framestream.framers import Body, Fields, GeneratorFramer
from framestream.testing import check_framer

PORT = struct.Struct("!H")


@dataclass(frozen=True)
class Address(GeneratorFramer[tuple[str, int]], Framer[tuple[str, int]]):
    """A host and a port, as SOCKS 5 writes them (RFC 1928, section 5)."""

    name = "socks-address"

    def fields(self) -> Fields[tuple[str, int]]:
        [kind] = yield 1
        if kind == 1:
            host = ".".join(map(str, (yield 4)))
        elif kind == 3:
            [size] = yield 1
            host = (yield size).decode("ascii")
        else:
            raise FramingError(f"address of kind {kind}")
        [port] = yield PORT
        return host, port

    def encode(self, frame: tuple[str, int]) -> bytes:
        host, port = frame
        try:
            return b"\1" + bytes(map(int, host.split("."))) + PORT.pack(port)
        except ValueError:
            return b"\3" + bytes([len(host)]) + host.encode("ascii") + PORT.pack(port)
        except struct.error as error:
            raise EncodeError(str(error)) from error


@dataclass(frozen=True)
class Packet(GeneratorFramer[tuple[int, bytes]], Framer[tuple[int, bytes]]):
    """A MySQL packet: three bytes of size, a number, the body."""

    name = "packet"
    max_size: int | None = None

    def fields(self) -> Fields[tuple[int, bytes]]:
        header = yield 4
        return Body(int.from_bytes(header[:3], "little"), lambda body: (header[3], body))

    def encode(self, frame: tuple[int, bytes]) -> list[bytes]:
        number, body = frame
        if self.max_size is not None and len(body) > self.max_size:
            raise EncodeError(f"packet of {len(body)} bytes, limit {self.max_size}")
        return [len(body).to_bytes(3, "little") + bytes([number]), body]


@dataclass(frozen=True)
class Many(GeneratorFramer[list[int]]):
    """As many numbers as the first two bytes say."""

    name = "many"

    def fields(self) -> Fields[list[int]]:
        [count] = yield PORT
        numbers = []
        for _ in range(count):
            [number] = yield 1
            numbers.append(number)
        return numbers


class Headed(GeneratorFramer[Any]):
    """A command, then what a condition reads."""

    name = "headed"

    def __init__(self, condition: ReadCondition[Any], make: Callable[[Any], Any] = lambda body: body) -> None:
        self.condition = condition
        self.make = make

    def fields(self) -> Fields[Any]:
        command = yield b" "
        return Body(self.condition, lambda body: (command, self.make(body)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headed) and other.condition == self.condition

    def __hash__(self) -> int:
        return hash(self.condition)


def of(generator: Callable[[], Any]) -> GeneratorFramer[Any]:
    """A framer whose fields this generator reads."""

    class Made(GeneratorFramer[Any]):
        def fields(self) -> Any:
            return generator()

    return Made()


def many(count: int) -> bytes:
    return PORT.pack(count) + bytes(i % 251 for i in range(count))


def test_addresses_keep_the_contract() -> None:
    check_framer(
        Address(),
        examples={
            b"\1\x7f\0\0\1\0\x50": [("127.0.0.1", 80)],
            b"\3\x09localhost\x1f\x90\3\0\0\1": [("localhost", 8080), ("", 1)],
        },
        malformed={b"\2": "address of kind 2", b"\3\1\xff\0\0": "ascii"},
        incomplete=[b"\1", b"\1\x7f", b"\3\5loc", b"\3\1a\0"],
        slow_frame=b"\3\xff" + b"x" * 255 + b"\0\1",
    )


def test_bodies_of_known_size_keep_the_contract() -> None:
    check_framer(
        Packet(),
        examples={b"\2\0\0\1hi\0\0\0\2": [(1, b"hi"), (2, b"")]},
        malformed={b"\xff\xff\xff\0": "exceeds the limit"},
        incomplete=[b"\2", b"\2\0\0\1h"],
        slow_frame=lambda size: size.to_bytes(3, "little") + b"\1" + b"x" * size,
    )


def test_many_fields_keep_the_contract() -> None:
    check_framer(
        Many(),
        examples={many(3) + many(0): [[0, 1, 2], []]},
        incomplete=[b"\0", b"\0\2a"],
        slow_frame=many,
    )


@pytest.mark.parametrize(
    ("condition", "body", "value", "incomplete"),
    [
        (Line(last=False), b"text\r\n", "text", b"te"),
        (Delimiter(b"--end"), b"-a--end", b"-a", b"-a--e"),
        (LengthPrefix(2), b"\0\3abc", b"abc", b"\0\3a"),
        (Msgpack(), b"\x93\1\2\xa1a", [1, 2, "a"], b"\x93\1"),
        (Address(), b"\3\1a\0\1", ("a", 1), b"\3\1a"),
        (Headed(Line()), b"b line\n", (b"b", "line"), b"b"),
    ],
    ids=str,
)
def test_bodies_read_by_a_condition_keep_the_contract(
    condition: ReadCondition[Any], body: bytes, value: Any, incomplete: bytes
) -> None:
    check_framer(
        Headed(condition),
        examples={b"put " + body + b"get " + body: [(b"put", value), (b"get", value)]},
        incomplete=[b"pu", b"put ", b"put " + incomplete],
    )


def test_a_body_may_go_on_until_the_stream_ends() -> None:
    check_framer(
        Headed(UntilClose()),
        examples={b"put everything": [(b"put", b"everything")], b"put ": [(b"put", b"")]},
    )


class Padded(ReadCondition[bytes]):
    """Lines; empty ones are nothing."""

    overhead = 1

    def find(self, window: Window) -> Any:
        if window.data[window.start : window.start + 1] == b"\n" and not window.taken:
            return window.start, window.start, window.start + 1, PADDING
        return Delimiter(b"\n").find(window)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Padded)

    def __hash__(self) -> int:
        return 1


def test_padding_in_front_of_a_field_is_no_part_of_it() -> None:
    check_framer(Headed(Padded()), examples={b"a \n\nb\nc d\n": [(b"a", b"b"), (b"c", b"d")]})

    def two() -> Any:
        return (yield Padded()), (yield Padded())

    assert list(iter_frames([b"\n\na\n\n", b"\nb\n"], of(two))) == [(b"a", b"b")]


def test_padding_between_frames_is_what_a_generator_may_return() -> None:
    class Pings(GeneratorFramer[bytes]):
        def fields(self) -> Fields[Any]:
            line = yield b"\n"
            return PADDING if line == b"ping" else line

    assert list(iter_frames(b"ping\nhello\nping\n", Pings())) == [b"hello"]


def test_every_kind_of_field_is_sent_what_it_stands_for() -> None:
    def fields() -> Any:
        number = yield 2
        word = yield b", "
        numbers = yield struct.Struct("<HB")
        line = yield Line()
        packed = yield Msgpack()
        prefixed = yield LengthPrefix(1)
        nothing = yield 0
        return number, word, numbers, line, packed, prefixed, nothing

    wire = b"12word, \1\0\2line\n\x92\1\2\1p"
    value = (b"12", b"word", (1, 2), "line", [1, 2], b"p", b"")
    for chunks in ([wire], [wire[i : i + 1] for i in range(len(wire))], [bytearray(wire)]):
        assert list(iter_frames(chunks, of(fields))) == [value]


# Limits, parts, policies


def test_a_declared_body_is_judged_before_it_arrives_and_skipped_exactly() -> None:
    decoder = FrameDecoder(max_frame_size=4)
    decoder.receive_data(b"\5\0\0\1")
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_frame(Packet())
    assert (caught.value.size, caught.value.recoverable) == (5, True)
    decoder.receive_data(b"12345\2\0\0\2ok")
    assert decoder.next_frame(Packet()) == (2, b"ok")


@pytest.mark.parametrize("framer", [Packet(), Headed(Delimiter(b"\n"))], ids=["size", "condition"])
def test_a_body_is_streamed_without_its_header(framer: GeneratorFramer[Any]) -> None:
    head, tail = (b"\6\0\0\1", b"") if isinstance(framer, Packet) else (b"put ", b"\n")
    decoder = FrameDecoder(max_frame_size=2)
    parts = []
    for chunk in (head, b"ab", b"cd", b"ef", tail, b"next"):
        decoder.receive_data(chunk)
        while isinstance(part := decoder.next_part(framer), bytes):
            parts.append(part)
        if part is FRAME_END:
            break
    assert b"".join(parts) == b"abcdef"
    assert len(parts) >= 3


def test_a_body_of_a_condition_is_discarded_as_it_arrives() -> None:
    lines = Headed(Delimiter(b"\n"))
    wire = b"put " + b"x" * 500 + b"\nget y\n"
    for size in (1, 7, 1000):
        chunks = [wire[i : i + size] for i in range(0, len(wire), size)]
        assert list(iter_frames(chunks, lines, max_frame_size=10, on_oversize="discard")) == [(b"get", b"y")]


def test_truncated_bodies_of_known_size_are_made_frames_of_and_others_are_not() -> None:
    packets = b"\5\0\0\1hello\1\0\0\2!"
    assert list(iter_frames(packets, Packet(), max_frame_size=2, on_oversize="truncate")) == [
        (1, b"he"),
        (2, b"!"),
    ]
    with pytest.raises(PayloadError, match="nothing can be made of the first 2 bytes"):
        list(iter_frames(b"put hello\n", Headed(Delimiter(b"\n")), max_frame_size=2, on_oversize="truncate"))
    with pytest.raises(PayloadError, match="nothing can be made of the first 2 bytes"):
        list(iter_frames(many(4), Many(), max_frame_size=2, on_oversize="truncate"))


def test_frames_of_fields_count_all_their_bytes() -> None:
    wire = many(98)
    assert list(iter_frames(wire, Many(), max_frame_size=100)) == [list(range(98))]
    with pytest.raises(FrameTooLarge):
        list(iter_frames(wire, Many(), max_frame_size=99))


def test_a_condition_keeps_its_own_limit_as_a_field() -> None:
    def fields() -> Any:
        return (yield Delimiter(b"\n", max_size=3)), (yield LengthPrefix(1, max_size=3))

    assert list(iter_frames(b"abc\n\3abc", of(fields))) == [(b"abc", b"abc")]
    for wire in (b"abcd\n", b"abcde", b"\n\4abcd", b"\n\4"):
        with pytest.raises(FrameTooLarge) as caught:
            list(iter_frames(wire, of(fields)))
        assert caught.value.limit == 3


def test_writing_keeps_the_limit() -> None:
    with pytest.raises(EncodeError, match="packet of 5 bytes, limit 4"):
        Packet(max_size=4).encode((1, b"hello"))


# What goes wrong


def refused(framer: GeneratorFramer[Any], wire: bytes) -> FramingError:
    with pytest.raises(FramingError) as caught:
        list(iter_frames(wire, framer))
    return caught.value


def test_what_the_generator_refuses_is_refused_at_the_field_read_last() -> None:
    def fields() -> Any:
        yield 2
        number = int((yield b";"))
        if number > 9:
            raise FramingError("too many")
        if number > 5:
            raise FramingError("too many by far", position=0)
        return number

    assert list(iter_frames(b"ab5;", of(fields))) == [5]
    assert (refused(of(fields), b"ab1;ab10;").reason, refused(of(fields), b"ab1;ab10;").offset) == (
        "too many",
        6,
    )
    assert refused(of(fields), b"ab6;").offset == 0
    assert "invalid literal" in refused(of(fields), b"abx;").reason
    assert refused(of(fields), b"abx;").offset == 2


def test_a_field_that_cannot_be_decoded_breaks_the_stream_at_its_place() -> None:
    def fields() -> Any:
        yield 1
        return (yield Line())

    error = refused(of(fields), b"a\xff\n")
    assert "a field cannot be decoded: " in error.reason
    assert error.offset == 1


def test_a_field_of_less_than_nothing_is_the_peers_fault() -> None:
    def size(kind: str) -> Any:
        [number] = yield struct.Struct("b")
        if kind == "field":
            yield number
        return Body(number, bytes)

    for kind, offset in (("field", 0), ("body", 0)):
        error = refused(of(lambda kind=kind: size(kind)), b"\xfd")
        assert (error.reason, error.offset) == (f"a {kind} of -3 bytes", offset)


def test_a_condition_that_refuses_a_field_says_where() -> None:
    def fields() -> Any:
        yield 2
        return (yield LengthPrefix(format="decimal", terminator=b":"))

    assert refused(of(fields), b"ab12x").offset is not None

    class Refuses(ReadCondition[bytes]):
        def find(self, window: Window) -> Any:
            raise FramingError("no")

    assert refused(Headed(Refuses()), b"put x").offset == 4


def test_a_trailer_is_checked_behind_a_field_and_behind_a_body() -> None:
    class Netstring(GeneratorFramer[bytes]):
        def fields(self) -> Fields[bytes]:
            return Body(int((yield b":")), bytes, trailer=b",")

    def two() -> Any:
        return (yield Netstring()), (yield Netstring())

    assert list(iter_frames(b"5:hello,0:,", of(two))) == [(b"hello", b"")]
    assert refused(Netstring(), b"5:hello;").offset == 7
    assert refused(of(two), b"5:hello;").offset == 7
    with pytest.raises(TypeError, match="takes no trailer"):
        Body(Line(), str, trailer=b",")


def test_a_bad_frame_is_consumed_where_the_generator_ends_it() -> None:
    def fields() -> Any:
        [number] = yield 1
        if number > 9:
            raise PayloadError(f"number {number}")
        return number

    decoder = FrameDecoder()
    decoder.receive_data(b"\1\x0a\2")
    decoder.receive_eof()
    framer = of(fields)
    assert decoder.next_frame(framer) == 1
    with pytest.raises(PayloadError) as caught:
        decoder.next_frame(framer)
    assert (caught.value.reason, caught.value.offset) == ("number 10", 1)
    assert decoder.next_frame(framer) == 2
    assert decoder.next_frame(framer) is END


def test_a_body_that_cannot_be_made_a_frame_is_a_bad_payload() -> None:
    framer = Headed(Delimiter(b"\n"), int)
    decoder = FrameDecoder()
    decoder.receive_data(b"put x\nput 1\n")
    with pytest.raises(PayloadError, match="invalid literal"):
        decoder.next_frame(framer)
    assert decoder.next_frame(framer) == (b"put", 1)


def test_an_end_inside_a_field_is_an_incomplete_frame() -> None:
    with pytest.raises(IncompleteFrame, match="3 bytes arrived"):
        list(iter_frames(b"\1\x7f\0\0\1\0\x50\1\x7f\0", Address()))


@pytest.mark.parametrize("wrong", [b"", None, 1.5, "text"])
def test_what_is_no_field_is_the_authors_fault(wrong: Any) -> None:
    def fields() -> Any:
        yield wrong

    with pytest.raises(FramerContractError, match="no size, delimiter, struct or condition"):
        list(iter_frames(b"abc", of(fields)))


# Purity and cost


def test_a_memo_can_be_used_again_and_gives_the_same_answers() -> None:
    wire = many(5)
    first = Many().find(Window(wire[:4]))
    assert isinstance(first, NeedMore)
    for _ in range(2):
        second = Many().find(Window(wire[:5], 0, first.resume, first.memo))
        assert isinstance(second, NeedMore)
        assert (6, 5) == (second.size, second.resume)
        assert (0, 7, 7, [0, 1, 2, 3, 4]) == Many().find(Window(wire, 0, second.resume, second.memo))
        assert (0, 7, 7, [0, 1, 2, 3, 4]) == Many().find(Window(wire, 0, first.resume, first.memo))


def test_a_dripped_frame_runs_its_generator_once() -> None:
    started = 0

    class Watched(Many):
        def fields(self) -> Any:
            nonlocal started
            started += 1
            return super().fields()

    decoder, framer = FrameDecoder(), Watched()
    answers = []
    for byte in many(300):
        decoder.receive_data(bytes([byte]))
        answers.append(decoder.next_frame(framer))
    assert [i % 251 for i in range(300)] == answers.pop()
    assert {NEED_DATA} == set(answers)
    assert started == 1


def test_many_fields_cost_time_in_proportion_to_their_number() -> None:
    costs = []
    for count in (1000, 2000):
        counting = Counting(Many())
        decoder = FrameDecoder()
        for byte in many(count):
            decoder.receive_data(bytes([byte]))
            decoder.next_frame(counting)
        costs.append(counting.examined)
    assert costs[1] <= 2.05 * costs[0]


def test_a_body_far_above_the_limit_passes_in_parts() -> None:
    decoder = FrameDecoder(max_frame_size=1)
    decoder.receive_data((256 * 65280).to_bytes(3, "little") + b"\1")
    passed = 0
    for _ in range(256):
        decoder.receive_data(bytes(65280))
        while isinstance(part := decoder.next_part(Packet()), bytes):
            passed += len(part)
    assert 256 * 65280 == passed
    assert decoder.stats.high_water < 200_000


def test_exact_numbers_of_bytes_may_be_asked_for_by_condition_too() -> None:
    assert list(iter_frames(b"put abc", Headed(Exactly(3)))) == [(b"put", b"abc")]
