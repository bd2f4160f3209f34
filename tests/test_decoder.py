"""FrameDecoder: every promise of the sans-IO core, on conditions of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sample_conditions import Bracketed, Lines, Number, Plain, Prefixed, Rest, Upper, cut, prefixed

import framestream
from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Delimiter,
    Exactly,
    FrameDecoder,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    NeedMore,
    PayloadError,
    ReadCondition,
    StreamBusy,
    StreamClosed,
    Window,
)
from framestream.framer import PADDING

POLICIES = ["raise", "discard", "truncate", "close"]


def fed(*chunks: bytes, eof: bool = False, **options: Any) -> FrameDecoder:
    decoder = FrameDecoder(**options)
    for chunk in chunks:
        decoder.receive_data(chunk)
    if eof:
        decoder.receive_eof()
    return decoder


def drain(decoder: FrameDecoder, read: Callable[[], Any]) -> list[Any]:
    """Everything that can be read now: frames, batches joined, errors as (type, text)."""
    out: list[Any] = []
    while True:
        try:
            answer = read()
        except (FramingError, PayloadError) as error:
            out.append((type(error).__name__, str(error)))
            if isinstance(error, PayloadError) or getattr(error, "recoverable", False):
                continue
            return out
        if answer is NEED_DATA:
            return out
        if answer is END:
            return [*out, END]
        out.extend(answer if isinstance(answer, list) else [answer])


def transcript(chunks: list[bytes], condition: ReadCondition[Any], method: str, **options: Any) -> list[Any]:
    reports: list[Any] = []
    decoder = FrameDecoder(on_discard=lambda e: reports.append((e.offset, e.size, e.discarded)), **options)
    out: list[Any] = []
    for chunk in [*chunks, None]:
        if chunk is None:
            decoder.receive_eof()
        else:
            decoder.receive_data(chunk)
        out += drain(decoder, lambda: getattr(decoder, method)(condition))
        if out and isinstance(out[-1], tuple) and "recoverable" not in out[-1]:
            with_error = [o for o in out if isinstance(o, tuple)]
            if with_error and decoder._error is not None:
                break
    return [*out, reports, decoder.stats.frames]


def test_frames_come_out_in_order_and_the_rest_is_left_over() -> None:
    decoder = fed(b"one\ntwo\nthr")
    assert [b"one", b"two"] == [decoder.next_frame(Lines()), decoder.next_frame(Lines())]
    assert decoder.next_frame(Lines()) is NEED_DATA
    assert decoder.leftover == b"thr"


def test_end_is_told_apart_from_waiting() -> None:
    decoder = fed()
    assert decoder.next_frame(Lines()) is NEED_DATA
    decoder.receive_eof()
    assert decoder.eof
    assert decoder.next_frame(Lines()) is END
    assert decoder.next_batch(Lines()) is END
    assert decoder.next_part(Lines()) is END


def test_data_after_the_end_is_the_callers_mistake() -> None:
    decoder = fed(eof=True)
    with pytest.raises(StreamClosed, match="after the end"):
        decoder.receive_data(b"x")


def test_any_bytes_like_chunk_is_taken_and_kept_safe_from_later_changes() -> None:
    chunk = bytearray(b"a\n")
    decoder = fed(chunk, memoryview(b"b\n"), b"")  # type: ignore[arg-type]
    chunk[0] = 0
    assert decoder.next_batch(Lines()) == [b"a", b"b"]


@pytest.mark.parametrize("limit", [1 << 20, 600, 40])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("condition", [Lines(), Prefixed(), Prefixed(3), Bracketed(), Upper()], ids=repr)
def test_the_answer_is_the_same_for_every_chunking(
    condition: ReadCondition[Any], policy: str, limit: int
) -> None:
    payloads = [bytes([97 + i % 26]) * (i * 37 % 101) for i in range(60)]
    if isinstance(condition, Lines):
        data = b"".join(p + b"\n" for p in payloads)
    elif isinstance(condition, Bracketed):
        data = b"".join(b"<" + p + b">" for p in payloads) + b"<\xff>"
    else:
        data = prefixed(*payloads, padding=bytes(getattr(condition, "padding", 0)))
    for tail in (b"", b"<"):
        expected = None
        for method in ("next_frame", "next_batch"):
            for size in (1, 2, 3, 7, 64, 500, len(data) + 1):
                got = transcript(
                    cut(data + tail, size), condition, method, max_frame_size=limit, on_oversize=policy
                )
                expected = got if expected is None else expected
                assert got == expected, f"{method} in chunks of {size}"


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
        assert decoder.leftover == b""


@pytest.mark.parametrize("taken", [5, 17, 60, 99])
def test_frames_cut_ahead_are_put_back_when_the_condition_changes(taken: int) -> None:
    data = b"".join(b"%d\n" % i for i in range(100))
    condition = Lines()
    decoder = fed(data)
    assert [decoder.next_frame(condition) for _ in range(taken)] == [b"%d" % i for i in range(taken)]
    rest = b"".join(b"%d\n" % i for i in range(taken, 100))
    assert decoder.offset == len(data) - len(rest)
    assert decoder.buffered == len(rest)
    assert decoder.peek(3) == rest[:3]
    assert decoder.leftover == rest
    assert decoder.stats.frames == taken
    decoder.receive_eof()
    assert decoder.next_frame(Rest()) == rest


def test_a_batch_goes_on_behind_what_was_delivered_singly() -> None:
    condition = Lines()
    decoder = fed(b"".join(b"%d\n" % i for i in range(100)))
    singles = [decoder.next_frame(condition) for _ in range(20)]
    batches: list[Any] = []
    while (batch := decoder.next_batch(condition)) is not NEED_DATA:
        batches += batch
    assert singles + batches == [b"%d" % i for i in range(100)]
    assert decoder.stats.frames == 100


def test_a_smaller_limit_applies_to_frames_that_were_cut_ahead() -> None:
    condition = Lines()
    decoder = fed(b"short\n" * 40 + b"a longer line\n")
    for _ in range(39):
        decoder.next_frame(condition)
    assert decoder.next_frame(condition, max_size=8) == b"short"
    with pytest.raises(FrameTooLarge):
        decoder.next_frame(condition, max_size=8)


def test_look_ahead_reaches_the_last_frame_before_the_end() -> None:
    condition = Lines()
    decoder = fed(b"x\n" * 2000, eof=True)
    count = 0
    while decoder.next_frame(condition) is not END:
        count += 1
    assert count == 2000


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
    assert asked == [0, 2, 4, 6]
    assert decoder.next_frame(Lines()) is NEED_DATA
    decoder.receive_data(b"\n")
    assert decoder.next_frame(Watched()) == b"abababab"
    assert asked == [0, 2, 4, 6, 0, 8]


# Values


def test_a_value_found_with_the_end_is_not_decoded_again() -> None:
    assert fed(b"12;345;").next_batch(Number()) == [12, 345]
    assert fed(b"12;345;").next_frame(Number()) == 12


def test_a_span_may_say_who_decodes() -> None:
    data = prefixed(b"abc", b"def")
    assert fed(data).next_batch(Upper()) == ["ABC", "DEF"]
    decoder = fed(*cut(data, 3))
    assert [decoder.next_frame(Upper()), decoder.next_frame(Upper())] == ["ABC", "DEF"]


def test_a_truncated_frame_is_decoded_by_who_the_span_says() -> None:
    decoder = fed(prefixed(b"abcdef", b"gh"), max_frame_size=3, on_oversize="truncate")
    assert [decoder.next_frame(Upper()), decoder.next_frame(Upper())] == ["ABC", "GH"]


# Limits


@pytest.mark.parametrize("condition", [Lines(), Plain(), Prefixed()], ids=repr)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_frame_that_fits_exactly_passes_and_one_byte_more_does_not(
    condition: ReadCondition[Any], size: int
) -> None:
    def wire(payload: bytes) -> bytes:
        return prefixed(payload) if isinstance(condition, Prefixed) else payload + b"\n"

    good = FrameDecoder(max_frame_size=5)
    bad = FrameDecoder(max_frame_size=5)
    answers = []
    for chunk in cut(wire(b"12345"), size):
        good.receive_data(chunk)
        answers.append(good.next_frame(condition))
    assert answers[-1] == b"12345"
    with pytest.raises(FrameTooLarge) as caught:
        for chunk in cut(wire(b"123456"), size):
            bad.receive_data(chunk)
            bad.next_frame(condition)
    assert (caught.value.limit, caught.value.offset) == (5, 0)
    assert caught.value.size == (6 if isinstance(condition, Prefixed) else None)


def test_undeclared_overhead_counts_against_the_limit_for_every_chunking() -> None:
    for chunks in ([b"<12345>"], cut(b"<12345>", 1)):
        decoder = FrameDecoder(max_frame_size=5)
        with pytest.raises(FrameTooLarge):
            for chunk in chunks:
                decoder.receive_data(chunk)
                decoder.next_frame(Bracketed())


def test_limits_are_per_call_then_per_condition_then_per_decoder() -> None:
    decoder = fed(b"123456\n", max_frame_size=3)
    assert decoder.next_frame(Lines(max_size=6)) == b"123456"
    decoder = fed(b"123456\n", max_frame_size=3)
    assert decoder.next_frame(Lines(max_size=4), max_size=6) == b"123456"
    with pytest.raises(FrameTooLarge) as caught:
        fed(b"123456\n").next_frame(Lines(max_size=4))
    assert caught.value.limit == 4


def test_a_declared_frame_is_refused_before_its_body_arrives() -> None:
    decoder = fed((1 << 31).to_bytes(4, "big"))
    with pytest.raises(FrameTooLarge, match="frame of 2147483648 bytes exceeds the limit 1048576") as caught:
        decoder.next_frame(Prefixed())
    assert caught.value.size == 1 << 31
    assert caught.value.recoverable


def test_after_a_declared_frame_is_refused_reading_goes_on_behind_it() -> None:
    decoder = fed(prefixed(b"ok", b"far too long", b"fine"), max_frame_size=5)
    assert decoder.next_frame(Prefixed()) == b"ok"
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_frame(Prefixed())
    assert decoder.next_frame(Prefixed()) == b"fine"
    assert caught.value.discarded == 16
    assert decoder.stats.discarded == 16


def test_an_undeclared_frame_that_is_refused_breaks_the_stream_for_good() -> None:
    decoder = fed(b"ok\nfar too long\nfine\n", max_frame_size=5)
    assert decoder.next_frame(Lines()) == b"ok"
    for _ in range(2):
        with pytest.raises(FrameTooLarge, match=r"exceeds the limit of 5 bytes \(at offset 3\)") as caught:
            decoder.next_frame(Lines())
    assert not caught.value.recoverable
    assert decoder.leftover == b"far too long\nfine\n"


def test_discard_skips_exactly_the_frame_and_reports_it() -> None:
    reports: list[FrameTooLarge] = []
    decoder = FrameDecoder(max_frame_size=5, on_oversize="discard", on_discard=reports.append)
    for chunk in cut(b"ok\nfar too long\nfine\n", 3):
        decoder.receive_data(chunk)
    assert drain(decoder, lambda: decoder.next_frame(Lines())) == [b"ok", b"fine"]
    assert [(r.offset, r.limit, r.discarded, r.size) for r in reports] == [(3, 5, 13, None)]
    assert (decoder.stats.oversize, decoder.stats.discarded) == (1, 13)


def test_discard_without_anybody_to_report_to() -> None:
    decoder = fed(b"far too long\nfine\n", max_frame_size=5, on_oversize="discard")
    assert decoder.next_frame(Lines()) == b"fine"


def test_truncate_delivers_the_beginning_at_once_and_skips_the_rest() -> None:
    decoder = fed(b"far too", max_frame_size=5, on_oversize="truncate")
    assert decoder.next_frame(Lines()) == b"far t"
    assert decoder.next_frame(Lines()) is NEED_DATA
    decoder.receive_data(b" long\nfine\n")
    assert decoder.next_frame(Lines()) == b"fine"


def test_close_breaks_the_stream_even_where_it_could_go_on() -> None:
    decoder = fed(prefixed(b"far too long", b"fine"), max_frame_size=5, on_oversize="close")
    for _ in range(2):
        with pytest.raises(FrameTooLarge) as caught:
            decoder.next_frame(Prefixed())
    assert not caught.value.recoverable


def test_the_policy_may_be_given_per_call() -> None:
    decoder = fed(prefixed(b"far too long", b"fine"), max_frame_size=5)
    assert decoder.next_batch(Prefixed(), on_oversize="discard") == [b"fine"]


@pytest.mark.parametrize("read", ["next_frame", "next_batch"])
def test_an_unknown_policy_is_refused_at_once(read: str) -> None:
    with pytest.raises(ValueError, match="on_oversize is 'drop'; it must be one of close, discard"):
        FrameDecoder(on_oversize="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_oversize is 'drop'"):
        getattr(FrameDecoder(), read)(Lines(), on_oversize="drop")


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_frame_size is -1"):
        FrameDecoder(max_frame_size=-1)


def test_what_cannot_be_skipped_is_an_error_that_says_why() -> None:
    for size in (1, 8, 100):
        decoder = fed(*cut(b"far too long\nfine\n", size), max_frame_size=5, on_oversize="discard")
        for _ in range(2):
            with pytest.raises(FrameTooLarge, match="cannot be skipped, because its framer settles no"):
                decoder.next_frame(Plain())


def test_a_framer_that_stops_settling_in_the_middle_cannot_be_skipped() -> None:
    class Lazy(Lines):
        def find(self, window: Window) -> Any:
            answer = super().find(window)
            if isinstance(answer, NeedMore) and window.taken:
                answer.settled = None
            return answer

    decoder = FrameDecoder(max_frame_size=5, on_oversize="discard")
    with pytest.raises(FrameTooLarge, match="cannot be skipped"):
        for chunk in cut(b"0123456789" * 3, 5):
            decoder.receive_data(chunk)
            decoder.next_frame(Lazy())


def test_padding_has_a_limit_too() -> None:
    decoder = fed(prefixed(b"x"))
    assert decoder.next_frame(Prefixed(padding=1000)) is NEED_DATA
    with pytest.raises(FrameTooLarge):
        fed(prefixed(b"x"), max_frame_size=10).next_frame(Prefixed(padding=1 << 20))


def test_asking_for_more_than_the_limit_is_refused_when_the_limit_is_reached() -> None:
    class Greedy(ReadCondition[bytes]):
        def find(self, window: Window) -> NeedMore:
            return NeedMore(10_000)

    decoder = fed(b"x" * 100, max_frame_size=100)
    assert decoder.next_frame(Greedy()) is NEED_DATA
    decoder.receive_data(b"x")
    with pytest.raises(FrameTooLarge):
        decoder.next_frame(Greedy())


def test_a_refused_frame_says_what_its_bytes_look_like() -> None:
    class Explaining(Lines):
        def explain(self, window: Window) -> str:
            return f"looks like {bytes(window.data[window.start : window.start + 3])!r}"

    with pytest.raises(FrameTooLarge, match="limit of 5 bytes; looks like b'GET'"):
        fed(b"GET /index", max_frame_size=5).next_frame(Explaining())
    with pytest.raises(IncompleteFrame, match="10 bytes arrived; looks like b'GET'"):
        fed(b"GET /index", eof=True).next_frame(Explaining())


def test_a_condition_that_refuses_the_beginning_of_what_it_accepts_whole_is_held_undeclared() -> None:
    class Fickle(Lines):
        def find(self, window: Window) -> Any:
            if b"\n" not in window.data:
                raise FramingError("no newline")
            return super().find(window)

    with pytest.raises(FrameTooLarge) as caught:
        fed(b"123456\n", max_frame_size=5).next_frame(Fickle())
    assert caught.value.size is None


# The end of the stream


def test_an_incomplete_frame_is_reported_and_left_alone() -> None:
    decoder = fed(b"one\ntwo", eof=True)
    assert decoder.next_frame(Lines()) == b"one"
    for _ in range(2):
        with pytest.raises(IncompleteFrame, match=r"3 bytes arrived \(at offset 4\)") as caught:
            decoder.next_frame(Lines())
    assert (caught.value.received, caught.value.expected, caught.value.excerpt) == (3, None, b"two")
    assert decoder.next_frame(Rest()) == b"two"
    assert decoder.next_frame(Rest()) is END


def test_an_incomplete_frame_says_how_much_was_declared() -> None:
    decoder = fed(prefixed(b"12345")[:-2], eof=True)
    with pytest.raises(IncompleteFrame, match="7 of 9 bytes arrived") as caught:
        decoder.next_frame(Prefixed())
    assert (caught.value.received, caught.value.expected) == (7, 9)


def test_an_incomplete_frame_behind_a_batch_is_reported_by_the_next_call() -> None:
    decoder = fed(b"one\ntwo", eof=True)
    assert decoder.next_batch(Lines()) == [b"one"]
    with pytest.raises(IncompleteFrame):
        decoder.next_batch(Lines())
    assert decoder.next_frame(Rest()) == b"two"


def test_a_frame_too_large_at_the_end_is_too_large_and_not_incomplete() -> None:
    for chunks in ([b"1234567890"], cut(b"1234567890", 1)):
        decoder = fed(*chunks, eof=True, max_frame_size=5)
        with pytest.raises(FrameTooLarge):
            decoder.next_frame(Lines())


def test_the_stream_may_end_inside_a_frame_that_is_skipped() -> None:
    decoder = fed(prefixed(b"far too long")[:-3], eof=True, max_frame_size=5, on_oversize="discard")
    for _ in range(2):
        with pytest.raises(IncompleteFrame, match="13 of 16 bytes") as caught:
            decoder.next_frame(Prefixed())
    assert caught.value.offset == 0


@pytest.mark.parametrize("chunks", [[], [b"abc"], [b"a", b"", b"bc"]])
def test_until_close_delivers_exactly_one_frame(chunks: list[bytes]) -> None:
    decoder = fed(*chunks)
    assert decoder.next_frame(Rest()) is NEED_DATA
    decoder.receive_eof()
    assert decoder.next_batch(Rest()) == [b"".join(chunks)]
    assert decoder.next_frame(Rest()) is END
    assert decoder.next_batch(Rest()) is END


def test_a_discarded_frame_at_the_end_is_the_only_one() -> None:
    decoder = fed(b"far too long", eof=True, max_frame_size=5, on_oversize="discard")
    assert decoder.next_frame(Rest()) is END


# Errors


class Printable(ReadCondition[bytes]):
    """Lines in which a zero byte is an error; settles what it has seen."""

    def find(self, window: Window) -> Any:
        bad = window.data.find(b"\0", window.resume)
        end = window.data.find(b"\n", window.resume)
        if bad >= 0 and not 0 <= end < bad:
            raise FramingError("a zero byte", position=bad)
        if end >= 0:
            return window.start, end, end + 1
        return NeedMore(resume=len(window.data), settled=len(window.data))


@pytest.mark.parametrize("size", [1, 3, 20])
def test_a_frame_that_is_too_large_before_it_is_malformed_is_too_large(size: int) -> None:
    decoder = fed(*cut(b"far too\0long\n", size), max_frame_size=5)
    with pytest.raises(FrameTooLarge):
        decoder.next_frame(Printable())


@pytest.mark.parametrize("size", [1, 3, 20])
def test_what_is_final_before_an_error_is_passed_on_first(size: int) -> None:
    decoder, condition = fed(*cut(b"fine\0line\n", size)), Printable()
    parts: list[Any] = []
    with pytest.raises(FramingError, match="zero byte") as caught:
        while True:
            parts.append(decoder.next_part(condition))
    assert b"".join(parts) == b"fine"
    assert caught.value.offset == 4


@pytest.mark.parametrize("size", [1, 3, 20])
def test_a_truncated_frame_is_delivered_before_the_error_behind_it(size: int) -> None:
    decoder = fed(*cut(b"far too\0long\n", size), max_frame_size=5, on_oversize="truncate")
    assert decoder.next_frame(Printable()) == b"far t"
    with pytest.raises(FramingError, match="zero byte"):
        decoder.next_frame(Printable())


def test_a_framing_error_is_fatal_and_knows_its_place() -> None:
    decoder = fed(b"<one>two")
    assert decoder.next_frame(Bracketed()) == "one"
    for read in (decoder.next_frame, decoder.next_batch, decoder.next_part, decoder.next_frame):
        with pytest.raises(FramingError, match=r"no '<' where a frame begins \(at offset 5\)") as caught:
            read(Bracketed())
    assert caught.value.excerpt == b"two"
    assert "Bracketed" in caught.value.framer
    assert decoder.leftover == b"two"


def test_a_framing_error_may_point_at_the_very_byte() -> None:
    class Strict(Lines):
        def find(self, window: Window) -> Any:
            if (zero := window.data.find(0, window.start)) >= 0:
                raise FramingError("a zero byte", position=zero)
            return super().find(window)

    decoder = fed(b"ab\n", b"cd\0e\n")
    assert decoder.next_frame(Strict()) == b"ab"
    with pytest.raises(FramingError) as caught:
        decoder.next_frame(Strict())
    assert (caught.value.offset, caught.value.excerpt) == (5, b"\0e\n")


def test_an_error_behind_complete_frames_waits_for_the_next_call() -> None:
    decoder = fed(b"<one><two>three")
    assert decoder.next_batch(Bracketed()) == ["one", "two"]
    with pytest.raises(FramingError):
        decoder.next_batch(Bracketed())


def test_a_bad_payload_is_consumed_and_reading_goes_on() -> None:
    decoder = fed(b"<one><\xff><two>")
    assert decoder.next_frame(Bracketed()) == "one"
    with pytest.raises(PayloadError, match=r"ordinal not in range\(128\) \(frame at offset 5\)") as caught:
        decoder.next_frame(Bracketed())
    assert (caught.value.payload, caught.value.offset) == (b"\xff", 5)
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)
    assert decoder.next_frame(Bracketed()) == "two"
    assert decoder.stats.payload_errors == 1


def test_a_bad_payload_behind_a_batch_is_raised_once_by_the_next_call() -> None:
    decoder = fed(b"<one><\xff><two>")
    assert decoder.next_batch(Bracketed()) == ["one"]
    with pytest.raises(PayloadError):
        decoder.next_batch(Bracketed())
    assert decoder.next_batch(Bracketed()) == ["two"]


def test_a_payload_error_of_the_framers_own_is_completed() -> None:
    class Own(Lines):
        def decode(self, payload: bytes) -> bytes:
            raise PayloadError("not today")

        def split(self, window: Window) -> Any:
            return ReadCondition.split(self, window)

    with pytest.raises(PayloadError, match="not today") as caught:
        fed(b"x\n").next_frame(Own())
    assert (caught.value.payload, caught.value.offset) == (b"x", 0)
    with pytest.raises(PayloadError):
        fed(b"x\n").next_batch(Own())


def test_decode_may_break_the_stream() -> None:
    class Own(Plain):
        def decode(self, payload: bytes) -> bytes:
            raise FramingError("out of step")

    decoder = fed(b"x\ny\n")
    for _ in range(2):
        with pytest.raises(FramingError, match=r"out of step \(at offset 0\)"):
            decoder.next_frame(Own())


# The author's mistakes


class Answers(ReadCondition[Any]):
    """Answers whatever it is made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def find(self, window: Window) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((2, 1, 3), "span out of order"),
        ((0, 3, 2), "span out of order"),
        ((0, 0, 0), "a frame of no bytes"),
        ((0, 1), "a tuple of 2 items"),
        (None, "find returned None, not a span or NeedMore"),
        (NeedMore(resume=99), "points outside the data"),
        (NeedMore(settled=-1), "points outside the data"),
        (IndexError("index out of range"), "find raised IndexError: index out of range"),
    ],
)
def test_a_broken_framer_is_named_and_stays_broken(answer: Any, complaint: str) -> None:
    decoder = fed(b"abcd")
    for _ in range(2):
        with pytest.raises(FramerContractError, match=complaint) as caught:
            decoder.next_frame(Answers(answer))
    assert "Answers" in caught.value.framer
    assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (([], 3), "split returned 0 frames that end at 3, of data from 0 to 6"),
        (([b"x"], 0), "split returned 1 frames that end at 0"),
        (([b"x"], 7), "that end at 7"),
        (KeyError("x"), "split raised KeyError: 'x'"),
    ],
)
def test_a_broken_split_is_named(answer: Any, complaint: str) -> None:
    class Own(Lines):
        def split(self, window: Window) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(FramerContractError, match=complaint):
        fed(b"a\nb\nc\n").next_batch(Own())


