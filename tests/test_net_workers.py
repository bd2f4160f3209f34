"""Servers of several processes. Each test starts interpreters, so there are few."""

import asyncio
import contextlib
import gc
import importlib
import logging
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from certificates import certificates
from command_line import start
from conftest import LOOPS
from distributions import site
from loopback import HERE, LINE, ask, exchange, no_more_descriptors, open_descriptors, warned
from stream_pairs import passes, raised, until
from worker_handlers import Fickle, Unstartable, answer, block, converse, forge, own_tls

from framestream import ConnectError, Line, StreamClosed, WorkerError, connect, plugins, serve

pytestmark = pytest.mark.asyncio_only


@pytest.fixture(autouse=True)
def restarts(monkeypatch):
    """Let no test wait long until a worker is replaced."""
    monkeypatch.setattr("framestream.net.workers.FIRST_RESTART_DELAY", 0.01)


@pytest.mark.parametrize("event_loop_name", LOOPS, indirect=True)
async def test_workers_share_a_port_and_their_counters_are_added_up():
    async with await serve(answer, HERE, workers=2, max_connections=1) as server:
        async with await connect(server.url) as one, await connect(server.url) as two:
            pids = set()
            for stream in (one, two):
                pids.add(int(await exchange(stream, "pid")))
            assert set(server.worker_pids) == pids
            assert [] == server.streams
            await until(lambda: server.stats.open == 2)
    stats = server.stats
    assert (2, 2, 0) == (stats.accepted, stats.frames_received, stats.open)
    async with await serve(answer, HERE) as server:
        assert [] == server.worker_pids
        await raised(TypeError, server.reload, match="only a server with workers can be reloaded")


async def test_a_worker_that_dies_is_replaced_and_one_that_is_told_to_terminate_drains(caplog):
    caplog.set_level(logging.INFO)
    async with await serve(answer, HERE, workers=1, max_connections=1) as server:
        (old,) = server.worker_pids
        await raised(StreamClosed, ask, server.url, "die")
        pid = await ask(server.url, "pid")  # what waits in the backlog is served
        assert str(old) != pid
        async with await connect(server.url) as stream:
            for of_the_terminal in (signal.SIGINT, signal.SIGHUP):  # they reach the whole group; it is ours to decide
                os.kill(int(pid), of_the_terminal)
            assert "hello" == await exchange(stream)
            os.kill(int(pid), signal.SIGTERM)
            await raised(StreamClosed, stream.read, LINE)
        await until(lambda: server.stats.open == 0)
        assert "hello" == await ask(server.url)
    ended = f"{server.url}: worker {old} ended with exit code 3"
    assert [ended] == warned(caplog)  # that one was told to terminate is no news to whoever told it
    assert f"worker {pid} was told to terminate" in caplog.text


async def test_a_worker_that_dies_is_replaced_while_what_it_has_forked_runs_on():
    async with await serve(answer, HERE, workers=1) as server, await connect(server.url) as stream:
        assert "fork" == await exchange(stream, "fork")
        (pid,) = server.worker_pids
        os.kill(pid, signal.SIGKILL)
        assert str(pid) != await ask(server.url, "pid")
        await server.aclose()
        assert 0 == server.stats.open


async def test_what_modules_print_while_a_worker_imports_them_is_no_output(tmp_path, monkeypatch, capfd):
    loud = "from framestream import Line\nprint('loud')\nclass Loud(Line):\n    pass\n"
    (tmp_path / "loud_lines.py").write_text(loud)
    monkeypatch.syspath_prepend(tmp_path)
    framer = importlib.import_module("loud_lines").Loud()
    assert "loud\n" == capfd.readouterr().out
    async with await serve(converse, HERE, workers=1, framer=framer) as server:
        assert str(server.worker_pids[0]) == await ask(server.url)
    assert ("", "loud\n") == capfd.readouterr()


