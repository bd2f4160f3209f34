"""A chat room over lines.

python examples/chat_server.py tcp://127.0.0.1:4000
framestream connect tcp://127.0.0.1:4000 -f line
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

from framestream import BufferFull, IOStream, Line, StreamClosed, serve
from framestream.net import Server

# A member who does not read gets this much before being shown out.
PATIENCE = 64 * 1024


class Room:
    """Everybody who is here hears what anybody says."""

    def __init__(self) -> None:
        self.members: dict[str, IOStream[str]] = {}

    async def visit(self, member: IOStream[str]) -> None:
        """Let somebody in, for as long as they stay: the handler of a connection."""
        name = await self.introduce(member)
        self.members[name] = member
        self.say(f"* {name} is here")
        try:
            async for line in member:
                self.say(f"{name}: {line}")
        finally:
            del self.members[name]
            self.say(f"* {name} has left")

    async def introduce(self, member: IOStream[str]) -> str:
        """Ask for a name until it is a new one."""
        await member.send("* what is your name?")
        while True:
            name = (await member.read(timeout=60)).strip()
            if name.isalnum() and name not in self.members:
                return name
            await member.send("* that name is taken, or is none; another?")

    def say(self, line: str) -> None:
        """Say it to everybody. Nobody waits for anybody: who is too slow is shown out."""
        for member in list(self.members.values()):
            try:
                member.send(line)
            except BufferFull as error:
                member.close(error)
            except StreamClosed:
                pass  # is leaving just now


async def open_room(url: str) -> Server:
    """Serve a room of its own."""
    return await serve(
        Room().visit,
        url,
        framer=Line(),
        max_frame_size=1000,
        on_oversize="truncate",
        max_write_buffer_size=PATIENCE,
    )


async def main(url: str) -> None:
    async with await open_room(url) as server:
        server.close_on(signal.SIGTERM)
        print(f"chat on {server.url}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4000"))
