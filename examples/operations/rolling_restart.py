"""Restart two servers behind HAProxy one after the other, under clients, and count what was lost.

    python examples/operations/rolling_restart.py --clients 500

Each client sends numbered lines and waits for the answer to each. A server that is told to end says so in
its next answer to everyone, as HTTP does with ``Connection: close``. The client goes on over a new
connection, which HAProxy passes to the other server. ``--silent`` leaves the word out: then a line may be on
its way when the server closes, and the client has to send it again.

Meanwhile both admin ports are asked all the time. Where /readyz says yes, a connection made right then has
to be served; from SIGTERM until the next process is there it must not say yes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from framestream import ConnectError, IOStream, Line, StreamClosed, connect, serve
from framestream.framers import UntilClose

HERE = Path(__file__).parent
NOTICE = 2.0  # seconds: several times what HAProxy needs to notice
PATIENCE = 30.0


# The server, in a process of its own


async def run_server(port: int, admin: int, say_goodbye: bool) -> None:
    """Answer each line with itself, and say ``bye`` when it is the last answer."""

    async def answer(stream: IOStream[str]) -> None:
        async for line in stream:
            is_last = say_goodbye and not server.ready
            await stream.send(f"{line} {'bye' if is_last else 'ok'}")
            if is_last:
                return

    url, admin_url = f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{admin}"
    async with await serve(answer, url, framer=Line(), admin=admin_url) as server:
        server.close_on(signal.SIGTERM, notice=NOTICE)
        await server.serve_forever()


# What watches it


@dataclass
class Tally:
    """What was seen."""

    answered: int = 0
    sent_again: int = 0
    wrong: int = 0
    refused: int = 0
    connections: int = 0
    slowest: float = 0.0
    ready: int = 0
    not_ready: int = 0
    lies: list[str] = field(default_factory=list)


@dataclass
class Backend:
    """One of the servers: its ports, its process, and whether it was told to end."""

    name: str
    port: int
    admin: int
    process: asyncio.subprocess.Process | None = None
    told_at: float = float("inf")

    async def start(self, *options: str) -> None:
        """Start a process, and wait until it says that it is ready."""
        where = [str(self.port), str(self.admin)]
        self.process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--serve", *where, *options)
        self.told_at = float("inf")
        await wait_for(self.is_ready)

    async def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        assert self.process is not None
        self.told_at = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()

    async def is_ready(self) -> bool:
        """Return what /readyz says; False if nobody answers."""
        try:
            async with await connect(f"tcp://127.0.0.1:{self.admin}") as stream:
                await stream.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return (await stream.read(UntilClose())).split(b" ", 2)[1] == b"200"
        except (ConnectError, StreamClosed):
            return False


async def wait_for(question: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(PATIENCE):
        while not await question():  # noqa: ASYNC110  # it is another process that answers
            await asyncio.sleep(0.05)


async def watch_readiness(backend: Backend, tally: Tally) -> None:
    """Ask for ever whether a server is ready, and hold it to the answer."""
    while True:
        asked_at = time.monotonic()
        if not await backend.is_ready():
            tally.not_ready += 1
        elif asked_at > backend.told_at + 0.1:  # a signal takes a moment
            tally.lies.append(f"{backend.name} was ready {asked_at - backend.told_at:.2f} s after SIGTERM")
        else:
            tally.ready += 1
            try:
                async with await connect(f"tcp://127.0.0.1:{backend.port}", framer=Line()) as stream:
                    await stream.send("probe")
                    await stream.read(timeout=PATIENCE)
            except (ConnectError, StreamClosed) as error:
                tally.lies.append(f"{backend.name} was ready, and then: {error}")
        await asyncio.sleep(0.02)


async def be_a_client(name: int, url: str, tally: Tally, end: asyncio.Event) -> None:
    """Send lines one after the other, and check that each is answered, over the connections it takes."""
    number = 0
    while not end.is_set():
        try:
            stream = await connect(url, framer=Line())
        except ConnectError:
            tally.refused += 1
            continue
        tally.connections += 1
        async with stream:
            while not end.is_set():
                sent_at = time.monotonic()
                try:
                    await stream.send(f"{name} {number}")
                    answer = await stream.read(timeout=PATIENCE)
                except StreamClosed:
                    tally.sent_again += 1
                    break
                tally.slowest = max(tally.slowest, time.monotonic() - sent_at)
                tally.answered += 1
                tally.wrong += answer.rpartition(" ")[0] != f"{name} {number}"
                number += 1
                if answer.endswith("bye"):
                    break
                await asyncio.sleep(random.uniform(0.2, 0.8))  # not a secret


async def both_are_up(control: Path) -> bool:
    """Return whether HAProxy has found both servers ready."""
    try:
        async with await connect(f"unix:{control}") as stream:
            await stream.write(b"show stat\n")
            lines = (await stream.read(UntilClose())).decode().splitlines()
    except ConnectError:  # it has just been started
        return False
    states = [line.split(",")[17] for line in lines if line.startswith(("chat,one,", "chat,two,"))]
    return states == ["UP", "UP"]


async def rehearse(clients: int, rounds: int, say_goodbye: bool) -> Tally:
    """Run it all and return what was seen."""
    tally, end = Tally(), asyncio.Event()
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        port, *ports = [sock.getsockname()[1] for sock in taken]
    backends = [Backend("one", *ports[:2]), Backend("two", *ports[2:])]
    options = [] if say_goodbye else ["--silent"]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {f"{kind}_of_{b.name}": getattr(b, kind) for b in backends for kind in ("port", "admin")}
        text = (HERE / "haproxy.cfg").read_text()
        for name, value in {"folder": folder, "port": port, **settings}.items():
            text = text.replace(f"{{{name}}}", str(value))
        (folder / "haproxy.cfg").write_text(text)
        for backend in backends:
            await backend.start(*options)
            stack.push_async_callback(backend.stop)
        haproxy = await asyncio.create_subprocess_exec("haproxy", "-q", "-f", folder / "haproxy.cfg")
        stack.push_async_callback(haproxy.wait)
        stack.callback(haproxy.terminate)
        control = folder / "haproxy.sock"
        await wait_for(lambda: both_are_up(control))
        watching = [asyncio.create_task(watch_readiness(backend, tally)) for backend in backends]
        url = f"tcp://127.0.0.1:{port}"
        talking = [asyncio.create_task(be_a_client(i, url, tally, end)) for i in range(clients)]
        await asyncio.sleep(1)
        for _ in range(rounds):
            for backend in backends:
                await backend.stop()
                await backend.start(*options)
                await wait_for(lambda: both_are_up(control))
        await asyncio.sleep(1)
        end.set()
        await asyncio.gather(*talking)
        for watch in watching:
            watch.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return tally


def main() -> int:
    """Return 1 if a line was lost or /readyz was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1, help="how often each server is restarted")
    parser.add_argument("--silent", action="store_true", help="let servers close without saying so")
    parser.add_argument("--serve", nargs=2, type=int, metavar=("PORT", "ADMIN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(run_server(*options.serve, not options.silent))
        return 0
    tally = asyncio.run(rehearse(options.clients, options.rounds, not options.silent))
    print(json.dumps(vars(tally)))
    lost = tally.wrong + tally.refused + (0 if options.silent else tally.sent_again)
    return 1 if lost or tally.lies or not tally.answered else 0


if __name__ == "__main__":
    sys.exit(main())
