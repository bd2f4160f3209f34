"""FrameDecoder, with framers that are drawn: every chunking and every front end tells the same."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cutting import event, is_event, told_by
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_conditions import Silent

from framestream import FramingError, NeedMore, PayloadError, ReadCondition, Window, iter_frames
from framestream.framer import PADDING, Decode
from framestream.testing.driver import read_whole


@dataclass(frozen=True)
class Drawn(ReadCondition[bytes]):
    """One of many framings that keep the contract. Spaces and ``#...$`` before a frame are nobody's.

    Attributes:
        kind: ``delimited`` ends at a semicolon, ``declared`` begins with a digit, its size, ``nested`` ends
            with the parenthesis that closes the first.
        trailer: must stand after the payload; the decoder checks it.
        value: who decodes: the condition, the span, or `find` itself.
        final: the stream may end after a frame that the span decodes.
        error: what decoding raises for an ``x``.
        resumes: the search goes on where it stopped, with its state in the memo.
        settles: payload is passed on before the end is known.
        refuses: an exclamation mark in the payload is an error.
        greedy: spaces are one span of padding, else one each.
    """

    kind: str = "delimited"
    opening: bytes = b""
    trailer: bytes = b""
    value: str = "condition"
    final: bool = True
    error: Any = KeyError
    resumes: bool = True
    settles: bool = False
    refuses: bool = True
    greedy: bool = False
    overhead: int = 0
    max_size: int | None = None

    def decode(self, payload: bytes) -> bytes:
        if b"x" in payload:
            raise self.error("x")
        return payload.upper()

    def write(self, payload: bytes) -> bytes:
        if self.kind == "nested":
            return b"(%b)%b" % (payload, self.trailer)
        size = b"%d" % len(payload) if self.kind == "declared" else b""
        return self.opening + size + payload + b";" * (not size) + self.trailer

    def find(self, window: Window) -> Any:
        data, start = window.data, window.start
        at, memo = (window.resume, window.memo) if self.resumes else (start, None)
        first = start
        if memo is None and not window.taken:
            byte = bytes(data[start : start + 1])
            if byte == b" ":
                end = start + 1
                while self.greedy and data[end : end + 1] == b" ":
                    end += 1
                return start, end, end, PADDING
            if byte == b"#":
                end = data.find(b"$", start)
                return NeedMore() if end < 0 else (start, start, end + 1, PADDING)
            if self.opening:
                if not byte:
                    return NeedMore(1)
                if byte != self.opening:
                    raise FramingError("no opening")
                first += 1
        elif not window.taken:
            first += len(self.opening)
        return getattr(self, self.kind)(window, first, max(at, first), memo or 0)

    def delimited(self, window: Window, first: int, at: int, memo: int) -> Any:
        data = window.data
        end = data.find(b";", at)
        self.refuse(data, at, end)
        return self.more(window, first, 1) if end < 0 else self.span(window, first, end, end + 1, b";")

    def nested(self, window: Window, first: int, at: int, depth: int) -> Any:
        data = window.data
        for end in range(at, len(data)):
            depth += (data[end] == ord("(")) - (data[end] == ord(")"))
            if depth <= 0:
                self.refuse(data, at, end)
                return self.span(window, first, end, end + 1, bytes(data[end : end + 1]))
        self.refuse(data, at, -1)
        return self.more(window, first, depth)

    def declared(self, window: Window, first: int, at: int, memo: int) -> Any:
        digit = bytes(window.data[first : first + 1])
        if not digit:
            return NeedMore(len(self.opening) + 1)
        if not digit.isdigit():
            raise FramingError("no digit", position=first)
        return self.span(window, first + 1, first + 1 + int(digit), first + 1 + int(digit), b"")

    def refuse(self, data: bytes | bytearray, at: int, end: int) -> None:
        bad = data.find(b"!", at, len(data) if end < 0 else end)
        if self.refuses and bad >= 0:
            raise FramingError("refused", position=bad)

    def more(self, window: Window, first: int, memo: int) -> NeedMore:
        size = len(window.data)
        if size < first + (size == window.start):
            return NeedMore()
        if not self.resumes:
            return NeedMore()
        settled = size if self.settles and size > first else None
        return NeedMore(resume=size, memo=memo, settled=settled, payload_start=first)

    def decoding(self, trailer: bytes) -> Decode:
        return Decode(self.decode, trailer=trailer, final=self.final)

    def span(self, window: Window, first: int, stop: int, end: int, delimiter: bytes) -> Any:
        if self.trailer:
            return first, stop, end + len(self.trailer), self.decoding(delimiter + self.trailer)
        if self.value == "span":
            return first, stop, end, self.decoding(b"")
        if self.value == "find" and not window.taken and end <= len(window.data):
            return first, stop, end, (b"found", bytes(window.data[first:stop]))
        if self.value == "find" and not window.taken and self.kind == "declared":
            return NeedMore(end - window.start)
        return first, stop, end


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
    for way in ("next_frame", "next_batch", "mixed"):
        chunks = draw(chunkings(wire))
        seen, seen_places, *seen_rest = told_by(condition, chunks, way, draw=draw, takes=draw(st.booleans()), **options)
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
    seen = told_by(condition, data.draw(chunkings(wire)), "next_part", draw=data.draw, max_frame_size=limit)
    assert seen == told_by(condition, [wire], "next_part", max_frame_size=limit)
    reading = read_whole(condition, wire)
    events, payloads = broken_by(seen[0]), [cut.payload for cut in reading.cuts]
    if "FrameTooLarge" not in events:
        assert events == [reading.outcome] * (reading.outcome != "end")
        assert seen[0][: len(payloads)] == payloads
