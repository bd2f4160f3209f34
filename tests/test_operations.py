"""examples/operations fits the metrics; with FRAMESTREAM_REAL_PEERS=1 the real programs take it."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from loopback import HERE, LINE, echo
from worker_handlers import answer

from framestream import ConnectError, StreamClosed, UntilClose, connect, serve

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


async def get(url, path):
    """Return the body of an answer by HTTP."""
    async with await connect(url) as stream:
        await stream.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return (await stream.read(UntilClose())).partition(b"\r\n\r\n")[2].decode()


@pytest.mark.asyncio_only
async def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are():
    parser = pytest.importorskip("prometheus_client.parser")
    async with await serve(echo, HERE, admin=HERE, max_connections=1) as server:
        page = await get(server.admin.url, "/metrics")
    families = list(parser.text_string_to_metric_families(page))
    there = {sample.name for family in families for sample in family.samples}
    asked = set(re.findall(r"framestream_\w+", " ".join(queries()) + (OPERATIONS / "alerts.yml").read_text()))
    assert set() == asked - there
    ours = {family.name: family for family in families if family.name.startswith("framestream_")}
    assert all(family.documentation for family in ours.values())


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


async def ask(url, query):
    """Return what an expression is, as Prometheus says; nothing while it starts."""
    try:
        answer = json.loads(await get(url, f"/api/v1/query?query={quote(query, safe='')}") or "{}")
    except (ConnectError, StreamClosed, ValueError):
        return []
    assert answer.get("status") != "error", (query, answer)
    return [float(found["value"][1]) for found in answer.get("data", {"result": []})["result"]]


@needs("prometheus", "promtool")
@pytest.mark.asyncio_only
async def test_prometheus_scrapes_a_server_with_workers_and_answers_every_query_of_the_dashboard(tmp_path):
    async with await serve(answer, HERE, workers=2, max_connections=100, admin=HERE) as server:
        page = await get(server.admin.url, "/metrics")
        lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        assert (0, "") == (lint.returncode, lint.stderr)
        async with (
            prometheus(tmp_path, [server.admin.url.removeprefix("tcp://")]) as url,
            await connect(server.url) as stream,
        ):
            frames = 0
            while not await ask(url, "rate(framestream_received_frames_total[1m]) > 0"):
                await (await connect(server.url)).aclose()
                await stream.send("hello", LINE)
                await stream.read(LINE)
                frames += 1
            assert [] == [query for query in queries() if not await ask(url, query)]
            while [float(frames)] != await ask(url, "framestream_received_frames_total"):
                await asyncio.sleep(0.05)
            assert [1.0] == await ask(url, "framestream_ready")
            assert [1.0, 2.0] == sorted(
                await ask(url, "framestream_connections_open") + await ask(url, "framestream_workers_alive")
            )
            rules = json.loads(await get(url, "/api/v1/rules"))["data"]["groups"][0]["rules"]
            assert {"ok"} == {rule["health"] for rule in rules if rule["lastEvaluation"][:4] != "0001"}
            assert len(rules) == 8


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
