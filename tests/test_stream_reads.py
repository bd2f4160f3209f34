"""What `IOStream` reads: frames and bytes, from the buffer, from the transport, from the loop."""

import asyncio
import weakref

import pytest
from stream_pairs import KINDS, joined, logged, once, passes, raised, refused

from framestream import (
    Available,
    BufferFull,
    Exactly,
    FrameTooLarge,
    IOStream,
    LengthPrefix,
    Line,
    Mapped,
    Regex,
    StreamClosed,
)
from framestream.testing import Wire, memory_stream_pair
from framestream.transport import LoopTransport, PipeTransport

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
async def test_each_read_takes_exactly_its_bytes(kind):
    async with joined(kind) as (client, server):
        await client.write(b"hello\n\x00\x02ababcdef" + b"0123456789" * 30)
        assert "hello" == await server.read(Line())
        assert b"ab" == await server.read(LengthPrefix(2))
        assert b"" == await server.read_bytes(0) == await server.read_bytes(0, partial=True)
        assert b"abcd" == await server.read_bytes(4, partial=True)
        assert b"ef" == await server.read_bytes(2)
        assert 0 == await server.read_into(bytearray())
        buffer = bytearray(5)
        assert 5 == await server.read_into(buffer)
        assert b"01234" == bytes(buffer)
        buffer.extend(b"resizable again")
        await server.peek(295)
        large = bytearray(1000)
        assert 295 == await server.read_into(large, partial=True)
        assert b"56" == bytes(large[:2])
        await client.write(b"last\nrest")
        assert b"last" == await server.read(Exactly(4))
        await client.aclose()
        assert b"\nrest" == await server.read_until_close()
        assert server.closed()
        assert server.error is None


@pytest.mark.parametrize("sent", [b"abcdef", b"abcd\n"], ids=["no match", "match beyond the limit"])
async def test_more_than_max_bytes_close_the_stream_and_say_so(sent, caplog):
    caplog.set_level("INFO", "framestream")
    for read in (IOStream.read_until, IOStream.read_until_regex):
        async with joined("unix") as (client, server):
            await client.write(sent)
            await raised(FrameTooLarge, read, server, b"\n", max_bytes=4)
            assert server.closed()
            assert isinstance(server.error, FrameTooLarge)
    assert ["frame exceeds the limit of 4 bytes (at offset 0), closing the stream"] * 2 == logged(caplog)


async def test_every_way_to_read_takes_exactly_what_it_says():
    async with joined("unix") as (client, server):
        await client.write(b"GET / HTTP/1.1\r\nkey: value\r\n\r\na;b,v=12;abcdefghone\ntwo;rest")
        assert b"GET " == await server.peek(4)
        assert b"GET / HTTP/1.1\r\n" == await server.read_until(b"\n", max_bytes=16)
        assert b"key: value\r\n\r\n" == await server.read_until_regex(rb"\r?\n\r?\n", max_bytes=14)
        assert b"a;" == await server.read_until((b";", b","))
        assert b"b," == await server.read_until((b";", b","))
        match = await server.read(Regex(rb"v=(\d{1,9});", result="match"))
        assert b"12" == match[1]
        wide = memoryview(bytearray(8)).cast("I")
        await raised(TypeError, server.read_into, memoryview(bytes(3)), match="can be written")
        assert 8 == await server.read_into(wide)
        assert b"abcdefgh" == bytes(wide)
        assert "one" == await server.read("line")
        assert b"two" == await server.read('delimiter:";"')
        await raised(TypeError, server.read, match="no framer of its own")
        assert b"rest" == await server.read(Available())


@once
async def test_read_until_close_has_a_limit_of_its_own_and_works_once_on_a_closed_stream():
    for limit, size in (("max_frame_size", 2000), ("max_buffer_size", 1001), ("max_buffer_size", 1000)):
        client, server = memory_stream_pair(**{limit: 1000})
        await client.write(b"x" * size)
        client.close()
        if (limit, size) == ("max_buffer_size", 1001):
            await raised(FrameTooLarge, server.read_until_close)
        else:
            assert b"x" * size == await server.read_until_close()
    client, server = memory_stream_pair()
    await client.write(b"abc")
    assert b"a" == await server.read_bytes(1)
    server.close()
    assert b"bc" == await server.read_until_close()
    await raised(StreamClosed, server.read_until_close)


