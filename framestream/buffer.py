"""ReceiveBuffer: received bytes; the first of them are contiguous.

Goals
-----
* A condition looks at contiguous, immutable ``bytes``: a slice of them costs a third of one through a
  memoryview of a bytearray.
* Every byte is copied a bounded number of times on its way from the feeder to the frame; `copied` counts
  all copies but the delivered slices themselves.
* A large frame is received in its final place, and copied once out of a buffer that a feeder lends.
* Bytes that arrive one at a time take little more memory than a byte each.

Plan
----
The unconsumed bytes are, in stream order::

    head[pos:]    chunks                place            or   view
    +----------+  +------+----------+   +--------+.......+    +----------------+
    | bytes    |  |      |  |||||||||   | part of a      |    | borrowed from  |
    +----------+  +------+----------+   | large frame    |    | the feeder     |
                         tiny: joined   +--------+.......+    +----------------+

Most of the time there is only a head, and the next chunk becomes the head as it is. A frame that straddles
two chunks costs one join. Only a frame of unknown end that needs a third chunk turns the head into a
growing bytearray, until that frame is consumed. A frame of known extent is not searched any more: its
payload is joined straight from the chunks.

Invariants
----------
* `queued` is what follows the head: ``size == len(head) - pos + queued``.
* ``base + pos`` is the stream offset of the first unconsumed byte.
* The head is a bytearray only while a frame at `pos` is being searched; `advance` turns it back.
* There is a place or a view, not both, and nothing follows either.
* Any method that needs more than the head closes the place and copies the view; `peek` and `drop` leave the view
  where it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from typing import Final

# Tiny chunks are joined while they wait, and a search makes at least this many bytes contiguous at once:
# single bytes that arrive before a read cost neither an object nor a search each.
_TINY: Final = 512
_SMALL: Final = 4096
# An empty deque takes 600 bytes: connections that wait for their first byte share one.
_NO_CHUNKS: Final[deque[bytes | bytearray]] = deque(maxlen=0)
# A place has room for this multiple of what has arrived, up to a MiB at once and beyond that: the size a
# peer declares is never allocated before it has sent a good part of it, and bytes move only a few times.
_FIRST_FACTOR: Final = 16
_FIRST_ROOM: Final = 1 << 20
_FACTOR: Final = 4


class Place:
    """A payload of known size that is received in its final memory.

    It uses a ``BytesIO``, whose memory is the only kind that can be received into and become ``bytes``
    without a copy. Fresh memory costs more than the receiving, so this matters.

    Attributes:
        size: bytes that have arrived.
        total: bytes of the whole payload.
    """

    __slots__ = ("_file", "_rest", "_room", "size", "total")

    def __init__(self, total: int) -> None:
        self.size = self._room = 0
        self.total = total
        self._file = BytesIO()
        self._rest = memoryview(b"")

    def put(self, piece: bytes | bytearray | memoryview) -> None:
        """Add bytes that have arrived already."""
        self.size = self._room = self.size + self._file.write(piece)

    def rest(self) -> memoryview:
        """Return the room for the bytes that arrive next."""
        self._rest.release()
        if self.size == self._room:
            room = max(_FACTOR * self.size, min(_FIRST_FACTOR * self.size, _FIRST_ROOM))
            # No small last step: a BytesIO that grows by little takes more than it asks for, and giving
            # that back at the end makes the allocator start with fresh memory each time (30 times slower).
            self._room = room if 2 * room <= self.total else self.total
            self._file.seek(self._room - 1)
            self._file.write(b"\0")
        self._rest = self._file.getbuffer()[self.size : self._room]
        return self._rest

    def take(self) -> bytes:
        """Return the bytes that have arrived; the place cannot be used afterwards."""
        try:
            self._rest.release()
            self._file.truncate(self.size)
        except BufferError:
            # uvloop holds the room until the call that reports its bytes returns.
            return bytes(self._file.getbuffer()[: self.size])
        return self._file.getvalue()


class ReceiveBuffer:
    """Bytes received and not consumed.

    Attributes:
        head: the contiguous bytes that conditions look at.
        pos: index in the head of the first unconsumed byte.
        queued: bytes that follow the head.
        base: stream offset of ``head[0]``.
        copied: bytes moved to make the head contiguous.
        place: a part of a frame that is being received in its final place.
        view: bytes in a buffer of the feeder's, not copied yet.
    """

    __slots__ = ("_chunks", "_joined", "base", "copied", "head", "place", "pos", "queued", "view")

    def __init__(self) -> None:
        self.head: bytes | bytearray = b""
        self.pos = self.queued = self.base = self.copied = 0
        self.place: Place | None = None
        self.view: memoryview | None = None
        self._chunks = _NO_CHUNKS
        self._joined = False  # the head was joined while the frame at `pos` 0 was being searched

    @property
    def size(self) -> int:
        """Number of unconsumed bytes."""
        return len(self.head) - self.pos + self.queued

    @property
    def end(self) -> int:
        """Stream offset of the first byte that has not arrived."""
        return self.base + len(self.head) + self.queued

    @property
    def offset(self) -> int:
        """Stream offset of the first unconsumed byte."""
        return self.base + self.pos

    # Bytes in

    def append(self, chunk: bytes) -> int:
        """Add a chunk at the end; only a tiny one is ever copied. Return the number of unconsumed bytes."""
        size = len(self.head)
        if self.pos == size and not self.queued and self.place is None:
            # As `_replace_head`, without the call: most chunks arrive when all before them is read.
            self.base += size
            self.head = chunk
            self.pos = 0
            self._joined = False
            return len(chunk)
        if self.place is not None:
            chunk = chunk[self.fill(chunk) :]  # a place that is full is closed
        elif self.view is not None:
            self.settle()
        if type(self.head) is bytearray and not self.queued and len(chunk) < _TINY:
            # A frame that drips in while its end is searched: it would be joined at once.
            self.head += chunk
            self.copied += len(chunk)
        elif chunk:
            self._queue(chunk)
        return self.size

    def extend(self, view: memoryview) -> bool:
        """Copy the view behind the short rest of the head; return False, and do nothing, if there is none.

        Appended, the copy would be joined to the rest, and so copied again, to find the end of the next frame.
        """
        rest = len(self.head) - self.pos
        if self.queued or self.place is not None or not 0 < rest <= min(_SMALL, len(view)):
            return False
        self.base += self.pos
        self.head = b"".join((memoryview(self.head)[self.pos :], view))
        self.pos, self._joined = 0, True
        self.copied += rest
        return True

    def _queue(self, chunk: bytes) -> None:
        self.queued += len(chunk)
        if self._chunks is _NO_CHUNKS:
            self._chunks = deque()
        if len(chunk) >= _TINY:
            self._chunks.append(chunk)
        elif self._chunks and type(last := self._chunks[-1]) is bytearray and len(last) < _SMALL:
            last += chunk
        else:
            self._chunks.append(bytearray(chunk))

    def unread(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Restore ``data[start:end]``: they were consumed last, and `data` was the head then."""
        if data is not self.head:
            # It was consumed to its end, and the bytes after it are the head now.
            rest, self.base = bytes(memoryview(self.head)[self.pos :]), self.offset - end
            self._chunks = deque((rest, *self._chunks))
            self.queued += len(rest)
            self.head = data
        self.pos = start

    # Bytes in a place of their own

    def open_place(self, place: Place, start: int) -> None:
        """Move the bytes after the first `start`, and all that follow, to `place`."""
        head = self.peek(start)
        start += self.pos
        for segment in self._segments():
            place.put(memoryview(segment)[start:])
            start = max(start - len(segment), 0)
        self.copied += place.size
        self.base += self.pos
        self.head, self.pos, self._joined = head, 0, False
        self._chunks = _NO_CHUNKS
        self.view = None
        self.place, self.queued = place, place.size

    def fill(self, data: bytes | memoryview) -> int:
        """Put as much of `data` into the place as belongs there; return how much."""
        done = 0
        while (place := self.place) is not None and done < len(data):  # one that is full is closed
            rest = place.rest()
            size = min(len(rest), len(data) - done)
            rest[:size] = data[done : done + size]
            self.filled(size)
            done += size
        return done

    def filled(self, size: int) -> None:
        """Record that bytes were put into the place."""
        place = self.place
        assert place is not None
        place.size += size
        self.queued += size
        if place.size == place.total:
            self.close_place()

    def close_place(self) -> None:
        """Turn the bytes in the place into an ordinary chunk."""
        place, self.place = self.place, None
        if place is not None:
            self.queued -= place.size
            self._queue(place.take())

    # Bytes in a buffer of the feeder's

    def borrow(self, view: memoryview) -> None:
        """Add bytes that stay where they are until `settle`."""
        self.close_place()
        self.settle()
        self.view = view
        self.queued += len(view)

    def lent(self) -> memoryview | None:
        """Return the bytes if there are some, and all are borrowed; else None. `pos` is 0 then."""
        view = self.view
        if view is None or len(view) < self.size:
            return None
        if self.pos:
            self._replace_head(b"")
        return view

    def drop_lent(self, view: memoryview, size: int) -> None:
        """Consume the first `size` bytes of what `lent` returned."""
        self.base += size
        self.queued -= size
        self.view = view[size:] if self.queued else None

    def settle(self) -> None:
        """Copy the borrowed bytes that are not consumed."""
        view, self.view = self.view, None
        if view is not None:
            self.queued -= len(view)
            self.copied += len(view)
            self._queue(bytes(view))

    # Contiguous bytes

    def grow(self, size: int) -> None:
        """Join following bytes to the head until `size` bytes, or all, are contiguous."""
        if self.pos == len(self.head):
            self._replace_head(self._next_chunk())
        have = len(self.head) - self.pos
        target = max(size, _SMALL)
        pieces: list[bytes] = []
        while self.queued and have < target:
            pieces.append(self._next_chunk())
            have += len(pieces[-1])
        if pieces:
            self._join(pieces)

    def _next_chunk(self) -> bytes:
        if not self._chunks:
            self.close_place()
            self.settle()
        chunk = self._chunks.popleft()
        self.queued -= len(chunk)
        return bytes(chunk) if isinstance(chunk, bytearray) else chunk

    def _replace_head(self, head: bytes) -> None:
        self.base += len(self.head)
        self.head, self.pos, self._joined = head, 0, False

    def _join(self, pieces: list[bytes]) -> None:
        head = self.head
        if type(head) is bytes and not (self._joined and self.pos == 0):
            # One plain join keeps the head immutable: most frames that straddle chunks straddle only two.
            self.base += self.pos
            self.head = b"".join((memoryview(head)[self.pos :], *pieces))
            self.pos, self._joined = 0, True
            self.copied += len(self.head)
            return
        if type(head) is bytes:
            self.head = head = bytearray(head)
            self.copied += len(head)
        for piece in pieces:
            head += piece
            self.copied += len(piece)

    # Bytes out

    def advance(self, size: int) -> None:
        """Consume `size` bytes, which must all be in the head."""
        self.pos += size
        if type(self.head) is bytearray:
            rest = bytes(memoryview(self.head)[self.pos :])
            self.base += self.pos
            self.head, self.pos, self._joined = rest, 0, False
            self.copied += len(rest)

    def drop(self, limit: int) -> int:
        """Consume up to `limit` bytes without looking at them; return how many.

        The chunk in which the last of them is becomes the head as it is; what is borrowed stays so.
        """
        todo = size = min(limit, self.size)
        while todo > (rest := len(self.head) - self.pos):
            todo -= rest
            if self.view is not None and not self._chunks:
                self._replace_head(b"")
                self.drop_lent(self.view, todo)
                return size
            self._replace_head(self._next_chunk())
        self.advance(todo)
        return size

    def peek(self, size: int, *, at: int = 0) -> bytes:
        """Return up to `size` unconsumed bytes, after the first `at` of them: a whole chunk itself, else a copy."""
        head, at = self.head, self.pos + at
        # A whole chunk is left to the loop below: compiled, even a slice of everything is a copy.
        if type(head) is bytes and at + size <= len(head) and size < len(head):
            return head[at : at + size]
        # What extends over several chunks is joined straight from them.
        pieces: list[bytes | memoryview] = []
        for segment in self._segments():
            if size <= 0:
                break
            if at < len(segment):
                is_whole = type(segment) is bytes and at == 0 and size >= len(segment)
                pieces.append(segment if is_whole else memoryview(segment)[at : at + size])  # type: ignore[arg-type]
                size -= len(pieces[-1])
            at = max(at - len(segment), 0)
        return b"".join(pieces)

    def _segments(self) -> Iterable[bytes | bytearray | memoryview]:
        self.close_place()
        return chain((self.head,), self._chunks, () if self.view is None else (self.view,))
