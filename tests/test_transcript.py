"""Transcripts: what a decoder says about a stream, and the first thing in which two of them differ."""

from __future__ import annotations

import faulty_framers as faulty
import pytest

from framestream import Exactly, Line, UntilClose
from framestream.testing import ConformanceError, Event, Transcript, transcript
from framestream.testing.driver import difference

CHUNKS = [b"on", b"e\ntwo", b"\n\xff\nthr"]
LINE = Line(last=False)


def test_frames_errors_and_the_rest_are_written_down_in_order() -> None:
    assert transcript(LINE, CHUNKS) == Transcript(
        events=[
            Event("frame", "one"),
            Event("frame", "two"),
            Event("PayloadError", b"\xff", 8),
            Event("IncompleteFrame", (3, None), 10),
        ],
        discards=[],
        leftover=b"thr",
    )


def test_parts_are_payloads_with_the_place_where_the_next_frame_begins() -> None:
    got = transcript(LINE, CHUNKS, by="part")
    assert got.events[:3] == [
        Event("payload", b"one", 4),
        Event("payload", b"two", 8),
        Event("payload", b"\xff", 10),
    ]
    assert got.leftover is None


def test_skipped_frames_are_listed() -> None:
    got = transcript(LINE, [b"long line\nshort\n"], max_size=6, on_oversize="discard")
    assert got.events == [Event("frame", "short"), Event("end")]
    assert got.discards == [(0, 6, 10)]


def test_a_frame_of_no_bytes_is_read_once() -> None:
    assert transcript(Exactly(0), [b"abc"]).events == [Event("frame", b""), Event("end")]
    assert transcript(UntilClose(), []).events == [Event("frame", b""), Event("end")]


@pytest.mark.parametrize("by", ["frame", "batch", "part", "mixed"])
def test_a_frame_too_large_for_good_ends_the_transcript(by: str) -> None:
    got = transcript(faulty.CopiesEverything(), [b"far too long\r\n" * 2], max_frame_size=3, by=by)  # type: ignore[arg-type]
    if by == "part":
        assert got.events[-1] == Event("end")
    elif by != "mixed":
        assert got.events == [Event("FrameTooLarge", (3, None, False), 0)]


def test_a_broken_framer_is_a_conformance_error() -> None:
    with pytest.raises(
        ConformanceError, match=r"the decoder refuses it: ReturnsNone\(\): find returned None"
    ):
        transcript(faulty.ReturnsNone(), [b"abc"])


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ([b"a\n"], [b"b\n"], ("event 1: frame 'a'", "event 1: frame 'b'")),
        ([b"a\n"], [b""], ("event 1: frame 'a'", "event 1: a clean end")),
        ([b"a\nb\n"], [b"a\n"], ("event 2: frame 'b'", "event 2: a clean end")),
        ([b"a"], [b"b"], ("left over: b'a'", "left over: b'b'")),
    ],
)
def test_the_first_difference_is_told(one: list[bytes], other: list[bytes], told: tuple[str, str]) -> None:
    assert difference(transcript(LINE, one), transcript(LINE, other)) == told


def test_a_transcript_that_ends_too_early_is_different() -> None:
    full = transcript(LINE, [b"a\n"])
    short = full._replace(events=full.events[:1])
    assert difference(full, short) == ("event 2: a clean end", "event 2: nothing more")


def test_frames_that_were_skipped_are_compared() -> None:
    one = transcript(LINE, [b"long\n"], max_size=3, on_oversize="discard")
    assert difference(one, one._replace(discards=[])) == ("skipped [(0, 3, 5)]", "skipped []")


def test_equal_frames_of_another_class_are_different() -> None:
    one = Transcript([Event("frame", 1)], [], b"")
    assert difference(one, Transcript([Event("frame", 1)], [], b"")) is None
    assert difference(one, Transcript([Event("frame", 2)], [], b"")) is not None
    assert difference(Transcript([Event("frame", float("nan"))], [], b""), one) is not None
