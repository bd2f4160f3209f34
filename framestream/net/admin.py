"""What a server reports over HTTP: health checks, metrics, and a page for people.

Requests are frames like any others: one is read up to the empty line, within a limit and a time, answered,
and the connection is closed (RFC 9112; a request's body is ignored).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from html import escape
from http import HTTPStatus
from itertools import accumulate
from math import inf
from typing import Any, Final

from framestream.errors import AddressError, FrameTooLarge, FramingError, StreamClosed, counted, printable
from framestream.framers.delimiter import Delimiter
from framestream.net.connections import BOUNDS, Histogram
from framestream.net.serve import Server, serve
from framestream.net.urls import Tcp, parse_url
from framestream.stream.stream import IOStream

try:
    from prometheus_client import REGISTRY, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
except ImportError:  # an extra
    generate_latest = None  # type: ignore[assignment]

REQUEST_TIMEOUT = 5.0
"""Seconds for a request to arrive, and for its answer to leave."""

MOST_REQUESTS = 64
"""Connections at the same time; above, the oldest gives way, so that silent ones refuse no health check."""

MOST_SHOWN = 100
"""Connections that the page lists."""

_HEAD: Final = Delimiter((b"\r\n\r\n", b"\n\n"), last=False, max_size=8192)
_TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
Answer = tuple[int, str, bytes | str]


async def serve_admin(server: Server, url: str) -> Server:
    """Listen on a URL, and answer there for a server.

    Raises:
        AddressError, OSError: as for `serve`.
    """
    endpoint = parse_url(url)
    if isinstance(endpoint, Tcp) and endpoint.tls:
        raise AddressError(f"admin is {url}; it speaks plain HTTP: use tcp:// or unix:", url=url)
    pages = Admin(server)

    async def answer(stream: IOStream[bytes]) -> None:
        open_ones = [other for other in admin.streams if not other.closed()]
        if len(open_ones) > MOST_REQUESTS:
            open_ones[0].close()
        await pages(stream)

    admin = await serve(
        answer,
        url,
        framer=_HEAD,
        max_connections=2 * MOST_REQUESTS,  # of which half are about to give way
        drain_timeout=REQUEST_TIMEOUT,
        frame_timeout=REQUEST_TIMEOUT,
        write_timeout=REQUEST_TIMEOUT,
    )
    return admin


class Admin:
    """Answers requests about a server. Its metrics are read on request, and cost nothing in between."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pages: dict[bytes, Callable[[], Answer]] = {
            b"/": lambda: (200, _HTML, _page(server)),
            b"/livez": lambda: (200, _TEXT, "alive\n"),
            b"/readyz": self._readiness,
            b"/metrics": self._metrics,
        }

    async def __call__(self, stream: IOStream[bytes]) -> None:
        """Answer one request."""
        method = b"GET"
        try:
            line = (await stream.read()).partition(b"\n")[0].split()
            method, target, _ = line
            status, kind, body = self._answer(method, target)
        except FrameTooLarge as error:
            status, kind, body = 431, _TEXT, f"{error}\n"
        except (FramingError, StreamClosed):
            return  # it ended inside its request, or gave way
        except ValueError:
            status, kind, body = 400, _TEXT, "this is not an HTTP request; try GET / HTTP/1.1\n"
        content = body.encode() if isinstance(body, str) else body
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\n"
            f"{'Allow: GET, HEAD' + chr(13) + chr(10) if status == 405 else ''}"
            "Connection: close\r\n"
            "Cache-Control: no-store\r\n"
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\n"
        )
        await stream.write(head.encode() + (b"" if method == b"HEAD" else content))

    def _answer(self, method: bytes, target: bytes) -> Answer:
        page = self._pages.get(target.partition(b"?")[0])
        if page is None:
            return 404, _TEXT, "there are /livez, /readyz, /metrics, and / to read\n"
        if method not in (b"GET", b"HEAD"):
            return 405, _TEXT, "only GET and HEAD are answered\n"
        return page()

    def _readiness(self) -> Answer:
        server = self._server
        if server.ready:
            return 200, _TEXT, "ready\n"
        connections = counted(server.stats.open, "connection")
        return 503, _TEXT, f"not ready: {_state(server)}, {connections} open\n"

    def _metrics(self) -> Answer:
        if generate_latest is None:
            return 501, _TEXT, 'metrics need prometheus-client: pip install "framestream[metrics]"\n'
        # With those of the process and the program itself.
        return 200, _PROMETHEUS, generate_latest(self) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a collector of prometheus-client."""
        server, stats = self._server, self._server.stats
        gauge, counter = partial(_family, GaugeMetricFamily), partial(_family, CounterMetricFamily)
        yield gauge("ready", "1 if new connections are served and welcome, as /readyz says.", server.ready)
        yield gauge("draining", "1 once it has stopped listening.", server.closed)

        yield gauge("connections_open", "Connections that are open.", stats.open)
        if server.most_connections != inf:
            limit = "Connections that it serves at once, at most."
            yield gauge("connections_limit", limit, server.most_connections)
        yield counter("connections_accepted", "Connections accepted.", stats.accepted)
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
        yield counter("connections_closed", "Connections that have ended, by the reason.", reason=closed)
        yield counter("accept_failures", "How often accepting failed.", stats.accept_failures)
        what = "How long connections lasted that have ended."
        yield _histogram("connection_duration_seconds", what, stats.handler_seconds)

        yield counter("received_bytes", "Bytes received, within TLS.", stats.bytes_received)
        yield counter("sent_bytes", "Bytes sent, within TLS.", stats.bytes_sent)
        yield counter("received_frames", "Frames delivered to handlers.", stats.frames_received)
        yield counter("sent_frames", "Frames that handlers sent.", stats.frames_sent)
        bad = {"payload": stats.payload_errors, "oversize": stats.oversize, "framing": stats.broken}
        yield counter("bad_frames", "Frames that were refused, by what was wrong with them.", kind=bad)
        buffered = {"received": stats.bytes_unread, "sent": stats.bytes_unsent}
        what = "Bytes received and not read yet, and written and not sent yet."
        yield gauge("buffered_bytes", what, direction=buffered)

        what = "By how much the event loop was late, tried four times a second."
        yield _histogram("event_loop_lag_seconds", what, stats.loop_lag)
        yield gauge("workers_alive", "Worker processes that accept connections.", server.workers_alive)
        what = "Workers that were replaced because they ended or were told to."
        yield counter("worker_restarts", what, stats.worker_restarts)


def _state(server: Server) -> str:
    return server.state if server.ready or server.state != "ready" else "no worker accepts"


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    what: str,
    value: float | None = None,
    /,
    **by: dict[str, int],
) -> Metric:
    family = kind(f"framestream_{name}", what, labels=list(by))
    if value is not None:
        family.add_metric([], value)
    for values in by.values():
        for label, number in values.items():
            family.add_metric([label], number)
    return family


def _histogram(name: str, what: str, histogram: Histogram) -> Metric:
    buckets = list(zip([*map(str, BOUNDS), "+Inf"], accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(f"framestream_{name}", what, buckets=buckets, sum_value=histogram.sum)


# The page

_STYLE: Final = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere }
div { overflow-x: auto }
table { border-collapse: collapse; margin-bottom: 2rem }
th, td { border-bottom: 1px solid #8884; padding: .2rem 1rem .2rem 0; text-align: left; font-weight: normal }
thead th { font-weight: bold }
thead th + th, td { text-align: right }
td { font-variant-numeric: tabular-nums }
"""


