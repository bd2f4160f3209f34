"""Servers behind load balancers, and clients that speak as one: the PROXY protocol over loopback."""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress

import pytest
from certificates import certificates
from conftest import LOOPS
from distributions import with_proxy
from loopback import HERE, LINE, ask, exchange, open_descriptors, raw_client, warned
from stream_pairs import passes, raised, until
from worker_handlers import name_peer

from framestream import BufferFull, EncodeError, IOStream, StreamClosed, UnknownFramerError, connect, plugins, serve

LINE_HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BINARY_HEADER = SIGNATURE + b"\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"
TOO_LARGE = SIGNATURE + b"\x21\x11\xff\xff"
WRONG_CHECKSUM = SIGNATURE + b"\x21\0\0\7\3\0\4\0\0\0\0"
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"
CLIENT = "192.0.2.7:56324"
TRUSTED = ["127.0.0.0/8", "::1"]


@pytest.fixture(autouse=True, scope="module")
def distribution(tmp_path_factory):
    with with_proxy(tmp_path_factory.mktemp("site")):
        yield


def header(**fields):
    from framestream_proxy import ProxyHeader

    return ProxyHeader(source=("192.0.2.7", 56324), destination=("198.51.100.1", 443), **fields)


def behind(protocol="auto", *, handler=name_peer, url=HERE, trusted=TRUSTED, **options):
    return serve(handler, url, proxy_protocol=protocol, trusted=trusted, **options)


async def told(server, *chunks):
    """Send each of these chunks by itself; return who the server thinks says the first line."""
    async with await connect(server.url) as stream:
        for chunk in chunks:
            await stream.write(chunk)
            await passes()
        peer, _, line = (await stream.read(LINE)).partition(" says ")
        assert "hello" == line
        return peer


@pytest.mark.parametrize("sent", [LINE_HEADER, BINARY_HEADER], ids=["v1", "v2"])
async def test_no_byte_is_lost_wherever_a_header_is_cut(sent):
    stream = sent + b"hello\n"
    async with await behind() as server:
        for cut in range(1, len(stream)):
            assert CLIENT == await told(server, stream[:cut], stream[cut:])
        assert CLIENT == await told(server, *(stream[at : at + 1] for at in range(len(stream))))


@pytest.mark.parametrize("sent", [LOCAL, UNKNOWN, SIGNATURE + b"\x21\0\0\0"], ids=["local", "unknown", "unspec"])
async def test_a_header_that_names_nobody_leaves_the_peer_of_the_socket(sent):
    async with await behind() as server:
        assert "127.0.0.1" == (await told(server, sent + b"hello\n")).partition(":")[0]


async def test_a_handler_sees_all_that_the_header_says():
    seen = []

    async def look(stream):
        seen.append((stream.proxy_header, stream.peer))
        await name_peer(stream)

    sent = header(tlvs=((2, b"example.org"),), crc32c=True)
    async with await behind(handler=look) as server:
        async with await connect(server.url, proxy_header=sent) as stream:
            assert f"{CLIENT} says hello" == await exchange(stream)
            assert stream.proxy_header is None
    assert [(sent, CLIENT)] == seen
    async with await serve(look, HERE) as server:
        await ask(server.url)
    assert seen[1][0] is None


@pytest.mark.every_loop
@pytest.mark.parametrize("version", [1, 2])
async def test_tls_is_passed_through_after_the_header(version):
    keys = certificates()
    async with await behind(url="tls://localhost:0", tls=keys.server()) as server:
        sent = header(version=version)
        said = await ask(server.url, tls=keys.client(), proxy_header=sent)
        assert f"{CLIENT} says hello" == said
    assert (0, 0) == (server.stats.handshake_failures, server.stats.peer_failures)


@pytest.mark.parametrize("sent", [LINE_HEADER, BINARY_HEADER], ids=["v1", "v2"])
async def test_a_header_and_the_beginning_of_the_handshake_may_come_in_one_segment(sent):
    keys = certificates()
    async with await behind(url="tls://localhost:0", tls=keys.server()) as server:
        client = raw_client(server)
        client.sendall(sent)
        async with IOStream(client) as stream:
            # This sends its hello at once, and the server has had no turn yet: both are there when it looks.
            await stream.start_tls(keys.client(), server_hostname="localhost")
            assert f"{CLIENT} says hello" == await exchange(stream)
        with raw_client(server) as client:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with suppress(ssl.SSLWantReadError):
                keys.client().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
            hello = outgoing.read()
            client.sendall(sent + hello[:1])  # by which nobody knows it for a handshake
            await until(lambda: server.streams and server.streams[0].proxy_header)
            client.sendall(hello[1:])
            client.setblocking(False)
            assert b"\x16\x03" == (await asyncio.get_running_loop().sock_recv(client, 100))[:2]


