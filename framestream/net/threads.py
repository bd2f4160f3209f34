"""Run a blocking call while the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Return the result of a function that runs in a thread of its own, or raise its error.

    It is a daemon thread, so the process does not wait for it at the end. Cancelling leaves it running.

    Raises:
        RuntimeError: no thread can be started; or the function raised an exception that an event loop would
            take as its own, which is the cause.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # before the thread can be done: from now on it cannot be cancelled

    def work() -> None:
        try:
            done.set_result(function())
        except (StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit) as error:
            raised = RuntimeError(f"a thread raised {type(error).__name__}")
            raised.__cause__ = error
            done.set_exception(raised)
        except BaseException as error:  # noqa: BLE001  # the waiting coroutine raises it
            done.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
