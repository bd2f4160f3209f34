"""What `IOStream` writes: in order, together, never more than allowed."""

import asyncio
import errno
import io
import os
import socket

import pytest
from stream_pairs import KINDS, joined, needs_polling, passes

from framestream import (
    BufferFull,
    EncodeError,
    Exactly,
    IOStream,
    LengthPrefix,
    Line,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
)
from framestream.testing import Wire, memory_stream_pair
from framestream.testing.memory import MemoryTransport, memory_transport_pair
from framestream.transport import PipeTransport

pytestmark = pytest.mark.every_loop
every_kind = pytest.mark.parametrize("kind", KINDS)
LARGE = os.urandom(3 << 20)


@every_kind
async def test_an_awaited_write_has_left_and_every_waiter_is_told(kind):
    async with joined(kind, write_low_water=0) as (client, server):
        waiting = [asyncio.ensure_future(client.write(LARGE)) for _ in range(3)]
        waiting.append(asyncio.ensure_future(client.drain()))
        assert 3 * LARGE == await server.read_bytes(3 * len(LARGE))
        await asyncio.gather(*waiting)
        assert not client.writing()
        assert 3 * len(LARGE) == client.stats.bytes_sent


@every_kind
async def test_writes_that_nobody_awaits_leave_too_and_in_order(kind):
    async with joined(kind) as (client, server):
        client.write(LARGE * 3)
        for number in range(5000):
            client.write(b"%05d" % number)
        assert client.writing() or kind == "memory"
        assert LARGE * 3 == await server.read_bytes(3 * len(LARGE))
        for number in range(5000):
            assert b"%05d" % number == await server.read_bytes(5)


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abcdefgh"),
        memoryview(b"abcdefgh"),
        memoryview(b"abcdefgh").cast("I"),
        memoryview(b"aXbXcXdXeXfXgXhX")[::2],
        [b"abc", bytearray(b"de"), b"", memoryview(b"fgh")],
        (b"abcd", b"efgh"),
        type("Marked", (bytes,), {})(b"abcdefgh"),
    ],
    ids=["bytearray", "memoryview", "wide", "strided", "list", "tuple", "subclass"],
)
async def test_any_buffer_and_any_list_of_buffers_can_be_written(kind, data):
    async with joined(kind) as (client, server):
        await client.write(data)
        assert b"abcdefgh" == await server.read_bytes(8)


async def test_what_are_no_bytes_is_refused_by_its_type_and_nothing_is_nothing():
    client, server = memory_stream_pair()
    for wrong in ("text", 5, [b"fine", 1], None):
        with pytest.raises(TypeError, match="write takes bytes, a buffer, or a list of those, not"):
            client.write(wrong)
    for nothing in (b"", [], bytearray()):
        await client.write(nothing)
    assert 0 == client.stats.bytes_sent
    await client.write(b"x")
    assert b"x" == await server.read_bytes(1)


@pytest.mark.parametrize("end", ["flushed", "closed", "failed"])
async def test_a_buffer_is_let_go_when_it_has_left_or_never_will(end):
    async with joined("unix") as (client, server):
        buffer = bytearray(3 << 20)
        writing = asyncio.ensure_future(client.write(buffer))
        await passes()
        with pytest.raises(BufferError):
            buffer.append(0)
        if end == "flushed":
            await server.read_bytes(len(buffer))
        elif end == "closed":
            client.close()
        else:
            server.close()
        await asyncio.gather(writing, return_exceptions=True)
        await passes()
        buffer.append(0)


@pytest.mark.parametrize("kind", ["tcp", "pipe"])
async def test_more_buffers_than_the_system_takes_at_once_leave_all_the_same(kind):
    async with joined(kind) as (client, server):
        writing = asyncio.ensure_future(client.write([b"x"] * 3000))
        assert b"x" * 3000 == await server.read_bytes(3000)
        await writing


