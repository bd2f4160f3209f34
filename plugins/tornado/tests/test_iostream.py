"""What a stream of Tornado's kind does here that it does not do in Tornado, and what Tornado 3 did."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
import sys
import time

import framestream_tornado

framestream_tornado.install()

import msgpack  # noqa: E402 - the stand-in comes before Tornado
import pytest  # noqa: E402
import trustme  # noqa: E402

import framestream  # noqa: E402
import framestream_tornado.iostream  # noqa: E402
from framestream import LengthPrefix, Line, Msgpack  # noqa: E402
from framestream_tornado.iostream import default_context  # noqa: E402
from tornado import ioloop, iostream  # noqa: E402

CHUNK = b"x" * 1024
OPEN = []  # every stream of the running test


@pytest.fixture(autouse=True)
def _heard(monkeypatch, caplog):
    # Other libraries silence Tornado's loggers: `distributed` does when it is imported.
    for name in ("tornado", "tornado.application", "tornado.general"):
        caplog.set_level(logging.NOTSET, name)
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


def run(test):
    """Run a coroutine function on a new loop; what the loop's exception handler hears is raised."""

    async def checked():
        heard = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        try:
            await asyncio.wait_for(test(), 20)
        finally:
            while OPEN:
                OPEN.pop().close()
        assert heard == []

    asyncio.run(checked())


def pair(**options):
    streams = [iostream.IOStream(sock, **options) for sock in socket.socketpair()]
    OPEN.extend(streams)
    return streams


