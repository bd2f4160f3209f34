"""Mapped and Nested: another condition's frames, turned into something else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from framestream.checks import check_function
from framestream.errors import EncodeError, FramingError, PayloadError, counted
from framestream.framer import PADDING, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window, check_condition
from framestream.framers.answers import (
    Over,
    check_own_limit,
    complete,
    decoder_of,
    end_of,
    find_past_padding,
    pieces_of,
    reason_of,
)

T = TypeVar("T")


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
        """Let the other condition cut the batch."""
        frames, end = self._cutter.split(window)
        loaded: list[T] = []
        with suppress(Exception):  # it is raised again, with the place of its frame
            loaded.extend(map(self._load, frames))
        if len(loaded) < len(frames):  # StopIteration only ends the list
            end = end_of(self._cutter, window, len(loaded))
        return loaded, end


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
                if start and start == size:
                    raise PayloadError("payload holds no frame, only padding")
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
