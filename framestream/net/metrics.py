"""The counters of a server as Prometheus metrics. Needs prometheus-client, see ``framestream[metrics]``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from framestream.net.server import Server
from framestream.net.stats import BOUNDS, Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LIMITS: Final = [str(bound) for bound in BOUNDS] + ["+Inf"]


class ServerMetrics(Collector):
    """Reads the counters of a server on request; between requests it costs nothing."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def text(self) -> bytes:
        """Return them, with those of the process and the program itself, in Prometheus' text format."""
        return generate_latest(self) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        server, stats = self._server, self._server.stats
        yield _gauge("ready", "1 if new connections are served and welcome, as /readyz says.", server.ready)
        draining = server.state == "draining"
        yield _gauge("draining", "1 once it has stopped listening.", draining)

        yield _gauge("connections_open", "Connections that are open.", stats.open)
        if server.most_connections != inf:
            limit = "Connections that it serves at once, at most."
            yield _gauge("connections_limit", limit, server.most_connections)
        yield _counter("connections_accepted", "Connections accepted.", stats.accepted)
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
        yield _counter("connections_closed", "Connections that have ended, by the reason.", reason=closed)
        yield _counter("accept_failures", "How often accepting failed.", stats.accept_failures)
        what = "How long connections lasted that have ended."
        yield _histogram("connection_duration_seconds", what, stats.handler_seconds)

        yield _counter("received_bytes", "Bytes received, within TLS.", stats.bytes_received)
        yield _counter("sent_bytes", "Bytes sent, within TLS.", stats.bytes_sent)
        yield _counter("received_frames", "Frames delivered to handlers.", stats.frames_received)
        yield _counter("sent_frames", "Frames that handlers sent.", stats.frames_sent)
        bad = {"payload": stats.payload_errors, "oversize": stats.oversize, "framing": stats.broken}
        yield _counter("bad_frames", "Frames that were refused, by what was wrong with them.", kind=bad)
        buffered = {"received": stats.bytes_unread, "sent": stats.bytes_unsent}
        what = "Bytes received and not read yet, and written and not sent yet."
        yield _gauge("buffered_bytes", what, direction=buffered)

        what = "By how much the event loop was late, tried four times a second."
        yield _histogram("event_loop_lag_seconds", what, stats.loop_lag)
        yield _gauge("workers_alive", "Worker processes that accept connections.", server.workers_alive)
        what = "Workers that were replaced because they ended or were told to."
        yield _counter("worker_restarts", what, stats.worker_restarts)


def _gauge(name: str, what: str, value: float | None = None, **by: dict[str, int]) -> Metric:
    return _family(GaugeMetricFamily(f"framestream_{name}", what, labels=list(by)), value, by)


def _counter(name: str, what: str, value: float | None = None, **by: dict[str, int]) -> Metric:
    return _family(CounterMetricFamily(f"framestream_{name}", what, labels=list(by)), value, by)


def _family(
    family: GaugeMetricFamily | CounterMetricFamily, value: float | None, by: dict[str, dict[str, int]]
) -> Metric:
    if value is not None:
        family.add_metric([], value)
    for values in by.values():
        for label, number in values.items():
            family.add_metric([label], number)
    return family


def _histogram(name: str, what: str, histogram: Histogram) -> Metric:
    buckets = list(zip(_LIMITS, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(f"framestream_{name}", what, buckets=buckets, sum_value=histogram.sum)
