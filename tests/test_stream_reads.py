"""What `IOStream` reads: frames and bytes, from the buffer, from the channel, from the loop."""

import asyncio
import re

import pytest
from stream_pairs import KINDS, joined, passes

from framestream import (
    Available,
    BufferFull,
    Delimiter,
    Exactly,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    IOStream,
    LengthPrefix,
    Line,
    PayloadError,
    Regex,
    StreamBusy,
    StreamClosed,
    UntilClose,
)
from framestream.testing import Wire, memory_stream_pair
from framestream.transport.descriptor import PipeTransport

pytestmark = pytest.mark.every_loop

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
async def test_each_read_takes_exactly_its_frame(kind):
    async with joined(kind) as (client, server):
        await client.write(b"hello\n\x00\x02abrest")
        assert "hello" == await server.read(Line())
        assert b"ab" == await server.read(LengthPrefix(2))
        assert b"rest" == await server.read(Exactly(4))


@every_kind
async def test_read_bytes_returns_exactly_that_many(kind):
    async with joined(kind) as (client, server):
        await client.write(b"abcdef")
        assert b"abc" == await server.read_bytes(3)
        assert b"def" == await server.read_bytes(3)


@every_kind
async def test_a_zero_byte_read_is_done_at_once(kind):
    async with joined(kind) as (_, server):
        assert b"" == await server.read_bytes(0)
        assert b"" == await server.read_bytes(0, partial=True)
        assert 0 == await server.read_into(bytearray())


@every_kind
async def test_a_partial_read_returns_what_is_there_and_no_more_than_asked(kind):
    async with joined(kind) as (client, server):
        await client.write(b"abcdef")
        assert b"abcd" == await server.read_bytes(4, partial=True)
        assert b"ef" == await server.read_bytes(4, partial=True)


@every_kind
async def test_read_into_fills_the_buffer_and_counts(kind):
    async with joined(kind) as (client, server):
        await client.write(b"0123456789" * 30)
        assert b"012" == await server.read_bytes(3)
        buffer = bytearray(5)
        assert 5 == await server.read_into(buffer)
        assert b"34567" == bytes(buffer)
        buffer.extend(b"resizable again")
        large = bytearray(1000)
        assert 292 == await server.read_into(large, partial=True)
        assert b"89" == bytes(large[:2])


async def test_read_into_a_wide_memoryview_counts_bytes():
    async with joined("unix") as (client, server):
        await client.write(b"abcdefgh")
        buffer = memoryview(bytearray(8)).cast("I")
        assert 8 == await server.read_into(buffer)
        assert b"abcdefgh" == bytes(buffer)


async def test_read_into_that_meets_the_end_says_how_much_there_was():
    async with joined("unix") as (client, server):
        await client.write(b"abc")
        client.close()
        with pytest.raises(IncompleteFrame) as caught:
            await server.read_into(bytearray(8))
        assert (3, 8) == (caught.value.received, caught.value.expected)
        assert b"abc" == server.leftover


async def test_read_into_at_the_end_is_closed():
    async with joined("unix") as (client, server):
        client.close()
        with pytest.raises(StreamClosed):
            await server.read_into(bytearray(8))


@every_kind
async def test_many_reads_of_all_sorts_see_one_stream_of_bytes(kind):
    async with joined(kind) as (client, server):
        writing = asyncio.ensure_future(client.write(b"0123456789\n" * 5000))
        for number in range(5000):
            if number % 4 == 0:
                line = await server.read_until(b"\n")
            elif number % 4 == 1:
                line = await server.read_bytes(11)
            elif number % 4 == 2:
                line = await server.read_until_regex(rb"9\n")
            else:
                into = bytearray(11)
                await server.read_into(into)
                line = bytes(into)
            assert b"0123456789\n" == line
        await writing


@every_kind
async def test_read_until_gives_the_delimiter_too_even_across_chunks(kind):
    async with joined(kind) as (client, server):
        reading = asyncio.ensure_future(server.read_until(b"\r\n"))
        for byte in b"abc\r\n":
            await client.write(bytes([byte]))
            await passes()
        assert b"abc\r\n" == await reading


async def test_read_until_takes_several_delimiters():
    async with joined("unix") as (client, server):
        await client.write(b"a;b,")
        assert b"a;" == await server.read_until((b";", b","))
        assert b"b," == await server.read_until((b";", b","))


async def test_read_until_regex_stops_behind_the_first_match():
    async with joined("unix") as (client, server):
        await client.write(b"key: value\r\n\r\nbody")
        assert b"key: value\r\n\r\n" == await server.read_until_regex(rb"\r?\n\r?\n")
        assert b"body" == await server.read_bytes(4)


