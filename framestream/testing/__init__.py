"""The conformance kit: hold a framer to the contract, with any test runner or none.

Everything is imported when it is first asked for: pytest imports this package in every project it is
installed beside, because its plugin lives here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framestream.testing._chunkings import chunkings
    from framestream.testing._failure import ConformanceError
    from framestream.testing._framer_tests import FramerTests
    from framestream.testing._fuzzing import FuzzReport, fuzz_framer
    from framestream.testing._kit import Check, Report, check_framer, conformance_checks
    from framestream.testing._speed import SpeedReport, compare_speed
    from framestream.testing._transcript import Event, Transcript, transcript
    from framestream.testing.memory import Wire, memory_stream_pair

_LAZY = {
    "Check": "_kit",
    "ConformanceError": "_failure",
    "Event": "_transcript",
    "FramerTests": "_framer_tests",
    "FuzzReport": "_fuzzing",
    "Report": "_kit",
    "SpeedReport": "_speed",
    "Transcript": "_transcript",
    "Wire": "memory",
    "check_framer": "_kit",
    "chunkings": "_chunkings",
    "compare_speed": "_speed",
    "conformance_checks": "_kit",
    "fuzz_framer": "_fuzzing",
    "memory_stream_pair": "memory",
    "transcript": "_transcript",
}

__all__ = [
    "Check",
    "ConformanceError",
    "Event",
    "FramerTests",
    "FuzzReport",
    "Report",
    "SpeedReport",
    "Transcript",
    "Wire",
    "check_framer",
    "chunkings",
    "compare_speed",
    "conformance_checks",
    "fuzz_framer",
    "memory_stream_pair",
    "transcript",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'framestream.testing' has no attribute {name!r}")
    value = getattr(import_module(f"framestream.testing.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
