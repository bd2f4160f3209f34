"""Outbound: the sending half of a stream, from the write buffer into the channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Final, Protocol

from framestream.errors import BufferFull, StreamBusy, StreamClosed, StreamTimeout, because
from framestream.stream._flush import DONE, Flush
from framestream.stream._inbound import Inbound
from framestream.stream._waiting import Waiter
from framestream.stream._write_buffer import WriteBuffer
from framestream.transport._channel import Buffer, Channel

# What is queued in one pass of the loop is sent at its end, or at once when it gets larger than this.
_MOST_TO_COALESCE: Final = 1 << 16
# What is larger goes through the buffer, which offers it piece by piece.
_MOST_TO_SEND_DIRECTLY: Final = 1 << 20
_NEVER: Final = 1 << 62
# How often one wake-up sends before others get their turn.
_SENDS_IN_A_ROW: Final = 16


class OutboundOwner(Protocol):
    """Whom an `Outbound` tells what it cannot decide."""

    def on_write_error(self, error: BaseException) -> None:
        """Note that sending has failed, or took too long."""


class Outbound:
    """Send in order, as early as possible, and in as few system calls as that allows.

    The first write in a pass of the loop is sent at once. Those that follow in the same pass wait for
    its end and leave together.

    Attributes:
        buffer: what waits.
        high_water, low_water: `room` makes the writer wait above the first until it is below the second.
        max_size: the most that may wait.
        ended: nothing can be written any more.
    """

    __slots__ = (
        "_end_of_pass",
        "_held",
        "_holder",
        "_inbound",
        "_loop",
        "_owner",
        "_seen_wakes",
        "_shutdown",
        "_spent",
        "_stopped",
        "_timer",
        "_waited",
        "_waiters",
        "_watching",
        "buffer",
        "channel",
        "ended",
        "error",
        "high_water",
        "low_water",
        "max_size",
        "timeout",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        inbound: Inbound,
        *,
        high_water: int,
        low_water: int,
        max_size: int | None,
        timeout: float | None,
        owner: OutboundOwner,
    ) -> None:
        self.buffer = WriteBuffer()
        self.high_water = high_water
        self.low_water = low_water
        self.max_size = max_size
        self.timeout = timeout
        self.ended = False
        self.error: BaseException | None = None
        self._loop = loop
        self.channel = channel
        self._inbound = inbound
        self._owner = owner
        self._watching = False
        self._held = False
        self._holder: asyncio.Future[None] | None = None
        self._end_of_pass: asyncio.Handle | None = None
        self._spent = False  # this pass has had its direct send
        self._seen_wakes = 0
        self._waiters: list[tuple[int, int, Waiter]] | None = None  # a heap: who waits least comes first
        self._waited = 0
        self._timer: asyncio.TimerHandle | None = None
        self._shutdown = False
        self._stopped = False

    # Writing

    def write(self, data: bytes | list[Buffer]) -> bool:
        """Send, or queue, a chunk or several; return True if nothing is left to send.

        Raises:
            StreamClosed: nothing can be written any more.
            BufferFull: more than `max_size` bytes would wait; nothing is written.
        """
        if self.ended:
            raise self._refused()
        if type(data) is bytes:
            chunks: list[Buffer] = [data]
            size = len(data)
        else:
            chunks = data  # type: ignore[assignment]  # a list, then
            size = sum(map(len, chunks))
        buffer = self.buffer
        if buffer.size or self._watching or self._held or not 0 < size <= _MOST_TO_SEND_DIRECTLY:
            return self._queue(chunks, size)
        if self.max_size is not None and size > self.max_size:
            raise BufferFull("write buffer is full", size=size, limit=self.max_size)
        inbound = self._inbound
        if inbound.wakes != self._seen_wakes:
            # Something arrived since the last direct send, so that was in an earlier pass: no need to ask
            # the loop to tell. That spares a request and its answer an extra pass.
            self._seen_wakes = inbound.wakes
        elif self._spent:
            return self._queue(chunks, size)
        else:
            self._end_of_pass = self._loop.call_soon(self._on_end_of_pass)
        self._spent = True
        try:
            taken = self.channel.send(chunks)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except Exception as error:  # noqa: BLE001 - it closes the stream, and whoever waits is told
            self._owner.on_write_error(error)
            return False
        if taken == size:
            # The way of most writes: nothing is queued, watched or waited for.
            buffer.written += size
            inbound.note_sent()
            return True
        buffer.append(chunks, size)
        buffer.advance(taken)
        self.send()
        return False

    def _queue(self, chunks: list[Buffer], size: int) -> bool:
        buffer = self.buffer
        if self.max_size is not None and buffer.size + size > self.max_size:
            raise BufferFull("write buffer is full", size=buffer.size + size, limit=self.max_size)
        if size:
            buffer.append(chunks, size)
        if buffer.size and not self._watching and not self._held:
            if buffer.size > _MOST_TO_COALESCE:
                self.send()
            elif self._end_of_pass is None:
                self._end_of_pass = self._loop.call_soon(self._on_end_of_pass)
        return not buffer.size and not self._stopped

    def _on_end_of_pass(self) -> None:
        self._end_of_pass = None
        self._spent = False
        if not self._watching:
            self.send()

    def send(self) -> None:
        """Send what the channel takes; if something stays, hear from the loop when it takes more."""
        buffer = self.buffer
        if self._held:
            self._tell_holder()
            return
        try:
            for _ in range(_SENDS_IN_A_ROW):
                if not buffer.size:
                    break
                if not buffer.send(self.channel):
                    break
                self._inbound.note_sent()
            if self._shutdown and not buffer.size:
                self._watch(False)  # a pipe closes its descriptor, and none that is closed may be watched
                self.channel.shutdown()
                self._shutdown = False
        except (BlockingIOError, InterruptedError):
            pass
        except Exception as error:  # noqa: BLE001 - it closes the stream, and whoever waits is told
            self._owner.on_write_error(error)
            return
        self._watch(bool(buffer.size) or self._shutdown)
        if self._waiters is not None:
            self._wake()

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watching:
            self._watching = True
            self.channel.watch_write(self._loop, self.send)
            self._start_timer()
        elif self._watching and not wanted:
            self._watching = False
            self.channel.watch_write(self._loop, None)
            self._stop_timer()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Queue what is written until the block ends: the channel is used otherwise."""
        self.check_not_held()
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if not self._stopped:
                self.send()

    def check_not_held(self) -> None:
        """Raise `StreamBusy` while a file is sent, or TLS begins: what the channel is given now is theirs."""
        if self._held:
            raise StreamBusy("a file is being sent, or TLS is being started; await that first")

    def put_first(self, data: memoryview) -> None:
        """Send these bytes before everything that is queued."""
        if not self._stopped:
            self.buffer.prepend(data)

    def send_held(self, position: int) -> bool:
        """Send, inside `held`, what was written up to `position`, and nothing that was written behind it.

        Returns False if that has to wait until the channel is `writable`.

        Raises:
            StreamClosed: it never will leave.
        """
        buffer = self.buffer
        if self._stopped and buffer.sent < position:
            raise self._lost()
        try:
            while buffer.sent < position:
                buffer.send(self.channel, position - buffer.sent)
        except (BlockingIOError, InterruptedError):
            return False
        except Exception as error:  # noqa: BLE001 - it closes the stream, and whoever waits is told
            self._owner.on_write_error(error)
            raise because(self._lost(), error)
        self._watch(False)  # the channel may be another one from here on
        while self._waiters and self._waiters[0][0] <= position:
            self._wake_first()
        return True

    def writable(self) -> asyncio.Future[None]:
        """Return a future that is done, inside `held`, when the channel takes something."""
        self._holder = holder = self._loop.create_future()
        self._watch(True)
        return holder

    def _tell_holder(self) -> None:
        self._watch(False)
        holder, self._holder = self._holder, None
        if holder is not None and not holder.done():
            holder.set_result(None)

    # Waiting

    @property
    def pending(self) -> bool:
        """True if something has still to leave: bytes, a file, or the end of the stream."""
        return bool(self.buffer.size) or self._shutdown or self._held

    def flush(self) -> Awaitable[None]:
        """Wait until everything written so far has left."""
        if self._stopped:
            return Flush(self.flushed, _NEVER)
        return Flush(self.flushed, self.buffer.written) if self.pending else DONE

    def room(self) -> Awaitable[None]:
        """Wait, if more than `high_water` bytes are queued, until no more than `low_water` are."""
        buffer = self.buffer
        if self._stopped:
            return Flush(self.flushed, _NEVER)
        if buffer.size <= self.high_water:
            return DONE
        return Flush(self.flushed, buffer.written - self.low_water)

    def flushed(self, position: int) -> asyncio.Future[None] | None:
        """Return a future that is done when the bytes up to `position` have left; None if they have.

        Raises:
            StreamClosed: they never will.
        """
        if not self._is_out(position) and not self._watching and not self.ended:
            self.send()
        if self._is_out(position):
            return None
        if not self.pending:
            raise self._lost()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.on_flush(position, waiter)
        return waiter

    def tell(self, waiter: Waiter) -> None:
        """Wake `waiter` when everything written so far, some of which still waits, has left or never will."""
        if self._stopped:
            waiter.set_exception(self._lost())
        else:
            self.on_flush(self.buffer.written, waiter)

    def on_flush(self, position: int, waiter: Waiter) -> None:
        """Wake `waiter` when the bytes up to `position` have left, or when they never will."""
        if self._waiters is None:
            self._waiters = []
        self._waited += 1
        heappush(self._waiters, (position, self._waited, waiter))

    def _is_out(self, position: int) -> bool:
        return self.buffer.sent >= position and not self._shutdown and not self._held

    def _wake(self) -> None:
        while self._waiters and self._is_out(self._waiters[0][0]):
            self._wake_first()

    def _wake_first(self) -> None:
        assert self._waiters is not None
        _, _, waiter = heappop(self._waiters)
        if not waiter.done():
            waiter.set_result(None)

    # The end

    def refuse(self) -> None:
        """Refuse further writes; what is queued still leaves."""
        self.ended = True

    def send_rest_of_pass(self) -> None:
        """Send now what waits for nothing but the end of this pass; what is not taken stays."""
        if self._end_of_pass is None or self._watching or self._held or not self.buffer.size:
            return
        try:
            while self.buffer.size:
                self.buffer.send(self.channel)
        except Exception:  # noqa: BLE001, S110 - the stream is being closed: the waiters are told next
            pass

    def end(self) -> None:
        """Refuse further writes, and send the end of the stream behind what is queued."""
        if not self.ended:
            self.refuse()
            self._shutdown = True
            if not self._watching:
                self.send()

    def stop(self, error: BaseException | None) -> None:
        """Throw away what is queued, and tell who waits for it."""
        self._wake()
        self._tell_holder()
        self.ended = self._stopped = True
        self.error = error
        self._shutdown = False
        self._watch(False)
        if self._end_of_pass is not None:
            self._end_of_pass.cancel()
            self._end_of_pass = None
        self.buffer.clear()
        waiters, self._waiters = self._waiters, None
        for _, _, waiter in sorted(waiters or ()):
            if not waiter.done():
                waiter.set_exception(self._lost())

    def _refused(self) -> StreamClosed:
        if self._stopped:
            return StreamClosed(real_error=self.error)
        return StreamClosed("this half of the stream is ended: nothing can be written behind its end")

    def _lost(self) -> StreamClosed:
        return StreamClosed("stream closed before everything was written", real_error=self.error)

    # Time

    def _start_timer(self) -> None:
        if self.timeout is not None:
            self._timer = self._loop.call_later(self.timeout, self._on_timeout, self.buffer.sent)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self, sent: int) -> None:
        if self.buffer.sent > sent:
            self._start_timer()
            return
        size = self.buffer.size
        queued = f" of {size} bytes" if size else ""  # a file, or a handshake, queues none
        reason = f"peer took nothing{queued} for {self.timeout} s"
        self._owner.on_write_error(StreamTimeout(reason))
