"""The answers of a condition in one form, for conditions that are made of others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from framestream.errors import (
    EncodeError,
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    PayloadError,
    counted,
    describe_error,
)
from framestream.framer import (
    PADDING,
    Decode,
    Framer,
    NeedMore,
    ReadCondition,
    ValueSpan,
    Window,
    check_condition,
)

T = TypeVar("T")


def decoder_of(condition: ReadCondition[Any], found: tuple[Any, ...]) -> Decode:
    """Return what decodes the payload of a span, and the trailer that must follow it."""
    if len(found) == 3:
        return Decode(condition.decode)
    value = found[3]
    return value if type(value) is Decode else Decode(lambda _: value)


def complete(condition: ReadCondition[Any], found: tuple[Any, ...], data: bytes | bytearray) -> Any:
    """Return the frame of a span that has arrived completely.

    Raises:
        FramingError: it does not end with its trailer.
    """
    if len(found) == 3:
        first, stop, _ = found
        return condition.decode(bytes(data[first:stop]))
    first, stop, end, how = found
    if type(how) is not Decode:
        return how
    if not data.endswith(how.trailer, stop, end):
        raise FramingError(f"payload is not followed by {how.trailer!r}", position=stop)
    return how.decode(bytes(data[first:stop]))


def whole(condition: ReadCondition[Any], data: bytes, at: int, inner: Window) -> tuple[Any, int] | None:
    """Return the frame that begins here and where it ends, if it is complete and plain.

    `inner` is the window to ask with. Errors raised here are raised again by `find` and `decode`.
    """
    inner.start = inner.resume = at
    found: Any = condition.find(inner)
    limit = condition.max_size
    if type(found) is not tuple or found[2] > len(data) or (limit is not None and found[2] - at > limit):
        return None
    if len(found) == 3:  # a quarter of the time of a batch, as `complete` does it
        return condition.decode(data[found[0] : found[1]]), found[2]
    how = found[3]
    if how is PADDING or (type(how) is Decode and not how.final and found[2] == len(data)):
        return None
    return complete(condition, found, data), found[2]


def find_past_padding(condition: ReadCondition[Any], window: Window) -> Any:
    """Return what the condition finds after any padding; the window's start moves there."""
    while True:
        found: Any = condition.find(window)
        if type(found) is not tuple or found[-1] is not PADDING:
            return found
        if not window.start < found[2] <= len(window.data):
            raise FramerContractError(f"padding up to {found[2]} in {window!r}", framer=str(condition))
        window.start = window.resume = found[2]
        window.memo = None


def split_by(
    whole_frame: Callable[[bytes, int, Window], tuple[Any, int] | None], window: Window
) -> tuple[list[Any], int]:
    """Cut frames one by one with a function like `whole`, up to the first that is left to `find`."""
    frames: list[Any] = []
    data, end = bytes(window.data), window.start
    inner = Window(data, end, eof=window.eof)
    try:
        while (found := whole_frame(data, end, inner)) is not None and found[1] > end:
            frames.append(found[0])
            end = found[1]
    except Exception:  # noqa: BLE001, S110 - `find` or `decode` raises it again, in its place
        pass
    return frames, end


def when_whole(how: Decode, window: Window, first: int, stop: int, end: int) -> ValueSpan:
    """Return a span whose payload is decoded if it is complete.

    A truncated frame must not depend on how much was known about it when it became too large.
    """
    # A frame some of whose parts are consumed is being skipped; the part kept is never all of it.
    size = -1 if window.taken else stop - first

    def decode_whole(payload: bytes) -> Any:
        return how.decode(payload) if len(payload) == size else refuse_truncated(payload)

    return first, stop, end, how.using(decode_whole)


def refuse_truncated(payload: bytes) -> NoReturn:
    """Refuse a payload of a truncated frame."""
    raise PayloadError(f"nothing can be made of the first {counted(len(payload), 'byte')} alone")


def still_missing(more: NeedMore, inner: Window, window: Window, memo: Any, *, settles: bool = True) -> NeedMore:
    """Return what a condition still needs that was asked with its own window; `memo` wraps its memo.

    With `settles` false, payload that is final to the condition is not final here.
    """
    return NeedMore(
        inner.start - window.start + more.size,
        resume=inner.resume if more.resume is None else more.resume,
        memo=memo,
        settled=more.settled if settles else None,
        payload_start=inner.start if more.payload_start is None else more.payload_start,
    )


def check_own_limit(condition: ReadCondition[Any], data: bytes | bytearray, begin: int, size: int, extent: int) -> None:
    """Hold a part of a frame to its condition's own limit; the decoder holds the whole frame to its limit."""
    limit = condition.max_size
    if limit is None or (size <= limit and extent <= limit + condition.overhead):
        return
    # The size is in the message if the part declares it, whatever has arrived by now.
    probe = Window(data[begin : begin + limit + condition.overhead + 1])
    raise FrameTooLarge(limit=limit, size=size if type(condition.find(probe)) is tuple else None)


def check_limit_before(condition: ReadCondition[Any], window: Window) -> None:
    """Hold a part that is refused to its condition's own limit first: smaller chunks would have shown that."""
    limit, start = condition.max_size, window.start
    if limit is not None and len(window.data) > (most := start + limit + condition.overhead + 1):
        found: Any = None
        with suppress(FramingError):
            found = condition.find(Window(window.data[start:most]))
        if type(found) is NeedMore:
            raise FrameTooLarge(limit=limit)


class Over(ReadCondition[T]):
    """A condition whose frames another one finds."""

    _cutter: ReadCondition[Any]

    def _adopt(self, condition: ReadCondition[Any]) -> None:
        """Take the limits of the condition that finds the frames."""
        check_condition(condition, "condition")
        traits = ("max_size", "overhead", "can_be_empty", "synchronises", "lookbehind")
        self.__dict__.update({name: getattr(condition, name) for name in traits}, _cutter=condition)

    def decode(self, payload: bytes) -> T:
        """Return what the other condition makes of the payload."""
        return self._cutter.decode(payload)  # type: ignore[no-any-return]  # T

    def find_start(self, window: Window) -> int | NeedMore:
        """Return where the other condition's frames may begin."""
        return self._cutter.find_start(window)

    def explain(self, window: Window) -> str:
        """Guess as the other condition does."""
        return self._cutter.explain(window)


def reason_of(error: Exception) -> str:
    """Return why a user's function refuses a value.

    A ValueError is written for the sender of the value; any other exception needs its type to be understood.
    """
    is_worded = isinstance(error, ValueError | FramestreamError)
    return describe_error(error) if is_worded else f"{type(error).__name__}: {describe_error(error)}"


def pieces_of(condition: ReadCondition[Any], frame: Any) -> list[bytes]:
    """Return the buffers that the condition writes for a frame; refuse a condition that only reads."""
    if not isinstance(condition, Framer):
        raise EncodeError(f"{condition} only reads")
    encoded = condition.encode(frame)
    return [bytes(encoded)] if isinstance(encoded, bytes | bytearray | memoryview) else list(encoded)
