"""Noise: bytes before a mark, as on a serial line, or in a log that begins in the middle."""

from __future__ import annotations

import re

from framestream import FramingError, NeedMore, Window
from framestream.framer import PADDING, ValueSpan


def before_mark(window: Window, marks: tuple[bytes, ...], *, skip: bool) -> ValueSpan | NeedMore | None:
    """Return the bytes before a mark as padding, if they are to be skipped; None if a mark begins here.

    Raises:
        FramingError: no mark begins here, and bytes are not to be skipped.
    """
    data, start = window.data, window.start
    if data.startswith(marks, start):
        return None
    beginning = bytes(data[start : start + max(map(len, marks))])
    if any(mark.startswith(beginning) for mark in marks):
        # At the end, the beginning of a mark is noise like any other.
        return (start, start, len(data), PADDING) if window.eof and beginning and skip else NeedMore()
    if not skip:
        while not any(mark.startswith(beginning[:-1]) for mark in marks):
            beginning = beginning[:-1]  # up to the first byte that is wrong, however many have arrived
        shown = " or ".join(map(repr, marks))
        raise FramingError(f"message begins with {beginning!r}, not with {shown}", position=start)
    # One search for all: one for each would look at the rest of the data for a mark that is nowhere in it.
    found = re.compile(b"[" + b"".join(mark[:1] for mark in marks) + b"]").search(data, start + 1)
    return start, start, len(data) if found is None else found.start(), PADDING
