"""Limit the time of a block: ``async with time_limit(5): ...``."""

from __future__ import annotations

import asyncio
import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:  # pragma: no cover  # the coverage gate runs on a newer Python

    class time_limit:  # noqa: N801  # stands for asyncio.timeout, which is a function to its users
        """Cancel the block after `seconds` and raise ``TimeoutError`` in its place; None is no limit.

        Without ``Task.uncancel`` a cancellation from outside that comes in the same pass of the loop as
        the end of the time is taken for that.
        """

        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds
            self._handle: asyncio.TimerHandle | None = None
            self._expired = False

        async def __aenter__(self) -> time_limit:
            if self._seconds is not None:
                task = asyncio.current_task()
                assert task is not None
                self._handle = asyncio.get_running_loop().call_later(self._seconds, self._expire, task)
            return self

        def _expire(self, task: asyncio.Task[object]) -> None:
            self._expired = True
            task.cancel()

        async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
            if self._handle is not None:
                self._handle.cancel()
            if self._expired and kind is asyncio.CancelledError:
                raise TimeoutError


__all__ = ["time_limit"]
