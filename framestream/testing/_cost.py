"""Measure, by counting, what a framer spends on a stream: bytes examined, bytes copied, bytes entitled to."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from framestream.framer import NeedMore, ReadCondition, Window
from framestream.testing._asking import Answer, ask
from framestream.testing._counting import CountedBytes, Tally
from framestream.testing._progress import Progress


class Cost(NamedTuple):
    """What it took to find the frames in a stream.

    Attributes:
        examined: bytes looked at or sliced, as far as the methods of ``window.data`` saw it.
        allocated: bytes of memory allocated meanwhile, at most at a time in each question, summed up.
        entitled: bytes that lay between ``window.resume`` and the end of the data, summed up over the
            questions: what a framer may look at by what it answered itself.
        questions: how often `find` was asked.
    """

    examined: int
    allocated: int
    entitled: int
    questions: int


def drip_cost(framer: ReadCondition[Any], frame: bytes) -> Cost:
    """Feed one frame byte by byte and count, until `find` knows its span."""
    tally, progress = Tally(), Progress()
    allocated = entitled = questions = 0
    with _tracing():
        for size in range(1, len(frame) + 1):
            if size < progress.size:
                continue
            window = progress.window(b"")
            window.data = CountedBytes(frame[:size], tally)
            answer, taken = _ask_traced(framer, window)
            allocated += taken
            entitled += size - progress.resume
            questions += 1
            if not isinstance(answer, NeedMore):
                break
            progress.note(answer, window)
    return Cost(tally.bytes, allocated, entitled, questions)


def one_by_one_cost(framer: ReadCondition[Any], stream: bytes) -> Cost:
    """Ask for one frame after the other in a stream that is there as a whole, and count."""
    tally = Tally()
    data = CountedBytes(stream, tally)
    allocated = questions = 0
    with _tracing():
        answer: Answer = (0, 0, 0)
        while isinstance(answer, tuple) and answer[2] < len(stream):
            answer, taken = _ask_traced(framer, Window(data, answer[2]))
            allocated += taken
            questions += 1
    return Cost(tally.bytes, allocated, 0, questions)


def ask_cost(framer: ReadCondition[Any], data: bytes) -> int:
    """Ask once about a frame; return how many bytes of memory that took at most at a time."""
    with _tracing():
        return _ask_traced(framer, Window(data))[1]


def split_cost(framer: ReadCondition[Any], stream: bytes) -> Cost:
    """Have `split` cut a whole stream at once, and count the bytes examined."""
    tally = Tally()
    framer.split(Window(CountedBytes(stream, tally)))
    return Cost(tally.bytes, 0, 0, 1)


def _ask_traced(framer: ReadCondition[Any], window: Window) -> tuple[Answer, int]:
    before = _begin()
    answer = ask(framer, window)
    return answer, max(0, tracemalloc.get_traced_memory()[1] - before)


def _begin() -> int:
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def _tracing() -> Iterator[None]:
    """Trace allocations meanwhile, without disturbing somebody who traces already."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
