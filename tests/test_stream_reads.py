"""What `IOStream` reads: frames and bytes, from the buffer, from the transport, from the loop."""

import asyncio
import socket
import weakref
from contextlib import closing

import pytest
from stream_pairs import KINDS, begun, cancelled, joined, logged, once, passes, raised, refused

from framestream import (
    Available,
    BufferFull,
    Exactly,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    IOStream,
    LengthPrefix,
    Line,
    Mapped,
    Msgpack,
    PayloadError,
    Regex,
    SpecError,
    StreamBusy,
    StreamClosed,
)
from framestream.stream import Frames
from framestream.stream.receiver import READ_AHEAD
from framestream.testing import Wire, memory_stream_pair
from framestream.transport import LoopTransport, PipeTransport

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
async def test_each_read_takes_exactly_its_bytes(kind):
    async with joined(kind) as (client, server):
        await client.write(
            b"GET / HTTP/1.1\r\nkey: value\r\n\r\na;b,v=12;hello\ntwo;\x00\x02ababcdef" + b"0123456789" * 30
        )
        assert b"GET " == await server.peek(4)
        assert b"GET / HTTP/1.1\r\n" == await server.read_until(b"\n", max_bytes=16)
        assert b"key: value\r\n\r\n" == await server.read_until_regex(rb"\r?\n\r?\n", max_bytes=14)
        assert b"a;" == await server.read_until((b";", b","))
        assert b"b," == await server.read_until((b";", b","))
        assert b"v=12;" == await server.read(Regex(rb"v=\d{1,9};"))
        assert "hello" == await server.read("line")
        assert b"two" == await server.read('delimiter:";"')
        assert b"ab" == await server.read(LengthPrefix(2))
        assert b"" == await server.read_bytes(0) == await server.read_bytes(0, partial=True)
        assert b"abcd" == await server.read_bytes(4, partial=True)
        assert b"ef" == await server.read_bytes(2)
        assert 0 == await server.read_into(bytearray())
        wide = memoryview(bytearray(8)).cast("I")
        assert 8 == await server.read_into(wide[:2])
        assert b"01234567" == bytes(wide)
        await raised(TypeError, server.read_into, memoryview(bytes(3)), match="can be written")
        await raised(TypeError, server.read, match="no framer of its own")
        await server.peek(292)
        large = bytearray(1000)
        assert 292 == await server.read_into(large, partial=True)
        assert b"89" == bytes(large[:2])
        await client.write(b"last\nrest")
        assert b"last" == await server.read(Available(4))
        await client.aclose()
        assert b"\nrest" == await server.read_until_close()
        assert server.closed()
        assert server.error is None


@pytest.mark.parametrize("sent", [b"abcdef", b"abcd\n"], ids=["no match", "match beyond the limit"])
async def test_more_than_max_bytes_close_the_stream_and_say_so(sent, caplog):
    caplog.set_level("INFO", "framestream")
    expected = []
    for read in (IOStream.read_until, IOStream.read_until_regex):
        async with joined("unix") as (client, server):
            await client.write(sent)
            await raised(FrameTooLarge, read, server, b"\n", max_bytes=4)
            assert server.closed()
            assert isinstance(server.error, FrameTooLarge)
            expected.append(f"{server.peer}: frame exceeds the limit of 4 bytes (at offset 0), closing the stream")
    assert expected == logged(caplog)


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


@once
async def test_what_has_arrived_while_the_stream_was_paused_takes_no_pass_of_the_loop_either():
    client, server = memory_stream_pair(Wire(chunks=[10_000]))
    reading = await begun(server.read_bytes(1))
    await client.write(b"x" * 4 * READ_AHEAD)
    await reading
    await passes(20)
    assert READ_AHEAD <= server.buffered < 3 * READ_AHEAD
    await server.read_bytes(server.buffered)
    assert b"xx" == refused(StopIteration, server.read_bytes(2).send, None).value


async def test_reading_small_pieces_of_much_keeps_the_buffer_small():
    async with joined("unix") as (client, server):
        writing = asyncio.ensure_future(client.write(b"0123456789abcdef" * (1 << 13)))
        for _ in range(1 << 13):
            assert b"0123456789abcdef" == await server.read_bytes(16)
        await writing
        assert server.receiver.decoder.stats.high_water <= 2 * 65536


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
                caught = await raised(BufferFull, server.read, framer, match="reached maximum read buffer size")
                assert 200 == caught.limit < caught.size <= 302
                assert server.closed()
                assert isinstance(server.error, BufferFull)
                [said] = logged(caplog)
                assert said.startswith(f"{server.peer}: reached maximum read buffer size")
                caplog.clear()
    await raised(BufferFull, memory_stream_pair(max_buffer_size=200)[1].peek, 201)


