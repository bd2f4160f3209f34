"""Checks of frames: what is written can be read back, and the framer's own string makes it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from framestream.errors import EncodeError, SpecError
from framestream.framer import Framer
from framestream.testing._case import Case, ends_by_itself
from framestream.testing._comparing import same_frames
from framestream.testing._failure import ConformanceError, describe_error
from framestream.testing._reference import Reading, read_chunks

_BUFFERS = (bytes, bytearray, memoryview)


def check_round_trip(case: Case) -> str | None:
    """A frame that is encoded is read back equal, or `encode` refuses it."""
    framer = case.framer
    if not isinstance(framer, Framer):
        return "it cannot encode: it is a ReadCondition, not a Framer"
    if case.pieces:
        return "its frames are whatever has arrived"
    read = [value for wire, _ in case.examples for value in case.reading(wire).values()]
    frames = [value for value in read if not isinstance(value, Exception)]
    written = [(frame, wire) for frame in frames if (wire := encode(framer, frame)) is not None]
    if not written:
        return "encode refuses every frame of the examples"
    joined = [(frame, wire) for frame, wire in written if ends_by_itself(framer, wire)]
    if joined:
        _check_read_back(framer, [frame for frame, _ in joined], b"".join(wire for _, wire in joined))
    for frame in (*frames, *_telling_frames(case, frames)):
        wire = encode(framer, frame)
        if wire is not None:
            _check_read_back(framer, [frame], wire)
    return None


def check_spec_string(case: Case) -> str | None:
    """The framer's string, given to `get_framer`, makes an equal framer."""
    from framestream.registry.lookup import get_framer  # noqa: PLC0415  # the registry knows plugins, this kit none

    framer = case.framer
    text = str(framer)
    if not framer.name:
        return "it has no name, so it is not registered"
    try:
        again = get_framer(text)
    except SpecError as error:
        return f"{text!r} cannot be parsed here: {error}"
    if again != framer:
        raise ConformanceError(
            "its string does not make it again",
            expected=f"get_framer({text!r}) == {framer!r}",
            got=repr(again),
            hint="let every option be a dataclass field that a spec string can spell",
        )
    return None


def encode(framer: Framer[Any], frame: Any) -> bytes | None:
    """Return the bytes for a frame, or None if `encode` refuses it.

    Raises:
        ConformanceError: `encode` raises something else, or returns something else than buffers.
    """
    try:
        encoded = framer.encode(frame)
    except EncodeError:
        return None
    except Exception as error:
        raise ConformanceError(
            f"encode raises {describe_error(error)}",
            expected="bytes, a sequence of buffers, or EncodeError",
            got=f"{type(error).__name__} for the frame {frame!r}",
            hint="raise EncodeError for a frame that this framing cannot carry",
        ) from error
    buffers = [encoded] if isinstance(encoded, _BUFFERS) else encoded
    if not isinstance(buffers, (list, tuple)) or not all(isinstance(one, _BUFFERS) for one in buffers):
        raise ConformanceError(
            "encode returns something else than bytes or a sequence of buffers",
            expected="bytes, or a list or tuple of bytes to be sent in order",
            got=f"{encoded!r} for the frame {frame!r}",
            hint='return b"".join(...) or a list of the parts; text must be encoded',
        )
    return b"".join(buffers)


def _check_read_back(framer: Framer[Any], frames: list[Any], wire: bytes) -> None:
    reading: Reading = read_chunks(framer, [wire])
    if not same_frames(frames, reading.values()) or reading.leftover:
        raise ConformanceError(
            "what encode writes is read back as something else",
            data=wire,
            expected=f"{frames!r}, and nothing left over",
            got=f"{reading.values()!r}, left over: {reading.leftover!r}",
            hint="make find and encode agree; raise EncodeError for a frame that this framing cannot carry, "
            "such as a payload that contains the delimiter or a length that does not fit",
        )


def _telling_frames(case: Case, frames: list[Any]) -> Iterator[Any]:
    """Yield frames that an encoder may trip over: empty ones, and ones made of the framing's own bytes."""
    kinds = {type(frame) for frame in frames}
    raw = [b"", b"\0", b"\r", b"\n", b" ", b"\xff" * 3, *case.wires[:12], *case.mutants(12)]
    ends = [wire[-size:] for wire in case.wires[:12] for size in (1, 2, 3)]
    for data in (*raw, *ends):
        if bytes in kinds:
            yield data
        if str in kinds:
            yield data.decode("latin-1")
