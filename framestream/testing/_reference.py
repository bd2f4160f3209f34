"""The reference driver: the contract read literally, with no buffer, no limits and no cleverness.

It calls `find` directly and shares no code with `FrameDecoder`, so the two can be held against
each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from framestream.errors import FramingError
from framestream.framer import NeedMore, ReadCondition
from framestream.testing._asking import Answer, ask, is_padding, trailer_of, value_of
from framestream.testing._progress import Progress

END, INCOMPLETE = "end", "incomplete"

# The window begins elsewhere at every question, as it does when a decoder's buffer moves.
_SHIFTS = (0, 5, 2)


class Cut(NamedTuple):
    """One frame as the reference driver cut it; places count from the start of the stream."""

    start: int
    payload_start: int
    payload_stop: int
    stop: int
    payload: bytes
    value: Any


@dataclass
class Reading:
    """What the reference driver made of a stream.

    Attributes:
        cuts: the frames, in order.
        outcome: ``"end"`` after a clean end, ``"incomplete"``, or the class name of the framing error.
        offset: where the frame begins that was not cut, or the place of the framing error.
        leftover: the bytes that no frame took.
        padding: start and stop of bytes that belong to no frame, and are not left over.
    """

    cuts: list[Cut] = field(default_factory=list)
    outcome: str = ""
    offset: int = 0
    leftover: bytes = b""
    padding: list[tuple[int, int]] = field(default_factory=list)

    def values(self) -> list[Any]:
        """Return the frames alone; in place of one that cannot be decoded, its error."""
        return [cut.value for cut in self.cuts]


class Reader:
    """One pass of one framer over one stream, fed chunk by chunk.

    Args:
        framer: the condition that is asked.
        before: bytes to show in the window before the frame; they belong to somebody else.
        mutable: whether the window shows a bytearray instead of bytes.
    """

    def __init__(self, framer: ReadCondition[Any], *, before: bytes = b"", mutable: bool = False) -> None:
        self.framer = framer
        self.before = before
        self.kind: type[bytes] | type[bytearray] = bytearray if mutable else bytes
        self.data = b""
        self.reading = Reading()
        self.questions = 0
        self.shift = 0  # where the frame began in the last window
        self._begin(0)

    def feed(self, chunk: bytes) -> None:
        """Add a chunk and cut the frames that are whole by now."""
        self.data += chunk
        self._read(eof=False)

    def finish(self) -> Reading:
        """Let the stream end; return what was made of it."""
        self._read(eof=True)
        self.reading.leftover = self.data[self.start :]
        return self.reading

    def _read(self, *, eof: bool) -> None:
        while not self.reading.outcome:
            answer = self._answer(eof)
            if is_padding(answer):
                self._pass_over(answer)
            elif isinstance(answer, tuple) and self.start + answer[2] <= len(self.data):
                self._take(answer, eof)
            elif isinstance(answer, FramingError):
                self._finish(type(answer).__name__, self.start + self._position(answer))
            elif eof:
                self._finish(INCOMPLETE if len(self.data) > self.start else END, self.start)
            else:
                return

    def _begin(self, start: int) -> None:
        self.start = start
        self.progress = Progress()
        self.asked = -1  # how many bytes were there when `find` was last asked about this frame
        self.span: tuple[Any, ...] | None = None  # counted from the frame's first byte

    def _answer(self, eof: bool) -> Answer | None:
        """Return what is known of the frame, asking again if there is reason to; None if there is none."""
        if self.span is not None:
            return self.span
        there = len(self.data) - self.start
        if not eof and (there < self.progress.size or there == self.asked):
            return None
        if there == 0 and not self.framer.can_be_empty:
            return None
        self.asked = there
        self.questions += 1
        before = self.before[: _SHIFTS[self.questions % 3]]
        self.shift = len(before)
        window = self.progress.window(self.data[self.start :], before=before, eof=eof, kind=self.kind)
        answer = ask(self.framer, window)
        if isinstance(answer, NeedMore):
            self.progress.note(answer, window)
            return answer
        if isinstance(answer, tuple):
            shift = window.start
            answer = self.span = (answer[0] - shift, answer[1] - shift, answer[2] - shift, *answer[3:])
        return answer

    def _pass_over(self, span: Any) -> None:
        start = self.start
        self._begin(start + span[2])
        self.reading.padding.append((start, self.start))

    def _take(self, span: tuple[Any, ...], eof: bool) -> None:
        start = self.start
        first, stop, end = (start + index for index in span[:3])
        payload = self.data[first:stop]
        if not self.data.endswith(trailer_of(span), stop, end):
            self._finish(FramingError.__name__, stop)
            return
        value = value_of(self.framer, span, payload)
        self._begin(end)
        if isinstance(value, FramingError):
            self._finish(type(value).__name__, start)
            return
        self.reading.cuts.append(Cut(start, first, stop, end, payload, value))
        # Of frames without bytes one is enough: there would be no end of them.
        if self.framer.can_be_empty and (end == start or (eof and end == len(self.data))):
            self._finish(END, end)

    def _position(self, error: FramingError) -> int:
        return 0 if error.position is None else error.position - self.shift

    def _finish(self, outcome: str, place: int) -> None:
        self.reading.outcome = outcome
        self.reading.offset = place


def read_chunks(
    framer: ReadCondition[Any], chunks: Iterable[bytes], *, before: bytes = b"", mutable: bool = False
) -> Reading:
    """Cut a whole stream that arrives in chunks; see `Reader`."""
    reader = Reader(framer, before=before, mutable=mutable)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()
