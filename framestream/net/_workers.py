"""Serve from several processes: started, watched, replaced when they die, and drained together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import pickle
import socket
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from framestream.errors import FramestreamError, WorkerError
from framestream.framers.line import Line
from framestream.net._connections import ServerStats, Service
from framestream.net._worker_process import Assignment, Order, run
from framestream.stream._stream import IOStream
from framestream.transport._channel import SocketChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framestream.net._server import Server
    from framestream.net._urls import Endpoint

log = logging.getLogger("framestream.server")

# Seconds to wait before a worker that died is replaced; doubled while it dies soon after its start.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOON = 5.0
# Seconds beyond the time to drain until a worker that does not end is killed.
_PATIENCE = 10.0


class Worker:
    """One process that serves, seen from the process that started it.

    Attributes:
        stats: the counters of its last report.
        ready: done when it accepts connections; False if it ended before.
        ended: done when the process has ended.
    """

    def __init__(self, endpoint: Endpoint, service: Service, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        self.stats = ServerStats()
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.started_at = loop.time()
        ours, theirs = socket.socketpair()
        assignment = Assignment(endpoint, service, list(sockets), theirs, type(loop), plugins_in_use())
        # A fresh interpreter: forking a process in which a loop runs, and maybe threads, is not safe.
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=run, args=(assignment,), name=f"worker of {endpoint}")
        self._stream = IOStream(SocketChannel(ours))
        try:
            self._process.start()
        except BaseException:
            self._stream.close()
            raise
        finally:
            theirs.close()
        loop.add_reader(self._process.sentinel, self._has_ended)
        self._listening = loop.create_task(self._listen())

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended: its exit status, or minus the signal; None while it runs."""
        return self._process.exitcode

    async def _listen(self) -> None:
        with contextlib.suppress(FramestreamError):
            async for report in self._stream.frames(Line()):
                self.stats = ServerStats(**json.loads(report))
                if not self.ready.done():
                    self.ready.set_result(True)

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self.ended.set_result(None)
        if not self.ready.done():
            self.ready.set_result(False)

    async def drain(self, order: Order) -> None:
        """Give the order to end, wait until it is done, kill the process if it is not."""
        with contextlib.suppress(FramestreamError):
            await self._stream.send(json.dumps(asdict(order)), Line())
        done, _ = await asyncio.wait([self.ended], timeout=order.drain_timeout + _PATIENCE)
        if not done:
            self._process.kill()
            await self.ended
        await self._listening
        self._stream.close()