def test_a_split_that_disagrees_with_find_is_noticed_when_frames_are_put_back() -> None:
    class Own(Lines):
        def split(self, window: Window) -> Any:
            data = window.data[window.start :]
            return [b"x"] * data.count(b"a"), len(window.data)

    condition = Own()
    decoder = fed(b"aaaa\n" * 100)
    for _ in range(300):
        decoder.next_frame(condition)
    with pytest.raises(FramerContractError, match="split and find disagree"):
        _ = decoder.offset


def test_a_decode_that_fails_by_mistake_is_the_framers_fault() -> None:
    class Own(Plain):
        def decode(self, payload: bytes) -> bytes:
            raise KeyError("x")

    decoder = fed(b"a\nb\n")
    with pytest.raises(FramerContractError, match="decode raised KeyError: 'x'"):
        decoder.next_frame(Own())
    assert decoder.next_frame(Lines()) == b"b"
    with pytest.raises(FramerContractError, match="KeyError"):
        fed(b"a\n").next_batch(Own())


# Frames in parts


def parts(decoder: FrameDecoder, condition: ReadCondition[Any], chunks: list[bytes]) -> list[Any]:
    out: list[Any] = []
    for chunk in chunks:
        decoder.receive_data(chunk)
        while (part := decoder.next_part(condition)) is not NEED_DATA:
            out.append(part)
    return out


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("condition", "wire"),
    [
        (Lines(), b"hello\nworld\n\n"),
        (Plain(), b"hello\nworld\n\n"),
        (Prefixed(), prefixed(b"hello", b"world", b"")),
        (Prefixed(2), prefixed(b"hello", b"world", b"", padding=b"..")),
        (Bracketed(), b"<hello><world><>"),
    ],
    ids=repr,
)
def test_parts_add_up_to_the_payloads(condition: ReadCondition[Any], wire: bytes, size: int) -> None:
    frames: list[list[bytes]] = [[]]
    for part in parts(FrameDecoder(), condition, cut(wire, size)):
        assert part != b""
        if part is FRAME_END:
            frames.append([])
        else:
            frames[-1].append(part)
    assert [b"".join(f) for f in frames] == [b"hello", b"world", b"", b""]


