"""Two drivers for one stream, and how to hold them against each other.

`Reader` reads the contract literally, with no buffer, no limits and no cleverness. `transcript` writes down
all that a `FrameDecoder` says. They share no code but what asks one question, so that neither can hide a
fault of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from framestream.decoder import END, FRAME_END, NEED_DATA, End, FrameDecoder, NeedData, OnOversize
from framestream.errors import FramerContractError, FrameTooLarge, FramingError, IncompleteFrame, PayloadError
from framestream.framer import NeedMore, ReadCondition
from framestream.iterate import drive, feed
from framestream.testing.contract import (
    Answer,
    ConformanceError,
    Progress,
    ask,
    describe_error,
    is_padding,
    trailer_of,
    value_of,
)

By: TypeAlias = Literal["frame", "batch", "part", "mixed"]

WAYS: tuple[By, ...] = ("frame", "batch", "part", "mixed")
POLICIES: tuple[OnOversize, ...] = ("raise", "discard", "truncate", "close")
UNLIMITED = 1 << 80  # more than a length field of eight bytes can declare

# The window begins elsewhere at every question, as it does when a decoder's buffer moves.
_SHIFTS = (0, 5, 2)


class Cut(NamedTuple):
    """One frame as `Reader` cut it; places count from the start of the stream."""

    start: int
    payload_start: int
    payload_stop: int
    stop: int
    payload: bytes
    value: Any


@dataclass
class Reading:
    """What `Reader` made of a stream.

    Attributes:
        cuts: the frames, in order.
        outcome: ``"end"`` after a clean end, or the class name of the framing error.
        offset: where the frame begins that was not cut, or the place of the framing error.
        leftover: the bytes that no frame took.
        padding: where bytes begin that belong to no frame, and are not left over.
    """

    cuts: list[Cut] = field(default_factory=list)
    outcome: str = ""
    offset: int = 0
    leftover: bytes = b""
    padding: list[int] = field(default_factory=list, compare=False, repr=False)

    @property
    def malformed(self) -> bool:
        """Whether it ended with another error than that the stream broke off."""
        return self.outcome not in ("end", IncompleteFrame.__name__)

    def values(self) -> list[Any]:
        """Return the frames alone; in place of one that cannot be decoded, its error."""
        return [cut.value for cut in self.cuts]

    def __str__(self) -> str:
        outcome = "a clean end" if self.outcome == "end" else f"{self.outcome} at offset {self.offset}"
        return f"{self.values()!r}, then {outcome}"


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
        self.kind = bytearray if mutable else bytes
        self.data = b""
        self.reading = Reading()
        self.shift = 0  # where the frame began in the last window
        self._begin(0)

    def feed(self, chunk: bytes) -> Reading:
        """Add a chunk and cut the frames that are whole by now."""
        self.data += chunk
        return self._read(eof=False)

    def finish(self) -> Reading:
        """Let the stream end; return what was made of it."""
        return self._read(eof=True)

    def _begin(self, start: int) -> None:
        self.start = start
        self.progress = Progress()
        self.asked = -1  # how many bytes were there when `find` was last asked about this frame
        self.span: tuple[Any, ...] | None = None  # counted from the frame's first byte

    def _read(self, *, eof: bool) -> Reading:
        while not self.reading.outcome:
            answer = self._answer(eof)
            if isinstance(answer, tuple) and self.start + answer[2] <= len(self.data):
                self._take(answer, eof)
            elif isinstance(answer, FramingError):
                at = 0 if answer.position is None else answer.position - self.shift
                self._end(type(answer).__name__, self.start + at)
            elif eof:
                self._end(IncompleteFrame.__name__ if len(self.data) > self.start else "end", self.start)
            else:
                break
        self.reading.leftover = self.data[self.start :]
        return self.reading

    def _answer(self, eof: bool) -> Answer | None:
        """Return what is known of the frame, asking again if there is reason to; None if there is none."""
        there = len(self.data) - self.start
        if self.span is not None:
            return self.span
        if not eof and (there < self.progress.size or there == self.asked):
            return None
        if there == 0 and not self.framer.can_be_empty:
            return None
        self.asked = there
        before = self.before[: _SHIFTS[there % 3]]
        shift = self.shift = len(before)
        window = self.progress.window(self.data[self.start :], before, eof=eof, kind=self.kind)
        answer = ask(self.framer, window)
        if isinstance(answer, NeedMore):
            self.progress.note(answer, window)
        elif isinstance(answer, tuple):
            answer = self.span = (*(index - shift for index in answer[:3]), *answer[3:])
        return answer

    def _take(self, span: tuple[Any, ...], eof: bool) -> None:
        start = self.start
        first, stop, end = (start + index for index in span[:3])
        if is_padding(span):
            self.reading.padding.append(start)
            return self._begin(end)
        payload = self.data[first:stop]
        if not self.data.endswith(trailer_of(span), stop, end):
            return self._end(FramingError.__name__, stop)
        value = value_of(self.framer, span, payload)
        self._begin(end)
        if isinstance(value, FramingError):
            return self._end(type(value).__name__, start)
        self.reading.cuts.append(Cut(start, first, stop, end, payload, value))
        # Of frames without bytes one is enough: there would be no end of them.
        if self.framer.can_be_empty and (end == start or (eof and end == len(self.data))):
            self._end("end", end)
        return None

    def _end(self, outcome: str, place: int) -> None:
        self.reading.outcome, self.reading.offset = outcome, place


def read_chunks(
    framer: ReadCondition[Any], chunks: Iterable[bytes], *, before: bytes = b"", mutable: bool = False
) -> Reading:
    """Cut a whole stream that arrives in chunks; see `Reader`."""
    reader = Reader(framer, before=before, mutable=mutable)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


class Event(NamedTuple):
    """One thing a decoder said.

    Attributes:
        kind: ``"frame"``, ``"payload"`` (of a frame streamed in parts), ``"end"`` or the class name of
            an error.
        value: the frame or the payload; of an error, what it says about sizes.
        offset: of an error, where in the stream; of a frame, where the next one begins, if asked.
    """

    kind: str
    value: Any = None
    offset: int | None = None

    def __str__(self) -> str:
        if self.kind == "end":
            return "a clean end"
        place = "" if self.offset is None else f" at offset {self.offset}"
        value = "" if self.value is None and self.kind != "frame" else f" {self.value!r}"
        return f"{self.kind}{value}{place}"


class Transcript(NamedTuple):
    """What a decoder made of a stream.

    Attributes:
        events: frames, errors and the end, in order.
        discards: offset, limit and size on the wire of each frame that was skipped for its size.
        leftover: bytes that were not delivered; None if a frame broke off while it was passed on in
            parts, as some of its bytes are then delivered and some are not.
    """

    events: list[Event]
    discards: list[tuple[int | None, int, int]]
    leftover: bytes | None


def transcript(
    framer: ReadCondition[Any],
    chunks: Iterable[bytes],
    *,
    by: By = "frame",
    max_frame_size: int = 1 << 20,
    max_size: int | None = None,
    on_oversize: OnOversize = "raise",
    seed: int = 0,
) -> Transcript:
    """Feed chunks and then the end of the stream to a `FrameDecoder`; return all that it says.

    The same bytes give the same transcript however they are cut, for every framer that keeps the
    contract. That is what this function is for: compare two of them.

    Args:
        framer: the condition to read with.
        chunks: the stream.
        by: which method takes the frames: `next_frame`, `next_batch`, `next_part` (events are then
            payloads, not frames), or one of them drawn for every call.
        max_frame_size: the decoder's limit, in bytes.
        max_size: the limit for each call, in bytes, if there is to be one.
        on_oversize: what happens to a frame above the limit.
        seed: for the draws of ``by="mixed"``.

    Raises:
        ConformanceError: the framer breaks the contract and the decoder noticed.
    """
    listener = _Listener(framer, by, max_size, seed, max_frame_size=max_frame_size, on_oversize=on_oversize)
    try:
        listener.listen(iter(chunks))
    except FramerContractError as error:
        raise ConformanceError(f"the decoder refuses it: {error}") from error
    leftover = None if listener.parts is not None else listener.decoder.leftover
    return Transcript(listener.events, listener.discards, leftover)


class _Listener:
    """Takes all that a decoder has to give, by one of its methods, and writes it down."""

    def __init__(
        self, framer: ReadCondition[Any], by: By, max_size: int | None, seed: int, **options: Any
    ) -> None:
        self.decoder = FrameDecoder(on_discard=self._discarded, **options)
        self.framer = framer
        self.by: By = by
        self.max_size = max_size
        self.draw = Random(seed).choice  # noqa: S311  # reproducible, not secret
        self.events: list[Event] = []
        self.discards: list[tuple[int | None, int, int]] = []
        self.parts: list[bytes] | None = None  # of the frame that is passed on in parts
        self.place = 0

    def listen(self, chunks: Iterator[bytes]) -> None:
        """Write down what the decoder says, up to what nothing can follow; what still comes is left over."""
        goes_on = True
        while goes_on:
            try:
                goes_on = self._listen(chunks)
            except (FramingError, PayloadError) as error:
                self.events.append(_error_event(error))
                goes_on = isinstance(error, PayloadError) or getattr(error, "recoverable", False)
        for chunk in chunks:
            self.decoder.receive_data(chunk)

    def _listen(self, chunks: Iterator[bytes]) -> bool:
        for said in drive(self._take):
            if said is NEED_DATA:
                feed(self.decoder, next(chunks, None))
                continue
            self.events += said
            # Of frames without bytes one is enough: there would be no end of them.
            if said and self.framer.can_be_empty:
                place, self.place = self.place, self.decoder.offset
                if place == self.place:
                    break
        self.events.append(Event("end"))
        return False

    def _take(self) -> list[Event] | NeedData | End:
        """Return what the next call gives, as events."""
        by: str = self.by
        if by == "mixed":
            by = "part" if self.parts is not None else self.draw(("frame", "place", "batch", "part"))
        if by == "part":
            return self._take_part()
        take = self.decoder.next_batch if by == "batch" else self.decoder.next_frame
        found: Any = take(self.framer, max_size=self.max_size)
        if found is NEED_DATA or found is END:
            return found
        place = self.decoder.offset if by == "place" else None
        return [Event("frame", frame, place) for frame in (found if by == "batch" else [found])]

    def _take_part(self) -> list[Event] | NeedData | End:
        parts = self.parts = self.parts or []
        part = self.decoder.next_part(self.framer)
        if isinstance(part, bytes):
            parts.append(part)
            return []
        if part is not NEED_DATA:
            self.parts = None
        return [Event("payload", b"".join(parts), self.decoder.offset)] if part is FRAME_END else part

    def _discarded(self, error: FrameTooLarge) -> None:
        self.discards.append((error.offset, error.limit, error.discarded))


def _error_event(error: FramingError | PayloadError) -> Event:
    value: Any = None
    if isinstance(error, PayloadError):
        value = error.payload
    elif isinstance(error, FrameTooLarge):
        value = (error.limit, error.size, error.recoverable)
    elif isinstance(error, IncompleteFrame):
        value = (error.received, error.expected)
    return Event(type(error).__name__, value, error.offset)


def difference(expected: Transcript | Reading, got: Transcript) -> tuple[str, str] | None:
    """Return the first thing in which a transcript differs from another or from a reading, or None."""
    if isinstance(expected, Reading):
        expected = Transcript([*_events_of(expected, got.events)], got.discards, expected.leftover)
    for number, (one, other) in enumerate(zip_longest(expected.events, got.events), start=1):
        same = one is not None and other is not None and one[::2] == other[::2]
        if not same or not same_frame(one.value, other.value):
            told = [f"event {number}: {'nothing more' if event is None else event}" for event in (one, other)]
            return told[0], told[1]
    if expected.discards != got.discards:
        return f"skipped {expected.discards}", f"skipped {got.discards}"
    if None not in (expected.leftover, got.leftover) and expected.leftover != got.leftover:
        return f"left over: {expected.leftover!r}", f"left over: {got.leftover!r}"
    return None


def _events_of(reading: Reading, like: list[Event]) -> Iterator[Event]:
    """Write a reading down as events, each frame in the form that the event of the other list has."""
    for cut, form in zip_longest(reading.cuts, like[: len(reading.cuts)]):
        if form is not None and form.kind == "payload":
            yield Event("payload", cut.payload, cut.stop)
        elif isinstance(cut.value, Exception):
            yield Event("PayloadError", cut.payload, cut.start)
        else:
            yield Event("frame", cut.value, None if form is None or form.offset is None else cut.stop)
    if reading.outcome == "end":
        yield Event("end")
    else:  # what sizes an error names is for the decoder to know
        yield Event(reading.outcome, like[-1].value if like else None, reading.offset)


def same_frame(one: Any, other: Any) -> bool:
    """Tell whether two frames are equal: of the same class, and ``==`` or at least of the same repr.

    The repr counts for frames that equal nothing but themselves, such as NaN and regex matches; two
    errors are equal if their classes are.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, Exception):
        return True
    try:
        return bool(one == other) or repr(one) == repr(other)
    except Exception as error:
        raise ConformanceError(
            f"frames cannot be compared: {describe_error(error)}",
            got=f"two frames of class {type(one).__name__}",
            hint="frames need an == that works, or at least a repr",
        ) from error


def same_frames(one: list[Any], other: list[Any]) -> bool:
    """Tell whether two lists hold equal frames in the same order."""
    return len(one) == len(other) and all(map(same_frame, one, other))
