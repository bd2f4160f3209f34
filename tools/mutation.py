r"""Mutation testing: spoil the code in one place at a time, and see whether a test notices.

How to use it::

    pip install -e '.[dev]' cosmic-ray
    python tools/mutation.py --sample 160 --seed 10

spoils 160 places of the code named in `SOURCES`, drawn with that seed, runs those of the tests in `TESTS`
that execute the spoilt line, quickest first, and prints the share of mutants that a test killed and each
one that survived. Other code or other tests are named so::

    python tools/mutation.py --sources 'framestream/framers/*.py' --tests 'tests/test_framers_*.py'

Files that `SLOW` names are left out unless ``--skip`` names others. Half of a run is a sample, too, as the
places come in an order drawn with the seed. At commit 46ec780 of the first build, before the code moved, this
command was given its places by their names of then, with `tests/test_stream_writes.py` left out as well.

It works on a copy of the tree; results are appended to ``--log`` one by one, and a run that was interrupted
goes on where it was when it is started again with the same log.

The mutants are those of cosmic-ray: operators, comparisons, numbers, conditions, loops, decorators, handlers.
It draws the places, not the mutants, as a ``+`` has eleven of them and a ``not`` has one; of one place it
takes one. What no test can know is left out: annotations, assertions, ``if TYPE_CHECKING``, numbers at the top
of a module (those are tuned, and no test may pin them), and ``==`` in place of ``is`` or the other way round
(small numbers and members of an enum that are equal are the same). What remains and survives is
either not tested or makes no difference (a fast path left out, one more question than needed): look at each.

A mutant counts as killed if a test fails, or if the tests take `_FACTOR` times the CPU time that they
take of the sound code. CPU time, because other work on the machine must not decide. A mutant that waits for ever
uses none: it is killed by a test that lasts `_FACTOR` times as long as the longest did, and `_LEAST_WAIT` more.
"""

from __future__ import annotations

import argparse
import ast
import glob
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings

SOURCES = (
    "framestream/decoder.py",
    "framestream/buffer.py",
    "framestream/framers/*.py",
    "framestream/stream/receiver.py",
)
TESTS = (
    "tests/test_decoder*.py",
    "tests/test_buffer.py",
    "tests/test_captures.py",
    "tests/test_costs.py",
    "tests/test_iterate.py",
    "tests/test_framers*.py",
    "tests/test_spec*.py",
    "tests/test_stream_*.py",
    "tests/test_net_serve.py",
)
# Skipped by default, as they would be slower than all the others together.
SLOW = ("tests/test_stream_tls.py", "tests/test_stream_resources.py")

_FACTOR = 5
_LEAST_CPU = 20  # seconds, for the start of the interpreter and of pytest
_MOST_TESTS = 90  # seconds of tests for one mutant, as they take with coverage on
_LEAST_WAIT = 30  # seconds for one test, for what else runs on the machine
_MEMORY = 4 << 30
_NOTHING_RAN = pytest.ExitCode.NO_TESTS_COLLECTED
_THE_SAME = ("_Eq_Is", "_Is_Eq", "_NotEq_IsNot", "_IsNot_NotEq")
_PLAN = "MUTATION_PLAN"
_HERE = Path(__file__).resolve().parent


class Place(NamedTuple):
    """Where a mutant is made."""

    path: str
    line: int
    column: int
    operator: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column} {self.operator.removeprefix('core/')} #{self.occurrence}"


def main() -> int:
    """Run it; return 0 if at least ``--share`` of the mutants were killed."""
    options = _parser().parse_args()
    root = Path.cwd()
    sources = _expand(options.sources)
    tests = [test for test in _expand(options.tests) if test not in options.skip]
    places = _draw(_places(sources), options.sample, options.seed)
    log = Path(options.log)
    done = {entry["mutant"]: entry for entry in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".git", "*.so", "__pycache__", ".hypothesis"))
        baseline = _baseline(copy, tests, Path(options.log + ".baseline"))
        for number, place in enumerate(places, start=1):
            if str(place) not in done:
                entry = _try(copy, place, baseline)
                done[str(place)] = entry
                with log.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
            print(f"{number}/{len(places)} {done[str(place)]['outcome']:<9} {place}", flush=True)
    return _report([done[str(place)] for place in places], options.share)


def _expand(patterns: list[str]) -> list[str]:
    return sorted({path for pattern in patterns for path in glob.glob(pattern)})