def test_a_part_is_delivered_as_soon_as_it_is_final() -> None:
    decoder = FrameDecoder()
    assert parts(decoder, Lines(), [b"hel"]) == [b"hel"]
    assert decoder.frame_size is None
    assert parts(decoder, Lines(), [b"lo\n"]) == [b"lo", FRAME_END]
    assert parts(decoder, Prefixed(), [b"\0\0\0\5", b"he"]) == [b"he"]
    assert decoder.frame_size == 5


def test_whole_chunks_of_a_large_frame_are_passed_on_uncopied() -> None:
    chunks = [bytes([i]) * 1000 for i in range(10)]
    decoder = fed((10_000).to_bytes(4, "big"), *chunks)
    out = [decoder.next_part(Prefixed()) for _ in range(10)]
    assert all(part is chunk for part, chunk in zip(out, chunks, strict=True))


def test_a_streamed_frame_may_be_larger_than_the_limit() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    assert len(parts(decoder, Lines(), [b"x" * 100] * 50)) == 50
    assert decoder.stats.high_water == 100


def test_what_cannot_be_settled_is_limited_even_when_streamed() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    with pytest.raises(FrameTooLarge):
        parts(decoder, Plain(), [b"x" * 100])


def test_a_frame_in_progress_must_be_finished_or_skipped() -> None:
    decoder = fed(prefixed(b"hello", b"world") + b"line\n")
    assert decoder.next_part(Prefixed()) == b"hello"
    for read in (decoder.next_frame, decoder.next_batch, decoder.next_part):
        with pytest.raises(StreamBusy):
            read(Lines())
    decoder.skip_frame()
    assert decoder.next_frame(Prefixed()) == b"world"
    decoder.skip_frame()
    assert decoder.next_frame(Lines()) == b"line"


