"""OpenTelemetry for framestream: metrics and a span for every connection."""

from framestream_opentelemetry._hooks import (
    framestream_server_failed,
    framestream_stream_closed,
    framestream_stream_failed,
    framestream_stream_opened,
    span_of,
)

__all__ = [
    "framestream_server_failed",
    "framestream_stream_closed",
    "framestream_stream_failed",
    "framestream_stream_opened",
    "span_of",
]
