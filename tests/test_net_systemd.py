"""What a server tells the service manager, and whether systemd itself would understand it."""

import asyncio
import os
import signal
import socket
import time

import pytest
from loopback import HERE, Gate, echo
from stream_pairs import refused, until
from worker_handlers import answer

from framestream import connect, serve
from framestream.net.serve import ServiceManager

pytestmark = pytest.mark.asyncio_only


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
        before = time_now()
        await server.reload()
        begun = told(manager)
        assert "1" == begun["RELOADING"]
        assert before <= int(begun["MONOTONIC_USEC"]) <= time_now()
        assert {"READY": "1", "STATUS": f"serving {server.url}"} == told(manager)


def time_now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(("environment", "listens", "interval"), [
    ({}, False, None),
    ({"NOTIFY_SOCKET": ""}, False, None),
    ({"NOTIFY_SOCKET": "vsock:2:3"}, False, None),
    ({"WATCHDOG_USEC": "1000000"}, False, None),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000"}, True, 1.5),
    ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, True, None),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, True, None),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, True, None),
])  # fmt: skip
def test_what_the_environment_asks_for(environment, listens, interval):
    manager = ServiceManager(environment)
    assert (listens, interval) == (manager.listens, manager.watchdog_interval)


async def test_a_manager_that_is_gone_costs_a_warning(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with await serve(echo, HERE) as server:
        assert not server.notify_systemd()
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/nobody")
        assert server.notify_systemd()
    assert 2 == caplog.text.count("cannot tell the service manager: no such file or directory")