async def passes(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def test_the_stand_in_is_tornado_iostream():
    assert sys.modules["tornado.iostream"] is framestream_tornado.iostream
    framestream_tornado.install()  # again, harmlessly
    for name in ("BaseIOStream", "IOStream", "SSLIOStream", "PipeIOStream"):
        assert issubclass(getattr(iostream, name), framestream.IOStream)
    assert issubclass(iostream.StreamClosedError, OSError)


def test_every_framer_reads_from_it_between_reads_of_tornados():
    async def test():
        client, server = pair()
        await client.write(msgpack.packb({"a": 1}) + b"line\n\x00\x03abcrest\r\n\r\n")
        assert {"a": 1} == await server.read("msgpack")
        assert b"line\n" == await server.read_until(b"\n")
        assert b"abc" == await server.read(LengthPrefix(2))
        assert b"rest\r\n\r\n" == await server.read_until_regex(rb"\r?\n\r?\n")
        await server.send({"b": 2}, Msgpack())
        assert {"b": 2} == await client.read(Msgpack())
        client.write(b"1\n2\n")
        client.close()
        assert ["1", "2"] == [line async for line in server.frames(Line())]

    run(test)


def test_a_cancelled_read_loses_nothing_and_wedges_nothing():
    async def test():
        client, server = pair()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(server.read_bytes(4), 0.01)
        assert not server.reading()
        await client.write(b"abcdEF")
        await passes()
        assert b"abcdEF" == await server.read_bytes(6)
        server.read_until(b"\n").cancel()
        await client.write(b"line\n")
        assert b"line\n" == await server.read_until(b"\n")

    run(test)


@pytest.mark.parametrize("notice", [True, False])
def test_after_a_cancelled_read_the_end_is_noticed_and_closing_is_harmless(notice):
    async def test():
        client, server = pair()
        over = asyncio.Event()
        server.set_close_callback(over.set)
        server.read_until(b"\n").cancel()
        if notice:
            client.close()
            await over.wait()
        server.close()
        with pytest.raises(iostream.StreamClosedError):
            await server.read_until(b"\n")

    run(test)


def test_a_limit_of_time_leaves_the_stream_usable_and_is_nobodys_after_a_cancelled_read():
    async def test():
        client, server = pair(frame_timeout=0.01)
        with pytest.raises(framestream.StreamTimeout):
            await server.read_until(b"\n")
        server.read_until(b"\n").cancel()
        await asyncio.sleep(0.03)
        await client.write(b"line\n")
        assert b"line\n" == await server.read_until(b"\n")

    run(test)


def test_what_goes_wrong_with_the_descriptor_is_raised_at_once_and_not_logged(caplog):
    async def test():
        _, server = pair()
        os.close(server.socket.detach())
        with pytest.raises(OSError, match="Bad file descriptor"):
            server.read_bytes(1)
        assert server.closed()

    run(test)
    assert [] == [record for record in caplog.records if record.name != "asyncio"]


def test_nobody_need_look_at_what_went_wrong():
    async def test():
        client, server = pair()
        server.read_until(b"\n")
        client.write(CHUNK * 4096)
        client.close()
        await passes()
        gc.collect()  # the loop would complain, which fails the test

    run(test)


@pytest.mark.parametrize(("read", "end"), [
    (lambda stream: stream.read_until(b"\r\n"), b"\r\n"),
    (lambda stream: stream.read_until_regex(rb"\r?\n\r?\n"), b"\r\n\r\n"),
])  # fmt: skip
def test_a_large_frame_that_trickles_in_takes_time_in_proportion(read, end):
    async def test():
        client, server = pair()
        frame = read(server)
        began = time.process_time()
        for _ in range(8 << 10):
            client.write(CHUNK)
            await asyncio.sleep(0)
        client.write(end)
        assert (8 << 20) + len(end) == len(await frame)
        assert time.process_time() - began < 5, "it takes a minute where each chunk is searched again"

    run(test)


@pytest.mark.parametrize("pattern", [rb"[0-9]+", rb"(?<=x)y", rb"<.*>", rb"a?b|b?a", rb"end$"])
def test_patterns_that_need_look_around_are_searched_as_tornado_does(pattern):
    async def test():
        client, server = pair()
        found = server.read_until_regex(pattern)
        await client.write(b"..xy12<..>ab..end")
        assert (await found).startswith(b"..")

    run(test)


def test_a_second_read_is_refused():
    async def test():
        client, server = pair()
        waiting = server.read_bytes(1)
        with pytest.raises(AssertionError, match="Already reading"):
            server.read_bytes(1)
        with pytest.raises(framestream.StreamBusy):
            await server.read("line")
        client.write(b"1\0\4x")
        await waiting
        async with server.open_frame(LengthPrefix(2)) as body:
            assert b"x" == await anext(body)
            with pytest.raises(AssertionError, match="Already reading"):
                server.read_bytes(1)
            client.write(b"yz.rest")
        assert b"rest" == await server.read_bytes(4)

    run(test)


def test_too_many_bytes_before_a_match_are_told_in_tornados_words(caplog):
    async def test():
        client, server = pair()
        await client.write(b"123456")
        caplog.set_level(logging.INFO)
        with pytest.raises(iostream.StreamClosedError) as caught:
            await server.read_until(b"def", max_bytes=5)
        assert isinstance(caught.value.real_error, iostream.UnsatisfiableReadError)

    run(test)
    [record] = [r for r in caplog.records if r.name != "asyncio"]
    assert ("tornado.general", logging.INFO) == (record.name, record.levelno)
    text = "Unsatisfiable read, closing connection: delimiter b'def' not found within 5 bytes"
    assert text == record.getMessage()


def test_a_full_read_buffer_is_raised_inline_and_told_otherwise(caplog):
    async def test():
        client, server = pair(max_buffer_size=1024)
        await client.write(b"x" * 2000)
        with pytest.raises(iostream.StreamBufferFullError):
            server.read_until(b"\n")
        client, server = pair(max_buffer_size=1024)
        waiting = server.read_until(b"\n")
        await client.write(b"x" * 2000)
        with pytest.raises(iostream.StreamClosedError) as caught:
            await waiting
        assert isinstance(caught.value.real_error, iostream.StreamBufferFullError)
        assert server.error is caught.value.real_error

    run(test)
    full, read = "Reached maximum read buffer size", "error on read: Reached maximum read buffer size"
    assert [full, full, read] == [r.getMessage() for r in caplog.records if r.name == "tornado.general"]


def test_a_full_write_buffer_is_raised():
    async def test():
        client, _ = pair(max_write_buffer_size=10)
        with pytest.raises(iostream.StreamBufferFullError):
            client.write(b"x" * (1 << 20))

    run(test)


def test_close_takes_the_current_exception_or_one_or_what_exc_info_returns():
    async def test():
        error = ValueError()
        for exc_info in (error, (ValueError, error, None), True):
            client, _ = pair()
            try:
                raise error
            except ValueError:
                client.close(exc_info)
            assert error is client.error
            with pytest.raises(iostream.StreamClosedError) as caught:
                client.write(b"x")
            assert error is caught.value.real_error
        client, _ = pair()
        client.close()
        assert client.error is None
        with pytest.raises(iostream.StreamClosedError):
            client.read_bytes(1)

    run(test)


def test_a_close_callback_may_be_a_coroutine():
    async def test():
        client, server = pair()
        told = asyncio.Event()

        async def tell():
            told.set()

        server.set_close_callback(tell)
        client.close()
        await told.wait()

    run(test)


def test_a_stream_of_ones_own_moves_bytes_as_it_likes():
    class Rot13(iostream.IOStream):
        def read_from_fd(self, buf):
            got = super().read_from_fd(buf)
            if got:
                buf[:got] = bytes(buf[:got]).decode().swapcase().encode()
            return got

    class Own(iostream.BaseIOStream):
        def __init__(self, sock):
            self.sock = sock
            sock.setblocking(False)
            super().__init__()

        def fileno(self):
            return self.sock.fileno()

        def close_fd(self):
            self.sock.close()

        def write_to_fd(self, data):
            return self.sock.send(data)

        def read_from_fd(self, buf):
            try:
                return self.sock.recv_into(buf)
            except BlockingIOError:
                return None

    async def test():
        ours, theirs = socket.socketpair()
        client, server = Own(ours), Rot13(theirs)
        OPEN.append(server)
        line = server.read_until(b"\n")
        await client.write(b"Hello\n")
        assert b"hELLO\n" == await line
        server.write(b"x" * (1 << 18) + b"\n")
        assert (1 << 18) + 1 == len(await client.read_until(b"\n"))
        with pytest.raises(OSError, match="half closed"):
            client.transport.shutdown()
        client.close()
        bare = iostream.BaseIOStream
        for name in ("fileno", "close_fd"):
            with pytest.raises(NotImplementedError):
                getattr(bare, name)(type("Bare", (bare,), {"__init__": lambda self: None})())

    run(test)


def test_what_a_read_from_fd_of_ones_own_keeps_is_fetched():
    class Hoarder(iostream.IOStream):
        hoard = b""

        def read_from_fd(self, buf):
            received = bytearray(1 << 10)
            got = super().read_from_fd(received)
            if got is None and not self.hoard:
                return None
            self.hoard += received[: got or 0]
            buf[:1], self.hoard = self.hoard[:1], self.hoard[1:]
            return 1

    async def test():
        client, theirs = socket.socketpair()
        server = Hoarder(theirs)
        OPEN.append(server)
        client.send(b"0123456789")
        assert [b"0123", b"45678", b"9"] == [await server.read_bytes(size) for size in (4, 5, 1)]
        client.close()

    run(test)


def test_a_write_is_done_when_its_bytes_have_left_and_told_when_they_never_will():
    async def test():
        client, server = pair()
        large = CHUNK * 4096
        writes = [client.write(data) for data in (b"a", large, b"", b"b")]
        assert [True, False] == [future.done() for future in writes[:2]]
        assert b"a" + large + b"b" == await server.read_bytes(len(large) + 2)
        assert [None] * 4 == await asyncio.gather(*writes)
        server.close()
        with pytest.raises(iostream.StreamClosedError) as caught:
            await client.write(b"x")
        assert isinstance(caught.value.real_error, BrokenPipeError)
        assert client.error is caught.value.real_error

    run(test)


def test_a_plain_socket_can_be_half_closed():
    async def test():
        client, server = pair()
        client.write(b"question")
        await client.write_eof()
        assert b"question" == await server.read(framestream.UntilClose())
        with pytest.raises(iostream.StreamClosedError):
            client.write(b"more")

    run(test)


def test_pipes():
    async def test():
        there, back = os.pipe()
        reader, writer = iostream.PipeIOStream(there), iostream.PipeIOStream(back)
        closed = asyncio.Event()
        writer.set_close_callback(closed.set)
        await writer.write(b"abc")
        assert b"abc" == await reader.read_bytes(3)
        reader.close()
        await closed.wait()

    run(test)


def test_certificates_of_the_platform_are_loaded_once_and_only_where_they_are_used(monkeypatch):
    made, make = [], ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda purpose: made.append(purpose) or make(purpose))
    default_context.cache_clear()

    async def test():
        ours, theirs = socket.socketpair()
        iostream.SSLIOStream(ours).close()  # as a server makes them
        theirs.close()
        assert [] == made
        for _ in range(2):
            client, server = pair()
            opening = client.start_tls(False, None, "localhost")
            server.close()
            with pytest.raises((BrokenPipeError, ssl.SSLError, iostream.StreamClosedError)):
                await opening

    run(test)
    assert [ssl.Purpose.SERVER_AUTH] == made


