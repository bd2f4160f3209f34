"""The events of framestream, as OpenTelemetry metrics and spans.

Streams count bytes and frames anyway. The counters are read when metrics are collected, often in another
thread, so that a frame costs nothing here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import Final, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Span, Status, StatusCode

from framestream import IOStream, hookimpl

# Calls before the program has chosen a provider go to that provider later.
_tracer: Final = trace.get_tracer("framestream")
_meter: Final = metrics.get_meter("framestream")


class _Connection(NamedTuple):
    stream: IOStream
    span: Span
    opened_at: float


_lock: Final = Lock()
_open: Final = dict[int, _Connection]()  # by the stream's id
_ended: Final = Counter[tuple[str, str]]()  # the counters of streams that are closed


# The hooks


@hookimpl
def framestream_stream_opened(stream: IOStream) -> None:
    """Begin a span."""
    attributes: dict[str, str | int] = {"framestream.connection": stream.id}
    host, _, port = stream.peer.rpartition(":")
    if host and port.isdecimal():
        attributes |= {"network.peer.address": host.strip("[]"), "network.peer.port": int(port)}
    elif stream.peer:
        attributes["network.peer.address"] = stream.peer
    span = _tracer.start_span("framestream.connection", attributes=attributes)
    with _lock:
        _open[stream.id] = _Connection(stream, span, time.monotonic())


@hookimpl
def framestream_stream_failed(stream: IOStream, error: BaseException) -> None:
    """Record in the span why the stream closes."""
    span = span_of(stream)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.set_attribute("error.type", type(error).__qualname__)


@hookimpl
def framestream_stream_closed(stream: IOStream) -> None:
    """End the span, with the counters of the connection."""
    with _lock:
        connection = _open.pop(stream.id, None)
        if connection is None:  # it was opened before this plugin was loaded
            return
        counters = _counters(stream)
        _ended.update(counters)
    for (name, kind), value in counters.items():
        connection.span.set_attribute(f"framestream.{name}.{kind}", value)
    connection.span.end()
    error = {} if stream.error is None else {"error.type": type(stream.error).__qualname__}
    _duration.record(time.monotonic() - connection.opened_at, error)


@hookimpl
def framestream_server_failed(error: BaseException) -> None:
    """Count the errors of handlers, and of accepting."""
    _failures.add(1, {"error.type": type(error).__qualname__})


def span_of(stream: IOStream) -> Span:
    """Return the span of a stream, to make others its children: ``with use_span(span_of(stream)): ...``.

    A stream that was opened before this plugin was loaded has one that records nothing.
    """
    connection = _open.get(stream.id)
    return trace.INVALID_SPAN if connection is None else connection.span


# The metrics


def _counters(stream: IOStream) -> dict[tuple[str, str], int]:
    stats = stream.stats
    return {
        ("bytes", "received"): stats.bytes_received,
        ("bytes", "sent"): stats.bytes_sent,
        ("frames", "received"): stats.frames_received,
        ("frames", "sent"): stats.frames_sent,
        ("bad_frames", "payload"): stats.payload_errors,
        ("bad_frames", "oversize"): stats.oversize,
        ("bad_frames", "framing"): stats.broken,
    }


def _observe(name: str, label: str) -> Iterable[Observation]:
    with _lock:
        total = Counter(_ended)
        for connection in _open.values():
            total.update(_counters(connection.stream))
    return [Observation(value, {label: kind}) for (of, kind), value in total.items() if of == name]


def _observe_bytes(_: CallbackOptions) -> Iterable[Observation]:
    return _observe("bytes", "direction")


def _observe_frames(_: CallbackOptions) -> Iterable[Observation]:
    return _observe("frames", "direction")


def _observe_bad_frames(_: CallbackOptions) -> Iterable[Observation]:
    return _observe("bad_frames", "kind")


def _observe_open(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(len(_open))]


_meter.create_observable_up_down_counter(
    "framestream.connections.open", [_observe_open], "{connection}", "Connections that are open."
)
_meter.create_observable_counter("framestream.bytes", [_observe_bytes], "By", "Bytes received and sent, within TLS.")
_meter.create_observable_counter(
    "framestream.frames", [_observe_frames], "{frame}", "Frames delivered to their readers, and sent."
)
_meter.create_observable_counter(
    "framestream.bad_frames", [_observe_bad_frames], "{frame}", "Frames that were refused."
)
_duration: Final = _meter.create_histogram(
    "framestream.connection.duration", "s", "How long connections lasted that have ended."
)
_failures: Final = _meter.create_counter(
    "framestream.server.failures", "{failure}", "Errors of handlers, and of accepting."
)
