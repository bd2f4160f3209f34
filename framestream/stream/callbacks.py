"""What a stream calls: functions in order, one by one; the reads that end in one; at its end the waiters for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from framestream._events import events
from framestream.decoder import END, FRAME_END, NEED_DATA
from framestream.errors import FramestreamError, IncompleteFrame, Respite, StreamClosed, check_function
from framestream.framer import ReadCondition
from framestream.stream.reads import PendingRead
from framestream.stream.sender import CLOSING
from framestream.stream.timeouts import ReadTimeouts
from framestream.transport.base import settle

if TYPE_CHECKING:
    from framestream.stream.stream import IOStream

T = TypeVar("T")


def in_context(callback: Callable[..., T]) -> Callable[..., T]:
    """Return `callback` wrapped to run later in the context it was given in."""
    check_function("callback", callback)
    return partial(copy_context().run, callback)


class Callbacks:
    """Run a stream's callbacks: each from the loop, in order, none inside another.

    While one waits to run, the close callback is delayed: a read chained from a callback sees buffered
    bytes first. Made on first use: most streams have none.

    Attributes:
        pending: callbacks still to run.
        on_close: called after them when the stream is closed, or None.
        has_skipped: True once a callback read has skipped a frame that cannot be decoded or is too large.
        waiters: futures of tasks that wait for the end of the stream.
    """

    __slots__ = ("_stream", "has_skipped", "on_close", "pending", "waiters")

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        # A future each: shielding one for all takes half a KiB more for each connection that waits.
        self.waiters: list[asyncio.Future[None]] = []
        self.pending = 0
        self.has_skipped = False
        self.on_close: Callable[[], object] | None = None

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the next pass of the loop."""
        self.pending += 1
        self._stream.loop.call_soon(self._run, callback, *args)

    def _run(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except BaseException as error:  # a future that was cancelled raises no Exception
            if self.fail(error):
                raise
        finally:
            self.ran()

    def fail(self, error: BaseException) -> bool:
        """Close the stream because of an exception from a callback; return True if the loop is to have it.

        It is not if a write has met what the peer did: that is no fault of the callback's.
        """
        stream = self._stream
        if isinstance(error, StreamClosed):
            cause = error.real_error
            if cause is None and stream.sender.refusal in CLOSING:
                return False  # the stream closes when its queue is sent
            if cause is not None and cause in (stream.error, stream.sender.error):
                stream.close(cause)
                return False
        stream.log_problem("callback", error)
        stream.close(error)
        return True

    def ran(self) -> None:
        """Note that a pending callback has run."""
        self.pending -= 1
        if self._stream.closed():
            self.close()
        elif self._stream.receiver.end is not None:
            self._stream.watch_for_end()  # which was put off until it had run

    # The end

    @property
    def await_end(self) -> bool:
        """True if a callback or a task waits for the end of the stream."""
        return self.on_close is not None or bool(self.waiters)

    def close(self) -> None:
        """Run the close callback soon, after all others, and wake the tasks that wait for the end."""
        for waiter in self.waiters:
            settle(waiter)
        if self.on_close is not None and not self.pending:
            callback, self.on_close = self.on_close, None
            self.soon(self._run_last, callback)

    def _run_last(self, callback: Callable[[], object]) -> None:
        if self.pending > 1:  # the end has completed a read since: the close callback comes after that read's
            self.soon(self._run_last, callback)
        else:
            callback()


class CallbackRead(PendingRead):
    """One pending read that ends in a callback, for code without coroutines.

    An error that costs only one frame is logged, and the read continues with the next frame; any other
    error closes the stream. A subclass may end differently, by `deliver` and `end_with`.

    Attributes:
        callback: called with the frame.
        has_caller: True in a subclass whose `end_with` passes errors on: then each error ends the read.
    """

    __slots__ = ("callback",)

    has_caller = False

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[Any],
        ask: Callable[[ReadCondition[Any]], Any] | None,
        callback: Callable[[Any], object],
    ) -> None:
        super().__init__(stream, condition, ask)
        self.callback = callback

    def start(self, timeouts: ReadTimeouts | None = None) -> None:
        """Begin to read; buffered bytes are read at once."""
        self.stream.receiver.claim(self, timeouts or self.stream.timeouts)
        self.poll()

    def on_data(self, at_once: bool) -> None:
        """Ask again, unless the read was given up; the callback always runs in a later pass."""
        if self.stream.receiver.reader is self:
            self.poll()

    def fail(self, error: BaseException) -> None:
        """End the read with an error."""
        self.stream.receiver.release()
        self.end_with(error)

    def poll(self) -> None:
        """Ask the decoder; end the read if there is an answer."""
        stream = self.stream
        try:
            answer = self.next_answer()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends this read
            self.go_on_after(error)
            return
        if answer is END:
            self.fail(stream.ended())
        elif answer is not NEED_DATA:
            stream.receiver.release()
            self.deliver(answer)
            if self.to_end:
                stream.note_end()

    def go_on_after(self, error: BaseException) -> None:
        """End the read, unless the error costs only its own frame."""
        stream = self.stream
        if isinstance(error, Respite) or (not self.has_caller and stream.skips(error)):
            self.poll_soon()  # a flood of bad frames must leave other tasks a turn
        else:
            self.fail(stream.explain(error, keep=not self.has_caller))

    def poll_soon(self) -> None:
        """Ask the decoder in the next pass of the loop, after the callbacks already scheduled."""
        self.stream.callbacks.soon(self.on_data, True)

    def next_answer(self) -> Any:
        """Return the decoder's answer; NEED_DATA if the read waits."""
        return self.stream.receiver.advance(self)

    def deliver(self, frame: Any) -> None:
        """End the read with a frame."""
        self.stream.tap(self.condition, frame)
        self.stream.callbacks.soon(self.callback, frame)

    def end_with(self, error: BaseException) -> None:
        """End the read with an error; the close callback reports the end of the stream."""
        if not isinstance(error, StreamClosed | IncompleteFrame):
            self.stream.close(error)


