"""FrameDecoder: every promise of the sans-IO core, on conditions of the tests' own."""

from __future__ import annotations

import gc
import weakref
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
from cutting import refused, told_by
from sample_conditions import Bracketed, Drawn, Lines, Number, Plain, Prefixed, Rest, Silent, cut, prefixed

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Exactly,
    FrameDecoder,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    Line,
    NeedMore,
    PayloadError,
    ReadCondition,
    StreamBusy,
    StreamClosed,
    Window,
)
from framestream.decoder import DecoderStats
from framestream.errors import FramestreamError, Respite
from framestream.framer import PADDING, Decode
from framestream.testing.suite import in_chunks

BOTH = pytest.mark.parametrize("read", ["next_frame", "next_batch"])


def fed(*chunks: bytes, eof: bool = False, **options: Any) -> FrameDecoder:
    decoder = FrameDecoder(**options)
    for chunk in chunks:
        decoder.receive_data(chunk)
    if eof:
        decoder.receive_eof()
    return decoder


@dataclass(frozen=True)
class Dotted(ReadCondition[bytes]):
    """Words of one letter, of which the last one is a dot."""

    def find(self, window: Window) -> Any:
        start = window.start
        if start == len(window.data):
            return NeedMore()
        final = window.data[start : start + 1] == b"."
        return start, start + 1, start + 1, Decode(bytes, final=final)


@dataclass(frozen=True)
class OrEnd(ReadCondition[bytes]):
    """To a newline, or to the end of the stream."""

    def find(self, window: Window) -> Any:
        start, size = window.start, len(window.data)
        end = window.data.find(b"\n", window.resume)
        if end >= 0:
            return start, end, end + 1
        is_begun = start < size or window.taken > 0
        return (start, size, size) if window.eof and is_begun else NeedMore(resume=size, settled=size)


# What a stream gives by a condition, as `told_by` has it: frames and errors; what was discarded; how
# much is left over.
WORDS = Drawn(settles=True)
COUNTED = Drawn("declared", trailer=b"--", overhead=3)
SMALL = {"max_frame_size": 5}
LONG = prefixed(b"ok", b"far too long", b"fine")
DISCARD: dict[str, Any] = {**SMALL, "on_oversize": "discard"}
TRUNCATE: dict[str, Any] = {**SMALL, "on_oversize": "truncate"}
CLOSE: dict[str, Any] = {**SMALL, "on_oversize": "close"}


def large(offset: int, size: int | None = None, recoverable: bool = False) -> tuple[Any, ...]:
    return "FrameTooLarge", offset, size, recoverable


def cut_off(offset: int, received: int, expected: int | None = None) -> tuple[Any, ...]:
    return "IncompleteFrame", offset, received, expected


def malformed(offset: int) -> tuple[Any, ...]:
    return "FramingError", offset


def bad(offset: int, payload: bytes) -> tuple[Any, ...]:
    return "PayloadError", offset, payload


