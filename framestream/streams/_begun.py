"""Reads and writes that settle a future: begun at once, with no coroutine in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from framestream._conditions import ReadCondition
from framestream.streams._callbacks import CallbackRead

if TYPE_CHECKING:
    from framestream.streams._core import StreamCore

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
        super().__init__(core, ask, condition, settled.set_result, settled.set_exception)
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
        self._core.tap(self._condition, frame)
        self._settled.set_result(frame)

    def _fail(self, error: BaseException) -> None:
        if not self._settled.done():
            self._settled.set_exception(error)