def test_the_rest_of_a_skipped_frame_is_dropped_as_it_arrives() -> None:
    decoder = fed(b"hello")
    assert decoder.next_part(Lines()) == b"hello"
    decoder.skip_frame()
    assert decoder.next_part(Prefixed()) is NEED_DATA
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    decoder.receive_data(b" world\n" + prefixed(b"next"))
    assert decoder.next_part(Prefixed()) == b"next"
    assert decoder.stats.discarded == 0


def test_before_its_first_part_a_frame_is_nobodys() -> None:
    decoder = fed(b"\0\0")
    assert decoder.next_part(Prefixed()) is NEED_DATA
    decoder.receive_data(b"\n")
    assert decoder.next_frame(Lines()) == b"\0\0"


def test_a_truncated_frame_is_not_mixed_with_parts() -> None:
    decoder = fed(prefixed(b"12345678")[:6], max_frame_size=5, on_oversize="truncate")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    with pytest.raises(StreamBusy, match="truncated"):
        decoder.next_part(Prefixed())
    with pytest.raises(StreamBusy, match="truncated"):
        decoder.next_frame(Lines())
    decoder.receive_data(b"345678")
    assert decoder.next_frame(Prefixed()) == b"12345"


def test_the_stream_may_end_inside_a_streamed_frame() -> None:
    for condition, wire, expected in ((Lines(), b"abc", None), (Prefixed(), b"\0\0\0\5abc", 9)):
        decoder = fed(wire, eof=True)
        assert decoder.next_part(condition) == b"abc"
        for _ in range(2):
            with pytest.raises(IncompleteFrame) as caught:
                decoder.next_part(condition)
        assert (caught.value.received, caught.value.expected) == (len(wire), expected)
        assert caught.value.offset == 0


