"""The pytest plugin: what test suites of strangers see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

import framestream.testing._memory_streams
import pytest

# What the inner runs import first would be forgotten behind them, and then exist twice.
import framestream.testing._framer_tests
import framestream.testing._kit
import framestream.testing._speed
import framestream.testing.strategies

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

FRAMER = '''
from dataclasses import dataclass
from framestream import NeedMore, ReadCondition

@dataclass(frozen=True)
class Semicolon(ReadCondition[bytes]):
    """Text up to a semicolon."""

    overhead = 1

    def find(self, window):
        end = window.data.find(b";", window.resume)
        if end < 0:
            return NeedMore(resume=len(window.data), settled=len(window.data))
        return window.start, end, end + 1
'''


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest on a module of tests, with the plugin once, installed or not."""
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = "--strict-markers"\n')

    def run(tests: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(semicolon=FRAMER, test_it=dedent(tests))
        plugin = ("-p", "no:framestream", "-p", "framestream.testing.pytest_plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*plugin, *arguments)

    return run


GOOD = """
    from framestream.testing import FramerTests
    from semicolon import Semicolon

    class TestSemicolon(FramerTests):
        framer = Semicolon()
        examples = {b"a;b;": [b"a", b"b"]}
        incomplete = [b"a"]
"""


def test_a_class_becomes_a_test_for_each_promise(run: Run) -> None:
    result = run(GOOD, "-v", "-rs")
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] > 15
    result.stdout.fnmatch_lines_random(
        [
            "*TestSemicolon::test_conformance[[]linear-cost[]] PASSED*",
            "*TestSemicolon::test_conformance[[]malformed[]] SKIPPED*",
        ]
    )


def test_without_the_plugin_the_class_works_as_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(semicolon=FRAMER, test_it=dedent(GOOD))
    result = pytester.runpytest_inprocess("-p", "no:framestream", "-p", "no:cacheprovider")
    assert result.parseoutcomes()["passed"] > 15


def test_a_broken_promise_is_one_failed_test_with_the_reason_and_no_traceback(run: Run) -> None:
    result = run(
        """
        from dataclasses import dataclass
        from framestream import NeedMore
        from framestream.testing import FramerTests
        from semicolon import Semicolon

        @dataclass(frozen=True)
        class Rescans(Semicolon):
            def find(self, window):
                end = window.data.find(b";", window.start)
                return NeedMore() if end < 0 else (window.start, end, end + 1)

        class TestRescans(FramerTests):
            framer = Rescans()
            examples = {b"a;b;": [b"a", b"b"]}
        """
    )
    assert result.parseoutcomes()["failed"] < 3
    result.stdout.fnmatch_lines(
        [
            "*_ TestRescans.test_conformance[[]linear-cost[]] _*",
            "Rescans(): find rescans a frame that arrives byte by byte*",
            "  check:    linear-cost",
            "  expected: *",
            "  mend:     *",
            "  promise:  A frame that arrives byte by byte costs twice as much if it is twice as long.",
        ]
    )
    result.stdout.no_fnmatch_line("*_checks_cost.py*")
    result.stdout.no_fnmatch_line("*another exception occurred*")


def test_examples_beside_the_framer_are_found_and_names_are_looked_up(run: Run) -> None:
    result = run(
        """
        from framestream.testing import FramerTests
        from semicolon import Semicolon

        examples = {b"x;": [b"x"]}

        class Carries(Semicolon):
            examples = {b"a;": [b"a"]}

        class TestFromTheClass(FramerTests):
            framer = Carries()

        class TestByName(FramerTests):
            framer = "fixed-length:2"
            examples = {b"abcd": [b"ab", b"cd"]}
        """,
        "-v",
    )
    assert "failed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines_random(
        [
            "*TestFromTheClass::test_conformance[[]examples[]] PASSED*",
            "*TestByName::test_conformance[[]examples[]] PASSED*",
        ]
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("pass", "TestNothing.framer is None, not a framer"),
        (
            "framer = Semicolon",
            "TestNothing.framer is <class 'semicolon.Semicolon'>, not a framer; write an instance",
        ),
    ],
)
def test_a_class_without_a_framer_says_so(run: Run, line: str, complaint: str) -> None:
    result = run(
        f"""
        from framestream.testing import FramerTests
        from semicolon import Semicolon

        class TestNothing(FramerTests):
            {line}
        """
    )
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines([complaint])


