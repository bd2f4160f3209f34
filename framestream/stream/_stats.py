"""The counters of a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamStats:
    """Counters of one stream since it was opened.

    Attributes:
        bytes_received, bytes_sent: bytes from and to the channel, within TLS if there is TLS.
        frames_received, frames_sent: frames delivered, and frames given to `send`.
        oversize: frames above the limit.
        discarded: bytes skipped because their frame was above the limit.
        payload_errors: frames that could not be decoded.
        waits: how often a read had to wait for the loop.
        read_high_water, write_high_water: the most bytes that were ever buffered.
    """

    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    oversize: int
    discarded: int
    payload_errors: int
    waits: int
    read_high_water: int
    write_high_water: int
