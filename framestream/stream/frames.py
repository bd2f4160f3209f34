"""Iteration over a stream: frames, batches, the parts of one frame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

from framestream._events import events
from framestream.decoder import FRAME_END, IN_PARTS
from framestream.stream.reads import Claim, next_answer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from framestream.framer import ReadCondition
    from framestream.stream.stream import IOStream
    from framestream.stream.timeouts import ReadTimer

T = TypeVar("T")


class Frames(AsyncIterator[T]):
    """The frames of a stream until it ends. Stopping at any point loses nothing."""

    __slots__ = ("_condition", "_decoder", "_receiver", "_stream")

    def __init__(self, stream: IOStream, condition: ReadCondition[T]) -> None:
        self._stream = stream
        self._condition = condition
        self._receiver = stream.receiver
        self._decoder = stream.receiver.decoder

    # Written as a coroutine: an awaitable object made by hand costs four times as much to await.
    async def __anext__(self) -> T:
        frame: Any
        # Frames cut ahead are handed out without another call: half the cost of "frames" in benchmarks/.
        decoder = self._decoder
        if decoder.ahead and decoder.condition is self._condition and self._receiver.reader is None:
            frame = decoder.ahead.pop()
        else:
            frame = await next_answer(self._stream, self._condition, iterating=True)
        if events.frame_received is not None:
            self._stream.tap(self._condition, frame)
        return frame  # type: ignore[no-any-return]  # T


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


class FrameBody(AsyncIterator[bytes]):
    """One frame in parts, in constant memory. Leaving the block skips its unread rest."""

    __slots__ = ("_claim", "_done", "_stream", "_timer")

    def __init__(self, stream: IOStream, condition: ReadCondition[Any]) -> None:
        self._stream = stream
        # Until its last part, no other read may begin in its block.
        self._claim = Claim(stream, condition, IN_PARTS)
        self._done = False
        self._timer: ReadTimer | None = None

    async def __aenter__(self) -> Self:
        self._stream.receiver.claim(self._claim, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        receiver = self._stream.receiver
        if not self._done:
            self._done = True
            receiver.decoder.skip_frame()
        if receiver.reader is self._claim:
            receiver.release()
            self._stream.watch_for_end()

    @property
    def size(self) -> int | None:
        """The payload's size in bytes, as soon as it is known, if that is before its end."""
        return self._stream.receiver.decoder.frame_size

    async def __anext__(self) -> bytes:
        """Return the next part. Cancelling loses nothing."""
        if self._done:
            raise StopAsyncIteration
        stream, receiver = self._stream, self._stream.receiver
        decoder, claimed = receiver.decoder, receiver.reader is self._claim
        if claimed:
            receiver.release()
        if stream.timeouts is not None and self._timer is None:
            self._timer = stream.timeouts.begin(stream.loop, decoder)  # one for the whole frame
        try:
            part = await next_answer(stream, self._claim.condition, decoder.next_part, self._timer)
            self._done = part is FRAME_END
        finally:
            if claimed and not self._done:
                receiver.reader = self._claim
        if self._done:
            raise StopAsyncIteration
        return part  # type: ignore[no-any-return]  # bytes
