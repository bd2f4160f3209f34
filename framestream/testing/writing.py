"""Checks of writing: a frame of any kind is read back equal, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from framestream.framer import Framer
from framestream.testing.contract import ConformanceError, Untried, encode, is_one_frame
from framestream.testing.driver import read_chunks, same_frames
from framestream.testing.suite import FRAMES, Suite


def _writer(suite: Suite) -> Framer[Any]:
    if not isinstance(suite.framer, Framer):
        raise Untried("it cannot encode: it is a ReadCondition, not a Framer")
    return suite.framer


def check_round_trip(suite: Suite) -> None:
    """A frame that is encoded is read back equal, or `encode` refuses it.

    Make find and encode agree; raise EncodeError for a frame that this framing cannot carry, such as a
    payload that contains the delimiter or a length that does not fit.
    """
    framer = _writer(suite)
    read = [value for wire, _ in suite.examples for value in suite.reading(wire).values()]
    frames = [value for value in read if not isinstance(value, Exception)]
    written = [(frame, wire) for frame in frames if (wire := encode(framer, frame)) is not None]
    if not written:
        raise Untried("encode refuses every frame of the examples")
    joined = [(frame, wire) for frame, wire in written if is_one_frame(framer, wire)]
    if joined:
        _check_read_back(framer, [frame for frame, _ in joined], b"".join(wire for _, wire in joined))
    for frame in (*frames, *_telling_frames(suite, frames)):
        if (wire := encode(framer, frame)) is not None:
            _check_read_back(framer, [frame], wire)


def _check_read_back(framer: Framer[Any], frames: list[Any], wire: bytes) -> None:
    reading = read_chunks(framer, [wire])
    if not same_frames(frames, reading.values()) or reading.leftover:
        raise ConformanceError(
            "what encode writes is read back as something else",
            data=wire,
            expected=f"{frames!r}, and nothing left over",
            got=f"{reading.values()!r}, left over: {reading.leftover!r}",
        )


def _telling_frames(suite: Suite, frames: list[Any]) -> Iterator[Any]:
    """Yield frames that an encoder may trip over: empty ones, and ones made of the framing's own bytes."""
    kinds = {type(frame) for frame in frames}
    raw = [b"", b"\0", b"\r", b"\n", b" ", b"\xff" * 3, *suite.wires[:12], *suite.spoilt(12)]
    for data in (*raw, *(wire[-size:] for wire in suite.wires[:12] for size in (1, 2, 3))):
        if bytes in kinds:
            yield data
        if str in kinds:
            yield data.decode("latin-1")


def check_foreign_frames(suite: Suite) -> None:
    """A frame of any other kind is refused with EncodeError, or written so that it can be read.

    Raise EncodeError for a frame that this framing cannot carry, such as one of another type.
    """
    framer = _writer(suite)
    for frame in (*FRAMES, (), (1,), ("a", "b", "c"), object(), [object()], {1: object()}):
        if (wire := encode(framer, frame)) is None:
            continue
        reading = read_chunks(framer, [wire])
        refused = [value for value in reading.values() if isinstance(value, Exception)]
        if refused or reading.malformed or reading.leftover:
            raise ConformanceError(
                "what encode writes cannot be read",
                data=wire,
                expected=f"a frame, or EncodeError for {frame!r}",
                got=str(reading),
            )


def check_wide_buffers(suite: Suite) -> None:
    """A buffer is written by its bytes, however wide the items are that its `len` counts.

    Begin encode with frame = bytes_of(frame), from framestream.
    """
    framer = _writer(suite)
    tried = False
    for frame in (b"twelve bytes", b"12345678", *_telling_frames(suite, [b""])):
        if len(frame) % 4 == 0 and frame and (expected := encode(framer, frame)) is not None:
            tried = True
            written = encode(framer, memoryview(frame).cast("I"))
            if written not in (None, expected):
                raise ConformanceError(
                    "a buffer with wide items is not written as its bytes",
                    data=written,
                    expected=f"{expected!r}, as for {frame!r}, or EncodeError",
                )
    if not tried:
        raise Untried("its frames are not bytes")
