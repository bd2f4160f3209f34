"""A stream drawn above the frames that a condition finds in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.errors import FramingError, PayloadError

if TYPE_CHECKING:
    from framestream.framer import ReadCondition

Piece = tuple[bytes, str]
"""Bytes of the stream, and what became of them."""


def draw(condition: ReadCondition[Any], stream: bytes, width: int = 100) -> str:
    """Return a drawing made by cutting the stream: a box for each frame, input above, decoded below."""
    pieces = list(_pieces(condition, stream))
    cells = [(_written(data), text) for data, text in pieces]
    widths = [max(map(len, cell)) for cell in cells]
    if sum(widths) + 3 * len(widths) + 10 > width:
        return "\n".join(f"INPUT    {above}\nDECODED  {below}" for above, below in cells)
    rule = "         +" + "+".join("-" * (size + 2) for size in widths) + "+"
    above = _row("INPUT  ", (cell[0] for cell in cells), widths)
    below = _row("DECODED", (cell[1] for cell in cells), widths)
    return "\n".join((rule, above, rule, below, rule))


def _row(title: str, texts: Iterable[str], widths: Iterable[int]) -> str:
    cells = (f" {text:<{size}} " for text, size in zip(texts, widths, strict=True))
    return f"{title}  |{'|'.join(cells)}|"


def _pieces(condition: ReadCondition[Any], stream: bytes) -> Iterator[Piece]:
    decoder = FrameDecoder()
    decoder.receive_data(stream)
    decoder.receive_eof()
    start = 0
    while True:
        try:
            frame = decoder.next_frame(condition)
        except PayloadError as error:
            frame = error
        except FramingError as error:
            yield stream[start:], str(error)
            return
        if frame is END or frame is NEED_DATA:
            return
        yield stream[start : decoder.offset], repr(frame)
        start = decoder.offset


def _written(data: bytes) -> str:
    """Return bytes as they are written between quotes in Python, which is what readers know."""
    return repr(data)[2:-1]