# fmt: off
CASES: dict[str, tuple[ReadCondition[Any], bytes, dict[str, Any], list[Any], list[Any], int]] = {
    "lines": (Lines(), b"one\n\ntwo\n", {}, [b"one", b"", b"two"], [], 0),
    "values": (Number(), b"12;345;", {}, [12, 345], [], 0),
    "decoded by the span": (Drawn("declared", value="span"), b"3abc2de", {}, [b"CBA", b"ED"], [], 0),
    "padded frames": (Prefixed(2), prefixed(b"a", b"b", padding=b".."), {}, [b"a", b"b"], [], 0),
    "padding": (WORDS, b" one;  two;  ", {}, [b"ONE", b"TWO"], [], 0),
    "padding beyond the limit": (WORDS, b" " * 99 + b"ab;" + b" " * 99, SMALL, [b"AB"], [], 0),
    "padding in one piece": (WORDS, b"#abc$ab;#$", SMALL, [b"AB"], [], 0),
    "padding in one piece beyond the limit": (WORDS, b"ab;#far too long$ab;", SMALL, [b"AB", large(3)], [], 17),
    "padding and an end inside": (WORDS, b"  ab", {}, [cut_off(2, 2)], [], 2),
    "trailers": (COUNTED, b"3abc--0--", {}, [b"CBA", b""], [], 0),
    "a wrong trailer": (COUNTED, b"1a--" * 99 + b"1b-;", {}, [b"A"] * 99 + [malformed(398)], [], 4),
    "a trailer that is missing": (COUNTED, b"1a--1b-", {}, [b"A", cut_off(4, 3, 4)], [], 3),
    "the last is final": (Dotted(), b"abcdef.", {}, [b"a", b"b", b"c", b"d", b"e", b"f", b"."], [], 0),
    "none is final": (Dotted(), b"abcdef" * 9, {}, [*cut(b"abcdef" * 9, 1), cut_off(54, 0)], [], 0),
    "the last ends with the stream": (OrEnd(), b"abc\n" * 50 + b"de", {}, [b"abc"] * 50 + [b"de"], [], 0),
    "until the end": (Rest(), b"abc", {}, [b"abc"], [], 0),
    "until the end, and nothing there": (Rest(), b"", {}, [b""], [], 0),
    "an end inside": (Lines(), b"one\ntwo", {}, [b"one", cut_off(4, 3)], [], 3),
    "an end inside what is declared": (Prefixed(), prefixed(b"12345")[:-2], {}, [cut_off(0, 7, 9)], [], 7),
    "a refused beginning": (Bracketed(), b"<one>two", {}, ["one", malformed(5)], [], 3),
    "a refused byte": (WORDS, b"ab;c!;", {}, [b"AB", malformed(4)], [], 3),
    "a bad payload": (Bracketed(), b"<one><\xff><two>", {}, ["one", bad(5, b"\xff"), "two"], [], 0),
    "a bad payload with a trailer": (COUNTED, b"1a--1x--1b--", {}, [b"A", bad(4, b"x"), b"B"], [], 0),
    "exactly the limit": (Lines(), b"12345\n", SMALL, [b"12345"], [], 0),
    "exactly the limit, declared": (Prefixed(), prefixed(b"12345"), SMALL, [b"12345"], [], 0),
    "exactly the limit with a delimiter": (Plain(), b"12345\n", SMALL, [b"12345"], [], 0),
    "overhead that is not stated counts": (Bracketed(), b"<12345>", SMALL, [large(0)], [], 7),
    "too large": (Lines(), b"ok\nfar too long\nfine\n", SMALL, [b"ok", large(3)], [], 18),
    "too large, declared": (Prefixed(), LONG, SMALL, [b"ok", large(6, 12, True), b"fine"], [], 0),
    "too large at the end": (Lines(), b"1234567890", SMALL, [large(0)], [], 10),
    "too large before it is malformed": (WORDS, b"far too!long;", SMALL, [large(0)], [], 13),
    "closed": (Prefixed(), LONG, CLOSE, [b"ok", large(6, 12)], [], 24),
    "discarded": (Lines(), b"ok\nfar too long\nfine\n", DISCARD, [b"ok", b"fine"], [(3, None, 13)], 0),
    "discarded, searched with a memo": (WORDS, b"far too long;ok;", DISCARD, [b"OK"], [(0, None, 13)], 0),
    "discarded, declared": (Prefixed(), LONG, DISCARD, [b"ok", b"fine"], [(6, 12, 16)], 0),
    "discarded at the end": (Rest(), b"far too long", DISCARD, [], [(0, None, 12)], 0),
    "discarded, and ended by the end": (OrEnd(), b"ok\nfar too long", DISCARD, [b"ok"], [(3, None, 12)], 0),
    "discarded with an end inside": (Prefixed(), LONG[:20], DISCARD, [b"ok", cut_off(6, 14, 16)], [], 0),
    "malformed within the limit, and too large": (WORDS, b"abc!too long;", SMALL, [malformed(3)], [], 13),
    "truncated": (Lines(), b"far too long\nfine\n", TRUNCATE, [b"far t", b"fine"], [(0, None, 13)], 0),
    "truncated before it is malformed": (WORDS, b"far too!long;", TRUNCATE, [b"FAR T", malformed(7)], [], 6),
    "truncated, decoded by the span":
        (Drawn("declared", value="span"), b"8abcdefgh2ij", TRUNCATE, [b"EDCBA", b"JI"], [(0, 8, 9)], 0),
    "one byte too many": (Plain(), b"123456\nok\n", DISCARD, [b"ok"], [(0, None, 7)], 0),
    "cannot be skipped": (Plain(), b"far too long\nfine\n", DISCARD, [large(0)], [], 18),
    "trailing padding beyond the limit":
        (Prefixed(1000), prefixed(b"x", padding=bytes(1000)), SMALL, [b"x"], [], 0),
    "trailing padding beyond all limits":
        (Prefixed(99_995), prefixed(b"x", padding=bytes(99_995)), TRUNCATE, [], [(0, 1, 100_000)], 0),
}
# fmt: on


