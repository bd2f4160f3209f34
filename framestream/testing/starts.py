"""Checks of where a frame may begin: from any place, for any chunking, at linear cost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

from framestream.errors import FramingError, counted
from framestream.framer import NeedMore, ReadCondition, Window
from framestream.testing.contract import ConformanceError, ask, describe_error, is_padding
from framestream.testing.cost import CountedBytes, compare_cost, slow_frames
from framestream.testing.driver import Reading
from framestream.testing.suite import Suite, prefix_lengths

_MOST_ARCHIVES = 24


def ask_start(framer: ReadCondition[Any], window: Window) -> int | NeedMore:
    """Return the answer of `find_start`.

    Raises:
        ConformanceError: it raises anything, or its answer is no place that this window allows.
    """
    start, size = window.start, len(window.data)
    shown = bytes(window.data)
    try:
        answer = framer.find_start(window)
    except Exception as error:
        raise ConformanceError(
            f"find_start raises {describe_error(error)}",
            data=shown,
            expected="a place, or NeedMore(resume=...), whatever the bytes are",
            hint="it is asked about any place, the middle of a frame above all",
        ) from error
    complaint = hint = ""
    if isinstance(answer, NeedMore):
        if window.eof:
            complaint = "find_start wants more at the end"
            hint = "return len(window.data) if window.eof is set and no frame begins any more"
        elif answer.resume is None or not start <= answer.resume <= size:
            complaint = "find_start wants more, and names no place in the window from which to go on"
            hint = "return NeedMore(resume=...) with the first place that is not ruled out"
    elif type(answer) is not int:
        complaint = "find_start returns neither a place nor NeedMore"
    elif answer < start:
        complaint = "find_start returns a place before window.start"
        hint = "bytes before window.start are there to look at only"
    elif window.eof and answer > size:
        complaint = "find_start returns a place beyond the end"
        hint = "return len(window.data) if window.eof is set and no frame begins any more"
    if complaint:
        place = f"{start}, where window.start is," if not isinstance(answer, NeedMore) else f"{start}"
        raise ConformanceError(
            complaint,
            data=shown,
            expected=f"an index from {place} to {size}, the end of the data",
            got=repr(answer),
            hint=hint,
        )
    return answer


def find_start(
    framer: ReadCondition[Any],
    data: bytes,
    start: int,
    *,
    step: int | None = None,
    kind: Callable[[bytes], bytes] = bytes,
    asked: Callable[[Window], object] = lambda window: None,
) -> int:
    """Return the first place from `start` on where a frame may begin, in a stream that is all of `data`.

    Args:
        framer: the framer to ask.
        data: the stream.
        start: the first place in question, 1 or more.
        step: how many bytes arrive at a time; all at once unless given.
        kind: makes the bytes that are shown.
        asked: called with every window after it was asked about.
    """
    size = len(data)
    ends = range(start + 1, size, step) if step else ()
    position = start
    wanted = 0
    for end, eof in [*((end, False) for end in (*ends, size) if step), (size, True)]:
        if end - position < wanted and not eof:
            continue
        base = max(position - framer.lookbehind, 0)
        window = Window(kind(data[base:end]), position - base, eof=eof, taken=position)
        answer = ask_start(framer, window)
        asked(window)
        if not isinstance(answer, NeedMore):
            return min(base + answer, size)
        position, wanted = base + (answer.resume or 0), answer.size - (answer.resume or 0) + window.start
    raise AssertionError  # pragma: no cover  # at the end there is no NeedMore


def first_frame(framer: ReadCondition[Any], data: bytes, place: int) -> int:
    """Return where the first frame begins if reading begins at a place, which may have padding first."""
    while place < len(data) and is_padding(answer := ask(framer, Window(data, place, eof=True))):
        place += answer[2]  # type: ignore[index]  # padding is a tuple
    return place


def expected_frame(reading: Reading, size: int, start: int) -> int | None:
    """Return where the first frame begins at `start` or later; None if an error comes first."""
    for cut in reading.cuts:
        if cut.start >= start:
            return cut.start
    if reading.malformed:
        return None
    return reading.offset if reading.outcome != "end" and reading.offset >= start else size


def check_find_start(suite: Suite) -> None:
    """From any place in a stream on, `find_start` says where the next frame begins, or may begin.

    It is asked with `lookbehind` bytes before window.start, and answers alike however the bytes arrive:
    return NeedMore(resume=...) while bytes to come may matter. Where it may be wrong, or may miss a frame,
    such as one that cannot be decoded, it is "likely" and not "exact".
    """
    framer = suite.framer
    if framer.synchronises is None:
        return
    if framer.synchronises not in ("exact", "likely"):
        raise ConformanceError(
            "synchronises says something else",
            expected='"exact", "likely" or None',
            got=repr(framer.synchronises),
        )
    wires = [wire for wire in suite.wires if len(wire) <= 4096]
    together = b"".join(wire for wire, _ in suite.examples)[:600]
    archives = [*wires, together, together + together, *suite.spoilt(12)]
    for data in list(dict.fromkeys(archives))[:_MOST_ARCHIVES]:
        _check_archive(suite, data)


def _check_archive(suite: Suite, data: bytes) -> None:
    framer, reading = suite.framer, suite.reading(data)
    for start in prefix_lengths(len(data))[1:]:
        place = find_start(framer, data, start)
        if find_start(framer, data, start) != place:
            raise ConformanceError(
                "find_start answers differently when it is asked the same question again",
                data=data,
                hint="let it be a function of the window alone",
            )
        if framer.synchronises == "exact":
            check_exact(framer, data, reading, start, place)
    for start in prefix_lengths(len(data))[1 :: max(1, len(data) // 8)]:
        place = find_start(framer, data, start)
        for step in (1, 7):
            if (other := find_start(framer, data, start, step=step)) != place:
                raise ConformanceError(
                    "where a frame may begin depends on how the bytes arrive",
                    data=data,
                    expected=f"{place} from {start} on, as with all bytes there",
                    got=f"{other}, where {counted(step, 'byte')} arrive at a time",
                    hint="return NeedMore(resume=...) while bytes to come may matter, and say in lookbehind "
                    "how many before window.start do",
                )


def check_exact(framer: ReadCondition[Any], data: bytes, reading: Reading, start: int, place: int) -> None:
    """Check an answer against where the first frame begins from `start` on, as "exact" promises."""
    expected = expected_frame(reading, len(data), start)
    if expected is None:
        return
    got = place
    with suppress(FramingError):  # then it is where the bytes that are refused begin
        got = first_frame(framer, data, place)
    if got != expected:
        raise ConformanceError(
            'find_start is not "exact"',
            data=data,
            expected=f"{expected}: the first frame that begins at {start} or later",
            got=f"{place}" + (f", and a frame at {got}" if got != place else ""),
            hint='find every frame, or say that it is "likely"',
        )


def check_start_cost(suite: Suite) -> None:
    """To find a start in bytes that arrive one by one costs twice as much in twice as many.

    Go on from window.start, and return NeedMore(resume=...) with what is ruled out; where a beginning is
    checked by what is far after it, say in NeedMore(size=...) how many bytes that takes from window.start on.
    """
    if suite.framer.synchronises is None:
        return
    pair = slow_frames(suite)
    meters = [SimpleNamespace(examined=0, entitled=0) for _ in pair]

    def note(meter: SimpleNamespace, window: Window) -> None:
        meter.examined += window.data.examined  # type: ignore[union-attr]  # they are counted
        meter.entitled += len(window.data) - window.start

    for meter, data in zip(meters, pair, strict=True):
        find_start(suite.framer, data, 1, step=1, kind=CountedBytes, asked=partial(note, meter))
    defect = "find_start looks at the same bytes again and again as more arrive"
    for name in ("examined", "entitled"):
        compare_cost(pair, meters, name, defect, "")
