"""Frames above their limit: which they are, and what becomes of them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from framestream.decoding._parts import FrameParts
from framestream.decoding._search import PAYLOAD, Extent, Search
from framestream.decoding._skip import Skip, unskippable
from framestream.errors import FrameTooLarge
from framestream.framer import NeedMore

OnOversize: TypeAlias = Literal["raise", "discard", "truncate", "close"]

DEFAULT_MAX_FRAME_SIZE: Final = 1 << 20

_POLICIES: Final = frozenset(get_args(OnOversize))
# Header, delimiter and padding together may take this much even where the payload limit is smaller.
_MOST_OVERHEAD: Final = 65536


def checked_policy(policy: OnOversize) -> OnOversize:
    """Return the policy if there is such a one; else raise ValueError."""
    if policy not in _POLICIES:
        raise ValueError(f"on_oversize is {policy!r}; it must be one of {', '.join(sorted(_POLICIES))}")
    return policy


def verdict(search: Search, extent: Extent, limit: int) -> FrameTooLarge | None:
    """Return None if the frame is within the limit, else the error to report.

    The verdict is taken on the frame's first ``limit + overhead + 1`` bytes, however many have
    arrived, so that it does not depend on the chunking: what counts is whether the condition tells
    the extent from those.
    """
    first, stop, end, value = extent
    size = stop - first
    bound = limit + search.condition.overhead
    if size <= limit and end <= bound + 1:
        return None
    probe = min(bound + 1, end - 1)
    buffer = search.buffer
    declared = len(buffer.head) - buffer.pos < probe
    if not declared and type(found := search.answer_to(probe)) is tuple:
        declared, value = True, found[3] if len(found) == 4 else PAYLOAD
    if declared and size <= limit and end - size <= max(bound, _MOST_OVERHEAD):
        return None
    # Who decodes what is kept of the frame is judged by the same bytes.
    search.extent = (first, stop, end, value)
    return search.too_large(limit, size if declared else None)


def begin_skip(search: Search, error: FrameTooLarge, limit: int, policy: OnOversize) -> Skip:
    """Begin to throw away the frame that `error` is about, as the policy has it.

    Raises:
        FrameTooLarge: that very error, since the policy is to stop here, or the frame cannot be skipped.
    """
    if policy == "close" or (policy == "raise" and not error.recoverable):
        error.recoverable = False
        error.closing = policy == "close"
        raise error
    if not error.recoverable and not _can_be_skipped(search, limit + search.condition.overhead):
        raise unskippable(error)
    error.recoverable = True
    keep = limit if policy == "truncate" else None
    return Skip(FrameParts(search), search, limit, error, keep=keep, report=policy != "raise")


def _can_be_skipped(search: Search, bound: int) -> bool:
    # A frame of undeclared size can be thrown away as it arrives if the condition settles payload. That,
    # too, is judged by the first `bound` + 1 bytes.
    if search.extent is not None and search.extent[2] <= bound + 1:
        return True
    more = search.answer_to(bound + 1)
    return type(more) is NeedMore and bool(more.settled)
