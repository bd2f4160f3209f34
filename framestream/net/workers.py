"""Serve from several processes: started, watched, replaced when they die, and drained together.

The parent opens the sockets and keeps them open without accepting, so that what waits in the backlog
outlives a worker. Between it and each worker is a line of JSON frames, the control stream: `ServerStats` go
up, one `ShutdownRequest` comes down; the end of either side is seen by the other as the end of the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from framestream.errors import FramestreamError, StreamClosed, WorkerError
from framestream.framers.line import Line
from framestream.net.listen import close_all
from framestream.net.server import Server, ServerStats, Service
from framestream.net.streams import open_stream
from framestream.net.urls import Endpoint
from framestream.stream.stream import IOStream

log = logging.getLogger("framestream.server")

REPORT_INTERVAL = 0.25
"""Seconds between two reports of a worker's counters, at least."""

FIRST_RESTART_DELAY = 0.1
"""Seconds to wait before a worker that died is replaced; doubled while it dies soon after its start."""

LONGEST_RESTART_DELAY = 10.0

EARLY_DEATH = 5.0
"""Seconds: a worker that dies sooner after its start counts as one that cannot run."""

KILL_DELAY = 10.0
"""Seconds beyond the time to drain until a worker that does not end is killed."""

_LINE = Line()

ShutdownRequest = tuple[float | None, bool]
"""Seconds for connections to finish (None: as the server was told); and whether to serve the backlog as well,
which a successor does otherwise."""


# In the worker


