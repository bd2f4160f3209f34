"""What goes wrong around a server, and what must not leak."""

import asyncio
import gc
import os
import resource
import socket

import pytest

from framestream import IOStream, Line, StreamClosed, connect, serve

LINE = Line()


async def echo(stream):
    async for line in stream.frames(LINE):
        await stream.send(line, LINE)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


async def test_a_server_out_of_descriptors_serves_when_it_has_some_again(caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with await serve(echo, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as first:
            await until(lambda: server.stats.open)
            host, _, port = server.addresses[0].rpartition(":")
            with socket.socket() as second:
                second.setblocking(False)
                second.connect_ex((host, int(port)))
                with open(os.devnull) as probe:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
                try:
                    await until(lambda: server.stats.accept_failures)
                    # What is open goes on meanwhile.
                    await first.send("hello", LINE)
                    assert "hello" == await first.read(LINE)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await first.aclose()  # one descriptor is free: no need to wait for the pause to be over
                await until(lambda: server.stats.accepted == 2)
    assert any("cannot accept for now: [Errno 24] " in record.getMessage() for record in caplog.records)


async def test_a_connection_reset_while_its_handler_reads_is_the_peers_doing():
    async with await serve(echo, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            await until(lambda: server.stats.open)
            client.channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: not server.stats.open)
        assert (1, 0) == (server.stats.peer_failures, server.stats.handler_failures)


async def test_a_peer_that_never_reads_is_cut_off_when_writing_takes_too_long():
    async def flood(stream):
        while True:
            await stream.send("x" * 100_000, LINE)

    async with await serve(flood, "tcp://127.0.0.1:0", write_timeout=0.05) as server:
        async with await connect(server.url):
            await until(lambda: server.stats.peer_failures)
        assert 0 == server.stats.handler_failures


async def test_a_peer_that_says_nothing_is_cut_off_when_idling_takes_too_long():
    async with await serve(echo, "tcp://127.0.0.1:0", idle_timeout=0.02) as server:
        async with await connect(server.url) as client:
            with pytest.raises(StreamClosed):
                await client.read(LINE)
        assert 1 == server.stats.peer_failures


async def test_a_handler_that_cancels_itself_costs_its_connection_only():
    async def give_up(stream):
        asyncio.current_task().cancel()
        await stream.read(LINE)

    async with await serve(give_up, "tcp://127.0.0.1:0") as server:
        for _ in range(2):
            async with await connect(server.url) as client:
                with pytest.raises(StreamClosed):
                    await client.read(LINE)
        await until(lambda: not server.stats.open)


async def test_a_connection_that_is_cancelled_before_it_had_a_turn_is_closed(caplog):
    server = await serve(echo, "tcp://127.0.0.1:0", drain_timeout=0)
    host, _, port = server.addresses[0].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        before = asyncio.all_tasks()
        server.close()  # accepts what waits in the backlog
        (stream,) = server.streams
        (task,) = asyncio.all_tasks() - before
        task.cancel()  # as asyncio.run does on Ctrl-C
        await server.aclose()
        assert stream.closed()
        assert b"" == client.recv(1)
    assert (1, 0) == (server.stats.accepted, server.stats.open)
    assert "the time to drain is over" not in caplog.text


def test_a_loop_closed_under_a_stream_leaves_a_stream_that_can_be_closed():
    before = open_descriptors()
    ours, theirs = socket.socketpair()
    loop = asyncio.new_event_loop()

    async def make():
        stream = IOStream(ours)
        stream.write(b"x" * 10_000_000)  # more than the socket takes
        reading = asyncio.ensure_future(stream.read(LINE))
        await asyncio.sleep(0)
        return stream, reading

    stream, reading = loop.run_until_complete(make())
    loop.close()
    stream.close()
    stream.close()
    assert stream.closed()
    theirs.close()
    reading._log_destroy_pending = False  # its loop is gone: nobody can finish it
    del stream, reading
    assert before == open_descriptors()


@pytest.mark.no_debug
async def test_nothing_is_left_of_ten_thousand_connections(tmp_path):
    async def converse(_):
        async with await connect(server.url) as client:
            await client.send("hello", LINE)
            assert "hello" == await client.read(LINE)

    async def connections(count):
        for _ in range(0, count, 50):
            await asyncio.gather(*map(converse, range(50)))
        await until(lambda: not server.stats.open)
        gc.collect()
        return open_descriptors(), len(asyncio.all_tasks()), len(gc.get_objects())

    async with await serve(echo, f"unix:{tmp_path}/socket") as server:
        descriptors, tasks, objects = await connections(500)
        assert (descriptors, tasks) == (left := await connections(9_500))[:2]
        assert left[2] - objects < 500  # not one object for every twenty connections
    assert 10_000 == server.stats.accepted
