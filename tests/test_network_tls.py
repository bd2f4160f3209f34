"""TLS from a URL: who is trusted, what is agreed on, and what happens when the handshake goes wrong."""

import asyncio
import logging
import socket
import ssl

import pytest
from certificates import certificates

from framestream import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    FramingError,
    Line,
    StreamClosed,
    client_tls,
    connect,
    serve,
    server_tls,
)

LINE = Line()


async def echo(stream):
    async for line in stream.frames(LINE):
        await stream.send(line, LINE)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def test_frames_pass_under_tls():
    files = certificates()
    async with await serve(echo, "tls://localhost:0", tls=files.server()) as server:
        async with await connect(server.url, tls=files.client()) as stream:
            await stream.send("hello", LINE)
            assert "hello" == await stream.read(LINE)
            assert stream.channel.tls.version() in ("TLSv1.2", "TLSv1.3")


async def test_tls_over_a_unix_socket_names_whom_to_expect(tmp_path):
    files = certificates()
    async with await serve(echo, f"unix:{tmp_path}/socket", tls=files.server()) as server:
        async with await connect(server.url, tls=files.client(), server_hostname="localhost") as stream:
            await stream.send("hello", LINE)
            assert "hello" == await stream.read(LINE)


async def test_a_certificate_that_nobody_vouches_for_is_refused(caplog):
    caplog.set_level(logging.INFO)
    async with await serve(echo, "tls://localhost:0", tls=certificates().server()) as server:
        with pytest.raises(ConnectError) as caught:
            await connect(server.url)
        await until(lambda: server.stats.handshake_failures)
    reason = caught.value.__cause__.verify_message  # each version of OpenSSL has words of its own
    assert (
        f"cannot connect to {server.url}: tls handshake failed: {reason}".lower() == str(caught.value).lower()
    )
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert any("TLS handshake failed: " in record.getMessage() for record in caplog.records)
    assert 0 == server.stats.handler_failures == server.stats.peer_failures


async def test_a_certificate_for_another_host_is_refused():
    files = certificates("example.org")
    async with await serve(echo, "tls://localhost:0", tls=files.server()) as server:
        with pytest.raises(
            ConnectError, match="TLS handshake failed: hostname mismatch, certificate is not valid for"
        ):
            await connect(server.url, tls=files.client())
        async with await connect(server.url, tls=files.client(), server_hostname="example.org") as stream:
            await stream.send("hello", LINE)
            assert "hello" == await stream.read(LINE)


async def test_the_protocol_is_agreed_on():
    files = certificates()
    context = files.server(alpn=("chat/2", "chat/1"))
    async with await serve(echo, "tls://localhost:0", tls=context) as server:
        async with await connect(server.url, tls=files.client(alpn=["chat/1"])) as stream:
            assert "chat/1" == stream.channel.tls.selected_alpn_protocol()


async def test_protocols_are_given_once():
    with pytest.raises(TypeError, match="alpn is given, and so is a context"):
        await connect("tls://localhost:1", tls=certificates().client(), alpn=("chat/1",))
    with pytest.raises(ConnectError, match="connection refused"):
        await connect("tls://127.0.0.1:1", alpn=("chat/1",))


async def test_a_server_may_ask_for_the_clients_certificate():
    files = certificates()
    context = server_tls(files.certificate, files.key, client_ca=files.ca)

    async def name(stream):
        subject = dict(pair for (pair,) in stream.channel.tls.getpeercert()["subject"])
        await stream.send(subject.get("organizationName", ""), LINE)

    async with await serve(name, "tls://localhost:0", tls=context) as server:
        known = client_tls(ca=files.ca, certificate=files.certificate, key=files.key)
        async with await connect(server.url, tls=known) as stream:
            assert "trustme" in await stream.read(LINE)
        # TLS 1.3 finishes the client's side before the server has looked at the client.
        with pytest.raises((StreamClosed, ConnectError, ssl.SSLError)):
            async with await connect(server.url, tls=files.client()) as stranger:
                await stranger.read(LINE)
        await until(lambda: server.stats.handshake_failures)


async def test_the_certificate_must_have_somebody_to_name():
    for url in ("tls://:1", "unix:/nowhere"):
        with pytest.raises(
            AddressError, match=f"{url} has no host for the certificate to name; pass server_"
        ):
            await connect(url, tls=certificates().client())
    with pytest.raises(AddressError, match=r"'x..y' in server_hostname='x..y' is no host name"):
        await connect("tls://localhost:1", server_hostname="x..y")


def test_the_files_of_a_context_are_named_when_they_are_of_no_use(tmp_path):
    missing, files = tmp_path / "missing.pem", certificates()
    for make in (
        lambda: server_tls(missing),
        lambda: client_tls(ca=missing),
        lambda: server_tls(files.certificate, files.key, client_ca=missing),
    ):
        with pytest.raises(
            FileNotFoundError, match=f"^cannot use .* {missing}.*: no such file or directory$"
        ):
            make()
    with pytest.raises(
        ssl.SSLError, match=f"^cannot use the certificate in {files.certificate} with the key"
    ):
        server_tls(files.certificate, files.ca)


async def test_url_and_option_must_agree():
    with pytest.raises(AddressError, match="asks for TLS, tls=False forbids it"):
        await connect("tls://localhost:1", tls=False)
    with pytest.raises(AddressError, match=r"needs a certificate: pass tls=server_tls\(...\)"):
        await serve(echo, "tls://localhost:0")


async def test_a_client_that_never_shakes_hands_is_cut_off():
    server = await serve(echo, "tls://127.0.0.1:0", tls=certificates().server(), handshake_timeout=0.02)
    async with server:
        async with await connect(server.url.replace("tls", "tcp")) as silent:
            with pytest.raises(StreamClosed):
                await silent.read(LINE)
    assert 1 == server.stats.handshake_failures


