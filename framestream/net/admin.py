"""What a server reports over HTTP: health checks, metrics, and a page for people.

Requests are frames like any others: one is read up to the empty line, within a limit and a time, answered,
and the connection is closed (RFC 9112; a request's body is ignored).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http import HTTPStatus
from math import inf
from typing import Any, Final

from framestream.errors import AddressError, FrameTooLarge, FramingError, StreamClosed, counted, printable
from framestream.framers.delimiter import Delimiter
from framestream.net.serve import Server, serve
from framestream.net.urls import Tcp, parse_url
from framestream.stream.stream import IOStream

try:
    from prometheus_client import REGISTRY, generate_latest
    from prometheus_client.core import Metric
except ImportError:  # an extra
    generate_latest = None  # type: ignore[assignment]

REQUEST_TIMEOUT = 5.0
"""Seconds for a request to arrive, and for its answer to leave."""

MOST_REQUESTS = 64
"""Connections at the same time; above, the oldest gives way, so that silent ones refuse no health check."""

MOST_SHOWN = 100
"""Connections that the page lists."""

_HEAD: Final = Delimiter((b"\r\n\r\n", b"\n\n"), last=False, max_size=8192)
Answer = tuple[int, str | bytes]
"""A status, and a body: text for people, bytes for Prometheus."""


async def serve_admin(server: Server, url: str) -> Server:
    """Listen on a URL, and answer there for a server.

    Raises:
        AddressError, OSError: as for `serve`.
    """
    endpoint = parse_url(url)
    if isinstance(endpoint, Tcp) and endpoint.tls:
        raise AddressError(f"admin is {url}; it speaks plain HTTP: use tcp:// or unix:", url=url)
    return await serve(
        Admin(server),
        url,
        framer=_HEAD,
        max_connections=2 * MOST_REQUESTS,  # of which half are about to give way
        drain_timeout=REQUEST_TIMEOUT,
        frame_timeout=REQUEST_TIMEOUT,
        write_timeout=REQUEST_TIMEOUT,
    )


class Admin:
    """Answers requests about a server. Its metrics are read on request, and cost nothing in between."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pages: dict[bytes, Callable[[], Answer]] = {
            b"/": lambda: (200, _page(server)),
            b"/livez": lambda: (200, "alive\n"),
            b"/readyz": self._readiness,
            b"/metrics": self._metrics,
        }

    async def __call__(self, stream: IOStream[bytes]) -> None:
        """Answer one request."""
        open_ones = [other for other in stream.server.streams if not other.closed()]
        if len(open_ones) > MOST_REQUESTS:
            open_ones[0].close()
        method = b"GET"
        try:
            line = (await stream.read()).partition(b"\n")[0].split()
            method, target, _ = line
            status, body = self._answer(method, target)
        except FrameTooLarge as error:
            status, body = 431, f"{error}\n"
        except (FramingError, StreamClosed):
            return  # it ended inside its request, or gave way
        except ValueError:
            status, body = 400, "this is not an HTTP request; try GET / HTTP/1.1\n"
        content, version = (body.encode(), "") if isinstance(body, str) else (body, "version=0.0.4; ")
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: text/plain; {version}charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\n"
            "Allow: GET, HEAD\r\n"
            "Connection: close\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\n"
        )
        await stream.write(head.encode() + (b"" if method == b"HEAD" else content))

    def _answer(self, method: bytes, target: bytes) -> Answer:
        page = self._pages.get(target.partition(b"?")[0])
        if page is None:
            return 404, "there are /livez, /readyz, /metrics, and / to read\n"
        if method not in (b"GET", b"HEAD"):
            return 405, "only GET and HEAD are answered\n"
        return page()

    def _readiness(self) -> Answer:
        server = self._server
        if server.ready:
            return 200, "ready\n"
        connections = counted(server.stats.open, "connection")
        return 503, f"not ready: {_state(server)}, {connections} open\n"

    def _metrics(self) -> Answer:
        if generate_latest is None:
            return 501, 'metrics need prometheus-client: pip install "framestream[metrics]"\n'
        # With those of the process and the program itself.
        return 200, generate_latest(self) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a collector of prometheus-client."""
        for sample, values, what, *label in _measured(self._server):
            if values == inf:
                continue  # there is no limit
            name = sample.removesuffix("_total")
            metric = Metric(f"framestream_{name}", what, "gauge" if name == sample else "counter")
            for key, value in (values if label else {"": values}).items():
                metric.add_sample(f"framestream_{sample}", dict.fromkeys(label, key), value)
            yield metric


def _measured(server: Server) -> list[tuple[Any, ...]]:
    """Return what Prometheus is told: name, value, meaning; or values by the label that comes last.

    Names of counters end with ``_total``.
    """
    stats = server.stats
    failures = {
        "refused": stats.refused,
        "handshake": stats.handshake_failures,
        "bad_frame": stats.peer_failures - stats.lost - stats.timeouts,
        "lost": stats.lost,
        "timeout": stats.timeouts,
        "handler": stats.handler_failures,
        "cut": stats.cut,
    }
    closed = {"done": stats.accepted - stats.open - sum(failures.values()), **failures}
    bad = {"payload": stats.payload_errors, "oversize": stats.oversize, "framing": stats.broken}
    buffered = {"received": stats.bytes_unread, "sent": stats.bytes_unsent}
    return [
        ("ready", server.ready, "1 if new connections are served and welcome, as /readyz says."),
        ("draining", server.closed, "1 once it has stopped listening."),
        ("connections_open", stats.open, "Connections that are open."),
        ("workers_alive", server.workers_alive, "Worker processes that accept connections."),
        ("connections_limit", server.most_connections, "Connections served at once, at most."),
        ("connections_accepted_total", stats.accepted, "Connections accepted."),
        ("connection_seconds_total", stats.handler_seconds, "How long connections lasted that have ended, summed."),
        ("accept_failures_total", stats.accept_failures, "How often accepting failed."),
        ("received_bytes_total", stats.bytes_received, "Bytes received, within TLS."),
        ("sent_bytes_total", stats.bytes_sent, "Bytes sent, within TLS."),
        ("received_frames_total", stats.frames_received, "Frames delivered to handlers."),
        ("sent_frames_total", stats.frames_sent, "Frames that handlers sent."),
        ("worker_restarts_total", stats.worker_restarts, "Workers replaced because they ended or were told to."),
        ("connections_closed_total", closed, "Connections that have ended.", "reason"),
        ("bad_frames_total", bad, "Frames that were refused.", "kind"),
        ("buffered_bytes", buffered, "Bytes not read yet, and not sent yet.", "direction"),
    ]


def _state(server: Server) -> str:
    return server.state if server.ready or server.state != "ready" else "no worker accepts"


def _page(server: Server) -> str:
    processes = ", ".join(map(str, [os.getpid(), *server.worker_pids]))
    counters = (f"{name.replace('_', ' '):20}{round(value, 1)}" for name, value in asdict(server.stats).items())
    streams = server.streams
    shown = f", the first {MOST_SHOWN}" if len(streams) > MOST_SHOWN else ""
    columns = f"Open connections{shown}: peer; frames in, out; bytes in, out; bytes unread, unsent"
    connections = (
        f"{stream.id} {stream.peer}; {stats.frames_received}, {stats.frames_sent}; "
        f"{stats.bytes_received}, {stats.bytes_sent}; {stream.buffered}, {stream.sender.size}"
        for stream in streams[:MOST_SHOWN]
        for stats in [stream.stats]
    )
    lines = [f"{server.url} is {_state(server)}", f"processes {processes}", "", *counters]
    if not server.worker_pids:  # workers tell how many they are, but not which
        lines += ["", columns, *connections]
    return "".join(f"{printable(line)}\n" for line in lines)
