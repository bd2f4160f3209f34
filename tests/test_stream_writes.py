"""What `IOStream` writes: in order, together, never more than allowed."""

import asyncio
import errno
import io
import os
import socket

import pytest
from stream_pairs import KINDS, SOCKETS, joined, needs_polling, passes, pipe_transports

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
from framestream.transport.descriptor import PipeTransport

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", KINDS)
LARGE = os.urandom(3 << 20)


class NotedTransport(MemoryTransport):
    """A transport that notes how much each send offers."""

    __slots__ = ("sends",)

    def __init__(self, incoming, outgoing):
        super().__init__(incoming, outgoing)
        self.sends = []

    def send(self, buffers):
        self.sends.append([len(buffer) for buffer in buffers])
        return super().send(buffers)


@every_kind
async def test_an_awaited_write_has_left(kind):
    async with joined(kind) as (client, server):
        writing = asyncio.ensure_future(client.write(LARGE))
        assert LARGE == await server.read_bytes(len(LARGE))
        await writing
        assert not client.writing()
        assert len(LARGE) == client.stats.bytes_sent


@every_kind
async def test_a_write_that_nobody_awaits_leaves_too(kind):
    async with joined(kind) as (client, server):
        client.write(LARGE * 8)
        assert client.writing() or kind == "memory"
        assert LARGE * 8 == await server.read_bytes(8 * len(LARGE))


@every_kind
async def test_writes_keep_their_order(kind):
    async with joined(kind) as (client, server):
        for number in range(20000):
            client.write(b"%05d" % number)
        for number in range(20000):
            assert b"%05d" % number == await server.read_bytes(5)


@every_kind
async def test_every_waiter_is_told(kind):
    async with joined(kind) as (client, server):
        waiting = [asyncio.ensure_future(client.write(LARGE)) for _ in range(3)]
        waiting.append(asyncio.ensure_future(client.drain()))
        assert 3 * LARGE == await server.read_bytes(3 * len(LARGE))
        await asyncio.gather(*waiting)


async def test_an_empty_write_is_done():
    async with joined("unix") as (client, _):
        await client.write(b"")
        await client.write([])
        await client.write(bytearray())
        assert 0 == client.stats.bytes_sent


@every_kind
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
        buffer.append(0)


@pytest.mark.parametrize("kind", SOCKETS)
async def test_more_buffers_than_the_system_takes_at_once_leave_all_the_same(kind):
    async with joined(kind) as (client, server):
        writing = asyncio.ensure_future(client.write([b"x"] * 3000))
        assert b"x" * 3000 == await server.read_bytes(3000)
        await writing


def noted():
    """Return a stream, what its sends offer, and its peer."""
    first, second = memory_transport_pair()
    transport = NotedTransport(first.incoming, first.outgoing)
    return IOStream(transport), transport.sends, IOStream(second)


# Together, without delaying the first


async def test_small_writes_of_one_pass_leave_together_after_the_first():
    client, sends, server = noted()
    client.write(b"1")
    assert [[1]] == sends
    for _ in range(4):
        client.write(b"22")
    assert [[1]] == sends
    await passes(1)
    assert [[1], [2, 2, 2, 2]] == sends
    assert b"122222222" == await server.read_bytes(9)


async def test_the_first_write_of_every_pass_is_sent_at_once():
    client, sends, _ = noted()
    for _ in range(5):
        before = len(sends)
        client.write(b"x")
        assert before + 1 == len(sends)
        await passes(2)


async def test_an_answer_is_sent_at_once():
    server, sends, client = noted()
    for count in range(1, 5):
        client.write(b"ping\n")
        await server.read(Line())
        server.write(b"pong\n")
        assert count == len(sends)
        assert "pong" == await client.read(Line())


async def test_awaiting_a_queued_write_sends_it_at_once():
    client, sends, _ = noted()
    client.write(b"1")
    await client.write(b"2")
    assert [[1], [1]] == sends


async def test_much_queued_in_one_pass_does_not_wait_for_its_end():
    client, sends, server = noted()
    for _ in range(10):
        client.write(b"x" * 10000)
    assert len(sends) > 1
    await server.read_bytes(100_000)


# Frames


