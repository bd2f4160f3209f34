"""Framings made of other framings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from cutting import cut, error, told, wire
from sample_conditions import Spaced

from framestream.decoder import FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import EncodeError, FramerContractError, FramingError, PayloadError
from framestream.framer import Decode, NeedMore, ReadCondition, Window
from framestream.framers.amounts import Exactly, FixedLength, UntilClose
from framestream.framers.choice import FirstOf, When
from framestream.framers.delimiter import Delimiter
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.line import Line
from framestream.framers.mapped import Mapped, Nested
from framestream.framers.msgpack import Msgpack
from framestream.framers.sequence import HeaderThenBody, Sequence
from framestream.testing import chunkings

LINE = Delimiter(b"\n")
SIZED = HeaderThenBody(Line(last=False), lambda line: FixedLength(int(line)))
SNIFF = FirstOf(When(b"\x00", LengthPrefix(2)), LINE)


@dataclass(frozen=True)
class Netstring(ReadCondition[str]):
    """Tells its extent before the comma that must end it has arrived."""

    final: bool = True

    def find(self, window: Window) -> Any:
        colon = window.data.find(b":", window.start)
        if colon < 0:
            return NeedMore()
        stop = colon + 1 + int(window.data[window.start : colon])
        return colon + 1, stop, stop + 1, Decode(bytes.decode, trailer=b",", final=self.final)


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


def body(kind: str, size: int) -> ReadCondition[Any]:
    return Line() if kind == "line" else Exactly(size)


COMBINED = HeaderThenBody(
    Line(last=False),
    lambda line: FixedLength(int(line)),
    combine=lambda line, body: body.decode("ascii"),
    separate=lambda text: (str(len(text)), text.encode()),
)
MIXED = FirstOf(When(b"{", Mapped(Line(), json.loads, json.dumps)), Line())
SMALL = Delimiter(b"\n", max_size=3)
NEST = Nested(LengthPrefix(1), Msgpack())
READ: dict[str, tuple[ReadCondition[Any], bytes, list[Any]]] = {
    "a later part depends on all values before": (
        Sequence(Line(), Msgpack(), body),
        b"raw\n\x03abcline\n\x00xyz\n",
        [("raw", 3, b"abc"), ("line", 0, "xyz")],
    ),
    "a header that makes no sense breaks the stream": (
        SIZED,
        b"1\nab\n",
        [("1", b"a"), "invalid literal for int() with base 10: 'b' (at offset 3)"],
    ),
    "an undecodable part spoils its frame alone": (
        Sequence(Msgpack(), Line(last=False)),
        b"\xa1\xffa\n\x01b\n",
        ["bad: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", (1, "b")],
    ),
    "an undecodable part on which the next depends breaks the stream": (
        HeaderThenBody(Msgpack(), FixedLength),
        b"\x01a\xa1\xff",
        [
            (1, b"a"),
            "a field cannot be decoded: 'utf-8' codec can't decode byte 0xff in position 0: "
            "invalid start byte (at offset 2)",
        ],
    ),
    "a refusal without a place": (Sequence(LINE, Never()), b"a\nbc", ["never (at offset 2)"]),
    "refusals without a place": (
        Sequence(LINE, FirstOf(Never(), Never())),
        b"a\nbc",
        ["no alternative fits (Never(): never; Never(): never) (at offset 2)"],
    ),
    "trailers of parts": (Sequence(Netstring(), Netstring()), b"1:a,1:b,", [("a", "b")]),
    "a broken trailer of the first part": (
        Sequence(Netstring(), Netstring()),
        b"1:a;1:b,",
        ["payload ends otherwise than with b',' (at offset 3)"],
    ),
    "padding before parts": (
        Sequence(Spaced(), Spaced()),
        b"  a\n   b\nc\nd\n  ",
        [(b"a", b"b"), (b"c", b"d")],
    ),
    "a part's own limit does not hold for the last": (
        Sequence(SMALL, SMALL),
        b"abc\nabcdef\n",
        [(b"abc", b"abcdef")],
    ),
    "a part above its own limit": (
        Sequence(SMALL, SMALL),
        b"abcd\nx\n",
        ["frame of 4 bytes exceeds the limit 3 (at offset 0)"],
    ),
    "a part above its own limit that says so": (
        Sequence(LengthPrefix(1, max_size=3), LINE),
        b"\x04abcdx\n",
        ["frame of 4 bytes exceeds the limit 3 (at offset 0)"],
    ),
    "a limit from the first payload to the last": (
        Sequence(LengthPrefix(1), LINE, max_size=5),
        b"\x02abcde\n\x02abcdef\n",
        [(b"ab", b"cde"), "frame exceeds the limit of 5 bytes (at offset 7)"],
    ),
    "the first alternative that does not refuse": (
        FirstOf(LengthPrefix(3, format="decimal", terminator=b":"), Msgpack(), LINE),
        b"3:abc\x93\1\2\3x\n",
        [b"abc", [1, 2, 3], 120, 10],
    ),
    "an undecided alternative is replayed to the next": (
        FirstOf(Msgpack(), LINE),
        b"\x95\1\2\3\xc1\n",
        [b"\x95\1\2\3\xc1"],
    ),
    "refused within 64 bytes": (
        FirstOf(Msgpack(), LINE),
        b"\xdc\xff\xff" + b"\1" * 60 + b"\xc1\n",
        [b"\xdc\xff\xff" + b"\1" * 60 + b"\xc1"],
    ),
    "chosen after 64 bytes": (
        FirstOf(Msgpack(), LINE),
        b"\xdc\xff\xff" + b"\1" * 61 + b"\xc1\n",
        ["byte 0xc1 begins no msgpack object (at offset 64)"],
    ),
    "all refusals are told at the furthest place": (
        FirstOf(When(b"GET ", LINE), When(b"$", LINE), Msgpack()),
        b"\x92\1\xc1",
        [
            'no alternative fits (when(delimiter:"\\n"):"GET ": frame does not begin with b\'GET \'; '
            "when(delimiter:\"\\n\"):$: frame does not begin with b'$'; "
            "msgpack: byte 0xc1 begins no msgpack object) (at offset 2)"
        ],
    ),
    "one alternative refuses in its own words": (
        FirstOf(Msgpack()),
        b"\xc1",
        ["byte 0xc1 begins no msgpack object (at offset 0)"],
    ),
    "what the guarded alternative refuses is refused": (
        FirstOf(When(b"\x92", Msgpack()), LINE),
        b"\x91\xc1\n\x92\xc1\n",
        [b"\x91\xc1", "byte 0xc1 begins no msgpack object (at offset 4)"],
    ),
    "an alternative with padding": (FirstOf(Spaced(), LINE), b"  a\n b\n ", [b"a", b"b"]),
    "an alternative with a trailer": (
        FirstOf(When(b"1", Netstring()), LINE),
        b"1:a,b\n1:a;",
        ["a", b"b", "frame ends with b';' where b',' is expected (at offset 9)"],
    ),
    "a guard of several beginnings": (
        When((b"GET ", b"PUT "), LINE, one_of=b"!?"),
        b"PUT x\n!a\n?b\nPUSH",
        [
            b"PUT x",
            b"!a",
            b"?b",
            "frame does not begin with b'GET ' or b'PUT ' or b'!' or b'?' (at offset 12)",
        ],
    ),
    "a value that is refused": (
        Mapped(LINE, int),
        b"1\n2\nx\n3\n",
        [1, 2, "bad: invalid literal for int() with base 10: b'x'", 3],
    ),
    "mapped values": (Mapped(Msgpack(), str), b"\x01\xa1a", ["1", "a"]),
    "mapped without a value": (Mapped(Msgpack(), len), msgpack.packb("x" * 600), [600]),
    "mapped padding": (Mapped(Spaced(), len), b"  abc\n ", [3]),
    "mapped trailers": (
        Mapped(Netstring(), str.upper),
        b"1:a,1:b;",
        ["A", "frame ends with b';' where b',' is expected (at offset 7)"],
    ),
    "nested frames that do not fill their payload": (
        NEST,
        b"\1\x91\5\xc4\5abc\2\1\2\1\xc1\0\1\7",
        [
            "bad: payload of 1 byte is cut short: its inner frame has no end",
            "bad: payload of 5 bytes is cut short: its inner frame has no end",
            "bad: payload of 2 bytes, but its inner frame ends after 1",
            "bad: payload is no msgpack at byte 0: byte 0xc1 begins no msgpack object",
            "bad: payload of 0 bytes is cut short: its inner frame has no end",
            7,
        ],
    ),
    "nested trailers": (
        Nested(LINE, Netstring()),
        b"1:a,\n1:a;\n",
        ["a", "bad: payload is no Netstring at byte 3: payload ends otherwise than with b','"],
    ),
    "nested padding": (
        Nested(LengthPrefix(1), Spaced()),
        b"\2  \4 ab\n\5 ab\n \6 ab\n a\3 ab",
        [
            "bad: payload holds no frame, only padding",
            b"ab",
            b"ab",
            "bad: payload of 6 bytes, but its inner frame ends after 4",
            "bad: payload of 3 bytes is cut short: its inner frame has no end",
        ],
    ),
    "nested limits": (
        Nested(LengthPrefix(1), Line(max_size=2)),
        b"\3ab\n\4abc\n\1\n",
        ["ab", "bad: payload is no line: frame of 3 bytes exceeds the limit 2", ""],
    ),
    "nested and large": (
        Nested(LengthPrefix(2), Msgpack()),
        b"\x02\x5b" + msgpack.packb("x" * 600),
        ["x" * 600],
    ),
}


@pytest.mark.parametrize("case", READ)
def test_it_reads_the_same_in_any_chunking(case: str) -> None:
    condition, data, expected = READ[case]
    for chunks in chunkings(data, two_way=20):
        assert told(condition, chunks) == expected


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
    (Sequence(LengthPrefix(1), Line()), b"\1aok\n", b"\1a\xff\n", 1),
    (Sequence(Line(), LengthPrefix(1), LengthPrefix(1)), b"ok\n\0\0", b"\xff\n\0\0", 0),
    (HeaderThenBody(Mapped(LengthPrefix(1), len), lambda n: Line()), b"\1aok\n", b"\1a\xff\n", 1),
    (FirstOf(When(b"\0", Mapped(LengthPrefix(2), bytes.decode)), Line()), b"ok\n", b"\0\1\xff", 2),
    (FirstOf(Mapped(LengthPrefix(1, max_size=9), bytes.decode), Line()), b"\2ok", b"\1\xff", 1),
    (Netstring(), b"2:ok,", b"1:\xff,", 2),
]


@pytest.mark.parametrize(("condition", "good", "bad", "header"), BAD, ids=str)
def test_a_bad_frame_is_placed_with_its_payload(
    condition: ReadCondition[Any], good: bytes, bad: bytes, header: int
) -> None:
    for chunks in chunkings(good + bad + good, two_way=20):
        errors: list[PayloadError] = []
        decoder = FrameDecoder(on_payload_error=errors.append)
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(condition) is not NEED_DATA:
                pass
        [error] = errors
        data, start = good + bad + good, len(good) + header
        assert (error.offset, error.payload_offset) == (len(good), start)
        assert data.startswith(error.payload, start)
        assert 0 < len(error.payload) <= len(bad) - header


def test_a_truncated_frame_is_placed_with_its_payload() -> None:
    condition = Mapped(LengthPrefix(2), bytes.decode)
    for chunks in chunkings(b"\0\1a\0\5\xffbcde\0\1b"):
        errors: list[PayloadError] = []
        decoder = FrameDecoder(max_frame_size=3, on_oversize="truncate", on_payload_error=errors.append)
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(condition) is not NEED_DATA:
                pass
        [error] = errors
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
    refusing = Mapped(Line(), raising(error), raising(error))
    bad: list[tuple[ReadCondition[Any], bytes]] = [
        (refusing, b"a\n"),
        (Nested(LengthPrefix(1), refusing), b"\1a"),
        (FirstOf(When(b"a", refusing), Line()), b"a\n"),
        (Sequence(Line(), refusing), b"a\na\n"),
        (Sequence(refusing, Line()), b"a\na\n"),
        (HeaderThenBody(Line(), lambda _: Exactly(1), combine=raising(error)), b"a\na"),
    ]
    for condition, data in bad:
        got = told(condition, [data])
        assert len(got) == 1
        assert got[0].startswith("bad: "), condition
        assert told_as in got[0]
    broken = [
        (HeaderThenBody(Line(), raising(error)), b"a\n"),
        (Sequence(Line(), raising(error)), b"a\n"),
        (Sequence(refusing, lambda _: Line()), b"a\na\n"),
        (LengthPrefix(1, length=raising(error)), b"a"),
    ]
    for condition, data in broken:
        [message] = told(condition, [data])
        assert f"{told_as} (at offset 0)" in message
    for framer in (refusing, HeaderThenBody(Line(), Exactly, separate=raising(error)), FirstOf(refusing)):
        with pytest.raises(EncodeError, match="no"):
            framer.encode("a")


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


def test_a_function_that_returns_no_condition_is_its_authors_bug() -> None:
    assert isinstance(error(Sequence(LINE, lambda line: 5), b"a\nb"), FramerContractError)  # type: ignore[arg-type, return-value]


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


def test_batches_are_cut_as_long_as_the_choice_is_easy() -> None:
    line, blob = b"a\n", b"\0\2hi"
    assert SNIFF.split(Window(line + blob + b"\0")) == ([b"a", b"hi"], 6)
    assert When(b"a", LINE).split(Window(b"a\nab\nb\n")) == ([b"a", b"ab"], 5)
    assert FirstOf(When(b"a", LINE), When(b"b", LINE)).split(Window(b"c\n")) == ([], 0)
    assert Sequence(LINE, Netstring()).split(Window(b"a\n1:b,")) == ([(b"a", "b")], 6)
    assert Sequence(LINE, Exactly(0)).split(Window(b"a\n")) == ([(b"a", b"")], 2)
    assert Sequence(lambda: Exactly(0)).split(Window(b"a\n")) == ([], 0)


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


def test_the_choice_costs_the_same_for_any_number_of_guards() -> None:
    asked = []

    class Noted(When[Any]):
        def fits(self, data: bytes | bytearray, start: int) -> bool | None:
            asked.append(start)
            return super().fits(data, start)

    counts = []
    for many in (5, 50):
        condition = FirstOf(*(Noted(bytes([number]), LINE) for number in range(100, 100 + many)), LINE)
        data = [bytes([byte]) for byte in b"abc\nfe\n" * 10]
        assert cut(condition, *data) == [b"abc", b"fe"] * 10  # each first byte is looked up once
        asked.clear()
        cut(condition, *data)
        counts.append(len(asked))
    assert counts[0] == counts[1]


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


def test_functions_show_in_the_text() -> None:
    assert str(HeaderThenBody(LINE, sized)) == 'header-then-body(delimiter:"\\n"):<function sized>'
    assert str(Mapped(Line(), json.loads)) == "mapped(line):<function loads>"


WRITTEN: list[tuple[Any, Any, bytes]] = [
    (
        Sequence(Line(), LengthPrefix(1), lambda line, data: FixedLength(len(line))),
        ("ab", b"c", b"de"),
        b"ab\n\x01cde",
    ),
    (Sequence(Line(), SNIFF), ("ab", b"one"), b"ab\n\x00\x03one"),
    (Sequence(LINE, LINE, max_size=3), (b"a", b"b"), b"a\nb\n"),
    (COMBINED, "hello", b"5\nhello"),
    (SNIFF, b"one", b"\x00\x03one"),
    (FirstOf(Never(), LINE), b"one", b"one\n"),
    (MIXED, {"a": 1}, b'{"a": 1}\n'),
    (MIXED, "text", b"text\n"),
    (When(b"$", LINE), b"$a", b"$a\n"),
    (NEST, [1, 2], b"\3\x92\1\2"),
]
UNWRITABLE: list[tuple[Any, Any, str]] = [
    (Sequence(LINE, LINE), (b"a",), "frame of 1 value for 2 parts"),
    (SIZED, ("two", b"hi"), "part 2 does not follow"),
    (SIZED, ("3", b"hi"), "2 bytes"),
    (Sequence(Spaced()), (b"a",), "Spaced.* only reads"),
    (Sequence(LINE, LINE, max_size=3), (b"a", b"bc"), "payload of 4 bytes exceeds the limit 3"),
    (HeaderThenBody(LINE, lambda line: LINE, combine=max), b"a", "separate="),
    (MIXED, "{", r"would be read as when\("),
    (FirstOf(Msgpack(), Spaced(), Line()), object(), "no alternative can write it"),
    (FirstOf(When(b"\x92", Msgpack()), Delimiter(b";")), b"\x92\xc1", r"would be read as when\("),
    (
        FirstOf(Mapped(Msgpack(), str), LINE),
        b"\xdc\xff\xff" + b"\1" * 70 + b"\xc1",
        "would be read as mapped",
    ),
    (When(b"$$", LINE), b"a", "frame does not begin with b'\\$\\$'"),
    (When(b"a\nb", LINE), b"a", "shorter than what it must begin with"),
    (Mapped(Line(), json.loads), {}, "no function dumps"),
    (Mapped(Line(), json.loads, json.dumps), object(), "not JSON serializable"),
]


@pytest.mark.parametrize(("framer", "frame", "data"), WRITTEN)
def test_it_writes_what_it_would_read_back(framer: Any, frame: Any, data: bytes) -> None:
    assert wire(framer, frame) == data
    assert told(framer, [data]) == [frame]


@pytest.mark.parametrize(("framer", "frame", "reason"), UNWRITABLE)
def test_what_would_be_read_back_otherwise_is_not_written(framer: Any, frame: Any, reason: str) -> None:
    with pytest.raises(EncodeError, match=reason):
        framer.encode(frame)
