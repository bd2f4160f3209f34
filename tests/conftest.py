"""Make the modules beside the tests importable by name, and run ``async def`` tests on several loops."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from loops import LoopWithoutPolling, LoopWithoutWaiting, uvloop

# A shell has what it runs in the background ignore Ctrl-C, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes that a test starts import the main module again, and pytest takes them a tenth of a second.
sys.modules["__main__"].__file__ = sys.modules["__main__"].__spec__ = None

PATIENCE = 60.0  # seconds until a test counts as stuck, on a busy machine, too

# What tests run on, in asyncio's debug mode unless they are marked.
LOOPS: dict[str, Any] = {"asyncio": asyncio.SelectorEventLoop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop
# Two without debug mode: one as a program runs it, one as on Windows' Proactor.
BY_NAME = {
    **LOOPS,
    "plain": asyncio.SelectorEventLoop,
    "transports": LoopWithoutPolling,
    "no-waiting": LoopWithoutWaiting,
}
EVERY_LOOP = [name for name in ("uvloop", "plain", "transports") if name in BY_NAME]

_MARKERS = {
    "no_debug": "run without asyncio's debug mode, for tests of speed or size",
    "asyncio_only": "not repeated on uvloop",
    "every_loop": "on uvloop, on asyncio without debug mode, and on a loop that cannot watch descriptors",
    "watching": "not repeated on a loop that cannot watch descriptors",
    "no_waiting": "run on a loop of which the clock jumps instead",
}


# The first draw of a run reads the constants of every module that is loaded; busy machines are slow at times.
settings.register_profile("explore", suppress_health_check=[HealthCheck.too_slow], deadline=None)
# A suite that passed once passes again: to look for more, add --hypothesis-profile=explore.
settings.register_profile("tests", settings.get_profile("explore"), derandomize=True)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    for name, what in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {what}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not inspect.iscoroutinefunction(metafunc.function):
        return
    if any("event_loop_name" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        return  # it says itself on which it runs
    marked = metafunc.definition.get_closest_marker
    if marked("no_waiting"):
        names = ["no-waiting"]
    elif marked("asyncio_only"):
        names = ["asyncio"]
    else:
        names = list(EVERY_LOOP if marked("every_loop") else LOOPS)
    metafunc.parametrize("event_loop_name", names, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not _needs_watching(item)]


def _needs_watching(item: pytest.Item) -> bool:
    given = item.callspec.params if hasattr(item, "callspec") else {}
    if given.get("event_loop_name") != "transports":
        return False
    return given.get("kind") == "pipe" or item.get_closest_marker("watching") is not None


@pytest.fixture(autouse=True)
def event_loop_name(request: pytest.FixtureRequest) -> str | None:
    """Name the loop of an ``async def`` test; None for any other."""
    return getattr(request, "param", None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    name = pyfuncitem.callspec.params["event_loop_name"]
    debug = name not in ("plain", "transports") and pyfuncitem.get_closest_marker("no_debug") is None
    run_on(BY_NAME[name], pyfuncitem.obj, arguments, debug)
    return True


def run_on(new_loop: Callable[[], Any], test: Any, arguments: dict[str, Any], debug: bool) -> None:
    """Run a test on a loop of its own; what the loop's exception handler hears fails the test."""
    heard: list[dict[str, Any]] = []
    loop = new_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    loop.set_debug(debug)
    loop.slow_callback_duration = 100.0  # a busy machine is nothing to be logged
    if debug:
        sys.tracebacklimit = 1  # each future would keep its whole stack, which takes a fifth of the time
    try:
        asyncio.set_event_loop(loop)
        patience = PATIENCE * 1000 if isinstance(loop, LoopWithoutWaiting) else PATIENCE
        loop.run_until_complete(asyncio.wait_for(test(**arguments), patience))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        for _ in range(3):  # a loop closes its own transports in a later pass
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        vars(sys).pop("tracebacklimit", None)
        asyncio.set_event_loop(None)
        loop.close()
    assert not left, f"tasks left behind: {left}"
    assert not heard, f"the loop's exception handler was told: {heard}"
