"""What runs in a worker process: a server on sockets that its parent opened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from framestream._channel import SocketChannel
from framestream._connections import Connections, ServerStats, Service
from framestream._errors import StreamClosed
from framestream._server import Server
from framestream._stream import IOStream
from framestream.framers._line import Line

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from framestream._urls import Endpoint

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
        control: the parent's line: reports go up as JSON; a number comes down, how many seconds to drain.
        new_loop: makes an event loop of the parent's kind.
    """

    endpoint: Endpoint
    service: Service
    sockets: list[socket.socket]
    control: socket.socket
    new_loop: Callable[[], asyncio.AbstractEventLoop]


def run(assignment: Assignment) -> None:
    """Serve until the parent says how long to drain, or dies, or SIGTERM comes."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    await server.aclose(drain_timeout=await _order(control))
    reports.cancel()
    await _send_report(control, server)
    await control.aclose()


async def _order(control: IOStream) -> float:
    loop = asyncio.get_running_loop()
    order = asyncio.ensure_future(control.read(Line()))
    loop.add_signal_handler(signal.SIGTERM, order.cancel)
    try:
        return float(await order)
    except (asyncio.CancelledError, StreamClosed):
        return _DRAIN_TIMEOUT


async def _report(control: IOStream, server: Server) -> None:
    told: ServerStats | None = None
    while not control.closed():
        if told != server.stats:
            told = replace(server.stats)
            await _send_report(control, server)
        await asyncio.sleep(REPORT_EVERY)


async def _send_report(control: IOStream, server: Server) -> None:
    with contextlib.suppress(StreamClosed):
        await control.send(json.dumps(asdict(server.stats)), Line())
