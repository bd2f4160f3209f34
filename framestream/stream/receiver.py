"""The receiving half of a stream: a transport pushes bytes in, at most one read waits for them.

::

     asyncio transport ──┐ get_buffer / buffer_updated        ┌─ await read()
     descriptor        ──┼───────────────► Receiver ──ask──► decoder   frames, batches
     memory            ──┘ eof_received / connection_lost     └─ callbacks, parts

A push wakes the waiting read in the same call: no pass of the loop between the bytes and the task.

The states of the transport, and what happens in each:

=========  ==============================  ===========================  ============================
state      means                           a read needs bytes           bytes are pushed
=========  ==============================  ===========================  ============================
PAUSED     the transport keeps them: no    receive what is there, else  kept (only a read that
           read has needed any yet, or     resume: FLOWING              receives inline pushes here)
           `READ_AHEAD` wait unread
FLOWING    it pushes what arrives          in bulk, receive what is     wake the read; else keep them,
                                           there; else wait             PAUSED from `READ_AHEAD` on
ENDED      `end` says how; for good        answered from the buffer,    thrown away
                                           or an error
=========  ==============================  ===========================  ============================

`reader` is the read under way: no other may begin meanwhile. It is `waiting` from the moment at which the
decoder has no answer for it until the next push that may hold one, or the end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from framestream.decoder import IN_PARTS, NEED_DATA, FrameDecoder
from framestream.errors import BufferFull, StreamBusy, StreamClosed
from framestream.stream.timeouts import ReadTimeouts, ReadTimer
from framestream.transport.base import Transport, is_reset

if TYPE_CHECKING:
    from framestream.stream.reads import Pause, PendingRead
    from framestream.stream.stream import IOStream

READ_AHEAD: Final = 1 << 16
"""Unread bytes at which a stream without a read leaves the rest to the system, and so to the peer."""

# Receives without a pass of the loop, before other streams get a turn.
TURN: Final = 8
# Seconds after which a reader that was woken in bulk receives no more without a pass of the loop: what it does
# with each frame may cost more than all receives, and 2 MiB of lines at 1 ms each would stop all else for ten seconds.
LONG: Final = 0.01
# A frame that misses this much is received in its final place, or with as much as the kept buffer holds.
LARGE: Final = 1 << 14
# Smaller frames cost a tenth more if more is received at once: what comes last drives the first out of the cache.
_FOR_SMALL: Final = 1 << 18
# Objects take far more memory than their bytes: of more, what comes last drives the first out of the cache, and the
# cyclic collector visits them while they are alive ("msgpack" in benchmarks/).
_FOR_PARSED: Final = 1 << 15
# Up to this size a copy costs less than tracking whose bytes they are.
_COPIED: Final = 1 << 14


class State(Enum):
    """The state of the transport; see the table above."""

    PAUSED = "the transport does not push"
    FLOWING = "the transport pushes what arrives"
    ENDED = "nothing more will arrive"


PAUSED, FLOWING, ENDED = State  # as names of the module: Python code looks a member up in its class


class EndKind(Enum):
    """How the receiving half of a stream ended."""

    EOF = "the peer has ended its half in good order"
    DRAINED = "no more input was wanted here, between two frames"
    CLOSED = "the stream was closed here"
    RESET = "the peer is gone"
    TRUNCATED = "TLS ended without a close_notify"
    FAILED = "receiving failed"


class End(NamedTuple):
    """Why nothing more will arrive; set once."""

    kind: EndKind
    error: BaseException | None = None

    @property
    def is_clean(self) -> bool:
        """True if the last byte received is the last of the stream, as far as this side needs to know."""
        return self.kind in (EndKind.EOF, EndKind.DRAINED)

    @property
    def ends_rest(self) -> bool:
        """True if "everything up to the end" is complete: the connection is over, and not by a fault."""
        return self.is_clean or self.kind is EndKind.RESET or (self.kind is EndKind.CLOSED and not self.error)


def lost(error: BaseException | None) -> End:
    """Return the end that a broken connection is."""
    if error is None:
        return End(EndKind.EOF)
    if not is_reset(error):
        return End(EndKind.FAILED, error)
    return End(EndKind.TRUNCATED if isinstance(error, ssl.SSLError) else EndKind.RESET, error)


class KeptBuffer:
    """The one buffer that all streams of a loop receive into, between one wake-up and the next.

    A fresh object for each receive costs more than framing its bytes. A decoder with unread bytes in it
    copies them when, and only when, the buffer is needed again.

    Attributes:
        view: the buffer.
        start: its first `READ_AHEAD` bytes, which are enough for most.
        borrower: the decoder that still uses its bytes.
    """

    __slots__ = ("borrower", "start", "view")

    SIZE: Final = 1 << 19

    def __init__(self) -> None:
        self.view = memoryview(bytearray(self.SIZE))
        self.start = self.view[:READ_AHEAD]
        self.borrower: FrameDecoder | None = None

    def take_back(self) -> None:
        """Make the borrower copy the bytes it needs."""
        borrower, self.borrower = self.borrower, None
        if borrower is not None:
            borrower.settle()


_kept: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, KeptBuffer]] = WeakKeyDictionary()
"""The buffer of each loop."""


class Receiver:
    """Receive what the transport pushes, and wake the one read that waits for it. See the table above.

    Attributes:
        stream: the stream that it belongs to; referred to weakly once that is closed.
        decoder: receives the bytes.
        transport: pushes the bytes.
        state, end: the state of the transport; how the stream ended.
        reader: the read under way; it excludes others.
        kept_pause: what tasks await, with the read in it, once one has waited.
        waiting: True while it waits to be woken.
        max_buffer_size: the most to buffer for one read, in bytes.
        draining: the stream counts as ended as soon as no bytes are left and no frame has begun.
        pushed: bytes were pushed since the sender took note of that: a new pass of the loop has begun.
    """

    # fmt: off
    __slots__ = (
        "_chunk_size", "_in_bulk", "_in_place", "_inline", "_kept", "_missing", "_read_ahead", "_room",
        "_timer", "_turn", "_turn_ends", "decoder", "draining", "end", "kept_pause", "max_buffer_size", "pushed",
        "reader", "state", "stream", "transport", "waiting",
    )
    # fmt: on

    def __init__(
        self, stream: IOStream, transport: Transport, decoder: FrameDecoder, settings: Mapping[str, Any]
    ) -> None:
        self.decoder = decoder
        self.transport = transport
        self.state: State = PAUSED
        self.end: End | None = None
        self.reader: PendingRead | None = None
        self.kept_pause: Pause | None = None
        self.waiting = False
        self.draining = False
        self.pushed = False
        self.stream = stream
        self._chunk_size = min(settings["read_chunk_size"], KeptBuffer.SIZE)
        self.max_buffer_size: int = settings["max_buffer_size"]
        self._read_ahead = min(READ_AHEAD, self.max_buffer_size)
        self._kept = _kept.get(stream.loop) or _kept.setdefault(stream.loop, KeptBuffer())
        # Bytes that `max_buffer_size` leaves; deliveries since then may have made more.
        self._room = self.max_buffer_size
        self._missing = 0  # bytes without which the waiting read cannot continue
        self._in_bulk = False  # the last push brought much, so more is certainly there
        self._in_place = False  # that buffer is the place of a large frame
        self._inline = False  # a read receives, in its own call
        self._turn = TURN
        self._turn_ends = 0.0  # in bulk, by the clock
        self._timer: ReadTimer | None = None

    # The sink of the transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the place of the large frame that is being received, else the kept buffer."""
        # In bulk, fewer pushes of more bytes spare passes of the loop, which cost as much as hundreds of lines.
        # Otherwise little is taken before its time.
        size = self._chunk_size
        if self._missing >= LARGE or (self._in_bulk and self._missing > 0):
            place = self.decoder.get_buffer()
            if place is not None:
                self._in_place = True
                return place
            last = self.decoder.last_size
            if last < LARGE:
                size = min(size, _FOR_PARSED if self.decoder.parsed else _FOR_SMALL)
            elif last < size:
                # Frames in a row are often of one size. Then this ends where one ends: a frame that is cut short is
                # copied and joined to its rest, and costs as much as four whole ones ("prefix-64k" in benchmarks/).
                size -= (size + self.decoder.held) % last
            elif size > READ_AHEAD:
                size = READ_AHEAD  # the next is probably as large, and has its final place once it has begun
        elif size > READ_AHEAD:
            size = READ_AHEAD
        self._in_place = False
        kept = self._kept
        if kept.borrower is not None:
            kept.take_back()
        # No frame above `max_buffer_size` gets in because its last bytes arrive together with others.
        if size > self._room:
            self._room = self.max_buffer_size - self.decoder.held
            size = max(min(size, self._room), 1)
        return kept.start if size == READ_AHEAD else kept.view[:size]

    def buffer_updated(self, nbytes: int) -> None:
        """Give the bytes to the decoder, and wake the waiting read if they may be all it needs."""
        if self.end is not None:
            return  # a loop's transport pushes its last bytes when it fails, even if paused
        self.pushed = True
        self._room -= nbytes
        if self._in_place:
            self.decoder.buffer_updated(nbytes)
        elif nbytes <= _COPIED:
            self.decoder.receive_data(self._kept.view[:nbytes].tobytes())
        elif self.decoder.borrow(self._kept.view[:nbytes]):
            self._kept.borrower = self.decoder
        if nbytes > _COPIED and nbytes >= (_FOR_PARSED if self.decoder.parsed else READ_AHEAD):
            self._in_bulk = self.state is FLOWING
        elif self._in_bulk:
            # That was the rest of what is there: no further receive without a pass of the loop.
            if self._inline:
                self._turn = 0
            else:
                self._in_bulk = False
        if self._timer is not None:
            self._timer.note_arrival()
        self._missing -= nbytes
        if self.waiting:
            if self._missing > 0:
                return
            if self._in_bulk:
                self._turn_ends = monotonic() + LONG
            self.waiting = False
            self.reader.on_data(True)  # type: ignore[union-attr]  # a read waits
        elif self._inline:
            return  # a read that receives inline looks itself
        # The reader may have closed the stream: an end stays one.
        if not self.waiting and self.state is FLOWING and self.decoder.held >= self._read_ahead:
            self.state = PAUSED
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """End: the peer has ended its half. Writing continues, so the transport stays open."""
        self.set_end(End(EndKind.EOF), at_once=True)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """End: the connection is broken."""
        self.set_end(lost(error), at_once=True)

    def resume_writing(self) -> None:
        """Pass it on to the sending half."""
        self.stream.sender.send_queued()

    # One read

    def check_free(self) -> None:
        """Let a read begin, or raise `StreamBusy`."""
        if self.reader is not None:
            raise StreamBusy(self.reader.busy)
        if self.state is PAUSED and 0 < self.decoder.held < self._read_ahead:
            self._resume()
        elif self.state is ENDED:
            self.stream.watch_for_end()  # this very read may meet it

    def claim(self, read: PendingRead, timeouts: ReadTimeouts | ReadTimer | None) -> None:
        """Let only `read` read until `release`, within its time limits."""
        self.check_free()
        if self.decoder.streaming:
            raise StreamBusy(IN_PARTS)
        self.reader = read
        if timeouts is not None:
            self.start_timer(timeouts)

    def start_timer(self, timeouts: ReadTimeouts | ReadTimer) -> ReadTimer:
        """Start the time limits of a read that has just begun, or continues."""
        self._timer = timeouts.begin(self.stream.loop, self.decoder)
        return self._timer

    def release(self) -> None:
        """Let others read again."""
        self.reader = None
        self.waiting = False
        self._missing = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def advance(self, read: PendingRead) -> Any:
        """Return the decoder's answer to `read`, receiving as long as that needs no waiting.

        NEED_DATA means that the read waits from now on: `PendingRead.on_data` is called once bytes that may
        hold the answer have arrived, or the stream has ended.
        """
        ask = read.ask
        answer = self.decoder.next_frame(read.condition) if ask is None else ask(read.condition)
        return self.poll(read) if answer is NEED_DATA else answer

    def poll(self, read: PendingRead) -> Any:
        """Do as `advance`, after the decoder has returned NEED_DATA.

        Raises:
            StreamClosed: the stream was disconnected inside a frame.
            BufferFull: the read needs more than the buffer allows; the stream is closed.
        """
        decoder = self.decoder
        while self.end is None:
            self._missing = missing = decoder.missing if read.ask is None else read.missing(decoder)
            if missing > self._room:
                self._room = self.max_buffer_size - decoder.buffered
                if missing > self._room and (missing > 1 or not read.to_end):
                    raise self._overflow(decoder.buffered + missing)
            if self._in_bulk:
                self._in_bulk = monotonic() < self._turn_ends  # a slow reader gets less at a time, too
            if self.state is FLOWING and not self._in_bulk:
                break  # what has arrived is pushed soon
            if self._turn <= 0 or decoder.tired or not self._receive_inline():
                if self.state is PAUSED:
                    self._resume()
                break
            self._turn -= 1
            answer = (read.ask or decoder.next_frame)(read.condition)
            if answer is not NEED_DATA:
                return answer
        if self.end is not None:
            self._check_end(read, self.end)
            return (read.ask or decoder.next_frame)(read.condition)
        self._turn = TURN
        if self._in_bulk:
            decoder.begin_turn()
        self.waiting = True
        if self._timer is not None:
            self._timer.wait(read)
        if self.draining:
            self._finish_soon()
        return NEED_DATA

    def _receive_inline(self) -> bool:
        self._inline = True
        try:
            return self.transport.receive_now()
        finally:
            self._inline = False

    def _check_end(self, read: PendingRead, end: End) -> None:
        # No framer may take a disconnect for the end of the stream, and half a line for a line.
        decoder = self.decoder
        if not decoder.eof:
            nothing_begun = not decoder.buffered and not decoder.streaming
            if not (read.to_end and end.ends_rest) and not (nothing_begun and end.error is None):
                reason = "stream ended" if nothing_begun else "stream closed inside a frame"
                raise StreamClosed(reason, real_error=end.error) from end.error
            decoder.receive_eof()

    def _overflow(self, size: int) -> BufferFull:
        error = BufferFull("reached maximum read buffer size", size=size, limit=self.max_buffer_size)
        self.stream.log_problem("buffer", error)
        self.stream.close(error)
        return error

    # The transport

    def watch(self) -> None:
        """Notice the end of the stream without a read."""
        if self.state is PAUSED and self.decoder.held < self._read_ahead:
            self._resume()

    def _resume(self) -> None:
        self.state = FLOWING
        self.transport.resume_reading()

    def receive_rest(self) -> None:
        """Receive what a peer sent before it stopped taking data, often the reason; wake no read at once."""
        reader = self.reader if self.waiting else None
        self.waiting = False
        while self.end is None and self.decoder.held < self.decoder.max_frame_size:
            if not self.transport.receive_now():
                break
        if reader is not None:
            reader.on_data(False)

    def replace_transport(self, transport: Transport) -> None:
        """Continue over a transport that wraps the present one."""
        self.transport = transport
        self.state = PAUSED
        transport.attach(self, self.stream.loop)

    # The end

    def drain(self) -> None:
        """End when no bytes are left, but not inside a frame."""
        self.draining = True
        self.watch()
        self._finish_soon()

    def _finish_soon(self) -> None:
        # In two passes: by then all bytes that have arrived already are pushed.
        self.stream.loop.call_soon(self.stream.loop.call_soon, self._finish)

    def _finish(self) -> None:
        if not self.waiting or not self.reader.ends_by_drain:  # type: ignore[union-attr]  # a read waits
            return
        decoder = self.decoder
        if not (self.transport.receive_now() or decoder.buffered or decoder.streaming or decoder.skipping):
            self.set_end(End(EndKind.DRAINED), at_once=True)

    def set_end(self, end: End, *, at_once: bool) -> None:
        """Set the end, tell the stream, and wake the waiting read."""
        if self.end is not None:
            return
        self.end = end
        if self._kept.borrower is self.decoder:
            self._kept.take_back()  # keep nothing of a finished stream alive
        if self.state is not PAUSED:
            self.transport.pause_reading()
        self.state = ENDED
        if end.is_clean:
            self.decoder.receive_eof()
        self.stream.on_input_end(end)
        if self.waiting:
            self.waiting = False
            self.reader.on_data(at_once)  # type: ignore[union-attr]  # a read waits
