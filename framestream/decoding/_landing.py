"""Landing: the place where a large payload of known size is received, and delivered from, in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Final

# Room for so many times what has arrived, up to a MiB and beyond: the size a peer declares is never
# allocated before it has sent a good part of it, and the bytes of a growing block move but a few times.
_FIRST_FACTOR: Final = 16
_FIRST_ROOM: Final = 1 << 20
_FACTOR: Final = 4


class Landing:
    """A payload that is being received into its final place.

    The place is the buffer of a ``BytesIO``: the only one that can be filled from a socket and become
    ``bytes`` without a copy. Fresh memory costs more than the receiving, so that is what counts.

    Attributes:
        size: bytes that have arrived.
        total: bytes of the whole payload.
    """

    __slots__ = ("_file", "_room", "size", "total")

    def __init__(self, arrived: Iterable[bytes | memoryview], total: int) -> None:
        self._file = BytesIO()
        self._file.writelines(arrived)
        self.size = self._room = self._file.tell()
        self.total = total

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Have `receive` put bytes behind those that are there; return how many it did."""
        if self.size == self._room:
            self._grow()
        with self._file.getbuffer() as whole, whole[self.size : self._room] as rest:
            received = receive(rest)
        self.size += received
        return received

    def _grow(self) -> None:
        room = max(_FACTOR * self.size, min(_FIRST_FACTOR * self.size, _FIRST_ROOM))
        # No small last step: a BytesIO that grows by little takes more than it is asked for, and giving
        # that back at the end makes the allocator start with fresh memory each time (30 times slower).
        self._room = room if 2 * room <= self.total else self.total
        self._file.seek(self._room - 1)
        self._file.write(b"\0")

    def take(self) -> bytes:
        """Return what has arrived; the landing is of no more use."""
        if self.size < self._room:
            self._file.truncate(self.size)
        return self._file.getvalue()


class LentLanding(Landing):
    """A buffer of the reader's that bytes are received into; `take` copies those that are there."""

    __slots__ = ("_place",)

    def __init__(self, arrived: Iterable[bytes | memoryview], place: memoryview) -> None:
        size = 0
        for piece in arrived:
            place[size : size + len(piece)] = piece
            size += len(piece)
        self.size = size
        self.total = len(place)
        self._place = place

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Have `receive` put bytes behind those that are there; return how many it did."""
        with self._place[self.size :] as rest:
            received = receive(rest)
        self.size += received
        return received

    def take(self) -> bytes:
        """Return what has arrived, and let go of the buffer."""
        return bytes(self._place[: self.size])
