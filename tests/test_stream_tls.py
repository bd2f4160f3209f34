"""TLS of a stream: handshake, verification, half-close, truncation, start in the middle of a stream."""

import asyncio
import os
import socket
import ssl

import pytest
from certificates import certificates
from stream_pairs import connected, joined, needs_polling, passes, tls_sockets

from framestream import (
    FramingError,
    IOStream,
    LengthPrefix,
    Line,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
)
from framestream.testing import Wire, memory_stream_pair
from framestream.testing.memory import MemoryTransport, memory_transport_pair
from framestream.transport.tls import TLSSocketTransport, TLSTransport

pytestmark = pytest.mark.every_loop

BELOW = pytest.mark.parametrize("kind", ["tcp", "memory"])
LARGE = os.urandom(2 << 20)


async def shake_hands(client, server, **options):
    keys = certificates()
    context = options.pop("context", None) or keys.client()
    return await asyncio.gather(
        client.start_tls(context, **{"server_hostname": "localhost", **options}),
        server.start_tls(keys.server(), server_side=True),
        return_exceptions=True,
    )


@BELOW
async def test_tls_starts_in_the_middle_of_a_stream(kind):
    async with joined(kind) as (client, server):
        await client.send("STARTTLS", Line())
        assert "STARTTLS" == await server.read(Line())
        assert [None, None] == await shake_hands(client, server)
        await client.send("secret", Line())
        assert "secret" == await server.read(Line())
        assert client.transport.tls.version() in ("TLSv1.2", "TLSv1.3")


@BELOW
async def test_what_was_written_before_leaves_as_plaintext(kind):
    async with joined(kind, read_chunk_size=1) as (client, server):
        client.write(b"x" * 3_000 + b"\n")
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        assert 3_000 == len(await server.read(Line()))
        await server.start_tls(certificates().server(), server_side=True)
        await tls


@BELOW
async def test_what_is_written_during_the_handshake_leaves_encrypted(kind):
    async with joined(kind) as (client, server):
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes()
        client.write(b"early\n")
        await server.start_tls(certificates().server(), server_side=True)
        await tls
        assert "early" == await server.read(Line())


@pytest.mark.parametrize(
    "wire",
    [
        Wire(chunks=[1]),
        Wire(takes=[1]),
        Wire(capacity=100),
        Wire(capacity=3),
        Wire(blocks=[True, InterruptedError(), False]),
    ],
    ids=["drips", "short writes", "small pipe", "tiny pipe", "storm"],
)
async def test_the_bytes_may_travel_in_any_way(wire):
    client, server = memory_stream_pair(wire, wire)
    assert [None, None] == await shake_hands(client, server)
    data = os.urandom(1000)
    writing = asyncio.ensure_future(client.write(data))
    assert data == await server.read_bytes(len(data))
    await writing
    client.write(b"a\n" * 100)
    ending = asyncio.ensure_future(client.aclose())
    assert ["a"] * 100 == [line async for line in server.frames(Line())]
    assert server.error is None
    await ending


async def test_both_directions_at_once():
    async with joined("tls") as (client, server):
        writing = [asyncio.ensure_future(stream.write(LARGE)) for stream in (client, server)]
        got = await asyncio.gather(*(stream.read_bytes(len(LARGE)) for stream in (client, server)))
        assert [LARGE, LARGE] == got
        await asyncio.gather(*writing)


async def test_small_reads_of_large_records_need_no_wake_up_each():
    async with joined("tls") as (client, server):
        await client.write(b"x" * 16000)
        for _ in range(16000):
            assert b"x" == await server.read_bytes(1)


async def test_tls_over_tls():
    async with joined("tls") as (client, server):
        assert [None, None] == await shake_hands(client, server)
        await client.send("twice", Line())
        assert "twice" == await server.read(Line())
        assert client.transport.socket is not None
        assert client.peer.startswith("127.0.0.1")


