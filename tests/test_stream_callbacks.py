"""Callbacks: each on a later pass of the loop, none inside another, the close callback after all."""

import asyncio
import logging
import socket

import pytest
from stream_pairs import (
    begun,
    by_batches,
    by_chained_reads,
    by_handler,
    by_iteration,
    cancelled,
    joined,
    logged,
    once,
    passes,
    raised,
    until,
)

from framestream import Exactly, LengthPrefix, Line, StreamBusy, StreamClosed
from framestream.testing import Wire, memory_stream_pair
from framestream.transport import is_reset

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", ["tcp", "tls", "pipe", "memory"])


def called():
    """Return a function that notes what it is called with, and the list of notes."""
    notes = []
    return notes, lambda *args: notes.append(args[0] if args else None)


@once
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


@once
async def test_callbacks_are_never_nested():
    client, server = memory_stream_pair()
    await client.write(b"x\n" * 1000)
    inside, notes = False, []

    def on_line(line):
        nonlocal inside
        assert not inside
        inside = True
        notes.append(line)
        if len(notes) < 1000:
            server.read(Line(), callback=on_line)
        inside = False

    server.read(Line(), callback=on_line)
    assert [] == notes, "a callback runs on a later pass, although the frame is there"
    await until(lambda: len(notes) == 1000 or server.closed())
    assert ["x"] * 1000 == notes


# A callback that raises


FAILING = {
    "read": lambda stream, fail: stream.read(Line(), callback=fail),
    "part": lambda stream, fail: stream.read(Line(), streaming_callback=fail, callback=bool),
    "frame": lambda stream, fail: stream.on_frame(Line(), fail),
    "write": lambda stream, fail: stream.write(b"x", fail),
    "close": lambda stream, fail: (stream.set_close_callback(fail), stream.close()),
}


@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError])
@pytest.mark.parametrize("which", FAILING)
async def test_an_exception_in_a_callback_is_logged_closes_and_reaches_the_loop(which, kind, caplog):
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))

    def fail(*_):
        raise kind("mine")  # a cancelled future, asked for its result, raises what is no `Exception`

    async with joined("unix") as (client, server):
        FAILING[which](server, fail)
        client.write(b"hello\n")
        await until(lambda: heard)
        assert "mine" == str(heard[0])
        assert server.closed()
        assert which == "close" or isinstance(server.error, kind)
        said = f"{server.peer}: uncaught exception in a callback, closing the stream: {kind.__name__}"
        assert [said] == logged(caplog)


@pytest.mark.parametrize("kind", ["gone", "takes no more"])
@pytest.mark.parametrize("which", [which for which in FAILING if which != "write"])
async def test_a_write_that_finds_the_peer_gone_is_no_fault_of_the_callback(which, kind, caplog):
    asked = []
    async with joined("unix") as (client, server):
        await client.write(b"a\nb\n")
        await server.peek(4)
        if kind == "gone":
            client.close()
        else:
            client.transport.socket.shutdown(socket.SHUT_RD)
        await raised(StreamClosed, send_until_refused, server)
        FAILING[which](server, lambda *_: (asked.append(True), server.write(b"answer")))
        await until(server.closed)
        await passes()
        assert asked
        assert is_reset(server.error) or which == "close"
        assert not server.reading()
        assert [] == logged(caplog)


@pytest.mark.parametrize("kind", ["unix", "tls"])
@pytest.mark.parametrize("end", ["peer", "here"])
async def test_nor_is_a_write_while_the_stream_ends_or_is_being_closed_and_what_is_queued_still_leaves(
    kind, end, caplog
):
    async with joined(kind, write_high_water=8 << 20) as (client, server):
        asked = []
        server.write(bytes(4 << 20), lambda: (asked.append("sent"), server.write(b"too late")))
        server.write(bytes(4 << 20))
        if end == "peer":
            await client.write_eof()
            await raised(StreamClosed, server.read, Line())
        else:
            server.on_frame(Line(), lambda line: (asked.append(line), server.write(b"too late")))
            closing = await begun(server.aclose())
            await client.write(b"a\nb\n")
            await asyncio.wait_for(until(lambda: asked), 5)
        assert 8 << 20 == len(await client.read_until_close())
        await (server.wait_closed() if end == "peer" else closing)
        assert ["a"] * (end == "here") + ["sent"] == asked
        assert server.error is None
        assert [] == logged(caplog)


async def send_until_refused(stream):
    while True:
        await stream.write(b"x")


@pytest.mark.parametrize("begin", [by_chained_reads, by_handler])
@pytest.mark.parametrize("kind", ["tls", "unix", "memory"])
async def test_what_came_in_one_piece_with_the_end_is_answered_before_the_stream_closes(kind, begin):
    async with joined(kind) as (client, server):
        client.half_open = True
        serving = await begun(begin(server, Line(), lambda line: server.send(line * 2, Line())))
        client.write(b"a\nb\n")
        await client.write_eof()
        assert b"aa\nbb\n" == await client.read_until_close()
        await serving
        assert server.error is None