async def test_a_server_that_never_shakes_hands_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectTimeout, match=rf"cannot connect to {url} within 0.05 s"):
            await connect(url, timeout=0.05)


async def test_a_server_that_does_not_speak_tls_is_reported():
    async def greet(stream):
        await stream.write(b"220 hello\r\n")

    async with await serve(greet, "tcp://127.0.0.1:0") as server:
        with pytest.raises(ConnectError, match=r"TLS handshake failed: [a-z ]+$"):
            await connect(server.url.replace("tcp", "tls"))


async def test_a_hanging_handshake_does_not_keep_the_server_from_closing():
    async with await serve(echo, "tls://127.0.0.1:0", tls=certificates().server(), drain_timeout=0) as server:
        async with await connect(server.url.replace("tls", "tcp")):
            await until(lambda: server.stats.open)
            await server.aclose()


async def test_a_handshake_that_hangs_does_not_hold_the_drain_up(caplog):
    loop = asyncio.get_running_loop()
    async with await serve(echo, "tls://127.0.0.1:0", tls=certificates().server()) as server:
        async with await connect(server.url.replace("tls", "tcp")) as silent:
            await until(lambda: server.stats.open)
            began = loop.time()
            await server.aclose(drain_timeout=15)
            assert loop.time() - began < 5
            with pytest.raises(StreamClosed):
                await silent.read(LINE)
    assert (0, 1) == (server.stats.open, server.stats.handshake_failures)
    assert "the time to drain is over" not in caplog.text


async def test_a_handshake_begun_in_the_middle_does_not_hold_the_drain_up(caplog):
    async def negotiate(stream):
        await stream.read(LINE)
        await stream.start_tls(certificates().server(), server_side=True)

    loop = asyncio.get_running_loop()
    async with await serve(negotiate, "tcp://127.0.0.1:0") as server, await connect(server.url) as silent:
        await silent.send("STARTTLS", LINE)
        await until(lambda: server.streams and server.streams[0].stats.frames_received)
        began = loop.time()
        await server.aclose(drain_timeout=15)
        assert loop.time() - began < 5
    assert 1 == server.stats.peer_failures
    assert "the time to drain is over" not in caplog.text


async def test_a_handshake_begun_in_the_middle_may_be_completed_while_draining():
    files = certificates()

    async def negotiate(stream):
        await stream.read(LINE)
        await stream.start_tls(files.server(), server_side=True)
        await stream.send("goodbye", LINE)

    async with await serve(negotiate, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        await client.send("STARTTLS", LINE)
        await until(lambda: server.streams and server.streams[0].stats.frames_received)
        draining = asyncio.ensure_future(server.aclose())
        await asyncio.sleep(0)
        await client.start_tls(files.client(), server_hostname="localhost")
        assert "goodbye" == await client.read(LINE)
        await draining


async def test_a_handshake_that_has_begun_is_finished_and_heard_out_while_draining():
    files = certificates()
    async with await serve(echo, "tls://localhost:0", tls=files.server()) as server:
        async with await connect(server.url.replace("tls", "tcp")) as client:
            await until(lambda: server.stats.open)
            draining = asyncio.ensure_future(server.aclose())
            await asyncio.sleep(0)
            await client.start_tls(files.client(), server_hostname="localhost")
            await client.send("hello", LINE)
            assert "hello" == await client.read(LINE)
            await draining
    assert 0 == server.stats.handshake_failures


async def test_a_conversation_goes_over_to_tls_in_the_middle():
    files = certificates()

    async def negotiate(stream):
        assert "STARTTLS" == await stream.read(LINE)
        await stream.send("go ahead", LINE)
        await stream.start_tls(files.server(), server_side=True)
        await echo(stream)

    async with await serve(negotiate, "tcp://localhost:0") as server, await connect(server.url) as stream:
        await stream.send("STARTTLS", LINE)
        assert "go ahead" == await stream.read(LINE)
        await stream.start_tls(files.client(), server_hostname="localhost")
        await stream.send("secret", LINE)
        assert "secret" == await stream.read(LINE)


async def test_plaintext_slipped_in_ahead_of_the_handshake_is_refused():
    refused = asyncio.get_running_loop().create_future()

    async def negotiate(stream):
        await stream.read(LINE)
        try:
            await stream.start_tls(certificates().server(), server_side=True)
        except FramingError as error:
            refused.set_result(str(error))

    async with await serve(negotiate, "tcp://localhost:0") as server, await connect(server.url) as stream:
        await stream.write(b"STARTTLS\nRCPT TO:<mallory>\n")
        assert "18 bytes were sent ahead of the TLS handshake (at offset 9)" == await refused


@pytest.mark.parametrize("side", ["client", "server"])
async def test_an_end_without_a_goodbye_can_be_taken_for_one_from_either_side(side):
    """Many programs just close: for them a URL's stream has the option that a channel has."""
    files = certificates()
    ends = []

    async def cut(stream):
        await stream.send("last words", LINE)
        await until(lambda: not stream.writing())
        stream.channel.socket.shutdown(socket.SHUT_RDWR)

    async def collect(stream):
        ends.append([line async for line in stream.frames(LINE)])
        ends.append(stream.error)

    here, there = (cut, collect) if side == "client" else (collect, cut)
    tolerant = {"truncation_is_end": True}
    url = "tls://localhost:0"
    async with await serve(here, url, tls=files.server(), **(tolerant if side == "server" else {})) as server:
        client = await connect(server.url, tls=files.client(), **(tolerant if side == "client" else {}))
        async with client:
            await there(client)
        await until(lambda: not server.stats.open)
    assert [["last words"], None] == ends