def _draw(places: dict[tuple[Any, ...], list[Place]], sample: int, seed: int) -> list[Place]:
    source = random.Random(seed)  # noqa: S311  # reproducible, not secret
    keys = sorted(places)
    chosen = sorted(source.sample(keys, min(sample, len(keys))))
    print(f"{len(keys)} places, {len(chosen)} of them drawn with seed {seed}", flush=True)
    drawn = [source.choice(places[key]) for key in chosen]
    source.shuffle(drawn)  # so that a part of a run is a sample, too
    return drawn


def _places(sources: list[str]) -> dict[tuple[Any, ...], list[Place]]:
    """Return the mutants of each place."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path  # noqa: PLC0415  # a tool's tool
    from cosmic_ray.plugins import get_operator, operator_names  # noqa: PLC0415

    found = defaultdict(list)
    for path in sources:
        tree = get_ast_from_path(Path(path))
        dull = _dull_spans(Path(path))
        for name in operator_names():
            kind = get_operator(name)
            if kind.arguments() or name.endswith(_THE_SAME):
                continue
            positions = (place for node in ast_nodes(tree) for place in kind().mutation_positions(node))
            for occurrence, (start, end) in enumerate(positions):
                if not any(first <= start and end <= last for first, last in dull):
                    key = (path, start, name.partition("_")[0])
                    found[key].append(Place(path, *start, name, occurrence))
    return found


def _dull_spans(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return what is not worth spoiling."""
    tree = ast.parse(path.read_text())
    nodes: list[Any] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.AnnAssign, ast.arg)) and node.annotation:
            nodes.append(node.annotation)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns:
            nodes.append(node.returns)
        if isinstance(node, ast.Assert) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            nodes.append(node)
        if isinstance(node, (ast.AnnAssign, ast.Assign)) and "TypeAlias" in ast.unparse(node):
            nodes.append(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "TypeVar", "overload"):
            nodes.append(node)
    for node in tree.body:
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and value is not None and _is_number(value):
            nodes.append(node)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def _is_number(node: ast.AST) -> bool:
    allowed = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    return all(isinstance(inner, allowed) for inner in ast.walk(node))


def _baseline(copy: Path, tests: list[str], kept: Path) -> dict[str, Any]:
    """Run the tests once with coverage; return which of them execute a line, and how long each takes."""
    if kept.exists():
        return json.loads(kept.read_text())
    began = time.monotonic()
    plan = copy / "plan.json"
    plan.write_text(json.dumps({"durations": str(copy / "durations.json")}))
    cov = ("--cov=framestream", "--cov-context=test", "--cov-report=", "-q")
    run = _pytest(copy, plan, [*cov, *tests], cpu=None)
    if run.returncode not in (0, 1):
        sys.exit(run.stdout + run.stderr)
    durations, failed = json.loads((copy / "durations.json").read_text()).values()
    print(
        f"sound code: {len(durations)} tests, {len(failed)} failed, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    if failed:
        print("left out, as they fail without a mutant:", *failed, sep="\n  ")
    baseline = {"durations": durations, "failed": failed, "lines": _covered(copy)}
    kept.write_text(json.dumps(baseline))
    return baseline


def _covered(copy: Path) -> dict[str, dict[str, list[str]]]:
    from coverage import CoverageData  # noqa: PLC0415  # a tool's tool

    data = CoverageData(str(copy / ".coverage"))
    data.read()
    lines: dict[str, dict[str, list[str]]] = {}
    for path in data.measured_files():
        contexts = data.contexts_by_lineno(path)
        lines[os.path.relpath(path, copy)] = {
            str(line): sorted({name.rpartition("|")[0] for name in names if name}) for line, names in contexts.items()
        }
    return lines


def _try(copy: Path, place: Place, baseline: dict[str, Any]) -> dict[str, Any]:
    """Make one mutant and run the tests that execute its line."""
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415  # a tool's tool
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415

    path = copy / place.path
    sound = path.read_text()
    entry: dict[str, Any] = {"mutant": str(place), "was": sound.splitlines()[place.line - 1].strip()}
    chosen = _tests_of(place, sound, baseline)
    if not chosen:
        return {**entry, "outcome": "no test"}
    mutant = mutate_code(sound, get_operator(place.operator)(), place.occurrence)
    changed = [new for old, new in zip(sound.splitlines(), mutant.splitlines(), strict=False) if old != new]
    entry["is"] = changed[0].strip() if changed else ""
    plan = copy / "plan.json"
    plan.write_text(json.dumps({"tests": chosen}))
    seconds = [baseline["durations"].get(test, 0) for test in chosen]
    patience = f"--timeout={_FACTOR * max(seconds) + _LEAST_WAIT:.0f}"
    files = sorted({test.partition("::")[0] for test in chosen})
    try:
        path.write_text(mutant)
        run = _pytest(copy, plan, ["-x", "-q", "--no-header", patience, *files], _FACTOR * sum(seconds) + _LEAST_CPU)
    finally:
        path.write_text(sound)
    if run.returncode == _NOTHING_RAN:
        sys.exit(run.stdout + run.stderr)
    outcome = "survived" if run.returncode == 0 else "killed"
    killer = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {
        **entry,
        "outcome": outcome,
        "tests": len(chosen),
        "by": killer[0][:200] if killer else run.returncode,
    }


def _tests_of(place: Place, source: str, baseline: dict[str, Any]) -> list[str]:
    covered = baseline["lines"].get(place.path, {})
    statement = min(
        (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt) and _holds(node, place.line)),
        key=lambda node: node.end_lineno - node.lineno,
        default=None,
    )
    first, last = (place.line, place.line) if statement is None else (statement.lineno, statement.end_lineno)
    body = getattr(statement, "body", None)
    if body:
        last = max(first, body[0].lineno - 1)
    tests = {test for line in range(first, last + 1) for test in covered.get(str(line), ())}
    if not tests:  # executed at import: whatever uses the module may notice
        tests = {test for names in covered.values() for test in names}
    durations = baseline["durations"]
    chosen, total = [], 0.0
    for test in sorted(tests - set(baseline["failed"]), key=lambda test: durations.get(test, 0)):
        total += durations.get(test, 0)
        if total > _MOST_TESTS:
            break
        chosen.append(test)
    return chosen


