"""FirstOf: several framings on one stream, told apart by their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

from framestream.errors import EncodeError, FramingError
from framestream.framer import Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers._steps import pieces_of, split_by_cut
from framestream.framers._when import OtherBeginning, When
from framestream.framers._whole import decode_whole, refuse_truncated

T = TypeVar("T")

# How long an alternative may stay undecided before it is taken for the right one. The limit allows for it,
# so that what is too large does not depend on whether the byte that decides arrives with the others.
_SNIFFED = 64

# Decoded where they are found. Larger payloads are copied only where they are delivered.
_SMALL = 4096


class Refusal(NamedTuple):
    """Why an alternative does not take a frame, and how many bytes into it."""

    reason: str
    place: int


@dataclass(frozen=True, init=False)
class FirstOf(Framer[T]):
    r"""Read each frame with the first of several conditions that does not refuse it.

    ::

        FirstOf(When(b"\x00", LengthPrefix(2)), Line()):   b"\0\2hione\n"  ->  b"hi", "one"

    The choice is made anew for every frame. An alternative that is undecided is waited for: the bytes are
    kept, and the next one sees all of them if the first refuses with `FramingError` after all. An
    alternative that has not refused the first 64 bytes is chosen: what it refuses later is refused. `When`
    chooses by its first bytes alone. A frame truncated at the limit is a `PayloadError`.

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
        sniffed = 0 if all(isinstance(each, When) for each in alternatives[:-1]) else _SNIFFED
        object.__setattr__(self, "overhead", max(sniffed, *(each.overhead for each in alternatives)))
        object.__setattr__(self, "can_be_empty", any(each.can_be_empty for each in alternatives))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the first alternative finds that does not refuse the frame."""
        number, memo, refusals = window.memo or (0, None, ())
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        while number < len(self.alternatives):
            alternative = self.alternatives[number]
            found: Any = self._ask(alternative, inner)
            if type(found) is tuple:
                return self._with_decode(alternative, found, window)
            if type(found) is NeedMore:
                return self._wait(number, inner, found, refusals)
            refusals = (*refusals, found)
            number += 1
            inner.resume, inner.memo = inner.start, None
        raise self._combined(refusals, inner.start)

    def _ask(self, alternative: ReadCondition[T], inner: Window) -> Span | ValueSpan | NeedMore | Refusal:
        """Return the alternative's answer, or why another one is to be asked."""
        if len(self.alternatives) == 1:
            return alternative.find(inner)
        if isinstance(alternative, When):
            # Its guard is asked first: an exception would cost as much as everything else.
            if inner.memo is None and alternative.fits(inner.data, inner.start) is False:
                return Refusal(alternative.refusal, 0)
            return alternative.find(inner)
        try:
            return alternative.find(inner)
        except FramingError as error:
            if not _refused_early(alternative, inner):
                raise
            place = inner.start if error.position is None else error.position
            return Refusal(error.reason, place - inner.start)

    def _with_decode(
        self, alternative: ReadCondition[T], found: tuple[Any, ...], window: Window
    ) -> Span | ValueSpan:
        first, stop, end, *value = found
        if value:
            if not isinstance(value[0], Decode):
                return first, stop, end, value[0]
            return first, stop, end, decode_whole(value[0].decode, window, found)
        if end <= len(window.data) and stop - first < _SMALL and not window.taken:
            try:
                return first, stop, end, alternative.decode(bytes(window.data[first:stop]))
            except Exception:  # noqa: BLE001, S110 - the decoder meets it again, in its place
                pass
        return first, stop, end, decode_whole(alternative.decode, window, found)

    def _wait(self, number: int, inner: Window, more: NeedMore, refusals: tuple[Any, ...]) -> NeedMore:
        # What an alternative settles is final only if no other one can be asked after it.
        alternative = self.alternatives[number]
        seen = len(inner.data) - inner.start + inner.taken
        final = number + 1 == len(self.alternatives) or isinstance(alternative, When) or seen >= _SNIFFED
        return NeedMore(
            more.size,
            resume=inner.resume if more.resume is None else more.resume,
            memo=(number, more.memo, refusals),
            settled=more.settled if final else None,
            payload_start=more.payload_start if final else None,
        )

    def _combined(self, refusals: tuple[Refusal, ...], start: int) -> FramingError:
        """Make one error of several, placed where the alternative that came furthest gave up."""
        pairs = zip(self.alternatives, refusals, strict=True)
        reasons = "; ".join(f"{alternative}: {refusal.reason}" for alternative, refusal in pairs)
        furthest = max(refusal.place for refusal in refusals)
        return FramingError(f"no alternative fits ({reasons})", position=start + furthest)

    def cut(self, data: bytes, start: int) -> tuple[T, int] | None:
        """Cut the one frame at `start`, if its alternative is decided by a guard, or is the first."""
        for alternative in self.alternatives:
            if not isinstance(alternative, When):
                return alternative.cut(data, start)
            if (fits := alternative.fits(data, start)) is not False:
                return alternative.condition.cut(data, start) if fits else None
        return None

    def split(self, window: Window) -> tuple[list[T], int]:
        """Cut frames as long as the choice is easy."""
        return split_by_cut(self.cut, window)

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
            except OtherBeginning:
                continue
            except FramingError:
                if not isinstance(alternative, When) and _refused_early(alternative, Window(data)):
                    continue
            return number
        return len(self.alternatives) - 1

    def explain(self, window: Window) -> str:
        """Guess as the first alternative does that has a guess."""
        return next(filter(None, (each.explain(window) for each in self.alternatives)), "")


def _refused_early(alternative: ReadCondition[Any], window: Window) -> bool:
    """Tell whether an alternative that refuses the frame has refused what may be sniffed of it."""
    if window.taken or len(window.data) - window.start <= _SNIFFED:
        return not window.taken
    try:
        alternative.find(Window(bytes(window.data[window.start : window.start + _SNIFFED])))
    except FramingError:
        return True
    return False
