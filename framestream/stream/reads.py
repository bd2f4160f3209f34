"""The ways to wait for a decoder's answer: a task, a callback, a function for every frame.

Each is one `PendingRead`, which ends with the read; `Receiver.advance` does the asking and receiving.
"""

from __future__ import annotations

from asyncio import CancelledError, sleep
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from framestream._events import events
from framestream.decoder import END, FRAME_END, NEED_DATA
from framestream.errors import FramestreamError, FrameTooLarge, IncompleteFrame, Respite, StreamClosed, check_function
from framestream.framers.amounts import UntilClose
from framestream.stream.receiver import FLOWING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from contextvars import Context

    from framestream.decoder import FrameDecoder
    from framestream.framer import ReadCondition
    from framestream.stream.stream import IOStream
    from framestream.stream.timeouts import ReadTimeouts, ReadTimer

# Bytes that a peer may still send after the end, before it notices; they are discarded.
_MOST_TO_DISCARD: Final = 1 << 24


class Rest(UntilClose):
    """The condition of `read_until_close`: a reset by the peer, and a `close` on this side, are its end.

    For every other condition a disconnected stream has no end: half a frame is not a frame.
    """


REST: Final = Rest()


class PendingRead:
    """One read under way: the question to the decoder, and where the answer goes.

    Attributes:
        stream: the stream that is read.
        condition: what the frame is.
        ask: the decoder's method to call; None for ``decoder.next_frame``.
        ends_by_drain: False if it continues when the stream is to treat what has arrived as its end.
        busy: the message of `StreamBusy` for other reads meanwhile.
    """

    __slots__ = ("ask", "condition", "stream")

    ends_by_drain = True
    busy = "another read is still under way"

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[Any],
        ask: Callable[[ReadCondition[Any]], Any] | None = None,
    ) -> None:
        self.stream = stream
        self.condition = condition
        # A bound method of the decoder kept for each read that waits would be larger and slower.
        self.ask = ask

    def on_data(self, at_once: bool) -> None:
        """Ask again: the missing bytes have arrived, or never will. A claim has nothing to ask.

        With `at_once` the loop calls it, and nothing else is left to do in this call: it may run any
        code. Otherwise it is called from inside other code.
        """

    def fail(self, error: BaseException) -> None:
        """End with an error, unless the read has ended, or its owner will learn of it anyway."""

    @property
    def given_up(self) -> bool:
        """True if its result is no longer wanted: the frame is left for the next read."""
        return False

    @property
    def to_end(self) -> bool:
        """True if the end of the connection, by a close here or a reset, completes the read."""
        return self.condition is REST

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many bytes must arrive before it is worth asking the decoder again.

        Not used if `ask` is None: then the decoder knows.
        """
        return decoder.missing


async def next_answer(
    stream: IOStream,
    condition: ReadCondition[Any],
    ask: Callable[[ReadCondition[Any]], Any] | None = None,
    timeouts: ReadTimeouts | ReadTimer | None = None,
    *,
    iterating: bool = False,
    read: AwaitedRead | None = None,
) -> Any:
    """Return the decoder's answer, waiting for it if needed. Cancelling consumes nothing.

    After the end of the stream, raise the error that ends a read, or with `iterating` the one that ends an
    iteration. `read` is the read that waits, if not the stream's own one.
    """
    receiver = stream.receiver
    while True:
        if receiver.reader is not None or receiver.state is not FLOWING:
            receiver.check_free()
        try:
            if ask is None:
                decoder = receiver.decoder
                if decoder.ahead and decoder.condition is condition:
                    return decoder.ahead.pop()
                answer = decoder.next_frame(condition)
            else:
                answer = ask(condition)
            if answer is NEED_DATA:
                if read is None and (read := receiver.kept_read) is None:
                    read = receiver.kept_read = AwaitedRead(stream, condition)
                read.condition = condition
                read.ask = ask
                receiver.reader = read
                timeouts = timeouts or stream.timeouts
                if timeouts is not None:
                    timeouts = receiver.start_timer(timeouts)
                try:
                    if receiver.fill(read):
                        answer = receiver.advance(read)
                    if answer is NEED_DATA:
                        read._asyncio_future_blocking = True
                        await read.pause
                        answer, read.answer = read.answer, NEED_DATA
                finally:
                    read.callback = read.context = None
                    receiver.release()
            break
        except Respite:
            await Claim(stream, condition, PendingRead.busy).keep_for_a_pass()
        except (IncompleteFrame, FrameTooLarge) as error:
            raise stream.explain(error) from stream.error
    if answer is END:
        raise stream.ended(iterating=iterating) from stream.error
    return answer


class _Pause(tuple["AwaitedRead"]):
    """Makes a task wait for its one item without a Python call: await needs only an iterator."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...
    else:
        __await__ = tuple.__iter__


