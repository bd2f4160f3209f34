"""Read buffer: received chunks in a deque behind one contiguous head."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import Final

from framestream.decoding._landing import Landing, LentLanding

# A queue of tiny chunks is joined up to this size at once, so that single bytes received before
# anybody reads do not cost one search each. Larger chunks are used as they are, without a copy.
_SMALL: Final = 4096
# An empty deque takes 600 bytes: connections that wait for their first byte share one.
_NO_CHUNKS: Final[deque[bytes]] = deque(maxlen=0)


class ReadBuffer:
    """Bytes that were received and not consumed.

    The head is immutable ``bytes`` wherever possible: a slice of it costs a third of one through a
    memoryview of a bytearray. It becomes a growing bytearray only while one frame of unknown end needs
    a third chunk, and turns back when that frame is consumed. Every byte is copied a bounded number of
    times; `copied` counts all copies but the delivered slices themselves.

    Attributes:
        head: the contiguous bytes conditions look at.
        pos: index in the head of the first byte that is not consumed.
        chunks: what was received behind the head.
        queued: bytes in the chunks.
        base: stream offset of ``head[0]``.
        copied: bytes moved to make the head contiguous.
        high_water: the most bytes that were ever there.
        landing: a chunk still being received, behind everything else; `queued` counts what it has.
    """

    __slots__ = ("base", "chunks", "copied", "head", "high_water", "joined", "landing", "pos", "queued")

    def __init__(self) -> None:
        self.head: bytes | bytearray = b""
        self.pos = 0
        self.chunks = _NO_CHUNKS
        self.queued = 0
        self.base = 0
        self.copied = 0
        self.high_water = 0
        self.joined = False  # the head was joined while the frame at `pos` 0 was being searched
        self.landing: Landing | None = None

    @property
    def size(self) -> int:
        """Bytes that are not consumed, head and chunks."""
        return len(self.head) - self.pos + self.queued

    @property
    def received(self) -> int:
        """Bytes ever received."""
        return self.base + len(self.head) + self.queued

    @property
    def offset(self) -> int:
        """Stream offset of the first byte that is not consumed."""
        return self.base + self.pos

    def append(self, chunk: bytes) -> None:
        """Add a chunk behind everything else, without copying it."""
        head = self.head
        if self.pos == len(head) and not self.queued:
            # As `_replace_head`, without the call: most chunks are received when all before is read.
            self.base += len(head)
            self.head = chunk
            self.pos = 0
            self.joined = False
            size = len(chunk)
        else:
            if self.landing is not None:
                self.close_landing()
            self._queue(chunk)
            self.queued += len(chunk)
            size = self.size
        self.high_water = max(self.high_water, size)

    def _queue(self, chunk: bytes) -> None:
        if self.chunks is _NO_CHUNKS:
            self.chunks = deque()
        self.chunks.append(chunk)

    def open_landing(self, start: int, stop: int) -> Landing:
        """Have a place for the bytes from `start` to `stop`, of which some have arrived and more will.

        Both count from the first unconsumed byte. What has arrived of them is moved there, so that the
        place is one chunk from the payload's first byte to its last.
        """
        landing = self.landing
        if landing is None:
            landing = Landing(self._arrived(start), stop - start)
            self._move_into(landing, start)
        return landing

    def land(self, start: int, stop: int, receive: Callable[[memoryview], int]) -> int:
        """Have `receive` put bytes where those from `start` to `stop` belong; return how many it did."""
        landing = self.open_landing(start, stop)
        received = landing.fill(receive)
        self.queued += received
        if landing.size == landing.total:
            self.close_landing()
        self.high_water = max(self.high_water, self.size)
        return received

    def lend(self, place: memoryview) -> None:
        """Have the unconsumed bytes, and those that follow, in a place that is larger than what is there."""
        self.close_landing()
        self._move_into(LentLanding(self._arrived(0), place), 0)

    def _arrived(self, start: int) -> list[bytes | memoryview]:
        return [memoryview(self.head)[self.pos + start :], *self.chunks]

    def _move_into(self, landing: Landing, start: int) -> None:
        # The landing has what has arrived behind the first `start` bytes: those are the head now.
        self.landing = landing
        self.queued = landing.size
        self.copied += landing.size
        self.base += self.pos
        self.head = bytes(memoryview(self.head)[self.pos : self.pos + start])
        self.pos = 0
        self.joined = False
        self.chunks = _NO_CHUNKS

    @property
    def lent(self) -> LentLanding | None:
        """The lent place that is still being filled, if there is one."""
        return self.landing if isinstance(self.landing, LentLanding) else None

    def fill_lent(self, lent: LentLanding, receive: Callable[[memoryview], int]) -> int | None:
        """Have `receive` put bytes there; return how many it did, or None if there is no room left."""
        if lent.size == lent.total:
            return None
        received = lent.fill(receive)
        self.queued += received
        self.high_water = max(self.high_water, self.size)
        return received

    def consume_lent(self) -> bool:
        """Consume what has a lent place, if that is full; else make it a chunk like others."""
        lent = self.lent
        if lent is None or lent.size < lent.total or self.head:  # the head: bytes that came by `append`
            self.close_landing()
            return False
        self.landing = None
        self.base += lent.total
        self.queued = 0
        return True

    def close_landing(self) -> None:
        """Make what has landed a chunk like others."""
        landing, self.landing = self.landing, None
        if landing is not None and landing.size:
            self._queue(landing.take())

    def _next_chunk(self) -> bytes:
        self.close_landing()
        chunk = self.chunks.popleft()
        self.queued -= len(chunk)
        return chunk

    def grow(self, size: int) -> None:
        """Join queued chunks to the head: one or more, until `size` bytes are contiguous or all are."""
        self.close_landing()
        if self.pos == len(self.head):
            self._replace_head(self._next_chunk())
        have = len(self.head) - self.pos
        target = max(size, have + 1, _SMALL)
        if not self.chunks or (have >= size and have >= _SMALL):
            return
        pieces: list[bytes] = []
        while self.chunks and have < target:
            piece = self._next_chunk()
            pieces.append(piece)
            have += len(piece)
        self._join(pieces)

    def _replace_head(self, head: bytes) -> None:
        self.base += len(self.head)
        self.head = head
        self.pos = 0
        self.joined = False

    def _join(self, pieces: list[bytes]) -> None:
        head = self.head
        if type(head) is not bytearray:
            if not (self.joined and self.pos == 0):
                # One plain join keeps the head immutable: most frames that straddle chunks straddle two.
                self.head = b"".join((memoryview(head)[self.pos :], *pieces))
                self.base += self.pos
                self.pos = 0
                self.joined = True
                self.copied += len(self.head)
                return
            self.head = head = bytearray(head)
            self.copied += len(head)
        for piece in pieces:
            head += piece
            self.copied += len(piece)

    def advance(self, size: int) -> None:
        """Consume `size` bytes, which must all be in the head."""
        self.pos += size
        if type(self.head) is bytearray:
            self._replace_grown_head()

    def _replace_grown_head(self) -> None:
        rest = bytes(memoryview(self.head)[self.pos :])
        self.base += self.pos
        self.head = rest
        self.pos = 0
        self.joined = False
        self.copied += len(rest)

    def take(self, start: int, stop: int, end: int) -> bytes:
        """Consume `end` bytes and return those from `start` to `stop`, copied once.

        All three count from the first unconsumed byte; `end` bytes must be buffered.
        """
        pos = self.pos
        if pos + end > len(self.head):
            return self._gather(start, stop, end)
        payload: bytes | bytearray
        if type(self.head) is bytes:
            payload = self.head[pos + start : pos + stop]
        else:
            payload = bytes(memoryview(self.head)[pos + start : pos + stop])
        self.advance(end)
        return payload

    def _gather(self, start: int, stop: int, end: int) -> bytes:
        # The frame's extent is known: its payload is joined straight from the chunks, and the chunk in
        # which it ends becomes the next head as it is.
        pieces: list[bytes | memoryview] = []
        segment: bytes | bytearray | memoryview = memoryview(self.head)[self.pos :]
        reached = 0
        while True:
            low, high = max(start - reached, 0), min(stop - reached, len(segment))
            if low < high:
                whole = low == 0 and high == len(segment)
                pieces.append(segment if whole else memoryview(segment)[low:high])  # type: ignore[arg-type]
            reached += len(segment)
            if reached >= end:
                break
            self._replace_head(self._next_chunk())
            segment = self.head
        self.pos = len(self.head) - (reached - end)
        return b"".join(pieces)

    def take_into(self, place: memoryview) -> None:
        """Consume as many bytes as `place` has room for, and copy them there; so many must be buffered."""
        room = len(place)
        while True:
            segment = memoryview(self.head)[self.pos : self.pos + room]
            size = len(segment)
            place[len(place) - room : len(place) - room + size] = segment
            room -= size
            if not room:
                break
            self._replace_head(self._next_chunk())
        segment.release()  # a head that can grow must not be held on to
        self.advance(size)

    def take_some(self, limit: int) -> bytes:
        """Consume and return at least one and at most `limit` bytes; copies only what must be cut."""
        if self.pos == len(self.head):
            self._replace_head(self._next_chunk())
        size = min(limit, len(self.head) - self.pos)
        if size == len(self.head) and type(self.head) is bytes:
            self.pos = size
            return self.head
        return self.take(0, size, size)

    def drop(self, limit: int) -> int:
        """Consume up to `limit` bytes without looking at them; return how many."""
        todo = size = min(limit, self.size)
        while todo > (rest := len(self.head) - self.pos):
            todo -= rest
            self._replace_head(self._next_chunk())
        self.advance(todo)
        return size

    def peek(self, size: int, *, at: int = 0) -> bytes:
        """Return a copy of up to `size` unconsumed bytes, behind the first `at` of them."""
        self.close_landing()
        pieces: list[memoryview] = []
        for segment in chain((memoryview(self.head)[self.pos :],), map(memoryview, self.chunks)):
            if size <= 0:
                break
            piece = segment[at : at + size]
            at = max(at - len(segment), 0)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)
