"""How a stream ends: by its own side, by the peer, by an error; what can be read and is said then."""

import asyncio
import gc
import os
import socket
import weakref
from contextlib import suppress

import pytest
from certificates import certificates
from stream_pairs import (
    KINDS,
    begun,
    by_iteration,
    by_reads,
    connected,
    joined,
    logged,
    needs_watching,
    once,
    passes,
    raised,
    reset_on_close,
    tcp_sockets,
    tls_between,
)

from framestream import (
    Exactly,
    IncompleteFrame,
    IOStream,
    LengthPrefix,
    Line,
    StreamClosed,
    UntilClose,
)
from framestream._events import events
from framestream.net.sockets import open_stream
from framestream.testing import Wire, memory_stream_pair
from framestream.testing.memory import MemoryTransport, memory_transport_pair
from framestream.transport import PipeTransport

pytestmark = pytest.mark.every_loop
every_kind = pytest.mark.parametrize("kind", KINDS)
FAULT = OSError(5, "input/output error")


# Resets


@pytest.mark.parametrize("sent", [b"", b"one\n", b"one\npart", b"part"])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_reset_is_noticed_after_the_bytes_that_came_with_it(sent, waits):
    ours, theirs = tcp_sockets()
    stream, lines = open_stream(ours), []
    reading = asyncio.ensure_future(by_reads(stream, Line(), lines.append))
    if waits:
        await passes(3)
    theirs.send(sent)
    reset_on_close(theirs)
    theirs.close()
    await reading
    assert ["one"] * sent.startswith(b"one") == lines
    assert stream.closed()
    assert isinstance(stream.error, ConnectionResetError)


def take_no_more(transport):
    """Have the system refuse what is sent to this transport, which goes on sending."""
    if transport.socket is not None:
        transport.socket.shutdown(socket.SHUT_RD)
    else:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), transport.read_fd)


WRITES = {
    "write": lambda stream: stream.write(b"x" * 100_000),
    "send": lambda stream: stream.send("x" * 100_000, Line()),
}
TAKES_NO_MORE = "peer takes no more; what it sends can still be read"
LATE = [*WRITES.values(), lambda stream: stream.write(b""), lambda stream: stream.write_eof()]


@needs_watching
@pytest.mark.parametrize("half_open", [False, True])
@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["unix", "pipe", "tls over pipe"])
async def test_a_peer_that_takes_no_more_is_heard_to_its_end(kind, write, reads, half_open, caplog):
    async with joined(kind.split()[-1], half_open=half_open) as (client, server):
        below = server.transport
        if kind == "tls over pipe":
            await tls_between(client, server)
        lines = client.frames(Line())
        first = await begun(anext(lines)) if reads == "before" else None
        closing = await begun(client.wait_closed()) if write == "send" else None
        take_no_more(below)
        if reads == "after":
            await server.write(b"you know it")
        with pytest.raises(StreamClosed) as caught:
            while True:
                await WRITES[write](client)
        assert isinstance(caught.value.real_error, BrokenPipeError)
        if reads == "before":
            await server.write(b"you know it")
        for late in LATE:
            caught = await raised(StreamClosed, late, client, match=TAKES_NO_MORE)
            assert isinstance(caught.real_error, BrokenPipeError)
        assert not client.closed()
        await server.write(b"\nthe answer")
        assert "you know it" == await (first or anext(lines))
        await server.write(b"\n")
        assert "the answer" == await anext(lines)
        server.close()
        assert [] == [line async for line in lines]
        assert client.closed()
        await raised(StreamClosed, client.write, b"", match="^stream is closed")
        assert client.error is None
        if closing:
            await closing
        assert [] == logged(caplog)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe", "memory"])
