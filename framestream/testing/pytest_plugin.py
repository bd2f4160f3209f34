"""The pytest plugin: chunkings, streams in memory, fuzz runs and comparisons of speed, for tests of framers.

It is imported by every pytest in an environment with framestream, so it imports nothing before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from framestream.framer import ReadCondition
    from framestream.stream.stream import IOStream
    from framestream.testing._speed import SpeedReport

_SPEEDS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks for fuzz runs."""
    parser.getgroup("framestream").addoption(
        "--framestream-fuzz",
        type=float,
        metavar="SECONDS",
        help="fuzz the framer of each FramerTests class, for so many seconds each",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker."""
    config.addinivalue_line(
        "markers",
        "chunkings(data, **options): run the test with each way to cut `data`, as the argument `chunks`; "
        "the options are those of framestream.testing.chunkings",
    )
    config.stash[_SPEEDS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked with ``chunkings`` once for each of them."""
    marker = metafunc.definition.get_closest_marker("chunkings")
    if marker is not None:
        from framestream.testing._chunkings import chunkings, describe_chunks  # noqa: PLC0415

        metafunc.parametrize("chunks", list(chunkings(*marker.args, **marker.kwargs)), ids=describe_chunks)


@pytest.fixture
def chunkings() -> Callable[..., Iterable[list[bytes]]]:
    """`framestream.testing.chunkings`: ways to cut the same bytes."""
    from framestream.testing._chunkings import chunkings  # noqa: PLC0415

    return chunkings


@pytest.fixture
def memory_stream_pair() -> Callable[..., tuple[IOStream, IOStream]]:
    """`framestream.testing.memory_stream_pair`: two streams joined in memory. Call it where a loop runs."""
    from framestream.testing.memory import memory_stream_pair  # noqa: PLC0415

    return memory_stream_pair


@pytest.fixture
def framer_benchmark(request: pytest.FixtureRequest) -> Callable[..., SpeedReport]:
    """`framestream.testing.compare_speed`; what it measures is shown at the end of the run."""
    from framestream.testing._speed import compare_speed  # noqa: PLC0415

    shown = request.config.stash[_SPEEDS]

    def measure(framer: ReadCondition[Any], stream: bytes, *, rounds: int = 7) -> SpeedReport:
        report = compare_speed(framer, stream, rounds=rounds)
        shown.append(f"{request.node.nodeid}: {report}")
        return report

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    if config.stash[_SPEEDS]:
        terminalreporter.section("speed of framers")
    for text in config.stash[_SPEEDS]:
        terminalreporter.write_line(text)