@pytest.mark.parametrize("read", ["read_until", "read_until_regex"])
async def test_exactly_max_bytes_pass(read):
    async with joined("unix") as (client, server):
        await client.write(b"abc\n")
        assert b"abc\n" == await getattr(server, read)(b"\n", max_bytes=4)


@pytest.mark.parametrize("sent", [b"abcdef", b"abcd\n"], ids=["no match", "match beyond the limit"])
@pytest.mark.parametrize("read", ["read_until", "read_until_regex"])
async def test_more_than_max_bytes_close_the_stream_and_say_so(read, sent, caplog):
    caplog.set_level("INFO", "framestream")
    async with joined("unix") as (client, server):
        await client.write(sent)
        with pytest.raises(FrameTooLarge):
            await getattr(server, read)(b"\n", max_bytes=4)
        assert server.closed()
        assert isinstance(server.error, FrameTooLarge)
        assert ["frame exceeds the limit of 4 bytes (at offset 0), closing the stream"] == [
            record.getMessage() for record in caplog.records if record.name == "framestream"
        ]


@pytest.mark.parametrize("read", ["read_until", "read_until_regex"])
async def test_max_bytes_ignores_what_follows_the_match(read):
    async with joined("unix") as (client, server):
        await client.write(b"abc\n" + b"x" * 100)
        assert b"abc\n" == await getattr(server, read)(b"\n", max_bytes=5)


@every_kind
async def test_read_until_close_returns_the_rest(kind):
    async with joined(kind) as (client, server):
        await client.write(b"first\nrest")
        assert "first" == await server.read(Line())
        await client.aclose()
        assert b"rest" == await server.read_until_close()
        assert server.closed()
        assert server.error is None


async def test_read_until_close_works_on_a_closed_stream_and_then_no_more():
    async with joined("unix") as (client, server):
        await client.write(b"abc")
        assert b"a" == await server.read_bytes(1)
        server.close()
        assert b"bc" == await server.read_until_close()
        with pytest.raises(StreamClosed):
            await server.read_until_close()


async def test_read_until_close_is_bounded_by_max_buffer_size():
    async with joined("unix", max_buffer_size=1000) as (client, server):
        await client.write(b"x" * 2000)
        client.close()
        with pytest.raises((BufferFull, FrameTooLarge)):
            await server.read_until_close()


async def test_read_until_close_takes_more_than_the_frame_limit():
    async with joined("memory", max_frame_size=10) as (client, server):
        await client.write(b"x" * 2000)
        client.close()
        assert b"x" * 2000 == await server.read_until_close()


async def test_peek_consumes_nothing():
    async with joined("unix") as (client, server):
        await client.write(b"GET / HTTP/1.1\r\n")
        assert b"GET " == await server.peek(4)
        assert b"GET / HTTP/1.1\r\n" == await server.read_until(b"\n")


async def test_peek_waits_for_all_of_it_or_the_end():
    async with joined("unix") as (client, server):
        peeking = asyncio.ensure_future(server.peek(4))
        await client.write(b"ab")
        await passes()
        assert not peeking.done()
        client.close()
        assert b"ab" == await peeking


async def test_peek_does_not_wait_for_what_a_given_up_read_missed():
    async with joined("unix") as (client, server):
        await client.write(b"\x00\x00\xff\xffab")
        giving_up = asyncio.ensure_future(server.read(LengthPrefix(4)))
        await passes()
        giving_up.cancel()
        await passes()
        peeking = asyncio.ensure_future(server.peek(8))
        await passes()
        await client.write(b"cd")
        assert b"\x00\x00\xff\xffabcd" == await peeking


# Where a frame is read by name, by default, one after the other


async def test_a_condition_may_be_a_name_or_a_spec():
    async with joined("memory") as (client, server):
        await client.write(b"one\ntwo;")
        assert "one" == await server.read("line")
        assert b"two" == await server.read('delimiter:";"')


async def test_without_a_condition_the_stream_reads_by_its_own_framer():
    async with joined("memory", framer="line") as (client, server):
        await client.send("hello")
        assert "hello" == await server.read()
        await client.send("a")
        await client.send("b")
        await client.aclose()
        assert ["a", "b"] == [line async for line in server.frames()]


async def test_without_any_framer_reading_is_a_type_error():
    async with joined("memory") as (_, server):
        with pytest.raises(TypeError, match="no framer of its own"):
            await server.read()


@every_kind
async def test_frames_end_with_the_stream(kind):
    async with joined(kind) as (client, server):
        await client.write(b"a\nb\nc\n")
        await client.aclose()
        assert ["a", "b", "c"] == [line async for line in server.frames(Line())]


