"""Every way to read, and everything that can happen to it while it waits."""

import asyncio

import pytest
from stream_pairs import begun, joined, passes, raised, reset, until

from framestream import IncompleteFrame, LengthPrefix, Line, StreamBusy, StreamClosed, StreamTimeout
from framestream.testing import memory_stream_pair

pytestmark = pytest.mark.every_loop

FRAME = LengthPrefix(2)
PAYLOAD = b"abcdefgh" * 3000 + b"\n"
WIRE = len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
HALF = WIRE[:20_000]
FAULT = RuntimeError("mine")


async def into(stream):
    place = bytearray(len(WIRE))
    try:
        assert len(WIRE) == await stream.read_into(place)
        return bytes(place)
    except asyncio.CancelledError:
        await passes()
        place.append(0)  # nobody holds on to it
        raise


async def in_parts(stream):
    async with stream.open_frame(FRAME) as body:
        return b"".join([part async for part in body])


async def streamed(stream):
    parts = []
    assert b"" == await stream.read(FRAME, streaming_callback=parts.append)
    return b"".join(parts)


async def by_callback(stream):
    """Return the frames that were delivered when one was, or when the stream is closed without any."""
    frames, done = [], asyncio.Event()
    stream.set_close_callback(done.set)
    stream.read(FRAME, callback=lambda frame: (frames.append(frame), done.set()))
    await done.wait()
    return frames


async def by_handler(stream):
    frames, done = [], asyncio.Event()
    stream.set_close_callback(done.set)
    handler = stream.on_frame(FRAME, lambda frame: (frames.append(frame), handler.stop(), done.set()))
    await done.wait()
    assert not handler.active
    return frames


WAYS = {
    "read": (lambda stream: stream.read(FRAME), PAYLOAD),
    "frames": (lambda stream: anext(stream.frames(FRAME)), PAYLOAD),
    "batches": (lambda stream: anext(stream.batches(FRAME)), [PAYLOAD]),
    "bytes": (lambda stream: stream.read_bytes(len(WIRE)), WIRE),
    "until": (lambda stream: stream.read_until(b"\n"), WIRE),
    "regex": (lambda stream: stream.read_until_regex(rb"\n"), WIRE),
    "into": (into, WIRE),
    "peek": (lambda stream: stream.peek(len(WIRE)), WIRE),
    "parts": (in_parts, PAYLOAD),
    "streamed": (streamed, PAYLOAD),
    "line": (lambda stream: stream.read(Line(None)), WIRE[:-1]),
    "rest": (lambda stream: stream.read_until_close(), WIRE),
    "until close": (lambda stream: stream.read("until-close"), WIRE),
    "callback": (by_callback, [PAYLOAD]),
    "handler": (by_handler, [PAYLOAD]),
}
TOLD_BY_CLOSE = ("callback", "handler")  # and by nothing else
TO_END = ("rest", "until close")
SKIP = ("parts", "streamed")  # who leaves off in the middle of a frame skips the rest


def each(*left_out):
    return pytest.mark.parametrize("way", [way for way in WAYS if way not in left_out])


@each(*TO_END)
@pytest.mark.parametrize("first", [0, 1, len(HALF), len(WIRE) - 1])
async def test_a_read_that_waits_takes_exactly_its_frame_when_the_rest_arrives(way, first):
    read, expected = WAYS[way]
    async with joined("unix") as (client, server):
        await client.write(WIRE[:first])
        reading = await begun(read(server))
        assert server.reading()
        await client.write([WIRE[first:], b"next"])
        assert expected == await reading
        assert not server.reading()
        assert way != "peek" or WIRE == await server.read_bytes(len(WIRE))
        assert b"next" == await server.read_bytes(4)


