"""A client library for the key-value server, and the protocol that both speak.

    async with await KeyValueClient.connect("tcp://127.0.0.1:4001") as store:
        await store.set("colour", "green")
        await asyncio.gather(*(store.get(key) for key in keys))    # one round trip, not one for each

A request is ``[id, operation, arguments...]``, its reply ``[id, error or nil, result]``: msgpack after a
length of four bytes. Replies may come in any order, so many requests can be under way at once.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from framestream import FramestreamError, FramingError, IOStream, LengthPrefix, Msgpack, StreamClosed, connect
from framestream.framers import Nested

if TYPE_CHECKING:
    from types import TracebackType

PROTOCOL: Nested[Any] = Nested(LengthPrefix(4), Msgpack())


class KeyValueError(Exception):
    """The server refused a request; the message is its own."""


class KeyValueClient:
    """A connection to a key-value server, shared by any number of tasks."""

    def __init__(self, stream: IOStream[Any]) -> None:
        self._stream = stream
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._receiving = asyncio.ensure_future(self._receive())

    @classmethod
    async def connect(cls, url: str, **options: Any) -> KeyValueClient:
        """Return a client that is connected; options are those of `framestream.connect`."""
        return cls((await connect(url, **options)).framed(PROTOCOL))

    async def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        return await self._ask("get", key)

    async def set(self, key: str, value: Any) -> None:
        """Give a key a value: anything that msgpack can write."""
        await self._ask("set", key, value)

    async def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        return bool(await self._ask("delete", key))

    async def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that begin so, sorted."""
        return list(await self._ask("keys", prefix))

    async def _ask(self, operation: str, *arguments: Any) -> Any:
        number = next(self._ids)
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._stream.send([number, operation, *arguments])
            return await reply
        finally:
            # Whoever gave up waiting is forgotten; the reply, when it comes, is for nobody.
            del self._waiting[number]

    async def _receive(self) -> None:
        error: Exception = StreamClosed("the server closed the connection")
        try:
            async for message in self._stream:
                self._settle(message)
        except FramestreamError as failure:
            error = failure
        self._stream.close(error)  # nobody reads any more replies
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(error)

    def _settle(self, message: Any) -> None:
        match message:
            case [int(number), None | str() as refusal, result]:
                reply = self._waiting.get(number)
            case _:
                raise FramingError(f"a reply is [id, error or nil, result], not {message!r:.60}")
        if reply is None or reply.done():
            return
        if refusal is None:
            reply.set_result(result)
        else:
            reply.set_exception(KeyValueError(refusal))

    async def aclose(self) -> None:
        """Close the connection; whoever still waits is told."""
        await self._stream.aclose()
        await self._receiving

    async def __aenter__(self) -> KeyValueClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
