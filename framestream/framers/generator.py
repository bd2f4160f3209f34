"""GeneratorFramer: frames of many fields, read by a generator that yields what it needs next.

All framings made of parts use this engine, `Sequence` and `HeaderThenBody` among them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from struct import Struct
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar

from framestream.errors import FramerContractError, FramingError, PayloadError, because, counted
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
    meant_by,
)
from framestream.framers.answers import (
    check_limit_before,
    check_own_limit,
    complete,
    decoder_of,
    find_past_padding,
    reason_of,
    refuse_truncated,
    still_missing,
    when_whole,
)

T = TypeVar("T")

# A generator that still asks for no bytes after so many fields, and so many more for each byte, would never end.
_MANY: Final = 1 << 16
_MANY_PER_BYTE: Final = 16


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
    """A body that a condition reads; the payload begins with the frame, so the fields before it are in it."""

    __slots__ = ()


Field: TypeAlias = int | bytes | Struct | ReadCondition[Any]
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

    A ``ValueError`` in it is a `FramingError` at the field read last, because the end of the frame is unknown.
    So is a field that cannot be decoded, which raises a `PayloadError` where the generator yields, unless
    the generator goes on after it. A `PayloadError` of its own says that the frame ends there and is bad.

    To write frames, derive from `Framer` as well: ``class Address(GeneratorFramer[...], Framer[...])``.
    """

    overhead = 64
    """The most bytes of header before a `Body`."""

    @abstractmethod
    def fields(self) -> Fields[T]:
        """Yield what is needed next, and return the frame."""

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the frame, or `NeedMore` for its current field."""
        place: _Place = window.memo or (_Run(self.fields()), 0, 0, None)
        run, answers, offset, memo = place
        if answers != run.answers:
            # A generator cannot go back: if asked from an earlier place, another one reads up to there.
            before, run = Window(bytes(run.read[:offset])), _Run(self.fields())
            _find(run, 0, None, before)
        return _find(run, offset, memo, window)

    def decode(self, payload: bytes) -> T:
        """Refuse a truncated frame: the generator makes the frame, from all of its fields."""
        refuse_truncated(payload)


class _Run:
    """One pass of a generator through a frame.

    Attributes:
        answers: how many answers the generator has received.
        need: what it yielded or, if it has `ended`, what it returned.
        read: the bytes of the fields that it has received.
    """

    __slots__ = ("answers", "ended", "generator", "need", "read")

    def __init__(self, generator: Fields[Any]) -> None:
        self.generator = generator
        self.answers = -1
        self.ended = False
        self.need: Any = None
        self.read = bytearray()
        self.go_on(generator.send, None)

    def go_on(self, step: Callable[[Any], Any], answer: Any, position: int | None = None) -> None:
        """Send or throw an answer to the generator; what it raises is placed at this position."""
        self.answers += 1
        try:
            self.need = step(answer)
        except StopIteration as stop:
            self.need, self.ended = stop.value, True
        except PayloadError as error:
            if error is answer:
                raise FramingError(f"a field cannot be decoded: {error.reason}", position=position) from error.__cause__
            self.need, self.ended = Decode(partial(_refuse, error)), True
        except FramingError as error:
            if error.position is None:
                error.position = position
            raise
        except ValueError as error:
            raise FramingError(str(error), position=position) from error


def _refuse(error: PayloadError, _payload: bytes) -> NoReturn:
    raise error


_Place: TypeAlias = tuple[_Run, int, int, Any]
"""How far into a frame the search is: the generator's pass through the frame, how many answers it had
received, where its current field begins, and the memo of that field's condition.

