"""What streams cost: memory for each that waits, nothing for those that are gone, little for bulk."""

import asyncio
import gc
import socket
from contextlib import suppress

import pytest
from cutting import growth_below
from loopback import open_descriptors
from stream_pairs import connected, joined, passes

from framestream import Available, IOStream, LengthPrefix, Line, StreamClosed

pytestmark = pytest.mark.slow


async def receive_from(stream):
    await stream.read(Line())


@pytest.mark.no_debug
async def test_an_idle_connection_with_a_read_pending_costs_at_most_three_and_a_half_kib():
    count = 4000
    pairs = [socket.socketpair() for _ in range(count)]
    gc.collect()
    with growth_below(3584 * count):
        streams = [IOStream(first) for first, _ in pairs]
        tasks = [asyncio.ensure_future(receive_from(stream)) for stream in streams]
        await passes()
        gc.collect()
    for stream, (_, second) in zip(streams, pairs, strict=True):
        stream.close()
        second.close()
    await asyncio.gather(*tasks, return_exceptions=True)


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


async def send(stream, block, count):
    await stream.write((count * len(block)).to_bytes(8, "big"))
    for _ in range(count):
        await stream.write(block)
    await stream.aclose()


async def relay(source, sink):
    with suppress(StreamClosed):
        while True:
            await sink.write(await source.read(Available()))
    await sink.aclose()


@pytest.mark.no_debug
@pytest.mark.parametrize("way", ["read in parts", "relayed"])
async def test_much_passes_in_less_than_4_mib(way):
    block, received = bytes(1 << 20), 0
    async with joined("unix") as (sender, source), joined("unix") as (sink, receiver):
        with growth_below(4 << 20):
            sending = asyncio.ensure_future(send(sender, block, 100))
            relaying = asyncio.ensure_future(relay(source, sink)) if way == "relayed" else None
            async with (receiver if relaying else source).open_frame(LengthPrefix(8)) as body:
                async for part in body:
                    received += len(part)
            await sending
    assert 100 << 20 == received
    assert relaying is None or await relaying is None
