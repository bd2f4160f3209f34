"""Progress: what a driver has to remember about one frame between two questions."""

from __future__ import annotations

from typing import Any

from framestream.framer import NeedMore, Window


class Progress:
    """How far the search for one frame's end has got; places count from the frame's first byte.

    Attributes:
        size: bytes of the frame that must be there before it is worth asking again.
        resume: where to go on searching.
        memo: what `NeedMore` carried.
    """

    def __init__(self) -> None:
        self.size = 0
        self.resume = 0
        self.memo: Any = None

    def window(
        self,
        frame: bytes,
        *,
        before: bytes = b"",
        eof: bool = False,
        kind: type[bytes] | type[bytearray] = bytes,
    ) -> Window:
        """Show a frame's bytes as a decoder would, behind bytes that belong to somebody else."""
        start = len(before)
        return Window(kind(before + frame), start, start + self.resume, self.memo, eof)

    def note(self, need: NeedMore, window: Window) -> None:
        """Keep what `find` answered about this window; no `resume` leaves it where it was."""
        self.size = need.size
        if need.resume is not None:
            self.resume = need.resume - window.start
        self.memo = need.memo
