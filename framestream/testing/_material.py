"""Material: what a framer's class or module says for the kit."""

from __future__ import annotations

from typing import Any

MATERIAL = ("examples", "malformed", "incomplete", "slow_frame", "pieces")
"""The names of attributes that are arguments of `check_framer`."""


def material_of(*owners: Any) -> dict[str, Any]:
    """Return the kit's arguments that these say, the first that has one being asked first."""
    found: dict[str, Any] = {}
    for owner in owners:
        for name in MATERIAL:
            if name not in found and hasattr(owner, name):
                found[name] = getattr(owner, name)
    return found
