"""What Tornado's reads look for, as read conditions; one object for each, so that a search goes on."""

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
    """Return the condition of everything up to a delimiter, included."""
    return Until(Delimiter(delimiter, keep=True))


@lru_cache(maxsize=256)
def until_match(pattern: bytes | re.Pattern[bytes]) -> ReadCondition[bytes]:
    """Return the condition of everything up to the end of a match, whatever the pattern."""
    try:
        return Until(Regex(pattern))  # type: ignore[arg-type]  # one compiled is a TypeError
    except (TypeError, ValueError):
        return UntilMatch(re.compile(pattern))


@dataclass(frozen=True)
class Until(ReadCondition[bytes]):
    """Find what another condition finds, and count all of it: one byte above the limit is too many.

    Others allow for a delimiter that may have begun there.
    """

    condition: Delimiter | Regex[bytes]

    def find(self, window: Window) -> Span | NeedMore:
        """Return what the condition does."""
        return self.condition.find(window)


@dataclass(frozen=True)
class UntilMatch(ReadCondition[bytes]):
    """Search all that is there, as Tornado does: for the patterns that `Regex` refuses.

    Where the match ends depends on how much has arrived, and the cost on how often something arrives.
    """

    pattern: re.Pattern[bytes]

    can_be_empty = True

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the end of the first match in what has arrived."""
        match = self.pattern.search(window.data[window.start :])
        if match is None:
            return NeedMore()
        stop = window.start + match.end()
        return window.start, stop, stop
