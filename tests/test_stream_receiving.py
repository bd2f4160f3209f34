"""How a stream receives: when, how much at a time, where to, and in any weather."""

import asyncio
import random
from contextlib import suppress
from itertools import chain, product, repeat

import pytest
from cutting import growth_below, wire
from sample_conditions import Drawn
from stream_pairs import (
    begun,
    by_batches,
    by_chained_reads,
    by_handler,
    by_iteration,
    by_reads,
    count_turns,
    joined,
    once,
    passes,
    raised,
    reset,
)

from framestream import (
    Available,
    Delimiter,
    Exactly,
    IncompleteFrame,
    IOStream,
    LengthPrefix,
    Line,
    Mapped,
    Msgpack,
    Nested,
    StreamClosed,
    iter_frames,
)
from framestream.stream.receiver import READ_AHEAD, TURN
from framestream.testing import Wire, memory_stream_pair
from framestream.transport import PolledTransport
from framestream.transport.descriptor import Readiness

pytestmark = pytest.mark.every_loop
KIB = 1 << 10
MIB = 1 << 20


class Script(PolledTransport):
    """A peer that has sent `data`, of which each receive finds so many bytes as `grants` says, and then ends.

    Attributes:
        asked: how much each receive would have taken.
        in_place: bytes that were received elsewhere than into the buffer that all streams share.
        reading: True while somebody waits for more.
        changes: how often that changed.
    """

    def __init__(self, data, grants=()):
        super().__init__()
        self.data = memoryview(data)
        self.grants = iter(grants)
        self.asked = []
        self.in_place = self.changes = 0
        self.ready = Readiness(lambda: True)
        self.reading = False

    def receive_into(self, buffer):
        self.asked.append(len(buffer))
        size = min(next(self.grants, MIB), len(buffer), len(self.data)) if self.data else 0
        if not size and self.data:
            raise BlockingIOError
        buffer[:size] = self.data[:size]
        self.data = self.data[size:]
        if not isinstance(buffer.obj, bytearray):  # as the buffer is that all streams share
            self.in_place += size
        return size

    def watch_readable(self, callback):
        self.reading = callback is not None
        self.changes += 1
        self.ready.watch(self.loop, callback)

    def send(self, buffers):
        raise BrokenPipeError

    def watch_writable(self, callback):
        pass

    def shutdown(self):
        pass

    def close(self):
        self.pause_reading()


def payload(size):
    return bytes(range(256)) * (size // 256)


# When


@pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])
async def test_a_stream_takes_nothing_until_it_is_read_and_up_to_a_mark_when_nobody_reads_any_more(kind):
    async with joined(kind, max_frame_size=8 * MIB) as (client, server):
        client.write(b"!" + payload(4 * MIB))
        await passes(20)
        assert 0 == server.stats.bytes_received
        assert b"!" == await server.read_bytes(1)
        await passes(50)
        taken = server.stats.bytes_received
        await passes(50)
        assert taken == server.stats.bytes_received <= 2 * READ_AHEAD
        assert payload(4 * MIB) == await server.read_bytes(4 * MIB)


@once
async def test_the_transport_is_paused_at_the_mark_and_resumed_when_it_is_read_again():
    async with IOStream(script := Script(payload(MIB), [10, 0, *[10 * KIB] * 1000])) as stream:
        reading = asyncio.ensure_future(stream.read_bytes(20))
        await reading
        await passes(20)
        assert not script.reading
        taken = stream.stats.bytes_received
        for _ in range(5):
            await stream.read_bytes(2)
            await passes()
        stream.set_close_callback(print)  # which has it notice the end, but not read further ahead
        await passes()
        stream.set_close_callback(None)
        assert taken == stream.stats.bytes_received, "what is there is enough"
        assert READ_AHEAD <= stream.buffered < READ_AHEAD + 10 * KIB
        await stream.read_bytes(READ_AHEAD)


@once
async def test_of_a_peer_that_takes_nothing_any_more_no_more_than_a_frame_is_received():
    async with IOStream(Script(payload(4 * MIB)), max_frame_size=KIB) as stream:
        await raised(StreamClosed, stream.write, b"x")
        assert KIB <= stream.buffered <= 2 * READ_AHEAD
        assert payload(KIB) == await stream.read_bytes(KIB)


@once
@pytest.mark.parametrize("data", [b"bye\n", b"bye\n and then no end"])
async def test_what_a_write_that_fails_receives_is_handed_out_after_it(data):
    async with IOStream(script := Script(data, repeat(0))) as stream:
        lines = []
        stream.on_frame(Line(), lines.append)
        await passes()
        script.grants = chain([4], repeat(0))
        writing = stream.write(b"x")
        assert [] == lines
        await raised(StreamClosed, writing)
        await passes()
        assert ["bye"] == lines


