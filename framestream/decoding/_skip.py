"""A frame on its way out: above the limit, or one that nobody wants to stream to its end."""

from __future__ import annotations

from typing import Any

from framestream._signals import FrameEnd, NeedData
from framestream.decoding._parts import FrameParts
from framestream.decoding._search import PAYLOAD, TOO_LARGE, Search, TooLarge
from framestream.errors import FrameTooLarge, StreamBusy
from framestream.framer import Decode, ReadCondition


class Skip:
    """One frame, or the rest of one, that is thrown away as it arrives; it dies with the frame.

    Args:
        parts: the frame.
        search: what has been found of it.
        limit: the limit in force, in bytes.
        error: what to report when all of it is gone, or None.
        keep: payload bytes to deliver before the rest is thrown away, or None to deliver nothing.
        report: whether `error` is still to be reported.
    """

    __slots__ = ("_keep", "_kept", "_limit", "_search", "error", "parts", "report")

    def __init__(
        self,
        parts: FrameParts,
        search: Search,
        limit: int,
        error: FrameTooLarge | None = None,
        *,
        keep: int | None = None,
        report: bool = False,
    ) -> None:
        self.parts = parts
        self.error = error
        self.report = report
        self._search = search
        self._limit = limit
        self._keep = keep
        self._kept: list[bytes] = []

    @property
    def condition(self) -> ReadCondition[Any]:
        """Whose frame it is."""
        return self._search.condition

    def check_reader(self, condition: ReadCondition[Any] | None) -> None:
        """Raise `StreamBusy` if what is kept of the frame would go to whoever reads by another condition."""
        if self._keep is not None and self.condition != condition:
            raise StreamBusy(f"a truncated frame of {self.condition} is being read; read on with that")

    def go_on(self, eof: bool) -> bytes | FrameEnd | NeedData:
        """Return what was to be kept, once; then NEED_DATA, or FRAME_END when all of the frame is gone.

        Raises:
            FrameTooLarge: it cannot be thrown away.
        """
        outcome = self._go_on(self._limit + self.condition.overhead, eof)
        if outcome is TOO_LARGE:
            raise unskippable(self.error or self._search.too_large(self._limit))
        return outcome

    def _go_on(self, bound: int, eof: bool) -> bytes | FrameEnd | NeedData | TooLarge:
        while self._keep is not None:
            if self._keep == 0:
                self._keep = None
                return b"".join(self._kept)
            part = self.parts.next(bound, eof)
            if not isinstance(part, bytes):
                return part
            self._kept.append(part[: self._keep])
            self._keep -= len(self._kept[-1])
        return self.parts.drop(bound, eof)

    @property
    def value(self) -> Any:
        """Who decodes what was kept: a `Decode`, or PAYLOAD for the condition."""
        # A frame of undeclared size may be delivered before anybody can say.
        if self.error is None or self.error.size is None or type(self.parts.value) is not Decode:
            return PAYLOAD
        return self.parts.value


def unskippable(error: FrameTooLarge) -> FrameTooLarge:
    """Have the error say that the frame cannot be thrown away either: nothing behind it can be read."""
    error.recoverable = False
    error.reason += "; it cannot be skipped, because its framer settles no payload early"
    return error
