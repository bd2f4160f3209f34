"""GeneratorFramer: frames of many fields, read by a generator that yields what it needs next.

All framings made of parts use this engine, `Sequence` and `HeaderThenBody` among them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from struct import Struct
from typing import Any, Generic, NamedTuple, NoReturn, TypeAlias, TypeVar

from framestream.errors import FramerContractError, FramingError, PayloadError, counted
from framestream.framer import (
    PADDING,
    Decode,
    NeedMore,
    ReadCondition,
    Span,
    ValueSpan,
    Window,
    check_condition,
    is_condition,
)
from framestream.framers.answers import (
    Found,
    check_own_limit,
    complete,
    decoder_of,
    find_past_padding,
    reason_of,
    refuse_truncated,
    shifted,
    still_missing,
    when_whole,
)

T = TypeVar("T")


class Body(Generic[T]):
    r"""The last field of a frame, returned instead of yielded: it is the frame's payload.

    The limit is checked before the body arrives, and the body can be streamed or skipped. The fields
    yielded before it are the header; neither the limit nor the parts include them.

    Args:
        field: its size in bytes, or a condition that reads it.
        make: turns the body into the frame. Any exception in it makes the frame a `PayloadError`.
        trailer: bytes that must follow a body of known size.
    """

    __slots__ = ("field", "make", "trailer")

    def __init__(self, field: int | ReadCondition[Any], make: Callable[[Any], T], *, trailer: bytes = b"") -> None:
        if trailer and not isinstance(field, int):
            raise TypeError(f"{field} says itself where it ends; its body takes no trailer")
        if type(field) is not int:
            check_condition(field, "body")
        self.field = field
        self.make = make
        self.trailer = trailer


class LastPart(Body[T]):
    """A body that is only the last part of the payload; the payload begins with that of the first field."""

    __slots__ = ()

    def __init__(self, field: ReadCondition[Any], make: Callable[[Any], T]) -> None:
        self.field = field  # a `Sequence` has checked it
        self.make = make
        self.trailer = b""


class Part(NamedTuple):
    """A field that may be undecodable: the generator then receives the `Failure`, and decides."""

    condition: ReadCondition[Any]


class Failure(NamedTuple):
    """What a generator receives for a `Part` that cannot be decoded."""

    reason: str


Field: TypeAlias = int | bytes | Struct | ReadCondition[Any] | Part
"""What a generator may yield: a number of bytes, a delimiter, a struct of numbers, or a condition."""


Fields: TypeAlias = Generator[Field, Any, T | Body[T]]
"""The return type of a generator of fields: ``def fields(self) -> Fields[Packet]``."""


class GeneratorFramer(ReadCondition[T]):
    r"""Read frames field by field: derive a class, and write `fields` as a generator.

    ::

        class Address(GeneratorFramer[tuple[str, int]]):
            def fields(self) -> Fields[tuple[str, int]]:
                [size] = yield 1                    # one byte, unpacked to an int
                host = yield size                   # so many bytes
                [port] = yield struct.Struct("!H")  # numbers
                return host.decode("ascii"), port

    It yields what it needs and receives it: for an int, so many bytes; for bytes, everything before that
    delimiter, which is consumed; for a ``struct.Struct``, the tuple that it unpacks; for a condition, its
    frame. It returns the frame, whose payload is all its bytes, unless it returns a `Body`.

    The generator must depend only on what it receives, and only compute: it may run again with
    the same answers. Normally it runs once for each frame, in whatever chunks the frame arrives,
    and no byte is looked at twice.

    A ``ValueError`` in it, and any exception in decoding a field, is a `FramingError` at the field read
    last, because the end of the frame is unknown. A `PayloadError` says that it ends there and is bad.

    To write frames, derive from `Framer` as well: ``class Address(GeneratorFramer[...], Framer[...])``.
    """

    overhead = 64
    """The most bytes of header before a `Body`."""

    @abstractmethod
    def fields(self) -> Fields[T]:
        """Yield what is needed next, and return the frame."""

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the frame, or `NeedMore` for its current field."""
        place: _Place = window.memo or _Place(_Run(self.fields), 0, 0, None, None, None)
        return _find(place, place.run.after(place.answers), window)

    def decode(self, payload: bytes) -> T:
        """Refuse a truncated frame: the generator makes the frame, from all of its fields."""
        refuse_truncated(payload)


