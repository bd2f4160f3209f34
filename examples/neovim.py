"""Drive Neovim by msgpack-rpc: embedded in this process's pipes, or over its socket.

python examples/neovim.py exec:'nvim --embed --headless --clean'

nvim --listen /tmp/nvim.sock          # in one terminal
python examples/neovim.py unix:/tmp/nvim.sock
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from framestream import FramestreamError, FramingError, IOStream, Msgpack, StreamClosed, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = 0


class NeovimError(Exception):
    """Neovim refused a request."""


class Notification(NamedTuple):
    """Something Neovim tells without being asked."""

    method: str
    arguments: list[Any]


class Neovim:
    """A running Neovim, spoken to by msgpack-rpc: concatenated msgpack arrays, in both directions.

    Attributes:
        notifications: what it told without being asked.
    """

    def __init__(self, stream: IOStream[Any]) -> None:
        self.notifications: asyncio.Queue[Notification] = asyncio.Queue()
        self._stream = stream
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def request(self, method: str, *arguments: Any) -> Any:
        """Call an API function, such as ``nvim_eval``; see ``:help api`` in Neovim."""
        number = next(self._ids)
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._stream.send([REQUEST, number, method, list(arguments)])
        return await reply

    async def listen(self) -> None:
        """Take what Neovim sends until it ends."""
        try:
            async for message in self._stream:
                self._take(message)
        except FramestreamError as error:
            self._stream.close(error)
            self._give_up(error)
        else:
            self._give_up(StreamClosed("Neovim has ended"))

    def _take(self, message: Any) -> None:
        match message:
            case [1, int(number), error, result]:
                self._settle(number, error, result)
            case [2, str(method), list(arguments)]:
                self.notifications.put_nowait(Notification(method, arguments))
            case [0, *_]:
                pass  # a request of Neovim's, to which this client has no answers
            case _:
                raise FramingError(f"{message!r:.60} is no message of msgpack-rpc")

    def _settle(self, number: int, error: Any, result: Any) -> None:
        reply = self._waiting.pop(number, None)
        if reply is None or reply.done():
            return
        if error is None:
            reply.set_result(result)
        else:
            reply.set_exception(NeovimError(error[1] if isinstance(error, list) else error))

    def _give_up(self, error: Exception) -> None:
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(error)


@asynccontextmanager
async def attach(url: str) -> AsyncIterator[Neovim]:
    """Connect to Neovim, or start it, for as long as the block lasts."""
    async with await connect(url) as stream:
        neovim = Neovim(stream.framed(Msgpack()))
        listening = asyncio.ensure_future(neovim.listen())
        try:
            yield neovim
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def main(url: str) -> None:
    async with attach(url) as neovim:
        _, api = await neovim.request("nvim_get_api_info")
        version = api["version"]
        print(f"Neovim {version['major']}.{version['minor']}.{version['patch']}")
        await neovim.request("nvim_buf_set_lines", 0, 0, -1, False, ["one", "two", "three"])
        await neovim.request("nvim_command", "%s/t\\w*/<&>/")
        for line in await neovim.request("nvim_buf_get_lines", 0, 0, -1, False):
            print(line)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "exec:nvim --embed --headless --clean"))
