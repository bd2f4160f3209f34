"""A server: where it listens, how it answers, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import textwrap
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Self

from framestream._events import events
from framestream.checks import check_seconds
from framestream.errors import (
    FramestreamError,
    FramingError,
    PayloadError,
    StreamClosed,
    StreamTimeout,
    counted,
    describe_error,
    describe_os_error,
    listed,
    printable,
)
from framestream.net.listen import Acceptor
from framestream.net.streams import open_stream
from framestream.net.urls import Endpoint, Tcp, Unix
from framestream.stream.stream import IOStream
from framestream.transport.base import is_reset
from framestream.transport.descriptor import format_address

if TYPE_CHECKING:
    from framestream.net.proxy import Balancers

log = logging.getLogger("framestream.server")

DRAIN_TIMEOUT = 10.0
"""Seconds that connections have to finish when a server closes, unless told otherwise."""

FIRST_BYTE_TIMEOUT = 0.5
"""Seconds for the first byte of a connection that was accepted just before a drain: its client could not
know, and its request is probably on the way."""

FLUSH_TIMEOUT = 2.0
"""Seconds to send what a handler has written before it failed: often the peer is what failed."""

TELL_AGAIN = 60.0
"""Seconds until it is told again that nothing can be accepted, or that strangers connect: both happen far
more often."""

LINGER = 2.0
"""Seconds for a client that is still sending to notice that its handler has ended."""

CANCEL_TIMEOUT = 5.0
"""Seconds a cancelled handler has to clean up before its connection is closed under it."""

# A handler that starts TLS by itself gets the engine's word for what is wrong with the peer's.
_LOST_PEER: Final = (StreamClosed, StreamTimeout, ssl.SSLError)


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

    def add(self, other: object) -> None:
        """Add the counters of another server, or those of a stream, which has some of them."""
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(other, counter.name, 0))


@dataclass(frozen=True)
class Service:
    """What a server does with each connection; the same in every process that shares the work."""

    handler: Callable[[Any], Any]
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None
    handshake_timeout: float
    truncation_is_end: bool
    max_connections: float
    drain_timeout: float
    workers: int
    balancers: Balancers | None
    stream_options: dict[str, Any]


class Server:
    """What `serve` returns: a task for each connection, counted, logged and drained.

    It is an async context manager that drains and closes at its end.

    Args:
        endpoint: what it was asked to listen on.
        service: what to do with each connection.
        sockets: listening and non-blocking; they belong to it.
        remove_file: called when it has stopped listening.

    Attributes:
        url: where to connect, with the port that the system chose for port 0.
        addresses: each address it listens on, as text.
        takes_backlog: accept, at the end, what has already connected.
    """

    takes_backlog = True

    def __init__(
        self,
        endpoint: Endpoint,
        service: Service,
        sockets: Sequence[socket.socket],
        remove_file: Callable[[], object] = lambda: None,
    ) -> None:
        names = [sock.getsockname() for sock in sockets]
        self.addresses = tuple(map(format_address, names))
        if isinstance(endpoint, Tcp):
            self.url = str(replace(endpoint, port=names[0][1]))
        elif isinstance(endpoint, Unix):
            self.url = str(endpoint)
        else:  # inherited: it is what the sockets are
            self.url = f"{'tcp://' if isinstance(names[0], tuple) else 'unix:'}{self.addresses[0]}"
        self._stats = ServerStats()
        self._endpoint = endpoint
        self._service = service
        self._sockets = sockets
        self._remove_file = remove_file
        self._listens = True
        self._ended = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._tell_from = self._tell_of_strangers_from = 0.0
        self._signals: list[signal.Signals] = []
        self._tasks: dict[asyncio.Task[None], IOStream] = {}

    @property
    def stats(self) -> ServerStats:
        """Counters since it began to listen."""
        return self._stats

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of its workers; empty if it serves from this process."""
        return []

    async def reload(self) -> None:
        """Replace every worker process by a fresh one, which imports the code anew; nobody is turned away.

        Each old one drains once its successor accepts.

        Raises:
            TypeError: the server has no workers.
            WorkerError: a fresh one does not start; the old ones go on.
        """
        raise TypeError("only a server with workers can be reloaded")

    async def start(self) -> None:
        """Begin to accept. `serve` has done so already."""
        await self._start()
        events.tell("server_opened", server=self)

    @property
    def streams(self) -> list[IOStream]:
        """The streams that are open in this process."""
        return list(self._tasks.values())

    @property
    def closed(self) -> bool:
        """True once it has stopped listening."""
        return not self._listens

    def close(self) -> None:
        """Stop listening, at once; connections go on until `aclose`. Idempotent."""
        if self._listens:
            self._listens = False
            self._stop_listening()
            try:
                self._remove_file()
            except OSError as error:  # such as privileges that were dropped meanwhile
                self._log(logging.WARNING, f"cannot remove the socket's file: {describe_os_error(error)}")
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
        draining = self._begin_to_drain(drain_timeout)
        if asyncio.current_task() not in self._tasks:
            await asyncio.shield(draining)

    def _begin_to_drain(self, timeout: float | None = None) -> asyncio.Task[None]:
        self.close()
        if self._draining is None:
            self._draining = asyncio.ensure_future(
                self._end(self._service.drain_timeout if timeout is None else timeout)
            )
        return self._draining

    async def _end(self, timeout: float) -> None:
        try:
            await self._drain(timeout)
        finally:
            for number in self._signals:
                asyncio.get_running_loop().remove_signal_handler(number)
            self._ended.set()

    def close_on(self, *signals: signal.Signals) -> None:
        """Drain and close when the process gets one of these signals, such as ``signal.SIGTERM``.

        Raises:
            NotImplementedError: the event loop has no signal handlers, as on Windows.
        """
        loop = asyncio.get_running_loop()
        for number in signals:
            try:
                loop.add_signal_handler(number, self._begin_to_drain)
            except NotImplementedError as error:
                what = f"{type(loop).__name__} has no signal handlers; call aclose() instead of close_on()"
                raise NotImplementedError(what) from error
            self._signals.append(number)

    async def serve_forever(self) -> None:
        """Serve until the server is closed and drained. Cancelling it drains first."""
        try:
            await self._ended.wait()
        finally:
            await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        state = counted(self.stats.open, "connection") if self._listens else "closed"
        return f"<Server {self.url}, {state}>"

    # How it serves; one with workers does this in its own way

    async def _start(self) -> None:
        service = self._service
        self._acceptor = Acceptor(
            self._sockets,
            on_connection=self._accepted,
            on_failure=self._accept_failed,
            room=lambda: service.max_connections - len(self._tasks),
        )
        self._tls = service.tls() if callable(service.tls) else service.tls
        self._acceptor.notify()

    def _stop_listening(self) -> None:
        self._acceptor.close(take_backlog=self.takes_backlog)

    async def _drain(self, timeout: float) -> None:
        """Let every connection finish what it has begun, for at most `timeout` seconds; then cancel.

        A connection that waits between two frames ends at once: its handler sees the end of the stream.
        One that has sent nothing yet has a moment for its first byte, or for its TLS handshake. What a load
        balancer has sent ahead of it does not count.
        """
        loop = asyncio.get_running_loop()
        for stream in self._tasks.values():
            if stream.stats.bytes_received > getattr(stream.proxy_header, "size", 0):
                stream.end_input()
            else:
                loop.call_later(min(FIRST_BYTE_TIMEOUT, timeout), stream.end_input)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in [task for task in self._tasks if task.done()]:
            self._end_connection(task)  # somebody cancelled it before it had begun
        if not self._tasks:
            return
        cut = counted(len(self._tasks), "connection")
        self._log(logging.WARNING, f"the time to drain is over, cutting {cut}")
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=CANCEL_TIMEOUT)
        for stream in list(self._tasks.values()):
            self._log(logging.ERROR, "handler goes on although it was cancelled", stream.peer)
            stream.close()

    # One connection

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        stats = self._stats
        stats.accepted += 1
        peer = printable(format_address(address))  # a client chooses the name of its own Unix socket
        if (balancers := self._service.balancers) is not None and not balancers.include(address):
            connection.close()
            self._refused(peer, balancers)
            return
        try:
            stream = open_stream(connection, peer, **self._service.stream_options)
        except Exception as error:  # noqa: BLE001  # the peer may be gone by now; whatever it is, others are served
            self._failed(peer, error, is_gone=True)
            return
        stats.open += 1
        stats.most_open = max(stats.open, stats.most_open)
        # A name that all of them share: one for each would cost an idle connection 64 bytes.
        name = "connection of a framestream server"
        self._tasks[asyncio.get_running_loop().create_task(self._converse(stream), name=name)] = stream

    def _end_connection(self, task: asyncio.Task[None]) -> None:
        stream = self._tasks.pop(task)
        stream.close()
        self._stats.open -= 1
        self._stats.add(stream.stats)
        self._acceptor.notify()

    async def _converse(self, stream: IOStream) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if await self._read_header(stream) and (
                self._tls is None or await self._shake_hands(stream, self._tls)
            ):
                await self._answer(stream)
                await stream.aclose(linger=LINGER)
        except asyncio.CancelledError as error:
            if task.cancelling():
                self._log(logging.DEBUG, "handler cancelled", stream.peer)
            else:  # it comes out of what the handler did, such as awaiting a future that was cancelled
                await self._end_failed(stream, error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # one connection never costs the server
            await self._end_failed(stream, error)
        finally:
            # Not in a callback of the task: each would cost an idle connection 128 bytes.
            self._end_connection(task)

    async def _read_header(self, stream: IOStream) -> bool:
        service = self._service
        if service.balancers is None:
            return True
        try:
            return await service.balancers.read_header(stream, service.handshake_timeout)
        except BaseException:
            stream.close()  # there is nothing to send, or to wait for
            raise

    async def _shake_hands(self, stream: IOStream, context: ssl.SSLContext) -> bool:
        service = self._service
        try:
            await stream.start_tls(
                context,
                server_side=True,
                leftover="refuse" if service.balancers is None else "keep",  # it may come with the header
                timeout=service.handshake_timeout,
                truncation_is_end=service.truncation_is_end,
            )
        except (OSError, FramestreamError, asyncio.CancelledError) as error:
            is_ours = isinstance(error, asyncio.CancelledError)
            reason = "the server closes" if is_ours else describe_os_error(error)
            self._stats.handshake_failures += 1
            self._log(logging.INFO, f"TLS handshake failed: {reason}", stream.peer)
            return False
        return True

    def _answer(self, stream: IOStream) -> Awaitable[Any]:
        service = self._service
        answer = service.handler(stream)
        if not isawaitable(answer):
            return self._callbacks_ended(stream)
        # A client may end its half and wait for the answer.
        stream.half_open = service.stream_options.get("half_open")
        return answer

    async def _callbacks_ended(self, stream: IOStream) -> None:
        """Wait for the end of a stream to which the handler has left callbacks; raise what ended it."""
        await stream.wait_closed()
        if stream.error is not None:
            raise stream.error

    async def _end_failed(self, stream: IOStream, error: BaseException) -> None:
        self._failed(stream.peer, error, is_gone=stream.closed())
        with suppress(asyncio.CancelledError):
            await stream.aclose(FLUSH_TIMEOUT, linger=LINGER)

    def _failed(self, peer: str, error: BaseException, *, is_gone: bool) -> None:
        cause = error
        while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]  # as it comes out of a task group
        words, kind = describe_error(cause), type(cause).__name__
        if isinstance(cause, FramingError | PayloadError):
            self._stats.peer_failures += 1
            framer = f" [{cause.framer}]" if cause.framer else ""
            self._log(logging.WARNING, f"connection ended by what the peer sent: {words}{framer}", peer)
        # A handler may talk to others, too: their resets are its own affair.
        elif isinstance(cause, _LOST_PEER) or (is_gone and is_reset(cause)):
            self._stats.peer_failures += 1
            self._log(logging.INFO, f"connection ended: {words}", peer)
        else:
            self._stats.handler_failures += 1
            what = kind if words == kind else f"{kind}: {words}"
            self._log(logging.ERROR, f"handler failed: {what}", peer, exc_info=error)
            events.tell("server_failed", server=self, error=error)

    def _refused(self, peer: str, balancers: Balancers) -> None:
        self._stats.peer_failures += 1
        now, level = asyncio.get_running_loop().time(), logging.DEBUG
        if now >= self._tell_of_strangers_from:
            self._tell_of_strangers_from, level = now + TELL_AGAIN, logging.WARNING
        trusted = listed([str(network) for network in balancers.networks])
        self._log(level, f"connection refused: PROXY headers are taken from {trusted or 'nobody'} only", peer)

    def _accept_failed(self, error: OSError) -> None:
        self._stats.accept_failures += 1
        now = asyncio.get_running_loop().time()
        if now >= self._tell_from:
            self._tell_from = now + TELL_AGAIN
            self._log(logging.WARNING, f"cannot accept for now: {describe_os_error(error)}")
            events.tell("server_failed", server=self, error=error)

    def _log(self, level: int, message: str, peer: str | None = None, **options: Any) -> None:
        extra = {"server": self.url} if peer is None else {"server": self.url, "peer": peer}
        who = self.url if peer is None else peer or "unknown peer"
        log.log(level, "%s", printable(f"{who}: {message}"), extra=extra, **options)


def _show_traceback(record: logging.LogRecord) -> bool:
    """Print tracebacks so that the words of a peer in them can neither reach a terminal nor forge lines."""
    if record.exc_info:
        text = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = textwrap.indent(printable(text.rstrip(), keep="\n"), "  ")
    return True


log.addFilter(_show_traceback)