class _Run:
    """One pass of a generator through a frame.

    A generator cannot be copied. So a memo refers to a run and to the number of answers it had received. The
    run continues from its latest answer; a caller that returns to an earlier one gets another run, which
    receives the same answers again. That is rare.

    Attributes:
        answers: how many answers the generator has received.
        need: what it yielded; after its end, a `Body` or what makes its frame.
    """

    # Fields of bytes are kept as received: an object for each would take forty times as much.
    __slots__ = ("_bytes", "_fields", "_frames", "_generator", "answers", "need")

    def __init__(self, fields: Callable[[], Fields[Any]]) -> None:
        self._fields = fields
        self._generator = fields()
        self._bytes = bytearray()
        self._frames = _NO_FRAMES
        self.answers = 0
        self.need: Any = None
        self._resume(None)

    def after(self, answers: int) -> _Run:
        """Return a run that has received so many of the answers: this one, unless it has received more."""
        if answers == self.answers:
            return self
        again, data, frames, at = _Run(self._fields), bytes(self._bytes), iter(self._frames), 0
        while again.answers < answers:
            need, stop = again.need, at
            if type(need) is bytes:
                stop = data.index(need, at) + len(need)
                again.send(data[at : stop - len(need)], data[at:stop])
            elif type(need) is int:
                stop += need
                again.send(data[at:stop], data[at:stop])
            elif type(need) is Struct:
                stop += need.size
                again.send(need.unpack_from(data, at), data[at:stop])
            else:
                again.send(next(frames))
            at = stop
        return again

    def send(self, answer: Any, field: bytes | bytearray | None = None) -> None:
        """Give the generator what it needed: from a field of bytes, or a condition's frame."""
        if field is None:
            if self._frames is _NO_FRAMES:
                self._frames = deque()  # a list would be copied as it grows
            self._frames.append(answer)
        else:
            self._bytes += field
        self.answers += 1
        self._resume(answer)

    def _resume(self, answer: Any) -> None:
        try:
            self.need = need = self._generator.send(answer)
        except StopIteration as stop:
            made = stop.value
            self.need = made if type(made) is LastPart or isinstance(made, Body) else _Ended(made)
        except PayloadError as error:
            self.need = _Ended(Decode(partial(_refuse, error)))
        else:
            kind = type(need)
            is_known = kind is int or kind is Part or kind is Struct or (kind is bytes and need)
            if not is_known and not is_condition(need):
                raise TypeError(f"fields yielded {need!r}, which is not a size, delimiter, struct or condition")


_NO_FRAMES: deque[Any] = deque()  # shared and never appended to: most runs receive bytes only


