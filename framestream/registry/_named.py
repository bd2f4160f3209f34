"""Accept a condition, or the name or spec string of one."""

from __future__ import annotations

from typing import Any

from framestream.framer import ReadCondition


def condition_of(condition: ReadCondition[Any] | str) -> ReadCondition[Any]:
    """Return the condition itself, or the one that a name or spec string describes."""
    if isinstance(condition, str):
        # Only a name needs the registry, and with it pluggy.
        from framestream.registry._registry import get_framer  # noqa: PLC0415

        return get_framer(condition)
    return condition