def test_the_rest_of_the_stream_can_be_streamed() -> None:
    decoder = FrameDecoder()
    assert parts(decoder, Rest(), [b"abc", b"def"]) == [b"abc", b"def"]
    decoder.receive_eof()
    assert decoder.next_part(Rest()) is FRAME_END
    assert decoder.next_part(Rest()) is END


def test_a_search_under_way_goes_on_in_parts() -> None:
    decoder = fed(b"abc")
    assert decoder.next_frame(Lines()) is NEED_DATA
    assert decoder.next_part(Lines()) == b"abc"


# Looking


def test_stats_count_bytes_and_frames() -> None:
    decoder = fed(b"a\nb\n", b"c")
    decoder.next_batch(Lines())
    stats = decoder.stats
    assert (stats.received, stats.frames, stats.high_water) == (5, 2, 5)
    assert "frames=2" in repr(stats)


def test_signals_have_names() -> None:
    assert ["NEED_DATA", "END", "FRAME_END"] == [repr(s) for s in (NEED_DATA, END, FRAME_END)]


def test_peek_crosses_chunks_and_consumes_nothing() -> None:
    decoder = fed(b"ab", b"cd", b"ef")
    assert [decoder.peek(n) for n in (0, 1, 3, 5, 99)] == [b"", b"a", b"abc", b"abcde", b"abcdef"]
    assert decoder.buffered == 6


