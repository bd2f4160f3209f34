"""What runs in a worker process: a server on sockets that its parent opened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from framestream.errors import StreamClosed
from framestream.framers.line import Line
from framestream.net._connections import Connections, ServerStats, Service
from framestream.net._server import Server
from framestream.stream._stream import IOStream
from framestream.transport._channel import SocketChannel

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from framestream.net._urls import Endpoint

REPORT_EVERY = 0.25
"""Seconds between two reports of a worker's counters, at least."""

# Seconds to drain when nobody says how long: the parent died, or SIGTERM came.
_DRAIN_TIMEOUT = 10.0


@dataclass(frozen=True)
class Assignment:
    """All that a worker has to know. It is pickled on its way.

    Attributes:
        endpoint: what is served.
        service: what to do with each connection.
        sockets: where to accept.
        control: the parent's line, of JSON: reports go up, the `Order` to end comes down.
        new_loop: makes an event loop of the parent's kind.
        plugins: distributions of plugins to load, so that their hooks are called here as well.
    """

    endpoint: Endpoint
    service: Service
    sockets: list[socket.socket]
    control: socket.socket
    new_loop: Callable[[], asyncio.AbstractEventLoop]
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """How to end.

    Attributes:
        drain_timeout: seconds for connections to finish.
        take_backlog: also serve what has connected and is not accepted; False if a successor does.
    """

    drain_timeout: float
    take_backlog: bool


# The parent died.
_ORPHANED = Order(_DRAIN_TIMEOUT, take_backlog=True)
# Somebody sent SIGTERM to this worker, so the parent will start another.
_TERMINATED = Order(_DRAIN_TIMEOUT, take_backlog=False)


def run(assignment: Assignment) -> None:
    """Serve until the parent gives the order to end, or dies, or SIGTERM comes."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if assignment.plugins:
        from framestream.registry.lookup import plugins  # noqa: PLC0415  # few servers need it, and it brings pluggy

        plugins.load(*assignment.plugins)
    loop = assignment.new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(assignment))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _serve(assignment: Assignment) -> None:
    sockets = assignment.sockets
    control = IOStream(SocketChannel(assignment.control))
    crew = Connections(assignment.service, sockets)
    server = Server(assignment.endpoint, sockets, crew, drain_timeout=_DRAIN_TIMEOUT)
    await server.start()
    reports = asyncio.ensure_future(_report(control, server))
    order = await _order(control)
    crew.takes_backlog = order.take_backlog
    await server.aclose(drain_timeout=order.drain_timeout)
    reports.cancel()
    await _send_report(control, server)
    await control.aclose()


async def _order(control: IOStream) -> Order:
    loop = asyncio.get_running_loop()
    reading = asyncio.ensure_future(control.read(Line()))
    loop.add_signal_handler(signal.SIGTERM, reading.cancel)
    try:
        return Order(**json.loads(await reading))
    except asyncio.CancelledError:
        return _TERMINATED
    except StreamClosed:
        return _ORPHANED


async def _report(control: IOStream, server: Server) -> None:
    told: ServerStats | None = None
    while True:
        if told != server.stats:
            told = replace(server.stats)
            await _send_report(control, server)
        await asyncio.sleep(REPORT_EVERY)


async def _send_report(control: IOStream, server: Server) -> None:
    with contextlib.suppress(StreamClosed):
        await control.send(json.dumps(asdict(server.stats)), Line())