async def test_writing_to_a_peer_that_is_gone_closes_and_what_it_said_before_is_read(kind, write, caplog):
    async with joined(kind) as (client, server):
        await server.write(b"error: too many requests\n")
        server.close()
        with pytest.raises(StreamClosed) as caught:
            while True:
                await WRITES[write](client)
                await passes(10)
        assert client.closed()
        assert isinstance(client.error, OSError)
        assert caught.value.real_error in (None, client.error)
        assert "error: too many requests" == await client.read(Line())
        assert [] == logged(caplog)


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
async def test_closing_over_unread_bytes_loses_nothing_that_was_sent(kind):
    """Under TLS 1.3 there always are some for who only writes: the server's session tickets."""
    payload = b"x" * 150_000  # more than the peer takes at first, less than the system keeps for it
    async with joined(kind) as (client, server):
        await server.write(b"unread\n" * 10)
        await passes()
        await client.write(payload)
        await client.aclose()
        assert payload == await server.read_bytes(len(payload))
        caught = await raised(StreamClosed, server.read_bytes, 1)
        assert caught.real_error is None


async def test_a_frame_for_a_peer_that_is_gone_is_not_taken_for_sent_and_nothing_is_logged(caplog):
    async with joined("unix", half_open=True) as (client, server):
        await server.write_eof()
        assert b"" == await client.read_until_close()
        server.close()
        await passes()
        with pytest.raises(StreamClosed):
            await client.send("x", Line())
            await client.write(b"")  # a loop's own transport tells what has failed in the next pass
        assert 0 == client.stats.bytes_sent
        assert isinstance(client.error, BrokenPipeError)
        assert [] == logged(caplog)


@once
async def test_a_reset_found_while_writing_keeps_the_error_of_the_write():
    client, server = memory_stream_pair(back=Wire(end=0, error=ConnectionResetError(104, "reset")))
    server.close()
    await raised(StreamClosed, client.write, b"x")
    assert isinstance(client.error, BrokenPipeError)


# Where a stream is cut off


@pytest.mark.parametrize("begin", [
    lambda stream: stream.on_frame(LengthPrefix(4), print),
    lambda stream: stream.read(LengthPrefix(4), callback=print),
    lambda stream: stream.read(LengthPrefix(4), callback=print, streaming_callback=lambda _: None),
])  # fmt: skip
async def test_a_frame_that_breaks_off_is_kept_as_the_error_after_what_is_still_to_be_sent(begin):
    async with joined("unix") as (client, server):
        server.write(b"x" * (4 << 20))
        begin(server)
        await client.write((100).to_bytes(4, "big") + b"half")
        client.write_eof()
        assert 4 << 20 == len(await client.read_bytes(4 << 20))
        await server.wait_closed()
        assert isinstance(server.error, IncompleteFrame)


@once
async def test_how_a_stream_ended_is_not_changed_by_closing_it():
    client, server = memory_stream_pair()
    await client.write(b"\4half")
    client.close()
    assert b"\4half" == await server.peek(9)
    server.close(FAULT)
    assert b"half" == await server.read(LengthPrefix(1))
    client, server = memory_stream_pair(half_open=True)
    await client.write(b"\x09half")
    client.close()
    assert b"\x09half" == await server.peek(9)
    server.close()
    await raised(IncompleteFrame, server.read, LengthPrefix(1))


# Who waits for the end


async def test_an_end_seen_ahead_without_a_close_callback_is_left_to_the_reader():
    async with joined("unix") as (client, server):
        server.set_close_callback(lambda: None)
        await client.write(b"a\n")
        client.close()
        server.set_close_callback(None)
        assert b"a\n" == await server.peek(100)
        assert "a" == await server.read(Line())
        await passes()
        assert not server.closed()
        await raised(StreamClosed, server.read, Line())
        assert server.closed()


@pytest.mark.parametrize("condition", [UntilClose(), Line(), Exactly(3)], ids=str)
async def test_an_end_that_is_known_already_ends_the_wait_for_it_and_runs_a_close_callback(condition):
    async with joined("unix") as (client, server):
        await client.write(b"all")
        await client.aclose()
        if condition == Exactly(3):
            await server.peek(100)
            await server.read(condition)
        else:
            await server.read(condition)
            await server.wait_closed()
        closed = asyncio.Event()
        server.set_close_callback(closed.set)
        await closed.wait()


