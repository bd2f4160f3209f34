"""Streams drawn by hypothesis, for tests of your own and for fuzzing: all ways to read a stream must agree.

``python -m framestream.testing.fuzz`` fuzzes framers by their spec strings, for as long as you like; without
one, every built-in framer, under many options, and every one that is installed. All of this needs hypothesis.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from framestream.errors import SpecError, counted
from framestream.framer import Framer, ReadCondition
from framestream.registry import available_framers, get_framer
from framestream.testing.contract import ConformanceError, Untried, describe_error, describe_framer, encode, under
from framestream.testing.driver import (
    POLICIES,
    UNLIMITED,
    WAYS,
    Reading,
    Transcript,
    hold_alike,
    read_whole,
    transcript,
)
from framestream.testing.streams import LIMITS, STEPS, Division, check_division
from framestream.testing.suite import TELLING, cut_at, seeds_for, spliced

# `available` is not among them: its frames depend on the chunks by design.
# A table is easier to read than forty literals.
BUILT_IN_SPECS = r"""
exactly:3  fixed-length:4  until-close
msgpack  msgpack:raw,use-list=no,strict-map-key=no,timestamp=3  msgpack:max=32
delimiter:"\0"  delimiter:--END--  delimiter:"\r\n","\n"  delimiter:";","\r\n",END,keep
delimiter:"\r\n",";",last  delimiter:"\n",max=9
line  line:newline=crlf,last=no  line:encoding=none,keep  line:encoding=latin-1,newline=lf
line:encoding=shift-jis,errors=replace
length-prefix  length-prefix:1  length-prefix:2,little  length-prefix:3  length-prefix:8,max=64
length-prefix:2,offset=2,adjust=-1,strip=0  length-prefix:2,includes-header  length-prefix:1,adjust=2,strip=3
length-prefix:format=varint  length-prefix:3,format=varint,canonical  length-prefix:4,format=hex
length-prefix:format=decimal,terminator=":"  length-prefix:format=hex,terminator="\r\n",canonical
regex:"\r?\n\r?\n"  regex:"[0-9]{1,3};"  regex:"([a-z]=[0-9])\n"  regex:"END|(a|b)[c-e]{1,2}x?y"
first-of(when(length-prefix:2):"\0",line:last=no)  first-of(msgpack)
first-of(length-prefix:format=decimal,terminator=":",regex:"\n")  when(line:encoding=none):$,"*"
sequence(line:last=no,length-prefix:2)  sequence(delimiter:--)
""".split()  # noqa: SIM905

_BATCH = 100  # streams between looks at the clock
_MOST_CUTS = 8
_MOST_SEEDS = 4
_MOST_REFUSED = 100

# Strategies --------------------------------------------------------------------------------------


class WireStream(NamedTuple):
    """Frames, and the bytes that carry them.

    Attributes:
        chunks: the bytes, cut at random.
        frames: the frames in them.
    """

    chunks: list[bytes]
    frames: list[Any]

    @property
    def wire(self) -> bytes:
        """All the bytes."""
        return b"".join(self.chunks)


def chunkings(data: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Return lists of chunks that join to `data`, some of them empty; the simplest has one chunk.

    `data` may be a strategy itself.
    """
    drawn = data if isinstance(data, st.SearchStrategy) else st.just(data)
    return drawn.flatmap(_cut)


def wire_streams(
    framer: Framer[Any], frames: st.SearchStrategy[Any], *, max_frames: int = 8
) -> st.SearchStrategy[WireStream]:
    """Return streams of up to `max_frames` frames, written by the framer and cut at random::

        @given(wire_streams(Netstring(), st.binary()))
        def test_netstrings_come_back(stream):
            assert list(iter_frames(stream.chunks, Netstring())) == stream.frames

    Args:
        framer: writes the frames.
        frames: the frames; those that the framer refuses are left out. If it refuses every one of the first
            100, that is a `ConformanceError`: a test of streams without frames would pass.
        max_frames: how many there are at most.
    """
    refused, accepted = 0, False

    def written(drawn: list[Any]) -> st.SearchStrategy[WireStream]:
        # Left out instead of filtered: a framer may refuse nearly all, and hypothesis would report that.
        encoded = [(frame, wire) for frame in drawn if (wire := encode(framer, frame)) is not None]
        chunks = chunkings(b"".join(wire for _, wire in encoded))
        return chunks.map(lambda cut: checked(WireStream(cut, [frame for frame, _ in encoded]), drawn))

    # Hypothesis does not allow to stop before everything is drawn that was drawn before.
    def checked(stream: WireStream, drawn: list[Any]) -> WireStream:
        nonlocal refused, accepted
        accepted = accepted or bool(stream.frames)
        refused += len(drawn) - len(stream.frames)
        if refused >= _MOST_REFUSED and not accepted:
            told = f"writes none of {counted(refused, 'frame')} drawn for it"
            raise ConformanceError(f"{describe_framer(framer)} {told}", expected="frames that encode accepts")
        return stream

    return st.lists(frames, max_size=max_frames).flatmap(written)


