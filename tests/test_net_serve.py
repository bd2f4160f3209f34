"""Servers and their clients over loopback."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import weakref
from contextlib import nullcontext, suppress
from functools import partial
from subprocess import PIPE

import pytest
from certificates import certificates
from conftest import run_on
from loopback import (
    HERE,
    LINE,
    TLS_HERE,
    Gate,
    ask,
    echo,
    exchange,
    hear,
    no_more_descriptors,
    open_descriptors,
    raw_client,
    tls_contexts,
    warned,
    warnings_of_ours,
)
from loops import LoopWithoutPolling
from stream_pairs import joined, passes, raised, refused, reset, reset_on_close, until

from framestream import (
    AddressError,
    ConnectError,
    Exactly,
    FramingError,
    LengthPrefix,
    Line,
    Mapped,
    Msgpack,
    PayloadError,
    StreamClosed,
    WorkerError,
    connect,
    connect_process,
    hookimpl,
    plugins,
    serve,
)
from framestream.net.connections import FIRST_BYTE_TIMEOUT


async def only_stream(server):
    """Return the server's stream as soon as there is one."""
    await until(lambda: server.streams)
    (stream,) = server.streams
    return stream


async def test_a_client_and_a_server_exchange_frames_and_the_server_counts_them():
    async with await serve(echo, HERE) as server:
        for _ in range(2):
            assert "hello" == await ask(server.url)
        (address,) = server.addresses
        host, _, port = address.rpartition(":")
        assert ("127.0.0.1", True) == (host, int(port) > 0)
        await until(lambda: not server.stats.open)
        assert f"<Server tcp://{address}, 0 connections>" == repr(server)
        assert f"tcp://{address}" == server.url
    assert f"<Server tcp://{address}, closed>" == repr(server)
    stats = server.stats
    assert (2, 0, 12, 12) == (stats.accepted, stats.open, stats.bytes_received, stats.bytes_sent)
    assert (2, 2) == (stats.frames_received, stats.frames_sent)


async def test_a_unix_sockets_file_comes_and_goes_with_the_server_that_made_it_alone(tmp_path):
    path = tmp_path / "socket"
    async with await serve(echo, f"unix:{path}") as server:
        assert "hello" == await ask(server.url)
    assert not path.exists()
    async with await serve(echo, f"unix:{path}"):
        path.unlink()
        second = await serve(echo, f"unix:{path}")
    assert path.exists()  # another server took the place
    path.unlink()
    await second.aclose()
    inherited = socket.socket(socket.AF_UNIX)
    inherited.bind(str(path))
    inherited.listen()
    other = socket.create_server(("127.0.0.1", 0))
    for sock, url in ((inherited, f"unix:{path}"), (other, f"tcp://127.0.0.1:{other.getsockname()[1]}")):
        async with await serve(echo, f"fd:{sock.detach()}") as server:
            assert (url, "hello") == (server.url, await ask(url))
    assert path.exists()


async def by_parts(stream):
    async with stream.open_frame() as body:
        async for part in body:
            await stream.write(part)


def by_handler(stream):
    stream.on_frame(None, stream.send)


@pytest.mark.asyncio_only
@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, type("Odd", (BaseException,), {})])
@pytest.mark.parametrize("method", ["find", "decode", "split", "encode"])
@pytest.mark.parametrize("handler", [echo, by_parts, by_handler])
async def test_a_framer_that_would_end_the_program_costs_its_own_connection(handler, method, error):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it hears of what callbacks raise

    def leave(framer, data):
        spoilt = data if isinstance(data, str) else bytes(getattr(data, "data", data))
        if "leave" in str(spoilt):
            raise error("leaving")
        return getattr(Line, method)(framer, data)

    framer = type("Leaving", (Line,), {method: leave})()
    async with await serve(handler, HERE, framer=framer) as server:
        async with await connect(server.url) as other:
            await other.write(b"lea")
            async with await connect(server.url) as leaving:
                await leaving.write(b"leave\n")
                await leaving.write_eof()
                await leaving.read_until_close()
            await other.send("p", LINE)
            if handler is not by_parts:
                assert "leap" == await other.read(LINE)