async def test_plaintext_in_place_of_the_handshake_is_refused():
    async with await behind(url="tls://localhost:0", tls=certificates().server()) as server:
        with raw_client(server) as client:
            client.sendall(LINE_HEADER + b"hello\n")
            await until(lambda: server.stats.handshake_failures)


BAD = [
    ("auto", b"GET / HTTP/1.1\r\n", "no PROXY header"),
    ("auto", b"hello\n", "no PROXY header"),
    ("v1", BINARY_HEADER, "no PROXY header of version 1"),
    ("v2", LINE_HEADER, "no PROXY header of version 2"),
    ("auto", b"PROXY UNKNOWN " + b"x" * 100, "PROXY line without an end within 107 bytes"),
    ("auto", b"PROXY TCP4 192.0.2.7\r\n", "is none of PROXY TCP4"),
    ("auto", TOO_LARGE, "frame of 65551 bytes exceeds the limit 4096"),
    ("auto", WRONG_CHECKSUM, "checksum 00000000, but that of what arrived is"),
]


@pytest.mark.parametrize(("protocol", "sent", "reason"), BAD)
@pytest.mark.parametrize("options", [{}, {"on_oversize": "discard", "on_payload_error": print}])
async def test_a_bad_header_ends_the_connection_at_once_with_a_line_that_says_why(
    protocol, sent, reason, options, caplog
):
    async with await behind(protocol, **options) as server:
        with raw_client(server) as client:
            client.sendall(sent)
            await until(lambda: server.stats.peer_failures)
            await until(lambda: not server.stats.open)
            with suppress(ConnectionResetError):
                assert b"" == client.recv(100)
        assert CLIENT == await told(server, BINARY_HEADER if protocol == "v2" else LINE_HEADER, b"hello\n")
    assert (0, 1) == (server.stats.handler_failures, server.stats.peer_failures)
    [message] = warned(caplog)
    assert message.startswith("127.0.0.1:")
    assert reason in message


@pytest.mark.no_waiting
@pytest.mark.parametrize("sent", [LINE_HEADER, BINARY_HEADER, b""], ids=["v1", "v2", "silence"])
async def test_a_header_that_drips_in_holds_its_connection_no_longer_than_the_deadline(sent, caplog):
    caplog.set_level(logging.INFO)
    loop = asyncio.get_running_loop()
    async with await behind(handshake_timeout=5) as server:
        async with await connect(server.url) as stream:
            await until(lambda: server.stats.open)
            began = loop.time()
            closed = asyncio.ensure_future(stream.wait_closed())
            for at in range(20):  # more than the deadline has room for, each well before it is over
                with suppress(StreamClosed, OSError):
                    await stream.write(sent[at : at + 1])
                await asyncio.wait([closed], timeout=1)
                if closed.done():
                    break
            assert 5 == pytest.approx(loop.time() - began)
    assert (1, 0) == (server.stats.peer_failures, server.stats.handler_failures)
    ended = [message.partition(": ")[2] for message in caplog.messages if "connection ended" in message]
    assert ["connection ended: no whole PROXY header within 5 s"] == ended


