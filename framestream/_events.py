"""Events of streams and servers, for plugins that listen; without a listener nothing is called.

A stream tests ``events.frame_received is not None``: without a plugin that implements it, the frame
tap costs only that. The plugin manager fills the slots; this module knows no plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

Listener: TypeAlias = Callable[..., None]


class Events:
    """One slot for each event: None, or a function that never raises.

    Call it with keywords: ``events.stream_failed(stream=stream, error=error)``.
    """

    stream_opened: Listener | None = None
    stream_closed: Listener | None = None
    stream_failed: Listener | None = None
    server_opened: Listener | None = None
    server_closed: Listener | None = None
    server_failed: Listener | None = None
    frame_received: Listener | None = None
    frame_sent: Listener | None = None

    def tell(self, event: str, **arguments: Any) -> None:
        """Call the listener of an event by its name, if there is one."""
        listener: Listener | None = getattr(self, event)
        if listener is not None:
            listener(**arguments)


EVENTS: Final = tuple(Events.__annotations__)

events: Final = Events()
"""The set of slots that streams and servers look at."""