async def test_frames_cut_ahead_count_for_the_mark():
    async with joined("unix") as (client, server):
        client.write(b"line\n" * MIB)
        assert "line" == await server.read(Line())
        assert "line" == await anext(server.frames(Line()))
        await passes(50)
        assert server.stats.bytes_received < 2 * READ_AHEAD + 10


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_stream_that_was_read_notices_a_lost_connection_although_nobody_reads(kind):
    async with joined(kind) as (client, server):
        client.write(b"a\n")
        assert "a" == await server.read(Line())
        reading = await begun(server.read(Line()))
        reading.cancel()
        reset(client, RuntimeError("cut"))
        await asyncio.wait_for(server.wait_closed(), 5)
        assert isinstance(server.error, OSError)


@once
@pytest.mark.parametrize(("framer", "wire", "options"), [
    (Available(500), b"x" * 400, {}),
    (Line(), b"x" * 399 + b"\n", {}),
    (Line(), b"\xff" * 399 + b"\n", {}),
    (Line(), b"\xff" * 399 + b"\n", {"on_payload_error": lambda error: None}),
    (Line(), b"x" * 400 + b"\n", {"max_frame_size": 400, "on_oversize": "discard"}),
])  # fmt: skip
async def test_others_get_their_turn_after_some_receives_while_large_frames_flood_in(framer, wire, options):
    receives, turns = [], []

    class Counting(Script):
        def receive_into(self, buffer):
            receives.append(len(turns))
            return super().receive_into(buffer)

    async with IOStream(Counting(wire * 100), read_chunk_size=500, **options) as stream:
        await count_turns(turns, by_reads(stream, framer, print))
    assert max(map(receives.count, set(receives))) <= 2 * TURN
    assert len(receives) > 50


@pytest.fixture
def clock(monkeypatch):
    """Give what a receiver takes for the time: a list of one number, which only the test changes."""
    now = [0.0]
    monkeypatch.setattr("framestream.stream.receiver.monotonic", lambda: now[0])
    return now


