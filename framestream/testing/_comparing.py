"""Compare frames, transcripts and readings, and say in words where they part."""

from __future__ import annotations

from itertools import chain, repeat, zip_longest
from typing import Any

from framestream.testing._failure import ConformanceError, describe_error
from framestream.testing._reference import INCOMPLETE, Cut, Reading
from framestream.testing._transcript import Event, Transcript


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


def difference(expected: Transcript, got: Transcript) -> tuple[str, str] | None:
    """Return the first thing in which two transcripts differ, as text; None if they are the same."""
    if expected == got:
        return None
    for number, (one, other) in enumerate(zip_longest(expected.events, got.events), start=1):
        if one is None or other is None or not _same_event(one, other):
            return f"event {number}: {_describe(one)}", f"event {number}: {_describe(other)}"
    if expected.discards != got.discards:
        return f"skipped {expected.discards}", f"skipped {got.discards}"
    if None not in (expected.leftover, got.leftover) and expected.leftover != got.leftover:
        return f"left over: {expected.leftover!r}", f"left over: {got.leftover!r}"
    return None


def difference_from_reading(reading: Reading, got: Transcript) -> tuple[str, str] | None:
    """Like `difference`, against what the reference driver made of the same stream."""
    return difference(expected_transcript(reading, got), got)


def expected_transcript(reading: Reading, like: Transcript) -> Transcript:
    """Write a reading down as a transcript, each frame in the form that the other transcript has."""
    events = []
    forms = [event for event in like.events if event.kind in ("frame", "payload", "PayloadError")]
    for cut, form in zip(reading.cuts, chain(forms, repeat(None))):  # noqa: B905  # repeat has no end
        events.append(_event_of_cut(cut, form))
    events.append(_outcome_event(reading, like.events[-1] if like.events else None))
    return Transcript(events, [], reading.leftover)


def _event_of_cut(cut: Cut, form: Event | None) -> Event:
    if form is not None and form.kind == "payload":
        return Event("payload", cut.payload, cut.stop)
    if isinstance(cut.value, Exception):
        return Event("PayloadError", cut.payload, cut.start)
    return Event("frame", cut.value, None if form is None or form.offset is None else cut.stop)


def _outcome_event(reading: Reading, form: Event | None) -> Event:
    name = "IncompleteFrame" if reading.outcome == INCOMPLETE else reading.outcome
    if name == "end":
        return Event("end")
    # What sizes an error names is for the decoder to know.
    return Event(name, None if form is None else form.value, reading.offset)


def _same_event(one: Event, other: Event) -> bool:
    return one.kind == other.kind and one.offset == other.offset and same_frame(one.value, other.value)


def _describe(event: Event | None) -> str:
    if event is None:
        return "nothing more"
    if event.kind == "end":
        return "a clean end"
    place = "" if event.offset is None else f" at offset {event.offset}"
    value = "" if event.value is None and event.kind != "frame" else f" {event.value!r}"
    return f"{event.kind}{value}{place}"