@once
@pytest.mark.parametrize("way", ["read", "frames", "handler", "batches", "another condition"])
async def test_whoever_takes_the_last_frame_before_a_known_end_lets_the_close_callback_run(way):
    client, server = memory_stream_pair()
    await client.write(b"more\n" * 500 + b"last\n")
    client.close()
    closed = asyncio.Event()
    server.set_close_callback(closed.set)
    await passes()
    if way == "handler":
        handler = server.on_frame(Line(), lambda line: line == "last" and handler.stop())
    elif way in ("batches", "another condition"):
        for _ in range(9):  # some are cut ahead by then
            await server.read(Line())
        await passes()
        await (server.read(Exactly(server.buffered)) if way == "another condition" else anext(server.batches(Line())))
    else:
        lines = server.frames(Line())
        while await (server.read(Line()) if way == "read" else anext(lines)) != "last":
            await passes(1)
    await asyncio.wait_for(closed.wait(), 5)


@needs_watching
@pytest.mark.parametrize("ends", ["here", "there"])
async def test_a_stream_that_only_writes_is_over_when_nobody_reads_any_more_or_it_has_ended_its_half(ends):
    there, back = os.pipe()
    for descriptor in back, *[os.open(os.devnull, os.O_WRONLY)] * (ends == "here"):
        async with IOStream(PipeTransport(None, descriptor)) as writer:
            closing = await begun(writer.wait_closed())
            await writer.write(b"x")
            await passes()
            assert not closing.done()
            if ends == "here":
                await writer.write_eof()
            else:
                os.close(there)
            await asyncio.wait_for(closing, 5)
            assert writer.error is None
    if ends == "here":
        os.close(there)


# With blocks, and the loop


@pytest.mark.parametrize("error", [None, ZeroDivisionError, asyncio.CancelledError])
async def test_a_with_block_sends_what_is_written_and_closes_at_once_only_when_cancelled(error):
    client, server = await connected("unix")

    async def work():
        async with server:
            server.write(b"x" * (1 << 20))
            if error:
                raise error

    working = await begun(work())
    if error is asyncio.CancelledError:
        assert working.cancelled()
        assert server.closed()
    else:
        assert 1 << 20 == len(await client.read_until_close())
        await asyncio.wait([working])
        assert server.closed()
        assert error is (type(working.exception()) if working.exception() else None)
    client.close()


@pytest.mark.parametrize("kind", ["unix", "pipe", "memory"])
def test_a_loop_closed_under_a_stream_harms_nobody(kind):
    async def begin():
        client, server = await connected(kind)
        client.write(b"x" * (1 << 22))
        server.set_close_callback(print)
        return client, server

    loop = asyncio.new_event_loop()
    client, server = loop.run_until_complete(begin())
    loop.close()
    client.close()
    server.close()
    assert client.closed()
    assert server.closed()


@pytest.mark.parametrize("sent", [b"", bytes(100_000)])
async def test_the_loop_lets_go_of_a_closed_stream(sent):
    asyncio.get_running_loop().slow_callback_duration = 100.0  # a warning would be kept, and the task in it
    client, server = await connected("unix")
    reading = await begun(server.read(Line()))
    await client.write(sent)
    client.close()
    server.close()
    await asyncio.wait([reading])
    reading.exception()
    await passes()
    alive = weakref.ref(server)
    del server, reading
    gc.collect()
    assert alive() is None


# When no more input is wanted


