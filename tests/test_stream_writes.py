"""What `IOStream` writes: in order, together, never more than allowed."""

import asyncio
import errno
import os
import socket
import weakref
from array import array
from functools import partial
from unittest.mock import patch

import pytest
from faulty_framers import faulty
from stream_pairs import KINDS, begun, cancelled, joined, needs_watching, once, passes, raised, refused, until

from framestream import (
    BufferFull,
    EncodeError,
    Exactly,
    FramerContractError,
    IOStream,
    LengthPrefix,
    Line,
    StreamClosed,
)
from framestream.testing import Wire, memory_stream_pair
from framestream.testing.memory import MemoryTransport
from framestream.transport import PipeTransport

pytestmark = pytest.mark.every_loop
every_kind = pytest.mark.parametrize("kind", KINDS)
LARGE = os.urandom(3 << 20)


@every_kind
async def test_an_awaited_write_has_left_and_every_waiter_is_told(kind):
    async with joined(kind, write_low_water=0) as (client, server):
        waiting = [asyncio.ensure_future(client.write(LARGE)) for _ in range(2)]
        await cancelled(given_up := await begun(client.write(LARGE)))  # its bytes leave all the same
        assert given_up.cancelled() or kind == "memory"
        waiting.append(asyncio.ensure_future(client.drain()))
        await begun(client.write(b"behind"))
        assert 3 * LARGE + b"behind" == await server.read_bytes(3 * len(LARGE) + 6)
        await asyncio.gather(*waiting)
        assert not client.writing()
        assert 3 * len(LARGE) + 6 == client.stats.bytes_sent


@every_kind
async def test_writes_that_nobody_awaits_leave_too_and_in_order(kind):
    async with joined(kind) as (client, server):
        client.write(LARGE * 3)
        for number in range(1000):
            client.write(b"%05d" % number)
        assert client.writing() or kind == "memory"
        assert LARGE * 3 == await server.read_bytes(3 * len(LARGE))
        for number in range(1000):
            assert b"%05d" % number == await server.read_bytes(5)


@pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])
async def test_any_buffer_and_any_list_of_buffers_can_be_written(kind):
    async with joined(kind) as (client, server):
        for data in (
            bytearray(b"abcdefgh"),
            memoryview(b"abcdefgh"),
            memoryview(b"abcdefgh").cast("I"),
            memoryview(b"abcdefgh").cast("B", [2, 4]),
            array("H", b"abcdefgh"),
            memoryview(b"aXbXcXdXeXfXgXhX")[::2],
            [b"abc", bytearray(b"de"), b"", memoryview(b"fgh")],
            (b"abcd", b"efgh"),
            type("Marked", (bytes,), {})(b"abcdefgh"),
        ):
            await client.write(data)
            assert b"abcdefgh" == await server.read_bytes(8), data
        await client.write([b"x"] * 3000)  # more than a system takes at once
        assert b"x" * 3000 == await server.read_bytes(3000)


@once
async def test_what_are_no_bytes_is_refused_by_its_type_and_nothing_is_nothing():
    client, server = memory_stream_pair()
    for wrong in ("text", 5, [b"fine", 1], None):
        refused(TypeError, client.write, wrong, match="write takes bytes, a buffer, or a list of those, not")
    for nothing in (b"", [], bytearray()):
        await client.write(nothing)
    assert 0 == client.stats.bytes_sent
    await client.write(b"x")
    assert b"x" == await server.read_bytes(1)


@once
@pytest.mark.parametrize("wrong", ["text", None, [b"fine", 1], [b"fine", "text"], 5, iter([b"fine"])])
async def test_an_encoder_that_returns_no_bytes_is_at_fault_and_is_named(wrong):
    client, server = memory_stream_pair()
    framer = faulty("Odd", encode=lambda self, frame: frame)()
    for send in (partial(client.send, wrong, framer), partial(client.framed(framer).send, wrong)):
        told = refused(FramerContractError, send, match=rf"^Odd\(.*: encode returned {type(wrong).__name__}: ")
        assert str(framer) == told.framer
        assert isinstance(told.__cause__, TypeError)
    assert (0, 0) == (client.stats.bytes_sent, client.stats.frames_sent)
    await client.send("line", Line())
    assert "line" == await server.read(Line())


@pytest.mark.parametrize("end", ["flushed", "closed", "failed"])
async def test_a_buffer_is_let_go_when_it_has_left_or_never_will(end):
    async with joined("unix") as (client, server):
        buffer = bytearray(3 << 20)
        writing = await begun(client.write(buffer))
        refused(BufferError, buffer.append, 0)
        if end == "flushed":
            await server.read_bytes(len(buffer))
        elif end == "closed":
            client.close()
        else:
            server.close()
        await asyncio.gather(writing, return_exceptions=True)
        await passes()
        buffer.append(0)


# Together, without delaying the first


