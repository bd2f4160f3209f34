"""The reading half of `IOStream`: frames, one by one, in batches, in parts, by callback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar, overload

from framestream._events import events
from framestream.checks import check_rate, check_seconds, check_time
from framestream.decoder import END, OnOversize
from framestream.framer import ReadCondition
from framestream.iterate import condition_of
from framestream.stream._awaited_read import next_answer, next_frame
from framestream.stream._begun import BegunRead, Settled
from framestream.stream._callback_reads import CallbackRead, StreamingRead
from framestream.stream._callbacks import in_context
from framestream.stream._deadlines import Pace, settle
from framestream.stream._frame_handler import FrameHandler
from framestream.stream._frames import Batches, FrameBody, Frames

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Unpack

    from framestream.stream._core import StreamCore

T = TypeVar("T")
S = TypeVar("S", bound=Settled[Any])
Condition: TypeAlias = "ReadCondition[T] | str | None"


class ReadLimits(TypedDict, total=False):
    """What can be limited about one read; None leaves it as it is for the stream.

    Attributes:
        max_size: limit on the payload, in bytes.
        on_oversize: what happens to a frame above it, see `FrameDecoder`; ``"close"`` also closes the stream.
        timeout: seconds until the frame must be complete.
        deadline: the same as a time on the loop's clock.
        min_rate: bytes per second that the frame must arrive with once it has begun.
    """

    max_size: int | None
    on_oversize: OnOversize | None
    timeout: float | None
    deadline: float | None
    min_rate: float | None


class FrameReads:
    """Read frames, each by the condition the caller names. One read at a time."""

    __slots__ = ()

    _core: StreamCore
    framer: ReadCondition[Any] | None

    @overload
    def read(self, condition: ReadCondition[T], **limits: Unpack[ReadLimits]) -> Coroutine[Any, Any, T]: ...
    @overload
    def read(self, condition: str | None = ..., **limits: Unpack[ReadLimits]) -> Coroutine[Any, Any, Any]: ...
    @overload
    def read(
        self,
        condition: Condition[T] = ...,
        *,
        callback: Callable[[T], object],
        **limits: Unpack[ReadLimits],
    ) -> None: ...
    @overload
    def read(
        self,
        condition: Condition[Any] = ...,
        *,
        callback: Callable[[bytes], object],
        streaming_callback: Callable[[bytes], object],
        **limits: Unpack[ReadLimits],
    ) -> None: ...
    @overload
    def read(
        self,
        condition: Condition[Any] = ...,
        *,
        streaming_callback: Callable[[bytes], object],
        **limits: Unpack[ReadLimits],
    ) -> Awaitable[bytes]: ...
    def read(self, condition: Condition[Any] = None, **options: Any) -> Any:
        """Return the next frame, waiting for it if needed. Cancelling consumes nothing.

        Exactly the frame is consumed; what follows it is for the next read, whatever its condition.

        Args:
            condition: what the frame is: a read condition, or the name or spec string of one; the
                stream's own framer if left out.
            max_size, on_oversize, timeout, deadline, min_rate: see `ReadLimits`.
            callback: called with the frame in a later pass of the loop. There is nothing to await then,
                and an error other than the end of the stream closes the stream.
            streaming_callback: called with the payload piece by piece as it becomes final, not decoded;
                the frame itself is then ``b""``. No limit of size applies.

        Raises:
            FramingError: the bytes can be no such frame; nothing can be read behind it.
            FrameTooLarge, IncompleteFrame, PayloadError: see `FrameDecoder.next_frame`.
            StreamClosed: the stream ended before the frame began, or was closed or reset;
                ``real_error`` tells which. What is already buffered can still be read.
            StreamTimeout: a limit of time is passed; nothing is consumed, and the stream is usable.
            StreamBusy: another read is still under way.
            OSError: receiving failed, and not because the peer is gone; the stream is closed.
        """
        if condition is None or type(condition) is str:
            condition = self._receive_framer(condition)
        core = self._core
        if options or events.frame_received is not None:
            return self._read_with(condition, **options)  # type: ignore[arg-type]
        # The way of most reads: one coroutine, which never waits if the frame is there.
        return next_frame(core, condition)  # type: ignore[arg-type]

    def _read_with(
        self,
        condition: ReadCondition[Any],
        *,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        min_rate: float | None = None,
        callback: Callable[[Any], object] | None = None,
        streaming_callback: Callable[[bytes], object] | None = None,
    ) -> Any:
        core = self._core
        pace = None if timeout is deadline is min_rate is None else self._pace(timeout, deadline, min_rate)
        if callback is not None:
            callback = in_context(callback)
        if streaming_callback is not None:
            return self._stream_to(in_context(streaming_callback), condition, pace, callback)
        ask: Any = core.decoder.next_frame
        if max_size is not None or on_oversize is not None:
            ask = partial(ask, max_size=max_size, on_oversize=on_oversize)
        if callback is not None:
            core.check_not_in_parts()
            return CallbackRead(core, ask, condition, callback).start(pace)
        return self._read_tapped(ask, condition, pace)

    def _pace(self, timeout: float | None, deadline: float | None, min_rate: float | None) -> Pace:
        check_seconds("timeout", timeout, optional=True)
        check_time("deadline", deadline)
        if min_rate is not None:
            check_rate("min_rate", min_rate)
        return (self._core.pace or Pace()).but(timeout, deadline, min_rate)

    async def _read_tapped(
        self, ask: Callable[..., Any], condition: ReadCondition[T], pace: Pace | None
    ) -> T:
        frame: Any = await next_answer(self._core, ask, condition, pace)
        if frame is END:
            raise self._core.ended() from self._core.error
        self._core.tap(condition, frame)
        return frame  # type: ignore[no-any-return]  # T

    def _stream_to(
        self,
        part_callback: Callable[[bytes], object],
        condition: ReadCondition[Any],
        pace: Pace | None,
        callback: Callable[[bytes], object] | None,
    ) -> Awaitable[bytes] | None:
        core = self._core
        ask = core.decoder.next_part
        if callback is not None:
            StreamingRead(core, ask, condition, callback, part_callback=part_callback).start(pace)
            return None
        done: asyncio.Future[bytes] = core.loop.create_future()
        read = StreamingRead(core, ask, condition, *settle(done), part_callback=part_callback)
        done.add_done_callback(read.cancel_with)
        read.start(pace)
        return done

    @overload
    def begin_read(self, condition: ReadCondition[T], **limits: Unpack[ReadLimits]) -> asyncio.Future[T]: ...
    @overload
    def begin_read(
        self, condition: str | None = ..., **limits: Unpack[ReadLimits]
    ) -> asyncio.Future[Any]: ...
    @overload
    def begin_read(
        self, condition: Condition[Any] = ..., *, settle: S, **limits: Unpack[ReadLimits]
    ) -> S: ...
    def begin_read(
        self,
        condition: Condition[Any] = None,
        *,
        settle: Any = None,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        min_rate: float | None = None,
    ) -> Any:
        """Begin to read the next frame now, and return a future of it: `read` without a coroutine.

        What is there is read at once, so the future may be done already. Cancelling it consumes nothing,
        and another read may begin at once.

        Args:
            condition: see `read`.
            settle: what to settle in place of a new future, and to return: anything with ``done()``,
                ``set_result(frame)`` and ``set_exception(error)``. They must not raise.
            max_size, on_oversize, timeout, deadline, min_rate: see `ReadLimits`.

        Raises:
            StreamBusy: another read is still under way.
            OSError: receiving failed just now, and not because the peer is gone; the stream is closed.

        Everything else that `read` raises, or what `IOStream.translate_error` makes of it, is the exception
        of the future; nobody need look at it.
        """
        if condition is None or type(condition) is str:
            condition = self._receive_framer(condition)
        core = self._core
        if settle is None:
            settle = core.loop.create_future()
        ask: Any = core.decoder.next_frame
        if max_size is not None or on_oversize is not None:
            ask = partial(ask, max_size=max_size, on_oversize=on_oversize)
        read = BegunRead(core, ask, condition, settle)  # type: ignore[arg-type]  # no string any more
        read.start(
            None if timeout is deadline is min_rate is None else self._pace(timeout, deadline, min_rate)
        )
        return settle

    @overload
    def frames(self, condition: ReadCondition[T]) -> Frames[T]: ...
    @overload
    def frames(self, condition: str | None = ...) -> Frames[Any]: ...
    def frames(self, condition: Condition[Any] = None) -> Frames[Any]:
        """Iterate over frames until the stream ends cleanly.

        Leaving the loop is safe at any point: the next read begins with the next frame. Raises what
        `read` does, but for a clean end.
        """
        return Frames(self._core, self._receive_framer(condition))

    @overload
    def batches(self, condition: ReadCondition[T]) -> Batches[T]: ...
    @overload
    def batches(self, condition: str | None = ...) -> Batches[Any]: ...
    def batches(self, condition: Condition[Any] = None) -> Batches[Any]:
        """Iterate over everything that is there, as lists of frames: the cheapest way to read many."""
        return Batches(self._core, self._receive_framer(condition))

    def open_frame(self, condition: Condition[Any] = None) -> FrameBody:
        """Read one frame of any size in parts, in constant memory.

        ::

            async with stream.open_frame(LengthPrefix(8)) as body:
                async for part in body:
                    ...

        The parts are the payload as it is on the wire. Leaving the block early skips the rest.
        """
        return FrameBody(self._core, self._receive_framer(condition))

    def on_frame(self, condition: Condition[T], callback: Callable[[T], object]) -> FrameHandler:
        """Call a function with every frame from now on, straight from the loop: the fastest way to serve.

        Nothing else can read until the returned handler's ``stop()``. No frame is delivered while the
        handler is paused, nor while more than `write_high_water` bytes are queued. The end of the stream
        is told by the close callback; an exception in the function closes the stream. The stream's limits
        of time do not apply: a handler has no read that could take too long.
        """
        handler = FrameHandler(self._core, self._receive_framer(condition), callback)
        handler.start()
        return handler

    def _receive_framer(self, condition: Condition[Any]) -> ReadCondition[Any]:
        if condition is not None:
            return condition_of(condition)
        if self.framer is None:
            raise TypeError("no condition given, and the stream has no framer of its own")
        return self.framer