@every_kind
async def test_batches_give_every_frame_once(kind):
    async with joined(kind) as (client, server):
        lines = [str(number) for number in range(20000)]
        sending = asyncio.ensure_future(client.write("".join(f"{line}\n" for line in lines).encode()))
        sending.add_done_callback(lambda _: client.close())
        got = []
        async for batch in server.batches(Line()):
            assert batch
            got += batch
        assert lines == got


async def test_leaving_a_loop_over_frames_puts_back_what_was_cut_ahead():
    async with joined("memory") as (client, server):
        await client.write(b"".join(b"%d\n" % number for number in range(100)) + b"\x01x")
        got = []
        async for line in server.frames(Line()):
            got.append(line)
            if line == "49":
                break
        assert b"50\n" == await server.read_bytes(3)
        assert "51" == await server.read(Line())
        assert got == [str(number) for number in range(50)]


async def test_an_undecodable_payload_leaves_the_stream_usable():
    async with joined("memory") as (client, server):
        await client.write(b"\xff\nfine\n")
        with pytest.raises(PayloadError):
            await server.read(Line())
        assert "fine" == await server.read(Line())
        assert 1 == server.stats.payload_errors


async def test_a_frame_cut_off_by_the_end_is_incomplete_and_left_over():
    async with joined("unix") as (client, server):
        await client.write(b"\x00\x00\x00\x09abc")
        client.close()
        with pytest.raises(IncompleteFrame) as caught:
            await server.read(LengthPrefix(4))
        assert (7, 13) == (caught.value.received, caught.value.expected)
        assert b"\x00\x00\x00\x09abc" == server.leftover


async def test_at_the_end_a_read_is_closed_without_an_error():
    async with joined("unix") as (client, server):
        client.close()
        with pytest.raises(StreamClosed) as caught:
            await server.read(LengthPrefix(4))
        assert caught.value.real_error is None


async def test_a_declared_frame_above_the_limit_is_skipped():
    async with joined("memory", max_frame_size=4) as (client, server):
        await client.write(b"\x09123456789\x02ok")
        with pytest.raises(FrameTooLarge) as caught:
            await server.read(LengthPrefix(1))
        assert caught.value.recoverable
        assert b"ok" == await server.read(LengthPrefix(1))


@pytest.mark.parametrize("policy", ["discard", "truncate"])
async def test_oversize_policies_hold_for_streams(policy):
    seen = []
    async with joined("memory", max_frame_size=4, on_oversize=policy, on_discard=seen.append) as (
        client,
        server,
    ):
        await client.write(b"\x09123456789\x02ok")
        expected = [b"1234", b"ok"] if policy == "truncate" else [b"ok"]
        assert expected == [await server.read(LengthPrefix(1)) for _ in expected]
        assert 10 == sum(error.discarded for error in seen)
        assert 1 == server.stats.oversize


async def test_a_limit_and_a_policy_can_be_given_for_one_read():
    async with joined("memory") as (client, server):
        await client.write(b"12345678\nok\n")
        assert "1234" == await server.read(Line(), max_size=4, on_oversize="truncate")
        assert "ok" == await server.read(Line(), max_size=4)


async def test_a_broken_stream_stays_broken():
    async with joined("memory") as (client, server):
        await client.write(b"12345\nok\n")
        for _ in range(2):
            with pytest.raises(FramingError):
                await server.read(Line(), max_size=2)


# One read at a time, and none that nobody asked for


@every_kind
async def test_a_second_read_is_busy_at_once_and_harms_nothing(kind):
    async with joined(kind) as (client, server):
        first = asyncio.ensure_future(server.read(Line()))
        await passes()
        assert server.reading()
        for second in (server.read(Line()), server.peek(1), server.read_into(bytearray(1))):
            with pytest.raises(StreamBusy):
                await second
        with pytest.raises(StreamBusy):
            server.on_frame(Line(), print)
        await client.write(b"hello\n")
        assert "hello" == await first
        assert not server.reading()


async def test_nothing_else_can_begin_in_the_middle_of_a_frame_in_parts():
    async with joined("unix") as (client, server):
        await client.send(b"in parts", LengthPrefix(1))
        await client.send(b"next", LengthPrefix(1))
        async with server.open_frame(LengthPrefix(1)) as body:
            await anext(body)
            for begin in (server.on_frame, lambda *read: server.read(read[0], callback=read[1])):
                with pytest.raises(StreamBusy, match="or by leaving its block"):
                    begin(LengthPrefix(1), print)
        assert b"next" == await server.read(LengthPrefix(1))


async def test_reading_small_pieces_of_much_keeps_the_buffer_small():
    async with joined("unix") as (client, server):
        writing = asyncio.ensure_future(client.write(b"0123456789abcdef" * (1 << 16)))
        for _ in range(1 << 16):
            assert b"0123456789abcdef" == await server.read_bytes(16)
        await writing
        assert server.stats.read_high_water <= 2 * 65536


