"""TLS from a URL: who is trusted, what is agreed on, and what happens when the handshake goes wrong."""

import asyncio
import logging
import socket
import ssl

import pytest
from certificates import certificates
from loopback import HERE, LINE, ask, echo, greet, until

from framestream import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    StreamClosed,
    client_tls,
    connect,
    serve,
    server_tls,
)

TLS_HERE = "tls://localhost:0"


async def test_a_protocol_is_agreed_on_and_frames_pass():
    files = certificates()
    async with await serve(echo, TLS_HERE, tls=files.server(alpn=("chat/2", "chat/1"))) as server:
        async with await connect(server.url, tls=files.client(alpn=["chat/1"])) as stream:
            await stream.send("hello", LINE)
            assert "hello" == await stream.read(LINE)
            assert stream.transport.tls.version() in ("TLSv1.2", "TLSv1.3")
            assert "chat/1" == stream.transport.tls.selected_alpn_protocol()


@pytest.mark.asyncio_only
async def test_the_default_context_is_made_once(monkeypatch):
    files = certificates()
    made = []

    def make(**options):
        made.append(options)
        return client_tls(**options)

    monkeypatch.setattr("framestream.net.streams.client_tls", make)
    monkeypatch.setenv("SSL_CERT_FILE", files.ca)
    async with await serve(echo, TLS_HERE, tls=files.server(alpn=["chat/1"])) as server:
        for _ in range(3):
            assert "hello" == await ask(server.url)
        assert "hello" == await ask(server.url, alpn=("chat/1",))
        monkeypatch.setenv("SSL_CERT_FILE", files.key)  # trusts nobody
        with pytest.raises(ConnectError):
            await connect(server.url)
    assert 3 == len(made)


async def test_a_certificate_that_nobody_vouches_for_is_refused(caplog):
    caplog.set_level(logging.INFO)
    async with await serve(echo, TLS_HERE, tls=certificates().server()) as server:
        with pytest.raises(ConnectError) as caught:
            await connect(server.url)
        await until(lambda: server.stats.handshake_failures)
    cause = caught.value.__cause__
    assert isinstance(cause, ssl.SSLCertVerificationError)
    told = f"cannot connect to {server.url}: tls handshake failed: {cause.verify_message}"
    assert told.lower() == str(caught.value).lower()  # each version of OpenSSL has words of its own
    assert "TLS handshake failed: " in caplog.text
    assert 0 == server.stats.handler_failures == server.stats.peer_failures


async def test_a_certificate_for_another_host_is_refused_unless_that_is_asked_for():
    files = certificates("example.org")
    async with await serve(echo, TLS_HERE, tls=files.server()) as server:
        with pytest.raises(ConnectError, match="failed: hostname mismatch, certificate is not valid for"):
            await connect(server.url, tls=files.client())
        assert "hello" == await ask(server.url, tls=files.client(), server_hostname="example.org")


async def test_a_server_may_ask_for_the_clients_certificate():
    files = certificates()
    context = server_tls(files.certificate, files.key, client_ca=files.ca)

    async def name(stream):
        subject = dict(pair for (pair,) in stream.transport.tls.getpeercert()["subject"])
        await stream.send(subject.get("organizationName", ""), LINE)

    async with await serve(name, TLS_HERE, tls=context) as server:
        known = client_tls(ca=files.ca, certificate=files.certificate, key=files.key)
        async with await connect(server.url, tls=known) as stream:
            assert "trustme" in await stream.read(LINE)
        # TLS 1.3 finishes the client's side before the server has looked at the client.
        with pytest.raises((StreamClosed, ConnectError, ssl.SSLError)):
            async with await connect(server.url, tls=files.client()) as stranger:
                await stranger.read(LINE)
        await until(lambda: server.stats.handshake_failures)


async def test_arguments_that_do_not_fit_are_refused_before_anybody_is_reached():
    context = certificates().client()
    for url in ("tls://:1", "unix:/nowhere"):
        with pytest.raises(AddressError, match=f"{url} has no host for the certificate to name; pass"):
            await connect(url, tls=context)
    with pytest.raises(AddressError, match=r"'x..y' in server_hostname='x..y' is no host name"):
        await connect("tls://localhost:1", server_hostname="x..y")
    with pytest.raises(TypeError, match="alpn is given, and so is a context"):
        await connect("tls://localhost:1", tls=context, alpn=("chat/1",))
    with pytest.raises(AddressError, match="asks for TLS, tls=False forbids it"):
        await connect("tls://localhost:1", tls=False)
    with pytest.raises(AddressError, match=r"needs a certificate: pass tls=server_tls\(...\)"):
        await serve(echo, TLS_HERE)


