"""Cut the same bytes in process: framestream beside hand-written loops and other frameworks' parsers.

Run ``python benchmarks/in_process.py`` (extra ``bench`` for the peers; those that are missing are left
out). Every contender gets the bytes in the same 64 KiB chunks and touches every frame once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import platform
import struct
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import msgpack

from framestream import (
    NEED_DATA,
    Delimiter,
    Exactly,
    FrameDecoder,
    LengthPrefix,
    Line,
    Msgpack,
    ReadCondition,
    Regex,
)

FRAMES = 16_384
CHUNK = 65_536
COMPILED = not inspect.isfunction(FrameDecoder.receive_data)

# Each contender does all of the work and returns how many frames it saw.
Contenders = dict[str, Callable[[], int]]


class Workload(NamedTuple):
    title: str
    contenders: Contenders
    reference: str


def interpreter() -> str:
    """Say which interpreter the figures are from: builds without PGO differ by up to two times."""
    build = "compiled" if COMPILED else "pure Python"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python} on {platform.machine()}, framestream as {build}"


def race(contenders: Contenders, rounds: int = 15) -> dict[str, float]:
    """Run all contenders in turn, `rounds` times over; return the best CPU time of each, in ns per frame."""
    for name, run in contenders.items():
        seen = run()
        if seen != FRAMES:
            raise AssertionError(f"{name} saw {seen} frames of {FRAMES}")
    best = dict.fromkeys(contenders, float("inf"))
    gc.disable()
    try:
        for _ in range(rounds):
            for name, run in contenders.items():
                started = time.process_time_ns()
                run()
                best[name] = min(best[name], (time.process_time_ns() - started) / FRAMES)
            gc.collect()
    finally:
        gc.enable()
    return best


def table(workload: Workload, figures: dict[str, float]) -> str:
    """Return the figures as a Markdown table; ratios are against the workload's reference."""
    base = figures[workload.reference]
    lines = [f"### {workload.title}", "", "| contender | CPU per frame, ns | ratio |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {figure:.0f} | {figure / base:.2f} |"
        for name, figure in sorted(figures.items(), key=lambda item: item[1])
    ]
    return "\n".join(lines) + "\n"


def chunks_of(data: bytes) -> list[bytes]:
    return [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]


# framestream


def by_batch(condition: ReadCondition[Any], chunks: list[bytes]) -> Callable[[], int]:
    def run() -> int:
        decoder = FrameDecoder()
        count = 0
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (batch := decoder.next_batch(condition)) is not NEED_DATA:
                for _frame in batch:
                    count += 1
        return count

    return run


def one_at_a_time(condition: ReadCondition[Any], chunks: list[bytes]) -> Callable[[], int]:
    def run() -> int:
        decoder = FrameDecoder()
        count = 0
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(condition) is not NEED_DATA:
                count += 1
        return count

    return run


def in_turn(first: ReadCondition[Any], second: ReadCondition[Any], chunks: list[bytes]) -> Callable[[], int]:
    def run() -> int:
        decoder = FrameDecoder()
        count = 0
        condition, other = first, second
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(condition) is not NEED_DATA:
                count += 1
                condition, other = other, condition
        return count

    return run


# Written by hand


def split_lines(chunks: list[bytes]) -> int:
    count = 0
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for _line in lines:
            count += 1
    return count


def unpack_lengths(chunks: list[bytes]) -> int:
    unpack_from = struct.Struct(">I").unpack_from
    count = 0
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        position, size = 0, len(data)
        frames = []
        append = frames.append
        while size - position >= 4:
            start = position + 4
            end = start + unpack_from(data, position)[0]
            if end > size:
                break
            append(data[start:end])
            position = end
        rest = data[position:]
        for _frame in frames:
            count += 1
    return count


def bare_unpacker(chunks: list[bytes]) -> int:
    unpacker = msgpack.Unpacker()
    count = 0
    for chunk in chunks:
        unpacker.feed(chunk)
        for _frame in unpacker:
            count += 1
    return count


