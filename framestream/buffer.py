"""ReceiveBuffer: received bytes, of which the first are contiguous.

Goals
-----
* A condition looks at contiguous, immutable ``bytes``: a slice of them costs a third of one through a
  memoryview of a bytearray.
* Every byte is copied a bounded number of times on its way from the feeder to the frame; `copied` counts
  all copies but the delivered slices themselves.
* A large frame is received in its final place, and bytes in a feeder's own buffer are used where they are.
* Bytes that arrive one at a time take little more than a byte each.

Plan
----
The bytes that are not consumed are, in the order of the stream::

    head[pos:]   chunks           small            place          or view[view_at:]
    +---------+  +-----+-------+  +-------------+  +------+.....+  +-------------+
    | bytes   |  |     |       |  | (joined)    |  | part of a  |  | borrowed    |
    +---------+  +-----+-------+  +-------------+  | large frame|  +-------------+
                                                   +------+.....+

Most of the time there is only a head, and the next chunk becomes the head as it is. A frame that straddles
two chunks costs one join. Only a frame of unknown end that needs a third chunk turns the head into a
growing bytearray, until that frame is consumed. A frame whose extent is known is never searched: its
payload is joined straight from the chunks.

Of a borrowed view, the head is a copy of the next few bytes: enough to show the header of a large frame,
whose payload is then copied out of the view once. The head doubles where it shows small frames, or the
search goes on, so that these soon have all of the view in the head.

Invariants
----------
* `queued` is what follows the head: ``size == len(head) - pos + queued``.
* ``base + pos`` is the stream offset of the first byte that is not consumed.
* The head is a bytearray only while a frame at `pos` is being searched; `advance` turns it back.
* There is a place or a view, not both, and nothing follows either.
* If only the view follows the head, the head's last bytes are a copy of those before ``view[view_at]``.
"""

from __future__ import annotations

from collections import deque
from io import BytesIO
from typing import Final

# Tiny chunks are joined while they wait, and a search has at least so many bytes made contiguous at once:
# single bytes that arrive before anybody reads cost neither an object nor a search each.
_TINY: Final = 512
_SMALL: Final = 4096
# An empty deque takes 600 bytes: connections that wait for their first byte share one.
_NO_CHUNKS: Final[deque[bytes]] = deque(maxlen=0)
# A borrowed view of at most so many bytes is copied: that costs less than looking at it in steps.
_WORTH_BORROWING: Final = 1 << 15
# The first look at a borrowed view is enough for nearly every header.
_FIRST_LOOK: Final = 512
# A place has room for so many times what has arrived, up to a MiB at once and beyond that: the size that a
# peer declares is never allocated before it has sent a good part of it, and bytes move but a few times.
_FIRST_FACTOR: Final = 16
_FIRST_ROOM: Final = 1 << 20
_FACTOR: Final = 4


class Place:
    """A payload of known size that is being received where it will stay.

    It is the memory of a ``BytesIO``: the only one that can be received into and become ``bytes`` without a
    copy. Fresh memory costs more than the receiving, so that is what counts.

    Attributes:
        size: bytes that have arrived.
        total: bytes of the whole payload.
        is_lent: it is the reader's own buffer.
    """

    __slots__ = ("_file", "_rest", "_room", "is_lent", "size", "total")

    def __init__(self, arrived: list[bytes | memoryview], total: int) -> None:
        self._file = BytesIO()
        self._file.writelines(arrived)
        self.size = self._room = self._file.tell()
        self.total = total
        self.is_lent = False
        self._rest: memoryview | None = None

    def rest(self) -> memoryview:
        """Return the room for what is to arrive next."""
        self._let_go()
        if self.size == self._room:
            self._grow()
        self._rest = self._file.getbuffer()[self.size : self._room]
        return self._rest

    def _grow(self) -> None:
        room = max(_FACTOR * self.size, min(_FIRST_FACTOR * self.size, _FIRST_ROOM))
        # No small last step: a BytesIO that grows by little takes more than it is asked for, and giving
        # that back at the end makes the allocator start with fresh memory each time (30 times slower).
        self._room = room if 2 * room <= self.total else self.total
        self._file.seek(self._room - 1)
        self._file.write(b"\0")

    def take(self) -> bytes:
        """Return what has arrived; the place is of no more use."""
        if not self._let_go():
            # uvloop holds the view until the call that tells of the bytes returns.
            return bytes(self._file.getbuffer()[: self.size])
        if self.size < self._room:
            self._file.truncate(self.size)
        return self._file.getvalue()

    def arrived(self) -> bytes:
        """Return a copy of what has arrived."""
        return bytes(self._file.getbuffer()[: self.size])

    def _let_go(self) -> bool:
        if self._rest is not None:
            try:
                self._rest.release()
            except BufferError:
                return False
            self._rest = None
        return True


