"""Available: whatever has arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framestream.framer import NeedMore, ReadCondition, Span, Window
from framestream.framers._value_checks import check_size


@dataclass(frozen=True)
class Available(ReadCondition[bytes]):
    """Read what is there: at least one byte, at most `max_size`.

    ::

        Available(4):  b"abcdef"  ->  b"abcd", b"ef"

    The one condition whose frames depend on how the bytes arrive: it is for relaying bytes, not for
    parsing them. Frames are never cut ahead, so another condition may follow at any byte.
    """

    name = "available"

    max_size: Annotated[int, "The most to take at a time. Bytes."] = 65536

    def __post_init__(self) -> None:
        check_size("max_size", self.max_size)

    def find(self, window: Window) -> Span | NeedMore:
        """Return a span over what is there."""
        stop = min(len(window.data), window.start + self.max_size)
        return (window.start, stop, stop) if stop > window.start else NeedMore()

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut nothing ahead: later there may be more."""
        return [], window.start
