"""What happens to streams and servers, for whoever listens; nothing is called while nobody does.

A stream asks ``events.frame_received is not None`` and goes on: that is the whole price of the frame
tap until a plugin implements it. The plugin host fills the slots in; this module knows no plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

Listener: TypeAlias = Callable[..., None]

EVENTS: Final = (
    "stream_opened",
    "stream_closed",
    "stream_failed",
    "server_opened",
    "server_closed",
    "server_failed",
    "frame_received",
    "frame_sent",
)


class Events:
    """One slot for each event: None, or a function that never raises.

    Call it with keywords: ``events.stream_failed(stream=stream, error=error)``.
    """

    __slots__ = EVENTS

    def __init__(self) -> None:
        self.stream_opened: Listener | None = None
        self.stream_closed: Listener | None = None
        self.stream_failed: Listener | None = None
        self.server_opened: Listener | None = None
        self.server_closed: Listener | None = None
        self.server_failed: Listener | None = None
        self.frame_received: Listener | None = None
        self.frame_sent: Listener | None = None

    def tell(self, event: str, **arguments: Any) -> None:
        """Call the listener of an event by its name, if there is one."""
        listener: Listener | None = getattr(self, event)
        if listener is not None:
            listener(**arguments)


events: Final = Events()
"""The one set of slots that streams and servers look at."""