class Yielding:
    """A handler of which a call runs nothing."""

    async def __call__(self, stream):
        yield stream


@pytest.mark.asyncio_only
async def test_what_makes_no_sense_is_refused_before_anybody_is_reached(monkeypatch):
    context = certificates().client()
    for attempt, error, message in (
        # What can be no handler
        (serve(echo(None), HERE), TypeError, r"was called already; pass the function itself: serve\(echo, "),
        (serve("echo", HERE), TypeError, "handler is 'echo'; it must be a function that takes a stream"),
        (serve(HERE, print), TypeError, "the handler comes first, then the URL"),
        (serve(Gate, HERE), TypeError, "handler is <class .*Gate'>; it must be a function"),
        (serve(lambda: None, HERE), TypeError, "handler .*<lambda> must take one argument, the stream: too many"),
        (serve(lambda one, two: None, HERE), TypeError, "one argument, the stream: missing .* 'two'"),
        (serve(lambda one: (yield), HERE), TypeError, "<lambda> has a yield, so a call runs nothing of it"),
        (serve(partial(lambda one: (yield)), HERE), TypeError, r"handler functools.partial\(.*\) has a yield"),
        (serve(Yielding(), HERE), TypeError, "has a yield"),
        # What no stream could use
        (serve(echo, HERE, max_fame_size=1), TypeError, "unknown stream option: max_fame_size"),
        (serve(echo, HERE, send_framer="available"), TypeError, "available can only read"),
        (connect(HERE, max_fame_size=1), TypeError, "max_fame_size"),
        (connect_process(["cat"], max_fame_size=1), TypeError, "max_fame_size"),
        (connect(HERE, ssl=True), TypeError, "option: ssl; did you mean tls?"),
        (connect(HERE, limit=9), TypeError, "limit; did you mean max_frame_size?"),
        (connect_process("cat"), ValueError, "argv is 'cat'; it must be a list: a program and its arguments"),
        (connect_process([]), ValueError, "argv is .*; it must be a list"),
        (connect_process(["cat"], stderr=PIPE), ValueError, "stderr=PIPE would never be read"),
        # What does not fit together under TLS
        (connect("tls://:1", tls=context), AddressError, "tls://:1 has no host for the certificate to name"),
        (connect("unix:/x", tls=context), AddressError, "unix:/x has no host .*; pass server_hostname"),
        (
            connect("tls://localhost:1", server_hostname="x..y"),
            AddressError,
            "'x..y' in server_hostname='x..y' is not a h",
        ),
        (
            connect("tls://localhost:1", server_hostname="a\0b"),
            AddressError,
            r"'a\\x00b' in server_hostname=.* is not a host name: it has a NUL character",
        ),
        (connect("tls://localhost:1", server_hostname=5), TypeError, "server_hostname is 5; it must be a host name"),
        (
            connect("tcp://localhost:1", server_hostname="localhost"),
            AddressError,
            "^server_hostname is 'localhost', but tcp://localhost:1 is without TLS, .*: use tls://, or pass tls=True$",
        ),
        (serve(echo, TLS_HERE), AddressError, r"needs a certificate: pass tls=server_tls\(...\)"),
        (serve(echo, TLS_HERE, tls=context), ValueError, r"tls is a context for clients; pass server_tls\(...\)"),
        # Where nobody can listen
        (serve(echo, "exec:cat"), AddressError, "cannot listen on exec:cat"),
        (serve(echo, "pipe:/tmp/fifo"), AddressError, "cannot listen on pipe:/tmp/fifo"),
        (serve(echo, "fd:0,1"), AddressError, "cannot listen on fd:0,1"),
        (serve(echo, "systemd:web"), AddressError, "no socket named 'web' was passed to this process"),
        # What cannot be sent to a worker
        (serve(lambda stream: None, HERE, workers=1), WorkerError, "handler .* cannot be .*; define it at"),
        (
            serve(echo, HERE, workers=1, tls=certificates().server()),
            WorkerError,
            "pass a function that makes the context",
        ),
        (serve(echo, HERE, workers=1, on_discard=lambda error: None), WorkerError, "stream_options"),
    ):
        await raised(error, attempt, match=message)
    monkeypatch.setattr(sys, "platform", "win32")
    await raised(WorkerError, serve, echo, HERE, workers=1, match="they need a Unix system")
    for good in (Gate(), partial(echo), print, {}.update):  # of which the last has no signature
        await (await serve(good, HERE)).aclose()


