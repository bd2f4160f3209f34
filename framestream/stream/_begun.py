"""Reads and writes that settle a future: begun at once, with no coroutine in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from framestream._events import events
from framestream.framer import ReadCondition
from framestream.stream._callback_reads import CallbackRead

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore
    from framestream.stream._problems import Voice

T_contra = TypeVar("T_contra", contravariant=True)


class Settled(Protocol[T_contra]):
    """The part of a future that whoever began something must have."""

    def done(self) -> bool: ...
    def set_result(self, result: T_contra, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class BegunRead(CallbackRead):
    """One pending read that settles a future, or whatever else can be told like one."""

    __slots__ = ("_settled",)

    def __init__(
        self,
        core: StreamCore,
        ask: Callable[[ReadCondition[Any]], Any],
        condition: ReadCondition[Any],
        settled: Settled[Any],
    ) -> None:
        self._core = core
        self._ask = ask
        self._condition = condition
        self._settled = settled

    @property
    def given_up(self) -> bool:
        """True if whoever waited for the frame has cancelled that: it is there for the next reader."""
        return self._settled.done()

    def go_on(self, at_once: bool) -> None:
        """Ask again, if somebody still wants the frame."""
        core = self._core
        if not self._settled.done():
            self._go_on()
            return
        core.inbound.end()
        if not core.closed:
            core.on_idle()

    def _deliver(self, frame: Any) -> None:
        if events.frame_received is not None:
            self._core.tap(self._condition, frame)
        self._settled.set_result(frame)

    @property
    def _is_untold(self) -> bool:
        return False

    def _fail(self, error: BaseException) -> None:
        fail(self._core.stream, self._settled, error)


class BegunWrite:
    """One pending write that settles a future, or whatever else can be told like one."""

    __slots__ = ("_settled", "_stream")

    def __init__(self, stream: Voice, settled: Settled[None]) -> None:
        self._stream = stream
        self._settled = settled

    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        return self._settled.done()

    def set_result(self, result: None) -> None:
        """Say that the bytes have left."""
        self._settled.set_result(None)

    def set_exception(self, error: BaseException) -> None:
        """Say that they never will."""
        fail(self._stream, self._settled, error)


def fail(stream: Voice, settled: Settled[Any], error: BaseException) -> None:
    """End it with an error, in the stream's words; the loop does not complain if nobody looks at it."""
    if not settled.done():
        error = stream.translate_error(error)
        settled.set_exception(error)
        if isinstance(settled, asyncio.Future):
            settled.exception()
