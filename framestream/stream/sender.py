"""The sending half of a stream: bytes leave in order, early, and in few system calls.

The states of the transport, and what happens to a write in each:

=======  =========================================  =====================================================
state    means                                      a write
=======  =========================================  =====================================================
READY    nothing was sent in this pass of the loop  is sent at once; SPENT
SPENT    this pass has had its direct send          is queued, and leaves with all others of this pass at
                                                    its end (READY again), or at once above 64 KiB
BLOCKED  the transport takes nothing                is queued, and leaves when it takes data again
HELD     a file or a TLS handshake has the          is queued until it is given back
         transport
CLOSED   nothing leaves any more: the stream is      is refused
         closed, or the peer takes no more
=======  =========================================  =====================================================

Positions count the bytes ever written: a writer that waits for its bytes waits for a position.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Sequence
from enum import Enum
from functools import partial
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeAlias

from framestream.errors import BufferFull, StreamBusy, StreamClosed, StreamTimeout, counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from framestream.stream.receiver import Receiver
    from framestream.stream.stream import IOStream
    from framestream.transport.base import Buffer

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

# Bytes queued in one pass of the loop are sent at its end, or at once when they exceed this.
_MOST_TO_COALESCE: Final = 1 << 16
# The most to offer in one call. A kernel rarely takes more, and with TLS each byte offered is encrypted.
_MOST_TO_OFFER: Final = 1 << 20
_MOST_BUFFERS: Final = 512
# The most of a file in one call.
_MOST_OF_FILE: Final = 1 << 18
# How often one wake-up sends before other tasks get a turn.
_SENDS_IN_A_ROW: Final = 16
_NEVER: Final = 1 << 62
_FEW_WAITERS: Final = 64
_ONE: Final = (bytes, bytearray, memoryview, array, str)


class State(Enum):
    """The state of the transport; see the table above."""

    READY = "nothing was sent in this pass of the loop"
    SPENT = "this pass has had its direct send"
    BLOCKED = "the transport takes nothing"
    HELD = "a file or a TLS handshake has the transport"
    CLOSED = "nothing leaves any more"


READY, SPENT, BLOCKED, HELD, CLOSED = State  # as names of the module: Python code looks a member up in its class


class Waiter(Protocol):
    """Callback interface: told when the bytes up to a position have been sent."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Sender:
    """Queue written bytes, and send them when the transport takes them. See the table above.

    Attributes:
        state: the state of the transport.
        size: queued bytes.
        written: bytes ever written.
        passed: bytes of files; they are not `written`, so that no position counts them.
        most: the most bytes ever queued.
        high_water, low_water: `room` makes the writer wait above the first until it is below the second.
        error: the reason why the transport takes no more; the receiving half may continue without it.
    """

    # fmt: off
    __slots__ = (
        "_at_end_of_pass", "_eof_due", "_free", "_max_size", "_most_waiters", "_queue", "_receiver",
        "_refusal", "_seen_pushes", "_stream", "_timeout", "_timer", "_waited", "_waiters", "error",
        "high_water", "low_water", "most", "passed", "size", "state", "written",
    )
    # fmt: on

    def __init__(self, stream: IOStream, receiver: Receiver, settings: Mapping[str, Any]) -> None:
        self.state: State = READY
        self.size = 0
        self.written = 0
        self.passed = 0
        self.most = 0
        self.high_water: int = settings["write_high_water"]
        self.low_water: int = min(settings["write_low_water"], self.high_water)
        self.error: BaseException | None = None
        self._refusal: str | None = None  # why nothing more may be written
        self._stream = stream
        self._receiver = receiver
        self._seen_pushes = 0
        self._max_size: int | None = settings["max_write_buffer_size"]
        self._timeout: float | None = settings["write_timeout"]
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Buffer] | None = None  # an idle connection does not pay for a deque
        self._at_end_of_pass: asyncio.Handle | None = None
        self._eof_due: bool | None = None  # whether the end has still to be sent; None: it was not asked for
        self._free: asyncio.Future[None] | None = None  # the holder of the transport waits for it
        self._waiters: list[tuple[int, int, Waiter]] | None = None  # a heap: the nearest position comes first
        self._waited = 0
        self._most_waiters = _FEW_WAITERS

    @property
    def sent(self) -> int:
        """Bytes that the transport has taken."""
        return self.written - self.size

    @property
    def pending(self) -> bool:
        """True if anything has still to leave: bytes, a file, or the end of the stream."""
        return bool(self.size or self._eof_due) or self.state is HELD

    # Writing

    def write(self, data: bytes | list[Buffer]) -> bool:
        """Send, or queue, one chunk or several; return True if nothing is left to send.

        Raises:
            StreamClosed: nothing more can be written.
            BufferFull: more than the limit would be queued; nothing is written.
        """
        if self._refusal is not None:
            self.check_can_write()
        size = len(data) if isinstance(data, bytes) else sum(map(len, data))
        if self._max_size is not None and self.size + size > self._max_size:
            raise BufferFull("write buffer is full", size=self.size + size, limit=self._max_size)
        state = self.state
        if self.size or not 0 < size <= _MOST_TO_OFFER or state is BLOCKED or state is HELD:
            may_send = False
        elif self._receiver.pushes != self._seen_pushes:
            # A push since the last direct send shows a new pass; without one the loop must tell, which costs
            # a request and its answer an extra pass.
            self._seen_pushes = self._receiver.pushes
            self.state = SPENT
            may_send = True
        else:
            may_send = state is READY
            self._call_at_end_of_pass()
            self.state = SPENT
        if not may_send:
            if size:
                self._append(data, size)
                self._send_soon()
            return not self.size and self.state is not CLOSED
        try:
            transport = self._receiver.transport
            taken = transport.send_bytes(data) if isinstance(data, bytes) else transport.send(data)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except Exception as error:  # noqa: BLE001 - it closes the stream, and the waiters raise it
            self._stream.on_write_error(error)
            return False
        if taken == size:
            # Most writes take this path: nothing is queued, watched or waited for.
            self.written += size
            return True
        self._append(data, size)
        self._advance(taken)
        self._send()
        return False

    def _append(self, data: bytes | Sequence[Buffer], size: int) -> None:
        if self._queue is None:
            self._queue = deque()
        if isinstance(data, bytes):
            self._queue.append(data)
        else:
            self._queue.extend(data)
        self.written += size
        self.size += size
        self.most = max(self.most, self.size)

    def _send_soon(self) -> None:
        if self.state is READY or self.state is SPENT:
            if self.size > _MOST_TO_COALESCE:
                self._send()
            else:
                self.state = SPENT
                self._call_at_end_of_pass()

    def _call_at_end_of_pass(self) -> None:
        if self._at_end_of_pass is None:
            self._at_end_of_pass = self._stream.loop.call_soon(self._end_pass)

    def _end_pass(self) -> None:
        self._at_end_of_pass = None
        if self.state is SPENT:
            self.state = READY
            if self.size:
                self._send()

    def _send(self) -> None:
        """Send what the transport takes; if bytes stay, watch for it to take more."""
        try:
            for _ in range(_SENDS_IN_A_ROW):
                if not self.size or not self._offer(_MOST_TO_OFFER):
                    break
            if self._eof_due and not self.size:
                self._watch(False)  # a pipe closes its descriptor, and a closed one must not be watched
                self._receiver.transport.shutdown()
                self._eof_due = False
        except (BlockingIOError, InterruptedError):
            pass
        except Exception as error:  # noqa: BLE001 - it closes the stream, and the waiters raise it
            self._stream.on_write_error(error)
            return
        self._watch(bool(self.size or self._eof_due))
        self._wake()

    def _offer(self, most: int) -> bool:
        # The bytes offered always begin with the first not taken, so the same are offered again after a
        # short or blocked send, as transports demand. Returns True if all that was offered was taken.
        queue = self._queue
        assert queue
        offered: list[Buffer] = []
        room = most
        for chunk in queue:
            offered.append(memoryview(chunk)[:room] if len(chunk) > room else chunk)
            room -= len(chunk)
            if room <= 0 or len(offered) == _MOST_BUFFERS:
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
            self._stop_timer()

    def resume_writing(self) -> None:
        """Send more: the transport takes data again."""
        if self.state is HELD:
            self._set_free()
        elif self.state is BLOCKED:
            self._send()

    # The transport held by a file or a handshake

    def hold(self) -> None:
        """Queue writes until `let_go`: the transport has another use."""
        self.check_not_held()
        self._watch(False)
        self.state = HELD

    def let_go(self) -> None:
        """Send what was queued meanwhile, unless the stream is closed by now."""
        if self.state is HELD:
            self.state = READY
            if self.pending or self._waiters:
                self._send()

    def check_not_held(self) -> None:
        """Raise `StreamBusy` while a file is sent or TLS begins: they hold the transport."""
        if self.state is HELD:
            raise StreamBusy("a file is being sent, or TLS is being started; await that first")

    async def send_queue(self) -> None:
        """Send, between `hold` and `let_go`, what is queued, and nothing written after it.

        Raises:
            StreamClosed: it never will leave.
        """
        position, before = self.written, self._waited
        await self._send_up_to(position)
        # Writers that have begun to wait since then wait for the file, too.
        while self._waiters and self._waiters[0][:2] <= (position, before):
            self._wake_first()

    async def _send_up_to(self, position: int) -> None:
        while self.sent < position:
            await self._retried(lambda: self._offer(min(position - self.sent, _MOST_TO_OFFER)))

    async def _retried(self, send: Callable[[], int], fatal: type[Exception] = Exception) -> int:
        """Call `send`, between `hold` and `let_go`, as soon as the transport takes data."""
        while self.state is not CLOSED:
            try:
                return send()
            except (BlockingIOError, InterruptedError):
                await self._until_free()
            except NotImplementedError:
                raise
            except fatal as error:
                self._stream.on_write_error(error)
                raise self._lost() from error
        raise self._lost()

    async def _until_free(self) -> None:
        self._free = self._stream.loop.create_future()
        self._receiver.transport.watch_writing(True)
        self._start_timer()
        try:
            await self._free
        finally:
            self._free = None
            self._stop_timer()
            if self.state is HELD:
                self._receiver.transport.watch_writing(False)

    def _set_free(self) -> None:
        if self._free is not None and not self._free.done():
            self._free.set_result(None)

    async def send_file(self, file: BinaryIO, offset: int, count: int | None) -> int:
        """Send `count` bytes of a file, or all of it from `offset` on; return how many were sent.

        The system sends it from the page cache if it can, else it is sent piece by piece.
        """
        self.check_can_write()
        at, end = offset, _NEVER if count is None else offset + count
        # From here on no other write may leave before the file.
        self.hold()
        try:
            await self.send_queue()
            send = self._receiver.transport.send_file
            while at < end:
                part = partial(send, file, at, min(_MOST_OF_FILE, end - at))
                try:
                    # Any other error is one of the file, and no fault of the stream.
                    sent = await self._retried(part, fatal=OSError)
                    self.passed += sent
                except NotImplementedError:  # the system cannot
                    file.seek(at)
                    sent = await self._send_first(memoryview(file.read(min(_MOST_OF_FILE, end - at))))
                if not sent:
                    break
                at += sent
                await asyncio.sleep(0)  # a peer that takes everything at once leaves other tasks a turn
        finally:
            self.let_go()
        return at - offset

    async def _send_first(self, piece: memoryview) -> int:
        """Send, between `hold` and `let_go`, these bytes before everything that is queued; return how many."""
        position = self.sent
        if self._queue is None:
            self._queue = deque()
        if piece:
            self._queue.appendleft(piece)
        self.size += len(piece)
        self.passed += len(piece)
        await self._send_up_to(position)
        return len(piece)

    # Waiting

    def flush(self) -> Awaitable[None]:
        """Wait until everything written so far has left."""
        if self.state is CLOSED:
            return Flush(self, _NEVER)
        return Flush(self, self.written) if self.pending else DONE

    def room(self) -> Awaitable[None]:
        """Wait, if more than `high_water` bytes are queued, until no more than `low_water` are."""
        if self.state is CLOSED:
            return Flush(self, _NEVER)
        return DONE if self.size <= self.high_water else Flush(self, self.written - self.low_water)

    def call_when_room(self, callback: Callable[[], object]) -> None:
        """Call a function when no more than `low_water` bytes are left to send, or none ever will be."""
        self._add_waiter(self.written - self.low_water, _Call(callback, callback))

    def call_when_sent(self, callback: Callable[[], object]) -> None:
        """Call a function when everything written so far has left, at once if it has."""
        self.settle_when_sent(_Call(callback))

    def settle_when_sent(self, waiter: Waiter) -> None:
        """Tell `waiter` when everything written so far has left, or that it never will."""
        if self.state is CLOSED:
            waiter.set_exception(self._lost())
        elif self.pending:
            self._add_waiter(self.written, waiter)
        else:
            waiter.set_result(None)

    def flushed(self, position: int) -> Awaitable[None]:
        """Return what is done when the bytes up to `position` have left.

        Raises:
            StreamClosed: they never will.
        """
        if not self._is_out(position) and self.state in (READY, SPENT) and self._refusal is None:
            self._send()
        if self._is_out(position):
            return DONE
        if not self.pending:
            raise self._lost()
        waiter: asyncio.Future[None] = self._stream.loop.create_future()
        self._add_waiter(position, waiter)
        return waiter

    def _add_waiter(self, position: int, waiter: Waiter) -> None:
        if self._waiters is None:
            self._waiters = []
        elif len(self._waiters) >= self._most_waiters:
            # Remove cancelled waiters: with a peer that takes nothing they must not pile up.
            self._waiters = [entry for entry in self._waiters if not entry[2].done()]
            heapify(self._waiters)
            self._most_waiters = max(_FEW_WAITERS, 2 * len(self._waiters))
        self._waited += 1
        heappush(self._waiters, (position, self._waited, waiter))

    def _is_out(self, position: int) -> bool:
        return self.sent >= position and not self._eof_due and self.state is not HELD

    def _wake(self) -> None:
        while self._waiters and self._is_out(self._waiters[0][0]):
            self._wake_first()

    def _wake_first(self) -> None:
        assert self._waiters is not None
        _, _, waiter = heappop(self._waiters)
        if not waiter.done():
            waiter.set_result(None)

    # The end

    def refuse(self, why: str) -> None:
        """Refuse further writes with this reason; queued bytes still leave."""
        self._refusal = self._refusal or why

    def end(self) -> None:
        """Refuse further writes, and send the end of the stream after the queue."""
        if self._eof_due is None:
            self.refuse("this half of the stream is ended: nothing can be written after its end")
            self._eof_due = True
            if self.state in (READY, SPENT):
                self._send()

    def send_rest_of_pass(self) -> None:
        """Send now the bytes that only wait for the end of this pass; keep those not taken."""
        if self.state is SPENT:
            try:
                while self.size:
                    self._offer(_MOST_TO_OFFER)
            except Exception:  # noqa: BLE001, S110 - the stream is being closed: the waiters are told next
                pass

    def fail(self, error: BaseException) -> None:
        """Close for this error: pending and later writes raise it."""
        self.error = error
        self.close()

    def close(self) -> None:
        """Discard the queue, and tell the waiters."""
        if self._waiters:
            self._wake()
        if self.state is BLOCKED:
            self._watch(False)
        elif self.state is HELD and self._free is not None:
            self._receiver.transport.watch_writing(False)
        self.state = CLOSED
        self.refuse("stream is closed")
        self._eof_due = False
        self._set_free()
        if self._at_end_of_pass is not None:
            self._at_end_of_pass.cancel()
            self._at_end_of_pass = None
        for chunk in self._queue or ():
            if isinstance(chunk, memoryview):
                chunk.release()  # an exception's traceback may still refer to it
        self._queue = None
        self.written -= self.size
        self.size = 0
        waiters, self._waiters = self._waiters, None
        for _, _, waiter in sorted(waiters or ()):
            if not waiter.done():
                waiter.set_exception(self._lost())

    def check_can_write(self) -> None:
        """Raise `StreamClosed` if nothing more can be written."""
        if self._refusal is not None:
            raise self._lost(self._refusal) if self.state is CLOSED else StreamClosed(self._refusal)

    def _lost(self, what: str = "stream closed before everything was written") -> StreamClosed:
        if self.error is not None and not self._stream.closed():
            what = "the peer takes no more; what it sends can still be read"
        return StreamClosed(what, real_error=self.error or self._stream.error)

    # Time

    def _start_timer(self) -> None:
        if self._timeout is not None:
            self._timer = self._stream.loop.call_later(self._timeout, self._on_timeout, self.sent)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self, sent: int) -> None:
        if self.sent > sent:
            self._start_timer()
            return
        # A file, or a handshake, queues none.
        queued = f" of {counted(self.size, 'byte')}" if self.size else ""
        reason = f"peer took nothing{queued} for {self._timeout} s"
        self._stream.on_write_error(StreamTimeout(reason))


