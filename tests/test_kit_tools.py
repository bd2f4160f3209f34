"""What the kit offers besides its checks: chunkings, transcripts of a decoder, and comparisons of speed."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import faulty_framers as faulty
import pytest

from framestream import (
    Delimiter,
    Exactly,
    FramingError,
    IncompleteFrame,
    Line,
    Msgpack,
    ReadCondition,
    UntilClose,
    Window,
)
from framestream.testing import (
    ConformanceError,
    Event,
    Transcript,
    Wire,
    check_framer,
    chunkings,
    compare_speed,
    conformance_checks,
    transcript,
)
from framestream.testing.driver import hold_alike, same_frame
from framestream.testing.memory import MemoryWire
from framestream.testing.suite import Suite


def test_chunkings_join_to_the_data_and_of_long_data_only_some_are_cut_in_two() -> None:
    for size in (0, 1, 2, 5, 200):
        data = bytes(range(size))
        ways = list(chunkings(data))
        assert ways[0] == [data]
        assert all(b"".join(chunks) == data for chunks in ways)
    ways = list(chunkings(b"abc"))
    assert [b"ab", b"c"] in ways
    assert [b"a", b"b", b"c"] in ways
    assert any(b"" in chunks for chunks in ways)
    cuts = [len(chunks[0]) for chunks in chunkings(bytes(5000), random=0, empty=False) if len(chunks) == 2]
    assert len(cuts) <= 64
    assert {1, 2, 4998, 4999} <= set(cuts)


def test_what_is_derived_from_an_example_grows_with_its_bytes_and_not_with_their_square() -> None:
    example = b"ab\r\n" * 4000
    suite = Suite(faulty.Lines(), examples={example: [b"ab"] * 4000})
    suite.reading(example)
    tracemalloc.start()
    try:
        assert 20 < max(map(len, suite.situations())) < 200
        assert tracemalloc.get_traced_memory()[1] < 200 * len(example)
    finally:
        tracemalloc.stop()


def test_a_long_example_is_tried_whole_and_what_takes_many_readings_on_parts_of_it() -> None:
    questions = 0

    class Counting(faulty.Lines):
        def find(self, window: Window) -> Any:
            nonlocal questions
            questions += 1
            return super().find(window)

    frames = [b"ab"] * 1000 + [b""] + [b"ab"] * 1000 + [b"odd one"] + [b"ab"] * 1000
    example = b"".join(frame + b"\r\n" for frame in frames)
    suite = Suite(Counting(), examples={example: frames})
    parts = suite.parts_of(example)
    assert parts[0] == example[:12]
    assert parts[-1] == example[-12:]
    assert any(b"\r\n\r\n" in part for part in parts)
    assert any(b"\r\nodd one\r\n" in part for part in parts)
    assert sum(map(len, parts)) < 200
    for check in conformance_checks(Counting(), examples={example: frames}):
        questions = 0
        check.run()
        assert questions < 8 * len(example), check.name


@pytest.mark.parametrize(("few", "pieces"), [(False, 5000), (True, 1667)])
def test_a_long_frame_is_cut_byte_by_byte_or_in_few_pieces_if_it_is_read_often(few: bool, pieces: int) -> None:
    data = bytes(range(250)) * 20
    ways = list(Suite(faulty.Lines()).chunkings(data, few=few))
    assert ways[0] == [data]
    assert {b"".join(chunks) for chunks in ways} == {data}
    sizes = sorted(map(len, ways))
    assert sizes[-1] == pieces
    assert sum(sizes) < 2 * pieces


def test_a_defect_deep_in_a_long_example_is_found_as_well() -> None:
    class Slips(faulty.Lines):
        def split(self, window: Window) -> Any:
            frames, rest = super().split(window)
            return [frame.replace(b"odd", b"even") for frame in frames], rest

    frames = [b"ab"] * 700 + [b"odd"] + [b"abcdef"] * 700
    example = b"".join(frame + b"\r\n" for frame in frames)
    with pytest.raises(ConformanceError, match="split disagrees with find"):
        check_framer(Slips(), examples={example: frames})


def test_a_receive_of_no_bytes_blocks_and_is_no_end() -> None:
    wire = MemoryWire(Wire(chunks=[0, 2]))
    wire.send([b"abc"])
    wire.end()
    received = []
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            wire.receive(100)
        received.append(wire.receive(100))
    assert (received, wire.receive(100)) == ([b"ab", b"c"], b"")


@pytest.mark.parametrize("name", ["chunks", "takes", "capacity", "end"])
def test_a_wire_refuses_what_is_not_a_number_of_bytes(name: str) -> None:
    usual: Any = Wire(capacity=0, end=0, chunks=[0, 1], takes=(0, 1))
    replace(usual, **{name: ()} if name in ("chunks", "takes") else {name: None})
    for size in (-1, 1.5):
        given: Any = {name: [3, size] if name in ("chunks", "takes") else size}
        with pytest.raises(ValueError, match=rf"{name} is {size}; it must be a whole number of bytes, 0 or more"):
            Wire(**given)


def test_chunks_are_described_by_their_sizes() -> None:
    ways = {"1 chunk of 2 bytes": [b"ab"], "2 chunks of 1 + 3 bytes": [b"a", b"bcd"]}
    ways[f"13 chunks of {'1 + ' * 12}... bytes"] = [b"a"] * 13
    for text, chunks in ways.items():
        assert str(ConformanceError("", chunks=chunks)).endswith(f"chunks:   {text}")


# Transcripts


CHUNKS = [b"on", b"e\ntwo", b"\n\xff\nthr"]
LINE = Line(last=False)


def test_frames_errors_and_the_rest_are_written_down_in_order() -> None:
    said = transcript(LINE, CHUNKS)
    frames = [Event("frame", "one", 4), Event("frame", "two", 8)]
    errors = [Event("PayloadError", b"\xff", 8), Event("IncompleteFrame", (3, None), 10)]
    assert said == Transcript(frames + errors, discards=[], leftover=b"thr")
    skipped = transcript(LINE, [b"long line\nshort\n"], max_size=6, on_oversize="discard")
    assert skipped == Transcript([Event("frame", "short", 16), Event("end")], [(0, 6, 10)], b"")


def test_parts_are_payloads_with_the_place_where_the_next_frame_begins() -> None:
    said = transcript(LINE, CHUNKS, by="part")
    payloads = [(b"one", 4), (b"two", 8), (b"\xff", 10)]
    assert said.events[:3] == [Event("payload", payload, place) for payload, place in payloads]
    assert said.leftover is None


def test_a_frame_of_no_bytes_is_read_once() -> None:
    assert transcript(Exactly(0), [b"abc"]).events == [Event("frame", b"", 0), Event("end")]
    assert transcript(UntilClose(), []).events == [Event("frame", b"", 0), Event("end")]
    may_be_empty = faulty.faulty("MayBeEmpty", can_be_empty=True)()
    assert [event.value for event in transcript(may_be_empty, [b"a\r\nb\r\n"]).events[:2]] == [b"a", b"b"]


def test_a_way_to_read_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="by is 'frames'"):
        transcript(LINE, CHUNKS, by="frames")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["frame", "batch", "part"])
def test_a_frame_too_large_for_good_ends_the_transcript(by: str) -> None:
    said = transcript(faulty.CopiesEverything(), [b"far too long\r\n"] * 2, max_frame_size=3, by=by)  # type: ignore[arg-type]
    assert said.events[-1] == (Event("end") if by == "part" else Event("FrameTooLarge", (3, None, False), 0))


ONE = transcript(LINE, [b"a\n"])


@pytest.mark.parametrize(("expected", "other", "one"), [
    ("event 1: frame 'b' at offset 2", transcript(LINE, [b"b\n"]), "event 1: frame 'a' at offset 2"),
    ("event 1: frame 'a' at offset 3", ONE._replace(events=[Event("frame", "a", 3)]), "event 1: frame 'a' at offset 2"),
    ("event 1: a clean end", transcript(LINE, []), "event 1: frame 'a' at offset 2"),
    ("event 2: frame 'b' at offset 4", transcript(LINE, [b"a\nb\n"]), "event 2: a clean end"),
    ("event 2: nothing more", ONE._replace(events=ONE.events[:1]), "event 2: a clean end"),
    ("left over: b'b'", ONE._replace(leftover=b"b"), "left over: b''"),
    ("skipped [(0, 3, 5)]", ONE._replace(discards=[(0, 3, 5)]), "skipped []"),
], ids=range(7))  # fmt: skip
def test_the_first_difference_is_told(expected: str, other: Transcript, one: str) -> None:
    hold_alike(other, other, "", [])
    with pytest.raises(ConformanceError, match="they differ") as caught:
        hold_alike(other, ONE, "they differ", [])
    assert (caught.value.expected, caught.value.got) == (expected, one)


def test_only_frames_of_a_batch_have_no_place() -> None:
    hold_alike(ONE._replace(events=[Event("frame", "a"), Event("end")]), ONE, "", [])
    one, other = (Transcript([Event("payload", b"a", place)], [], b"") for place in (None, 2))
    with pytest.raises(ConformanceError):
        hold_alike(one, other, "", [])


def test_frames_of_another_class_differ_and_errors_of_the_same_class_do_not() -> None:
    assert not any(same_frame(1, other) for other in (2, 1.0, True, float("nan")))
    assert same_frame(ValueError("one"), ValueError("other"))


# Speed


class TakesTwo(Exactly):
    """Takes two frames for one where a second one follows."""

    def find(self, window: Any) -> Any:
        return super().find(window) if len(window.data) == 2 else (window.start, window.start + 4, window.start + 4)


def test_a_framer_stands_beside_length_prefix_and_line_on_frames_of_the_same_sizes() -> None:
    report = compare_speed(Delimiter(b";"), b"abc;de;" * 4, rounds=2)
    assert list(report.speeds) == ["delimiter:;", "length-prefix", "line:encoding=none"]
    assert (3.5, 0) == (report.size, report.frames % 8)
    own, reference, _ = report.speeds.values()
    assert report.ratios == (own[0] / reference[0], own[1] / reference[1])
    assert min(own) > 0


@pytest.mark.parametrize(("framer", "stream", "error", "told"), [
    (Delimiter(b"\n"), b"", ValueError, "it cannot be repeated"),
    (UntilClose(), b"abc", ValueError, "it cannot be repeated"),
    (TakesTwo(2), b"ab", ValueError, "it cannot be repeated"),
    (Msgpack(), b"\xc1", FramingError, "0xc1"),
    (Delimiter(b"\n"), b"a\nb", IncompleteFrame, "1 byte"),
], ids=str)  # fmt: skip
def test_a_stream_must_have_frames_bear_repetition_and_be_readable(
    framer: ReadCondition[Any], stream: bytes, error: Any, told: str
) -> None:
    with pytest.raises(error, match=told):
        compare_speed(framer, stream)
