"""What is typed, as frames to send: one function for each ``--input``."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from framestream.errors import EncodeError
from framestream.framer import Framer, ReadCondition
from framestream.registry.lookup import get_framer

if TYPE_CHECKING:
    from collections.abc import Callable

    from framestream.cli._sources import Source


def from_text(line: str, framer: Framer[Any]) -> Any:
    """Return the line as the framer takes it: as text, or else as UTF-8."""
    return line if _takes(framer, line) else line.encode("utf-8", "surrogateescape")


def from_json(line: str, framer: Framer[Any]) -> Any:
    """Return the JSON value, with ``{"hex": "00ff"}`` as bytes, as ``cut`` prints them."""
    value = json.loads(line, object_hook=_bytes_of)
    return from_text(value, framer) if isinstance(value, str) else value


def from_hex(line: str, framer: Framer[Any]) -> bytes:
    """Return the bytes that hexadecimal digits spell."""
    return bytes.fromhex(line)


INPUTS: Final[dict[str, Callable[[str, Framer[Any]], Any]]] = {
    "text": from_text,
    "json": from_json,
    "hex": from_hex,
}


def _takes(framer: Framer[Any], frame: Any) -> bool:
    try:
        data = framer.encode(frame)
        return isinstance(data, bytes) or isinstance(b"".join(data), bytes)
    except (EncodeError, TypeError, AttributeError):
        return False


def _bytes_of(value: dict[str, Any]) -> Any:
    if value.keys() == {"hex"} and isinstance(value["hex"], str):
        return bytes.fromhex(value["hex"])
    return value


def sending_framer(framer: ReadCondition[Any]) -> Framer[Any] | None:
    """Return the framer if it can write, else None."""
    return framer if isinstance(framer, Framer) else None


def writing_framer(spec: str) -> Framer[Any]:
    """Return the framer of a spec string; refuse one that can only read as a usage mistake."""
    framer = get_framer(spec)
    if not isinstance(framer, Framer):
        raise click.UsageError(f"{framer} can only read; what is sent takes a framer that writes")
    return framer


class Typed:
    """A source that is read while the event loop goes on.

    A thread reads, since a terminal cannot be made non-blocking without doing the same to the shell
    that lent it. It reads when it is asked to and holds no lock that the end of the process waits for.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._read: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        threading.Thread(target=self._work, name="standard input", daemon=True).start()

    async def receive(self) -> bytes:
        """Return the next bytes, or ``b""`` at the end."""
        self._asked.put(None)
        read = await self._read.get()
        if isinstance(read, Exception):
            raise read
        return read

    def _work(self) -> None:
        read: bytes | Exception = b"..."
        while read and not isinstance(read, Exception):
            self._asked.get()
            try:
                read = self._source.read()
            except Exception as error:  # noqa: BLE001  # it is raised where somebody waits
                read = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._read.put_nowait, read)
