"""Cancelling any wait loses nothing and leaves the stream usable."""

import asyncio
import random

import pytest
from stream_pairs import joined, passes

from framestream import Available, Exactly, LengthPrefix, Line, UntilClose
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop

LARGE = random.Random(1).randbytes(300_000)
CONVERSATION = (
    b"hello\n"
    + (5).to_bytes(4, "big")
    + b"world"
    + b"12345678"
    + b"key: value\r\n\r\n"
    + b"into this buffer"
    + len(LARGE).to_bytes(4, "big")
    + LARGE
    + b"a\nb\nc\n"
    + b"1234567890"
    + b"tail"
)


async def frames_of(stream, count):
    got = []
    async for line in stream.frames(Line()):
        got.append(line)
        if len(got) == count:
            return got
    return got


async def into(stream):
    buffer = bytearray(16)
    await stream.read_into(buffer)
    return bytes(buffer)


# Each of these waits, when its bytes trickle in.
STEPS = [
    lambda s: s.read(Line()),
    lambda s: s.peek(4),
    lambda s: s.read(LengthPrefix(4)),
    lambda s: s.read_bytes(8),
    lambda s: s.read_until_regex(rb"\r\n\r\n"),
    into,
    lambda s: s.read(LengthPrefix(4)),
    lambda s: frames_of(s, 1),
    lambda s: s.read_until(b"\n"),
    lambda s: frames_of(s, 1),
    lambda s: s.read(Exactly(10)),
    lambda s: s.read_bytes(4),
]


async def transcript(stream, cancel_at):
    """Do all steps; cancel each wait whose number is in `cancel_at`, and do that step again."""
    got, waits, number = [], 0, 0
    while number < len(STEPS):
        task = asyncio.ensure_future(STEPS[number](stream))
        while not task.done():
            if waits in cancel_at:
                waits += 1
                task.cancel()
            await asyncio.sleep(0)
            waits += 1
        if task.cancelled():
            continue
        got.append(task.result())
        number += 1
    return got, waits


async def dripping(wire, cancel_at):
    client, server = memory_stream_pair(wire)
    client.write(CONVERSATION)
    try:
        return await transcript(server, cancel_at)
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("chunks", [[1, 2, 3, 50_000], [7, 100_000], [4, 65536]], ids=str)
async def test_cancelling_at_any_wait_changes_no_answer(chunks):
    wire = Wire(chunks=chunks, blocks=[True, False, False])
    expected, waits = await dripping(wire, ())
    assert [LARGE] == [frame for frame in expected if len(frame) == len(LARGE)]
    for at in range(waits):
        got, _ = await dripping(wire, {at})
        assert expected == got, f"cancelled at wait {at}"


async def test_cancelling_at_many_random_waits_changes_no_answer():
    wire = Wire(chunks=[1, 2, 3, 5000], blocks=[True, False])
    expected, waits = await dripping(wire, ())
    for seed in range(12):
        chosen = random.Random(seed)
        got, _ = await dripping(wire, {at for at in range(3 * waits) if chosen.random() < 0.3})
        assert expected == got


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_a_cancelled_frame_in_parts_is_left_where_it_was(kind):
    async with joined(kind) as (client, server):
        await client.write(b"\x00\x0aabc")
        async with server.open_frame(LengthPrefix(2)) as body:
            assert b"abc" == await body.__anext__()
            for _ in range(3):
                waiting = asyncio.ensure_future(body.__anext__())
                await passes()
                waiting.cancel()
                await asyncio.wait([waiting])
            await client.write(b"defghij")
            assert b"defghij" == b"".join([part async for part in body])


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_a_cancelled_write_still_leaves(kind):
    async with joined(kind) as (client, server):
        data = random.Random(2).randbytes(5 << 20)
        writing = asyncio.ensure_future(client.write(data))
        await passes()
        writing.cancel()
        await asyncio.wait([writing])
        client.write(b"behind")
        assert data + b"behind" == await server.read_bytes(len(data) + 6)


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_cancelling_around_the_moment_the_frame_arrives_loses_nothing(kind):
    async with joined(kind) as (client, server):
        outcomes = set()
        for count in range(8):
            reading = asyncio.ensure_future(server.read(Line()))
            await passes()
            client.write(b"hello\n")
            await passes(count)
            reading.cancel()
            await asyncio.wait([reading])
            outcomes.add(reading.cancelled())
            assert "hello" == (await server.read(Line()) if reading.cancelled() else reading.result())
        assert {True, False} == outcomes


async def test_a_task_cancelled_in_the_pass_in_which_the_stream_is_closed_loses_nothing():
    client, server = memory_stream_pair()
    client.write(b"rest")
    await passes()
    reading = asyncio.ensure_future(server.read(UntilClose()))
    await passes()
    server.close()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert b"rest" == server.leftover


async def test_a_read_may_be_waited_for_with_asyncio_wait_for():
    async with joined("unix") as (client, server):
        for _ in range(3):
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(server.read(Available()), 0.001)
        await client.write(b"abc")
        assert b"abc" == await asyncio.wait_for(server.read(Available()), 1)
        await asyncio.wait_for(client.write(b"x"), 1)
        await asyncio.wait_for(client.write(b"y"), 1)
