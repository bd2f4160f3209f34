"""What streams cost: memory for each that waits, nothing for those that are gone, little for bulk."""

import asyncio
import gc
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from conftest import LOOPS
from loopback import open_descriptors
from stream_pairs import connected, passes

from framestream import Line, StreamClosed

pytestmark = pytest.mark.slow


async def receive_from(stream):
    with suppress(StreamClosed):
        await stream.read(Line())


IDLE = """
import asyncio, gc, socket, sys, tracemalloc
from framestream import IOStream, Line, StreamClosed

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.install()


async def receive_from(stream):
    await stream.read(Line(last=False))


async def main(count):
    pairs = [socket.socketpair() for _ in range(count)]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    streams = [IOStream(first) for first, _ in pairs]
    tasks = [asyncio.ensure_future(receive_from(stream)) for stream in streams]
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    print((after - before) // count)
    for stream in streams:
        stream.close()
    await asyncio.gather(*tasks, return_exceptions=True)


asyncio.run(main(4000))
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_an_idle_connection_with_a_read_pending_costs_at_most_three_and_a_half_kib(loop):
    # Measuring coverage has a price per frame of a coroutine.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", IDLE, loop]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=plain)
    assert int(ran.stdout) <= 3584


async def converse(kind):
    client, server = await connected(kind)
    client.set_close_callback(lambda: None)
    client.send("ping", Line())
    await server.read(Line())
    await server.send("pong", Line())
    await client.read(Line())
    await server.aclose()
    await client.aclose()


@pytest.mark.no_debug
@pytest.mark.parametrize(("kind", "count"), [("unix", 1000), ("tls", 50), ("pipe", 200), ("memory", 200)])
async def test_nothing_leaks_over_many_connections(kind, count):
    for _ in range(20):
        await converse(kind)
    await passes(10)
    gc.collect()
    files, objects, tasks = open_descriptors(), len(gc.get_objects()), len(asyncio.all_tasks())
    for _ in range(count):
        await converse(kind)
    await passes(10)
    gc.collect()
    assert files == open_descriptors()
    assert len(gc.get_objects()) - objects < 200
    assert tasks == len(asyncio.all_tasks())


GROWTH = """
import asyncio, resource, socket, sys
from framestream import Available, IOStream, LengthPrefix, StreamClosed

SIZE = 100 << 20
BLOCK = bytes(1 << 20)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def send(stream):
    await stream.write(SIZE.to_bytes(8, "big"))
    for _ in range(SIZE // len(BLOCK)):
        await stream.write(BLOCK)
    await stream.aclose()


async def receive(stream):
    count = 0
    async with stream.open_frame(LengthPrefix(8)) as body:
        async for part in body:
            count += len(part)
    return count


async def relay(source, sink):
    try:
        while True:
            await sink.write(await source.read(Available()))
    except StreamClosed:
        await sink.aclose()


async def main(how):
    pairs = [socket.socketpair() for _ in range(2)]
    (sender, source), (sink, receiver) = [[IOStream(end) for end in pair] for pair in pairs]
    await sender.write(BLOCK[:100_000])
    await source.read_bytes(100_000)
    before = peak()
    if how == "relay":
        counts = await asyncio.gather(send(sender), relay(source, sink), receive(receiver))
    else:
        counts = await asyncio.gather(send(sender), receive(source))
    assert counts[-1] == SIZE, counts
    print(peak() - before)


asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["open_frame", "relay"])
def test_much_passes_in_less_than_4_mib(how):
    ran = subprocess.run([sys.executable, "-c", GROWTH, how], capture_output=True, text=True, check=True, timeout=120)
    assert int(ran.stdout) < 4 << 20
