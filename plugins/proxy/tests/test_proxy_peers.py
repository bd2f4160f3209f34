"""PROXY headers written and read by haproxy and nginx, and compared with the proxy-protocol package."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from framestream import FramingError, IOStream, Line, client_tls, connect, iter_frames, serve, server_tls
from framestream_proxy import Proxy, ProxyHeader, Tlv

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from framestream.net import Server

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin"
TRUSTED = ["127.0.0.0/8"]
CLIENT = ProxyHeader(source=("192.0.2.7", 56324), destination=("198.51.100.1", 443))

HAPROXY = """
global
    stats socket {home}/stats level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend in
    bind 127.0.0.1:{port} {bind}
    default_backend out
backend out
    {backend}
"""

NGINX = """
{load}
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
stream {{
    server {{ listen 127.0.0.1:{port} {bind}; proxy_pass 127.0.0.1:{backend}; proxy_protocol on; }}
}}
"""
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def needs(program: str, file: str = "") -> pytest.MarkDecorator:
    missing = shutil.which(program, path=PATH) is None or bool(file and not os.path.exists(file))
    return pytest.mark.skipif(missing, reason=f"{program} is not installed, see plugins/install_peers.sh")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(home: Path, port: int, program: str, *arguments: str) -> Iterator[None]:
    """Run a program until the block ends; it is there once it listens."""
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(shutil.which(program, path=PATH)), *arguments], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(500):
            assert process.poll() is None, (home / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            # It takes no more than this to start, and there is nothing to be told by.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@contextmanager
def haproxy(home: Path, backend: str, bind: str = "") -> Iterator[int]:
    port = free_port()
    (home / "haproxy.cfg").write_text(HAPROXY.format(home=home, port=port, bind=bind, backend=backend))
    with running(home, port, "haproxy", "-db", "-f", str(home / "haproxy.cfg")):
        yield port


@contextmanager
def nginx(home: Path, backend: int, bind: str = "") -> Iterator[int]:
    port = free_port()
    load = f"load_module {STREAM_MODULE};"
    config = NGINX.format(load=load, home=home, port=port, backend=backend, bind=bind)
    (home / "nginx.conf").write_text(config)
    arguments = ["-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
    with running(home, port, "nginx", *arguments):
        yield port


class Behind:
    """A server that answers a line with its peer, and keeps the headers."""

    def __init__(self) -> None:
        self.headers: list[ProxyHeader] = []

    async def __call__(self, stream: IOStream) -> None:
        self.headers.append(stream.proxy_header)
        async for line in stream.frames(Line()):
            await stream.send(f"{stream.peer} says {line}", Line())


@asynccontextmanager
async def served(protocol: Any, **options: Any) -> AsyncIterator[tuple[Server, Behind, int]]:
    """Serve behind a balancer; give the server, its handler, and its port."""
    handler = Behind()
    url = options.pop("url", "tcp://127.0.0.1:0")
    async with await serve(handler, url, proxy_protocol=protocol, trusted=TRUSTED, **options) as server:
        yield server, handler, int(server.addresses[0].rpartition(":")[2])


async def ask(port: int, **options: Any) -> tuple[str, str]:
    """Return the answer to a line, and this side's own address."""
    async with await connect(f"tcp://127.0.0.1:{port}", **options) as stream:
        await stream.send("hello", Line())
        sock = stream.transport.socket
        assert sock is not None
        host, own = sock.getsockname()
        return await stream.read(Line()), f"{host}:{own}"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # there is nothing to be told by
        await asyncio.sleep(0.01)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 3 * TIMEOUT))


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, Path]:
    """Return the contexts of a server and of its clients, and the file with key and certificate."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost", common_name="localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    return server_tls(pem), client_tls(ca=tmp_path / "ca.pem"), pem


# haproxy


@needs("haproxy")
@pytest.mark.parametrize(
    ("protocol", "options", "version"),
    [("v1", "send-proxy", 1), ("v2", "send-proxy-v2", 2), ("auto", "send-proxy", 1), ("auto", "send-proxy-v2", 2)],
)
def test_haproxy_tells_who_its_client_is(tmp_path: Path, protocol: str, options: str, version: int) -> None:
    async def test() -> None:
        async with served(protocol) as (server, handler, port):
            with haproxy(tmp_path, f"server one 127.0.0.1:{port} {options}") as front:
                for _ in range(20):
                    answer, own = await ask(front)
                    assert f"{own} says hello" == answer
        headers = handler.headers[-20:]  # before them, one of the probe
        assert {(version, ("127.0.0.1", front))} == {(each.version, each.destination) for each in headers}
        assert server.stats.handler_failures == server.stats.refused == 0

    run(test)


@needs("haproxy")
@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2"])
def test_haproxy_passes_tls_through_after_its_header(
    tmp_path: Path, tls: tuple[ssl.SSLContext, ssl.SSLContext, Path], options: str
) -> None:
    ours, theirs, _ = tls

    async def test() -> None:
        async with served("auto", url="tls://127.0.0.1:0", tls=ours) as (_, _, port):
            with haproxy(tmp_path, f"server one 127.0.0.1:{port} {options}") as front:
                for _ in range(20):
                    answer, own = await ask(front, tls=theirs, server_hostname="localhost")
                    assert f"{own} says hello" == answer

    run(test)


@needs("haproxy")
def test_haproxy_tells_about_tls_that_it_has_ended_and_proves_it_by_a_checksum(
    tmp_path: Path, tls: tuple[ssl.SSLContext, ssl.SSLContext, Path]
) -> None:
    _, theirs, pem = tls
    options = "send-proxy-v2-ssl proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id"

    async def test() -> None:
        async with served("v2") as (_, handler, port):
            backend = f"server one 127.0.0.1:{port} {options}"
            with haproxy(tmp_path, backend, f"ssl crt {pem}") as front:
                answer, own = await ask(front, tls=theirs, server_hostname="localhost")
                assert f"{own} says hello" == answer
        header = handler.headers[-1]
        assert (True, b"localhost") == (header.crc32c, header.get(Tlv.AUTHORITY))
        assert header.tls is not None
        assert (True, False, False) == header.tls[:3]
        assert dict(header.tls.tlvs)[Tlv.TLS_VERSION].startswith(b"TLSv1.")

    run(test)


def states(home: Path) -> list[str]:
    """Return what haproxy says of its servers' health, such as "L4OK"."""
    if not (home / "stats").exists():  # which it makes after it listens
        return []
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(TIMEOUT)
        admin.connect(str(home / "stats"))
        admin.sendall(b"show stat\n")
        text = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
    names, *rows = [line.split(",") for line in text.splitlines() if line]
    table = [dict(zip(names, row, strict=False)) for row in rows]
    return [row["check_status"] for row in table if row["svname"] == "one"]


