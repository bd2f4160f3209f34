"""HTTP spoken with nginx and curl: as a client and as a server, and what nginx refuses as well."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from framestream import NEED_DATA, FrameDecoder, FramingError, ReadCondition, connect, iter_frames
from framestream_http import Chunk, HttpChunk, HttpRequest, HttpResponse, RequestHead, ResponseHead, body_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T")

TIMEOUT = 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin"

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 16; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    client_max_body_size 8m;
    server {{
        listen 127.0.0.1:{port};
        root {home}/www;
        location /plain/ {{ alias {home}/www/; }}
        location /chunked/ {{ alias {home}/www/; add_trailer X-Done yes; add_trailer X-Empty ""; }}
        location /gone {{ return 204; }}
        location /ours/ {{
            proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
            proxy_request_buffering off; proxy_buffering off;
        }}
    }}
}}
"""


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)}, see plugins/install_peers.sh"
    )


class Connection:
    """One end of a connection, read in pieces of `chunk` bytes at most."""

    def __init__(self, peer: socket.socket, chunk: int = 65536) -> None:
        self.decoder = FrameDecoder(max_frame_size=8 << 20)
        self.chunk = chunk
        self.socket = peer
        self.socket.settimeout(TIMEOUT)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read(self, condition: ReadCondition[T]) -> T:
        while (frame := self.decoder.next_frame(condition)) is NEED_DATA:
            if chunk := self.socket.recv(self.chunk):
                self.decoder.receive_data(chunk)
            else:
                self.decoder.receive_eof()
        return frame  # type: ignore[return-value]  # END would fail the test that asked

    def body(self, head: RequestHead | ResponseHead, method: bytes = b"GET") -> tuple[bytes, Chunk | None]:
        """Return the body, and its last chunk if it has one."""
        condition: ReadCondition[Any] | None = body_of(head, method=method)
        if not isinstance(condition, HttpChunk):
            return b"" if condition is None else self.read(condition), None
        data = []
        while not (chunk := self.read(condition)).last:
            data.append(chunk.data)
        return b"".join(data), chunk

    def ask(self, method: bytes, target: bytes) -> tuple[ResponseHead, bytes, Chunk | None]:
        self.socket.sendall(HttpRequest().encode(RequestHead(method, target, ((b"Host", b"test"),))))
        head = self.read(HttpResponse())
        return head, *self.body(head, method)


@contextmanager
def nginx(home: Path, backend: int = 1) -> Iterator[int]:
    """Run nginx with files of 0, 1, 5000 and a million bytes; yield its port."""
    (home / "www").mkdir()
    for size in (0, 1, 5000, 1_000_000):
        (home / "www" / str(size)).write_bytes(content(size))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    config = home / "nginx.conf"
    config.write_text(NGINX.format(home=home, port=port, backend=backend))
    arguments = ["-p", str(home), "-c", str(config), "-e", str(home / "error.log")]
    process = subprocess.Popen([str(shutil.which("nginx", path=PATH)), *arguments])
    try:
        for _ in range(500):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (home / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@needs("nginx")
@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_nginx_answers_every_kind_of_body_on_one_connection(tmp_path: Path, chunk: int) -> None:
    sizes = [0, 1, 5000] + [1_000_000] * (chunk > 7)
    with nginx(tmp_path) as port, Connection(socket.create_connection(("127.0.0.1", port)), chunk) as one:
        for size in sizes:
            head, body, last = one.ask(b"GET", b"/plain/%d" % size)
            assert (head.status, body, last) == (200, content(size), None)
            assert head.values(b"content-length") == [b"%d" % size]
            head, body, last = one.ask(b"GET", b"/chunked/%d" % size)
            assert (head.status, body) == (200, content(size))
            assert last == Chunk(b"", trailers=((b"X-Done", b"yes"),))
            head, body, last = one.ask(b"HEAD", b"/plain/%d" % size)
            assert (head.status, body, last) == (200, b"", None)
        assert one.ask(b"GET", b"/gone")[0].status == 204
        assert one.ask(b"GET", b"/none")[0].status == 404


@needs("nginx")
def test_nginx_answers_a_pipeline(tmp_path: Path) -> None:
    requests = [RequestHead(b"GET", b"/chunked/5000", ((b"Host", b"a"), (b"X", b"y" * index))) for index in range(100)]
    with nginx(tmp_path) as port, Connection(socket.create_connection(("127.0.0.1", port))) as one:
        one.socket.sendall(b"".join(map(HttpRequest().encode, requests)))
        for _ in requests:
            assert one.body(one.read(HttpResponse()))[0] == content(5000)


@needs("nginx")
def test_a_stream_speaks_it_by_name(tmp_path: Path) -> None:
    async def talk(port: int) -> tuple[int, int, bytes, list[tuple[bytes, bytes]]]:
        async with await connect(f"tcp://127.0.0.1:{port}") as stream:
            request = RequestHead(b"GET", b"/plain/1000000", ((b"Host", b"a"),))
            await stream.send(request, "http-request")
            head = await stream.read("http-response")
            body = body_of(head)
            assert body is not None
            async with stream.open_frame(body) as parts:
                size = sum([len(part) async for part in parts])
            await stream.send(request._replace(target=b"/chunked/5000"), "http-request")
            await stream.read("http-response")
            chunks = [await stream.read(HttpChunk())]
            while not chunks[-1].last:
                chunks.append(await stream.read(HttpChunk()))
            return head.status, size, b"".join(chunk.data for chunk in chunks), list(chunks[-1].trailers)

    with nginx(tmp_path) as port:
        assert asyncio.run(talk(port)) == (200, 1_000_000, content(5000), [(b"X-Done", b"yes")])


# Nothing may follow any of these: nginx answers 400, or 501 for a coding it does not know.
REFUSED = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 10000000000000000000\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"X: a\0b\r\n",
    b"Host: b\r\n",
    b"X\x01: a\r\n",
]


