"""Framings made of other framings, and frames of many fields: what goes wrong in a part, and what it costs."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from cutting import cut, error, told, wire
from framer_examples import LINE, SNIFF, Headed, Many, Netstring, Never, Packet, many, of
from sample_conditions import Spaced

from framestream import NEED_DATA, FrameDecoder, Framer, ReadCondition, Window, iter_frames
from framestream.errors import EncodeError, FramerContractError, FramingError, PayloadError
from framestream.framer import PADDING
from framestream.framers.amounts import Exactly, UntilClose
from framestream.framers.choice import FirstOf, When
from framestream.framers.combined import HeaderThenBody, Mapped, Nested, Sequence
from framestream.framers.delimiter import Delimiter, Line
from framestream.framers.generator import Body
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.msgpack import Msgpack
from framestream.testing import chunkings


def bad_frames(condition: ReadCondition[Any], chunks: list[bytes], **options: Any) -> list[PayloadError]:
    """Return what is told of the frames that cannot be decoded."""
    errors: list[PayloadError] = []
    decoder = FrameDecoder(on_payload_error=errors.append, **options)
    for chunk in chunks:
        decoder.receive_data(chunk)
        while decoder.next_frame(condition) is not NEED_DATA:
            pass
    return errors


PIECE = Netstring(final=False)
PIECES = [PIECE, Mapped(PIECE, len), When(b"1", PIECE), FirstOf(PIECE), Sequence(PIECE, PIECE)]


@pytest.mark.parametrize("condition", PIECES, ids=repr)
def test_the_stream_must_not_end_after_a_frame_that_is_not_final(condition: ReadCondition[Any]) -> None:
    for chunks in chunkings(b"1:a," * 12, two_way=20):
        assert "stream ended inside a frame: 0 bytes arrived (at offset 48)" == told(condition, chunks)[-1]


# A good frame, then a bad one in the same framing: where that begins, and where its payload does.
BAD: list[tuple[ReadCondition[Any], bytes, bytes, int]] = [
    (Line(), b"ok\n", b"\xff\n", 0),
    (Mapped(LengthPrefix(2), lambda payload: payload.decode()), b"\0\1a", b"\0\1\xff", 2),
    (Nested(LengthPrefix(4), Line()), b"\0\0\0\5hello", b"\0\0\0\3\xff\xfe\xfd", 4),
    (Nested(LengthPrefix(1), Nested(LengthPrefix(1), Line())), b"\3\2ok", b"\2\1\xff", 1),
    (Sequence(LengthPrefix(1), Line()), b"\1aok\n", b"\1a\xff\n", 0),
    (Sequence(Line(), LengthPrefix(1), LengthPrefix(1)), b"ok\n\0\0", b"\xff\n\0\0", 0),
    (HeaderThenBody(Mapped(LengthPrefix(1), len), lambda n: Line()), b"\1aok\n", b"\1a\xff\n", 0),
    (FirstOf(When(b"\0", Mapped(LengthPrefix(2), bytes.decode)), Line()), b"ok\n", b"\0\1\xff", 2),
    (FirstOf(Mapped(LengthPrefix(1, max_size=9), bytes.decode), Line()), b"\2ok", b"\1\xff", 1),
    (Netstring(), b"2:ok,", b"1:\xff,", 2),
]


@pytest.mark.parametrize(("condition", "good", "bad", "header"), BAD, ids=str)
def test_a_bad_frame_is_placed_with_its_payload(
    condition: ReadCondition[Any], good: bytes, bad: bytes, header: int
) -> None:
    data, start = good + bad + good, len(good) + header
    for chunks in chunkings(data, two_way=20):
        [error] = bad_frames(condition, chunks)
        assert (error.offset, error.payload_offset) == (len(good), start)
        assert data.startswith(error.payload, start)
        assert 0 < len(error.payload) <= len(bad) - header


def test_a_truncated_frame_is_placed_with_its_payload() -> None:
    condition = Mapped(LengthPrefix(2), bytes.decode)
    for chunks in chunkings(b"\0\1a\0\5\xffbcde\0\1b"):
        [error] = bad_frames(condition, chunks, max_frame_size=3, on_oversize="truncate")
        assert (error.offset, error.payload_offset, error.payload) == (3, 5, b"\xffbc")


class Odd(Exception):
    """Of no kind that anybody foresees."""


def raising(error: Exception) -> Any:
    def raises(*_: Any) -> Any:
        raise error

    return raises


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), Odd("no"), EOFError("no")], ids=repr)
def test_what_a_users_function_raises_is_the_frames_fault(error: Exception) -> None:
    told_as = "no" if type(error) is ValueError else f"{type(error).__name__}: {error}"
    raises = raising(error)
    refusing = Mapped(Line(), raises, raises)
    bad: list[tuple[ReadCondition[Any], bytes]] = [
        (refusing, b"a\n"),
        (Nested(LengthPrefix(1), refusing), b"\1a"),
        (FirstOf(When(b"a", refusing), Line()), b"a\n"),
        (Sequence(Line(), refusing), b"a\na\n"),
        (Sequence(refusing, Line()), b"a\na\n"),
    ]
    for condition, data in bad:
        [message] = told(condition, [data])
        assert (message[:5], told_as in message) == ("bad: ", True), condition
    for condition in (HeaderThenBody(Line(), raises), Sequence(Line(), raises), Sequence(refusing, lambda _: Line())):
        [message] = told(condition, [b"a\na\n"])
        assert f"{told_as} (at offset 0)" in message
    for framer in (refusing, FirstOf(refusing)):
        with pytest.raises(EncodeError, match="no"):
            framer.encode("a")


def test_a_part_is_not_asked_while_the_bytes_of_its_extent_arrive() -> None:
    asked = []

    @dataclass(frozen=True)
    class Noted(ReadCondition[bytes]):
        size: int

        def find(self, window: Window) -> Any:
            asked.append((self.size, len(window.data)))
            return window.start, window.start + self.size, window.start + self.size

    assert cut(Sequence(Noted(3), Noted(4)), *(bytes([byte]) for byte in b"abcdefg")) == [(b"abc", b"defg")]
    assert asked == [(3, 1), (3, 3), (4, 3)]


class Stuck(ReadCondition[bytes]):
    def find(self, window: Window) -> Any:
        return window.start, window.start, window.start, PADDING


def yielding(field: Any) -> Any:
    yield field


def empties(field: Any) -> Any:
    yield 2
    yield 1
    while True:
        yield field


EMPTY = [0, struct.Struct(""), Exactly(0), UntilClose()]


def rows() -> Any:
    for _ in range(2):
        yield 1
        for _ in range(32_000):
            yield 0
    return "done"


def test_a_generator_may_ask_for_no_bytes_often() -> None:
    assert list(iter_frames(b"ab", of(rows))) == ["done"]


@pytest.mark.parametrize(("condition", "reason"), [
    *((of(empties, each), "asks for no bytes for ever") for each in EMPTY),
    (Sequence(LINE, lambda line: 5), "returned 5, not a read condition"),  # type: ignore[arg-type, return-value]
    (Sequence(LINE, Stuck()), "padding up to 2"),
    *((of(yielding, each), "not a size, delimiter, struct or condition") for each in (b"", None, 1.5, "text")),
])  # fmt: skip
def test_a_part_that_is_none_is_its_authors_bug(condition: ReadCondition[Any], reason: str) -> None:
    refused = error(condition, b"a\nb")
    assert (type(refused), reason in str(refused)) == (FramerContractError, True)


@pytest.mark.parametrize(("condition", "data", "payload"), [
    (Sequence(LINE, LINE), b"ab\ncdefgh\n", b"ab\ncd"),
    (HeaderThenBody(LINE, lambda line: LINE), b"ab\ncdefgh\n", b"ab\ncd"),
    (FirstOf(When(b"a", LINE), Msgpack()), b"abcdefghi\n", b"abcde"),
    (FirstOf(Netstring()), b"9:abcdefghi,", b"abcde"),
    (Headed(LINE), b"put hello you\n", b"hello"),
    (Many(), many(4), many(4)[:5]),
])  # fmt: skip
def test_a_truncated_frame_of_parts_is_a_bad_payload(
    condition: ReadCondition[Any], data: bytes, payload: bytes
) -> None:
    for chunks in chunkings(data):
        [error] = bad_frames(condition, chunks, max_frame_size=5, on_oversize="truncate")
        assert (error.reason, error.payload) == ("nothing can be made of the first 5 bytes alone", payload)


def test_a_truncated_body_of_known_size_is_made_a_frame_of() -> None:
    packets = b"\5\0\0\1hello\1\0\0\2!"
    assert list(iter_frames(packets, Packet(), max_frame_size=2, on_oversize="truncate")) == [(1, b"he"), (2, b"!")]


def test_batches_are_cut_as_long_as_the_choice_is_easy() -> None:
    line, blob = b"a\n", b"\0\2hi"
    assert SNIFF.split(Window(line + blob + b"\0")) == ([b"a", b"hi"], 6)
    assert When(b"a", LINE).split(Window(b"a\nab\nb\n")) == ([b"a", b"ab"], 5)
    assert FirstOf(When(b"a", LINE), When(b"b", LINE)).split(Window(b"c\n")) == ([], 0)
    assert Sequence(LINE, Netstring()).split(Window(b"a\n1:b,")) == ([(b"a", "b")], 6)
    assert Sequence(LINE, Exactly(0)).split(Window(b"a\n")) == ([(b"a", b"")], 2)
    assert Sequence(lambda: Exactly(0)).split(Window(b"a\n")) == ([], 0)


def test_the_limit_is_the_largest_of_the_alternatives_if_all_have_one() -> None:
    assert FirstOf(Delimiter(b"\n", max_size=5), Delimiter(b";", max_size=7)).max_size == 7
    assert FirstOf(Delimiter(b"\n", max_size=5), Delimiter(b";")).max_size is None


def test_what_reads_another_framing_than_it_writes_may_be_the_last_alternative() -> None:
    class Asks(Never, Framer[bytes]):
        def encode(self, frame: bytes) -> bytes:
            return b"?" + frame

    assert wire(FirstOf(When(b"$", LINE), Asks()), b"a") == b"?a"


def test_the_choice_costs_the_same_for_any_number_of_guards() -> None:
    asked = []

    class Noted(When[Any]):
        def fits(self, data: bytes | bytearray, start: int) -> bool | None:
            asked.append(start)
            return super().fits(data, start)

    counts = []
    for guards in (5, 50):
        condition = FirstOf(*(Noted(bytes([number]), LINE) for number in range(100, 100 + guards)), LINE)
        data = [bytes([byte]) for byte in b"abc\nfe\n" * 10]
        assert cut(condition, *data) == [b"abc", b"fe"] * 10  # each first byte is looked up once
        asked.clear()
        cut(condition, *data)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_each_alternative_is_asked_once_however_much_is_buffered() -> None:
    asked = []

    @dataclass(frozen=True)
    class Refusing(ReadCondition[str]):
        number: int

        def find(self, window: Window) -> Any:
            asked.append(self.number)
            raise FramingError("no")

    condition = FirstOf(*map(Refusing, range(5)), LINE)
    for data in (b"a\n", b"a\n" * 100, b"a" * 200 + b"\n"):
        window = Window(b"padding" + data, 7)
        assert condition.find(window)[:3] == LINE.find(window)  # type: ignore[index]
        assert asked == list(range(5))
        asked.clear()


@pytest.mark.parametrize("outer", [
    lambda inner, number: FirstOf(When(bytes([number]), LINE), inner),
    lambda inner, number: FirstOf(Never(), inner),
    lambda inner, number: FirstOf(inner, When(bytes([number]), LINE)),
    lambda inner, number: FirstOf(inner, Never()),
    lambda inner, number: FirstOf(Never(), inner, Never()),
    lambda inner, number: FirstOf(Mapped(inner, len), Never()),
    lambda inner, number: FirstOf(Sequence(inner), Never()),
    lambda inner, number: FirstOf(Mapped(Sequence(inner), len), FirstOf(Never(), Never())),
])  # fmt: skip
@pytest.mark.parametrize("data", [b"a\n", b"a" * 100 + b"\n", b"a", b"a" * 100, b"!\n", b"!" * 100 + b"\n"], ids=len)
def test_choices_in_choices_do_not_ask_each_alternative_twice_as_often_at_each_level(outer: Any, data: bytes) -> None:
    asked = []

    @dataclass(frozen=True)
    class Asked(Delimiter):
        def find(self, window: Window) -> Any:
            asked.append(self)
            if window.data[window.start] == ord("!"):
                raise FramingError("refused")
            return super().find(window)

    counts = []
    for depth in (8, 16):
        condition: ReadCondition[Any] = Asked(b"\n")
        for number in range(depth):
            condition = outer(condition, number)
        asked.clear()
        outcome = error(condition, data) if data[0] == ord("!") else cut(condition, data)
        assert str(outcome).count("refused") == (data[0] == ord("!"))
        counts.append(len(asked))
    assert counts[1] <= 2 * counts[0]


def test_a_refusal_after_a_part_was_passed_on_is_that_of_the_chosen_alternative() -> None:
    condition, decoder = FirstOf(Never(), Msgpack()), FrameDecoder(max_frame_size=9)
    decoder.receive_data(b"\xdc\x01\0" + b"\1" * 99)
    assert decoder.next_part(condition) == b"\xdc\x01\0" + b"\1" * 99
    decoder.receive_data(b"\xc1")
    with pytest.raises(FramingError, match=r"^byte 0xc1 begins no msgpack object \(at offset 102\)$"):
        decoder.next_part(condition)


def test_what_the_bytes_are_is_guessed_only_for_the_error_that_is_raised() -> None:
    guesses = []

    @dataclass(frozen=True)
    class Guessing(Never):
        def explain(self, window: Window) -> str:
            guesses.append(bytes(window.data))
            return "looks like poetry"

    assert cut(FirstOf(Guessing(), LINE), *[b"a\n"] * 9) == [b"a"] * 9
    assert guesses == []
    assert str(error(FirstOf(Guessing(), Never()), b"a")).endswith("; looks like poetry (at offset 0)")
    assert guesses == [b"a"]


class Fickle(ReadCondition[bytes]):
    """Refuses less than three bytes, and no more than that."""

    def find(self, window: Window) -> Any:
        if len(window.data) - window.start < 3:
            raise FramingError("short")
        return window.start, window.start, len(window.data)


def test_what_refuses_few_bytes_only_does_not_speak_for_the_others() -> None:
    number = LengthPrefix(format="decimal", terminator=b":")
    refused = error(FirstOf(When(b"$", LINE), Fickle(), number), b"1", b"2x")
    assert isinstance(refused, FramingError)
    assert "$" in refused.reason
    assert f"{number}: " in refused.reason
    assert "Fickle" not in refused.reason


def test_guesses_about_refused_frames_come_from_the_parts() -> None:
    window = Window(b"a")
    for condition in (
        Sequence(Spaced(), LINE),
        HeaderThenBody(Spaced(), Exactly),
        When(b"a", Spaced()),
        FirstOf(LINE, Spaced()),
        Mapped(Spaced(), len),
    ):
        assert condition.explain(window) == "looks like poetry"
    assert Sequence(lambda: LINE).explain(window) == ""
    assert FirstOf(LINE).explain(window) == ""


def test_functions_show_in_the_text() -> None:
    def sized(number: bytes) -> ReadCondition[bytes]:
        return Exactly(number[0])

    assert "<function sized>" in str(HeaderThenBody(LINE, sized))
    assert str(Mapped(Line(), json.loads)) == "mapped(line):<function loads>"


def test_the_body_of_a_condition_takes_no_trailer() -> None:
    with pytest.raises(TypeError, match="takes no trailer"):
        Body(Line(), str, trailer=b",")