def _page(server: Server) -> str:
    state = _state(server)
    process = f"process {os.getpid()}"
    if server.worker_pids:
        process += ", workers " + ", ".join(map(str, server.worker_pids))
    streams = server.streams
    listed = ""
    if streams:
        rows = ((stream.id, stream.peer, *_traffic(stream)) for stream in streams[:MOST_SHOWN])
        names = ("Connection", "Peer", "Frames in", "Frames out", "Bytes in", "Bytes out", "Unread", "Unsent")
        shown = f", the first {MOST_SHOWN}" if len(streams) > MOST_SHOWN else ""
        listed = f"<h2>Open connections{shown}</h2>{_table(names, rows)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(server.url)}: {_text(state)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{_text(server.url)} is {_text(state)}</h1><p>{_text(process)}</p>"
        f"{_table(('Counter', 'Value'), _counters(server))}{listed}"
        '<p><a href="/livez">livez</a> <a href="/readyz">readyz</a> <a href="/metrics">metrics</a></p>'
        "</body></html>\n"
    )


def _traffic(stream: IOStream) -> tuple[int, ...]:
    stats = stream.stats
    frames, size = (stats.frames_received, stats.frames_sent), (stats.bytes_received, stats.bytes_sent)
    return *frames, *size, stream.buffered, stream.sender.size


def _counters(server: Server) -> Iterator[tuple[str, int | str]]:
    stats = server.stats
    for counter in fields(stats):
        value = getattr(stats, counter.name)
        name = counter.name.replace("_", " ")
        if not isinstance(value, Histogram):
            yield name, value
        elif count := sum(value.counts):
            yield f"{name.removesuffix(' seconds')}, on average", f"{value.sum / count:.3f} s"


def _table(names: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _text(value: object) -> str:
    return escape(printable(str(value)))