@each(*TO_END, *TOLD_BY_CLOSE)
@pytest.mark.parametrize("sent", [b"", HALF[:1], HALF])
async def test_a_read_that_is_cancelled_has_consumed_nothing_or_skips_its_frame(way, sent):
    read, expected = WAYS[way]
    async with joined("unix") as (client, server):
        reading = await begun(read(server))
        client.write(sent)
        await until(lambda: server.stats.bytes_received == len(sent))
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert way in SKIP or sent == server.leftover
        client.write(WIRE[len(sent) :])
        if sent and way in SKIP:
            client.write(WIRE)
        assert expected == await asyncio.wait_for(read(server), 5)


@pytest.mark.no_waiting
@each(*TO_END, *TOLD_BY_CLOSE)
async def test_a_stream_limits_the_time_of_every_read_which_can_be_repeated(way):
    read, expected = WAYS[way]
    client, server = memory_stream_pair(frame_timeout=3)
    began = asyncio.get_running_loop().time()
    client.write(HALF)
    await raised(StreamTimeout, read, server, match=r"^frame not complete after 3 s$")
    assert pytest.approx(3) == asyncio.get_running_loop().time() - began
    client.write(WIRE[len(HALF) :] + WIRE * (way in SKIP))
    assert expected == await read(server)


@pytest.mark.parametrize("first", WAYS)
async def test_a_second_read_is_busy_at_once_and_harms_nothing(first):
    read, expected = WAYS[first]
    async with joined("unix") as (client, server):
        reading = await begun(read(server))
        client.write(HALF)
        await until(lambda: server.stats.bytes_received == len(HALF))
        for second, _ in WAYS.values():
            await raised(StreamBusy, second, server, match=r"still under way|or by leaving its block")
        await client.write(WIRE[len(HALF) :])
        if first in TO_END:
            await client.aclose()
        assert expected == await reading


END = {
    "eof": lambda client, server: client.close(),
    "reset": lambda client, server: reset(client),
    "peer fails": lambda client, server: client.close(FAULT),  # over bytes that it has not read
    "closed here": lambda client, server: (server.close(), server.close(RuntimeError("late"))),
    "closed for an error": lambda client, server: (server.close(FAULT), server.close(RuntimeError("late"))),
}


@each()
@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("sent", [b"", HALF], ids=["nothing", "half"])
async def test_the_end_of_a_stream_ends_every_read_in_its_way_and_is_not_logged(way, end, sent, caplog):
    caplog.set_level("INFO", "framestream")
    async with joined("tcp") as (client, server):
        await server.write(b"unread")
        await until(lambda: not server.writing())
        reading = await begun(WAYS[way][0](server))
        client.write(sent)
        await until(lambda: server.stats.bytes_received == len(sent))
        END[end](client, server)
        [got] = await asyncio.gather(reading, return_exceptions=True)
        sees_end = end == "eof" or (end == "closed here" and not sent)
        ends_rest = end != "closed for an error"
        whole = {"peek": True, "rest": ends_rest, "until close": sees_end, "line": sees_end and sent}
        causes = {"eof": type(None), "closed here": type(None), "closed for an error": RuntimeError}
        cause = causes.get(end, ConnectionResetError)
        if way in TOLD_BY_CLOSE:
            assert [] == got
            cause = IncompleteFrame if sees_end and sent else cause
        elif whole.get(way):
            assert sent == got
        elif sees_end and sent:
            assert isinstance(got, IncompleteFrame)
            assert got.received == len(HALF)
            assert got.expected in (None, len(WIRE))
        elif sees_end and way in ("frames", "batches"):
            assert isinstance(got, StopAsyncIteration)
        else:
            assert isinstance(got, StreamClosed)
            assert server.error is got.real_error
            assert way == "into" or bool(sent) == ("closed inside a frame" in str(got))
        assert isinstance(server.error, cause)
        assert server.error is FAULT or "mine" not in str(server.error)
        assert [] == [record.message for record in caplog.records if record.name == "framestream"]
        assert server.closed() or whole.get(way)
        assert way in SKIP or (b"" if whole.get(way) and way != "peek" else sent) == server.leftover
