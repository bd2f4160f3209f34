"""The conformance kit: check a framer against the contract, with any test runner or none.

Everything is imported on first use: pytest imports this package in every project with framestream
installed, because its plugin lives here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framestream.testing.contract import ConformanceError
    from framestream.testing.cost import SpeedReport, compare_speed
    from framestream.testing.driver import Event, Transcript, transcript
    from framestream.testing.fuzz import FuzzReport, fuzz_framer
    from framestream.testing.kit import Check, Report, check_framer, conformance_checks
    from framestream.testing.memory import Wire, memory_stream_pair
    from framestream.testing.pytest_plugin import FramerTests
    from framestream.testing.suite import chunkings

_MODULES = {
    "contract": ("ConformanceError",),
    "cost": ("SpeedReport", "compare_speed"),
    "driver": ("Event", "Transcript", "transcript"),
    "fuzz": ("FuzzReport", "fuzz_framer"),
    "kit": ("Check", "Report", "check_framer", "conformance_checks"),
    "memory": ("Wire", "memory_stream_pair"),
    "pytest_plugin": ("FramerTests",),
    "suite": ("chunkings",),
}

# fmt: off
__all__ = [
    "Check", "ConformanceError", "Event", "FramerTests", "FuzzReport", "Report", "SpeedReport", "Transcript",
    "Wire", "check_framer", "chunkings", "compare_speed", "conformance_checks", "fuzz_framer",
    "memory_stream_pair", "transcript",
]
# fmt: on


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
