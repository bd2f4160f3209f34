"""Feed chunks to a decoder and collect what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.errors import FramestreamError, PayloadError

if TYPE_CHECKING:
    from framestream.framer import Framer, ReadCondition


def cut(condition: ReadCondition[Any], *chunks: bytes, eof: bool = True) -> list[Any]:
    """Return the frames, then the error if there is one, then what is left over if anything is."""
    decoder = FrameDecoder()
    out: list[Any] = []
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (frame := decoder.next_frame(condition)) is not NEED_DATA:
                out.append(frame)
        if eof:
            decoder.receive_eof()
            while (frame := decoder.next_frame(condition)) is not END:
                out.append(frame)
    except FramestreamError as error:
        out.append(type(error))
    if decoder.leftover:
        out.append(("left", decoder.leftover))
    return out


def told(condition: ReadCondition[Any], chunks: Iterable[bytes]) -> list[Any]:
    """Return the frames, for a bad one what it is told, and last what the stream is told if it breaks."""
    decoder, out = FrameDecoder(), []
    for chunk in [*chunks, None]:
        decoder.receive_eof() if chunk is None else decoder.receive_data(chunk)
        while True:
            try:
                frame = decoder.next_frame(condition)
            except PayloadError as error:
                frame = f"bad: {error.reason}"
            except FramestreamError as error:
                return [*out, str(error)]
            if frame is NEED_DATA or frame is END:
                break
            out.append(frame)
    return out


def error(condition: ReadCondition[Any], *chunks: bytes) -> FramestreamError:
    """Return the error that reading these chunks and then the end raises."""
    decoder = FrameDecoder()
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(condition) is not NEED_DATA:
                pass
        decoder.receive_eof()
        while decoder.next_frame(condition) is not END:
            pass
    except FramestreamError as error:
        return error
    raise AssertionError(f"{condition} raises nothing")


def wire(framer: Framer[Any], *frames: Any) -> bytes:
    """Return the bytes that carry these frames."""
    encoded: Iterable[Any] = map(framer.encode, frames)
    return b"".join(
        each if isinstance(each, bytes | bytearray | memoryview) else b"".join(each) for each in encoded
    )
