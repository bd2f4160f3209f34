"""What a write returns: something to await, or to be told by, when its bytes have left."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio


class Done:
    """An awaitable that is done: what was written has left already."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...
    else:
        # An empty iterator is all that await needs, and this makes one without a call in Python.
        __await__ = ().__iter__


DONE: Final = Done()


class Flush:
    """Wait until the bytes up to `position` have left; awaiting it sends what is queued at once."""

    __slots__ = ("_flushed", "_position")

    def __init__(self, flushed: Callable[[int], asyncio.Future[None] | None], position: int) -> None:
        self._flushed = flushed
        self._position = position

    def __await__(self) -> Generator[Any, None, None]:
        waiter = self._flushed(self._position)
        return (DONE if waiter is None else waiter).__await__()


class CallWhenSent:
    """A waiter that calls a function, where nothing awaits."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def done(self) -> bool:
        """Return False: it is always worth telling."""
        return False

    def set_result(self, result: None) -> None:
        """Call the function: the bytes have left."""
        self._callback()

    def set_exception(self, error: BaseException) -> None:
        """Do nothing: they never will, and the close callback tells so."""
