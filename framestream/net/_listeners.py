"""Plugins that listen to events: the slots of `events` filled with functions that call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framestream._events import EVENTS, Listener, events
from framestream.registry._plugin import Plugin


def connect(plugins: Sequence[Plugin], lost: Callable[[], None]) -> None:
    """Let events call the plugins in use that implement their hook, and nobody else.

    `lost` is called when a plugin has gone into quarantine because its hook raised.
    """
    in_use = [plugin for plugin in plugins if plugin.state == "loaded"]
    for event in EVENTS:
        hook = f"framestream_{event}"
        hearers = [plugin for plugin in in_use if hook in plugin.hooks]
        setattr(events, event, _listener(hook, hearers, lost) if hearers else None)


def _listener(hook: str, hearers: Sequence[Plugin], lost: Callable[[], None]) -> Listener:
    def tell(**arguments: Any) -> None:
        for plugin in hearers:
            plugin.call(hook, **arguments)
        if any(plugin.state != "loaded" for plugin in hearers):
            lost()

    return tell