@pytest.mark.parametrize(
    "wire",
    [*(Wire(takes=takes) for takes in ([1], [1, 0], [0, 0, 3], [7, 1, 0])), Wire(capacity=10)],
    ids=str,
)
async def test_short_and_blocked_sends_lose_nothing(wire):
    client, server = memory_stream_pair(wire)
    data = os.urandom(2000)
    client.write(data[:1000])
    writing = asyncio.ensure_future(client.write([data[1000:1500], data[1500:]]))
    assert data == await server.read_bytes(2000)
    await writing


# Together, without delaying the first


class NotedTransport(MemoryTransport):
    """A transport that notes how much each send offers."""

    __slots__ = ("sends",)

    def __init__(self, incoming, outgoing):
        super().__init__(incoming, outgoing)
        self.sends = []

    def send(self, buffers):
        self.sends.append([len(buffer) for buffer in buffers])
        return super().send(buffers)


@pytest.fixture
def noted(event_loop_name):
    """Make a stream; return it, what its sends offer, and its peer."""

    def make():
        first, second = memory_transport_pair()
        transport = NotedTransport(first.incoming, first.outgoing)
        return IOStream(transport), transport.sends, IOStream(second)

    return make


async def test_small_writes_of_one_pass_leave_together_after_the_first(noted):
    client, sends, server = noted()
    client.write(b"1")
    assert [[1]] == sends
    for _ in range(4):
        client.write(b"22")
    assert [[1]] == sends
    await passes(1)
    assert [[1], [2, 2, 2, 2]] == sends
    assert b"122222222" == await server.read_bytes(9)


async def test_the_first_write_of_every_pass_is_sent_at_once(noted):
    client, sends, _ = noted()
    for _ in range(5):
        before = len(sends)
        client.write(b"x")
        assert before + 1 == len(sends)
        await passes(2)


async def test_an_answer_is_sent_at_once(noted):
    server, sends, client = noted()
    for count in range(1, 5):
        client.write(b"ping\n")
        await server.read(Line())
        server.write(b"pong\n")
        assert count == len(sends)
        assert "pong" == await client.read(Line())


async def test_awaiting_a_queued_write_sends_it_at_once(noted):
    client, sends, _ = noted()
    client.write(b"1")
    await client.write(b"2")
    assert [[1], [1]] == sends


async def test_much_queued_in_one_pass_does_not_wait_for_its_end(noted):
    client, sends, _ = noted()
    for _ in range(10):
        client.write(b"x" * 10000)
    assert len(sends) > 1


# Frames


async def test_send_writes_a_frame_or_nothing_if_it_has_no_encoding():
    client, server = memory_stream_pair()
    await client.send("héllo", Line())
    with pytest.raises(EncodeError):
        client.send("a\nb", Line())
    await client.send(b"abc", "length-prefix:size=2")
    assert "héllo" == await server.read(Line())
    assert b"abc" == await server.read(LengthPrefix(2))
    assert 2 == client.stats.frames_sent
    with pytest.raises(TypeError, match="can only read"):
        client.send(b"x", Exactly(1))
    with pytest.raises(TypeError, match="the stream has none"):
        client.send(b"x")


async def test_sending_waits_only_above_the_high_water_mark():
    async with joined("unix", write_high_water=1 << 20, write_low_water=1 << 10) as (client, server):
        framer = LengthPrefix(4)
        await client.send(b"x" * 800_000, framer)
        assert client.writing()
        sending = asyncio.ensure_future(client.send(b"x" * 900_000, framer))
        await passes()
        assert not sending.done()
        draining = asyncio.ensure_future(client.drain())
        await server.read_bytes(800_004 + 900_004)
        await sending
        await draining


# Limits


async def test_a_write_above_the_cap_is_refused_whole():
    async with joined("unix", max_write_buffer_size=1000) as (client, server):
        with pytest.raises(BufferFull, match="2000 bytes, limit 1000"):
            client.write(b"x" * 2000)
        client.write(b"a" * 600)
        client.write(b"b" * 600)
        with pytest.raises(BufferFull, match="1200 bytes, limit 1000"):
            client.write(b"c" * 600)
        assert b"a" * 600 + b"b" * 600 == await server.read_bytes(1200)