async def test_send_writes_a_frame():
    async with joined("memory") as (client, server):
        await client.send("héllo", Line())
        await client.send(b"abc", "length-prefix:size=2")
        assert "héllo" == await server.read(Line())
        assert b"abc" == await server.read(LengthPrefix(2))
        assert 2 == client.stats.frames_sent


async def test_a_frame_that_has_no_encoding_writes_nothing():
    async with joined("memory") as (client, server):
        with pytest.raises(EncodeError):
            client.send("a\nb", Line())
        await client.send("c", Line())
        assert "c" == await server.read(Line())
        assert 1 == client.stats.frames_sent


async def test_sending_takes_a_framer():
    async with joined("memory") as (client, _):
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


async def test_a_peer_that_never_reads_holds_back_nobody_else_and_is_cut_off():
    async with joined("unix", write_timeout=0.02) as (client, _):
        with pytest.raises(StreamClosed) as caught:
            await client.write(LARGE)
        assert isinstance(caught.value.real_error, StreamTimeout)
        assert client.closed()


async def test_a_peer_that_reads_slowly_is_not_cut_off():
    async with joined("unix", write_timeout=0.1) as (client, server):
        writing = asyncio.ensure_future(client.write(LARGE))
        for _ in range(12):
            await server.read_bytes(1 << 18)
            await asyncio.sleep(0.02)
        await writing
        assert not client.closed()


# The end of writing


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls", "pipe", "memory"])
async def test_half_close_lets_the_answer_through(kind):
    async with joined(kind, half_open=True) as (client, server):
        await client.write(b"question")
        await client.write_eof()
        assert b"question" == await server.read_until_close()
        assert not server.closed()
        await server.write(b"answer")
        await server.aclose()
        assert b"answer" == await client.read_until_close()
        with pytest.raises(StreamClosed):
            client.write(b"more")


async def test_half_close_waits_for_what_is_queued():
    async with joined("unix", half_open=True) as (client, server):
        client.write(LARGE)
        ending = asyncio.ensure_future(client.write_eof())
        await passes()
        assert not ending.done()
        assert LARGE == await server.read_until_close()
        await ending
        client.write_eof()


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


async def test_aclose_gives_up_after_its_timeout():
    async with joined("unix") as (client, _):
        client.write(LARGE)
        await client.aclose(timeout=0.01)
        assert client.closed()


async def test_aclose_refuses_further_writes_at_once():
    async with joined("unix") as (client, _):
        client.write(LARGE)
        closing = asyncio.ensure_future(client.aclose(timeout=0.01))
        await passes()
        with pytest.raises(StreamClosed):
            client.write(b"x")
        await closing


async def test_a_cancelled_aclose_closes_at_once():
    async with joined("unix") as (client, _):
        client.write(LARGE)
        closing = asyncio.ensure_future(client.aclose())
        await passes()
        closing.cancel()
        await asyncio.wait([closing])
        assert client.closed()


async def test_close_throws_away_what_is_queued():
    async with joined("unix") as (client, _):
        writing = asyncio.ensure_future(client.write(LARGE))
        await passes()
        client.close()
        with pytest.raises(StreamClosed, match="before everything was written"):
            await writing
        for write in (client.write, lambda data: client.send(data, Line(None))):
            with pytest.raises(StreamClosed):
                write(b"x")
        with pytest.raises(StreamClosed):
            await client.drain()


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


async def test_awaiting_a_write_after_the_stream_was_closed_says_whether_it_left():
    async with joined("unix") as (client, _):
        gone = client.write(b"x")
        queued = client.write(LARGE)
        client.close()
        await gone
        with pytest.raises(StreamClosed):
            await queued


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
        client.write(b"before")
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes()
        client.write(b"behind")
        assert b"before" + LARGE + b"behind" == await server.read_bytes(len(LARGE) + 12, timeout=10)
        assert len(LARGE) == await sending
        assert len(LARGE) + 12 == client.stats.bytes_sent


@every_kind
async def test_sendfile_sends_a_part_of_a_file(kind, large_file):
    async with joined(kind) as (client, server):
        assert 1000 == await client.sendfile(large_file, offset=5, count=1000)
        assert LARGE[5:1005] == await server.read_bytes(1000)
        assert 10 == await client.sendfile(large_file, offset=len(LARGE) - 10)
        assert LARGE[-10:] == await server.read_bytes(10)


