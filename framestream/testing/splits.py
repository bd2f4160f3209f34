"""Checks of archives: where a frame may begin, and that splits give the frames of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, pairwise
from random import Random
from typing import Any

from framestream.archives import InMemory, OnError, Reader, Record, Split, guess, process, stitch
from framestream.errors import FramingError, PayloadError, counted
from framestream.framer import ReadCondition, Window
from framestream.testing.contract import ConformanceError, Untried, ask, describe_error, is_padding
from framestream.testing.driver import Event, Reading, Transcript, error_event, hold_alike, transcript
from framestream.testing.suite import Suite, cut_at, prefix_lengths, spoil

_MOST_ARCHIVES = 24
_MOST_WIRE = 2000
_DIVISIONS = 40
STEPS = (1, 7, 64, 1 << 16)
LIMITS = (1 << 20, 1 << 20, 40, 5)


# Where a frame may begin --------------------------------------------------------------------------


def find_start(framer: ReadCondition[Any], data: bytes, start: int, *, step: int | None = None) -> int:
    """Return the first place from `start` on where a frame may begin, in a stream that is all of `data`.

    Args:
        framer: the framer to ask.
        data: the stream.
        start: the first place in question, 1 or more.
        step: how many bytes arrive at a time; all at once unless given.

    Raises:
        FramerContractError: its `find_start` breaks the contract.
    """
    size = len(data)
    return guess.find_start(InMemory(data, step=step or size), framer, start, size + 1, 0)


def first_frame(framer: ReadCondition[Any], data: bytes, place: int) -> int:
    """Return where the first frame begins if reading begins at a place, which may have padding first."""
    while place < len(data) and is_padding(answer := ask(framer, Window(data, place, eof=True))):
        place += answer[2]  # type: ignore[index]  # padding is a tuple
    return place


def check_find_start(suite: Suite) -> None:
    """From any place in a stream on, `find_start` says where the next frame begins, or may begin.

    Let it be a function of the window alone, in which `lookbehind` bytes come before window.start, and return
    NeedMore(resume=...) while bytes to come may matter. Where it may be wrong, or may miss a frame, such as one
    that cannot be decoded, it is "likely" and not "exact".
    """
    framer = suite.framer
    if framer.synchronises is None:
        raise Untried("it does not say where frames may begin: synchronises is None")
    if framer.synchronises not in ("exact", "likely"):
        raise ConformanceError(
            "synchronises says something else",
            expected='"exact", "likely" or None',
            got=repr(framer.synchronises),
        )
    wires = [wire for wire in suite.wires if len(wire) <= 4096]
    together = b"".join(wire for wire, _ in suite.examples)[:600]
    archives = [*wires, together, together + together, *suite.spoilt(12)]
    for data in list(dict.fromkeys(archives))[:_MOST_ARCHIVES]:
        for number, start in enumerate(prefix_lengths(len(data))[1:]):
            place = find_start(framer, data, start)
            for step in (None,) if number % max(1, len(data) // 8) else (None, 1, 7):
                if (other := find_start(framer, data, start, step=step)) != place:
                    raise ConformanceError(
                        "find_start answers differently when it is asked again",
                        data=data,
                        expected=f"{place} from {start} on, as with all bytes there",
                        got=f"{other}" + (f", where {counted(step, 'byte')} arrive at a time" if step else ""),
                    )
            if framer.synchronises == "exact":
                check_exact(framer, data, suite.reading(data), start, place)


def check_exact(framer: ReadCondition[Any], data: bytes, reading: Reading, start: int, place: int) -> None:
    """Check an answer against where the first frame begins from `start` on, as "exact" promises."""
    begins = [cut.start for cut in reading.cuts if cut.start >= start]
    if reading.malformed and not begins:
        return
    is_torn = reading.outcome != "end" and reading.offset >= start
    expected = [*begins, reading.offset if is_torn else len(data)][0]
    got = place
    with suppress(FramingError):  # then it is where the bytes that are refused begin
        got = first_frame(framer, data, place)
    if got != expected:
        raise ConformanceError(
            'find_start is not "exact"',
            data=data,
            expected=f"{expected}: the first frame that begins at {start} or later",
            got=f"{place}" + (f", and a frame at {got}" if got != place else ""),
        )


# Splits -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Division:
    """How an archive is divided and read.

    Attributes:
        chunks: the bytes of its splits.
        step: how many bytes of it arrive at a time.
        limit: the largest payload, for framers without a limit of their own.
        on_error: what becomes of bad frames.
    """

    chunks: Sequence[bytes]
    step: int = 1 << 16
    limit: int = 1 << 20
    on_error: OnError = "raise"

    def splits(self, framer: ReadCondition[Any]) -> list[Split]:
        """Return the splits."""
        source = InMemory(b"".join(self.chunks), step=self.step)
        borders = list(pairwise(accumulate(filter(None, map(len, self.chunks)), initial=0))) or [(0, 0)]
        return [Split(source, framer, start, stop, max_frame_size=self.limit) for start, stop in borders]

    def __str__(self) -> str:
        return f"{self.step} bytes at a time, limit {self.limit}, on_error={self.on_error!r}"


def check_splits(suite: Suite) -> None:
    """Divided anywhere, an archive gives the frames of the whole, at the same places, and the same error.

    Let find be a function of the bytes from window.start on; let find_start, if there is one, be "likely"
    unless it finds every frame.
    """
    source = Random(suite.seed)  # noqa: S311  # reproducible, not secret
    wires = [wire for wire in suite.wires if len(wire) <= _MOST_WIRE] or [source.randbytes(9)]
    for _ in range(_DIVISIONS):
        pieces = [source.choice(wires) for _ in range(source.randint(1, 6))]
        data = b"".join(spoil(piece, source) if source.random() < 0.2 else piece for piece in pieces)
        places = [source.randint(0, len(data)) for _ in range(source.randint(0, 5))]
        on_error: OnError = source.choice(("raise", "column"))
        check_division(
            suite.framer, Division(cut_at(data, places), source.choice(STEPS), source.choice(LIMITS), on_error)
        )


def check_division(framer: ReadCondition[Any], division: Division) -> Transcript:
    """Hold the splits of an archive to the whole of it, and return what is read of that.

    Raises:
        Untried: a frame of it takes no bytes, so that there is no end of them.
        ConformanceError: the splits give other frames than the whole.
    """
    whole = transcript(framer, [b"".join(division.chunks)], by="place", max_frame_size=division.limit)
    if whole.leftover and whole.events[-1].kind == "end":
        raise Untried("its frames take no bytes, so that there is no end of them")
    expected = whole.events
    if division.on_error == "raise":
        last = [event.kind != "frame" for event in expected].index(True)
        expected = expected[: last + 1]
    ways = {"divided and stitched": _stitched, "divided and read in order": _in_order}
    # After what ends a stream, a split that is read alone continues.
    if framer.synchronises == "exact" and all(event.kind in ("frame", "end") for event in expected):
        ways["divided, and each split read alone"] = _alone
    for way, read in ways.items():
        try:
            got = list(_events(read(division.splits(framer), division.on_error)))
        except Exception as error:
            raise ConformanceError(
                f"{way}, an archive raises {describe_error(error)}",
                chunks=division.chunks,
                got=division,
            ) from error
        # What was made of the split that raises is dropped, and its frames are missing.
        lost = len(expected) - len(got) if read is _in_order and expected[-1].kind != "end" else 0
        due = [*expected[: max(0, len(got) - 1)], expected[-1]] if lost > 0 else expected
        defect = f"two readings of the same bytes disagree: as a whole, and {way} ({division})"
        hold_alike(Transcript(due, [], None), Transcript(got, [], None), defect, division.chunks)
    return whole


def _alone(splits: Iterable[Split], on_error: OnError) -> Iterator[Record]:
    return chain.from_iterable(split.records(on_error=on_error) for split in splits)


def _stitched(splits: list[Split], on_error: OnError) -> Iterator[Record]:
    return _alone(stitch(splits).splits, on_error)


def _in_order(splits: list[Split], on_error: OnError) -> Iterator[Record]:
    return chain.from_iterable(process(splits, partial(_records, on_error), jobs=1))


def _records(on_error: OnError, reader: Reader) -> list[Record]:
    return list(reader.records(on_error=on_error))


def _events(records: Iterable[Record]) -> Iterator[Event]:
    """Yield what a decoder would report, up to the error that ends the reading."""
    try:
        for place, size, frame, error in records:
            yield Event("frame", frame, place + size) if error is None else error_event(error)
    except (PayloadError, FramingError) as error:
        yield error_event(error)
    else:
        yield Event("end")