@once
@pytest.mark.parametrize("begin", [by_reads, by_iteration, by_batches])
@pytest.mark.parametrize("size", [1000, 5000, 60_000, MIB])
async def test_in_bulk_many_receives_share_a_pass_of_the_loop_and_the_transport_is_not_paused(size, begin, clock):
    frames, turns = [], []
    async with IOStream(script := Script((size.to_bytes(4, "big") + bytes(size)) * (16 * MIB // size))) as stream:
        await count_turns(turns, begin(stream, LengthPrefix(4), frames.append))
    assert 16 * MIB // size == len(frames)
    assert 4 * len(turns) < len(script.asked)
    assert script.changes <= 2


@once
@pytest.mark.parametrize("begin", [by_reads, by_iteration, by_batches, by_handler])
async def test_a_reader_that_works_long_leaves_others_their_turn_after_what_one_receive_brought(begin, clock):
    worked, turns = [], []

    def work(_):
        clock[0] += 0.006
        worked.append(len(turns))

    async with IOStream(Script((b"x" * (64 * KIB - 1) + b"\n") * 40)) as stream:
        await count_turns(turns, begin(stream, Line(), work))
    assert 40 == len(worked)
    assert max(map(worked.count, set(worked))) <= 2 * 8


# How much


@once
@pytest.mark.parametrize("size", [1, 1000, MIB])
async def test_no_more_is_received_at_a_time_than_the_option_says(size):
    async with IOStream(script := Script(b"x\n" * (MIB // 2)), read_chunk_size=size) as stream:
        for _ in range(1000):
            await stream.read(Line())
    assert max(script.asked) <= min(size, 512 * KIB)


@once
async def test_much_that_one_read_needs_is_received_in_few_pieces():
    for read in (IOStream.read_bytes, IOStream.peek, lambda stream, size: stream.read_into(bytearray(size))):
        async with IOStream(script := Script(payload(MIB))) as stream:
            await read(stream, 4 * READ_AHEAD)
        assert len(script.asked) < 4


# Where to


@once
@pytest.mark.parametrize("grant", [3000, 10_000, 100_000])
async def test_the_rest_of_a_large_frame_is_received_in_its_final_place(grant):
    body = payload(MIB)
    script = Script(len(body).to_bytes(4, "big") + body, [grant] * 1000)
    async with IOStream(script) as stream:
        assert body == await stream.read(LengthPrefix(4))
        assert script.in_place >= MIB - 4 * READ_AHEAD


@once
@pytest.mark.parametrize("size", [40_000, 64 * KIB, 300_000, MIB])
async def test_frames_of_one_size_in_a_row_are_hardly_copied_before_their_delivery(size, clock):
    script = Script((size.to_bytes(4, "big") + bytes(size)) * (16 * MIB // size))
    async with IOStream(script) as stream:
        async for _ in stream.frames(LengthPrefix(4)):
            pass
        assert stream.receiver.decoder.stats.copied < MIB + 2 * size


@once
@pytest.mark.parametrize("seed", range(10))
async def test_frames_of_any_sizes_after_each_other_arrive_whole(seed, clock):
    chance = random.Random(seed)
    usual = chance.choice([20_000, 64 * KIB, 300_000, MIB])
    sizes = [chance.choice([usual, usual, usual, 0, 10, chance.randrange(2 * usual)]) for _ in range(30)]
    frames = [bytes([place]) * size for place, size in enumerate(sizes)]
    script = Script(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    async with IOStream(script, max_frame_size=4 * MIB) as stream:
        assert frames == [frame async for frame in stream.frames(LengthPrefix(4))]
    assert min(script.asked) > 0


@once
async def test_a_declared_size_is_not_allocated_before_bytes_arrive():
    async with joined("unix", max_frame_size=1 << 30) as (client, server):
        with growth_below(MIB):
            reading = await begun(server.read(LengthPrefix(4)))
            await client.write((1 << 30).to_bytes(4, "big") + b"x" * 20_000)
            await passes(10)
        reading.cancel()


TINY = [
    (Line(), b"\n" * 40_000, {}),
    (LengthPrefix(1, max_size=1), bytes(40_000), {}),
    (Nested(LengthPrefix(1), Msgpack()), b"\1\1" * 40_000, {}),
    (Drawn(), b" " * 40_000 + b";", {}),
]
BAD = Mapped(LengthPrefix(1), bytes.decode), b"\2\xff\xff" * 1000 + b"\0"
PASSED_OVER = [
    (*BAD, {"on_payload_error": lambda error: None}),
    (*BAD, {"max_frame_size": 1, "on_oversize": "discard"}),
]
RAISED = [(*BAD, {}), (*BAD, {"max_frame_size": 1})]
FLOODS = [
    *product((by_reads, by_iteration, by_batches, by_handler), TINY),
    *product((by_handler, by_chained_reads, by_iteration, by_batches), PASSED_OVER),
    *product((by_handler, by_chained_reads, by_reads), RAISED),
]


@once
@pytest.mark.parametrize(("begin", "flood"), FLOODS, ids=range(len(FLOODS)))
async def test_a_flood_of_tiny_frames_of_padding_or_of_frames_that_nobody_gets_leaves_others_their_turn(begin, flood):
    framer, data, options = flood
    client, server = memory_stream_pair(**options)
    client.write(data)
    reading = asyncio.ensure_future(begin(server, framer, lambda _: None))
    await client.aclose()
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
        assert server.reading() or reading.done() or begin in (by_handler, by_chained_reads)
    await reading
    assert turns > 5


# One buffer for all streams: none ever sees what another received


def own_bytes(number):
    """Return chunks of bytes that no other stream has, of all sizes that take a way of their own."""
    chance = random.Random(number)
    sizes = [chance.choice([1, 30, 3000, 15_000, 17_000, 40_000, 65_536, 150_000]) for _ in range(12)]
    return [bytes([number]) * size for size in sizes]


async def by_parts(stream, condition, note):
    with suppress(StreamClosed):
        while True:
            parts = []
            async with stream.open_frame(condition) as body:
                async for part in body:
                    parts.append(part)
                    await asyncio.sleep(0)
            note(b"".join(parts))


async def by_places(stream, _, note):
    with suppress(StreamClosed):
        while True:
            place = bytearray(int.from_bytes(await stream.peek(4), "big"))
            await stream.read_bytes(4)
            await stream.read_into(place)
            note(place)


async def by_pieces(stream, condition, note):
    pieces = []
    with suppress(StreamClosed):
        while True:
            pieces.append(await stream.read(Available(30_000)))
            await asyncio.sleep(0)
    for frame in iter_frames(pieces, condition):
        note(frame)


WAYS = [by_iteration, by_batches, by_pieces, by_reads, by_parts, by_places]


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_streams_in_turns_never_see_the_bytes_of_another(kind):
    chance = random.Random(1)

    async def send(stream, data):
        while data:
            size = chance.choice([1, 100, 20_000, 70_000, 300_000])
            await stream.write(data[:size])
            data = data[size:]
            await passes(chance.randrange(3))
        await stream.aclose()

    async def converse(number):
        way, chunks, frames = WAYS[number % len(WAYS)], own_bytes(ord("A") + number), []
        framer = Delimiter(b"\n", max_size=MIB) if way is by_iteration else LengthPrefix(4)
        async with joined(kind, read_chunk_size=chance.choice([1000, 50_000, 131_072])) as (client, server):
            sending = asyncio.ensure_future(send(client, wire(framer, *chunks)))
            await way(server, framer, frames.append)
            await sending
        assert chunks == frames, way

    await asyncio.gather(*map(converse, range(len(WAYS) + 3)))


@pytest.mark.parametrize("size", [100, 20_000, 60_000])
@pytest.mark.parametrize("kind", ["tcp", "memory"])
async def test_a_stream_read_while_another_delivers_takes_nothing_from_it(kind, size):
    """The first still looks at the shared buffer when the second needs it."""
    async with joined(kind) as (client, server), joined(kind) as (other, second):
        lines, inner = [], []

        def on_line(line):
            lines.append(line)
            second.read(Exactly(size), callback=inner.append)  # receives, inside this very call

        handler = server.on_frame(Delimiter(b"\n"), on_line)
        for number in range(5):
            await other.write(bytes([65 + number]) * size)
            await client.write(b"a" * size + b"\n" + b"b" * (size // 3))
            while len(inner) <= number:
                await asyncio.sleep(0)
            handler.pause()
            await client.write(b"b" * (size - size // 3))
            await passes()
            handler.stop()
            assert b"b" * size == await server.read_bytes(size)
            handler = server.on_frame(Delimiter(b"\n"), on_line)
        assert [b"a" * size] * 5 == lines
        assert [bytes([65 + number]) * size for number in range(5)] == inner
        handler.stop()


async def test_a_stream_closed_by_the_reader_of_a_large_push_has_ended_for_good():
    async with joined("unix") as (client, server):

        async def look_and_close():
            await server.peek(100_000)
            server.close()

        waiting = asyncio.ensure_future(look_and_close())
        await passes()
        client.write(payload(180 * KIB))
        await waiting
        held = server.buffered
        assert held > READ_AHEAD
        await server.read_bytes(held - 10)
        assert 4 == len(await server.read_bytes(4))


# Faults of the network, each on schedule: nothing is lost, nothing hangs, nothing is made up

SMALL = [b"line %d" % number for number in range(50)]
LARGE = [b"x" * 300_000, b"y", b"z" * 200_000]
ALL_AT_ONCE = Wire(chunks=[1, 7], blocks=[True, False], takes=[5, 0], capacity=16)
WEATHER = [
    (Wire(chunks=[1]), SMALL),
    (Wire(blocks=[True, True, True, False]), SMALL),
    (Wire(blocks=[InterruptedError(), False, InterruptedError()], chunks=[3]), SMALL),
    (Wire(takes=[0, 1, 0, 0]), SMALL),
    (ALL_AT_ONCE, SMALL),
    (Wire(chunks=[997, 4096, 1]), LARGE),
    (Wire(chunks=[9973], blocks=[True, InterruptedError(), False]), LARGE),
    (Wire(takes=[5003, 0, 1]), LARGE),
    (Wire(takes=[8192]), LARGE),
]


@once
@pytest.mark.parametrize(("wire", "frames"), WEATHER, ids=range(len(WEATHER)))
async def test_no_weather_changes_frames(wire, frames):
    client, server = memory_stream_pair(wire, framer=LengthPrefix(4))
    for frame in frames:
        client.send(frame)
    ending = asyncio.ensure_future(client.aclose(timeout=None))
    assert frames == [frame async for frame in server.frames()]
    await ending


@once
@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")], ids=["end", "reset"])
@pytest.mark.parametrize("framer", [LengthPrefix(2), Delimiter(b";"), Msgpack()], ids=str)
async def test_a_cut_at_every_byte_gives_every_whole_frame_and_tells_the_rest(framer, error):
    data = wire(framer, b"first", b"other")
    for at in range(len(data)):
        client, server = memory_stream_pair(Wire(end=at, error=error))
        client.write(data)
        frames = []
        [told] = await asyncio.gather(by_iteration(server, framer, frames.append), return_exceptions=True)
        assert [b"first"] * (2 * at >= len(data)) == frames
        if error:
            assert error is told.real_error is server.error
        else:
            assert isinstance(told, IncompleteFrame if at % (len(data) // 2) else type(None))
        assert server.closed()
        client.close()
