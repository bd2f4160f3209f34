"""Reads that end in a callback, for code without coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from framestream.decoder import END, FRAME_END, NEED_DATA
from framestream.errors import IncompleteFrame, StreamClosed
from framestream.framer import ReadCondition
from framestream.stream._waiting import Reader

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore
    from framestream.stream._deadlines import Pace


class CallbackRead(Reader):
    """One pending read that ends in a callback.

    An error closes the stream, unless there is an `on_error`: a callback has nobody to raise it to.
    """

    __slots__ = ("_ask", "_callback", "_condition", "_core", "_on_error")

    def __init__(
        self,
        core: StreamCore,
        ask: Callable[[ReadCondition[Any]], Any],
        condition: ReadCondition[Any],
        callback: Callable[[Any], object],
        on_error: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._core = core
        self._ask = ask
        self._condition = condition
        self._callback = callback
        self._on_error = on_error

    def start(self, pace: Pace | None) -> None:
        """Begin to read; what the channel raises comes out here."""
        self._core.begin(self, pace or self._core.pace)
        self._go_on(inline=True)

    def go_on(self, at_once: bool) -> None:
        """Ask again; the callback runs in a later pass in any case."""
        self._go_on()

    def fail(self, error: BaseException) -> None:
        """End the read with an error."""
        self._core.inbound.end()
        self._fail(error)

    def _go_on(self, *, inline: bool = False) -> None:
        core = self._core
        inbound = core.inbound
        try:
            answer = self._next()
        except Exception as error:  # whatever it is, it ends this read
            inbound.end()
            if inline and isinstance(error, OSError):
                raise
            self._fail(core.explain(error, keep=self._is_untold))
            return
        if answer is NEED_DATA:
            return
        inbound.end()
        if answer is END:
            core.note_end()
            self._fail(StreamClosed("stream ended", real_error=core.error))
        else:
            self._deliver(answer)

    def _next(self) -> Any:
        core = self._core
        while (answer := self._ask(self._condition)) is NEED_DATA:
            if core.inbound.wait_in_quiet(self):
                break
            if not core.receive_inline():
                core.inbound.wait(self)
                break
        return answer

    def _deliver(self, frame: Any) -> None:
        self._core.tap(self._condition, frame)
        self._core.callbacks.soon(self._callback, frame)

    @property
    def _is_untold(self) -> bool:
        # Nobody is told of an error but by the stream's own.
        return self._on_error is None

    def _fail(self, error: BaseException) -> None:
        if self._on_error is not None:
            self._on_error(error)
        elif not isinstance(error, (StreamClosed, IncompleteFrame)):
            # An end is told by the close callback.
            self._core.close(error)


class StreamingRead(CallbackRead):
    """One pending read whose payload goes to a callback as it becomes final.

    Nothing further is received before the callback has run on what was.
    """

    __slots__ = ("_part_callback",)

    def __init__(
        self,
        core: StreamCore,
        ask: Callable[[ReadCondition[Any]], Any],
        condition: ReadCondition[Any],
        callback: Callable[[Any], object],
        on_error: Callable[[BaseException], object] | None = None,
        *,
        part_callback: Callable[[bytes], object],
    ) -> None:
        super().__init__(core, ask, condition, callback, on_error)
        self._part_callback = part_callback

    def _next(self) -> Any:
        core = self._core
        delivered = False
        while True:
            part = self._ask(self._condition)
            if isinstance(part, bytes):
                core.callbacks.soon(self._part_callback, part)
                delivered = True
            elif part is not NEED_DATA:
                return part
            elif delivered:
                core.callbacks.soon(self._resume)
                return part
            elif not core.receive_inline(1):
                core.inbound.wait(self)
                return part

    def _resume(self) -> None:
        if self._core.inbound.busy is self:
            self._go_on()

    def _deliver(self, frame: Any) -> None:
        assert frame is FRAME_END
        self._core.callbacks.soon(self._callback, b"")

    def cancel_with(self, future: asyncio.Future[bytes]) -> None:
        """Stop if the future that waits for the end is cancelled; the rest of the frame is skipped."""
        if future.cancelled() and self._core.inbound.busy is self:
            self._core.inbound.end()
            self._core.decoder.skip_frame()