class StreamingRead(CallbackRead):
    """One pending read whose payload goes to a callback as it becomes final.

    It receives no more before the callback has run on what was received.
    """

    __slots__ = ("_part_callback",)

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[Any],
        part_callback: Callable[[bytes], object],
        callback: Callable[[bytes], object],
    ) -> None:
        super().__init__(stream, condition, stream.receiver.decoder.next_part, callback)
        self._part_callback = part_callback

    def next_answer(self) -> Any:
        """Pass on the parts that have arrived."""
        first = part = super().next_answer()
        while isinstance(part, bytes):
            self.stream.callbacks.soon(self._part_callback, part)
            part = self.ask(self.condition)  # type: ignore[misc]  # given in __init__
        if part is NEED_DATA and first is not part:
            self.poll_soon()
        return part

    def deliver(self, frame: Any) -> None:
        """End the read: all parts are passed on."""
        assert frame is FRAME_END
        self.stream.callbacks.soon(self.callback, b"")

    def fail(self, error: BaseException) -> None:
        """End the read with an error; the rest of a frame that has begun is skipped."""
        self.stream.receiver.decoder.skip_frame()
        super().fail(error)


class FrameHandler(CallbackRead):
    """Call a function with every frame, directly from the loop's wake-up: without a task switch.

    It stops by itself while the stream has more to send than its high-water mark.
    """

    __slots__ = ("_context", "_due", "_paused")

    def __init__(self, stream: IOStream, condition: ReadCondition[Any], callback: Callable[[Any], object]) -> None:
        check_function("callback", callback)
        super().__init__(stream, condition, None, callback)
        self._context = copy_context()
        self._paused = False
        self._due = False  # the next pass delivers, or the one after there is room to send

    def start(self, timeouts: ReadTimeouts | None = None) -> None:
        """Take over the stream's reading, from the next pass of the loop on."""
        self.stream.receiver.claim(self, None)
        self.poll_soon()

    def pause(self) -> None:
        """Deliver no more frames until `resume`; undelivered ones stay in the stream."""
        self._paused = True

    def resume(self) -> None:
        """Deliver frames again, from the next pass of the loop on."""
        if self._paused:
            self._paused = False
            self.poll_soon()

    def stop(self) -> None:
        """Give the stream's reading back; the next read begins with the first undelivered frame."""
        self.give_back()

    def on_data(self, at_once: bool) -> None:
        """Deliver the frames that have arrived."""
        if at_once:
            self._context.run(self.poll)
        else:
            self.poll_soon()

    def poll_soon(self) -> None:
        """Deliver frames in the next pass of the loop, or when there is room if that is waited for."""
        if not self._due:
            self._due = True
            self.stream.callbacks.pending += 1  # the close callback waits for it
            self.stream.loop.call_soon(self._deliver_due, context=self._context)

    def _on_room(self, _: object) -> None:
        self._due = False
        self.poll_soon()

    def _deliver_due(self) -> None:
        self._due = False
        self.stream.callbacks.pending -= 1  # from here on `poll` counts itself
        self.poll()

    def poll(self) -> None:
        """Deliver the frames that are there, unless it is paused or too much is queued."""
        stream, condition, callback = self.stream, self.condition, self.callback
        receiver, sender, callbacks = stream.receiver, stream.sender, stream.callbacks
        # Frames cut ahead are handed out without another call ("lines" in benchmarks/).
        ahead: list[Any] = []
        callbacks.pending += 1  # the close callback waits for this one
        try:
            while receiver.reader is self and not self._paused:
                if sender.size > sender.high_water:
                    if not self._due:
                        self._due = True
                        sender.when_room(self._on_room)
                    return
                if ahead:
                    frame = ahead.pop()
                else:
                    try:
                        frame = receiver.advance(self)
                    except (FramestreamError, Respite) as error:
                        self.go_on_after(error)
                        return
                    if frame is NEED_DATA:
                        return
                    if frame is END:
                        self.fail(stream.ended())
                        return
                    ahead = receiver.decoder.ahead
                if events.frame_received is not None:
                    stream.tap(condition, frame)
                callback(frame)
        except BaseException as error:
            self.stop()
            if callbacks.fail(error):
                raise
        finally:
            callbacks.ran()
