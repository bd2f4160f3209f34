"""Reads and writes that are begun at once and settle a future."""

import asyncio
import contextlib
import gc
import socket

import pytest
from stream_pairs import KINDS, joined, passes

from framestream import (
    BufferFull,
    FrameTooLarge,
    IOStream,
    LengthPrefix,
    Line,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
LARGE = b"x" * (16 << 20)


class Told:
    """Something that can be settled and is no future."""

    def __init__(self):
        self.outcome = None

    def done(self):
        return self.outcome is not None

    def set_result(self, result):
        self.outcome = ("result", result)

    def set_exception(self, error):
        self.outcome = ("exception", error)


@every_kind
async def test_a_begun_read_is_a_future_of_the_frame(kind):
    async with joined(kind) as (client, server):
        frame = server.begin_read(Line())
        assert isinstance(frame, asyncio.Future)
        assert server.reading()
        await client.write(b"a\nb\n")
        assert "a" == await frame
        assert not server.reading()
        assert "b" == server.begin_read(Line()).result(), "it is there, so it is done at once"


async def test_a_begun_read_takes_a_name_or_the_framer_of_the_stream():
    async with joined("unix") as (client, server):
        await client.write(b"a\nb\n")
        assert "a" == await server.begin_read("line")
        server.framer = Line()
        assert "b" == await server.begin_read()


async def test_only_one_read_may_have_begun():
    async with joined("unix") as (client, server):
        frame = server.begin_read(Line())
        with pytest.raises(StreamBusy):
            server.begin_read(Line())
        with pytest.raises(StreamBusy):
            await server.read(Line())
        await client.write(b"a\n")
        assert "a" == await frame


@every_kind
async def test_a_cancelled_begun_read_consumes_nothing_and_another_may_begin_at_once(kind):
    async with joined(kind) as (client, server):
        server.begin_read(Line()).cancel()
        assert not server.reading()
        frame = server.begin_read(LengthPrefix(1))
        await client.write(b"\1a")
        assert b"a" == await frame
        server.begin_read(Line()).cancel()
        await client.write(b"half")
        await passes(10)
        await client.write(b" a line\n")
        assert "half a line" == await server.read(Line())


@every_kind
async def test_behind_a_cancelled_begun_read_the_end_is_still_noticed(kind):
    async with joined(kind) as (client, server):
        over = asyncio.Event()
        server.set_close_callback(over.set)
        server.begin_read(Line()).cancel()
        client.close()
        await asyncio.wait_for(over.wait(), 5)


async def test_closing_behind_a_cancelled_begun_read_is_harmless():
    async with joined("unix") as (_, server):
        server.begin_read(Line()).cancel()
        server.close()
        with pytest.raises(StreamClosed):
            await server.read(Line())


async def test_what_a_read_raises_is_the_exception_of_the_future():
    async with joined("unix") as (client, server):
        late = server.begin_read(Line(), timeout=0.01)
        with pytest.raises(StreamTimeout):
            await late
        await client.write(b"\x09too large")
        with pytest.raises(FrameTooLarge):
            server.begin_read(LengthPrefix(1), max_size=4).result()
        end = server.begin_read(LengthPrefix(1))
        client.close()
        with pytest.raises(StreamClosed):
            await end


async def test_an_error_behind_a_cancelled_begun_read_is_nobodys():
    async with joined("unix") as (_, server):
        server.begin_read(Line(), timeout=0.01).cancel()
        await asyncio.sleep(0.05)
        assert not server.closed()


async def test_a_channel_that_fails_at_once_is_raised_at_once():
    async with joined("unix") as (_, server):
        server.transport.socket.detach()
        with pytest.raises(OSError, match="Bad file descriptor"):
            server.begin_read(Line())
        assert server.closed()


async def test_anything_that_can_be_settled_will_do():
    async with joined("unix") as (client, server):
        read, written, lost = Told(), Told(), Told()
        assert read is server.begin_read(Line(), settle=read)
        assert written is client.begin_write(b"a\n", settle=written)
        assert ("result", None) == written.outcome
        await passes()
        assert ("result", "a") == read.outcome
        client.begin_write(LARGE, settle=lost)
        client.close()
        kind, error = lost.outcome
        assert ("exception", StreamClosed) == (kind, type(error))


@every_kind
async def test_a_begun_write_is_done_when_its_bytes_have_left(kind):
    async with joined(kind, max_frame_size=len(LARGE)) as (client, server):
        writes = [client.begin_write(data) for data in (b"a", LARGE, b"", [b"b", b"c"])]
        assert [True, False] == [writes[0].done(), writes[1].done()] or kind == "memory"
        received = await server.read_bytes(len(LARGE) + 3, max_size=len(LARGE) + 3)
        assert b"a" + LARGE + b"bc" == received
        assert [None] * 4 == await asyncio.gather(*writes)


async def test_a_begun_write_that_cannot_be_is_refused():
    async with joined("unix", max_write_buffer_size=1 << 10) as (client, _):
        with pytest.raises(BufferFull):
            client.begin_write(LARGE)
        client.close()
        with pytest.raises(StreamClosed):
            client.begin_write(b"x")


async def test_a_begun_write_to_a_peer_that_is_gone_says_so_through_the_future():
    async with joined("unix") as (client, server):
        server.close()
        lost = client.begin_write(b"x")
        with pytest.raises(StreamClosed) as caught:
            await lost
        assert isinstance(caught.value.real_error, BrokenPipeError)


def test_reads_and_writes_can_begin_before_the_loop_runs():
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        ours, theirs = (IOStream(sock, loop=loop) for sock in socket.socketpair())
        frame = ours.begin_read(Line())
        theirs.begin_write(b"a\n")
        assert "a" == loop.run_until_complete(frame)
        ours.close()
        theirs.close()


async def test_a_subclass_may_have_exceptions_of_its_own():
    class Gone(Exception):
        pass

    class Own(IOStream):
        def translate_error(self, error):
            return Gone(str(error))

    ours, theirs = socket.socketpair()
    with theirs:
        stream = Own(ours)
        read, written = stream.begin_read(Line()), stream.begin_write(LARGE)
        stream.close()
        for lost in (read, written):
            with pytest.raises(Gone):
                await lost


async def test_nobody_need_look_at_what_went_wrong():
    async with joined("unix") as (client, server):
        server.begin_read(Line())
        client.begin_write(LARGE)
        client.close()
    gc.collect()  # the loop would complain, which fails the test
