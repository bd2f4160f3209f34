"""Netstrings spoken with nginx (SCGI) and with Postfix (socketmap), both as clients of ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from framestream import NEED_DATA, Exactly, FrameDecoder, ReadCondition, iter_frames, serve
from framestream_netstring import Netstring

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

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 16; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    client_max_body_size 8m;
    server {{
        listen unix:{home}/http; listen 127.0.0.1:{port};
        location / {{
            scgi_pass 127.0.0.1:{backend};
            scgi_param CONTENT_LENGTH $content_length;
            scgi_param SCGI 1;
            scgi_param REQUEST_URI $request_uri;
            scgi_param LONG "{long}";
        }}
    }}
}}
"""


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program, path=PATH) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed, see plugins/install_peers.sh")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def read_one(connection: socket.socket, decoder: FrameDecoder, condition: ReadCondition[bytes]) -> bytes:
    while (frame := decoder.next_frame(condition)) is NEED_DATA:
        chunk = connection.recv(1000)
        if chunk:
            decoder.receive_data(chunk)
        else:
            decoder.receive_eof()
    assert isinstance(frame, bytes)
    return frame


def serve_scgi(server: socket.socket) -> tuple[dict[bytes, bytes], bytes]:
    """Read one SCGI request, a netstring of headers and then the body, and answer it."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        decoder = FrameDecoder(max_frame_size=8 << 20)
        fields = read_one(connection, decoder, Netstring()).split(b"\0")
        headers = dict(zip(fields[:-1:2], fields[1::2], strict=True))
        body = read_one(connection, decoder, Exactly(int(headers[b"CONTENT_LENGTH"])))
        connection.sendall(b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nread %d" % len(body))
        return headers, body


@contextmanager
def nginx(home: Path, backend: int) -> Iterator[int]:
    port = free_port()
    config = home / "nginx.conf"
    config.write_text(NGINX.format(home=home, port=port, backend=backend, long="x" * 3000))
    arguments = ["-p", str(home), "-c", str(config), "-e", str(home / "error.log")]
    process = subprocess.Popen([str(shutil.which("nginx", path=PATH)), *arguments])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (home / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@needs("nginx")
@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_nginx_sends_scgi_requests(tmp_path: Path, size: int) -> None:
    sent = bytes(i * 7 % 251 for i in range(size))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        server.settimeout(TIMEOUT)
        with nginx(tmp_path, server.getsockname()[1]) as port:
            request = pool.submit(serve_scgi, server)
            url = f"http://127.0.0.1:{port}/a?b=c"
            with urllib.request.urlopen(url, data=sent, timeout=TIMEOUT) as answer:
                assert answer.read() == b"read %d" % size
            headers, body = request.result(TIMEOUT)
    assert (headers[b"SCGI"], headers[b"REQUEST_URI"], len(headers[b"LONG"])) == (b"1", b"/a?b=c", 3000)
    assert body == sent


def serve_socketmap(server: socket.socket, answers: dict[bytes, bytes]) -> list[bytes]:
    connection, _ = server.accept()
    asked = []
    with connection:
        connection.settimeout(TIMEOUT)
        for query in iter_frames(connection, Netstring()):
            asked.append(query)
            connection.sendall(b"".join(Netstring().encode(answers.get(query, b"NOTFOUND "))))
    return asked


def look_up(home: Path, port: int, keys: list[str]) -> list[str]:
    """Ask Postfix for these keys; return its lines, key and value."""
    (home / "main.cf").write_text(
        f"compatibility_level=3.6\nqueue_directory={home}/queue\ndata_directory={home}/data\n"
    )
    (home / "master.cf").touch()
    command = [str(shutil.which("postmap", path=PATH)), "-c", str(home), "-q", "-"]
    done = subprocess.run(
        [*command, f"socketmap:inet:127.0.0.1:{port}:users"],
        input="\n".join(keys) + "\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return done.stdout.splitlines()


KEYS = [f"user{number}" for number in range(100)]
ANSWERS = {f"users {key}".encode(): f"OK box-{key}".encode() for key in KEYS[::2]}
FOUND = [f"{key}\tbox-{key}" for key in KEYS[::2]]


@needs("postmap")
def test_postfix_looks_up_a_socketmap(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        server.settimeout(TIMEOUT)
        asked = pool.submit(serve_socketmap, server, ANSWERS)
        assert look_up(tmp_path, server.getsockname()[1], KEYS) == FOUND
        assert asked.result(TIMEOUT) == [f"users {key}".encode() for key in KEYS]


@needs("postmap")
def test_a_server_speaks_it_by_name(tmp_path: Path) -> None:
    async def answer(conversation: Any) -> None:
        async for query in conversation:
            await conversation.send(ANSWERS.get(query, b"NOTFOUND "))

    async def talk() -> list[str]:
        async with await serve(answer, "tcp://127.0.0.1:0", framer="netstring") as server:
            return await asyncio.to_thread(look_up, tmp_path, int(server.url.rpartition(":")[2]), KEYS)

    assert asyncio.run(talk()) == FOUND