async def test_alpn_chooses_a_protocol_of_both():
    client, server = await connected("unix")
    keys = certificates()
    ours, theirs = keys.client(), keys.server()
    ours.set_alpn_protocols(["b", "a"])
    theirs.set_alpn_protocols(["a", "c"])
    await asyncio.gather(
        client.start_tls(ours, server_hostname="localhost"), server.start_tls(theirs, server_side=True)
    )
    assert (
        "a" == client.transport.tls.selected_alpn_protocol() == server.transport.tls.selected_alpn_protocol()
    )
    client.close()
    server.close()


# What must fail


async def test_a_wrong_host_name_fails_and_closes_both():
    client, server = await connected("unix")
    failed, refused = await shake_hands(client, server, server_hostname="elsewhere.example")
    assert isinstance(failed, ssl.SSLCertVerificationError)
    assert isinstance(refused, ssl.SSLError)
    assert client.closed()
    assert server.closed()
    assert failed is client.error


async def test_an_unknown_authority_fails():
    client, server = await connected("unix")
    failed, _ = await shake_hands(client, server, context=ssl.create_default_context())
    assert isinstance(failed, ssl.SSLCertVerificationError)


async def test_a_host_name_is_not_checked_if_the_context_says_so():
    client, server = await connected("unix")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert [None, None] == await shake_hands(client, server, context=context, server_hostname=None)
    client.close()
    server.close()


async def test_plaintext_sent_ahead_of_the_handshake_is_refused():
    async with joined("unix") as (client, server):
        await client.write(b"STARTTLS\nMAIL FROM:<attacker>\n")
        assert "STARTTLS" == await server.read(Line())
        with pytest.raises(FramingError, match="21 bytes were sent ahead of the TLS handshake"):
            await server.start_tls(certificates().server(), server_side=True)
        assert server.closed()


async def test_tls_does_not_start_under_a_read():
    async with joined("unix") as (_, server):
        reading = asyncio.ensure_future(server.read(Line()))
        await passes()
        with pytest.raises(StreamBusy):
            await server.start_tls(certificates().server(), server_side=True)
        assert not server.closed()
        reading.cancel()
        await asyncio.wait([reading])


async def test_nobody_reads_during_the_handshake():
    async with joined("unix") as (_, server):
        tls = asyncio.ensure_future(server.start_tls(certificates().server(), server_side=True))
        await passes()
        with pytest.raises(StreamBusy):
            await server.read(Line())
        tls.cancel()
        await asyncio.wait([tls])


async def test_a_handshake_that_hangs_times_out_and_closes():
    async with joined("unix") as (_, server):
        with pytest.raises(StreamTimeout, match=r"^TLS handshake not done after 0\.01 s$"):
            await server.start_tls(certificates().server(), server_side=True, timeout=0.01)
        assert server.closed()
        assert isinstance(server.error, StreamTimeout)


async def test_a_cancelled_handshake_closes():
    async with joined("unix") as (_, server):
        tls = asyncio.ensure_future(server.start_tls(certificates().server(), server_side=True))
        await passes()
        tls.cancel()
        await asyncio.wait([tls])
        assert server.closed()


@BELOW
async def test_a_peer_that_leaves_during_the_handshake_fails_it(kind):
    async with joined(kind) as (client, server):
        tls = asyncio.ensure_future(server.start_tls(certificates().server(), server_side=True))
        await passes()
        client.close()
        with pytest.raises(OSError):  # noqa: PT011 - an ssl.SSLEOFError or a reset, as it happens
            await tls
        assert server.closed()


async def test_a_handshake_that_waits_lets_the_loop_rest():
    class Counted(MemoryTransport):
        tries = 0

        def receive_into(self, buffer):
            self.tries += 1
            return super().receive_into(buffer)

    near, far = memory_transport_pair()
    counted = Counted(near.incoming, near.outgoing)
    client, server = IOStream(counted), IOStream(far)
    tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
    await passes(50)
    assert counted.tries < 5
    await server.start_tls(certificates().server(), server_side=True)
    await tls
    client.close()
    server.close()


@BELOW
async def test_what_comes_with_the_last_of_the_handshake_is_heard_of(kind):
    """The peer's first words may lie in one segment with the end of the handshake."""
    async with joined(kind) as (client, server):
        heard = asyncio.Event()
        server.set_close_callback(heard.set)
        tls = asyncio.ensure_future(server.start_tls(certificates().server(), server_side=True))
        await client.start_tls(certificates().client(), server_hostname="localhost")
        await client.aclose()
        await tls
        await heard.wait()


