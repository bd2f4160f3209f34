"""Frames by amount: a number of bytes, whatever has arrived, or everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framestream.errors import EncodeError, check_count, counted
from framestream.framer import Framer, NeedMore, ReadCondition, Span, Window, bytes_of
from framestream.framers import Interned

# For a frame of known size, every limit of at least that size means the same. The decoder cuts no batch
# larger than the limit, so small frames get one that leaves room for a batch.
_ROOM_FOR_A_BATCH = 1 << 16


class _Sized(ReadCondition[bytes]):
    size: int
    synchronises = "exact"
    _least = 1

    def __post_init__(self) -> None:
        check_count("size", self.size, least=self._least)
        object.__setattr__(self, "max_size", max(self.size, _ROOM_FOR_A_BATCH))
        if not self.size:
            self.__dict__.update(can_be_empty=True, synchronises=None)

    def find_start(self, window: Window) -> int:
        """Return the next multiple of the size; it may lie beyond the data, unless the stream has ended."""
        place = window.start + -window.taken % max(self.size, 1)
        return min(place, len(window.data)) if window.eof else place

    def find(self, window: Window) -> Span:
        """Return the span at once, however few bytes have arrived."""
        stop = window.start + self.size
        return window.start, stop, stop

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Slice the window into pieces of `size` bytes."""
        data, start, size = bytes(window.data), window.start, self.size
        if not size:
            return [], start
        rest = len(data) - (len(data) - start) % size
        return [data[i : i + size] for i in range(start, rest, size)], rest


@dataclass(frozen=True)
class Exactly(_Sized, metaclass=Interned):
    r"""Read exactly `size` bytes.

    ::

        Exactly(4):  b"abcdefgh"  ->  b"abcd", b"efgh"

    The caller names the size, so that number is the limit as well: it may exceed the decoder's default
    limit. ``Exactly(0)`` gives ``b""`` and consumes nothing.
    """

    name = "exactly"
    _least = 0

    size: Annotated[int, "How many bytes to read. Bytes."]


@dataclass(frozen=True)
class FixedLength(_Sized, Framer[bytes], metaclass=Interned):
    """Records of exactly `size` bytes each.

    ::

        FixedLength(3):  b"abcdef"  ->  b"abc", b"def"

    The size is the limit as well.
    """

    name = "fixed-length"

    size: Annotated[int, "Size of every record. Bytes."]

    def encode(self, frame: bytes) -> bytes:
        """Return the payload. Raise EncodeError unless it has the size of a record."""
        frame = bytes_of(frame)
        if len(frame) != self.size:
            raise EncodeError(f"payload of {counted(len(frame), 'byte')} in records of {self.size}")
        return frame


@dataclass(frozen=True)
class Available(ReadCondition[bytes], metaclass=Interned):
    """Read the bytes that have arrived: at least one, at most `max_size`.

    ::

        Available(4):  b"abcdef"  ->  b"abcd", b"ef"

    The only condition whose frames depend on how the bytes arrive: use it to relay bytes, not to
    parse them. Frames are never cut ahead, so another condition may follow at any byte.
    """

    name = "available"
    chunk_dependent = True  # for the conformance kit

    max_size: Annotated[int, "The most to take at a time. Bytes."] = 65536

    def __post_init__(self) -> None:
        check_count("max_size", self.max_size, least=1)

    def find(self, window: Window) -> Span | NeedMore:
        """Return a span over the bytes that have arrived."""
        stop = min(len(window.data), window.start + self.max_size)
        return (window.start, stop, stop) if stop > window.start else NeedMore()

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut nothing ahead: more bytes may arrive before the next read."""
        return [], window.start


@dataclass(frozen=True)
class UntilClose(Framer[bytes], metaclass=Interned):
    """Read until the other side closes; the frame is all bytes up to there, and may be empty.

    ::

        UntilClose():  b"abc", b"def", end  ->  b"abcdef"

    All of it is payload from the start, so streaming it in parts takes constant memory. The limit
    applies as to any frame: give `max_size`, or stream it.
    """

    name = "until-close"
    can_be_empty = True

    max_size: Annotated[int | None, "The largest frame. Bytes."] = None

    def __post_init__(self) -> None:
        check_count("max_size", self.max_size, optional=True)

    def find(self, window: Window) -> Span | NeedMore:
        """Return everything once the stream has ended; until then all of it is settled."""
        size = len(window.data)
        return (window.start, size, size) if window.eof else NeedMore(resume=size, settled=size)

    def encode(self, frame: bytes) -> bytes:
        """Return the payload unchanged. The caller ends the frame by closing the stream."""
        return bytes_of(frame, self.max_size, copy=False)
