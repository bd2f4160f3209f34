"""Who is told that a stream is closed: one callback, behind all others, and every task that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Closing:
    """Those who want to know of the end of one stream; made when the first of them asks.

    Attributes:
        callback: what is still to be called, or None.
    """

    __slots__ = ("_waiters", "callback")

    def __init__(self) -> None:
        self.callback: Callable[[], object] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None  # most who ask give a callback

    @property
    def is_awaited(self) -> bool:
        """True if there is anybody to tell."""
        return self.callback is not None or bool(self._waiters)

    def add_waiter(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done when the stream is closed; `remove_waiter` takes it back."""
        # A future each: shielding one for all takes half a KiB more for each connection that waits.
        waiter: asyncio.Future[None] = loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def remove_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Forget one who waits no more."""
        assert self._waiters is not None  # it was added to them
        self._waiters.remove(waiter)

    def wake_waiters(self) -> None:
        """Tell every task: the stream is closed."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