def test_tls_begins_in_the_middle_and_frames_go_on():
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    async def test():
        client, server = pair()
        for stream in (client, server):
            stream.read_bytes(1)
            with pytest.raises(ValueError, match="not idle"):
                stream.start_tls(False)
            stream.close()
        client, server = pair()
        secure = client.start_tls(False, client_context, "localhost"), server.start_tls(True, server_context)
        client, server = await asyncio.gather(*secure)
        OPEN.append(server)
        assert isinstance(client, iostream.SSLIOStream)
        assert client.socket.version().startswith("TLS")
        # A stream that nobody reads leaves the rest of a record in the engine, of which no loop can know.
        server.write(b"y" * (1 << 18))
        await client.read_bytes(1)
        await asyncio.sleep(0.05)
        assert (1 << 18) - 1 == len(await client.read_bytes((1 << 18) - 1))
        client.write(b"x" * (1 << 20) + msgpack.packb([1, 2]))
        assert 1 << 20 == len(await server.read_bytes(1 << 20))
        assert [1, 2] == await server.read("msgpack")
        assert client is await client.wait_for_handshake()
        client.close()
        for _ in range(2):
            with pytest.raises(iostream.StreamClosedError):
                await client.wait_for_handshake()

    run(test)


# Tornado 3


def test_a_read_takes_a_callback_that_runs_on_a_later_pass():
    async def test():
        client, server = pair()
        got = []
        await client.write(b"ab\ncd12rest")
        await passes()
        server.read_until(b"\n", callback=got.append)
        assert [] == got
        await passes()
        server.read_until_regex(rb"d", callback=got.append)
        await passes()
        server.read_bytes(2, callback=got.append)
        await passes()
        server.read_until_close(callback=got.append)
        client.close()
        await passes()
        assert [b"ab\n", b"cd", b"12", b"rest"] == got

    run(test)


