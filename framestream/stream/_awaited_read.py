"""Reads that a task awaits."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from framestream.decoder import END, NEED_DATA
from framestream.errors import FrameTooLarge, IncompleteFrame, because
from framestream.stream._waiting import Reader

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context

    from framestream.framer import ReadCondition
    from framestream.stream._core import StreamCore
    from framestream.stream._deadlines import Pace, ReadTimer


async def next_frame(core: StreamCore, condition: ReadCondition[Any]) -> Any:
    """Return the next frame, receiving until it is there. Cancelling consumes nothing.

    This is the way of most reads: one coroutine, and one call where the frame is there.
    """
    if not core.inbound.free:
        core.make_free()
    try:
        frame = core.decoder.next_frame(condition)
        if frame is NEED_DATA:
            frame = await AwaitedRead(core, condition)
    except (IncompleteFrame, FrameTooLarge) as error:
        raise because(core.explain(error), core.error)
    if frame is END:
        raise because(core.ended(), core.error)
    return frame


async def next_answer(
    core: StreamCore,
    ask: Callable[[ReadCondition[Any]], Any],
    condition: ReadCondition[Any],
    pace: Pace | ReadTimer | None = None,
) -> Any:
    """Ask the decoder until it has an answer, as `next_frame` does, and be it `END`."""
    if not core.inbound.free:
        core.make_free()
    try:
        answer = ask(condition)
        if answer is NEED_DATA:
            answer = await AwaitedRead(core, condition, ask, pace)
    except (IncompleteFrame, FrameTooLarge) as error:
        raise because(core.explain(error), core.error)
    return answer


class AwaitedRead(Reader):
    """One pending read, and what its task waits for: a future-like object, see ``asyncio.isfuture``.

    A plain future would run the task in the next pass of the loop, whatever has arrived. This one asks
    the decoder when bytes arrive, lets the task sleep until there is an answer, and runs it at once: a
    peer that trickles costs no task switch a byte, and an answer no further pass.

    The answer is taken only when the task runs in the very same call, so a task that is cancelled has
    consumed nothing.

    Args:
        core: the stream's core; nobody else may be reading.
        condition: what is waited for.
        ask: asked about that until it answers anything but NEED_DATA, which it has just done; the decoder's
            `next_frame` if left out.
        pace: limits of time; by default the stream's own.
    """

    __slots__ = (
        "_answer",
        "_ask",
        "_asyncio_future_blocking",
        "_callback",
        "_condition",
        "_context",
        "_core",
        "_error",
        "_pace",
    )

    _context: Context | None

    def __init__(
        self,
        core: StreamCore,
        condition: ReadCondition[Any],
        ask: Callable[[ReadCondition[Any]], Any] | None = None,
        pace: Pace | ReadTimer | None = None,
    ) -> None:
        self._core = core
        self._ask = ask
        self._condition = condition
        self._pace = pace
        self._answer: Any = NEED_DATA
        self._error: BaseException | None = None
        self._callback: Callable[[AwaitedRead], object] | None = None

    def __await__(self) -> Generator[AwaitedRead, None, Any]:
        core = self._core
        inbound = core.inbound
        pace = self._pace or core.pace
        answer: Any = NEED_DATA
        try:
            if pace is not None or not inbound.wait_in_quiet(self):
                inbound.begin(self, pace)
                answer = self._receive()
            if answer is NEED_DATA:
                if self._error is None:
                    self._asyncio_future_blocking = True
                    yield self
                else:  # a limit of time had passed before the wait began
                    self.result()
                answer = self._answer
            return answer
        finally:
            inbound.end()

    def _receive(self) -> Any:
        core = self._core
        if core.inbound.wait_in_quiet(self):
            return NEED_DATA
        ask = self._ask
        while core.receive_inline():
            answer = core.decoder.next_frame(self._condition) if ask is None else ask(self._condition)
            if answer is not NEED_DATA:
                return answer
        core.inbound.wait(self)
        return NEED_DATA

    # What wakes it

    def go_on(self, at_once: bool) -> None:
        """Ask again, when the task can run at once if there is an answer."""
        if not at_once:
            self._core.loop.call_soon(self.go_on, True)
            return
        callback = self._callback
        if callback is None:
            return  # the task is on its way already, because of an error
        ask = self._ask
        try:
            # A bound method kept for each read that waits would be larger and slower.
            answer = self._core.decoder.next_frame(self._condition) if ask is None else ask(self._condition)
            if answer is NEED_DATA:
                answer = self._receive()
                if answer is NEED_DATA:
                    return
            self._answer = answer
        except Exception as error:  # noqa: BLE001 - the task meets it where it awaits
            self._error = error
        self._callback = None
        context = self._context
        if context is None:
            callback(self)
        else:
            context.run(callback, self)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        if not self.done():
            self._error = error
            callback, self._callback = self._callback, None
            if callback is not None:
                self._core.loop.call_soon(callback, self, context=self._context)

    # What its task asks of a future

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the stream."""
        return self._core.loop

    def add_done_callback(
        self, callback: Callable[[AwaitedRead], object], *, context: Context | None = None
    ) -> None:
        """Take note of the one task that awaits this."""
        self._callback = callback
        self._context = context

    def done(self) -> bool:
        """Tell whether there is an answer, or an error."""
        return self._error is not None or self._answer is not NEED_DATA

    def cancel(self, msg: object = None) -> bool:
        """Give up, unless there is an answer; nothing is consumed."""
        if self.done():
            return False
        self.fail(CancelledError() if msg is None else CancelledError(msg))
        return True

    def result(self) -> None:
        """Raise the error, if there is one; the answer is what awaiting this returns."""
        error = self._error
        if error is not None:
            self._error = None
            try:
                raise error
            finally:
                del error  # its traceback knows this frame


class AwaitedBytes(AwaitedRead):
    """Wait until `size` bytes are there, or the end of the stream is. Consumes nothing."""

    __slots__ = ("_size",)

    def __init__(self, core: StreamCore, size: int) -> None:
        super().__init__(core, None, partial(_are_there, core, size))  # type: ignore[arg-type]  # none has a say
        self._size = size

    def _receive(self) -> Any:
        core = self._core
        if core.receive_inline(self._size - core.decoder.buffered):
            return True
        core.inbound.wait(self)
        return NEED_DATA


def _are_there(core: StreamCore, size: int, _: object) -> Any:
    return True if size <= core.decoder.buffered or core.inbound.eof else NEED_DATA
