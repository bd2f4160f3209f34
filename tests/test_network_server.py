"""Servers and their clients over loopback."""

import asyncio
import logging
import os
import signal
import socket
from contextlib import suppress

import pytest
from certificates import certificates

from framestream import (
    ConnectError,
    Exactly,
    FramingError,
    Line,
    StreamClosed,
    UnknownFramerError,
    connect,
    hookimpl,
    plugins,
    serve,
)

LINE = Line()


async def echo(stream):
    async for line in stream.frames(LINE):
        await stream.send(line, LINE)


class Gate:
    """A handler that tells when it was entered, and stays until it is let go."""

    def __init__(self):
        self.entered = asyncio.Queue()
        self.open = asyncio.Event()

    async def __call__(self, stream):
        self.entered.put_nowait(stream)
        await self.open.wait()


def warnings_of_ours(caplog):
    """Return what was logged as wrong, but for what asyncio's debug mode says about slow machines."""
    wrong = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record for record in wrong if record.name.startswith("framestream")]


async def test_a_client_and_a_server_exchange_frames():
    async with await serve(echo, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        await client.send("hello", LINE)
        assert "hello" == await client.read(LINE)


async def test_with_a_framer_the_handler_gets_objects_and_so_does_the_client():
    async def upper(conversation):
        async for line in conversation:
            await conversation.send(line.upper())

    async with await serve(upper, "tcp://127.0.0.1:0", framer=LINE) as server:
        async with await connect(server.url, framer="line") as client:
            await client.send("hello")
            assert "HELLO" == await client.read()


async def test_the_url_and_addresses_name_the_port_that_was_chosen():
    async with await serve(echo, "tcp://127.0.0.1:0") as server:
        (address,) = server.addresses
        host, _, port = address.rpartition(":")
        assert "127.0.0.1" == host
        assert 0 < int(port)
        assert f"tcp://127.0.0.1:{port}" == server.url == str(server)
        assert f"<Server tcp://127.0.0.1:{port}, 0 connections>" == repr(server)
    assert f"<Server tcp://127.0.0.1:{port}, closed>" == repr(server)


async def test_a_unix_socket_file_comes_with_the_server_and_goes_with_it(tmp_path):
    path = tmp_path / "socket"
    async with await serve(echo, f"unix:{path}") as server, await connect(server.url) as client:
        await client.send("hello", LINE)
        assert "hello" == await client.read(LINE)
        assert path.exists()
    assert not path.exists()


async def test_a_unix_socket_that_another_server_took_over_stays(tmp_path):
    path = tmp_path / "socket"
    async with await serve(echo, f"unix:{path}"):
        path.unlink()
        second = await serve(echo, f"unix:{path}")
    assert path.exists()
    await second.aclose()
    assert not path.exists()


async def test_a_unix_socket_file_that_is_gone_is_not_missed(tmp_path):
    path = tmp_path / "socket"
    async with await serve(echo, f"unix:{path}"):
        path.unlink()
    inherited = socket.socket(socket.AF_UNIX)
    inherited.bind(str(path))
    inherited.listen()
    async with await serve(echo, f"fd:{inherited.detach()}") as server:
        assert f"unix:{path}" == server.url
    assert path.exists()  # whoever made it removes it


async def test_an_inherited_listening_descriptor_is_served(tmp_path):
    inherited = socket.create_server(("127.0.0.1", 0))
    url = f"tcp://127.0.0.1:{inherited.getsockname()[1]}"
    async with await serve(echo, f"fd:{inherited.detach()}") as server:
        assert url == server.url


async def test_what_no_connection_could_use_is_refused_before_anybody_connects():
    with pytest.raises(TypeError, match="unknown stream option: max_fame_size"):
        await serve(echo, "tcp://127.0.0.1:0", max_fame_size=1)
    with pytest.raises(UnknownFramerError, match="no framer named 'lien'; did you mean 'line'"):
        await serve(echo, "tcp://127.0.0.1:0", framer="lien")
    with pytest.raises(TypeError, match="available can only read"):
        await serve(echo, "tcp://127.0.0.1:0", framer="available")


# What the handler does


async def test_what_a_handler_has_written_is_sent_when_it_returns():
    async def greet(stream):
        stream.write(b"x" * 1_000_000)

    async with await serve(greet, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        assert 1_000_000 == len(await client.read_until_close(max_size=2_000_000))


async def test_a_handler_that_raises_costs_its_connection_and_nothing_else(caplog):
    async def fail(stream):
        line = await stream.read(LINE)
        if line == "fail":
            raise KeyError(line)
        await stream.send(line, LINE)

    async with await serve(fail, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as bad, await connect(server.url) as good:
            address = bad.channel.socket.getsockname()
            await bad.send("fail", LINE)
            with pytest.raises(StreamClosed):
                await bad.read(LINE)
            await good.send("hello", LINE)
            assert "hello" == await good.read(LINE)
        assert 1 == server.stats.handler_failures
    (record,) = warnings_of_ours(caplog)
    assert f"127.0.0.1:{address[1]}: handler failed: KeyError('fail')" == record.getMessage()
    assert f"127.0.0.1:{address[1]}" == record.peer
    assert server.url == record.server
    assert record.exc_info[0] is KeyError


async def close_and_fail(stream):
    async with stream:
        raise KeyError("fail")


async def fail_after_a_reset(stream):
    await stream.read(LINE)
    await stream.wait_closed()
    raise KeyError("fail")


@pytest.mark.parametrize("handler", [close_and_fail, fail_after_a_reset])
async def test_the_log_names_a_peer_that_is_gone(handler, caplog):
    async with await serve(handler, "tcp://127.0.0.1:0") as server:
        host, _, port = server.addresses[0].rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            address = "{}:{}".format(*client.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(b"hello\n")
        await until(lambda: server.stats.handler_failures)
    (record,) = warnings_of_ours(caplog)
    assert f"{address}: handler failed: KeyError('fail')" == record.getMessage()
    assert address == record.peer


async def test_a_stream_names_its_peer_when_it_is_closed():
    async with await serve(echo, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            assert server.addresses[0] == client.peer
        assert server.addresses[0] == client.peer


@pytest.mark.parametrize("error", [KeyError("two"), FramingError("two")])
async def test_what_a_handler_has_written_before_it_raises_is_sent(error, caplog):
    async def fail(stream):
        stream.send("one", LINE)
        stream.send("ERROR: two", LINE)
        raise error

    async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        assert b"one\nERROR: two\n" == await client.read_until_close()


async def test_a_peer_that_does_not_read_is_not_waited_for_long_when_the_handler_has_failed(
    monkeypatch, caplog
):
    monkeypatch.setattr("framestream.net._connections._LAST_ANSWERS", 0.02)

    async def fail(stream):
        stream.write(b"x" * 10_000_000)
        raise KeyError("fail")

    async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url):
        await until(lambda: server.stats.accepted and not server.stats.open)
        assert 1 == server.stats.handler_failures


async def test_a_drain_that_cuts_a_failed_handlers_last_answers_is_quiet(caplog):
    async def fail(stream):
        stream.write(b"x" * 10_000_000)
        raise KeyError("fail")

    async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url):
        await until(lambda: server.stats.handler_failures)
        await server.aclose(drain_timeout=0)
        assert 0 == server.stats.open


async def test_a_handler_that_raises_no_exception_proper_is_logged_like_any_other(caplog):
    class Outcome(BaseException):
        """As test frameworks raise them."""

    async def fail(stream):
        stream.write(b"last words\n")
        raise Outcome

    async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        assert "last words" == await client.read(LINE)
        await until(lambda: not server.stats.open)
        assert 1 == server.stats.handler_failures
    assert "handler failed: Outcome()" in caplog.text


@pytest.mark.parametrize("sent", [b"\xff\n", b"incomplete"])
async def test_what_the_peer_does_wrong_is_no_failure_of_the_handler(sent, caplog):
    condition = Line(last=False)

    async def read(stream):
        await stream.read(condition)

    async with await serve(read, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url, half_open=True) as client:
            client.write(sent)
            await client.write_eof()
            with pytest.raises(StreamClosed):
                await client.read(LINE)
        await server.aclose()
        assert 1 == server.stats.peer_failures
        assert 0 == server.stats.handler_failures
    assert not warnings_of_ours(caplog)


async def test_a_handler_without_coroutines_lasts_as_long_as_its_stream():
    def echo_by_callbacks(stream):
        stream.on_frame(LINE, lambda line: stream.send(line, LINE))

    async with await serve(echo_by_callbacks, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            for word in ("one", "two"):
                await client.send(word, LINE)
                assert word == await client.read(LINE)


async def test_a_handler_that_does_not_even_read_ends_when_the_peer_leaves():
    entered = asyncio.Event()

    def nothing(stream):
        entered.set()

    async with await serve(nothing, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url):
            await entered.wait()
            (stream,) = server.streams
        await stream.wait_closed()


# Room


async def test_connections_above_the_limit_wait_until_one_ends():
    gate = Gate()
    async with await serve(gate, "tcp://127.0.0.1:0", max_connections=1) as server:
        async with await connect(server.url) as first, await connect(server.url) as second:
            await gate.entered.get()
            for _ in range(5):
                await asyncio.sleep(0)
            assert gate.entered.empty()
            gate.open.set()
            await gate.entered.get()
            for client in (first, second):
                with pytest.raises(StreamClosed):
                    await client.read(LINE)
        assert 2 == server.stats.accepted
        assert 1 == server.stats.most_open


# The end


async def test_draining_ends_idle_connections_at_once_and_lets_the_others_finish():
    gate = Gate()

    async def answer(stream):
        async for line in stream.frames(LINE):
            await gate(stream)
            await stream.send(line.upper(), LINE)

    async with await serve(answer, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as idle, await connect(server.url) as busy:
            gate.open.set()
            await idle.send("once", LINE)
            assert "ONCE" == await idle.read(LINE)
            gate.open.clear()
            await busy.send("busy", LINE)
            await gate.entered.get()
            await gate.entered.get()
            draining = asyncio.ensure_future(server.aclose())
            with pytest.raises(StreamClosed):
                await idle.read(LINE)
            assert not draining.done()
            gate.open.set()
            assert "BUSY" == await busy.read(LINE)
            await draining
    assert 0 == server.stats.open


async def test_draining_hears_out_who_has_just_connected():
    async with await serve(echo, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        await streams(server, 1)
        draining = asyncio.ensure_future(server.aclose())
        for _ in range(5):
            await asyncio.sleep(0)
        await client.send("hello", LINE)
        assert "hello" == await client.read(LINE)
        await draining


async def test_draining_waits_for_a_frame_that_has_begun():
    async with await serve(echo, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        await client.write(b"hel")
        (stream,) = await streams(server, 1)
        await until(lambda: stream.buffered)
        draining = asyncio.ensure_future(server.aclose())
        for _ in range(5):
            await asyncio.sleep(0)
        await client.write(b"lo\n")
        assert "hello" == await client.read(LINE)
        await draining


async def test_draining_serves_what_waits_in_the_backlog():
    server = await serve(echo, "tcp://127.0.0.1:0")
    host, _, port = server.addresses[0].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"hello\n")
        await server.aclose()
        assert b"hello\n" == client.recv(100)


async def test_draining_serves_however_many_wait_in_the_backlog():
    server = await serve(echo, "tcp://127.0.0.1:0")
    host, _, port = server.addresses[0].rpartition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(300)]
    for client in clients:
        client.sendall(b"hello\n")
    await server.aclose()
    assert [b"hello\n"] * 300 == [client.recv(100) for client in clients]
    for client in clients:
        client.close()


async def test_what_takes_longer_than_the_time_to_drain_is_cancelled(caplog):
    gate = Gate()
    async with await serve(gate, "tcp://127.0.0.1:0", drain_timeout=0) as server:
        async with await connect(server.url) as client:
            await gate.entered.get()
            await server.aclose()
            with pytest.raises(StreamClosed):
                await client.read(LINE)
    (record,) = warnings_of_ours(caplog)
    assert f"{server.url}: the time to drain is over, 1 connections are cut" == record.getMessage()


async def test_a_handler_that_ignores_cancellation_loses_its_stream(caplog, monkeypatch):
    monkeypatch.setattr("framestream.net._connections._LAST_WORDS", 0.01)
    gate = Gate()

    async def stubborn(stream):
        while not gate.open.is_set():
            try:
                await gate(stream)
            except asyncio.CancelledError:
                continue

    async with await serve(stubborn, "tcp://127.0.0.1:0", drain_timeout=0) as server:
        async with await connect(server.url) as client:
            await gate.entered.get()
            (stream,) = server.streams
            await server.aclose()
            with pytest.raises(StreamClosed):
                await client.read(LINE)
            assert stream.closed()
    assert any("goes on although it was cancelled" in record.getMessage() for record in caplog.records)
    gate.open.set()
    await until(lambda: not server.stats.open)


async def test_nobody_is_let_in_any_more_once_it_is_closed():
    server = await serve(echo, "tcp://127.0.0.1:0")
    server.close()
    server.close()
    assert server.closed
    with pytest.raises(ConnectError, match="connection refused"):
        await connect(server.url)
    await server.aclose()


async def test_connections_go_on_when_only_the_listening_has_ended():
    async with await serve(echo, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        await streams(server, 1)
        server.close()
        await client.send("hello", LINE)
        assert "hello" == await client.read(LINE)


async def test_serving_for_ever_ends_when_the_server_is_closed():
    server = await serve(echo, "tcp://127.0.0.1:0")
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    await server.aclose()
    await serving


async def test_cancelling_what_serves_for_ever_drains():
    server = await serve(echo, "tcp://127.0.0.1:0")
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.closed


async def test_a_signal_ends_the_serving():
    server = await serve(echo, "tcp://127.0.0.1:0")
    server.close_on(signal.SIGUSR1, signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR1)
    await server.serve_forever()
    assert server.closed


# What it counts


async def test_the_counters_of_closed_connections_are_kept():
    async with await serve(echo, "tcp://127.0.0.1:0") as server:
        for _ in range(2):
            async with await connect(server.url) as client:
                await client.send("hello", LINE)
                await client.read(LINE)
        await server.aclose()
    stats = server.stats
    assert (2, 0) == (stats.accepted, stats.open)
    assert (12, 12) == (stats.bytes_received, stats.bytes_sent)
    assert (2, 2) == (stats.frames_received, stats.frames_sent)


class Observer:
    """A plugin that notes what it is told."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def framestream_server_opened(self, server):
        self.heard.append(("opened", server.url))

    @hookimpl
    def framestream_server_closed(self, server):
        self.heard.append(("closed", server.url))

    @hookimpl
    def framestream_server_failed(self, server, error):
        self.heard.append(("failed", server.url, repr(error)))


async def test_plugins_hear_of_a_server_and_of_what_fails_in_it(caplog):
    async def fail(stream):
        raise KeyError("fail")

    observer = Observer()
    with plugins.isolated():
        plugins.register(observer, "observer")
        async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
            with pytest.raises(StreamClosed):
                await client.read(LINE)
    failed = ("failed", server.url, "KeyError('fail')")
    assert [("opened", server.url), failed, ("closed", server.url)] == observer.heard


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def streams(server, count):
    """Return the server's streams as soon as there are so many."""
    await until(lambda: len(server.streams) == count)
    return server.streams


async def test_a_handler_may_close_its_server_without_waiting_for_itself(caplog):
    async def end(stream):
        await server.aclose()
        await stream.send("closing", LINE)

    gate = Gate()

    async def handler(stream):
        await (end if "end" == await stream.read(LINE) else gate)(stream)

    async with await serve(handler, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client, await connect(server.url) as second:
            async with await connect(server.url) as waiting:
                await waiting.send("wait", LINE)
                await gate.entered.get()
                await client.send("end", LINE)
                await second.send("end", LINE)
                assert "closing" == await client.read(LINE)
                assert "closing" == await second.read(LINE)
                assert server.closed
                assert 1 <= server.stats.open  # the draining waits for the others, too
                gate.open.set()
                await server.serve_forever()
    assert 0 == server.stats.open
    assert [] == warnings_of_ours(caplog)


async def test_a_handler_that_is_cancelled_by_nobody_has_failed(caplog):
    async def fail(stream):
        stream.write(b"last words\n")
        given_up = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await given_up

    async with await serve(fail, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        assert "last words" == await client.read(LINE)
        await until(lambda: not server.stats.open)
        assert 1 == server.stats.handler_failures
    assert "handler failed: CancelledError()" in caplog.text


async def test_a_handler_that_the_server_cancels_has_not_failed(caplog):
    gate = Gate()
    async with await serve(gate, "tcp://127.0.0.1:0") as server, await connect(server.url):
        await gate.entered.get()
        await server.aclose(drain_timeout=0)
        assert 0 == server.stats.handler_failures == server.stats.open
    assert "handler failed" not in caplog.text


PLACES = ["tcp://127.0.0.1:0", "unix:{}/socket", "tls://127.0.0.1:0"]


async def answer_at_once(stream):
    await stream.read(LINE)
    stream.write(b"y" * 200_000)


@pytest.mark.parametrize("place", PLACES)
async def test_a_client_that_is_still_sending_gets_the_whole_answer(place, tmp_path):
    options = {"tls": certificates().server} if place.startswith("tls") else {}
    trust = {"tls": certificates().client()} if place.startswith("tls") else {}
    async with await serve(answer_at_once, place.format(tmp_path), **options) as server:
        async with await connect(server.url, **trust) as client:
            await client.write(b"go\nmore")
            sending = asyncio.ensure_future(client.write(b"x" * 12_000_000))
            assert 200_000 == len(await client.read_until_close())
            await sending
        await until(lambda: not server.stats.open)
        assert 0 == server.stats.peer_failures == server.stats.handler_failures


async def test_a_failed_handlers_last_answer_reaches_a_client_that_is_still_sending():
    async def refuse(stream):
        with suppress(FramingError):
            await stream.read(Line(), max_size=100)
        await stream.write(b"y" * 200_000)
        raise FramingError("refused")

    async with await serve(refuse, "tcp://127.0.0.1:0") as server, await connect(server.url) as client:
        sending = asyncio.ensure_future(client.write(b"x" * 12_000_000))
        assert 200_000 == len(await client.read_until_close())
        await sending


async def test_a_client_that_sends_without_end_is_cut(monkeypatch):
    monkeypatch.setattr("framestream.stream._lingering._MOST", 1_000_000)
    monkeypatch.setattr("framestream.net._connections._LINGER", 1000.0)
    async with await serve(answer_at_once, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            await client.write(b"go\nmore")
            with pytest.raises(StreamClosed):
                while True:
                    await client.write(b"x" * 100_000)


async def test_a_client_that_does_not_notice_the_end_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr("framestream.net._connections._LINGER", 0.01)
    async with await serve(answer_at_once, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            await client.write(b"go\nmore")
            await until(lambda: server.stats.accepted and not server.stats.open)


async def test_nobody_lingers_for_a_client_that_has_sent_nothing_more(monkeypatch):
    monkeypatch.setattr("framestream.net._connections._LINGER", 1000.0)
    async with await serve(answer_at_once, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            await client.write(b"go\n")
            await until(lambda: server.stats.accepted and not server.stats.open)
            assert 200_000 == len(await client.read_until_close())


async def test_lingering_ends_with_the_time_to_drain(monkeypatch):
    monkeypatch.setattr("framestream.net._connections._LINGER", 1000.0)
    async with await serve(answer_at_once, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url) as client:
            await client.write(b"go\nmore")
            await client.read(Exactly(200_000))
            assert 1 == server.stats.open
            await server.aclose(drain_timeout=0)
            assert 0 == server.stats.open


async def test_lingering_goes_on_while_the_server_drains():
    async with await serve(answer_at_once, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url, half_open=True) as client:
            await client.write(b"go\nmore")
            assert 200_000 == len(await client.read_until_close())
            closing = asyncio.ensure_future(server.aclose())
            for _ in range(10):
                await client.write(b"x" * 1_000_000)
            assert not closing.done()
        await closing