async def test_sendfile_sends_what_only_looks_like_a_file():
    async with joined("unix") as (client, server):
        assert 5 == await client.sendfile(io.BytesIO(b"hello"))
        assert b"hello" == await server.read_bytes(5)


@every_kind
async def test_a_file_that_cannot_be_read_is_no_fault_of_the_stream(kind):
    async with joined(kind) as (client, server):
        there, back = os.pipe()
        with open(there, "rb") as pipe, open(back, "wb"), pytest.raises(io.UnsupportedOperation):
            await client.sendfile(pipe)
        await client.write(b"hello")
        assert b"hello" == await server.read_bytes(5)


async def test_a_file_of_which_the_peer_takes_nothing_times_out(large_file):
    async with joined("unix", write_timeout=0.02) as (client, _):
        with pytest.raises(StreamClosed, match=r"peer took nothing for 0\.02 s"):
            await client.sendfile(large_file)


async def test_sendfile_to_a_peer_that_is_gone_is_closed(large_file):
    async with joined("unix") as (client, server):
        server.close()
        with pytest.raises(StreamClosed) as caught:
            await client.sendfile(large_file)
        assert isinstance(caught.value.real_error, BrokenPipeError)


async def test_sendfile_on_a_stream_that_closes_meanwhile_is_closed(large_file):
    async with joined("unix") as (client, _):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes(30)
        client.close()
        with pytest.raises(StreamClosed):
            await sending


# Partial sends


@pytest.mark.parametrize("takes", [[1], [1, 0], [0, 0, 3], [7, 1, 0]])
async def test_short_and_blocked_sends_lose_nothing(takes):
    client, server = memory_stream_pair(Wire(takes=takes))
    data = os.urandom(2000)
    client.write(data[:1000])
    writing = asyncio.ensure_future(client.write([data[1000:1500], data[1500:]]))
    assert data == await server.read_bytes(2000)
    await writing


async def test_a_wire_of_small_capacity_takes_turns():
    client, server = memory_stream_pair(Wire(capacity=10))
    writing = asyncio.ensure_future(client.write(bytes(1000)))
    assert bytes(1000) == await server.read_bytes(1000)
    await writing


async def test_nodelay_is_set_and_can_be_unset():
    async with joined("tcp") as (client, _):
        sock = client.transport.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.set_nodelay(False)
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.set_nodelay(True)
    for kind in ("unix", "pipe", "memory"):
        async with joined(kind) as (client, _):
            client.set_nodelay(True)


async def test_a_large_write_to_a_peer_that_is_gone_does_not_count_as_sent():
    async with joined("unix") as (client, server):
        server.close()
        with pytest.raises(StreamClosed):
            await client.write(LARGE)


async def test_a_pipe_that_can_only_read_refuses_to_write():
    needs_polling("a pipe")
    first, second = pipe_transports()
    os.close(first.write_fd)
    first.write_fd = None
    reader = IOStream(first)
    with pytest.raises(StreamClosed):
        await reader.write(b"x")
    assert isinstance(reader.error, BrokenPipeError)
    second.close()


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


async def test_one_file_at_a_time(large_file):
    async with joined("unix") as (client, server):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes()
        assert client.writing()
        with pytest.raises(StreamBusy):
            await client.sendfile(large_file)
        assert LARGE == await server.read_bytes(len(LARGE))
        assert len(LARGE) == await sending


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_aclose_waits_for_a_file(kind, large_file):
    async with joined(kind) as (client, server):
        sending = asyncio.ensure_future(client.sendfile(large_file))
        await passes()
        closing = asyncio.ensure_future(client.aclose())
        assert LARGE == await server.read_until_close()
        await closing
        await sending


async def test_what_are_no_bytes_is_refused_by_its_type():
    async with joined("unix") as (client, server):
        for wrong in ("text", 5, [b"fine", 1], None):
            with pytest.raises(TypeError, match="write takes bytes, a buffer, or a list of those, not"):
                client.write(wrong)
        await client.write(b"x")
        assert b"x" == await server.read_bytes(1)


async def test_a_write_behind_the_end_says_that_only_this_half_is_ended():
    async with joined("unix") as (client, server):
        await client.write_eof()
        with pytest.raises(StreamClosed, match="this half of the stream is ended"):
            client.write(b"x")
        await server.write(b"still read\n")
        assert "still read" == await client.read(Line())
