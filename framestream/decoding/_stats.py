"""The counters of a decoder."""

from __future__ import annotations


class DecoderStats:
    """Counters of one decoder, in bytes and frames since its creation.

    Attributes:
        received: bytes given to `receive_data`.
        frames: frames delivered, those streamed in parts included.
        oversize: frames above the limit, whatever was done about them.
        discarded: bytes skipped because their frame was above the limit.
        payload_errors: frames that could not be decoded.
        high_water: the most bytes that were ever buffered at once.
        copied: bytes moved to make frames contiguous, besides the copy that is delivered.
    """

    __slots__ = ("copied", "discarded", "frames", "high_water", "oversize", "payload_errors", "received")

    def __init__(self) -> None:
        self.received = 0
        self.frames = 0
        self.oversize = 0
        self.discarded = 0
        self.payload_errors = 0
        self.high_water = 0
        self.copied = 0

    def __repr__(self) -> str:
        return (
            f"DecoderStats(received={self.received}, frames={self.frames}, oversize={self.oversize}, "
            f"discarded={self.discarded}, payload_errors={self.payload_errors}, "
            f"high_water={self.high_water}, copied={self.copied})"
        )