@pytest.mark.parametrize("policy", ["discard", "truncate"])
@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_a_stream_that_drains_ends_after_what_has_arrived(kind, policy):
    async with joined(kind) as (_, server):
        looking = await begun(server.peek(9))
        server.end_input()
        assert b"" == await looking
    async with joined(kind) as (client, server):
        await client.write(b"a\n")
        lines = server.frames(Line())
        assert "a" == await anext(lines)
        reading = await begun(anext(lines))
        server.end_input()
        await raised(StopAsyncIteration, reading)
        assert server.error is None
        await server.wait_closed()
    async with joined(kind) as (client, server), server.open_frame(LengthPrefix(1)) as body:
        await client.write(b"\2h")
        parts = [await anext(body)]
        server.end_input()
        reading = await begun(anext(body))
        await passes(10)
        await client.write(b"i")
        assert b"hi" == b"".join([*parts, await reading])
    async with joined(kind) as (client, server):
        await client.write(b"a\nb\nhal")
        lines = server.frames(Line())
        assert "a" == await anext(lines)
        server.end_input()
        assert "b" == await anext(lines)
        reading = asyncio.ensure_future(anext(lines))
        await passes(10)
        assert not reading.done(), "the frame has begun"
        client.write(b"f\nmore\n")
        assert ["half", "more"] == [await reading, *[line async for line in lines]]
        assert server.error is None
    async with joined(kind, max_frame_size=3, on_oversize=policy) as (client, server):
        await client.write(b"\5hell")
        frames = []
        reading = await begun(by_iteration(server, LengthPrefix(1), frames.append))
        server.end_input()
        await passes(10)
        assert not reading.done(), "a frame that is skipped has begun, too"
        client.write(b"o\2hi")
        await reading
        assert [b"hi"] == frames[-1:]
        assert server.error is None


@pytest.mark.parametrize("kind", ["unix", "tls"])
async def test_after_an_end_that_was_asked_for_nothing_more_is_taken_from_the_peer(kind):
    async with joined(kind, half_open=True) as (client, server):
        server.end_input()
        await raised(StreamClosed, server.read, Line())
        client.write(bytes(8 << 20))
        await passes(200)
        assert client.writing()


@pytest.mark.no_waiting
async def test_a_handshake_that_has_begun_has_half_a_second_when_no_more_input_is_wanted():
    for comes in (True, False):
        client, server = memory_stream_pair()
        keys = certificates()
        shaking = await begun(server.start_tls(keys.server(), server_side=True))
        server.end_input()
        if comes:
            await client.start_tls(keys.client(), server_hostname="localhost")
            await shaking
        else:
            began = asyncio.get_running_loop().time()
            await raised(StreamClosed, shaking)
            assert pytest.approx(0.5) == asyncio.get_running_loop().time() - began


@needs_watching
@pytest.mark.parametrize("has_read", [True, False])
@pytest.mark.parametrize("ends", [True, False])
async def test_who_lingers_throws_away_what_the_peer_still_sends(has_read, ends):
    async with joined("tcp", half_open=True) as (client, server):
        await client.write(b"a\nunread")
        assert not has_read or "a" == await server.read(Line())
        await passes()
        await server.write(b"too much of this\n")
        closing = await begun(server.aclose(linger=5 if ends else 0.01))
        await client.write(bytes(100_000))
        await raised(StreamClosed, server.write, b"more")
        assert "too much of this" == await client.read(Line())
        assert b"" == await client.read_until_close()
        if ends:
            assert not closing.done()
            await client.aclose()
        await closing
        assert server.closed()
        assert server.error is None
        assert not server.reading()
        await raised(StreamClosed, server.read_bytes, 1)


async def test_of_a_peer_that_never_stops_only_so_much_is_thrown_away(monkeypatch):
    monkeypatch.setattr("framestream.stream.stream._MOST_TO_DISCARD", 1000)
    async with joined("unix", half_open=True) as (client, server):
        await client.write(b"unread")
        closing = await begun(server.aclose(linger=60))
        assert not closing.done()
        client.write(bytes(10_000))
        await asyncio.wait_for(closing, 5)


# What plugins are told


@once
async def test_open_close_and_failure_are_told_to_who_listens(monkeypatch):
    heard = []
    for event in ("stream_opened", "stream_closed", "stream_failed"):
        monkeypatch.setattr(events, event, lambda event=event, **what: heard.append((event, what)))
    reason = RuntimeError("x")
    client, server = memory_stream_pair()
    server.close(reason)
    client.close()
    assert [
        ("stream_opened", {"stream": client}),
        ("stream_opened", {"stream": server}),
        ("stream_failed", {"stream": server, "error": reason}),
        ("stream_closed", {"stream": server}),
        ("stream_closed", {"stream": client}),
    ] == heard


