"""The checks that every `encode` makes."""

from __future__ import annotations

from framestream import EncodeError, FramingError, ReadCondition, Window


def refuse_larger(size: int, limit: int | None) -> None:
    """Refuse a payload above the limit: what is written must be readable with the same options."""
    if limit is not None and size > limit:
        raise EncodeError(f"frame of {size} bytes exceeds the limit {limit}")


def refuse_other_extent(condition: ReadCondition[bytes], frame: bytes) -> None:
    """Refuse bytes that this condition would not read as exactly one frame."""
    try:
        found = condition.find(Window(frame))
    except FramingError as error:
        raise EncodeError(error.reason) from error
    if not isinstance(found, tuple):
        raise EncodeError(f"frame of {len(frame)} bytes is shorter than its header")
    if found[2] != len(frame):
        raise EncodeError(f"frame of {len(frame)} bytes, but its header says {found[2]}")