@needs("haproxy")
@pytest.mark.parametrize(("options", "seen"), [
    ("send-proxy-v2 check inter 50ms", "LOCAL"),
    ("send-proxy check inter 50ms", "PROXY"),  # from its own address
    ("send-proxy-v2 check check-send-proxy addr 127.0.0.1 inter 50ms", "LOCAL"),
    ("send-proxy-v2 check addr 127.0.0.1 inter 50ms", None),  # ends before the server accepts
])  # fmt: skip
def test_checks_of_haproxy_are_no_failures(tmp_path: Path, options: str, seen: str | None, caplog: Any) -> None:
    async def test() -> None:
        async with served("auto") as (server, handler, port):
            with haproxy(tmp_path, f"server one 127.0.0.1:{port} {options}") as front:
                await until(lambda: states(tmp_path) == ["L4OK"])
                await until(lambda: seen is None or server.stats.accepted > 10)
                answer, own = await ask(front)
                assert f"{own} says hello" == answer
            assert seen is None or seen in {header.command for header in handler.headers}
        stats = server.stats
        assert (0, 0, 0) == (stats.peer_failures, stats.handler_failures, stats.refused)
        assert [] == [record.message for record in caplog.records if record.levelname != "DEBUG"]

    run(test)


@needs("haproxy")
@pytest.mark.parametrize("sent", [
    CLIENT,
    ProxyHeader(version=1, source=CLIENT.source, destination=CLIENT.destination),
    ProxyHeader(source=CLIENT.source, destination=CLIENT.destination, tlvs=((2, b"example.org"),), crc32c=True),
    ProxyHeader(source=("2001:db8::7", 1), destination=("2001:db8::1", 65535)),
    ProxyHeader(version=1, source=("2001:db8::7", 1), destination=("2001:db8::1", 65535)),
])  # fmt: skip
def test_haproxy_passes_on_what_we_tell_it(tmp_path: Path, sent: ProxyHeader) -> None:
    async def test() -> None:
        async with served("auto") as (_, handler, port):
            backend = f"server one 127.0.0.1:{port} send-proxy-v2"
            with haproxy(tmp_path, backend, "accept-proxy") as front:
                await ask(front, proxy_header=sent)
        header = handler.headers[-1]
        assert (sent.source, sent.destination) == (header.source, header.destination)

    run(test)


@needs("haproxy")
def test_a_rolling_restart_of_two_servers_loses_no_frame(tmp_path: Path) -> None:
    clients, lines = 500, 4

    async def converse(front: int) -> int:
        answers = 0
        for _ in range(lines):
            answer, own = await ask(front)
            assert f"{own} says hello" == answer
            answers += 1
        return answers

    async def test() -> None:
        async with served("v2") as (first, _, one), served("v2") as (_, _, two):
            options = "send-proxy-v2 check inter 50ms fall 1 rise 1 observe layer4 error-limit 1"
            backend = (
                "retries 5\n    option redispatch 1\n    balance roundrobin\n"
                f"    server one 127.0.0.1:{one} {options}\n    server two 127.0.0.1:{two} {options}"
            )
            with haproxy(tmp_path, backend) as front:
                conversations = [asyncio.ensure_future(converse(front)) for _ in range(clients)]
                await until(lambda: first.stats.accepted > clients)
                await first.aclose()
                assert [lines] * clients == await asyncio.gather(*conversations)
        assert first.stats.peer_failures == first.stats.cut == 0

    run(test)


