"""The ways to wait for a decoder's answer: a task, a callback, a function for every frame.

Each is one `PendingRead`, dies with the read, and leaves the asking and receiving to `Receiver.advance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError, sleep
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from framestream._events import events
from framestream.checks import check_function
from framestream.decoder import END, FRAME_END, NEED_DATA
from framestream.errors import (
    FramestreamError,
    FrameTooLarge,
    IncompleteFrame,
    PayloadError,
    Respite,
    StreamClosed,
)
from framestream.framers.amounts import UntilClose
from framestream.stream.receiver import ENDED, PAUSED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from contextvars import Context

    from framestream.decoder import FrameDecoder
    from framestream.framer import ReadCondition
    from framestream.stream.stream import IOStream
    from framestream.stream.timeouts import ReadTimeouts, ReadTimer

# Frames handed to a frame handler before other streams get their turn.
_FRAMES_IN_A_ROW: Final = 1024
# What a peer that has not noticed the end of the stream may still send, and have thrown away.
_MOST_TO_DISCARD: Final = 1 << 24


class Rest(UntilClose):
    """What `read_until_close` reads by: a reset by the peer, and a `close` on this side, are ends to it.

    To every other condition a stream that is cut off has no end: half a frame is none.
    """


REST: Final = Rest()


class PendingRead(ABC):
    """One read under way: what is asked of the decoder, and who gets the answer.

    Attributes:
        stream: whose read it is.
        condition: what the frame is.
        ask: what to ask the decoder; None for ``decoder.next_frame``.
        ends_by_drain: False if it goes on when the stream is to take what has arrived for the end.
        busy: what whoever tries to read meanwhile is told.
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

    @abstractmethod
    def on_data(self, at_once: bool) -> None:
        """Ask again: what was missing has arrived, or never will.

        With `at_once` it is the loop that calls, and nothing is left to be done after this call: it may run
        whatever it likes. Otherwise it is called inside somebody's code.
        """

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End with an error, unless the read has ended."""

    @property
    def given_up(self) -> bool:
        """True if nobody waits for the frame any more: it is there for the next read."""
        return False

    @property
    def to_end(self) -> bool:
        """True if the read is complete when the connection is over, be it closed here or reset."""
        return self.condition is REST

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many bytes must arrive before it is worth asking the decoder again.

        Not asked where `ask` is None: then the decoder knows.
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
    """Return what the decoder answers, waiting for it if needed. Cancelling consumes nothing.

    Where the stream has ended it raises what ends a read, or with `iterating` what ends an iteration. `read`
    is what waits, if that is not the stream's own one.
    """
    receiver = stream.receiver
    while True:
        if receiver.reader is not None or receiver.state is PAUSED or receiver.state is ENDED:
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
                if (limits := timeouts or stream.timeouts) is not None:
                    timeouts = receiver.start_timer(limits)
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
        except PayloadError:
            receiver.end_turn()
            raise
        except (IncompleteFrame, FrameTooLarge) as error:
            receiver.end_turn()
            raise stream.explain(error) from stream.error
    if answer is END:
        ended = stream.ended()
        if iterating and stream.error is None:
            raise StopAsyncIteration
        raise ended from stream.error
    return answer


class _Pause(tuple["AwaitedRead"]):
    """What has a task wait for the one item, with no call in Python: an iterator is all that await needs."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...
    else:
        __await__ = tuple.__iter__


class AwaitedRead(PendingRead):
    """A pending read, and what its task waits for: a future-like object, see ``asyncio.isfuture``.

    A stream keeps one, since it has only one at a time, and making another costs as much as its framing.

    A plain future would run the task in the next pass of the loop, whatever has arrived. This one asks
    the decoder when bytes arrive, lets the task sleep until there is an answer, and runs it at once: a
    peer that trickles costs no task switch a byte, and an answer no further pass (6 us, twice that with
    the system call it takes).

    The answer is taken only when the task runs in the very same call, so a task that is cancelled has
    consumed nothing.
    """

    # fmt: off
    __slots__ = (
        "_asyncio_future_blocking", "_error", "answer", "callback", "context", "get_loop", "pause", "result",
    )
    # fmt: on

    _asyncio_future_blocking: bool

    def __init__(self, stream: IOStream, condition: ReadCondition[Any]) -> None:
        super().__init__(stream, condition)
        self.answer: Any = NEED_DATA
        self.pause = _Pause((self,))
        self.callback: Callable[[AwaitedRead], object] | None = None
        self.context: Context | None = None
        self._error: BaseException | None = None
        # The task calls these two each time. Neither is a call in Python: a weak reference returns its
        # object, and what `result` returns does not matter.
        self.get_loop: Callable[[], object] = ref(stream.loop)
        self.result: Callable[[], object] = bool

    def on_data(self, at_once: bool) -> None:
        """Ask again, when the task can run at once if there is an answer."""
        if not at_once:
            self.stream.loop.call_soon(self.on_data, True)
            return
        callback = self.callback
        if callback is None:
            return  # the task is on its way already, because of an error
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
        self._error = error
        self.result = self._raise

    def _raise(self) -> None:
        error, self._error = self._error, None
        self.result = bool
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback knows this frame

    # What its task asks of a future

    def add_done_callback(
        self, callback: Callable[[AwaitedRead], object], *, context: Context | None = None
    ) -> None:
        """Take note of the one task that awaits this."""
        self.callback = callback
        self.context = context

    def done(self) -> bool:
        """Tell whether there is an answer, or an error."""
        return self._error is not None or self.answer is not NEED_DATA

    def cancel(self, msg: object = None) -> bool:
        """Give up, unless there is an answer; nothing is consumed."""
        if self.done():
            return False
        self.fail(CancelledError() if msg is None else CancelledError(msg))
        return True