class AwaitedRead(PendingRead):
    """A pending read that its task waits for: a future-like object, see ``asyncio.isfuture``.

    A stream keeps one, since it has only one at a time, and making another costs as much as its framing.

    A plain future would run the task in the next pass of the loop, whatever has arrived. This one asks
    the decoder when bytes arrive, lets the task sleep until there is an answer, and runs it at once: a
    peer that sends single bytes costs no task switch for each, and an answer no further pass (6 us, twice
    that with its system call).

    The answer is taken only when the task runs in the same call, so a task that is cancelled has
    consumed nothing.
    """

    # fmt: off
    __slots__ = (
        "_asyncio_future_blocking", "answer", "callback", "context", "get_loop", "pause", "result",
    )
    # fmt: on

    _asyncio_future_blocking: bool

    def __init__(self, stream: IOStream, condition: ReadCondition[Any]) -> None:
        super().__init__(stream, condition)
        self.answer: Any = NEED_DATA  # or the error that `result` raises
        self.pause = _Pause((self,))
        self.callback: Callable[[AwaitedRead], object] | None = None
        self.context: Context | None = None
        # The task uses these two each time, without a Python call: a weak reference returns its
        # object, and the value that `result` returns does not matter.
        self.get_loop: Callable[[], object] = ref(stream.loop)
        self.result: Callable[[], object] = bool

    def on_data(self, at_once: bool) -> None:
        """Ask again, if the task can run at once with an answer."""
        if not at_once:
            self.stream.loop.call_soon(self.on_data, True)
            return
        callback = self.callback
        if callback is None:
            return  # the task will run already, because of an error
        receiver = self.stream.receiver
        try:
            # Most wake-ups have the answer: `advance` is for the others ("echo" in benchmarks/).
            # Nothing else may keep the answer alive: the task runs inside this call, and frames are large.
            self.answer = (self.ask or receiver.decoder.next_frame)(self.condition)
            if self.answer is NEED_DATA:
                self.answer = receiver.poll(self)
                if self.answer is NEED_DATA:
                    return
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the task meets it where it awaits
            self._set_error(error)
        self.callback = None
        context = self.context
        if context is None:
            callback(self)
        else:
            context.run(callback, self)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        if not self.done():
            self._set_error(error)
            callback, self.callback = self.callback, None
            if callback is not None:
                self.stream.loop.call_soon(callback, self, context=self.context)

    def _set_error(self, error: BaseException) -> None:
        self.answer = error
        self.result = self._raise

    def _raise(self) -> None:
        error, self.answer = self.answer, NEED_DATA
        self.result = bool
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame

    # The part of a future that its task uses

    def add_done_callback(self, callback: Callable[[AwaitedRead], object], *, context: Context | None = None) -> None:
        """Store the callback of the one task that awaits this."""
        self.callback = callback
        self.context = context

    def done(self) -> bool:
        """Tell whether there is an answer, or an error."""
        return self.answer is not NEED_DATA

    def cancel(self, msg: object = None) -> bool:
        """Give up, unless there is an answer; nothing is consumed."""
        if self.done():
            return False
        self.fail(CancelledError() if msg is None else CancelledError(msg))
        return True


