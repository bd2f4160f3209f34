"""Reads that a task waits for: one frame, one after the other, in batches, in parts.

Each is one `PendingRead`, which ends with the read; `Receiver.advance` does the asking and receiving. Reads that
end in a function instead are in `callbacks`.
"""

from __future__ import annotations

from asyncio import CancelledError, Task, current_task, sleep
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context
from operator import is_
from sys import exception
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from weakref import ref

from framestream._events import events
from framestream.decoder import END, FRAME_END, IN_PARTS, NEED_DATA, FrameDecoder
from framestream.errors import FrameTooLarge, IncompleteFrame, Respite, StreamBusy
from framestream.framer import ReadCondition
from framestream.framers.amounts import UntilClose
from framestream.stream.receiver import FLOWING
from framestream.stream.timeouts import ReadTimeouts, ReadTimer

if TYPE_CHECKING:
    from framestream.stream.stream import IOStream

T = TypeVar("T")


class Rest(UntilClose):
    """The condition of `read_until_close`: a reset by the peer, and a `close` on this side, are its end.

    For every other condition a disconnected stream has no end: half a frame is not a frame.
    """


REST: Final = Rest()
_NOTHING: Final[list[Any]] = []  # shared and never appended to: a list for each iteration that waits takes 80 bytes


class PendingRead:
    """One read under way: the question to the decoder, and where the answer goes.

    By itself it is a claim: it waits for nothing, and only keeps others from reading.

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
        """Ask again: the missing bytes have arrived, or never will.

        With `at_once` the loop calls it, and nothing else is left to do in this call: it may run any
        code. Otherwise it is called from inside other code.
        """

    def fail(self, error: BaseException) -> None:
        """End with an error, unless the read has ended, or its owner will learn of it anyway."""

    def give_back(self) -> None:
        """Let others read again, unless they may already."""
        if self.stream.receiver.reader is self:
            self.stream.receiver.release()
            self.stream.watch_for_end()

    @property
    def to_end(self) -> bool:
        """True if the end of the connection, by a close here or a reset, completes the read."""
        return self.condition is REST

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many bytes must arrive before it is worth asking the decoder again.

        Not used if `ask` is None: then the decoder knows.
        """
        return decoder.missing


# The options are positional, too: two keyword-only ones make a frame that is there cost 5 % more.
async def next_answer(
    stream: IOStream,
    condition: ReadCondition[Any],
    ask: Callable[[ReadCondition[Any]], Any] | None = None,
    timeouts: ReadTimeouts | ReadTimer | None = None,
    iterating: bool = False,
    read: AwaitedRead | None = None,
) -> Any:
    """Return the decoder's answer, waiting for it if needed. Cancelling consumes nothing.

    After the end of the stream, raise the error that ends a read, or with `iterating` the one that ends an
    iteration. `read` is the read that waits, if not the stream's own one.
    """
    # Each name of this coroutine takes 8 bytes of a connection that waits ("idle" in benchmarks/).
    receiver = stream.receiver
    while True:
        # Frames cut ahead are there, whatever the transport does ("lines" and "prefix-64" in benchmarks/).
        answer: Any = receiver.decoder.ahead
        if answer and ask is None and receiver.decoder.condition is condition and receiver.reader is None:
            return answer.pop() if len(answer) > 1 else _last_of(answer, stream)
        if receiver.reader is not None or receiver.state is not FLOWING:
            receiver.check_free()
        try:
            answer = receiver.decoder.next_frame(condition) if ask is None else ask(condition)
            if answer is NEED_DATA:
                pause = receiver.kept_pause if read is None else Pause((read,))
                if pause is None:
                    pause = receiver.kept_pause = Pause((AwaitedRead(stream),))
                read = pause[0]
                read.condition = condition
                read.ask = ask
                receiver.reader = read
                if timeouts is not None or (timeouts := stream.timeouts) is not None:
                    timeouts = receiver.start_timer(timeouts)
                try:
                    answer = receiver.poll(read)
                    if answer is NEED_DATA:
                        try:
                            await pause  # type: ignore[misc]  # it has no other methods of a generator
                        except CancelledError:
                            if read.answer is NEED_DATA or not _put_off(current_task()):
                                raise
                        answer, read.answer = read.answer, NEED_DATA
                finally:
                    read.callback = read.context = None
                    receiver.release()
            break
        except Respite:
            await _give_a_turn(stream, condition)
        except (IncompleteFrame, FrameTooLarge):
            raise stream.explain(exception()) from stream.error  # type: ignore[arg-type]  # there is one
    if answer is END:
        raise stream.ended(iterating=iterating) from stream.error
    return answer


