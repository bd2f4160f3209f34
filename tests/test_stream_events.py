"""Every way to read, everything that can happen to it while it waits, and what the wait is to its task."""

import asyncio
import contextvars
import sys

import pytest
from stream_pairs import begun, cancelled, joined, logged, passes, raised, reset, until

from framestream import IncompleteFrame, LengthPrefix, Line, StreamBusy, StreamClosed, StreamTimeout, UntilClose
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop

FRAME = LengthPrefix(2)
PAYLOAD = b"abcdefgh" * 3000 + b"\n"
WIRE = len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
HALF = WIRE[:20_000]
FAULT = RuntimeError("mine")


async def into(stream, size=None):
    place = bytearray(size or len(WIRE))
    try:
        assert len(place) == await stream.read_into(place)
        return bytes(place)
    except BaseException:
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
    assert not stream.reading()
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
        await cancelled(reading)
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
        assert [] == logged(caplog)
        assert server.closed() or whole.get(way)
        assert way in SKIP or (b"" if whole.get(way) and way != "peek" else sent) == server.leftover


# Cancelling any wait loses nothing


some_kinds = pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
NAME = contextvars.ContextVar("NAME", default="nobody")


async def cancelled_at(number, read, stream):
    """Cancel a read at its wait of this number, and read again; return the answer, and whether it came to that."""
    reading, waits = asyncio.ensure_future(read(stream)), 0
    while not reading.done():
        if waits == number:
            reading.cancel()
        await asyncio.sleep(0)
        waits += 1
    return (await read(stream), True) if reading.cancelled() else (reading.result(), False)


@pytest.mark.asyncio_only
@pytest.mark.parametrize("chunks", [[1, 2, 3, 8000], [4, 65536]], ids=str)
@each(*TO_END, *TOLD_BY_CLOSE, *SKIP)
async def test_cancelling_at_any_wait_changes_no_answer(way, chunks):
    read, expected = WAYS[way]
    number, was_cancelled = 0, True
    while was_cancelled:
        client, server = memory_stream_pair(Wire(chunks=chunks, blocks=[True, False, False]))
        client.write([WIRE, b"next\n"])
        answer, was_cancelled = await cancelled_at(number, read, server)
        assert expected == answer, f"cancelled at wait {number}"
        if way == "peek":
            await server.read_bytes(len(WIRE))
        assert "next" == await server.read(Line())
        client.close()
        server.close()
        number += 1
    assert number > 3


@some_kinds
async def test_a_cancelled_frame_in_parts_is_left_where_it_was(kind):
    async with joined(kind) as (client, server):
        await client.write(b"\x00\x0aabc")
        async with server.open_frame(LengthPrefix(2)) as body:
            assert b"abc" == await body.__anext__()
            for _ in range(3):
                waiting = await begun(body.__anext__())
                await cancelled(waiting)
            await client.write(b"defghij")
            assert b"defghij" == b"".join([part async for part in body])


@some_kinds
async def test_cancelling_around_the_moment_the_frame_arrives_loses_nothing(kind):
    async with joined(kind) as (client, server):
        outcomes = set()
        for count in range(8):
            reading = await begun(server.read(Line()))
            client.write(b"hello\n")
            await passes(count)
            await cancelled(reading)
            outcomes.add(reading.cancelled())
            assert "hello" == (await server.read(Line()) if reading.cancelled() else reading.result())
        assert {True, False} == outcomes


@pytest.mark.parametrize(("rest", "seen"), [(b"", []), (b"one\n", ["one"]), (b"\xff\n", [])])
async def test_a_task_that_a_callback_of_its_decoder_cancels_is_cancelled_and_loses_no_frame(rest, seen):
    found = []

    async def read():
        found.append(await server.read(Line()))
        await server.read(Line())

    options = {"max_frame_size": 5, "on_oversize": "discard", "on_discard": lambda _: reading.cancel()}
    async with joined("unix", **options) as (client, server):
        reading = await begun(read())
        await client.write(b"too large\n" + rest)
        await asyncio.wait([reading])
        assert (True, seen) == (reading.cancelled(), found)
        await client.write(b"two\n")
        assert "two" == await server.read(Line())


class Steps:
    """What a task awaits, as its loop sees it: every step of the task is one `send`."""

    def __init__(self, coroutine):
        self.coroutine = coroutine
        self.count = 0

    def __await__(self):
        while True:
            self.count += 1
            try:
                waited = self.coroutine.send(None)
            except StopIteration as end:
                return end.value
            yield waited


@pytest.mark.asyncio_only
@pytest.mark.parametrize(
    ("wire", "size"), [(Wire(chunks=[1]), 50), (Wire(chunks=[1000], blocks=[False, True]), 300_000)], ids=str
)
async def test_a_frame_that_trickles_in_runs_its_task_once(wire, size):
    client, server = memory_stream_pair(wire, framer=LengthPrefix(4))

    async def read(steps):
        return await steps

    task = await begun(read(steps := Steps(server.read())))
    client.send(b"x" * size)
    assert b"x" * size == await task
    assert 2 == steps.count


async def test_a_reader_keeps_its_context_and_is_the_current_task():
    async with joined("unix") as (client, server):

        async def read_as(name):
            NAME.set(name)
            await server.read(Line())
            return NAME.get(), asyncio.current_task()

        first = await begun(server.read(Line()))  # the loop keeps the context in which it was asked to watch
        await client.write(b"line\n")
        await first
        reading = await begun(read_as("reader"))
        assert "AwaitedRead" in repr(reading)
        NAME.set("writer")
        await client.write(b"line\n")
        assert ("reader", reading) == await reading
        assert "writer" == NAME.get()


@pytest.mark.parametrize("end", ["close", "reset", "frame"])
async def test_a_task_that_is_cancelled_while_it_waits_sees_one_cancellation_and_loses_nothing(end):
    async with joined("unix") as (client, server):
        seen = []

        async def read():
            try:
                await server.read(UntilClose() if end == "close" else Line())
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise

        await client.write(b"the ")
        reading = await begun(read())
        why = () if end == "reset" else ("enough",)
        reading.cancel(*why)
        if end == "close":
            server.close()
        elif end == "reset":
            client.close()
        else:
            client.write(b"line\n")
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert [why] == seen
        assert b"the " == server.leftover if end != "frame" else "the line" == await server.read(Line())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
@pytest.mark.asyncio_only
async def test_eager_tasks_read_while_the_task_that_made_them_runs():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with joined("unix") as (client, server):

        async def first():
            line = await server.read(Line())
            # This task runs as long as the other begins, waits, and is ended by the close.
            other = asyncio.ensure_future(server.read(Line()))
            server.close()
            await raised(StreamClosed, other)
            return line

        reading = await begun(first())
        await client.write(b"line\n")
        assert "line" == await reading
