"""What operators see of a server: health and metrics, what its service manager is told, and examples/operations.

With FRAMESTREAM_REAL_PEERS=1, Prometheus, HAProxy and systemd themselves take it.
"""

import asyncio
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from loopback import HERE, LINE, Gate, ask, echo, exchange
from stream_pairs import raised, refused, until
from worker_handlers import answer

from framestream import AddressError, ConnectError, Line, StreamClosed, UntilClose, connect, serve
from framestream.net import admin as admin_module
from framestream.net.serve import watchdog_interval

pytestmark = pytest.mark.asyncio_only


async def request(url, data):
    """Return the status, the headers and the body of the answer to these bytes."""
    async with await connect(url) as stream:
        await stream.write(data)
        head, _, body = (await stream.read(UntilClose())).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    return int(first.split()[1]), headers, body.decode()


async def get(url, path):
    """Return the status and the body of a page."""
    status, _, body = await request(url, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return status, body


async def families(server):
    """Return what a server's metrics say, as Prometheus reads it."""
    parser = pytest.importorskip("prometheus_client.parser")
    status, headers, body = await request(server.admin.url, b"GET /metrics HTTP/1.0\r\n\r\n")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (status, headers["Content-Type"])
    return list(parser.text_string_to_metric_families(body))


async def metrics(server):
    """Return the samples of its metrics: names with labels, and values."""
    samples = [sample for family in await families(server) for sample in family.samples]
    return {
        " ".join([sample.name.removeprefix("framestream_"), *sample.labels.values()]): sample.value
        for sample in samples
    }


# Health and metrics


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
        assert data.startswith(b"HEAD") or str(len(got)) == headers["Content-Length"]
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
        assert (200, "alive\n") == await get(server.admin.url, "/livez")
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
        assert (True, (200, "ready\n")) == (server.ready, await get(server.admin.url, "/readyz"))
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: server.state == "leaving")
        assert (503, "not ready: leaving, 0 connections open\n") == await get(server.admin.url, "/readyz")
        async with await connect(server.url):  # whoever does not know yet is served
            await gate.entered.get()
            os.kill(os.getpid(), signal.SIGUSR1)  # who cannot wait
            await until(lambda: server.closed)
            assert (503, "not ready: draining, 1 connection open\n") == await get(server.admin.url, "/readyz")
            assert (200, "alive\n") == await get(server.admin.url, "/livez")
            gate.open.set()
        await server.serve_forever()
        assert server.admin.closed
    assert not (tmp_path / "admin").exists()


async def test_the_notice_ends_by_itself():
    async with await serve(echo, HERE) as server:
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
            await exchange(stream)
            await stream.write(b"he")
            await until(lambda: server.stats.bytes_unread)
            found = await metrics(server)
            _, page = await get(server.admin.url, "/")
            assert page.endswith(f"unsent\n{ids[-1]} {server.streams[0].peer}; 1, 1; 8, 6; 2, 0\n")
    expected = {
        "ready": 1, "draining": 0,
        "connections_open": 1, "connections_limit": 7, "connections_accepted_total": 5,
        "connections_closed_total done": 1, "connections_closed_total bad_frame": 2,
        "connections_closed_total handler": 1, "connections_closed_total timeout": 0,
        "received_bytes_total": 5 + 16 + 2 + 7 + 6 + 2, "sent_bytes_total": 8 + 6,
        "received_frames_total": 4, "sent_frames_total": 2,
        "bad_frames_total payload": 1, "bad_frames_total oversize": 1, "bad_frames_total framing": 1,
        "buffered_bytes received": 2, "buffered_bytes sent": 0,
        "workers_alive": 0, "accept_failures_total": 0,
    }  # fmt: skip
    assert expected == {name: found[name] for name in expected}
    assert ids[:3] == [record.connection for record in caplog.records if record.name == "framestream.server"]
    assert found["connection_seconds_total"] > 0
    assert any(name.startswith("python_info") for name in found)  # what the program itself measures