def _holds(node: ast.stmt, line: int) -> bool:
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return first <= line <= (node.end_lineno or first)


def _pytest(copy: Path, plan: Path, arguments: list[str], cpu: float | None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        if cpu is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu) + 5))

    environment = {
        **os.environ,
        _PLAN: str(plan),
        "PYTHONPATH": f"{copy}{os.pathsep}{_HERE}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis"),
    }
    command = [sys.executable, "-m", "pytest", "-p", "mutation", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(  # noqa: S603  # our own tests
        command, cwd=copy, env=environment, preexec_fn=limit, capture_output=True, text=True, check=False
    )


def _report(entries: list[dict[str, Any]], share: float) -> int:
    outcomes = Counter(entry["outcome"] for entry in entries)
    survivors = [entry for entry in entries if entry["outcome"] != "killed"]
    print("\nsurvivors:")
    for entry in sorted(survivors, key=lambda entry: entry["mutant"]):
        print(f"  {entry['mutant']} ({entry['outcome']})\n    - {entry['was']}\n    + {entry.get('is', '')}")
    killed = outcomes["killed"] / max(1, len(entries))
    print(f"\n{len(entries)} mutants: {dict(outcomes)}; killed {killed:.1%}")
    by_file = Counter(entry["mutant"].partition(":")[0] for entry in entries)
    for path, count in sorted(by_file.items()):
        alive = sum(entry["mutant"].startswith(f"{path}:") for entry in survivors)
        print(f"  {path}: {count - alive} of {count}")
    return 0 if killed >= share else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--sources", nargs="+", default=SOURCES, metavar="PATTERN", help="the code to spoil")
    add("--tests", nargs="+", default=TESTS, metavar="PATTERN", help="the tests to run")
    add("--skip", nargs="*", default=SLOW, metavar="FILE", help="tests not to run")
    add("--sample", type=int, default=160, help="how many mutants")
    add("--seed", type=int, default=10, help="another seed draws others")
    add("--log", default="mutation.log", help="where the results are kept")
    add("--share", type=float, default=0.85, help="the share that must be killed for exit status 0")
    return parser


# What follows is a plugin of pytest, in the process that runs the tests of a mutant.

_durations: defaultdict[str, float] = defaultdict(float)
_failed: set[str] = set()


def _plan() -> dict[str, Any]:
    return json.loads(Path(os.environ[_PLAN]).read_text())


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Draw the same examples for each mutant, and shrink none: that a test fails is enough."""
    settings.register_profile("mutation", settings(), derandomize=True, phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Keep the chosen tests, in the order in which they were chosen."""
    chosen = _plan().get("tests")
    if chosen is not None:
        order = {test: number for number, test in enumerate(chosen)}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


def pytest_runtest_logreport(report: Any) -> None:
    """Note how long a test takes."""
    _durations[report.nodeid] += report.duration
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write the durations down."""
    if "durations" in _plan():
        Path(_plan()["durations"]).write_text(json.dumps({"durations": _durations, "failed": sorted(_failed)}))


if __name__ == "__main__":
    sys.exit(main())
