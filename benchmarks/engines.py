#!/usr/bin/env python3
"""Count the same JSON lines with framestream's plugins on Dask and Ray, and with what the engines bring.

Run ``python benchmarks/engines.py`` where the engines are installed; those that are missing are left out.
Every contender gets the same file and two worker processes that are there before, and gives how many rows
there are and the sum of one column. Rounds alternate between contenders; the fastest counts. The rows are
compared with what one process reads, so a contender that cuts lines wrongly shows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from framestream import Line, Mapped, iter_frames

Counted = tuple[int, int]
PARTS = 4
RECORDS = Mapped(Line(), json.loads)


def write(path: Path, size: int) -> None:
    """Write JSON lines; one in a hundred has a line separator (U+2028) in a string, as JSON allows."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        number = 0
        while number % 1000 or file.tell() < size:
            text = "\u2028 word " if chance.random() < 0.01 else "words "
            record = {"id": number, "value": chance.randrange(1000), "text": text * chance.randrange(1, 20)}
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            number += 1


def total(rows: Iterator[dict]) -> Counted:
    count = value = 0
    for row in rows:
        count += 1
        value += row["value"]
    return count, value


def one_process(path: Path) -> Counted:
    return total(iter_frames(path, RECORDS))


def totals(partition: Iterator[dict]) -> list[Counted]:
    return [total(partition)]


def loaded(lines: Iterator[str]) -> list[Counted]:
    return [total(map(json.loads, lines))]


def summed(parts: list[Counted]) -> Counted:
    return sum(count for count, _ in parts), sum(value for _, value in parts)


Contender = Callable[[Path], Counted]


@contextmanager
def on_dask() -> Iterator[dict[str, Contender]]:
    import dask.bag
    import pandas
    from distributed import Client, LocalCluster
    from framestream_dask import read_dataframe, read_frames

    def bag(path: Path) -> Counted:
        size = -(-path.stat().st_size // PARTS)
        return summed(read_frames(path, RECORDS, size=size).map_partitions(totals).compute())

    def dataframe(path: Path) -> Counted:
        frame = read_dataframe(path, RECORDS, parts=PARTS)
        parts = frame.map_partitions(column, meta={"count": int, "value": int}).compute()
        return int(parts["count"].sum()), int(parts["value"].sum())

    def column(part: pandas.DataFrame) -> pandas.DataFrame:
        return pandas.DataFrame({"count": [len(part)], "value": [part.value.sum()]})

    def read_text(path: Path) -> Counted:
        lines = dask.bag.read_text(str(path), blocksize=-(-path.stat().st_size // PARTS))
        return summed(lines.map_partitions(loaded).compute())

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        yield {
            "Dask: framestream_dask.read_frames": bag,
            "Dask: framestream_dask.read_dataframe": dataframe,
            "Dask: bag.read_text, json.loads": read_text,
        }


@contextmanager
def on_ray() -> Iterator[dict[str, Contender]]:
    import pyarrow.compute
    import ray
    from framestream_ray import read_frames

    def dataset(path: Path) -> Counted:
        return gathered(read_frames(path, RECORDS, parts=PARTS).map_batches(added, batch_format="pyarrow"))

    def added(table: pyarrow.Table) -> dict:
        return {"count": [table.num_rows], "value": [pyarrow.compute.sum(table["value"]).as_py()]}

    def read_text(path: Path) -> Counted:
        return gathered(ray.data.read_text(str(path)).map_batches(parsed))

    def parsed(batch: dict) -> dict:
        values = []
        for text in batch["text"]:
            try:
                values.append(json.loads(text)["value"])
            except ValueError:  # half of a line
                values.append(0)
        return {"count": [len(values)], "value": [sum(values)]}

    def gathered(parts: ray.data.Dataset) -> Counted:
        return summed([(row["count"], row["value"]) for row in parts.take_all()])

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    ray.init(
        num_cpus=2,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield {
            "Ray: framestream_ray.read_frames": dataset,
            "Ray: read_text, json.loads": read_text,
        }
    finally:
        ray.shutdown()


@contextmanager
def on_arrow() -> Iterator[dict[str, Contender]]:
    import pyarrow.compute
    import pyarrow.json

    def reader(path: Path) -> Counted:
        table = pyarrow.json.read_json(path)
        return table.num_rows, pyarrow.compute.sum(table["value"]).as_py()

    pyarrow.set_cpu_count(2)
    yield {"pyarrow.json.read_json (C++, two threads, all in memory)": reader}


ENGINES = {"dask": on_dask, "ray": on_ray, "pyarrow": on_arrow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="size of the file in MiB (256)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "lines.json"
        write(path, arguments.size << 20)
        contenders: dict[str, Contender] = {"one process: iter_frames, json.loads": one_process}
        for engine in arguments.engines:
            if find_spec(engine) is None:
                print(f"{engine} is not installed")
                continue
            contenders |= stack.enter_context(ENGINES[engine]())
        expected = one_process(path)
        best = dict.fromkeys(contenders, float("inf"))
        told = dict.fromkeys(contenders, "the same")
        for _ in range(arguments.rounds):
            for name, run in contenders.items():
                started = time.perf_counter()
                try:
                    found = run(path)
                except Exception as error:  # noqa: BLE001
                    told[name] = f"fails: {str(error).strip().splitlines()[-1][:80]}"
                else:
                    best[name] = min(best[name], time.perf_counter() - started)
                    told[name] = "the same" if found == expected else f"{found[0]}, not {expected[0]}"
        print(f"{path.stat().st_size / (1 << 20):.0f} MiB, {expected[0]} lines\n")
        print("| contender | seconds | MiB/s | rows |\n|---|---:|---:|---|")
        for name, seconds in best.items():
            figures = "| |" if seconds == float("inf") else f"{seconds:.1f} | {arguments.size / seconds:.0f} |"
            print(f"| {name} | {figures} {told[name]} |")


if __name__ == "__main__":
    main()
