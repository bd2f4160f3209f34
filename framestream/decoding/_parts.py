"""One frame passed on in parts, or dropped, as its payload becomes final: in constant memory."""

from __future__ import annotations

from framestream._signals import FRAME_END, NEED_DATA, FrameEnd, NeedData
from framestream.decoding._search import PAYLOAD, SETTLED, TOO_LARGE, Search, TooLarge


class FrameParts:
    """A frame being delivered, or thrown away, piece by piece; it dies with the frame.

    Attributes:
        begun: bytes of the frame are already consumed, so it must be finished or skipped.
        size: the payload's size in bytes once it is known, else None.
        consumed: bytes of the frame consumed so far, header and delimiter included.
        value: what the span carried besides positions (a `Decode`, a value, or PAYLOAD).
    """

    __slots__ = ("_buffer", "_left", "_search", "_trailer", "begun", "consumed", "size", "value")

    def __init__(self, search: Search) -> None:
        self._buffer = search.buffer
        self._search = search
        self._left: int | None = None  # payload bytes to come; None while the end is not known
        self._trailer = 0
        self.begun = False
        self.consumed = 0
        self.size: int | None = None
        self.value: object = PAYLOAD

    def next(self, bound: int, eof: bool) -> bytes | FrameEnd | NeedData | TooLarge:
        """Return the next part, FRAME_END, NEED_DATA, or TOO_LARGE if over `bound` bytes stay unsettled."""
        if self._left is None:
            part = self._search_on(bound, eof)
            if part is not FRAME_END:
                return part
        return self._known()

    def drop(self, bound: int, eof: bool) -> FrameEnd | NeedData | TooLarge:
        """Throw away what is there of the frame; return FRAME_END when all of it is gone."""
        while True:
            if self._left:
                dropped = self._buffer.drop(self._left)
                self._left -= dropped
                self.consumed += dropped
            part = self.next(bound, eof)
            if not isinstance(part, bytes):
                return part

    def _search_on(self, bound: int, eof: bool) -> bytes | FrameEnd | NeedData | TooLarge:
        found = self._search.run(bound, eof, in_parts=True)
        if found is SETTLED:
            self.begun = True
            self.consumed += self._search.settled
            # A settled header without payload behind it makes no part.
            return self._search.pass_on_settled() or self._search_on(bound, eof)
        if found is TOO_LARGE:
            return found
        if not isinstance(found, tuple):
            return NEED_DATA
        first, stop, end, self.value = found
        if self._buffer.size < first:
            return NEED_DATA
        self._buffer.drop(first)
        self.consumed += first
        self.size = self._left = stop - first
        self._trailer = end - stop
        self.begun = True
        return FRAME_END

    def _known(self) -> bytes | FrameEnd | NeedData:
        assert self._left is not None
        if self._left:
            if not self._buffer.size:
                return NEED_DATA
            part = self._buffer.take_some(self._left)
            self._left -= len(part)
            self.consumed += len(part)
            return part
        if trailer := self._search.trailer:
            if self._buffer.size < len(trailer):
                return NEED_DATA
            self._search.check_trailer(0)
        dropped = self._buffer.drop(self._trailer)
        self._trailer -= dropped
        self.consumed += dropped
        return NEED_DATA if self._trailer else FRAME_END
