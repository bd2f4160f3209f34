"""Drive Neovim by msgpack-rpc: embedded in this process's pipes, or over its socket.

python examples/neovim.py exec:'nvim --embed --headless --clean'

nvim --listen /tmp/nvim.sock          # in one terminal
python examples/neovim.py unix:/tmp/nvim.sock
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from framestream import FramingError, IOStream, Msgpack, connect
from framestream.requests import Requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST, NOTIFICATION = 0, 2


class NeovimError(Exception):
    """Neovim refused a request."""


class Notification(NamedTuple):
    """Something Neovim tells without being asked."""

    method: str
    arguments: list[Any]


def id_of(message: Any) -> int | None:
    """Return the id of the request that a message answers, None if it answers none."""
    match message:
        case [1, int(number), _, _]:
            return number
        case [0, *_] | [2, str(), list()]:
            return None
    raise FramingError(f"{message!r:.60} is no message of msgpack-rpc")


class Neovim:
    """A running Neovim, spoken to by msgpack-rpc: concatenated msgpack arrays, in both directions.

    Attributes:
        notifications: what it told without being asked.
    """

    def __init__(self, stream: IOStream[Any]) -> None:
        self.notifications: asyncio.Queue[Notification] = asyncio.Queue()
        self.requests: Requests[Any] = Requests(stream, id_of, on_other=self._take)

    async def request(self, method: str, *arguments: Any) -> Any:
        """Call an API function, such as ``nvim_eval``; see ``:help api`` in Neovim."""
        _, _, error, result = await self.requests.ask(lambda number: [REQUEST, number, method, arguments])
        if error is not None:
            raise NeovimError(error[1] if isinstance(error, list) else error)
        return result

    def _take(self, message: list[Any]) -> None:
        if message[0] == NOTIFICATION:  # to requests of Neovim's, this client has no answers
            self.notifications.put_nowait(Notification(*message[1:]))


@asynccontextmanager
async def attach(url: str) -> AsyncIterator[Neovim]:
    """Connect to Neovim, or start it, for as long as the block lasts."""
    async with await connect(url, framer=Msgpack()) as stream:
        neovim = Neovim(stream)
        async with neovim.requests:
            yield neovim


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