async def test_both_ends_have_the_same_object_and_a_framer_for_each_direction_if_they_want():
    async def count(stream):
        async for frame in stream:
            await stream.send(len(frame))

    async with await serve(count, HERE, framer="line", send_framer=Msgpack()) as server:
        async with await connect(server.url, framer=Msgpack(), send_framer=LINE) as stream:
            await stream.send("hello")
            assert 5 == await stream.read()
            await stream.send("")
            await stream.write_eof()
            assert [0] == [frame async for frame in stream]


# What the handler does


class Outcome(BaseException):
    """As test frameworks raise them."""


@pytest.mark.parametrize(
    ("error", "failures"), [(KeyError("two"), 1), (FramingError("two"), 0), (Outcome(), 1), (None, 1)]
)
async def test_what_a_handler_has_written_before_it_fails_is_sent(error, failures, caplog):
    async def fail(stream):
        stream.send("one", LINE)
        stream.send("ERROR: two", LINE)
        if error is None:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()  # by nobody who meant the handler
            await cancelled
        raise error

    async with await serve(fail, HERE) as server, await connect(server.url) as client:
        assert b"one\nERROR: two\n" == await client.read_until_close()
        await until(lambda: not server.stats.open)
        assert (failures, 1 - failures) == (server.stats.handler_failures, server.stats.peer_failures)
    assert 1 == len(warnings_of_ours(caplog))


@pytest.mark.parametrize("way_out", [SystemExit, KeyboardInterrupt])
def test_a_handler_may_end_the_program_and_has_not_failed_then(way_out, caplog):
    async def leave(stream):
        raise way_out

    async def main():
        async with await serve(leave, HERE) as server, await connect(server.url) as client:
            await client.read_until_close()

    refused(way_out, asyncio.run, main())
    gc.collect()  # or asyncio says only later that nobody took the exception from the task
    assert [] == warned(caplog)


async def test_a_failed_handlers_last_answers_are_not_waited_for_long(monkeypatch, caplog):
    async def fail(stream):
        stream.write(b"x" * 10_000_000)
        raise KeyError("fail")

    async with await serve(fail, HERE) as server, await connect(server.url):
        await until(lambda: server.stats.handler_failures)
        await server.aclose(drain_timeout=0)  # quietly
        assert 0 == server.stats.open
    monkeypatch.setattr("framestream.net.connections.FLUSH_TIMEOUT", 0.02)
    async with await serve(fail, HERE) as server, await connect(server.url):
        await until(lambda: server.stats.accepted and not server.stats.open)


async def hear_lines(stream):
    async for _ in stream.frames(Line(last=False, max_size=50)):
        pass
    await stream.read(LINE)  # a reset comes in place of an end


async def hear_in_group(stream):
    async with asyncio.TaskGroup() as group:
        group.create_task(hear_lines(stream))


def hear_in_two_tasks(other):
    async def handler(stream):
        failed = await asyncio.gather(hear_lines(stream), return_exceptions=True)
        try:
            await other(stream)
        except Exception as error:
            raise ExceptionGroup("both", [ExceptionGroup("one", [error]), *failed]) from error

    return handler


def hear_by_callback(callback):
    def handler(stream):
        stream.on_frame(Msgpack(), callback)

    return handler


async def read_line(stream):
    return await stream.read(LINE)


async def read_short(stream):
    await stream.read(LengthPrefix(1, max_size=4))


async def look_up(stream):
    {}[await read_line(stream)]


def write_too_much(stream):
    stream.write(bytes(200))


async def read_too_late(stream):
    await stream.read(LINE, timeout=0)


def hear_another(act, timeout=None):
    async def handler(stream):
        text = Mapped(LengthPrefix(1, max_size=150), bytes.decode)
        async with joined("tcp", max_buffer_size=100) as (ours, other):
            act(other)
            await ours.read(text, timeout=timeout)

    return handler


PEER, HANDLER, NOBODY = (1, 0), (0, 1), (0, 0)
RESET = None


