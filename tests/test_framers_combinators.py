"""Framings made of other framings."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from cutting import cut, error, wire

from framestream.decoder import FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import (
    EncodeError,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
)
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Window
from framestream.framers.amounts import Exactly, FixedLength, UntilClose
from framestream.framers.choice import FirstOf, When
from framestream.framers.delimiter import Delimiter
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.line import Line
from framestream.framers.mapped import Mapped, Nested
from framestream.framers.msgpack import Msgpack
from framestream.framers.sequence import HeaderThenBody, Sequence
from framestream.registry.lookup import get_framer
from framestream.testing import check_framer, chunkings

LINE = Delimiter(b"\n")
SIZED = HeaderThenBody(Line(last=False), lambda line: FixedLength(int(line)))
SNIFF = FirstOf(When(b"\x00", LengthPrefix(2)), LINE)


@dataclass(frozen=True)
class Netstring(ReadCondition[str]):
    """Tells its extent before the comma that must end it has arrived."""

    def find(self, window: Window) -> Any:
        colon = window.data.find(b":", window.start)
        if colon < 0:
            return NeedMore()
        stop = colon + 1 + int(window.data[window.start : colon])
        return colon + 1, stop, stop + 1, Decode(lambda payload: payload.decode(), trailer=b",")


@dataclass(frozen=True)
class Spaced(ReadCondition[bytes]):
    """Lines, with blanks before them that belong to no frame."""

    def find(self, window: Window) -> Any:
        data, start = window.data, window.start
        first = start
        while first < len(data) and data[first] == 32:
            first += 1
        if first > start:
            return start, start, first, PADDING
        return LINE.find(window)

    def explain(self, window: Window) -> str:
        return "looks like poetry"


@dataclass(frozen=True)
class Never(ReadCondition[bytes]):
    """Refuses everything, and names no place."""

    def find(self, window: Window) -> Any:
        raise FramingError("never")


def sized(number: bytes) -> ReadCondition[bytes]:
    return FixedLength(number[0])


def parts_of(condition: ReadCondition[Any], data: bytes, chunk: int) -> tuple[bytes, int]:
    """Stream one frame in parts; return its payload and the most bytes that were held back."""
    decoder = FrameDecoder(max_frame_size=60)
    parts, most = [], 0
    for start in range(0, len(data), chunk):
        decoder.receive_data(data[start : start + chunk])
        while type(part := decoder.next_part(condition)) is bytes:
            parts.append(part)
        most = max(most, decoder.buffered)
    decoder.receive_eof()
    while type(part) is bytes or part is NEED_DATA:
        part = decoder.next_part(condition)
        parts += [part] if type(part) is bytes else []
    assert part is FRAME_END
    return b"".join(parts), most


CONFORMING: list[tuple[ReadCondition[Any], dict[str, Any]]] = [
    (
        Sequence(Line(), LengthPrefix(2)),
        {
            "examples": {b"one\n\0\2hi" * 2 + b"\n\0\0": [("one", b"hi"), ("one", b"hi"), ("", b"")]},
            "incomplete": [b"o\n\0", b"o\n\0\2a"],
            "slow_frame": lambda size: b"a\n" + size.to_bytes(2, "big") + b"x" * size,
        },
    ),
    (
        Sequence(LengthPrefix(2), LINE),
        {
            "examples": {b"\0\2hione\n\0\0\n": [(b"hi", b"one"), (b"", b"")]},
            "incomplete": [b"\0", b"\0\2h", b"\0\2hi", b"\0\2hia"],
            "slow_frame": lambda size: b"\0\1a" + b"x" * size + b"\n",
        },
    ),
    (
        Sequence(FixedLength(1), sized),
        {"examples": {b"\2hi\1x": [(b"\2", b"hi"), (b"\1", b"x")]}, "malformed": [b"\2ab\0"]},
    ),
    (
        Sequence(Msgpack(), SNIFF, Msgpack()),
        {
            "examples": {b"\1\0\2hi\x92\1\2\xa1aone\n\xc0": [(1, b"hi", [1, 2]), ("a", b"one", None)]},
            "slow_frame": lambda size: b"\1a\n\xdc" + size.to_bytes(2, "big") + b"\1" * size,
        },
    ),
    (
        Sequence(LINE, UntilClose()),
        {"examples": {b"a\nxyz": [(b"a", b"xyz")]}, "incomplete": [b"a"]},
    ),
    (
        SIZED,
        {
            "examples": {b"2\nhi1\nx": [("2", b"hi"), ("1", b"x")]},
            "malformed": [(b"1\naxx\n", "invalid literal")],
            "incomplete": [b"5\na"],
            "slow_frame": lambda size: b"%d\n" % size + b"x" * size,
        },
    ),
    (
        SNIFF,
        {
            "examples": {b"\0\2hione\n\0\0\n": [b"hi", b"one", b"", b""]},
            "incomplete": [b"\0", b"a"],
            "slow_frame": lambda size: b"x" * size + b"\n",
        },
    ),
    (
        FirstOf(Msgpack(raw=True), LINE),
        {"examples": {b"\x92\1\xa1a\xc1one\n\x91\xc1\n": [[1, b"a"], b"\xc1one", b"\x91\xc1"]}},
    ),
    (Mapped(Line(), json.loads, json.dumps), {"examples": {b'{"a": 1}\n[2]\n': [{"a": 1}, [2]]}}),
    (
        Nested(LengthPrefix(2), Msgpack()),
        {"examples": {b"\0\4\x93\1\2\3\0\1\xc0": [[1, 2, 3], None]}, "incomplete": [b"\0\4\x93"]},
    ),
    (
        Nested(LengthPrefix(2), Sequence(LINE, UntilClose())),
        {"examples": {b"\0\4a\nbc\0\2a\n": [(b"a", b"bc"), (b"a", b"")]}},
    ),
]


@pytest.mark.parametrize(("framer", "material"), CONFORMING, ids=[str(framer) for framer, _ in CONFORMING])
def test_it_passes_the_conformance_kit(framer: ReadCondition[Any], material: dict[str, Any]) -> None:
    check_framer(framer, **material)


# Sequences


def test_a_sequence_is_the_tuple_of_its_parts() -> None:
    condition = Sequence(LINE, LengthPrefix(1), Netstring(), Msgpack(raw=True))
    for chunks in chunkings(b"a\n\1b3:xyz,\xc3c\n"):
        assert cut(condition, *chunks) == [(b"a", b"b", "xyz", True), IncompleteFrame, ("left", b"c\n")]


def test_a_later_part_may_depend_on_all_values_before() -> None:
    def body(kind: str, size: int) -> ReadCondition[Any]:
        return Line() if kind == "line" else Exactly(size)

    condition = Sequence(Line(), Msgpack(), body)
    for chunks in chunkings(b"raw\n\x03abcline\n\x00xyz\n"):
        assert cut(condition, *chunks) == [("raw", 3, b"abc"), ("line", 0, "xyz")]


def test_a_part_is_asked_only_until_its_extent_is_known() -> None:
    asked = []

    @dataclass(frozen=True)
    class Noted(ReadCondition[bytes]):
        size: int

        def find(self, window: Window) -> Any:
            asked.append((self.size, len(window.data)))
            return window.start, window.start + self.size, window.start + self.size

    assert cut(Sequence(Noted(3), Noted(4)), *(bytes([byte]) for byte in b"abcdefg")) == [(b"abc", b"defg")]
    assert asked == [(3, 1), (4, 3)]


def test_a_header_that_makes_no_sense_breaks_the_stream_there() -> None:
    for chunks in chunkings(b"1\nab\n"):
        refused = error(SIZED, *chunks)
        assert isinstance(refused, FramingError)
        assert (refused.offset, "invalid literal for int()" in refused.reason) == (3, True)


def test_a_part_that_cannot_be_decoded_spoils_only_its_frame_if_nothing_depends_on_it() -> None:
    condition = Sequence(Msgpack(), Line(last=False))
    bad = b"\xa1\xffa\n"
    for chunks in chunkings(bad + b"\x01b\n"):
        decoder = FrameDecoder()
        for chunk in chunks:
            decoder.receive_data(chunk)
        with pytest.raises(PayloadError, match="utf-8"):
            decoder.next_frame(condition)
        assert decoder.next_frame(condition) == (1, "b")


def test_a_part_that_cannot_be_decoded_breaks_the_stream_if_the_next_depends_on_it() -> None:
    condition = HeaderThenBody(Msgpack(), FixedLength)
    refused = error(condition, b"\x01a" + b"\xa1\xff")
    assert isinstance(refused, FramingError)
    assert (refused.offset, refused.reason[:23]) == (2, "a field cannot be decod")


def test_a_refusal_without_a_place_is_placed_where_the_part_begins() -> None:
    for chunks in chunkings(b"a\nbc"):
        assert str(error(Sequence(LINE, Never()), *chunks)) == "never (at offset 2)"
        assert str(error(Sequence(LINE, FirstOf(Never(), Never())), *chunks))[-15:] == ") (at offset 2)"


def test_a_function_that_returns_no_condition_is_its_authors_bug() -> None:
    assert isinstance(error(Sequence(LINE, lambda line: 5), b"a\nb"), FramerContractError)  # type: ignore[arg-type, return-value]


def test_a_broken_trailer_of_a_part_is_refused_at_its_place() -> None:
    assert cut(Sequence(Netstring(), Netstring()), b"1:a,1:b,") == [("a", "b")]
    for data, offset in ((b"1:a;1:b,", 3), (b"1:a,1:b;", 7)):
        refused = error(Sequence(Netstring(), Netstring()), data)
        assert isinstance(refused, FramingError)
        assert refused.offset == offset


def test_padding_before_a_part_is_dropped() -> None:
    condition = Sequence(Spaced(), Spaced())
    for chunks in chunkings(b"  a\n   b\nc\nd\n  "):
        assert cut(condition, *chunks) == [(b"a", b"b"), (b"c", b"d")]


def test_every_part_but_the_last_is_held_to_its_own_limit() -> None:
    small = Delimiter(b"\n", max_size=3)
    assert cut(Sequence(small, small), b"abc\nabcdef\n") == [(b"abc", b"abcdef")]
    for data in (b"abcd\nx\n", b"abcdefgh"):
        for chunks in chunkings(data):
            refused = error(Sequence(small, small), *chunks)
            assert isinstance(refused, FrameTooLarge)
            assert (refused.limit, refused.recoverable) == (3, False)
    prefixed = Sequence(LengthPrefix(1, max_size=3), LINE)
    for chunks in chunkings(b"\x04abcdx\n"):
        refused = error(prefixed, *chunks)
        assert isinstance(refused, FrameTooLarge)
        assert (refused.limit, refused.size) == (3, 4)


def test_the_limit_counts_from_the_first_payload_to_the_last() -> None:
    condition = Sequence(LengthPrefix(1), LINE, max_size=5)
    assert cut(condition, b"\x02abcd\n")[0] == (b"ab", b"cd")
    assert cut(condition, b"\x02abcde\n")[0] == (b"ab", b"cde")
    assert cut(condition, b"\x02abcdef\n")[0] is FrameTooLarge


def test_a_sequence_is_streamed_with_everything_between_its_parts() -> None:
    long = b"x" * 500
    for chunk in (1, 7, 1000):
        payload, most = parts_of(Sequence(LengthPrefix(1), LINE), b"\x02hi" + long + b"\n", chunk)
        assert payload == b"hi" + long
        assert most < chunk + 3
        payload, most = parts_of(Sequence(LINE, LengthPrefix(2)), b"hi\n" + b"\x01\xf4" + long, chunk)
        assert payload == b"hi\n\x01\xf4" + long
    assert parts_of(Sequence(UntilClose()), long, 10)[0] == long
    assert parts_of(Sequence(LINE, Sequence(LINE, UntilClose())), b"a\nb\n" + long, 10)[0] == b"a\nb\n" + long


def test_a_long_sequence_is_discarded_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=20, on_oversize="discard")
    frames = []
    for byte in b"a\n" + b"x" * 300 + b"\nb\nc\n":
        decoder.receive_data(bytes([byte]))
        if (frame := decoder.next_frame(Sequence(LINE, LINE))) is not NEED_DATA:
            frames.append(frame)
    assert frames == [(b"b", b"c")]
    assert decoder.stats.high_water < 30


def test_a_truncated_frame_of_parts_is_a_bad_payload() -> None:
    body = HeaderThenBody(LINE, lambda line: LINE)
    for condition in (Sequence(LINE, LINE), body, FirstOf(When(b"a", LINE), Msgpack())):
        for chunks in chunkings(
            b"ab\ncdefgh\n" if condition in (body, Sequence(LINE, LINE)) else b"abcdefghi\n"
        ):
            decoder = FrameDecoder(max_frame_size=5, on_oversize="truncate")
            for chunk in chunks:
                decoder.receive_data(chunk)
            with pytest.raises(PayloadError, match="nothing can be made of the first 5 bytes") as caught:
                decoder.next_frame(condition)
            assert caught.value.payload[:2] == b"ab"


def test_a_sequence_writes_its_parts_one_behind_the_other() -> None:
    condition = Sequence(Line(), LengthPrefix(1), lambda line, data: FixedLength(len(line)))
    assert wire(condition, ("ab", b"c", b"de")) == b"ab\n\x01cde"
    assert wire(Sequence(Line(), SNIFF), ("ab", b"one")) == b"ab\n\x00\x03one"


@pytest.mark.parametrize(
    ("framer", "frame", "reason"),
    [
        (Sequence(LINE, LINE), (b"a",), "frame of 1 values for 2 parts"),
        (SIZED, ("two", b"hi"), "part 2 does not follow"),
        (SIZED, ("3", b"hi"), "2 bytes"),
        (Sequence(Spaced()), (b"a",), "Spaced.* only reads"),
        (Sequence(LINE, LINE, max_size=3), (b"a", b"bc"), "payload of 4 bytes exceeds the limit 3"),
    ],
)
def test_what_the_parts_cannot_carry_is_not_written(framer: Any, frame: Any, reason: str) -> None:
    with pytest.raises(EncodeError, match=reason):
        framer.encode(frame)


def test_a_sequence_within_its_limit_is_written() -> None:
    assert wire(Sequence(LINE, LINE, max_size=3), (b"a", b"b")) == b"a\nb\n"


def test_header_and_body_are_combined_and_separated() -> None:
    condition = HeaderThenBody(
        Line(last=False),
        lambda line: FixedLength(int(line)),
        combine=lambda line, body: body.decode("ascii"),
        separate=lambda text: (str(len(text)), text.encode()),
    )
    assert wire(condition, "hello") == b"5\nhello"
    for chunks in chunkings(b"5\nhello1\n\xff"):
        decoder = FrameDecoder()
        for chunk in chunks:
            decoder.receive_data(chunk)
        assert decoder.next_frame(condition) == "hello"
        with pytest.raises(PayloadError, match="ascii"):
            decoder.next_frame(condition)
    with pytest.raises(EncodeError, match="separate="):
        HeaderThenBody(LINE, lambda line: LINE, combine=max).encode(b"a")


# First of several


def test_the_first_alternative_that_does_not_refuse_reads_the_frame() -> None:
    decimal = LengthPrefix(3, format="decimal", terminator=b":")
    condition = FirstOf(decimal, Msgpack(), LINE)
    for chunks in chunkings(b"3:abc\x93\1\2\3x\n"):
        assert cut(condition, *chunks)[:2] == [b"abc", [1, 2, 3]]


def test_an_undecided_alternative_is_waited_for_and_its_bytes_are_replayed() -> None:
    condition = FirstOf(Msgpack(), LINE)
    decoder = FrameDecoder()
    decoder.receive_data(b"\x95\1\2\3")
    assert decoder.next_frame(condition) is NEED_DATA
    decoder.receive_data(b"\xc1\n")
    assert decoder.next_frame(condition) == b"\x95\1\2\3\xc1"


def test_an_alternative_that_has_not_refused_the_first_64_bytes_is_chosen() -> None:
    condition = FirstOf(Msgpack(), LINE)
    early, late = b"\xdc\xff\xff" + b"\1" * 60, b"\xdc\xff\xff" + b"\1" * 61
    for chunks in chunkings(early + b"\xc1\n", two_way=9):
        assert cut(condition, *chunks) == [early + b"\xc1"]
    for chunks in chunkings(late + b"\xc1\n", two_way=9):
        assert str(error(condition, *chunks)) == "byte 0xc1 begins no msgpack object (at offset 64)"


def test_batches_are_cut_as_long_as_the_choice_is_easy() -> None:
    line, blob = b"a\n", b"\0\2hi"
    assert SNIFF.split(Window(line + blob + b"\0")) == ([b"a", b"hi"], 6)
    assert When(b"a", LINE).split(Window(b"a\nab\nb\n")) == ([b"a", b"ab"], 5)
    assert FirstOf(When(b"a", LINE), When(b"b", LINE)).split(Window(b"c\n")) == ([], 0)
    assert Sequence(LINE, Netstring()).split(Window(b"a\n1:b,")) == ([(b"a", "b")], 6)
    assert Sequence(LINE, Exactly(0)).split(Window(b"a\n")) == ([(b"a", b"")], 2)
    assert Sequence(lambda: Exactly(0)).split(Window(b"a\n")) == ([], 0)


def test_all_refusals_are_told_at_the_furthest_place() -> None:
    condition = FirstOf(When(b"GET ", LINE), When(b"$", LINE), Msgpack())
    for chunks in chunkings(b"\x92\1\xc1"):
        refused = error(condition, *chunks)
        assert str(refused) == (
            'no alternative fits (when(delimiter:"\\n"):"GET ": frame does not begin with b\'GET \'; '
            "when(delimiter:\"\\n\"):$: frame does not begin with b'$'; "
            "msgpack: byte 0xc1 begins no msgpack object) (at offset 2)"
        )


def test_one_alternative_refuses_in_its_own_words() -> None:
    assert str(error(FirstOf(Msgpack()), b"\xc1")) == "byte 0xc1 begins no msgpack object (at offset 0)"


def test_what_the_guarded_alternative_refuses_is_refused() -> None:
    condition = FirstOf(When(b"\x92", Msgpack()), LINE)
    for chunks in chunkings(b"\x92\xc1\n"):
        assert str(error(condition, *chunks)) == "byte 0xc1 begins no msgpack object (at offset 1)"
    assert cut(condition, b"\x91\xc1\n") == [b"\x91\xc1"]


def test_an_alternative_is_streamed_as_soon_as_it_is_chosen() -> None:
    long = b"x" * 500
    assert parts_of(SNIFF, long + b"\n", 7) == (long, 0)
    payload, most = parts_of(FirstOf(When((b"a", b"xx"), LINE), Msgpack()), long + b"\n", 7)
    assert (payload, most) == (long, 0)
    payload, most = parts_of(FirstOf(LINE, Msgpack()), long + b"\n", 7)
    assert (payload, most < 64) == (long, True)


def test_the_limit_is_the_largest_of_the_alternatives_if_all_have_one() -> None:
    assert FirstOf(Delimiter(b"\n", max_size=5), Delimiter(b";", max_size=7)).max_size == 7
    assert FirstOf(Delimiter(b"\n", max_size=5), Delimiter(b";")).max_size is None


def test_writing_takes_the_alternative_that_would_read_it_back() -> None:
    assert wire(SNIFF, b"one") == b"\x00\x03one"
    assert wire(FirstOf(Never(), LINE), b"one") == b"one\n"
    mixed = FirstOf(When(b"{", Mapped(Line(), json.loads, json.dumps)), Line())
    assert wire(mixed, {"a": 1}, "text") == b'{"a": 1}\ntext\n'
    with pytest.raises(EncodeError, match=r"would be read as when\("):
        mixed.encode("{")
    with pytest.raises(EncodeError, match="no alternative can write it"):
        FirstOf(Msgpack(), Spaced(), Line()).encode(object())
    guarded = FirstOf(When(b"\x92", Msgpack()), Delimiter(b";"))
    with pytest.raises(EncodeError, match=r"would be read as when\("):
        guarded.encode(b"\x92\xc1")
    binary = b"\xdc\xff\xff" + b"\1" * 70 + b"\xc1"
    with pytest.raises(EncodeError, match="would be read as mapped"):
        FirstOf(Mapped(Msgpack(), str), LINE).encode(binary)


def test_an_alternative_with_padding_or_a_trailer_keeps_both() -> None:
    assert cut(FirstOf(Spaced(), LINE), b"  a\n b\n ") == [b"a", b"b"]
    assert cut(FirstOf(When(b"1", Netstring()), LINE), b"1:a,b\n1:a;") == [
        "a",
        b"b",
        FramingError,
        ("left", b"1:a;"),
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (FirstOf, "at least one alternative"),
        (Sequence, "at least one part"),
        (lambda: FirstOf(5), "5 is not a read condition"),  # type: ignore[arg-type, type-var]
        (lambda: When((), LINE), "none, or empty ones"),
        (lambda: When(b"", LINE), "none, or empty ones"),
        (lambda: Sequence(LINE, max_size=-1), "max_size is -1"),
        (lambda: HeaderThenBody(LINE, sized, max_size=-1), "max_size is -1"),
    ],
)
def test_wrong_parts_are_refused_at_once(make: Any, reason: str) -> None:
    with pytest.raises((ValueError, TypeError), match=reason):
        make()


# Guards


def test_a_guard_waits_until_the_beginning_is_decided() -> None:
    condition = When((b"GET ", b"PUT "), LINE, one_of=b"!?")
    assert type(condition.find(Window(b"PU"))) is NeedMore
    assert cut(condition, b"PU", b"T x\n!a\n?b\n") == [b"PUT x", b"!a", b"?b"]
    refused = error(condition, b"PUSH")
    assert str(refused) == "frame does not begin with b'GET ' or b'PUT ' or b'!' or b'?' (at offset 0)"
    assert "b'4', ..." in str(error(When((), LINE, one_of=b"0123456789"), b"x"))


def test_a_guard_writes_only_what_it_would_read() -> None:
    assert wire(When(b"$", LINE), b"$a") == b"$a\n"
    with pytest.raises(EncodeError, match="frame does not begin with b'\\$\\$'"):
        When(b"$$", LINE).encode(b"a")
    with pytest.raises(EncodeError, match="shorter than what it must begin with"):
        When(b"a\nb", LINE).encode(b"a")


# Mapped and nested


def test_a_value_that_is_refused_is_a_bad_payload() -> None:
    condition = Mapped(Line(), json.loads, json.dumps)
    decoder = FrameDecoder()
    decoder.receive_data(b"1\n2\nx\n3\n")
    assert decoder.next_batch(condition) == [1, 2]
    with pytest.raises(PayloadError, match="Expecting value"):
        decoder.next_batch(condition)
    assert decoder.next_batch(condition) == [3]


def test_mapping_keeps_values_padding_and_trailers() -> None:
    assert cut(Mapped(Msgpack(), str), b"\x01\xa1a") == ["1", "a"]
    assert list(map(repr, Mapped(Msgpack(), str).find(Window(b"\x01"))))[:3] == ["0", "1", "1"]
    assert cut(Mapped(Msgpack(), len), msgpack.packb("x" * 600)) == [600]
    assert cut(Mapped(Spaced(), len), b"  abc\n ") == [3]
    assert cut(Mapped(Netstring(), str.upper), b"1:a,1:b;") == ["A", FramingError, ("left", b"1:b;")]


def test_a_mapping_without_dump_only_reads() -> None:
    with pytest.raises(EncodeError, match="no function dumps"):
        Mapped(Line(), json.loads).encode({})
    with pytest.raises(EncodeError, match="not JSON serializable"):
        Mapped(Line(), json.loads, json.dumps).encode(object())


def test_a_nested_frame_fills_its_payload_exactly() -> None:
    condition = Nested(LengthPrefix(1), Msgpack())
    bad = {
        b"\1\x91": "payload of 1 bytes is cut short",
        b"\5\xc4\5abc": "payload of 5 bytes is cut short",
        b"\2\1\2": "payload of 2 bytes, but its inner frame ends after 1",
        b"\1\xc1": "payload is no msgpack: byte 0xc1",
        b"\2\xa1\xff": "utf-8",
        b"\0": "payload of 0 bytes is cut short",
    }
    for data, reason in bad.items():
        for chunks in chunkings(data + b"\1\7"):
            decoder = FrameDecoder()
            for chunk in chunks:
                decoder.receive_data(chunk)
            with pytest.raises(PayloadError, match=reason):
                decoder.next_frame(condition)
            assert decoder.next_batch(condition) == [7]


def test_the_inner_frame_may_have_padding_or_a_trailer() -> None:
    assert cut(Nested(LINE, Netstring()), b"1:a,\n") == ["a"]
    assert str(error(Nested(LINE, Netstring()), b"1:a;\n")).startswith(
        "payload ends otherwise than with b','"
    )
    assert "only padding" in str(error(Nested(LengthPrefix(1), Spaced()), b"\2  "))
    assert cut(Nested(LengthPrefix(1), LINE), b"\2a\n") == [b"a"]
    nested = Nested(LengthPrefix(2), Msgpack())
    assert cut(nested, wire(nested, "x" * 600)) == ["x" * 600]


def test_a_nested_frame_is_written_inside_out() -> None:
    assert wire(Nested(LengthPrefix(1), Msgpack()), [1, 2]) == b"\3\x92\1\2"


# All of them


def test_they_are_values() -> None:
    for framer in (
        Sequence(LINE, SNIFF, max_size=4),
        HeaderThenBody(LINE, sized),
        SNIFF,
        Mapped(LINE, json.loads),
        Nested(LengthPrefix(4), Msgpack()),
    ):
        assert framer == copy.deepcopy(framer) == pickle.loads(pickle.dumps(framer))
        assert hash(framer) == hash(copy.copy(framer))


@pytest.mark.parametrize(
    "spec",
    [
        "sequence(line, length-prefix:size=2)",
        "sequence(line, line):max=64KiB",
        'first-of(when(length-prefix:size=2):"\\0", line)',
        "when(line):<,>,one-of=ab",
        "first-of(msgpack, sequence(line, until-close))",
    ],
)
def test_the_spec_string_gives_the_framer_back(spec: str) -> None:
    assert str(get_framer(spec)) == spec


def test_functions_show_in_the_text() -> None:
    assert str(HeaderThenBody(LINE, sized)) == 'header-then-body(delimiter:"\\n"):<function sized>'
    assert str(Mapped(Line(), json.loads)) == "mapped(line):<function loads>"


def test_guesses_about_refused_frames_come_from_the_parts() -> None:
    window = Window(b"a")
    for condition in (
        Sequence(Spaced(), LINE),
        HeaderThenBody(Spaced(), sized),
        When(b"a", Spaced()),
        FirstOf(LINE, Spaced()),
        Mapped(Spaced(), len),
    ):
        assert condition.explain(window) == "looks like poetry"
    assert Sequence(lambda: LINE).explain(window) == ""
    assert FirstOf(LINE).explain(window) == ""


def test_only_what_may_be_empty_throughout_may_be_empty() -> None:
    assert Sequence(UntilClose(), Exactly(0)).can_be_empty
    assert not Sequence(LINE, UntilClose()).can_be_empty
    assert FirstOf(LINE, UntilClose()).can_be_empty
