"""Mapped, Nested, Sequence and HeaderThenBody: other framings' frames, turned into something else or put together.

Frames of several parts are cut by the engine of `GeneratorFramer`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar

from framestream.errors import (
    EncodeError,
    FramerContractError,
    FramingError,
    PayloadError,
    check_count,
    check_function,
    counted,
)
from framestream.framer import (
    PADDING,
    Framer,
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
    Over,
    check_own_limit,
    complete,
    decoder_of,
    find_past_padding,
    pieces_of,
    reason_of,
    split_by,
    whole,
)
from framestream.framers.generator import Fields, GeneratorFramer, LastPart

T = TypeVar("T")

Step: TypeAlias = ReadCondition[Any] | Callable[..., ReadCondition[Any]]
"""A condition, or a function that makes one from the values of the parts before it."""

# What a condition that is not known yet may need besides its payload.
_UNKNOWN_OVERHEAD = 64


class Loading(Over[T], Framer[T]):
    """A framer over another condition: the same frames with other values."""

    @abstractmethod
    def _load(self, value: Any) -> T:
        """Turn the other condition's frame into this one's; an exception makes it a bad payload."""

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the other condition finds."""
        found: Any = self._cutter.find(window)
        if type(found) is not tuple or len(found) == 3 or found[3] is PADDING:
            return found  # type: ignore[no-any-return]
        first, stop, end, _ = found
        load, how = self._load, decoder_of(self._cutter, found)
        return first, stop, end, how.using(lambda data: load(how.decode(data)))

    def decode(self, payload: bytes) -> T:
        """Turn the other condition's frame into this one's value."""
        return self._load(self._cutter.decode(payload))

    def split(self, window: Window) -> tuple[list[T], int]:
        """Let the other condition cut the batch; if a value of it is refused, cut frame by frame up to there."""
        frames, end = self._cutter.split(window)
        try:
            return [self._load(frame) for frame in frames], end
        except Exception:  # noqa: BLE001 - it is raised again, with the place of its frame
            return super().split(window)


@dataclass(frozen=True)
class Mapped(Loading[T]):
    r"""Another condition's frames, each turned into a value by a function.

    ::

        Mapped(Line(), json.loads, json.dumps):   b'{"a": 1}\n'   ->  {"a": 1}

    Any exception in `load` makes the frame a `PayloadError`: it is consumed and reading continues after it.
    Without `dump` it only reads.
    """

    name = "mapped"

    condition: Annotated[ReadCondition[Any], "Cuts the frames."]
    load: Annotated[Callable[[Any], T], "Turns a frame into a value."]
    dump: Annotated[Callable[[T], Any] | None, "Turns a value back into a frame, for writing."] = None

    def __post_init__(self) -> None:
        self._adopt(self.condition)
        check_function("load", self.load)
        check_function("dump", self.dump, optional=True)

    def _load(self, value: Any) -> T:
        return self.load(value)

    def encode(self, frame: T) -> list[bytes]:
        """Return what the condition writes for the dumped value.

        Raises:
            EncodeError: there is no `dump`, it refuses the value, or the condition refuses what it returns.
        """
        if self.dump is None:
            raise EncodeError("it only reads: there is no dump function")
        try:
            dumped = self.dump(frame)
        except Exception as error:
            raise EncodeError(reason_of(error)) from error
        return pieces_of(self.condition, dumped)


@dataclass(frozen=True)
class Nested(Loading[T]):
    r"""Frames whose payload is exactly one frame of another framing.

    ::

        Nested(LengthPrefix(1), Msgpack()):   b"\x04\x93\1\2\3"   ->  [1, 2, 3]

    A payload that is not exactly one inner frame is a `PayloadError`: the outer framing is
    still in step. To the inner framing, the end of the payload is the end of a stream; its padding may
    surround the frame.
    """

    name = "nested"

    outer: Annotated[ReadCondition[bytes], "Cuts the payloads."]
    inner: Annotated[ReadCondition[T], "Reads the one frame in each payload."]

    def __post_init__(self) -> None:
        self._adopt(self.outer)
        check_condition(self.inner, "inner")

    def _load(self, value: Any) -> T:
        inner, window, size = self.inner, Window(value, eof=True), len(value)
        try:
            found = find_past_padding(inner, window)
            start = window.start
            if type(found) is NeedMore or found[2] > size:
                raise PayloadError(f"payload of {counted(size, 'byte')} is cut short: its inner frame has no end")
            check_own_limit(inner, value, start, found[1] - found[0], found[2] - start)
            frame: T = complete(inner, found, value)
        except FramingError as error:
            place = f" at byte {error.position}" if error.position is not None else ""
            raise PayloadError(f"payload is no {inner.name or type(inner).__name__}{place}: {error.reason}") from error
        if found[2] < size:
            window.start = window.resume = found[2]
            window.memo = None
            with suppress(FramingError):
                find_past_padding(inner, window)
            if window.start < size:
                raise PayloadError(f"payload of {counted(size, 'byte')}, but its inner frame ends after {found[2]}")
        return frame

    def encode(self, frame: T) -> list[bytes]:
        """Return what the outer framer writes for the inner framer's bytes."""
        return pieces_of(self.outer, b"".join(pieces_of(self.inner, frame)))