class AwaitedBytes(AwaitedRead):
    """Wait until `size` bytes have arrived, or the stream has ended. Consumes nothing."""

    __slots__ = ("_size",)

    def __init__(self, stream: IOStream, size: int) -> None:
        super().__init__(stream, REST)
        self._size = size

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many of the bytes are missing."""
        return self._size - decoder.buffered

    def are_there(self, _: object) -> Any:
        """Answer instead of the decoder: True or NEED_DATA."""
        receiver = self.stream.receiver
        return True if self._size <= receiver.decoder.buffered or receiver.end is not None else NEED_DATA


class CallbackRead(PendingRead):
    """One pending read that ends in a callback, for code without coroutines.

    The future gets the error, if there is one. Without a future, an error that costs only one
    frame is logged, and the read continues with the next frame; any other error closes the stream. A
    subclass may end differently, by `deliver` and `end_with`.
    """

    __slots__ = ("callback", "future")

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[Any],
        ask: Callable[[ReadCondition[Any]], Any] | None,
        callback: Callable[[Any], object],
        future: asyncio.Future[Any] | None = None,
    ) -> None:
        super().__init__(stream, condition, ask)
        self.callback = callback
        self.future = future

    def start(self, timeouts: ReadTimeouts | None = None) -> None:
        """Begin to read; buffered bytes are read at once."""
        self.stream.receiver.claim(self, timeouts or self.stream.timeouts)
        self.poll()

    def on_data(self, at_once: bool) -> None:
        """Ask again; the callback always runs in a later pass."""
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
            if isinstance(error, Respite) or (self.future is None and stream.skips(error)):
                self.poll_soon()  # a flood of bad frames must leave other tasks a turn
            else:
                self.fail(stream.explain(error, keep=self.future is None))
            return
        if answer is END:
            self.fail(stream.ended())
        elif answer is not NEED_DATA:
            stream.receiver.release()
            self.deliver(answer)

    def poll_soon(self) -> None:
        """Ask the decoder in the next pass of the loop, after the callbacks already scheduled."""
        self.stream.callbacks.soon(self._poll_if_reading)

    def _poll_if_reading(self) -> None:
        if self.stream.receiver.reader is self:
            self.poll()

    def next_answer(self) -> Any:
        """Return the decoder's answer; NEED_DATA if the read waits."""
        return self.stream.receiver.advance(self)

    def deliver(self, frame: Any) -> None:
        """End the read with a frame."""
        self.stream.tap(self.condition, frame)
        self.stream.callbacks.soon(self.callback, frame)

    def end_with(self, error: BaseException) -> None:
        """End the read with an error; without a future, the close callback reports the end of the stream."""
        if self.future is None:
            if not isinstance(error, StreamClosed | IncompleteFrame):
                self.stream.close(error)
        elif not self.future.done():
            self.future.set_exception(error)


class StreamingRead(CallbackRead):
    """One pending read whose payload goes to a callback as it becomes final.

    It receives no more before the callback has run on what was received. The read ends in `callback`, or
    in a future if there is none.
    """

    __slots__ = ("_part_callback",)

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[Any],
        part_callback: Callable[[bytes], object],
        callback: Callable[[bytes], object] | None,
    ) -> None:
        super().__init__(stream, condition, stream.receiver.decoder.next_part, callback or self._settle)
        self._part_callback = part_callback
        if callback is None:
            self.future = stream.loop.create_future()
            self.future.add_done_callback(self._stop_if_cancelled)

    def missing(self, decoder: FrameDecoder) -> int:
        """Return 1: any byte may be a part."""
        return 1

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

    def _settle(self, frame: bytes) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(frame)

    def _stop_if_cancelled(self, future: asyncio.Future[bytes]) -> None:
        # The rest of the frame is skipped.
        receiver = self.stream.receiver
        if future.cancelled() and receiver.reader is self:
            receiver.release()
            receiver.decoder.skip_frame()