@pytest.mark.parametrize("end", ["closed", "half open", "closed here"])
@pytest.mark.parametrize("how", [(), ("callback",), ("streaming_callback",), ("streaming_callback", "callback")])
async def test_whoever_reads_to_the_end_of_a_stream_closes_it(how, end):
    async with joined("unix", half_open=end == "half open") as (client, server):
        notes, note = called()
        await client.write(b"rest")
        await server.peek(4)
        (server if end == "closed here" else client).close()
        reading = server.read_until_close(**dict.fromkeys(how, note))
        if reading is not None:
            note(await reading)
        expected = [b"rest", b""] if "streaming_callback" in how else [b"rest"]
        await until(lambda: len(notes) == len(expected))
        await passes()
        assert expected == notes
        assert server.closed() != (end == "half open")


# Streaming


@once
async def test_nothing_is_received_before_the_callback_has_run():
    client, server = memory_stream_pair(Wire(chunks=[10]))
    client.write(b"x" * 1000)
    held = []

    def on_part(part):
        held.append(server.stats.bytes_received)

    assert b"" == await server.read_bytes(1000, streaming_callback=on_part)
    assert list(range(10, 1001, 10)) == held


@once
@pytest.mark.parametrize("chunks", [[3], [100]])
@pytest.mark.parametrize("closes", [False, True])
async def test_a_streaming_read_cancelled_by_its_own_callback_stops_there(chunks, closes):
    client, server = memory_stream_pair(Wire(chunks=chunks))
    parts = []

    def on_part(part):
        parts.append(part)
        reading.cancel()
        if closes:
            server.close()

    reading = asyncio.ensure_future(server.read(LengthPrefix(1), streaming_callback=on_part))
    client.write(b"\x0a1234567890\x02ok")
    await until(reading.cancelled)
    await passes()
    assert b"".join(parts) in (b"12", b"12345", b"1234567890")
    if not closes:
        assert b"ok" == await server.read(LengthPrefix(1))


# The close callback


@every_kind
async def test_the_close_callback_runs_once_on_a_later_pass(kind):
    async with joined(kind) as (client, server):
        heard, hear = called()
        client.set_close_callback(hear)
        await passes()
        notes, note = called()
        server.set_close_callback(lambda: notes.append("taken back"))
        server.set_close_callback(None)
        server.set_close_callback(note)
        server.close()
        server.close()
        assert [] == notes
        await passes()
        assert [None] == notes
        server.set_close_callback(note)  # late
        assert [None] == notes
        await passes()
        assert [None, None] == notes
        await until(lambda: heard)
        assert client.closed()


@once
@pytest.mark.parametrize("later", [None, "second"])
async def test_a_close_callback_runs_although_another_or_none_is_set_between_the_close_and_its_turn(later):
    async with joined("memory") as (_, server):
        notes = []
        server.set_close_callback(lambda: notes.append("first"))
        server.close()
        server.set_close_callback(None if later is None else lambda: notes.append(later))
        await passes()
        assert ["first", *filter(None, [later])] == notes


@every_kind
@pytest.mark.parametrize("end", ["peer", "here"])
async def test_buffered_data_is_read_before_the_close_callback_runs(kind, end):
    async with joined(kind) as (client, server):
        events = []

        def on_line(line):
            events.append(line)
            server.read(Line(), callback=on_line)

        server.set_close_callback(lambda: events.append("closed"))
        if end == "peer":
            server.read(Line(), callback=on_line)
        await client.write(b"a\nb\nc\n")
        if end == "peer":
            await client.aclose()
        else:
            await server.peek(6)
            server.read(Line(), callback=on_line)
            server.close()
        await until(lambda: "closed" in events)
        assert ["a", "b", "c", "closed"] == events
        assert server.error is None


@once
@pytest.mark.parametrize("begins", ["before the close", "after it"])
async def test_the_close_callback_comes_after_all_that_is_buffered_for_a_handler(begins):
    client, server = memory_stream_pair()
    notes, note = called()
    await client.write(b"x\n" * 20_000)  # not all of it is delivered in one pass
    await server.peek(40_000)
    server.set_close_callback(note)
    if begins == "after it":
        server.close()
    server.on_frame(Line(), note)
    server.close()
    await until(lambda: None in notes)
    assert [*["x"] * 20_000, None] == notes


# Bad frames

BAD = [
    pytest.param(Line(), b"one\nb\xffd\ntwo\n", ["one", "two"], "codec can't decode", id="payload"),
    pytest.param(LengthPrefix(1, max_size=4), b"\1a\5bbbbb\1c", [b"a", b"c"], "frame of 5 bytes", id="size"),
]


