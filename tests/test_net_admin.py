"""What a server says about itself by HTTP, and how it leaves."""

import asyncio
import os
import re
import signal
import socket
import sys
from contextlib import AsyncExitStack

import pytest
from loopback import HERE, LINE, Gate, ask, echo
from stream_pairs import raised, refused, until
from worker_handlers import answer

from framestream import AddressError, Line, UntilClose, connect, serve
from framestream.net import admin as admin_module

pytestmark = pytest.mark.asyncio_only


async def request(url, data):
    """Return the status, the headers and the body of the answer to these bytes."""
    async with await connect(url) as stream:
        await stream.write(data)
        head, _, body = (await stream.read(UntilClose())).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert str(len(body)) == headers["Content-Length"] or data.startswith(b"HEAD")
    return int(first.split()[1]), headers, body.decode()


async def get(server, path):
    """Return the status and the body of a page of a server's admin."""
    status, _, body = await request(server.admin.url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return status, body


async def metrics(server):
    """Return the samples of /metrics: names with labels, and values."""
    parser = pytest.importorskip("prometheus_client.parser")
    status, body = await get(server, "/metrics")
    assert 200 == status
    return {
        sample.name.removeprefix("framestream_")
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(body)
        for sample in family.samples
    }


@pytest.mark.parametrize(("data", "status", "body"), [
    (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200, "alive\n"),
    (b"GET /readyz HTTP/1.0\n\n", 200, "ready\n"),
    (b"GET /readyz?verbose=1 HTTP/1.1\r\n\r\n", 200, "ready\n"),
    (b"HEAD /livez HTTP/1.1\r\n\r\n", 200, ""),
    (b"POST /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405, "only GET and HEAD are answered\n"),
    (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404, None),
    (b"GET http://x/livez HTTP/1.1\r\n\r\n", 404, None),
    (b"hello\r\n\r\n", 400, None),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, None),
    (b"GET /livez HTTP/1.1\r\nCookie: %b\r\n\r\n" % bytes(9000), 431, None),
])  # fmt: skip
async def test_a_request_is_answered_and_the_connection_closed(data, status, body):
    async with await serve(echo, HERE, admin=HERE) as server:
        found, headers, got = await request(server.admin.url, data)
        assert (status, "close") == (found, headers["Connection"])
        assert "GET, HEAD" == headers.get("Allow", "GET, HEAD")
        assert body is None or body == got
        assert server.admin.url.encode() not in got.encode()  # nothing of a request comes back


async def test_a_request_that_does_not_come_to_its_end_is_given_up(monkeypatch):
    monkeypatch.setattr(admin_module, "REQUEST_TIMEOUT", 0.05)
    async with await serve(echo, HERE, admin=HERE) as server:
        async with await connect(server.admin.url) as slow, await connect(server.admin.url) as short:
            await slow.write(b"GET /livez")
            await short.write(b"GET /livez")
            short.write_eof()
            assert [b"", b""] == [await stream.read(UntilClose()) for stream in (slow, short)]
        assert (200, "alive\n") == await get(server, "/livez")
        await until(lambda: not server.admin.stats.open)
        assert (1, 0) == (server.admin.stats.timeouts, server.admin.stats.handler_failures)
        assert 0 == server.stats.accepted


async def test_where_it_cannot_listen_nothing_listens():
    plain = "admin is tls://localhost:1; it speaks plain HTTP: use "
    await raised(AddressError, serve, echo, HERE, admin="tls://localhost:1", match=plain)
    await raised(AddressError, serve, echo, HERE, admin="nowhere", match="nowhere")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        url, other = (f"tcp://127.0.0.1:{sock.getsockname()[1]}" for sock in (taken, free))
        free.close()
        for urls in ((other, url), (url, other)):
            await raised(OSError, serve, echo, urls[0], admin=urls[1], match=f"cannot listen on {url}")
    async with await serve(echo, other):
        pass


async def test_readiness_goes_before_the_server_leaves_and_health_stays_until_the_end(tmp_path):
    gate = Gate()
    async with await serve(gate, HERE, admin=f"unix:{tmp_path}/admin") as server:
        server.close_on(signal.SIGUSR1, notice=600)
        assert (True, (200, "ready\n")) == (server.ready, await get(server, "/readyz"))
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: server.state == "leaving")
        assert (503, "not ready: leaving, 0 connections open\n") == await get(server, "/readyz")
        async with await connect(server.url):  # whoever does not know yet is served
            await gate.entered.get()
            os.kill(os.getpid(), signal.SIGUSR1)  # who cannot wait
            await until(lambda: server.closed)
            assert (503, "not ready: draining, 1 connection open\n") == await get(server, "/readyz")
            assert (200, "alive\n") == await get(server, "/livez")
            gate.open.set()
        await server.serve_forever()
        assert server.admin.closed
    assert not (tmp_path / "admin").exists()


async def test_the_notice_ends_by_itself(tmp_path):
    async with await serve(echo, HERE, admin=HERE) as server:
        server.close_on(signal.SIGUSR1, notice=0.05)
        os.kill(os.getpid(), signal.SIGUSR1)
        await server.serve_forever()
        server.leave()
        assert "draining" == server.state
        refused(ValueError, server.close_on, signal.SIGUSR1, notice=-1, match="notice is -1")


