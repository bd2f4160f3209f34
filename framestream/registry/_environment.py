"""What the environment says about plugins: which are allowed, and how long they may take to load."""

from __future__ import annotations

import os
from collections.abc import Sequence

from framestream.errors import PluginError
from framestream.registry._plugin import Plugin

LOAD_LIMIT = 2.0
"""Seconds a plugin may take to import and register; ``FRAMESTREAM_LOAD_LIMIT`` says otherwise."""


def load_limit() -> float:
    """Return how many seconds a plugin may take to load."""
    value = os.environ.get("FRAMESTREAM_LOAD_LIMIT")
    if value is None:
        return LOAD_LIMIT
    try:
        return float(value)
    except ValueError:
        raise PluginError(f"FRAMESTREAM_LOAD_LIMIT is {value!r}; it must be a number of seconds") from None


def select(plugins: Sequence[Plugin]) -> list[str]:
    """Disable what the environment does not allow; return complaints about names that mean nothing.

    ``FRAMESTREAM_PLUGINS`` names the only plugins allowed, ``FRAMESTREAM_DISABLE_PLUGINS`` those that are
    not. A name is a distribution's or an entry point's.
    """
    allowed = _names_in("FRAMESTREAM_PLUGINS")
    forbidden = _names_in("FRAMESTREAM_DISABLE_PLUGINS") or ()
    for plugin in plugins:
        if allowed is not None and not any(map(plugin.answers_to, allowed)):
            plugin.disable("FRAMESTREAM_PLUGINS does not name it")
        if any(map(plugin.answers_to, forbidden)):
            plugin.disable("FRAMESTREAM_DISABLE_PLUGINS names it")
    return [
        f"no plugin answers to {name!r}, which the environment names"
        for name in (*(allowed or ()), *forbidden)
        if not any(plugin.answers_to(name) for plugin in plugins)
    ]


def _names_in(variable: str) -> tuple[str, ...] | None:
    """Return the names in an environment variable, or None if it is not set."""
    value = os.environ.get(variable)
    return None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())