@once
async def test_frames_are_shown_to_who_asks_for_them(monkeypatch):
    seen, sent = [], []
    client, server = memory_stream_pair(framer="line")
    monkeypatch.setattr(events, "frame_received", lambda **what: seen.append(what["frame"]))
    monkeypatch.setattr(events, "frame_sent", lambda **what: sent.append(what["frame"]))
    for line in "abcdefgh":
        await client.send(line)
    assert "a" == await server.read()
    async for line in server.frames():
        if line == "d":
            break
    server.read(callback=lambda _: None)
    async for batch in server.batches():
        assert ["f", "g", "h"] == batch
        break
    server.on_frame(None, lambda line: None)
    await client.send("i")
    await passes()
    assert list("abcdefghi") == seen == sent


# Errors that are none of the peer's, and what is logged


@once
@pytest.mark.parametrize("how", ["inline", "inline callback", "later", "idle", "until close"])
async def test_an_error_on_read_is_logged_once_closes_and_ends_reads(how, caplog):
    at = 3 if how == "until close" else 0
    client, server = memory_stream_pair(Wire(end=at, error=FAULT))
    if how == "later":
        server.transport.incoming.plan = Wire()
        reading = await begun(server.read(Line()))
        server.transport.incoming.plan = Wire(end=0, error=FAULT)
    client.write(b"x" * 10)
    if how == "idle":
        server.set_close_callback(lambda: None)
        await server.wait_closed()
    elif how == "inline callback":
        server.read(Line(), callback=print)
        assert not server.reading()
    else:
        with pytest.raises(StreamClosed) as caught:
            if how == "later":
                await reading
            elif how == "inline":
                server.read(Line()).send(None)
            else:
                await server.read_until_close()
        assert FAULT is caught.value.real_error
    assert server.closed()
    assert FAULT is server.error
    assert b"xxx"[:at] == server.leftover
    assert [f"{server.peer}: error on read: input/output error"] == logged(caplog)


class Unable(MemoryTransport):
    """A transport that breaks its promises."""

    def send(self, buffers):
        raise TypeError("not like this")

    def receive_into(self, buffer):
        return 1 / 0


@once
@pytest.mark.parametrize(("begin", "error", "line"), [
    (lambda stream: stream.read(Line()), ZeroDivisionError, "error on read: division by zero"),
    (lambda stream: stream.write(b"x"), TypeError, "error on write: not like this"),
])  # fmt: skip
async def test_a_broken_transport_closes_the_stream_and_is_logged_once(begin, error, line, caplog):
    first, second = memory_transport_pair()
    stream, peer = IOStream(Unable(first.incoming, first.outgoing)), IOStream(second)
    await peer.write(b"hello there\n")
    with suppress(StreamClosed):
        await begin(stream)
    assert isinstance(stream.error, error)
    assert [f"{stream.peer}: {line}"] == logged(caplog)


@once
@pytest.mark.parametrize("end", ["asked for", "told by a transport"])
async def test_what_a_loops_transport_pushes_after_the_end_of_the_input_is_thrown_away(end):
    client, server = memory_stream_pair(half_open=True)
    if end == "asked for":
        server.end_input()
    else:
        server.receiver.connection_lost(None)  # it was closed below, in good order
    assert [] == [line async for line in server.frames(Line())]
    server.receiver.get_buffer(-1)[:5] = b"late\n"
    server.receiver.buffer_updated(5)
    assert not server.buffered
    assert not server.closed()
    client.close()


@pytest.mark.no_debug
@needs_watching
@every_kind
async def test_a_closed_stream_is_freed_with_the_last_reference_to_it(kind):
    client, server = await connected(kind)
    asking = await begun(client.read(Line()))
    await server.write(b"hello\n")
    assert "hello" == await asking
    streams = [weakref.ref(client), weakref.ref(server)]
    gc.disable()
    try:
        await server.aclose()
        assert [] == [line async for line in client.frames(Line())]
        await client.aclose()
        del asking, client, server
        await passes()
        assert [None, None] == [stream() for stream in streams]
    finally:
        gc.enable()
