"""The writing half of `IOStream`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

from framestream._events import events
from framestream.errors import StreamClosed
from framestream.framer import Framer
from framestream.iterate import condition_of
from framestream.stream._begun import BegunWrite, Settled
from framestream.stream._callbacks import in_context
from framestream.stream._flush import DONE
from framestream.stream._framing import writing
from framestream.stream._send_file import send_file
from framestream.stream._write_buffer import BytesLike, as_chunks

if TYPE_CHECKING:
    import asyncio

    from framestream.stream._core import StreamCore

T = TypeVar("T")
S = TypeVar("S", bound=Settled[None])


class Writes:
    """Write bytes, frames and files, in order, from anywhere in the loop's thread."""

    __slots__ = ()

    _core: StreamCore
    send_framer: Framer[Any] | None

    def write(
        self, data: BytesLike | Sequence[BytesLike], callback: Callable[[], object] | None = None
    ) -> Awaitable[None]:
        """Write bytes; awaiting the result waits until they have left.

        They are queued even if nothing awaits the result, and cancelling the wait does not take them back.
        No buffer is copied: do not change one before it has left.

        Args:
            data: a buffer, or several that belong together.
            callback: called in a later pass of the loop once they have left.

        Raises:
            StreamClosed: the stream is closed, at once or while waiting.
            BufferFull: more than `max_write_buffer_size` bytes would be queued; nothing is written.
        """
        core = self._core
        outbound = core.outbound
        is_out = outbound.write(data if type(data) is bytes else as_chunks(data))
        if callback is not None:
            core.call_when_flushed(in_context(callback))
        return DONE if is_out else outbound.flush()

    @overload
    def begin_write(self, data: BytesLike | Sequence[BytesLike]) -> asyncio.Future[None]: ...
    @overload
    def begin_write(self, data: BytesLike | Sequence[BytesLike], *, settle: S) -> S: ...
    def begin_write(self, data: BytesLike | Sequence[BytesLike], *, settle: Any = None) -> Any:
        """Write bytes, and return a future that is done when they have left: for code without coroutines.

        The future may be done already. If they never leave, its exception is `StreamClosed`, or what
        `IOStream.translate_error` makes of it; nobody need look at it.

        Args:
            data: see `write`.
            settle: what to settle in place of a new future, and to return: anything with ``done()``,
                ``set_result(None)`` and ``set_exception(error)``. They must not raise.

        Raises:
            StreamClosed, BufferFull: as `write` does at once; nothing is written.
        """
        core = self._core
        outbound = core.outbound
        is_out = outbound.write(data if type(data) is bytes else as_chunks(data))
        if settle is None:
            settle = core.loop.create_future()
        if is_out:
            settle.set_result(None)
        else:
            outbound.tell(BegunWrite(core.stream, settle))
        return settle

    def send(self, frame: T, framer: Framer[T] | str | None = None) -> Awaitable[None]:
        """Write one frame; awaiting the result waits only while too much is queued.

        That is: above `write_high_water` bytes, until no more than `write_low_water` are left. So frames
        sent in a row leave together. The frame is queued even if nothing awaits the result.

        Raises:
            EncodeError: the frame has no encoding; nothing is written.
            StreamClosed, BufferFull: as for `write`.
        """
        chosen: Any = framer
        if framer is None or type(framer) is str:
            chosen = self._sending(framer)
        try:
            encode = chosen.encode
        except AttributeError:
            encode = writing(chosen).encode
        data = encode(frame)
        core = self._core
        outbound = core.outbound
        is_out = outbound.write(data if type(data) is bytes else as_chunks(data))
        core.frames_sent += 1
        if events.frame_sent is not None:
            events.frame_sent(stream=self, framer=chosen, frame=frame)
        return DONE if is_out else outbound.room()

    async def drain(self) -> None:
        """Wait while too much is queued: above `write_high_water` bytes, until `write_low_water`."""
        if self._core.closed:
            raise StreamClosed(real_error=self._core.error)
        await self._core.outbound.room()

    async def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """Send a file, or `count` bytes of it, from `offset` on; return how many bytes that were.

        The system copies where it can (a file into a plain socket). What is written meanwhile leaves
        behind the file. Cancelling leaves off in the middle of it; so does what the file raises.
        """
        return await send_file(self._core, file, offset, count)

    def write_eof(self) -> Awaitable[None]:
        """End this half of the stream behind what is written; awaiting it waits until that has left."""
        self._core.outbound.end()
        return self._core.outbound.flush()

    def _sending(self, framer: Framer[Any] | str | None) -> Framer[Any]:
        chosen = self.send_framer if framer is None else condition_of(framer)
        if chosen is None:
            raise TypeError("no framer given, and the stream has none that can write")
        return writing(chosen)