class Counted:
    """A waiter that counts how often it is asked whether it still waits."""

    asked = told = 0

    def done(self):
        Counted.asked += 1
        return False

    def set_result(self, result):
        Counted.told += 1

    def set_exception(self, error):
        raise AssertionError(error)


async def test_many_waiters_cost_no_more_than_a_few_each():
    async with joined("unix") as (client, server):
        Counted.asked = Counted.told = 0
        for _ in range(2000):
            client.write(bytes(1000))
            client.sender.settle_when_sent(Counted())
        await server.read_bytes(2000 * 1000, max_size=1 << 30)
        await passes()
        assert 2000 == Counted.told
        assert Counted.asked <= 2000


async def test_who_waits_for_less_is_told_first():
    async with joined("unix", write_high_water=1 << 20, write_low_water=1 << 20) as (client, server):
        told = []
        flushed = asyncio.ensure_future(client.write(LARGE))
        room = asyncio.ensure_future(client.drain())
        flushed.add_done_callback(lambda _: told.append("flushed"))
        room.add_done_callback(lambda _: told.append("room"))
        await asyncio.gather(server.read_bytes(len(LARGE)), flushed, room)
        assert ["room", "flushed"] == told


# The end of writing


@pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])
async def test_half_close_waits_for_what_is_queued_and_lets_the_answer_through(kind):
    async with joined(kind, half_open=True) as (client, server):
        client.write(LARGE * 4)
        ending = asyncio.ensure_future(client.write_eof())
        await passes()
        assert not ending.done() or kind == "memory"
        assert LARGE * 4 == await server.read_until_close()
        await ending
        client.write_eof()
        assert not server.closed()
        await server.write(b"answer")
        await server.aclose()
        assert b"answer" == await client.read_until_close()
        for write in (client.write, lambda data: client.send(data, Line(None))):
            with pytest.raises(StreamClosed, match="this half of the stream is ended"):
                write(b"more")
        with pytest.raises(StreamClosed, match="this half of the stream is ended"):
            await client.sendfile(io.BytesIO(b"more"))


async def test_one_descriptor_for_both_directions_cannot_be_half_closed():
    needs_polling("a pipe")
    first, second = socket.socketpair()
    stream = IOStream(PipeTransport(fd := first.detach(), fd))
    with pytest.raises(StreamClosed) as caught:
        await stream.write_eof()
    assert errno.EOPNOTSUPP == caught.value.real_error.errno
    second.close()


@every_kind
async def test_aclose_sends_what_is_written(kind):
    async with joined(kind) as (client, server):
        client.write(LARGE)
        closing = asyncio.ensure_future(client.aclose())
        assert LARGE == await server.read_until_close()
        await closing
        assert client.closed()
        assert client.error is None


async def test_aclose_refuses_further_writes_at_once_and_cancelled_closes_at_once():
    async with joined("unix") as (client, _):
        client.write(LARGE)
        closing = asyncio.ensure_future(client.aclose())
        await passes()
        with pytest.raises(StreamClosed):
            client.write(b"x")
        closing.cancel()
        await asyncio.wait([closing])
        assert client.closed()


async def test_close_throws_away_what_is_queued():
    async with joined("unix") as (client, _):
        gone = client.write(b"x")
        awaited = asyncio.ensure_future(client.write(LARGE))
        queued = client.write(LARGE)
        await passes()
        client.close()
        await gone
        for waiting in (awaited, queued):
            with pytest.raises(StreamClosed, match="before everything was written"):
                await waiting
        for write in (client.write, lambda data: client.send(data, Line(None))):
            with pytest.raises(StreamClosed):
                write(b"x")
        for late in (client.drain(), client.sendfile(io.BytesIO(b"x")), client.sender.flush()):
            with pytest.raises(StreamClosed):
                await late


@every_kind
async def test_close_sends_what_only_waited_for_the_end_of_the_pass(kind):
    async with joined(kind) as (client, server):
        waits = [client.write(data) for data in (b"a", b"b", b"c")]
        client.close()
        assert b"abc" == await server.read_until_close()
        assert [None] * 3 == await asyncio.gather(*waits)