def run(
    serve: Callable[[], Coroutine[Any, Any, None]],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    plugins_to_load: Sequence[str],
) -> None:
    """Serve on a loop of the parent's kind until the parent asks to shut down, or dies, or SIGTERM comes."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if plugins_to_load:  # so that the hooks of these distributions are called here as well
        from framestream.registry.lookup import plugins  # noqa: PLC0415  # few servers need it, and it brings pluggy

        plugins.load(*plugins_to_load)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())


async def _serve(
    endpoint: Endpoint, service: Service, sockets: Sequence[socket.socket], socket_to_parent: socket.socket
) -> None:
    control = open_stream(socket_to_parent)
    server = Server(endpoint, service, sockets)
    await server.start()
    reports = asyncio.ensure_future(_report(control, server.stats))
    drain_timeout, server.takes_backlog = await _shutdown_request(control)
    await server.aclose(drain_timeout=drain_timeout)
    reports.cancel()
    await _send(control, asdict(server.stats))
    await control.aclose()


async def _shutdown_request(control: IOStream) -> ShutdownRequest:
    reading = asyncio.ensure_future(control.read(_LINE))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reading.cancel)
    try:
        drain_timeout, takes_backlog = json.loads(await reading)
    except asyncio.CancelledError:  # by SIGTERM, so the parent will start another
        return None, False
    except StreamClosed:  # the parent died
        return None, True
    return drain_timeout, takes_backlog


async def _report(control: IOStream, stats: ServerStats) -> None:
    told: ServerStats | None = None
    while True:
        if told != stats:
            told = replace(stats)
            await _send(control, asdict(told))
        await asyncio.sleep(REPORT_INTERVAL)


async def _send(control: IOStream, message: dict[str, int] | ShutdownRequest) -> None:
    with contextlib.suppress(FramestreamError):
        await control.send(json.dumps(message), _LINE)


# In the parent


class Worker:
    """One process that serves, seen from the process that started it.

    Attributes:
        stats: the counters of its last report.
        ready: done when it accepts connections; False if it ended before.
        ended: set when the process has ended.
    """

    def __init__(self, endpoint: Endpoint, service: Service, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        self.stats = ServerStats()
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.ended = asyncio.Event()
        self.started_at = loop.time()
        ours, theirs = socket.socketpair()
        serving = partial(_serve, endpoint, service, sockets, theirs)
        # A fresh interpreter: forking a process in which a loop runs, and maybe threads, is not safe.
        spawn = multiprocessing.get_context("spawn")
        self.process = spawn.Process(
            target=run, args=(serving, type(loop), plugins_in_use()), name=f"worker of {endpoint}"
        )
        self._control = open_stream(ours)
        try:
            self.process.start()
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        loop.add_reader(self.process.sentinel, self._has_ended)
        self._reports = loop.create_task(self._receive_reports())

    async def _receive_reports(self) -> None:
        with contextlib.suppress(FramestreamError):
            async for report in self._control.frames(_LINE):
                self.stats = ServerStats(**json.loads(report))
                if not self.ready.done():
                    self.ready.set_result(True)

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self.process.sentinel)
        self.process.join()
        self.ended.set()
        if not self.ready.done():
            self.ready.set_result(False)

    async def shut_down(self, drain_timeout: float, *, take_backlog: bool = True) -> None:
        """Ask it to shut down, wait until it has, and kill the process if it does not."""
        await _send(self._control, (drain_timeout, take_backlog))
        try:
            async with asyncio.timeout(drain_timeout + KILL_DELAY):
                await self.ended.wait()
        except TimeoutError:
            self.process.kill()
            await self.ended.wait()
        await self._reports
        self._control.close()


class WorkerServer(Server):
    """A server that serves from several processes.

    Args:
        endpoint, service, remove_file: see `Server`; and `check_portable`.
        shares: for each worker its listening sockets.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        service: Service,
        shares: Sequence[Sequence[socket.socket]],
        remove_file: Callable[[], object],
    ) -> None:
        super().__init__(endpoint, service, shares[0], remove_file)
        self._start_worker = [partial(Worker, endpoint, service, sockets) for sockets in shares]
        self._shares = shares
        self._workers: list[Worker] = []
        self._monitors: list[asyncio.Task[None]] = []  # one for each worker: replaces it when it dies
        self._starting: set[Worker] = set()  # to replace others
        self._retiring: set[asyncio.Task[None]] = set()  # of those that were replaced
        self._delay = FIRST_RESTART_DELAY

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    @property
    def stats(self) -> ServerStats:
        """The sum of the workers' last reports, at most a fraction of a second old."""
        total = replace(self._stats)  # of those that have ended
        for worker in self._workers:
            total.add(worker.stats)
        return total

    async def _start(self) -> None:
        try:
            self._workers = [start() for start in self._start_worker]
            if not all([await worker.ready for worker in self._workers]):
                codes = [code for worker in self._workers if (code := worker.process.exitcode) is not None]
                raise WorkerError(f"a worker ended with exit code {codes[0]} before it served {self.url}")
        except BaseException:
            await self._drain(0)
            raise
        self._monitors = [asyncio.ensure_future(self._monitor(place)) for place in range(len(self._workers))]

    async def _monitor(self, place: int) -> None:
        while True:
            worker = self._workers[place]
            await worker.ended.wait()
            if worker is not self._workers[place]:
                continue  # `reload` has replaced it
            pid, code = worker.process.pid, worker.process.exitcode
            log.error("worker %s of %s ended with exit code %s", pid, self.url, code)
            early = asyncio.get_running_loop().time() - worker.started_at < EARLY_DEATH
            self._delay = min(2 * self._delay, LONGEST_RESTART_DELAY) if early else FIRST_RESTART_DELAY
            await asyncio.sleep(self._delay)
            if worker is self._workers[place]:
                self._keep_counters_of(worker)
                self._workers[place] = self._start_worker[place]()

    def _keep_counters_of(self, worker: Worker) -> None:
        self._stats.add(replace(worker.stats, open=0))  # nothing is open in it any more

    async def reload(self) -> None:
        """Replace each worker by a fresh one, which accepts before the old one drains."""
        for place in range(len(self._workers)):
            if self.closed:
                return
            fresh = self._start_worker[place]()
            self._starting.add(fresh)
            ready = await fresh.ready
            if self.closed:
                return  # it shuts down with the others
            self._starting.discard(fresh)
            if not ready:
                code = fresh.process.exitcode
                raise WorkerError(f"the new worker ended with exit code {code}; the old ones stay")
            # Not the one of before: it may have died meanwhile, and been replaced.
            old, self._workers[place] = self._workers[place], fresh
            # A task of its own: cancelling the reload does not interrupt it.
            retiring = asyncio.ensure_future(self._retire(old))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            await asyncio.shield(retiring)

    async def _retire(self, worker: Worker) -> None:
        await worker.shut_down(self._service.drain_timeout, take_backlog=False)
        self._keep_counters_of(worker)

    def _stop_listening(self) -> None:
        # The workers keep their sockets until they drain.
        for monitor in self._monitors:
            monitor.cancel()
        for sockets in self._shares:
            close_all(sockets)

    async def _drain(self, timeout: float) -> None:
        workers = {*self._workers, *self._starting}
        await asyncio.gather(*(worker.shut_down(timeout) for worker in workers), *self._retiring)


def plugins_in_use() -> tuple[str, ...]:
    """Return the installed distributions whose hooks are called in this process."""
    # Where nobody has asked for a plugin so far, this is no reason to look for any.
    registry = sys.modules.get("framestream.registry.lookup")
    loaded = [plugin for plugin in getattr(registry, "plugins", ()) if plugin.state == "loaded"]
    return tuple({plugin.distribution for plugin in loaded if plugin.distribution != "registered"})


def check_portable(service: Service) -> None:
    """Refuse what cannot be sent to another process, saying what it is and what to do."""
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
