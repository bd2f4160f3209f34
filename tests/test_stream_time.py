"""Limits of time: for a frame, for a silent peer, for one that trickles; on a clock of the test's own."""

import asyncio
import re
import socket

import pytest
from stream_pairs import begun, joined, raised

from framestream import FramestreamError, LengthPrefix, Line, StreamClosed, StreamTimeout
from framestream.stream.timeouts import within
from framestream.testing import memory_stream_pair

pytestmark = pytest.mark.no_waiting


def now():
    return asyncio.get_running_loop().time()


async def feed(stream, pieces, pause):
    for piece in pieces:
        await stream.write(piece)
        await asyncio.sleep(pause)


async def fails_after(seconds, waiting):
    """Check that this gives up then, on the loop's clock, and return why."""
    began = now()
    caught = await raised(StreamTimeout, waiting)
    assert pytest.approx(seconds, abs=1e-6) == now() - began
    assert isinstance(caught, TimeoutError)
    assert isinstance(caught, FramestreamError)
    return str(caught)


@pytest.mark.parametrize(("options", "limits", "sent", "pause", "after", "reason"), [
    ({}, {"timeout": 2.5}, b"half", 1, 2.5, "frame not complete after 2.5 s"),
    ({"frame_timeout": 2.5}, {}, b"half", 1, 2.5, "frame not complete after 2.5 s"),
    ({"frame_timeout": 2.5}, {"min_rate": 0.1}, b"half", 1, 2.5, "frame not complete after 2.5 s"),
    ({"frame_timeout": 2.5}, {"timeout": 20}, b"x" * 15 + b"\n", 1, None, ""),
    ({}, {"timeout": 0}, b"half", 1, 0, "frame not complete after 0 s"),
    ({}, {"timeout": 0}, b"there at once\n", 0, None, ""),
    ({"idle_timeout": 2}, {}, b"", 0, 2, "nothing received for 2 s"),
    ({"idle_timeout": 2}, {}, b"xy", 1.5, 3.5, "nothing received for 2 s"),
    ({"idle_timeout": 2}, {}, b"x" * 15 + b"\n", 1.5, None, ""),
    ({"min_rate": 10, "rate_grace": 2}, {}, b"x" * 50, 0.125, 2, "only 16 bytes of a frame after 2 s, min"),
    ({"min_rate": 10, "rate_grace": 2}, {}, b"x" * 49 + b"\n", 0.09, None, ""),
])  # fmt: skip
async def test_a_read_gives_up_when_a_limit_is_passed_and_not_before(options, limits, sent, pause, after, reason):
    client, server = memory_stream_pair(**options)
    feeding = await begun(feed(client, re.findall(b".", sent, re.DOTALL) if pause else [sent], pause))
    if after is None:
        assert sent[:-1].decode() == await server.read(Line(), **limits)
    else:
        assert (await fails_after(after, server.read(Line(), **limits))).startswith(reason)
        client.write(b"\n")
    await feeding


@pytest.mark.parametrize("limits", [{}, {"frame_timeout": 50}], ids=str)
async def test_a_rate_begins_with_the_frame_even_where_other_limits_are_watched(limits):
    client, server = memory_stream_pair(min_rate=1_000_000, rate_grace=1, **limits)
    reading = asyncio.ensure_future(server.read(Line()))
    await asyncio.sleep(30)
    await client.write(b"half")
    assert "only 4 bytes of a frame after 1 s, minimum 1e+06 bytes/s" == await fails_after(1, reading)
    assert "minimum 2e+06" in await fails_after(1, server.read(Line(), min_rate=2_000_000))
    reading = asyncio.ensure_future(server.read(Line()))
    await client.write(b" and half\n")
    assert "half and half" == await reading


async def test_no_timer_is_left_behind_by_a_read_that_is_done():
    client, server = memory_stream_pair()
    reading = await begun(server.read(Line(), timeout=5))
    await client.write(b"a\n")
    assert "a" == await reading
    reading = asyncio.ensure_future(server.read(Line()))
    await asyncio.sleep(6)
    assert not reading.done()
    reading.cancel()


async def test_a_task_that_is_cancelled_just_after_its_time_is_over_is_cancelled():
    client, server = memory_stream_pair()
    reading = await begun(server.read(Line(), timeout=1))
    asyncio.get_running_loop().call_at(now() + 1 + 1e-10, reading.cancel)  # in the same pass
    await asyncio.wait([reading])
    assert reading.cancelled()
    client.close()