# nginx


@needs("nginx", STREAM_MODULE)
def test_nginx_tells_who_its_client_is_and_passes_tls_through(
    tmp_path: Path, tls: tuple[ssl.SSLContext, ssl.SSLContext, Path]
) -> None:
    ours, theirs, _ = tls

    async def test() -> None:
        async with served("auto", url="tls://127.0.0.1:0", tls=ours) as (_, handler, port):
            with nginx(tmp_path, port) as front:
                for _ in range(20):
                    answer, own = await ask(front, tls=theirs, server_hostname="localhost")
                    assert f"{own} says hello" == answer
        assert 1 == handler.headers[-1].version

    run(test)


@needs("nginx", STREAM_MODULE)
@pytest.mark.parametrize("version", [1, 2])
def test_nginx_passes_on_what_we_tell_it(tmp_path: Path, version: int) -> None:
    sent = ProxyHeader(version=version, source=CLIENT.source, destination=CLIENT.destination)

    async def test() -> None:
        async with served("v1") as (_, handler, port):
            with nginx(tmp_path, port, "proxy_protocol") as front:
                await ask(front, proxy_header=sent)
        assert handler.headers  # nginx writes the address of its own client, which is us

    run(test)


# The package proxy-protocol


def as_theirs(header: ProxyHeader) -> Any:
    result = pytest.importorskip(
        "proxyprotocol.result", reason="proxy-protocol is not installed, see plugins/install_peers.sh"
    )
    tlv = pytest.importorskip("proxyprotocol.tlv")
    assert header.source is not None
    assert header.destination is not None
    kind = result.ProxyResultIPv4 if header.family == "TCP4" else result.ProxyResultIPv6
    ends = [(ip_address(host), port) for host, port in (header.source, header.destination)]  # type: ignore[misc,str-unpack]
    entries = tlv.ProxyProtocolTLV(init=dict(header.tlvs), crc32c=0 if header.crc32c else None)
    return kind(*ends, protocol=socket.SOCK_STREAM, tlv=entries)


def theirs(version: int) -> Any:
    module = pytest.importorskip(
        f"proxyprotocol.v{version}", reason="proxy-protocol is not installed, see plugins/install_peers.sh"
    )
    return module.ProxyProtocolV1() if version == 1 else module.ProxyProtocolV2()


def random_headers(count: int) -> Iterator[ProxyHeader]:
    source = random.Random(14)
    for _ in range(count):
        version = source.choice([1, 2])
        four = source.random() < 0.5
        size = 4 if four else 16
        hosts = [socket.inet_ntop(socket.AF_INET if four else socket.AF_INET6, source.randbytes(size)) for _ in "ab"]
        # The package sorts entries by their type before it computes the checksum, which is our last one.
        kinds = [] if version == 1 else sorted(source.sample([0, 1, 2], source.randrange(4)))
        yield ProxyHeader(
            version=version,
            source=(hosts[0], source.getrandbits(16)),
            destination=(hosts[1], source.getrandbits(16)),
            tlvs=tuple((kind, source.randbytes(source.randrange(30))) for kind in kinds),
            crc32c=version == 2 and source.random() < 0.5,
        )


def test_both_packages_read_what_the_other_writes() -> None:
    for header in random_headers(2000):
        expected = as_theirs(header)
        found = theirs(header.version).unpack(Proxy().encode(header))
        assert (expected.source, expected.dest) == (found.source, found.dest)
        assert dict(header.tlvs) == {kind: found.tlv[kind] for kind in found.tlv if kind != Tlv.CRC32C}
        [read] = iter_frames(theirs(header.version).pack(expected), Proxy())
        assert (header.source, header.destination, header.tlvs) == (read.source, read.destination, read.tlvs)


def test_what_we_read_of_spoilt_headers_they_read_alike() -> None:
    source, agreed = random.Random(15), 0
    for header in random_headers(3000):
        wire = bytearray(Proxy().encode(header))
        for _ in range(source.randrange(1, 3)):
            wire[source.randrange(len(wire))] = source.choice(b"\0\1\r\n 0159.:af\x11\x21\xff")
        try:
            [read] = iter_frames(bytes(wire), Proxy())
        except FramingError:
            continue  # we are the stricter one, as the specification wants
        agreed += 1
        found = theirs(read.version).unpack(bytes(wire))
        if read.command == "PROXY" and read.source is not None and not isinstance(read.source, str):
            assert read.source == (str(found.source[0]), found.source[1])
    assert agreed > 100