class AwaitedBytes(AwaitedRead):
    """Wait until `size` bytes are there, or the end of the stream is. Consumes nothing."""

    __slots__ = ("_size",)

    def __init__(self, stream: IOStream, size: int) -> None:
        super().__init__(stream, REST)
        self._size = size

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many of the bytes are missing."""
        return self._size - decoder.buffered


def _are_there(stream: IOStream, size: int, _: object) -> Any:
    receiver = stream.receiver
    return True if size <= receiver.decoder.buffered or receiver.end is not None else NEED_DATA


async def bytes_arrived(stream: IOStream, size: int) -> None:
    """Wait until `size` bytes are there, or the end of the stream is. Consumes nothing."""
    receiver = stream.receiver
    receiver.check_free()
    receiver.check_not_in_parts()
    if receiver.decoder.buffered < size and receiver.end is None:
        await next_answer(stream, REST, partial(_are_there, stream, size), read=AwaitedBytes(stream, size))


class CallbackRead(PendingRead):
    """One pending read that ends in a callback, for code without coroutines.

    An error is for the future, if there is one. Otherwise there is nobody to raise it to: what costs one
    frame only is logged, and the read goes on to the next; anything else closes the stream. A subclass may
    end otherwise, by `deliver` and `end_with`.
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
        """Begin to read; what is there is read at once."""
        self.stream.receiver.claim(self, timeouts or self.stream.timeouts)
        self.poll()

    def on_data(self, at_once: bool) -> None:
        """Ask again; the callback runs in a later pass in any case."""
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
                self.poll_soon()  # a flood of those must leave others their turn
            else:
                self.fail(stream.explain(error, keep=self.future is None))
            return
        if answer is END:
            self.fail(stream.ended())
        elif answer is not NEED_DATA:
            stream.receiver.release()
            self.deliver(answer)

    def poll_soon(self) -> None:
        """Ask the decoder in the next pass of the loop, after the callbacks that are on their way."""
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
        """End the read with an error; without a future, the close callback tells the end of the stream."""
        if self.future is None:
            if not isinstance(error, StreamClosed | IncompleteFrame):
                self.stream.close(error)
        elif not self.future.done():
            self.future.set_exception(error)


class StreamingRead(CallbackRead):
    """One pending read whose payload goes to a callback as it becomes final.

    Nothing further is received before the callback has run on what was. The read ends in `callback`, or
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
        """Hand on the parts that are there."""
        first = part = super().next_answer()
        while isinstance(part, bytes):
            self.stream.callbacks.soon(self._part_callback, part)
            part = self.ask(self.condition)  # type: ignore[misc]  # given in __init__
        if part is NEED_DATA and first is not part:
            self.poll_soon()
        return part

    def deliver(self, frame: Any) -> None:
        """End the read: all parts are on their way."""
        assert frame is FRAME_END
        self.stream.callbacks.soon(self.callback, b"")

    def fail(self, error: BaseException) -> None:
        """End the read with an error; what is left of a frame that has begun is skipped."""
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
    """Give every frame to a function, straight from the loop's wake-up: no task has to be switched to.

    It stops by itself while the stream has more to send than its high-water mark.
    """

    __slots__ = ("_callback", "_callbacks", "_context", "_due", "_paused")

    def __init__(
        self, stream: IOStream, condition: ReadCondition[Any], callback: Callable[[Any], object]
    ) -> None:
        super().__init__(stream, condition)
        check_function("callback", callback)
        self._callback = callback
        self._callbacks = stream.callbacks
        self._context = copy_context()
        self._paused = False
        self._due = False  # a later pass delivers: the next one, or the one in which there is room

    def start(self) -> None:
        """Take the stream's reading over, from the next pass of the loop on."""
        self.stream.receiver.check_not_in_parts()
        self.stream.receiver.claim(self, None)
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
            self.stream.receiver.release()

    @property
    def active(self) -> bool:
        """True until the stream ends or `stop` is called."""
        return self.stream.receiver.reader is self

    def on_data(self, at_once: bool) -> None:
        """Deliver what has arrived."""
        if at_once:
            self._context.run(self._deliver)
        else:
            self._soon()

    def fail(self, error: BaseException) -> None:
        """End with an error; a frame that broke off closes the stream after what is still to be sent."""
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
            for _ in range(_FRAMES_IN_A_ROW):
                if self._paused or receiver.reader is not self:
                    return
                if sender.size > sender.high_water:
                    self._due = True
                    sender.call_when_room(self._deliver_soon)
                    return
                try:
                    frame = receiver.advance(self)
                except Respite:
                    break
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
            self._soon()
        except BaseException as error:
            self.stop()
            callbacks.fail(error)
            raise
        finally:
            callbacks.ran()


class Claim(PendingRead):
    """What reads where nobody else may: during a TLS handshake, or between the parts of a frame."""

    __slots__ = ("busy",)

    def __init__(self, stream: IOStream, condition: ReadCondition[Any], busy: str) -> None:
        super().__init__(stream, condition)
        self.busy = busy

    async def keep_for_a_pass(self) -> None:
        """Keep others from reading, while the loop has its turn."""
        receiver = self.stream.receiver
        receiver.end_turn()
        receiver.reader = self
        try:
            await sleep(0)
        finally:
            if receiver.reader is self:
                receiver.release()

    def on_data(self, at_once: bool) -> None:
        """Leave it to who has claimed the reading."""

    def fail(self, error: BaseException) -> None:
        """Leave it to who has claimed the reading."""


class Lingering(CallbackRead):
    """Throw away what the peer still sends; the future is done when that ends, or is too much."""

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
        """Return 1: whatever arrives goes."""
        return 1

    def end_with(self, error: BaseException) -> None:
        """End: nothing more will arrive, or is waited for."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
