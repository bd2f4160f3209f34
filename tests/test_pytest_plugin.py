"""The pytest plugin: what test suites of strangers see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

# What the inner runs import first would be forgotten after them, and then exist twice.
import faulty_framers  # noqa: F401
import pytest

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

IMPORTS = """
import pytest
from faulty_framers import ChunkDependent, Lines, Rescans
from framestream.testing import FramerTests
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest on a module of tests, with the plugin once, installed or not."""
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = "--strict-markers"\n')

    def run(tests: str, *arguments: str, plugin: bool = True) -> pytest.RunResult:
        pytester.makepyfile(test_it=IMPORTS + dedent(tests))
        loaded = ("-p", "framestream.testing.pytest_plugin") if plugin else ()
        return pytester.runpytest_inprocess("-p", "no:framestream", "-p", "no:cacheprovider", *loaded, *arguments)

    return run


GOOD = """
    class TestLines(FramerTests):
        framer = Lines()
        examples = {b"a\\r\\nb\\r\\n": [b"a", b"b"]}
        incomplete = [b"a"]
"""


@pytest.mark.parametrize("plugin", [True, False])
def test_a_class_becomes_a_test_for_each_promise(run: Run, plugin: bool) -> None:
    result = run(GOOD, "-v", "-rs", plugin=plugin)
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] > 15
    lines = ["*::test_conformance[[]linear-cost[]] PASSED*", "*::test_conformance[[]malformed[]] SKIPPED*"]
    result.stdout.fnmatch_lines_random(lines)


def test_a_broken_promise_is_one_failed_test_with_the_reason_and_no_traceback(run: Run) -> None:
    result = run(GOOD.replace("Lines()", "Rescans()"))
    assert result.parseoutcomes()["failed"] < 3
    result.stdout.fnmatch_lines(
        [
            "*_ TestLines.test_conformance[[]linear-cost[]] _*",
            "Rescans(): find rescans a frame that arrives byte by byte*",
            "  check:    linear-cost",
            "  expected: *",
            "  mend:     *",
            "  promise:  A frame that arrives byte by byte costs twice as much if it is twice as long.",
        ]
    )
    result.stdout.no_fnmatch_line("*cost.py*")
    result.stdout.no_fnmatch_line("*another exception occurred*")


def test_material_is_found_beside_the_framer_names_are_looked_up_and_own_tests_stand_beside(run: Run) -> None:
    result = run(
        """
        class Carries(Lines):
            examples = {b"a\\r\\n": [b"a"]}

        class TestFromTheClass(FramerTests):
            framer = Carries()

            def test_fixtures_of_any_name(self, check):
                assert check == "mine"

        class TestByName(FramerTests):
            framer = "fixed-length:2"
            examples = {b"abcd": [b"ab", b"cd"]}

        @pytest.fixture
        def check():
            return "mine"
        """,
        "-v",
        "-k",
        "examples or any_name",
    )
    assert result.parseoutcomes()["passed"] == 3
    names = ("FromTheClass::test_conformance[[]examples[]]", "ByName::test_conformance[[]examples[]]")
    result.stdout.fnmatch_lines_random([f"*Test{name} PASSED*" for name in names])


@pytest.mark.parametrize(("line", "complaint"), [
    ("pass", "TestNothing.framer: None is not a read condition"),
    ("framer = Lines", "TestNothing.framer: the class Lines is not a read condition; make one*"),
    ("framer = 'no-such'", "TestNothing.framer: no framer named 'no-such'*"),
    ("framer, examples = Lines(), b'a'", "TestNothing: examples: 97 is not bytes with the list*"),
    ("framer = Lines()", "TestNothing: --framestream-fuzz is -1.0; it must be a number of seconds, 0 or more"),
])  # fmt: skip
def test_a_class_without_a_framer_or_with_odd_material_or_time_says_so(run: Run, line: str, complaint: str) -> None:
    result = run(f"class TestNothing(FramerTests):\n    {line}\n", "--framestream-fuzz=-1")
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines([complaint])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_the_option_adds_a_fuzz_run_for_each_framer_which_ends_with_a_stream_that_fails(run: Run) -> None:
    result = run(
        GOOD
        + """
    class TestPieces(FramerTests):
        framer = "available"
        chunk_dependent = True

    class TestCut(FramerTests):
        framer = ChunkDependent()
""",
        *("--framestream-fuzz=0.001", "-k", "fuzz", "-v"),  # the first hundred streams
    )
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "deselected": result.parseoutcomes()["deselected"]}
    result.stdout.fnmatch_lines(
        [
            "*TestLines::test_conformance[[]fuzz[]] PASSED*",
            "*TestCut::test_conformance[[]fuzz[]] FAILED*",
            "*  check:    fuzz",
            "  input: *",
            "  promise:  Whatever bytes arrive*",
        ]
    )


def test_what_the_fixture_measures_is_shown_at_the_end(run: Run) -> None:
    result = run(
        """
        def test_speed(framer_benchmark):
            report = framer_benchmark(Lines(), b"some txt\\r\\n" * 10, rounds=1)
            assert report.ratios[1] < 1000
        """,
        "-v",
    )
    result.stdout.fnmatch_lines(
        [
            "*= speed of framers =*",
            "test_it.py::test_speed: 26210 frames of 10 bytes, CPU time per frame on *",
            "*one at a time  by batch",
            "  Lines() * ns * ns",
            "  length-prefix * ns * ns",
            "  line:encoding=none * ns * ns",
            "  beside length-prefix * x * x",
        ]
    )


def test_nothing_costly_is_imported_before_it_is_used() -> None:
    code = """
        import sys, pytest
        before = set(sys.modules)
        import framestream.testing.pytest_plugin
        ours = {"framestream.testing.kit", "framestream.stream.stream"}
        costly = {"hypothesis", "asyncio", "pluggy"} | ours
        sys.exit(", ".join(sorted((costly - before) & set(sys.modules))) or 0)
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True)