def test_a_read_streams_to_a_callback_and_ends_with_nothing():
    async def test():
        client, server = pair()
        parts, ended = [], []
        await client.write(b"0123")
        server.read_bytes(6, callback=ended.append, streaming_callback=parts.append)
        await passes()
        assert (b"0123", []) == (b"".join(parts), ended)
        await client.write(b"45and the rest")
        await passes()
        assert (b"012345", [b""]) == (b"".join(parts), ended)
        server.read_until_close(callback=ended.append, streaming_callback=parts.append)
        client.close()
        await passes()
        assert (b"012345and the rest", [b"", b""]) == (b"".join(parts), ended)

    run(test)


def test_callbacks_that_are_due_put_the_close_callback_off():
    async def test():
        client, server = pair()
        told = []

        def first(data):
            told.append(data)
            server.read_bytes(1, callback=told.append)

        server.set_close_callback(lambda: told.append("closed"))
        server.read_bytes(1, callback=first)
        await client.write(b"12")
        client.close()
        await passes(20)
        assert [b"1", b"2", "closed"] == told

    run(test)


def test_an_exception_in_a_callback_closes_the_stream_and_is_logged(caplog):
    async def test():
        client, server = pair()
        heard = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        server.read_bytes(1, callback=lambda data: 1 / 0)
        await client.write(b"x")
        await passes()
        assert isinstance(server.error, ZeroDivisionError)
        assert 1 == len(heard)

    run(test)
    assert "Uncaught exception, closing connection." in [record.getMessage() for record in caplog.records]


def test_a_write_takes_a_callback_for_when_everything_has_left():
    async def test():
        client, server = pair()
        told = []
        client.write(b"x" * (4 << 20), callback=lambda: told.append("written"))
        await passes()
        assert [] == told
        await server.read_bytes(4 << 20)
        await passes()
        assert ["written"] == told

    run(test)


def test_a_stream_knows_its_tornado_loop():
    async def test():
        client, _ = pair()
        assert ioloop.IOLoop.current() is client.io_loop

    run(test)
