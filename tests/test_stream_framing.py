"""Framers of a stream, the switch between them, frames in parts, and what is counted."""

import asyncio

import pytest
from stream_pairs import begun, joined, once, passes, raised, refused

from framestream import (
    Exactly,
    FramingError,
    IOStream,
    LengthPrefix,
    Line,
    Msgpack,
    PayloadError,
    SpecError,
    StreamBusy,
)
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop
every_kind = pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])


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
    with pytest.raises(FramingError, match="8 bytes were sent ahead") as caught:
        server.framed(LengthPrefix(2), leftover="refuse")
    assert (8, b"smuggled") == (caught.value.offset, caught.value.excerpt)
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


@every_kind
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
    reading = await begun(server.read(Line()))
    await client.write(b"defghijnext\n")
    assert "next" == await reading


@once
async def test_nobody_else_reads_in_the_block_of_a_frame_before_its_last_part_not_even_before_its_first():
    client, server = memory_stream_pair(framer=LengthPrefix(1))
    for payload in (b"in parts", b"next"):
        await client.send(payload)
    async with server.open_frame() as body:
        for read in (
            server.read,
            lambda: anext(server.frames()),
            lambda: server.peek(1),
            lambda: server.read_into(bytearray(1)),
            lambda: server.read(callback=print),
            lambda: server.on_frame(None, print),
        ):
            await raised(StreamBusy, read, match="or by leaving its block")
        with pytest.raises(StreamBusy):
            async with server.open_frame():
                pass
        assert server.reading()
        assert [b"in parts"] == [part async for part in body]
        assert b"next" == await server.read()
    reading = await begun(server.read())
    with pytest.raises(StreamBusy):
        async with server.open_frame():
            pass
    async with client.open_frame() as body:
        waiting = await begun(anext(body))
        waiting.cancel()
        await passes()
        await raised(StreamBusy, client.read)
    await client.send(b"last")
    assert b"last" == await reading


@once
async def test_the_counters_tell_what_happened():
    client, server = memory_stream_pair(Wire(chunks=[5]), max_frame_size=5)
    for line in ("ab", "cd"):
        await client.send(line, Line())
    assert ["ab", "cd"] == [await server.read(Line()), await server.read(Line())]
    sent, received = client.stats, server.stats
    assert (6, 2, 0) == (sent.bytes_sent, sent.frames_sent, sent.bytes_received)
    assert (6, 2, 0) == (received.bytes_received, received.frames_received, received.bytes_sent)
    assert 5 >= received.read_high_water
    reading = await begun(server.read(Line()))
    client.write(b"x\n\xff\n")
    await reading
    assert received.waits + 1 == server.stats.waits
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