async def test_workers_are_summed_in_the_parent_and_it_is_not_ready_without_one(tmp_path):
    url = f"unix:{tmp_path}/admin"
    starting = asyncio.ensure_future(serve(answer, HERE, workers=2, max_connections=1, admin=url))
    await until((tmp_path / "admin").exists)
    assert (503, "not ready: starting, 0 connections open\n") == await get(url, "/readyz")
    async with await starting as server:
        assert (200, "ready\n") == await get(server.admin.url, "/readyz")
        async with await connect(server.url) as one, await connect(server.url) as two:
            for stream in (one, two):
                await exchange(stream)
            await until(lambda: (2, 2) == (server.stats.frames_received, server.stats.open))
            found = await metrics(server)
            assert (2, 2) == (found["workers_alive"], found["connections_limit"])
            assert 12 == found["received_bytes_total"]
        _, page = await get(server.admin.url, "/")
        pids = ", ".join(map(str, [os.getpid(), *server.worker_pids]))
        assert [f"{server.url} is ready", f"processes {pids}"] == page.splitlines()[:2]
        assert "Open connections" not in page  # only the workers have a list
        for pid in server.worker_pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not server.ready)
        status, body = await get(server.admin.url, "/readyz")
        assert (503, "not ready: no worker accepts") == (status, body.partition(",")[0])
        assert (200, "alive\n") == await get(server.admin.url, "/livez")
        await until(lambda: server.workers_alive == 2)
        assert (200, "ready\n") == await get(server.admin.url, "/readyz")
        assert (2, 12) == (server.stats.worker_restarts, server.stats.bytes_received)


async def test_the_page_shows_what_a_peer_calls_itself_as_text(tmp_path):
    gate = Gate()
    async with await serve(gate, f"unix:{tmp_path}/<i>", admin=HERE) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(os.fsencode(tmp_path) + b"/<script>\n")
            client.connect(f"{tmp_path}/<i>")
            await gate.entered.get()
            status, headers, page = await request(server.admin.url, b"GET / HTTP/1.0\r\n\r\n")
            gate.open.set()
    kind, checked = headers["Content-Type"], headers["X-Content-Type-Options"]
    assert (200, "text/plain; charset=utf-8", "nosniff") == (status, kind, checked)
    assert re.search(r"^accepted +1$", page, re.MULTILINE)
    assert re.search(r"^\d+ .*/<script>\\n; 0, 0; 0, 0; 0, 0$", page, re.MULTILINE)


async def test_without_prometheus_client_health_is_told_and_metrics_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "framestream.net.admin", raising=False)
    async with await serve(echo, HERE, admin=HERE) as server:
        assert (200, "alive\n") == await get(server.admin.url, "/livez")
        what = 'metrics need prometheus-client: pip install "framestream[metrics]"\n'
        assert (501, what) == await get(server.admin.url, "/metrics")
        assert "hello" == await ask(server.url)


async def test_silent_connections_refuse_no_health_check_and_no_metric_says_a_limit_that_is_none():
    async with await serve(echo, HERE, admin=HERE) as server, AsyncExitStack() as stack:
        for _ in range(200):
            await stack.enter_async_context(await connect(server.admin.url))
        assert (200, "alive\n") == await get(server.admin.url, "/livez")
        assert server.admin.stats.open <= 2 * admin_module.MOST_REQUESTS
        assert 0 == server.admin.stats.timeouts  # it waited for none of them
        assert {"connections_open", "connections_limit"} & (await metrics(server)).keys() == {"connections_open"}


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_handler_sees_that_its_server_leaves_also_in_a_worker(workers):
    async with await serve(answer, HERE, workers=workers) as server, await connect(server.url) as stream:
        assert stream.server is None
        assert "hello" == await exchange(stream)
        await stream.send("leave", LINE)
        server.leave()
        assert "leave" == await stream.read(LINE)
        assert "leaving" == server.state


# The service manager


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A service manager's socket, in the environment."""
    name = f"{tmp_path}/notify" if request.param == "path" else f"@framestream-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def told(manager):
    """Return the assignments of the next message."""
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))


async def test_it_is_ready_and_stops(manager):
    gate = Gate()
    async with await serve(gate, HERE) as server:
        assert server.notify_systemd()
        assert {"READY": "1", "STATUS": f"serving {server.url}"} == told(manager)
        server.close_on(signal.SIGUSR1, notice=600)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: server.state == "leaving")
        assert {"STOPPING": "1", "STATUS": f"leaving {server.url}"} == told(manager)
    async with await serve(gate, HERE) as server:
        assert server.notify_systemd()
        assert "READY" in told(manager)
    assert {"STOPPING": "1", "STATUS": f"draining {server.url}"} == told(manager)
    refused(BlockingIOError, manager.recv, 1)


