"""FrameDecoder, sans-IO: bytes in, frames with their offsets out. It is the only caller of read conditions.

A frame takes one of two routes. While the caller keeps asking for the same condition, frames are cut ahead
in batches (`ReadCondition.split`) and handed out one by one. Every other frame is the *current frame*: one
object that tracks it from the first question to its last byte. Its states:

===========  =====================================  ======================================================
state        what is known of the frame             next
===========  =====================================  ======================================================
FRESH        nothing: it was not looked at yet      SEARCHING, KNOWN; delivered at once if it is whole
SEARCHING    `NeedMore`: how much, and from where   KNOWN; FRESH after padding, or for another condition
KNOWN        its extent; its end must still arrive  FRESH when it is delivered, or for another condition
STREAMING    some of it is handed out in parts      FRESH after the last part; SKIPPING by `skip_frame`
TRUNCATING   too large: its beginning is collected  SKIPPING when the beginning is delivered
SKIPPING     its bytes are discarded on arrival     FRESH when all of it is gone
BROKEN       nothing after it can be read           nothing: every call raises the error
===========  =====================================  ======================================================

::

                 next_frame, next_batch                 find: NeedMore           find: a span
      ┌───────┐ ─────────────────────────► ┌───────┐ ───────────────► SEARCHING ─────────────► KNOWN
      │ ahead │     the last one popped    │ FRESH │                      │                      │
      └───────┘ ◄───────────────────────── └───────┘ ◄────────────────────┴── another condition ─┤
                          split                ▲ ◄──────── delivered ────────────────────────────┤
                                               │                                                 │
                     all of it is gone         │     next_part: STREAMING ──► skip_frame         │
                                               └──── SKIPPING ◄── TRUNCATING ◄── above the limit ┘

STREAMING, TRUNCATING and SKIPPING may begin before the extent is known, if the condition settles payload.
Conditions are pure, so asking again changes nothing: to give back frames that were cut ahead, the decoder
finds their ends again, and a fast path that meets an error leaves it to the slow path to report. A frame is
decoded before it is consumed: what a batch must not hide is left in the buffer, and met again by the next call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, final, get_args

from framestream.buffer import Place, ReceiveBuffer
from framestream.errors import (
    FAULTS,
    DecodeFault,
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    Respite,
    StreamBusy,
    StreamClosed,
    because,
    check_choice,
    check_count,
    counted,
    describe_error,
)
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Window, check_condition

T = TypeVar("T")
E = TypeVar("E", bound=FramingError)
OnOversize: TypeAlias = Literal["raise", "discard", "truncate", "close"]

DEFAULT_MAX_FRAME_SIZE: Final = 1 << 20
POLICIES: Final[tuple[OnOversize, ...]] = get_args(OnOversize)
# Header, delimiter and padding together may take this much even if the payload limit is smaller.
_MOST_OVERHEAD: Final = 65536
# A payload that misses this much is received in its final place. For less, receiving a chunk and
# joining it costs less than preparing the place.
_LARGE: Final = 1 << 17
# Frames of this size are copied out of a borrowed buffer one by one; if they are smaller, the whole buffer
# is copied at once. The first look shows the header of nearly every frame.
_WORTH_BORROWING: Final = 1 << 15
_FIRST_LOOK: Final = 512
# Looking ahead pays after a few frames of one kind, if a batch has a few. It starts small and doubles, and
# starts again when frames are given back: wasted cutting stays in proportion to what is delivered.
# After a bad frame it waits for some good ones, then starts with a few frames of that size: so bad frames
# cost what good ones do, whatever follows them.
_RUN: Final = 3
_FEWEST: Final = 4
_FIRST_QUOTA: Final = 512
_MOST_AHEAD: Final = 1 << 17
# After so many frames or pieces of padding, which may cost 5 us each, other tasks get a turn, if the caller has any.
# A frame that is skipped as bad or too large counts as many.
_PATIENCE: Final = 4096
_ENDLESS: Final = 1 << 60
_BAD: Final = 64


class Signal(Enum):
    """The decoder's answers that are not frames: named, never ``None`` or ``b""``."""

    NEED_DATA = "feed more bytes"
    END = "the stream ended between two frames"
    FRAME_END = "the streamed frame is complete"

    def __repr__(self) -> str:
        return self.name


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END
FRAME_END: Final = Signal.FRAME_END

NeedData: TypeAlias = Literal[Signal.NEED_DATA]
End: TypeAlias = Literal[Signal.END]
FrameEnd: TypeAlias = Literal[Signal.FRAME_END]


class State(Enum):
    """How far the current frame has got; the table stands at the top of the module."""

    FRESH = "not looked at yet"
    SEARCHING = "its end has not been found"
    KNOWN = "its extent is known"
    STREAMING = "some of it is handed out"
    TRUNCATING = "its beginning is collected"
    SKIPPING = "it is discarded"
    BROKEN = "nothing after it can be read"


FRESH, SEARCHING, KNOWN, STREAMING, TRUNCATING, SKIPPING, BROKEN = State

# A decoder has skip_frame(); a stream skips the rest when the block of open_frame() ends.
IN_PARTS: Final = "a frame is being streamed in parts; finish it, or skip it with skip_frame() or by leaving its block"
PAYLOAD: Final[Any] = object()  # the value of a frame that `condition.decode` makes from the payload
_NONE: Final[Any] = object()  # in place of a condition; a caller may pass `None` by mistake
_named: tuple[ReadCondition[Any] | None, str] = (None, "")
_NO_FAULTS: Final = (0, 0, 0)
_NOTHING: Final[list[Any]] = []  # shared and never appended to, so that an idle decoder is small


def _bytes_of(data: Any) -> bytes:
    # `bytes(5)` would be 5 zero bytes.
    try:
        return memoryview(data).tobytes()
    except TypeError as error:
        kind = type(data).__name__
        hint = {
            "str": "; open files in binary mode, or encode the text",
            "coroutine": "; await it, or use aiter_frames",
            "NoneType": "; leave out what brings nothing, and tell the end with receive_eof()",
        }
        message = f"received data is of type {kind}; it must be bytes{hint.get(kind, '')}"
        raise because(TypeError(message), error)


@dataclass
class DecoderStats:
    """Counters of one decoder, in bytes and frames since its creation.

    Attributes:
        received: bytes given to `receive_data`.
        frames: frames delivered, those streamed in parts and those that could not be decoded included.
        oversize: frames above the limit, under any policy.
        discarded: bytes skipped because their frame was above the limit.
        payload_errors: frames that could not be decoded.
        broken: 1 after an error of the framing ended the stream for good; 0 until then.
        high_water: the most bytes that were ever buffered at once.
        copied: bytes moved to make frames contiguous, not counting the copy that is delivered.
    """

    received: int = 0
    frames: int = 0
    oversize: int = 0
    discarded: int = 0
    payload_errors: int = 0
    broken: int = 0
    high_water: int = 0
    copied: int = 0


