"""Lines of heads and trailer sections, one after the other as they arrive (RFC 9112 2.2 and 5.2)."""

from __future__ import annotations

import sys

from framestream import FramingError
from framestream_http._heads import FIELD_LINE


def next_line(
    data: bytes | bytearray, at: int, searched: int, *, bare_lf: bool = False, most: int = sys.maxsize
) -> tuple[bytes, int] | None:
    """Return the line that begins at `at`, and where the next one begins; None if it has no end yet.

    Raises:
        FramingError: it ends with a line feed alone, unless `bare_lf`; a carriage return stands elsewhere
            than before a line feed; it has more than `most` bytes.
    """
    bound = at + most
    feed = data.find(b"\n", searched, bound)
    end = feed if feed >= 0 else min(len(data), bound)
    stop = data.find(b"\r", searched, end)
    if 0 <= stop < end - 1:
        raise FramingError("CR without LF", position=stop)
    if feed < 0:
        if len(data) >= bound:
            raise FramingError(f"no end of a line in {most} bytes", position=at)
        return None
    if stop < 0 and not bare_lf:
        raise FramingError("LF without CR", position=feed)
    return bytes(data[at : feed if stop < 0 else stop]), feed + 1


def searched_to(data: bytes | bytearray, at: int) -> int:
    """Return how far a line without an end has been searched: the last byte may be its CR."""
    return max(at, len(data) - 1)


def field_of(line: bytes, at: int) -> tuple[bytes, bytes]:
    """Return name and value of a field line.

    Raises:
        FramingError: the line folds the one before (obs-fold, RFC 9112 5.2), has white space before its
            colon (5.1), or is no field line at all.
    """
    field = FIELD_LINE.fullmatch(line)
    if field is not None:
        return field[1], field[2].strip(b" \t")
    if line[:1] in (b" ", b"\t"):
        raise FramingError("line begins with white space: folded fields are refused", position=at)
    name = line.partition(b":")[0]
    if name != line and name.endswith((b" ", b"\t")):
        raise FramingError("white space between a field's name and its colon", position=at)
    raise FramingError(f"{line[:32]!r} is no field", position=at)
