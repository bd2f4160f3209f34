"""A key-value server over length-prefixed msgpack; its client is in key_value_client.py.

python examples/key_value_server.py tcp://127.0.0.1:4001
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Any

from key_value_client import PROTOCOL

from framestream import FramingError, IOStream, serve
from framestream.net import Server


class Store:
    """Keys and values, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def converse(self, client: IOStream[Any]) -> None:
        """Answer requests in order: the handler of a connection.

        Replies of requests that arrived together leave together, and a client that does not read its
        replies is not read either: `send` waits while too much is queued. What is no request at all cannot be
        answered, since it has no id: the connection ends.
        """
        async for request in client:
            match request:
                case [number, str(operation), *arguments]:
                    await client.send([number, *self.answer(operation, arguments)])
                case _:
                    raise FramingError(f"a request is [id, operation, arguments...], not {request!r:.60}")

    def answer(self, operation: str, arguments: list[Any]) -> tuple[str | None, Any]:
        """Return why a request is refused, or None, and its result."""
        perform = getattr(self, f"do_{operation}", None)
        if perform is None:
            return f"no operation {operation!r}", None
        if arguments and not isinstance(arguments[0], str):
            return f"{arguments[0]!r:.60} is no key: a key is text", None
        try:
            return None, perform(*arguments)
        except TypeError:
            return f"{operation!r} does not take these arguments", None

    def do_get(self, key: str) -> Any:
        return self.values.get(key)

    def do_set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def do_delete(self, key: str) -> bool:
        return self.values.pop(key, self) is not self

    def do_keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))


async def open_store(url: str) -> Server:
    """Serve a store of its own."""
    return await serve(Store().converse, url, framer=PROTOCOL)


async def main(url: str) -> None:
    async with await open_store(url) as server:
        server.close_on(signal.SIGTERM)
        print(f"key-value store on {server.url}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4001"))