def unpacker_into_lists(chunks: list[bytes]) -> int:
    # A batch is a list: keeping its objects alive costs what the bare loop, which drops each at once, saves.
    unpacker = msgpack.Unpacker()
    count = 0
    for chunk in chunks:
        unpacker.feed(chunk)
        batch = list(unpacker)
        for _frame in batch:
            count += 1
    return count


# asyncio


def stream_reader(read: Callable[[asyncio.StreamReader], Any], chunks: list[bytes], each: int) -> Callable[[], int]:
    """Feed a StreamReader one chunk at a time and read while whole frames are there."""

    async def main() -> int:
        reader = asyncio.StreamReader(limit=1 << 20)
        count = fed = taken = 0
        for chunk in chunks:
            reader.feed_data(chunk)
            fed += len(chunk)
            while fed - taken >= each:
                await read(reader)
                taken += each
                count += 1
        return count

    return lambda: asyncio.run(main())


# Twisted and EasyNetwork


def twisted_lines(chunks: list[bytes]) -> Callable[[], int]:
    from twisted.protocols.basic import LineOnlyReceiver

    class Receiver(LineOnlyReceiver):
        delimiter = b"\n"
        count = 0

        def lineReceived(self, line: bytes) -> None:
            self.count += 1

    return lambda: _fed(Receiver(), chunks)


def twisted_lengths(chunks: list[bytes]) -> Callable[[], int]:
    from twisted.protocols.basic import Int32StringReceiver

    class Receiver(Int32StringReceiver):
        count = 0

        def stringReceived(self, string: bytes) -> None:
            self.count += 1

    return lambda: _fed(Receiver(), chunks)


def _fed(receiver: Any, chunks: list[bytes]) -> int:
    from twisted.internet.testing import StringTransport

    receiver.makeConnection(StringTransport())
    for chunk in chunks:
        receiver.dataReceived(chunk)
    count: int = receiver.count
    return count


def easynetwork_lines(chunks: list[bytes]) -> Callable[[], int]:
    from easynetwork.lowlevel._stream import StreamDataConsumer
    from easynetwork.protocol import StreamProtocol
    from easynetwork.serializers import StringLineSerializer

    def run() -> int:
        consumer = StreamDataConsumer(StreamProtocol(StringLineSerializer()))
        count = 0
        for chunk in chunks:
            data: bytes | None = chunk
            while True:
                try:
                    consumer.next(data)
                except StopIteration:
                    break
                data = None
                count += 1
        return count

    return run


# The workloads


def lines() -> Workload:
    chunks = chunks_of((b"x" * 63 + b"\n") * FRAMES)
    newline = Delimiter(b"\n")
    contenders: Contenders = {
        "bytes.split and a loop, by hand": lambda: split_lines(chunks),
        "framestream, by batch": by_batch(newline, chunks),
        "framestream, one at a time": one_at_a_time(newline, chunks),
        "asyncio StreamReader.readuntil": stream_reader(lambda r: r.readuntil(b"\n"), chunks, 64),
    }
    if find_spec("twisted"):
        contenders["Twisted LineOnlyReceiver"] = twisted_lines(chunks)
    if find_spec("easynetwork"):
        contenders["EasyNetwork StringLineSerializer"] = easynetwork_lines(chunks)
    return Workload("Lines of 64 bytes", contenders, "bytes.split and a loop, by hand")


def lengths() -> Workload:
    chunks = chunks_of((struct.pack(">I", 60) + b"x" * 60) * FRAMES)
    prefix = LengthPrefix(4)

    async def read(reader: asyncio.StreamReader) -> bytes:
        size = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(size, "big"))

    contenders: Contenders = {
        "unpack_from loop, by hand": lambda: unpack_lengths(chunks),
        "framestream, by batch": by_batch(prefix, chunks),
        "framestream, one at a time": one_at_a_time(prefix, chunks),
        "asyncio StreamReader.readexactly twice": stream_reader(read, chunks, 64),
    }
    if find_spec("twisted"):
        contenders["Twisted Int32StringReceiver"] = twisted_lengths(chunks)
    return Workload("Length-prefixed frames of 64 bytes", contenders, "unpack_from loop, by hand")


