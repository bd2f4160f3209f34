"""Search: how far one condition has got with the frame at the front of the buffer.

It is the only caller of `ReadCondition.find`, keeps what `NeedMore` answered, re-bases the positions
when the buffer moves, and holds authors to the contract.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal, NoReturn, TypeAlias

from framestream.decoding._buffer import ReadBuffer
from framestream.errors import FramerContractError, FrameTooLarge, FramingError, IncompleteFrame, because
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Span, Window

# Payload start, payload stop and end, counted from the first byte of the frame; then the value, a
# `Decode`, or PAYLOAD where `condition.decode` makes the frame from the payload.
Extent: TypeAlias = tuple[int, int, int, Any]


class Outcome(Enum):
    """Why a search has no extent to give."""

    WAITING = "more data is needed"
    SETTLED = "payload has become final"
    TOO_LARGE = "the frame shows no end within the limit"


PAYLOAD: Final = object()
WAITING: Final = Outcome.WAITING
SETTLED: Final = Outcome.SETTLED
TOO_LARGE: Final = Outcome.TOO_LARGE

TooLarge: TypeAlias = Literal[Outcome.TOO_LARGE]


class Search:
    """The progress of one condition on one frame; `restart` makes it ready for the next one.

    Attributes:
        condition: whose frame it is.
        extent: the frame's extent once known.
        need: bytes of the frame that must be there before it is worth asking again.
        resume, settled: where to go on, and how far payload is final, from the first unconsumed byte.
        payload_start: where the settled payload begins, likewise.
        taken: bytes of the frame already passed on and gone.
        declared: the extent was known before the frame's last byte had to be looked at.
    """

    __slots__ = (
        "buffer",
        "condition",
        "extent",
        "memo",
        "need",
        "payload_start",
        "resume",
        "settled",
        "taken",
        "window",
    )

    condition: ReadCondition[Any]

    def __init__(self, buffer: ReadBuffer) -> None:
        self.buffer = buffer
        self.window = Window(b"")
        self.restart()

    def restart(self) -> None:
        """Forget all progress: the next question is about a frame that nobody has looked at."""
        self.extent: Extent | None = None
        self.need = 0
        self.resume = 0
        self.settled = 0
        self.payload_start = 0
        self.taken = self.window.taken = 0
        self.memo: Any = None
        self.window.memo = None

    @property
    def fresh(self) -> bool:
        """True if nothing is known about the frame yet."""
        return self.need <= 1 and self.extent is None

    def run(self, bound: int, eof: bool, *, in_parts: bool = False) -> Extent | Outcome:
        """Ask about the frame until its extent is known or something is in the way.

        No more than `bound` + 1 bytes that are not settled are ever gathered. With `in_parts`, return
        SETTLED as soon as payload is final, so that it can be passed on first. Padding is consumed.
        """
        buffer = self.buffer
        while True:
            if self.extent is not None:
                if self.extent[3] is not PADDING:
                    return self.extent
                buffer.advance(self.extent[2])
                self.restart()
                if eof and not buffer.size:
                    return WAITING
            if not self.need and not self.condition.can_be_empty:
                self.need = 1
            if in_parts and self.settled > 0:
                return SETTLED
            have = len(buffer.head) - buffer.pos
            if have < self.need:
                if have > bound:
                    return TOO_LARGE
                if buffer.chunks:
                    buffer.grow(min(self.need, bound + 1))
                    continue
                if not eof:
                    return WAITING
            last = eof and not buffer.chunks
            try:
                found = self._ask(last)
            except FramingError:
                # In smaller chunks, what comes before the error would have been judged, or passed on, first.
                if not in_parts:
                    if have > bound + 1 and type(self.answer_to(bound + 1)) is NeedMore:
                        return TOO_LARGE
                    raise
                if self._undecided_within(bound + 1, have):
                    return TOO_LARGE
                found = self._settled_before_error(have)
                if found is None:
                    raise
                self.note(found)
                self.need = 0
                continue
            small = type(found) is tuple and len(found) > 2 and found[2] <= buffer.pos + bound + 1
            if in_parts and not small and self._undecided_within(bound + 1, have):
                return TOO_LARGE
            self.note(found)
            if self.extent is None and last and not (in_parts and self.settled > 0):
                return TOO_LARGE if have > bound else WAITING

    def _undecided_within(self, size: int, have: int) -> bool:
        """Tell whether the first `size` bytes settle nothing: in smaller chunks that ends the stream."""
        if have <= size:
            return False
        more = self.answer_to(size)
        return type(more) is NeedMore and not more.settled

    def answer_to(self, size: int) -> Any:
        """Return what the condition says of the first `size` bytes alone, or None if it is an error.

        In smaller chunks it would have been asked just that. Positions count from the first of them.
        """
        start = self.buffer.pos
        window = Window(bytes(memoryview(self.buffer.head)[start : start + size]))
        if self.taken:
            # The frame's beginning is gone, and only the memo knows of it. Else the memo may be of more
            # bytes than these, and the question is asked afresh.
            window.resume, window.memo, window.taken = self.resume, self.memo, self.taken
        try:
            return self.condition.find(window)
        except FramingError:
            return None

    def look(self, limit: int, eof: bool) -> Span | None:
        """Ask about a fresh frame; return its span if it is plain, whole and small enough to deliver at once.

        Any other answer is kept for `run`, which asks again where the answer was an error.
        """
        buffer, window = self.buffer, self.window
        head, start = buffer.head, buffer.pos
        window.data = head
        window.start = window.resume = start
        window.eof = eof and not buffer.chunks
        try:
            found = self.condition.find(window)
            if type(found) is tuple and len(found) == 3:
                first, stop, end = found
                if start <= first <= stop <= end <= len(head) and 0 < end - start <= limit:
                    return found
            self.note(found)
        except Exception:  # noqa: BLE001 - `run` meets it again and reports it with its place
            self.restart()
        return None

    def _settled_before_error(self, have: int) -> NeedMore | None:
        """Return the answer to the most bytes that raise no error, if payload is settled in them."""
        buffer, window = self.buffer, self.window
        head, start = bytes(buffer.head), buffer.pos
        good, bad, answer = self.resume, have, None
        while bad - good > 1:
            middle = (good + bad) // 2
            window.data = head[: start + middle]
            window.eof = False
            try:
                answer, good = self.condition.find(window), middle
            except FramingError:
                bad = middle
        return answer if type(answer) is NeedMore and (answer.settled or 0) > start else None

    def _ask(self, eof: bool) -> Any:
        buffer, window = self.buffer, self.window
        start = buffer.pos
        window.data = buffer.head
        window.start = start
        window.resume = start + self.resume
        window.memo = self.memo
        window.eof = eof
        window.taken = self.taken
        try:
            return self.condition.find(window)
        except FramingError as error:
            position = start if error.position is None else error.position
            self._place(error, position)
            raise
        except Exception as error:  # noqa: BLE001 - an author's mistake is reported as one
            self._fault(f"find raised {type(error).__name__}: {error}", error)

    def _place(self, error: FramingError, position: int) -> None:
        head = self.buffer.head
        error.offset = self.buffer.base + position
        error.framer = str(self.condition)
        error.excerpt = bytes(head[position : position + 32])

    def note(self, found: Any) -> None:
        """Keep the answer to the question just asked, and hold its author to the contract."""
        if type(found) is tuple:
            self._accept(found)
        elif type(found) is NeedMore:
            self._note(found)
        else:
            self._fault(f"find returned {found!r}, not a span or NeedMore")

    def _accept(self, found: tuple[Any, ...]) -> None:
        start = self.buffer.pos
        if len(found) == 3:
            first, stop, end = found
            value = PAYLOAD
        elif len(found) == 4:
            first, stop, end, value = found
        else:
            self._fault(f"find returned a tuple of {len(found)} items, not 3 or 4")
        if not start <= first <= stop <= end:
            self._fault(f"span out of order: {found[:3]} for a frame that starts at {start}")
        if end == start and not (self.condition.can_be_empty or self.taken):
            self._fault("a frame of no bytes, from a condition that is not can_be_empty")
        if value is PADDING and (self.taken or not start < end <= len(self.buffer.head)):
            self._fault(f"padding inside a frame, or beyond the data: {found[:3]}")
        if type(value) is Decode and value.trailer and len(value.trailer) != end - stop:
            self._fault(f"a trailer of {len(value.trailer)} bytes in a span that leaves {end - stop} for it")
        self.extent = (first - start, stop - start, end - start, value)

    def _note(self, more: NeedMore) -> None:
        start = self.buffer.pos
        have = len(self.buffer.head) - start
        resume = self.resume if more.resume is None else more.resume - start
        settled = 0 if more.settled is None else more.settled - start
        if not (0 <= resume <= have and 0 <= settled <= have):
            self._fault(f"{more!r} points outside the data ({start} to {start + have})")
        self.resume = max(resume, settled)
        self.settled = settled
        self.payload_start = 0 if more.payload_start is None else more.payload_start - start
        self.memo = more.memo
        self.need = max(more.size, have + 1)

    def pass_on_settled(self) -> bytes:
        """Consume what is settled and return the payload in it."""
        size = self.settled
        part = self.buffer.take(min(self.payload_start, size), size, size)
        self.taken += size
        self.need = max(self.need - size, 1)
        self.resume -= size
        self.settled = self.payload_start = 0
        return part

    @property
    def trailer(self) -> bytes:
        """The bytes that must follow the payload; empty if any may."""
        value = None if self.extent is None else self.extent[3]
        return value.trailer if type(value) is Decode else b""

    def check_trailer(self, stop: int) -> None:
        """Refuse the frame if other bytes than its trailer follow the first `stop` in the buffer."""
        trailer = self.trailer
        found = self.buffer.peek(len(trailer), at=stop)
        if found != trailer:
            raise FramingError(
                f"frame ends with {found!r} where {trailer!r} is expected",
                offset=self.buffer.offset + stop,
                framer=str(self.condition),
                excerpt=self.buffer.peek(32, at=stop),
            )

    def too_large(self, limit: int, size: int | None = None) -> FrameTooLarge:
        """Make the error for a frame above the limit; `size` is given if the frame declares it."""
        error = FrameTooLarge(limit=limit, size=size, recoverable=size is not None)
        self._place(error, self.buffer.pos)
        self.explain(error)
        return error

    def incomplete(self, consumed: int = 0) -> IncompleteFrame:
        """Make the error for a stream that ended inside the frame, `consumed` bytes of which are gone."""
        buffer = self.buffer
        error = IncompleteFrame(
            received=consumed + buffer.size,
            expected=None if self.extent is None else self.taken + self.extent[2],
            offset=buffer.offset - consumed,
            framer=str(self.condition),
            excerpt=buffer.peek(32),
        )
        if not consumed:
            self.explain(error)
        return error

    def explain(self, error: FramingError) -> None:
        """Add what the condition takes the frame's bytes for to the error, if they remind it of anything."""
        if hint := self.condition.explain(Window(self.buffer.head, self.buffer.pos)):
            error.reason = f"{error.reason}; {hint}"

    def _fault(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        framer = str(self.condition)
        raise because(FramerContractError(reason, framer=framer, offset=self.buffer.offset), cause)
