"""Checks of limits: a frame that is too large is noticed, and skipped, the same under every chunking."""

from __future__ import annotations

from typing import Any

from framestream.framer import ReadCondition
from framestream.testing._case import Case
from framestream.testing._comparing import difference, same_frames
from framestream.testing._failure import ConformanceError
from framestream.testing._reference import Cut, Reading
from framestream.testing._transcript import POLICIES, By, OnOversize, Transcript, transcript

_WAYS: tuple[By, ...] = ("frame", "batch")


def check_limits(case: Case) -> str | None:
    """At a limit just below, at and above a payload's size, every chunking and policy gives one verdict."""
    if case.pieces:
        return "its frames are whatever has arrived"
    for wire, _ in case.examples:
        reading = case.reading(wire)
        for limit in _limits(reading):
            for policy in POLICIES:
                _check_limit(case, wire, reading, limit, policy)
    for frame in case.frames():
        _check_alone(case, frame)
    return None


def _check_alone(case: Case, frame: bytes) -> None:
    """Hold each frame to its own size: in a row, a larger one in front may already have ended the stream."""
    cuts = case.reading(frame).cuts
    limit = len(cuts[0].payload)
    _check_verdict(case.framer, frame, cuts, limit, _read(case.framer, [frame], limit, "raise", "frame"))


def _limits(reading: Reading) -> list[int]:
    """Return the limits around the smallest, the middle and the largest payload."""
    sizes = sorted({len(cut.payload) for cut in reading.cuts})
    chosen = {*sizes[:1], *sizes[len(sizes) // 2 :][:1], *sizes[-1:]}
    return sorted({limit for size in chosen for limit in (size - 1, size, size + 1) if limit >= 0})


def _check_limit(case: Case, wire: bytes, reading: Reading, limit: int, policy: OnOversize) -> None:
    whole = _read(case.framer, [wire], limit, policy, "frame")
    _check_verdict(case.framer, wire, reading.cuts, limit, whole)
    if policy == "discard" and not any(event.kind == "FrameTooLarge" for event in whole.events):
        _check_discarded(wire, reading.cuts, limit, whole)
    for number, chunks in enumerate(case.chunkings(wire, few=True)):
        by = _WAYS[number % 2]
        unlike = difference(whole, _read(case.framer, chunks, limit, policy, by, per_call=number % 3 == 0))
        if unlike is not None:
            raise ConformanceError(
                f"the verdict on a limit of {limit} bytes (on_oversize={policy!r}) depends on the chunking",
                chunks=chunks,
                expected=f"{unlike[0]}, as in one chunk",
                got=f"{unlike[1]}, by {by}",
                hint="declare in overhead how many bytes a frame takes besides its payload; report settled "
                "payload if frames of undeclared size are to be skipped",
            )


def _read(
    framer: ReadCondition[Any],
    chunks: list[bytes],
    limit: int,
    policy: OnOversize,
    by: By,
    *,
    per_call: bool = True,
) -> Transcript:
    if per_call or framer.max_size is not None:
        return transcript(framer, chunks, by=by, max_size=limit, on_oversize=policy)
    return transcript(framer, chunks, by=by, max_frame_size=limit, on_oversize=policy)


def _check_verdict(
    framer: ReadCondition[Any], wire: bytes, cuts: list[Cut], limit: int, got: Transcript
) -> None:
    refused = {event.offset for event in got.events if event.kind == "FrameTooLarge"}
    refused |= {place for place, _, _ in got.discards}
    for cut in cuts:
        size = len(cut.payload)
        if size <= limit and cut.start in refused:
            besides = cut.stop - cut.start - size
            raise ConformanceError(
                f"a frame with a payload of {size} bytes is too large for a limit of {limit}",
                data=wire[cut.start : cut.stop],
                expected="a limit counts bytes of payload, delimiters and headers do not count",
                got=f"overhead = {framer.overhead}, but the frame takes {besides} bytes besides its payload",
                hint="declare in overhead how many bytes a frame takes besides its payload",
            )


def _check_discarded(wire: bytes, cuts: list[Cut], limit: int, got: Transcript) -> None:
    kept = [cut.value for cut in cuts if len(cut.payload) <= limit and not isinstance(cut.value, Exception)]
    frames = [event.value for event in got.events if event.kind == "frame"]
    skipped = [(cut.start, limit, cut.stop - cut.start) for cut in cuts if len(cut.payload) > limit]
    # A framer that passes the other checks cannot fail this one; it watches the decoder, and found a bug.
    if not same_frames(kept, frames) or skipped != got.discards:  # pragma: no cover
        raise ConformanceError(
            f"discarding frames above {limit} bytes does not skip exactly those frames",
            data=wire,
            expected=f"{kept!r} read, and (offset, limit, bytes) skipped: {skipped}",
            got=f"{frames!r} read, and skipped: {got.discards}",
        )
