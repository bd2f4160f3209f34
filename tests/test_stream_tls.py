"""TLS of a stream: handshake, verification, half-close, truncation, start in the middle of a stream."""

import asyncio
import hmac
import os
import re
import socket
import ssl
import struct
from contextlib import suppress

import pytest
from certificates import certificates
from stream_pairs import begun, cancelled, joined, once, passes, raised, reset

from framestream import FramingError, IOStream, Line, StreamBusy, StreamClosed, StreamTimeout
from framestream.testing import Wire, memory_stream_pair
from framestream.testing.memory import MemoryTransport

pytestmark = pytest.mark.every_loop

BELOW = pytest.mark.parametrize("kind", ["tcp", "memory"])
LARGE = os.urandom(2 << 20)


def ask_tls(stream, **options):
    return stream.start_tls(certificates().client(), server_hostname="localhost", **options)


def answer_tls(stream, **options):
    return stream.start_tls(certificates().server(), server_side=True, **options)


async def shake_hands(client, server, **options):
    options = {"server_hostname": "localhost", **options}
    shaking = client.start_tls(certificates().client(), **options), answer_tls(server)
    return await asyncio.gather(*shaking, return_exceptions=True)


@once
@pytest.mark.parametrize("wire", [
    Wire(chunks=[1]),
    Wire(takes=[1]),
    Wire(capacity=100),
    Wire(capacity=3),
    Wire(blocks=[True, InterruptedError(), False]),
], ids=["drips", "short writes", "small pipe", "tiny pipe", "storm"])  # fmt: skip
async def test_the_bytes_may_travel_in_any_way(wire):
    client, server = memory_stream_pair(wire, wire, half_open=True)
    assert [None, None] == await shake_hands(client, server)
    data = os.urandom(1000)
    writing = asyncio.ensure_future(client.write(data))
    assert data == await server.read_bytes(len(data))
    await writing
    client.write(b"a\n" * 100)
    ending = asyncio.ensure_future(client.aclose())
    assert ["a"] * 100 == [line async for line in server.frames(Line())]
    await ending
    await server.aclose()
    assert server.error is None, "a peer that has said goodbye and left does not miss ours"


async def test_a_wrong_certificate_fails_and_closes_both_and_the_peer_is_told_why():
    async with joined("unix") as (client, server):
        await raised(ValueError, client.start_tls, certificates().client(), match="pass server_hostname")
        no_name = {"server_hostname": 5, "match": "server_hostname is 5; it must be a host name"}
        await raised(TypeError, client.start_tls, certificates().client(), **no_name)
        for name in ("a\0b", "a..b", b"\xff"):
            match = re.escape(f"server_hostname is {name!r}; it must be a host name")
            await raised(ValueError, client.start_tls, certificates().client(), server_hostname=name, match=match)
        await raised(TypeError, client.start_tls, True, match=r"context is True; pass client_tls\(...\) or server_tls")
        misplaced = {"server_hostname": "localhost", "match": "only a client expects one of its peer"}
        await raised(ValueError, answer_tls, server, **misplaced)
        failed, refused = await shake_hands(client, server, server_hostname="elsewhere.example")
        assert isinstance(failed, ssl.SSLCertVerificationError)
        assert "alert" in str(refused).lower()
        assert client.closed()
        assert server.closed()
        assert failed is client.error


async def test_tls_and_reads_do_not_overlap():
    async with joined("unix") as (_, server):
        reading = await begun(server.read(Line()))
        await raised(StreamBusy, answer_tls, server)
        assert not server.closed()
        await cancelled(reading)
        tls = await begun(answer_tls(server))
        for begin in (server.read(Line()), answer_tls(server)):
            await raised((StreamBusy, ValueError), begin)
        await cancelled(tls)
        assert server.closed(), "a handshake that was cancelled closes"
    _, server = memory_stream_pair()
    await raised(StreamTimeout, answer_tls, server, match=r"^TLS handshake not done after 0\.01 s$", timeout=0.01)
    assert isinstance(server.error, StreamTimeout)


async def test_plaintext_sent_ahead_of_the_handshake_is_refused():
    async with joined("unix") as (client, server):
        await client.write(b"STARTTLS\nMAIL FROM:<attacker>\n")
        assert "STARTTLS" == await server.read(Line())
        await raised(FramingError, answer_tls, server, match="21 bytes were sent ahead of the TLS handshake")
        assert server.closed()


