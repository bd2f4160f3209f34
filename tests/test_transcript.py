"""Transcripts: what a decoder says about a stream, and the first thing in which two of them differ."""

from __future__ import annotations

import faulty_framers as faulty
import pytest

from framestream import Exactly, Line, UntilClose
from framestream.testing import Event, Transcript, transcript
from framestream.testing.driver import difference

CHUNKS = [b"on", b"e\ntwo", b"\n\xff\nthr"]
LINE = Line(last=False)


def test_frames_errors_and_the_rest_are_written_down_in_order() -> None:
    said = transcript(LINE, CHUNKS)
    frames = [Event("frame", "one"), Event("frame", "two")]
    errors = [Event("PayloadError", b"\xff", 8), Event("IncompleteFrame", (3, None), 10)]
    assert said == Transcript(frames + errors, discards=[], leftover=b"thr")
    skipped = transcript(LINE, [b"long line\nshort\n"], max_size=6, on_oversize="discard")
    assert skipped == Transcript([Event("frame", "short"), Event("end")], [(0, 6, 10)], b"")


def test_parts_are_payloads_with_the_place_where_the_next_frame_begins() -> None:
    said = transcript(LINE, CHUNKS, by="part")
    payloads = [(b"one", 4), (b"two", 8), (b"\xff", 10)]
    assert said.events[:3] == [Event("payload", payload, place) for payload, place in payloads]
    assert said.leftover is None


def test_a_frame_of_no_bytes_is_read_once() -> None:
    assert transcript(Exactly(0), [b"abc"]).events == [Event("frame", b""), Event("end")]
    assert transcript(UntilClose(), []).events == [Event("frame", b""), Event("end")]


@pytest.mark.parametrize("by", ["frame", "batch", "part"])
def test_a_frame_too_large_for_good_ends_the_transcript(by: str) -> None:
    said = transcript(faulty.CopiesEverything(), [b"far too long\r\n"] * 2, max_frame_size=3, by=by)  # type: ignore[arg-type]
    assert said.events[-1] == (Event("end") if by == "part" else Event("FrameTooLarge", (3, None, False), 0))


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
    full, second = transcript(LINE, one), transcript(LINE, other)
    assert difference(full, second) == told
    assert difference(full, full) is None


def test_what_is_missing_skipped_or_of_another_class_is_a_difference() -> None:
    full = transcript(LINE, [b"a\n"])
    short = full._replace(events=full.events[:1])
    assert difference(full, short) == ("event 2: a clean end", "event 2: nothing more")
    assert difference(full, full._replace(discards=[(0, 3, 5)])) == ("skipped []", "skipped [(0, 3, 5)]")
    for other in (2, 1.0, True, float("nan")):
        assert difference(Transcript([Event("frame", 1)], [], b""), Transcript([Event("frame", other)], [], b""))
    errors = [Transcript([Event("frame", ValueError(text))], [], b"") for text in ("one", "other")]
    assert difference(errors[0], errors[1]) is None