async def test_while_a_worker_cannot_be_replaced_the_others_serve_everybody(caplog):
    async with await serve(answer, HERE, workers=2) as server:
        lost, other = server.worker_pids
        host, _, port = server.addresses[0].rpartition(":")
        with contextlib.ExitStack() as clients:
            new = [clients.enter_context(socket.socket()) for _ in range(12)]
            with no_more_descriptors():
                os.kill(lost, signal.SIGKILL)
                await until(lambda: caplog.text.count("cannot start a worker:") >= 2)  # it is tried again
                assert 1 == server.workers_alive
                await raised(WorkerError, server.reload, match="cannot start a worker: too many open files")
                for client in new:
                    client.connect((host, int(port)))
                    client.sendall(b"pid\n")
                assert {b"%d\n" % other} == {client.recv(100) for client in new}
        await until(lambda: lost not in server.worker_pids)
    assert f"{server.url}: cannot start a worker: too many open files" in caplog.text
    assert [] == multiprocessing.active_children()


async def test_a_worker_that_cannot_be_replaced_is_tried_again_after_twice_the_time_up_to_a_limit(monkeypatch):
    for name, seconds in {"FIRST_RESTART_DELAY": 0.002, "LONGEST_RESTART_DELAY": 0.008}.items():
        monkeypatch.setattr(f"framestream.net.workers.{name}", seconds)
    handler = Fickle(lasts=2)  # as it is when it is looked at, and when the first worker starts
    async with await serve(handler, HERE, workers=1) as server:
        os.kill(server.worker_pids[0], signal.SIGKILL)
        await until(lambda: len(handler.tried) > 24)  # for hours, if there were no limit
    pauses = [later - before for before, later in pairwise(handler.tried[2:])]
    assert [0.004] + [0.008] * (len(pauses) - 1) <= [pause + 1e-6 for pause in pauses]


@pytest.mark.parametrize(("early", "before", "after"), [(1e9, 0.001, 1e9), (-1.0, 1e9, 0.001)], ids=["soon", "late"])
async def test_only_after_a_worker_that_has_lived_for_long_does_the_time_to_replace_one_begin_anew(
    early, before, after, monkeypatch
):
    monkeypatch.setattr("framestream.net.workers.EARLY_DEATH", early)
    monkeypatch.setattr("framestream.net.workers.FIRST_RESTART_DELAY", before)
    async with await serve(answer, HERE, workers=1) as server:
        await passes()  # it knows how long the first pause is
        monkeypatch.setattr("framestream.net.workers.FIRST_RESTART_DELAY", after)
        for _ in range(2):
            (pid,) = server.worker_pids
            os.kill(pid, signal.SIGKILL)
            await until(lambda: server.worker_pids != [pid])  # noqa: B023


@pytest.mark.parametrize("place", [HERE, "unix:{}/socket"])
async def test_a_busy_worker_that_is_told_to_terminate_has_a_successor_before_it_has_drained(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr("framestream.net.workers.KILL_DELAY", 0.1)
    async with await serve(answer, place.format(tmp_path), workers=1, drain_timeout=30) as server:
        (old,) = server.worker_pids
        async with await connect(server.url) as busy:
            await busy.send("stay", LINE)
            os.kill(old, signal.SIGTERM)
            await until(lambda: old not in server.worker_pids)
            assert str(server.worker_pids[0]) == await ask(server.url, "pid")
            # The old one is still counted, and nothing is left to be reported by who is killed.
            await until(lambda: (2, 1) == (server.stats.accepted, server.stats.open))
            await server.aclose(drain_timeout=0)  # and drained no longer than this says
    assert (2, 0) == (server.stats.accepted, server.stats.open)


async def test_workers_that_crash_at_their_start_are_tried_again_and_a_reload_need_not_wait(
    tmp_path, caplog, monkeypatch
):
    obstacle = tmp_path / "obstacle"
    async with await serve(Unstartable(str(obstacle)), HERE, workers=1) as server:
        obstacle.touch()
        os.kill(server.worker_pids[0], signal.SIGKILL)
        await until(lambda: caplog.text.count("ended with exit code 7") >= 2)
        obstacle.unlink()
        await server.reload()
        assert str(server.worker_pids[0]) == await ask(server.url, "pid")
        monkeypatch.setattr("framestream.net.workers.START_TIMEOUT", 0)
        await raised(WorkerError, server.reload(), match=r"-9 .killed: it did not accept within 0 s.; the old ones")
        assert "hello" == await ask(server.url)


async def test_a_worker_that_dies_while_it_is_replaced_or_is_not_leaves_one_worker():
    async with await serve(answer, HERE, workers=1) as server:
        given_up = asyncio.ensure_future(server.reload())
        await asyncio.sleep(0)
        given_up.cancel()
        await until(lambda: server.worker_pids == [child.pid for child in multiprocessing.active_children()])
        reloading = asyncio.ensure_future(server.reload())
        await asyncio.sleep(0)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)  # Ctrl-C: one has hardly begun to start
        os.kill(server.worker_pids[0], signal.SIGKILL)
        await reloading
        assert await ask(server.url, "pid") == str(server.worker_pids[0])
    assert [] == multiprocessing.active_children()