@dataclass(frozen=True)
class Spaced(ReadCondition[bytes]):
    """Words that end with a dot, with spaces between them that belong to none."""

    def find(self, window: Window) -> Any:
        if window.data[window.start : window.start + 1] == b" ":
            return window.start, window.start, window.start + 1, PADDING
        end = window.data.find(b".", window.resume)
        return NeedMore(resume=len(window.data)) if end < 0 else (window.start, end, end + 1)


@pytest.mark.parametrize("chunks", [[b"one. two.  "], cut(b"one. two.  ", 1)])
def test_the_stream_may_end_behind_padding(chunks: list[bytes]) -> None:
    decoder = fed(*chunks, eof=True)
    assert [b"one", b"two", END] == [decoder.next_frame(Spaced()) for _ in range(3)]
    decoder = fed(*chunks, eof=True)
    parts = [decoder.next_part(Spaced()) for _ in range(5)]
    assert parts == [b"one", FRAME_END, b"two", FRAME_END, END]


@dataclass(frozen=True)
class Labelled(ReadCondition[bytes]):
    """A label of any length up to a colon, and then the payload, up to a semicolon."""

    def find(self, window: Window) -> Any:
        start = window.start
        if not window.taken:
            colon = window.data.find(b":", start)
            if window.data.find(b"!", start) >= 0:
                raise FramingError("no exclamation")
            if colon < 0:
                return NeedMore()
            start = colon + 1
        end = window.data.find(b";", start)
        if end < 0:
            return NeedMore(settled=len(window.data), payload_start=start)
        return start, end, end + 1


