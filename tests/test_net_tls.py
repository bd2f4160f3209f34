"""TLS from a URL: who is trusted, what is agreed on, and what happens when the handshake goes wrong."""

import asyncio
import logging
import socket
import ssl

import pytest
from certificates import certificates
from loopback import HERE, LINE, TLS_HERE, ask, echo, exchange, greet, hear, tls_contexts
from stream_pairs import raised, refused, until

from framestream import ConnectError, ConnectTimeout, StreamClosed, client_tls, connect, serve, server_tls
from framestream.net.tls import default_client_tls


async def test_a_protocol_is_agreed_on_and_frames_pass():
    files = certificates()
    async with await serve(echo, TLS_HERE, tls=lambda: files.server(alpn=("chat/2", "chat/1"))) as server:
        async with await connect(server.url, tls=files.client(alpn=["chat/1"])) as stream:
            assert "hello" == await exchange(stream)
            assert stream.transport.tls.version() in ("TLSv1.2", "TLSv1.3")
            assert "chat/1" == stream.transport.tls.selected_alpn_protocol()


@pytest.mark.asyncio_only
async def test_the_default_context_is_made_once(monkeypatch):
    files, made = certificates(), []
    monkeypatch.setattr("framestream.net.tls.client_tls", lambda **it: made.append(it) or client_tls(**it))
    monkeypatch.setenv("SSL_CERT_FILE", files.ca)
    async with await serve(echo, TLS_HERE, tls=files.server()) as server:
        default_client_tls.cache_clear()
        for options in ({}, {"tls": True}):
            assert "hello" == await ask(server.url, **options)
    default_client_tls.cache_clear()
    assert 1 == len(made)


async def test_a_certificate_that_nobody_vouches_for_or_no_tls_is_refused(caplog):
    caplog.set_level(logging.INFO)
    async with await serve(echo, TLS_HERE, tls=certificates().server()) as server:
        caught = await raised(ConnectError, connect, server.url)
        await until(lambda: server.stats.handshake_failures)
    cause = caught.__cause__
    assert isinstance(cause, ssl.SSLCertVerificationError)
    told = f"cannot connect to {server.url}: tls handshake failed: {cause.verify_message}"
    assert told.lower() == str(caught).lower()  # each version of OpenSSL has words of its own
    assert "TLS handshake failed: " in caplog.text
    assert 0 == server.stats.handler_failures == server.stats.peer_failures
    async with await serve(greet, HERE) as server:
        await raised(ConnectError, connect(server.url.replace("tcp", "tls")), match=r"TLS handshake failed: [a-z ]+$")


async def test_a_certificate_for_another_host_is_refused_unless_that_is_asked_for():
    files = certificates("example.org")
    async with await serve(echo, TLS_HERE, tls=files.server()) as server:
        with pytest.raises(ConnectError, match="failed: hostname mismatch, certificate is not valid for"):
            await connect(server.url, tls=files.client())
        assert "hello" == await ask(server.url, tls=files.client(), server_hostname="example.org")


async def test_a_server_may_ask_for_the_clients_certificate():
    files = certificates()
    context = server_tls(files.certificate, files.key, client_ca=files.ca)
    async with await serve(greet, TLS_HERE, tls=context) as server:
        known = client_tls(ca=files.ca, certificate=files.certificate, key=files.key)
        assert "hello" == await hear(server.url, tls=known)
        # TLS 1.3 finishes the client's side before the server has looked at the client.
        await raised((StreamClosed, ConnectError, ssl.SSLError), hear, server.url, tls=files.client())
        await until(lambda: server.stats.handshake_failures)


def test_the_files_of_a_context_are_named_when_they_are_of_no_use(tmp_path):
    missing, files = tmp_path / "missing.pem", certificates()
    for make, options in (
        (server_tls, {"certificate": missing}),
        (client_tls, {"ca": missing}),
        (server_tls, {"certificate": files.certificate, "key": files.key, "client_ca": missing}),
    ):
        refused(FileNotFoundError, make, **options, match=f"^cannot use .* {missing}.*: no such file or dir")
    with pytest.raises(ssl.SSLError, match=f"^cannot use the certificate in {files.certificate} with"):
        server_tls(files.certificate, files.ca)


async def test_a_peer_that_never_shakes_hands_is_given_up():
    async with await serve(greet, TLS_HERE, tls=certificates().server(), handshake_timeout=0.02) as server:
        async with await connect(server.url.replace("tls", "tcp")) as silent:
            await raised(StreamClosed, silent.read, LINE)
    assert 1 == server.stats.handshake_failures
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectTimeout, match=rf"cannot connect to {url} within 0.05 s: no TLS handshake$"):
            await connect(url, timeout=0.05)


