"""Two drivers for one stream, and their comparison.

`read_whole` implements the contract literally, with no buffer, limits or optimisation. `transcript`
records everything that a `FrameDecoder` returns. They share only the code that asks one question, so that
neither can hide a fault of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from framestream.decoder import FRAME_END, FrameDecoder, OnOversize
from framestream.errors import FrameTooLarge, FramingError, IncompleteFrame, PayloadError, check_choice, counted
from framestream.framer import NeedMore, ReadCondition, Window
from framestream.framers.answers import decoder_of
from framestream.iterate import answers
from framestream.testing.contract import ConformanceError, ask, is_padding, raised

By: TypeAlias = Literal["frame", "batch", "part", "mixed"]

WAYS: tuple[By, ...] = get_args(By)
UNLIMITED = 1 << 80  # more than a length field of eight bytes can declare


class Cut(NamedTuple):
    """One frame as `read_whole` cut it; places count from the start of the stream."""

    start: int
    payload_start: int
    payload_stop: int
    stop: int
    payload: bytes
    value: Any


@dataclass
class Reading:
    """The result of `read_whole` for a stream.

    Attributes:
        cuts: the frames, in order; the value of one that cannot be decoded is its error.
        outcome: ``"end"`` after a clean end, or the class name of the framing error.
        offset: where the first uncut frame begins, or the place of the framing error.
        leftover: the bytes that belong to no frame.
        padding: where padding begins, which belongs to no frame and is not left over.
        is_refused: whether `decode` broke the stream, which a frame that is passed on in parts does not show.
    """

    cuts: list[Cut] = field(default_factory=list)
    outcome: str = ""
    offset: int = 0
    leftover: bytes = b""
    padding: list[int] = field(default_factory=list)
    is_refused: bool = False

    @property
    def malformed(self) -> bool:
        """Whether it ended with an error other than a truncated stream."""
        return self.outcome not in ("end", IncompleteFrame.__name__)

    def values(self) -> list[Any]:
        """Return the frames alone; for one that cannot be decoded, its error."""
        return [cut.value for cut in self.cuts]

    def events(self, like: list[Event]) -> Iterator[Event]:
        """Yield what a decoder would report, in the form of another list: frames or their payloads."""
        for cut, form in zip_longest(self.cuts, like[: len(self.cuts)]):
            if form is not None and form.kind == "payload":
                yield Event("payload", cut.payload, cut.stop)
            elif isinstance(cut.value, Exception):
                yield Event("PayloadError", cut.payload, cut.start)
            else:
                yield Event("frame", cut.value, cut.stop)
        # The decoder alone knows which sizes an error names.
        sizes = like[-1].value if like and self.outcome != "end" else None
        yield Event(self.outcome, sizes, None if self.outcome == "end" else self.offset)

    def __str__(self) -> str:
        outcome = "a clean end" if self.outcome == "end" else f"{self.outcome} at offset {self.offset}"
        return f"{self.values()!r}, then {outcome}"


def read_whole(framer: ReadCondition[Any], data: bytes, *, ends: bool = True) -> Reading:
    """Cut a stream that has arrived completely, and then ends unless `ends` is false."""
    reading, start = Reading(), 0
    no_end_at = -1  # where the stream must not end, since the frame before was not final

    def end(outcome: str, place: int) -> Reading:
        reading.outcome, reading.offset, reading.leftover = outcome, place, data[start:]
        return reading

    while True:
        rest, at_end = data[start:], False
        answer = ask(framer, Window(rest)) if rest or framer.can_be_empty else None
        if ends and isinstance(answer, NeedMore):
            answer, at_end = ask(framer, Window(rest, eof=True)), True
        if isinstance(answer, FramingError):
            return end(type(answer).__name__, start + (answer.position or 0))
        if not isinstance(answer, tuple) or answer[2] > len(rest):
            is_whole = not rest and start != no_end_at
            return end("" if not ends else "end" if is_whole else IncompleteFrame.__name__, start)
        begin = start
        first, stop, start = (begin + index for index in answer[:3])
        if is_padding(answer):
            reading.padding.append(begin)
            continue
        payload, how = data[first:stop], decoder_of(framer, answer)
        if not data.endswith(how.trailer, stop, start):
            start = begin
            return end(FramingError.__name__, stop)
        try:
            value = how.decode(payload)
        except Exception as error:  # noqa: BLE001  # whatever it raises, the payload is at fault
            value = error
        except SystemExit as error:
            raise raised("decode", error, data=payload) from error
        no_end_at = no_end_at if how.final else start
        if isinstance(value, FramingError):
            start, reading.is_refused = begin, True
            return end(type(value).__name__, start)
        reading.cuts.append(Cut(begin, first, stop, start, payload, value))
        # Of frames without bytes one is enough: they would never end.
        if framer.can_be_empty and (start == begin or (at_end and start == len(data))):
            return end("end", start)


class Event(NamedTuple):
    """One result of a decoder.

    Attributes:
        kind: ``"frame"``, ``"payload"`` (of a frame streamed in parts), ``"end"`` or the class name of
            an error.
        value: the frame or the payload; of an error, the sizes in it.
        offset: of an error, where in the stream; of a frame, where it ends; None for a frame of a batch.
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


_MISSING = Event("nothing more")