class LentPlace(Place):
    """A buffer of the reader's that bytes are received into; `take` copies those that are there."""

    __slots__ = ("_whole",)

    def __init__(self, arrived: list[bytes | memoryview], whole: memoryview) -> None:
        super().__init__([], len(whole))
        for piece in arrived:
            whole[self.size : self.size + len(piece)] = piece
            self.size += len(piece)
        self.is_lent = True
        self._whole = whole

    def rest(self) -> memoryview:
        """Return the room for what is to arrive next."""
        return self._whole[self.size :]

    def take(self) -> bytes:
        """Return a copy of what has arrived, and let go of the buffer."""
        return bytes(self._whole[: self.size])

    def arrived(self) -> bytes:
        """Return a copy of what has arrived."""
        return bytes(self._whole[: self.size])


class ReceiveBuffer:
    """Bytes that were received and not consumed.

    Attributes:
        head: the contiguous bytes that conditions look at.
        pos: index in the head of the first byte that is not consumed.
        queued: bytes that follow the head.
        base: stream offset of ``head[0]``.
        copied: bytes moved to make the head contiguous.
        high_water: the most bytes that were ever there.
        place: a part of a frame that is being received in its final place.
    """

    __slots__ = (
        "_chunks",
        "_joined",
        "_look",
        "_small",
        "_view",
        "_view_at",
        "base",
        "copied",
        "head",
        "high_water",
        "place",
        "pos",
        "queued",
    )

    def __init__(self) -> None:
        self.head: bytes | bytearray = b""
        self.pos = 0
        self.queued = 0
        self.base = 0
        self.copied = 0
        self.high_water = 0
        self.place: Place | None = None
        self._chunks = _NO_CHUNKS
        self._small: bytearray | None = None
        self._view: memoryview | None = None
        self._view_at = 0
        self._look = _FIRST_LOOK
        self._joined = False  # the head was joined while the frame at `pos` 0 was being searched

    @property
    def size(self) -> int:
        """Bytes that are not consumed."""
        return len(self.head) - self.pos + self.queued

    @property
    def received(self) -> int:
        """Bytes ever received."""
        return self.base + len(self.head) + self.queued

    @property
    def offset(self) -> int:
        """Stream offset of the first byte that is not consumed."""
        return self.base + self.pos

    @property
    def borrows(self) -> bool:
        """Whether some of them stay in a buffer of the feeder's."""
        return self._view is not None

    # Bytes in

    def append(self, chunk: bytes) -> None:
        """Add a chunk after everything else; a large one is not copied."""
        if self.queued or self.pos != len(self.head) or self.place is not None:
            self.settle()
            if self.place is not None:
                chunk = self._fill_place(chunk)
            self._queue(chunk)
        else:
            self._replace_head(chunk)  # most chunks are received when all before is read
        self.note_size()

    def note_size(self, more: int = 0) -> None:
        """Have `high_water` count what is there, and `more`."""
        self.high_water = max(self.high_water, self.size + more)

    def _queue(self, chunk: bytes) -> None:
        self.queued += len(chunk)
        if len(chunk) < _TINY:
            if self._small is None:
                self._small = bytearray()
            self._small += chunk
            if len(self._small) < _SMALL:
                return
            self._flush_small()
        else:
            self._flush_small()
            self._push(chunk)

    def _flush_small(self) -> None:
        small, self._small = self._small, None
        if small:
            self.copied += len(small)
            self._push(bytes(small))

    def _push(self, chunk: bytes) -> None:
        if self._chunks is _NO_CHUNKS:
            self._chunks = deque()
        self._chunks.append(chunk)

    def unread(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Have ``data[start:end]`` once more: they were consumed last, and `data` was the head then."""
        if data is self.head and self.pos == end:
            self.pos = start
            return
        rest = bytes(memoryview(self.head)[self.pos :])
        if rest:
            self._push(rest)
            self._chunks.rotate()
            self.queued += len(rest)
        self.base += self.pos - (end - start)
        self.head = bytes(memoryview(data)[start:end])
        self.pos = 0
        self._joined = False
        self.copied += end - start

    # Bytes received in a place of their own

    def open_place(self, start: int, stop: int) -> None:
        """Have a place for the bytes from `start` to `stop`, of which some have arrived and more will.

        Both count from the first byte that is not consumed. What has arrived of them is moved there, so
        that the place is one chunk, from the payload's first byte to its last.
        """
        self._move_to(Place(self._segments(start), stop - start), start)

    def lend(self, whole: memoryview) -> None:
        """Have what is there, and what follows, in a place that is larger than what is there."""
        self._move_to(LentPlace(self._segments(0), whole), 0)

    def _move_to(self, place: Place, start: int) -> None:
        # What has arrived before the place is the head now.
        head = self.peek(start)
        self.copied += place.size
        self.base += self.pos
        self.head = head
        self.pos = 0
        self._joined = False
        self._chunks = _NO_CHUNKS
        self._small = None
        self._view = None
        self.place = place
        self.queued = place.size

    def filled(self, size: int) -> None:
        """Note that bytes were put into the place."""
        place = self.place
        assert place is not None
        place.size += size
        self.queued += size
        self.note_size()
        if place.size == place.total and not place.is_lent:
            self.close_place()

    def _fill_place(self, chunk: bytes) -> bytes:
        # Whoever has bytes of the place elsewhere has them moved there; return what is too much.
        place = self.place
        assert place is not None
        while chunk and place.size < place.total:
            rest = place.rest()
            size = min(len(rest), len(chunk))
            rest[:size] = memoryview(chunk)[:size]
            chunk = chunk[size:]
            self.copied += size
            self.filled(size)
        if chunk:
            self.close_place()
        return chunk

    def close_place(self) -> None:
        """Make what has arrived in the place a chunk like others."""
        place, self.place = self.place, None
        if place is not None and place.size:
            self.queued -= place.size
            self._queue(place.take())

    def consume_lent(self) -> bool:
        """Consume what a lent place holds, if it is full and nothing comes first; else have it as a chunk."""
        place = self.place
        if place is None or place.size < place.total or self.queued != self.size:
            self.close_place()
            return False
        self.place = None
        self.base += len(self.head) + place.total
        self.head = b""
        self.pos = self.queued = 0
        return True

    # Bytes in a buffer of the feeder's

    def borrow(self, view: memoryview) -> None:
        """Add bytes that stay where they are until `settle`."""
        if len(view) <= _WORTH_BORROWING or self.place is not None:
            self.append(bytes(view))
            return
        self.settle()
        self._flush_small()
        was_empty = not self.size
        self._view = view
        self._view_at = 0
        self.queued += len(view)
        self.note_size()
        if was_empty:
            self._replace_head(self._next_chunk())

    def settle(self) -> None:
        """Keep a copy of what is not consumed of the borrowed bytes."""
        view = self._view
        if view is None:
            return
        if self._only_view_follows() and (at := self._index_in_view()) >= 0:
            self._see_view(at, len(view))
            return
        self._view = None
        self.queued -= len(view) - self._view_at
        self._queue(bytes(view[self._view_at :]))

    def _only_view_follows(self) -> bool:
        return self._view is not None and not self._chunks

    def _index_in_view(self) -> int:
        # Where the first byte that is not consumed is in the view; negative if it is not there.
        return self._view_at - (len(self.head) - self.pos)

    def _see_view(self, at: int, size: int) -> None:
        """Have the head begin at index `at` of the view, and show `size` bytes of it."""
        view = self._view
        assert view is not None
        stop = at + size
        if len(view) - stop <= _WORTH_BORROWING:
            stop = len(view)
        self.base = self.base + len(self.head) + at - self._view_at
        self.head = bytes(view[at:stop])
        self.pos = 0
        self._joined = False
        self.copied += stop - at
        self._end_look_at(stop)

    def _end_look_at(self, stop: int) -> None:
        view = self._view
        assert view is not None
        self._view_at = stop
        self.queued = len(view) - stop
        if not self.queued:
            self._view = None

    # Contiguous bytes

    def _next_chunk(self) -> bytes:
        if self._chunks:
            chunk = self._chunks.popleft()
        elif self._small:
            chunk = bytes(self._small)
            self._small = None
            self.copied += len(chunk)
        elif self._view is not None:
            view, at = self._view, self._view_at
            stop = at + self._look
            self._look *= 2
            if len(view) - stop <= _WORTH_BORROWING:
                stop = len(view)
            chunk = bytes(view[at:stop])
            self.copied += len(chunk)
            self._end_look_at(stop)
            return chunk
        else:
            self.close_place()
            chunk = self._chunks.popleft() if self._chunks else bytes(self._small or b"")
            self._small = None
        self.queued -= len(chunk)
        return chunk

    def grow(self, size: int) -> None:
        """Join some of what follows to the head, until `size` bytes are contiguous or all are."""
        if self.pos == len(self.head):
            self._replace_head(self._next_chunk())
        have = len(self.head) - self.pos
        target = max(size, have + 1, _SMALL)
        if not self.queued or (have >= size and have >= _SMALL):
            return
        if self._only_view_follows() and (at := self._index_in_view()) >= 0:
            if have < size:
                self._see_view(at, max(size, 2 * have))
            return
        pieces: list[bytes] = []
        while self.queued and have < target:
            piece = self._next_chunk()
            pieces.append(piece)
            have += len(piece)
        self._join(pieces)

    def _replace_head(self, head: bytes) -> None:
        self.base += len(self.head)
        self.head = head
        self.pos = 0
        self._joined = False

    def _join(self, pieces: list[bytes]) -> None:
        head = self.head
        if type(head) is not bytearray:
            if not (self._joined and self.pos == 0):
                # One plain join keeps the head immutable: most frames that straddle chunks straddle two.
                self.head = b"".join((memoryview(head)[self.pos :], *pieces))
                self.base += self.pos
                self.pos = 0
                self._joined = True
                self.copied += len(self.head)
                return
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
            self.head = rest
            self.pos = 0
            self._joined = False
            self.copied += len(rest)

    def take(self, start: int, stop: int, end: int) -> bytes:
        """Consume `end` bytes and return those from `start` to `stop`, copied once.

        All three count from the first byte that is not consumed; `end` bytes must be there.
        """
        head, pos = self.head, self.pos
        if pos + end > len(head):
            return self._gather(start, stop, end)
        if type(head) is bytes:
            self.pos = pos + end
            return head[pos + start : pos + stop]
        payload = bytes(memoryview(head)[pos + start : pos + stop])
        self.advance(end)
        return payload

    def _gather(self, start: int, stop: int, end: int) -> bytes:
        # The chunk in which the frame ends becomes the next head as it is.
        pieces: list[bytes | memoryview] = []
        while end > (have := len(self.head) - self.pos):
            if self._only_view_follows():
                return self._take_from_view(pieces, start, stop, end)
            self._add_piece(pieces, start, min(stop, have))
            start, stop, end = start - have, stop - have, end - have
            self._replace_head(self._next_chunk())
        self._add_piece(pieces, start, stop)
        self.advance(end)
        return b"".join(pieces)

    def _add_piece(self, pieces: list[bytes | memoryview], start: int, stop: int) -> None:
        start, stop = max(start, 0) + self.pos, stop + self.pos
        if start < stop:
            whole = start == 0 and stop == len(self.head) and type(self.head) is bytes
            pieces.append(self.head if whole else memoryview(self.head)[start:stop])  # type: ignore[arg-type]

    def _take_from_view(self, pieces: list[bytes | memoryview], start: int, stop: int, end: int) -> bytes:
        view, at = self._view, self._index_in_view()
        assert view is not None
        low, high = at + max(start, 0), at + stop
        if low < 0:
            self._add_piece(pieces, start, min(stop, -at))
            low = 0
        payload: bytes
        if pieces:
            if low < high:
                pieces.append(view[low:high])
            payload = b"".join(pieces)
        else:
            payload = bytes(view[low:high])
        self._look = _FIRST_LOOK
        self._see_view(at + end, _FIRST_LOOK)
        return payload

    def take_into(self, place: memoryview) -> None:
        """Consume as many bytes as `place` has room for, and copy them there; so many must be there."""
        room = len(place)
        for segment in self._segments(0):
            size = min(room, len(segment))
            place[len(place) - room : len(place) - room + size] = segment[:size]
            room -= size
        self.drop(len(place))

    def take_some(self, limit: int) -> bytes:
        """Consume and return at least one and at most `limit` bytes; copies only what must be cut."""
        if self._only_view_follows():
            size = min(limit, self.size)
            return self.take(0, size, size)
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
            if self._only_view_follows():
                self._see_view(self._index_in_view() + todo, _FIRST_LOOK)
                return size
            todo -= rest
            self._replace_head(self._next_chunk())
        self.advance(todo)
        return size

    def peek(self, size: int, *, at: int = 0) -> bytes:
        """Return a copy of up to `size` bytes that are not consumed, after the first `at` of them."""
        pieces: list[bytes | memoryview] = []
        for segment in self._segments(at):
            pieces.append(segment[:size])
            size -= len(pieces[-1])
            if size <= 0:
                break
        return b"".join(pieces)

    def _segments(self, at: int) -> list[bytes | memoryview]:
        # What is not consumed, but for the first `at` bytes of it.
        segments: list[bytes | memoryview] = [memoryview(self.head)[self.pos :], *self._chunks]
        if self._small:
            segments.append(bytes(self._small))
        if self._view is not None:
            segments.append(self._view[self._view_at :])
        if self.place is not None:
            segments.append(self.place.arrived())
        rest: list[bytes | memoryview] = []
        for segment in segments:
            if at < len(segment):
                rest.append(memoryview(segment)[at:] if at else segment)
            at = max(at - len(segment), 0)
        return rest
