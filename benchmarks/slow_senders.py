"""Do many slow senders slow a fast one? CPU time to receive from the fast one, alone and among them.

Run ``python benchmarks/slow_senders.py [--senders N] [CONTENDER ...]`` (extra ``bench``; Tornado is left out
if it is missing). Each contender reads lines, in a process of its own, from a fast sender that has no pause,
and from N that send one byte a second each and never finish their line. The limit on open descriptors must
allow for them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from timing import interpreter

LINES = (b"x" * 63 + b"\n") * 1024
ROUNDS = 5
FRAMES = 1_000_000


def slow_senders(path: str, count: int, ready: multiprocessing.synchronize.Event) -> None:
    """Send one byte a second on each of `count` connections, spread over the second."""
    connections = [connected(path) for _ in range(count)]
    ready.set()
    try:
        while True:
            began = time.monotonic()
            for done, connection in enumerate(connections, 1):
                connection.send(b"y")
                if done % 100 == 0:
                    time.sleep(max(0.0, began + done / count - time.monotonic()))
    except OSError:
        return


def fast_sender(path: str) -> None:
    with connected(path) as connection:
        for _ in range(FRAMES // 1024 + 1):
            connection.sendall(LINES)


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


# Contenders: each makes a stream of a socket, and a function that reads one line from it


def framestream(sock: socket.socket):
    from framestream import IOStream, Line

    stream, line = IOStream(sock, max_frame_size=1 << 20), Line(None)
    return stream, lambda: stream.read(line)


def tornado(sock: socket.socket):
    from tornado.iostream import IOStream

    stream = IOStream(sock)
    return stream, lambda: stream.read_until(b"\n")


CONTENDERS = {"framestream": framestream, "tornado": tornado}


async def receive(path: str, contender: str, count: int) -> None:
    """Measure the fast sender alone, then among the others, and print both."""
    connect = CONTENDERS[contender]
    loop = asyncio.get_running_loop()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1024)
    listener.setblocking(False)

    async def fast() -> float:
        sender = multiprocessing.Process(target=fast_sender, args=(path,))
        sender.start()
        sock, _ = await loop.sock_accept(listener)
        stream, read_line = connect(sock)
        began = time.process_time()
        for _ in range(FRAMES):
            await read_line()
        used = time.process_time() - began
        stream.close()
        sender.terminate()
        await asyncio.sleep(0.1)
        return used

    alone = min([await fast() for _ in range(ROUNDS)])
    ready = multiprocessing.Event()
    slow = multiprocessing.Process(target=slow_senders, args=(path, count, ready))
    slow.start()
    pending = []
    for _ in range(count):
        sock, _ = await loop.sock_accept(listener)
        _, read_line = connect(sock)
        pending.append(asyncio.ensure_future(read_line()))
    among = min([await fast() for _ in range(ROUNDS)])
    slow.terminate()
    print(json.dumps({"alone": alone, "among": among}), flush=True)
    os._exit(0)  # ten thousand reads that never end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("contenders", nargs="*", metavar="CONTENDER", help="all if left out")
    parser.add_argument("--senders", type=int, default=10_000)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        contender, path = arguments.serve
        asyncio.run(receive(path, contender, arguments.senders))
        return
    print(f"{interpreter()}, {arguments.senders} slow senders, {FRAMES} lines from the fast one")
    names = arguments.contenders or [name for name in CONTENDERS if find_spec(name) is not None]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            command = [sys.executable, __file__, "--senders", str(arguments.senders), "--serve", name, path]
            report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        alone, among = report["alone"], report["among"]
        print(
            f"{name:12} alone {alone:5.2f} s   among them {among:5.2f} s   slowed by {among / alone - 1:4.0%}"
        )


if __name__ == "__main__":
    main()
