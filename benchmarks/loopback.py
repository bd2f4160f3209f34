"""Receive over loopback TCP: framestream beside other libraries, CPU of the receiving process per frame.

Run ``python benchmarks/loopback.py [WORKLOAD ...]`` (extras ``bench`` and ``uvloop``; peers that are missing
are left out). Each contender is a process of its own that receives from, or echoes to, a sender in
another process; rounds alternate between contenders, and the best of each counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys

from loopback_contenders import contenders, serve
from timing import Result, interpreter, table

LINE = b"x" * 63 + b"\n"


def prefixed(size: int) -> bytes:
    return size.to_bytes(4, "big") + b"x" * size


# What is sent, how often, and how many frames that makes.
WORKLOADS = {
    "lines": (LINE * 4096, 400, 4096),
    "prefix-64": (prefixed(64) * 2048, 200, 2048),
    "prefix-64k": (prefixed(1 << 16) * 8, 500, 8),
    "prefix-1m": (prefixed(1 << 20), 400, 1),
    "pairs": ((LINE + b"y" * 16) * 2048, 60, 2048),
}
ECHOES = {"echo-1": (1, 15000), "echo-64": (64, 400)}


def send(port: int, data: bytes, times: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for _ in range(times):
            sock.sendall(data)


def ping(port: int, connections: int, times: int) -> None:
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(times):
        for sock in socks:
            sock.sendall(LINE)
        for sock in socks:
            left = 64
            while left:
                left -= len(sock.recv(left))
    for sock in socks:
        sock.close()


def run(workload: str, contender: str) -> float:
    """Return the receiver's CPU time per frame in ns."""
    connections = ECHOES[workload][0] if workload in ECHOES else 1
    command = [sys.executable, __file__, "--serve", workload, contender, str(connections)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        if workload in ECHOES:
            _, times = ECHOES[workload]
            frames = connections * times
            sender = multiprocessing.Process(target=ping, args=(port, connections, times))
        else:
            data, times, each = WORKLOADS[workload]
            frames = each * times
            sender = multiprocessing.Process(target=send, args=(port, data, times))
        sender.start()
        report = json.loads(receiver.stdout.readline())
        sender.join()
    if report["frames"] != frames:
        raise AssertionError(f"{contender} saw {report['frames']} frames of {frames} ({workload})")
    return float(report["cpu"] / frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        workload, contender, connections = arguments.serve
        serve(workload, contender, int(connections))
        return
    print(interpreter())
    for workload in arguments.workloads or [*WORKLOADS, *ECHOES]:
        names = [n for n in contenders(workload) if not arguments.only or n in arguments.only.split(",")]
        best = dict.fromkeys(names, float("inf"))
        for _ in range(arguments.rounds):
            for name in names:
                best[name] = min(best[name], run(workload, name))
        results = [Result(name, figure) for name, figure in best.items()]
        reference = "tornado" if "tornado" in names else names[0]
        print(table(workload, results, reference), flush=True)


if __name__ == "__main__":
    main()