class FrameHandler(PendingRead):
    """Call a function with every frame, directly from the loop's wake-up: without a task switch.

    It stops by itself while the stream has more to send than its high-water mark.
    """

    __slots__ = ("_callback", "_callbacks", "_context", "_due", "_paused")

    def __init__(self, stream: IOStream, condition: ReadCondition[Any], callback: Callable[[Any], object]) -> None:
        super().__init__(stream, condition)
        check_function("callback", callback)
        self._callback = callback
        self._callbacks = stream.callbacks
        self._context = copy_context()
        self._paused = False
        self._due = False  # a later pass delivers: the next one, or the one in which there is room

    def start(self) -> None:
        """Take over the stream's reading, from the next pass of the loop on."""
        self.stream.receiver.claim(self, None)
        self._soon()

    def pause(self) -> None:
        """Deliver no more frames until `resume`; undelivered ones stay in the stream."""
        self._paused = True

    def resume(self) -> None:
        """Deliver frames again, from the next pass of the loop on."""
        if self._paused:
            self._paused = False
            self._soon()

    def stop(self) -> None:
        """Give the stream's reading back; the next read begins with the first undelivered frame."""
        if self.active:
            self.stream.receiver.release()

    @property
    def active(self) -> bool:
        """True until the stream ends or `stop` is called."""
        return self.stream.receiver.reader is self

    def on_data(self, at_once: bool) -> None:
        """Deliver the frames that have arrived."""
        if at_once:
            self._context.run(self._deliver)
        else:
            self._soon()

    def fail(self, error: BaseException) -> None:
        """End with an error; an incomplete frame closes the stream after its queue is sent."""
        self.stop()
        if not isinstance(error, IncompleteFrame):
            self.stream.close(error)

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        self.stream.loop.call_soon(self._deliver_due, context=self._context)

    def _deliver_due(self) -> None:
        self._due = False
        self._deliver()

    def _deliver(self) -> None:
        stream, condition, callback = self.stream, self.condition, self._callback
        receiver, sender, callbacks = stream.receiver, stream.sender, self._callbacks
        callbacks.pending += 1  # the close callback waits for this one
        try:
            while receiver.reader is self and not self._paused:
                if sender.size > sender.high_water:
                    self._due = True
                    sender.call_when_room(self._deliver_soon)
                    return
                try:
                    frame = receiver.advance(self)
                except Respite:
                    self._soon()
                    return
                except FramestreamError as error:
                    if stream.skips(error):
                        continue
                    self.fail(stream.explain(error, keep=True))
                    return
                if frame is NEED_DATA:
                    return
                if frame is END:
                    self.stop()
                    stream.ended()
                    return
                if events.frame_received is not None:
                    stream.tap(condition, frame)
                callback(frame)
        except BaseException as error:
            self.stop()
            callbacks.fail(error)
            raise
        finally:
            callbacks.ran()


class Claim(PendingRead):
    """The read that excludes others: during a TLS handshake, or between the parts of a frame."""

    __slots__ = ("busy",)

    def __init__(self, stream: IOStream, condition: ReadCondition[Any], busy: str) -> None:
        super().__init__(stream, condition)
        self.busy = busy

    async def keep_for_a_pass(self) -> None:
        """Keep others from reading, while the loop runs."""
        receiver = self.stream.receiver
        receiver.reader = self
        try:
            await sleep(0)
        finally:
            if receiver.reader is self:
                receiver.release()


class Lingering(CallbackRead):
    """Discard what the peer still sends; the future is done when that ends, or is too much."""

    __slots__ = ("_room",)

    ends_by_drain = False

    def __init__(self, stream: IOStream) -> None:
        super().__init__(stream, REST, self._discard, self.end_with, stream.loop.create_future())
        self._room = _MOST_TO_DISCARD

    def _discard(self, _: object) -> Any:
        receiver = self.stream.receiver
        self._room -= len(receiver.decoder.take_leftover())
        return NEED_DATA if self._room > 0 and receiver.end is None else END

    def missing(self, decoder: FrameDecoder) -> int:
        """Return 1: any byte is discarded on arrival."""
        return 1

    def end_with(self, error: BaseException) -> None:
        """End: nothing more will arrive, or is waited for."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