async def test_a_buffered_frame_takes_no_pass_of_the_loop():
    async with joined("unix") as (client, server):
        await client.write(b"a\nb\n")
        await server.read(Line())
        reading = server.read(Line())
        with pytest.raises(StopIteration) as done:
            reading.send(None)
        assert "b" == done.value.value


async def test_what_is_in_the_channel_takes_no_pass_of_the_loop_either():
    client, server = memory_stream_pair()
    client.write(b"a\n")
    with pytest.raises(StopIteration) as done:
        server.read(Line()).send(None)
    assert "a" == done.value.value


async def test_a_busy_sender_does_not_starve_the_loop():
    client, server = memory_stream_pair(Wire(chunks=[1]))
    client.write(b"x" * 2000)
    ticks = 0

    def tick():
        nonlocal ticks
        ticks += 1
        asyncio.get_running_loop().call_soon(tick)

    tick()
    for _ in range(2000):
        await server.read(Exactly(1))
    assert ticks > 10


async def test_a_large_frame_does_not_wake_its_reader_for_each_chunk():
    client, server = memory_stream_pair(Wire(chunks=[1000], blocks=[False, True]))
    client.send(b"x" * 300_000, LengthPrefix(4))
    assert b"x" * 300_000 == await server.read(LengthPrefix(4))
    assert server.stats.waits <= 3


@pytest.mark.parametrize("size", [131_072, 200_000, 1 << 20])
@every_kind
async def test_large_frames_arrive_whole_whatever_follows(kind, size):
    async with joined(kind, max_frame_size=1 << 20) as (client, server):
        framer = LengthPrefix(4)
        frames = [bytes([number]) * (size - number) for number in range(4)]

        async def send():
            for frame in frames:
                await client.send(frame, framer)
                await client.send(b"small", framer)
            await client.aclose()

        sending = asyncio.ensure_future(send())
        got = [frame async for frame in server.frames(framer)]
        assert got == [piece for frame in frames for piece in (frame, b"small")]
        await sending


async def test_a_large_frame_whose_header_comes_alone_arrives_whole():
    client, server = memory_stream_pair(Wire(chunks=[4, 65536]))
    frame = bytes(range(256)) * 800
    client.send(frame, LengthPrefix(4))
    assert frame == await server.read(LengthPrefix(4))
    assert 204_804 == server.offset


async def test_a_read_that_needs_more_than_the_buffer_may_hold_closes_the_stream(caplog):
    async with joined("unix", max_buffer_size=1000) as (client, server):
        await client.write(b"x" * 100)
        with pytest.raises(BufferFull, match="reached maximum read buffer size"):
            await server.read_bytes(2000)
        assert server.closed()
        assert isinstance(server.error, BufferFull)
        assert "reached maximum read buffer size" in caplog.text


async def test_available_relays_whatever_comes():
    async with joined("unix") as (client, server):
        await client.write(b"abc")
        assert b"abc" == await server.read(Available())


async def test_until_close_is_a_condition_like_others():
    async with joined("unix") as (client, server):
        await client.write(b"abc")
        client.close()
        assert b"abc" == await server.read(UntilClose())


async def test_a_match_object_can_be_read():
    async with joined("memory") as (client, server):
        await client.write(b"v=12;")
        match = await server.read(Regex(rb"v=(\d{1,9});", result="match"))
        assert b"12" == match[1]
        assert isinstance(match, re.Match)


async def test_a_condition_that_is_the_default_of_a_delimiter_is_found_in_drips():
    client, server = memory_stream_pair(Wire(chunks=[1]))
    client.write(b"one;two;")
    assert b"one" == await server.read(Delimiter(b";"))
    assert b"two" == await server.read(Delimiter(b";"))


def test_a_stream_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        IOStream(PipeTransport(None))


async def test_a_buffer_that_cannot_be_written_is_refused_and_nothing_consumed():
    async with joined("unix") as (client, server):
        await client.write(b"abcdef")
        with pytest.raises(TypeError, match="can be written"):
            await server.read_into(memoryview(bytes(3)))
        assert b"abc" == await server.read_bytes(3)


async def test_nothing_else_reads_while_a_frame_is_read_in_parts():
    async with joined("unix") as (client, server):
        await client.write((6).to_bytes(4, "big") + b"abc")
        async with server.open_frame(LengthPrefix(4)) as body:
            await anext(body)
            for read in (server.peek(1), server.read_into(bytearray(1)), server.read(Line())):
                with pytest.raises(StreamBusy, match="or by leaving its block"):
                    await read
            await client.write(b"def")
            assert b"def" == await anext(body)
