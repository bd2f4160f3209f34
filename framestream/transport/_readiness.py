"""Readiness without a file descriptor: call back from the loop for as long as something is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Readiness:
    """Do for a channel without a descriptor what the loop's selector does for one.

    The watcher is called once in every pass of the loop in which `is_ready` says so, until it stops
    watching. Whoever makes the channel ready calls `poke`.
    """

    __slots__ = ("_callback", "_handle", "_is_ready", "_loop")

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._callback: Callable[[], object] | None = None
        self._handle: asyncio.Handle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object] | None) -> None:
        """Call `callback` while ready; None: no longer."""
        self._loop = loop
        self._callback = callback
        if callback is not None:
            self.poke()
        elif self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def poke(self) -> None:
        """Call the watcher in the next pass of the loop, if there is one and it is ready."""
        if self._callback is not None and self._handle is None and self._is_ready():
            assert self._loop is not None
            self._handle = self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._handle = None
        if self._callback is not None and self._is_ready():
            self._callback()
            self.poke()
