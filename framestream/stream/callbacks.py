"""The calls a stream makes: callbacks in order, one by one, and at its end the waiters for its end."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from framestream.errors import FramestreamError, check_function, counted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from framestream.stream.stream import IOStream

T = TypeVar("T")


def in_context(callback: Callable[..., T]) -> Callable[..., T]:
    """Return `callback` wrapped to run later in the context it was given in."""
    check_function("callback", callback)
    return partial(copy_context().run, callback)


class Callbacks:
    """Run a stream's callbacks: each from the loop, in order, none inside another.

    While one waits to run, the close callback is delayed: a read chained from a callback sees buffered
    bytes first. Made on first use: most streams have none.

    Attributes:
        pending: callbacks still to run.
        on_close: called after them when the stream is closed, or None.
        skipped: frames skipped for callback reads, because they cannot be decoded or are too large.
    """

    __slots__ = ("_stream", "_waiters", "on_close", "pending", "skipped")

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._waiters: list[asyncio.Future[None]] | None = None  # most users set a callback instead
        self.pending = 0
        self.skipped = 0
        self.on_close: Callable[[], object] | None = None

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the next pass of the loop."""
        self.pending += 1
        self._stream.loop.call_soon(self._run, callback, *args)

    def _run(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except BaseException as error:  # a future that was cancelled raises no Exception
            self.fail(error)
            raise
        finally:
            self.ran()

    def fail(self, error: BaseException) -> None:
        """Close the stream because of an exception from a callback, which also reaches the loop."""
        self._stream.log_problem("callback", error)
        self._stream.close(error)

    def ran(self) -> None:
        """Note that a pending callback has run."""
        self.pending -= 1
        if self._stream.closed():
            self.close()

    # The end

    @property
    def await_end(self) -> bool:
        """True if a callback or a task waits for the end of the stream."""
        return self.on_close is not None or bool(self._waiters)

    def close(self) -> None:
        """Run the close callback, if no other has still to run, and wake the tasks that wait for the end."""
        if self.skipped > 1:
            more, self.skipped = counted(self.skipped - 1, "more frame"), 1
            self._stream.log_problem("frames", FramestreamError(f"skipped {more}"))
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        if self.on_close is not None and not self.pending:
            callback, self.on_close = self.on_close, None
            self.soon(callback)

    async def wait_closed(self, watch: Callable[[], object]) -> None:
        """Wait until the stream, which is open, is closed; `watch` makes it notice the peer's end."""
        # A future each: shielding one for all takes half a KiB more for each connection that waits.
        waiter: asyncio.Future[None] = self._stream.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            watch()
            await waiter
        finally:
            self._waiters.remove(waiter)
