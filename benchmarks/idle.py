"""What an idle connection costs a server: memory with a read pending, and CPU to accept and to close it.

Run ``python benchmarks/idle.py [--connections N] [CONTENDER ...]`` (extras ``bench`` and ``uvloop``; peers
that are missing are left out). Each contender is a line echo server in a process of its own, on a Unix
socket; the connections say nothing. Linux only: memory is read from /proc. The limit on open descriptors
must allow for the connections.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

from timing import interpreter

LINE = b"hello\n"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
BACKLOG = 4096


# Contenders: each echoes lines on a Unix socket until it is killed


async def framestream_handler(path: str) -> None:
    from framestream import Line, serve

    lines = Line(None)

    async def echo(stream):
        async for line in stream.frames(lines):
            await stream.send(line, lines)

    async with await serve(echo, f"unix:{path}", backlog=BACKLOG) as server:
        await server.serve_forever()


async def framestream_callback(path: str) -> None:
    from framestream import Line, serve

    lines = Line(None)

    def echo(stream):
        stream.on_frame(lines, lambda line: stream.send(line, lines))

    async with await serve(echo, f"unix:{path}", backlog=BACKLOG) as server:
        await server.serve_forever()


async def asyncio_streams(path: str) -> None:
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)

    async with await asyncio.start_unix_server(echo, path, backlog=BACKLOG) as server:
        await server.serve_forever()


async def tornado(path: str) -> None:
    from tornado.iostream import StreamClosedError
    from tornado.netutil import bind_unix_socket
    from tornado.tcpserver import TCPServer

    class Echo(TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    await stream.write(await stream.read_until(b"\n"))
            except StreamClosedError:
                pass

    server = Echo()
    server.add_socket(bind_unix_socket(path, backlog=BACKLOG))
    await asyncio.Event().wait()


def on_asyncio(server: Callable[[str], Awaitable[None]]) -> Callable[[str], None]:
    return lambda path: asyncio.run(server(path))


def on_uvloop(server: Callable[[str], Awaitable[None]]) -> Callable[[str], None]:
    def run(path: str) -> None:
        import uvloop

        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server(path))

    return run


def trio(path: str) -> None:
    import trio

    async def echo(stream):
        async for data in stream:
            await stream.send_all(data)

    async def main() -> None:
        listening = trio.socket.socket(trio.socket.AF_UNIX)
        await listening.bind(path)
        listening.listen(BACKLOG)
        await trio.serve_listeners(echo, [trio.SocketListener(listening)])

    trio.run(main)


def twisted(path: str) -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import protocol, reactor
    from twisted.protocols.basic import LineOnlyReceiver

    class Echo(LineOnlyReceiver):
        delimiter = b"\n"

        def lineReceived(self, line):
            self.sendLine(line)

    reactor.listenUNIX(path, protocol.Factory.forProtocol(Echo), backlog=BACKLOG)
    reactor.run()


CONTENDERS = {
    "framestream, a coroutine each": on_asyncio(framestream_handler),
    "framestream, on_frame": on_asyncio(framestream_callback),
    "framestream on uvloop": on_uvloop(framestream_handler),
    "asyncio streams": on_asyncio(asyncio_streams),
    "asyncio streams on uvloop": on_uvloop(asyncio_streams),
    "Tornado": on_asyncio(tornado),
    "trio (no lines, just bytes)": trio,
    "Twisted LineOnlyReceiver": twisted,
}


# The measuring side


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def settle(path: str) -> None:
    """Return when the server has dealt with everything that came before."""
    with connected(path) as probe:
        probe.sendall(LINE)
        if not probe.recv(len(LINE)):
            raise RuntimeError("the server does not echo")
    time.sleep(0.5)


def memory(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE


def processor(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(name: str, count: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        command = [sys.executable, __file__, "--serve", name, path]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
            while server.poll() is None and not os.path.exists(path):
                time.sleep(0.05)
            if server.poll() is not None:
                return "cannot run: " + server.stderr.read().decode().strip().rpartition("\n")[2]
            try:
                return measure_running(server.pid, path, count)
            finally:
                server.kill()


def measure_running(pid: int, path: str, count: int) -> str:
    warm_up = [connected(path) for _ in range(100)]
    settle(path)
    size, used = memory(pid), processor(pid)
    connections = [connected(path) for _ in range(count)]
    settle(path)
    per_connection = (memory(pid) - size) / count / 1024
    accepting, used = processor(pid) - used, processor(pid)
    for connection in connections:
        connection.close()
    settle(path)
    closing = processor(pid) - used
    for connection in warm_up:
        connection.close()
    times = f"accept {accepting / count * 1e6:5.0f} us   close {closing / count * 1e6:5.0f} us"
    return f"{per_connection:6.2f} KiB   {times}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("contenders", nargs="*", metavar="CONTENDER", help="part of a name; all if left out")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        name, path = arguments.serve
        CONTENDERS[name](path)
        return
    print(f"{interpreter()}, {arguments.connections} idle connections")
    for name in CONTENDERS:
        if not arguments.contenders or any(wanted in name for wanted in arguments.contenders):
            print(f"{name:32} {measure(name, arguments.connections)}", flush=True)


if __name__ == "__main__":
    main()
