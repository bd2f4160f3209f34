"""FirstOf and When: several framings on one stream, told apart by their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar

from framestream.errors import EncodeError, FramingError
from framestream.framer import Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window, check_condition
from framestream.framers.answers import (
    Over,
    decoder_of,
    pieces_of,
    reason_of,
    refuse_truncated,
    split_by,
    still_missing,
    when_whole,
    whole,
)

T = TypeVar("T")

_Refusals: TypeAlias = dict[int, tuple[str, int]]
"""Why alternatives refuse a frame, and where they gave up."""

# How long an alternative may stay undecided before it is chosen. The limit allows for it, so that what is
# too large does not depend on whether the deciding byte arrives with the others.
_SNIFFED = 64


@dataclass(frozen=True)
class When(Over[T], Framer[T]):
    r"""Read frames with a condition if they begin with certain bytes, and refuse all others.

    ::

        When(b"$", Line()):                        b"$one\n"  ->  "$one"
        When((b"\1", b"\2"), LengthPrefix(1)):     b"\2hi"    ->  b"hi"

    It is made for `FirstOf`, which chooses by it alone: once the bytes match, that alternative is chosen.
    These first bytes are still part of what the condition reads. Writing refuses a frame that does not
    begin with them.
    """

    name = "when"

    beginnings: Annotated[bytes | tuple[bytes, ...], "What the frame begins with: bytes, or several to choose from."]
    condition: Annotated[ReadCondition[T], "Reads the frame, from its first byte."]

    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._adopt(self.condition)
        beginnings: tuple[Any, ...] = self.beginnings if isinstance(self.beginnings, tuple) else (self.beginnings,)
        for value in beginnings:
            if not isinstance(value, bytes):
                raise TypeError(f"beginning {value!r} is not bytes")
        if not beginnings or b"" in beginnings:
            raise ValueError("a guard needs bytes to look for; it is given none, or empty ones")
        self.__dict__.update(beginnings=beginnings, _longest=max(map(len, beginnings)))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the condition finds, once the required beginning has arrived."""
        if not window.taken and not (fits := self.fits(window.data, window.start)):
            if fits is None:
                return NeedMore()
            raise FramingError(self._refusal, position=window.start)
        return self.condition.find(window)

    def fits(self, data: bytes | bytearray, start: int) -> bool | None:
        """Tell whether a frame begins as required; None if that is undecided."""
        if data.startswith(self.beginnings, start):
            return True
        seen = bytes(data[start : start + self._longest])
        return None if any(each.startswith(seen) for each in self.beginnings) else False  # type: ignore[union-attr]  # a tuple

    @property
    def _refusal(self) -> str:
        # Without the bytes that stand there: their number may vary.
        more = ", ..." if len(self.beginnings) > 5 else ""
        return f"frame does not begin with {' or '.join(map(repr, self.beginnings[:5]))}{more}"

    def encode(self, frame: T) -> list[bytes]:
        """Return what the condition writes, if it begins as required."""
        pieces = pieces_of(self.condition, frame)
        if not (fits := self.fits(b"".join(pieces), 0)):
            short = "frame is shorter than what it must begin with"
            raise EncodeError(short if fits is None else self._refusal)
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

    _fitting: dict[int, list[tuple[int, ReadCondition[T], bool | None]]] = field(init=False, repr=False, compare=False)

    def __init__(self, *alternatives: ReadCondition[T]) -> None:
        if not alternatives:
            raise ValueError("there must be at least one alternative")
        for alternative in alternatives:
            check_condition(alternative, "alternative")
        limits: list[Any] = [alternative.max_size for alternative in alternatives]
        worth = [alternative.synchronises for alternative in alternatives]
        sniffed = 0 if all(isinstance(each, When) for each in alternatives[:-1]) else _SNIFFED
        self.__dict__.update(
            alternatives=alternatives,
            max_size=None if None in limits else max(limits),
            overhead=max(sniffed, *(each.overhead for each in alternatives)),
            can_be_empty=any(each.can_be_empty for each in alternatives),
            # The bytes that begin a frame of one may be inside a frame of another.
            synchronises=worth[0] if len(worth) == 1 else "likely" if all(worth) else None,
            lookbehind=max(each.lookbehind for each in alternatives),
            _fitting={},
        )

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the first alternative finds that does not refuse the frame."""
        refusals: _Refusals = {}
        found: Any = None
        number, memo = window.memo or (None, None)
        if number is None:
            number, found = self._choose(window, refusals)
        if number is None:
            return NeedMore()
        chosen = self.alternatives[number]
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        try:
            found = found or chosen.find(inner)
        except FramingError as error:
            if number == 0 or number < len(self.alternatives) - 1 or window.taken:
                raise
            if window.memo:
                self._choose(Window(window.data, window.start, eof=window.eof), refusals)
            raise self._refusal(window.start, refusals, error) from error
        if type(found) is NeedMore:
            return still_missing(found, inner, window, (number, found.memo))
        if len(found) == 4 and type(found[3]) is not Decode:
            return found  # type: ignore[no-any-return]  # with its value, or as padding
        return when_whole(decoder_of(chosen, found), window, *found[:3])

    def split(self, window: Window) -> tuple[list[T], int]:
        """Cut every whole frame, up to one that `find` has more to say about."""
        return split_by(self._whole, window)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the nearest of the places where the alternatives' frames may begin."""
        found = [alternative.find_start(window) for alternative in self.alternatives]
        places = [place for place in found if isinstance(place, int)]
        searched = min((more.resume or window.start for more in found if isinstance(more, NeedMore)), default=None)
        if searched is None or (places and min(places) <= searched):
            return min(places)
        return NeedMore(resume=searched)

    def _whole(self, data: bytes, at: int, inner: Window) -> tuple[T, int] | None:
        inner.start = at
        number, _ = self._choose(inner, {})
        if number is None:
            return None
        chosen = self.alternatives[number]
        if isinstance(chosen, When) and number < len(self.alternatives) - 1:
            chosen = chosen.condition  # the guard was asked, which that of the last alternative is not
        return whole(chosen, data, at, inner)

    def _choose(self, window: Window, refusals: _Refusals) -> tuple[int | None, Any]:
        """Return which alternative is to read the frame that begins here, and what it finds if it has been asked.

        The number is None if that is undecided. What is more than the first bytes has no say, so that it does
        not matter when it arrives. No alternative is asked the same twice: choices in choices would ask each
        twice as often as the one around it. So what the others say against the frame is kept in `refusals`.
        """
        data, start, stop = window.data, window.start, window.start + _SNIFFED
        first = data[start] if start < len(data) else -1
        if (fitting := self._fitting.get(first)) is None:
            # Guards are asked about each first byte once: from then on, those that it does not fit cost nothing.
            fitting = []
            for number, alternative in enumerate(self.alternatives[:-1]):
                fits = alternative.fits(data[start : start + 1], 0) if isinstance(alternative, When) else None
                if fits is not False:
                    fitting.append((number, alternative, fits))
            self._fitting[first] = fitting  # when it is whole: threads share it
        for number, alternative, fits in fitting:
            if fits:
                return number, None
            if isinstance(alternative, When):
                if (fits := alternative.fits(data, start)) is not False:
                    return (number if fits else None), None
                continue
            is_all = len(data) <= stop
            asked = Window(data, start, eof=window.eof) if is_all else Window(bytes(data[start:stop]))
            try:
                found = alternative.find(asked)
            except FramingError as error:
                # The error itself would hold the bytes.
                refusals[number] = error.reason, (error.position or 0) + start - asked.start
            else:
                decided = type(found) is tuple or len(data) >= stop
                return (number if decided else None), (found if is_all else None)
        return len(self.alternatives) - 1, None

    def _refusal(self, start: int, refusals: _Refusals, last: FramingError) -> FramingError:
        """Combine all refusals into one error, placed where the alternative that got furthest gave up."""
        # Those that were not asked are guards. What refuses fewer bytes only breaks the contract, and is left out.
        told: list[tuple[ReadCondition[T], str, int]] = []
        for number, each in enumerate(self.alternatives[:-1]):
            if number in refusals:
                told.append((each, *refusals[number]))
            elif isinstance(each, When):
                told.append((each, each._refusal, start))
        told.append((self.alternatives[-1], last.reason, last.position or 0))
        reasons = "; ".join(f"{each}: {reason}" for each, reason, _ in told)
        return FramingError(f"no alternative fits ({reasons})", position=max(start, *(place for *_, place in told)))

    def decode(self, payload: bytes) -> T:
        """Refuse a truncated frame: what decodes a frame is known only when all of it is found."""
        refuse_truncated(payload)

    def encode(self, frame: T) -> list[bytes]:
        """Return what the first alternative writes that accepts the frame and would read it back."""
        reasons = []
        for number, alternative in enumerate(self.alternatives):
            try:
                pieces = pieces_of(alternative, frame)
                chosen, _ = self._choose(Window(b"".join(pieces)), {})
            except Exception as error:  # noqa: BLE001 - one that cannot write it leaves it to the others
                reasons.append(f"{alternative}: {reason_of(error)}")
                continue
            if chosen == number:
                return pieces
            other = "another alternative" if chosen is None else self.alternatives[chosen]
            reasons.append(f"{alternative}: it would be read as {other}")
        raise EncodeError(f"no alternative can write it ({'; '.join(reasons)})")

    def explain(self, window: Window) -> str:
        """Return the guess of the first alternative that has one."""
        return next(filter(None, (each.explain(window) for each in self.alternatives)), "")