@pytest.mark.parametrize("reads", [["next_frame"], ["next_batch"], ["next_frame", "next_batch", "pop"]], ids=" ".join)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("name", list(CASES))
def test_the_answer_is_the_same_for_every_chunking(name: str, size: int, reads: list[str]) -> None:
    condition, wire, options, expected, discards, left = CASES[name]
    chunks = cut(wire, max(size, len(wire) // 300))
    chance = Random(size) if reads[1:] else None
    seen, _, skipped, leftover, _ = told_by(condition, chunks, *reads, chance=chance, **options)
    assert (expected, discards, wire[len(wire) - left :]) == (seen, skipped, leftover)


def test_end_is_told_apart_from_waiting() -> None:
    decoder = fed()
    reads = (decoder.next_frame, decoder.next_batch, decoder.next_part)
    assert [read(Lines()) for read in reads] == [NEED_DATA] * 3
    decoder.receive_eof()
    assert decoder.eof
    assert [read(Lines()) for read in reads] == [END] * 3
    assert fed(b"  ", eof=True).next_part(WORDS) is fed(b"  ", eof=True).next_frame(WORDS) is END
    assert (decoder.stats, decoder.frame_span) == (DecoderStats(), (0, 0))
    assert ["NEED_DATA", "END", "FRAME_END"] == [repr(s) for s in (NEED_DATA, END, FRAME_END)]
    decoder = fed(b"12;")
    assert decoder.next_frame(Number()) == 12
    decoder.receive_eof()  # nothing follows, and that is a frame of its own
    assert [decoder.next_frame(Rest()), decoder.next_frame(Rest())] == [b"", END]
    decoder = fed(b"12;", eof=True)
    assert decoder.next_batch(Exactly(0)) == [b""]
    assert [decoder.next_frame(each) for each in (Exactly(0), Number(), Rest(), Rest())] == [b"", 12, b"", END]


def test_data_after_the_end_is_the_callers_mistake() -> None:
    decoder = fed(prefixed(bytes(40_000)), eof=True)
    assert decoder.next_frame(Prefixed()) == bytes(40_000)
    for receive in (decoder.receive_data, lambda data: decoder.borrow(memoryview(data))):
        refused(StreamClosed, receive, bytes(40_000), match="after the end")


def test_received_data_is_kept_safe_counted_in_bytes_and_never_anything_else() -> None:
    wide = array("I", [1, 2])
    decoder, sent = fed(wide, memoryview(wide), b""), wide.tobytes()  # type: ignore[arg-type]
    wide[0] = 0  # what was received is safe from later changes
    decoder.borrow(memoryview(wide))
    assert decoder.next_frame(Exactly(3 * 8)) == sent * 2 + wide.tobytes()
    for wrong, told in ((5, "int; it must be bytes"), ("x", "str; .*binary mode"), (None, "NoneType; .*leave out")):
        refused(TypeError, decoder.receive_data, wrong, match=f"received data is of type {told}")
    assert decoder.received == 24


@pytest.mark.parametrize("read", ["next_frame", "next_batch", "next_part"])
def test_what_is_no_condition_is_refused_with_a_hint(read: str) -> None:
    decoder = fed(b"a\nb\n")
    for wrong in (None, "line", b"\n", 5, Lines):
        refused(TypeError, getattr(decoder, read), wrong, match="not a read condition")
        assert decoder.next_frame(Lines(), max_size=1) in (b"a", b"b", NEED_DATA)


def test_conditions_may_change_between_any_two_frames() -> None:
    data = b"".join(b"line %d\n" % i + prefixed(b"body %d" % i) for i in range(50))
    for size in (1, 5, 64, len(data)):
        decoder = FrameDecoder()
        got: list[Any] = []
        wanted = [Lines(), Prefixed()] * 50
        for chunk in cut(data, size):
            decoder.receive_data(chunk)
            while wanted and (frame := decoder.next_frame(wanted[0])) is not NEED_DATA:
                got.append(frame)
                wanted.pop(0)
        assert got == [text for i in range(50) for text in (b"line %d" % i, b"body %d" % i)]


@pytest.mark.parametrize("taken", [4, 5, 17, 60, 98, 99])
def test_frames_cut_ahead_are_put_back_when_the_condition_changes(taken: int) -> None:
    data, more = b"".join(b"%d\n" % i for i in range(100)) + b"end", b"more" * 100
    condition = Lines()
    decoder = fed(data)
    assert [decoder.next_frame(condition) for _ in range(taken)] == [b"%d" % i for i in range(taken)]
    rest = b"".join(b"%d\n" % i for i in range(taken, 100)) + b"end"
    ahead = len(decoder.ahead)
    # Looking changes nothing, nor does a chunk that arrives meanwhile.
    assert (decoder.offset, decoder.buffered) == (len(data) - len(rest), len(rest))
    assert (decoder.peek(3), decoder.leftover) == (rest[:3], rest)
    assert decoder.stats.frames == taken
    assert decoder.frame_span == (decoder.offset - 3 + (taken <= 10), decoder.offset)
    decoder.receive_data(more) if taken % 2 else decoder.borrow(memoryview(more))
    assert decoder.stats.high_water >= len(rest) + 400
    assert len(decoder.ahead) == ahead
    assert decoder.peek(len(rest) + 2) == rest + b"mo"
    place = decoder.frame_span
    assert decoder.next_frame(Rest()) is NEED_DATA
    assert (decoder.frame_span, decoder.ahead) == (place, [])
    decoder.receive_eof()
    assert decoder.next_frame(Rest()) == rest + more
    decoder = fed(data)
    assert [decoder.next_frame(condition) for _ in range(taken)][-1:] == [b"%d" % (taken - 1)]
    assert (decoder.take_leftover(), decoder.buffered, decoder.offset) == (rest, 0, len(data))


@pytest.mark.parametrize("other", [
    lambda decoder: decoder.next_batch(Lines()),
    lambda decoder: decoder.next_frame(Lines(), max_size=1),
    lambda decoder: decoder.next_frame(Exactly(1)),
    lambda decoder: decoder.next_part(Lines()),
    lambda decoder: decoder.take_leftover(),
])  # fmt: skip
def test_frames_cut_ahead_leave_their_list_whichever_way_they_go(other: Callable[[FrameDecoder], object]) -> None:
    decoder = fed(b"a\n" * 100)
    for _ in range(50):
        decoder.next_frame(Lines())
    ahead = decoder.ahead
    assert ahead
    other(decoder)
    assert ahead == []


def test_padding_between_frames_cut_ahead_is_counted_as_none() -> None:
    decoder = fed(b" a;" * 100)
    for end in range(3, 60, 3):
        assert decoder.next_frame(WORDS) == b"A"
        assert decoder.frame_span == (end - 2, end)


def test_frames_cut_ahead_stay_for_an_equal_condition_and_a_larger_limit_and_go_back_for_a_smaller_one() -> None:
    decoder = fed(b"short\n" * 40 + b"a longer line\n")
    for _ in range(30):
        assert decoder.next_frame(Lines()) == b"short"
    ahead = len(decoder.ahead)
    assert decoder.next_frame(Lines()) == decoder.next_frame(Lines(), max_size=1 << 30) == b"short"
    assert len(decoder.ahead) == ahead - 2 > 0
    assert decoder.next_frame(decoder.condition, max_size=8) == b"short"
    assert [decoder.next_frame(Lines(), max_size=8) for _ in range(6)] == [b"short"] * 6
    assert decoder.next_batch(Lines(), max_size=8) == [b"short"]
    refused(FrameTooLarge, decoder.next_frame, Lines(), max_size=8)


@pytest.mark.parametrize("read", ["next_frame", "next_batch"])
def test_no_frame_is_cut_ahead_that_only_the_limit_of_the_call_before_allows(read: str) -> None:
    short, long = b"short\n" * 30, b"x" * 500 + b"\n"
    decoder = fed(short + long + short, max_frame_size=100)
    for _ in range(9):
        assert decoder.next_frame(decoder.condition if decoder.ahead else Lines(), max_size=1 << 20) == b"short"
    assert decoder.ahead
    while decoder.offset < len(short):
        assert getattr(decoder, read)(decoder.condition) in (b"short", [b"short"] * 21)
    refused(FrameTooLarge, getattr(decoder, read), decoder.condition)


def test_an_equal_condition_keeps_the_progress_of_a_read_that_was_given_up() -> None:
    asked: list[int] = []

    class Watched(Plain):
        def find(self, window: Window) -> Any:
            asked.append(window.resume)
            return super().find(window)

    decoder = FrameDecoder()
    for _ in range(4):
        decoder.receive_data(b"ab")
        assert decoder.next_frame(Watched()) is NEED_DATA
    assert decoder.next_frame(Lines()) is NEED_DATA
    assert decoder.next_frame(Watched()) is NEED_DATA
    decoder.receive_data(b"\n")
    assert decoder.next_frame(Watched()) == b"abababab"
    assert asked == [0, 2, 4, 6, 0, 8]


def test_a_wrong_trailer_is_refused_after_the_parts_before_it() -> None:
    decoder = fed(b"1a--1b-;")
    assert [decoder.next_part(COUNTED) for _ in range(3)] == [b"a", FRAME_END, b"b"]
    caught = refused(FramingError, decoder.next_part, COUNTED, match="frame ends with b'-;'")
    assert caught.offset == 6


def test_limits_and_policies_are_per_call_then_per_condition_then_per_decoder_and_wrong_ones_are_refused() -> None:
    assert fed(b"123456\n", **SMALL).next_frame(Lines(max_size=6)) == b"123456"
    assert fed(b"123456\n", **SMALL).next_frame(Lines(max_size=4), max_size=6) == b"123456"
    caught = refused(FrameTooLarge, fed(b"123456\n").next_frame, Lines(max_size=4), match=r"limit of 4 bytes \(at")
    assert caught.limit == 4
    refused(FrameTooLarge, fed(b"x" * 9, **SMALL).next_frame, Plain(), match=r"limit of 5 bytes \(at offset 0\)$")
    assert fed(b"123456\n", **SMALL).next_batch(Lines(), max_size=6) == [b"123456"]
    refused(FrameTooLarge, fed(b" far too long", eof=True, **SMALL).next_frame, WORDS)
    decoder = fed(LONG, **SMALL)
    assert [decoder.next_batch(Prefixed(), on_oversize="discard") for _ in range(3)] == [[b"ok"], [b"fine"], NEED_DATA]
    refused(ValueError, FrameDecoder, match="max_frame_size is -1", max_frame_size=-1)
    refused(ValueError, FrameDecoder, match="offset is -1", offset=-1)
    for refuse in (FrameDecoder, partial(fed().next_frame, Lines()), partial(fed().next_batch, Lines())):
        refused(ValueError, refuse, match="on_oversize is 'drop'; it must be one of raise, discard", on_oversize="drop")


def test_a_declared_frame_is_refused_before_its_body_or_trailer_arrives() -> None:
    with pytest.raises(FrameTooLarge, match="frame of 2147483648 bytes exceeds the limit 1048576") as caught:
        fed((1 << 31).to_bytes(4, "big")).next_frame(Prefixed())
    assert not caught.value.closing
    caught = refused(FrameTooLarge, fed(b"9abc", **SMALL).next_frame, COUNTED)
    assert (caught.size, caught.recoverable) == (9, True)


def test_the_beginning_of_a_truncated_frame_is_delivered_at_once() -> None:
    decoder = fed(b"far too", **SMALL, on_oversize="truncate")
    assert decoder.next_frame(Lines()) == b"far t"
    assert decoder.frame_span == (0, 5)
    assert decoder.skipping
    assert decoder.next_frame(Lines()) is NEED_DATA
    decoder.receive_data(b" long\nfine\n")
    assert decoder.next_frame(Lines()) == b"fine"


def test_a_truncated_frame_is_not_mixed_with_others() -> None:
    decoder = fed(prefixed(b"12345678")[:6], **SMALL, on_oversize="truncate")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    for read in (decoder.next_part, decoder.next_frame, decoder.next_batch):
        refused(StreamBusy, read, Lines(), match="truncated")
    decoder.receive_data(b"345678")
    assert decoder.next_frame(Prefixed()) == b"12345"


class Lazy(Lines):
    """Settles the beginning of a line, and nothing after it."""

    def find(self, window: Window) -> Any:
        answer = super().find(window)
        if isinstance(answer, NeedMore) and window.taken:
            answer.settled = None
        return answer


def test_a_framer_that_stops_settling_in_the_middle_cannot_be_skipped() -> None:
    decoder = FrameDecoder(**SMALL, on_oversize="discard")
    with pytest.raises(FrameTooLarge, match="cannot be skipped, because its framer settles no"):
        for chunk in cut(b"0123456789" * 3, 5):
            decoder.receive_data(chunk)
            decoder.next_frame(Lazy())


def test_asking_for_more_than_the_limit_is_refused_when_the_limit_is_reached() -> None:
    class Greedy(ReadCondition[bytes]):
        def find(self, window: Window) -> NeedMore:
            return NeedMore(10_000)

    decoder = fed(b"x" * 5000, max_frame_size=5000)  # more than is joined at once in any case
    assert decoder.next_frame(Greedy()) is NEED_DATA
    decoder.receive_data(b"x")
    refused(FrameTooLarge, decoder.next_frame, Greedy())


def test_a_refused_frame_says_what_its_bytes_look_like() -> None:
    class Explaining(Lines):
        def explain(self, window: Window) -> str:
            return f"looks like {bytes(window.data[window.start : window.start + 3])!r}"

    with pytest.raises(FrameTooLarge, match="limit of 5 bytes; looks like b'GET'"):
        fed(b"GET /index", **SMALL).next_frame(Explaining())
    with pytest.raises(IncompleteFrame, match="10 bytes arrived; looks like b'GET'") as caught:
        fed(b"GET /index", eof=True).next_frame(Explaining())
    assert caught.value.excerpt == b"GET /index"


def test_a_condition_that_refuses_the_beginning_of_what_it_accepts_whole_is_held_undeclared() -> None:
    class Fickle(Lines):
        def find(self, window: Window) -> Any:
            if b"\n" not in window.data:
                raise FramingError("no newline")
            return super().find(window)

    for options in (SMALL, DISCARD):
        caught = refused(FrameTooLarge, fed(b"1234567\n", **options).next_frame, Fickle())
        assert (caught.size, caught.recoverable) == (None, False)


def test_an_incomplete_frame_is_left_alone() -> None:
    decoder = fed(b"one\ntwo", eof=True)
    assert decoder.next_batch(Lines()) == [b"one"]
    refused(IncompleteFrame, decoder.next_batch, Lines())
    assert decoder.next_frame(Rest()) == b"two"


# The author's mistakes


class Answers(ReadCondition[Any]):
    """Answers whatever it is made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def find(self, window: Window) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(("answer", "complaint"), [
    ((2, 1, 3), "span out of order"),
    ((0, 3, 2), "span out of order"),
    ((0, 0, 0), "a frame of no bytes"),
    ((0, 1), "a tuple of 2 items"),
    ((0, 1, 1, b"x", None), "a tuple of 5 items"),
    ((0, 0, 9, PADDING), "padding inside a frame, or beyond the data"),
    ((0, 1, 9, Decode(bytes, trailer=b"..")), "a trailer of 2 bytes in a span that leaves 8"),
    (None, "find returned None, not a span or NeedMore"),
    (NeedMore(resume=99), r"resume=99.* points outside the data \(0 to 4\)"),
    (NeedMore(settled=-1), "points outside the data"),
    (IndexError("index out of range"), "find raised IndexError: index out of range"),
])  # fmt: skip
@pytest.mark.parametrize("read", ["next_frame", "next_part"])
def test_a_broken_framer_is_named_and_stays_broken(answer: Any, complaint: str, read: str) -> None:
    decoder = fed(b"abcd")
    for _ in range(2):
        caught = refused(FramerContractError, getattr(decoder, read), Answers(answer), match=complaint)
    assert ("Answers" in caught.framer, caught.offset) == (True, 0)
    assert decoder.take_leftover() == b"abcd"


@pytest.mark.parametrize("read", ["next_frame", "next_batch", "next_part"])
@pytest.mark.parametrize("answer", [
    (0, None, 5), (None, 1, 5), (0, 1, None, "value"), (0, "1", 2),
    (0.0, 2, 3), (0, 2.0, 3), (0, 3, 3.0), (0, 3, 9.0), (0, 3, 3.0, "value"),
    NeedMore("5"), NeedMore(5.0), NeedMore(resume="1"), NeedMore(settled=b"2"), NeedMore(payload_start=1.0),
])  # fmt: skip
def test_positions_that_are_no_integers_are_the_authors_mistake(answer: Any, read: str) -> None:
    decoder = fed(b"abcd")
    for _ in range(2):
        complaint = "whose positions are not all integers|split returned list and float"
        caught = refused(FramerContractError, getattr(decoder, read), Answers(answer), match=complaint)
    assert ("Answers" in caught.framer, caught.offset) == (True, 0)
    assert decoder.take_leftover() == b"abcd"


class Whole(int):
    """An integer of another type, as arrays have them."""


@pytest.mark.parametrize("read", ["next_frame", "next_batch", "next_part"])
def test_positions_may_be_any_integers(read: str) -> None:
    class Own(ReadCondition[bytes]):
        def find(self, window: Window) -> Any:
            start, size = window.start, len(window.data)
            if size < start + 3:
                return NeedMore(Whole(3), resume=Whole(size), settled=Whole(start), payload_start=Whole(start))
            return Whole(start), Whole(start + 2), Whole(start + 3)

    decoder = fed(b"a")
    assert getattr(decoder, read)(Own()) is NEED_DATA
    decoder.receive_data(b"b\n")
    assert getattr(decoder, read)(Own()) == ([b"ab"] if read == "next_batch" else b"ab")


@BOTH
def test_a_limit_that_is_no_number_is_not_the_framers_mistake(read: str) -> None:
    limit: Any = "5"
    decoder = fed(b"a\n")
    for condition in (Lines(), Answers(FramingError("no frame"))):
        refused(TypeError, getattr(decoder, read), condition, max_size=limit)
    assert decoder.next_frame(Lines()) == b"a"


@pytest.mark.parametrize(("answer", "complaint"), [
    (([], 3), "split returned 0 frames up to 3, of data from 0 to 6"),
    (([b"x"], 0), "split returned 1 frame up to 0, of"),
    (((b"x",), 3), "split returned tuple and int, not a list of frames and an index"),
    ((iter([b"x"]), 3), "split returned list_iterator and int, not"),
    (([b"x"], b"rest"), "split returned list and bytes, not"),
    (([b"x"], None), "split returned list and NoneType, not"),
    (([b"x"], 7), "1 frame up to 7, of"),
    (KeyError("x"), ""),
])  # fmt: skip
def test_a_broken_split_is_named_unless_it_leaves_the_frames_to_find(answer: Any, complaint: str) -> None:
    class Own(Lines):
        def split(self, window: Window) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    if complaint:
        refused(FramerContractError, fed(b"a\nb\nc\n").next_batch, Own(), match=complaint)
    else:
        assert fed(b"a\nb\nc\n").next_batch(Own()) == [b"a", b"b", b"c"]


def test_a_split_that_disagrees_with_find_is_noticed_when_somebody_asks_for_the_place() -> None:
    class Own(Lines):
        def split(self, window: Window) -> Any:
            data = window.data[window.start :]
            return [b"x"] * data.count(b"a"), len(window.data)

    class Raises(Own):
        split = Own.split

        def find(self, window: Window) -> Any:
            if window.start > 20:
                raise KeyError
            return super().find(window)

    for condition in (Own(), Raises()):
        decoder = fed(b"aaaa\n" * 1000)
        for _ in range(300):
            decoder.next_frame(condition)
        for _ in range(2):
            with pytest.raises(FramerContractError, match="split and find disagree"):
                _ = decoder.offset


@dataclass(frozen=True)
class Fussy(Lines):
    """Lines, of which one that begins with ``!`` makes `decode` raise."""

    error: Any = ValueError

    def decode(self, payload: bytes) -> bytes:
        if payload.startswith(b"!"):
            raise self.error("no")
        return payload


@BOTH
@pytest.mark.parametrize(("error", "told"), [
    (PayloadError, "no"), (FramingError, "no"), (FramerContractError, "framer: no"), (ValueError, "no"),
    (KeyError, "decode raised KeyError: 'no'"), (Silent, "decode raised Silent: Silent, whose"),
])  # fmt: skip
def test_what_decode_raises_is_completed_or_told_with_its_kind(error: Any, told: str, read: str) -> None:
    decoder, condition = fed(b"!\n!\n"), Fussy(error=error)
    is_fatal = error in (FramingError, FramerContractError)
    for offset in (0, 0 if is_fatal else 2):
        caught = refused(error if is_fatal else PayloadError, getattr(decoder, read), condition, match=f"^{told}")
        if error is not FramerContractError:
            assert (caught.offset, caught.framer) == (offset, str(condition))
    assert isinstance(caught if issubclass(error, FramestreamError) else caught.__cause__, error)
    # It may be the payload, it may be a bug of the framer: both kinds of handler see it.
    assert isinstance(caught, FramerContractError) is (error in (FramerContractError, KeyError, Silent))


@pytest.mark.parametrize("ask", [FrameDecoder.next_frame, FrameDecoder.next_batch])
@pytest.mark.parametrize(("condition", "policy", "wire"), [
    (Line(), "raise", b"good\n\xff\nmore\n"),
    (LengthPrefix(1), "raise", b"\x04good\x09too large\x04more"),
    (Line(), "discard", b"good\ntoo large\nmore\n"),
])  # fmt: skip
def test_an_error_lives_no_longer_than_those_who_hold_it(ask: Any, condition: Any, policy: Any, wire: bytes) -> None:
    """Nor, with it, what its traceback knows: the variables of all callers."""
    told: list[weakref.ref[Exception]] = []
    decoder = FrameDecoder(
        max_frame_size=5, on_oversize=policy, on_discard=lambda error: told.append(weakref.ref(error))
    )
    decoder.receive_data(wire)
    gc.disable()
    try:
        while not told:
            try:
                ask(decoder, condition)
            except (FrameTooLarge, PayloadError) as error:
                told.append(weakref.ref(error))
        while decoder.buffered:
            ask(decoder, condition)
        assert told[0]() is None
    finally:
        gc.enable()


def test_a_batch_ends_before_a_bad_frame_which_is_left_to_whatever_comes_next() -> None:
    bad: list[PayloadError] = []
    for then in ("next_frame", "next_part", "take_leftover"):
        decoder = fed(b"a\n!\nb\n", on_payload_error=bad.append if then == "next_part" else None)
        assert decoder.next_batch(Fussy()) == [b"a"]
        assert (decoder.frame_span, decoder.offset, decoder.leftover) == ((0, 2), 2, b"!\nb\n")
        if then == "take_leftover":
            assert decoder.take_leftover() == b"!\nb\n"
        elif then == "next_part":
            assert decoder.next_part(Lines()) == b"!"
        else:
            refused(PayloadError, decoder.next_frame, Fussy())
            assert (decoder.frame_span, decoder.next_frame(Fussy())) == ((2, 4), b"b")
    assert bad == []


LEAVING: dict[str, tuple[bytes, Any]] = {
    "find": (b"a\n", FramerContractError),
    "decode": (b"a\n", PayloadError),
    "split": (b"a\n", b"a"),
    "explain": (b"a" * 9, FramerContractError),
}


@pytest.mark.parametrize("error", [SystemExit, KeyError, MemoryError])
@pytest.mark.parametrize("method", list(LEAVING))
def test_whatever_a_framer_raises_is_its_own_fault(method: str, error: type) -> None:
    wire, expected = LEAVING[method]

    def leave(*_: Any) -> Any:
        raise error("not like this")

    leaving, decoder = type("Leaving", (Lines,), {method: leave})(), fed(wire, max_frame_size=4)
    if expected == b"a":
        assert decoder.next_batch(leaving) == [b"a"]
        return
    caught = refused(expected, decoder.next_frame, leaving, match=f"{method} raised {error.__name__}: .*not like this")
    assert isinstance(caught.__cause__, error)
    with pytest.raises(KeyboardInterrupt):
        fed(wire, max_frame_size=4).next_frame(type("Stopped", (Lines,), {method: interrupted})())


def interrupted(*_: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("told", [True, False])
def test_in_a_flood_of_bad_frames_after_good_ones_others_have_their_turn(told: bool) -> None:
    bad: list[PayloadError] = []
    decoder = fed(b"a\n!\n" * 200, on_payload_error=bad.append if told else None)
    decoder.begin_turn()
    frames, turns, condition, answer = 0, 0, Fussy(), list[bytes]()
    while answer is not NEED_DATA:
        try:
            answer = decoder.next_batch(condition)
            frames += answer is not NEED_DATA
        except PayloadError as error:
            bad.append(error)
        except Respite:
            turns += 1
    assert (frames, turns) == (200, 3)
    assert [error.offset for error in bad] == list(range(2, 800, 4))


def test_in_a_flood_of_padding_after_a_frame_others_have_their_turn() -> None:
    decoder = fed(b"a;" + b" " * 5000 + b"b;")
    decoder.begin_turn()
    assert (decoder.next_batch(WORDS), decoder.tired) == ([b"A"], True)
    refused(Respite, decoder.next_batch, WORDS)
    assert decoder.next_batch(WORDS) == [b"B"]


def test_frames_in_parts_that_are_too_large_are_counted() -> None:
    decoder = fed(b"x" * 20, max_frame_size=4)
    refused(FrameTooLarge, decoder.next_part, Plain())
    assert decoder.stats.oversize == 1
    for more in (b"?" * 20, b"?" * 20 + b"\n"):
        decoder = fed(b"abc", max_frame_size=4)
        assert decoder.next_part(Lazy()) == b"abc"
        decoder.skip_frame()
        decoder.receive_data(more)
        refused(FrameTooLarge, decoder.next_frame, Lazy(), match="it cannot be skipped")
        assert decoder.stats.oversize == 1


# Frames that are skipped


def leave(decoder: FrameDecoder, condition: ReadCondition[Any]) -> None:
    """Stream some of a frame, and skip the rest."""
    if isinstance(decoder.next_part(condition), bytes):
        decoder.skip_frame()


def truncate(decoder: FrameDecoder, condition: ReadCondition[Any]) -> None:
    decoder.next_frame(condition, on_oversize="truncate")


def discard(decoder: FrameDecoder, condition: ReadCondition[Any]) -> None:
    decoder.next_frame(condition, on_oversize="discard")


def refuse(decoder: FrameDecoder, condition: ReadCondition[Any]) -> None:
    with suppress(FrameTooLarge):
        decoder.next_frame(condition)


SKIPPED: dict[str, tuple[ReadCondition[Any], bytes]] = {
    "lines": (Lines(), b"far too long\n"),
    "two delimiters": (Drawn(settles=True, trailer=b"--"), b"far too long;--"),
    "bracketed": (Bracketed(), b"<far too long>"),
    "declared": (Prefixed(), prefixed(b"far too long")),
    "with a trailer": (COUNTED, b"9far too l--"),
    "padded": (Prefixed(30), prefixed(b"far too long", padding=bytes(30))),
}


@pytest.mark.parametrize("begin", [leave, truncate, discard, refuse])
@pytest.mark.parametrize("name", list(SKIPPED))
def test_the_bytes_of_a_skipped_frame_are_nobodys(name: str, begin: Callable[..., None]) -> None:
    condition, frame = SKIPPED[name]
    wire = frame + b"next\n"
    for first in range(len(frame)):
        for size in range(first, len(wire) + 1):
            told: list[FrameTooLarge] = []
            decoder = fed(wire[:first], max_frame_size=5, on_discard=told.append)
            begin(decoder, condition)
            if not decoder.skipping:
                break  # until there are more bytes, or as the framing has no way to tell
            decoder.receive_data(wire[first:size])
            rest, inside = wire[len(frame) : size], size < len(frame)
            for _ in range(2):
                assert (decoder.buffered, decoder.leftover, decoder.peek(3)) == (len(rest), rest, rest[:3])
                assert decoder.offset + decoder.buffered == decoder.received == size
            assert begin is truncate or size % 2 or decoder.drop_skipped() is inside
            assert (decoder.take_leftover(), decoder.skipping, decoder.buffered) == (rest, inside, 0)
            assert not inside or decoder.next_part(Prefixed()) is decoder.next_frame(Number()) is NEED_DATA
            decoder.receive_data(wire[size:] + b"more\n")
            left = wire[max(size, len(frame)) :] + b"more\n"
            assert decoder.leftover == left
            if size % 3:
                assert decoder.next_batch(Lines()) == left.splitlines()
            else:
                assert b"".join(b"\n" if part is FRAME_END else part for part in parts(decoder, Lines(), [b""])) == left
            sizes = [error.discarded for error in told]
            assert (sizes, decoder.stats.discarded) == {
                leave: ([], 0),
                refuse: ([], len(frame)),
            }.get(begin, ([len(frame)], len(frame)))


def test_what_is_wrong_in_a_skipped_frame_is_told_by_the_next_call_and_left_over() -> None:
    class Spoilt(ReadCondition[bytes]):
        def find(self, window: Window) -> NeedMore:
            if b"!" in window.data[window.resume :]:
                raise FramingError("no frame")
            return NeedMore(resume=len(window.data), settled=len(window.data))

    for size in (1, 2, 3, 4):
        decoder, condition = fed(b"abc"), Spoilt()
        assert decoder.next_part(condition) == b"abc"
        decoder.skip_frame()
        for chunk in in_chunks(b"de!f", size):
            decoder.receive_data(chunk)
            assert decoder.offset == min(decoder.received, 5)
        refused(FramingError, decoder.next_frame, condition, match="no frame")
        assert (decoder.offset, decoder.take_leftover()) == (5, b"!f")


def test_the_extent_of_the_frame_before_is_not_that_of_one_that_is_skipped() -> None:
    decoder = fed(prefixed(b"12345")[:6], **DISCARD)
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    decoder.receive_data(b"345")
    assert decoder.next_frame(Prefixed()) == b"12345"
    decoder.receive_data(b"far too")
    assert decoder.next_frame(Lines()) is NEED_DATA
    decoder.receive_data(b"!\nok\n")
    assert decoder.next_frame(Lines()) == b"ok"


# Frames in parts


def parts(decoder: FrameDecoder, condition: ReadCondition[Any], chunks: list[bytes]) -> list[Any]:
    out: list[Any] = []
    for chunk in chunks:
        decoder.receive_data(chunk)
        while (part := decoder.next_part(condition)) is not NEED_DATA and part is not END:
            out.append(part)
    return out


def test_a_part_is_delivered_as_soon_as_it_is_final() -> None:
    decoder = fed(b"hel")
    assert decoder.next_frame(Lines()) is NEED_DATA  # a search under way goes on in parts
    assert decoder.next_part(Lines()) == b"hel"
    assert decoder.frame_size is None
    assert parts(decoder, Lines(), [b"lo\n"]) == [b"lo", FRAME_END]
    assert decoder.frame_span == (0, 6)
    assert parts(decoder, Prefixed(), [b"\0\0\0\5", b"he"]) == [b"he"]
    assert (decoder.frame_size, decoder.missing) == (5, 1)
    decoder = FrameDecoder()
    assert parts(decoder, Rest(), [b"abc", b"def"]) == [b"abc", b"def"]
    decoder.receive_eof()
    assert [decoder.next_part(Rest()) for _ in range(2)] == [FRAME_END, END]


def test_whole_chunks_of_a_large_frame_are_passed_on_uncopied() -> None:
    chunks = [bytes([i]) * 5000 for i in range(10)]
    decoder = fed((50_000).to_bytes(4, "big"), *chunks)
    out = [decoder.next_part(Prefixed()) for _ in range(10)]
    assert all(part is chunk for part, chunk in zip(out, chunks, strict=True))


def test_a_streamed_frame_may_be_larger_than_the_limit_but_for_what_is_not_settled() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    assert len(parts(decoder, Lines(), [b"x" * 100] * 50)) == 50
    assert decoder.stats.high_water == 100
    refused(FrameTooLarge, parts, FrameDecoder(max_frame_size=10), Plain(), [b"x" * 100])


def test_a_frame_in_progress_must_be_finished_or_skipped() -> None:
    decoder = fed(prefixed(b"hello", b"world") + b"line\n")
    condition = Prefixed()
    assert decoder.next_part(condition) == b"hello"
    for read in (decoder.next_frame, decoder.next_batch, decoder.next_part):
        refused(StreamBusy, read, Lines())
    refused(StreamBusy, decoder.next_frame, condition)
    decoder.skip_frame()
    assert decoder.next_frame(Prefixed()) == b"world"
    decoder.skip_frame()
    assert decoder.next_frame(Lines()) == b"line"


def test_a_frame_of_which_nothing_is_delivered_is_nobodys() -> None:
    decoder = fed(b"12;")
    assert decoder.next_frame(Lines()) is decoder.next_part(Prefixed()) is NEED_DATA
    assert decoder.next_batch(Number()) == [12]


def test_a_header_that_has_yet_to_arrive_is_no_part() -> None:
    decoder = fed(b".")
    assert decoder.next_part(Answers((3, 5, 6))) is NEED_DATA
    assert (decoder.streaming, decoder.missing) == (False, 5)
    decoder.receive_data(b"..h")
    assert decoder.next_part(decoder.condition or Lines()) == b"h"
    assert decoder.streaming
    decoder = fed(b"<")
    assert decoder.next_part(Bracketed()) is NEED_DATA
    assert parts(decoder, Bracketed(), [b"a>"]) == [b"a", FRAME_END]


def test_the_stream_may_end_inside_a_streamed_frame() -> None:
    for condition, wire, expected in ((Lines(), b"abc", None), (Prefixed(), b"\0\0\0\5abc", 9)):
        decoder = fed(wire, eof=True)
        assert decoder.next_part(condition) == b"abc"
        for _ in range(2):
            caught = refused(IncompleteFrame, decoder.next_part, condition)
        assert (caught.received, caught.expected, caught.offset) == (len(wire), expected, 0)


def test_what_is_final_before_an_error_is_passed_on_also_where_the_end_would_complete_it() -> None:
    class Clean(Rest):
        def find(self, window: Window) -> Any:
            zero = window.data.find(b"\0", window.resume)
            if zero >= 0:
                raise FramingError("a zero byte", position=zero)
            return super().find(window)

    decoder, condition = fed(b"abc\0", eof=True), Clean()
    assert decoder.next_part(condition) == b"abc"
    refused(FramingError, decoder.next_part, condition, match="at offset 3")


def test_missing_says_how_much_must_arrive() -> None:
    decoder = fed(b"\0\0\0\x0aa", b"bcd")
    assert (decoder.next_frame(Prefixed()), decoder.missing) == (NEED_DATA, 6)
    decoder = fed(b"\0\0")
    assert decoder.missing == 1
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 2
    decoder.receive_data(b"\0")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 1
    decoder.receive_data(b"\x05a")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 4
    decoder = fed(prefixed(b"far too long")[:6], **SMALL, on_oversize="discard")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 1


def test_what_a_condition_sees_and_says_can_be_told_apart_in_messages() -> None:
    shown = "Window(b'bc'..., start=1, resume=1, memo=None, eof=False, taken=0, end=3)"
    assert repr(Window(b"abc", 1)) == shown
    assert repr(PADDING) == "PADDING"
    assert repr(Decode(bytes, trailer=b"--")) == "Decode(<class 'bytes'>, trailer=b'--')"
    assert repr(Decode(bytes)) == "Decode(<class 'bytes'>)"