@pytest.mark.parametrize(
    "wire", [b"label:payload;", b"label:payload and more", b"label of no end", b"label!:x;"]
)
@pytest.mark.parametrize(("limit", "error"), [(3, FrameTooLarge), (100, None)])
def test_what_settles_too_late_is_too_large_for_every_chunking(
    wire: bytes, limit: int, error: type[Exception] | None
) -> None:
    outcomes = set()
    for size in (1, 2, 3, 7, 100):
        decoder = FrameDecoder(max_frame_size=limit)
        got: list[Any] = []
        try:
            for chunk in cut(wire, size):
                decoder.receive_data(chunk)
                while (part := decoder.next_part(Labelled())) is not NEED_DATA:
                    got.append(part)
        except FramingError as failure:
            got.append(type(failure))
        outcomes.add(b"".join(part for part in got if isinstance(part, bytes)))
        assert (got[-1:] == [FrameTooLarge]) is (error is FrameTooLarge)
    assert len(outcomes) == 1


def test_look_ahead_goes_on_in_the_next_chunk() -> None:
    condition = Lines()
    decoder = fed(b"ab\n" * 10, b"cd\n" * 10)
    assert [decoder.next_frame(condition) for _ in range(20)] == [b"ab"] * 10 + [b"cd"] * 10