async def test_the_service_of_the_how_to_page_reloads_and_ends_when_it_is_told(tmp_path):
    page = Path(__file__).parents[1] / "docs" / "how-to" / "graceful-restart.md"
    code = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    (service,) = [text for text in code if "def reloading_service" in text]
    names = {"serve": serve, "Line": Line, "asyncio": asyncio, "signal": signal}
    exec(service.replace("workers=4", "workers=1"), names)
    url = f"unix:{tmp_path}/socket"
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    serving = asyncio.ensure_future(names["reloading_service"](url, converse))
    while signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        await asyncio.sleep(0.005)
    before = await ask(url, "pid")
    os.kill(os.getpid(), signal.SIGHUP)
    while before == await ask(url, "pid"):
        pass
    for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
        os.kill(process.pid, signal.SIGTERM)  # as service managers tell the whole group
    await serving
    signal.signal(signal.SIGHUP, kept)
    assert [] == multiprocessing.active_children()


async def test_reloading_replaces_every_worker_and_turns_nobody_away(tmp_path):
    async with await serve(Unstartable(f"{tmp_path}/no"), f"unix:{tmp_path}/socket", workers=2) as server:
        before = set(server.worker_pids)
        async with await connect(server.url) as busy:
            assert int(await exchange(busy, "pid")) in before
            with socket.socket(socket.AF_UNIX) as gate:
                gate.bind(f"{tmp_path}/no")
                gate.listen()
                gate.setblocking(False)
                reloading = asyncio.ensure_future(server.reload())
                for _ in before:
                    fresh, _ = await asyncio.get_running_loop().sock_accept(gate)
                    assert "hello" == await ask(server.url)  # while it starts
                    asking = [asyncio.ensure_future(ask(server.url)) for _ in range(9)]
                    fresh.close()
                    assert ["hello"] * 9 == await asyncio.gather(*asking)  # while it takes over
                await reloading
            (tmp_path / "no").unlink()
            await raised(StreamClosed, busy.read, LINE)  # the old worker has drained
        after = server.worker_pids
        assert (2, set()) == (len(after), before & set(after))
        (tmp_path / "no").touch()
        await raised(WorkerError, server.reload(), match="the new worker ended with exit code 7; the old ones stay")
        assert after == server.worker_pids
        assert "hello" == await ask(server.url)
        (tmp_path / "no").unlink()
        reloading = asyncio.ensure_future(server.reload())
        await asyncio.sleep(0)
        await server.aclose()
        await reloading
    assert [] == multiprocessing.active_children()
    assert not (tmp_path / "socket").exists()


async def test_a_reload_during_which_the_server_closes_has_not_failed(monkeypatch):
    async with await serve(answer, HERE, workers=1) as server:
        monkeypatch.setattr("framestream.net.workers.KILL_DELAY", 0)
        reloading = asyncio.ensure_future(server.reload())
        await until(lambda: len(multiprocessing.active_children()) > 1)
        await server.aclose(drain_timeout=0)  # kills the new worker before it can serve
        await reloading
    assert [] == multiprocessing.active_children()


