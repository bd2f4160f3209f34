"""A conversation: objects sent and received, each direction by a framing of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from framestream.framer import Framer, ReadCondition

if TYPE_CHECKING:
    from framestream.stream._stream import IOStream

T = TypeVar("T")


class FramedStream(Generic[T]):
    """Send and receive objects: a stream with its framing already chosen, for each direction."""

    __slots__ = ("receive_framer", "send_framer", "stream")

    def __init__(self, stream: IOStream, receive_framer: ReadCondition[T], send_framer: Framer[T]) -> None:
        self.stream = stream
        self.receive_framer = receive_framer
        self.send_framer = send_framer

    def send(self, frame: T) -> Awaitable[None]:
        """Write one frame; awaiting it waits while too much is queued, see `IOStream.send`."""
        return self.stream.send(frame, self.send_framer)

    async def receive(self, *, timeout: float | None = None) -> T:
        """Return the next frame. Cancelling consumes nothing. Raises what `IOStream.read` does."""
        return await self.stream.read(self.receive_framer, timeout=timeout)

    def __aiter__(self) -> AsyncIterator[T]:
        return self.stream.frames(self.receive_framer)

    async def aclose(self) -> None:
        """Close the stream, behind what was written."""
        await self.stream.aclose()

    async def __aenter__(self) -> FramedStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stream.__aexit__(kind, error, trace)
