"""Event loops for tests: one cannot watch descriptors, one never waits."""

from __future__ import annotations

import asyncio
import selectors
import sys

asyncio.constants.DEBUG_STACK_DEPTH = 1  # of what each handle keeps in debug mode; uvloop copies it

try:
    import uvloop
except ImportError:
    uvloop = None


def _only_for_asyncio(name):
    def method(self, *arguments):
        if not sys._getframe(1).f_globals["__name__"].startswith("asyncio."):
            raise NotImplementedError
        return getattr(asyncio.SelectorEventLoop, name)(self, *arguments)

    return method


class LoopWithoutPolling(asyncio.SelectorEventLoop):
    """A loop that cannot be asked to watch a descriptor, as Windows' Proactor cannot; asyncio itself may."""

    add_reader = _only_for_asyncio("add_reader")
    remove_reader = _only_for_asyncio("remove_reader")
    add_writer = _only_for_asyncio("add_writer")
    remove_writer = _only_for_asyncio("remove_writer")


class LoopWithoutWaiting(asyncio.SelectorEventLoop):
    """A loop that never waits: where it would, its clock jumps to the next timer.

    Real time has no say, so limits of time can be tested exactly and at once. Only for a thread, such as one that
    resolves a name, does it wait, and no time passes meanwhile.
    """

    def __init__(self):
        super().__init__(_Impatient(self))
        self.now = 1000.0
        self.in_threads = set()

    def time(self):
        return self.now

    def run_in_executor(self, *arguments):
        future = super().run_in_executor(*arguments)
        self.in_threads.add(future)
        future.add_done_callback(self.in_threads.discard)
        return future


class _Impatient(selectors.DefaultSelector):
    """A selector that lets its loop's clock pass instead of waiting."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        if timeout is None or (timeout and self.loop.in_threads):
            return super().select()
        ready = super().select(0)
        if not ready:
            self.loop.now += timeout
        return ready
