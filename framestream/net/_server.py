"""Something that listens: where, how it goes, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Protocol

from framestream._events import events
from framestream.checks import check_seconds
from framestream.net._urls import Endpoint, Tcp, Unix
from framestream.transport._channel import format_address

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from framestream.net._connections import ServerStats
    from framestream.net._listen import SocketFile
    from framestream.stream._stream import IOStream

DRAIN_TIMEOUT = 10.0
"""Seconds that connections have to finish when a server closes, unless told otherwise."""

MOST_WORKERS = 1024
"""Processes that a server may have: more is a slip of the pen, and starting them would take the machine."""


class Crew(Protocol):
    """Whoever does the work of a server: connections in this process, or several processes."""

    @property
    def stats(self) -> ServerStats: ...
    @property
    def streams(self) -> Iterable[IOStream]: ...
    @property
    def pids(self) -> Sequence[int]: ...
    async def start(self, server: Server) -> None: ...
    def stop_listening(self) -> None: ...
    async def drain(self, timeout: float) -> None: ...
    def is_handling(self, task: asyncio.Task[Any] | None) -> bool: ...


class Server:
    """Something that listens. Made by `serve`; an async context manager that drains and closes at its end.

    Attributes:
        url: where to connect, with the port that the system chose for port 0.
        addresses: each address it listens on, as text.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sockets: Sequence[socket.socket],
        crew: Crew,
        *,
        drain_timeout: float,
        file: SocketFile | None = None,
    ) -> None:
        self.addresses = tuple(format_address(sock.getsockname()) for sock in sockets)
        self.url = _url(endpoint, sockets)
        self._crew = crew
        self._drain_timeout = drain_timeout
        self._file = file
        self._listens = True
        self._ended = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._signals: list[signal.Signals] = []

    async def start(self) -> None:
        """Begin to accept. `serve` has done so already."""
        await self._crew.start(self)
        events.tell("server_opened", server=self)

    @property
    def stats(self) -> ServerStats:
        """Counters since it began to listen."""
        return self._crew.stats

    @property
    def streams(self) -> list[IOStream]:
        """The streams that are open in this process."""
        return list(self._crew.streams)

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of its workers; empty if it serves from this process."""
        return list(self._crew.pids)

    @property
    def closed(self) -> bool:
        """True once it has stopped listening."""
        return not self._listens

    def close(self) -> None:
        """Stop listening, at once; connections go on until `aclose`. Idempotent."""
        if not self._listens:
            return
        self._listens = False
        self._crew.stop_listening()
        if self._file is not None:
            self._file.remove()
        events.tell("server_closed", server=self)

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """Stop listening, let connections finish what they have begun, and cut what takes too long.

        Connections that wait between frames see the end of the stream at once. Whatever still runs after
        `drain_timeout` seconds (by default what `serve` was given) is cancelled. Cancelling this call
        leaves the draining under way.

        Called by a handler of this very server, it returns as soon as the draining has begun: that waits
        for the handler, as for any other.
        """
        check_seconds("drain_timeout", drain_timeout, optional=True)
        draining = self._begin_to_drain(self._drain_timeout if drain_timeout is None else drain_timeout)
        if not self._crew.is_handling(asyncio.current_task()):
            await asyncio.shield(draining)

    def _begin_to_drain(self, seconds: float) -> asyncio.Task[None]:
        self.close()
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain(seconds))
        return self._draining

    async def _drain(self, seconds: float) -> None:
        try:
            await self._crew.drain(seconds)
        finally:
            for number in self._signals:
                asyncio.get_running_loop().remove_signal_handler(number)
            self._ended.set()

    async def reload(self) -> None:
        """Replace every worker process by a fresh one, which imports the code anew; nobody is turned away.

        Each old one drains once its successor accepts.

        Raises:
            TypeError: the server has no workers.
            WorkerError: a fresh one does not start; the old ones go on.
        """
        reload = getattr(self._crew, "reload", None)
        if reload is None:
            raise TypeError("only a server with workers can be reloaded")
        await reload(self._drain_timeout)

    def close_on(self, *signals: signal.Signals) -> None:
        """Drain and close when the process gets one of these signals, such as ``signal.SIGTERM``."""
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self._begin_to_drain, self._drain_timeout)
            self._signals.append(number)

    async def serve_forever(self) -> None:
        """Serve until the server is closed and drained. Cancelling it drains first."""
        try:
            await self._ended.wait()
        finally:
            await self.aclose()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        state = f"{self.stats.open} connections" if self._listens else "closed"
        return f"<Server {self.url}, {state}>"


def _url(endpoint: Endpoint, sockets: Sequence[socket.socket]) -> str:
    if isinstance(endpoint, Tcp):
        return str(Tcp(endpoint.host, sockets[0].getsockname()[1], endpoint.tls))
    if isinstance(endpoint, Unix):
        return str(endpoint)
    first = sockets[0]
    if first.family == socket.AF_UNIX:
        return f"unix:{format_address(first.getsockname())}"
    return f"tcp://{format_address(first.getsockname())}"
