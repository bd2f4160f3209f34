"""Handlers that worker processes import."""

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import select
import socket
import time
from pathlib import Path

from framestream import IOStream, Line, server_tls
from framestream.net import connections, workers

if multiprocessing.parent_process() is not None:
    workers.REPORT_INTERVAL = 0.01  # so that tests need not wait for what a worker reports

LINE = Line()


async def answer(stream):
    """Echo lines; ``pid`` is answered with the process id, ``die`` ends the process, ``stay`` waits.

    ``fork`` starts a process that lasts as long as the connection.

    ``leave`` waits until the server leaves.
    """
    async for line in stream.frames(LINE):
        if line == "die":
            os._exit(3)
        if line == "fork" and os.fork() == 0:
            select.select([stream.transport.socket], [], [])
            os._exit(0)
        if line == "leave":
            while stream.server.ready:
                await asyncio.sleep(0)
        if line == "stay":
            await asyncio.sleep(60)
        await stream.send(str(os.getpid()) if line == "pid" else line, LINE)


async def converse(conversation):
    """Answer every frame with the process id."""
    async for _ in conversation:
        await conversation.send(str(os.getpid()))


class Unstartable:
    """A handler that cannot be made in another process: never, or once a file exists.

    If that file is a socket, it can be made when the socket's owner closes the connection.
    """

    def __init__(self, path="/"):
        self.path = path

    async def __call__(self, stream):
        await answer(stream)

    def __reduce__(self):
        return _unless, (self.path,)


class Fickle:
    """A handler that can be sent to a process only so many times, and notes when that was tried."""

    def __init__(self, lasts=1):
        self.lasts = lasts
        self.tried = []

    async def __call__(self, stream):
        pass

    def __reduce__(self):
        self.tried.append(asyncio.get_running_loop().time())
        if len(self.tried) > self.lasts:
            raise ValueError("not again")
        return Fickle, ()


def _unless(path):
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(path)
            gate.recv(1)
    elif os.path.exists(path):
        raise SystemExit(7)
    return Unstartable(path)


async def cling(stream):
    """Answer with the process id, and never end, in a process that is soon out of patience."""
    workers.KILL_DELAY, connections.CANCEL_TIMEOUT = 0.1, 0
    await stream.send(str(os.getpid()), LINE)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def forge(stream):
    """Report to the parent what the client says."""
    (control,) = (it for it in gc.get_objects() if isinstance(it, IOStream) and it is not stream)
    async for line in stream.frames(LINE):
        control.send(json.loads(line))


async def block(stream):
    """Stop the whole loop, as a handler must not."""
    await stream.send("blocking", LINE)
    time.sleep(60)


def own_tls():
    """Make a context in the process that needs it; the certificate is the parent's, who says where."""
    return server_tls(os.environ["CERTIFICATE"], os.environ["KEY"])


async def name_peer(stream):
    """Answer each line with the peer and what it says."""
    async for line in stream.frames(LINE):
        await stream.send(f"{stream.peer} says {line}", LINE)
