"""redis-server, spoken to through anyio's streams with the framer of framestream-resp."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import anyio
from framestream_anyio import framed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="redis-server is not installed, see plugins/install_peers.sh"
    ),
]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a redis-server without persistence; yield the path of its socket."""
    home = tmp_path_factory.mktemp("redis")
    path = home / "s"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(home)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(["redis-server", *options], stdout=log)
    try:
        for _ in range(500):
            if path.exists():
                break
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.02)
        yield path
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_redis_is_spoken_to(redis: Path, backend: str) -> None:
    command = pytest.importorskip("framestream_resp", reason="framestream-resp is not installed").command
    big = b"x" * (4 << 20)

    async def main() -> None:
        one, two = [framed(await anyio.connect_unix(redis), "resp", max_frame_size=8 << 20) for _ in range(2)]
        with anyio.fail_after(20):
            async with one, two:
                async with anyio.create_task_group() as group:

                    async def ask() -> None:
                        for number in range(1000):
                            await one.send(command("ECHO", number))

                    group.start_soon(ask)
                    assert [await one.receive() for _ in range(1000)] == [b"%d" % n for n in range(1000)]
                await one.send(command("SET", "big", big))
                assert await one.receive() == "OK"
                await one.send(command("GET", "big"))
                assert await one.receive() == big
                await one.send(command("SUBSCRIBE", "news"))
                assert await one.receive() == [b"subscribe", b"news", 1]
                with anyio.move_on_after(0.05) as scope:
                    await one.receive()
                assert scope.cancelled_caught
                await two.send(command("PUBLISH", "news", "late"))
                assert await two.receive() == 1
                assert await one.receive() == [b"message", b"news", b"late"]

    anyio.run(main, backend=backend)