@pytest.mark.parametrize(("handler", "sent", "fault", "told"), [
    (hear_in_group, b"\xff\n", PEER, "0xff in position 0: invalid start byte (frame at offset 0) [line"),
    (hear_in_group, b"more", PEER, "stream ended inside a frame: 4 bytes arrived (at offset 0) [line"),
    (hear_in_group, b"x" * 99, PEER, "frame exceeds the limit of 50 bytes (at offset 0) [line"),
    (hear_in_two_tasks(hear_lines), b"x" * 99, PEER, "the limit of 50 bytes"),
    (hear_in_two_tasks(lambda stream: stream.write(b"it")), RESET, PEER, "connection ended: "),
    (hear_in_two_tasks({}.__getitem__), b"x" * 99, HANDLER, "handler failed: ExceptionGroup: both"),
    (read_short, b"\x09" + bytes(9), PEER, "frame of 9 bytes exceeds the limit 4 (at offset 0) [length-prefix"),
    (hear_lines, RESET, PEER, "connection ended: "),
    (read_line, b"", PEER, "connection ended: "),
    (hear_by_callback(print), b"\xc1", PEER, "[msgpack"),
    (hear_by_callback(print), RESET, PEER, "connection ended: "),
    (hear_by_callback(print), b"\1", NOBODY, None),
    (hear_by_callback({}.__getitem__), b"\1", HANDLER, "KeyError: 1"),
    (look_up, b"it\n", HANDLER, "handler failed: KeyError: 'it'"),
    (read_line, b"x" * 200, PEER, "limit 100"),
    (write_too_much, b"x" * 200, HANDLER, "limit 100"),
    (read_too_late, b"it", PEER, "connection ended: "),
    # A handler may use other streams: they fail for reasons of their own.
    (hear_another(lambda other: other.write(b"x" * 200)), b"it", HANDLER, "limit 100"),
    (hear_another(lambda other: other.write(b"\xff" * 9)), b"it", HANDLER, "handler failed: FrameTooLarge"),
    (hear_another(lambda other: other.write(b"\1\xff")), b"it", HANDLER, "handler failed: PayloadError"),
    (hear_another(lambda other: (other.write(b"\2x"), other.close())), b"it", HANDLER, "failed: IncompleteFrame"),
    (hear_another(lambda other: other.close()), b"it", HANDLER, "handler failed: StreamClosed"),
    (hear_another(reset), b"it", HANDLER, "handler failed: StreamClosed"),
    (hear_another(lambda other: None, timeout=0), b"it", HANDLER, "handler failed: StreamTimeout"),
])  # fmt: skip
async def test_whose_fault_it_is_that_a_connection_ends_is_counted_and_told(handler, sent, fault, told, caplog):
    caplog.set_level(logging.INFO, "framestream.server")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it hears of what callbacks raise
    limits = {"max_buffer_size": 100, "max_write_buffer_size": 100}
    async with await serve(handler, HERE, **limits) as server:
        with raw_client(server) as client:
            address = "{}:{}".format(*client.getsockname())
            await until(lambda: server.stats.open)
            if sent is RESET:
                reset_on_close(client)
            else:
                client.sendall(sent)
            if sent not in (RESET, b"", b"more", b"\1"):  # which are over when the client leaves
                await until(lambda: server.stats.peer_failures or server.stats.handler_failures)
        await until(lambda: not server.stats.open)  # nobody lingers for a client that has left
        assert fault == (server.stats.peer_failures, server.stats.handler_failures)
    records = [record for record in caplog.records if record.name == "framestream.server"]
    assert (fault != NOBODY) == len(records)
    for record in records:
        is_lost = told == "connection ended: "
        by_peer = "connection ended by what the peer sent: " if fault == PEER and not is_lost else ""
        assert record.getMessage().startswith(f"{address}: {by_peer}")
        assert told in record.getMessage()
        assert (address, server.url, fault == PEER) == (record.peer, record.server, record.exc_info is None)
        assert is_lost == (record.levelno < logging.WARNING)


