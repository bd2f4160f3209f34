"""GeneratorFramer: frames of many fields, read by a generator that yields what it needs next."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from struct import Struct
from typing import Any, NamedTuple, NoReturn, TypeVar

from framestream.errors import FrameTooLarge, FramingError, PayloadError
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers._fields import Body, Fields, Returned, Run
from framestream.framers._whole import decode_whole, refuse_truncated

T = TypeVar("T")


class GeneratorFramer(ReadCondition[T]):
    r"""Read frames field by field: derive a class, and write `fields` as a generator.

    ::

        class Address(GeneratorFramer[tuple[str, int]]):
            def fields(self) -> Fields[tuple[str, int]]:
                [size] = yield 1                    # one byte, unpacked to an int
                host = yield size                   # so many bytes
                [port] = yield struct.Struct("!H")  # numbers
                return host.decode("ascii"), port

    It yields what it needs and is sent that: an int, for so many bytes; bytes, for what stands before that
    delimiter, which is consumed; a ``struct.Struct``, for the tuple that it unpacks; a condition, for its
    frame. What it returns is the frame. Its payload is all its bytes, unless it returns a `Body`.

    The generator depends on nothing but what it is sent, and does nothing but compute: it may be run
    again with the same answers. In the ordinary course it runs once for each frame, in whatever chunks
    that arrives, and what has arrived is not looked at again.

    A ``ValueError`` in it, or in decoding a field, is a `FramingError` at the field read last, because
    nobody knows where the frame ends. A `PayloadError` says that the frame ends there and is bad.

    To write frames, derive from `Framer` as well: ``class Address(GeneratorFramer[...], Framer[...])``.
    """

    overhead = 64
    """The most bytes of header in front of a `Body`."""

    @abstractmethod
    def fields(self) -> Fields[T]:
        """Yield what is needed next, and return the frame."""

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the frame, or what its current field lacks."""
        place: _Place | None = window.memo
        if place is None:
            return _find_fields(Run(self.fields), window.start, None, window)
        if place.body is not None:
            return _find_body(place, place.body, window)
        run = place.run.from_answer(place.answers)
        return _find_fields(run, window.start + place.offset, place.memo, window)

    def decode(self, payload: bytes) -> T:
        """Refuse: a frame is made by the generator, and this one was truncated."""
        refuse_truncated(payload)


class _Place(NamedTuple):
    """How far into a frame the search is; the memo.

    Attributes:
        run: the generator's pass through the frame.
        answers: how many answers it had had.
        offset: where the current field begins, from the frame's first byte.
        memo: what the field's condition wants to have back.
        body: the body, if that is the current field.
    """

    run: Run
    answers: int
    offset: int
    memo: Any = None
    body: Body[Any] | None = None


def _find_fields(run: Run, at: int, memo: Any, window: Window) -> Span | ValueSpan | NeedMore:
    """Go on with the field that begins at an index of the data; `memo` is its condition's."""
    data, start = window.data, window.start
    last = at
    while True:
        need = run.need
        if type(need) is int:
            if need < 0:
                raise FramingError(f"a field of {need} bytes", position=last)
            stop = at + need
            if stop > len(data):
                return NeedMore(stop - start, resume=at, memo=_Place(run, len(run.answers), at - start))
            answer: Any = bytes(data[at:stop])
        elif type(need) is bytes and need:
            found_at = data.find(need, max(at, window.resume))
            if found_at < 0:
                resume = max(at, len(data) - len(need) + 1)
                return NeedMore(resume=resume, memo=_Place(run, len(run.answers), at - start))
            answer, stop = bytes(data[at:found_at]), found_at + len(need)
        elif type(need) is Returned:
            return start, at, at, need.value
        elif type(need) is Body:
            return _begin_body(need, run, at, last, window)
        elif type(need) is PayloadError:
            return start, at, at, Decode(partial(_raise, need))
        else:
            inner = Window(data, at, max(at, window.resume), memo, window.eof)
            found = _read(need, inner)
            if type(found) is NeedMore:
                place = _Place(run, len(run.answers), inner.start - start, found.memo)
                return _waiting(found, inner, window, place)
            at, stop, answer = found
            memo = None
        last = at
        _answer(run, answer, last)
        at = stop


def _answer(run: Run, answer: Any, position: int) -> None:
    """Send the generator a field that begins at this position; what it refuses is refused there."""
    try:
        run.send(answer)
    except FramingError as error:
        if error.position is None:
            error.position = position
        raise
    except ValueError as error:
        raise FramingError(str(error), position=position) from error


