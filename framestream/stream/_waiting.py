"""Who waits for a stream: a read for bytes, a write for bytes to leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol


class Reader(ABC):
    """One pending read."""

    __slots__ = ()

    @abstractmethod
    def go_on(self, at_once: bool) -> None:
        """Ask again: what was missing has arrived, or never will.

        With `at_once` it is the loop that calls, and nothing is left to be done behind this call: it may
        run whatever it likes. Otherwise it is called inside somebody's code.
        """

    @property
    def given_up(self) -> bool:
        """True if nobody waits for the frame any more: it is there for the next reader."""
        return False

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End with an error, unless it has ended."""


class Waiter(Protocol):
    """The part of a future that somebody must have who waits until bytes have left."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Stoppable(Protocol):
    """What is under way and must hear of it when the stream is closed."""

    def stop(self) -> None: ...
