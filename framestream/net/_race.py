"""Try several addresses, each a little after the one before, and keep the first that answers (RFC 8305)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Race(Generic[T]):
    """Attempts that are started one after the other, of which the first to succeed wins.

    Args:
        attempts: what to try, in order of preference.
        delay: seconds an attempt has for itself before the next one joins in; when one fails, the next
            starts at once.
        discard: given what an attempt returned that succeeded although it had lost.

    Attributes:
        failures: the exception of each attempt that failed so far, by its index.
        started: how many attempts were started so far.
    """

    def __init__(
        self,
        attempts: Sequence[Callable[[], Coroutine[Any, Any, T]]],
        *,
        delay: float,
        discard: Callable[[T], object],
    ) -> None:
        self.failures: dict[int, BaseException] = {}
        self.started = 0
        self._attempts = attempts
        self._delay = delay
        self._discard = discard
        self._running: dict[asyncio.Task[T], int] = {}
        self._won: list[T] = []

    async def run(self) -> T | None:
        """Return what the winner returned, or None if every attempt failed.

        Cancelling cancels every attempt and waits for them; nothing that was opened is left behind.
        """
        try:
            while not self._won and (self._running or self.started < len(self._attempts)):
                await self._step()
        except asyncio.CancelledError:
            await self._stop()
            for loser in self._won:
                self._discard(loser)
            raise
        await self._stop()
        return self._won[0] if self._won else None

    async def _step(self) -> None:
        if self.started < len(self._attempts):
            self._running[asyncio.ensure_future(self._attempts[self.started]())] = self.started
            self.started += 1
        more = self.started < len(self._attempts)
        pause = self._delay if more else None
        done, _ = await asyncio.wait(self._running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self._finish(task)

    async def _stop(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        for task in [task for task in self._running if not task.cancelled()]:
            self._finish(task)

    def _finish(self, task: asyncio.Task[T]) -> None:
        index = self._running.pop(task)
        error = task.exception()
        if error is not None:
            self.failures[index] = error
        elif self._won:
            self._discard(task.result())
        else:
            self._won.append(task.result())


def interleave(families: Sequence[Sequence[T]]) -> list[T]:
    """Take one of each family in turn: a family without a route then costs one delay, not many."""
    rounds = zip_longest(*([(item,) for item in family] for family in families), fillvalue=())
    return [item for one_of_each in rounds for slot in one_of_each for item in slot]
