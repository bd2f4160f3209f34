"""Print frames from an event loop: a thread waits for the reader of the output, and the loop goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, wait
from functools import cache, partial
from io import BytesIO, FileIO, TextIOWrapper
from queue import SimpleQueue
from typing import IO, Any, Final, cast

from framestream.cli.output import Printer, complain, report
from framestream.errors import FramestreamError, FrameTooLarge, PayloadError, counted

_MOST_TOLD: Final = 1000  # messages that wait; nothing reads them, and memory is finite
_MOST_WRITTEN: Final = 1 << 16  # bytes that wait before a printer does


class Outlet:
    """Runs what prints in one thread, in order.

    It is a daemon thread: one that waits for a reader does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._jobs = SimpleQueue[tuple[Callable[[], object], Future[None]]]()
        self._lost = 0
        threading.Thread(target=self._work, name="output", daemon=True).start()

    def put(self, job: Callable[[], object]) -> Future[None]:
        """Have it run after everything before it."""
        done: Future[None] = Future()
        self._jobs.put((job, done))
        return done

    def tell(self, job: Callable[[], object]) -> None:
        """Have it run, unless a thousand others wait: then they are counted."""
        if self._jobs.qsize() < _MOST_TOLD:
            self.put(job)
        else:
            self._lost += 1

    def finish(self, timeout: float) -> None:
        """Wait until everything is printed, at most this many seconds."""
        wait([self.put(lambda: None)], timeout)

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            if done.set_running_or_notify_cancel():
                try:
                    job()
                except BaseException as error:  # noqa: BLE001  # the waiting coroutine raises it
                    done.set_exception(error)
                else:
                    done.set_result(None)
            if self._lost and self._jobs.empty():
                lost, self._lost = self._lost, 0
                complain(f"{counted(lost, 'message')} could not be printed: nothing read them")


outlet = cache(Outlet)
"""The outlet of this process."""


class LoopPrinter(Printer):
    """A `Printer` that keeps what it is given, and prints it in the thread of the outlet."""

    def __init__(self, form: str, separator: bytes | None = None) -> None:
        super().__init__(form, separator, BytesIO())
        self._told = False

    async def flush(self, *, more: bool = False) -> None:
        """Wait until everything is printed; if `more` is to come, only if much waits."""
        if not more or self._told or self.stream.tell() > _MOST_WRITTEN:
            self._told = False
            await asyncio.wrap_future(self._pass_on())

    def complain(self, name: str, error: Exception | str) -> None:
        """Print an error, after everything printed before it, with the bytes at fault."""
        self.status = 1
        self.tell(partial(report, name, error))

    def tell(self, job: Callable[[], object]) -> None:
        """Run what prints a message, after everything printed before it."""
        self._told = True
        self._pass_on()
        outlet().tell(job)

    def _pass_on(self) -> Future[None]:
        written = cast("BytesIO", self.stream)
        data = written.getvalue()
        written.seek(0)
        written.truncate()
        return outlet().put(partial(_write_all, data))


def _write_all(data: bytes) -> None:
    # Not by sys.stdout: at its end the interpreter would wait for the lock that this thread holds.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def own_stderr() -> IO[str]:
    """Return standard error as a file of its own, which has no lock: one that a stuck write holds stops the end."""
    return TextIOWrapper(FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)


async def good_frames(
    frames: AsyncIterator[Any], on_payload_error: str, tell: Callable[[FramestreamError], object]
) -> AsyncIterator[Any]:
    """Yield the frames of a stream; report those that are bad or too large, and continue after them."""
    while True:
        try:
            async for frame in frames:
                yield frame
            return
        except (FrameTooLarge, PayloadError) as error:
            if not (error.recoverable if isinstance(error, FrameTooLarge) else on_payload_error == "skip"):
                raise
            tell(error)
