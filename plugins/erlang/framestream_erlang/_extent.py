"""The check of every `encode` whose frames carry their own header."""

from __future__ import annotations

from framestream import EncodeError, FramingError, ReadCondition, Window
from framestream.errors import counted


def refuse_other_extent(condition: ReadCondition[bytes], frame: bytes) -> None:
    """Refuse bytes that this condition would not read as exactly one frame."""
    try:
        found = condition.find(Window(frame))
    except FramingError as error:
        raise EncodeError(error.reason) from error
    if not isinstance(found, tuple):
        raise EncodeError(f"frame of {counted(len(frame), 'byte')} is shorter than its header")
    if found[2] != len(frame):
        raise EncodeError(f"frame of {counted(len(frame), 'byte')}, but its header says {found[2]}")
