"""Frames made of parts: one condition behind the other, each of which may depend on the values before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from framestream.errors import EncodeError, FrameTooLarge, FramingError, PayloadError
from framestream.framer import (
    PADDING,
    Decode,
    Framer,
    NeedMore,
    ReadCondition,
    Span,
    ValueSpan,
    Window,
)
from framestream.framers._whole import decode_whole

Step: TypeAlias = ReadCondition[Any] | Callable[..., ReadCondition[Any]]
"""A condition, or a function from the values of the parts before to one."""

Make: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""Turns the values of all parts into the frame."""


UNFIT: Final = (ValueError, TypeError, LookupError, AttributeError)
"""What a function raises that is given another kind of value than it expects."""

# What a condition that is not known yet may need besides its payload.
_UNKNOWN_OVERHEAD = 64


class Place(NamedTuple):
    """How far into a frame the search is; the memo, so positions count from the frame's first byte.

    Attributes:
        number: which part it is in, from 0.
        condition: the part's condition.
        offset: where the part begins.
        first: where the payload begins, known from the second part on.
        values: what the parts before are.
        failure: why one of them could not be decoded, if one could not.
        memo: what the part's condition wants to have back.
        span: the part's extent, if it is known and not complete.
    """

    number: int
    condition: ReadCondition[Any]
    offset: int = 0
    first: int = 0
    values: tuple[Any, ...] = ()
    failure: str = ""
    memo: Any = None
    span: tuple[Any, ...] | None = None


class Ending:
    """Decodes a whole frame when its last part has arrived: the payload from `skip` on."""

    __slots__ = ("decode", "make", "place", "skip")

    def __init__(self, place: Place, skip: int, decode: Callable[[bytes], Any], make: Make) -> None:
        self.place = place
        self.skip = skip
        self.decode = decode
        self.make = make

    def __call__(self, payload: bytes) -> Any:
        if self.place.failure:
            raise PayloadError(self.place.failure)
        return self.make((*self.place.values, self.decode(payload[self.skip :])))


def find_steps(steps: tuple[Step, ...], make: Make, window: Window) -> Span | ValueSpan | NeedMore:
    """Return the span from the first part's payload to the last one's, or what is missing.

    A part is not asked again once its extent is known, and not decoded again once it is complete.
    """
    place: Place = window.memo or Place(0, condition_of(steps[0], ()))
    origin = window.start - window.taken
    inner = Window(window.data, eof=window.eof)
    inner.memo, resume = place.memo, window.resume
    while True:
        begin = origin + place.offset
        inner.start = max(begin, window.start)
        inner.taken = inner.start - begin
        inner.resume = max(resume, inner.start)
        found = _ask(place, inner, origin)
        last = place.number + 1 == len(steps)
        if type(found) is NeedMore:
            return _wait(place, window, inner, found, last=last)
        first, stop, end = found[:3]
        if len(found) == 4 and found[3] is PADDING:
            if not place.number:
                return first, stop, end, PADDING
            place = place._replace(offset=end - origin, memo=None)
        elif last:
            return _finish(place, window, origin, found, make)
        elif end > len(window.data):
            _check_own_limit(place.condition, window.data, begin, stop - first, end - begin)
            known = place._replace(span=(first - origin, stop - origin, end - origin, *found[3:]))
            return NeedMore(end - window.start, resume=inner.start, memo=known)
        else:
            place = _next(steps, place, window, origin, found)
        inner.memo, resume = None, 0


def cut_steps(steps: tuple[Step, ...], make: Make, data: bytes, start: int) -> tuple[Any, int] | None:
    """Return the frame at `start` and where the next begins, if it is there and its parts are plain."""
    values: tuple[Any, ...] = ()
    end = start
    for step in steps:
        condition = condition_of(step, values)
        found = condition.cut(data, end) or _cut_by_find(condition, data, end)
        if found is None or (condition.max_size is not None and found[1] - end > condition.max_size):
            return None
        value, end = found
        values = (*values, value)
    return make(values), end


def _cut_by_find(condition: ReadCondition[Any], data: bytes, start: int) -> tuple[Any, int] | None:
    found: Any = condition.find(Window(data, start))
    if type(found) is not tuple or found[2] > len(data):
        return None
    if len(found) == 3:
        return condition.decode(data[found[0] : found[1]]), found[2]
    return None if type(found[3]) is Decode or found[3] is PADDING else (found[3], found[2])


def split_by_cut(
    cut: Callable[[bytes, int], tuple[Any, int] | None], window: Window
) -> tuple[list[Any], int]:
    """Cut one frame after the other, up to the first that is left to `find`."""
    frames: list[Any] = []
    data, end = bytes(window.data), window.start
    try:
        while (found := cut(data, end)) is not None and found[1] > end:
            frames.append(found[0])
            end = found[1]
    except Exception:  # noqa: BLE001, S110 - `find` or `decode` raises it again, in its place
        pass
    return frames, end


def condition_of(step: Step, values: tuple[Any, ...]) -> ReadCondition[Any]:
    """Return the step's condition; a function is given the values before as its arguments."""
    condition: Any = step
    if not is_condition(step):
        condition = condition(*values)
        if not is_condition(condition):
            raise TypeError(f"{step!r} returned {condition!r}, not a read condition")
    found: ReadCondition[Any] = condition
    return found


def is_condition(step: object) -> bool:
    """Tell a condition from what makes one: a function, or a condition's class.

    By what it has, because `isinstance` with an abstract class costs ten times as much.
    """
    return hasattr(step, "can_be_empty") and not isinstance(step, type)


