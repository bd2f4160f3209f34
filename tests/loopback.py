"""What the tests of `connect` and `serve` share: handlers, waiting, faults of the system."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket

from certificates import certificates

from framestream import Line, connect

LINE = Line()
HERE = "tcp://127.0.0.1:0"
TLS_HERE = "tls://localhost:0"


async def echo(stream):
    """Send every line back."""
    async for line in stream.frames(LINE):
        await stream.send(line, LINE)


async def greet(stream):
    """Say one line and end."""
    await stream.send("hello", LINE)


def tls_contexts(place):
    """Return the TLS contexts of a server at a place and of its clients; two times None without TLS."""
    files = certificates()
    return (files.server(), files.client()) if place.startswith("tls") else (None, None)


class Gate:
    """A handler that tells when it was entered, and stays until it is let go."""

    def __init__(self):
        self.entered = asyncio.Queue()
        self.open = asyncio.Event()

    async def __call__(self, stream):
        self.entered.put_nowait(stream)
        await self.open.wait()


async def ask(url, question="hello", **options):
    """Return the answer to one line."""
    async with await connect(url, **options) as stream:
        return await exchange(stream, question)


async def exchange(stream, question="hello"):
    """Return the answer to one line, on a stream that stays open."""
    await stream.send(question, LINE)
    return await stream.read(LINE)


async def hear(url, **options):
    """Return the line that a peer says unasked."""
    async with await connect(url, **options) as stream:
        return await stream.read(LINE)


def raw_client(server):
    """Return a blocking socket that is connected to a server."""
    host, _, port = server.addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)))


def resolve_to(monkeypatch, *addresses):
    """Make every host name resolve to these addresses; for asyncio's own loops."""

    def getaddrinfo(host, port, *_, **__):
        family = {address: socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses}
        return [(family[address], socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def warnings_of_ours(caplog):
    """Return what was logged as wrong, but for what asyncio's debug mode says about slow machines."""
    wrong = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record for record in wrong if record.name.startswith("framestream")]


def warned(caplog):
    """Return the messages of these."""
    return [record.getMessage() for record in warnings_of_ours(caplog)]


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def no_more_descriptors(left=0):
    """Let opening anything fail with EMFILE when no more than so many descriptors are left."""
    gc.collect()  # or what earlier tests have left makes room in the middle
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as probes:
        for _ in range(left + 1):
            last = probes.enter_context(open(os.devnull))
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
