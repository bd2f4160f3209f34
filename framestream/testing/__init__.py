"""The conformance kit: hold a framer to the contract, with any test runner or none."""

from __future__ import annotations

from framestream.testing._chunkings import chunkings
from framestream.testing._failure import ConformanceError
from framestream.testing._kit import Check, Report, check_framer, conformance_checks
from framestream.testing._transcript import Event, Transcript, transcript

__all__ = [
    "Check",
    "ConformanceError",
    "Event",
    "Report",
    "Transcript",
    "check_framer",
    "chunkings",
    "conformance_checks",
    "transcript",
]
