"""Measure what the project promises, beside its rivals, in one run.

Run ``python benchmarks/compare.py [SCENARIO ...]`` (extras ``bench`` and ``uvloop``; a C compiler; Linux).
Each server is a process of its own on one core; what loads it is a C program on another. Rounds alternate
between contenders, and the best of each counts. README.md in this folder tells how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from in_process import COMPILED, Workload, interpreter, made, objects, race

HERE = Path(__file__).parent
LOOPS = ("asyncio", "uvloop")
# Modules are compiled once, as they are where the package is installed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
# A path to this source would hide the compiled package.
INSTALLED = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}


@dataclass(frozen=True)
class Target:
    """`contender` must cost at most `pure` (`compiled`) times what the best of `rivals` costs.

    Without rivals, the numbers are absolute.
    """

    contender: str
    pure: float
    compiled: float | None = None
    rivals: tuple[str, ...] = ()
    loops: tuple[str, ...] = LOOPS
    is_compiled: bool = COMPILED

    def beside(self) -> Target:
        """Return the same target for the compiled package, which another interpreter has."""
        rivals = tuple(beside(rival) if is_ours(rival) else rival for rival in self.rivals)
        return replace(self, contender=beside(self.contender), rivals=rivals, is_compiled=True)


BESIDE = ", compiled"


def is_ours(contender: str) -> bool:
    return contender.startswith("framestream")


def beside(contender: str) -> str:
    """Return the name of a contender that the interpreter of --compiled runs."""
    return contender + BESIDE


def about_compiled(python: str) -> str:
    """Say what `interpreter` says of another interpreter, which must have the compiled package."""
    command = [python, "-c", "import in_process; print(in_process.interpreter())"]
    about = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE, env=INSTALLED).stdout.strip()
    if not about.endswith("compiled"):
        sys.exit(f"compare: --compiled {python} is {about}")
    return about


# What load.c is to do for a scenario: its mode, and its last arguments.
Load = Callable[[argparse.Namespace], tuple[str, list[object]]]


def echo(connections: int) -> Load:
    return lambda options: ("echo", [connections, options.seconds])


def stream(kind: str, size: int, rate: int, dripping: int = 0) -> Load:
    """Send, in `seconds`, what a fast contender receives at a `rate` of million bytes per second."""
    return lambda options: ("send", [kind, size, int(rate * 1e6 * options.seconds), dripping])


def handshakes(options: argparse.Namespace) -> tuple[str, list[object]]:
    return "handshakes", [options.seconds]


def hold(options: argparse.Namespace) -> tuple[str, list[object]]:
    return "hold", [options.connections]


@dataclass(frozen=True)
class Scenario:
    title: str
    unit: str
    """What a figure is, and of what."""
    kind: str
    """A key of `servers.SERVERS`."""
    load: Load
    contenders: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    tls: bool = False
    loops: tuple[str, ...] = LOOPS


FRAMES, READ, BATCHES, ON_FRAME, INTO = (
    f"framestream {way}" for way in ("frames", "read", "batches", "on_frame", "read_into")
)
MADE = "framestream read, made in the call"
ECHOES = (FRAMES, READ, ON_FRAME, MADE, "Tornado", "streams", "Protocol", "BufferedProtocol", "prototype")
SMALL = (BATCHES, FRAMES, READ, ON_FRAME, "Tornado", "streams", "BufferedProtocol", "prototype")
LARGE = (FRAMES, READ, INTO, "Tornado", "streams", "BufferedProtocol")
BY_HAND = ("BufferedProtocol",)
OTHERS = ("Tornado", "streams")


def of_tornado(pure: float, compiled: float) -> tuple[Target, ...]:
    """On asyncio so much of what Tornado takes, on uvloop level with its streams."""
    return tuple(
        target
        for way in (FRAMES, READ)
        for target in (
            Target(way, pure, compiled, ("Tornado",), ("asyncio",)),
            Target(way, 1.0, 0.85, ("streams",), ("uvloop",)),
        )
    )


def as_before(**limits: float) -> tuple[Target, ...]:
    """No dearer, beside a protocol written by hand, than before the streams were rebuilt."""
    return tuple(Target(f"framestream {way}", limit, None, BY_HAND) for way, limit in limits.items())


UNPACKER, UNPACKER_TO_LIST = "bare Unpacker", "bare Unpacker, a list"

NETWORK = {
    "echo-1": Scenario(
        "echo of 64 bytes, 1 connection", "us per echo", "echo", echo(1), ECHOES, of_tornado(0.85, 0.75),
    ),
    "echo-64": Scenario(
        "echo of 64 bytes, 64 connections", "us per echo", "echo", echo(64), ECHOES, of_tornado(0.45, 0.33),
    ),
    "lines": Scenario(
        "lines of 64 bytes", "ns per line", "lines", stream("lines", 64, 200), (*SMALL, MADE),
        (*as_before(batches=0.75, frames=1.85, read=2.55, on_frame=1.6), Target(MADE, 1.3, None, (READ,))),
    ),
    "prefix-64": Scenario(
        "64 bytes after a 4-byte length", "ns per frame", "prefix", stream("prefix", 64, 100), SMALL,
        as_before(batches=0.6, frames=1.03, read=1.3, on_frame=0.93),
    ),
    "prefix-64k": Scenario(
        "64 KiB after a 4-byte length", "us per frame", "prefix", stream("prefix", 1 << 16, 1000), LARGE,
        (Target(FRAMES, 1.2, None, BY_HAND), Target(READ, 1.2, None, BY_HAND)),
    ),
    "prefix-1m": Scenario(
        "1 MiB after a 4-byte length", "us per frame", "prefix", stream("prefix", 1 << 20, 1000), LARGE,
        (Target(FRAMES, 1.2, None, BY_HAND), Target(READ, 1.2, None, BY_HAND)),
    ),
    "msgpack": Scenario(
        "msgpack maps of 4 keys", "ns per map", "msgpack", stream("msgpack", 0, 80),
        (BATCHES, FRAMES, READ, UNPACKER, UNPACKER_TO_LIST, "prototype"),
        (
            Target(BATCHES, 1.1, None, (UNPACKER,)),
            Target(BATCHES, 1.1, None, (UNPACKER_TO_LIST,)),
            Target(FRAMES, 1.3, None, (UNPACKER,)),
        ),
    ),
    "slow": Scenario(
        "lines of 64 bytes, among 10,000 senders of a byte a second; `lines` has them alone", "ns per line",
        "lines", stream("lines", 64, 60, dripping=10_000), (READ, "Tornado"), loops=("asyncio",),
    ),
    "idle": Scenario(
        "an idle connection with a read pending", "KiB", "echo", hold,
        (FRAMES, READ, ON_FRAME, "Tornado", "streams", "BufferedProtocol", "prototype"),
        (Target(FRAMES, 3.5), Target(READ, 3.5)),
    ),
    "tls-handshake": Scenario(
        "TLS: connect, echo once, close", "us per connection", "echo", handshakes,
        (FRAMES, "Tornado", "streams"), (Target(FRAMES, 1.0, None, OTHERS),), tls=True,
    ),
    "tls-echo-1": Scenario(
        "TLS: echo of 64 bytes, 1 connection", "us per echo", "echo", echo(1),
        (FRAMES, READ, "Tornado", "streams"), (Target(FRAMES, 1.0, None, OTHERS),), tls=True,
    ),
    "tls-echo-64": Scenario(
        "TLS: echo of 64 bytes, 64 connections", "us per echo", "echo", echo(64),
        (FRAMES, READ, "Tornado", "streams"), (Target(FRAMES, 1.0, None, OTHERS),), tls=True,
    ),
    "tls-64k": Scenario(
        "TLS: 64 KiB after a 4-byte length", "us per frame", "prefix", stream("prefix", 1 << 16, 400),
        (FRAMES, "Tornado", "streams", "BufferedProtocol"), (Target(FRAMES, 1.0, None, OTHERS),), tls=True,
    ),
}  # fmt: skip


# In this process, or in an interpreter of its own


@dataclass(frozen=True)
class Local:
    title: str
    unit: str
    measure: Callable[[argparse.Namespace], Iterable[tuple[str, float]]]
    targets: tuple[Target, ...]


def raced(workload: Callable[[], Workload]) -> Callable[[argparse.Namespace], Iterable[tuple[str, float]]]:
    return lambda options: race(workload().contenders, max(5, 3 * options.rounds)).items()


IMPORTS = {
    "framestream.Line()": "import framestream; framestream.Line()",
    'framestream.get_framer("line")': "import framestream; framestream.get_framer('line')",
    "framestream.FrameDecoder()": "import framestream; framestream.FrameDecoder()",
    "framestream.IOStream": "import framestream; framestream.IOStream",
    "asyncio": "import asyncio",
    "msgpack": "import msgpack",
}
# What an interpreter has done already when it starts is not counted.
IMPORT = """
import sys, time
began = time.process_time_ns()
{statement}
used = time.process_time_ns() - began
print(used, int("asyncio" in sys.modules), sum(name.startswith("framestream") for name in sys.modules))
"""


def imports(options: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield milliseconds of CPU time for what a statement imports, and for `get_framer` what that is."""
    for name, statement in IMPORTS.items():
        command = [sys.executable, "-c", IMPORT.format(statement=statement)]
        reports = [
            subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout.split()
            for _ in range(2 + 2 * options.rounds)  # the first one may have to compile the modules
        ]
        yield name, min(int(used) for used, _, _ in reports) / 1e6
        if "get_framer" in name:
            yield ASYNCIO, float(reports[0][1])
            yield "modules of ours that get_framer imports", float(reports[0][2])


