"""Streams drawn by hypothesis, for tests of your own and for fuzzing: all ways to read a stream must agree.

``python -m framestream.testing.fuzz`` fuzzes framers by their spec strings, for as long as you like. All of this
needs hypothesis.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from framestream.decoder import POLICIES
from framestream.errors import check_count, check_seconds, counted
from framestream.framer import Framer, ReadCondition
from framestream.registry import get_framer
from framestream.testing.contract import ConformanceError, Untried, describe_error, describe_framer, encode, under
from framestream.testing.driver import (
    UNLIMITED,
    WAYS,
    By,
    Reading,
    Transcript,
    hold_alike,
    read_whole,
    transcript,
)
from framestream.testing.streams import LIMITS, STEPS, check_division
from framestream.testing.suite import Suite, arguments_of, cut_at, pairs, spoil

_BATCH = 100  # streams between looks at the clock
_MOST_CUTS = 8
_MOST_SEEDS = 4

# Strategies --------------------------------------------------------------------------------------


class WireStream(NamedTuple):
    """Frames, and the bytes that carry them.

    Attributes:
        chunks: the bytes, cut at random.
        frames: the frames in them.
    """

    chunks: list[bytes]
    frames: list[Any]


def chunkings(data: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Return lists of chunks that join to `data`, some of them empty; the simplest has one chunk.

    `data` may be a strategy itself.
    """
    drawn = data if isinstance(data, st.SearchStrategy) else st.just(data)
    return drawn.flatmap(_cut)


@st.composite
def wire_streams(
    draw: st.DrawFn, framer: Framer[Any], frames: st.SearchStrategy[Any], *, max_frames: int = 8
) -> WireStream:
    """Return streams of up to `max_frames` frames, written by the framer and cut at random::

        @given(wire_streams(Netstring(), st.binary()))
        def test_netstrings_come_back(stream):
            assert list(iter_frames(stream.chunks, Netstring())) == stream.frames

    Args:
        framer: writes the frames.
        frames: the frames; those that the framer refuses are left out. If it refuses nearly all, hypothesis
            ends the test: it would pass on streams without frames.
        max_frames: how many there are at most.
    """
    drawn = draw(st.lists(frames, min_size=1, max_size=max_frames))
    written = [(frame, wire) for frame in drawn if (wire := encode(framer, frame)) is not None]
    hypothesis.assume(written)
    chunks = draw(chunkings(b"".join(wire for _, wire in written)))
    return WireStream(chunks, [frame for frame, _ in written])


