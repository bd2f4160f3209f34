"""The core of a stream: joins a decoder, a channel and the loop; waits, and closes."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from framestream._events import events
from framestream.decoder import IN_PARTS, FrameDecoder
from framestream.errors import BufferFull, FrameTooLarge, IncompleteFrame, StreamBusy, StreamClosed
from framestream.stream._callbacks import Callbacks
from framestream.stream._closing import Closing
from framestream.stream._cut import end_here
from framestream.stream._deadlines import Pace
from framestream.stream._flush import CallWhenSent
from framestream.stream._idle import end_idling, look_for_end, watch_for_end
from framestream.stream._inbound import LARGE, Inbound
from framestream.stream._outbound import Outbound
from framestream.stream._problems import Voice, logger
from framestream.stream._stream_options import DEFAULTS, StreamOptions, check_options
from framestream.stream._waiting import Reader, Stoppable
from framestream.transport._channel import Channel, is_reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from framestream.framer import ReadCondition

# Seconds that a TLS handshake has left when no more input is wanted.
_LAST_FLIGHT: Final = 0.5


class StreamCore:
    """What `IOStream` is made of: two halves, the decoder between them, and the end of it all.

    Attributes:
        stream: whose core it is.
        closed: nothing is received or sent any more; what is buffered can be read.
        error: what closed the stream, or None.
        frames_sent: frames given to `send`.
        handshake: the TLS handshake under way, if there is one.
    """

    __slots__ = (
        "_callbacks",
        "_closing",
        "_notable",
        "channel",
        "closed",
        "decoder",
        "error",
        "frames_sent",
        "half_open",
        "handshake",
        "inbound",
        "loop",
        "max_buffer_size",
        "outbound",
        "pace",
        "stream",
    )

    def __init__(
        self,
        stream: Voice,
        channel: Channel,
        loop: asyncio.AbstractEventLoop | None,
        options: StreamOptions,
    ) -> None:
        self.stream = stream
        self.channel = channel
        self.loop = loop = loop or asyncio.get_running_loop()
        self.closed = False
        self.error: BaseException | None = None
        self.frames_sent = 0
        check_options(options)
        settings = {**DEFAULTS, **options}
        self.half_open: bool = settings["half_open"]
        self.max_buffer_size: int = settings["max_buffer_size"]
        self._notable = min(LARGE - 1, self.max_buffer_size)  # a read that needs more is looked at twice
        pace = Pace(
            settings["frame_timeout"],
            None,
            settings["idle_timeout"],
            settings["min_rate"],
            settings["rate_grace"],
        )
        self.pace = pace if pace.limits_anything else None
        self._callbacks: Callbacks | None = None
        self.handshake: Stoppable | None = None
        self._closing: Closing | None = None
        self.decoder = FrameDecoder(
            max_frame_size=settings["max_frame_size"],
            on_oversize=settings["on_oversize"],
            on_discard=settings["on_discard"],
        )
        self.inbound = Inbound(
            loop,
            channel,
            self.decoder,
            chunk_size=settings["read_chunk_size"],
            owner=self,
        )
        self.outbound = Outbound(
            loop,
            channel,
            self.inbound,
            high_water=settings["write_high_water"],
            low_water=min(settings["write_low_water"], settings["write_high_water"]),
            max_size=settings["max_write_buffer_size"],
            timeout=settings["write_timeout"],
            owner=self,
        )

    @property
    def callbacks(self) -> Callbacks:
        """What runs callbacks; made when the first is needed."""
        if self._callbacks is None:
            self._callbacks = Callbacks(self)
        return self._callbacks

    # Reading

    def ended(self) -> StreamClosed:
        """Return what to raise when a reader has met the end of the stream, and close if that is due."""
        self.note_end()
        return StreamClosed("stream ended", real_error=self.error)

    def stop_iteration(self) -> StopAsyncIteration | StreamClosed:
        """Return what ends an iteration: an orderly end is no error."""
        ended = self.ended()
        return StopAsyncIteration() if self.error is None else ended

    def begin(self, reader: object, pace: Pace | None) -> None:
        """Make `reader` the only one who may read, until ``inbound.end()``."""
        if not self.inbound.free:
            self.make_free()
        self.inbound.begin(reader, pace)

    def make_free(self) -> None:
        """Refuse a second read; let the first after a while in which nobody read do what was put off."""
        if self.reading:
            raise StreamBusy("another read is still under way")
        end_idling(self)

    def check_not_in_parts(self) -> None:
        """Raise `StreamBusy` in the middle of a frame that is read in parts."""
        if self.decoder.streaming:
            raise StreamBusy(IN_PARTS)

    @property
    def reading(self) -> bool:
        """True if a read is under way that somebody still waits for."""
        inbound = self.inbound
        if isinstance(inbound.busy, Reader) and inbound.busy.given_up:
            inbound.end()
        return inbound.busy is not None

    def receive_inline(self, missing: int | None = None) -> bool:
        """Receive what is missing, without waiting; return True if it is worth asking the decoder again.

        Raises `BufferFull`, and closes the stream, if what the decoder misses has no room.
        """
        if self.inbound.cut:
            end_here(self.decoder, self.error)
            return True
        if missing is None:
            missing = self.decoder.missing
            needed = missing + self.decoder.buffered
            if needed > self._notable:
                self._prepare_for(needed, missing)
        try:
            return self.inbound.receive_inline(missing)
        except Exception as error:  # whatever it is, a channel that fails can be read no more
            self.close(error)
            if not is_reset(error):
                raise
            return True

    def _prepare_for(self, needed: int, missing: int) -> None:
        if needed >= LARGE and missing > 1:
            self.inbound.keep_from_next(missing)
        if needed > self.max_buffer_size and not self.inbound.eof:
            error = BufferFull("reached maximum read buffer size", size=needed, limit=self.max_buffer_size)
            self.stream.log_problem("buffer", error)
            self.close(error)
            raise error

    def explain(self, error: BaseException, *, keep: bool = False) -> BaseException:
        """Return what to raise for this error of the decoder, and close the stream if that is its rule.

        With `keep`, the stream keeps a broken off frame as its error: there is nobody to raise it to.
        """
        if isinstance(error, IncompleteFrame):
            if self.closed and (self.error is not None or not self.inbound.peer_ended):
                return StreamClosed("stream closed inside a frame", real_error=self.error)
            self.note_end(error if keep else None)
        elif isinstance(error, FrameTooLarge) and error.closing:
            self.stream.log_problem("oversize", error)
            self.close(error)
        return error

    def note_end(self, error: BaseException | None = None) -> None:
        """Close, unless half open, when a reader has seen the end: after what is still to be sent."""
        if self.closed or self.half_open:
            return
        self.outbound.refuse()
        if self.outbound.pending:
            self.outbound.on_flush(self.outbound.buffer.written, CallWhenSent(partial(self.close, error)))
        else:
            self.close(error)

    def tap(self, condition: ReadCondition[Any], frame: Any) -> None:
        """Show a frame that is about to be delivered to the plugins that asked for it."""
        if events.frame_received is not None:
            events.frame_received(stream=self.stream, condition=condition, frame=frame)

    # What its halves tell

    def on_idle(self) -> None:
        """Note that something is there and nobody reads."""
        look_for_end(self)

    def on_read_error(self, error: Exception) -> None:
        """Close, and say why unless the peer is just gone."""
        if not is_reset(error):
            self.stream.log_problem("read", error)
        self.close(error)

    def on_write_error(self, error: BaseException) -> None:
        """Close, but take in first what a peer that is gone has sent before."""
        if is_reset(error) and not self.inbound.eof:
            self._receive_rest()
        elif not is_reset(error):
            self.stream.log_problem("write", error)
        self.close(error)

    def _receive_rest(self) -> None:
        # The peer is gone, but what it sent before, often the reason, is still in the kernel.
        inbound = self.inbound
        try:
            while (
                self.decoder.buffered < self.decoder.max_frame_size and not inbound.eof and inbound.receive()
            ):
                pass
        except OSError:
            return

    def log_fields(self) -> dict[str, Any]:
        """Return what every log record says about the stream."""
        return {"stream": self.stream, "peer": self.channel.peer}

    def replace_channel(self, channel: Channel) -> None:
        """Go on over another channel, which has taken this one in."""
        self.inbound.unwatch()
        self.channel = self.inbound.channel = self.outbound.channel = channel
        self.inbound.forget()

    # The end

    def end_input(self) -> None:
        """Take what has arrived for the end, but let a frame, or for a moment a handshake, be completed."""
        self.inbound.finish()
        if self.handshake is not None:
            self.loop.call_later(_LAST_FLIGHT, self._give_up, self.handshake)

    def _give_up(self, handshake: Stoppable) -> None:
        if self.handshake is handshake:
            self.close()

    @property
    def closing(self) -> Closing:
        """Who is told that the stream is closed; made when the first asks."""
        if self._closing is None:
            self._closing = Closing()
        return self._closing

    @property
    def end_is_awaited(self) -> bool:
        """True if somebody wants to know when the stream is closed."""
        return self._closing is not None and self._closing.is_awaited

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Run `callback` once when the stream is closed, behind all other callbacks."""
        self.closing.callback = callback
        if self.closed:
            self._run_close_callback()
        elif callback is not None:
            watch_for_end(self)

    def begin_wait(self) -> asyncio.Future[None]:
        """Return a future that is done when the stream, which is open, is closed; see ``closing``."""
        waiter = self.closing.add_waiter(self.loop)
        watch_for_end(self)
        return waiter

    def note_callback_run(self) -> None:
        """Run the close callback if that was the last of the others."""
        if self.closed:
            self._run_close_callback()

    def _run_close_callback(self) -> None:
        closing = self._closing
        if closing is None or closing.callback is None:
            return
        if self._callbacks is None or not self._callbacks.pending:
            callback, closing.callback = closing.callback, None
            self.callbacks.soon(callback)

    def call_when_flushed(self, callback: Callable[[], object]) -> None:
        """Run `callback` in a later pass of the loop once everything written so far has left."""
        outbound = self.outbound
        if outbound.pending:
            run = partial(self.callbacks.soon, callback)
            outbound.on_flush(outbound.buffer.written, CallWhenSent(run))
        else:
            self.callbacks.soon(callback)

    def close(self, error: BaseException | None = None) -> None:
        """Close at once. What is buffered can still be read; what the channel does not take now is lost."""
        if self.closed:
            return
        self.closed = True
        self.error = error
        if error is not None:
            events.tell("stream_failed", stream=self.stream, error=error)
        if logger.isEnabledFor(logging.DEBUG):  # the fields take a call to the system
            logger.debug("stream closed", extra={**self.log_fields(), "error": error})
        if not self.loop.is_closed():
            self.outbound.send_rest_of_pass()
            self._farewell()
            self._stop()
            self._run_close_callback()
        self.channel.close()
        events.tell("stream_closed", stream=self.stream)

    def detach(self) -> Channel:
        """Count as closed, and leave the channel open for somebody else."""
        self.closed = True
        if self._closing is not None:
            self._closing.callback = None
        self._stop()
        events.tell("stream_closed", stream=self.stream)
        return self.channel

    def _stop(self) -> None:
        self.inbound.stop(cut=True)
        self.outbound.stop(self.error)
        if self.handshake is not None:
            self.handshake.stop()
        if self._closing is not None:
            self._closing.wake_waiters()

    def _farewell(self) -> None:
        # A peer takes a connection that is reset, or one under TLS that ends without a goodbye, for cut off.
        # So it is ended in good order where that is the truth: everything was sent.
        if self.error is not None or self.outbound.pending:
            return
        if self.channel.has_farewell:
            try:
                self.channel.shutdown()
            except OSError:
                return
        if not self.inbound.peer_ended:
            self.channel.discard()
