"""FramerTests: a test class for pytest that holds one framer to the contract, a test for each promise."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from framestream.framer import ReadCondition
from framestream.testing._case import Examples, Malformed, SlowFrame
from framestream.testing._failure import ConformanceError
from framestream.testing._fuzzing import fuzz_framer
from framestream.testing._kit import Check, conformance_checks
from framestream.testing._material import material_of
from framestream.testing._seeds import seeds_for

if TYPE_CHECKING:
    from collections.abc import Mapping


class FramerTests:
    """Test a framer: derive a class whose name begins with ``Test``, and say what to try it on.

    ::

        class TestNetstring(FramerTests):
            framer = Netstring()
            examples = {b"5:hello,0:,": [b"hello", b""]}
            malformed = [b"05:hello,"]

    pytest then runs one test for each promise of the contract, ``test_conformance[linear-cost]`` and so
    on; a promise that there is nothing to try with is skipped and says what is missing. With
    ``--framestream-fuzz=SECONDS`` there is one more, ``test_conformance[fuzz]``.

    The attributes are the arguments of `check_framer`. Those that are missing are looked for in the
    framer's class, and then in its module. A framer may also be given as a spec string.
    """

    framer: ClassVar[ReadCondition[Any] | str]
    examples: ClassVar[Examples]
    malformed: ClassVar[Malformed]
    incomplete: ClassVar[Iterable[bytes]]
    slow_frame: ClassVar[SlowFrame]
    pieces: ClassVar[bool]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test for each promise."""
        if metafunc.function is type(self).test_conformance:
            seconds = metafunc.config.getoption("--framestream-fuzz", default=None)
            checks = _checks_of(type(self), seconds)
            metafunc.parametrize("check", checks, ids=lambda check: check.name)

    def test_conformance(self, check: Check | Fuzz) -> None:
        """Hold the framer to one promise."""
        try:
            reason, broken = check.run(), ""
        except ConformanceError as error:
            broken = f"{error}\n  promise:  {check.promise}"
        if broken:
            # The traceback leads through the kit, not through the framer; the text says all there is.
            pytest.fail(broken, pytrace=False)
        if reason is not None:
            pytest.skip(reason)


@dataclass(frozen=True)
class Fuzz:
    """A fuzz run in the form of a check.

    Attributes:
        seconds: how long it goes on.
    """

    seconds: float
    _framer: ReadCondition[Any] = field(repr=False)
    _wires: list[bytes] = field(repr=False)
    name: ClassVar[str] = "fuzz"
    promise: ClassVar[str] = "Whatever bytes arrive, every way of reading them agrees."

    def run(self) -> str | None:
        """Fuzz the framer.

        Raises:
            ConformanceError: two ways of reading the same bytes disagree.
        """
        fuzz_framer(self._framer, self._wires or seeds_for(self._framer), seconds=self.seconds)
        return None


def _checks_of(tests: type[FramerTests], seconds: float | None) -> list[Check | Fuzz]:
    framer = _framer_of(tests)
    material = material_of(tests, type(framer), sys.modules[type(framer).__module__])
    if material.get("pieces"):
        seconds = None  # what is read depends on the chunks, which is just what a fuzz run complains about
    checks: list[Check | Fuzz] = [*conformance_checks(framer, **material)]
    if seconds is not None:
        checks.append(Fuzz(seconds, framer, _wires_of(material)))
    return checks


def _framer_of(tests: type[FramerTests]) -> ReadCondition[Any]:
    framer = getattr(tests, "framer", None)
    if isinstance(framer, str):
        # What is tested directly needs no plugin host.
        from framestream.registry.lookup import get_framer  # noqa: PLC0415

        framer = get_framer(framer)
    if not isinstance(framer, ReadCondition):
        hint = "; write an instance" if isinstance(framer, type) else ""
        pytest.fail(f"{tests.__name__}.framer is {framer!r}, not a framer{hint}", pytrace=False)
    return framer


def _wires_of(material: Mapping[str, Any]) -> list[bytes]:
    given = (*material.get("examples", ()), *material.get("malformed", ()), *material.get("incomplete", ()))
    return [bytes(item[0] if isinstance(item, tuple) else item) for item in given]
