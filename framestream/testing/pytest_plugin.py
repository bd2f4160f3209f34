"""The pytest plugin: `FramerTests`, fuzz runs and comparisons of speed.

Every pytest in an environment with framestream imports it, so it imports nothing before use;
the names of `framestream.testing` are imported on first use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from framestream import testing

if TYPE_CHECKING:
    from framestream.framer import ReadCondition
    from framestream.testing.cost import SpeedReport
    from framestream.testing.kit import Check
    from framestream.testing.suite import Examples, Malformed, SlowFrame, Suite

_SPEEDS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks for fuzz runs."""
    parser.getgroup("framestream").addoption(
        "--framestream-fuzz",
        type=float,
        metavar="SECONDS",
        help="fuzz the framer of each FramerTests class, for so many seconds each",
    )


@pytest.fixture
def framer_benchmark(request: pytest.FixtureRequest) -> Callable[..., SpeedReport]:
    """`framestream.testing.compare_speed`; what it measures is shown at the end of the run."""
    shown = request.config.stash.setdefault(_SPEEDS, [])

    def measure(framer: ReadCondition[Any], stream: bytes, *, rounds: int = 7) -> SpeedReport:
        report = testing.compare_speed(framer, stream, rounds=rounds)
        shown.append(f"{request.node.nodeid}: {report}")
        return report

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the measurements."""
    if shown := config.stash.get(_SPEEDS, []):
        terminalreporter.section("speed of framers")
        terminalreporter.write_line("\n".join(shown))


class FramerTests:
    """Test a framer: derive a class whose name begins with ``Test``, and give it test material.

    ::

        class TestNetstring(FramerTests):
            framer = Netstring()
            examples = {b"5:hello,0:,": [b"hello", b""]}
            malformed = [b"05:hello,"]

    pytest then runs one test for each promise of the contract, ``test_conformance[linear-cost]`` and so
    on; a promise without test material is skipped and says what is missing. With
    ``--framestream-fuzz=SECONDS`` there is one more, ``test_conformance[fuzz]``.

    The attributes are the arguments of `check_framer`. Missing ones are looked for in the
    framer's class, and then in its module. A framer may also be given as a spec string.
    """

    framer: ClassVar[ReadCondition[Any] | str]
    examples: ClassVar[Examples]
    malformed: ClassVar[Malformed]
    incomplete: ClassVar[Iterable[bytes]]
    slow_frame: ClassVar[SlowFrame]
    chunk_dependent: ClassVar[bool]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test for each promise."""
        if metafunc.function is type(self).test_conformance:
            seconds = metafunc.config.getoption("--framestream-fuzz", default=None)
            checks = _checks_of(type(self), seconds)
            metafunc.parametrize("check", checks, ids=lambda check: check.name)

    def test_conformance(self, check: Check) -> None:
        """Check one promise on the framer."""
        broken = reason = None
        try:
            reason = check.run()
        except testing.ConformanceError as error:
            broken = str(error)
        if broken is not None:
            # The traceback leads through the kit, not through the framer; the text says everything.
            pytest.fail(broken, pytrace=False)
        if reason is not None:
            pytest.skip(reason)


def _checks_of(tests: type[FramerTests], seconds: float | None) -> list[Check]:
    from framestream.errors import check_seconds  # noqa: PLC0415
    from framestream.iterate import condition_of  # noqa: PLC0415
    from framestream.testing.suite import Suite, arguments_of  # noqa: PLC0415

    given: Any = getattr(tests, "framer", None)
    told = f"{tests.__name__}.framer"
    try:
        framer = condition_of(given)
        told = tests.__name__
        arguments = arguments_of(tests, type(framer), sys.modules[type(framer).__module__])
        checks = testing.conformance_checks(framer, **arguments)
        check_seconds("--framestream-fuzz", seconds or 0)
    except (TypeError, ValueError) as error:  # a SpecError is a ValueError
        pytest.fail(f"{told}: {error}", pytrace=False)

    def check_fuzz(suite: Suite) -> None:
        """Whatever bytes arrive, every way of reading them agrees."""
        testing.fuzz_framer(suite.framer, suite.seeds, seconds=seconds)

    # Frames that depend on the chunks by design are just what a fuzz run complains about.
    if seconds is not None and not arguments.get("chunk_dependent"):
        checks.append(testing.Check.of(check_fuzz, Suite(framer, **arguments)))
    return checks
