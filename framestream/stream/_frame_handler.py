"""Frames given to a function, with no task in between."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from framestream._events import events
from framestream.decoder import END, NEED_DATA
from framestream.errors import FramestreamError, IncompleteFrame
from framestream.framer import ReadCondition
from framestream.stream._flush import CallWhenSent
from framestream.stream._waiting import Reader

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore

# Frames handed to a frame handler before other streams get their turn.
_FRAMES_IN_A_ROW: Final = 1024


class FrameHandler(Reader):
    """Give every frame to a function, straight from the loop's wake-up: no task has to be switched to.

    It stops by itself while the stream has more to send than its high-water mark.
    """

    __slots__ = ("_callback", "_callbacks", "_condition", "_context", "_core", "_paused", "_waits_for_room")

    def __init__(
        self, core: StreamCore, condition: ReadCondition[Any], callback: Callable[[Any], object]
    ) -> None:
        self._core = core
        self._condition = condition
        self._callback = callback
        self._callbacks = core.callbacks
        self._context = copy_context()
        self._paused = False
        self._waits_for_room = False

    def start(self) -> None:
        """Take the stream's reading over, from the next pass of the loop on."""
        self._core.check_not_in_parts()
        self._core.begin(self, None)
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

    def go_on(self, at_once: bool) -> None:
        """Deliver what has arrived."""
        if at_once:
            self._context.run(self._deliver)
        else:
            self._soon()

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self.stop()
        self._core.close(error)

    def _end_with(self, error: BaseException) -> None:
        self.stop()
        if not isinstance(error, IncompleteFrame):  # which closes behind what is still to be sent
            self._core.close(error)

    def _soon(self) -> None:
        self._core.loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        core, condition, callback = self._core, self._condition, self._callback
        inbound, decoder, outbound = core.inbound, core.decoder, core.outbound
        buffer, high_water = outbound.buffer, outbound.high_water
        # As `callbacks.run` of each, without its calls.
        callbacks = self._callbacks
        callbacks.pending += 1
        try:
            for _ in range(_FRAMES_IN_A_ROW):
                if self._paused or inbound.busy is not self:
                    return
                if buffer.size > high_water:
                    self._wait_for_room()
                    return
                # What is cut ahead is handed out with no further call.
                if decoder.ahead and decoder.condition is condition:
                    frame = decoder.ahead.pop()
                elif (frame := self._next()) is NEED_DATA:
                    return
                if events.frame_received is not None:
                    core.tap(condition, frame)
                callback(frame)
            self._soon()
        except BaseException as error:
            callbacks.failed(error)
            raise
        finally:
            callbacks.pending -= 1
            if core.closed:
                core.note_callback_run()

    def _wait_for_room(self) -> None:
        if not self._waits_for_room:
            self._waits_for_room = True
            outbound = self._core.outbound
            outbound.on_flush(outbound.buffer.written - outbound.low_water, CallWhenSent(self._on_room))

    def _on_room(self) -> None:
        self._waits_for_room = False
        self._soon()

    def _next(self) -> Any:
        core = self._core
        try:
            while (frame := core.decoder.next_frame(self._condition)) is NEED_DATA:
                if core.inbound.wait_in_quiet(self):
                    break
                if not core.receive_inline():
                    core.inbound.wait(self)
                    break
        except FramestreamError as error:
            self._end_with(core.explain(error, keep=True))
            return NEED_DATA
        if frame is END:
            self.stop()
            core.note_end()
            return NEED_DATA
        return frame
