"""Limits of time: for a frame, for a silent peer, for one that trickles."""

import asyncio

import pytest
from stream_pairs import joined, passes

from framestream import Exactly, FramestreamError, LengthPrefix, Line, StreamTimeout


async def feed(stream, pieces, pause):
    for piece in pieces:
        await stream.write(piece)
        await asyncio.sleep(pause)


async def test_a_frame_must_be_complete_within_its_timeout():
    async with joined("unix") as (client, server):
        await client.write(b"half")
        with pytest.raises(StreamTimeout, match="frame not complete after"):
            await server.read(Line(), timeout=0.005)
        await client.write(b" and half\n")
        assert "half and half" == await server.read(Line(), timeout=1)


async def test_a_deadline_is_a_time_on_the_loops_clock():
    async with joined("unix") as (_, server):
        with pytest.raises(StreamTimeout):
            await server.read(Line(), deadline=server.loop.time() + 0.005)
        with pytest.raises(StreamTimeout):
            await server.read(Line(), deadline=server.loop.time() - 1)


async def test_what_is_there_is_read_even_behind_its_deadline():
    async with joined("unix") as (client, server):
        await client.write(b"a\n")
        assert "a" == await server.read(Line(), deadline=0)


async def test_a_trickle_does_not_put_the_timeout_off():
    async with joined("unix") as (client, server):
        feeding = asyncio.ensure_future(feed(client, [b"x"] * 50, 0.002))
        with pytest.raises(StreamTimeout):
            await server.read(Line(), timeout=0.02)
        feeding.cancel()
        await asyncio.wait([feeding])


async def test_a_silent_peer_is_idle():
    async with joined("unix", idle_timeout=0.01) as (_, server):
        with pytest.raises(StreamTimeout, match="nothing received for"):
            await server.read(Line())


async def test_a_trickle_is_not_idle():
    async with joined("unix", idle_timeout=0.1) as (client, server):
        feeding = asyncio.ensure_future(feed(client, [b"x"] * 15 + [b"\n"], 0.01))
        assert "x" * 15 == await server.read(Line())
        await feeding


async def test_a_frame_below_the_minimum_rate_is_cut_off():
    async with joined("unix", min_rate=100_000, rate_grace=0.02) as (client, server):
        feeding = asyncio.ensure_future(feed(client, [b"\x00\x00\xff\xff"] + [b"x"] * 200, 0.001))
        with pytest.raises(StreamTimeout, match="minimum 100000 bytes/s"):
            await server.read(LengthPrefix(4))
        feeding.cancel()
        await asyncio.wait([feeding])


async def test_a_frame_above_the_minimum_rate_is_not():
    async with joined("unix", min_rate=1000, rate_grace=0.01) as (client, server):
        feeding = asyncio.ensure_future(feed(client, [b"x" * 500] * 10, 0.005))
        assert 5000 == len(await server.read(Exactly(5000)))
        await feeding


async def test_waiting_for_a_frame_to_begin_has_no_rate():
    async with joined("unix", min_rate=1000, rate_grace=0.005) as (client, server):
        reading = asyncio.ensure_future(server.read(Line()))
        await asyncio.sleep(0.03)
        await client.write(b"hello\n")
        assert "hello" == await reading


async def test_a_frame_that_has_begun_before_the_read_has_a_rate_at_once():
    async with joined("unix") as (client, server):
        await client.write(b"half")
        await server.peek(4)
        with pytest.raises(StreamTimeout, match="only 4 bytes of a frame"):
            await server.read(Line(), min_rate=1_000_000, timeout=5)


async def test_limits_of_a_stream_hold_for_every_read_and_yield_to_those_of_one():
    async with joined("unix", frame_timeout=0.005) as (client, server):
        for waiting in (server.read(Line()), server.peek(3), server.read_into(bytearray(3))):
            with pytest.raises(StreamTimeout):
                await waiting
        with pytest.raises(StreamTimeout):
            async for _ in server.frames(Line()):
                pass
        reading = asyncio.ensure_future(server.read(Line(), timeout=5))
        await asyncio.sleep(0.02)
        await client.write(b"a\n")
        assert "a" == await reading


async def test_a_timeout_is_a_timeout_error_and_one_of_ours():
    async with joined("unix") as (_, server):
        with pytest.raises(TimeoutError):
            await server.read(Line(), timeout=0)
        with pytest.raises(FramestreamError):
            await server.read(Line(), timeout=0)


async def test_no_timer_is_left_behind_by_a_read_that_is_done():
    async with joined("unix") as (client, server):
        reading = asyncio.ensure_future(server.read(Line(), timeout=0.5))
        await passes()
        await client.write(b"a\n")
        assert "a" == await reading
        reading = asyncio.ensure_future(server.read(Line()))
        await asyncio.sleep(0.55)
        assert not reading.done()
        reading.cancel()
        await asyncio.wait([reading])


async def test_a_rate_begins_with_the_frame_even_where_other_limits_are_watched():
    async with joined("unix", frame_timeout=5, min_rate=1_000_000, rate_grace=0.01) as (client, server):
        reading = asyncio.ensure_future(server.read(Line()))
        await asyncio.sleep(0.03)
        await client.write(b"half")
        with pytest.raises(StreamTimeout, match="only 4 bytes"):
            await reading
        with pytest.raises(StreamTimeout, match="minimum 2e"):
            await server.read(Line(), min_rate=2_000_000)


async def trickling(client, size, pause):
    while not client.closed():
        client.write(b"x" * size)
        await asyncio.sleep(pause)


@pytest.mark.parametrize("limits", [{"frame_timeout": 0.2}, {"min_rate": 1000, "rate_grace": 0.2}], ids=str)
async def test_a_frame_read_in_parts_is_limited_as_a_whole(limits):
    async with joined("unix", **limits) as (client, server):
        sending = asyncio.ensure_future(trickling(client, 1, 0.02))
        client.write((1 << 20).to_bytes(4, "big"))
        with pytest.raises(StreamTimeout):
            async with server.open_frame(LengthPrefix(4)) as body:
                async for _ in body:
                    pass
        sending.cancel()
        await asyncio.wait([sending])


async def test_the_time_a_reader_takes_between_parts_is_not_held_against_the_peer():
    async with joined("unix", min_rate=1000, rate_grace=0.05, frame_timeout=0.15) as (client, server):
        client.write((3).to_bytes(4, "big") + b"a")
        async with server.open_frame(LengthPrefix(4)) as body:
            assert b"a" == await anext(body)
            await asyncio.sleep(0.3)
            client.write(b"bc")
            assert b"bc" == await anext(body)


async def test_what_was_passed_on_already_counts_for_the_rate():
    async with joined("unix", min_rate=10_000, rate_grace=0.1) as (client, server):
        sending = asyncio.ensure_future(trickling(client, 4096, 0.01))
        size = 0

        def on_part(part):
            nonlocal size
            size += len(part)

        client.write((100 * 4096).to_bytes(4, "big"))
        await server.read(LengthPrefix(4), streaming_callback=on_part)
        assert 100 * 4096 == size
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_limit_that_is_none_leaves_the_stream_usable():
    async with joined("unix") as (client, server):
        with pytest.raises(ValueError, match="timeout is 'soon'"):
            await server.read(Line(), timeout="soon")
        await client.write(b"fine\n")
        assert "fine" == await server.read(Line())
