"""IOStream: read and write frames on a transport and an event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Required, TypedDict, get_args, overload
from weakref import proxy

from framestream._events import events
from framestream.decoder import FrameDecoder, OnOversize
from framestream.errors import (
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
    check_choice,
    check_count,
    check_seconds,
    counted,
    describe_os_error,
    printable,
    unknown_options,
)
from framestream.framer import Framer, ReadCondition, check_condition, meant_by, writing
from framestream.framers.amounts import Available, Exactly
from framestream.iterate import F, Options, T, condition_of
from framestream.stream.callbacks import CallbackRead, Callbacks, FrameHandler, StreamingRead, in_context
from framestream.stream.options import DEFAULTS, StreamOptions, check_options
from framestream.stream.reads import REST, AwaitedBytes, Batches, FrameBody, PendingRead, WaitingFrames, next_answer
from framestream.stream.receiver import ENDED, End, EndKind, Receiver
from framestream.stream.sender import BEING_CLOSED, DONE, PEER_ENDED, BytesLike, Sender
from framestream.stream.timeouts import ReadTimeouts, within
from framestream.transport.base import Transport, is_reset, settle

if TYPE_CHECKING:
    from typing import Self, TypeAlias, Unpack

    from framestream.stream.reads import Frames

ReadBy: TypeAlias = "ReadCondition[T] | str"
Condition: TypeAlias = "ReadBy[T] | None"
SendFramer: TypeAlias = "Framer[Any] | str | None"
OnBytes: TypeAlias = "Callable[[bytes], object]"
Leftover: TypeAlias = Literal["keep", "refuse"]
Problem: TypeAlias = Literal["read", "write", "buffer", "oversize", "callback", "frame"]

_LEFTOVERS: Final = get_args(Leftover)

logger = logging.getLogger("framestream")

_ids: Final = itertools.count(1)

# One line in the log for each kind of problem of a stream.
_LINES: Final[dict[str, tuple[int, str]]] = {
    "read": (logging.WARNING, "error on read: %s"),
    "write": (logging.WARNING, "error on write: %s"),
    "buffer": (logging.ERROR, "%s, closing the stream"),
    "oversize": (logging.INFO, "%s, closing the stream"),
    "callback": (logging.ERROR, "uncaught exception in a callback, closing the stream: %s"),
    "frame": (logging.WARNING, "skipping a frame, and from now on others without a word: %s"),
}
# What options of one read are called in `read_until`, and for the whole stream.
_OF_READS_ELSEWHERE: Final = {"max_bytes": "max_size", "max_frame_size": "max_size", "frame_timeout": "timeout"}
# Seconds that remain for a TLS handshake when no more input is wanted.
_HANDSHAKE_GRACE: Final = 0.5
# Bytes that a peer may still send after the end, before it notices; they are discarded.
_MOST_TO_DISCARD: Final = 1 << 24


class ReadLimits(TypedDict, total=False):
    """The limits of one read; None keeps the stream's own.

    Attributes:
        max_size: limit on the payload, in bytes.
        on_oversize: what happens to a larger frame, see `FrameDecoder`; ``"close"`` also closes the stream.
        timeout: seconds until the frame must be complete.
        min_rate: bytes per second at which the frame must arrive once it has begun.
    """

    max_size: int | None
    on_oversize: OnOversize | None
    timeout: float | None
    min_rate: float | None


class StreamingLimits(ReadLimits):
    """The limits of a read whose payload goes to a function piece by piece."""

    streaming_callback: Required[OnBytes]


@dataclass
class StreamStats:
    """Counters of one stream since it was opened.

    Attributes:
        bytes_received, bytes_sent: bytes from and to the transport; with TLS, before encryption.
        frames_received, frames_sent: frames delivered, and frames given to `send`.
        oversize: frames above the limit.
        discarded: bytes skipped because their frame was above the limit.
        payload_errors: frames that could not be decoded.
        broken: 1 once nothing more can be read, because of the framing; 0 until then.
    """

    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    oversize: int
    discarded: int
    payload_errors: int
    broken: int


class IOStream(Generic[F]):
    """Read and write frames on a connection, each by the condition the caller names.

    One read at a time; writes from anywhere in the loop's thread. ``async for frame in stream`` is
    ``stream.frames()``.

    Args:
        transport: a connected socket, or any `Transport`; the stream owns it from here on.
        framer: used by `read`, `frames` and the others if they are called without a condition, and, if it
            can write, by `send`.
        send_framer: used by `send`, if different.
        loop: the event loop of the stream; the running one if left out.
        options: see `StreamOptions`.

    Attributes:
        framer, send_framer: the stream's own framers.
        id: its number in this process, from 1 up; log records have it as ``connection``.
        half_open: whether it stays open for writing after the peer has ended its half and a reader has seen
            that end; None: until a task awaits `wait_closed`, and so has no more to write.
        proxy_header: the header in which a load balancer named the client, a
            ``framestream_proxy.ProxyHeader``; None unless `serve` was told to expect one.
        server: the `Server` that accepted it, in a worker process the worker's own; None for other streams.
            Once it is not ``ready``, a handler should end its conversation with the next frame.
        receiver, sender, timeouts, callbacks: its parts; for code that defines its own reads.
    """

    # fmt: off
    __slots__ = (
        "__weakref__", "_callbacks", "_end", "_frames_sent", "_handshake", "framer", "half_open", "id",
        "loop", "proxy_header", "receiver", "send_framer", "sender", "server", "timeouts",
    )
    # fmt: on

    def __init__(
        self,
        transport: Transport | socket.socket,
        *,
        framer: Condition[F] = None,
        send_framer: SendFramer = None,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        self.loop = loop = loop or asyncio.get_running_loop()
        if not isinstance(transport, Transport):
            from framestream.transport import transport_over  # noqa: PLC0415 - most are given a transport

            transport = transport_over(transport, loop)
        check_options(options)
        settings = {**DEFAULTS, **options} if options else DEFAULTS
        self.framer, self.send_framer = directions(framer, send_framer)
        self.id = next(_ids)
        self._end: End | None = None
        self._frames_sent = 0
        self.proxy_header: Any = None
        self.server: Any = None
        self.half_open: bool | None = settings["half_open"]
        self._handshake: asyncio.Future[None] | None = None
        self._callbacks: Callbacks | None = None
        frame, idle, rate = settings["frame_timeout"], settings["idle_timeout"], settings["min_rate"]
        is_limited = rate or frame is not None or idle is not None
        self.timeouts = ReadTimeouts(frame, idle, rate, settings["rate_grace"]) if is_limited else None
        decoder = FrameDecoder(**{name: settings[name] for name in Options.__annotations__})
        decoder.begin_turn()
        self.receiver = Receiver(self, transport, decoder, settings)
        self.sender = Sender(self, self.receiver, settings)
        transport.attach(self.receiver, loop)
        events.tell("stream_opened", stream=self)

    def __repr__(self) -> str:
        return f"<IOStream {self.peer} {'closed' if self.closed() else 'open'}>"

    # Reading frames

    @overload
    def read(self, condition: None = ..., **limits: Unpack[ReadLimits]) -> Coroutine[Any, Any, F]: ...
    @overload
    def read(self, condition: ReadBy[T], **limits: Unpack[ReadLimits]) -> Coroutine[Any, Any, T]: ...
    @overload
    def read(
        self, condition: Condition[T] = ..., *, callback: Callable[[T], object], **limits: Unpack[ReadLimits]
    ) -> None: ...
    @overload
    def read(
        self, condition: Condition[Any] = ..., *, callback: OnBytes, **limits: Unpack[StreamingLimits]
    ) -> None: ...
    @overload
    def read(self, condition: Condition[Any] = ..., **limits: Unpack[StreamingLimits]) -> Awaitable[bytes]: ...
    def read(self, condition: Condition[Any] = None, **options: Any) -> Any:
        """Return the next frame, waiting for it if needed. Cancelling consumes nothing.

        It consumes exactly the frame; the bytes after it are for the next read, with any condition.

        Args:
            condition: what the frame is: a read condition, or the name or spec string of one; the
                stream's own framer if left out.
            max_size, on_oversize, timeout, min_rate: see `ReadLimits`.
            callback: called with the frame in a later pass of the loop. There is nothing to await then,
                and an error other than the end of the stream closes the stream.
            streaming_callback: called with the payload piece by piece as it becomes final, not decoded;
                the frame itself is then ``b""``. No size limit applies.

        Raises:
            FramingError: the bytes cannot be a frame; nothing after them can be read.
            FrameTooLarge, IncompleteFrame, PayloadError: see `FrameDecoder.next_frame`.
            StreamClosed: the stream ended before the frame began, or was closed, reset or broken;
                ``real_error`` tells which. Bytes already buffered can still be read.
            StreamTimeout: a time limit is passed; nothing is consumed, and the stream is usable.
            StreamBusy: another read is still under way.
        """
        if condition is None or type(condition) is str:
            condition = self._receiving(condition)
        if options or events.frame_received is not None:
            return self._read_with(condition, **options)  # type: ignore[arg-type]
        # Most reads take this path: one coroutine, which never waits if the frame is there.
        return next_answer(self, condition)  # type: ignore[arg-type]

    def _read_with(
        self,
        condition: ReadCondition[Any],
        *,
        callback: Callable[[Any], object] | None = None,
        streaming_callback: OnBytes | None = None,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
        timeout: float | None = None,
        min_rate: float | None = None,
        **unknown: object,
    ) -> Any:
        if unknown:
            known = {"callback", *StreamingLimits.__annotations__}
            raise unknown_options("unknown option of a read", unknown, known, _OF_READS_ELSEWHERE)
        check_condition(condition)
        check_count("max_size", max_size, optional=True)
        is_timed = timeout is not None or min_rate is not None
        timeouts = (self.timeouts or ReadTimeouts()).but(timeout, min_rate) if is_timed else None
        if callback is not None:
            callback = in_context(callback)
        if streaming_callback is not None:
            on_part = in_context(streaming_callback)
            if callback is None:
                return self._read_streaming(condition, on_part, timeouts)
            StreamingRead(self, condition, on_part, callback).start(timeouts)
            return None
        ask = None
        if max_size is not None or on_oversize is not None:
            ask = partial(self.receiver.decoder.next_frame, max_size=max_size, on_oversize=on_oversize)
        if callback is not None:
            CallbackRead(self, condition, ask, callback).start(timeouts)
            return None
        return self._read_tapped(condition, ask, timeouts)

    async def _read_tapped(
        self, condition: ReadCondition[T], ask: Callable[..., Any] | None, timeouts: ReadTimeouts | None
    ) -> T:
        frame: T = await next_answer(self, condition, ask, timeouts)
        self.tap(condition, frame)
        return frame

    async def _read_streaming(
        self, condition: ReadCondition[Any], on_part: OnBytes, timeouts: ReadTimeouts | None
    ) -> bytes:
        async with FrameBody(self, condition, timeouts) as body:
            async for part in body:
                self.callbacks.soon(on_part, part)
                await asyncio.sleep(0)  # no more is received before it has run
        return b""

    @overload
    def frames(self, condition: None = ...) -> Frames[F]: ...
    @overload
    def frames(self, condition: ReadBy[T]) -> Frames[T]: ...
    def frames(self, condition: Condition[Any] = None) -> Frames[Any]:
        """Iterate over frames until the stream ends cleanly.

        Leaving the loop is safe at any point: the next read begins with the next frame. Raises the same as
        `read`, except for a clean end.
        """
        return WaitingFrames(self, self._receiving(condition))

    def __aiter__(self) -> Frames[F]:
        return self.frames()

    @overload
    def batches(self, condition: None = ...) -> Batches[F]: ...
    @overload
    def batches(self, condition: ReadBy[T]) -> Batches[T]: ...
    def batches(self, condition: Condition[Any] = None) -> Batches[Any]:
        """Iterate over all complete frames, as lists: the cheapest way to read many."""
        return Batches(self, self._receiving(condition))

    def open_frame(self, condition: Condition[Any] = None) -> FrameBody:
        """Read one frame of any size in parts, in constant memory.

        ::

            async with stream.open_frame(LengthPrefix(8)) as body:
                async for part in body:
                    ...

        The parts are the payload as it was sent, not decoded. Leaving the block early skips the rest of a
        frame that has begun.
        """
        return FrameBody(self, self._receiving(condition))

    def on_frame(self, condition: Condition[T], callback: Callable[[T], object]) -> FrameHandler:
        """Call a function with every frame from now on, directly from the loop: the fastest way to serve.

        No other read is possible until the returned handler's ``stop()``. No frame is delivered while the
        handler is paused, nor while more than `write_high_water` bytes are queued. The close callback
        reports the end of the stream; an exception in the function closes the stream, and is logged unless it
        is that of a write which found the peer gone. The stream's time limits do not apply: a handler has no
        read that could take too long.
        """
        handler = FrameHandler(self, self._receiving(condition), callback)
        handler.start()
        return handler

    def _receiving(self, condition: Condition[Any]) -> ReadCondition[Any]:
        if condition is not None:
            return condition_of(condition)
        if self.framer is None:
            raise TypeError("no condition given, and the stream has no framer of its own")
        return self.framer

    # Reading bytes. These methods take the options of `read` as `options`, and return what it returns:
    # an awaitable, or None with a `callback`.

    def read_bytes(self, size: int, *, partial: bool = False, **options: Any) -> Any:
        """Return exactly `size` bytes; with `partial`, at least one and at most `size`."""
        return self.read(Available(size) if partial and size else Exactly(size), **options)

    def read_until(self, delimiter: bytes | tuple[bytes, ...], *, max_bytes: int | None = None, **options: Any) -> Any:
        """Return all bytes up to a delimiter, and the delimiter.

        If that is more than `max_bytes`, it is a `FrameTooLarge` and the stream is closed.
        """
        from framestream.framers import Delimiter  # noqa: PLC0415 - most streams need none

        return self.read(Delimiter(delimiter, keep=True), **_limited(max_bytes, options))

    def read_until_regex(self, pattern: bytes, *, max_bytes: int | None = None, **options: Any) -> Any:
        """Return all bytes up to the end of the first match; `max_bytes` is as for `read_until`."""
        from framestream.framers import Regex  # noqa: PLC0415 - most streams need none

        return self.read(Regex(pattern), **_limited(max_bytes, options))

    def read_until_close(self, **options: Any) -> Any:
        """Return all bytes up to the end of the stream, and close it (unless half open).

        The limit is `max_buffer_size` unless `max_size` is given. A reset by the peer is an
        end; any other disconnect is a `StreamClosed`.
        """
        if options.get("streaming_callback") is None:
            options = {"max_size": self.receiver.max_buffer_size, **options}
        reading = self.read(REST, **options)
        return None if reading is None else self._rest(reading)

    async def _rest(self, reading: Awaitable[bytes]) -> bytes:
        rest = await reading
        self.note_end()
        return rest

    async def read_into(self, buffer: bytearray | memoryview, *, partial: bool = False) -> int:
        """Fill a buffer of the caller's; with `partial`, with at least one byte. Return how many.

        Cancelling consumes nothing.
        """
        with memoryview(buffer) as view, view.cast("B") as place:
            if place.readonly:
                raise TypeError("read_into needs a buffer that can be written")
            data = await self.read_bytes(len(place), partial=partial)
            place[: len(data)] = data
            return len(data)

    async def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer if the stream ends before. Nothing is consumed."""
        check_count("size", size)
        read = AwaitedBytes(self, size)
        await next_answer(self, REST, read.are_next, read=read)
        return self.receiver.decoder.peek(size)

    # Writing

    def write(
        self, data: BytesLike | Sequence[BytesLike], callback: Callable[[], object] | None = None
    ) -> Awaitable[None]:
        """Write bytes; awaiting the result waits until they have left.

        They are queued even if the result is not awaited, and cancelling the wait does not take them back.
        No buffer is copied: do not change one before it has left.

        Args:
            data: a buffer, or several that belong together.
            callback: called in a later pass of the loop once they have left.

        Raises:
            StreamClosed: the stream is closed, at once or while waiting.
            BufferFull: more than `max_write_buffer_size` bytes would be queued; nothing is written.
        """
        sender = self.sender
        if callback is not None:
            callback = in_context(callback)  # refuses a wrong one before anything is written
        is_out = sender.write(data)
        if callback is not None:
            soon = partial(self.callbacks.soon, callback)
            sender.when_sent(lambda lost: None if lost else soon())
        return DONE if is_out else sender.flush()

    @overload
    def send(self, frame: F, framer: None = ...) -> Awaitable[None]: ...
    @overload
    def send(self, frame: T, framer: Framer[T] | str) -> Awaitable[None]: ...
    def send(self, frame: Any, framer: SendFramer = None) -> Awaitable[None]:
        """Write one frame; awaiting the result waits only while too many bytes are queued.

        That is: above `write_high_water` bytes, until no more than `write_low_water` are left. So frames
        sent in a row leave together. The frame is queued even if the result is not awaited.

        Raises:
            EncodeError: the frame has no encoding; nothing is written.
            FramerContractError: `encode` returned no bytes; nothing is written.
            StreamClosed, BufferFull: as for `write`.
        """
        chosen: Any = framer
        if framer is None or type(framer) is str:
            chosen = self._sending(framer)
        try:
            data = chosen.encode(frame)
        except (AttributeError, TypeError):
            writing(chosen)  # suggests what was meant, if that is the reason
            raise
        except SystemExit as error:
            raise FramerContractError("encode raised SystemExit", framer=str(chosen)) from error
        try:
            is_out = self.sender.write(data)
        except TypeError as error:
            reason = f"encode returned {type(data).__name__}: {error}"
            raise FramerContractError(reason, framer=str(chosen)) from error
        self._frames_sent += 1
        if events.frame_sent is not None:
            events.frame_sent(stream=self, framer=chosen, frame=frame)
        return DONE if is_out else self.sender.room()

    async def drain(self) -> None:
        """Wait while too many bytes are queued: above `write_high_water`, until `write_low_water`."""
        if self._end is not None:
            raise StreamClosed(real_error=self.error)
        await self.sender.room()

    def write_eof(self) -> Awaitable[None]:
        """End this half of the stream after the queued bytes; awaiting it waits until all have left."""
        self.sender.end()
        return self.sender.flush()

    def _sending(self, framer: SendFramer) -> Framer[Any]:
        chosen = self.send_framer if framer is None else condition_of(framer)
        if chosen is None:
            raise TypeError("no framer given, and the stream has none that can write")
        return writing(chosen)

    # Framing

    @overload
    def framed(
        self, framer: ReadCondition[T], send_framer: Framer[T] | None = ..., *, leftover: Leftover = ...
    ) -> IOStream[T]: ...
    @overload
    def framed(
        self, framer: ReadBy[Any], send_framer: SendFramer = ..., *, leftover: Leftover = ...
    ) -> IOStream[Any]: ...
    def framed(
        self, framer: ReadBy[Any], send_framer: SendFramer = None, *, leftover: Leftover = "keep"
    ) -> IOStream[Any]:
        """Set the framers for reading and sending, and return the stream itself.

        Both directions change, or neither. Bytes received and not yet read go to the new framer. With
        ``leftover="refuse"`` there must be none: in a protocol that forbids sending before the switch,
        such bytes are an attack.

        Raises:
            FramingError: there are such bytes; nothing is changed.
            ValueError: `leftover` is no such word; nothing is changed.
            StreamBusy: a read is under way; nothing is changed.
        """
        if self.reading():
            raise StreamBusy("a read is under way; framing changes between frames")
        check_choice("leftover", leftover, _LEFTOVERS)
        chosen = directions(framer, send_framer)
        if leftover == "refuse":
            self._refuse_leftover("the switch of framing")
        self.framer, self.send_framer = chosen
        return self

    def _refuse_leftover(self, what: str) -> None:
        decoder = self.receiver.decoder
        if decoder.buffered:
            size = decoder.buffered
            reason = f"{counted(size, 'byte')} {'was' if size == 1 else 'were'} sent ahead of {what}"
            raise FramingError(reason, offset=decoder.offset, excerpt=decoder.peek(32))

    # TLS

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        timeout: float | None = 60.0,
        leftover: Leftover = "refuse",
        truncation_is_end: bool = False,
    ) -> None:
        """Continue under TLS: flush queued bytes, then shake hands, within `timeout` seconds.

        Bytes written meanwhile leave encrypted. If the handshake fails, or is cancelled, the stream is
        closed.

        Args:
            context: certificates, verification, protocols offered; see `client_tls` and `server_tls`.
            server_side: wait for the peer to begin the handshake.
            server_hostname: the host name that the certificate must have.
            timeout: seconds for all of it.
            leftover: what to do with bytes received before the handshake and not read.
                ``"refuse"`` is for protocols that agree on TLS in plain text (STARTTLS): such bytes are an
                attack, unless they are the client's part of the handshake, which a server may have received
                by now. ``"keep"`` treats them as the beginning of the handshake.
            truncation_is_end: treat a connection that ends without TLS's close_notify as
                ended, for peers known to leave it out. Otherwise it was truncated, perhaps by
                an attacker, and reads raise `StreamClosed` with an ``ssl.SSLEOFError``.

        Raises:
            ValueError: the context checks the host name and `server_hostname` is missing, or it is given on
                the server's side, or is no host name, or `timeout` is not a time, or `leftover` is no such word;
                nothing is done.
            TypeError: `context` is not an ``ssl.SSLContext``, or `server_hostname` is not text; nothing is done.
            StreamBusy: a read is under way, or the rest of a skipped frame is still to come; nothing is done.
            FramingError: plaintext was received before the handshake. An attacker may have inserted it, so
                it is refused and the stream is closed.
            ssl.SSLError: the handshake failed; ``ssl.SSLCertVerificationError`` for a bad certificate.
            StreamTimeout, StreamClosed: it took too long; the peer left, or the stream was closed here.
        """
        from framestream.transport.tls import TLSTransport  # noqa: PLC0415 - most need no TLS

        receiver, sender = self.receiver, self.sender
        receiver.decoder.drop_skipped()
        if self.reading() or receiver.decoder.skipping:
            raise StreamBusy("a read is under way, or a frame is being skipped; TLS starts between frames")
        check_seconds("timeout", timeout, optional=True)
        check_choice("leftover", leftover, _LEFTOVERS)
        tls = TLSTransport(
            receiver.transport,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            truncation_is_end=truncation_is_end,
        )
        sender.check_can_write()
        decoder = receiver.decoder
        claim = _Handshake(self, REST)
        receiver.claim(claim, None)
        try:
            # A client's handshake begins with this record, and no text begins so (RFC 8446, section 5.1).
            # It may have arrived already: the client has had our consent for a while.
            if leftover == "refuse" and not (server_side and b"\x16\x03".startswith(decoder.peek(2))):
                self._refuse_leftover("the TLS handshake")
            # From here on no other write may leave before the handshake is done.
            sender.hold()
            async with within(timeout, "TLS handshake not done"):
                await sender.flush()
                if receiver.end is None:  # otherwise there is no peer to shake hands with
                    receiver.replace_transport(tls)
                    self._handshake = tls.shake_hands(decoder.take_leftover() if decoder.held else b"")
                    await self._handshake
            if receiver.end is not None:
                raise StreamClosed("stream closed during the TLS handshake", real_error=self.error)
        except BaseException as error:
            self.close(error)
            raise
        finally:
            sender.let_go()
            self._handshake = None
            claim.give_back()

    # The end

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Call a function once when the stream is closed, by either side, after all other callbacks.

        While it is set, an idle stream notices that the peer closes.
        """
        self.callbacks.on_close = None if callback is None else in_context(callback)
        if self._end is not None:
            self.callbacks.close()
        elif callback is not None:
            self.watch_for_end()

    async def wait_closed(self) -> None:
        """Wait until the stream is closed, by either side; an idle stream notices that the peer closes.

        Cancelling the wait changes nothing.
        """
        if self.half_open is None:
            self.half_open = False
        if self._end is None:
            waiters, waiter = self.callbacks.waiters, self.loop.create_future()
            waiters.append(waiter)
            try:
                self.watch_for_end()
                await waiter
            finally:
                waiters.remove(waiter)

    def watch_for_end(self) -> None:
        """Notice the end of the stream without a read, if a callback or task waits for it."""
        if self._end is not None or self._handshake is not None:
            return
        if self._callbacks is None or not self._callbacks.await_end:
            return
        if self.receiver.end is None:
            self.receiver.watch()
        else:
            self.loop.call_soon(self._close_if_over)

    def _close_if_over(self) -> None:
        # A callback that has still to run may write: the frame it is for came before the end.
        receiver = self.receiver
        if receiver.reader is None and not receiver.decoder.buffered and not self.callbacks.pending:
            self.note_end()

    def end_input(self) -> None:
        """Treat the bytes that have arrived as all: readers see a clean end after their last frame.

        A frame that has begun may still be completed; a TLS handshake that has begun has half a second
        for that. Writing continues. A server uses this to let its connections finish what they have begun.
        """
        self.receiver.drain()
        if self._handshake is not None:
            self.loop.call_later(_HANDSHAKE_GRACE, self._give_up, self._handshake)

    def _give_up(self, handshake: asyncio.Future[None]) -> None:
        if self._handshake is handshake:
            self.close()

    def close(self, error: BaseException | None = None) -> None:
        """Close at once, because of `error` if given; do nothing if the stream is closed.

        Bytes that the system does not take at once are lost; buffered bytes can still be read. A pending read
        is completed if buffered bytes complete it, else it raises `StreamClosed`.
        """
        if self._end is None:
            self._end = End(EndKind.CLOSED, error)
            self._close()

    def _close(self) -> None:
        end, transport = self._end, self.receiver.transport
        assert end is not None
        if end.error is not None:
            events.tell("stream_failed", stream=self, error=end.error)
        if logger.isEnabledFor(logging.DEBUG):  # the fields take a call to the system
            logger.debug("stream closed", extra={**self.log_fields, "error": end.error})
        if not self.loop.is_closed():
            self.sender.send_what_is_taken()
            self._say_goodbye(transport)
            self.receiver.set_end(end, at_once=False)
            self.sender.error, self.sender.stream = self.sender.error or end.error, None  # type: ignore[assignment]
            self.sender.close()
            if self._handshake is not None:
                settle(self._handshake, StreamClosed("stream closed during the TLS handshake", real_error=end.error))
            if self._callbacks is not None:
                self._callbacks.close()
        transport.close()
        # Without cycles, a closed stream is freed with the last reference to it. Left to the garbage collector, each
        # TLS connection took fresh memory, and a page fault or two ("tls-handshake" in benchmarks/).
        self.receiver.stream, self.receiver.kept_pause = proxy(self), None
        events.tell("stream_closed", stream=self)

    def _say_goodbye(self, transport: Transport) -> None:
        # To a peer, a reset or the end of TLS without a close_notify means truncation. So end the connection
        # in good order if everything was sent.
        if self.error is not None or self.sender.pending:
            return
        if transport.needs_close_notify and self.sender.eof_due is None:
            try:
                transport.shutdown()
            except OSError:
                return
        transport.discard()

    async def aclose(self, timeout: float | None = 10.0, *, linger: float = 0) -> None:
        """Send queued bytes, then close. After `timeout` seconds, or when cancelled, close anyway.

        With `linger`, if received bytes are unread, first end this half and give the peer that many
        seconds to notice; up to 16 MiB that it sends until then are discarded. Closing at once would reset
        the connection, and the peer may then lose the last bytes sent to it.

        Raises nothing if the peer takes no more.
        """
        check_seconds("timeout", timeout, optional=True)
        check_seconds("linger", linger)
        sender = self.sender
        discarding: asyncio.Task[None] | None = None
        try:
            sender.refuse(BEING_CLOSED)
            if self.receiver.transport.needs_close_notify and self._end is None:
                sender.end()  # wait for the end like any other bytes
            if linger and await self._has_unread():
                sender.end()
                discarding = asyncio.ensure_future(self._discard_input())
            if sender.pending:
                async with within(timeout, "closing not done"):
                    await sender.flush()
            if discarding is not None:
                await asyncio.wait([discarding], timeout=linger)
        except (StreamClosed, StreamTimeout):
            pass
        finally:
            self.close()
            if discarding is not None:
                discarding.cancel()
                await asyncio.wait([discarding])  # until then its read keeps others out

    async def _has_unread(self) -> bool:
        # A system that closes a connection over unread bytes, or receives more of them, resets it,
        # and then the peer may lose bytes sent to it before. A peer that has sent nothing costs nothing.
        receiver = self.receiver
        if receiver.end is not None or self.sender.error or self.reading():
            return False
        if not receiver.decoder.buffered and not receiver.transport.receive_now():
            receiver.watch()  # it may only push: by then it has pushed what has arrived
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return bool(receiver.decoder.buffered) and receiver.state is not ENDED and not self.reading()

    async def _discard_input(self) -> None:
        decoder = self.receiver.decoder
        most = decoder.received + _MOST_TO_DISCARD
        with suppress(FramestreamError):
            while self.receiver.end is None and decoder.received < most:
                read = AwaitedBytes(self, 1, ends_by_drain=False)
                await next_answer(self, REST, read.are_there, read=read)
                decoder.take_leftover()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Exception):
            await self.aclose()
        else:
            self.close()

    # For its parts

    @property
    def callbacks(self) -> Callbacks:
        """The runner of callbacks; made on first use."""
        if self._callbacks is None:
            self._callbacks = Callbacks(self)
        return self._callbacks

    def on_input_end(self, end: End) -> None:
        """Close after a broken connection; after a clean end, only if no read will meet it."""
        if end.is_clean:
            self.watch_for_end()
        elif end.kind is not EndKind.CLOSED:
            if end.kind is EndKind.FAILED and end.error is not None:
                self.log_problem("read", end.error)
            self.close(end.error)

    def on_write_error(self, error: BaseException) -> None:
        """Close, unless the peer only takes no more: what it has sent, or still sends, can be read."""
        if self._end is not None:
            return
        if not is_reset(error):
            self.log_problem("write", error)
            self.close(error)
            return
        # A peer that has ended its half, and then closed, only misses our end: it was sent everything.
        only_end = self.receiver.end is not None and self.sender.pending and not self.sender.size
        self.sender.fail(error)
        # Another end that has arrived was caused by this error, except that of a program.
        self._end = End(EndKind.CLOSED, None if only_end or self.transport.may_read_no_more else error)
        self.receiver.receive_rest()
        if self.receiver.end is None:
            self._end = None
        else:
            self._close()

    def ended(self, *, iterating: bool = False) -> Exception:
        """Return what ends a read, or an iteration, at the end of the stream, and close if that is due."""
        self.note_end()
        if iterating and self.error is None:
            return StopAsyncIteration()
        return StreamClosed("stream ended", real_error=self.error)

    def note_end(self, error: BaseException | None = None) -> None:
        """Close, unless half open, after a reader has seen the end: first send the queue."""
        if self._end is not None:
            return
        if self.sender.error is not None:
            self.close(error)
        elif self.half_open is False:
            self.sender.refuse(PEER_ENDED)
            self.sender.when_sent(lambda lost: None if lost else self.close(error))

    def explain(self, error: BaseException, *, keep: bool = False) -> BaseException:
        """Return the error to raise for this error of the decoder, and close the stream if its rule says so.

        With `keep`, the stream keeps an incomplete frame as its error, since no caller can receive it.
        """
        if isinstance(error, IncompleteFrame):
            end = self.receiver.end
            if self._end is not None and (self.error is not None or end is None or not end.is_clean):
                return StreamClosed("stream closed inside a frame", real_error=self.error)
            self.note_end(error if keep else None)
        elif isinstance(error, FrameTooLarge) and error.closing:
            self.log_problem("oversize", error)
            self.close(error)
        return error

    def skips(self, error: BaseException) -> bool:
        """Return True for an error that cost only its own frame: a read without a caller continues.

        The first is logged, and `stats` counts the others: a peer does not decide how long a log gets.
        """
        passing = isinstance(error, PayloadError) or (isinstance(error, FrameTooLarge) and error.recoverable)
        if passing and not self.callbacks.has_skipped:
            self.callbacks.has_skipped = True
            self.log_problem("frame", error)
        return passing

    def tap(self, condition: ReadCondition[Any], frame: Any) -> None:
        """Show a frame that is about to be delivered to the plugins that asked for it."""
        if events.frame_received is not None:
            events.frame_received(stream=self, condition=condition, frame=frame)

    def log_problem(self, problem: Problem, error: BaseException) -> None:
        """Log the reason for closing or skipping: one line with the peer on the logger ``framestream``.

        A subclass may log elsewhere, or in other words. It must not raise.

        Args:
            problem: ``"read"`` or ``"write"``: the transport failed, and not because the peer is gone;
                ``"buffer"``: a read would need more than `max_buffer_size`; ``"oversize"``: a frame is
                above its limit, and the policy is ``"close"``; ``"callback"``: a function of the
                user's raised; ``"frame"``: a frame that cannot be decoded, or is above its limit, is skipped,
                since no caller can receive the error; only for the first.
            error: the exception at hand.
        """
        level, text = _LINES[problem]
        if isinstance(error, StreamTimeout):
            level = logging.INFO  # a slow peer is no fault of this program
        # Only a callback's error comes with its traceback, since only that is a bug.
        trace = error if problem == "callback" else None
        what = describe_os_error(error) if trace is None else type(error).__name__
        logger.log(level, f"%s: {text}", printable(self.peer), what, exc_info=trace, extra=self.log_fields)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of every log record about this stream, as its `extra`: the stream, its id, its peer."""
        return {"stream": self, "connection": self.id, "peer": self.peer}

    # State

    @property
    def error(self) -> BaseException | None:
        """The error that closed the stream; None while it is open and after an orderly close."""
        return None if self._end is None else self._end.error

    def closed(self) -> bool:
        """Tell whether the stream is closed."""
        return self._end is not None

    def reading(self) -> bool:
        """Tell whether a read is under way, or a frame is being streamed."""
        return self.receiver.reader is not None or self.receiver.decoder.streaming

    def writing(self) -> bool:
        """Tell whether written bytes have still to leave."""
        return self.sender.pending

    @property
    def transport(self) -> Transport:
        """The transport that the stream reads from and writes to."""
        return self.receiver.transport

    @property
    def peer(self) -> str:
        """The other side's address, as text."""
        return self.receiver.transport.peer

    @property
    def buffered(self) -> int:
        """Bytes received and not yet read."""
        return self.receiver.decoder.buffered

    @property
    def leftover(self) -> bytes:
        """A copy of everything received and not yet read; nothing is consumed."""
        return self.receiver.decoder.leftover

    @property
    def stats(self) -> StreamStats:
        """The counters as they are now."""
        got = self.receiver.decoder.stats
        not_delivered = (got.oversize, got.discarded, got.payload_errors, got.broken)
        return StreamStats(got.received, self.sender.sent, got.frames, self._frames_sent, *not_delivered)


class _Handshake(PendingRead):
    """Keeps others from reading while TLS begins."""

    __slots__ = ()

    busy = "TLS is being started; await that first"


def directions(framer: Condition[Any], send_framer: SendFramer) -> tuple[ReadCondition[Any] | None, Framer[Any] | None]:
    # The framers to read and write with: the same one, if it can write.
    for name, given in (("framer", framer), ("send_framer", send_framer)):
        if not (given is None or isinstance(given, ReadCondition | str)):
            raise TypeError(f"{name} is {given!r}; it must be a condition, a name or a spec string{meant_by(given)}")
    reading = None if framer is None else condition_of(framer)
    if send_framer is not None:
        return reading, writing(condition_of(send_framer))
    return reading, reading if isinstance(reading, Framer) else None


def _limited(max_bytes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if max_bytes is None:
        return options
    return {"max_size": max_bytes, "on_oversize": "close", **options}