def test_tests_of_ones_own_may_stand_beside_the_promises(run: Run) -> None:
    result = run(
        """
        import pytest
        from framestream.testing import FramerTests
        from semicolon import Semicolon

        class TestSemicolon(FramerTests):
            framer = Semicolon()

            def test_overhead(self):
                assert self.framer.overhead == 1

            def test_fixtures_of_any_name(self, check):
                assert check == "mine"

        @pytest.fixture
        def check():
            return "mine"
        """,
        "-k",
        "overhead or any_name",
    )
    assert result.parseoutcomes()["passed"] == 2


def test_the_option_adds_a_fuzz_run_for_each_framer(run: Run) -> None:
    tests = (
        GOOD
        + """
        malformed = [(b"never", "")]

    class TestAnything(FramerTests):
        framer = Semicolon()

    class TestPieces(FramerTests):
        framer = "available"
        pieces = True
"""
    )
    result = run(tests, "--framestream-fuzz=0.05", "-k", "fuzz", "-v")
    assert result.parseoutcomes()["passed"] == 2
    result.stdout.fnmatch_lines_random(
        [f"*{name}::test_conformance[[]fuzz[]] PASSED*" for name in ("TestSemicolon", "TestAnything")]
    )


def test_a_fuzz_run_that_fails_shows_the_stream(run: Run) -> None:
    result = run(
        """
        from framestream import FramingError
        from framestream.testing import FramerTests
        from semicolon import Semicolon

        class Late(Semicolon):
            def find(self, window):
                if window.data[window.start :] == b"ab":
                    raise FramingError("not final")
                return super().find(window)

        class TestLate(FramerTests):
            framer = Late()
            examples = {b"abc;abd;": [b"abc", b"abd"]}
        """,
        "--framestream-fuzz=5",
        "-k",
        "fuzz",
    )
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*  check:    fuzz", "  input: *", "  promise:  Whatever bytes arrive*"])


def test_a_marked_test_runs_with_every_chunking_under_a_readable_name(run: Run) -> None:
    result = run(
        """
        import pytest

        @pytest.mark.chunkings(b"abcd", two_way=2, random=0, empty=False)
        def test_all_of_it(chunks):
            assert b"".join(chunks) == b"abcd"
        """,
        "-v",
    )
    assert result.parseoutcomes() == {"passed": 6}
    result.stdout.fnmatch_lines_random(
        [
            "*test_all_of_it[[]all in one chunk[]] PASSED*",
            "*test_all_of_it[[]one byte at a time[]] PASSED*",
            "*test_all_of_it[[]2 chunks of 1 + 3 bytes[]] PASSED*",
        ]
    )


def test_fixtures_bring_chunkings_and_streams_in_memory(run: Run) -> None:
    result = run(
        """
        import asyncio
        from framestream import iter_frames
        from semicolon import Semicolon

        def test_chunkings(chunkings):
            for chunks in chunkings(b"a;b;"):
                assert list(iter_frames(chunks, Semicolon())) == [b"a", b"b"]

        def test_streams(memory_stream_pair):
            async def talk():
                client, server = memory_stream_pair()
                await client.write(b"a;b;")
                read = [await server.read(Semicolon()), await server.read(Semicolon())]
                await client.aclose()
                await server.aclose()
                return read

            assert asyncio.run(talk()) == [b"a", b"b"]
        """
    )
    assert result.parseoutcomes() == {"passed": 2}


def test_a_benchmark_is_shown_at_the_end_beside_the_built_in_framers(run: Run) -> None:
    result = run(
        """
        from semicolon import Semicolon

        def test_speed(framer_benchmark):
            report = framer_benchmark(Semicolon(), b"some text;" * 10, rounds=1)
            assert report.ratios[1] < 1000
        """
    )
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.fnmatch_lines(
        [
            "*= speed of framers =*",
            "test_it.py::test_speed: 26210 frames of 10 bytes, CPU time per frame on *",
            "*one at a time  by batch",
            "  Semicolon() * ns * ns",
            "  length-prefix * ns * ns",
            "  line:encoding=none * ns * ns",
            "  beside length-prefix * x * x",
        ]
    )


def test_nothing_costly_is_imported_before_it_is_used() -> None:
    code = """
        import sys
        import framestream.testing.pytest_plugin
        ours = {"framestream.testing._kit", "framestream.stream._stream"}
        costly = {"hypothesis", "asyncio", "pluggy"} | ours
        sys.exit(", ".join(sorted((costly - before) & set(sys.modules))) or 0)
    """
    program = "import sys, pytest\nbefore = set(sys.modules)\n" + dedent(code)
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_names_of_the_kit_are_all_there_and_no_other() -> None:
    kit = framestream.testing
    assert set(kit.__all__) <= set(dir(kit))
    assert [name for name in kit.__all__ if not hasattr(kit, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'check_frames'"):
        kit.check_frames  # noqa: B018
