"""IOStream: read and write frames on a channel and an event loop."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from framestream._events import events
from framestream.checks import check_seconds
from framestream.errors import FramingError, StreamBusy, StreamClosed, StreamTimeout
from framestream.framer import Framer, ReadCondition
from framestream.stream._byte_reads import ByteReads
from framestream.stream._callbacks import in_context
from framestream.stream._core import StreamCore
from framestream.stream._deadlines import within
from framestream.stream._framed import FramedStream
from framestream.stream._framing import directions
from framestream.stream._lingering import lingering
from framestream.stream._problems import Problem, log
from framestream.stream._start_tls import start_tls
from framestream.stream._stats import StreamStats
from framestream.stream._writes import Writes
from framestream.transport._channel import Channel
from framestream.transport._over import channel_over
from framestream.transport._tls_channel import check_host_name

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from framestream.stream._stream_options import StreamOptions

T = TypeVar("T")


class IOStream(ByteReads, Writes):
    """Read and write frames on a connection, each by the condition the caller names.

    One read at a time; writes from anywhere in the loop's thread.

    Args:
        channel: a connected socket, or any `Channel`; it belongs to the stream from here on.
        framer: what `read`, `frames` and the others use when they are not given a condition, and, if it
            can write, what `send` uses.
        send_framer: what `send` uses, if that is something else.
        loop: the event loop it belongs to; the running one if left out.
        options: see `StreamOptions`.
    """

    __slots__ = ("__weakref__", "_core", "framer", "send_framer")

    def __init__(
        self,
        channel: Channel | socket.socket,
        *,
        framer: ReadCondition[Any] | str | None = None,
        send_framer: Framer[Any] | str | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        if isinstance(channel, socket.socket):
            channel = channel_over(channel)
        elif not isinstance(channel, Channel):
            raise TypeError(f"a stream needs a socket or a Channel, not {channel!r}")
        self.framer: ReadCondition[Any] | None = None
        self.send_framer: Framer[Any] | None = None
        if framer is not None or send_framer is not None:
            self.framer, self.send_framer = directions(framer, send_framer)
        self._core = StreamCore(self, channel, loop, options)
        events.tell("stream_opened", stream=self)

    def __repr__(self) -> str:
        state = "closed" if self._core.closed else "open"
        return f"<IOStream {self._core.channel.peer} {state}>"

    # Framing

    @overload
    def framed(self, framer: Framer[T], send_framer: Framer[T] | str | None = None) -> FramedStream[T]: ...
    @overload
    def framed(
        self, framer: str | None = None, send_framer: Framer[Any] | str | None = None
    ) -> FramedStream[Any]: ...
    def framed(
        self, framer: Framer[Any] | str | None = None, send_framer: Framer[Any] | str | None = None
    ) -> FramedStream[Any]:
        """Return an object that sends and receives frames by this framer."""
        receive: Any = self._receive_framer(framer)
        return FramedStream(self, receive, self._sending(send_framer or framer))

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
        chosen = directions(framer, send_framer)
        if leftover == "refuse":
            self._refuse_leftover("the switch of framing")
        self.framer, self.send_framer = chosen

    def _refuse_leftover(self, what: str) -> None:
        decoder = self._core.decoder
        if decoder.buffered:
            reason = f"{decoder.buffered} bytes were sent ahead of {what}"
            raise FramingError(reason, offset=decoder.offset, excerpt=decoder.peek(32))

    # TLS

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        timeout: float | None = 60.0,
        leftover: Literal["refuse", "keep"] = "refuse",
        truncation_is_end: bool = False,
    ) -> None:
        """Go on under TLS: flush what is written, then shake hands, within `timeout` seconds.

        What is written meanwhile leaves encrypted. If the handshake fails, or is cancelled, the stream is
        closed.

        Args:
            context: certificates, verification, protocols offered; see `client_tls` and `server_tls`.
            server_side: wait for the peer to begin the handshake.
            server_hostname: whom the certificate must be for.
            timeout: seconds for all of it.
            leftover: what becomes of bytes that were received ahead of the handshake and not read.
                ``"refuse"`` is for protocols that agree on TLS in plain text (STARTTLS): such bytes are an
                attack. ``"keep"`` takes them for the beginning of the handshake, for protocols in which the
                peer begins with it unasked, behind a PROXY header, say.
            truncation_is_end: take a connection that ends without TLS's own goodbye (close_notify) for one
                that has ended, for peers known to leave it out. Otherwise it has been cut off, perhaps by
                an attacker, and reads raise `StreamClosed` with an ``ssl.SSLEOFError``.

        Raises:
            ValueError: the context checks the host name and there is no `server_hostname`, or `timeout` is no
                time; nothing is done.
            StreamBusy: a read is under way, or a file is being sent; nothing is done.
            FramingError: plaintext was received ahead of the handshake. Somebody may have slipped it in, so
                it is refused and the stream is closed.
            ssl.SSLError: the handshake failed; ``ssl.SSLCertVerificationError`` for a bad certificate.
            StreamTimeout, StreamClosed: it took too long; the peer left, or somebody here closed the stream.
        """
        if self.reading():
            raise StreamBusy("a read is under way; TLS starts between frames")
        check_seconds("timeout", timeout, optional=True)
        check_host_name(context, server_side=server_side, server_hostname=server_hostname)
        self._core.outbound.check_not_held()
        received = b""
        if leftover == "keep":
            received = self._core.decoder.take_leftover()
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
            truncation_is_end=truncation_is_end,
            received=received,
        )

    # The end

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Call a function once when the stream is closed, by whomever, behind all other callbacks.

        While it is set, an idle stream notices that the peer closes; for that it may receive one chunk
        that nobody has asked for yet.
        """
        self._core.set_close_callback(None if callback is None else in_context(callback))

    async def wait_closed(self) -> None:
        """Wait until the stream is closed, by whomever; an idle stream notices that the peer closes.

        Cancelling the wait changes nothing.
        """
        core = self._core
        if core.closed:
            return
        waiter = core.begin_wait()
        try:
            await waiter
        finally:
            core.closing.remove_waiter(waiter)

    def end_input(self) -> None:
        """Take what has arrived for the end: whoever reads sees a clean end behind the last frame of it.

        A frame that has begun may still be completed; a TLS handshake that has begun has half a second
        for that. Writing goes on. This is how a server lets its connections finish what they are at.
        """
        self._core.end_input()

    def close(self, error: BaseException | None = None) -> None:
        """Close at once, because of `error` if given; do nothing if the stream is closed.

        What the system does not take at once is lost; what is buffered can still be read. A pending read is
        completed if what is there completes it, else it raises `StreamClosed`.
        """
        self._core.close(error)

    def detach(self) -> Channel:
        """Give the channel away: the stream is closed, and the connection goes on without it.

        The close callback does not run. Whoever takes the channel closes it.

        Raises:
            StreamClosed: the stream is closed.
            StreamBusy: a read is under way, or something that was written has still to leave.
            FramingError: something was received that nobody has read.
        """
        if self.closed():
            raise StreamClosed(real_error=self.error)
        if self.reading() or self.writing():
            raise StreamBusy("a channel is given away between frames, when everything has left")
        self._refuse_leftover("giving the channel away")
        return self._core.detach()

    async def aclose(self, timeout: float | None = 10.0, *, linger: float = 0) -> None:
        """Send what is written, then close. After `timeout` seconds, or when cancelled, close anyway.

        With `linger`, a peer that has sent what nobody has read gets the end of the stream first, and so
        many seconds to notice it; what it sends until then, up to 16 MiB, is thrown away. A connection that
        is closed in its face is reset, and it may lose the last of what was written.

        Raises nothing if the peer takes no more: there is nobody left to tell.
        """
        check_seconds("timeout", timeout, optional=True)
        check_seconds("linger", linger)
        core = self._core
        outbound = core.outbound
        last = lingering(core) if linger else None
        try:
            if (core.channel.has_farewell or last is not None) and not core.closed:
                outbound.end()  # a goodbye is waited for like any other bytes
            outbound.refuse()
            if outbound.pending:
                await within(core.loop, outbound.flush(), timeout, "closing")
            if last is not None:
                await within(core.loop, last.done, linger, "lingering")
        except (StreamClosed, StreamTimeout):
            pass
        finally:
            core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            await self.aclose()
        else:
            self.close()

    def translate_error(self, error: BaseException) -> BaseException:
        """Return what `begin_read` and `begin_write` end with in place of this error: here, itself.

        A subclass may have exceptions of its own. It must not raise.
        """
        return error

    def log_problem(self, problem: Problem, error: BaseException) -> None:
        """Log what the stream is about to close for: one line on the logger ``framestream``.

        A subclass may say it elsewhere, or in other words. It must not raise.

        Args:
            problem: ``"read"`` or ``"write"``: the channel failed, and not because the peer is gone;
                ``"buffer"``: a read would need more than `max_buffer_size`; ``"oversize"``: a frame is
                above its limit, and the rule for that is ``"close"``; ``"callback"``: a function of the
                user's raised.
            error: the exception at hand.
        """
        log(problem, error, self._core.log_fields())

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
        return self._core.reading or self._core.decoder.streaming

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
    def offset(self) -> int:
        """Where in the received stream the next unread byte is, counted from its first."""
        return self._core.decoder.offset

    @property
    def leftover(self) -> bytes:
        """A copy of everything received and not yet read; nothing is consumed."""
        return self._core.decoder.leftover

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (True) or let TCP wait for more (False). Without TCP, do nothing."""
        sock = self._core.channel.socket
        if sock is not None:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, value)
            except OSError:
                return  # no TCP; or a peer that is gone, which who reads or writes next will notice

    @property
    def stats(self) -> StreamStats:
        """The counters as they are now."""
        core = self._core
        received, buffer = core.decoder.stats, core.outbound.buffer
        return StreamStats(
            bytes_received=received.received,
            bytes_sent=buffer.sent + buffer.passed,
            frames_received=received.frames,
            frames_sent=core.frames_sent,
            oversize=received.oversize,
            discarded=received.discarded,
            payload_errors=received.payload_errors,
            waits=core.inbound.waits,
            read_high_water=received.high_water,
            write_high_water=buffer.high_water,
        )
