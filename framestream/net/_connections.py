"""The connections of a server in this process: a task for each, counted, logged and drained."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from framestream._events import events
from framestream.errors import FramestreamError, FramingError, PayloadError, StreamClosed, StreamTimeout
from framestream.net._acceptor import Acceptor
from framestream.stream._stream import IOStream
from framestream.transport._channel import SocketChannel, format_address, is_reset

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from framestream.framer import Framer
    from framestream.stream._stats import StreamStats

log = logging.getLogger("framestream.server")

# Seconds for the first byte of a connection that was accepted just before a drain: its client could not
# know, and its request is probably on the way.
_FIRST_WORD = 0.5
# Seconds to send what a handler has written before it failed: often the peer is what failed.
_LAST_ANSWERS = 2.0
# Seconds for a client that is still sending to notice that its handler has ended.
_LINGER = 2.0
# Seconds a cancelled handler has to clean up before its connection is cut under it.
_LAST_WORDS = 5.0


@dataclass
class ServerStats:
    """Counters of one server since it began to listen.

    Attributes:
        accepted: connections accepted.
        open: connections that are open now.
        most_open: the most that were ever open at once.
        handshake_failures: connections lost to a TLS handshake that failed or took too long.
        peer_failures: connections ended by what the peer did: broken framing, a reset, a time limit.
        handler_failures: connections whose handler raised anything else, or that could not be handed to it.
        accept_failures: how often nothing could be accepted for want of descriptors or memory.
        bytes_received, bytes_sent: over the connections that are closed.
        frames_received, frames_sent: over the connections that are closed.
        oversize: frames above the limit, over the connections that are closed.
    """

    accepted: int = 0
    open: int = 0
    most_open: int = 0
    handshake_failures: int = 0
    peer_failures: int = 0
    handler_failures: int = 0
    accept_failures: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    frames_sent: int = 0
    oversize: int = 0

    def add(self, stream: StreamStats) -> None:
        """Take over the counters of a connection that is closed."""
        self.bytes_received += stream.bytes_received
        self.bytes_sent += stream.bytes_sent
        self.frames_received += stream.frames_received
        self.frames_sent += stream.frames_sent
        self.oversize += stream.oversize


@dataclass(frozen=True)
class Service:
    """What a server does with each connection; the same in every process that shares the work."""

    handler: Callable[[Any], Any]
    framer: Framer[Any] | str | None = None
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None
    handshake_timeout: float = 10.0
    truncation_is_end: bool = False
    max_connections: float = float("inf")
    stream_options: dict[str, Any] = field(default_factory=dict)


class Connections:
    """Accept, serve and drain.

    Args:
        service: what to do with each connection.
        sockets: listening and non-blocking; they belong to this object from here on.

    Attributes:
        stats: the counters.
        takes_backlog: accept, at the end, what has already connected.
    """

    def __init__(self, service: Service, sockets: Sequence[socket.socket]) -> None:
        self.stats = ServerStats()
        self.takes_backlog = True
        self._service = service
        self._tls = service.tls() if callable(service.tls) else service.tls
        self._server: object = None
        self._tasks: dict[asyncio.Task[None], IOStream] = {}
        self._cancelled: set[asyncio.Task[None]] = set()  # by this object
        self._greeted: set[asyncio.Task[Any] | None] = set()  # those in a TLS handshake
        self._acceptor = Acceptor(
            sockets,
            on_connection=self._accepted,
            on_failure=self._accept_failed,
            room=lambda: service.max_connections - len(self._tasks),
        )

    @property
    def pids(self) -> list[int]:
        """None: there are no workers."""
        return []

    async def start(self, server: object) -> None:
        """Begin to accept; logs and events name `server`."""
        self._server = server
        self._acceptor.poke()

    @property
    def streams(self) -> list[IOStream]:
        """The streams that are open."""
        return list(self._tasks.values())

    def stop_listening(self) -> None:
        """Accept nothing more; what is connected goes on."""
        self._acceptor.close(take_backlog=self.takes_backlog)

    async def drain(self, timeout: float) -> None:
        """Let every connection finish what it has begun, for at most `timeout` seconds; then cancel.

        A connection that waits between two frames ends at once: its handler sees the end of the stream.
        One that was never heard of has a moment for its first word, or for its TLS handshake.
        """
        self.stop_listening()
        loop = asyncio.get_running_loop()
        for task, stream in self._tasks.items():
            if stream.stats.bytes_received:
                stream.end_input()
            else:
                loop.call_later(min(_FIRST_WORD, timeout), self._end_first_word, task)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in [task for task in self._tasks if task.done()]:
            self._end(task)  # somebody cancelled it before it had begun
        if self._tasks:
            await self._cancel()

    def _end_first_word(self, task: asyncio.Task[None]) -> None:
        if task in self._greeted:
            self._cancel_task(task)
        elif task in self._tasks:
            self._tasks[task].end_input()

    async def _cancel(self) -> None:
        server, count = str(self._server), len(self._tasks)
        extra = {"server": server, "count": count}
        log.warning("%s: the time to drain is over, %d connections are cut", server, count, extra=extra)
        for task in self._tasks:
            self._cancel_task(task)
        await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
        for stream in self.streams:
            self._log(logging.ERROR, "handler goes on although it was cancelled", stream.peer)
            stream.close()

    def _cancel_task(self, task: asyncio.Task[None]) -> None:
        self._cancelled.add(task)
        task.cancel()

    def is_handling(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether this is the task of one of the connections."""
        return task in self._tasks

    # One connection

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        stats = self.stats
        stats.accepted += 1
        peer = format_address(address)
        try:
            stream = IOStream(SocketChannel(connection, peer), **self._service.stream_options)
        except Exception as error:  # noqa: BLE001  # the peer may be gone by now; whatever it is, others are served
            connection.close()
            self._failed(peer, error)
            return
        stats.open += 1
        stats.most_open = max(stats.open, stats.most_open)
        # A name that all of them share: one for each would cost an idle connection 64 bytes.
        name = "connection of a framestream server"
        self._tasks[asyncio.get_running_loop().create_task(self._converse(stream), name=name)] = stream

    def _end(self, task: asyncio.Task[None]) -> None:
        stream = self._tasks.pop(task)
        stream.close()
        self.stats.open -= 1
        self.stats.add(stream.stats)
        self._cancelled.discard(task)
        self._acceptor.poke()

    async def _converse(self, stream: IOStream) -> None:
        try:
            if await self._greet(stream):
                await self._answer(stream)
                await stream.aclose(linger=_LINGER)
        except asyncio.CancelledError as error:
            if self._was_cancelled():
                self._log(logging.DEBUG, "handler cancelled", stream.peer)
            else:  # it comes out of what the handler did, such as awaiting a future that was cancelled
                self._failed(stream.peer, error)
                await _send_last(stream)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # one connection never costs the server
            self._failed(stream.peer, error)
            await _send_last(stream)
        finally:
            # Not in a callback of the task: each would cost an idle connection 128 bytes.
            task = asyncio.current_task()
            assert task is not None
            self._end(task)

    def _was_cancelled(self) -> bool:
        task = asyncio.current_task()
        # Before Python 3.11 a task does not know; few but the server cancel its tasks.
        return task in self._cancelled or (sys.version_info >= (3, 11) and bool(task and task.cancelling()))

    async def _greet(self, stream: IOStream) -> bool:
        if self._tls is None:
            return True
        task = asyncio.current_task()
        self._greeted.add(task)
        service = self._service
        try:
            await stream.start_tls(
                self._tls,
                server_side=True,
                timeout=service.handshake_timeout,
                truncation_is_end=service.truncation_is_end,
            )
        except (OSError, FramestreamError, asyncio.CancelledError) as error:
            reason = "the server closes" if isinstance(error, asyncio.CancelledError) else error
            self.stats.handshake_failures += 1
            self._log(logging.INFO, f"TLS handshake failed: {reason}", stream.peer)
            return False
        finally:
            self._greeted.discard(task)
        return True

    def _answer(self, stream: IOStream) -> Awaitable[Any]:
        service = self._service
        given = stream if service.framer is None else stream.framed(service.framer)
        answer = service.handler(given)
        # A handler without coroutines leaves callbacks behind; it ends when the stream does.
        return answer if isawaitable(answer) else stream.wait_closed()

    def _failed(self, peer: str, error: BaseException) -> None:
        if _peers_doing(error):
            self.stats.peer_failures += 1
            self._log(logging.INFO, f"connection ended: {error}", peer)
            return
        self.stats.handler_failures += 1
        self._log(logging.ERROR, f"handler failed: {error!r}", peer, exc_info=error)
        events.tell("server_failed", server=self._server, error=error)

    # Accepting

    def _accept_failed(self, error: OSError) -> None:
        self.stats.accept_failures += 1
        log.warning("cannot accept for now: %s", error, extra={"server": str(self._server)})
        events.tell("server_failed", server=self._server, error=error)

    def _log(self, level: int, message: str, peer: str, **options: Any) -> None:
        extra = {"server": str(self._server), "peer": peer}
        log.log(level, "%s: %s", peer or "unknown peer", message, extra=extra, **options)


async def _send_last(stream: IOStream) -> None:
    with suppress(asyncio.CancelledError):
        await stream.aclose(_LAST_ANSWERS, linger=_LINGER)


def _peers_doing(error: BaseException) -> bool:
    return isinstance(error, (FramingError, PayloadError, StreamClosed, StreamTimeout)) or is_reset(error)