def test_a_split_that_gives_up_leaves_the_frames_to_find() -> None:
    class GivesUp(Lines):
        def split(self, window: Window) -> Any:
            raise ValueError("not today")

    assert fed(b"a\nb\n").next_batch(GivesUp()) == [b"a", b"b"]


def test_a_cut_of_ones_own_is_asked_first_and_may_leave_the_frame_to_find() -> None:
    class Once(Delimiter):
        def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
            if start:
                raise LookupError("only the first")
            return super().cut(data, start)

    decoder = fed(b"a;b;")
    assert [decoder.next_frame(Once(b";")), decoder.next_frame(Once(b";"))] == [b"a", b"b"]


def test_missing_says_how_much_must_arrive() -> None:
    decoder = fed(b"\0\0")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 2
    decoder.receive_data(b"\0\x05a")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 4
    decoder = fed(prefixed(b"far too long")[:6], max_frame_size=5, on_oversize="discard")
    assert decoder.next_frame(Prefixed()) is NEED_DATA
    assert decoder.missing == 1


def test_there_is_no_place_for_bytes_of_unknown_frames() -> None:
    assert FrameDecoder().get_buffer() is None


def test_a_window_shows_what_it_looks_at() -> None:
    assert repr(Window(b"abc", 1)) == (
        "Window(b'bc'..., start=1, resume=1, memo=None, eof=False, taken=0, end=3)"
    )


def test_the_package_names_what_it_has() -> None:
    assert set(framestream.__all__) <= set(dir(framestream))
    with pytest.raises(AttributeError, match="no attribute 'Lien'"):
        _ = framestream.Lien


# Places


@pytest.mark.parametrize("before", [b"", b"abc"])
def test_a_place_that_is_not_filled_is_buffered(before: bytes) -> None:
    decoder = fed(before)
    decoder.receive_into(memoryview(bytearray(13)))
    assert decoder.missing == 13 - len(before)
    decoder.receive_data(b"defghijkl")
    assert not decoder.release_place()
    assert decoder.leftover == before + b"defghijkl"
    assert decoder.next_frame(Exactly(6 + len(before))) == before + b"defghi"
    assert decoder.next_frame(Lines()) is NEED_DATA
    assert decoder.offset == 6 + len(before)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 9])
def test_bytes_are_taken_into_a_place_from_however_many_chunks(size: int) -> None:
    decoder = fed(b"abc", b"de", b"f", b"ghi")
    place = bytearray(size)
    decoder.take_into(memoryview(place))
    assert place == b"abcdefghi"[:size]
    assert decoder.leftover == b"abcdefghi"[size:]
    assert (decoder.offset, decoder.frame_span) == (size, (0, size))


def test_a_place_that_is_full_takes_nothing_more() -> None:
    decoder = FrameDecoder()
    place = bytearray(3)
    decoder.receive_into(memoryview(place))
    rest = decoder.get_buffer()
    assert rest is not None
    rest[:] = b"abc"
    decoder.buffer_updated(3)
    assert decoder.get_buffer() is None
    assert decoder.release_place()
    assert place == b"abc"
    assert (decoder.offset, decoder.buffered) == (3, 0)