ASYNCIO = "asyncio, imported by get_framer (1) or not (0)"
LOCAL = {
    "made": Local(
        "next_frame(Line()), in process", "ns per line", raced(made),
        (Target("made in the call", 1.3, None, ("kept",)),),
    ),
    "msgpack-local": Local(
        "msgpack maps of 4 keys, in process", "ns per map", raced(objects),
        (
            Target("framestream, by batch", 1.1, None, ("bare msgpack.Unpacker",)),
            Target("framestream, by batch", 1.1, None, ("bare msgpack.Unpacker, a list per chunk",)),
            Target("framestream, one at a time", 1.3, None, ("bare msgpack.Unpacker",)),
        ),
    ),
    "imports": Local(
        "import times", "ms, or as said", imports,
        (Target('framestream.get_framer("line")', 25.0), Target(ASYNCIO, 0.0)),
    ),
}  # fmt: skip
SCENARIOS: dict[str, Scenario | Local] = {**NETWORK, **LOCAL}


# Running them


class Bench:
    """What the scenarios share: the load program, the certificate, and which core is whose."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.load = folder / "load"
        self.certificate = folder / "certificate.pem"
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.load_core = (cores[0], cores[1]) if len(cores) > 1 else (None, -1)
        self.has_tls = self.build() and self.make_certificate()

    def build(self) -> bool:
        """Compile load.c, with TLS if OpenSSL's headers are there, and tell whether they are."""
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            sys.exit("compare: load.c needs a C compiler, and there is none (Debian: apt install gcc libc6-dev)")
        command = [compiler, "-O2", "-o", str(self.load), str(HERE / "load.c")]
        with_tls = [*command, "-DWITH_TLS", "-lssl", "-lcrypto"]
        if subprocess.run(with_tls, capture_output=True, check=False).returncode == 0:
            return True
        print("TLS is left out: OpenSSL's headers are missing (Debian: apt install libssl-dev)", file=sys.stderr)
        subprocess.run(command, check=True)
        return False

    def make_certificate(self) -> bool:
        if find_spec("trustme") is None:
            print("TLS is left out: trustme is missing (pip install trustme)", file=sys.stderr)
            return False
        import trustme

        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(self.certificate)
        return True

    @contextmanager
    def server(self, scenario: Scenario, contender: str, loop: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
        name = contender.removesuffix(BESIDE)
        python, environment = (sys.executable, ENVIRONMENT) if name == contender else (self.options.compiled, INSTALLED)
        command = [python, str(HERE / "servers.py"), scenario.kind, name, loop]
        command += [str(self.certificate)] * scenario.tls
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                if self.server_core is not None:
                    os.sched_setaffinity(process.pid, {self.server_core})
                assert process.stdout is not None
                yield process, int(process.stdout.readline())
            finally:
                process.kill()

    def run(self, scenario: Scenario, contender: str, loop: str) -> float:
        """Return what a frame costs, in the scenario's unit."""
        mode, arguments = scenario.load(self.options)
        with self.server(scenario, contender, loop) as (process, port):
            common = [port, process.pid, self.load_core, int(scenario.tls)]
            command = [str(argument) for argument in (self.load, mode, *common, *arguments)]
            report = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            frames, cost, _elapsed = map(int, report.split())
            if mode == "send":
                assert process.stdout is not None
                seen = int(process.stdout.readline())
                if seen != frames:
                    raise AssertionError(f"{contender} on {loop} saw {seen} frames of {frames}")
        unit = {"ns": 1, "us": 1000, "KiB": 1024}[scenario.unit.partition(" ")[0]]
        return cost / frames / unit


class Verdict(NamedTuple):
    scenario: str
    contender: str
    loop: str
    figure: float
    rival: str
    judged: float
    """The figure as a part of the rival's, or the figure itself where there is none."""
    at_most: float
    met: bool


@dataclass
class Table:
    """The figures of one scenario, by contender and loop."""

    name: str
    title: str
    unit: str
    targets: tuple[Target, ...]
    rounds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def figure(self, contender: str, loop: str) -> float:
        """Return the best of the rounds, infinity if there were none."""
        return min(self.rounds.get((contender, loop), ()), default=math.inf)

    def verdicts(self) -> Iterator[Verdict]:
        for target in [*self.targets, *(target.beside() for target in self.targets)]:
            at_most = target.compiled if target.is_compiled and target.compiled is not None else target.pure
            for loop in dict.fromkeys(loop for _, loop in self.rounds):
                figure = self.figure(target.contender, loop)
                rivals = {name: self.figure(name, loop) for name in target.rivals}
                rival = min(rivals, key=lambda name: rivals[name], default="")
                judged = round(figure / rivals.get(rival, 1.0), 2)
                if loop in (*target.loops, "") and math.isfinite(judged) and rivals.get(rival) != math.inf:
                    met = judged <= at_most
                    yield Verdict(self.name, target.contender, loop, figure, rival, judged, at_most, met)

    def __str__(self) -> str:
        lines = [f"### {self.name}: {self.title}", ""]
        lines += [
            f"| contender | loop | {self.unit} | median | of the best by others |",
            "|---|---|---:|---:|---:|",
        ]
        by_others: dict[str, float] = {}
        for (contender, loop), figures in self.rounds.items():
            if not is_ours(contender):
                by_others[loop] = min(by_others.get(loop, math.inf), *figures)
        for (contender, loop), figures in sorted(self.rounds.items(), key=lambda item: (item[0][1], min(item[1]))):
            best = min(figures)
            ratio = f"{best / by_others[loop]:.2f}" if by_others.get(loop) else ""
            lines.append(f"| {contender} | {loop} | {number(best)} | {number(statistics.median(figures))} | {ratio} |")
        return "\n".join(lines) + "\n"


def number(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"


def measure(bench: Bench, name: str, scenario: Scenario | Local) -> Table:
    options = bench.options
    table = Table(name, scenario.title, scenario.unit, scenario.targets)
    if isinstance(scenario, Local):
        table.rounds = {(contender, ""): [figure] for contender, figure in scenario.measure(options)}
        return table
    known = [who for who in scenario.contenders if who != "Tornado" or find_spec("tornado")]
    if options.compiled:
        known = [name for who in known for name in ((who, beside(who)) if is_ours(who) else (who,))]
    pairs = [
        (who, loop)
        for loop in scenario.loops
        if loop in options.loops
        for who in known
        if not options.only or any(part in who for part in options.only)
    ]
    for _ in range(options.rounds):
        for pair in pairs:
            table.rounds.setdefault(pair, []).append(bench.run(scenario, *pair))
    return table


def summary(tables: list[Table]) -> str:
    lines = ["### Targets", "", "| scenario | contender | loop | figure | beside | is | at most | met |"]
    lines.append("|---|---|---|---:|---|---:|---:|---|")
    for table in tables:
        unit = table.unit.partition(" ")[0].rstrip(",")
        for scenario, contender, loop, figure, rival, judged, at_most, met in table.verdicts():
            lines.append(
                f"| {scenario} | {contender} | {loop} | {number(figure)} {unit} | {rival or '(absolute)'} "
                f"| {judged:.2f} | {at_most:.2f} | {'yes' if met else 'NO'} |"
            )
    return "\n".join(lines)


def as_json(tables: list[Table]) -> str:
    scenarios = {
        table.name: {
            "unit": table.unit,
            "rounds": [
                {"contender": contender, "loop": loop, "figures": figures}
                for (contender, loop), figures in table.rounds.items()
            ],
            "targets": [verdict._asdict() for verdict in table.verdicts()],
        }
        for table in tables
    }
    about = {"python": platform.python_version(), "compiled": COMPILED, "scenarios": scenarios}
    return json.dumps(about, indent=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all if left out: {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3, help="times each contender runs (default: 3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="about how long each time (default: 0.5)")
    parser.add_argument("--connections", type=int, default=10_000, help="how many are idle (default: 10000)")
    parser.add_argument("--loop", dest="loops", action="append", choices=LOOPS, help="both if left out")
    parser.add_argument("--only", action="append", metavar="PART", help="of contenders' names; may be repeated")
    parser.add_argument("--compiled", metavar="PYTHON", help="run our servers with this compiled installation, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare: ended"))  # and the server with it
    options.loops = options.loops or [loop for loop in LOOPS if loop == "asyncio" or find_spec(loop)]
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))} (there are {', '.join(SCENARIOS)})")
    print(f"{interpreter()}, best of {options.rounds} rounds, {time.strftime('%F %R')}\n")
    if options.compiled:
        print(f"beside it {about_compiled(options.compiled)}\n")
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        for name in options.scenarios or SCENARIOS:
            scenario = SCENARIOS[name]
            if isinstance(scenario, Scenario) and scenario.tls and not bench.has_tls:
                continue
            tables.append(measure(bench, name, scenario))
            print(tables[-1], flush=True)
    print(summary(tables))
    if options.json:
        options.json.write_text(as_json(tables))


if __name__ == "__main__":
    main()
