"""Reads and writes that settle a future, as Tornado's do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from framestream import FrameTooLarge
from framestream.stream import CallbackRead
from framestream.transport import is_reset
from framestream_tornado._errors import StreamClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from framestream import IOStream, ReadCondition, StreamClosed


class FutureRead(CallbackRead):
    """One pending read that ends in a future. Cancelling the future consumes nothing.

    Args:
        stream: what to read from.
        condition: what to read.
        max_size: the most bytes that it may take.
        translate: turns our errors into the future's exception.
        convert: turns the bytes into the future's result.

    Attributes:
        future: the future that the caller has.
    """

    __slots__ = ("_translate", "future")

    has_caller = True

    def __init__(
        self,
        stream: IOStream,
        condition: ReadCondition[bytes],
        max_size: int,
        translate: Callable[[BaseException], BaseException],
        convert: Callable[[bytes], Any] = bytes,
    ) -> None:
        ask = partial(stream.receiver.decoder.next_frame, max_size=max_size, on_oversize="raise")
        super().__init__(stream, condition, ask, convert)
        self._translate = translate
        self.future: asyncio.Future[Any] = ReadFuture(stream)

    def deliver(self, frame: bytes) -> None:
        """End the read with a frame."""
        self.stream.tap(self.condition, frame)
        settle(self.future, self.callback(frame))

    def end_with(self, error: BaseException) -> None:
        """End the read with an error, in Tornado's words."""
        settle(self.future, self._translate(error))


class RestRead(FutureRead):
    """Read all bytes up to the end, which closes the stream; a reset is an end, too."""

    __slots__ = ()

    def deliver(self, frame: bytes) -> None:
        """Close the stream, and end the read."""
        self.stream.close()
        super().deliver(frame)

    def end_with(self, error: BaseException) -> None:
        """Close the stream; the bytes left are the rest, unless they are too many or it was truncated."""
        stream = self.stream
        if not isinstance(error, FrameTooLarge):
            stream.close()
            if stream.error is None or is_reset(stream.error):
                settle(self.future, stream.receiver.decoder.take_leftover())
                return
        super().end_with(error)


class ReadFuture(asyncio.Future[Any]):
    """The result of a read; cancelling it gives the stream's reading back at once."""

    def __init__(self, stream: IOStream) -> None:
        super().__init__(loop=stream.loop)
        self._stream = stream

    def cancel(self, msg: Any = None) -> bool:
        """End the read: the next one sees the same bytes."""
        if not super().cancel(msg):
            return False
        self._stream.receiver.release()
        self._stream.watch_for_end()
        return True


class WriteFuture(asyncio.Future[None]):
    """Done when the bytes have left; if they never will, the exception need not be retrieved."""

    def settle(self, lost: StreamClosed | None) -> None:
        """End, with an error of ours in Tornado's words if there is one."""
        settle(self, None if lost is None else StreamClosedError(real_error=lost.real_error))


def settle(future: asyncio.Future[Any] | None, outcome: object) -> None:
    """End a future, if it is not done; its exception need not be retrieved."""
    if future is None or future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
        future.exception()
    else:
        future.set_result(outcome)
