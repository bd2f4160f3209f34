"""Lines of heads and trailer sections, one after the other as they arrive (RFC 9112 2.2 and 5.2)."""

from __future__ import annotations

import re
import sys
from typing import Final

from framestream import FramingError
from framestream_http._heads import FIELD_LINE

_FOLD: Final = re.compile(rb"\r?\n[\t ]+")
_WHITE_SPACE: Final = (b" ", b"\t")


def next_line(
    data: bytes | bytearray,
    at: int,
    searched: int,
    *,
    bare_lf: bool = False,
    fold: bool = False,
    most: int = sys.maxsize,
) -> tuple[bytes, int] | None:
    """Return the line that begins at `at`, and where the next one begins; None if it has no end yet.

    With `fold`, lines that begin with white space belong to the one before them (obs-fold, RFC 9112 5.2), so
    only an empty line ends before the next byte has arrived.

    Raises:
        FramingError: it ends with a line feed alone, unless `bare_lf`; a carriage return is not followed by
            a line feed; it has more than `most` bytes.
    """
    bound = at + most
    while True:
        feed = data.find(b"\n", searched, bound)
        end = feed if feed >= 0 else min(len(data), bound)
        stop = data.find(b"\r", max(at, searched - 1), end)
        if 0 <= stop < end - 1:
            raise FramingError("CR without LF", position=stop)
        if feed < 0:
            if len(data) >= bound:
                raise FramingError(f"no end of a line in {most} bytes", position=at)
            return None
        if stop < 0 and not bare_lf:
            raise FramingError("LF without CR", position=feed)
        searched, stop = feed + 1, feed if stop < 0 else stop
        if not fold or stop == at:
            return bytes(data[at:stop]), searched
        following = data[searched : searched + 1]
        if not following:
            return None
        if following not in _WHITE_SPACE:
            return unfolded(bytes(data[at:stop])), searched


def unfolded(lines: bytes) -> bytes:
    """Return field lines with a space instead of every fold (RFC 9112 5.2)."""
    return _FOLD.sub(b" ", lines)


def searched_to(data: bytes | bytearray, at: int) -> int:
    """Return how far a line without an end has been searched: the last byte may be its CR."""
    return max(at, len(data) - 1)


def field_of(line: bytes, at: int) -> tuple[bytes, bytes]:
    """Return name and value of a field line.

    Raises:
        FramingError: the line folds the one before (obs-fold, RFC 9112 5.2), has white space before its
            colon (5.1), or is not a field line.
    """
    field = FIELD_LINE.fullmatch(line)
    if field is not None:
        return field[1], field[2].strip(b" \t")
    if line[:1] in _WHITE_SPACE:
        raise FramingError("line begins with white space: folded fields are refused", position=at)
    name = line.partition(b":")[0]
    if name != line and name.endswith((b" ", b"\t")):
        raise FramingError("white space between a field's name and its colon", position=at)
    raise FramingError(f"{line[:32]!r} is not a field", position=at)
