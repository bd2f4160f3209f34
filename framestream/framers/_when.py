"""When: a condition only for frames that begin in a certain way."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, TypeVar

from framestream.errors import EncodeError, FramingError
from framestream.framer import Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers._steps import pieces_of, split_by_cut

T = TypeVar("T")


class OtherBeginning(FramingError):
    """The frame does not begin as the guard wants; nobody has looked further."""


@dataclass(frozen=True)
class When(Framer[T]):
    r"""Read frames with a condition if they begin with certain bytes, and refuse all others.

    ::

        When(b"$", Line()):                        b"$one\n"  ->  "$one"
        When((), LengthPrefix(1), one_of=b"\1\2"): b"\2hi"    ->  b"hi"

    It is made for `FirstOf`, which chooses by it alone: once the bytes fit, that alternative is the one.
    The beginning stays part of what the condition reads. Writing refuses what does not begin so.
    """

    name = "when"

    beginnings: Annotated[
        bytes | tuple[bytes, ...], "What the frame begins with: bytes, or several to choose from."
    ]
    condition: Annotated[ReadCondition[T], "Reads the frame, from its first byte."]
    _: KW_ONLY
    one_of: Annotated[bytes, "Bytes of which each is a beginning, too."] = b""

    def __post_init__(self) -> None:
        given = (self.beginnings,) if isinstance(self.beginnings, bytes) else tuple(self.beginnings)
        object.__setattr__(self, "beginnings", given)
        accepted = (*given, *(bytes((byte,)) for byte in self.one_of))
        if not accepted or b"" in accepted:
            raise ValueError("a guard needs bytes to look for; it is given none, or empty ones")
        object.__setattr__(self, "_accepted", accepted)
        object.__setattr__(self, "_longest", max(map(len, accepted)))
        for limit in ("max_size", "overhead", "can_be_empty"):
            object.__setattr__(self, limit, getattr(self.condition, limit))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return what the condition finds, once the bytes are seen to begin as they must."""
        if window.memo is None and (missing := self._check(window)) is not None:
            return missing
        memo = window.memo and window.memo[0]
        inner = Window(window.data, window.start, window.resume, memo, window.eof, window.taken)
        found = self.condition.find(inner)
        if isinstance(found, NeedMore):
            # A tuple even around None: the beginning is not looked at again, it may be gone by then.
            return NeedMore(
                found.size,
                resume=found.resume,
                memo=(found.memo,),
                settled=found.settled,
                payload_start=found.payload_start,
            )
        return found

    def fits(self, data: bytes | bytearray, start: int) -> bool | None:
        """Tell whether a frame begins as it must; None if that is not decided yet."""
        accepted: tuple[bytes, ...] = self._accepted  # type: ignore[attr-defined]  # set in __post_init__
        if data.startswith(accepted, start):
            return True
        seen = bytes(data[start : start + self._longest])  # type: ignore[attr-defined]  # likewise
        if len(seen) < self._longest and any(each.startswith(seen) for each in accepted):  # type: ignore[attr-defined]
            return None
        return False

    def _check(self, window: Window) -> NeedMore | None:
        fits = self.fits(window.data, window.start)
        if fits is None:
            return NeedMore()
        if not fits:
            raise OtherBeginning(self.refusal, position=window.start)
        return None

    @cached_property
    def refusal(self) -> str:
        """What a frame that begins otherwise is told; its bytes are not: how many are there may vary."""
        accepted: tuple[bytes, ...] = self._accepted  # type: ignore[attr-defined]  # set in __post_init__
        more = ", ..." if len(accepted) > 5 else ""
        return f"frame does not begin with {' or '.join(map(repr, accepted[:5]))}{more}"

    def cut(self, data: bytes, start: int) -> tuple[T, int] | None:
        """Cut the one frame at `start` as the condition does, if it begins as it must."""
        return self.condition.cut(data, start) if self.fits(data, start) else None

    def split(self, window: Window) -> tuple[list[T], int]:
        """Cut frames as long as they begin as they must."""
        return split_by_cut(self.cut, window)

    def decode(self, payload: bytes) -> T:
        """Return what the condition makes of the payload."""
        return self.condition.decode(payload)

    def encode(self, frame: T) -> list[bytes]:
        """Return what the condition writes, if it begins as it must."""
        pieces = pieces_of(self.condition, frame)
        try:
            missing = self._check(Window(b"".join(pieces)))
        except OtherBeginning as error:
            raise EncodeError(error.reason) from error
        if missing is not None:
            raise EncodeError("frame is shorter than what it must begin with")
        return pieces

    def explain(self, window: Window) -> str:
        """Guess as the condition does."""
        return self.condition.explain(window)
