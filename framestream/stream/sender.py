"""The sending half of a stream: bytes leave in order, early, and in few system calls.

The states of the transport, and what happens to a write in each:

=======  =========================================  =====================================================
state    means                                      a write
=======  =========================================  =====================================================
READY    nothing was sent in this pass of the loop  is sent at once; SPENT
SPENT    this pass has had its direct send          is queued, and leaves with all others of this pass at
                                                    its end (READY again), or at once above 64 KiB
BLOCKED  the transport takes nothing                is queued, and leaves when it takes data again
CLOSED   nothing leaves any more: the stream is     is refused
         closed, or the peer takes no more
=======  =========================================  =====================================================

While TLS begins, the queue has a barrier: what is written after it leaves when the handshake is done.

Positions count the bytes ever written: a writer that waits for its bytes waits for a position.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from enum import Enum
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from framestream.errors import BufferFull, StreamClosed, StreamTimeout, counted
from framestream.transport.base import MOST_BUFFERS, Buffer, settle

if TYPE_CHECKING:
    from framestream.stream.receiver import Receiver
    from framestream.stream.stream import IOStream

BytesLike: TypeAlias = "bytes | bytearray | memoryview"
Tell: TypeAlias = "Callable[[StreamClosed | None], object]"

# Bytes queued in one pass of the loop are sent at its end, or at once when they exceed this.
_MOST_TO_COALESCE: Final = 1 << 16
# The most to offer in one call. A kernel rarely takes more, and with TLS each byte offered is encrypted.
_MOST_TO_OFFER: Final = 1 << 20
# How often one wake-up sends before other tasks get a turn.
_SENDS_IN_A_ROW: Final = 16
_NEVER: Final = 1 << 62
_ONE: Final = (bytes, bytearray, memoryview, array, str)
# Numbers of waits, so that those for one position are told in their order.
_numbers: Final = count()
_FEW_WAITERS: Final = 64
PEER_ENDED: Final = "the stream has ended, and closed here, too; half_open=True keeps it writable"
BEING_CLOSED: Final = "the stream is being closed"
CLOSING: Final = (PEER_ENDED, BEING_CLOSED)
"""The refusals of a stream that closes when its queue is sent."""


class State(Enum):
    """The state of the transport; see the table above."""

    READY = "nothing was sent in this pass of the loop"
    SPENT = "this pass has had its direct send"
    BLOCKED = "the transport takes nothing"
    CLOSED = "nothing leaves any more"


READY, SPENT, BLOCKED, CLOSED = State  # as names of the module: Python code looks a member up in its class


class Sender:
    """Queue written bytes, and send them when the transport takes them. See the table above.

    Attributes:
        state: the state of the transport.
        size: queued bytes.
        written: bytes ever written.
        high_water, low_water: `room` makes the writer wait above the first until it is below the second.
        eof_due: whether the end of the stream has still to be sent; None: not asked for, or never will be.
        error: the reason why the transport takes no more; the receiving half may continue without it.
        refusal: why nothing more may be written, or None.
        stream: the stream that it belongs to; None once that is closed.
    """

    # fmt: off
    __slots__ = (
        "_at_end_of_pass", "_barrier", "_max_size", "_most_waiters", "_queue", "_receiver", "_timeout", "_timer",
        "_waiters", "eof_due", "error", "high_water", "low_water", "refusal", "size", "state", "stream", "written",
    )
    # fmt: on

    def __init__(self, stream: IOStream, receiver: Receiver, settings: Mapping[str, Any]) -> None:
        self.state: State = READY
        self.size = 0
        self.written = 0
        self.high_water: int = settings["write_high_water"]
        self.low_water: int = min(settings["write_low_water"], self.high_water)
        self.error: BaseException | None = None
        self.refusal: str | None = None
        self.stream = stream
        self._receiver = receiver
        self._max_size: int | None = settings["max_write_buffer_size"]
        self._timeout: float | None = settings["write_timeout"]
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Buffer] | None = None  # an idle connection does not pay for a deque
        self._barrier: int | None = None  # the position up to which bytes may leave
        self._at_end_of_pass = False  # `_end_pass` will be called
        self.eof_due: bool | None = None
        self._waiters: list[list[Any]] | None = None  # a heap: position, number, and a Tell, or None if given up
        self._most_waiters = _FEW_WAITERS

    @property
    def sent(self) -> int:
        """Bytes that the transport has taken."""
        return self.written - self.size

    @property
    def pending(self) -> bool:
        """True if anything has still to leave: bytes, or the end of the stream."""
        return bool(self.size or self.eof_due)

    # Writing

    def write(self, data: Any) -> bool:
        """Send, or queue, a buffer or several; return True if nothing is left to send.

        Raises:
            TypeError: they are no buffers.
            StreamClosed: nothing more can be written.
            BufferFull: more than the limit would be queued; nothing is written.
        """
        chunks: Sequence[Buffer]
        if type(data) is bytes:
            chunks, size = (data,), len(data)
        else:
            chunks = _as_chunks(data)
            size = sum(map(len, chunks))
        if self.refusal is not None:
            self.check_can_write()
        if self._max_size is not None and self.size + size > self._max_size:
            self.send_queued()  # a burst in one pass must not fill the buffer for a peer that reads
            self.check_can_write()
            if self.size + size > self._max_size:
                raise BufferFull("write buffer is full", size=self.size + size, limit=self._max_size)
        if self.size or not 0 < size <= _MOST_TO_OFFER or self._barrier is not None:
            return self._write_later(chunks, size)
        receiver = self._receiver
        if receiver.pushed:
            # A push since the last direct send shows a new pass; without one the loop must tell, which costs
            # a request and its answer an extra pass.
            receiver.pushed = False
        elif self.state is SPENT:
            return self._write_later(chunks, size)
        else:
            self._call_at_end_of_pass()
        self.state = SPENT
        try:
            taken = receiver.transport.send(chunks)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except Exception as error:  # noqa: BLE001 - it closes the stream, and the waiters raise it
            self.stream.on_write_error(error)
            return False
        if taken == size:
            # Most writes take this path: nothing is queued, watched or waited for.
            self.written += size
            return True
        self._append(chunks, size)
        self._advance(taken)
        self.send_queued()
        return False

    def _write_later(self, chunks: Sequence[Buffer], size: int) -> bool:
        if size:
            self._append(chunks, size)
            if self.state is not BLOCKED:
                self.state = SPENT
                self._call_at_end_of_pass()
                if self.size > _MOST_TO_COALESCE:
                    self.send_queued()
        return not self.size and self.state is not CLOSED

    def _append(self, chunks: Sequence[Buffer], size: int) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.extend(chunks)
        self.written += size
        self.size += size

    def _call_at_end_of_pass(self) -> None:
        if not self._at_end_of_pass:
            self._at_end_of_pass = True
            self.stream.loop.call_soon(self._end_pass)

    def _end_pass(self) -> None:
        self._at_end_of_pass = False
        if self.state is SPENT:
            self.state = READY
            if self.size:
                self.send_queued()

    @property
    def _ready(self) -> int:
        """Queued bytes before the barrier."""
        return self.size if self._barrier is None else self._barrier - self.sent

    def send_queued(self) -> None:
        """Send what the transport takes; if bytes stay, watch for it to take more, and be called again."""
        ends = self.eof_due and self._barrier is None
        try:
            for _ in range(_SENDS_IN_A_ROW):
                if not self._ready or not self._offer():
                    break
            if ends and not self.size:
                self._watch(False)  # a pipe closes its descriptor, and a closed one must not be watched
                self._receiver.transport.shutdown()
                ends = self.eof_due = False
        except (BlockingIOError, InterruptedError):
            pass
        except Exception as error:  # noqa: BLE001 - it closes the stream, and the waiters raise it
            self.stream.on_write_error(error)
            return
        self._watch(bool(self._ready or ends))
        self._wake()

    def _offer(self) -> bool:
        # The bytes offered always begin with the first not taken, so the same are offered again after a
        # short or blocked send, as transports demand. Returns True if all that was offered was taken.
        queue = self._queue
        assert queue
        offered: list[Buffer] = []
        room = min(self._ready, _MOST_TO_OFFER)
        for chunk in queue:
            offered.append(memoryview(chunk)[:room] if len(chunk) > room else chunk)
            room -= len(chunk)
            if room <= 0 or len(offered) == MOST_BUFFERS:
                break
        size = sum(map(len, offered))
        try:
            taken = self._receiver.transport.send(offered)
        finally:
            offered.clear()  # an exception's traceback must not keep the caller's buffers
        self._advance(taken)
        return taken == size

    def _advance(self, size: int) -> None:
        queue = self._queue
        assert queue is not None
        self.size -= size
        while size:
            chunk = queue.popleft()
            if len(chunk) > size:
                queue.appendleft(memoryview(chunk)[size:])
                return
            size -= len(chunk)

    def _watch(self, wanted: bool) -> None:
        if wanted and self.state is not BLOCKED:
            self.state = BLOCKED
            self._receiver.transport.watch_writing(True)
            self._start_timer()
        elif not wanted and self.state is BLOCKED:
            self.state = READY
            self._receiver.transport.watch_writing(False)
            if self._timer is not None:
                self._timer.cancel()

    def hold(self) -> None:
        """Let what is queued leave, and nothing written from now on before `let_go`."""
        self._barrier = self.written

    def let_go(self) -> None:
        """Send what was written since `hold`."""
        self._barrier = None
        if self.pending:
            self.send_queued()

    # Waiting

    def flush(self) -> Awaitable[None]:
        """Wait until everything written so far has left."""
        if self.state is CLOSED:
            return Flush(self, _NEVER)
        return Flush(self, self._goal) if self.pending else DONE

    def room(self) -> Awaitable[None]:
        """Wait, if more than `high_water` bytes are queued, until no more than `low_water` are."""
        if self.state is CLOSED:
            return Flush(self, _NEVER)
        return DONE if self.size <= self.high_water else Flush(self, self.written - self.low_water)

    def when_room(self, tell: Tell) -> None:
        """Call a function when no more than `low_water` bytes are left to send, or with an error if they stay."""
        self._add_waiter(self.written - self.low_water, tell)

    def when_sent(self, tell: Tell) -> None:
        """Call a function when, or if, everything written so far has left; with an error if it never will."""
        if self.state is CLOSED:
            tell(self._lost())
        elif self.pending:
            self._add_waiter(self._goal, tell)
        else:
            tell(None)

    async def wait_until_sent(self, position: int) -> None:
        """Wait until the bytes up to `position` have left.

        Raises:
            StreamClosed: they never will.
        """
        if self.state is not BLOCKED:
            self.send_queued()
        if self._is_out(position):
            return
        if not self.pending:
            raise self._lost()
        waiter: asyncio.Future[None] = self.stream.loop.create_future()
        entry = self._add_waiter(position, partial(settle, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            entry[2] = None
            raise

    def _add_waiter(self, position: int, tell: Tell) -> list[Any]:
        if self._waiters is None:
            self._waiters = []
        elif len(self._waiters) >= self._most_waiters:
            # With a peer that takes nothing, waits that were given up must not pile up.
            self._waiters = [entry for entry in self._waiters if entry[2] is not None]
            heapify(self._waiters)
            self._most_waiters = max(_FEW_WAITERS, 2 * len(self._waiters))
        entry = [position, next(_numbers), tell]
        heappush(self._waiters, entry)
        return entry

    @property
    def _goal(self) -> int:
        """The position that is reached when nothing is left to send; the end of the stream takes one of its own."""
        return self.written + bool(self.eof_due)

    def _is_out(self, position: int) -> bool:
        return self.sent + (self.eof_due is False) >= position

    def _wake(self) -> None:
        while self._waiters and self._is_out(self._waiters[0][0]):
            _, _, tell = heappop(self._waiters)
            if tell is not None:
                tell(None)

    # The end

    def refuse(self, why: str) -> None:
        """Refuse further writes with this reason; queued bytes still leave."""
        self.refusal = self.refusal or why

    def end(self) -> None:
        """Refuse further writes, and send the end of the stream after the queue."""
        if self.eof_due is None and self.state is not CLOSED:
            self.refuse("this half of the stream is ended: nothing can be written after its end")
            self.eof_due = True
            self.send_queued()

    def send_what_is_taken(self) -> None:
        """Send now, in however many pieces, all that the transport takes; keep the rest."""
        try:
            while self._ready:
                self._offer()
        except Exception:  # noqa: BLE001, S110 - the stream is being closed: the waiters are told next
            pass

    def fail(self, error: BaseException) -> None:
        """Close for this error: pending and later writes raise it."""
        self.error = error
        self.close()

    def close(self) -> None:
        """Discard the queue, and tell the waiters."""
        self._wake()
        self._watch(False)
        self.state = CLOSED
        self.refuse("stream is closed")
        self.eof_due = None if self.eof_due else self.eof_due
        for chunk in self._queue or ():
            if isinstance(chunk, memoryview):
                chunk.release()  # an exception's traceback may still refer to it
        self._queue = None
        self.written -= self.size
        self.size = 0
        self._barrier = None
        waiters, self._waiters = self._waiters, None
        for _, _, tell in sorted(waiters or ()):
            if tell is not None:
                tell(self._lost())

    def check_can_write(self) -> None:
        """Raise `StreamClosed` if nothing more can be written."""
        if self.refusal is not None:
            raise self._lost(self.refusal) if self.state is CLOSED else StreamClosed(self.refusal)

    def _lost(self, what: str = "stream closed before everything was written") -> StreamClosed:
        if self.stream is not None:
            what = "the peer takes no more; what it sends can still be read"
        return StreamClosed(what, real_error=self.error)

    # Time

    def _start_timer(self) -> None:
        if self._timeout is not None:
            self._timer = self.stream.loop.call_later(self._timeout, self._on_timeout, self.sent)

    def _on_timeout(self, sent: int) -> None:
        if self.sent > sent:
            self._start_timer()
        else:
            reason = f"peer took nothing of {counted(self.size, 'byte')} for {self._timeout} s"
            self.stream.on_write_error(StreamTimeout(reason))


class _Done:
    """An awaitable that is done: the written bytes have left already."""

    __slots__ = ()

    __await__ = ().__iter__  # await needs only an empty iterator, and this makes one without a Python call


DONE: Final[Awaitable[None]] = _Done()  # type: ignore[assignment]  # it has no other methods of a generator


class Flush:
    """Wait until the bytes up to `position` have left; awaiting it sends the queue at once."""

    __slots__ = ("_position", "_sender")

    def __init__(self, sender: Sender, position: int) -> None:
        self._sender = sender
        self._position = position

    def __await__(self) -> Generator[Any, None, None]:
        return self._sender.wait_until_sent(self._position).__await__()


def _as_chunks(data: Any) -> list[Buffer]:
    """Return the buffers as chunks of bytes, without copying any that is contiguous."""
    parts: Sequence[Any] = data if isinstance(data, Sequence) and not isinstance(data, _ONE) else [data]
    return [chunk for part in parts if len(chunk := part if isinstance(part, bytes) else _flat(part))]


def _flat(data: Any) -> memoryview:
    try:
        view = memoryview(data)
    except TypeError:
        kind = type(data).__name__
        raise TypeError(f"write takes bytes, a buffer, or a list of those, not {kind}") from None
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view.cast("B")