class _Ended:
    """How the generator ended: the span's fourth item."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _refuse(error: PayloadError, _payload: bytes) -> NoReturn:
    raise error


class _Place:
    """How far into a frame the search is: the memo, so positions count from the frame's first byte.

    It never changes.

    Attributes:
        run: the generator's pass through the frame.
        answers: how many it had received.
        offset: where the current field begins.
        first: where the payload of the first field begins; None in that field.
        memo: the memo of the field's condition.
        span: the field's span, if it is known and not complete.
    """

    __slots__ = ("answers", "first", "memo", "offset", "run", "span")  # a named tuple takes twice as long to make

    def __init__(self, run: _Run, answers: int, offset: int, first: int | None, memo: Any, span: Found | None) -> None:
        self.run = run
        self.answers = answers
        self.offset = offset
        self.first = first
        self.memo = memo
        self.span = span

    def moved(self, run: _Run, offset: int, first: int | None, memo: Any, span: Found | None = None) -> _Place:
        """Return the place for this progress; nearly every byte of a field that drips in changes nothing."""
        is_same = (
            offset == self.offset
            and run is self.run
            and run.answers == self.answers
            and memo is self.memo
            and span is self.span
        )
        return self if is_same else _Place(run, run.answers, offset, first, memo, span)


def _find(place: _Place, run: _Run, window: Window) -> Span | ValueSpan | NeedMore:
    """Continue with the field that the run needs, and with those after it."""
    data, origin = window.data, window.start - window.taken
    size, at = len(data), origin + place.offset
    last, resume = at, window.resume
    first, memo, span = place.first, place.memo, place.span
    field: bytes | bytearray | None
    while True:
        need = run.need
        kind = type(need)
        payload, field = at, None
        if kind is int or kind is Struct:
            length = need if kind is int else need.size
            if length < 0:
                raise FramingError(f"a field of {counted(length, 'byte')}", position=last)
            stop = at + length
            if stop > size:
                return NeedMore(stop - window.start, resume=at, memo=place.moved(run, at - origin, first, None))
            field = bytes(data[at:stop])
            answer: Any = field if kind is int else need.unpack(field)
        elif kind is bytes and need:
            end = data.find(need, max(at, resume))
            if end < 0:
                after = max(at, size - len(need) + 1)
                return NeedMore(resume=after, memo=place.moved(run, at - origin, first, None))
            answer, stop = bytes(data[at:end]), end + len(need)
            field = data[at:stop]
        elif kind is _Ended:
            return window.start, at, at, need.value
        elif kind is LastPart or isinstance(need, Body):
            break
        else:
            condition = need.condition if kind is Part else need
            inner = Window(data, at, max(at, resume), memo, window.eof)
            found = _ask(condition, inner, first is not None) if span is None else shifted(span, origin)
            at = inner.start
            if type(found) is NeedMore:
                check_own_limit(condition, data, at, 0, size - at)
                here = place.moved(run, at - origin, first, found.memo)
                return still_missing(found, inner, window, here, settles=False)
            payload, end, stop, *value = found
            if value and value[0] is PADDING:
                return payload, end, stop, PADDING
            check_own_limit(condition, data, at, end - payload, stop - at)
            if stop > size:
                # Its extent is known: it is not asked again.
                here = place.moved(run, at - origin, first, None, shifted(found, -origin))
                return NeedMore(stop - window.start, resume=at, memo=here)
            answer = _decoded(condition, found, inner, lenient=kind is Part)
        last = at
        if first is None:
            first = payload - origin
        _send(run, answer, field, last)
        at, memo, span, resume = stop, None, None, 0
    if type(need.field) is int:
        return _sized_body(need, need.field, at, last)
    return _find_body(need, need.field, place.moved(run, at - origin, first, memo), window, resume)


def _send(run: _Run, answer: Any, field: bytes | bytearray | None, position: int) -> None:
    """Send the generator a field that begins at this position; its errors are placed there."""
    try:
        run.send(answer, field)
    except FramingError as error:
        if error.position is None:
            error.position = position
        raise
    except ValueError as error:
        raise FramingError(str(error), position=position) from error


def _sized_body(body: Body[Any], size: int, at: int, last: int) -> ValueSpan:
    if size < 0:
        raise FramingError(f"a body of {counted(size, 'byte')}", position=last)
    stop = at + size
    return at, stop, stop + len(body.trailer), Decode(body.make, trailer=body.trailer)


def _find_body(
    body: Body[Any], condition: ReadCondition[Any], place: _Place, window: Window, resume: int
) -> Span | ValueSpan | NeedMore:
    """Continue with a body that a condition reads. Only this settles payload.

    If fields before it did, whether a frame is skipped would depend on whether it had arrived when one of
    them became too large.
    """
    origin = window.start - window.taken
    begin = origin + place.offset
    start = max(begin, window.start)
    inner = Window(window.data, start, max(start, resume), place.memo, window.eof, start - begin)
    found = _ask(condition, inner, place.first is not None)
    covered = place.first if type(body) is LastPart else None
    payload_start = None if covered is None else max(origin + covered, window.start)
    if type(found) is NeedMore:
        here = place.moved(place.run, inner.start - inner.taken - origin, place.first, found.memo)
        more = still_missing(found, inner, window, here)
        if more.settled is not None and payload_start is not None:
            more.payload_start = payload_start
        return more
    first, stop, end, *value = found
    if value and value[0] is PADDING:
        return first, stop, end, PADDING
    how = decoder_of(condition, found)
    decode, make = how.decode, body.make
    skip = 0 if payload_start is None else first - payload_start
    return when_whole(how, lambda data: make(decode(data[skip:])), window, first - skip, stop, end)


def _ask(condition: ReadCondition[Any], inner: Window, past_padding: bool) -> Any:
    """Return what the condition finds.

    Padding before the first field is before the frame, and the stream may end after it. Before any
    other field it is skipped.
    """
    try:
        return find_past_padding(condition, inner) if past_padding else condition.find(inner)
    except FramingError as error:
        if error.position is None:
            error.position = inner.start
        raise


def _decoded(condition: ReadCondition[Any], found: Found, inner: Window, *, lenient: bool) -> Any:
    try:
        return complete(condition, found, inner.data)
    except (FramingError, FramerContractError):
        raise
    except Exception as error:
        if not lenient:
            raise FramingError(f"a field cannot be decoded: {reason_of(error)}", position=inner.start) from error
        return Failure(reason_of(error))
