"""Find long frames to measure the cost with: the author's, or ones grown from the examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from framestream.framer import Framer, ReadCondition, Window
from framestream.testing._asking import ask, is_padding
from framestream.testing._case import Case
from framestream.testing._checks_frames import encode
from framestream.testing._failure import ConformanceError

# Long enough for a square to stand out, short enough to be dripped in a few milliseconds.
_SIZES = (1024, 256, 64)


class Pair(NamedTuple):
    """Two streams of one framing, each a frame or the beginning of one, the second about twice as long."""

    short: bytes
    long: bytes


def slow_frames(case: Case) -> Pair | None:
    """Return two long frames to compare, or None if the framing has none that could be found."""
    given = case.slow_frame
    if isinstance(given, bytes):
        return Pair(given[: len(given) // 2], given)
    for size in _SIZES:
        if given is not None:
            pair = Pair(given(size), given(2 * size))
            if is_one_frame(case.framer, pair.long):
                return pair
        else:
            for frame in _grown(case, size):
                return frame
    if given is not None:
        raise ConformanceError(
            "slow_frame does not make one frame",
            data=given(_SIZES[-1]),
            expected="a function from a number of bytes to the bytes of one frame of about that size",
        )
    return None


def is_one_frame(framer: ReadCondition[Any], data: bytes) -> bool:
    """Tell whether these bytes are exactly one frame, at the end of the stream if need be."""
    answer = ask(framer, Window(data, eof=True))
    return isinstance(answer, tuple) and answer[2] == len(data) and not is_padding(answer)


def _grown(case: Case, size: int) -> Iterator[Pair]:
    framer = case.framer
    for wire, cut in case.cuts():
        if isinstance(framer, Framer):
            pair = [_encoded(framer, cut.value, count) for count in (size, 2 * size)]
            if all(len(frame) >= count for frame, count in zip(pair, (size, 2 * size), strict=True)):
                yield Pair(*pair)
        frame = wire[cut.start : cut.stop]
        for at in range(min(len(frame), 64)):
            short, long = (frame[:at] + frame[at : at + 1] * count + frame[at:] for count in (size, 2 * size))
            if is_one_frame(framer, short) and is_one_frame(framer, long):
                yield Pair(short, long)


def _encoded(framer: Framer[Any], frame: Any, size: int) -> bytes:
    """Return a long frame of the same kind as `frame`, or nothing if it cannot be encoded or read."""
    grown = _enlarge(frame, size)
    wire = None if grown is None else encode(framer, grown)
    return wire if wire is not None and is_one_frame(framer, wire) else b""


def _enlarge(frame: Any, size: int) -> Any:
    if isinstance(frame, bytes):
        return (frame or b"x") * size if len(frame) < 2 else frame * (size // len(frame) + 1)
    if isinstance(frame, str):
        return (frame or "x") * (size // max(1, len(frame)) + 1)
    if isinstance(frame, list):
        return frame[:1] * size or [0] * size
    if isinstance(frame, dict):
        return {str(number): number for number in range(size // 2)}
    return None
