"""UntilClose: everything up to the end of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framestream.framer import Framer, NeedMore, Span, Window
from framestream.framers._value_checks import check_max_size, check_payload


@dataclass(frozen=True)
class UntilClose(Framer[bytes]):
    """Read until the other side closes; the frame is everything up to there, and may be empty.

    ::

        UntilClose():  b"abc", b"def", end  ->  b"abcdef"

    All of it is payload from the start, so streaming it in parts takes constant memory. The limit
    applies as to any frame: give `max_size`, or stream it.
    """

    name = "until-close"
    can_be_empty = True

    max_size: Annotated[int | None, "The largest frame. Bytes."] = None

    def __post_init__(self) -> None:
        check_max_size(self.max_size)

    def find(self, window: Window) -> Span | NeedMore:
        """Return everything once the stream has ended; until then all of it is settled."""
        size = len(window.data)
        return (window.start, size, size) if window.eof else NeedMore(resume=size, settled=size)

    def encode(self, frame: bytes) -> bytes:
        """Return the payload as it is. What ends the frame is closing the stream: that is the caller's."""
        check_payload(frame, self.max_size)
        return frame