@pytest.fixture
def sends(monkeypatch):
    """Give the sizes of the buffers of each send of a transport in memory."""
    noted, send = [], MemoryTransport.send

    def note(transport, buffers):
        noted.append([len(buffer) for buffer in buffers])
        return send(transport, buffers)

    monkeypatch.setattr(MemoryTransport, "send", note)
    return noted


@once
async def test_much_is_offered_in_pieces(sends):
    client, server = memory_stream_pair()
    await client.write(bytes(8 << 20))
    assert max(map(sum, sends)) <= 2 << 20
    client.close()
    server.close()


@once
async def test_a_pass_sends_its_first_write_at_once_and_the_others_together(sends):
    client, server = memory_stream_pair()
    client.write(b"0")
    await passes(1)
    for _ in range(2):
        del sends[:]
        client.write(b"1")
        assert [[1]] == sends
        for _ in range(4):
            client.write(b"22")
        assert [[1]] == sends
        await passes(1)
        assert [[1], [2, 2, 2, 2]] == sends
        await passes(1)
    client.write(b"3")
    refused(StopIteration, next, client.write(b"4").__await__())
    assert [[1], [1]] == sends[2:], "who waits for a write has it sent"
    await passes(2)
    for _ in range(10):
        client.write(b"x" * 10_000)
    assert len(sends) > 5, "much does not wait for the end of the pass"
    await passes(2)
    assert b"0" + b"122222222" * 2 + b"34" == await server.read_bytes(21)
    await server.read_bytes(100_000)
    for _ in range(3):
        client.write(b"ping\n")
        await server.read(Line())
        del sends[:]
        server.write(b"pong\n")
        assert [[5]] == sends, "an answer is sent at once"
        assert "pong" == await client.read(Line())


# Frames


@once
async def test_send_writes_a_frame_or_nothing_if_it_has_no_encoding():
    client, server = memory_stream_pair()
    await client.send("héllo", Line())
    refused(EncodeError, client.send, "a\nb", Line())
    await client.send(b"abc", "length-prefix:size=2")
    assert "héllo" == await server.read(Line())
    assert b"abc" == await server.read(LengthPrefix(2))
    assert 2 == client.stats.frames_sent
    refused(TypeError, client.send, b"x", Exactly(1), match="can only read")
    refused(TypeError, client.send, b"x", match="the stream has none")


async def test_sending_waits_only_above_the_high_water_mark():
    async with joined("unix", write_high_water=1 << 20, write_low_water=1 << 10) as (client, server):
        framer = LengthPrefix(4)
        await client.send(b"x" * 800_000, framer)
        assert client.writing()
        sending = await begun(client.send(b"x" * 900_000, framer))
        assert not sending.done()
        draining = asyncio.ensure_future(client.drain())
        await server.read_bytes(800_004 + 900_004)
        await sending
        await draining


# Limits


async def test_a_write_above_the_cap_is_refused_whole():
    async with joined("unix", max_write_buffer_size=1000) as (client, server):
        refused(BufferFull, client.write, b"x" * 2000, match="2000 bytes, limit 1000")
        client.write(b"a" * 600)
        assert b"a" * 600 == await server.read_bytes(600)


async def test_the_cap_counts_what_the_peer_does_not_take_and_not_what_waits_for_the_end_of_a_pass():
    client, server = memory_stream_pair(Wire(capacity=10_000), max_write_buffer_size=1000)
    for _ in range(18):
        client.write(b"x" * 600)
    refused(BufferFull, client.write, b"y" * 600, match="1400 bytes, limit 1000")
    assert 18 * 600 == len(await server.read_bytes(18 * 600))
    await client.write(b"z")
    assert b"z" == await server.read_bytes(1)


@needs_watching
async def test_a_write_at_the_cap_to_a_peer_that_is_gone_says_that_it_is_gone():
    async with joined("unix", max_write_buffer_size=1000) as (client, server):
        client.write(b"a" * 600)
        client.write(b"b" * 600)
        server.close()
        refused(StreamClosed, client.write, b"c" * 600)


async def test_of_many_waiters_each_is_told_in_its_turn():
    told = []
    async with joined("unix") as (client, server):
        for number in range(2000):
            client.write(bytes(1000), partial(told.append, number))
        await server.read_bytes(2000 * 1000)
        await until(lambda: len(told) == 2000)
        assert list(range(2000)) == told
        for number in range(2000):
            client.sender.when_sent(lambda lost, number=number: lost and told.append(number))
            client.write(bytes(1000))
        client.close()
        lost = told[2000:]
        assert 0 < len(lost) < 2000
        assert list(range(2000 - len(lost), 2000)) == lost


# The end of writing


@pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])
async def test_half_close_waits_for_what_is_queued_and_lets_the_answer_through(kind):
    async with joined(kind, half_open=True) as (client, server):
        descriptor = client.transport.write_fd if kind == "pipe" else None
        client.write(LARGE * 4)
        ending = await begun(client.write_eof())
        assert not ending.done() or kind == "memory"
        assert LARGE * 4 == await server.read_until_close()
        await ending
        assert descriptor is None or not asyncio.get_running_loop().remove_writer(descriptor)
        client.write_eof()
        assert not server.closed()
        await server.write(b"answer")
        await server.aclose()
        assert b"answer" == await client.read_until_close()
        for close in (lambda: None, client.close):
            close()
            for write in (client.write, lambda data: client.send(data, Line(None))):
                refused(StreamClosed, write, b"more", match="this half of the stream is ended")


@needs_watching
async def test_one_descriptor_for_both_directions_cannot_be_half_closed_nor_one_for_reading_written():
    first, second = socket.socketpair()
    stream = IOStream(PipeTransport(fd := first.detach(), fd))
    caught = await raised(StreamClosed, stream.write_eof)
    assert errno.EOPNOTSUPP == caught.real_error.errno
    second.close()
    there, back = os.pipe()
    reader = IOStream(PipeTransport(there))
    caught = await raised(StreamClosed, reader.write, b"x")
    assert isinstance(caught.real_error, BrokenPipeError)
    os.write(back, b"still read\n")
    os.close(back)
    assert "still read" == await reader.read(Line())
    await reader.aclose()


@pytest.mark.parametrize("how", ["close", "aclose that is cancelled"])
async def test_close_throws_away_what_is_queued(how):
    async with joined("unix") as (client, _):
        gone = client.write(b"x")
        awaited = asyncio.ensure_future(client.write(LARGE))
        queued = client.write(LARGE)
        await passes()
        given_up = await begun(client.write(LARGE))
        given_up.cancel()
        if how == "close":
            client.close()
        else:
            closing = await begun(client.aclose())
            refused(StreamClosed, client.write, b"refused at once")
            await cancelled(closing)
        assert client.closed()
        await raised(asyncio.CancelledError, given_up)
        await gone
        for waiting in (awaited, queued):
            await raised(StreamClosed, waiting, match="before everything was written")
        for write in (client.write, lambda data: client.send(data, Line(None))):
            refused(StreamClosed, write, b"x")
        for late in (client.drain(), client.sender.flush(), client.write_eof()):
            await raised(StreamClosed, late)
        assert not client.writing()


@every_kind
async def test_close_sends_what_only_waited_for_the_end_of_the_pass(kind):
    async with joined(kind) as (client, server):
        told = []
        waits = [client.write(data, lambda: told.append("sent")) for data in (b"a", b"b", b"c")]
        client.close()
        assert b"abc" == await server.read_until_close()
        await passes()
        assert ["sent"] * 3 == told
        assert [None] * 3 == await asyncio.gather(*waits)
    client, server = memory_stream_pair()
    first, second = client.write(b"a"), client.write(b"b")
    server.close()
    client.close()
    assert client.error is None
    await first
    await raised(StreamClosed, second)


@pytest.mark.parametrize("begin", ["one list", "each", "await", "hand over"])
@pytest.mark.parametrize("kind", ["tcp", "unix", "tls", "memory"])
async def test_a_close_sends_whatever_the_system_takes_however_small_the_pieces_and_however_they_came(kind, begin):
    pieces = [b"%d" % (number % 10) for number in range(20_000)]
    async with joined(kind) as (client, server):
        for data in [pieces] if begin == "one list" else pieces:
            flushed = client.write(data)
        if begin == "await":
            await begun(flushed)
        elif begin == "hand over":
            client.sender.send_queued()
        client.close()
        assert b"0123456789" * 2000 == await server.read_until_close()


@once
@pytest.mark.parametrize("others", [0, 3])
async def test_waits_that_were_given_up_are_forgotten_although_the_peer_takes_nothing(others):
    client, _ = memory_stream_pair(Wire(capacity=10))
    loop, waits = asyncio.get_running_loop(), weakref.WeakSet()
    create_future = loop.create_future

    def noted_future():
        future = create_future()
        waits.add(future)
        return future

    client.write(bytes(100_000))
    waiting = [await begun(client.drain()) for _ in range(others)]
    with patch.object(loop, "create_future", noted_future):
        for _ in range(300):
            await cancelled(await begun(client.drain()))
    assert len(waits) < 200
    assert len(client.sender._waiters) < 200
    client.close()
    for wait in waiting:
        await raised(StreamClosed, wait)


class Compared(int):
    """A position that counts how often it is compared."""

    count = 0
    __hash__ = int.__hash__

    def __eq__(self, other):  # so do lists, before anything else
        Compared.count += 1
        return int.__eq__(self, other)


@once
async def test_giving_up_a_wait_costs_no_more_for_all_the_others():
    client, _ = memory_stream_pair(Wire(capacity=10))
    client.write(bytes(100_000))
    sender, count = client.sender, 1000
    waits = [await begun(sender.wait_until_sent(Compared(sender.written))) for _ in range(count)]
    Compared.count = 0
    for wait in reversed(waits):
        await cancelled(wait)
    assert Compared.count < 20 * count
    client.close()