def _last_of(ahead: list[T], stream: IOStream) -> T:
    frame = ahead.pop()
    stream.watch_for_end()
    return frame


def _put_off(task: Task[Any] | None) -> bool:
    # A cancellation that came too late for this await: the next one has it.
    return task is not None and task.uncancel() >= 0 and task.cancel()


async def _give_a_turn(stream: IOStream, condition: ReadCondition[Any]) -> None:
    # A flood must leave other tasks a turn, but no other read.
    stream.receiver.reader = claim = PendingRead(stream, condition)
    try:
        await sleep(0)
    finally:
        claim.give_back()


class Pause(tuple["AwaitedRead"]):
    """Makes a task wait for its one item without a Python call: await needs only an iterator."""

    __slots__ = ()

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

    __slots__ = ("answer", "callback", "context", "get_loop", "result")

    # A task asks for this mark before it waits, and removes it: here it stays, which spares a slot, and setting it.
    _asyncio_future_blocking = property(bool, is_)  # type: ignore[arg-type]  # what a setter returns does not matter

    def __init__(self, stream: IOStream, condition: ReadCondition[Any] = REST) -> None:
        super().__init__(stream, condition)
        self.answer: Any = NEED_DATA  # or the error that `result` raises
        self.callback: Callable[[AwaitedRead], object] | None = None
        self.context: Any = None  # a Context as long as there is a callback
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
            ask = self.ask
            self.answer = receiver.decoder.next_frame(self.condition) if ask is None else ask(self.condition)
            if self.answer is NEED_DATA:
                self.answer = receiver.poll(self)
                if self.answer is NEED_DATA and self.callback is not None:
                    return
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the task meets it where it awaits
            self._set_error(error)
            if self.callback is None:
                self.answer = NEED_DATA
        if self.callback is None:  # a callback of the decoder, or Ctrl-C, has cancelled the task meanwhile
            self.result = self._cancel
            return
        self.callback = None
        self.context.run(callback, self)

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

    def _cancel(self) -> None:
        self.result = bool
        raise CancelledError

    # The part of a future that its task uses

    def add_done_callback(self, callback: Callable[[AwaitedRead], object], *, context: Context) -> None:
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

    __slots__ = ("_size", "ends_by_drain")

    def __init__(self, stream: IOStream, size: int, *, ends_by_drain: bool = True) -> None:
        super().__init__(stream, REST)
        self._size = size
        self.ends_by_drain = ends_by_drain

    def missing(self, decoder: FrameDecoder) -> int:
        """Return how many of the bytes are missing."""
        return decoder.missing if decoder.skipping else self._size - decoder.buffered

    def are_next(self, _: object) -> Any:
        """Answer as `are_there`, but only once a frame that is skipped is gone: its bytes are not the next."""
        return NEED_DATA if self.stream.receiver.decoder.drop_skipped() else self.are_there(_)

    def are_there(self, _: object) -> Any:
        """Answer instead of the decoder: True or NEED_DATA."""
        receiver = self.stream.receiver
        if receiver.decoder.streaming:
            raise StreamBusy(IN_PARTS)
        return True if self._size <= receiver.decoder.buffered or receiver.end is not None else NEED_DATA