class Transcript(NamedTuple):
    """The results of a decoder for a stream.

    Attributes:
        events: frames, errors and the end, in order.
        discards: offset, limit and size on the wire of each frame that was skipped for its size.
        leftover: bytes that were not delivered; None if the stream ended inside a frame passed on in
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
    """Feed chunks and then the end of the stream to a `FrameDecoder`; return everything it reports.

    The same bytes give the same transcript for every chunking, for every framer that keeps the
    contract. Compare two transcripts to check that.

    Args:
        framer: the condition to read with.
        chunks: the stream.
        by: which method takes the frames: `next_frame`, `next_batch`, `next_part` (events are then payloads,
            not frames), or one of them chosen at random for every call.
        max_frame_size: the decoder's limit, in bytes.
        max_size: the limit for each call, in bytes, if any.
        on_oversize: what happens to a frame above the limit.
        seed: for the random choices of ``by="mixed"``.

    Raises:
        FramerContractError: the framer breaks the contract and the decoder noticed.
        ValueError: there is no such way or policy.
    """
    check_choice("by", by, WAYS)
    discards: list[tuple[int | None, int, int]] = []
    decoder = FrameDecoder(
        max_frame_size=max_frame_size,
        on_oversize=on_oversize,
        on_discard=lambda error: discards.append((error.offset, error.limit, error.discarded)),
    )
    source, draw = iter(chunks), Random(seed).choice  # noqa: S311  # reproducible, not secret
    events: list[Event] = []
    parts: list[bytes] = []  # of the frame that is passed on in parts
    in_parts = False
    place, way = 0, by

    def ask() -> Any:
        nonlocal in_parts, way
        if by == "mixed":
            way = "part" if in_parts else draw(WAYS[:3])
        if way == "part":
            in_parts = True
            return decoder.next_part(framer)
        take = decoder.next_batch if way == "batch" else decoder.next_frame
        return take(framer, max_size=max_size)

    is_over = False
    while not is_over:
        try:
            for said in answers(decoder, ask, source):
                if way == "batch":
                    events += [Event("frame", frame) for frame in said]
                elif way == "frame":
                    events.append(Event("frame", said, decoder.frame_span[1]))
                elif said is FRAME_END:
                    events.append(Event("payload", b"".join(parts), decoder.offset))
                    in_parts, parts = False, []
                else:
                    parts.append(said)
                    continue
                # Of frames without bytes one is enough: they would never end.
                if framer.can_be_empty:
                    before, place = place, decoder.offset
                    if place == before:
                        break
            events.append(Event("end"))
            is_over, in_parts = True, False
        except (FramingError, PayloadError) as error:
            events.append(error_event(error))
            is_over = isinstance(error, FramingError) and not getattr(error, "recoverable", False)
    for chunk in source:  # the remaining chunks are left over
        decoder.receive_data(chunk)
    return Transcript(events, discards, None if in_parts else decoder.leftover)


def error_event(error: FramingError | PayloadError) -> Event:
    """Return the event of an error."""
    if isinstance(error, PayloadError):
        return Event("PayloadError", error.payload, error.offset)
    value: Any = None
    if isinstance(error, FrameTooLarge):
        value = (error.limit, error.size, error.recoverable)
    elif isinstance(error, IncompleteFrame):
        value = (error.received, error.expected)
    return Event(type(error).__name__, value, error.offset)


def hold_alike(
    expected: Transcript | Reading, got: Transcript, defect: str, chunks: Sequence[bytes], *, hint: str = ""
) -> None:
    """Raise a `ConformanceError` for these chunks unless two readings of the same bytes agree."""
    if isinstance(expected, Reading):
        expected = Transcript([*expected.events(got.events)], got.discards, expected.leftover)
    for number, (one, other) in enumerate(zip_longest(expected.events, got.events, fillvalue=_MISSING), start=1):
        if not _same_event(one, other):
            told = f"event {number}: {one}", f"event {number}: {other}"
            break
    else:
        if expected.discards != got.discards:
            told = f"skipped {expected.discards}", f"skipped {got.discards}"
        elif None not in (expected.leftover, got.leftover) and expected.leftover != got.leftover:
            told = f"left over: {expected.leftover!r}", f"left over: {got.leftover!r}"
        else:
            return
    raise ConformanceError(defect, chunks=chunks, expected=told[0], got=told[1], hint=hint)


def hold_own_limit(framer: ReadCondition[Any], reading: Reading, wire: bytes, what: str, *, hint: str = "") -> None:
    """Raise a `ConformanceError` if a payload is larger than the framer's own limit, which a reading ignores."""
    sizes = [len(cut.payload) for cut in reading.cuts]
    if framer.max_size is not None and max(sizes, default=0) > framer.max_size:
        defect = f"{what} above its own limit of {counted(framer.max_size, 'byte')}"
        raise ConformanceError(defect, data=wire, got=f"payloads of {sizes} bytes", hint=hint)


def _same_event(one: Event, other: Event) -> bool:
    is_in_batch = one.kind == "frame" and None in (one.offset, other.offset)
    same_place = one.offset == other.offset or is_in_batch
    return one.kind == other.kind and same_place and same_frame(one.value, other.value)


def same_frame(one: Any, other: Any) -> bool:
    """Tell whether two frames are equal: of the same class, and ``==`` or at least of the same repr.

    The repr counts for frames that equal only themselves, such as NaN, or cannot be compared, such as arrays;
    two errors are equal if their classes are.

    Raises:
        ConformanceError: they have neither an ``==`` nor a repr of their own.
    """
    kind: Any = type(one)
    bare: Any = object
    if kind is not type(other):
        return False
    if isinstance(one, Exception):
        return True
    with suppress(Exception):
        if one == other:
            return True
    with suppress(Exception):
        if repr(one) == repr(other):
            return True
        if kind.__eq__ is not bare.__eq__ or kind.__repr__ is not bare.__repr__:
            return False
    hint = "give the class an == (a dataclass has one), or at least a repr that shows what is in a frame"
    raise ConformanceError(f"frames of class {kind.__name__} cannot be compared", hint=hint)


def same_frames(one: list[Any], other: list[Any]) -> bool:
    """Tell whether two lists hold equal frames in the same order."""
    return len(one) == len(other) and all(map(same_frame, one, other))