def test_the_files_of_a_context_are_named_when_they_are_of_no_use(tmp_path):
    missing, files = tmp_path / "missing.pem", certificates()
    for make in (
        lambda: server_tls(missing),
        lambda: client_tls(ca=missing),
        lambda: server_tls(files.certificate, files.key, client_ca=missing),
    ):
        with pytest.raises(FileNotFoundError, match=f"^cannot use .* {missing}.*: no such file or dir"):
            make()
    with pytest.raises(ssl.SSLError, match=f"^cannot use the certificate in {files.certificate} with"):
        server_tls(files.certificate, files.ca)


async def test_a_peer_that_never_shakes_hands_is_given_up():
    async with await serve(greet, TLS_HERE, tls=certificates().server(), handshake_timeout=0.02) as server:
        async with await connect(server.url.replace("tls", "tcp")) as silent:
            with pytest.raises(StreamClosed):
                await silent.read(LINE)
    assert 1 == server.stats.handshake_failures
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectTimeout, match=rf"cannot connect to {url} within 0.05 s"):
            await connect(url, timeout=0.05)


async def test_a_server_that_does_not_speak_tls_is_reported():
    async with await serve(greet, HERE) as server:
        with pytest.raises(ConnectError, match=r"TLS handshake failed: [a-z ]+$"):
            await connect(server.url.replace("tcp", "tls"))


@pytest.mark.parametrize("timeout", [0, 15])
async def test_a_handshake_that_hangs_does_not_hold_the_drain_up(timeout, monkeypatch, caplog):
    monkeypatch.setattr("framestream.net.server.FIRST_BYTE_TIMEOUT", 0.01)
    loop = asyncio.get_running_loop()
    async with await serve(echo, TLS_HERE, tls=certificates().server()) as server:
        async with await connect(server.url.replace("tls", "tcp")) as silent:
            await until(lambda: server.stats.open)
            began = loop.time()
            await server.aclose(drain_timeout=timeout)
            assert loop.time() - began < 5
            with pytest.raises(StreamClosed):
                await silent.read(LINE)
    assert (0, 1) == (server.stats.open, server.stats.handshake_failures)
    assert (timeout == 0) == ("the time to drain is over" in caplog.text)


async def test_a_handshake_under_way_is_finished_and_heard_out_while_draining():
    files = certificates()
    async with await serve(echo, TLS_HERE, tls=files.server()) as server:
        async with await connect(server.url.replace("tls", "tcp")) as client:
            await until(lambda: server.stats.open)
            draining = asyncio.ensure_future(server.aclose())
            await asyncio.sleep(0)
            await client.start_tls(files.client(), server_hostname="localhost")
            await client.send("hello", LINE)
            assert "hello" == await client.read(LINE)
            await client.aclose()
            await draining
    assert 0 == server.stats.handshake_failures


# STARTTLS


async def negotiate(stream):
    """Go over to TLS when asked, and echo."""
    assert "STARTTLS" == await stream.read(LINE)
    await stream.send("go ahead", LINE)
    await stream.start_tls(certificates().server(), server_side=True)
    await stream.send("secret", LINE)
    await echo(stream)


async def test_a_conversation_goes_over_to_tls_in_the_middle_even_while_the_server_drains():
    async with await serve(negotiate, HERE) as server, await connect(server.url) as client:
        await client.send("STARTTLS", LINE)
        assert "go ahead" == await client.read(LINE)
        draining = asyncio.ensure_future(server.aclose())
        await asyncio.sleep(0)
        await client.start_tls(certificates().client(), server_hostname="localhost")
        assert "secret" == await client.read(LINE)
        await draining


async def test_a_handshake_in_the_middle_that_hangs_does_not_hold_the_drain_up(caplog):
    loop = asyncio.get_running_loop()
    async with await serve(negotiate, HERE) as server, await connect(server.url) as silent:
        await silent.send("STARTTLS", LINE)
        await until(lambda: server.streams and server.streams[0].stats.frames_received)
        began = loop.time()
        await server.aclose(drain_timeout=15)
        assert loop.time() - began < 5
    assert 1 == server.stats.peer_failures
    assert "the time to drain is over" not in caplog.text


@pytest.mark.parametrize("side", ["client", "server"])
async def test_an_end_without_close_notify_can_be_taken_for_one_from_either_side(side):
    files = certificates()
    ends = []

    async def cut(stream):
        await stream.send("last words", LINE)
        await until(lambda: not stream.writing())
        stream.transport.socket.shutdown(socket.SHUT_RDWR)

    async def collect(stream):
        ends.append([line async for line in stream.frames(LINE)])
        ends.append(stream.error)

    here, there = (cut, collect) if side == "client" else (collect, cut)
    tolerant = {"client": {}, "server": {}, side: {"truncation_is_end": True}}
    async with await serve(here, TLS_HERE, tls=files.server(), **tolerant["server"]) as server:
        async with await connect(server.url, tls=files.client(), **tolerant["client"]) as client:
            await there(client)
        await until(lambda: not server.stats.open)
    assert [["last words"], None] == ends
