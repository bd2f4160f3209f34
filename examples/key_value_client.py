"""A client library for the key-value server, and the protocol that both speak.

    async with await KeyValueClient.connect("tcp://127.0.0.1:4001") as store:
        await store.set("colour", "green")
        await asyncio.gather(*(store.get(key) for key in keys))    # one round trip, not one for each

A request is ``[id, operation, arguments...]``, its reply ``[id, error or nil, result]``: msgpack after a
length of four bytes. Replies may come in any order, so many requests can be under way at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framestream import FramingError, IOStream, LengthPrefix, Msgpack, connect
from framestream.framers import Nested
from framestream.requests import Requests

if TYPE_CHECKING:
    from types import TracebackType

PROTOCOL: Nested[Any] = Nested(LengthPrefix(4), Msgpack())


class KeyValueError(Exception):
    """The server refused a request; the message is its own."""


def id_of(reply: Any) -> int:
    """Return the id of the request that a reply is for."""
    match reply:
        case [int(number), None | str(), _]:
            return number
    raise FramingError(f"a reply is [id, error or nil, result], not {reply!r:.60}")


class KeyValueClient:
    """A connection to a key-value server, shared by any number of tasks."""

    def __init__(self, stream: IOStream[Any]) -> None:
        self._stream = stream
        self._requests: Requests[Any] = Requests(stream, id_of, most=1000)

    @classmethod
    async def connect(cls, url: str, **options: Any) -> KeyValueClient:
        """Return a client to be used in ``async with``; options are those of `framestream.connect`."""
        return cls(await connect(url, framer=PROTOCOL, **options))

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
        _, refusal, result = await self._requests.ask(lambda number: [number, operation, *arguments])
        if refusal is not None:
            raise KeyValueError(refusal)
        return result

    async def __aenter__(self) -> KeyValueClient:
        await self._requests.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._requests.__aexit__(kind, error, trace)
        await self._stream.aclose()