@pytest.mark.parametrize("options", [{"idle_timeout": 2}, {"frame_timeout": 2}, {}], ids=str)
async def test_a_callback_read_that_takes_too_long_closes_the_stream(options):
    _, server = memory_stream_pair(**options)
    server.read(Line(), callback=print, **({} if options else {"timeout": 2}))
    began = now()
    await server.wait_closed()
    assert isinstance(server.error, StreamTimeout)
    assert pytest.approx(2) == now() - began


@pytest.mark.parametrize(("limits", "streamed"), [
    ({"frame_timeout": 7}, None),
    ({"frame_timeout": 7}, {}),
    ({"min_rate": 1000, "rate_grace": 7}, None),
    ({"frame_timeout": 99}, {"timeout": 7}),
])  # fmt: skip
async def test_a_frame_read_in_parts_is_limited_as_a_whole(limits, streamed):
    client, server = memory_stream_pair(**limits)
    client.write((1 << 20).to_bytes(4, "big"))
    sending = asyncio.ensure_future(feed(client, [b"x"] * 10, 1))

    async def read():
        async with server.open_frame(LengthPrefix(4)) as body:
            async for _ in body:
                pass

    if streamed is None:
        await fails_after(7, read())
    else:
        await fails_after(7, server.read(LengthPrefix(4), streaming_callback=lambda part: None, **streamed))
    await sending


@pytest.mark.parametrize(
    ("limits", "left"),
    [({"min_rate": 1000, "rate_grace": 2}, 1.5), ({"frame_timeout": 2}, 1.5), ({"idle_timeout": 2}, 2)],
    ids=str,
)
@pytest.mark.parametrize("is_there", [False, True])
async def test_the_time_a_reader_takes_between_parts_is_not_held_against_the_peer(limits, left, is_there):
    client, server = memory_stream_pair(**limits)
    client.write((3).to_bytes(4, "big") + b"a")
    if is_there:
        await server.peek(5)
    async with server.open_frame(LengthPrefix(4)) as body:
        assert b"a" == await anext(body)
        await asyncio.sleep(10)
        asyncio.get_running_loop().call_later(0.5, client.write, b"b")
        assert b"b" == await anext(body)
        await fails_after(left, anext(body))


async def test_what_was_passed_on_already_counts_for_the_rate():
    client, server = memory_stream_pair(min_rate=1000, rate_grace=1)
    client.write((100 * 1024).to_bytes(4, "big"))
    sending = asyncio.ensure_future(feed(client, [bytes(1024)] * 100, 1))
    parts = []
    await server.read(LengthPrefix(4), streaming_callback=parts.append)
    assert 100 * 1024 == sum(map(len, parts))
    await sending


async def test_a_peer_that_takes_nothing_is_cut_off_and_one_that_reads_slowly_is_not(caplog):
    caplog.set_level("INFO", "framestream")
    async with joined("unix", write_timeout=5) as (client, server):
        writing = await begun(client.write(bytes(3 << 20)))
        for _ in range(12):
            await server.read_bytes(1 << 18)
            await asyncio.sleep(1)
        await writing
        await asyncio.sleep(30)
        assert not client.closed(), "nothing is queued"
        began = now()
        caught = await raised(StreamClosed, client.write, bytes(3 << 20))
        assert isinstance(caught.real_error, StreamTimeout)
        assert "peer took nothing of " in str(client.error)
        assert pytest.approx(5) == now() - began
        assert [("INFO", f"{client.peer}: error on write: {client.error}")] == [
            (record.levelname, record.getMessage()) for record in caplog.records
        ]


async def test_a_peer_that_takes_no_more_has_no_time_left_to_take_it_in():
    async with joined("unix", write_timeout=5) as (client, server):
        writing = await begun(client.write(bytes(3 << 20)))
        await server.read_bytes(1 << 18)  # a full buffer tells of nothing
        server.transport.socket.shutdown(socket.SHUT_RD)
        await raised(StreamClosed, writing)
        await asyncio.sleep(30)
        await server.write(b"still here\n")
        assert "still here" == await client.read(Line())


@pytest.mark.parametrize("linger", [0, 3])
async def test_aclose_gives_up_after_its_timeout(linger):
    async with joined("unix") as (client, server):
        await server.write(b"unread")
        client.write(bytes(3 << 20))
        began = now()
        await client.aclose(timeout=2, linger=linger)
        assert client.closed()
        assert pytest.approx(2) == now() - began


async def test_a_timeout_that_comes_from_elsewhere_stays_what_it_is():
    with pytest.raises(TimeoutError, match="mine") as caught:
        async with within(5, "closing not done"):
            raise TimeoutError("mine")
    assert type(caught.value) is TimeoutError
