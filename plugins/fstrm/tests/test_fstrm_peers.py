"""Frame Streams spoken with fstrm_capture, fstrm_replay and Unbound's dnstap."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from framestream import NEED_DATA, FrameDecoder, connect, iter_frames
from framestream_fstrm import Control, ControlType, Fstrm, Reading, Writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin"
DNSTAP = b"protobuf:dnstap.Dnstap"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)}, see plugins/install_peers.sh"
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Connection:
    """One end of a connection, read in pieces of `chunk` bytes at most."""

    def __init__(self, peer: socket.socket, chunk: int = 65536) -> None:
        self.decoder = FrameDecoder()
        self.chunk = chunk
        self.socket = peer
        self.socket.settimeout(TIMEOUT)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read(self) -> bytes | Control:
        while (frame := self.decoder.next_frame(Fstrm())) is NEED_DATA:
            if chunk := self.socket.recv(self.chunk):
                self.decoder.receive_data(chunk)
            else:
                self.decoder.receive_eof()
        assert isinstance(frame, (bytes, Control))
        return frame

    def send(self, *frames: bytes | Control) -> None:
        self.socket.sendall(b"".join(piece for frame in frames for piece in Fstrm().encode(frame)))


def connected(port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port), TIMEOUT)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise TimeoutError(f"nobody listens at port {port}")


def messages(count: int) -> list[bytes]:
    rng = random.Random(8)
    return [rng.randbytes(rng.choice((1, 255, 256, rng.randint(1, 3000)))) for _ in range(count)]


@needs("fstrm_capture", "fstrm_replay")
@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_fstrm_captures_what_we_write_and_replays_it_to_us(tmp_path: Path, chunk: int) -> None:
    sent, port, captured = messages(1000), free_port(), tmp_path / "captured"
    command = ["fstrm_capture", "-t", DNSTAP.decode(), "-a", "127.0.0.1", "-p", str(port), "-w", str(captured)]
    capture = subprocess.Popen(command)
    try:
        with Connection(connected(port), chunk) as one:
            writing = Writing(DNSTAP)
            one.send(writing.ready)
            start = writing.add(one.read())
            assert start is not None
            one.send(start, *sent, writing.stop)
            assert writing.add(one.read()) is None
            assert writing.finished
    finally:
        capture.send_signal(signal.SIGTERM)
        capture.wait(TIMEOUT)

    reading = Reading(DNSTAP)
    with captured.open("rb") as file:
        kept = [reading.add(frame) for frame in iter_frames(file, Fstrm())]
    assert kept == [None, *sent, None]
    assert reading.finished

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        received = pool.submit(read_all, server, chunk)
        address = ["-a", "127.0.0.1", "-p", str(server.getsockname()[1])]
        replay = ["fstrm_replay", "-t", DNSTAP.decode(), *address, "-r", str(captured)]
        subprocess.run(replay, check=True, timeout=TIMEOUT)
        assert received.result(TIMEOUT) == sent


def read_all(server: socket.socket, chunk: int) -> list[bytes]:
    """Be the reading end of one stream; return its data."""
    peer, _ = server.accept()
    received = []
    with Connection(peer, chunk) as one:
        reading = Reading(DNSTAP)
        while not reading.finished:
            said = reading.add(one.read())
            if isinstance(said, Control):
                one.send(said)
            elif said is not None:
                received.append(said)
    return received


@needs("fstrm_capture")
def test_a_stream_speaks_it_by_name(tmp_path: Path) -> None:
    sent, path, captured = messages(100), tmp_path / "socket", tmp_path / "captured"

    async def talk() -> bool:
        writing = Writing(DNSTAP)
        async with await connect(f"unix:{path}", framer="fstrm") as stream:
            await stream.send(writing.ready)
            await stream.send(writing.add(await stream.read()))
            for message in sent:
                await stream.send(message)
            await stream.send(writing.stop)
            writing.add(await stream.read())
        return writing.finished

    capture = subprocess.Popen(["fstrm_capture", "-t", DNSTAP.decode(), "-u", str(path), "-w", str(captured)])
    try:
        for _ in range(500):
            if path.exists():
                break
            time.sleep(0.02)
        assert asyncio.run(talk())
    finally:
        capture.terminate()
        capture.wait(TIMEOUT)
    with captured.open("rb") as file:
        assert [frame for frame in iter_frames(file, Fstrm()) if isinstance(frame, bytes)] == sent


UNBOUND = """
server:
    interface: 127.0.0.1@{port}
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: "{home}/pid"
    do-daemonize: no
    use-syslog: no
    logfile: "{home}/log"
    local-data: "host.example. A 192.0.2.1"
dnstap:
    dnstap-enable: yes
    dnstap-bidirectional: {bidirectional}
    dnstap-ip: "127.0.0.1@{collector}"
    dnstap-tls: no
    dnstap-log-client-query-messages: yes
    dnstap-log-client-response-messages: yes
"""

# A query for the A record of host.example (RFC 1035 4.1).
QUERY = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4host\7example\0\0\1\0\1"


@contextmanager
def unbound(home: Path, collector: int, bidirectional: str) -> Iterator[int]:
    port = free_port()
    config = home / "unbound.conf"
    config.write_text(UNBOUND.format(home=home, port=port, collector=collector, bidirectional=bidirectional))
    process = subprocess.Popen([str(shutil.which("unbound", path=PATH)), "-c", str(config)])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def ask(port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect(("127.0.0.1", port))
        for _ in range(100):
            try:
                client.send(QUERY)
                return client.recv(512)
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.02)
    raise TimeoutError("Unbound does not answer")


@needs("unbound")
@pytest.mark.parametrize("bidirectional", ["yes", "no"])
def test_unbound_reports_its_queries(tmp_path: Path, bidirectional: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        with unbound(tmp_path, server.getsockname()[1], bidirectional) as port:
            peer, _ = server.accept()
            with Connection(peer, 7) as one:
                reading = Reading(DNSTAP)
                if bidirectional == "yes":
                    accept = reading.add(one.read())
                    assert accept == Control(ControlType.ACCEPT, (DNSTAP,))
                    one.send(accept)
                assert reading.add(one.read()) is None
                answer = ask(port)
                assert answer.endswith(b"\xc0\0\2\1")
                query, response = reading.add(one.read()), reading.add(one.read())
    assert isinstance(query, bytes)
    assert isinstance(response, bytes)
    assert QUERY in query
    assert answer in response