def _read(need: Any, inner: Window) -> Any:
    """Return what a field lacks, or where it begins and stops and what it is."""
    if isinstance(need, Struct):
        stop = inner.start + need.size
        if stop > len(inner.data):
            return NeedMore(need.size)
        return inner.start, stop, need.unpack_from(inner.data, inner.start)
    if not isinstance(need, ReadCondition):
        raise TypeError(f"fields yielded {need!r}, which is no size, delimiter, struct or condition")
    condition = need
    found = _ask(condition, inner)
    if type(found) is NeedMore:
        _check_own_limit(condition, 0, len(inner.data) - inner.start, declared=False)
        return found
    first, stop, end = found[:3]
    _check_own_limit(condition, stop - first, end - inner.start, declared=True)
    if end > len(inner.data):
        return NeedMore(end - inner.start, memo=inner.memo)
    return inner.start, end, _value(condition, found, inner)


def _value(condition: ReadCondition[Any], found: tuple[Any, ...], inner: Window) -> Any:
    decode, trailer = _decoder(condition, found)
    _, stop, end = found[:3]
    if not inner.data.endswith(trailer, stop, end):
        raise FramingError(f"a field ends otherwise than with {trailer!r}", position=stop)
    try:
        return decode(bytes(inner.data[found[0] : stop]))
    except (ValueError, PayloadError) as error:
        raise FramingError(f"a field cannot be decoded: {error}", position=inner.start) from error


def _begin_body(body: Body[Any], run: Run, at: int, last: int, window: Window) -> Span | ValueSpan | NeedMore:
    """Tell the extent of a body whose size is known; ask its condition about any other."""
    if not isinstance(body.field, int):
        return _find_body(_Place(run, len(run.answers), at - window.start, None, body), body, window)
    if body.field < 0:
        raise FramingError(f"a body of {body.field} bytes", position=last)
    stop = at + body.field
    return at, stop, stop + len(body.trailer), Decode(body.make, trailer=body.trailer)


def _find_body(place: _Place, body: Body[Any], window: Window) -> Span | ValueSpan | NeedMore:
    begin = window.start - window.taken + place.offset
    condition: Any = body.field
    inner = Window(window.data, max(begin, window.start), eof=window.eof, memo=place.memo)
    inner.resume = max(inner.start, window.resume)
    inner.taken = inner.start - begin
    found = _ask(condition, inner)
    if type(found) is NeedMore:
        offset = inner.start - inner.taken - begin + place.offset
        return _waiting(found, inner, window, place._replace(offset=offset, memo=found.memo))
    decode, trailer = _decoder(condition, found)
    first, stop, end = found[:3]
    whole = Decode(lambda payload: body.make(decode(payload)), trailer=trailer)
    return first, stop, end, decode_whole(whole.decode, inner, (first, stop, end, whole))


def _waiting(more: NeedMore, inner: Window, window: Window, place: _Place) -> NeedMore:
    """Translate what a field's condition lacks; only a body's payload is settled before the end."""
    settled = more.settled if place.body is not None else None
    payload_start = inner.start if more.payload_start is None else more.payload_start
    return NeedMore(
        inner.start - window.start + more.size if more.size else 0,
        resume=inner.resume if more.resume is None else more.resume,
        memo=place,
        settled=settled,
        payload_start=None if settled is None else payload_start,
    )


def _ask(condition: ReadCondition[Any], inner: Window) -> Any:
    """Return what the condition finds behind bytes that belong to no frame."""
    try:
        found = condition.find(inner)
        while type(found) is tuple and len(found) == 4 and found[3] is PADDING:
            inner.start = inner.resume = found[2]
            inner.memo = None
            found = condition.find(inner)
    except FramingError as error:
        if error.position is None:
            error.position = inner.start
        raise
    return found


def _decoder(condition: ReadCondition[Any], found: tuple[Any, ...]) -> Any:
    """Return what decodes the payload of a span, and the bytes that must stand behind it."""
    if len(found) == 3:
        return condition.decode, b""
    value = found[3]
    return (value.decode, value.trailer) if isinstance(value, Decode) else (lambda _: value, b"")


def _check_own_limit(condition: ReadCondition[Any], size: int, extent: int, *, declared: bool) -> None:
    # The decoder holds the whole frame to its limit. A field is held to its condition's own as well.
    limit = condition.max_size
    if limit is not None and (size > limit or extent > limit + condition.overhead):
        raise FrameTooLarge(limit=limit, size=size if declared else None)


def _raise(error: PayloadError, _payload: bytes) -> NoReturn:
    raise error
