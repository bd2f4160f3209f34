"""FrameDecoder, with framers that are drawn: every chunking and every front end tells the same."""

from __future__ import annotations

import zlib
from itertools import pairwise
from random import Random
from typing import Any

from cutting import event, is_event, told_by
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_conditions import Drawn, Silent

from framestream import FramingError, PayloadError, iter_frames
from framestream.testing.driver import read_whole

CONDITIONS = st.builds(
    Drawn,
    kind=st.sampled_from(["delimited", "declared", "nested"]),
    opening=st.sampled_from([b"", b"<"]),
    trailer=st.sampled_from([b"", b"", b".", b"..."]),
    value=st.sampled_from(["condition", "span", "find"]),
    final=st.sampled_from([True, True, False]),
    error=st.sampled_from([ValueError, KeyError, zlib.error, Silent, PayloadError, StopIteration]),
    resumes=st.booleans(),
    settles=st.booleans(),
    refuses=st.booleans(),
    greedy=st.booleans(),
    overhead=st.sampled_from([0, 0, 1, 5]),
    max_size=st.sampled_from([None, None, 0, 3, 9]),
)
JUNK = st.sampled_from([b"a", b";", b".", b"!", b"x", b"<", b"(", b")", b"9", b" ", b"   ", b"#", b"$", b"#cc$"])
PAYLOADS = st.sampled_from(
    [b"", b"a", b"ab", b"abc", b"abcd", b"abcdefgh", b"x", b"axb", b"a!", b"abcdefgh!", b" ", b"()"]
)


@st.composite
def wires(draw: Any, condition: Drawn) -> bytes:
    """Frames of the condition, with something wrong or padded between them now and then."""
    pieces = draw(st.lists(PAYLOADS.map(condition.write) | JUNK, max_size=12))
    return b"".join(pieces) * draw(st.sampled_from([1, 1, 9]))


CHANCES = st.integers(0, 1 << 32).map(Random)
LIMITS = st.sampled_from([0, 1, 2, 3, 5, 8, 99])
POLICIES = st.sampled_from(["raise", "discard", "truncate", "close"])


@st.composite
def chunkings(draw: Any, wire: bytes) -> list[bytes]:
    cuts = draw(st.just(range(len(wire))) | st.sets(st.integers(0, len(wire)), max_size=8).map(sorted))
    return [wire[start:stop] for start, stop in pairwise([0, *cuts, len(wire)])]


def broken_by(out: list[Any]) -> list[str]:
    return [each[0] for each in out if is_event(each) and each[0] != "PayloadError"]


@settings(max_examples=250, deadline=None)
@given(CONDITIONS, LIMITS, POLICIES, st.data())
def test_every_chunking_and_every_front_end_tells_the_same(
    condition: Drawn, limit: int, policy: Any, data: st.DataObject
) -> None:
    draw, options = data.draw, {"max_frame_size": limit, "on_oversize": policy}
    wire = draw(wires(condition))
    out, places, *rest = told_by(condition, [wire], "next_frame", **options)
    if policy in ("raise", "close") and "FrameTooLarge" not in broken_by(out):
        reading = read_whole(condition, wire)
        assert broken_by(out) == [reading.outcome] * (reading.outcome != "end")
        assert (rest[1], [(cut.start, cut.stop) for cut in reading.cuts]) == (
            reading.leftover,
            [place for place in places if place],
        )
        told = [None if is_event(each) else each for each in out][: len(reading.cuts)]
        assert told == [None if isinstance(value, Exception) else value for value in reading.values()]
    for ways in (["next_frame"], ["next_batch"], ["next_frame", "next_batch", "pop"]):
        chunks, takes = draw(chunkings(wire)), draw(st.booleans())
        seen, seen_places, *seen_rest = told_by(condition, chunks, *ways, chance=draw(CHANCES), takes=takes, **options)
        assert (seen, seen_rest) == (out, rest)
        # Of a batch it is the place of the last frame.
        assert [place or places[at] for at, place in enumerate(seen_places)] == places
    frames: list[Any] = []
    bad: list[Any] = []
    try:
        frames.extend(iter_frames(draw(chunkings(wire)), condition, on_payload_error=bad.append, **options))
    except FramingError as error:
        bad.append(error)
    # An error of the stream ends the iteration, also where a decoder could go on.
    ends = [at for at, each in enumerate(out, 1) if is_event(each) and each[0] != "PayloadError"]
    out = out[: ends[0]] if ends else out
    assert frames == [each for each in out if not is_event(each)]
    assert [event(error) for error in bad] == [each for each in out if is_event(each)]


@settings(max_examples=250, deadline=None)
@given(CONDITIONS, LIMITS, st.data())
def test_parts_are_the_same_for_every_chunking(condition: Drawn, limit: int, data: st.DataObject) -> None:
    wire = data.draw(wires(condition))
    chunks, chance = data.draw(chunkings(wire)), data.draw(CHANCES)
    seen = told_by(condition, chunks, "next_part", chance=chance, max_frame_size=limit)
    assert seen == told_by(condition, [wire], "next_part", max_frame_size=limit)
    reading = read_whole(condition, wire)
    events, payloads = broken_by(seen[0]), [cut.payload for cut in reading.cuts]
    if "FrameTooLarge" not in events:
        assert events == [reading.outcome] * (reading.outcome != "end")
        assert seen[0][: len(payloads)] == payloads
