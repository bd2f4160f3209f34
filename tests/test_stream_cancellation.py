"""What a waiting read is to its task; cancelling any wait loses nothing and leaves the stream usable."""

import asyncio
import contextvars
import random
import sys

import pytest
from stream_pairs import begun, cancelled, joined, passes, raised

from framestream import Exactly, LengthPrefix, Line, StreamClosed, UntilClose
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop
some_kinds = pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
NAME = contextvars.ContextVar("NAME", default="nobody")

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


@pytest.mark.asyncio_only
@pytest.mark.parametrize("chunks", [[1, 2, 3, 50_000], [4, 65536]], ids=str)
async def test_cancelling_at_any_wait_changes_no_answer(chunks):
    wire = Wire(chunks=chunks, blocks=[True, False, False])
    expected, waits = await dripping(wire, ())
    assert [LARGE] == [frame for frame in expected if len(frame) == len(LARGE)]
    for at in range(waits):
        got, _ = await dripping(wire, {at})
        assert expected == got, f"cancelled at wait {at}"


@some_kinds
async def test_a_cancelled_frame_in_parts_is_left_where_it_was(kind):
    async with joined(kind) as (client, server):
        await client.write(b"\x00\x0aabc")
        async with server.open_frame(LengthPrefix(2)) as body:
            assert b"abc" == await body.__anext__()
            for _ in range(3):
                waiting = await begun(body.__anext__())
                await cancelled(waiting)
            await client.write(b"defghij")
            assert b"defghij" == b"".join([part async for part in body])


@some_kinds
async def test_a_cancelled_write_still_leaves(kind):
    async with joined(kind) as (client, server):
        data = random.Random(2).randbytes(5 << 20)
        writing = await begun(client.write(data))
        await cancelled(writing)
        client.write(b"behind")
        assert data + b"behind" == await server.read_bytes(len(data) + 6)


@some_kinds
async def test_cancelling_around_the_moment_the_frame_arrives_loses_nothing(kind):
    async with joined(kind) as (client, server):
        outcomes = set()
        for count in range(8):
            reading = await begun(server.read(Line()))
            client.write(b"hello\n")
            await passes(count)
            await cancelled(reading)
            outcomes.add(reading.cancelled())
            assert "hello" == (await server.read(Line()) if reading.cancelled() else reading.result())
        assert {True, False} == outcomes


@pytest.mark.asyncio_only
async def test_a_task_cancelled_in_the_pass_in_which_the_stream_is_closed_loses_nothing():
    client, server = memory_stream_pair()
    client.write(b"rest")
    await passes()
    reading = await begun(server.read(UntilClose()))
    server.close()
    await cancelled(reading)
    assert reading.cancelled()
    assert b"rest" == server.leftover


class Steps:
    """What a task awaits, as its loop sees it: every step of the task is one `send`."""

    def __init__(self, coroutine):
        self.coroutine = coroutine
        self.count = 0

    def __await__(self):
        while True:
            self.count += 1
            try:
                waited = self.coroutine.send(None)
            except StopIteration as end:
                return end.value
            yield waited


@pytest.mark.asyncio_only
@pytest.mark.parametrize(
    ("wire", "size"), [(Wire(chunks=[1]), 50), (Wire(chunks=[1000], blocks=[False, True]), 300_000)], ids=str
)
async def test_a_frame_that_trickles_in_runs_its_task_once(wire, size):
    client, server = memory_stream_pair(wire, framer=LengthPrefix(4))

    async def read(steps):
        return await steps

    task = await begun(read(steps := Steps(server.read())))
    client.send(b"x" * size)
    assert b"x" * size == await task
    assert 2 == steps.count
    assert server.stats.waits <= 3


async def test_a_reader_keeps_its_context_and_is_the_current_task():
    async with joined("unix") as (client, server):

        async def read_as(name):
            NAME.set(name)
            await server.read(Line())
            return NAME.get(), asyncio.current_task()

        reading = await begun(read_as("reader"))
        assert "AwaitedRead" in repr(reading)
        NAME.set("writer")
        await client.write(b"line\n")
        assert ("reader", reading) == await reading
        assert "writer" == NAME.get()


@pytest.mark.parametrize("end", ["close", "reset", "frame"])
async def test_a_task_that_is_cancelled_while_it_waits_sees_one_cancellation(end):
    async with joined("unix") as (client, server):
        seen = []

        async def read():
            try:
                await server.read(Line())
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise

        reading = await begun(read())
        reading.cancel("enough")
        if end == "close":
            server.close()
        elif end == "reset":
            client.close()
        else:
            client.write(b"line\n")
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert [("enough",)] == seen
        if end == "frame":
            assert "line" == await server.read(Line())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
@pytest.mark.asyncio_only
async def test_eager_tasks_read_while_the_task_that_made_them_runs():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with joined("unix") as (client, server):

        async def first():
            line = await server.read(Line())
            # This task runs as long as the other begins, waits, and is ended by the close.
            other = asyncio.ensure_future(server.read(Line()))
            server.close()
            await raised(StreamClosed, other)
            return line

        reading = await begun(first())
        await client.write(b"line\n")
        assert "line" == await reading
