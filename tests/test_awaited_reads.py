"""A read that waits is what its task waits for: it runs as soon as there is an answer, and only then."""

import asyncio
import contextvars
import sys

import pytest
from stream_pairs import joined, passes

from framestream import LengthPrefix, Line, StreamClosed
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop
NAME = contextvars.ContextVar("NAME", default="nobody")


async def test_a_frame_that_trickles_in_runs_its_task_once():
    class Noted:
        """What a task awaits, as its loop sees it: every step of the task is one `send`."""

        def __init__(self, coroutine):
            self.coroutine = coroutine
            self.steps = 0

        def __await__(self):
            while True:
                self.steps += 1
                try:
                    waited = self.coroutine.send(None)
                except StopIteration as end:
                    return end.value
                yield waited

    client, server = memory_stream_pair(Wire(chunks=[1]))
    read = Noted(server.read(LengthPrefix(1)))

    async def reading():
        return await read

    task = asyncio.ensure_future(reading())
    await passes()
    client.send(b"x" * 50, LengthPrefix(1))
    assert b"x" * 50 == await task
    assert 2 == read.steps


async def test_a_reader_keeps_its_context():
    async with joined("unix") as (client, server):

        async def read_as(name):
            NAME.set(name)
            await server.read(Line())
            return NAME.get()

        reading = asyncio.ensure_future(read_as("reader"))
        await passes()
        NAME.set("writer")
        await client.write(b"line\n")
        assert "reader" == await reading
        assert "writer" == NAME.get()


async def test_the_current_task_is_the_reader_and_nobody_behind_it():
    async with joined("unix") as (client, server):

        async def read():
            await server.read(Line())
            return asyncio.current_task()

        reading = asyncio.ensure_future(read())
        await passes()
        await client.write(b"line\n")
        assert reading is await reading


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

        reading = asyncio.ensure_future(read())
        await passes()
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


async def test_a_reader_that_closes_its_own_stream_and_reads_on_is_told():
    async with joined("unix") as (client, server):

        async def read():
            await server.read(Line())
            server.close()
            with pytest.raises(StreamClosed):
                await server.read(Line())

        reading = asyncio.ensure_future(read())
        await passes()
        await client.write(b"line\n")
        await reading


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
            with pytest.raises(StreamClosed):
                await other
            return line

        reading = asyncio.ensure_future(first())
        await passes()
        await client.write(b"line\n")
        assert "line" == await reading


async def test_a_task_that_awaits_a_read_can_be_shown():
    async with joined("unix") as (client, server):
        reading = asyncio.ensure_future(server.read(Line()))
        await passes()
        assert "AwaitedRead" in repr(reading)
        await client.write(b"line\n")
        assert "line" == await reading
