"""Time contenders side by side in one run, so that their ratios hold on a noisy machine."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from framestream._build import COMPILED


@dataclass(frozen=True)
class Contender:
    """One way to do the work: ``run()`` does all of it and returns how many frames it saw."""

    name: str
    run: Callable[[], int]


@dataclass(frozen=True)
class Result:
    name: str
    nanoseconds: float
    """CPU time per frame, the best of all rounds."""


def race(contenders: list[Contender], frames: int, rounds: int = 15) -> list[Result]:
    """Run all contenders in turn, `rounds` times over, and return the best CPU time of each."""
    best = dict.fromkeys((c.name for c in contenders), float("inf"))
    for contender in contenders:
        seen = contender.run()
        if seen != frames:
            raise AssertionError(f"{contender.name} saw {seen} frames of {frames}")
    gc.disable()
    try:
        for _ in range(rounds):
            for contender in contenders:
                started = time.process_time_ns()
                contender.run()
                elapsed = time.process_time_ns() - started
                best[contender.name] = min(best[contender.name], elapsed / frames)
            gc.collect()
    finally:
        gc.enable()
    return [Result(name, figure) for name, figure in best.items()]


def table(title: str, results: list[Result], reference: str) -> str:
    """Return the results as a Markdown table; ratios are against the contender named `reference`."""
    base = next(r.nanoseconds for r in results if r.name == reference)
    lines = [f"### {title}", "", "| contender | CPU per frame, ns | ratio |", "|---|---:|---:|"]
    lines += [
        f"| {result.name} | {result.nanoseconds:.0f} | {result.nanoseconds / base:.2f} |"
        for result in sorted(results, key=lambda r: r.nanoseconds)
    ]
    return "\n".join(lines) + "\n"


def interpreter() -> str:
    """Say which interpreter the figures are from: builds without PGO differ by up to two times."""
    build = "compiled" if COMPILED else "pure Python"
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}, "
        f"framestream as {build}"
    )
