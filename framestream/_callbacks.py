"""Reads that end in a callback, for code without coroutines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from framestream._conditions import ReadCondition
from framestream._errors import FramestreamError, StreamClosed
from framestream._signals import END, FRAME_END, NEED_DATA

if TYPE_CHECKING:
    from framestream._core import StreamCore
    from framestream._deadlines import Pace

logger = logging.getLogger("framestream")

# Frames handed to a frame handler before other streams get their turn.
_FRAMES_IN_A_ROW = 1024


class Callbacks:
    """Run a stream's callbacks: each from the loop, in order, none inside another.

    While one is waiting to run, the close callback is put off: a read chained from a callback sees what
    is buffered first.

    Attributes:
        pending: callbacks that have still to run.
    """

    __slots__ = ("_core", "pending")

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        self.pending = 0

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the next pass of the loop."""
        self.pending += 1
        self._core.loop.call_soon(self.run, callback, *args)

    def run(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback now. An exception closes the stream and reaches the loop's exception handler."""
        try:
            callback(*args)
        except Exception as error:
            logger.error(
                "uncaught exception in a callback, closing the stream",
                exc_info=error,
                extra=self._core.log_fields(),
            )
            self._core.close(error)
            raise
        finally:
            self.pending -= 1
            self._core.note_callback_run()


class CallbackRead:
    """One pending read that ends in a callback: what a stream waits with in place of a future.

    An error closes the stream, unless there is an `on_error`: a callback has nobody to raise it to.
    """

    __slots__ = ("_ask", "_callback", "_condition", "_core", "_on_error")

    def __init__(
        self,
        core: StreamCore,
        ask: Callable[[ReadCondition[Any]], Any],
        condition: ReadCondition[Any],
        callback: Callable[[Any], object],
        on_error: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._core = core
        self._ask = ask
        self._condition = condition
        self._callback = callback
        self._on_error = on_error

    def start(self, pace: Pace | None) -> None:
        """Begin to read; what the channel raises comes out here."""
        self._core.inbound.begin(self, pace)
        self._go_on(inline=True)

    def done(self) -> bool:
        """Return False: it can be woken until it is forgotten."""
        return False

    def set_result(self, result: None) -> None:
        """Go on: something has arrived."""
        self._go_on()

    def set_exception(self, error: BaseException) -> None:
        """End the read with an error."""
        self._core.inbound.end()
        self._fail(error)

    def _go_on(self, *, inline: bool = False) -> None:
        core = self._core
        inbound = core.inbound
        try:
            answer = self._next()
        except Exception as error:  # whatever it is, it ends this read
            inbound.end()
            if inline and isinstance(error, OSError):
                raise
            self._fail(core.explain(error))
            return
        if answer is NEED_DATA:
            return
        inbound.end()
        if answer is END:
            core.note_end()
            self._fail(StreamClosed("stream ended", real_error=core.error))
        else:
            self._deliver(answer)

    def _next(self) -> Any:
        core = self._core
        while (answer := self._ask(self._condition)) is NEED_DATA:
            missing = core.missing
            if not core.receive_inline(missing):
                core.inbound.wait(self)
                break
        return answer

    def _deliver(self, frame: Any) -> None:
        self._core.tap(self._condition, frame)
        self._core.callbacks.soon(self._callback, frame)

    def _fail(self, error: BaseException) -> None:
        if self._on_error is not None:
            self._on_error(error)
        elif not isinstance(error, StreamClosed):
            # An orderly end is told by the close callback.
            self._core.close(error)


class StreamingRead(CallbackRead):
    """One pending read whose payload goes to a callback as it becomes final.

    Nothing further is received before the callback has run on what was.
    """

    __slots__ = ("_part_callback",)

    def __init__(self, *args: Any, part_callback: Callable[[bytes], object], **options: Any) -> None:
        super().__init__(*args, **options)
        self._part_callback = part_callback

    def _next(self) -> Any:
        core = self._core
        delivered = False
        while True:
            part = self._ask(self._condition)
            if isinstance(part, bytes):
                core.callbacks.soon(self._part_callback, part)
                delivered = True
            elif part is not NEED_DATA:
                return part
            elif delivered:
                core.callbacks.soon(self._resume)
                return part
            elif not core.receive_inline(1):
                core.inbound.wait(self)
                return part

    def _resume(self) -> None:
        if self._core.inbound.busy is self:
            self._go_on()

    def _deliver(self, frame: Any) -> None:
        assert frame is FRAME_END
        self._core.callbacks.soon(self._callback, b"")

    def cancel_with(self, future: asyncio.Future[bytes]) -> None:
        """Stop if the future that waits for the end is cancelled; the rest of the frame is skipped."""
        if future.cancelled() and self._core.inbound.busy is self:
            self._core.inbound.end()
            self._core.decoder.skip_frame()


class FrameHandler:
    """Give every frame to a function, straight from the loop's wake-up: no task has to be switched to.

    It stops by itself while the stream has more to send than its high-water mark.
    """

    __slots__ = ("_callback", "_condition", "_core", "_paused")

    def __init__(
        self, core: StreamCore, condition: ReadCondition[Any], callback: Callable[[Any], object]
    ) -> None:
        self._core = core
        self._condition = condition
        self._callback = callback
        self._paused = False

    def start(self) -> None:
        """Take the stream's reading over, from the next pass of the loop on."""
        self._core.inbound.begin(self, None)
        self._soon()

    def pause(self) -> None:
        """Get no more frames until `resume`; what was not delivered stays in the stream."""
        self._paused = True

    def resume(self) -> None:
        """Get frames again, from the next pass of the loop on."""
        if self._paused:
            self._paused = False
            self._soon()

    def stop(self) -> None:
        """Give the stream's reading back; the next read begins with the first frame not delivered."""
        if self.active:
            self._core.inbound.end()

    @property
    def active(self) -> bool:
        """True until the stream ends or `stop` is called."""
        return self._core.inbound.busy is self

    def done(self) -> bool:
        """Return False: it can be woken until it is stopped."""
        return False

    def set_result(self, result: None) -> None:
        """Go on: something has arrived, or has left."""
        if self._core.inbound.on_top:
            self._go_on()
        else:
            self._soon()

    def set_exception(self, error: BaseException) -> None:
        """End with an error."""
        self.stop()
        self._core.close(error)

    def _soon(self) -> None:
        self._core.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.active and not self._paused:
            self._core.callbacks.pending += 1
            self._core.callbacks.run(self._deliver)

    def _deliver(self) -> None:
        core = self._core
        outbound, condition, callback = core.outbound, self._condition, self._callback
        for _ in range(_FRAMES_IN_A_ROW):
            frame = self._next()
            if frame is NEED_DATA:
                return
            core.tap(condition, frame)
            callback(frame)
            if self._paused or not self.active:
                return
            if outbound.buffer.size > outbound.high_water:
                outbound.on_flush(outbound.buffer.written - outbound.low_water, self)
                return
        self._soon()

    def _next(self) -> Any:
        core = self._core
        try:
            while (frame := core.decoder.next_frame(self._condition)) is NEED_DATA:
                if not core.receive_inline(core.missing):
                    core.inbound.wait(self)
                    break
        except FramestreamError as error:
            self.set_exception(core.explain(error))
            return NEED_DATA
        if frame is END:
            self.stop()
            core.note_end()
            return NEED_DATA
        return frame