class Workers:
    """The processes that serve for one server.

    Args:
        service: what to do with each connection; see `check_portable`.
        sockets: for each worker its listening sockets. This process keeps them open without accepting,
            so that what waits in the backlog outlives a worker that dies.
        endpoint: what is served.
    """

    def __init__(
        self, endpoint: Endpoint, service: Service, sockets: Sequence[Sequence[socket.socket]]
    ) -> None:
        self._service = service
        self._sockets = sockets
        self._endpoint = endpoint
        self._url = ""
        self._workers: list[Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._starting: set[Worker] = set()  # to replace others
        self._leaving: set[asyncio.Task[None]] = set()  # drains of those that were replaced
        self._listens = True
        self._past = ServerStats()
        self._pause = _FIRST_PAUSE

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def stats(self) -> ServerStats:
        """The sum of the workers' last reports, at most a fraction of a second old."""
        return total([self._past, *(worker.stats for worker in self._workers)])

    @property
    def streams(self) -> list[IOStream]:
        """None: they are in the workers."""
        return []

    def is_handling(self, task: object) -> bool:
        """Tell that this is no task of a connection: none is in this process."""
        return False

    async def start(self, server: Server) -> None:
        """Start every worker and wait until all of them accept."""
        self._url = server.url
        try:
            self._workers = [self._worker(place) for place in range(len(self._sockets))]
            if not all([await worker.ready for worker in self._workers]):
                codes = [worker.exit_code for worker in self._workers if worker.exit_code is not None]
                raise WorkerError(f"a worker ended with exit code {codes[0]} before it served {self._url}")
        except BaseException:
            await self._stop_workers(0)
            raise
        self._keepers = [asyncio.ensure_future(self._keep(place)) for place in range(len(self._workers))]

    def _worker(self, place: int) -> Worker:
        return Worker(self._endpoint, self._service, self._sockets[place])

    async def _keep(self, place: int) -> None:
        while True:
            worker = self._workers[place]
            await asyncio.shield(worker.ended)
            log.error("worker %s of %s ended with exit code %s", worker.pid, self._url, worker.exit_code)
            await asyncio.sleep(self._pause_after(worker))
            self._past = total([self._past, closed(worker.stats)])
            self._workers[place] = self._worker(place)

    def _pause_after(self, worker: Worker) -> float:
        lived = asyncio.get_running_loop().time() - worker.started_at
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if lived < _SOON else _FIRST_PAUSE
        return self._pause

    async def reload(self, timeout: float) -> None:
        """Replace each worker by a fresh one, which accepts before the old one drains."""
        for place, old in enumerate(self._workers):
            if not self._listens:
                return
            fresh = self._worker(place)
            self._starting.add(fresh)
            ready = await fresh.ready
            if not self._listens:
                return  # it drains with the others
            self._starting.discard(fresh)
            if not ready:
                raise WorkerError(f"the new worker ended with exit code {fresh.exit_code}; the old ones stay")
            self._keepers[place].cancel()
            self._workers[place] = fresh
            self._keepers[place] = asyncio.ensure_future(self._keep(place))
            # A task of its own: who is tired of waiting for the reload does not interrupt it.
            leaving = asyncio.ensure_future(self._retire(old, timeout))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def _retire(self, worker: Worker, timeout: float) -> None:
        await worker.drain(Order(timeout, take_backlog=False))
        self._past = total([self._past, closed(worker.stats)])

    def stop_listening(self) -> None:
        """Let go of the listening sockets here; the workers keep theirs until they drain."""
        self._listens = False
        for keeper in self._keepers:
            keeper.cancel()
        for sockets in self._sockets:
            for sock in sockets:
                sock.close()

    async def drain(self, timeout: float) -> None:
        """Drain every worker at once."""
        self.stop_listening()
        await self._stop_workers(timeout)

    async def _stop_workers(self, timeout: float) -> None:
        order = Order(timeout, take_backlog=True)
        workers = {*self._workers, *self._starting}
        await asyncio.gather(*(worker.drain(order) for worker in workers), *self._leaving)


def plugins_in_use() -> tuple[str, ...]:
    """Return the installed distributions whose hooks are called in this process."""
    # Where nobody has asked for a plugin so far, this is no reason to look for any.
    registry = sys.modules.get("framestream.registry.lookup")
    loaded = [plugin for plugin in getattr(registry, "plugins", ()) if plugin.state == "loaded"]
    return tuple({plugin.distribution for plugin in loaded if plugin.distribution != "registered"})


def total(parts: Sequence[ServerStats]) -> ServerStats:
    """Add counters up; the most that were open at once is the sum of each part's."""
    names = list(asdict(ServerStats()))
    return ServerStats(**{name: sum(getattr(part, name) for part in parts) for name in names})


def closed(stats: ServerStats) -> ServerStats:
    """Return the counters of a worker that has ended: nothing is open in it any more."""
    return ServerStats(**{**asdict(stats), "open": 0})


def check_portable(service: Service) -> None:
    """Refuse what cannot be sent to another process, saying what it is and what to do."""
    for name, value in vars(service).items():
        try:
            pickle.dumps(value)
        except Exception as error:  # pickling fails in many ways
            hint = {
                "handler": "define it at the top level of a module",
                "tls": "pass a function that makes the context",
            }.get(name, "it must survive pickling")
            raise WorkerError(f"{name} {value!r} cannot be sent to a worker process; {hint}") from error
