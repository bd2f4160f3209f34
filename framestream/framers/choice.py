"""FirstOf and When: several framings on one stream, told apart by their bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeVar

from framestream.errors import EncodeError, FramingError
from framestream.framer import Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window, check_condition
from framestream.framers.answers import (
    Over,
    decoder_of,
    pieces_of,
    reason_of,
    refuse_truncated,
    shifted,
    split_by,
    still_missing,
    when_whole,
    whole,
)

T = TypeVar("T")

# How long an alternative may stay undecided before it is chosen. The limit allows for it, so that what is
# too large does not depend on whether the deciding byte arrives with the others.
_SNIFFED = 64


@dataclass(frozen=True)
class When(Over[T], Framer[T]):
    r"""Read frames with a condition if they begin with certain bytes, and refuse all others.

    ::

        When(b"$", Line()):                        b"$one\n"  ->  "$one"
        When((), LengthPrefix(1), one_of=b"\1\2"): b"\2hi"    ->  b"hi"

    It is made for `FirstOf`, which chooses by it alone: once the bytes match, that alternative is chosen.
    These first bytes are still part of what the condition reads. Writing refuses a frame that does not
    begin with them.
    """

    name = "when"

    beginnings: Annotated[bytes | tuple[bytes, ...], "What the frame begins with: bytes, or several to choose from."]
    condition: Annotated[ReadCondition[T], "Reads the frame, from its first byte."]
    _: KW_ONLY
    one_of: Annotated[bytes, "Single bytes, each of which is also a beginning."] = b""

    _accepted: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._adopt(self.condition)
        given = (self.beginnings,) if isinstance(self.beginnings, bytes) else tuple(self.beginnings)
        for value in (*given, self.one_of):
            if not isinstance(value, bytes):
                raise TypeError(f"beginning {value!r} is not bytes")
        accepted = (*given, *(bytes((byte,)) for byte in self.one_of))
        if not accepted or b"" in accepted:
            raise ValueError("a guard needs bytes to look for; it is given none, or empty ones")
        self.__dict__.update(beginnings=given, _accepted=accepted, _longest=max(map(len, accepted)))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the condition finds, once the required beginning has arrived."""
        if window.memo is None and not (fits := self.fits(window.data, window.start)):
            if fits is None:
                return NeedMore()
            raise FramingError(self.refusal, position=window.start)
        return self.find_fitting(window)

    def find_fitting(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the condition finds in a frame whose beginning is known to match."""
        memo = window.memo and window.memo[0]
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        found = self.condition.find(inner)
        if type(found) is NeedMore:
            # A tuple even around None: the beginning is not checked again, as it may be consumed by then.
            return still_missing(found, inner, window, (found.memo,))
        return found

    def fits(self, data: bytes | bytearray, start: int) -> bool | None:
        """Tell whether a frame begins as required; None if that is undecided."""
        if data.startswith(self._accepted, start):
            return True
        seen = bytes(data[start : start + self._longest])
        undecided = len(seen) < self._longest and any(each.startswith(seen) for each in self._accepted)
        return None if undecided else False

    @cached_property
    def refusal(self) -> str:
        """The message for a frame that begins otherwise, without its bytes: their number may vary."""
        more = ", ..." if len(self._accepted) > 5 else ""
        return f"frame does not begin with {' or '.join(map(repr, self._accepted[:5]))}{more}"

    def encode(self, frame: T) -> list[bytes]:
        """Return what the condition writes, if it begins as required."""
        pieces = pieces_of(self.condition, frame)
        if not (fits := self.fits(b"".join(pieces), 0)):
            short = "frame is shorter than what it must begin with"
            raise EncodeError(short if fits is None else self.refusal)
        return pieces


@dataclass(frozen=True, init=False)
class FirstOf(Framer[T]):
    r"""Read each frame with the first of several conditions that does not refuse it.

    ::

        FirstOf(When(b"\x00", LengthPrefix(2)), Line()):   b"\0\2hione\n"  ->  b"hi", "one"

    The choice is made anew for every frame. An undecided alternative is waited for: the bytes are
    kept, and if it then refuses with `FramingError`, the next one sees all of them. An
    alternative that has not refused the first 64 bytes is chosen, and its later refusal is final. `When`
    chooses by its first bytes alone. A frame truncated at the limit is a `PayloadError`.

    If all alternatives tell where their frames may begin, the nearest of those places is a likely start.

    The limit is the largest of the alternatives', if all have one. Writing takes the first alternative
    that accepts the frame and would be chosen when it is read back.
    """

    name = "first-of"

    alternatives: Annotated[tuple[ReadCondition[T], ...], "The framers to choose from, in order."]

    _by_byte: dict[int, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __init__(self, *alternatives: ReadCondition[T]) -> None:
        if not alternatives:
            raise ValueError("there must be at least one alternative")
        for alternative in alternatives:
            check_condition(alternative, "alternative")
        limits = [alternative.max_size for alternative in alternatives]
        known = [limit for limit in limits if limit is not None]
        worth = [alternative.synchronises for alternative in alternatives]
        sniffed = 0 if all(isinstance(each, When) for each in alternatives[:-1]) else _SNIFFED
        self.__dict__.update(
            alternatives=alternatives,
            max_size=max(known) if len(known) == len(limits) else None,
            overhead=max(sniffed, *(each.overhead for each in alternatives)),
            can_be_empty=any(each.can_be_empty for each in alternatives),
            # The bytes that begin a frame of one may be inside a frame of another.
            synchronises=worth[0] if len(worth) == 1 else "likely" if all(worth) else None,
            lookbehind=max(each.lookbehind for each in alternatives),
            _by_byte={},
        )

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the first alternative finds that does not refuse the frame."""
        first, memo = window.memo or (0, None)
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        fitting = self._fitting(inner)
        if window.taken:  # bytes of a frame are passed on only after an alternative is chosen
            fitting = (first,)
        elif first:
            fitting = fitting[bisect_left(fitting, first) :]
        for number in fitting:
            found: Any = self._ask(number, inner)
            if type(found) is tuple:
                if len(found) == 4 and type(found[3]) is not Decode:
                    return found  # its value, or a sign that it is padding
                how = decoder_of(self.alternatives[number], found)
                return when_whole(how, how.decode, window, *found[:3])
            if type(found) is NeedMore:
                return self._wait(number, inner, found)
            inner.resume, inner.memo = inner.start, None
        raise self._refusal(inner)

    def split(self, window: Window) -> tuple[list[T], int]:
        """Cut frames while the choice is easy."""
        return split_by(self._whole, window)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the nearest of the places where the alternatives' frames may begin."""
        found = [alternative.find_start(window) for alternative in self.alternatives]
        nearest = min((place for place in found if isinstance(place, int)), default=None)
        unclear = [window.start if more.resume is None else more.resume for more in found if isinstance(more, NeedMore)]
        if nearest is not None and all(nearest <= place for place in unclear):
            return nearest
        return NeedMore(resume=min(unclear))

    def _whole(self, data: bytes, at: int, inner: Window) -> tuple[T, int] | None:
        inner.start = inner.resume = at
        if not (fitting := self._fitting(inner)):
            return None
        chosen = self.alternatives[number := fitting[0]]
        if isinstance(chosen, When) and chosen.fits(data, at):
            return whole(chosen.condition, data, at, inner)
        return whole(chosen if number + 1 == len(self.alternatives) else self, data, at, inner)

    def _fitting(self, window: Window) -> Sequence[int]:
        """Return the alternatives for a frame with this first byte: guards are looked up, not asked."""
        if window.start >= len(window.data):
            return range(len(self.alternatives))
        byte = window.data[window.start]
        if (fitting := self._by_byte.get(byte)) is None:
            fitting = tuple(
                number
                for number, each in enumerate(self.alternatives)
                if not isinstance(each, When) or each.fits(bytes((byte,)), 0) is not False
            )
            self._by_byte[byte] = fitting
        return fitting

    def _ask(self, number: int, inner: Window) -> Span | ValueSpan | NeedMore | None:
        """Return the alternative's answer; None if it refuses the frame and the next one is to be asked."""
        alternative = self.alternatives[number]
        if len(self.alternatives) == 1:
            return alternative.find(inner)
        if isinstance(alternative, When):
            fits = inner.memo is not None or alternative.fits(inner.data, inner.start)
            if fits:
                return alternative.find_fitting(inner)
            return NeedMore() if fits is None else None
        seen = len(inner.data) - inner.start + inner.taken
        if inner.resume == inner.start and inner.memo is None and seen > _SNIFFED and not inner.taken:
            # Nothing has asked it about this frame: what it says of the first bytes may be all that is needed.
            found = _told_by_beginning(alternative, inner)
            return alternative.find(inner) if type(found) is NeedMore else found
        try:
            return alternative.find(inner)
        except FramingError:
            if inner.taken or (seen > _SNIFFED and _told_by_beginning(alternative, inner) is not None):
                raise
            return None

    def _wait(self, number: int, inner: Window, more: NeedMore) -> NeedMore:
        # Payload that an alternative settles is final only if no other one can be asked after it.
        alternative = self.alternatives[number]
        seen = len(inner.data) - inner.start + inner.taken
        final = number + 1 == len(self.alternatives) or isinstance(alternative, When) or seen >= _SNIFFED
        return still_missing(more, inner, inner, (number, more.memo), settles=final)

    def _refusal(self, window: Window) -> FramingError:
        """Combine all refusals into one error, placed where the alternative that got furthest gave up."""
        reasons, furthest = [], window.start
        for each in self.alternatives:
            try:
                each.find(Window(window.data, window.start, eof=window.eof))
            except FramingError as error:
                reasons.append(f"{each}: {error.reason}")
                furthest = max(furthest, error.position or 0)
        return FramingError(f"no alternative fits ({'; '.join(reasons)})", position=furthest)

    def decode(self, payload: bytes) -> T:
        """Refuse a truncated frame: what decodes a frame is known only when all of it is found."""
        refuse_truncated(payload)

    def encode(self, frame: T) -> list[bytes]:
        """Return what the first alternative writes that accepts the frame and would read it back."""
        reasons = []
        for number, alternative in enumerate(self.alternatives):
            try:
                pieces = pieces_of(alternative, frame)
                chosen = self._chosen(b"".join(pieces))
            except Exception as error:  # noqa: BLE001 - one that cannot write it leaves it to the others
                reasons.append(f"{alternative}: {reason_of(error)}")
                continue
            if chosen == number:
                return pieces
            reasons.append(f"{alternative}: it would be read as {self.alternatives[chosen]}")
        raise EncodeError(f"no alternative can write it ({'; '.join(reasons)})")

    def _chosen(self, data: bytes) -> int:
        """Return which alternative would read these bytes."""
        window, last = Window(data), len(self.alternatives) - 1
        for number in self._fitting(window):
            try:
                if number == last or self._ask(number, window) is not None:
                    return number
            except FramingError:
                return number
        return last

    def explain(self, window: Window) -> str:
        """Return the guess of the first alternative that has one."""
        return next(filter(None, (each.explain(window) for each in self.alternatives)), "")


def _told_by_beginning(alternative: ReadCondition[Any], window: Window) -> Span | ValueSpan | NeedMore | None:
    """Return the alternative's answer to the bytes that a guess needs; None if it refuses the frame."""
    start = window.start
    try:
        found: Any = alternative.find(Window(bytes(window.data[start : start + _SNIFFED])))
    except FramingError:
        return None
    return shifted(found, start) if type(found) is tuple else found