def _ask(place: Place, inner: Window, origin: int) -> Any:
    if place.span is not None:
        first, stop, end, *value = place.span
        return (first + origin, stop + origin, end + origin, *value)
    try:
        return place.condition.find(inner)
    except FramingError as error:
        if error.position is None:
            error.position = inner.start
        raise


def _wait(place: Place, window: Window, inner: Window, more: NeedMore, *, last: bool) -> NeedMore:
    """Translate a part's NeedMore.

    Only the last part settles payload. If parts before it did, a frame would be skipped or not depending
    on whether it had arrived when one of them grew too large.
    """
    if not last:
        _check_own_limit(place.condition, window.data, inner.start, 0, len(window.data) - inner.start)
    settled, payload_start = None, None
    if last and more.settled is not None:
        settled = more.settled
        begun = max(window.start - window.taken + place.first, window.start)
        payload_start = begun if place.number else more.payload_start
    return NeedMore(
        inner.start - window.start + more.size if more.size else 0,
        resume=inner.resume if more.resume is None else more.resume,
        memo=place._replace(memo=more.memo),
        settled=settled,
        payload_start=payload_start,
    )


def _finish(place: Place, window: Window, origin: int, found: tuple[Any, ...], make: Make) -> ValueSpan:
    first, stop, end = found[:3]
    payload_start = max(origin + place.first, window.start) if place.number else first
    ending = Ending(place, first - payload_start, _decoder_of(place.condition, found), make)
    return payload_start, stop, end, decode_whole(ending, window, (payload_start, *found[1:]))


def _next(
    steps: tuple[Step, ...], place: Place, window: Window, origin: int, found: tuple[Any, ...]
) -> Place:
    """Decode a complete part and return the place where the next one begins."""
    first, stop, end = found[:3]
    _check_own_limit(
        place.condition, window.data, origin + place.offset, stop - first, end - origin - place.offset
    )
    decode = _decoder_of(place.condition, found)
    trailer = found[3].trailer if len(found) == 4 and isinstance(found[3], Decode) else b""
    if not window.data.endswith(trailer, stop, end):
        raise FramingError(f"part ends otherwise than with {trailer!r}", position=stop)
    value, failure = None, place.failure
    try:
        value = decode(bytes(window.data[first:stop]))
    except (ValueError, PayloadError) as error:
        failure = failure or str(error)
    values, index = (*place.values, value), place.number + 1
    payload_start = place.first if place.number else first - origin
    step = steps[index]
    if failure and not is_condition(step):
        raise FramingError(
            f"part {index} cannot be decoded, and what follows depends on it: {failure}", position=first
        )
    try:
        condition = condition_of(step, values)
    except ValueError as error:
        raise FramingError(str(error), position=end) from error
    return Place(index, condition, end - origin, payload_start, values, failure)


def _decoder_of(condition: ReadCondition[Any], found: tuple[Any, ...]) -> Callable[[bytes], Any]:
    """Return what decodes the payload of a span."""
    if len(found) == 3:
        return condition.decode
    value = found[3]
    return value.decode if isinstance(value, Decode) else lambda _: value


def _check_own_limit(
    condition: ReadCondition[Any], data: bytes | bytearray, begin: int, size: int, extent: int
) -> None:
    # The decoder holds the whole frame to its limit. A part that must be complete before the next one can
    # be looked at is held to its own as well.
    limit = condition.max_size
    if limit is None or (size <= limit and extent <= limit + condition.overhead):
        return
    # The size is told if the part declares it, whatever has arrived by now.
    probe = Window(bytes(data[begin : begin + limit + condition.overhead + 1]))
    declared = type(condition.find(probe)) is tuple
    raise FrameTooLarge(limit=limit, size=size if declared else None)


def overhead_of(steps: tuple[Step, ...]) -> int:
    """Return how many bytes the parts may take besides their payloads."""
    return sum(getattr(step, "overhead", _UNKNOWN_OVERHEAD) for step in steps)


def encode_steps(steps: tuple[Step, ...], frame: Any, max_size: int | None) -> list[bytes]:
    """Return the parts of a frame, each as its own framer writes it."""
    try:
        values = tuple(frame)
    except TypeError as error:
        raise EncodeError(f"frame is of type {type(frame).__name__}, not one value for each part") from error
    if len(values) != len(steps):
        raise EncodeError(f"frame of {len(values)} values for {len(steps)} parts")
    pieces: list[bytes] = []
    for index, (step, value) in enumerate(zip(steps, values, strict=True)):
        try:
            condition = condition_of(step, values[:index])
        except UNFIT as error:
            raise EncodeError(f"part {index + 1} does not follow from those before: {error}") from error
        pieces.extend(pieces_of(condition, value))
    if max_size is not None:
        found = find_steps(steps, tuple, Window(b"".join(pieces)))
        if isinstance(found, tuple) and found[1] - found[0] > max_size:
            raise EncodeError(f"payload of {found[1] - found[0]} bytes exceeds the limit {max_size}")
    return pieces


def pieces_of(condition: ReadCondition[Any], frame: Any) -> list[bytes]:
    """Return the buffers that the condition writes for a frame; refuse a condition that only reads."""
    if not isinstance(condition, Framer):
        raise EncodeError(f"{condition} only reads")
    encoded = condition.encode(frame)
    return [bytes(encoded)] if isinstance(encoded, bytes | bytearray | memoryview) else list(encoded)