@once
@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("begin", [by_handler, by_chained_reads])
@pytest.mark.parametrize(("condition", "wire", "frames", "reason"), BAD)
async def test_bad_frames_cost_callbacks_themselves_and_one_line_in_the_log(
    begin, condition, wire, frames, reason, times, caplog
):
    client, server = memory_stream_pair()
    notes, note = called()
    reading = await begun(begin(server, condition, note))
    await client.write(wire * times)
    await client.aclose()
    await reading
    assert frames * times == notes
    assert server.error is None
    [line] = caplog.messages
    assert line.startswith(f"{server.peer}: skipping a frame, and from now on others without a word: ")
    assert reason in line


@once
@pytest.mark.parametrize("begin", [by_handler, by_chained_reads, by_iteration, by_batches])
async def test_on_payload_error_is_told_of_each_bad_frame_in_its_turn(begin, caplog):
    notes, note = called()
    client, server = memory_stream_pair(on_payload_error=lambda error: note(error.payload))
    await client.write(b"one\nb\xffd\ntwo\n")
    await client.aclose()
    await begin(server, Line(), note)
    assert ["one", b"b\xffd", "two"] == notes
    assert [] == caplog.messages


@once
@pytest.mark.parametrize("begin", [by_handler, by_chained_reads])
async def test_what_on_payload_error_raises_closes_the_stream_of_a_callback(begin, caplog):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    client, server = memory_stream_pair(on_payload_error=lambda error: 1 / 0)
    await client.write(b"\xff\n")
    await begin(server, Line(), print)
    assert isinstance(server.error, ZeroDivisionError)


@once
async def test_the_close_callback_waits_for_that_of_a_read_which_a_reset_completes():
    async with joined("memory", there=Wire(end=3, error=ConnectionResetError(104, "reset"))) as (client, server):
        events = []
        server.set_close_callback(lambda: events.append("closed"))
        server.read_until_close(callback=events.append)
        await client.write(b"abc")
        await asyncio.wait_for(until(lambda: len(events) == 2), 5)
        assert [b"abc", "closed"] == events


@pytest.mark.parametrize("half_open", [True, False])
@pytest.mark.parametrize("to", ["itself", "another"])
async def test_a_write_that_is_refused_for_another_reason_than_the_end_is_the_callbacks_fault(to, half_open, caplog):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with joined("unix", half_open=half_open) as (client, server), joined("unix") as (other, _):
        await client.write(b"a\nb\n")
        await client.write_eof()
        await server.peek(4)
        await (server.write_eof() if to == "itself" else other.aclose())
        server.on_frame(Line(), lambda line: (server if to == "itself" else other).write(b"answer"))
        await asyncio.wait_for(until(server.closed), 5)
        assert isinstance(server.error, StreamClosed)
        assert "uncaught exception in a callback, closing the stream" in caplog.text
        assert "b" == await server.read(Line())


# Frame handlers


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
        assert server.sender.size < 100_000
        await client.read_bytes(1000 * 10000, streaming_callback=lambda part: None)
        assert 1000 == handled


async def test_a_handler_is_over_when_its_function_raised_and_when_the_stream_ends_while_it_waits_for_room():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with joined("unix") as (client, server):
        server.on_frame(Line(), lambda _: 1 / 0)
        await client.write(b"a\nb\n")
        await until(server.closed)
        assert not server.reading()
        assert "b" == await server.read(Line())
    async with joined("unix", write_high_water=10) as (client, server):
        server.on_frame(Line(), lambda _: server.write(bytes(10_000_000)))
        await client.write(b"a\n")
        await until(server.writing)
        await passes()
        server.close()
        await passes()
        assert not server.reading()


@once
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
    assert not server.reading()
    assert "e" == await server.read(Line())
    reading = await begun(server.read(Line()))
    handler.stop()
    await raised(StreamBusy, server.read, Line())
    await cancelled(reading)


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
        await raised(StreamClosed, lost)
        await passes()
        assert ["at once", "large", "small"] == order
    async with joined("unix") as (client, server):
        server.close()
        await passes()
        client.write(b"lost", lambda: order.append("never"))
        await until(client.closed)
        await passes()
        assert 3 == len(order)


async def test_open_and_close_are_logged_with_the_stream(caplog):
    caplog.set_level(logging.DEBUG, "framestream")
    async with joined("tcp") as (_, server):
        server.close()
        (record,) = [r for r in caplog.records if r.getMessage() == "stream closed"]
        assert record.stream is server
        assert record.peer.startswith("127.0.0.1:")


async def test_a_handler_paused_and_resumed_within_a_flood_runs_once_in_each_pass():
    async with joined("memory") as (client, server):
        seen = []
        passed = []

        def take(frame):
            seen.append(frame)
            handler.pause()
            handler.resume()

        client.write(b"x\n" * 40_000)
        handler = server.on_frame(Line(), take)
        while len(seen) < 40_000:
            before = len(seen)
            await asyncio.sleep(0)
            passed.append(len(seen) - before)
        assert max(passed) <= 8192
