"""Count HTTP statuses and find the slowest request in an archive of events, with several processes.

    python examples/count_events.py [--size MIB] [--jobs N]

It first writes an archive of msgpack maps, such as a web server might log, and an index beside it, into the current
folder.
"""

import argparse
import random
import time
from collections import Counter
from pathlib import Path

from framestream import Msgpack
from framestream.archives import Archive, Reader, plan, process, write

EVENTS = Msgpack()
STATUSES = [200] * 90 + [304] * 6 + [404] * 3 + [500]


def events(mebibytes):
    """Yield events that take about so many MiB, always the same ones."""
    chance = random.Random(7)
    some = [
        {
            "path": f"/articles/{chance.randrange(10_000)}",
            "status": chance.choice(STATUSES),
            "ms": round(chance.expovariate(1 / 40), 2),
            "user": chance.randrange(100_000),
        }
        for _ in range(20_000)
    ]
    size = sum(len(EVENTS.encode(event)) for event in some)
    for _ in range(-(-(mebibytes << 20) // size)):
        yield from some


def summary(reader: Reader) -> tuple[Counter, float]:
    """Return what one process finds in its part: it is called for each split."""
    statuses, slowest = Counter(), 0.0
    for batch in reader.batches():
        statuses.update([event["status"] for event in batch])
        slowest = max(slowest, *[event["ms"] for event in batch])
    return statuses, slowest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()

    path = Path(f"events-{options.size}.msgpack")
    if not path.exists():
        write(path, events(options.size), EVENTS)

    started = time.perf_counter()
    statuses, slowest = Counter(), 0.0
    for some, worst in process(plan(path, EVENTS), summary, jobs=options.jobs):
        statuses += some
        slowest = max(slowest, worst)
    seconds = time.perf_counter() - started

    for status, count in sorted(statuses.items()):
        print(f"{status}: {count / statuses.total():.1%}")
    print(f"slowest: {slowest} ms")
    archive = Archive(path, EVENTS)
    print(f"in the middle: {archive[len(archive) // 2]['path']}")
    speed = path.stat().st_size / seconds / 1e6
    print(f"{statuses.total()} events, {speed:.0f} MB/s with {options.jobs} processes")


if __name__ == "__main__":
    main()