class _Done:
    """An awaitable that is done: the written bytes have left already."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...
    else:
        # await needs only an empty iterator, and this makes one without a Python call.
        __await__ = ().__iter__


DONE: Final = _Done()


class Flush:
    """Wait until the bytes up to `position` have left; awaiting it sends the queue at once."""

    __slots__ = ("_position", "_sender")

    def __init__(self, sender: Sender, position: int) -> None:
        self._sender = sender
        self._position = position

    def __await__(self) -> Generator[Any, None, None]:
        return self._sender.flushed(self._position).__await__()


class _Call:
    """A waiter that calls a function when the bytes have left, and another, if given, when they never will.

    Without the second, no function is called then: the close callback reports it.
    """

    __slots__ = ("_callback", "_when_lost")

    def __init__(self, callback: Callable[[], object], when_lost: Callable[[], object] | None = None) -> None:
        self._callback = callback
        self._when_lost = when_lost

    def done(self) -> bool:
        """Return False: it is never cancelled."""
        return False

    def set_result(self, result: None) -> None:
        """Call the function: the bytes have left."""
        self._callback()

    def set_exception(self, error: BaseException) -> None:
        """Call the other function."""
        if self._when_lost is not None:
            self._when_lost()


def as_chunks(data: Any) -> list[Buffer]:
    """Return the buffers as chunks of bytes, without copying any that is contiguous."""
    if isinstance(data, bytes):
        return [data] if data else []
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
    return view.cast("B") if view.format != "B" or view.ndim != 1 else view
