"""A stream of frames over a stream of bytes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, Unpack, overload

from anyio.abc import ByteStream, ObjectStream
from anyio.lowlevel import checkpoint_if_cancelled

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfStream,
    Lock,
    aclose_forcefully,
)
from framestream import (
    END,
    NEED_DATA,
    FrameDecoder,
    Framer,
    FrameTooLarge,
    ReadCondition,
    StreamBusy,
    StreamClosed,
)
from framestream.decoder import OnOversize
from framestream.framer import writing
from framestream.iterate import CHUNK_SIZE, Options, condition_of
from framestream.stream.stream import SendFramer, directions

F = TypeVar("F")
T = TypeVar("T")


# Errors belong to both libraries' classes: code written for anyio's streams, and code written for
# framestream's, catches the ones it knows.


class FramedEnd(StreamClosed, EndOfStream):
    """The stream has ended in good order, between two frames."""


class FramedClosed(StreamClosed, ClosedResourceError):
    """The stream was closed on this side."""


class FramedBroken(StreamClosed, BrokenResourceError):
    """The connection is broken, or takes no more; ``real_error`` tells why."""


class FramedBusy(StreamBusy, BusyResourceError):
    """Another task is receiving."""


@overload
def framed(
    stream: ByteStream,
    framer: ReadCondition[T],
    send_framer: Framer[T] | None = ...,
    **options: Unpack[Options],
) -> FramedStream[T]: ...
@overload
def framed(
    stream: ByteStream,
    framer: ReadCondition[Any] | str | None = ...,
    send_framer: SendFramer = ...,
    **options: Unpack[Options],
) -> FramedStream[Any]: ...
def framed(
    stream: ByteStream,
    framer: ReadCondition[Any] | str | None = None,
    send_framer: SendFramer = None,
    **options: Unpack[Options],
) -> FramedStream[Any]:
    """Return a stream of frames over a stream of bytes: TCP, a Unix socket, TLS, the pipes of a program.

    Args:
        stream: any of anyio's, such as ``await anyio.connect_tcp(...)``; the returned stream owns it.
        framer: what to receive and send by default: a condition, name or spec string.
        send_framer: what to send, if different.
        options: the limits, see `framestream.FrameDecoder`: ``max_frame_size`` (1 MiB), ``on_oversize``,
            ``on_discard``, ``on_payload_error``.
    """
    return FramedStream(stream, *directions(framer, send_framer), FrameDecoder(**options))


class FramedStream(ObjectStream[F], Generic[F]):
    """Send and receive frames; ``async for frame in stream`` ends when the stream ends in good order.

    One task receives at a time. Any number may send: each frame leaves whole.

    Attributes:
        framer, send_framer: the default framers for receiving and sending.
    """

    def __init__(
        self,
        stream: ByteStream,
        framer: ReadCondition[F] | None,
        send_framer: Framer[Any] | None,
        decoder: FrameDecoder,
    ) -> None:
        self.framer = framer
        self.send_framer = send_framer
        self._stream = stream
        self._decoder = decoder
        self._is_receiving = False
        self._is_closed = False
        self._lost: BaseException | None = None  # what broke the connection
        self._sending = Lock()
        self._sends_no_more = ""  # because of this

    @overload
    async def receive(
        self,
        condition: None = ...,
        *,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
    ) -> F: ...
    @overload
    async def receive(
        self,
        condition: ReadCondition[T],
        *,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
    ) -> T: ...
    @overload
    async def receive(
        self,
        condition: str,
        *,
        max_size: int | None = ...,
        on_oversize: OnOversize | None = ...,
    ) -> Any: ...
    async def receive(
        self,
        condition: ReadCondition[Any] | str | None = None,
        *,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
    ) -> Any:
        """Return the next frame, waiting for it if needed. Cancelling consumes nothing.

        Exactly the frame is consumed; the bytes after it are for the next call, with any condition. A frame
        that has arrived is returned at once, without a checkpoint; there is one for every chunk of bytes.

        Args:
            condition: what the frame is; the stream's own framer if left out.
            max_size: limit on the payload in bytes, instead of the stream's.
            on_oversize: what happens to a larger frame, see `framestream.FrameDecoder`; ``"close"`` also
                closes the stream.

        Raises:
            FramingError: the bytes cannot be a frame; nothing after them can be received.
            FrameTooLarge, IncompleteFrame, PayloadError: see `framestream.FrameDecoder.next_frame`.
            FramedEnd: the stream has ended before the frame began.
            FramedClosed, FramedBroken: it was closed here, or is broken. Bytes that arrived before can still
                be received.
            FramedBusy: another task is receiving.
        """
        chosen = self.framer if condition is None else condition_of(condition)
        if chosen is None:
            raise TypeError("no condition given, and the stream has no framer of its own")
        if self._is_receiving:
            raise FramedBusy("receiving from")
        self._is_receiving = True
        try:
            while (frame := self._decoder.next_frame(chosen, max_size, on_oversize)) is NEED_DATA:
                await self._receive_more()
        except FrameTooLarge as error:
            if error.closing:
                self._is_closed = True
                await aclose_forcefully(self._stream)
            raise
        finally:
            self._is_receiving = False
        if frame is END:
            raise FramedEnd("stream ended")
        return frame

    async def _receive_more(self) -> None:
        inside = "stream closed inside a frame" if self._decoder.buffered else "stream is closed"
        if self._is_closed:
            raise FramedClosed(inside)
        if self._lost is not None:
            raise FramedBroken(inside, real_error=self._lost) from self._lost
        try:
            self._decoder.receive_data(await self._stream.receive(CHUNK_SIZE))
        except EndOfStream:
            self._decoder.receive_eof()
        except ClosedResourceError as error:
            self._is_closed = True
            raise FramedClosed(inside) from error
        except BrokenResourceError as error:
            self._lost = error.__cause__ or error
            raise FramedBroken(inside, real_error=self._lost) from error

    async def send(self, frame: Any, framer: Framer[Any] | str | None = None) -> None:
        """Send one frame, after those of other tasks.

        Cancelling a call that has begun to send may truncate the frame, since the number of bytes that have
        left is unknown. Nothing can be sent after it then, but receiving continues.

        Raises:
            EncodeError: the frame has no encoding; nothing is sent.
            FramedClosed, FramedBroken: the stream is closed, or takes no more.
        """
        chosen = self.send_framer if framer is None else condition_of(framer)
        if chosen is None:
            raise TypeError("no framer given, and the stream has none that can write")
        data = writing(chosen).encode(frame)
        async with self._sending:
            self._check_can_send()
            await checkpoint_if_cancelled()
            self._sends_no_more = "a frame was truncated when its send was cancelled"
            try:
                await self._stream.send(data if isinstance(data, bytes) else b"".join(data))
            except ClosedResourceError as error:
                raise FramedClosed from error
            except BrokenResourceError as error:
                cause = error.__cause__ or error
                self._sends_no_more = "the peer takes no more"
                raise FramedBroken(self._sends_no_more, real_error=cause) from error
            self._sends_no_more = ""

    async def send_eof(self) -> None:
        """End this half of the stream after every frame; receiving continues.

        Raises:
            FramedClosed, FramedBroken: the stream is closed, or takes no more.
            NotImplementedError: anyio's TLS cannot do it.
        """
        async with self._sending:
            self._check_can_send()
            await self._stream.send_eof()
            self._sends_no_more = "the end of the stream was sent"

    def _check_can_send(self) -> None:
        if self._is_closed:
            raise FramedClosed
        if self._sends_no_more:
            raise FramedBroken(self._sends_no_more)

    async def aclose(self) -> None:
        """Close the stream. Bytes that have arrived can still be received."""
        self._is_closed = True
        try:
            await self._stream.aclose()
        except ssl.SSLError:  # from the close_notify of TLS
            if self._lost is None:
                raise

    def framed(self, framer: ReadCondition[T] | str, send_framer: SendFramer = None) -> FramedStream[T]:
        """Set the framers for receiving and sending, and return the stream itself; no byte is lost.

        Raises:
            FramedBusy: a task is receiving; nothing is changed.
        """
        if self._is_receiving:
            raise FramedBusy("receiving from")
        self.framer, self.send_framer = directions(framer, send_framer)
        return self  # type: ignore[return-value]  # from here on it is

    @property
    def leftover(self) -> bytes:
        """A copy of all bytes that have arrived and are not received yet; nothing is consumed."""
        return self._decoder.leftover

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the stream of bytes: addresses, the socket, the TLS parameters."""
        return self._stream.extra_attributes
