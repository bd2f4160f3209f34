"""Inbound: the receiving half of a stream, from the channel into the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from framestream.decoder import FRESH
from framestream.stream._deadlines import Pace, ReadTimer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from framestream.decoder import FrameDecoder
    from framestream.stream._waiting import Reader
    from framestream.transport._channel import Channel

# Payload of which this much is missing is received straight into its place. For less, receiving a chunk and
# joining it costs less than preparing the place.
LARGE: Final = 1 << 17
_BESIDE_LARGE: Final = 1 << 12
# A larger chunk costs a small message more than it is worth: memory for it is asked of the system. While
# chunks come in full it saves a quarter of what a frame of 64 KiB costs.
_USUAL_CHUNK: Final = 1 << 16
_TRIES_TO_SKIP: Final = 8
# How much one wake-up, or one coroutine that never has to wait, receives before others get their turn: a
# dozen full chunks, or 64 small ones, or 16384 frames.
_BUDGET: Final = 1 << 20
_PRICE: Final = 1 << 14
_FRAME_PRICE: Final = 1 << 6
# All frames of a chunk are delivered before anybody counts them. So behind one with this many, less is
# received.
_MANY_FRAMES: Final = 1 << 12
_CAREFUL_CHUNK: Final = 1 << 14
_TOO_FEW_TO_COUNT: Final = 1 << 10


class InboundOwner(Protocol):
    """Whom an `Inbound` tells what it cannot decide."""

    def on_idle(self) -> None:
        """Note that something is there and nobody reads."""

    def on_read_error(self, error: Exception) -> None:
        """Note that receiving has failed."""


class Inbound:
    """Receive when somebody waits for bytes, and only then; register with the loop only when it must.

    The registration is kept after a read, since another mostly follows, and given up when bytes arrive
    that nobody waits for: from then on they stay in the kernel.

    Attributes:
        decoder: where the bytes go.
        eof: the other side has ended the stream, or it is cut off, or this one is closed.
        cut: it was no end that the other side has confirmed: what has begun will never be complete.
        busy: what reads at present (any object that is not None); a second reader is refused.
        peer_ended: the other side has ended the stream.
        finishing: the stream counts as ended when nothing more is there and no frame has begun.
        drained: nothing more is there, as far as is known.
        free: a read may just begin: nobody reads, and nothing was put off until somebody does.
        timer: the time limits of the read under way.
        waits: how often a read had to wait for the loop.
        wakes: how often the loop said that something is there.
    """

    __slots__ = (
        "_budget",
        "_chunk_size",
        "_counted",
        "_diverted",
        "_large",
        "_loop",
        "_missing",
        "_owner",
        "_reader",
        "_size",
        "_unlucky",
        "_watching",
        "_woke_nobody",
        "busy",
        "channel",
        "cut",
        "decoder",
        "drained",
        "eof",
        "finishing",
        "free",
        "peer_ended",
        "timer",
        "waits",
        "wakes",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        decoder: FrameDecoder,
        *,
        chunk_size: int,
        owner: InboundOwner,
    ) -> None:
        self.decoder = decoder
        self.busy: object = None
        self.eof = False
        self.cut = False
        self.peer_ended = False
        self.finishing = False
        self.drained = False
        self.free = True
        self.timer: ReadTimer | None = None
        self.waits = 0
        self.wakes = 0
        self._loop = loop
        self.channel = channel
        self._chunk_size = chunk_size
        self._counted = 0
        self._size = min(chunk_size, _USUAL_CHUNK)
        self._owner = owner
        self._reader: Reader | None = None
        self._watching = False
        self._diverted = False
        self._missing = 0
        self._large = LARGE
        self._budget = _BUDGET
        self._unlucky = 0
        self._woke_nobody = False

    def begin(self, reader: object, pace: Pace | ReadTimer | None) -> None:
        """Let only `reader` read until `end`, within the limits of `pace`. Nobody else may be reading."""
        if pace is not None:
            self.timer = pace.begin(self._loop, self.decoder)
        self.busy = reader
        self.free = False

    def end(self) -> None:
        """Let others read again; nobody waits any more."""
        self.busy = self._reader = None
        self.free = not self.eof
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def receive(self) -> bool:
        """Receive once. Return True if bytes or the end of the stream arrived, False if nothing is there."""
        try:
            received = self._receive_large() if self._missing >= self._large else None
            if received is None:
                size = self._size
                data = self.channel.receive(size)
                received = len(data)
                if received < size:
                    self.drained = True
                    self._size = _USUAL_CHUNK if self._chunk_size > _USUAL_CHUNK else self._chunk_size
                else:
                    self.drained = False
                    self._size = self._chunk_size
                if received:
                    self.decoder.receive_data(data)
        except (BlockingIOError, InterruptedError):
            self.drained = True
            return False
        if received:
            self._missing -= received
            self._budget -= received + _PRICE
            if self.timer is not None:
                self.timer.note_arrival()
        else:
            self.peer_ended = True
            self.stop()
        return True

    def _receive_large(self) -> int | None:
        place = self.decoder.get_buffer()
        received = None
        if place is None:
            self._large = LARGE
        else:
            received = self.channel.receive_into(place)
            self.decoder.buffer_updated(received)
            # The rest of a frame goes where its beginning is, however small: put elsewhere, it would have
            # all of it joined.
            self._large = 1
            self.drained = False
            self.keep_from_next(0)
        return received

    def keep_from_next(self, missing: int) -> None:
        """Receive little more than what is `missing` of a large frame at first.

        Large frames come in rows: what is not received yet of the next one can go straight to its place.
        """
        self._size = min(missing + _BESIDE_LARGE, self._chunk_size)

    def receive_in_place(self) -> None:
        """Receive nothing elsewhere while the decoder has a place for it."""
        self._large = 1

    def receive_inline(self, missing: int) -> bool:
        """Receive up to `missing` bytes without waiting; return True if it is worth asking the decoder."""
        self._missing = missing
        delivered = self.decoder.frames - self._counted
        if delivered > _TOO_FEW_TO_COUNT:
            self._charge(delivered)
        while not self.eof and not (self._watching and self.drained) and self._budget > 0:
            if not self.receive():
                self._unlucky = _TRIES_TO_SKIP
                return False
            if self._missing <= 0:
                return True
        return self.eof

    def _charge(self, delivered: int) -> None:
        # Once a chunk at most, and never once a frame.
        self._counted += delivered
        self._budget -= delivered * _FRAME_PRICE
        if delivered >= _MANY_FRAMES:
            self._size = min(self._size, _CAREFUL_CHUNK)

    def note_sent(self) -> None:
        """Have the next read try again without the loop: what has just left may be answered by now.

        Where the peer is not that fast, most tries are left out: one costs a system call.
        """
        if self._unlucky:
            self._unlucky -= 1
        else:
            self.drained = False

    def wait(self, reader: Reader) -> None:
        """Wake `reader` when the bytes that `receive_inline` still misses, or the end, have arrived."""
        self._reader = reader
        self._budget = _BUDGET
        self.waits += 1
        if self.timer is not None:
            self.timer.wait(reader)
        if not self._watching:
            self.watch()
        if self.finishing:
            self._loop.call_soon(self._finish)

    def wait_in_quiet(self, reader: Reader) -> bool:
        """Do as `begin`, without limits of time, and `wait`, if nothing is there and nothing has begun.

        Returns whether it was so. That is the way of most waits: it is spared three calls, and need not ask
        how much is missing, since that is anything.
        """
        if (
            not (self.drained and self._watching and self.decoder.state is FRESH)
            or self.eof
            or self.finishing
        ):
            return False
        self.busy = self._reader = reader
        self.free = False
        self._missing = 1
        self._budget = _BUDGET
        self.waits += 1
        if self.timer is not None:
            self.timer.wait(reader)
        return True

    def watch(self) -> None:
        """Hear from the loop when something arrives."""
        if not self._watching and not self.eof:
            self._watching = True
            self.drained = False
            self.channel.watch_read(self._loop, self._on_readable)

    def unwatch(self) -> None:
        """Leave whatever arrives where it is."""
        if self._watching:
            self._watching = False
            self.channel.watch_read(self._loop, None)

    def divert(self, reader: Reader, receive: Callable[[], None]) -> None:
        """Let only `receive` receive from now on; `reader` is told when the stream is over."""
        self.unwatch()
        self.busy = self._reader = reader
        self.free = False
        self._watching = self._diverted = True
        self.channel.watch_read(self._loop, receive)

    def doze(self) -> None:
        """Have the next read begin by watching again."""
        self.free = False

    def forget(self) -> None:
        """Believe nothing about a channel that was replaced."""
        self.drained = False

    def stop(self, *, cut: bool = False) -> None:
        """Take note of the end of the stream, or that it is `cut` off, and wake who waits."""
        if not self.eof:
            self.eof = True
            self.cut = cut
            self.free = False
            self.unwatch()
            if not cut:
                self.decoder.receive_eof()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.go_on(False)

    def finish(self) -> None:
        """Stop when nothing more is there, but not inside a frame."""
        self.finishing = True
        self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        if self._reader is not None and not self.eof and not self._diverted:
            self._on_readable()
            self._stop_between_frames()

    def _stop_between_frames(self) -> None:
        if self._reader is not None and not self.decoder.buffered and not self.decoder.streaming:
            self.stop()

    def _on_readable(self) -> None:
        self.wakes += 1
        reader = self._reader
        if reader is None:
            self._on_unwanted()
            return
        self._woke_nobody = False
        self._budget = _BUDGET
        try:
            # Mostly once is enough.
            enough = self.receive() and (self._missing <= 0 or self.eof or self._receive_enough())
        except Exception as error:  # noqa: BLE001 - it closes the stream and is logged
            self._owner.on_read_error(error)
            return
        if enough and self._reader is reader:
            self._reader = None
            reader.go_on(True)

    def _on_unwanted(self) -> None:
        self.drained = False
        if self.busy is None:
            self._owner.on_idle()
        elif self._woke_nobody:
            # A reader that pauses. One that was woken in this very pass goes on by itself: that is
            # why the first time is let pass.
            self.unwatch()
        self._woke_nobody = True

    def _receive_enough(self) -> bool:
        while self._budget > 0 and not self.drained and self.receive():
            if self._missing <= 0 or self.eof:
                return True
        return False