class CurrentFrame:
    """The frame that begins at the first unconsumed byte, or some of whose bytes are consumed already.

    Positions count from the first unconsumed byte, so consuming bytes shifts them.

    Attributes:
        state: its progress, as in the table at the top of the module.
        condition: whose frame it is, unless it is FRESH.
        consumed: bytes of the frame that are consumed.
        first, stop, end: its extent: where payload and frame begin and end; `end` is -1 until that is known.
        value: with the extent: the frame, a `Decode`, or PAYLOAD.
        size: the payload's size, if known before any of it was passed on.
        need: bytes to wait for: all of the frame, if its extent is known, else what `NeedMore` said.
        window: what the condition sees of it; `memo` is the one that `NeedMore` answered.
        resume, settled, payload_start: what `NeedMore` answered, while the extent is not known.
        error: why it is skipped, if it is too large.
        report: whether `error` is reported when all of the frame is gone.
        no_end_at: where the stream must not end, because the frame that ends there is not final; or -1.
        kept: while TRUNCATING: the part of the beginning that has arrived.
        kept_end: stream offset at which the kept part ends.
        patience: frames until other tasks get a turn, see `FrameDecoder.begin_turn`.
    """

    # fmt: off
    __slots__ = (
        "buffer", "condition", "consumed", "end", "error", "first", "kept", "kept_end", "need", "no_end_at",
        "patience", "payload_start", "report", "resume", "settled", "size", "state", "stop", "value", "window",
    )
    # fmt: on

    condition: ReadCondition[Any]

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self.buffer = buffer
        self.window = Window(b"")
        self.kept: bytes | bytearray = b""
        self.first = self.stop = self.kept_end = 0
        self.no_end_at = -1
        self.patience = _ENDLESS
        self.report = False
        self.reset()

    def reset(self) -> None:
        """Become the next frame, about which nothing is known."""
        self.state = FRESH
        self.consumed = self.window.taken = 0
        self.value: Any = PAYLOAD
        self.size: int | None = None
        self.end = -1
        self.need = self.resume = self.settled = self.payload_start = 0
        self.window.memo = None
        self.error: FrameTooLarge | None = None

    # Where does it end?

    @property
    def extent(self) -> bool:
        """Whether it is known where the payload and the frame end."""
        return self.end >= 0

    def search(self, limit: int, eof: bool, *, in_parts: bool = False) -> bool:
        """Ask about the frame until its extent is known; return False if more bytes must arrive before that.

        With `in_parts`, return True as soon as payload is final, so that it can be passed on first. Padding is
        consumed. It raises `FrameTooLarge` before it collects more than ``limit + overhead + 1`` unsettled bytes.
        """
        buffer, bound = self.buffer, limit + self.condition.overhead
        while True:
            if self.extent:
                if self.value is not PADDING:
                    return True
                if self._is_undecided_within(bound + 1, self.end, in_parts):
                    break
                buffer.advance(self.end)
                self.reset()
                if eof and not buffer.size:
                    return False
                self.tire(1)
            if in_parts and self.settled > 0:
                return True
            need = self.need
            if not need and not self.condition.can_be_empty:
                need = 1
            have = len(buffer.head) - buffer.pos
            if have < need:
                if have > bound:
                    break
                if buffer.queued:
                    buffer.grow(min(need, bound + 1))
                    continue
                if not eof:
                    return False
            last = eof and not buffer.queued
            try:
                found = self._ask(last)
            except FramingError:
                # In smaller chunks, the bytes before the error would have been judged, or passed on, first.
                if self._is_undecided_within(bound + 1, have, in_parts):
                    break
                found = self._settled_before_error(have) if in_parts else None
                if found is None:
                    raise
                self.note(found)
                self.need = 0
                continue
            end = found[2] if type(found) is tuple and len(found) > 2 else None
            is_small = type(end) is int and end <= buffer.pos + bound + 1
            if in_parts and not is_small and self._is_undecided_within(bound + 1, have, in_parts):
                break
            self.note(found)
            if not self.extent and last and not (in_parts and self.settled > 0):
                if have <= bound:
                    return False
                break
        raise self.error or self.too_large(limit)

    def _ask(self, eof: bool) -> Any:
        buffer, window = self.buffer, self.window
        start = buffer.pos
        window.data = buffer.head
        window.start = start
        window.resume = start + self.resume
        window.eof = eof
        window.taken = self.consumed
        try:
            return self._find(window)
        except FramingError as error:
            self.placed(error, 0 if error.position is None else error.position - start)
            raise

    def _find(self, window: Window) -> Any:
        try:
            return self.condition.find(window)
        except FramingError:
            raise
        except FAULTS as error:
            self.fault(f"find raised {type(error).__name__}: {describe_error(error)}", error)

    def _answer_to(self, size: int) -> Any:
        """Return the condition's answer to the first `size` bytes alone, or None if it is an error.

        Smaller chunks would have led to this question. Positions count from the first of these bytes.
        """
        start = self.buffer.pos
        window = Window(bytes(memoryview(self.buffer.head)[start : start + size]))
        if self.consumed:
            # The frame's beginning is consumed, and only the memo knows it. Otherwise the memo may depend on
            # more bytes than these, so the question starts afresh.
            window.resume, window.memo, window.taken = self.resume, self.window.memo, self.consumed
        try:
            return self._find(window)
        except FramingError:
            return None

    def _is_undecided_within(self, size: int, have: int, in_parts: bool) -> bool:
        """Tell whether the first `size` bytes show neither end nor part: too large, in smaller chunks."""
        if have <= size:
            return False
        more = self._answer_to(size)
        return type(more) is NeedMore and not (in_parts and more.settled)

    def _settled_before_error(self, have: int) -> NeedMore | None:
        """Return the answer to the longest prefix that raises no error, if it settles payload."""
        buffer, window = self.buffer, self.window
        head, start = bytes(buffer.head), buffer.pos
        good, bad, answer = self.resume, have, None
        while bad - good > 1:
            middle = (good + bad) // 2
            window.data = head[: start + middle]
            window.eof = False
            try:
                answer, good = self._find(window), middle
            except FramingError:
                bad = middle
        return answer if type(answer) is NeedMore and (answer.settled or 0) > start else None

    def note(self, found: Any) -> None:
        """Store the answer to the question just asked, and check it against the contract."""
        if type(found) is tuple:
            self._note_extent(found)
        elif type(found) is NeedMore:
            self._note_more(found)
        else:
            self.fault(f"find returned {found!r}, not a span or NeedMore")

    def _check_integers(self, found: Any, *positions: Any) -> None:
        for position in positions:
            if not hasattr(position, "__index__"):
                self.fault(f"find returned {found!r}, whose positions are not all integers")

    def _note_extent(self, found: tuple[Any, ...]) -> None:
        start = self.buffer.pos
        if not 3 <= len(found) <= 4:
            self.fault(f"find returned a tuple of {counted(len(found), 'item')}, not 3 or 4")
        first, stop, end, value = found if len(found) == 4 else (*found, PAYLOAD)
        if not type(first) is type(stop) is type(end) is int:
            self._check_integers(found, first, stop, end)
        if not start <= first <= stop <= end:
            self.fault(f"span out of order: {found[:3]} for a frame that starts at {start}")
        if end == start and not (self.condition.can_be_empty or self.consumed):
            self.fault("a frame of no bytes, from a condition that is not can_be_empty")
        if value is PADDING and (self.consumed or not start < end <= len(self.buffer.head)):
            self.fault(f"padding inside a frame, or beyond the data: {found[:3]}, window.taken={self.consumed}")
        if type(value) is Decode:
            size = len(value.trailer)
            if size and size != end - stop:
                self.fault(f"a trailer of {counted(size, 'byte')} in a span that leaves {end - stop} for it")
            if not value.final:
                self.no_end_at = self.buffer.offset + end - start
        self.first, self.stop, self.value = first - start, stop - start, value
        self.end = self.need = end - start
        if not self.consumed:
            self.size = stop - first
        if self.state is FRESH or self.state is SEARCHING:
            self.state = KNOWN

    def _note_more(self, more: Any) -> None:  # compiled, to read an attribute of another type would be an error
        start = self.buffer.pos
        have = len(self.buffer.head) - start
        try:
            resume = self.resume if more.resume is None else more.resume - start
            settled = 0 if more.settled is None else more.settled - start
            payload_start = 0 if more.payload_start is None else more.payload_start - start
            need = max(more.size, have + 1)
            are_integers = type(resume) is type(settled) is type(payload_start) is type(need) is int
        except TypeError:
            are_integers = False
        if not are_integers:
            self._check_integers(more, more.size, more.resume or 0, more.settled or 0, more.payload_start or 0)
        if not (0 <= resume <= have and 0 <= settled <= have):
            self.fault(f"{more!r} points outside the data ({start} to {start + have})")
        self.resume = max(resume, settled)
        self.settled = settled
        self.payload_start = payload_start
        self.window.memo = more.memo
        self.need = need
        if self.state is FRESH:
            self.state = SEARCHING

    # Parts

    def next_part(self, limit: int, eof: bool) -> bytes | FrameEnd | NeedData:
        """Return the next part, FRAME_END, or NEED_DATA; raise the same as `search`."""
        buffer = self.buffer
        while not self.extent:
            if not self.search(limit, eof, in_parts=True):
                return NEED_DATA
            # A settled header with no payload after it makes no part.
            if self.settled and (part := self._take_settled()):
                return part
        if self.first > 0:
            if buffer.size < self.first:
                return NEED_DATA
            self._moved(buffer.drop(self.first))
        if self.stop > 0:
            if not buffer.size:
                return NEED_DATA
            if buffer.pos == len(buffer.head):
                buffer.grow(1)
            part = buffer.peek(min(self.stop, len(buffer.head) - buffer.pos))
            buffer.advance(len(part))
            self._moved(len(part))
            return part
        if self.trailer and self.end:
            if buffer.size < self.end:
                return NEED_DATA
            self.check_trailer()
        self._moved(buffer.drop(self.end))
        return NEED_DATA if self.end else FRAME_END

    def drop(self, limit: int, eof: bool) -> FrameEnd | NeedData:
        """Discard the frame's bytes that have arrived; return FRAME_END after the last."""
        while True:
            if self.extent and self.stop > 0:
                self._moved(self.buffer.drop(self.stop))
            part = self.next_part(limit, eof)
            if not isinstance(part, bytes):
                return part

    def pass_by(self, limit: int, eof: bool) -> FrameEnd | NeedData:
        """Do as `drop`, after the beginning to keep."""
        if self.state is TRUNCATING and self.gather(limit, eof) is NEED_DATA:
            return NEED_DATA
        return self.drop(limit, eof)

    def _take_settled(self) -> bytes:
        size, first = self.settled, min(self.payload_start, self.settled)
        part = self.buffer.peek(size - first, at=first)
        self.consumed += self.buffer.drop(size)
        self.need = max(self.need - size, 1)
        self.resume -= size
        self.settled = self.payload_start = 0
        return part

    def _moved(self, size: int) -> None:
        self.consumed += size
        self.first = max(self.first - size, 0)
        self.stop = max(self.stop - size, 0)
        self.end -= size

    def gather(self, limit: int, eof: bool) -> bytes | FrameEnd | NeedData:
        """Return the beginning to keep, once it is complete."""
        while missing := limit - len(self.kept):
            part = self.next_part(limit, eof)
            if not isinstance(part, bytes):
                return part
            self.kept_end = self.buffer.offset - max(len(part) - missing, 0)
            self.kept += part[:missing]
        return bytes(self.kept)

    # Limits

    def judge(self, limit: int) -> None:
        """Raise `FrameTooLarge` unless the frame is within the limit.

        The verdict depends on the frame's first ``limit + overhead + 1`` bytes, however many have arrived,
        so it is the same for every chunking: what counts is whether the condition can tell the extent
        from those bytes.
        """
        size, end, buffer = self.stop - self.first, self.end, self.buffer
        bound = limit + self.condition.overhead
        if size <= limit and end <= bound + 1:
            return
        probe = min(bound + 1, end - 1)
        value = self.value
        declared = len(buffer.head) - buffer.pos < probe
        if not declared and type(found := self._answer_to(probe)) is tuple:
            declared, value = True, found[3] if len(found) == 4 else PAYLOAD
        if declared and size <= limit and end - size <= max(bound, _MOST_OVERHEAD):
            return
        self.value = value  # the same bytes decide who decodes the part that is kept
        raise self.too_large(limit, size if declared else None)

    def begin_skip(self, error: FrameTooLarge, limit: int, policy: OnOversize | None) -> bool:
        """Begin to discard the frame that `error` is about, as the policy says; return False if that cannot be.

        Without a policy, the frame is being streamed, and it cannot.
        """
        error.closing = policy == "close"
        is_lost = policy is None or policy == "close" or (policy == "raise" and not error.recoverable)
        if self.is_skipped or not (is_lost or error.recoverable or self._can_be_skipped(limit)):
            is_lost = True
            error.reason += "; it cannot be skipped, because its framer settles no payload early"
        error.recoverable = not is_lost
        if is_lost:
            return False
        self.error = error
        self.report = policy != "raise"
        self.state = SKIPPING
        if policy == "truncate":
            self.state = TRUNCATING
            self.kept = bytearray()
            self.kept_end = self.buffer.offset
        return True

    @property
    def is_skipped(self) -> bool:
        """Whether it, or the rest of it, is discarded as it arrives."""
        return self.state is SKIPPING or self.state is TRUNCATING

    def _can_be_skipped(self, limit: int) -> bool:
        # A frame of undeclared size can be discarded as it arrives if the condition settles payload. That,
        # too, depends on the first `bound` + 1 bytes only.
        bound = limit + self.condition.overhead
        if self.extent and self.end <= bound + 1:
            return True
        more = self._answer_to(bound + 1)
        return type(more) is NeedMore and bool(more.settled)

    # Errors

    @property
    def trailer(self) -> bytes:
        """The bytes that must follow the payload; empty if any bytes may."""
        return self.value.trailer if type(self.value) is Decode else b""

    def check_trailer(self) -> None:
        """Refuse the frame if bytes other than its trailer follow the payload."""
        trailer = self.trailer
        found = self.buffer.peek(len(trailer), at=self.stop)
        if found != trailer:
            raise self.placed(FramingError(f"frame ends with {found!r} where {trailer!r} is expected"), self.stop)

    def too_large(self, limit: int, size: int | None = None) -> FrameTooLarge:
        """Make the error for a frame above the limit; pass `size` if the frame declares it."""
        return self.placed(FrameTooLarge(limit=limit, size=size, recoverable=size is not None))

    def incomplete(self) -> IncompleteFrame:
        """Make the error for a stream that ended inside the frame."""
        size = self.consumed + self.buffer.size
        error = IncompleteFrame(received=size, expected=self.consumed + self.end if self.extent else None)
        return self.placed(error, -self.consumed)

    def tire(self, effort: int) -> None:
        """Count work to do; raise `Respite` if other tasks are to get a turn before it is done."""
        self.patience -= effort
        if self.patience <= 0:
            self.patience = _PATIENCE
            raise Respite

    def name_of(self, condition: ReadCondition[Any]) -> str:
        """Return the spec string, made once: it costs more than a frame, and bad frames come in floods."""
        global _named  # noqa: PLW0603 - one for all decoders: 8 bytes of each would be for bad frames only
        named = _named
        if condition is not named[0]:
            _named = named = condition, str(condition)
        return named[1]

    def placed(self, error: E, at: int = 0) -> E:
        """Add to an error its place, `at` bytes after the first unconsumed one, and what the frame looks like."""
        if not self.consumed:
            try:
                hint = self.condition.explain(Window(self.buffer.head, self.buffer.pos))
            except FAULTS as fault:
                self.fault(f"explain raised {type(fault).__name__}: {describe_error(fault)}", fault)
            if hint:
                error.reason = f"{error.reason}; {hint}"
        error.offset = self.buffer.offset + at
        error.framer = self.name_of(self.condition)
        error.excerpt = self.buffer.peek(32, at=max(at, 0))
        return error

    def fault(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        """Raise the error for a mistake of the condition's author."""
        raise because(FramerContractError(reason, framer=str(self.condition), offset=self.buffer.offset), cause)


class Batch:
    """Frames that were cut at once: their places, and a cursor that follows their delivery.

    The end of each frame is not stored. To learn it, or to give back undelivered frames as bytes, the batch
    calls `find` again, once for each frame.

    Attributes:
        start: index in `head` of the frame found last, without padding before it.
        at: index of the first byte after it.
        end: index of the first byte after the batch.
        base: stream offset of ``head[0]``.
        left: how many frames come after that.
        limit: the limit in force when they were cut, in bytes.
    """

    __slots__ = ("_condition", "_eof", "at", "base", "end", "head", "left", "limit", "start")

    def __init__(
        self, condition: ReadCondition[Any], buffer: ReceiveBuffer, end: int, left: int, limit: int, eof: bool
    ) -> None:
        self._condition, self._eof = condition, eof
        self.head, self.base, self.end = buffer.head, buffer.base, end
        self.start = self.at = buffer.pos
        self.left, self.limit = left, limit

    def follow(self, ahead: int) -> None:
        """Move the cursor to the frame delivered last, if so many are still ahead."""
        window = Window(self.head, self.at, eof=self._eof)
        while self.left > ahead:
            found: Any
            try:
                found = self._condition.find(window)
            except FAULTS:
                found = None
            if type(found) is not tuple or not window.start < found[2] <= self.end:
                framer, offset = str(self._condition), self.base + window.start
                raise FramerContractError("split and find disagree", framer=framer, offset=offset)
            if len(found) == 3 or found[3] is not PADDING:
                self.left -= 1
                self.start = window.start
                self.at = found[2]
            window.start = window.resume = found[2]


@final
class FrameDecoder:
    """Cut received bytes into frames, each by the condition the caller names.

    The result never depends on how the bytes were split into chunks, the cost is linear in the bytes,
    and a frame leaves the buffer only when it is delivered: the condition may change between any two.

    Args:
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        on_oversize: what happens to a frame above its limit. ``"raise"`` raises `FrameTooLarge`; if the
            frame declares its size, the next call continues after it, else the decoder is broken.
            ``"discard"`` skips exactly that frame and continues. ``"truncate"`` delivers the first bytes of
            the payload, up to the limit, and skips the rest. ``"close"`` raises, and nothing more can be
            read.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated, once all
            of it is skipped.
        on_payload_error: called with the `PayloadError` of each frame that cannot be decoded, after all
            frames before it are delivered; `frame_span` is that of the bad frame, and reading continues after
            it. Without it the error is raised instead.
        offset: stream offset of the first byte it will receive; every offset it reports counts from the
            beginning of the stream.

    Code that feeds it from a socket can use more methods: `get_buffer` and `buffer_updated`
    receive a large frame in its final place, `borrow` and `settle` use a kept buffer in place; `missing`
    tells how much to wait for.

    Attributes:
        condition: the condition of the last call.
        ahead: frames of that condition that were cut ahead, the next one last. While it is not empty,
            ``decoder.ahead.pop()`` does the same as ``next_frame(decoder.condition)`` without a call. Each
            batch is a new list, and one whose frames are delivered or put back is empty.
        last_size: bytes of the frame delivered last, header and delimiter included; in a batch, the average.
        parsed: whether the last of the frames cut ahead is an object, not bytes or text.
    """

    # fmt: off
    __slots__ = (
        "_batch", "_buffer", "_cut", "_eof", "_error", "_faults", "_finished", "_first", "_frame",
        "_high_water", "_other", "_quota", "_ripe", "_start", "ahead", "condition", "last_size",
        "max_frame_size", "on_discard", "on_oversize", "on_payload_error", "parsed",
    )
    # fmt: on

    def __init__(
        self,
        *,
        max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
        on_oversize: OnOversize = "raise",
        on_discard: Callable[[FrameTooLarge], object] | None = None,
        on_payload_error: Callable[[PayloadError], object] | None = None,
        offset: int = 0,
    ) -> None:
        check_count("max_frame_size", max_frame_size)
        check_count("offset", offset)
        self.max_frame_size = max_frame_size
        check_choice("on_oversize", on_oversize, POLICIES)
        self.on_oversize: OnOversize = on_oversize
        self.on_discard = on_discard
        self.on_payload_error = on_payload_error
        self.condition: Any = _NONE
        self._other: Any = _NONE  # the other condition asked for before that
        self.ahead: list[Any] = _NOTHING
        self._batch: Batch | None = None  # the last batch, if the last frame delivered was of it
        self._buffer = ReceiveBuffer()
        self._buffer.base = self._first = offset
        self._frame = CurrentFrame(self._buffer)
        self._eof = False
        self._finished = False  # a condition that may be empty has delivered its frame at the end
        self._error: Exception | None = None  # raised by every call if the frame is BROKEN
        self._cut = 0  # frames delivered, bad, or cut ahead
        self._start = 0  # offset of the frame delivered last, if it was not part of a batch
        self.last_size = self._high_water = 0
        self.parsed = False
        self._ripe = _RUN  # when `_cut` is as much, enough frames of one kind came in a row to look ahead
        self._quota = _FIRST_QUOTA
        # Frames above the limit, bytes of them discarded, frames that cannot be decoded: mostly none.
        self._faults = _NO_FAULTS

    def begin_turn(self) -> None:
        """Raise `Respite` after many frames, counted from here: other tasks have just had a turn.

        For callers that have other tasks to serve. Nothing is lost: the next call continues.
        """
        self._frame.patience = _PATIENCE

    @property
    def tired(self) -> bool:
        """Whether other tasks should get a turn before more bytes are received, see `begin_turn`."""
        return self._frame.patience <= 0

    # Bytes in

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add received bytes, or any buffer. ``bytes`` are kept without a copy; empty ones change nothing.

        Raises:
            StreamClosed: after `receive_eof`.
            TypeError: `data` is not a buffer.
        """
        if self._eof:
            raise StreamClosed("data received after the end of the stream")
        if type(data) is not bytes:
            data = _bytes_of(data)
        if data:
            size = self._buffer.append(data)
            # `held`, without two calls for each chunk of an echo: mostly nothing is cut ahead.
            if (held := self.held if self.ahead else size) > self._high_water:
                self._high_water = held

    def receive_eof(self) -> None:
        """Say that no bytes will follow. Buffered bytes can still be read."""
        self._eof = True

    def get_buffer(self) -> memoryview | None:
        """Return the place to receive the next bytes into, if there is one: fill it from its beginning.

        It is the rest of a large frame that `next_frame` waits for, and never extends beyond it. Then call
        `buffer_updated`. None: receive elsewhere.
        """
        self._open_place()
        place = self._buffer.place
        if place is None or self._eof or place.total - place.size < _LARGE:
            return None
        return place.rest()

    def _open_place(self) -> None:
        frame, buffer = self._frame, self._buffer
        if frame.state is KNOWN and buffer.place is None:
            size = buffer.size
            if frame.first < size and frame.stop - size >= _LARGE:
                buffer.open_place(Place(frame.stop - frame.first), frame.first)

    def buffer_updated(self, size: int) -> None:
        """Say that so many bytes were put into the place that `get_buffer` returned."""
        self._buffer.filled(size)
        self._high_water = max(self._high_water, self.held)

    def borrow(self, view: memoryview) -> bool:
        """Add received bytes that stay in the feeder's buffer until `settle`; return whether any do.

        Large frames of declared size are copied out of it once, without any other cost. Others are copied
        at once.

        Raises:
            StreamClosed: after `receive_eof`.
        """
        if self._eof:
            raise StreamClosed("data received after the end of the stream")
        buffer = self._buffer
        if view.format != "B" or view.strides != (1,):
            view = memoryview(view.tobytes())
        if buffer.place is not None:
            done = buffer.fill(view)  # mypyc would call it twice inside the brackets
            view = view[done:]
        stays = self.last_size >= _WORTH_BORROWING <= len(view) and (self._frame.state is KNOWN or not buffer.size)
        if stays:
            buffer.borrow(view)
        elif self.ahead or not buffer.extend(view):
            buffer.append(bytes(view))
        self._high_water = max(self._high_water, self.held)
        return stays

    def settle(self) -> None:
        """Copy the borrowed bytes that are not delivered: their buffer will be reused."""
        if self._buffer.view is not None:
            self._open_place()
            self._buffer.settle()

    def take_leftover(self) -> bytes:
        """Consume and return every byte received and not delivered, for another reader to continue with.

        What has arrived of a frame that is skipped is discarded, as the rest will be: while `skipping` is true,
        another reader would begin inside it. A truncated frame that is not delivered yet is skipped as a whole.
        """
        frame = self._frame
        if frame.state is not BROKEN:  # a broken frame stays
            self._prepare(_NONE, -1)
        if frame.state is TRUNCATING:
            frame.state, frame.kept = SKIPPING, b""
        with suppress(FramestreamError):  # every later call raises it
            self.drop_skipped()
        leftover = self.leftover
        self._buffer.drop(len(leftover))
        return leftover

    # Frames out

    # The options are positional, too: keyword-only ones make a call cost a third more.
    def next_frame(
        self, condition: ReadCondition[T], max_size: int | None = None, on_oversize: OnOversize | None = None
    ) -> T | NeedData | End:
        """Return the next frame, NEED_DATA if it is not complete, or END if the stream ended before it.

        Consumes exactly the frame. `max_size` and `on_oversize` override the limit and the policy for
        this call.

        Raises:
            FramingError: the bytes cannot be a frame; every later call raises it again.
            FrameTooLarge: see `on_oversize`; ``recoverable`` tells whether the next call continues.
            IncompleteFrame: the stream ended inside the frame; nothing is consumed.
            PayloadError: the frame cannot be decoded; it is consumed. See `on_payload_error`.
            StreamBusy: a frame is being streamed in parts; finish it or call `skip_frame`.
            FramerContractError: the condition is at fault.
        """
        ahead: list[T] = self.ahead
        if ahead and condition is self.condition and max_size is None:
            return ahead.pop()
        buffer = self._buffer
        is_other = condition is not self.condition
        if is_other:
            if condition is not self._other:
                check_condition(condition)
        elif (
            buffer.pos == len(buffer.head)
            and self._frame.state is FRESH
            and not (ahead or buffer.queued or self._eof or condition.can_be_empty or on_oversize)
        ):
            return NEED_DATA  # every read that waits takes this path ("echo" in benchmarks/)
        limit = condition.max_size if max_size is None else max_size
        if limit is None:
            limit = self.max_frame_size
        if on_oversize is not None:
            check_choice("on_oversize", on_oversize, POLICIES)
        if is_other or ahead:
            self._prepare(condition, limit)
            if self.ahead:
                ahead = self.ahead
                return ahead.pop()
        while True:
            try:
                return self._whole_frame(condition, limit)  # type: ignore[no-any-return]  # T, or a sign
            except FramestreamError as error:
                if not self._goes_on_after(error, limit, on_oversize or self.on_oversize):
                    raise

    def next_batch(
        self, condition: ReadCondition[T], max_size: int | None = None, on_oversize: OnOversize | None = None
    ) -> list[T] | NeedData | End:
        """Return every frame that is complete, as a list of at least one; else NEED_DATA or END.

        Much cheaper per frame than `next_frame`. Raises the same; a list ends before a frame that is bad or too
        large, which the next call meets, and after the beginning of one that is truncated.
        """
        is_other = condition is not self.condition
        if is_other:
            check_condition(condition)
        limit = self._limit(condition, max_size)
        if is_other or self.ahead:
            self._prepare(condition, limit)
        if on_oversize is not None:
            check_choice("on_oversize", on_oversize, POLICIES)
        if self._quota:
            self._ripe = min(self._ripe, self._cut)  # a caller that asks for a batch will ask for more
            if self._quota >= _MOST_AHEAD:
                self._quota = max(self._quota, limit)  # and it takes all that is cut ("lines" in benchmarks/)
        frames: list[T] = []
        while True:
            if self.ahead:
                self.ahead.reverse()
                frames += self.ahead
                self.ahead.clear()
            try:
                frame = self._whole_frame(condition, limit)
            except (FramestreamError, Respite) as error:
                if frames:
                    if isinstance(error, Respite):
                        self._frame.patience = 0  # it is due still
                    return frames
                if not self._goes_on_after(error, limit, on_oversize or self.on_oversize):
                    raise
                continue
            if frame is NEED_DATA or frame is END:
                return frames or frame
            frames.append(frame)
            if condition.can_be_empty or self._frame.is_skipped:
                return frames

    def next_part(self, condition: ReadCondition[Any]) -> bytes | FrameEnd | NeedData | End:
        """Return the next piece of the current frame's payload, then FRAME_END when the frame is complete.

        Parts are the payload as it was sent, not decoded, and never empty. No limit applies to the
        frame: memory stays within one chunk plus the bytes that the condition cannot yet tell from a
        delimiter, which the limit does cover. END means that no frame begins.

        Raises the same as `next_frame`; `IncompleteFrame` if the stream ends before the frame does.
        """
        if condition is not self.condition:
            check_condition(condition)
        limit = self._limit(condition, None)
        if self._frame.state is not STREAMING:
            self._prepare(condition, -1)
        while True:
            try:
                return self._part(condition, limit)
            except FramestreamError as error:
                if not self._goes_on_after(error, limit, None):
                    raise

    def skip_frame(self) -> None:
        """Discard the rest of the frame that is being streamed, as it arrives; without one, do nothing."""
        if self._frame.state is STREAMING:
            self._frame.state = SKIPPING

    def drop_skipped(self) -> bool:
        """Discard what has arrived of a frame that is skipped; return True while its rest is still to come.

        Every call for a frame does it first; this is for callers that look at the bytes themselves. Raises what
        `next_frame` would.
        """
        frame = self._frame
        while frame.state is SKIPPING:
            try:
                return self._resume(frame.drop) is NEED_DATA
            except FramestreamError as error:
                if not self._goes_on_after(error, self._limit(frame.condition, None), self.on_oversize):
                    raise
        return False

    # One frame

    def _whole_frame(self, condition: ReadCondition[Any], limit: int) -> Any:
        """Do as `_next`, and quickly so if the frame is plain, complete, and certainly within the limit.

        Frames are cut ahead if that pays.
        """
        current, buffer = self._frame, self._buffer
        if current.state is not FRESH:
            return self._next(condition, limit)
        head, start = buffer.head, buffer.pos
        have, lent = len(head) - start, None
        if not have:
            if not buffer.queued:
                return self._next(condition, limit) if self._eof or condition.can_be_empty else NEED_DATA
            if (lent := buffer.lent()) is not None:
                head, start = bytes(lent[:_FIRST_LOOK]), 0
            else:
                buffer.grow(1)
                return self._whole_frame(condition, limit)
        if have >= 2 * self.last_size and self._cut >= self._ripe and self._look_ahead(condition, limit):
            return self.ahead.pop()
        window = current.window
        window.data = head
        window.start = window.resume = start
        window.eof = self._eof and not buffer.queued
        try:
            found: Any = condition.find(window)
        except FAULTS:  # met again there
            return self._next(condition, limit)
        if type(found) is tuple and len(found) == 3:
            first, stop, end = found
            try:
                is_plain = type(end) is int and 0 < (size := end - start) <= limit and start <= first <= stop <= end
            except TypeError:
                is_plain = False
            if is_plain:
                if (is_here := size <= have) or size <= have + buffer.queued:
                    payload: Any = b""  # bytes
                    try:
                        payload = (
                            head[first:stop]
                            if is_here
                            else (bytes(lent[first:stop]) if lent else buffer.peek(stop - first, at=first - start))
                        )
                        frame = condition.decode(payload)
                    except FAULTS as error:
                        current.condition = condition
                        current.note(found)  # which refuses positions that cannot cut
                        raise self._undecodable(condition, error, payload, first - start)
                    # Here, each call would cost a tenth of a small frame.
                    self._start, self.last_size, self._batch = buffer.base + start, size, None
                    self._cut += 1
                    if is_here:
                        buffer.pos = end
                    elif lent is not None:
                        buffer.drop_lent(lent, size)
                    else:
                        buffer.drop(size)
                    if self._eof:
                        self._note_end(condition)
                    return frame
                lent = None  # its extent is all that must be known of it
        if lent is not None:
            buffer.settle()
            return self._whole_frame(condition, limit)
        current.condition = condition
        current.note(found)
        return self._next(condition, limit)

    def _next(self, condition: ReadCondition[Any], limit: int) -> Any:
        frame, buffer = self._frame, self._buffer
        if frame.need <= limit and (frame.state is SEARCHING or frame.state is KNOWN):
            # Most of a frame that drips in, and all that bring their value.
            if buffer.size < frame.need:
                if not self._eof:
                    return NEED_DATA
            elif (
                self._cut >= self._ripe
                and _FEWEST * self.last_size <= len(buffer.head) - buffer.pos >= frame.need
                and type(buffer.head) is bytes
                and self._look_ahead(condition, limit)
            ):
                # The end of a chunk had cut it short, and it is the first of many that have come with its rest.
                frame.reset()
                return self.ahead.pop()
            elif frame.state is KNOWN and frame.value is not PADDING:
                return self._take(condition)
        if frame.state is TRUNCATING and (condition is frame.condition or condition == frame.condition):
            beginning = self._resume(frame.gather)
            if beginning is NEED_DATA:
                return NEED_DATA
            assert isinstance(beginning, bytes)  # if it ended before, `_resume` has raised its error
            # A frame of undeclared size may be delivered before it is known who decodes it.
            is_declared = frame.error is not None and frame.error.size is not None
            value = frame.value if is_declared and type(frame.value) is Decode else PAYLOAD
            first = frame.kept_end - len(beginning) - (buffer.offset - frame.consumed)
            return self._decode(condition, beginning, value, first)
        if (nothing := self._begin(condition)) is not None:
            return nothing
        if frame.search(limit, self._eof):
            if frame.end > limit:
                frame.judge(limit)
            if frame.end <= buffer.size:
                return self._take(condition)
        if not self._eof:
            return NEED_DATA
        if not self._at_end(condition):
            raise frame.incomplete()
        return END

    def _part(self, condition: ReadCondition[Any], limit: int) -> bytes | FrameEnd | NeedData | End:
        frame = self._frame
        if frame.state is not STREAMING:
            if (nothing := self._begin(condition)) is not None:
                return nothing
        elif condition is not frame.condition and condition != frame.condition:
            raise StreamBusy(f"a frame of {frame.condition} is being streamed; finish or skip it first")
        part = frame.next_part(limit, self._eof)
        if part is FRAME_END:
            self._finish()
            return FRAME_END
        if frame.consumed:
            frame.state = STREAMING
        if part is NEED_DATA and self._eof:
            if self._at_end(condition) and frame.state is not STREAMING:
                return END
            raise frame.incomplete()
        return part

    def _begin(self, condition: ReadCondition[Any]) -> NeedData | End | None:
        """Come to the frame that begins next, the condition's; return why there is none, or None if there is one."""
        frame = self._frame
        if frame.state is BROKEN:
            assert self._error is not None
            raise self._error.with_traceback(None)
        if frame.state is STREAMING:
            raise StreamBusy(IN_PARTS)
        if frame.state is TRUNCATING:
            raise StreamBusy(f"a truncated frame of {frame.condition} is being read; read on with that")
        if frame.state is SKIPPING and self._resume(frame.drop) is NEED_DATA:
            return NEED_DATA
        if self._at_end(condition):
            return END
        if frame.state is FRESH:
            frame.condition = condition
        return None

    def _take(self, condition: ReadCondition[Any]) -> Any:
        frame = self._frame
        value = frame.value
        if type(value) is Decode:
            if value.trailer:
                frame.check_trailer()
        elif value is not PAYLOAD:
            self._finish()
            return value
        payload = self._buffer.peek(frame.stop - frame.first, at=frame.first)
        return self._decode(condition, payload, value, frame.first)

    def _decode(self, condition: ReadCondition[Any], payload: bytes, value: Any, first: int) -> Any:
        try:
            frame = condition.decode(payload) if value is PAYLOAD else value.decode(payload)
        except FAULTS as error:
            raise self._undecodable(condition, error, payload, first)
        self._finish()
        return frame

    def _undecodable(
        self, condition: ReadCondition[Any], error: BaseException, payload: bytes, first: int
    ) -> FramestreamError:
        """Return what to raise for the current frame, whose payload `decode` has refused with this error."""
        framer, offset = self._frame.name_of(condition), self._buffer.offset - self._frame.consumed
        if isinstance(error, PayloadError):
            bad = error
        elif isinstance(error, FramingError):
            error.offset, error.framer, error.excerpt = offset + first, framer, payload[:32]
            return error
        elif isinstance(error, FramerContractError):
            return error
        elif isinstance(error, ValueError):
            bad = because(PayloadError(describe_error(error)), error)
        else:
            reason = f"decode raised {type(error).__name__}: {describe_error(error)}"
            bad = because(DecodeFault(reason), error)
        bad.offset, bad.framer, bad.payload, bad.payload_offset = offset, framer, payload, offset + first
        return bad

    def _finish(self) -> None:
        """Consume the current frame, or what is delivered of one that is truncated, and note its place."""
        frame, buffer = self._frame, self._buffer
        start = buffer.offset - frame.consumed
        if frame.state is TRUNCATING:
            self.last_size = frame.kept_end - start
            frame.state, frame.kept = SKIPPING, b""
        else:
            self.last_size = frame.consumed + buffer.drop(frame.end)
            frame.reset()
            self._note_end(frame.condition)
        self._start, self._batch = start, None
        self._cut += 1

    def _goes_on_after(self, error: Exception, limit: int, policy: OnOversize | None) -> bool:
        """Do what is to be done about an error; return whether reading goes on with the next frame.

        A frame that is bad or too large costs only itself. Everything else breaks the stream for good, but for an
        end inside a frame, which is met again, and what is the caller's own mistake.

        The caller raises it: an error that is raised where a variable holds it holds itself through its traceback,
        with all that the variables of all callers hold, until garbage is collected.
        """
        frame = self._frame
        if frame.state is BROKEN:
            return False
        if isinstance(error, FrameTooLarge) and error.discarded:  # all of it
            if self.on_discard is not None:
                self.on_discard(error)
            return True
        if isinstance(error, (PayloadError, FrameTooLarge)):
            frame.tire(_BAD)  # nothing is consumed yet: the next call meets it again
        if isinstance(error, PayloadError):
            self._finish()
            self._count(payload_errors=1)
            self._ripe, self._quota = self._cut + _RUN, 0
            if self.on_payload_error is None:
                return False
            self.on_payload_error(error)
            return True
        if isinstance(error, FrameTooLarge):
            self._count(oversize=frame.error is None)  # otherwise it is counted already
            if frame.begin_skip(error, limit, policy):
                return policy != "raise"
        if isinstance(error, (FramingError, FramerContractError)) and not isinstance(error, IncompleteFrame):
            frame.state = BROKEN
            self._error = error
        return False

    def _count(self, oversize: int = 0, discarded: int = 0, payload_errors: int = 0) -> None:
        faults = self._faults
        self._faults = (faults[0] + oversize, faults[1] + discarded, faults[2] + payload_errors)

    def _note_end(self, condition: ReadCondition[Any]) -> None:
        if condition.can_be_empty and self._eof and not self._buffer.size:
            self._finished = True

    def _at_end(self, condition: ReadCondition[Any]) -> bool:
        if self._buffer.size or not self._eof:
            return False
        if self._buffer.offset == self._frame.no_end_at:
            return False
        return self._finished or not condition.can_be_empty

    # Many frames

    def _look_ahead(self, condition: ReadCondition[Any], limit: int) -> bool:
        """Cut frames ahead from the head if that pays; return whether there are any."""
        self._frame.tire(_RUN)  # so many came one by one before
        size = self.last_size
        limit = min(limit, self._limit(condition, None))  # they may be for a call that sets no limit of its own
        quota = min(max(self._quota, 2 * _FEWEST * size), limit, (_PATIENCE + 1) * max(size, 1))
        if _FEWEST * size > quota:
            return False
        frames = self._split(condition, quota, limit)
        frames.reverse()
        self.ahead = frames
        return bool(frames)

    def _split(self, condition: ReadCondition[Any], most: int, limit: int) -> list[Any]:
        """Cut whole frames from the first `most` bytes of the head, and consume them.

        A frame that raises ends the batch silently: `find` meets it next, and knows its place. If `split`
        raises, all frames are left to `find`.
        """
        frame, buffer = self._frame, self._buffer
        head, start = buffer.head, buffer.pos
        if condition.can_be_empty:
            return []
        data, at, last = head, start, self._eof and not buffer.queued
        if len(head) - start > most:
            # The window is never larger than the limit, so no `split` needs to check it.
            data, at, last = head[start : start + most], 0, False
        untyped: Any = condition  # compiled, an answer of another type would be an error in here
        try:
            frames, end = untyped.split(Window(data, at, eof=last))
        except FAULTS:  # perhaps from `decode`, and its frame is unknown
            frames, end = [], at
        if not (isinstance(frames, list) and isinstance(end, int)):
            frame.condition = condition
            kinds = f"{type(frames).__name__} and {type(end).__name__}"
            frame.fault(f"split returned {kinds}, not a list of frames and an index")
        if not at <= end <= len(data) or bool(frames) != (end > at):
            where = f"{counted(len(frames), 'frame')} up to {end}, of data from {at} to {len(data)}"
            frame.condition = condition
            frame.fault(f"split returned {where}")
        if not frames:
            self._ripe = self._cut + _RUN  # not worth trying again at once
            return []
        end += start - at
        self._batch = Batch(condition, buffer, end, len(frames), limit, last)
        self._cut += len(frames)
        frame.patience -= len(frames)
        self._quota = max(self._quota, min(2 * most, _MOST_AHEAD))
        self.last_size = (end - start) // len(frames)
        self.parsed = type(frames[-1]) not in (bytes, str)
        buffer.advance(end - start)
        return frames

    def _follow(self) -> Batch:
        # The cursor of the batch, moved to the frame delivered last.
        batch = self._batch
        assert batch is not None
        batch.follow(len(self.ahead))
        return batch

    def _put_back(self) -> None:
        batch = self._follow()
        self._buffer.unread(batch.head, batch.at, batch.end)
        self._cut -= len(self.ahead)
        self.ahead.clear()
        self._batch = None
        self._start = batch.base + batch.start
        self.last_size = batch.at - batch.start
        self._ripe = self._cut + _RUN
        self._quota = _FIRST_QUOTA

    # Before a read

    def _prepare(self, condition: ReadCondition[Any], limit: int) -> None:
        """Clear the way for asking about `condition`, or about none in particular (_NONE).

        Frames cut ahead stay if they were cut for the same condition, and within `limit`.
        """
        frame = self._frame
        if frame.state is STREAMING:
            raise StreamBusy(IN_PARTS)
        if condition is not self._other and condition == self.condition:
            # An equal condition continues where the other was: `Line()` written anew each time searches no
            # byte twice. After one comparison, each is recognised by its identity.
            self.condition = condition
        same = condition is self.condition
        if self.ahead and not (same and self._batch is not None and self._batch.limit <= limit):
            self._put_back()
        if not same:
            self._ripe = self._cut + _RUN
            self._other, self.condition = self.condition, condition
            if frame.state is SEARCHING or frame.state is KNOWN:
                self._buffer.close_place()
                self._buffer.advance(0)  # the head of a frame that nothing is known of is no bytearray
                frame.reset()

    def _is_inside_skipped(self) -> bool:
        """Discard what has arrived of a frame that is skipped; return True if its rest is still to come.

        Its end, or what is wrong in it, is told by the next call for a frame.
        """
        try:
            return self._frame.is_skipped and self._frame.pass_by(self._skip_limit(), self._eof) is NEED_DATA
        except FramestreamError:
            return False

    def _skip_limit(self) -> int:
        frame = self._frame
        return self._limit(frame.condition, None) if frame.error is None else frame.error.limit

    def _limit(self, condition: ReadCondition[Any], max_size: int | None) -> int:
        if max_size is not None:
            return max_size
        return self.max_frame_size if condition.max_size is None else condition.max_size

    # Frames above the limit

    def _resume(self, ask: Callable[[int, bool], bytes | FrameEnd | NeedData]) -> bytes | FrameEnd | NeedData:
        """Pass on or discard the bytes of a frame that is too large or skipped."""
        frame = self._frame
        outcome = ask(self._skip_limit(), self._eof)
        if outcome is NEED_DATA and self._eof:
            raise frame.incomplete()
        if outcome is FRAME_END:
            condition, error, size, report = frame.condition, frame.error, frame.consumed, frame.report
            frame.reset()
            self._note_end(condition)
            if error is not None:
                error.discarded = size
                self._count(discarded=size)
                if report:
                    try:
                        raise error  # for `on_discard`
                    finally:
                        del error
        return outcome

    # State

    @property
    def streaming(self) -> bool:
        """True while a frame is being streamed in parts."""
        return self._frame.state is STREAMING

    @property
    def skipping(self) -> bool:
        """True while a frame, or the rest of one, is discarded as it arrives."""
        return self._frame.is_skipped

    @property
    def frame_size(self) -> int | None:
        """The payload size in bytes of the frame being streamed, if known already, else None."""
        return self._frame.size if self._frame.state is STREAMING else None

    @property
    def frame_span(self) -> tuple[int, int]:
        """The place of the frame delivered last: stream offsets of its first byte and of the byte after it.

        Header and delimiter are included, padding before the frame is not. After a batch it is that of the
        last frame; that of a truncated frame ends with the part kept. Before the first frame it is (0, 0).
        """
        if self._batch is None:
            return self._start, self._start + self.last_size
        batch = self._follow()
        return batch.base + batch.start, batch.base + batch.at

    @property
    def missing(self) -> int:
        """How many bytes must arrive, after NEED_DATA, before it is worth asking again; at least 1."""
        frame = self._frame
        if frame.state is SEARCHING or frame.state is KNOWN:
            return max(frame.need - self._buffer.size, 1)
        return 1

    @property
    def eof(self) -> bool:
        """True after `receive_eof`."""
        return self._eof

    @property
    def received(self) -> int:
        """Bytes ever received."""
        return self._buffer.end - self._first

    @property
    def offset(self) -> int:
        """Stream offset of the first byte that is not delivered, nor part of a frame that is skipped."""
        if not self.ahead:
            return self._buffer.end if self._is_inside_skipped() else self._buffer.offset
        batch = self._follow()
        return batch.base + batch.at

    @property
    def buffered(self) -> int:
        """Bytes received and not delivered, without those of a frame that is skipped."""
        return self._buffer.end - self.offset

    @property
    def held(self) -> int:
        """At least `buffered`, without a search: frames cut ahead count until the last is delivered."""
        size, batch = self._buffer.size, self._batch
        return size + batch.end - batch.at if self.ahead and batch is not None else size

    @property
    def leftover(self) -> bytes:
        """A copy of the bytes that `buffered` counts; nothing is consumed."""
        return self.peek(self.held)

    def peek(self, size: int) -> bytes:
        """Return a copy of the next `size` bytes, or fewer if fewer have arrived; nothing is consumed."""
        if not self.ahead:
            return b"" if self._is_inside_skipped() else self._buffer.peek(size)
        batch = self._follow()
        cut = bytes(batch.head[batch.at : min(batch.at + size, batch.end)])
        return cut + self._buffer.peek(size - len(cut))

    @property
    def stats(self) -> DecoderStats:
        """The decoder's counters."""
        faults = (*self._faults, int(self._frame.state is BROKEN))
        return DecoderStats(self.received, self._cut - len(self.ahead), *faults, self._high_water, self._buffer.copied)