@BELOW
@pytest.mark.parametrize("later", [1, 2, 5])
async def test_closing_during_the_handshake_ends_it(kind, later):
    async with joined(kind) as (client, _):
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes(later)
        client.close()
        with pytest.raises(StreamClosed, match=r"^stream closed during the TLS handshake$"):
            await tls
        assert client.error is None


async def test_a_stream_closed_during_the_handshake_is_not_watched_any_more():
    needs_polling("asking what is watched")
    async with joined("tcp") as (client, _):
        descriptor = client.transport.socket.fileno()
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes(5)
        client.close()
        assert not asyncio.get_running_loop().remove_reader(descriptor)
        await asyncio.wait([tls])
        assert isinstance(tls.exception(), StreamClosed)


async def test_closing_before_the_handshake_has_begun_prevents_it():
    async with joined("unix") as (client, server):
        client.write(LARGE)
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes()
        client.close()
        with pytest.raises(StreamClosed, match="before everything was written"):
            await tls
        assert not (await server.read_until_close()).strip(LARGE)


@BELOW
async def test_who_waits_for_the_end_does_not_disturb_the_handshake(kind):
    async with joined(kind) as (client, server):
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes(5)
        waiting = asyncio.ensure_future(client.wait_closed())
        await passes()
        await server.start_tls(certificates().server(), server_side=True)
        await tls
        assert not waiting.done()
        await server.aclose()
        await waiting


@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
async def test_what_is_written_while_plaintext_is_flushed_leaves_encrypted(kind):
    async with joined(kind, max_frame_size=1 << 22) as (client, server):
        told = []
        client.write(LARGE, callback=lambda: told.append("flushed"))
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes(5)
        client.write(b"secret\n")
        assert LARGE == await server.read_bytes(len(LARGE))
        assert b"\x16\x03" == await server.peek(2)  # a handshake record (RFC 8446, section 5.1)
        await passes()
        assert ["flushed"] == told
        await server.start_tls(certificates().server(), server_side=True, leftover="keep")
        await tls
        assert "secret" == await server.read(Line())


async def test_a_handshake_whose_plaintext_cannot_be_sent_fails():
    async with joined("unix") as (client, server):
        client.write(LARGE)
        tls = asyncio.ensure_future(client.start_tls(certificates().client(), server_hostname="localhost"))
        await passes()
        server.close()
        with pytest.raises(StreamClosed) as caught:
            await tls
        assert isinstance(caught.value.real_error, OSError)


async def test_a_peer_that_speaks_something_else_fails_the_handshake():
    async with joined("unix") as (client, server):
        tls = asyncio.ensure_future(server.start_tls(certificates().server(), server_side=True))
        await client.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await tls


# The end


async def test_a_goodbye_is_a_clean_end():
    async with joined("tls") as (client, server):
        await client.write(b"a\n")
        await client.aclose()
        assert ["a"] == [line async for line in server.frames(Line())]
        assert server.error is None


@pytest.mark.parametrize("sent", [b"a\n", b"a\nhalf"])
async def test_without_one_the_stream_was_cut_off(sent):
    async with joined("tls") as (client, server):
        await client.write(sent)
        client.transport.socket.shutdown(socket.SHUT_RDWR)
        got = []
        with pytest.raises(StreamClosed) as caught:
            async for line in server.frames(Line(last=False)):
                got.append(line)  # noqa: PERF401 - it raises half-way
        assert ["a"] == got
        assert isinstance(caught.value.real_error, ssl.SSLEOFError)
        assert server.closed()
        client.close()


async def test_read_until_close_tells_a_cut_off_stream():
    async with joined("tls") as (client, server):
        await client.write(b"all of i")
        await server.peek(8)
        client.transport.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(StreamClosed) as caught:
            await server.read_until_close()
        assert isinstance(caught.value.real_error, ssl.SSLEOFError)


