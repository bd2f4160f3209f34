"""FrameDecoder, sans-IO: bytes in, frames out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar, final

from framestream._signals import END, FRAME_END, NEED_DATA, End, FrameEnd, NeedData
from framestream.decoding._ahead import FIRST_QUOTA, RUN_BEFORE_LOOKING_AHEAD, LookAhead, split
from framestream.decoding._buffer import ReadBuffer
from framestream.decoding._oversize import (
    DEFAULT_MAX_FRAME_SIZE,
    OnOversize,
    begin_skip,
    checked_policy,
    verdict,
)
from framestream.decoding._parts import FrameParts
from framestream.decoding._search import PAYLOAD, TOO_LARGE, WAITING, Search
from framestream.decoding._skip import Skip
from framestream.decoding._stats import DecoderStats
from framestream.errors import (
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    StreamBusy,
    StreamClosed,
    because,
)
from framestream.framer import Decode, ReadCondition, Span

T = TypeVar("T")

# A decoder has skip_frame(); a stream skips what is left when the block of open_frame() ends.
IN_PARTS: Final = (
    "a frame is being streamed in parts; finish it, or skip it with skip_frame() or by leaving its block"
)


@final
class FrameDecoder:
    """Cut received bytes into frames, each by the condition the caller names.

    The answer never depends on how the bytes were split into chunks, the cost is linear in the bytes,
    and a frame leaves the buffer only when it is delivered: the condition may change between any two.

    Args:
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        on_oversize: what happens to a frame above its limit. ``"raise"`` raises `FrameTooLarge`; if the
            frame declares its size, the next call goes on behind it, else the decoder is broken.
            ``"discard"`` skips exactly that frame and goes on. ``"truncate"`` delivers the first bytes of
            the payload, up to the limit, and skips the rest. ``"close"`` raises, and nothing can be read
            any more.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated, when all
            of it is skipped.

    Attributes:
        ahead: frames that are cut and not yet asked for.
        clear: no error, no frame begun, cut ahead, in parts or skipped. After NEED_DATA: nothing is there.
        frames: how many were delivered; those cut ahead count when the last of them is, see `stats`.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_condition",
        "_deferred",
        "_eof",
        "_error",
        "_finished",
        "_last_size",
        "_parts",
        "_run",
        "_search",
        "_skipping",
        "_stats",
        "ahead",
        "clear",
        "frames",
        "max_frame_size",
        "on_discard",
        "on_oversize",
    )

    def __init__(
        self,
        *,
        max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
        on_oversize: OnOversize = "raise",
        on_discard: Callable[[FrameTooLarge], object] | None = None,
    ) -> None:
        if max_frame_size < 0:
            raise ValueError(f"max_frame_size is {max_frame_size}; it must not be negative")
        self.max_frame_size = max_frame_size
        self.on_oversize: OnOversize = checked_policy(on_oversize)
        self.on_discard = on_discard
        self._stats: DecoderStats | None = None  # made when there is something to count in it
        self._buffer = ReadBuffer()
        self._search = Search(self._buffer)
        self._condition: ReadCondition[Any] | None = None
        self._eof = False
        self._finished = False  # a condition that may be empty has had its frame at the end
        self.clear = True
        self._error: Exception | None = None  # fatal: raised for ever
        self._deferred: Exception | None = None  # met behind a batch: raised once
        self._parts: FrameParts | None = None
        self._skipping: Skip | None = None
        self.ahead = LookAhead(self._buffer)
        self._run = 0  # frames delivered in a row for one condition object
        self._last_size = 0  # bytes the last of them took, header and delimiter included
        self.frames = 0

    # Bytes in

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add received bytes. ``bytes`` are kept without a copy; an empty chunk means nothing.

        Raises:
            StreamClosed: after `receive_eof`.
        """
        if self._eof:
            raise StreamClosed("data received after the end of the stream")
        if data:
            self._buffer.append(data if type(data) is bytes else bytes(data))

    def receive_from(self, receive: Callable[[memoryview], int]) -> int | None:
        """Receive a part of the frame that `next_frame` waits for straight into its final place.

        `receive` is given the place, puts bytes at its beginning and returns how many. Returns what it
        returned; None, and `receive` is not called, if there is no such place: then use `receive_data`.
        It is worth it where the frame is large (see `missing`) and a part of it is there.
        """
        buffer = self._buffer
        if (lent := buffer.lent) is not None:
            return buffer.fill_lent(lent, receive)
        extent = self._search.extent
        if extent is None or self._skipping is not None or self._parts is not None or self._eof:
            return None
        first, stop, _, _ = extent
        if not first < buffer.size < stop or type(buffer.head) is bytearray:
            return None
        return buffer.land(first, stop, receive)

    def receive_eof(self) -> None:
        """Say that nothing will follow. What is buffered can still be read."""
        self._eof = True

    # Bytes out, past any condition

    def take_into(self, place: memoryview) -> None:
        """Consume as many bytes as the place has room for, and put them there; so many must be `buffered`.

        No frame may be on its way out: see `skipping`. Raises what `next_frame` raises before it has looked
        at anything.
        """
        self._look_away()
        self._buffer.take_into(place)
        self.frames += 1

    def lend(self, place: memoryview) -> None:
        """As `take_into`, where more is to come: have what is buffered, and what follows, in that place.

        `receive_from` fills it. Nothing is consumed before `take_lent`.
        """
        self._look_away()
        self._buffer.lend(place)

    def take_lent(self, *, consume: bool) -> bool:
        """Take the place back. With `consume`, consume what it holds if it is full, and return True then.

        Otherwise what it holds is buffered, like all that arrives.
        """
        if not consume:
            self._buffer.close_landing()
            return False
        if not self._buffer.consume_lent():
            return False
        self.frames += 1
        return True

    def _look_away(self) -> None:
        self._prepare()
        assert self._skipping is None
        self._search.restart()
        self._condition = None
        self.clear = True

    # Frames out

    # The options are positional, too: a function with keyword-only ones costs a third more to call.
    def next_frame(
        self, condition: ReadCondition[T], max_size: int | None = None, on_oversize: OnOversize | None = None
    ) -> T | NeedData | End:
        """Return the next frame, NEED_DATA if it is not complete, or END if the stream ended before it.

        Consumes exactly the frame. `max_size` and `on_oversize` override the limit and the policy for
        this call.

        Raises:
            FramingError: the bytes can be no such frame; every later call raises it again.
            FrameTooLarge: see `on_oversize`; ``recoverable`` tells whether the next call goes on.
            IncompleteFrame: the stream ended inside the frame; nothing is consumed.
            PayloadError: the frame cannot be decoded; it is consumed.
            StreamBusy: a frame is being streamed in parts; finish it or call `skip_frame`.
            FramerContractError: the condition is at fault.
        """
        if self.clear:
            # The flat path: most frames are there whole, and built-in framers cut them in one call.
            buffer = self._buffer
            head = buffer.head
            start, have = buffer.pos, len(head)
            if condition is self._condition:
                run = self._run
            else:
                self._condition = condition
                self._run = run = 0
            if start == have:
                if not (buffer.chunks or self._eof or condition.can_be_empty or on_oversize):
                    return NEED_DATA
            elif run < RUN_BEFORE_LOOKING_AHEAD or have - start < 2 * self._last_size:
                # One frame is found faster alone than ahead.
                limit = condition.max_size if max_size is None else max_size
                if limit is None:
                    limit = self.max_frame_size
                if (found := self._look(condition, limit)) is not None:
                    first, stop, buffer.pos = found
                    self._run = run + 1
                    self._last_size = buffer.pos - start
                    self._complete(condition)
                    frame: T = self._finish(condition, bytes(head[first:stop]), PAYLOAD, buffer.base + start)
                    return frame
        else:
            ahead = self.ahead
            if (frames := ahead.frames) and condition is ahead.condition and max_size is None:
                frame = frames.pop()
                if not frames:
                    self.frames += ahead.finish()
                    self.clear = True
                return frame
            self._prepare()
        self._take_up(condition)
        limit = self._limit(condition, max_size)
        if self._run >= RUN_BEFORE_LOOKING_AHEAD and max_size is None and self._look_ahead(condition, limit):
            return self.next_frame(condition)
        return self._next(condition, limit, checked_policy(on_oversize or self.on_oversize))

    def _look(self, condition: ReadCondition[Any], limit: int) -> Span | None:
        self._search.condition = condition
        return self._search.look(limit, self._eof)

    def _look_ahead(self, condition: ReadCondition[Any], limit: int) -> bool:
        if not self._search.fresh or self._skipping is not None:
            return False
        count: int = self._guard(self.ahead.cut, condition, limit, self._last_size, self._eof, self._run)
        if count:
            self._run += count
            self.clear = False
        return count > 0

    def next_batch(
        self,
        condition: ReadCondition[T],
        *,
        max_size: int | None = None,
        on_oversize: OnOversize | None = None,
    ) -> list[T] | NeedData | End:
        """Return every frame that is complete, as a list of at least one; else NEED_DATA or END.

        Much cheaper per frame than `next_frame`. Raises the same; an error that lies behind complete
        frames is raised by the next call.
        """
        ahead = self.ahead
        if ahead.frames and condition is ahead.condition and max_size is None:
            rest: list[T] = ahead.frames[::-1]
            self.frames += ahead.finish()
            return rest
        self._prepare()
        self._take_up(condition)
        limit = self._limit(condition, max_size)
        policy = checked_policy(on_oversize or self.on_oversize)
        frames: list[T] = []
        while True:
            if self._search.fresh and self._skipping is None and self._cut_all(condition, limit, frames):
                return frames
            try:
                frame = self._next(condition, limit, policy)
            except Exception as error:
                if not frames:
                    raise
                # A fatal error is kept already, and an incomplete frame is found incomplete again.
                if self._error is None and not isinstance(error, IncompleteFrame):
                    self._deferred = error
                    self.clear = False
                return frames
            if frame is NEED_DATA or frame is END:
                return frames or frame
            frames.append(frame)
            if condition.can_be_empty:
                return frames

    def next_part(self, condition: ReadCondition[Any]) -> bytes | FrameEnd | NeedData | End:
        """Return the next piece of the current frame's payload, then FRAME_END when the frame is complete.

        Parts are the payload as it is on the wire, not decoded, and never empty. No limit applies to the
        frame: memory stays within one chunk plus what the condition cannot yet tell payload from
        delimiter, which is limited as a frame is. END means that no frame begins.

        Raises the same as `next_frame`; `IncompleteFrame` if the stream ends before the frame does.
        """
        if self._parts is None:
            self._prepare()
            self._take_up(condition)
            while (skip := self._skipping) is not None:
                skip.check_reader(None)
                if self._skip_on(skip) is NEED_DATA:
                    return NEED_DATA
            if self._at_end(condition):
                return END
            self._parts = FrameParts(self._search)
            self.clear = False
        elif condition is not self._condition and condition != self._condition:
            raise StreamBusy(f"a frame of {self._condition} is being streamed; finish or skip it first")
        parts = self._parts
        limit = self._limit(condition, None)
        part = self._guard(parts.next, limit + condition.overhead, self._eof)
        if part is TOO_LARGE:
            self._fail(self._search.too_large(limit))
        if part is FRAME_END:
            self._parts = None
            self._complete(condition)
        elif part is NEED_DATA:
            if not parts.begun:
                self._parts = None
                if self._at_end(condition):
                    return END
            if self._eof:
                raise self._search.incomplete(parts.consumed)
        answer: bytes | FrameEnd | NeedData = part
        return answer

    def skip_frame(self) -> None:
        """Throw away the rest of the frame that is being streamed, as it arrives; do nothing if none is."""
        if self._parts is not None:
            search = self._search
            self._skipping = Skip(self._parts, search, self._limit(search.condition, None))
            self._parts = None

    @property
    def frame_size(self) -> int | None:
        """The payload size in bytes of the frame being streamed, if it is known already, else None."""
        return None if self._parts is None else self._parts.size

    @property
    def skipping(self) -> bool:
        """True while a frame, or the rest of one, is thrown away as it arrives."""
        return self._skipping is not None

    @property
    def streaming(self) -> bool:
        """True while a frame is being streamed in parts."""
        return self._parts is not None

    # What is there

    @property
    def stats(self) -> DecoderStats:
        """The decoder's counters, up to date."""
        self._put_back()
        stats, buffer = self._counters(), self._buffer
        stats.frames = self.frames
        stats.received = buffer.received
        stats.high_water = buffer.high_water
        stats.copied = buffer.copied
        return stats

    def _counters(self) -> DecoderStats:
        if self._stats is None:
            self._stats = DecoderStats()
        return self._stats

    @property
    def condition(self) -> ReadCondition[Any] | None:
        """What was asked for last."""
        return self._condition

    @property
    def received(self) -> int:
        """Bytes ever received."""
        return self._buffer.received

    @property
    def offset(self) -> int:
        """Offset in the stream of the first byte that is not delivered."""
        self._put_back()
        return self._buffer.offset

    @property
    def buffered(self) -> int:
        """Bytes received and not delivered."""
        self._put_back()
        return self._buffer.size

    @property
    def leftover(self) -> bytes:
        """A copy of every byte that is received and not delivered; nothing is consumed."""
        self._put_back()
        return self._buffer.peek(self._buffer.size)

    def take_leftover(self) -> bytes:
        """Consume and return every byte that is received and not delivered; somebody else goes on there."""
        self._prepare()
        self._search.restart()
        leftover = self._buffer.peek(self._buffer.size)
        self._buffer.drop(self._buffer.size)
        return leftover

    @property
    def eof(self) -> bool:
        """True after `receive_eof`."""
        return self._eof

    @property
    def missing(self) -> int:
        """How many bytes must arrive, after NEED_DATA, before it is worth asking again; at least 1."""
        return self.needed()[1]

    def needed(self) -> tuple[int, int]:
        """How many bytes must be there, after NEED_DATA, to ask again; and how many of them are missing."""
        search, buffer = self._search, self._buffer
        size = len(buffer.head) - buffer.pos + buffer.queued
        if self.clear or self._skipping is not None or self._parts is not None:
            return size + 1, 1
        extent = search.extent
        needed = search.need if extent is None else extent[2]
        return (needed, needed - size) if needed > size else (size + 1, 1)

    def peek(self, size: int) -> bytes:
        """Return a copy of the next `size` bytes, or fewer if fewer are there; nothing is consumed."""
        self._put_back()
        return self._buffer.peek(size)

    # One frame at a time

    def _next(self, condition: ReadCondition[T], limit: int, policy: OnOversize) -> T | NeedData | End:
        search, buffer = self._search, self._buffer
        self.clear = False
        while True:
            if (skip := self._skipping) is not None:
                skip.check_reader(condition)
                kept = self._skip_on(skip)
                if kept is NEED_DATA:
                    return NEED_DATA
                if isinstance(kept, bytes):
                    self.frames += 1
                    offset = buffer.offset - skip.parts.consumed
                    return self._finish(condition, kept, skip.value, offset)
            if self._at_end(condition):
                return END
            found = self._guard(search.run, limit + condition.overhead, self._eof)
            if found is WAITING:
                break
            if found is TOO_LARGE:
                self._oversize(search.too_large(limit), limit, policy)
            elif found[2] > limit and (error := verdict(search, found, limit)) is not None:
                self._oversize(error, limit, policy)
            elif found[2] > buffer.size:
                break
            else:
                offset = buffer.offset
                first, stop, end, value = found
                if type(value) is Decode:
                    self._guard(search.check_trailer, stop)
                elif value is not PAYLOAD:
                    first = stop  # the value is there: nothing of the payload is wanted
                payload = buffer.take(first, stop, end)
                self._complete(condition)
                self._last_size = end
                self._run += 1
                return self._finish(condition, payload, value, offset)
        if not self._eof:
            self.clear = search.fresh
            return NEED_DATA
        if not self._at_end(condition):
            raise search.incomplete()
        return END

    def _finish(self, condition: ReadCondition[T], payload: bytes, value: Any, offset: int) -> T:
        decode: Callable[[bytes], T]
        if value is PAYLOAD:
            decode = condition.decode
        elif type(value) is Decode:
            decode = value.decode
        else:
            frame: T = value
            return frame
        try:
            return decode(payload)
        except Exception as error:  # noqa: BLE001 - an author's mistake is reported as one
            self._decode_failed(condition, error, payload, offset)

    def _decode_failed(
        self, condition: ReadCondition[Any], error: Exception, payload: bytes, offset: int
    ) -> NoReturn:
        if isinstance(error, FramingError):
            error.offset, error.framer, error.excerpt = offset, str(condition), payload[:32]
            self._fail(error)
        if isinstance(error, PayloadError):
            self._counters().payload_errors += 1
            error.offset, error.framer, error.payload = offset, str(condition), payload
            raise error
        if isinstance(error, ValueError):
            self._counters().payload_errors += 1
            bad = PayloadError(str(error), payload=payload, offset=offset, framer=str(condition))
            raise because(bad, error)
        reason = f"decode raised {type(error).__name__}: {error}"
        raise because(FramerContractError(reason, framer=str(condition), offset=offset), error)

    def _complete(self, condition: ReadCondition[Any]) -> None:
        self._search.restart()
        self.frames += 1
        self.clear = True
        self._note_end(condition)

    def _note_end(self, condition: ReadCondition[Any]) -> None:
        if condition.can_be_empty and self._eof and not self._buffer.size:
            self._finished = True

    def _cut_all(self, condition: ReadCondition[T], limit: int, frames: list[T]) -> bool:
        """Add to `frames` what can be cut in batches; return True if nothing else is worth asking for."""
        buffer = self._buffer
        while limit >= FIRST_QUOTA and buffer.size:
            if buffer.pos == len(buffer.head):
                buffer.grow(1)
            whole = len(buffer.head) - buffer.pos <= limit and not buffer.chunks
            cut, size = self._guard(split, buffer, condition, limit, self._eof)
            if not cut:
                return False
            frames += cut
            buffer.advance(size)
            self.frames += len(cut)
            if whole:
                return True
        return bool(frames) and not buffer.size

    # What stands before a read

    def _prepare(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._deferred is not None:
            error, self._deferred = self._deferred, None
            raise error
        if self._parts is not None:
            raise StreamBusy(IN_PARTS)
        self._put_back()

    def _take_up(self, condition: ReadCondition[Any]) -> None:
        if condition is not self._condition:
            self._adopt(condition)
        elif self._skipping is None:
            self._search.condition = condition  # the flat path of `next_frame` does without

    def _adopt(self, condition: ReadCondition[Any]) -> None:
        self._run = 0
        self._buffer.close_landing()
        if self._skipping is None:
            # An equal condition keeps the progress of a read that was given up, so that retrying with
            # `Line()` written anew each time does not search the same bytes again.
            if not self._search.fresh and condition != self._condition:
                self._search.restart()
            self._search.condition = condition
        self._condition = condition

    def _put_back(self) -> None:
        if self.ahead.frames:
            self.frames += self._guard(self.ahead.put_back)
            self._run = 0

    def _limit(self, condition: ReadCondition[Any], max_size: int | None) -> int:
        if max_size is not None:
            return max_size
        return self.max_frame_size if condition.max_size is None else condition.max_size

    def _at_end(self, condition: ReadCondition[Any]) -> bool:
        if self._buffer.size or not self._eof:
            return False
        return self._finished or not condition.can_be_empty

    # Errors

    def _guard(self, ask: Callable[..., Any], *args: Any) -> Any:
        # A broken stream stays broken, and so does one with a broken framer.
        try:
            return ask(*args)
        except (FramingError, FramerContractError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        self._error = error
        self.clear = False
        raise error

    # Frames above the limit

    def _oversize(self, error: FrameTooLarge, limit: int, policy: OnOversize) -> None:
        self._counters().oversize += 1
        self._skipping = self._guard(begin_skip, self._search, error, limit, policy)
        if policy == "raise":
            raise error

    def _skip_on(self, skip: Skip) -> bytes | FrameEnd | NeedData:
        outcome: bytes | FrameEnd | NeedData = self._guard(skip.go_on, self._eof)
        if outcome is NEED_DATA and self._eof:
            raise self._search.incomplete(skip.parts.consumed)
        if outcome is FRAME_END:
            self._end_skip(skip)
        return outcome

    def _end_skip(self, skip: Skip) -> None:
        self._skipping = None
        self._search.restart()
        self._note_end(skip.condition)
        assert self._condition is not None
        self._search.condition = self._condition
        if skip.error is not None:
            skip.error.discarded = skip.parts.consumed
            self._counters().discarded += skip.parts.consumed
            if skip.report and self.on_discard is not None:
                self.on_discard(skip.error)
