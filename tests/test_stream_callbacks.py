"""Callbacks: each on a later pass of the loop, none inside another, the close callback behind all."""

import asyncio
import logging
from functools import partial

import pytest
from stream_pairs import joined, passes

from framestream import (
    Exactly,
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    Line,
    StreamClosed,
)
from framestream.stream.receiver import READ_AHEAD
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])


def called():
    """Return a function that notes what it is called with, and the list of notes."""
    notes = []
    return notes, lambda *args: notes.append(args[0] if args else None)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


@every_kind
async def test_a_callback_gets_the_frame(kind):
    async with joined(kind) as (client, server):
        notes, note = called()
        assert server.read(Line(), callback=note) is None
        await client.write(b"hello\n")
        await until(lambda: notes)
        assert ["hello"] == notes


async def test_every_read_takes_a_callback():
    async with joined("memory") as (client, server):
        notes, note = called()
        client.write(b"abcd\nefg\nrest")
        for read in (
            lambda: server.read_bytes(2, callback=note),
            lambda: server.read_bytes(1, partial=True, callback=note),
            lambda: server.read_until(b"\n", callback=note),
            lambda: server.read_until_regex(rb"\n", callback=note),
            lambda: server.read(Exactly(1), callback=note),
        ):
            before = len(notes)
            assert read() is None
            await until(lambda: len(notes) > before)  # noqa: B023
        assert [b"ab", b"c", b"d\n", b"efg\n", b"r"] == notes


async def test_callbacks_are_never_nested():
    async with joined("memory") as (client, server):
        await client.write(b"x\n" * 1000)
        depth, deepest, count = 0, 0, 0

        def on_line(line):
            nonlocal depth, deepest, count
            depth += 1
            deepest = max(depth, deepest)
            count += 1
            if count < 1000:
                server.read(Line(), callback=on_line)
            depth -= 1

        server.read(Line(), callback=on_line)
        assert 0 == count, "a callback runs on a later pass, although the frame is there"
        await until(lambda: count == 1000)
        assert 1 == deepest


# A callback that raises


@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError])
@pytest.mark.parametrize("which", ["read", "part", "write", "frame", "close"])
async def test_an_exception_in_a_callback_is_logged_closes_and_reaches_the_loop(which, kind, caplog):
    loop = asyncio.get_running_loop()
    heard = []
    loop.set_exception_handler(lambda _, context: heard.append(context["exception"]))

    def fail(*_):
        raise kind("mine")  # a cancelled future, asked for its result, raises what is no `Exception`

    async with joined("unix") as (client, server):
        if which == "read":
            server.read(Line(), callback=fail)
        elif which == "part":
            server.read(Line(), streaming_callback=fail, callback=fail)
        elif which == "frame":
            server.on_frame(Line(), fail)
        elif which == "write":
            server.write(b"x", fail)
        else:
            server.set_close_callback(fail)
            server.close()
        client.write(b"hello\n")
        await until(lambda: heard)
        assert ["mine"] == [str(error) for error in heard[:1]]
        assert server.closed()
        assert which == "close" or isinstance(server.error, kind)
        assert "uncaught exception in a callback, closing the stream" in caplog.text


# Streaming


@every_kind
@pytest.mark.parametrize(
    ("condition", "wire", "payload"),
    [
        (LengthPrefix(4), b"\x00\x00\x00\x0a0123456789", b"0123456789"),
        (Line(), b"0123456789\n", b"0123456789"),
        (Exactly(10), b"0123456789", b"0123456789"),
    ],
    ids=str,
)
async def test_every_condition_can_be_streamed_to_a_callback(kind, condition, wire, payload):
    async with joined(kind) as (client, server):
        parts, on_part = called()
        done, on_done = called()
        server.read(condition, streaming_callback=on_part, callback=on_done)
        for at in range(len(wire)):
            await client.write(wire[at : at + 1])
            await passes()
        await until(lambda: done)
        assert payload == b"".join(parts)
        assert len(parts) > 1
        assert [b""] == done


async def test_streaming_begins_with_what_is_buffered_and_never_goes_beyond():
    async with joined("memory") as (client, server):
        await client.write(b"a\n1234567890tail")
        assert "a" == await server.read(Line())
        parts, on_part = called()
        assert b"" == await server.read_bytes(10, streaming_callback=on_part)
        assert b"1234567890" == b"".join(parts)
        assert b"tail" == await server.read_bytes(4)


async def test_nothing_is_received_before_the_callback_has_run():
    client, server = memory_stream_pair(Wire(chunks=[10]))
    client.write(b"x" * 1000)
    held = []

    def on_part(part):
        held.append(server.stats.bytes_received)

    assert b"" == await server.read_bytes(1000, streaming_callback=on_part)
    assert list(range(10, 1001, 10)) == held