async def test_the_rest_of_a_skipped_frame_is_no_plaintext_ahead_of_the_handshake_but_must_come_before_it():
    async with joined("unix") as (client, server):
        await client.write(b"far too")
        async with server.open_frame(Line()) as body:
            await anext(body)
        for leftover in ("refuse", "keep"):
            await raised(StreamBusy, answer_tls, server, match="a frame is being skipped", leftover=leftover)
        peeking = await begun(server.peek(1))
        await client.write(b" long\n")
        await cancelled(peeking)
        assert server.framed(Line(), leftover="refuse") is server
        assert [None, None] == await shake_hands(client, server)


@once
async def test_a_handshake_that_waits_lets_the_loop_rest(monkeypatch):
    tries = []
    receive = MemoryTransport.receive_into
    monkeypatch.setattr(MemoryTransport, "receive_into", lambda end, buffer: tries.append(end) or receive(end, buffer))
    client, server = memory_stream_pair()
    tls = asyncio.ensure_future(ask_tls(client))
    await passes(50)
    assert len(tries) < 5
    await answer_tls(server)
    await tls
    assert tries


@BELOW
async def test_who_waits_for_the_end_does_not_disturb_a_handshake_and_hears_of_what_comes_with_its_last(kind):
    async with joined(kind) as (client, server):
        heard = asyncio.Event()
        server.set_close_callback(heard.set)
        asking = asyncio.ensure_future(ask_tls(client))
        await passes(5)
        waiting = await begun(client.wait_closed())
        answering = asyncio.ensure_future(answer_tls(server))
        await asking
        assert not waiting.done()
        await client.aclose()  # its goodbye may lie in one segment with the end of the handshake
        await asyncio.gather(answering, waiting, heard.wait())


@BELOW
@pytest.mark.parametrize("later", [1, 2, 5])
async def test_closing_during_the_handshake_ends_it(kind, later):
    async with joined(kind) as (client, _):
        descriptor = client.transport.socket.fileno() if kind == "tcp" else None
        tls = asyncio.ensure_future(ask_tls(client))
        await passes(later)
        client.close()
        with suppress(NotImplementedError):  # of a loop that watches nothing
            assert descriptor is None or not asyncio.get_running_loop().remove_reader(descriptor)
        for late in (lambda: tls, lambda: ask_tls(client), lambda: client.write(b"x"), client.sender.flush):
            await raised(StreamClosed, late, match=r"^stream (is )?closed")
        assert "stream closed during the TLS handshake" == str(tls.exception())
        assert client.error is None


@pytest.mark.parametrize("end", ["here", "peer"])
async def test_closing_before_the_handshake_has_begun_prevents_it(end):
    async with joined("unix") as (client, server):
        client.write(LARGE)
        tls = await begun(ask_tls(client))
        (client if end == "here" else server).close()
        caught = await raised(StreamClosed, tls)
        if end == "peer":
            assert isinstance(caught.real_error, OSError)
        else:
            assert "before everything was written" in str(caught)
            assert not (await server.read_until_close()).strip(LARGE)


@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
async def test_what_is_written_while_plaintext_is_flushed_leaves_encrypted(kind):
    async with joined(kind, max_frame_size=1 << 22) as (client, server):
        client.write(LARGE)
        tls = asyncio.ensure_future(ask_tls(client))
        await passes(5)
        client.sender.when_sent(lambda _: client.write(b"secret\n"))  # the last plaintext has just left
        assert LARGE == await server.read_bytes(len(LARGE))
        assert b"\x16\x03" == await server.peek(2)  # a handshake record (RFC 8446, section 5.1)
        await passes()
        await answer_tls(server, leftover="keep")
        await tls
        assert "secret" == await server.read(Line())


@pytest.mark.parametrize("ahead", [b"", LARGE], ids=["during", "before"])
@pytest.mark.parametrize("kind", ["tcp", "unix", "memory"])
async def test_an_end_asked_for_during_the_handshake_or_before_it_has_begun_is_sent_after_it(kind, ahead):
    async with joined(kind, half_open=True, max_frame_size=1 << 22) as (client, server):
        client.write(ahead)
        flushed = await begun(client.write(b"last"))
        shaking = await begun(ask_tls(client))
        ending = await begun(client.write_eof())
        assert ahead + b"last" == await server.read_bytes(len(ahead) + 4)
        await flushed
        assert not ending.done()
        await answer_tls(server)
        await asyncio.gather(shaking, ending)
        assert b"" == await server.read_until_close()
        assert server.error is None