@once
async def test_one_iterator_gives_frames_that_are_waited_for_and_such_as_are_cut_ahead_in_turns_and_a_subclass_too():
    class Loud(Frames):
        async def __anext__(self):
            return (await super().__anext__()).upper()

    client, server = memory_stream_pair()
    for frames, change in ((server.frames(Line()), str), (Loud(server, Line()), str.upper)):
        kind = type(frames)
        for _ in range(3):
            for number in (1, 50):
                waiting = await begun(anext(frames))
                await client.write(b"".join(b"line %d\n" % index for index in range(number)))
                lines = [await waiting, *[await anext(frames) for _ in range(number - 1)]]
                assert [change(f"line {index}") for index in range(number)] == lines
        await cancelled(await begun(anext(frames)))
        assert kind is type(frames)


@once
async def test_what_is_cut_ahead_for_one_reader_is_not_given_to_another():
    client, server = memory_stream_pair()
    await client.write(b"".join(b"%d\n" % number for number in range(200)))
    texts, lines = server.frames(Line()), server.frames(Line(None))
    for number in range(0, 180, 20):
        for index in range(10):
            assert str(number + index) == await anext(texts)
        for index in range(10, 20):
            assert b"%d" % (number + index) == await anext(lines)
    seen = []
    handler = server.on_frame(Line(), lambda line: (seen.append(line), len(seen) < 9 or handler.pause()))
    await passes()
    assert "188" == seen[-1]
    for read in (lambda: server.read(Line()), lambda: anext(texts)):
        await raised(StreamBusy, read)
    handler.stop()
    assert "189" == await anext(texts)


@once
@pytest.mark.parametrize("chunks", [(), (1,), (4,)])
@pytest.mark.parametrize("why", ["left early", "too large"])
async def test_peek_shows_what_follows_a_frame_that_is_skipped_and_never_its_rest(chunks, why):
    discarded = []
    client, server = memory_stream_pair(Wire(chunks=chunks), on_oversize="discard", on_discard=discarded.append)
    client.write(b"abcdefgh")
    if why == "left early":
        async with server.open_frame(Line()) as body:
            assert await anext(body) in b"abcdefgh"
    else:
        await cancelled(await begun(server.read(Line(max_size=1))))
    await cancelled(await begun(server.peek(4)))
    client.write(b"ij\nnext\n")
    assert b"next" == await server.peek(4)
    assert [11] * (why == "too large") == [error.discarded for error in discarded]
    assert "next" == await server.read(Line())
    client.write(b"abcdefgh")
    async with server.open_frame(Exactly(20)) as body:
        await anext(body)
    client.close()
    await raised(IncompleteFrame, server.peek, 4)


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


def test_a_stream_needs_a_running_loop_or_one_that_is_given():
    refused(RuntimeError, IOStream, PipeTransport(None), match="no running event loop")
    ours, theirs = socket.socketpair()
    with theirs, closing(asyncio.new_event_loop()) as loop:
        stream = IOStream(ours, loop=loop)
        stream.close()
    assert -1 == ours.fileno()


# Framers of a stream, frames in parts, what is counted


@once
async def test_a_stream_is_made_with_framers():
    client, _ = memory_stream_pair(framer="length-prefix:size=2")
    assert LengthPrefix(2) == client.framer == client.send_framer
    for options, framer in (({"send_framer": "line"}, Line()), ({}, None)):
        stream = IOStream(memory_stream_pair()[0].transport, framer=Exactly(3), **options)
        assert (Exactly(3), framer) == (stream.framer, stream.send_framer)
    refused(TypeError, memory_stream_pair, send_framer=Exactly(3), match="can only read")
    refused(TypeError, memory_stream_pair, max_frame=3, match="max_frame")


@once
async def test_switching_changes_both_directions_or_neither_but_not_under_a_read():
    client, server = memory_stream_pair(framer="line")
    reading = await begun(server.read())
    refused(StreamBusy, server.framed, "msgpack")
    await client.write(b"UPGRADE\nsmuggled")
    assert "UPGRADE" == await reading
    caught = refused(FramingError, server.framed, LengthPrefix(2), match="8 bytes were sent ahead", leftover="refuse")
    assert (8, b"smuggled") == (caught.offset, caught.excerpt)
    refused(SpecError, server.framed, "length-prefix:size=2", "no-such-framer")
    refused(TypeError, server.framed, "length-prefix:size=2", Exactly(1))
    assert Line() == server.framer == server.send_framer
    await client.write(b"\0\2hi")
    assert b"smuggled" == await server.read_bytes(8)
    assert server is server.framed(LengthPrefix(2))
    assert b"hi" == await server.read()
    await server.send(b"yo")
    assert b"\0\2yo" == await client.read_bytes(4)
    server.framed("length-prefix:size=2", "msgpack", leftover="refuse")
    assert (LengthPrefix(2), Msgpack()) == (server.framer, server.send_framer)


