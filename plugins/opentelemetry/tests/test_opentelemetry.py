"""Spans and metrics of connections, as the SDK's exporters in memory get them."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import framestream_opentelemetry
from framestream import Line, StreamClosed, connect, plugins, serve
from framestream_opentelemetry import framestream_stream_closed, span_of

LINE = Line(max_size=10)
SPANS, READER = InMemorySpanExporter(), InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def providers():
    """Have the plugin first, and choose the providers then, as a program may."""
    with plugins.isolated(framestream_opentelemetry):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(SPANS))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([READER]))
        yield


def measured():
    """Return the value of each metric, by its name and attributes."""
    found = {}
    for resource in READER.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    labels = " ".join(map(str, point.attributes.values()))
                    name = metric.name.removeprefix("framestream.")
                    value = point.value if hasattr(point, "value") else point.count
                    found[f"{name} {labels}".strip()] = value
    return found


async def answer(stream):
    with trace.use_span(span_of(stream)):
        async for line in stream.frames(LINE):
            with trace.get_tracer("test").start_as_current_span(line):
                if line == "fail":
                    raise LookupError("no such thing")
                await stream.send(line, LINE)


def changed(before, after, *names):
    return [after.get(name, 0) - before.get(name, 0) for name in names]


def test_each_connection_is_a_span_with_what_went_over_it():
    async def main():
        async with await serve(answer, "tcp://127.0.0.1:0") as server:
            before = measured()
            async with await connect(server.url) as stream:
                await stream.send("hello", LINE)
                await stream.read(LINE)
                during = measured()
                names = ("connections.open", "bytes received", "bytes sent", "frames sent")
                assert [2, 12, 12, 2] == changed(before, during, *names)
                client = stream
            await server.aclose()
            names = ("connections.open", "bytes received", "frames received", "bad_frames payload")
            assert [0, 12, 2, 0] == changed(before, measured(), *names)
            return client.id, server.url

    SPANS.clear()
    client, url = asyncio.run(main())
    spans = {span.attributes.get("framestream.connection"): span for span in SPANS.get_finished_spans()}
    port = int(url.rpartition(":")[2])
    mine = spans.pop(client).attributes
    assert ("127.0.0.1", port) == (mine["network.peer.address"], mine["network.peer.port"])
    assert (6, 1) == (mine["framestream.bytes.sent"], mine["framestream.frames.sent"])
    work = spans.pop(None)
    (accepted,) = spans.values()
    assert ("hello", accepted.context.span_id) == (work.name, work.parent.span_id)
    assert accepted.status.is_unset
    assert accepted.end_time >= work.end_time


def test_what_goes_wrong_is_counted_by_its_kind_and_told_in_the_span():
    async def talk(url, data):
        async with await connect(url) as stream:
            await stream.write(data)
            with pytest.raises(StreamClosed):
                await stream.read(LINE)

    async def cut_off(stream):
        stream.close(ConnectionResetError("gone"))
        raise LookupError

    async def main():
        before = measured()
        async with await serve(answer, "tcp://127.0.0.1:0") as server:
            for data in (b"fail\n", b"\xff\n", b"too long a line\n"):
                await talk(server.url, data)
        async with await serve(cut_off, "tcp://127.0.0.1:0") as server:
            await talk(server.url, b"")
        names = ("bad_frames payload", "bad_frames oversize", "bad_frames framing")
        assert [1, 1, 1] == changed(before, measured(), *names)
        names = ("server.failures LookupError", "connection.duration ConnectionResetError")
        assert [2, 1] == changed(before, measured(), *names)

    SPANS.clear()
    asyncio.run(main())
    (failed,) = [span for span in SPANS.get_finished_spans() if "error.type" in span.attributes]
    assert ("gone", "ConnectionResetError") == (failed.status.description, failed.attributes["error.type"])
    assert "gone" in [event.attributes["exception.message"] for event in failed.events]


def test_a_stream_that_is_older_than_the_plugin_has_a_span_that_records_nothing():
    async def main():
        async with await serve(answer, "tcp://127.0.0.1:0") as server:
            stream = await connect(server.url)
            await stream.aclose()
            assert not span_of(stream).is_recording()
            before = measured()
            framestream_stream_closed(stream)
            assert before == measured()

    asyncio.run(main())
