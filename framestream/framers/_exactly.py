"""Exactly: a frame of a size the reader knows, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framestream.framer import ReadCondition, Span, Window
from framestream.framers._value_checks import check_size

# Every limit from its size on means the same for a frame of known size. The decoder cuts no batch larger
# than the limit, so small frames get one that leaves room for a batch.
ROOM_FOR_A_BATCH = 1 << 16


@dataclass(frozen=True)
class Exactly(ReadCondition[bytes]):
    r"""Read exactly `size` bytes.

    ::

        Exactly(4):  b"abcdefgh"  ->  b"abcd", b"efgh"

    The caller names the size, so that number is the limit as well: more than the decoder's default
    limit can be asked for. ``Exactly(0)`` gives ``b""`` and consumes nothing.
    """

    name = "exactly"

    size: Annotated[int, "How many bytes to read. Bytes."]

    def __post_init__(self) -> None:
        check_size("size", self.size, least=0)
        object.__setattr__(self, "max_size", max(self.size, ROOM_FOR_A_BATCH))
        object.__setattr__(self, "can_be_empty", self.size == 0)

    def find(self, window: Window) -> Span:
        """Return the span at once, however little has arrived."""
        stop = window.start + self.size
        return window.start, stop, stop

    def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Slice `size` bytes off."""
        stop = start + self.size
        return (data[start:stop], stop) if stop <= len(data) else None

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Slice the window into pieces of `size` bytes."""
        return slices(window, self.size) if self.size else ([], window.start)


def slices(window: Window, size: int) -> tuple[list[bytes], int]:
    """Return the window's whole pieces of `size` bytes, and where the rest begins."""
    data, start = bytes(window.data), window.start
    rest = len(data) - (len(data) - start) % size
    return [data[i : i + size] for i in range(start, rest, size)], rest