@once
async def test_leaving_a_loop_over_frames_puts_back_what_was_cut_ahead():
    client, server = memory_stream_pair()
    await client.write(b"".join(b"%d\n" % number for number in range(100)) + b"\x01x")
    async for line in server.frames(Line()):
        if line == "49":
            break
    assert b"50\n" == await server.read_bytes(3)
    assert "51" == await server.read(Line())


@once
@pytest.mark.parametrize(
    ("policy", "expected", "told"), [("raise", [b"ok"], 0), ("discard", [b"ok"], 1), ("truncate", [b"1234", b"ok"], 1)]
)
@pytest.mark.parametrize("per_read", [False, True])
async def test_frames_above_the_limit_are_dealt_with_by_the_policy(policy, expected, told, per_read):
    """The policy is the stream's, or that of one read."""
    heard = []
    options = {} if per_read else {"max_frame_size": 4, "on_oversize": policy}
    limits = {"max_size": 4, "on_oversize": policy} if per_read else {}
    client, server = memory_stream_pair(on_discard=heard.append, **options)
    await client.write(b"\x09123456789\x02ok")
    if policy == "raise":
        caught = await raised(FrameTooLarge, server.read, LengthPrefix(1), **limits)
        assert caught.recoverable
    assert expected == [await server.read(LengthPrefix(1), **limits) for _ in expected]
    assert 1 == server.stats.oversize
    assert told == len(heard)


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_what_has_arrived_takes_no_pass_of_the_loop(kind):
    async with joined(kind) as (client, server):
        await client.write(b"a\nb\n")
        if isinstance(server.transport, LoopTransport) or kind == "tls":
            await server.peek(4)
        for line in ("a", "b"):
            assert line == refused(StopIteration, server.read(Line()).send, None).value


async def test_reading_small_pieces_of_much_keeps_the_buffer_small():
    async with joined("unix") as (client, server):
        writing = asyncio.ensure_future(client.write(b"0123456789abcdef" * (1 << 13)))
        for _ in range(1 << 13):
            assert b"0123456789abcdef" == await server.read_bytes(16)
        await writing
        assert server.stats.read_high_water <= 2 * 65536


@once
@pytest.mark.parametrize("before", [b"", b"small"])
@pytest.mark.parametrize("chunks", [[1], [3, 80], [199], [200], [201], [1 << 16]])
async def test_a_read_that_needs_more_than_the_buffer_may_hold_closes_the_stream(before, chunks, caplog):
    frames = {
        LengthPrefix(2): lambda payload: [len(payload).to_bytes(2, "big"), payload],
        Line(None): lambda payload: [payload, b"\n"],
    }
    for framer, wire in frames.items():
        around = 200 - sum(map(len, wire(b"")))
        for size, fits in ((around - 1, True), (around, True), (around + 1, False), (300, False)):
            client, server = memory_stream_pair(Wire(chunks=chunks), max_buffer_size=200)
            if before:
                await client.write(wire(before))
            await client.write([*wire(b"x" * size), b"more of it" * 24])
            if before:
                assert before == await server.read(framer)
            if fits:
                assert size == len(await server.read(framer))
            else:
                await raised(BufferFull, server.read, framer, match="reached maximum read buffer size")
                assert server.closed()
                assert isinstance(server.error, BufferFull)
                assert caplog.messages.pop().startswith("reached maximum read buffer size")


@once
async def test_nothing_keeps_a_frame_that_its_reader_has_dropped():
    # Not even for the rest of a wake-up: the next large frame finds the memory of this one free.
    class Word(str):
        __slots__ = ("__weakref__",)

    client, server = memory_stream_pair()
    kept = []

    async def read():
        for _ in range(3):
            word = weakref.ref(await server.read(Mapped(Line(), Word)))
            kept.append(word())

    reading = asyncio.create_task(read())
    for word in (b"one\n", b"two\n", b"three\n"):
        await passes(2)
        client.write(word)
    await reading
    assert [None] * 3 == kept


def test_a_stream_needs_a_running_loop():
    refused(RuntimeError, IOStream, PipeTransport(None), match="no running event loop")
