"""How a stream receives: how much at a time, and where to."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest
from stream_pairs import joined

from framestream import (
    Exactly,
    FrameTooLarge,
    IncompleteFrame,
    IOStream,
    LengthPrefix,
    Line,
    StreamBusy,
    StreamClosed,
)
from framestream.transport.descriptor import Channel

KIB = 1 << 10
MIB = 1 << 20


class Script(Channel):
    """A peer that has sent `data`, of which each receive finds so many bytes as `grants` says, and then ends.

    Attributes:
        asked: how much each receive would have taken.
        in_place: bytes that were received into a buffer.
    """

    def __init__(self, data, grants):
        self.data = memoryview(data)
        self.grants = iter(grants)
        self.asked = []
        self.in_place = 0
        self.watcher = None

    def receive(self, size):
        self.asked.append(size)
        grant = next(self.grants, MIB)
        if grant == 0:
            raise BlockingIOError
        data, self.data = self.data[: min(size, grant)], self.data[min(size, grant) :]
        return bytes(data)

    def receive_into(self, buffer):
        data = self.receive(len(buffer))
        buffer[: len(data)] = data
        self.in_place += len(data)
        return len(data)

    def send(self, buffers):
        raise BrokenPipeError

    def watch_read(self, loop, callback):
        self.watcher = callback
        if callback is not None:
            loop.call_soon(self.wake, loop)

    def wake(self, loop):
        if self.watcher is not None:
            self.watcher()
            self.watch_read(loop, self.watcher)

    def watch_write(self, loop, callback):
        pass

    def shutdown(self):
        pass

    def close(self):
        pass


def payload(size):
    return bytes(range(256)) * (size // 256)


async def test_chunks_get_larger_only_while_they_come_in_full():
    channel = Script(b"x" * (8 * MIB), [100, MIB, MIB, MIB, 100, 100])
    async with IOStream(channel) as stream:
        async for _ in stream.batches(Exactly(100)):
            if len(channel.asked) > 5:
                break
    assert [64 * KIB, 64 * KIB, 128 * KIB, 128 * KIB, 128 * KIB, 64 * KIB] == channel.asked[:6]


async def test_no_more_is_received_at_a_time_than_the_option_says():
    channel = Script(b"x" * MIB, [])
    async with IOStream(channel, read_chunk_size=1000) as stream:
        assert 5000 == len(await stream.read(Exactly(5000)))
    assert {1000} == set(channel.asked)


@pytest.mark.parametrize("grant", [3000, 10_000, 100_000])
async def test_the_rest_of_a_large_frame_is_received_where_its_beginning_is(grant):
    body = payload(MIB)
    channel = Script(len(body).to_bytes(4, "big") + body, [grant] * 1000)
    async with IOStream(channel) as stream:
        assert body == await stream.read(LengthPrefix(4))
        assert channel.in_place >= MIB - 2 * 64 * KIB


@pytest.mark.parametrize("buffered", [0, 1, 5000])
@pytest.mark.parametrize("grant", [3000, 64 * KIB, MIB])
async def test_read_into_receives_straight_into_the_buffer(buffered, grant):
    body = payload(MIB)
    channel = Script(b"!" + body + b"line\n", [1 + buffered, *[grant, 0] * 1000])
    async with IOStream(channel) as stream:
        await stream.read(Exactly(1))
        place = bytearray(MIB)
        assert MIB == await stream.read_into(place)
        assert body == place
        assert MIB - buffered == channel.in_place
        assert "line" == await stream.read(Line())
        assert MIB + 6 == stream.stats.bytes_received
        assert 3 == stream.stats.frames_received


@pytest.mark.parametrize("sent", [0, 1, 10_000, 99_999])
async def test_read_into_that_is_cancelled_leaves_what_has_come_for_the_next_reader(sent):
    body = payload(256 * 400)[:100_000]
    async with joined("unix") as (client, server):
        place = bytearray(100_000)
        reading = asyncio.ensure_future(server.read_into(place))
        await client.write(body[:sent])
        while server.stats.bytes_received < sent:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        client.write(body[sent:] + b"line\n")
        assert body == await server.read(Exactly(100_000))
        assert "line" == await server.read(Line())
        place.append(0)  # nobody holds on to it


async def test_read_into_that_meets_the_end_says_so_and_what_has_come_can_be_read():
    body = payload(256 * 200)
    channel = Script(body, [len(body)])
    async with IOStream(channel) as stream:
        with pytest.raises(IncompleteFrame) as caught:
            await stream.read_into(bytearray(100_000))
        assert (len(body), 100_000, 0) == (caught.value.received, caught.value.expected, caught.value.offset)
        assert body == await stream.read_until_close()


async def test_read_into_gives_up_at_a_limit_of_time_and_keeps_what_has_come():
    async with joined("unix", frame_timeout=0.05) as (client, server):
        client.write(b"x" * 50_000)
        with pytest.raises(TimeoutError):
            await server.read_into(bytearray(100_000))
        client.write(b"y" * 50_000)
        assert b"x" * 50_000 + b"y" * 50_000 == await server.read(Exactly(100_000))


@pytest.mark.parametrize("size", [4, 100_000])
async def test_read_into_begins_behind_a_frame_that_was_too_large(size):
    async with joined("unix") as (client, server):
        client.write((50_000).to_bytes(4, "big") + b"x" * 20_000)
        with pytest.raises(FrameTooLarge):
            await server.read(LengthPrefix(4), max_size=100)
        client.write(b"x" * 30_000 + b"y" * size)
        place = bytearray(size)
        await server.read_into(place)
        assert b"y" * size == place


async def test_read_into_is_refused_inside_a_frame_that_is_read_in_parts():
    async with joined("unix") as (client, server):
        client.write((10).to_bytes(4, "big") + b"hello")
        async with server.open_frame(LengthPrefix(4)) as body:
            assert b"hello" == await anext(body)
            with pytest.raises(StreamBusy):
                await server.read_into(bytearray(100_000))
            client.write(b"there")


async def read_one_by_one(stream):
    with suppress(StreamClosed):
        while True:
            await stream.read(Line())
            yield


async def iterate(stream):
    async for _ in stream.frames(Line()):
        yield


@pytest.mark.parametrize("consume", [read_one_by_one, iterate])
@pytest.mark.parametrize("line", [b"\n", b"x\n", b"xxx\n"])
async def test_others_get_their_turn_while_frames_flood_in_however_small(line, consume):
    delivered, turns, over = 0, [], False

    async def other():
        while not over:
            turns.append(delivered)
            await asyncio.sleep(0)

    async with IOStream(Script(line * (144 * KIB), [])) as stream:
        waiting = asyncio.ensure_future(other())
        async for _ in consume(stream):
            delivered += 1
        over = True
        await waiting
    in_a_row = [after - before for before, after in pairwise(turns)]
    # It takes the first chunk to see how small they are.
    assert 64 * KIB >= max(in_a_row)
    assert 16 * KIB == max(in_a_row[3:])


async def test_chunks_get_larger_again_when_frames_do():
    channel = Script(b"\n" * (128 * KIB) + b"x" * MIB, [])
    async with IOStream(channel) as stream:
        for _ in range(128 * KIB):
            await stream.read(Line())
        assert 16 * KIB == channel.asked[-1]
        async for _ in stream.batches(Exactly(64)):
            pass
    assert 128 * KIB == max(channel.asked[-5:])
