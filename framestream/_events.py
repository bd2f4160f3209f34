"""What happens to streams and servers, for whoever listens; nothing is called while nobody does.

A stream asks ``events.frame_received is not None`` and goes on: that is the whole price of the frame
tap until a plugin implements it. The plugin manager fills the slots in; this module knows no plugin.
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
"""The one set of slots that streams and servers look at."""