@needs("nginx")
def test_nginx_too_refuses_what_smuggles_requests(tmp_path: Path) -> None:
    with nginx(tmp_path) as port:
        for lines in REFUSED:
            wire = b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"
            with pytest.raises(FramingError):
                list(iter_frames(wire, HttpRequest()))
            with Connection(socket.create_connection(("127.0.0.1", port))) as one:
                one.socket.sendall(wire)
                assert one.read(HttpResponse()).status in (400, 501), lines


@needs("nginx")
@pytest.mark.parametrize("chunk", [b"-1\r\na\r\n", b"g\r\n", b"1\r\nab\r\n", b"10000000000000000\r\n"])
def test_nginx_too_refuses_malformed_chunks(tmp_path: Path, chunk: bytes) -> None:
    with pytest.raises(FramingError):
        list(iter_frames(chunk, HttpChunk()))
    head = RequestHead(b"PUT", b"/ours/", ((b"Host", b"a"), (b"Transfer-Encoding", b"chunked")))
    with (
        socket.create_server(("127.0.0.1", 0)) as backend,
        nginx(tmp_path, backend.getsockname()[1]) as port,
        Connection(socket.create_connection(("127.0.0.1", port))) as one,
    ):
        one.socket.sendall(HttpRequest().encode(head) + chunk)
        assert one.read(HttpResponse()).status == 400


def serve(server: socket.socket, count: int, chunk: int) -> list[tuple[RequestHead, bytes, Chunk | None]]:
    """Send `count` requests' bodies back, chunked, with extensions and trailers; return what was asked."""
    asked: list[tuple[RequestHead, bytes, Chunk | None]] = []
    while len(asked) < count:
        peer, _ = server.accept()
        with Connection(peer, chunk) as one:
            head = one.read(HttpRequest())
            if head.values(b"expect"):
                peer.sendall(HttpResponse().encode(ResponseHead(100, b"Continue")))
            body, last = one.body(head)
            asked.append((head, body, last))
            fields = ((b"Transfer-Encoding", b"chunked"), (b"Trailer", b"X-Done"), (b"Connection", b"close"))
            peer.sendall(HttpResponse().encode(ResponseHead(200, b"OK", fields)))
            chunks = [Chunk(body[at : at + 60_000], b';a="b c"') for at in range(0, len(body), 60_000)]
            for each in (*chunks, Chunk(b"", b"", ((b"X-Done", b"yes"),))):
                peer.sendall(b"".join(HttpChunk().encode(each)))
    return asked


UPLOADS = [
    (0, ["-T", "."], 1),
    (5000, ["-T", "."], 7),
    (1_000_000, ["-T", "."], 65536),
    (5000, ["--data-binary", "@-"], 1),
    (1_000_000, ["--data-binary", "@-"], 65536),
    (1_000_000, ["--data-binary", "@-", "-H", "Expect: 100-continue"], 999),
]


@needs("curl")
@pytest.mark.parametrize(("size", "options", "chunk"), UPLOADS)
def test_curl_sends_and_takes_bodies(tmp_path: Path, size: int, options: list[str], chunk: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        asked = pool.submit(serve, server, 1, chunk)
        done = curl(f"http://127.0.0.1:{server.getsockname()[1]}/a?b=c", tmp_path, options, content(size))
        [(head, body, last)] = asked.result(TIMEOUT)
    assert (head.target, body, done) == (b"/a?b=c", content(size), content(size))
    assert (last is None) == (options[0] != "-T")
    assert b"X-Done: yes" in (tmp_path / "heads").read_bytes()


def curl(url: str, home: Path, options: list[str], sent: bytes) -> bytes:
    """Run curl; leave the heads and trailers it received in a file; return the body."""
    command = ["curl", "--silent", "--show-error", "--fail", "--http1.1", "-D", str(home / "heads"), *options, url]
    done = subprocess.run(command, input=sent, capture_output=True, check=True, timeout=TIMEOUT)
    return done.stdout


@needs("curl", "nginx")
@pytest.mark.parametrize(("size", "options", "chunk"), UPLOADS)
def test_curl_reaches_us_through_nginx(tmp_path: Path, size: int, options: list[str], chunk: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        asked = pool.submit(serve, server, 1, chunk)
        with nginx(tmp_path, server.getsockname()[1]) as port:
            done = curl(f"http://127.0.0.1:{port}/ours/", tmp_path, options, content(size))
        [(head, body, last)] = asked.result(TIMEOUT)
    assert (head.target, body, done) == (b"/ours/", content(size), content(size))
    assert (last is None) == (options[0] != "-T")
