"""The counters of a server: summed over its connections, and over its processes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import add
from typing import Any, Final, Self

from framestream.stream.stream import IOStream, StreamStats

BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0, 3600.0)
"""Seconds: the upper bounds of a histogram's buckets; the last bucket has none."""


@dataclass(frozen=True)
class Histogram:
    """A histogram of durations, to which others are added.

    Attributes:
        counts: for each of `BOUNDS`, how many took at most so long and longer than the one before; then how
            many took longer than the last.
        sum: of all durations, in seconds.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    sum: float = 0.0

    @classmethod
    def of(cls, seconds: float) -> Self:
        """Return the histogram of one duration."""
        place = bisect_left(BOUNDS, seconds)
        return cls(tuple(int(i == place) for i in range(len(BOUNDS) + 1)), seconds)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(tuple(map(add, self.counts, other.counts)), self.sum + other.sum)


@dataclass
class ServerStats:
    """Counters of one server since it began to listen, its workers included.

    Attributes:
        accepted: connections accepted.
        open: open connections.
        most_open: the most that were open at once; with workers, the most that their reports added up to.
        refused: connections closed at once because they came from no trusted load balancer.
        handshake_failures: connections lost to a TLS handshake that failed or took too long.
        peer_failures: connections ended by the peer: broken framing, a reset, a time limit...
        lost: ...those of them that were reset, or closed inside a frame or an answer...
        timeouts: ...and those that passed a limit of time.
        handler_failures: connections whose handler raised any other exception, or could not be started.
        cut: connections whose handler was cancelled, as when the time to drain was over.
        accept_failures: how often accepting failed for lack of descriptors or memory.
        bytes_received, bytes_sent: over all connections.
        frames_received, frames_sent: over all connections; a PROXY header is a frame.
        oversize: frames above the limit.
        payload_errors: frames that could not be decoded.
        broken: connections on which nothing more could be read, because of their framing.
        bytes_unread, bytes_unsent: received and not read yet, written and not sent yet, on open
            connections.
        handler_seconds: durations of the closed connections.
        loop_lag: how late the event loop was, measured four times a second; only with `admin`.
        worker_restarts: workers that were replaced because they died or were told to terminate.
    """

    accepted: int = 0
    open: int = 0
    most_open: int = 0
    refused: int = 0
    handshake_failures: int = 0
    peer_failures: int = 0
    lost: int = 0
    timeouts: int = 0
    handler_failures: int = 0
    cut: int = 0
    accept_failures: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    frames_sent: int = 0
    oversize: int = 0
    payload_errors: int = 0
    broken: int = 0
    bytes_unread: int = 0
    bytes_unsent: int = 0
    handler_seconds: Histogram = field(default_factory=Histogram)
    loop_lag: Histogram = field(default_factory=Histogram)
    worker_restarts: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild the value from `dataclasses.asdict`, perhaps of another process."""
        histograms = {name: Histogram(**values[name]) for name in ("handler_seconds", "loop_lag")}
        return cls(**{**values, **histograms})

    def add(self, other: ServerStats) -> None:
        """Add the counters of another server."""
        # What each has had at the most was hardly at the same time.
        most_open = max(self.most_open, other.most_open)
        for counter in fields(self):
            name = counter.name
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.most_open = most_open

    def add_stream(self, stats: StreamStats) -> None:
        """Add the counters of a stream."""
        self.bytes_received += stats.bytes_received
        self.bytes_sent += stats.bytes_sent
        self.frames_received += stats.frames_received
        self.frames_sent += stats.frames_sent
        self.oversize += stats.oversize
        self.payload_errors += stats.payload_errors
        self.broken += stats.broken

    def with_streams(self, streams: Iterable[IOStream]) -> ServerStats:
        """Return a copy with the counters of open streams added."""
        total = ServerStats()
        total.add(self)
        for stream in streams:
            total.add_stream(stream.stats)
            total.bytes_unread += stream.buffered
            total.bytes_unsent += stream.sender.size
        return total
