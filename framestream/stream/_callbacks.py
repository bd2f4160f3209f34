"""Callbacks of one stream: in order, one by one, and its close callback behind all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeVar

from framestream.stream._problems import Voice

T = TypeVar("T")


def in_context(callback: Callable[..., T]) -> Callable[..., T]:
    """Return `callback` as it is to be called later: in the context it was given in."""
    return partial(copy_context().run, callback)


class CallbacksOwner(Protocol):
    """Whom `Callbacks` tell what they cannot decide."""

    loop: asyncio.AbstractEventLoop
    stream: Voice

    def close(self, error: BaseException | None = None) -> None: ...

    def note_callback_run(self) -> None:
        """Note that there is one callback less that has still to run."""


class Callbacks:
    """Run a stream's callbacks: each from the loop, in order, none inside another.

    While one is waiting to run, the close callback is put off: a read chained from a callback sees what
    is buffered first.

    Attributes:
        pending: callbacks that have still to run.
    """

    __slots__ = ("_owner", "pending")

    def __init__(self, owner: CallbacksOwner) -> None:
        self._owner = owner
        self.pending = 0

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the next pass of the loop."""
        self.pending += 1
        self._owner.loop.call_soon(self.run, callback, *args)

    def run(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback now. An exception closes the stream and reaches the loop's exception handler."""
        try:
            callback(*args)
        except BaseException as error:  # a future that was cancelled raises no Exception
            self.failed(error)
            raise
        finally:
            self.ran()

    def failed(self, error: BaseException) -> None:
        """Close the stream because of an exception that came out of a callback."""
        self._owner.stream.log_problem("callback", error)
        self._owner.close(error)

    def ran(self) -> None:
        """Take note that a pending callback has run."""
        self.pending -= 1
        self._owner.note_callback_run()