async def test_close_does_not_mind_a_peer_that_is_gone():
    client, server = memory_stream_pair()
    first, second = client.write(b"a"), client.write(b"b")
    server.close()
    client.close()
    assert client.error is None
    await first
    with pytest.raises(StreamClosed):
        await second


async def test_a_pipe_that_can_only_read_refuses_to_write():
    needs_polling("a pipe")
    there, back = os.pipe()
    reader = IOStream(PipeTransport(there))
    with pytest.raises(StreamClosed):
        await reader.write(b"x")
    assert isinstance(reader.error, BrokenPipeError)
    os.close(back)


# Files


@pytest.fixture
def large_file(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    with path.open("rb") as file:
        yield file


@every_kind
async def test_sendfile_sends_a_file_in_its_turn(kind, large_file):
    async with joined(kind) as (client, server):
        client.write(LARGE)
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes()
        with pytest.raises(StreamBusy):
            await client.sendfile(large_file)
        client.write(b"after")
        assert LARGE + LARGE + b"after" == await server.read_bytes(2 * len(LARGE) + 5, timeout=10)
        assert len(LARGE) == await sending
        assert 2 * len(LARGE) + 5 == client.stats.bytes_sent
        assert 1000 == await client.sendfile(large_file, offset=5, count=1000)
        assert LARGE[5:1005] == await server.read_bytes(1000)
        assert 10 == await client.sendfile(large_file, offset=len(LARGE) - 10)
        assert LARGE[-10:] == await server.read_bytes(10)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_what_only_looks_like_a_file_is_sent_and_what_cannot_be_read_harms_nobody(kind):
    async with joined(kind) as (client, server):
        assert 5 == await client.sendfile(io.BytesIO(b"hello"))
        there, back = os.pipe()
        with open(there, "rb") as pipe, open(back, "wb"), pytest.raises(io.UnsupportedOperation):
            await client.sendfile(pipe)
        await client.write(b"hello")
        assert b"hellohello" == await server.read_bytes(10)


@pytest.mark.parametrize("end", ["timeout", "peer", "close"])
async def test_a_file_that_cannot_be_sent_to_its_end_is_an_error(end, large_file):
    async with joined("unix", write_timeout=0.02 if end == "timeout" else None) as (client, server):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes(30)
        if end != "timeout":
            (server if end == "peer" else client).close()
        with pytest.raises(StreamClosed) as caught:
            await sending
        if end == "timeout":
            assert "peer took nothing for 0.02 s" in str(caught.value)
            assert isinstance(client.error, StreamTimeout)
        elif end == "peer":
            assert isinstance(caught.value.real_error, OSError)


@pytest.mark.parametrize("kind", ["tcp", "tls", "pipe"])
async def test_a_cancelled_sendfile_eats_nothing_of_what_is_written_next(kind, large_file):
    async with joined(kind) as (client, server):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes(20)
        sending.cancel()
        await asyncio.wait([sending])
        end = b"B" * 100_000 + b"end"
        client.write(end)
        client.write_eof()
        received = await server.read_until_close()
        assert received.endswith(end)
        assert LARGE.startswith(received[: -len(end)])


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_aclose_waits_for_a_file(kind, large_file):
    async with joined(kind) as (client, server):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes()
        closing = asyncio.ensure_future(client.aclose())
        assert LARGE == await server.read_until_close()
        await closing
        await sending


async def test_nodelay_is_set_and_can_be_unset():
    async with joined("tcp") as (client, _):
        sock = client.transport.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.set_nodelay(False)
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.set_nodelay(True)
    for kind in ("unix", "memory"):
        async with joined(kind) as (client, _):
            client.set_nodelay(True)


async def test_a_file_leaves_whole_although_the_stream_is_to_be_closed_after_what_was_written_before_it():
    client, server = memory_stream_pair(Wire(capacity=1000))
    client.write(b"a" * 5000)
    sending = asyncio.ensure_future(client.sendfile(io.BytesIO(b"b" * 5000)))
    await passes()
    closing = asyncio.ensure_future(client.aclose())
    assert b"a" * 5000 + b"b" * 5000 == await server.read_until_close()
    assert 5000 == await sending
    await closing
