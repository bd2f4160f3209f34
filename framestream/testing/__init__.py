"""The conformance kit: hold a framer to the contract, with any test runner or none."""

from __future__ import annotations

from framestream.testing._chunkings import chunkings
from framestream.testing._failure import ConformanceError
from framestream.testing._fuzzing import FuzzReport, fuzz_framer
from framestream.testing._kit import Check, Report, check_framer, conformance_checks
from framestream.testing._memory_channel import Wire
from framestream.testing._memory_streams import memory_stream_pair
from framestream.testing._transcript import Event, Transcript, transcript

__all__ = [
    "Check",
    "ConformanceError",
    "Event",
    "FuzzReport",
    "Report",
    "Transcript",
    "Wire",
    "check_framer",
    "chunkings",
    "conformance_checks",
    "fuzz_framer",
    "memory_stream_pair",
    "transcript",
]