async def test_metrics_count_connections_frames_and_what_went_wrong(caplog):
    ids = []

    async def handle(stream):
        ids.append(stream.id)
        async for line in stream.frames(Line(max_size=10)):
            if line == "fail":
                raise RuntimeError
            await stream.send(line, LINE)

    async with await serve(handle, HERE, admin=HERE, max_connections=7) as server:
        for sent in (b"fail\n", b"too long a line\n", b"\xff\n", b"cut off"):
            async with await connect(server.url) as stream:
                await stream.write(sent)
                stream.write_eof()
                await stream.read(UntilClose())
        await until(lambda: not server.stats.open)
        async with await connect(server.url) as stream:
            await stream.send("hello", LINE)
            await stream.read(LINE)
            await stream.write(b"he")
            await until(lambda: server.stats.bytes_unread)
            await until(lambda: sum(server.stats.loop_lag.counts))
            found = await metrics(server)
    expected = {
        "ready": 1, "draining": 0,
        "connections_open": 1, "connections_limit": 7, "connections_accepted_total": 5,
        "connections_closed_total done": 1, "connections_closed_total bad_frame": 2,
        "connections_closed_total handler": 1, "connections_closed_total timeout": 0,
        "connection_duration_seconds_count": 4, "connection_duration_seconds_bucket +Inf": 4,
        "received_bytes_total": 5 + 16 + 2 + 7 + 6 + 2, "sent_bytes_total": 8 + 6,
        "received_frames_total": 4, "sent_frames_total": 2,
        "bad_frames_total payload": 1, "bad_frames_total oversize": 1, "bad_frames_total framing": 1,
        "buffered_bytes received": 2, "buffered_bytes sent": 0,
        "workers_alive": 0, "accept_failures_total": 0,
    }  # fmt: skip
    assert expected == {name: found[name] for name in expected}
    assert ids[:3] == [record.connection for record in caplog.records if record.name == "framestream.server"]
    assert found["event_loop_lag_seconds_count"] >= 1
    assert found["event_loop_lag_seconds_bucket 0.001"] <= found["event_loop_lag_seconds_bucket +Inf"]
    assert any(name.startswith("python_info") for name in found)  # what the program itself measures


async def test_workers_are_summed_in_the_parent_and_it_is_not_ready_without_one(tmp_path):
    url = f"unix:{tmp_path}/admin"
    starting = asyncio.ensure_future(serve(answer, HERE, workers=2, max_connections=1, admin=url))
    await until((tmp_path / "admin").exists)
    status, _, body = await request(url, b"GET /readyz HTTP/1.1\n\n")
    assert (503, "not ready: starting, 0 connections open\n") == (status, body)
    async with await starting as server:
        assert (200, "ready\n") == await get(server, "/readyz")
        async with await connect(server.url) as one, await connect(server.url) as two:
            for stream in (one, two):
                await stream.send("hello", LINE)
                await stream.read(LINE)
            await until(lambda: (2, 2) == (server.stats.frames_received, server.stats.open))
            await until(lambda: sum(server.stats.loop_lag.counts) >= 2)
            assert 2 == server.stats.open
            found = await metrics(server)
            assert (2, 2) == (found["workers_alive"], found["connections_limit"])
            assert 12 == found["received_bytes_total"]
        _, page = await get(server, "/")
        text = re.sub("(<.*?>)+", " ", page)
        assert " is ready" in text
        assert f"workers {', '.join(map(str, server.worker_pids))}" in text
        assert re.search(r"loop lag, on average \d+\.\d{3} s", text)
        for pid in server.worker_pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not server.ready)
        status, body = await get(server, "/readyz")
        assert (503, "not ready: no worker accepts") == (status, body.partition(",")[0])
        assert (200, "alive\n") == await get(server, "/livez")
        await until(lambda: server.workers_alive == 2)
        assert (200, "ready\n") == await get(server, "/readyz")
        assert (2, 12) == (server.stats.worker_restarts, server.stats.bytes_received)


async def test_the_page_shows_what_a_peer_calls_itself_as_text(tmp_path):
    gate = Gate()
    async with await serve(gate, f"unix:{tmp_path}/<i>", admin=HERE) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(os.fsencode(tmp_path) + b"/<script>\n")
            client.connect(f"{tmp_path}/<i>")
            await gate.entered.get()
            status, page = await get(server, "/")
            gate.open.set()
    assert 200 == status
    assert "<script" not in page
    assert "<i>" not in page
    assert "/&lt;script&gt;\\n" in page
    assert "connections" in re.sub("<.*?>", "", page)


async def test_without_a_limit_of_connections_no_metric_says_one():
    async with await serve(echo, HERE, admin=HERE) as server:
        found = await metrics(server)
    assert "connections_open" in found
    assert "connections_limit" not in found


async def test_without_prometheus_client_health_is_told_and_metrics_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "framestream.net.admin", raising=False)
    async with await serve(echo, HERE, admin=HERE) as server:
        assert (200, "alive\n") == await get(server, "/livez")
        what = 'metrics need prometheus-client: pip install "framestream[metrics]"\n'
        assert (501, what) == await get(server, "/metrics")
        assert "hello" == await ask(server.url)


@pytest.mark.asyncio_only
async def test_silent_connections_refuse_no_health_check():
    async with await serve(echo, HERE, admin=HERE) as server, AsyncExitStack() as stack:
        for _ in range(200):
            await stack.enter_async_context(await connect(server.admin.url))
        assert (200, "alive\n") == await get(server, "/livez")
        assert 0 == server.admin.stats.timeouts  # it waited for none of them


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.asyncio_only
async def test_a_handler_sees_that_its_server_leaves_also_in_a_worker(workers):
    async with await serve(answer, HERE, workers=workers) as server, await connect(server.url) as stream:
        assert stream.server is None
        await stream.send("hello", LINE)
        assert "hello" == await stream.read(LINE)
        await stream.send("leave", LINE)
        server.leave()
        assert "leave" == await stream.read(LINE)
        assert "leaving" == server.state