async def test_a_reset_by_a_client_that_takes_no_answer_is_its_own_fault(caplog):
    caplog.set_level(logging.INFO, "framestream.server")

    async def talk(stream):
        await stream.read(LINE)
        while True:
            await stream.write(bytes(1 << 16))

    async with await serve(talk, HERE, max_frame_size=1000) as server:
        with raw_client(server) as client:
            client.sendall(b"it\nunread" + bytes(1 << 19))
            await until(lambda: server.stats.bytes_unsent)
            reset_on_close(client)
        await until(lambda: not server.stats.open)
        assert (PEER, 1) == ((server.stats.peer_failures, server.stats.handler_failures), server.stats.lost)
    [record] = [record for record in caplog.records if record.name == "framestream.server"]
    assert ": connection ended: " in record.getMessage()


class Wordless(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


EVIL = "\x1b[31m\u202e\x9b\r\nERROR forged\udcff"


@pytest.mark.parametrize(("error", "told"), [
    (ValueError(EVIL), r"ValueError: \x1b[31m\u202e\x9b\r\nERROR forged\udcff"),
    (PayloadError(EVIL), r"peer sent: \x1b[31m\u202e\x9b\r\nERROR forged\udcff"),
    (Wordless(), "handler failed: Wordless"),
    (ConnectionResetError(errno.ECONNRESET, "of somebody else's"), "ConnectionResetError"),
])  # fmt: skip
async def test_whatever_peers_and_exceptions_say_is_one_printable_line_in_the_log(error, told, tmp_path, caplog):
    async def fail(stream):
        raise error

    async with await serve(fail, f"unix:{tmp_path}/socket") as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(os.fsencode(tmp_path) + b"/\x1b]0;\n\xff")
            client.connect(f"{tmp_path}/socket")
            await until(lambda: server.stats.accepted and not server.stats.open)
    (record,) = warnings_of_ours(caplog)
    assert record.getMessage().startswith(rf"{tmp_path}/\x1b]0;\n\udcff: ")
    assert told in record.getMessage()
    assert "[]" not in record.getMessage()  # no framer has said it
    assert record.getMessage().isprintable()
    shown = logging.Formatter().format(record)
    assert shown.replace("\n", "").isprintable()
    assert "\nERROR" not in shown


def echo_by_callbacks(stream):
    stream.on_frame(LINE, lambda line: stream.send(line, LINE))


async def echo_by_callbacks_to_the_close(stream):
    echo_by_callbacks(stream)
    await stream.wait_closed()  # and has no more to say


@pytest.mark.parametrize("handler", [echo_by_callbacks, echo_by_callbacks_to_the_close])
async def test_a_handler_by_callbacks_lasts_as_long_as_its_stream(handler):
    async with await serve(handler, HERE) as server, await connect(server.url) as client:
        for word in ("one", "two"):
            assert word == await exchange(client, word)
        client.write(b"three\n")
        await client.write_eof()
        assert b"three\n" == await client.read_until_close()
    async with await serve(lambda stream: None, HERE) as server:  # does not even read
        async with await connect(server.url):
            stream = await only_stream(server)
        await stream.wait_closed()


@pytest.mark.parametrize("framer", [None, LINE])
@pytest.mark.parametrize("place", [HERE, "unix:{}/socket", TLS_HERE])
async def test_a_client_that_ends_its_half_gets_its_answer(place, framer, tmp_path):
    async def count(stream):
        lines = [line async for line in stream.frames(LINE)]
        for _ in range(3):  # however long it takes
            await asyncio.sleep(0)
            await stream.send(f"{len(lines)} lines", LINE)

    ours, theirs = tls_contexts(place)
    async with await serve(count, place.format(tmp_path), tls=ours, framer=framer) as server:
        async with await connect(server.url, tls=theirs) as client:
            client.write(b"one\ntwo\n")
            await client.write_eof()
            assert b"2 lines\n" * 3 == await client.read_until_close()
        await until(lambda: not server.stats.open)
        assert (0, 0) == (server.stats.peer_failures, server.stats.handler_failures)


async def test_who_writes_after_the_end_is_told_of_half_open():
    told = asyncio.Event()

    def late(stream):
        def say():
            refused(StreamClosed, stream.send, "late", LINE, match="half_open=True keeps it writable")
            told.set()

        stream.set_close_callback(say)

    async with await serve(late, HERE) as server:
        raw_client(server).close()
        await told.wait()


# Accepting


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
@pytest.mark.asyncio_only
@pytest.mark.parametrize("fails", [False, True])
async def test_connections_that_are_over_when_they_have_begun_make_room_with_eager_tasks_too(fails):
    async def handle(stream):
        stream.write(b"a\n")
        stream.close()
        assert not fails

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with await serve(handle, HERE, max_connections=2) as server:
        for _ in range(5):
            assert "a" == await asyncio.wait_for(hear(server.url), 5)
        assert (5, 0) == (server.stats.accepted, server.stats.open)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
def test_a_loop_that_cannot_watch_sockets_accepts_with_eager_tasks_too():
    async def work():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with await serve(echo, HERE, max_connections=1) as server:
            for _ in range(3):
                assert "a" == await asyncio.wait_for(ask(server.url, "a"), 5)

    run_on(LoopWithoutPolling, work, {}, True)


@pytest.mark.every_loop
async def test_connections_above_the_limit_wait_until_one_ends():
    gate = Gate()
    async with await serve(gate, HERE, max_connections=1) as server:
        async with await connect(server.url), await connect(server.url):
            await gate.entered.get()
            await passes(5)
            assert gate.entered.empty()
            gate.open.set()
            await gate.entered.get()
        assert 2 == server.stats.accepted


@pytest.mark.every_loop
async def test_a_server_out_of_descriptors_serves_when_it_has_some_again(monkeypatch, caplog):
    monkeypatch.setattr("framestream.net.sockets.ACCEPT_PAUSE", 0.01)
    async with await serve(echo, HERE) as server, await connect(server.url) as first:
        await until(lambda: server.stats.open)
        with socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(first.transport.socket.getpeername())
            with no_more_descriptors():
                await until(lambda: server.stats.accept_failures)
                monkeypatch.setattr("framestream.net.sockets.ACCEPT_PAUSE", 1000.0)
                await until(lambda: server.stats.accept_failures > 1)  # it tries again by itself
                assert "hello" == await exchange(first)  # nobody else notices
            await first.aclose()  # no need to wait for the pause to be over
            await until(lambda: server.stats.accepted == 2)
    assert [f"{server.url}: cannot accept for now: too many open files"] == warned(caplog)


async def test_a_connection_for_which_no_stream_can_be_made_is_closed_and_not_counted_as_open(monkeypatch, caplog):
    def refuse(*_, **options):
        raise MemoryError("no room")

    async with await serve(echo, HERE) as server:
        with monkeypatch.context() as patch, raw_client(server) as lost:
            patch.setattr("framestream.net.sockets.IOStream", refuse)
            await until(lambda: server.stats.accepted)
            assert b"" == lost.recv(1)
        assert "hello" == await ask(server.url)
    stats = server.stats
    assert (2, 0, 1) == (stats.accepted, stats.open, stats.handler_failures)
    assert "no room" in caplog.text


async def test_nothing_is_left_of_many_connections(tmp_path):
    seen = weakref.WeakSet()

    async def note_and_echo(stream):
        seen.add(stream)
        await echo(stream)

    async with await serve(note_and_echo, f"unix:{tmp_path}/socket") as server:
        assert "hello" == await ask(server.url)  # a loop may open something for its first connection
        await until(lambda: not server.stats.open)
        descriptors, tasks = open_descriptors(), len(asyncio.all_tasks())
        assert ["hello"] * 80 == await asyncio.gather(*(ask(server.url) for _ in range(80)))
        await until(lambda: open_descriptors() <= descriptors and not server.stats.open)
        assert (81, tasks) == (server.stats.accepted, len(asyncio.all_tasks()))
    gc.collect()
    assert not seen


# The end


async def test_draining_ends_idle_connections_at_once_and_lets_the_others_finish():
    gate = Gate()

    async def answer(stream):
        async for line in stream.frames(LINE):
            await gate(stream)
            await stream.send(line.upper(), LINE)

    async with await serve(answer, HERE) as server:
        async with await connect(server.url) as idle, await connect(server.url) as busy:
            gate.open.set()
            assert "ONCE" == await exchange(idle, "once")
            gate.open.clear()
            await busy.send("busy", LINE)
            await gate.entered.get()
            await gate.entered.get()
            draining = asyncio.ensure_future(server.aclose())
            await raised(StreamClosed, idle.read, LINE)
            await raised(ConnectError, connect, server.url, match="connection refused")
            assert (True, False) == (server.closed, draining.done())
            gate.open.set()
            assert "BUSY" == await busy.read(LINE)
            await draining
    assert 0 == server.stats.open


@pytest.mark.parametrize("begun", ["", "hel"])
async def test_draining_hears_out_who_has_just_connected_or_begun_a_frame(begun):
    async with await serve(echo, HERE) as server, await connect(server.url) as client:
        await client.write(begun.encode())
        stream = await only_stream(server)
        await until(lambda: stream.buffered == len(begun))
        draining = asyncio.ensure_future(server.aclose())
        await passes(5)
        await client.write(b"hello\n"[len(begun) :])
        assert "hello" == await client.read(LINE)
        await client.aclose()
        await draining


@pytest.mark.no_waiting
async def test_draining_waits_a_moment_and_no_longer_for_who_says_nothing():
    loop = asyncio.get_running_loop()
    async with await serve(echo, HERE, drain_timeout=600) as server, await connect(server.url):
        await until(lambda: server.stats.open)
        began = loop.time()
        await server.aclose()
        assert pytest.approx(FIRST_BYTE_TIMEOUT) == loop.time() - began


@pytest.mark.parametrize("limit", [None, 80])
async def test_draining_serves_however_many_wait_in_the_backlog_as_far_as_there_is_room(limit):
    server = await serve(echo, HERE, max_connections=limit)
    clients = [raw_client(server) for _ in range(100)]
    for client in clients:
        client.sendall(b"hello\n")
    await server.aclose()
    served = clients[:limit]
    assert len(served) == server.stats.accepted
    assert [b"hello\n"] * len(served) == [client.recv(100) for client in served]
    for client in clients:
        client.close()


@pytest.mark.parametrize("stubborn", [False, True])
async def test_what_takes_longer_than_the_time_to_drain_is_cancelled_and_loses_its_stream(
    stubborn, caplog, monkeypatch
):
    monkeypatch.setattr("framestream.net.connections.CANCEL_TIMEOUT", 0.01)
    gate = Gate()

    async def handler(stream):
        while not gate.open.is_set():
            with suppress(asyncio.CancelledError) if stubborn else nullcontext():
                await gate(stream)

    async with await serve(handler, HERE, drain_timeout=0) as server, await connect(server.url) as client:
        stream = await gate.entered.get()
        await server.aclose()
        await raised(StreamClosed, client.read, LINE)
        assert stream.closed()
        gate.open.set()
        await until(lambda: not server.stats.open)
    cut, *more = warned(caplog)
    assert f"{server.url}: the time to drain is over, cutting 1 connection" == cut
    assert stubborn == ("keeps running although it was cancelled" in "".join(more))
    assert 0 == server.stats.handler_failures


async def test_a_connection_that_is_cancelled_before_it_had_a_turn_is_closed(caplog):
    server = await serve(echo, HERE, drain_timeout=0)
    with raw_client(server) as client:
        server.close()  # accepts what waits in the backlog
        (stream,) = server.streams
        (task,) = [task for task in asyncio.all_tasks() if "framestream server" in task.get_name()]
        task.cancel()  # as asyncio.run does on Ctrl-C
        await server.aclose()
        assert stream.closed()
        assert b"" == client.recv(1)
    assert (1, 0) == (server.stats.accepted, server.stats.open)
    assert not warned(caplog)


@pytest.mark.parametrize("how", ["aclose", "cancel", "signal"])
async def test_serving_for_ever_ends_with_the_server(how):
    server = await serve(echo, HERE)
    server.close_on(signal.SIGUSR1, signal.SIGUSR2)
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    if how == "aclose":
        await server.aclose()
    elif how == "cancel":
        serving.cancel()
    else:
        os.kill(os.getpid(), signal.SIGUSR1)
    with suppress(asyncio.CancelledError):
        await serving
    assert server.closed
    assert signal.SIG_DFL == signal.getsignal(signal.SIGUSR1)


@pytest.mark.asyncio_only
async def test_a_loop_without_signal_handlers_is_named(monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", partial(asyncio.AbstractEventLoop.add_signal_handler, loop))
    async with await serve(echo, HERE) as server:
        with pytest.raises(NotImplementedError, match="EventLoop has no signal handlers; call aclose"):
            server.close_on(signal.SIGTERM)


async def test_handlers_may_close_their_server_without_waiting_for_themselves(caplog):
    gate = Gate()

    async def handler(stream):
        if "end" == await stream.read(LINE):
            await server.aclose()
            await stream.send("closing", LINE)
        else:
            await gate(stream)

    async with await serve(handler, HERE) as server, await connect(server.url) as waiting:
        async with await connect(server.url) as first, await connect(server.url) as second:
            await waiting.send("wait", LINE)
            await gate.entered.get()
            for closer in (first, second):
                await closer.send("end", LINE)
            for closer in (first, second):
                assert "closing" == await closer.read(LINE)
            assert server.closed
            assert 1 <= server.stats.open  # the draining waits for the others, too
            gate.open.set()
            await server.serve_forever()
    assert 0 == server.stats.open
    assert [] == warned(caplog)


# A client that is still sending when its handler ends


async def answer_at_once(stream):
    await stream.read(LINE)
    stream.write(b"y" * 200_000)


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("place", [HERE, "unix:{}/socket", TLS_HERE])
async def test_a_client_that_is_still_sending_gets_the_whole_answer(place, refuses, tmp_path):
    async def handler(stream):
        await answer_at_once(stream)
        if refuses:
            raise FramingError("refused")

    ours, theirs = tls_contexts(place)
    async with await serve(handler, place.format(tmp_path), tls=ours) as server:
        async with await connect(server.url, tls=theirs) as client:
            await client.write(b"go\nmore")
            sending = asyncio.ensure_future(client.write(b"x" * 12_000_000))
            assert 200_000 == len(await client.read_until_close())
            await sending
        await until(lambda: not server.stats.open)
        assert refuses == server.stats.peer_failures


async def test_nobody_lingers_long_for_nothing_or_when_the_drain_is_over(monkeypatch):
    async def ended(client, sent):
        await client.write(sent)
        await until(lambda: server.stats.accepted and not server.stats.open)

    async with await serve(answer_at_once, HERE) as server:
        monkeypatch.setattr("framestream.net.connections.LINGER", 0.01)
        async with await connect(server.url) as client:
            await ended(client, b"go\nmore")
        monkeypatch.setattr("framestream.net.connections.LINGER", 1000.0)
        async with await connect(server.url) as client:
            await until(lambda: server.stats.open)
            await ended(client, b"go\n")
            assert 200_000 == len(await client.read_until_close())
        async with await connect(server.url) as client:
            await client.write(b"go\nmore")
            await client.read(Exactly(200_000))
            assert 1 == server.stats.open
            await server.aclose(drain_timeout=0)
            assert 0 == server.stats.open


async def test_lingering_goes_on_while_the_server_drains():
    async with await serve(answer_at_once, HERE) as server:
        async with await connect(server.url, half_open=True) as client:
            await client.write(b"go\nmore")
            assert 200_000 == len(await client.read_until_close())
            closing = asyncio.ensure_future(server.aclose())
            await passes(50)  # though the client pauses
            for _ in range(10):
                await client.write(b"x" * 1_000_000)
            assert not closing.done()
        await closing


# What it tells


async def test_plugins_hear_of_a_server_and_of_what_fails_in_it():
    heard = []

    class Observer:
        @hookimpl
        def framestream_server_opened(self, server):
            heard.append(("opened", server))

        @hookimpl
        def framestream_server_closed(self, server):
            heard.append(("closed", server))

        @hookimpl
        def framestream_server_failed(self, server, error):
            heard.append((repr(error), server))

    with plugins.isolated():
        plugins.register(Observer(), "observer")
        async with await serve(lambda stream: {}["fail"], HERE) as server:
            await raised(StreamClosed, ask, server.url)
            server.close()  # and once more at the end
    assert [(what, server) for what in ("opened", "KeyError('fail')", "closed")] == heard
