"""Tornado's own suites, as installed, give the same result on the stand-in as on the original."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import run_suite

SCRIPT = Path(__file__).with_name("run_suite.py")
# Tornado's own word for a slow machine: a request over TLS gets half a second, not a tenth.
SLOW = {"simple_httpclient_test": {**os.environ, "EMULATION": "1"}}
SUITES = [
    "iostream_test",
    "http1connection_test",
    "httpserver_test",
    "tcpserver_test",
    "tcpclient_test",
    "websocket_test",
    "simple_httpclient_test",
    "process_test",
    "web_test",
    "concurrent_test",
    "ioloop_test",
    "netutil_test",
]


class Outcome(NamedTuple):
    """What unittest reports, and whether the process was content: nothing logged, nothing complained of."""

    tests: int
    skipped: int
    fine: bool
    report: str


@cache
def run(which: str, suite: str) -> Outcome:
    # Some of these tests depend on times; what fails on a busy machine must pass when it runs again.
    for _ in range(3):
        command = [sys.executable, "-W", "error", str(SCRIPT), which, suite, "-v"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=SLOW.get(suite))
        report = done.stdout + done.stderr
        tests, skipped = re.search(r"^Ran (\d+) tests?", report, re.M), re.search(r"skipped=(\d+)", report)
        outcome = Outcome(
            int(tests[1]) if tests else 0, int(skipped[1]) if skipped else 0, done.returncode == 0, report
        )
        if outcome.fine:
            break
    return outcome


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_of_tornados_gives_the_same_result_on_the_stand_in(suite: str) -> None:
    original, ours = run("original", suite), run("stand-in", suite)
    assert original.fine, original.report
    assert ours.fine, ours.report
    assert original.tests == ours.tests
    private = sum(ours.report.count(f"skipped {reason!r}") for reason in run_suite.PRIVATE.values())
    assert original.skipped + private == ours.skipped
