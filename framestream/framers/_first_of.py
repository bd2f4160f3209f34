"""FirstOf: several framings on one stream, told apart by their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from framestream._conditions import Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream._errors import EncodeError, FramingError
from framestream.framers._steps import pieces_of
from framestream.framers._when import OtherBeginning, When
from framestream.framers._whole import decode_whole, refuse_truncated

T = TypeVar("T")


@dataclass(frozen=True, init=False)
class FirstOf(Framer[T]):
    r"""Read each frame with the first of several conditions that does not refuse it.

    ::

        FirstOf(When(b"\x00", LengthPrefix(2)), Line()):   b"\0\2hione\n"  ->  b"hi", "one"

    The choice is made anew for every frame. An alternative that is undecided is waited for: the bytes are
    kept, and the next one sees all of them if the first refuses with `FramingError` after all. `When`
    decides by the first bytes alone; what the condition behind it refuses is refused. Only such an
    alternative, and the last one, can be streamed in parts before a frame's end is known. A frame truncated
    at the limit is a `PayloadError`.

    The limit is the largest of the alternatives', if all have one. Writing takes the first alternative
    that accepts the frame and would be chosen again when it is read back.
    """

    name = "first-of"

    alternatives: Annotated[tuple[ReadCondition[T], ...], "The framers to choose from, in order."]

    def __init__(self, *alternatives: ReadCondition[T]) -> None:
        if not alternatives:
            raise ValueError("there must be at least one alternative")
        for alternative in alternatives:
            if not isinstance(alternative, ReadCondition):
                raise TypeError(f"{alternative!r} is not a read condition")
        object.__setattr__(self, "alternatives", alternatives)
        limits = [alternative.max_size for alternative in alternatives]
        known = [limit for limit in limits if limit is not None]
        object.__setattr__(self, "max_size", max(known) if len(known) == len(limits) else None)
        object.__setattr__(self, "overhead", max(each.overhead for each in alternatives))
        object.__setattr__(self, "can_be_empty", any(each.can_be_empty for each in alternatives))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the first alternative finds that does not refuse the frame."""
        number, memo, refusals = window.memo or (0, None, ())
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        while True:
            try:
                found: Any = self.alternatives[number].find(inner)
                break
            except FramingError as error:
                if len(self.alternatives) == 1 or not self._may_be_another(number, error):
                    raise
                place = inner.start if error.position is None else error.position
                refusals = (*refusals, (number, error.reason, place - inner.start))
                number += 1
                if number == len(self.alternatives):
                    raise self._combined(refusals, inner.start) from error
                inner.resume, inner.memo = inner.start, None
        if isinstance(found, NeedMore):
            return self._wait(number, inner, found, refusals)
        return self._with_decode(self.alternatives[number], found, window)

    def _may_be_another(self, number: int, error: FramingError) -> bool:
        return isinstance(error, OtherBeginning) or not isinstance(self.alternatives[number], When)

    def _with_decode(
        self, alternative: ReadCondition[T], found: tuple[Any, ...], window: Window
    ) -> Span | ValueSpan:
        first, stop, end, *value = found
        if not value:
            return first, stop, end, decode_whole(alternative.decode, window, found)
        if isinstance(value[0], Decode):
            return first, stop, end, decode_whole(value[0].decode, window, found)
        return first, stop, end, value[0]

    def _wait(self, number: int, inner: Window, more: NeedMore, refusals: tuple[Any, ...]) -> NeedMore:
        # What an alternative settles is final only if no other one can be asked after it. Otherwise a frame
        # passed on in parts would be read by another alternative than one that arrives at once.
        final = number + 1 == len(self.alternatives) or isinstance(self.alternatives[number], When)
        return NeedMore(
            more.size,
            resume=inner.resume if more.resume is None else more.resume,
            memo=(number, more.memo, refusals),
            settled=more.settled if final else None,
            payload_start=more.payload_start if final else None,
        )

    def _combined(self, refusals: tuple[tuple[int, str, int], ...], start: int) -> FramingError:
        """Make one error of several, placed where the alternative that came furthest gave up."""
        reasons = "; ".join(f"{self.alternatives[number]}: {reason}" for number, reason, _ in refusals)
        return FramingError(f"no alternative fits ({reasons})", position=start + max(refusals, key=_place)[2])

    def decode(self, payload: bytes) -> T:
        """Refuse: who decodes a frame is known when it is found, and this one was truncated."""
        refuse_truncated(payload)

    def encode(self, frame: T) -> list[bytes]:
        """Return what the first alternative writes that accepts the frame and would read it back."""
        reasons = []
        for number, alternative in enumerate(self.alternatives):
            try:
                pieces = pieces_of(alternative, frame)
                chosen = self._chosen(b"".join(pieces))
            except (EncodeError, TypeError, AttributeError) as error:
                reasons.append(f"{alternative}: {error}")
                continue
            if chosen == number:
                return pieces
            reasons.append(f"{alternative}: it would be read as {self.alternatives[chosen]}")
        raise EncodeError(f"no alternative can write it ({'; '.join(reasons)})")

    def _chosen(self, data: bytes) -> int:
        """Return which alternative would read these bytes."""
        for number, alternative in enumerate(self.alternatives[:-1]):
            try:
                alternative.find(Window(data))
            except FramingError as error:
                if not self._may_be_another(number, error):
                    return number
            else:
                return number
        return len(self.alternatives) - 1

    def explain(self, window: Window) -> str:
        """Guess as the first alternative does that has a guess."""
        return next(filter(None, (each.explain(window) for each in self.alternatives)), "")


def _place(refusal: tuple[int, str, int]) -> int:
    return refusal[2]
