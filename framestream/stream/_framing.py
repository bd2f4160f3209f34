"""Framers for the two directions of a stream."""

from __future__ import annotations

from typing import Any

from framestream.framer import Framer, ReadCondition
from framestream.iterate import condition_of


def directions(
    framer: ReadCondition[Any] | str | None, send_framer: Framer[Any] | str | None
) -> tuple[ReadCondition[Any] | None, Framer[Any] | None]:
    """Return what to read by and what to write by: the same framer, where it can write."""
    reading = None if framer is None else condition_of(framer)
    if send_framer is not None:
        return reading, writing(condition_of(send_framer))
    return reading, reading if isinstance(reading, Framer) else None


def writing(framer: ReadCondition[Any]) -> Framer[Any]:
    """Return the condition if it can also write, else raise ``TypeError``."""
    if not isinstance(framer, Framer):
        raise TypeError(f"{framer} can only read; sending takes a framer")
    return framer
