"""A client of memcached's text protocol: a line, then exactly as many bytes as the line says.

    python examples/memcached.py tcp://127.0.0.1:11211

The protocol alternates two framings. The stream's own is lines; a read that expects another names it:

    VALUE greeting 0 5\\r\\n     await stream.read()
    hello\\r\\n                  await stream.read(Exactly(5 + 2))
    END\\r\\n                    await stream.read()

See doc/protocol.txt in memcached's sources.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from framestream import Exactly, IOStream, Line, connect
from framestream.framer import read_digits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

# doc/protocol.txt, "Keys": longer ones are refused, and a space or newline would end them.
MAX_KEY = 250


class MemcachedError(Exception):
    """The server answered with ERROR, CLIENT_ERROR or SERVER_ERROR."""


def checked(key: str) -> str:
    """Return the key if it is one: anything else would be read as another command, or several."""
    if not 0 < len(key.encode()) <= MAX_KEY or any(char <= " " or char == "\x7f" for char in key):
        raise ValueError(f"{key!r} is no key: 1 to {MAX_KEY} bytes without spaces and control characters")
    return key


class Memcached:
    """One connection; one request at a time.

    Whoever leaves in the middle of a request, because of a time limit say, leaves its answer behind. The next
    one would take it for its own, so the connection is closed then.
    """

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, url: str) -> Memcached:
        """Return a client that is connected."""
        return cls(await connect(url, framer=Line(newline="crlf", last=False), timeout=5, frame_timeout=5))

    async def set(self, key: str, value: bytes, *, expires: int = 0) -> bool:
        """Store a value; return whether the server took it."""
        async with self._exchange(f"set {checked(key)} 0 {expires} {len(value)}", value + b"\r\n"):
            return await self._answer() == "STORED"

    async def get(self, *keys: str) -> dict[str, bytes]:
        """Return the values of those keys that have one."""
        async with self._exchange(f"get {' '.join(map(checked, keys))}"):
            found = {}
            while (line := await self._answer()) != "END":
                _, key, _, size = line.split(" ")
                found[key] = (await self._stream.read(Exactly(read_digits(size) + 2)))[:-2]
            return found

    async def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        async with self._exchange(f"delete {checked(key)}"):
            return await self._answer() == "DELETED"

    async def increment(self, key: str, by: int = 1) -> int | None:
        """Add to a number; return the sum, or None if the key is not there."""
        async with self._exchange(f"incr {checked(key)} {by}"):
            answer = await self._answer()
            return None if answer == "NOT_FOUND" else read_digits(answer)

    async def version(self) -> str:
        """Return the server's version."""
        async with self._exchange("version"):
            return (await self._answer()).removeprefix("VERSION ")

    @asynccontextmanager
    async def _exchange(self, command: str, data: bytes = b"") -> AsyncIterator[None]:
        """Take a turn: send a request, then let the block read its answer."""
        async with self._turn:
            try:
                self._stream.send(command)
                await self._stream.write(data)
                yield
            except MemcachedError:  # that was a whole answer
                raise
            except BaseException:
                self._stream.close()
                raise

    async def _answer(self) -> str:
        line: str = await self._stream.read()
        if line.partition(" ")[0] in ("ERROR", "CLIENT_ERROR", "SERVER_ERROR"):
            raise MemcachedError(line)
        return line

    async def __aenter__(self) -> Memcached:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.aclose()


async def main(url: str) -> None:
    async with await Memcached.connect(url) as cache:
        print("memcached", await cache.version())
        await cache.set("greeting", b"hello\r\nworld")
        print(await cache.get("greeting", "nothing"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:11211"))
