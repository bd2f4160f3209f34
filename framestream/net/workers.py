"""Serve from several processes: started, watched, replaced when they die, and drained together.

All workers accept from the same sockets: an idle one takes the next connection, and no connection waits for
a worker that is dead, busy or draining. The parent keeps the sockets open without accepting, so that the
backlog outlives the workers. Parent and worker exchange JSON over a control stream. Up go `ServerStats`,
and None when the worker got SIGTERM; down come None when the whole service leaves, and finally a
`ShutdownRequest`, after SIGTERM when there is a successor. If either side ends, the other sees the end of the
stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import MappingProxyType
from typing import Any, Final

from framestream.errors import FramestreamError, WorkerError, describe_os_error
from framestream.framers.combined import Mapped
from framestream.framers.delimiter import Line
from framestream.net.connections import ServerStats, Service
from framestream.net.serve import Server
from framestream.net.sockets import close_all, on_failure, open_stream
from framestream.stream.stream import IOStream

REPORT_INTERVAL = 0.25
"""Seconds between two reports of a worker's counters, at least."""

REPORT_PAUSE = 3e-4
"""Seconds for each open connection: looking at one takes 3 us, and reports may take 1 % of a worker's time."""

FIRST_RESTART_DELAY = 0.1
"""Seconds to wait before a dead worker is replaced; doubled while it dies soon after its start."""

LONGEST_RESTART_DELAY = 10.0

START_TIMEOUT = 60.0
"""Seconds a worker has from its start until it accepts; a slower one is killed."""

EARLY_DEATH = 5.0
"""Seconds: a worker that dies sooner after its start counts as unable to run."""

KILL_DELAY = 10.0
"""Seconds beyond the drain timeout until a worker that does not end is killed."""

OF_THE_TERMINAL: Final = {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}
"""Signals that a terminal sends to the whole process group: only the parent decides what they mean."""


# A worker talks with strangers: what it reports is only data to its parent.
_MESSAGES = Mapped[Any](Line(), json.loads, json.dumps)

ShutdownRequest = tuple[float, bool]
"""Seconds for connections to finish, and whether to serve the backlog, too; otherwise a successor does."""


# In the worker


def run(
    pickled: bytes,
    sockets: Sequence[socket.socket],
    socket_to_parent: socket.socket,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    plugins_to_load: Sequence[str],
) -> None:
    """Serve on a loop of the parent's kind until the parent asks to shut down, or dies."""
    for number in OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_THE_TERMINAL)
    with contextlib.redirect_stdout(sys.stderr):  # text that modules print at import is no output
        service = pickle.loads(pickled)  # noqa: S301  # it is the parent's
        if plugins_to_load:  # so that the hooks of these distributions are called here as well
            from framestream.registry import plugins  # noqa: PLC0415  # few need it, and it brings pluggy

            plugins.load(*plugins_to_load)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(service, sockets, socket_to_parent))


async def _serve(service: Service, sockets: Sequence[socket.socket], socket_to_parent: socket.socket) -> None:
    control = open_stream(socket_to_parent, framer=_MESSAGES)
    server = Server(replace(service, workers=0), sockets)
    await server.start()
    reports = asyncio.ensure_future(_report(control, server))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _tell, control, None)  # it asks for a successor
    try:
        while (request := await control.read()) is None:  # the whole service leaves
            server.leave()
        drain_timeout, server.takes_backlog = request
    except FramestreamError:  # the parent died
        drain_timeout = service.drain_timeout
    # A worker still running then never ends, such as with a handler that swallows its cancellation: SIGALRM
    # kills it.
    signal.setitimer(signal.ITIMER_REAL, drain_timeout + KILL_DELAY)
    await server.aclose(drain_timeout=drain_timeout)
    reports.cancel()
    _tell(control, asdict(server.stats))
    await control.aclose()


async def _report(control: IOStream, server: Server) -> None:
    told: ServerStats | None = None
    while True:
        stats = server.stats
        if told != stats:
            told = stats
            with contextlib.suppress(FramestreamError):
                await control.send(asdict(told))
        await asyncio.sleep(max(REPORT_INTERVAL, REPORT_PAUSE * stats.open))


def _tell(control: IOStream, message: dict[str, Any] | ShutdownRequest | None) -> None:
    with contextlib.suppress(FramestreamError):  # the other side is gone
        control.send(message)


# In the parent