class Frames(AsyncIterator[T]):
    """The frames of a stream until it ends. Stopping at any point loses nothing."""

    __slots__ = ("_ahead", "_condition", "_receiver", "_stream")

    def __init__(self, stream: IOStream, condition: ReadCondition[T]) -> None:
        self._stream = stream
        self._condition = condition
        self._receiver = stream.receiver  # it would take a look-up more for each frame ("lines" in benchmarks/)
        # The decoder's list of frames cut ahead: as soon as it gives those another way, the list is empty.
        self._ahead: list[T] = _NOTHING

    # Written as a coroutine: an awaitable object made by hand costs four times as much to await.
    async def __anext__(self) -> T:
        frame: Any
        # Frames cut ahead are handed out without another call: half the cost of "frames" in benchmarks/.
        ahead = self._ahead
        if ahead and self._receiver.reader is None:
            frame = ahead.pop()
            if not ahead:
                self._stream.watch_for_end()
        else:
            if type(self) is Frames:
                self.__class__ = WaitingFrames
            frame = await next_answer(self._stream, self._condition, None, None, True, None)
        if events.frame_received is not None:
            self._stream.tap(self._condition, frame)
        return frame  # type: ignore[no-any-return]  # T


class WaitingFrames(Frames[T]):
    """The same as long as none are cut ahead: a task that waits has one coroutine, not two ("idle" in benchmarks/)."""

    __slots__ = ()

    def __anext__(self) -> Coroutine[Any, Any, T]:
        decoder = self._receiver.decoder
        self._ahead = decoder.ahead if decoder.condition is self._condition else _NOTHING
        if not self._ahead and events.frame_received is None:
            return next_answer(self._stream, self._condition, None, None, True, None)
        self.__class__ = Frames  # type: ignore[assignment]  # until it has to wait again
        return self.__anext__()


class Batches(AsyncIterator[list[T]]):
    """All complete frames, as lists of at least one, until the stream ends."""

    __slots__ = ("_condition", "_stream")

    def __init__(self, stream: IOStream, condition: ReadCondition[T]) -> None:
        self._stream = stream
        self._condition = condition

    async def __anext__(self) -> list[T]:
        stream, condition = self._stream, self._condition
        ask = stream.receiver.decoder.next_batch
        frames: list[T] = await next_answer(stream, condition, ask, iterating=True)
        if events.frame_received is not None:
            for frame in frames:
                stream.tap(condition, frame)
        return frames


class FrameBody(PendingRead, AsyncIterator[bytes]):
    """One frame in parts, in constant memory. Leaving the block skips its unread rest.

    Until its last part, no other read may begin in its block: between the parts it is itself the read under way.
    """

    __slots__ = ("_done", "_timeouts")

    busy = IN_PARTS

    def __init__(self, stream: IOStream, condition: ReadCondition[Any], timeouts: ReadTimeouts | None = None) -> None:
        super().__init__(stream, condition, stream.receiver.decoder.next_part)
        self._done = False
        self._timeouts: ReadTimeouts | ReadTimer | None = timeouts or stream.timeouts

    async def __aenter__(self) -> Self:
        self.stream.receiver.claim(self, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._done:
            self._done = True
            self.stream.receiver.decoder.skip_frame()
        self.give_back()

    @property
    def size(self) -> int | None:
        """The payload's size in bytes, as soon as it is known, if that is before its end."""
        return self.stream.receiver.decoder.frame_size

    async def __anext__(self) -> bytes:
        """Return the next part. Cancelling loses nothing."""
        if self._done:
            raise StopAsyncIteration
        stream, receiver = self.stream, self.stream.receiver
        claimed = receiver.reader is self
        if claimed:
            receiver.release()
        if self._timeouts is not None:
            self._timeouts = self._timeouts.begin(stream.loop, receiver.decoder)  # one timer for the whole frame
        try:
            part = await next_answer(stream, self.condition, self.ask, self._timeouts)
            self._done = part is FRAME_END
        finally:
            if claimed and not self._done:
                receiver.reader = self
        if self._done:
            raise StopAsyncIteration
        return part  # type: ignore[no-any-return]  # bytes