@dataclass(frozen=True, init=False)
class Sequence(GeneratorFramer[tuple[Any, ...]], Framer[tuple[Any, ...]]):
    r"""Frames made of parts, one after the other; the frame is the tuple of their values.

    ::

        Sequence(Line(), LengthPrefix(2)):                      b"one\n\0\2hi"  ->  ("one", b"hi")
        Sequence(FixedLength(1), lambda n: Exactly(n[0])):      b"\2hi"         ->  (b"\2", b"hi")

    A part is a condition, or a function that receives the values of all parts before it and returns one.
    An exception in the function is a `FramingError`: nothing after it can be trusted. A part that cannot be
    decoded makes the frame a `PayloadError`, unless a function depends on it.

    The payload, which the limit counts and which is streamed, is all bytes of the frame up to the end of the
    last part's payload. Every part but the last must be complete before the next
    one is looked at, and is held to its own `max_size`; the last one can be streamed or discarded in
    constant memory. A frame truncated at the limit is a `PayloadError`. Writing takes a tuple with one value
    for each part, all of which must be framers.
    """

    name = "sequence"

    steps: Annotated[tuple[ReadCondition[Any], ...], "The parts: framers, in the order of their bytes."]
    max_size: Annotated[int | None, "The largest payload, all parts together. Bytes."]

    _dependent: int = field(init=False, repr=False, compare=False)

    def __init__(self, *steps: Step, max_size: int | None = None) -> None:
        if not steps:
            raise ValueError("a sequence needs at least one part")
        check_count("max_size", max_size, optional=True)
        for step in steps:
            if not callable(step):
                check_condition(step, "part")
        self.__dict__.update(
            steps=steps,
            max_size=max_size,
            _dependent=max((i for i, s in enumerate(steps) if not is_condition(s)), default=0),
            overhead=sum(getattr(step, "overhead", _UNKNOWN_OVERHEAD) for step in steps),
            can_be_empty=all(getattr(step, "can_be_empty", False) for step in steps),
        )

    def fields(self) -> Fields[Any]:
        """Yield each part but the last one, which is the body."""
        values: tuple[Any, ...] = ()
        failure = ""
        for number, step in enumerate(self.steps[:-1]):
            value = None
            try:
                value = yield _condition_of(step, values)
            except PayloadError as error:
                # A part that another part depends on must be decodable. Elsewhere only this frame is lost.
                if number < self._dependent:
                    raise
                failure = failure or error.reason  # the error itself would hold this generator
            values += (value,)

        def make(last: Any) -> Any:
            if failure:
                raise PayloadError(failure)
            return (*values, last)

        return LastPart(_condition_of(self.steps[-1], values), make)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Cut every whole frame, without the notes that `find` keeps of its progress."""
        return split_by(self._whole, window)

    def _whole(self, data: bytes, at: int, inner: Window) -> tuple[Any, int] | None:
        values: tuple[Any, ...] = ()
        for step in self.steps:
            if (found := whole(_condition_of(step, values), data, at, inner)) is None:
                return None
            value, at = found
            values += (value,)
        return values, at

    def encode(self, frame: Any) -> list[bytes]:
        """Return the parts, each as its own framer writes it."""
        try:
            values = tuple(frame)
        except TypeError as error:
            kind = type(frame).__name__
            raise EncodeError(f"frame is of type {kind}, not one value for each part") from error
        if len(values) != len(self.steps):
            raise EncodeError(f"frame of {counted(len(values), 'value')} for {len(self.steps)} parts")
        pieces: list[bytes] = []
        for index, (step, value) in enumerate(zip(self.steps, values, strict=True)):
            try:
                condition = _condition_of(step, values[:index])
            except FramingError as error:
                raise EncodeError(f"part {index + 1} does not follow from those before: {error}") from error
            pieces.extend(pieces_of(condition, value))
        if self.max_size is not None:
            found = self.find(Window(b"".join(pieces)))
            if isinstance(found, tuple) and (size := found[1] - found[0]) > self.max_size:
                raise EncodeError(f"payload of {counted(size, 'byte')} exceeds the limit {self.max_size}")
        return pieces

    def explain(self, window: Window) -> str:
        """Guess as the first part does."""
        return first.explain(window) if is_condition(first := self.steps[0]) else ""


def _condition_of(step: Step, values: tuple[Any, ...]) -> ReadCondition[Any]:
    """Return the step's condition; a function is given the values before as its arguments."""
    if is_condition(step):
        return step
    try:
        condition: object = step(*values)  # type: ignore[operator]  # a step that is no condition is a function
    except (FramingError, FramerContractError):
        raise
    except Exception as error:
        raise FramingError(reason_of(error)) from error
    if not is_condition(condition):
        raise TypeError(f"{step!r} returned {condition!r}, not a read condition{meant_by(condition)}")
    return condition


@dataclass(frozen=True, init=False)
class HeaderThenBody(Sequence):
    r"""Frames whose header says how to read their body; the frame is the pair of both.

    ::

        HeaderThenBody(Line(), lambda line: Exactly(read_digits(line))):   b"2\nhi"  ->  ("2", b"hi")

    The function `body` receives the decoded header and returns what reads the body. A header for which it
    raises is a `FramingError`. It is a `Sequence` of two parts.
    """

    name = "header-then-body"

    def __init__(
        self, header: ReadCondition[Any], body: Callable[[Any], ReadCondition[Any]], *, max_size: int | None = None
    ) -> None:
        check_condition(header, "header")
        super().__init__(header, body, max_size=max_size)
        self.__dict__.update(header=header, body=body)
