"""Files of a gibibyte: one process beside `iter_frames`, two beside one, and single frames by their numbers.

    python benchmarks/archives.py [--size MIB] [--folder FOLDER]

Every figure is of a process of its own: wall time and CPU time of it and its children, and the most memory
that one of them held. The archives are made first, if they are not there: messages of 20 to 300 random
bytes, delimited as protobuf does it, msgpack maps of about 85 bytes, and lines of JSON of about 80.
"""

import argparse
import compileall
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgpack

import framestream
from framestream import LengthPrefix, Line, Msgpack, iter_frames
from framestream.archives import Archive, Reader, make_index, plan, process

FRAMERS = {"protobuf": LengthPrefix(format="varint"), "msgpack": Msgpack(), "lines": Line()}
LOOKS = 300


def make(folder: Path, mebibytes: int) -> None:
    """Write the archives, each a block of 20,000 frames over and over."""
    chance = random.Random(1)
    makers: dict[str, Callable[[], bytes]] = {
        "protobuf": lambda: b"".join(FRAMERS["protobuf"].encode(chance.randbytes(chance.randrange(20, 300)))),
        "msgpack": lambda: msgpack.packb(
            {"id": chance.randrange(1 << 30), "name": "x" * chance.randrange(40), "values": [0.5] * 5}
        ),
        "lines": lambda: (
            json.dumps({"id": chance.randrange(1 << 30), "name": "x" * chance.randrange(100)}).encode() + b"\n"
        ),
    }
    for name, maker in makers.items():
        path = folder / name
        if not path.exists() or path.stat().st_size < mebibytes << 20:
            block = b"".join(maker() for _ in range(20_000))
            with path.open("wb") as file:
                for _ in range((mebibytes << 20) // len(block) + 1):
                    file.write(block)


def count(reader: Reader) -> int:
    return sum(map(len, reader.batches()))


def run(folder: Path, name: str, what: str) -> dict[str, float]:
    """Do one thing, and return what it cost."""
    path, framer = folder / name, FRAMERS[name]
    figures: dict[str, float] = {}
    started = time.perf_counter()
    if what == "iter_frames":
        found = sum(1 for _ in iter_frames(path, framer))
    elif what == "index":
        found = make_index(path, framer, jobs=2).count
    elif what == "by number":
        archive = Archive(path, framer)
        numbers = random.Random(2).choices(range(len(archive)), k=LOOKS)
        looks = []
        for number in numbers:
            before = time.perf_counter()
            archive[number]
            looks.append(time.perf_counter() - before)
        found = len(archive)
        figures["median_ms"] = sorted(looks)[LOOKS // 2] * 1000
        figures["worst_ms"] = max(looks) * 1000
    else:
        results = process(plan(path, framer), count, jobs=int(what.split(maxsplit=1)[0]))
        found = sum(results)
        figures["walked_twice_mib"] = results.walked_twice / (1 << 20)
    figures["wall"] = time.perf_counter() - started
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    figures["cpu"] = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    figures["rss_mib"] = max(usage.ru_maxrss for usage in usages) / 1024
    figures["frames"] = found
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024, help="MiB of each archive")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/framestream-archives"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.folder, *options.only)))
        return
    options.folder.mkdir(exist_ok=True)
    make(options.folder, options.size)
    # As after an installation: without bytecode, each process would compile for 50 ms first.
    compileall.compile_dir(Path(framestream.__file__).parent, quiet=1)
    print(f"{'archive':<10}{'what':<14}{'wall s':>8}{'cpu s':>8}{'MiB held':>10}{'wall, of':>14}")
    for name in FRAMERS:
        kept: dict[str, dict[str, float]] = {}
        for what in ("iter_frames", "1 process", "2 processes", "index", "by number"):
            command = [sys.executable, __file__, "--folder", options.folder, "--only", name, what]
            rounds = options.rounds if what != "by number" else 1
            results = [json.loads(subprocess.check_output(command)) for _ in range(rounds)]
            kept[what] = best = min(results, key=lambda figures: figures["wall"])
            beside = {"1 process": "iter_frames", "2 processes": "1 process"}.get(what)
            ratio = f"{best['wall'] / kept[beside]['wall']:.2f} {beside}" if beside else ""
            more = f"  median {best['median_ms']:.2f} ms, worst {best['worst_ms']:.2f}" if "median_ms" in best else ""
            more += f"  {best['walked_twice_mib']:.0f} MiB twice" if best.get("walked_twice_mib") else ""
            figures = f"{best['wall']:>8.2f}{best['cpu']:>8.2f}{best['rss_mib']:>10.0f}"
            print(f"{name:<10}{what:<14}{figures}{ratio:>20}{more}", flush=True)
        assert len({figures["frames"] for figures in kept.values()}) == 1


if __name__ == "__main__":
    main()