@pytest.mark.parametrize("event_loop_name", [*LOOPS, "no-waiting"], indirect=True)
async def test_who_is_not_trusted_is_refused_unheard_and_that_is_told_once_a_minute(event_loop_name, caplog):
    pauses = (0, 0, 59, 2) if event_loop_name == "no-waiting" else (0, 0)
    async with await behind(trusted=["10.0.0.0/8", "2001:db8::/32"]) as server:
        for pause in pauses:
            await asyncio.sleep(pause)
            refused = server.stats.refused
            with raw_client(server) as client:
                with suppress(ConnectionError):
                    client.sendall(LINE_HEADER + b"hello\n")
                await until(lambda: server.stats.refused > refused)  # noqa: B023
                with suppress(ConnectionResetError):
                    assert b"" == client.recv(100)
        stats = server.stats
        assert (len(pauses), len(pauses), 0) == (stats.accepted, stats.refused, stats.peer_failures)
    networks = "none of the trusted networks (10.0.0.0/8, 2001:db8::/32)"
    assert [True] * (len(pauses) // 2) == [message.endswith(networks) for message in warned(caplog)]


async def test_a_check_that_connects_and_leaves_is_no_failure_and_no_affair_of_the_handler(caplog):
    async with await behind() as server:
        for sent in (b"", LOCAL, UNKNOWN):
            with raw_client(server) as client:
                client.sendall(sent)
        with raw_client(server) as client:
            client.sendall(b"PROXY")
        await until(lambda: server.stats.accepted == 4 and not server.stats.open)
    assert (1, 0) == (server.stats.peer_failures, server.stats.handler_failures)
    [message] = warned(caplog)
    assert "stream ended inside a frame: 5 bytes arrived" in message


async def test_everybody_who_may_open_a_unix_socket_is_trusted(tmp_path):
    async with await behind(url=f"unix:{tmp_path}/socket", trusted=[]) as server:
        assert CLIENT == await told(server, LINE_HEADER + b"hello\n")
        paths = b"/run/client\n".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
        assert "/run/client\\n" == await told(server, SIGNATURE + b"\x21\x31\0\xd8" + paths, b"hello\n")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
async def test_an_address_of_ipv4_is_trusted_at_a_socket_for_both_families():
    sock = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = sock.getsockname()[1]
    async with await behind(url=f"fd:{sock.detach()}"):
        said = await ask(f"tcp://127.0.0.1:{port}", proxy_header=header())
        assert f"{CLIENT} says hello" == said


async def test_a_client_whose_header_has_arrived_has_a_moment_for_its_request_when_the_server_drains():
    async with await behind() as server:
        async with await connect(server.url) as stream:
            await stream.write(BINARY_HEADER)
            await until(lambda: server.streams and server.streams[0].proxy_header)
            closing = asyncio.ensure_future(server.aclose())
            await passes(10)
            assert f"{CLIENT} says hello" == await exchange(stream)
        await closing


@pytest.mark.asyncio_only
async def test_workers_read_headers_too():
    async with await behind(workers=1) as server:
        assert CLIENT == await told(server, BINARY_HEADER + b"hello\n")
    async with await behind(workers=1, trusted=["10.0.0.0/8"]) as server:
        await raised((StreamClosed, OSError), ask, server.url, proxy_header=header())
    assert (1, 1) == (server.stats.accepted, server.stats.refused)


@pytest.mark.asyncio_only
async def test_options_that_mean_nothing_are_refused_before_anybody_listens_or_is_asked():
    for attempt, error, reason in (
        (behind("v3"), ValueError, "it must be one of off, v1, v2, auto"),
        (behind(trusted=[]), ValueError, "no network is trusted: every peer could claim to be any client"),
        (behind(trusted="10.0.0.0/8"), TypeError, "it must be a list of networks"),
        (behind(trusted=5), TypeError, "it must be a list of networks"),
        (behind(trusted=["10.0.0.1/8"]), ValueError, "10.0.0.1/8 has host bits set"),
        (behind(trusted=[5]), ValueError, "'5' does not appear to be an IPv4 or"),
        (behind(trusted=["balancer"]), ValueError, "'balancer' does not appear to be an IPv4 or"),
        (behind("off"), ValueError, 'pass proxy_protocol="auto" as well'),
        (connect("tcp://127.0.0.1:1", proxy_header=CLIENT), EncodeError, "it must be a ProxyHeader"),
    ):
        await raised(error, attempt, match=reason)


async def test_a_header_for_which_there_is_no_room_leaves_nothing_open():
    async with await behind() as server:
        before = open_descriptors()
        await raised(BufferFull, connect, server.url, proxy_header=header(), max_write_buffer_size=10)
        await until(lambda: open_descriptors() <= before)


@pytest.mark.asyncio_only
async def test_what_to_install_is_said_where_there_is_no_framer(tmp_path):
    with plugins.isolated():
        plugins.rescan([str(tmp_path)])
        for asked in (behind(), connect(HERE, proxy_header=header())):
            await raised(UnknownFramerError, asked, match="pip install framestream-proxy")