async def in_parts(stream, condition):
    async with stream.open_frame(condition) as body:
        return [part async for part in body]


async def by_callbacks(stream, condition):
    parts, ended = [], asyncio.get_running_loop().create_future()
    stream.read(condition, streaming_callback=parts.append, callback=ended.set_result)
    assert b"" == await ended
    return parts


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
@pytest.mark.parametrize("read", [in_parts, by_callbacks])
@pytest.mark.parametrize("condition", [LengthPrefix(4), Line(None), Exactly(1_000_000)], ids=str)
async def test_a_frame_of_any_condition_is_read_in_parts(kind, condition, read):
    payload = b"0123456789" * 100_000
    wire = payload if isinstance(condition, Exactly) else condition.encode(payload)
    wire = wire if isinstance(wire, bytes) else b"".join(wire)
    async with joined(kind, max_frame_size=1000) as (client, server):
        writing = asyncio.ensure_future(client.write([wire, b"next\n"]))
        parts = await read(server, condition)
        assert payload == b"".join(parts)
        assert len(parts) > 1
        assert "next" == await server.read(Line())
        await writing


@once
async def test_the_size_of_a_frame_in_parts_is_known_when_it_is_declared_and_leaving_early_skips_the_rest():
    client, server = memory_stream_pair(framer=LengthPrefix(2))
    async with server.open_frame() as body:
        assert body.size is None
        await client.write(b"\x00\x05ab")
        assert b"ab" == await anext(body)
        assert 5 == body.size
        assert server.reading()
        await raised(StreamBusy, server.read, Line())
        await client.write(b"cde\x00\x0aabc")
        assert [b"cde"] == [part async for part in body]
        await raised(StopAsyncIteration, anext, body)
    async with server.open_frame() as body:
        assert b"abc" == await anext(body)
    await raised(StopAsyncIteration, anext, body)
    reading = await begun(server.read(Line()))
    await client.write(b"defghijnext\n")
    assert "next" == await reading


@once
async def test_nobody_else_reads_in_the_block_of_a_frame_before_its_last_part_not_even_before_its_first():
    client, server = memory_stream_pair(framer=LengthPrefix(1))
    await client.write(b"\x08in parts\x04next\x03ab")
    reads = server.read, lambda: server.peek(1), lambda: server.read(callback=print), server.open_frame().__aenter__
    async with server.open_frame() as body:
        for read in reads:
            await raised(StreamBusy, read, match="or by leaving its block")
        assert server.reading()
        assert [b"in parts"] == [part async for part in body]
        assert b"next" == await server.read()
    parts = server.open_frame()
    assert b"ab" == await anext(parts)  # not in a block, which would have others wait
    for read in reads:
        await raised(StreamBusy, read, match="or by leaving its block")
    async with client.open_frame() as body:
        await cancelled(await begun(anext(body)))
        await raised(StreamBusy, client.read)


@once
async def test_the_counters_tell_what_happened():
    client, server = memory_stream_pair(Wire(chunks=[5]), max_frame_size=5)
    for line in ("ab", "cd"):
        await client.send(line, Line())
    assert ["ab", "cd"] == [await server.read(Line()), await server.read(Line())]
    sent, received = client.stats, server.stats
    assert (6, 2, 0) == (sent.bytes_sent, sent.frames_sent, sent.bytes_received)
    assert (6, 2, 0) == (received.bytes_received, received.frames_received, received.bytes_sent)
    client.write(b"\xff\n")
    await raised(PayloadError, server.read, Line())
    assert (0, 1) == (received.payload_errors, server.stats.payload_errors)


@once
async def test_a_handler_resumed_too_early_gets_no_frame_before_there_is_room():
    client, server = memory_stream_pair(back=Wire(takes=[0]), write_high_water=10)
    seen = []
    handler = server.on_frame(Line(), seen.append)
    server.write(b"x" * 100)
    client.write(b"a\n" * 50)
    for _ in range(20):
        await passes()
        handler.pause()
        handler.resume()
    assert 0 == len(seen)
    client.close()
    server.close()
