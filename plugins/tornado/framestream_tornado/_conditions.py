"""The read conditions of Tornado's reads; one object for each, so that a search continues."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from framestream import Available, Delimiter, Exactly, NeedMore, ReadCondition, Regex, Span, Window


def some_bytes(size: int, partial: bool) -> ReadCondition[bytes]:
    """Return the condition of exactly `size` bytes, or of one at least."""
    return Available(size) if partial and size else Exactly(size)


@lru_cache(maxsize=256)
def until(delimiter: bytes) -> ReadCondition[bytes]:
    """Return the condition of all bytes up to and including a delimiter."""
    return Until(Delimiter(delimiter, keep=True))


@lru_cache(maxsize=256)
def until_match(pattern: bytes | re.Pattern[bytes]) -> ReadCondition[bytes]:
    """Return the condition of all bytes up to the end of a match, for any pattern."""
    try:
        return Until(Regex(pattern))  # type: ignore[arg-type]  # one compiled is a TypeError
    except (TypeError, ValueError):
        return UntilMatch(re.compile(pattern))


@dataclass(frozen=True)
class Until(ReadCondition[bytes]):
    """Find as another condition does, and count all of it: one byte above the limit is too many.

    Other conditions allow for a delimiter that may have begun there.
    """

    condition: Delimiter | Regex

    def find(self, window: Window) -> Span | NeedMore:
        """Return what the condition does."""
        return self.condition.find(window)


@dataclass(frozen=True)
class UntilMatch(ReadCondition[bytes]):
    """Search all bytes that have arrived, as Tornado does: for the patterns that `Regex` refuses.

    The end of the match depends on how much has arrived, and the cost on how often bytes arrive.
    """

    pattern: re.Pattern[bytes]

    can_be_empty = True

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the end of the first match in the bytes that have arrived."""
        match = self.pattern.search(window.data[window.start :])
        if match is None:
            return NeedMore()
        stop = window.start + match.end()
        return window.start, stop, stop