async def test_a_cancelled_streaming_read_skips_the_rest_of_its_frame():
    async with joined("memory") as (client, server):
        parts, on_part = called()
        reading = server.read(LengthPrefix(1), streaming_callback=on_part)
        await client.write(b"\x0a12345")
        await until(lambda: parts)
        reading.cancel()
        await passes()
        await client.write(b"67890\x02ok")
        assert b"ok" == await server.read(LengthPrefix(1))


async def test_an_awaited_streaming_read_raises_what_goes_wrong():
    async with joined("unix") as (client, server):
        reading = asyncio.ensure_future(server.read(LengthPrefix(1), streaming_callback=lambda part: None))
        await client.write(b"\x0a12345")
        await passes()
        client.close()
        with pytest.raises(IncompleteFrame):
            await reading
    async with joined("unix") as (client, server):
        client.close()
        with pytest.raises(StreamClosed):
            await server.read(LengthPrefix(1), streaming_callback=lambda part: None)


async def test_a_streaming_read_cancelled_by_its_own_callback_stops_there():
    client, server = memory_stream_pair(Wire(chunks=[3]))
    client.write(b"\x0a1234567890\x02ok")
    parts = []

    def on_part(part):
        parts.append(part)
        reading.cancel()

    reading = server.read(LengthPrefix(1), streaming_callback=on_part)
    await until(reading.cancelled)
    await passes()
    assert b"".join(parts) in (b"12", b"12345")
    assert b"ok" == await server.read(LengthPrefix(1))


@pytest.mark.parametrize("closed_here", [False, True])
async def test_streaming_to_the_end(closed_here):
    async with joined("unix") as (client, server):
        await client.write(b"1234")
        await server.peek(4)
        (server if closed_here else client).close()
        parts, on_part = called()
        done, on_done = called()
        server.read_until_close(streaming_callback=on_part, callback=on_done)
        await until(lambda: done)
        assert [b"1234"] == parts


@pytest.mark.parametrize("wire", [b"\x02ok\x02ok", b"\x0a12345"], ids=["ends", "fails"])
async def test_a_streaming_read_cancelled_as_it_ends_harms_nobody(wire):
    client, server = memory_stream_pair()
    await client.write(wire)

    def on_part(part):
        reading.cancel()
        if part == b"12345":
            server.close()

    reading = server.read(LengthPrefix(1), streaming_callback=on_part)
    await passes(10)
    assert reading.cancelled()
    if not server.closed():
        assert b"ok" == await server.read(LengthPrefix(1))


# The close callback


@every_kind
async def test_the_close_callback_runs_once_on_a_later_pass(kind):
    async with joined(kind) as (_, server):
        notes, note = called()
        server.set_close_callback(note)
        server.close()
        server.close()
        assert [] == notes
        await passes()
        assert [None] == notes


@every_kind
async def test_an_idle_stream_notices_that_the_peer_closes(kind):
    async with joined(kind) as (client, server):
        notes, note = called()
        server.set_close_callback(note)
        await passes()
        client.close()
        await until(lambda: notes)
        assert server.closed()


@every_kind
async def test_buffered_data_is_read_before_the_close_callback_runs(kind):
    async with joined(kind) as (client, server):
        events = []

        def on_line(line):
            events.append(line)
            server.read(Line(), callback=on_line)

        server.set_close_callback(lambda: events.append("closed"))
        server.read(Line(), callback=on_line)
        await client.write(b"a\nb\nc\n")
        await client.aclose()
        await until(lambda: "closed" in events)
        assert ["a", "b", "c", "closed"] == events


async def test_reads_chained_from_a_callback_of_a_closed_stream_come_first():
    async with joined("memory") as (client, server):
        await client.write(b"a\nb\n")
        await server.peek(4)
        events = []

        def on_line(line):
            events.append(line)
            if line == "a":
                server.read(Line(), callback=on_line)

        server.set_close_callback(lambda: events.append("closed"))
        server.read(Line(), callback=on_line)
        server.close()
        await until(lambda: "closed" in events)
        assert ["a", "b", "closed"] == events


async def test_a_callback_read_that_meets_the_end_leaves_it_to_the_close_callback():
    async with joined("unix") as (client, server):
        notes, note = called()
        closed, on_close = called()
        server.set_close_callback(on_close)
        server.read(Line(), callback=note)
        client.close()
        await until(lambda: closed)
        assert [] == notes
        assert server.error is None


async def test_a_close_callback_can_be_taken_back_and_set_late():
    _, server = memory_stream_pair()
    notes, note = called()
    server.set_close_callback(note)
    server.set_close_callback(None)
    server.close()
    await passes()
    assert [] == notes
    server.set_close_callback(note)
    assert [] == notes
    await passes()
    assert [None] == notes


@pytest.mark.parametrize("how", ["callback", "on_frame"])
async def test_bad_bytes_close_the_stream_with_the_error(how):
    async with joined("unix") as (client, server):
        if how == "callback":
            server.read(Line(), callback=print, max_size=2)
        else:
            server.on_frame(Line(max_size=2), print)
        await client.write(b"12345\n")
        await server.wait_closed()
        assert isinstance(server.error, FramingError)


