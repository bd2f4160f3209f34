"""Checks of whole streams: `find` and `split` cut the same frames, however the bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from framestream.errors import FramingError, PayloadError
from framestream.framer import ReadCondition, Window
from framestream.testing._asking import ask, is_padding, trailer_of, value_of
from framestream.testing._case import Case, lengths
from framestream.testing._comparing import same_frames
from framestream.testing._failure import ConformanceError, describe_error
from framestream.testing._reference import END, INCOMPLETE, Reading, read_chunks

_RESUME = (
    "resume must not move past what may be the beginning of a delimiter, and a memo must not hold "
    "indices of window.data, because the window moves: count from window.start"
)
_BEFORE = (b"", b"\n\0\xff")


def check_examples(case: Case) -> str | None:
    """Every example gives its frames."""
    if not case.given:
        return f"no examples were given; tried on what it writes itself: {len(case.examples)} streams"
    for wire, frames in case.given:
        reading = case.reading(wire)
        if reading.outcome not in (END, INCOMPLETE) or not same_frames(frames, reading.values()):
            raise ConformanceError(
                "an example does not give the frames that its author names",
                data=wire,
                expected=repr(frames),
                got=_describe(reading),
                hint="mend find and decode, or the example",
            )
    return None


def check_chunking(case: Case) -> str | None:
    """Every chunking of a stream gives the same frames, the same outcome and the same leftover."""
    if case.pieces:
        return "its frames are whatever has arrived"
    for wire in case.wires:
        whole = case.reading(wire)
        for number, chunks in enumerate(case.chunkings(wire)):
            got = read_chunks(case.framer, chunks, before=wire[-5:], mutable=number % 2 == 1)
            if not _same_reading(whole, got):
                raise ConformanceError(
                    "the frames depend on how the bytes were cut into chunks",
                    chunks=chunks,
                    expected=f"{_describe(whole)}, as in one chunk",
                    got=_describe(got),
                    hint=_RESUME,
                )
    return None


def check_split(case: Case) -> None:
    """`split` cuts the same frames as repeated `find` and `decode`, and stops in the same place."""
    for wire, eof in _split_inputs(case):
        for before in _BEFORE:
            _check_split(case.framer, Window(before + wire, len(before), eof=eof))


def _split_inputs(case: Case) -> Iterator[tuple[bytes, bool]]:
    for wire in (*case.wires, *case.mutants(24)):
        yield wire, True
        yield wire, False
        yield wire + wire, False
        yield from ((wire + wire[:size], False) for size in lengths(len(wire))[1:-1:3])


def _check_split(framer: ReadCondition[Any], window: Window) -> None:
    values, stops = _cut_all(framer, window)
    frame = bytes(window.data[window.start :])
    try:
        frames, rest = framer.split(window)
    except Exception as error:
        raise ConformanceError(
            f"split raises {describe_error(error)}",
            data=frame,
            expected=f"the frames before the one that cannot be cut: {values!r}",
            hint="stop before a frame that raises; the decoder then asks find about it",
        ) from error
    count = len(frames)
    if rest != stops[min(count, len(values))] or not same_frames(values[:count], frames):
        raise ConformanceError(
            "split disagrees with find",
            data=frame,
            expected=f"{values!r}, with the rest beginning at {stops[-1]}",
            got=f"{frames!r}, with the rest beginning at {rest}",
            hint=f"return what repeated find and decode give from window.start on ({window.start} here), "
            "and where the first frame begins that is not returned; or leave split out",
        )


def _cut_all(framer: ReadCondition[Any], window: Window) -> tuple[list[Any], list[int]]:
    """Return the frames that are complete in the window and, from `window.start` on, where each stops."""
    values: list[Any] = []
    stops = [window.start]
    data, start = window.data, window.start
    while True:
        answer = ask(framer, Window(data, start, eof=window.eof))
        if not isinstance(answer, tuple) or not start < answer[2] <= len(data):
            return values, stops
        start = answer[2]
        if is_padding(answer):
            continue
        if not data.endswith(trailer_of(answer), answer[1], start):
            return values, stops
        value = value_of(framer, answer, bytes(data[answer[0] : answer[1]]))
        if isinstance(value, (ValueError, FramingError, PayloadError)):
            return values, stops
        values.append(value)
        stops.append(answer[2])


def _same_reading(one: Reading, other: Reading) -> bool:
    return (
        [cut.stop for cut in one.cuts] == [cut.stop for cut in other.cuts]
        and same_frames([cut.payload for cut in one.cuts], [cut.payload for cut in other.cuts])
        and same_frames(one.values(), other.values())
        and (one.outcome, one.offset, one.leftover) == (other.outcome, other.offset, other.leftover)
    )


def _describe(reading: Reading) -> str:
    outcome = "a clean end" if reading.outcome == END else f"{reading.outcome} at offset {reading.offset}"
    return f"{reading.values()!r}, then {outcome}"
