"""Checks through `FrameDecoder`: every way of reading agrees, limits and refusals included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framestream.decoder import FrameDecoder, Signal
from framestream.errors import FramerContractError, FramingError, IncompleteFrame, PayloadError
from framestream.framer import ReadCondition
from framestream.testing._case import Case, lengths
from framestream.testing._chunkings import in_pieces
from framestream.testing._comparing import difference, difference_from_reading
from framestream.testing._failure import ConformanceError, describe_error
from framestream.testing._reference import END, INCOMPLETE, read_chunks
from framestream.testing._transcript import UNLIMITED, WAYS, By, transcript

_SETTLED = (
    "a condition that reports settled payload is shown the frame without it: window.start has moved on "
    "and window.taken bytes are gone"
)
_HOW = {"frame": "one at a time", "batch": "in batches", "part": "in parts", "mixed": "in mixed ways"}
_AT_THE_END = "answer NeedMore when window.eof is set and the frame is not complete"


def check_decoder(case: Case) -> str | None:
    """Frame by frame, in batches, in parts and in any mixture, a decoder reads the same frames."""
    if case.pieces:
        return "its frames are whatever has arrived"
    for wire, _ in case.examples:
        reading = case.reading(wire)
        for number, chunks in enumerate(case.chunkings(wire)):
            for by in WAYS:
                got = transcript(case.framer, chunks, by=by, seed=number, max_frame_size=UNLIMITED)
                unlike = difference_from_reading(reading, got)
                if unlike is not None:
                    raise _disagreement(chunks, by, unlike)
    return None


def check_truncation(case: Case) -> str | None:
    """A stream that breaks off gives the frames before the break, and is incomplete, not malformed."""
    if case.pieces:
        return "its frames are whatever has arrived"
    for wire, _ in case.examples:
        for size in lengths(len(wire))[:-1]:
            reading = read_chunks(case.framer, [wire[:size]])
            if reading.outcome not in (END, INCOMPLETE):
                raise ConformanceError(
                    "bytes that merely break off are refused as malformed",
                    data=wire[:size],
                    expected="NeedMore: the decoder then raises IncompleteFrame",
                    got=reading.outcome,
                    hint=_AT_THE_END,
                )
            for chunks in ([wire[:size]], in_pieces(wire[:size], 1)):
                got = transcript(case.framer, chunks, by="frame", max_frame_size=UNLIMITED)
                unlike = difference_from_reading(reading, got)
                if unlike is not None:
                    raise _disagreement(chunks, "frame", unlike)
    return None


def check_malformed(case: Case) -> str | None:
    """Malformed bytes are refused with the same error at the same place under every chunking."""
    if not case.malformed:
        return "no malformed bytes were given"
    for wire, text in case.malformed:
        error = first_error(case.framer, [wire])
        if error is None or isinstance(error, IncompleteFrame):
            raise ConformanceError(
                "malformed bytes are accepted",
                data=wire,
                expected="FramingError from find, or ValueError from decode",
                got="no error" if error is None else describe_error(error),
                hint="check what the framing prescribes in find, and the payload in decode",
            )
        if text not in str(error):
            raise ConformanceError(
                "malformed bytes are refused for another reason than the author names",
                data=wire,
                expected=f"an error with {text!r} in its text",
                got=describe_error(error),
            )
        _check_every_chunking(case, wire)
    return None


def check_incomplete(case: Case) -> str | None:
    """A stream that ends inside a frame is reported as incomplete, and its bytes are left over."""
    if not case.incomplete:
        return "no incomplete streams were given"
    for wire in case.incomplete:
        error = first_error(case.framer, [wire])
        if not isinstance(error, IncompleteFrame):
            raise ConformanceError(
                "a stream that ends inside a frame is not reported as incomplete",
                data=wire,
                expected="IncompleteFrame",
                got="no error" if error is None else describe_error(error),
                hint=_AT_THE_END,
            )
        _check_every_chunking(case, wire)
    return None


def check_spoilt_bytes(case: Case) -> None:
    """Random and spoilt bytes raise framing errors only, the same ones under every chunking."""
    for wire in case.mutants(24):
        _check_every_chunking(case, wire, few=True)


def first_error(framer: ReadCondition[Any], chunks: Sequence[bytes]) -> FramingError | PayloadError | None:
    """Return the first error that reading these chunks and then the end raises, or None."""
    decoder = FrameDecoder()
    for chunk in chunks:
        decoder.receive_data(chunk)
    decoder.receive_eof()
    try:
        while not isinstance(decoder.next_frame(framer), Signal):
            pass
    except FramerContractError as error:
        raise ConformanceError(f"the decoder refuses it: {error}", chunks=chunks) from error
    except (FramingError, PayloadError) as error:
        return error
    return None


def _check_every_chunking(case: Case, wire: bytes, *, few: bool = False) -> None:
    if case.pieces:
        return
    for by in WAYS[:3]:
        whole = transcript(case.framer, [wire], by=by)
        for chunks in case.chunkings(wire, few=few):
            unlike = difference(whole, transcript(case.framer, chunks, by=by))
            if unlike is not None:
                raise _disagreement(chunks, by, unlike)


def _disagreement(chunks: Sequence[bytes], by: By, unlike: tuple[str, str]) -> ConformanceError:
    expected, got = unlike
    return ConformanceError(
        f"read {_HOW[by]}, this chunking gives another transcript",
        chunks=chunks,
        expected=expected,
        got=got,
        hint=_SETTLED if by != "batch" else "split must agree with find; see check 'split'",
    )
