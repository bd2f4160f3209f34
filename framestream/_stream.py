"""IOStream: read and write frames on a channel and an event loop."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypeVar, overload

from framestream._byte_reads import ByteReads
from framestream._callbacks import CallbackRead, FrameHandler, StreamingRead
from framestream._channel import Channel, SocketChannel
from framestream._conditions import Framer, ReadCondition
from framestream._core import StreamCore
from framestream._deadlines import Pace, settle, within
from framestream._errors import FramingError, StreamBusy, StreamClosed, StreamTimeout
from framestream._events import events
from framestream._frames import Batches, FrameBody, FramedStream, Frames
from framestream._named import condition_of
from framestream._raw_reads import peek, read_into, read_rest
from framestream._send_file import send_file
from framestream._write_buffer import as_chunks

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

    from typing_extensions import Unpack

    from framestream._decoder import OnOversize
    from framestream._stream_options import StreamOptions

T = TypeVar("T")
BytesLike: TypeAlias = "bytes | bytearray | memoryview"
Condition: TypeAlias = "ReadCondition[T] | str | None"


@dataclass(frozen=True)
class StreamStats:
    """Counters of one stream since it was opened.

    Attributes:
        bytes_received, bytes_sent: bytes from and to the channel, within TLS if there is TLS.
        frames_received, frames_sent: frames delivered, and frames given to `send`.
        oversize: frames above the limit.
        discarded: bytes skipped because their frame was above the limit.
        payload_errors: frames that could not be decoded.
        waits: how often a read had to wait for the loop.
        read_high_water, write_high_water: the most bytes that were ever buffered.
    """

    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    oversize: int
    discarded: int
    payload_errors: int
    waits: int
    read_high_water: int
    write_high_water: int


class IOStream(ByteReads):
    """Read and write frames on a connection, each by the condition the caller names.

    Make it inside a running event loop. One read at a time; writes from anywhere in the loop's thread.

    Args:
        channel: a connected socket, or any `Channel`; it belongs to the stream from here on.
        framer: what `read`, `frames` and the others use when they are not given a condition, and, if it
            can write, what `send` uses.
        send_framer: what `send` uses, if that is something else.
        options: see `StreamOptions`.
    """

    __slots__ = ("__weakref__", "_core", "_frames_sent", "framer", "send_framer")

    def __init__(
        self,
        channel: Channel | socket.socket,
        *,
        framer: ReadCondition[Any] | str | None = None,
        send_framer: Framer[Any] | str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        if isinstance(channel, socket.socket):
            channel = SocketChannel(channel)
        self.framer: ReadCondition[Any] | None = None
        self.send_framer: Framer[Any] | None = None
        if framer is not None or send_framer is not None:
            self.framer, self.send_framer = _directions(framer, send_framer)
        self._frames_sent = 0
        self._core = StreamCore(self, channel, options)
        events.tell("stream_opened", stream=self)

    def __repr__(self) -> str:
        state = "closed" if self._core.closed else "open"
        return f"<IOStream {self._core.channel.peer} {state}>"

    # Reading frames

    @overload
    def read(
        self,
        condition: ReadCondition[T],
        *,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
        timeout: float | None = ...,
        deadline: float | None = ...,
        min_rate: float | None = ...,
        callback: None = ...,
        streaming_callback: None = ...,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def read(
        self,
        condition: str | None = ...,
        *,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
        timeout: float | None = ...,
        deadline: float | None = ...,
        min_rate: float | None = ...,
        callback: None = ...,
        streaming_callback: None = ...,
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def read(
        self,
        condition: ReadCondition[T],
        *,
        callback: Callable[[T], object],
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
        timeout: float | None = ...,
        deadline: float | None = ...,
        min_rate: float | None = ...,
    ) -> None: ...
    @overload
    def read(
        self,
        condition: Condition[Any] = ...,
        *,
        streaming_callback: Callable[[bytes], object],
        callback: None = ...,
        timeout: float | None = ...,
        deadline: float | None = ...,
        min_rate: float | None = ...,
    ) -> Awaitable[bytes]: ...
    @overload
    def read(
        self,
        condition: Condition[Any] = ...,
        *,
        callback: Callable[[Any], object],
        streaming_callback: Callable[[bytes], object] | None = ...,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
        timeout: float | None = ...,
        deadline: float | None = ...,
        min_rate: float | None = ...,
    ) -> None: ...
    def read(
        self,
        condition: Condition[Any] = None,
        *,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        min_rate: float | None = None,
        callback: Callable[[Any], object] | None = None,
        streaming_callback: Callable[[bytes], object] | None = None,
    ) -> Any:
        """Return the next frame, waiting for it if needed. Cancelling consumes nothing.

        Exactly the frame is consumed; what follows it is for the next read, whatever its condition.

        Args:
            condition: what the frame is: a read condition, or the name or spec string of one; the
                stream's own framer if left out.
            max_size: limit on the payload for this read, in bytes.
            on_oversize: what happens to a frame above the limit, see `FrameDecoder`; ``"close"`` also closes
                the stream.
            timeout: seconds until the frame must be complete.
            deadline: the same as a time on the loop's clock.
            min_rate: bytes per second that the frame must arrive with once it has begun.
            callback: called with the frame in a later pass of the loop; there is nothing to await then,
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
        """
        core = self._core
        if condition is None or type(condition) is str:
            condition = self._receive_framer(condition)
        pace = None
        if timeout is not None or deadline is not None or min_rate is not None:
            pace = _pace(core.pace, timeout, deadline, min_rate)
        if streaming_callback is not None:
            return self._stream_to(streaming_callback, condition, pace, callback)
        ask: Any = core.decoder.next_frame
        if max_size is not None or on_oversize is not None:
            ask = partial(ask, max_size=max_size, on_oversize=on_oversize)
        if callback is not None:
            return CallbackRead(core, ask, condition, callback).start(pace)  # type: ignore[arg-type]
        if events.frame_received is not None:
            return self._read_tapped(ask, condition, pace)  # type: ignore[arg-type]
        return core.next(ask, condition, pace)  # type: ignore[arg-type]

    async def _read_tapped(
        self, ask: Callable[..., Any], condition: ReadCondition[T], pace: Pace | None
    ) -> T:
        frame: T = await self._core.next(ask, condition, pace)
        self._core.tap(condition, frame)
        return frame

    def _stream_to(
        self,
        streaming_callback: Callable[[bytes], object],
        condition: Any,
        pace: Pace | None,
        callback: Callable[[bytes], object] | None,
    ) -> Awaitable[bytes] | None:
        core = self._core
        done: asyncio.Future[bytes] | None = None
        on_error = None
        if callback is None:
            done = core.loop.create_future()
            callback, on_error = settle(done)
        read = StreamingRead(
            core, core.decoder.next_part, condition, callback, on_error, part_callback=streaming_callback
        )
        if done is not None:
            done.add_done_callback(lambda future: read.cancel() if future.cancelled() else None)
        read.start(pace)
        return done

    def frames(self, condition: Condition[T] = None) -> Frames[T]:
        """Iterate over frames until the stream ends cleanly.

        Leaving the loop is safe at any point: the next read begins with the next frame. Raises what
        `read` does, but for a clean end.
        """
        return Frames(self._core, self._receive_framer(condition))

    def batches(self, condition: Condition[T] = None) -> Batches[T]:
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

    def framed(
        self, framer: Framer[T] | str | None = None, send_framer: Framer[T] | str | None = None
    ) -> FramedStream[T]:
        """Return an object that sends and receives frames by this framer."""
        receive: Any = self._receive_framer(framer)
        return FramedStream(self, receive, self._sending(send_framer or framer))

    def on_frame(self, condition: Condition[T], callback: Callable[[T], object]) -> FrameHandler:
        """Call a function with every frame from now on, straight from the loop: the fastest way to serve.

        Nothing else can read until the returned handler's ``stop()``. No frame is delivered while the
        handler is paused, nor while more than `write_high_water` bytes are queued. The end of the stream
        is told by the close callback; an exception in the function closes the stream.
        """
        handler = FrameHandler(self._core, self._receive_framer(condition), callback)
        handler.start()
        return handler

    # Reading bytes

    async def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer if the stream ends before; nothing is consumed."""
        return await peek(self._core, size)

    async def read_into(self, buffer: bytearray | memoryview, *, partial: bool = False) -> int:
        """Fill a buffer of the caller's with received bytes; with `partial`, at least one of them.

        Returns how many. Large ones are received straight into it. Cancelling consumes nothing, but
        the buffer's contents are undefined then.
        """
        return await read_into(self._core, memoryview(buffer).cast("B"), partial=partial)

    async def read_until_close(self, *, max_size: int | None = None, **options: Any) -> bytes:
        """Return everything up to the end of the stream, and close it (unless half open).

        A connection reset by the peer is an end; any other error is a `StreamClosed`.
        """
        return await read_rest(self._core, self.read, max_size, options)

    # Framing

    def switch_framing(
        self,
        framer: ReadCondition[Any] | str,
        send_framer: Framer[Any] | str | None = None,
        *,
        leftover: Literal["keep", "refuse"] = "keep",
    ) -> None:
        """Change the stream's framers for both directions at once, or neither.

        What is received and not yet read goes to the new framer, or, with ``leftover="refuse"``, must
        not exist: where a protocol forbids to send ahead of the switch, such bytes are an attack.

        Raises:
            FramingError: there are such bytes; nothing is changed.
            StreamBusy: a read is under way; nothing is changed.
        """
        if self.reading():
            raise StreamBusy("a read is under way; framing changes between frames")
        directions = _directions(framer, send_framer)
        if leftover == "refuse":
            self._refuse_leftover("the switch of framing")
        self.framer, self.send_framer = directions

    def _refuse_leftover(self, what: str) -> None:
        decoder = self._core.decoder
        if decoder.buffered:
            reason = f"{decoder.buffered} bytes were sent ahead of {what}"
            raise FramingError(reason, offset=decoder.offset, excerpt=decoder.peek(32))

    def _receive_framer(self, condition: Condition[Any]) -> ReadCondition[Any]:
        if condition is not None:
            return condition_of(condition)
        if self.framer is None:
            raise TypeError("no condition given, and the stream has no framer of its own")
        return self.framer

    def _sending(self, framer: Framer[Any] | str | None) -> Framer[Any]:
        chosen = self.send_framer if framer is None else condition_of(framer)
        if chosen is None:
            raise TypeError("no framer given, and the stream has none that can write")
        return writing(chosen)

    # Writing

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
        if type(data) is bytes:
            outbound.write([data], len(data))
        else:
            chunks = as_chunks(data)
            outbound.write(chunks, sum(map(len, chunks)))
        if callback is not None:
            core.call_when_flushed(callback)
        return outbound.flush()

    def send(self, frame: T, framer: Framer[T] | str | None = None) -> Awaitable[None]:
        """Write one frame; awaiting the result waits only while too much is queued.

        That is: above `write_high_water` bytes, until no more than `write_low_water` are left. So frames
        sent in a row leave together. The frame is queued even if nothing awaits the result.

        Raises:
            EncodeError: the frame has no encoding; nothing is written.
            StreamClosed, BufferFull: as for `write`.
        """
        if framer is None or type(framer) is str:
            framer = self._sending(framer)
        data = framer.encode(frame)  # type: ignore[union-attr]
        outbound = self._core.outbound
        if type(data) is bytes:
            outbound.write([data], len(data))
        else:
            chunks = as_chunks(data)
            outbound.write(chunks, sum(map(len, chunks)))
        self._frames_sent += 1
        if events.frame_sent is not None:
            events.frame_sent(stream=self, framer=framer, frame=frame)
        return outbound.room()

    async def drain(self) -> None:
        """Wait while too much is queued: above `write_high_water` bytes, until `write_low_water`."""
        if self._core.closed:
            raise StreamClosed(real_error=self.error)
        await self._core.outbound.room()

    async def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """Send a file, or `count` bytes of it from `offset` on; return how many bytes that were.

        The system copies where it can (a file into a plain socket). Cancelling leaves off in the
        middle of the file.
        """
        return await send_file(self._core, file, offset, count)

    def write_eof(self) -> Awaitable[None]:
        """End this half of the stream behind what is written; awaiting it waits until that has left."""
        self._core.outbound.end()
        return self._core.outbound.flush()

    # TLS

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        timeout: float | None = 60.0,
    ) -> None:
        """Go on under TLS: flush what is written, then shake hands, within `timeout` seconds.

        If the handshake fails, or is cancelled, the stream is closed.

        Raises:
            StreamBusy: a read is under way.
            FramingError: plaintext was received ahead of the handshake. Somebody may have slipped it in, so
                it is refused and the stream is closed.
            ssl.SSLError: the handshake failed; ``ssl.SSLCertVerificationError`` for a bad certificate.
            StreamTimeout, StreamClosed: it took too long; the peer left.
        """
        from framestream._start_tls import start_tls  # noqa: PLC0415

        if self.reading():
            raise StreamBusy("a read is under way; TLS starts between frames")
        try:
            self._refuse_leftover("the TLS handshake")
        except FramingError as error:
            self.close(error)
            raise
        await start_tls(
            self._core,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            timeout=timeout,
        )

    # The end

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Call a function once when the stream is closed, by whomever, behind all other callbacks.

        While it is set, an idle stream notices that the peer closes; for that it may receive one chunk
        that nobody has asked for yet.
        """
        self._core.set_close_callback(callback)

    async def wait_closed(self) -> None:
        """Wait until the stream is closed, by whomever; an idle stream notices that the peer closes.

        Cancelling the wait changes nothing.
        """
        await self._core.wait_closed()

    def end_input(self) -> None:
        """Take what has arrived for the end: whoever reads sees a clean end behind the last frame of it.

        A frame that has begun may still be completed. Writing goes on. This is how a server lets its
        connections finish what they are at.
        """
        self._core.inbound.finish()

    def close(self, error: BaseException | None = None) -> None:
        """Close at once, because of `error` if given; do nothing if the stream is closed.

        What is not sent is lost; what is buffered can still be read. A pending read is completed if what
        is there completes it, else it raises `StreamClosed`.
        """
        self._core.close(error)

    async def aclose(self, timeout: float | None = 10.0) -> None:
        """Send what is written, then close. After `timeout` seconds, or when cancelled, close anyway.

        Raises nothing if the peer takes no more: there is nobody left to tell.
        """
        core = self._core
        outbound = core.outbound
        try:
            if not core.closed and outbound.pending:
                outbound.refuse()
                await within(core.loop, outbound.flush(), timeout)
        except (StreamClosed, StreamTimeout):
            pass
        finally:
            core.close()

    async def __aenter__(self) -> IOStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            await self.aclose()
        else:
            self.close()

    # What it is

    @property
    def error(self) -> BaseException | None:
        """What closed the stream; None while it is open and after an orderly close."""
        return self._core.error

    def closed(self) -> bool:
        """Tell whether the stream is closed."""
        return self._core.closed

    def reading(self) -> bool:
        """Tell whether a read is under way, or a frame is being streamed."""
        return self._core.inbound.busy is not None or self._core.decoder.streaming

    def writing(self) -> bool:
        """Tell whether something that was written has still to leave."""
        return self._core.outbound.pending

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop the stream belongs to."""
        return self._core.loop

    @property
    def channel(self) -> Channel:
        """What the stream reads from and writes to."""
        return self._core.channel

    @property
    def peer(self) -> str:
        """Who is on the other side, as text."""
        return self._core.channel.peer

    @property
    def buffered(self) -> int:
        """Bytes received and not yet read."""
        return self._core.decoder.buffered

    @property
    def leftover(self) -> bytes:
        """A copy of everything received and not yet read; nothing is consumed."""
        return self._core.decoder.leftover

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (True), or let TCP wait for more (False); nothing where there is no TCP."""
        sock = self._core.channel.socket
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, value)

    @property
    def stats(self) -> StreamStats:
        """The counters as they are now."""
        core = self._core
        received, buffer = core.decoder.stats, core.outbound.buffer
        return StreamStats(
            bytes_received=received.received,
            bytes_sent=buffer.sent + buffer.passed,
            frames_received=received.frames,
            frames_sent=self._frames_sent,
            oversize=received.oversize,
            discarded=received.discarded,
            payload_errors=received.payload_errors,
            waits=core.inbound.waits,
            read_high_water=received.high_water,
            write_high_water=buffer.high_water,
        )


def _directions(
    framer: ReadCondition[Any] | str | None, send_framer: Framer[Any] | str | None
) -> tuple[ReadCondition[Any] | None, Framer[Any] | None]:
    reading = None if framer is None else condition_of(framer)
    if send_framer is not None:
        return reading, writing(condition_of(send_framer))
    return reading, reading if isinstance(reading, Framer) else None


def writing(framer: ReadCondition[Any]) -> Framer[Any]:
    """Return the condition if it can also write, else raise ``TypeError``."""
    if not isinstance(framer, Framer):
        raise TypeError(f"{framer} can only read; sending takes a framer")
    return framer


def _pace(usual: Pace | None, timeout: float | None, deadline: float | None, min_rate: float | None) -> Pace:
    usual = usual or Pace()
    if timeout is None and deadline is None:
        timeout = usual.timeout
    rate = usual.rate if min_rate is None else min_rate
    return Pace(timeout, deadline, usual.idle, rate, usual.grace)