async def test_closing_with_an_error_says_no_goodbye():
    async with joined("tls") as (client, server):
        client.close(RuntimeError("went wrong"))
        with pytest.raises(StreamClosed) as caught:
            await server.read(Line())
        # With data that it has not read, a system that closes a connection resets it.
        assert isinstance(caught.value.real_error, (ssl.SSLEOFError, ConnectionResetError))


async def test_half_close_keeps_what_the_peer_has_sent_already():
    async with joined("tls", half_open=True, read_chunk_size=100) as (client, server):
        await server.write(b"pushed\n" * 1000)
        await passes(10)
        await client.write_eof()
        assert b"push" == await client.read_bytes(4)
        assert "ed" == await client.read(Line())
        assert b"" == await server.read_until_close()
        await server.write(b"last\n")
        await server.aclose()
        lines = [line async for line in client.frames(Line())]
        assert ["pushed"] * 999 + ["last"] == lines
        assert client.error is None


async def test_large_frames_and_parts_pass_through_tls():
    async with joined("tls", max_frame_size=4 << 20) as (client, server):
        client.send(LARGE, LengthPrefix(4))
        client.send(LARGE, LengthPrefix(4))
        assert LARGE == await server.read(LengthPrefix(4))
        async with server.open_frame(LengthPrefix(4)) as body:
            assert LARGE == b"".join([part async for part in body])


# Sockets that are wrapped already


async def test_a_wrapped_socket_shakes_hands_within_the_first_read_and_write():
    needs_polling("a socket that ssl has wrapped")
    client, server = map(IOStream, tls_sockets(shaken=False))
    async with client, server:
        assert isinstance(client.transport, TLSSocketTransport)
        written = client.write(b"hello\n")
        assert "hello" == await server.read(Line())
        await written


async def test_a_wrapped_socket_carries_much_in_both_directions_at_once():
    async with joined("tlssock", max_frame_size=len(LARGE) * 4) as (client, server):
        writes = [stream.write(LARGE * 4) for stream in (client, server)]
        assert [LARGE * 4] * 2 == await asyncio.gather(
            client.read_bytes(len(LARGE) * 4), server.read_bytes(len(LARGE) * 4)
        )
        await asyncio.gather(*writes)


async def test_a_context_that_checks_host_names_must_be_given_one():
    async with joined("unix") as (client, server):
        with pytest.raises(ValueError, match="pass server_hostname"):
            await client.start_tls(certificates().client())
        assert not client.closed()
        with pytest.raises(ValueError, match="pass server_hostname"):
            TLSTransport(client.transport, certificates().client())
        await client.write(b"still plain\n")
        assert "still plain" == await server.read(Line())


async def test_a_handshake_that_came_behind_a_header_is_gone_on_with():
    async with joined("tcp") as (client, server):
        keys = certificates()
        client.write(b"PROXY UNKNOWN\r\n")
        shaking = asyncio.ensure_future(client.start_tls(keys.client(), server_hostname="localhost"))
        while server.buffered < 100:
            await server.peek(server.buffered + 1)
        assert "PROXY UNKNOWN" == await server.read(Line())
        assert server.buffered
        await server.start_tls(keys.server(), server_side=True, leftover="keep")
        await shaking
        await client.write(b"secret\n")
        assert "secret" == await server.read(Line())


async def test_a_close_callback_set_before_tls_hears_of_the_end_behind_it():
    async with joined("unix") as (client, server):
        closed = asyncio.Event()
        server.set_close_callback(closed.set)
        await shake_hands(client, server)
        await client.aclose()
        await closed.wait()


async def test_half_a_line_before_a_cut_is_no_line():
    async with joined("tls") as (client, server):
        await client.write(b"one\npar")
        lines = server.frames(Line())
        assert "one" == await anext(lines)
        client.transport.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(StreamClosed, match="closed inside a frame"):
            await anext(lines)
        assert b"par" == server.leftover


@pytest.mark.parametrize("kind", ["tls", "tlssock"])
async def test_half_close_loses_nothing_of_much_that_has_arrived(kind):
    async with joined(kind, half_open=True) as (client, server):
        sending = asyncio.ensure_future(server.write(LARGE))
        await client.peek(1)
        client.write_eof()
        assert LARGE == await client.read_bytes(len(LARGE))
        await sending
        assert b"" == await server.read_until_close()