def spoilt_streams(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return streams of runs of one of the seeds, with bytes left out and put in between them, or of whole seeds."""
    seed = st.sampled_from(seeds)
    return st.builds(spoil, seed, st.randoms(use_true_random=False)) | st.lists(seed, max_size=_MOST_SEEDS).map(
        b"".join
    )


def _cut(data: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(data)), max_size=_MOST_CUTS)
    return places.map(lambda cuts: cut_at(data, cuts))


# Fuzzing -----------------------------------------------------------------------------------------


@dataclass
class FuzzReport:
    """The result of a fuzz run.

    Attributes:
        framer: the framer, as its spec string.
        iterations: streams spoilt, cut and read.
        seen: what was read from them, by kind: frames, ends and errors, and how often.
        seconds: how long it took.
    """

    framer: str
    iterations: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.iterations / self.seconds if self.seconds else 0
        seen = ", ".join(f"{number} {kind}" for kind, number in self.seen.most_common())
        return f"{self.framer}: {counted(self.iterations, 'stream')} ({rate:.0f} per second): {seen or 'nothing'}"


def fuzz_framer(
    framer: ReadCondition[Any],
    seeds: Sequence[bytes],
    *,
    iterations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> FuzzReport:
    """Spoil `seeds`, cut them anywhere, and compare every way of reading them.

    Each stream is read through `FrameDecoder` as a whole and in chunks, by one of its methods, some with
    a small limit and one of the four policies, some against a driver that calls `find` itself, and some as an
    archive that is divided into splits. The results must be frames and framing errors, the same ones for the same
    bytes.

    Args:
        framer: a read condition or framer.
        seeds: streams to start from.
        iterations: how many streams to try; 1 000 unless `seconds` is given.
        seconds: how long to run, instead.
        seed: for everything random. The same seed tries the same streams in the same way.

    Raises:
        ConformanceError: two readings disagree, or the framer broke the contract. Hypothesis has made
            the stream in the message as short as possible.
        TypeError: a seed is not bytes.
        ValueError: there is no seed, or nothing would be tried.
    """
    seeds = [wire for wire, _ in pairs("seeds", seeds, NoneType, "bytes")]
    if not seeds:
        raise ValueError("seeds is empty; there must be a stream to start from")
    check_count("iterations", 1 if iterations is None else iterations, least=1)
    check_seconds("seconds", seconds or 0)
    report = FuzzReport(describe_framer(framer))
    began = time.monotonic()
    if seconds is None:
        _run(framer, seeds, 1000 if iterations is None else iterations, seed, report)
    while seconds is not None and time.monotonic() - began < seconds:
        _run(framer, seeds, _BATCH, seed, report)
        seed += 1
    report.seconds = time.monotonic() - began
    return report


def _run(framer: ReadCondition[Any], seeds: Sequence[bytes], iterations: int, seed: int, report: FuzzReport) -> None:
    chunked = st.fixed_dictionaries(
        {"by": st.sampled_from(WAYS[:3])},
        optional={"max_size": st.integers(0, 24), "on_oversize": st.sampled_from(POLICIES)},
    )
    mixed = st.fixed_dictionaries({"seed": st.integers(0, 1 << 16)})
    divided = st.fixed_dictionaries({"step": st.sampled_from(STEPS), "limit": st.sampled_from(LIMITS)})
    # The literal reading ignores the framer's own limit.
    ways = chunked | divided | (mixed if framer.max_size is None else st.nothing())

    @hypothesis.seed(seed)
    @settings(
        max_examples=iterations,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(chunkings(spoilt_streams(seeds)), ways)
    def agree(chunks: list[bytes], way: dict[str, Any]) -> None:
        try:
            with under("fuzz", framer):
                read = _compare(framer, chunks, way)
        except ConformanceError as error:
            error.defect += f" (seed {seed})"
            error.data, error.chunks = b"".join(chunks), chunks
            raise
        report.iterations += 1
        report.seen.update(event.kind for event in read.events)

    try:
        agree()
    except Flaky as error:
        raise ConformanceError(
            f"the same bytes are read otherwise when they come again (seed {seed})",
            got=describe_error(error),
            hint="keep progress in NeedMore(resume=..., memo=...), not in the framer and not in a global",
        ) from None


def _compare(framer: ReadCondition[Any], chunks: list[bytes], way: dict[str, Any]) -> Transcript:
    """Read a stream in two ways, and return what one of them gives.

    The options of the way are those of `check_division` or of `transcript`; with a seed, it is the literal reading
    and methods chosen at random.
    """
    whole = b"".join(chunks)
    if "step" in way:
        try:
            return check_division(framer, chunks, **way)
        except Untried:  # it has no end of frames
            return transcript(framer, chunks)
    expected: Transcript | Reading
    if "seed" in way:
        expected = read_whole(framer, whole)
        by: By = "frame" if expected.is_refused else "mixed"
        got = transcript(framer, chunks, by=by, max_frame_size=UNLIMITED, **way)
    else:
        expected, got = transcript(framer, [whole], **way), transcript(framer, chunks, **way)
    told = ", ".join(f"{name}={value!r}" for name, value in way.items())
    hold_alike(expected, got, f"two readings of the same bytes disagree: as a whole, and with {told}", chunks)
    return got


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz each framer in turn; return 0 if none failed, 1 if one did, 2 if one does not exist."""
    about = "Spoil streams, cut and divide them anywhere, and check that all ways to read them agree."
    parser = argparse.ArgumentParser(prog="python -m framestream.testing.fuzz", description=about)
    add = parser.add_argument
    add("spec", nargs="+", help="a framer")
    add("--iterations", type=int, default=20_000, help="streams to try, all framers together")
    add("--seconds", type=float, help="time to run, all framers together, instead")
    add("--seed", type=int, default=0, help="another seed tries other streams")
    add("--seeds", nargs="+", default=(), metavar="FILE", help="streams to start from")
    options = parser.parse_args(arguments)
    try:
        framers = [get_framer(spec) for spec in options.spec]
        check_count("--iterations", options.iterations, least=1)
        check_seconds("--seconds", options.seconds or 0)
        streams = [Path(name).read_bytes() for name in options.seeds]
    except (ValueError, OSError) as error:  # a SpecError is a ValueError
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    seconds = None if options.seconds is None else options.seconds / len(framers)
    status = 0
    for framer in framers:
        iterations = -(-options.iterations // len(framers))
        try:
            seeds = streams or Suite(framer, **arguments_of(type(framer))).seeds
            found: object = fuzz_framer(framer, seeds, iterations=iterations, seconds=seconds, seed=options.seed)
        except ConformanceError as error:
            found, status = error, 1
        print(found, flush=True)
    return status


if __name__ == "__main__":  # pragma: no cover  # all it does is in main
    sys.exit(main())
