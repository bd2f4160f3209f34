#!/usr/bin/env python3
"""Tornado's servers on Tornado's streams and on ours, in one run: an HTTP server and a server of lines.

    pip install -e '.[bench]' -e plugins/tornado
    python benchmarks/tornado_server.py [rounds]

Each server is a process of its own. They are asked in turn, so that whatever else the machine does meets
both alike: the median of the rounds' ratios says more than any of the times. The HTTP server is loaded by
wrk, over connections that are kept alive; without wrk that part is left out.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from urllib.request import urlopen

CONNECTIONS = 32
SECONDS = 2
LINES = 300
KINDS = ("tornado", "framestream")


def main() -> None:
    """Print a table of requests per second and CPU time per request."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{'server':<22}{'streams':<13}{'requests/s':>11}{'us CPU/request':>16}")
    if shutil.which("wrk"):
        compare("HTTP hello world", "http", ask_http, rounds)
    else:
        print("HTTP hello world      left out: wrk is not installed")
    compare("echo of lines", "lines", ask_lines, rounds)


def compare(title, server, ask, rounds):
    """Ask both servers in turn, and print the median of each and of the rounds' ratios."""
    processes = {kind: Server(kind, server) for kind in KINDS}
    try:
        for process in processes.values():
            ask(process)  # once for nothing: imports and caches
        figures = [{kind: measured(process, ask) for kind, process in processes.items()} for _ in range(rounds)]
    finally:
        for process in processes.values():
            process.stop()
    for kind in KINDS:
        rate, cpu = (statistics.median(each[kind][i] for each in figures) for i in (0, 1))
        print(f"{title:<22}{kind:<13}{rate:>11.0f}{cpu:>16.1f}")
    rate, cpu = (statistics.median(each["framestream"][i] / each["tornado"][i] for each in figures) for i in (0, 1))
    print(f"{title:<22}{'ratio':<13}{rate:>11.2f}{cpu:>16.2f}")


def measured(process, ask):
    """Return requests per second, and microseconds of the server's CPU time for each."""
    before = process.cpu()
    requests, seconds = ask(process)
    return requests / seconds, (process.cpu() - before) / requests * 1e6


class Server:
    """A server in a process of its own."""

    def __init__(self, kind, server):
        self.kind = server
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.set_inheritable(True)
            self.port = listener.getsockname()[1]
            command = [sys.executable, __file__, "serve", kind, server, str(listener.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[listener.fileno()])

    def cpu(self):
        """Ask the server how much CPU time it has had."""
        if self.kind == "http":
            with urlopen(f"http://127.0.0.1:{self.port}/cpu") as answer:
                return float(answer.read())
        with socket.create_connection(("127.0.0.1", self.port)) as sock, sock.makefile("rwb") as file:
            file.write(b"cpu\n")
            file.flush()
            return float(file.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()


def ask_http(process):
    """Load the server with wrk; return how many requests it answered in how many seconds."""
    url = f"http://127.0.0.1:{process.port}/"
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", url]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report
    answered = int(re.search(r"(\d+) requests in", report)[1])
    return answered, answered / float(re.search(r"Requests/sec:\s+([\d.]+)", report)[1])


def ask_lines(process):
    """Have lines echoed over several connections at once, each waiting for its answer."""
    began = time.perf_counter()
    asyncio.run(ask_all(process.port))
    return CONNECTIONS * LINES, time.perf_counter() - began


async def ask_all(port):
    await asyncio.gather(*(ask_one(port) for _ in range(CONNECTIONS)))


async def ask_one(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(LINES):
        writer.write(b"a line of some length, number %d\n" % number)
        await reader.readline()
    writer.close()
    await writer.wait_closed()


# The servers


async def serve_http(listener):
    from tornado.httpserver import HTTPServer
    from tornado.web import Application, RequestHandler

    class Hello(RequestHandler):
        def get(self):
            self.write("Hello, world")

    class CPU(RequestHandler):
        def get(self):
            self.write(str(time.process_time()))

    server = HTTPServer(Application([("/", Hello), ("/cpu", CPU)]))
    server.add_socket(listener)
    await asyncio.Event().wait()


async def serve_lines(listener):
    from tornado.iostream import StreamClosedError
    from tornado.tcpserver import TCPServer

    class Echo(TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    line = await stream.read_until(b"\n", max_bytes=1 << 16)
                    await stream.write(str(time.process_time()).encode() + b"\n" if line == b"cpu\n" else line)
            except StreamClosedError:
                return

    server = Echo()
    server.add_socket(listener)
    await asyncio.Event().wait()


def serve(kind, server, fileno):
    import logging

    if kind == "framestream":
        import framestream_tornado

        framestream_tornado.install()
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    listener = socket.socket(fileno=fileno)
    listener.setblocking(False)
    asyncio.run({"http": serve_http, "lines": serve_lines}[server](listener))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:4], int(sys.argv[4]))
    else:
        main()
