"""The one way from the core up to the registry: a name, where a condition may be given, is looked up.

It has a module of its own so that whoever takes a condition need not import the registry, and pluggy
with it, until somebody gives a name.
"""

from __future__ import annotations

from typing import Any

from framestream.framer import ReadCondition


def condition_of(condition: ReadCondition[Any] | str) -> ReadCondition[Any]:
    """Return the condition itself, or the one that a name or spec string describes."""
    if isinstance(condition, str):
        from framestream.registry.lookup import get_framer  # noqa: PLC0415

        return get_framer(condition)
    return condition