# Frame handlers


@every_kind
async def test_on_frame_gets_every_frame(kind):
    async with joined(kind) as (client, server):
        lines = [str(number) for number in range(3000)]
        notes, note = called()
        server.on_frame(Line(), note)
        await client.write("".join(f"{line}\n" for line in lines).encode())
        await until(lambda: len(notes) == 3000)
        assert lines == notes


async def test_a_handler_waits_while_too_much_is_queued():
    async with joined("unix", write_high_water=1000, write_low_water=500) as (client, server):
        handled = 0

        def on_line(line):
            nonlocal handled
            handled += 1
            server.write(b"x" * 10000)

        server.on_frame(Line(), on_line)
        await client.write(b"a\n" * 1000)
        await passes(50)
        assert handled < 1000
        assert server.stats.write_high_water < 100_000
        await client.read_bytes(1000 * 10000, streaming_callback=lambda part: None)
        assert 1000 == handled


async def test_a_handler_lets_others_have_their_turn():
    async with joined("memory") as (client, server):
        await client.write(b"a\n" * 10000)
        seen = []
        count = 0

        def on_line(line):
            nonlocal count
            count += 1

        server.on_frame(Line(), on_line)
        while count < 10000:
            await passes(1)
            seen.append(count)
        assert len(seen) > 5


async def test_a_handler_begins_with_what_is_buffered_and_stops_where_it_is_told_to():
    client, server = memory_stream_pair()
    await client.write(b"a\nb\nc\nd\ne\n")
    await server.peek(4)
    notes, note = called()
    server.on_frame(Line(), note).stop()
    await passes()
    assert [] == notes, "it was stopped before it began"

    def on_line(line):
        notes.append(line)
        if line < "d":
            handler.pause()
        else:
            handler.stop()

    handler = server.on_frame(Line(), on_line)
    assert [] == notes, "it begins in a later pass"
    for expected in (["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]):
        await passes(10)
        assert expected == notes
        handler.resume()
        handler.resume()
    assert not handler.active
    assert "e" == await server.read(Line())
    handler.stop()


@every_kind
async def test_a_paused_handler_receives_no_more_than_a_stream_that_nobody_reads(kind):
    async with joined(kind) as (client, server):
        handler = server.on_frame(Line(), lambda line: handler.pause())
        client.write(b"a\n" * (1 << 20))
        await passes(50)
        received = server.stats.bytes_received
        await passes(50)
        assert received == server.stats.bytes_received <= 2 * READ_AHEAD


@pytest.mark.parametrize("end", ["peer", "here"])
async def test_a_handler_ends_with_the_stream(end):
    async with joined("unix") as (client, server):
        notes, note = called()
        closed, on_close = called()
        handler = server.on_frame(Line(), note)
        server.set_close_callback(on_close)
        await client.write(b"a\n")
        await until(lambda: notes)
        (client if end == "peer" else server).close()
        await until(lambda: closed)
        assert ["a"] == notes
        assert not handler.active


# Writing


async def test_a_write_callback_runs_in_a_later_pass_when_its_bytes_have_left():
    async with joined("unix") as (client, server):
        order = []
        server.write(b"x", lambda: order.append("at once"))
        assert [] == order
        await passes()
        assert ["at once"] == order
        server.write(b"x" * (1 << 22), lambda: order.append("large"))
        server.write(b"y", lambda: order.append("small"))
        await passes()
        assert ["at once"] == order
        await client.read_bytes((1 << 22) + 2)
        await until(lambda: len(order) == 3)
        lost = server.write(b"x" * (1 << 22), lambda: order.append("never"))
        server.close()
        with pytest.raises(StreamClosed):
            await lost
        await passes()
        assert ["at once", "large", "small"] == order


async def test_open_and_close_are_logged_with_the_stream(caplog):
    caplog.set_level(logging.DEBUG, "framestream")
    async with joined("tcp") as (_, server):
        server.close()
        (record,) = [r for r in caplog.records if r.getMessage() == "stream closed"]
        assert record.stream is server
        assert record.peer.startswith("127.0.0.1:")


async def test_no_callback_tells_that_bytes_have_left_which_never_will():
    async with joined("unix") as (client, server):
        called = []
        server.close()
        await passes()
        client.write(b"lost", partial(called.append, "left"))
        await passes(10)
        assert client.closed()
        assert not called


async def test_a_handler_paused_and_resumed_within_a_flood_runs_once_in_each_pass():
    async with joined("memory") as (client, server):
        seen = []
        passed = []

        def take(frame):
            seen.append(frame)
            handler.pause()
            handler.resume()

        client.write(b"x\n" * 20_000)
        handler = server.on_frame(Line(), take)
        while len(seen) < 20_000:
            before = len(seen)
            await asyncio.sleep(0)
            passed.append(len(seen) - before)
        assert max(passed) <= 2048