WITNESS = """
import os
from framestream import hookimpl

@hookimpl
def framestream_stream_opened(stream):
    if stream.peer.startswith("127."):
        with open(os.environ["WITNESS"], "a") as notes:
            notes.write(f"{os.getpid()}\\n")
"""


async def test_workers_make_their_own_tls_context_and_plugins_in_use_hear_of_their_streams(tmp_path, monkeypatch):
    notes, files = tmp_path / "notes", certificates()
    for name, value in {"WITNESS": notes, "CERTIFICATE": files.certificate, "KEY": files.key}.items():
        monkeypatch.setenv(name, str(value))
    with site(tmp_path) as place, plugins.isolated():
        place.install("witness-plugin", WITNESS, "witness")
        plugins.load("witness")
        plugins.register(Line, "our-own")  # cannot be found from another process, and is not sought
        async with await serve(answer, "tls://127.0.0.1:0", workers=1, tls=own_tls) as server:
            assert "hello" == await ask(server.url, tls=files.client())
            (pid,) = server.worker_pids
    assert {str(pid), str(os.getpid())} == set(notes.read_text().split())


async def test_a_worker_that_cannot_start_fails_the_server_and_leaves_nothing_open():
    before = open_descriptors()
    with pytest.raises(WorkerError, match="a worker ended with exit code 7 before it served"):
        await serve(Unstartable(), HERE, workers=1)
    await raised(WorkerError, serve, Fickle(), HERE, workers=1, match="cannot start a worker: not again")
    gc.collect()  # multiprocessing keeps two pipes as long as its object, which the errors refer to
    assert open_descriptors() <= before


async def test_a_worker_that_reports_what_makes_no_sense_is_replaced_and_counts_for_nothing():
    async with await serve(forge, HERE, workers=1) as server:
        for report in ("5", '{"open": "many"}'):
            before = server.worker_pids
            async with await connect(server.url) as stream:
                await stream.send(report, LINE)
                await raised(StreamClosed, stream.read, LINE)
            await until(lambda: before != server.worker_pids and server.workers_alive)  # noqa: B023
        await until(lambda: len(multiprocessing.active_children()) == 1)
    stats = server.stats
    assert (0, 2) == (stats.open, stats.worker_restarts)
    assert stats.accepted <= 2


async def test_a_worker_whose_handler_blocks_it_is_killed(monkeypatch):
    monkeypatch.setattr("framestream.net.workers.KILL_DELAY", 0)
    async with await serve(block, HERE, workers=1, drain_timeout=0) as server:
        async with await connect(server.url) as stream:
            assert "blocking" == await stream.read(LINE)
            await server.aclose()
            await raised(StreamClosed, stream.read, LINE)


async def test_workers_of_the_command_log_as_it_was_told_to():
    options = ["-f", "line", "--idle-timeout", "0.05", "--workers", "1", "-v"]
    with start("serve", HERE, *options) as server:
        url = server.stderr.readline().split()[-1].decode()
        async with await connect(url) as stream:
            peer = "{}:{}".format(*stream.transport.socket.getsockname())
            await raised(StreamClosed, stream.read, LINE)
        server.terminate()
        told = rf"framestream: {peer}: connection ended: nothing received for 0\.\d+ s\n"
        assert re.fullmatch(told, server.stderr.read().decode())


PARENT = """
import asyncio, sys
import worker_handlers
from framestream import serve

async def main():
    handler = getattr(worker_handlers, sys.argv[1])
    server = await serve(handler, "tcp://127.0.0.1:0", workers=1, drain_timeout=0.01)
    print(server.url, *server.worker_pids, flush=True)
    await server.serve_forever()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["answer", "cling"])
async def test_a_worker_whose_parent_is_killed_ends_by_itself(handler, tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "parent.py"), handler]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        url, pid = parent.stdout.readline().decode().split()
        async with await connect(url) as stream:
            assert pid == await exchange(stream, "pid")
            parent.kill()
            # Standard output is the parent's and the worker's: it ends when both have.
            await asyncio.to_thread(parent.stdout.read)
    await raised(ConnectError, connect, url)