class Worker:
    """A serving process, seen from its parent.

    Args:
        service, sockets: as for a `Server`.

    Attributes:
        stats: the counters of its last report.
        ready: done when it accepts connections; False if it ended before.
        leaving: set when it needs a successor: it got SIGTERM, or has ended.
        ended: done when the process has ended and all that it reported is known.
        started_at: when it was started, in seconds of the loop's clock.
    """

    def __init__(self, service: Service, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        pickled = pickle.dumps(service)
        self.stats = ServerStats()
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.leaving = asyncio.Event()
        self.started_at = loop.time()
        resource_tracker.ensure_running()  # or `start` does, and unblocks the signal blocked below
        ours, theirs = socket.socketpair()
        # A fresh interpreter: forking a process in which a loop runs, and maybe threads, is not safe.
        spawn = multiprocessing.get_context("spawn")
        arguments = pickled, sockets, theirs, type(loop), plugins_in_use()
        self.process = spawn.Process(target=run, args=arguments, name=f"worker of {service.endpoint}")
        self._control = open_stream(ours, framer=_MESSAGES)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)  # until `run` ignores them
        try:
            with on_failure(self._control.close), theirs:
                self.process.start()
                self._exit = exit_descriptor(self.process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._too_slow = loop.call_later(START_TIMEOUT, self._give_up)
        self._why = ""
        self._exited = asyncio.Event()
        loop.add_reader(self._exit, self._has_exited)
        self.ended = loop.create_task(self._watch())

    def _has_exited(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._exit)
        os.close(self._exit)
        self._exited.set()
        # By then all that it reported has come. Processes that it has forked may keep the other end open.
        loop.call_later(REPORT_INTERVAL, self._control.close)

    async def _watch(self) -> None:
        # One whose reports make no sense is let go: it sees the end of the stream, drains and is replaced.
        with contextlib.closing(self._control), contextlib.suppress(FramestreamError, TypeError):
            async for counters in self._control:
                if counters is None:
                    self.leaving.set()
                else:
                    self.stats = ServerStats(**counters).with_streams(())  # a sum, which is of numbers
                    self._is_ready(True)
        await self._exited.wait()
        self.process.join()
        self.stats = replace(self.stats, open=0, bytes_unread=0, bytes_unsent=0)  # nothing is open in it any more
        self.leaving.set()
        self._is_ready(False)

    def _give_up(self) -> None:
        self._why = f" (killed: it did not accept within {START_TIMEOUT} s)"
        self.process.kill()

    def _is_ready(self, ready: bool) -> None:
        self._too_slow.cancel()
        if not self.ready.done():
            self.ready.set_result(ready)

    @property
    def accepts(self) -> bool:
        """True while it accepts connections and needs no successor."""
        return self.ready.done() and not self.leaving.is_set()  # which is set before it is done with False

    @property
    def fate(self) -> str:
        """Why it needs a successor, or did not become one, in a few words."""
        if not self.ended.done():
            return "was told to terminate"
        return f"ended with exit code {self.process.exitcode}{self._why}"

    def leave(self) -> None:
        """Have its server leave: its handlers see that it is not ready any more."""
        _tell(self._control, None)

    def shut_down(self, drain_timeout: float, *, take_backlog: bool = True) -> asyncio.Task[None]:
        """Ask it to shut down, and kill the process if it does not; return `ended`."""
        _tell(self._control, (drain_timeout, take_backlog))
        too_slow = asyncio.get_running_loop().call_later(drain_timeout + KILL_DELAY, self.process.kill)
        self.ended.add_done_callback(lambda _: too_slow.cancel())
        return self.ended


class Workers:
    """The processes that serve for a server; for a service that passes `check_portable`.

    Args:
        server: what the log is told of.
        service: as for a `Server`.
        sockets: listening and non-blocking. They are owned from here on, and stay open for fresh workers.

    Attributes:
        tasks: none: no connection is one of this process.
    """

    tasks: Mapping[asyncio.Task[None], IOStream] = MappingProxyType({})

    def __init__(self, server: Server, service: Service, sockets: Sequence[socket.socket]) -> None:
        self._server = server
        self._service = service
        self._sockets = sockets
        self._stats = ServerStats()  # of ended workers
        self._running: set[Worker] = set()  # accepting, starting or draining
        self._workers: list[Worker] = []  # one for each place
        self._monitors: list[asyncio.Task[None]] = []  # one for each place: replaces the worker there

    @property
    def pids(self) -> list[int]:
        """The process ids of the running workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    @property
    def alive(self) -> int:
        """How many accept connections."""
        return sum(worker.accepts for worker in self._workers)

    @property
    def stats(self) -> ServerStats:
        """The sum of their last reports."""
        total = self._stats.with_streams(())
        for worker in self._running:
            total.add(worker.stats)
        return total

    def leave(self) -> None:
        """Have the server of each worker leave."""
        for worker in self._running:
            worker.leave()

    async def start(self) -> None:
        """Start them, and wait until they accept.

        Raises:
            WorkerError: one does not; then none is left.
        """
        try:
            while len(self._workers) < self._service.workers:
                self._workers.append(self._start_worker())
            for worker in self._workers:
                if not await worker.ready:
                    raise WorkerError(f"a worker {worker.fate} before it served {self._server.url}")
        except BaseException:
            await self.drain(0)
            raise
        self._monitors = [asyncio.ensure_future(self._monitor(place)) for place in range(self._service.workers)]

    async def _monitor(self, place: int) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_RESTART_DELAY
        while True:
            worker = self._workers[place]
            await worker.leaving.wait()
            if worker is self._workers[place]:
                level = logging.ERROR if worker.ended.done() else logging.INFO
                self._server.log(level, f"worker {worker.process.pid} {worker.fate}")
            if loop.time() - worker.started_at > EARLY_DEATH:
                delay = FIRST_RESTART_DELAY
            while worker is self._workers[place]:  # until there is another, from here or from `reload`
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RESTART_DELAY)
                if worker is self._workers[place]:
                    try:
                        self._put(place, self._start_worker())
                        self._stats.worker_restarts += 1
                    except WorkerError as error:  # for a while, maybe
                        self._server.log(logging.ERROR, str(error))

    def _start_worker(self) -> Worker:
        try:
            worker = Worker(self._service, self._sockets)
        except Exception as error:  # no descriptors, memory or processes; or it cannot be sent after all
            raise WorkerError(f"cannot start a worker: {describe_os_error(error)}") from error
        self._running.add(worker)
        worker.ended.add_done_callback(lambda _: self._has_ended(worker))
        if self._server.state == "leaving":
            worker.leave()
        return worker

    def _has_ended(self, worker: Worker) -> None:
        self._running.discard(worker)
        self._stats.add(worker.stats)

    def _put(self, place: int, fresh: Worker) -> asyncio.Task[None]:
        """Put a worker in a place; return the task that is done when the previous one has drained."""
        old, self._workers[place] = self._workers[place], fresh
        return self._retire(old)

    def _retire(self, worker: Worker) -> asyncio.Task[None]:
        return worker.shut_down(self._service.drain_timeout, take_backlog=False)

    async def replace_all(self) -> None:
        """Replace each worker by a fresh one, which accepts before the old one drains.

        Raises:
            WorkerError: a fresh one does not start; the old ones stay.
        """
        for place in range(self._service.workers):
            if self._server.closed:
                return
            fresh = self._start_worker()
            try:
                ready = await fresh.ready
            except asyncio.CancelledError:
                self._retire(fresh)
                raise
            if self._server.closed:
                return  # it shuts down with the others
            if not ready:
                raise WorkerError(f"the new worker {fresh.fate}; the old ones stay")
            await asyncio.shield(self._put(place, fresh))  # cancelling a reload does not interrupt it

    def stop_listening(self, *, take_backlog: bool = True) -> None:
        """Close the listening sockets here, and replace no worker any more; each keeps its own until it drains."""
        for monitor in self._monitors:
            monitor.cancel()
        close_all(self._sockets)

    async def drain(self, timeout: float) -> None:
        """Have every worker drain and end, and wait until all have."""
        for ended in [worker.shut_down(timeout) for worker in self._running]:
            await asyncio.wait([ended])


def exit_descriptor(process: BaseProcess) -> int:
    """Return a new descriptor that is readable when a process has ended."""
    try:
        return os.pidfd_open(process.pid)  # type: ignore[arg-type,attr-defined,unused-ignore]  # on Linux
    except (AttributeError, OSError):
        # The second best: processes that it has forked keep this open, too.
        return os.dup(process.sentinel)


def plugins_in_use() -> tuple[str, ...]:
    """Return the installed distributions whose hooks are called in this process."""
    # If no plugin has been asked for so far, do not look for any.
    registry = sys.modules.get("framestream.registry")
    loaded = [plugin for plugin in getattr(registry, "plugins", ()) if plugin.state == "loaded"]
    return tuple({plugin.distribution for plugin in loaded if plugin.distribution != "registered"})


def check_portable(service: Service) -> None:
    """Refuse a value that cannot be sent to another process, and say what to do."""
    if sys.platform == "win32":
        raise WorkerError("workers share sockets and are told to end by signals: they need a Unix system")
    for name, value in vars(service).items():
        try:
            pickle.dumps(value)
        except Exception as error:  # pickling fails in many ways
            hint = {
                "handler": "define it at the top level of a module",
                "tls": "pass a function that makes the context",
            }.get(name, "it must survive pickling")
            raise WorkerError(f"{name} {value!r} cannot be sent to a worker process; {hint}") from error
