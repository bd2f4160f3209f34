"""Cut the same bytes in process: framestream beside hand-written loops and other frameworks' parsers.

Run ``python benchmarks/in_process.py`` (extra ``bench`` for the peers; those that are missing are left
out). Every contender gets the bytes in the same 64 KiB chunks and touches every frame once.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import msgpack
from timing import Contender, interpreter, race, table

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


def made_in_the_call(chunks: list[bytes]) -> int:
    decoder = FrameDecoder()
    count = 0
    for chunk in chunks:
        decoder.receive_data(chunk)
        while decoder.next_frame(Line()) is not NEED_DATA:
            count += 1
    return count


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


def stream_reader(
    read: Callable[[asyncio.StreamReader], Any], chunks: list[bytes], each: int
) -> Callable[[], int]:
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


def lines() -> Iterator[tuple[str, list[Contender], str]]:
    chunks = chunks_of((b"x" * 63 + b"\n") * FRAMES)
    newline = Delimiter(b"\n")
    contenders = [
        Contender("bytes.split and a loop, by hand", lambda: split_lines(chunks)),
        Contender("framestream, by batch", by_batch(newline, chunks)),
        Contender("framestream, one at a time", one_at_a_time(newline, chunks)),
        Contender("framestream, text, one at a time", one_at_a_time(Line(), chunks)),
        Contender("framestream, text, Line() made in the call", lambda: made_in_the_call(chunks)),
        Contender("asyncio StreamReader.readuntil", stream_reader(lambda r: r.readuntil(b"\n"), chunks, 64)),
    ]
    if find_spec("twisted"):
        contenders.append(Contender("Twisted LineOnlyReceiver", twisted_lines(chunks)))
    if find_spec("easynetwork"):
        contenders.append(Contender("EasyNetwork StringLineSerializer", easynetwork_lines(chunks)))
    yield "Lines of 64 bytes", contenders, "bytes.split and a loop, by hand"


def lengths() -> Iterator[tuple[str, list[Contender], str]]:
    chunks = chunks_of((struct.pack(">I", 60) + b"x" * 60) * FRAMES)
    prefix = LengthPrefix(4)

    async def read(reader: asyncio.StreamReader) -> bytes:
        size = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(size, "big"))

    contenders = [
        Contender("unpack_from loop, by hand", lambda: unpack_lengths(chunks)),
        Contender("framestream, by batch", by_batch(prefix, chunks)),
        Contender("framestream, one at a time", one_at_a_time(prefix, chunks)),
        Contender("asyncio StreamReader.readexactly twice", stream_reader(read, chunks, 64)),
    ]
    if find_spec("twisted"):
        contenders.append(Contender("Twisted Int32StringReceiver", twisted_lengths(chunks)))
    yield "Length-prefixed frames of 64 bytes", contenders, "unpack_from loop, by hand"


def records() -> Iterator[tuple[str, list[Contender], str]]:
    chunks = chunks_of(b"x" * 64 * FRAMES)
    exactly = Exactly(64)
    contenders = [
        Contender("framestream, one at a time", one_at_a_time(exactly, chunks)),
        Contender("framestream, by batch", by_batch(exactly, chunks)),
        Contender("asyncio StreamReader.readexactly", stream_reader(lambda r: r.readexactly(64), chunks, 64)),
    ]
    yield "Exactly 64 bytes", contenders, "asyncio StreamReader.readexactly"


def conversation() -> Iterator[tuple[str, list[Contender], str]]:
    chunks = chunks_of((b"x" * 63 + b"\n") * FRAMES)
    turn = 0

    async def read(reader: asyncio.StreamReader) -> None:
        nonlocal turn
        turn = 1 - turn
        await (reader.readuntil(b"\n") if turn else reader.readexactly(64))

    contenders = [
        Contender("framestream", in_turn(Delimiter(b"\n"), Exactly(64), chunks)),
        Contender("asyncio StreamReader", stream_reader(read, chunks, 64)),
    ]
    yield "A line, then exactly 64 bytes, in turn", contenders, "asyncio StreamReader"


def objects() -> Iterator[tuple[str, list[Contender], str]]:
    chunks = chunks_of(msgpack.packb({"id": 7, "op": "get", "key": "some key", "flags": [1, 2]}) * FRAMES)
    contenders = [
        Contender("bare msgpack.Unpacker", lambda: bare_unpacker(chunks)),
        Contender("bare msgpack.Unpacker, a list per chunk", lambda: unpacker_into_lists(chunks)),
        Contender("framestream, by batch", by_batch(Msgpack(), chunks)),
        Contender("framestream, one at a time", one_at_a_time(Msgpack(), chunks)),
    ]
    yield "msgpack maps of 4 keys", contenders, "bare msgpack.Unpacker, a list per chunk"


def heads() -> Iterator[tuple[str, list[Contender], str]]:
    record = b"".join(b"header-%d: some value of it\r\n" % i for i in range(7))[:200] + b"\r\n\r\n"
    chunks = chunks_of(record * FRAMES)
    blank = Regex(rb"\r?\n\r?\n")
    contenders = [
        Contender("framestream, by batch", by_batch(blank, chunks)),
        Contender("framestream, one at a time", one_at_a_time(blank, chunks)),
        Contender(
            "asyncio StreamReader.readuntil",
            stream_reader(lambda r: r.readuntil(b"\r\n\r\n"), chunks, len(record)),
        ),
    ]
    yield f"Records of {len(record)} bytes to a blank line", contenders, "asyncio StreamReader.readuntil"


WORKLOADS = (lines, lengths, records, conversation, objects, heads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"workloads: {', '.join(w.__name__ for w in WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=15, help="times each contender runs (default: 15)")
    options = parser.parse_args()
    print(f"{interpreter()}, {FRAMES} frames in chunks of {CHUNK} bytes, best of {options.rounds}\n")
    for workload in WORKLOADS:
        if not options.only or workload.__name__ in options.only:
            for title, contenders, reference in workload():
                print(table(title, race(contenders, FRAMES, options.rounds), reference))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