It is the memo, so positions count from the frame's first byte.
"""


def _find(run: _Run, offset: int, memo: Any, window: Window) -> Span | ValueSpan | NeedMore:
    """Continue with the field that the run needs and that begins at `offset`, and with those after it."""
    data, origin, resume = window.data, window.start - window.taken, window.resume
    last = at = origin + offset
    while not run.ended:
        need, step = run.need, run.generator.send
        kind = type(need)
        begin = at
        if kind is int or kind is Struct:
            length = need if kind is int else need.size
            if length < 0:
                raise FramingError(f"a field of {counted(length, 'byte')}", position=last)
            at += length
            if at > len(data):
                return NeedMore(at - window.start, resume=begin, memo=(run, run.answers, begin - origin, None))
            field = bytes(data[begin:at])
            answer = field if kind is int else need.unpack(field)
        elif kind is bytes and need:
            end = data.find(need, max(at, resume))
            if end < 0:
                resume = max(at, len(data) - len(need) + 1)
                return NeedMore(resume=resume, memo=(run, run.answers, at - origin, None))
            answer, at = bytes(data[at:end]), end + len(need)
        elif is_condition(need):
            inner, found = _ask(need, run, window, at, resume, memo)
            begin = inner.start
            if type(found) is NeedMore:
                check_own_limit(need, data, begin, 0, len(data) - begin)
                here = (run, run.answers, begin - origin, found.memo)
                more = still_missing(found, inner, window, here, settles=False)
                if need.max_size is not None:  # with so many, it is too large
                    more.size = min(more.size, begin + need.max_size + need.overhead + 1 - window.start)
                return more
            if found[-1] is PADDING:
                return found  # type: ignore[no-any-return]
            first, stop, at = found[:3]
            check_own_limit(need, data, begin, stop - first, at - begin)
            if at > len(data):
                return NeedMore(at - window.start, resume=begin, memo=(run, run.answers, begin - origin, None))
            try:
                answer = complete(need, found, data)
            except (FramingError, FramerContractError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it raises, the field is at fault
                answer, step = because(PayloadError(reason_of(error)), error), run.generator.throw
        else:
            hint = meant_by(need) if isinstance(need, type) else ""
            raise TypeError(f"fields yielded {need!r}, which is not a size, delimiter, struct or condition{hint}")
        if at == begin and run.answers > _MANY + _MANY_PER_BYTE * len(run.read):
            raise RuntimeError(f"fields asks for no bytes for ever: {run.answers} fields so far")
        run.read += data[origin + len(run.read) : at]
        run.go_on(step, answer, begin)
        last, memo, resume, answer = begin, None, 0, None  # an error must not hold the frame that holds it
    if not isinstance(run.need, Body):
        return window.start, at, at, run.need
    if type(run.need.field) is int:
        return _sized_body(run.need, run.need.field, at, last)
    return _find_body(run, window, at, resume, memo)


def _ask(
    condition: ReadCondition[Any], run: _Run, window: Window, at: int, resume: int, memo: Any
) -> tuple[Window, Any]:
    """Return what a condition finds in the field that begins at `at`, and the window it was asked with.

    Padding before the first field is before the frame, and the stream may end after it. Before any
    other field it is skipped.
    """
    start = max(at, window.start)
    inner = Window(window.data, start, max(start, resume), memo, window.eof, start - at)
    try:
        return inner, (find_past_padding(condition, inner) if run.answers else condition.find(inner))
    except FramingError as error:
        if error.position is None:
            error.position = inner.start
        if condition is run.need:  # and no body: that has the limit of the frame
            check_limit_before(condition, inner)
        raise


def _sized_body(body: Body[Any], size: int, at: int, last: int) -> ValueSpan:
    if size < 0:
        raise FramingError(f"a body of {counted(size, 'byte')}", position=last)
    stop = at + size
    return at, stop, stop + len(body.trailer), Decode(body.make, trailer=body.trailer)


def _find_body(run: _Run, window: Window, at: int, resume: int, memo: Any) -> Span | ValueSpan | NeedMore:
    """Continue with a body that a condition reads. Only this settles payload.

    If fields before it did, whether a frame is skipped would depend on whether it had arrived when one of
    them became too large.
    """
    body = run.need
    covers_all = type(body) is LastPart
    inner, found = _ask(body.field, run, window, at, resume, memo)
    if type(found) is NeedMore:
        begin = inner.start - inner.taken - (window.start - window.taken)
        more = still_missing(found, inner, window, (run, run.answers, begin, found.memo))
        if covers_all and more.settled is not None:
            more.payload_start = window.start
        return more
    if found[-1] is PADDING:
        return found  # type: ignore[no-any-return]
    first, stop, end = found[:3]
    how, make = decoder_of(body.field, found), body.make
    skip = first - window.start if covers_all else 0
    whole = how.using(lambda data: make(how.decode(data[skip:])))
    return when_whole(whole, window, first - skip, stop, end)