async def test_it_shows_that_it_is_alive_until_it_has_drained(manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    gate, loop = Gate(), asyncio.get_running_loop()
    async with await serve(gate, HERE) as server, await connect(server.url):
        await gate.entered.get()
        server.notify_systemd()
        assert {"READY", "STATUS"} == told(manager).keys()
        started = loop.time()
        for _ in range(5):
            assert b"WATCHDOG=1" == await loop.sock_recv(manager, 100)
        assert 0.03 < loop.time() - started  # four times half of 20 ms, by a clock that may be coarse
        draining = asyncio.ensure_future(server.aclose())
        while b"STOPPING" not in await loop.sock_recv(manager, 100):
            pass
        assert b"WATCHDOG=1" == await loop.sock_recv(manager, 100)
        gate.open.set()
        await draining


@pytest.mark.parametrize("manager", ["path"], indirect=True)
async def test_a_reload_begins_with_the_time_and_ends_ready(manager):
    async with await serve(answer, HERE, workers=1) as server:
        server.notify_systemd()
        assert "READY" in told(manager)
        times = [time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000]
        await server.reload()
        begun = told(manager)
        assert "1" == begun["RELOADING"]
        times += [int(begun["MONOTONIC_USEC"]), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000]
        assert times == sorted(times)
        assert {"READY": "1", "STATUS": f"serving {server.url}"} == told(manager)
        reloading = asyncio.ensure_future(server.reload())
        await until(lambda: len(multiprocessing.active_children()) > 1)
    await reloading
    assert "RELOADING" in told(manager)
    assert "1" == told(manager)["STOPPING"]
    refused(BlockingIOError, manager.recv, 1)  # it is not ready any more


@pytest.mark.parametrize("manager", ["path"], indirect=True)
async def test_who_is_not_to_be_told_or_knows_that_it_leaves_hears_of_no_reload_and_a_closed_server_has_none(manager):
    for is_managed in (False, True):
        async with await serve(answer, HERE, workers=1) as server:
            if is_managed:
                server.notify_systemd()
                server.leave()
                assert ["READY", "STOPPING"] == [next(iter(told(manager))) for _ in range(2)]
                await server.reload()
            before = server.worker_pids
        await server.reload()
        assert before == server.worker_pids
        refused(BlockingIOError, manager.recv, 1)


@pytest.mark.parametrize(("environment", "interval"), [
    ({}, 0),
    ({"WATCHDOG_USEC": "3000000"}, 1.5),
    ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0),
    ({"WATCHDOG_USEC": "soon"}, 0),
    ({"WATCHDOG_USEC": "0"}, 0),
])  # fmt: skip
def test_what_the_watchdog_allows(environment, interval, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert interval == watchdog_interval()


async def test_without_a_manager_nothing_is_done_and_one_that_is_gone_costs_a_warning(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    async with await serve(echo, HERE) as server:
        before = asyncio.all_tasks()
        assert not server.notify_systemd()
        assert before == asyncio.all_tasks()
        monkeypatch.delenv("WATCHDOG_USEC")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/nobody")
        assert server.notify_systemd()
    assert 2 == caplog.text.count("cannot tell the service manager: no such file or directory")


# The programs that read all that

OPERATIONS = Path(__file__).parents[1] / "examples" / "operations"


def needs(*programs):
    """Skip a test unless it is asked for, and these programs are there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if os.environ.get("FRAMESTREAM_REAL_PEERS") != "1":
        return pytest.mark.skip(reason="real programs are talked to only if FRAMESTREAM_REAL_PEERS=1")
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def queries():
    """Return every expression of the dashboard and the alerts, with its variables filled in."""
    dashboard = json.loads((OPERATIONS / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    filled = [expr.replace("$__rate_interval", "1m").replace("$instance", ".*") for expr in found]
    assert not any("$" in expr for expr in filled)
    return filled


async def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are():
    async with await serve(echo, HERE, admin=HERE, max_connections=1) as server:
        told = await families(server)
    there = {sample.name for family in told for sample in family.samples}
    asked = set(re.findall(r"framestream_\w+", " ".join(queries()) + (OPERATIONS / "alerts.yml").read_text()))
    assert set() == asked - there
    assert all(family.documentation for family in told if family.name.startswith("framestream_"))


@needs("promtool")
@pytest.mark.parametrize(
    "command", ["check rules alerts.yml", "check config prometheus.yml", "test rules alerts_test.yml"]
)
def test_promtool_takes_the_alerts_and_their_tests(command):
    ran = subprocess.run(["promtool", *command.split()], cwd=OPERATIONS, capture_output=True, text=True)
    assert (0, "") == (ran.returncode, ran.stderr)


@asynccontextmanager
async def prometheus(folder, targets):
    """Run Prometheus on these targets, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = (OPERATIONS / "prometheus.yml").read_text().replace("15s", "200ms")
    config = re.sub(r"targets: .*", f"targets: {json.dumps(targets)}", config)
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(OPERATIONS / "alerts.yml", folder)
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    process = await asyncio.create_subprocess_exec(
        *("prometheus", *options, f"--web.listen-address={address}", "--log.level=error")
    )
    try:
        yield f"tcp://{address}"
    finally:
        process.terminate()
        await process.wait()


async def result(url, query):
    """Return what an expression is, as Prometheus says; nothing while it starts."""
    try:
        answer = json.loads((await get(url, f"/api/v1/query?query={quote(query, safe='')}"))[1] or "{}")
    except (ConnectError, StreamClosed, ValueError, IndexError):
        return []
    assert answer.get("status") != "error", (query, answer)
    return [float(found["value"][1]) for found in answer.get("data", {"result": []})["result"]]


@needs("prometheus", "promtool")
async def test_prometheus_scrapes_a_server_with_workers_and_answers_every_query_of_the_dashboard(tmp_path):
    async with await serve(answer, HERE, workers=2, max_connections=100, admin=HERE) as server:
        _, page = await get(server.admin.url, "/metrics")
        lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        assert (0, "") == (lint.returncode, lint.stderr)
        async with (
            prometheus(tmp_path, [server.admin.url.removeprefix("tcp://")]) as url,
            await connect(server.url) as stream,
        ):
            frames = 0
            while not await result(url, "rate(framestream_received_frames_total[1m]) > 0"):
                await (await connect(server.url)).aclose()
                await exchange(stream)
                frames += 1
            assert [] == [query for query in queries() if not await result(url, query)]
            while [float(frames)] != await result(url, "framestream_received_frames_total"):
                await asyncio.sleep(0.05)
            assert [1.0] == await result(url, "framestream_ready")
            assert [1.0, 2.0] == sorted(
                await result(url, "framestream_connections_open") + await result(url, "framestream_workers_alive")
            )
            rules = json.loads((await get(url, "/api/v1/rules"))[1])["data"]["groups"][0]["rules"]
            assert {"ok"} == {rule["health"] for rule in rules if rule["lastEvaluation"][:4] != "0001"}
            assert len(rules) == 7


@needs("haproxy")
@pytest.mark.parametrize("options", [["--clients", "100"], ["--clients", "100", "--silent"]])
def test_a_rolling_restart_behind_haproxy_loses_no_frame_and_readiness_is_honest(options):
    script = OPERATIONS / "rolling_restart.py"
    ran = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=90)
    assert (0, "") == (ran.returncode, ran.stderr), ran.stdout
    assert json.loads(ran.stdout)["answered"] >= 100


UNIT = """
[Service]
Type=notify
WatchdogSec=1
Restart=no
Environment=PYTHONPATH={root}
ExecStart={python} -m framestream serve tcp://127.0.0.1:0 -f line --echo --notice 0.5
"""

# systemd runs as a manager of a user's services, in namespaces of its own, where it believes to have booted.
BOOTED = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system {folder}/run
export XDG_RUNTIME_DIR={folder}/run SYSTEMD_UNIT_PATH={folder}/units
systemd --user --unit=basic.target > {folder}/log 2>&1 &
until systemctl --user is-active --quiet basic.target 2>/dev/null; do sleep 0.1; done
ask() {{ systemctl --user show --value chat.service -p "$1"; }}
systemctl --user start chat.service && ask StatusText
sleep 3  # three times as long as the watchdog waits
ask ActiveState
systemctl --user stop chat.service && ask Result
systemctl --user start chat.service && systemctl --user kill --signal=STOP chat.service
while [ "$(ask ActiveState)" = active ]; do sleep 0.1; done
systemctl --user kill --signal=CONT chat.service
while [ "$(ask ActiveState)" = deactivating ]; do sleep 0.1; done
ask Result
kill %1
"""


@needs("systemd", "systemctl", "unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root")
def test_systemd_takes_it_for_ready_alive_stopped_and_hung(tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    (units / "basic.target").write_text("[Unit]\nDescription=What it starts\n")
    root = Path(__file__).parents[1]
    (units / "chat.service").write_text(UNIT.format(root=root, python=sys.executable))
    script = BOOTED.format(folder=tmp_path)
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90)
    said, *states = ran.stdout.split("\n")
    assert re.fullmatch(r"serving tcp://127\.0\.0\.1:\d+", said), ran
    assert ["active", "success", "watchdog", ""] == states
