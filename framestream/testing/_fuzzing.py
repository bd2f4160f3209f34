"""Fuzzing: spoil streams at random, cut them at random, and see that every reading of them agrees."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

from framestream.framer import ReadCondition
from framestream.testing._chunkings import random_chunks
from framestream.testing._comparing import difference, difference_from_reading
from framestream.testing._failure import ConformanceError, describe_framer
from framestream.testing._mutations import mutate
from framestream.testing._reference import read_chunks
from framestream.testing._transcript import POLICIES, UNLIMITED, WAYS, Transcript, transcript

# Given chunks, the transcript of these chunks and, if it is not what it must be, the difference.
Trial: TypeAlias = "Callable[[list[bytes]], tuple[Transcript, tuple[str, str] | None]]"

_ROUNDS_BETWEEN_LOOKS_AT_THE_CLOCK = 64


@dataclass
class FuzzReport:
    """What a fuzz loop did.

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

    def __str__(self) -> str:
        rate = self.iterations / self.seconds if self.seconds else 0
        errors = ", ".join(f"{number} {name}" for name, number in self.errors.most_common())
        return (
            f"{self.framer}: {self.iterations} streams ({rate:.0f} per second), {self.frames} frames, "
            f"{errors or 'no errors'}"
        )


def fuzz_framer(
    framer: ReadCondition[Any],
    seeds: Sequence[bytes],
    *,
    iterations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> FuzzReport:
    """Spoil `seeds` at random, cut them at random, and compare every way of reading them.

    Each stream is read through `FrameDecoder` as a whole and in chunks, by one of its methods, some with
    a small limit and one of the four policies, some against the reference driver that calls `find`
    itself. Whatever comes must be frames and framing errors, the same ones for the same bytes.

    Args:
        framer: a read condition or framer.
        seeds: streams to start from.
        iterations: how many streams to try; 10 000 unless `seconds` is given.
        seconds: how long to go on, instead.
        seed: for everything random. The same seed tries the same streams in the same way.

    Raises:
        ConformanceError: two readings disagree, or the framer broke the contract. The stream in the
            message is already made as short as it gets.
    """
    source = Random(seed)  # noqa: S311  # reproducible, not secret
    report = FuzzReport(describe_framer(framer))
    began = time.perf_counter()
    for number in _rounds(iterations, seconds):
        data = mutate(seeds[int(source.random() * len(seeds))], source, seeds)
        trial = _draw_trial(framer, source)
        chunks = random_chunks(data, source)
        if _fails(trial, chunks, report):
            raise _failure(framer, chunks, trial, f"seed {seed}, stream {number}")
    report.seconds = time.perf_counter() - began
    return report


def _rounds(iterations: int | None, seconds: float | None) -> Iterator[int]:
    if seconds is None:
        yield from range(10_000 if iterations is None else iterations)
        return
    number, end = 0, time.monotonic() + seconds
    while number % _ROUNDS_BETWEEN_LOOKS_AT_THE_CLOCK or time.monotonic() < end:
        yield number
        number += 1


def _draw_trial(framer: ReadCondition[Any], source: Random) -> Trial:
    draw = source.random()
    if draw < 0.25:
        return _against_reference(framer, int(draw * 4e6))
    by = WAYS[int(source.random() * 3)]
    if draw < 0.6:
        return _against_whole(framer, by=by)
    policy = POLICIES[int(source.random() * 4)]
    return _against_whole(framer, by=by, max_size=int(source.random() * 24), on_oversize=policy)


def _against_whole(framer: ReadCondition[Any], **options: Any) -> Trial:
    def trial(chunks: list[bytes]) -> tuple[Transcript, tuple[str, str] | None]:
        whole = transcript(framer, [b"".join(chunks)], **options)
        got = transcript(framer, chunks, **options)
        return got, difference(whole, got)

    return trial


def _against_reference(framer: ReadCondition[Any], seed: int) -> Trial:
    if framer.max_size is not None:
        return _against_whole(framer)  # the reference driver knows no limits

    def trial(chunks: list[bytes]) -> tuple[Transcript, tuple[str, str] | None]:
        reading = read_chunks(framer, [b"".join(chunks)])
        got = transcript(framer, chunks, by="mixed", seed=seed, max_frame_size=UNLIMITED)
        return got, difference_from_reading(reading, got)

    return trial


def _count(report: FuzzReport, got: Transcript) -> None:
    report.iterations += 1
    last = got.events[-1].kind if got.events else ""
    report.frames += len(got.events) - 1
    if last != "end":
        report.errors[last] += 1


def _failure(framer: ReadCondition[Any], chunks: list[bytes], trial: Trial, where: str) -> ConformanceError:
    """Shorten the stream while it still fails, and say what it shows."""
    shortest = _shorten(chunks, lambda shorter: _fails(trial, shorter))
    defect, hint = "two readings of the same bytes disagree", ""
    try:
        _, unlike = trial(shortest)
    except ConformanceError as error:
        defect, unlike, hint = error.defect, (error.expected, error.got), error.hint
    expected, got = unlike or ("", "")
    failure = ConformanceError(f"{defect} ({where})", chunks=shortest, expected=expected, got=got, hint=hint)
    failure.check = "fuzz"
    failure.framer = describe_framer(framer)
    return failure


def _fails(trial: Trial, chunks: list[bytes], report: FuzzReport | None = None) -> bool:
    try:
        got, unlike = trial(chunks)
    except ConformanceError:
        return True
    if report is not None:
        _count(report, got)
    return unlike is not None


def _shorten(chunks: list[bytes], fails: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Take away what can be taken away: chunk borders first, then bytes."""
    again = True
    while again:
        again = False
        for candidate in _shorter(chunks):
            if fails(candidate):
                chunks, again = candidate, True
                break
    return chunks


def _shorter(chunks: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(len(chunks) - 1):
        yield [*chunks[:at], chunks[at] + chunks[at + 1], *chunks[at + 2 :]]
    for at, chunk in enumerate(chunks):
        for width in (16, 4, 1):
            for start in range(0, len(chunk), width):
                yield [*chunks[:at], chunk[:start] + chunk[start + width :], *chunks[at + 1 :]]