@pytest.mark.parametrize("sent", [b"a\n", b"a\nhalf"])
async def test_without_a_goodbye_the_stream_was_cut_off(sent):
    async with joined("tls") as (client, server), joined("tls") as (other, second):
        for end in (client, other):
            await end.write(sent)
        await second.peek(2)
        for end in (client, other):
            end.transport.socket.shutdown(socket.SHUT_RDWR)
        lines = server.frames(Line())  # which half a line may end where a stream ends well
        assert "a" == await anext(lines)
        for read in (lambda: anext(lines), second.read_until_close):
            caught = await raised(StreamClosed, read)
            assert isinstance(caught.real_error, ssl.SSLEOFError)
        assert server.closed()


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_frames_that_came_before_a_reset_are_read_before_it_is_told(kind):
    """The system keeps what arrived before the reset; what it has not sent yet, the resetting side throws away."""
    async with joined(kind) as (client, server):
        await client.write(b"one\ntwo\nhal")
        reset(client, RuntimeError("went wrong"))  # without a close_notify
        assert ["one", "two"] == [await server.read(Line()), await server.read(Line())]
        caught = await raised(StreamClosed, server.read, Line())
        assert isinstance(caught.real_error, ConnectionResetError)
        assert b"hal" == server.leftover


async def test_closing_with_an_error_says_no_goodbye():
    async with joined("tls") as (client, server):
        client.close(RuntimeError("went wrong"))
        caught = await raised(StreamClosed, server.read, Line())
        # With data that it has not read, a system that closes a connection resets it.
        assert isinstance(caught.real_error, (ssl.SSLEOFError, ConnectionResetError))


@pytest.mark.parametrize("leftover", ["keep", "refuse"])
@pytest.mark.parametrize("arrived", [1, 100])
async def test_a_handshake_that_came_after_a_header_is_gone_on_with(arrived, leftover):
    header = b"PROXY UNKNOWN\r\n"
    async with joined("memory", there=Wire(chunks=[len(header) + arrived])) as (client, server):
        client.write(header)
        shaking = await begun(ask_tls(client))
        await server.peek(len(header) + 1)
        assert "PROXY UNKNOWN" == await server.read(Line())
        assert arrived == server.buffered
        await answer_tls(server, leftover=leftover)
        await shaking
        await client.write(b"secret\n")
        assert "secret" == await server.read(Line())


async def test_no_handshake_is_waited_for_after_the_peer_has_ended_its_half():
    client, server = memory_stream_pair(half_open=True)
    client.write_eof()
    await raised(StreamClosed, server.read, Line())
    with pytest.raises(StreamClosed, match="during the TLS handshake"):
        await server.start_tls(certificates().client(), server_hostname="localhost", timeout=None)
    assert server.closed()
    client.close()


class Unencrypted:
    """A client of TLS 1.2 that only authenticates, so that tests can make records by hand (RFC 5246 6.2.3.1)."""

    CIPHERS = "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"

    async def shake_hands(self, sock, keys):
        context, loop = certificates().client(), asyncio.get_running_loop()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(self.CIPHERS)
        context.keylog_filename = str(keys)
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(received, sent, server_hostname="localhost")
        answers = []
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, sent.read())
                answers.append(await loop.sock_recv(sock, 1 << 16))
                received.write(answers[-1])
        client_random, secret = map(bytes.fromhex, keys.read_text().split()[-2:])
        seed = b"key expansion" + answers[0][11:43] + client_random
        self._key = self._mac(secret, self._mac(secret, seed, "sha256") + seed, "sha256")[:20]
        self._sequence = 1  # after that of its Finished

    @staticmethod
    def _mac(key, data, digest="sha1"):
        return hmac.digest(key, data, digest)

    def record(self, kind, data):
        number = self._sequence.to_bytes(8)
        self._sequence += 1
        mac = self._mac(self._key, number + struct.pack(">BHH", kind, 0x303, len(data)) + data)
        return struct.pack(">BHH", kind, 0x303, len(data) + len(mac)) + data + mac


async def test_a_peer_that_asks_for_refusals_and_takes_none_is_read_no_further(tmp_path):
    """OpenSSL answers every attempt to renegotiate with an alert, and in memory nothing ever refuses to hold it."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        client, server = Unencrypted(), IOStream(theirs)
        context = certificates().server()
        context.set_ciphers(client.CIPHERS)
        await asyncio.gather(client.shake_hands(ours, tmp_path / "keys"), server.start_tls(context, server_side=True))
        reading = asyncio.ensure_future(server.read(Line()))
        unsent = b""
        for _ in range(200):  # 5 MB
            unsent = unsent or b"".join(client.record(22, b"\x01\0\0\0") for _ in range(1000))
            with suppress(BlockingIOError):
                unsent = unsent[ours.send(unsent) :]
            await passes(10)
        assert unsent, "it has read everything"
        assert not server.transport.receive_now()
        unsent += client.record(23, b"after that\n")
        while not reading.done():
            with suppress(BlockingIOError):
                ours.recv(1 << 16)
            with suppress(BlockingIOError):
                unsent = unsent[ours.send(unsent) :]
            await passes()
        assert "after that" == await reading
        server.close()