def records() -> Workload:
    chunks = chunks_of(b"x" * 64 * FRAMES)
    exactly = Exactly(64)
    contenders: Contenders = {
        "framestream, one at a time": one_at_a_time(exactly, chunks),
        "framestream, by batch": by_batch(exactly, chunks),
        "asyncio StreamReader.readexactly": stream_reader(lambda r: r.readexactly(64), chunks, 64),
    }
    return Workload("Exactly 64 bytes", contenders, "asyncio StreamReader.readexactly")


def conversation() -> Workload:
    chunks = chunks_of((b"x" * 63 + b"\n") * FRAMES)
    turn = 0

    async def read(reader: asyncio.StreamReader) -> None:
        nonlocal turn
        turn = 1 - turn
        await (reader.readuntil(b"\n") if turn else reader.readexactly(64))

    contenders: Contenders = {
        "framestream": in_turn(Delimiter(b"\n"), Exactly(64), chunks),
        "asyncio StreamReader": stream_reader(read, chunks, 64),
    }
    return Workload("A line, then exactly 64 bytes, in turn", contenders, "asyncio StreamReader")


def objects() -> Workload:
    chunks = chunks_of(msgpack.packb({"id": 7, "op": "get", "key": "some key", "flags": [1, 2]}) * FRAMES)
    contenders: Contenders = {
        "bare msgpack.Unpacker": lambda: bare_unpacker(chunks),
        "bare msgpack.Unpacker, a list per chunk": lambda: unpacker_into_lists(chunks),
        "framestream, by batch": by_batch(Msgpack(), chunks),
        "framestream, one at a time": one_at_a_time(Msgpack(), chunks),
    }
    return Workload("msgpack maps of 4 keys", contenders, "bare msgpack.Unpacker, a list per chunk")


def heads() -> Workload:
    record = b"".join(b"header-%d: some value of it\r\n" % i for i in range(7))[:200] + b"\r\n\r\n"
    chunks = chunks_of(record * FRAMES)
    blank = Regex(rb"\r?\n\r?\n")
    contenders: Contenders = {
        "framestream, by batch": by_batch(blank, chunks),
        "framestream, one at a time": one_at_a_time(blank, chunks),
        "asyncio StreamReader.readuntil": stream_reader(lambda r: r.readuntil(b"\r\n\r\n"), chunks, len(record)),
    }
    title = f"Records of {len(record)} bytes to a blank line"
    return Workload(title, contenders, "asyncio StreamReader.readuntil")


def made() -> Workload:
    """Lines by a framer that is kept, and by one that is made in each call, as the pages write it."""
    chunks = chunks_of((b"x" * 63 + b"\n") * FRAMES)

    def made_in_the_call() -> int:
        decoder = FrameDecoder()
        count = 0
        for chunk in chunks:
            decoder.receive_data(chunk)
            while decoder.next_frame(Line()) is not NEED_DATA:
                count += 1
        return count

    contenders: Contenders = {"kept": one_at_a_time(Line(), chunks), "made in the call": made_in_the_call}
    return Workload("next_frame(Line())", contenders, "kept")


WORKLOADS = {workload.__name__: workload for workload in (lines, lengths, records, conversation, objects, heads, made)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="*", help=f"workloads: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=15, help="times each contender runs (default: 15)")
    options = parser.parse_args()
    print(f"{interpreter()}, {FRAMES} frames in chunks of {CHUNK} bytes, best of {options.rounds}\n")
    for name in options.only or WORKLOADS:
        workload = WORKLOADS[name]()
        print(table(workload, race(workload.contenders, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