def spoilt_streams(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return streams of runs of one of the seeds, with bytes left out and put in between them, or of whole seeds."""
    seed = st.sampled_from(seeds)
    return seed.flatmap(_spoilt) | st.lists(seed, max_size=_MOST_SEEDS).map(b"".join)


def _spoilt(seed: bytes) -> st.SearchStrategy[bytes]:
    telling = st.sampled_from([bytes([byte]) for byte in TELLING])
    inserted = st.just(b"") | telling | st.binary(max_size=4)
    # The size comes first: hypothesis then shortens a run from its beginning, too, as it leaves out more.
    runs = st.lists(st.tuples(st.integers(0, len(seed)), st.integers(0, 8), inserted), max_size=_MOST_CUTS)
    return runs.map(lambda drawn: spliced(seed, drawn))


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
        frames: frames read from them.
        errors: class names of the errors they ended with, and how often.
        seconds: how long it took.
    """

    framer: str
    iterations: int = 0
    frames: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, read: Transcript) -> None:
        """Count a stream, by what was read of it."""
        self.iterations += 1
        self.frames += len(read.events) - 1
        if (last := read.events[-1].kind) != "end":
            self.errors[last] += 1

    def __str__(self) -> str:
        rate = self.iterations / self.seconds if self.seconds else 0
        errors = ", ".join(f"{number} {name}" for name, number in self.errors.most_common())
        return (
            f"{self.framer}: {counted(self.iterations, 'stream')} ({rate:.0f} per second), "
            f"{counted(self.frames, 'frame')}, {errors or 'no errors'}"
        )


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
    """
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
    mixed = st.nothing() if framer.max_size is not None else st.integers(0, 1 << 16)
    steps, limits = st.sampled_from(STEPS), st.sampled_from(LIMITS)
    divided = st.builds(Division, st.just(()), steps, limits, st.sampled_from(("raise", "column")))

    @hypothesis.seed(seed)
    @settings(
        max_examples=iterations,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(chunkings(spoilt_streams(seeds)), chunked | mixed | divided)
    def agree(chunks: list[bytes], way: Any) -> None:
        try:
            with under("fuzz", framer):
                report.add(_compare(framer, chunks, way))
        except ConformanceError as error:
            error.defect += f" (seed {seed})"
            error.data, error.chunks = b"".join(chunks), chunks
            raise

    try:
        agree()
    except Flaky as error:
        raise ConformanceError(
            f"the same bytes are read otherwise when they come again (seed {seed})",
            got=describe_error(error),
            hint="keep progress in NeedMore(resume=..., memo=...), not in the framer and not in a global",
        ) from None


def _compare(framer: ReadCondition[Any], chunks: list[bytes], way: Any) -> Transcript:
    """Read a stream in two ways, and return what the second gives.

    Options of `transcript` stand for the whole and these chunks, a number for the literal reading and methods chosen at
    random, and a `Division` for an archive and its splits.
    """
    whole = [b"".join(chunks)]
    if isinstance(way, Division):
        with suppress(Untried):
            return check_division(framer, replace(way, chunks=chunks))
        way = 0
    expected: Transcript | Reading
    if isinstance(way, dict):
        expected, got = transcript(framer, whole, **way), transcript(framer, chunks, **way)
    else:
        expected = read_whole(framer, whole[0])
        got = transcript(framer, chunks, by="mixed", seed=way, max_frame_size=UNLIMITED)
    hold_alike(expected, got, "two readings of the same bytes disagree", chunks)
    return got


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz each framer in turn; return 0 if none failed, 1 if one did, 2 if one does not exist."""
    about = "Spoil streams, cut and divide them anywhere, and check that all ways to read them agree."
    parser = argparse.ArgumentParser(prog="python -m framestream.testing.fuzz", description=about)
    add = parser.add_argument
    add("spec", nargs="*", help="a framer; every built-in and every installed one if none is given")
    add("--iterations", type=int, default=20_000, help="streams to try, all framers together")
    add("--seconds", type=float, help="time to run, all framers together, instead")
    add("--seed", type=int, default=0, help="another seed tries other streams")
    add("--seeds", nargs="+", default=(), metavar="FILE", help="streams to start from")
    options = parser.parse_args(arguments)
    installed = [info.name for info in available_framers() if info.distribution != "framestream"]
    try:
        framers = [get_framer(spec) for spec in options.spec or [*BUILT_IN_SPECS, *installed]]
    except SpecError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    streams = [Path(name).read_bytes() for name in options.seeds]
    seconds = None if options.seconds is None else options.seconds / len(framers)
    status = 0
    for framer in framers:
        seeds = streams or list(getattr(framer, "examples", ())) or seeds_for(framer)
        iterations = -(-options.iterations // len(framers))
        try:
            found: object = fuzz_framer(framer, seeds, iterations=iterations, seconds=seconds, seed=options.seed)
        except ConformanceError as error:
            found, status = error, 1
        print(found, flush=True)
    return status


if __name__ == "__main__":  # pragma: no cover  # all it does is in main
    sys.exit(main())
