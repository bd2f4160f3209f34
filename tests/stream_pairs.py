"""Pairs of streams over each kind of transport, for tests that hold for all of them."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest
from certificates import certificates
from cutting import refused  # noqa: F401 - tests of streams have it from here

from framestream import FrameTooLarge, IOStream, PayloadError, StreamClosed
from framestream.testing import memory_stream_pair
from framestream.transport import LoopTransport, PipeTransport

KINDS = ["tcp", "unix", "tls", "pipe", "memory"]
once = pytest.mark.asyncio_only  # for what neither a loop nor a system has a part in
needs_watching = pytest.mark.watching  # for pipes, and for what is asked of a socket inside a read


def tcp_sockets():
    """Return two sockets joined by a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    return first, second


def pipe_transports():
    """Return two transports joined by two pipes."""
    there, back = os.pipe(), os.pipe()
    return PipeTransport(back[0], there[1]), PipeTransport(there[0], back[1])


def transports(kind):
    if kind == "tcp" or kind == "tls":
        return tcp_sockets()
    return socket.socketpair() if kind == "unix" else pipe_transports()


async def connected(kind, **options):
    """Return two streams joined by this kind of transport."""
    if kind == "memory":
        return memory_stream_pair(**options)
    client, server = (IOStream(transport, **options) for transport in transports(kind))
    if isinstance(client.transport, LoopTransport):
        await passes(5)  # by then the loop has made its own
    if kind == "tls":
        await tls_between(client, server)
    return client, server


async def tls_between(client, server):
    keys = certificates()
    await asyncio.gather(
        client.start_tls(keys.client(), server_hostname="localhost"), server.start_tls(keys.server(), server_side=True)
    )


@asynccontextmanager
async def joined(kind, **options):
    """Give two streams joined by this kind of transport, and close them at the end."""
    client, server = await connected(kind, **options)
    try:
        yield client, server
    finally:
        client.close()
        server.close()


async def passes(count=3):
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    """Let the loop go round until this is true; what takes long may be a process that needs the processor."""
    for turn in count():
        if condition():
            return
        await asyncio.sleep(0 if turn < 1000 else 0.001)


async def count_turns(turns, waiting):
    """Wait for this; meanwhile a list grows by one in every pass of the loop."""
    task = asyncio.ensure_future(waiting)
    while not task.done():
        turns.append(None)
        await asyncio.sleep(0)
    await task


async def begun(waiting):
    """Return a task that waits for this, and has begun to."""
    task = asyncio.ensure_future(waiting)
    await passes()
    return task


async def cancelled(task):
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


async def raised(kind, call, *arguments, match=None, **options):
    """Return the error of this kind that something awaited raises: what is called, or a task."""
    with pytest.raises(kind, match=match) as caught:
        await (call(*arguments, **options) if callable(call) else call)
    return caught.value


def logged(caplog, logger="framestream"):
    """Return what was logged of ours, but for what asyncio's debug mode says about slow machines."""
    return [record.getMessage() for record in caplog.records if record.name == logger]


# Ways to read a stream to its end; each hands every frame to a function, and is over when the stream is.


async def by_reads(stream, condition, note):
    with suppress(StreamClosed):
        while True:
            with suppress(PayloadError, FrameTooLarge):
                note(await stream.read(condition))


async def by_iteration(stream, condition, note):
    async for frame in stream.frames(condition):
        note(frame)


async def by_batches(stream, condition, note):
    async for frames in stream.batches(condition):
        for frame in frames:
            note(frame)


async def by_handler(stream, condition, note):
    stream.on_frame(condition, note)
    await stream.wait_closed()


async def by_chained_reads(stream, condition, note):
    def on_frame(frame):
        note(frame)
        stream.read(condition, callback=on_frame)

    stream.read(condition, callback=on_frame)
    await stream.wait_closed()


def reset_on_close(sock):
    """Have the system reset the connection when this socket is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(stream, error=None):
    """Close a TCP stream so that its peer sees a reset."""
    reset_on_close(stream.transport.socket)
    stream.close(error)
