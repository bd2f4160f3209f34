"""Frames one by one, in batches, and in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from framestream._events import events
from framestream.decoder import END, FRAME_END, NEED_DATA
from framestream.errors import FrameTooLarge, IncompleteFrame, because
from framestream.framer import ReadCondition
from framestream.stream._awaited_read import AwaitedRead, next_answer

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore
    from framestream.stream._deadlines import ReadTimer

T = TypeVar("T")


class Frames(AsyncIterator[T]):
    """The frames of a stream until it ends. Leaving off at any point loses nothing."""

    __slots__ = ("_condition", "_core", "_decoder", "_inbound")

    def __init__(self, core: StreamCore, condition: ReadCondition[T]) -> None:
        self._core = core
        self._condition = condition
        self._decoder = core.decoder
        self._inbound = core.inbound

    # Written as a coroutine: an awaitable object made by hand costs four times as much to await.
    async def __anext__(self) -> T:
        frame: Any
        # What is cut ahead is handed out with no further call: half the cost.
        decoder = self._decoder
        frames = decoder.ahead
        if frames and decoder.condition is self._condition and self._inbound.free:
            frame = frames.pop()
        else:
            core = self._core
            # As `next_answer`, with no coroutine of its own.
            if not core.inbound.free:
                core.make_free()
            try:
                frame = core.decoder.next_frame(self._condition)
                if frame is NEED_DATA:
                    frame = await AwaitedRead(core, self._condition)
            except (IncompleteFrame, FrameTooLarge) as error:
                raise because(core.explain(error), core.error)
            if frame is END:
                raise because(core.stop_iteration(), core.error)
        if events.frame_received is not None:
            self._core.tap(self._condition, frame)
        return frame  # type: ignore[no-any-return]  # T


class Batches(AsyncIterator[list[T]]):
    """Everything that is there, as lists of at least one frame, until the stream ends."""

    __slots__ = ("_condition", "_core")

    def __init__(self, core: StreamCore, condition: ReadCondition[T]) -> None:
        self._core = core
        self._condition = condition

    async def __anext__(self) -> list[T]:
        core = self._core
        frames: Any = await next_answer(core, core.decoder.next_batch, self._condition)
        if frames is END:
            raise because(core.stop_iteration(), core.error)
        if events.frame_received is not None:
            for frame in frames:
                core.tap(self._condition, frame)
        return frames  # type: ignore[no-any-return]  # list[T]


class FrameBody(AsyncIterator[bytes]):
    """One frame in parts, in constant memory. Leaving the block skips what was not read of it."""

    __slots__ = ("_condition", "_core", "_done", "_timer")

    def __init__(self, core: StreamCore, condition: ReadCondition[Any]) -> None:
        self._core = core
        self._condition = condition
        self._done = False
        self._timer: ReadTimer | None = None

    async def __aenter__(self) -> FrameBody:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._done:
            self._done = True
            self._core.decoder.skip_frame()

    @property
    def size(self) -> int | None:
        """The payload's size in bytes as soon as it is known, if it is known before its end."""
        return self._core.decoder.frame_size

    async def __anext__(self) -> bytes:
        """Return the next part. Cancelling loses nothing."""
        if self._done:
            raise StopAsyncIteration
        core = self._core
        if core.pace is not None and self._timer is None:
            self._timer = core.pace.begin(core.loop, core.decoder)  # one for the whole frame
        part = await next_answer(core, core.decoder.next_part, self._condition, self._timer)
        if part is END:
            raise because(core.ended(), core.error)
        if part is FRAME_END:
            self._done = True
            raise StopAsyncIteration
        return part  # type: ignore[no-any-return]  # bytes