async def negotiate(stream):
    """Go over to TLS when asked, and echo."""
    assert "STARTTLS" == await stream.read(LINE)
    await stream.send("go ahead", LINE)
    await stream.start_tls(certificates().server(), server_side=True)
    await echo(stream)


async def ask_for_tls(client):
    assert "go ahead" == await exchange(client, "STARTTLS")


@pytest.mark.no_waiting
@pytest.mark.parametrize(("hangs", "patience"), [(False, 15), (True, 15), (True, 0)])
@pytest.mark.parametrize("place", [TLS_HERE, HERE])
async def test_a_server_that_drains_finishes_handshakes_but_waits_for_none_that_hangs(place, hangs, patience, caplog):
    caplog.set_level(logging.INFO)
    handler = echo if place == TLS_HERE else negotiate
    async with await serve(handler, place, tls=tls_contexts(place)[0]) as server:
        async with await connect(server.url.replace("tls", "tcp")) as client:
            await until(lambda: server.stats.open)
            if place == HERE:
                await ask_for_tls(client)
            draining = asyncio.ensure_future(server.aclose(drain_timeout=patience))
            await asyncio.sleep(0)
            if hangs:
                await raised(StreamClosed, client.read, LINE)
            else:
                await client.start_tls(certificates().client(), server_hostname="localhost")
                assert "hello" == await exchange(client)
        async with asyncio.timeout(5):
            await draining
    stats = server.stats
    lost = stats.handshake_failures if place == TLS_HERE else stats.peer_failures
    # A handler that is cancelled in its handshake is the server's doing.
    assert (hangs and (place == TLS_HERE or patience > 0)) == lost
    assert (0, 0) == (stats.open, stats.handler_failures)
    assert (patience == 0) == ("the time to drain is over" in caplog.text)
    told = "TLS handshake failed: the server closes" in caplog.text
    assert (patience == 0 and place == TLS_HERE) == told


@pytest.mark.every_loop
@pytest.mark.parametrize("spoilt", [
    b"\x17\x03\x03\x00\x20" + bytes(32), b"\x15\x03\x03\x00\x02\x02\x28", b"GET / HTTP/1.0\r\n\r\n"
], ids=["record", "alert", "plaintext"])  # fmt: skip
@pytest.mark.parametrize("url", [TLS_HERE, HERE], ids=["after", "instead of"])
async def test_what_is_wrong_with_the_peers_tls_is_its_failure_and_not_the_handlers(url, spoilt, caplog):
    """After the handshake, and in one that a handler makes in the middle of a stream."""
    caplog.set_level(logging.INFO)
    raised = []

    async def handler(stream):
        try:
            await (echo if url == TLS_HERE else negotiate)(stream)
        except (OSError, StreamClosed) as error:
            raised.append(getattr(error, "real_error", error))
            raise

    async with await serve(handler, url, tls=certificates().server() if url == TLS_HERE else None) as server:
        async with await connect(server.url.replace("tls", "tcp")) as client:
            if url == TLS_HERE:
                below = client.transport
                await client.start_tls(certificates().client(), server_hostname="localhost")
                assert "hello" == await exchange(client)
                below.send([spoilt])
            else:
                await ask_for_tls(client)
                await client.write(spoilt)
            await until(lambda: server.stats.peer_failures)
    assert isinstance(raised[0], ssl.SSLError)
    assert 0 == server.stats.handler_failures
    assert "connection ended: " in caplog.text
    assert not any(record.exc_info or record.levelname == "ERROR" for record in caplog.records)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_an_end_without_close_notify_can_be_taken_for_one_from_either_side(side):
    files, ends = certificates(), []

    async def cut(stream):
        await stream.send("last words", LINE)
        await until(lambda: not stream.writing())
        stream.transport.socket.shutdown(socket.SHUT_RDWR)

    async def collect(stream):
        ends.extend([[line async for line in stream.frames(LINE)], stream.error])

    here, there = (cut, collect) if side == "client" else (collect, cut)

    async def handle(stream):
        await stream.start_tls(files.server(), server_side=True, truncation_is_end=side == "server")
        await here(stream)

    async with await serve(handle, HERE) as server:
        async with await connect(server.url) as client:
            options = {"server_hostname": "localhost", "truncation_is_end": side == "client"}
            await client.start_tls(files.client(), **options)
            await there(client)
        await until(lambda: not server.stats.open)
    assert [["last words"], None] == ends
