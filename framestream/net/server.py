"""A server: where it listens, how it answers, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import textwrap
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from framestream._events import events
from framestream.errors import (
    BufferFull,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    StreamClosed,
    StreamTimeout,
    check_seconds,
    counted,
    describe_error,
    describe_os_error,
    listed,
    printable,
)
from framestream.net.listen import Acceptor
from framestream.net.stats import Histogram, ServerStats
from framestream.net.streams import open_stream
from framestream.net.systemd import ServiceManager
from framestream.net.urls import Endpoint, Tcp, Unix
from framestream.stream.stream import IOStream
from framestream.transport.base import is_reset
from framestream.transport.descriptor import format_address

if TYPE_CHECKING:
    from framestream.net.serve import Balancers

log = logging.getLogger("framestream.server")

DRAIN_TIMEOUT = 10.0
"""Seconds that connections have by default to finish when a server closes."""

FIRST_BYTE_TIMEOUT = 0.5
"""Seconds for the first byte of a connection accepted just before a drain: its client could not
know, and its request is probably on the way."""

FLUSH_TIMEOUT = 2.0
"""Seconds to send the output of a handler that failed: often the peer is the cause."""

TELL_AGAIN = 60.0
"""Seconds between two log records that accepting fails, or that untrusted peers connect: both happen
far more often."""

LINGER = 2.0
"""Seconds for a client that is still sending to notice that its handler has ended."""

CANCEL_TIMEOUT = 5.0
"""Seconds a cancelled handler has to clean up before its connection is closed."""

LAG_INTERVAL = 0.25
"""Seconds between two measurements of how late the event loop is."""

ServerState: TypeAlias = Literal["starting", "ready", "leaving", "draining"]

# If a handler starts TLS itself, the TLS engine tells what is wrong with the peer's.
_LOST_PEER: Final = (StreamClosed, StreamTimeout, ssl.SSLError)


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
    measures_lag: bool
    stream_options: dict[str, Any]


class Server:
    """The result of `serve`: a task for each connection, counted, logged and drained.

    It is an async context manager that drains and closes at its end.

    Args:
        endpoint: where it listens.
        service: what to do with each connection.
        sockets: listening and non-blocking; the server owns them.
        remove_file: called after it has stopped listening.

    Attributes:
        url: where to connect, with the port that the system chose for port 0.
        addresses: each address it listens on, as text.
        state: ``"starting"`` until it accepts, ``"ready"``, ``"leaving"`` while it still accepts but is not
            ready any more, see `leave`, ``"draining"`` once it has stopped listening.
        admin: the server of its health checks and metrics, if `serve` was asked for one.
        takes_backlog: at the end, accept the connections already established.
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
        else:  # inherited: the sockets tell
            self.url = f"{'tcp://' if isinstance(names[0], tuple) else 'unix:'}{self.addresses[0]}"
        self._stats = ServerStats()
        self._endpoint = endpoint
        self._service = service
        self._sockets = sockets
        self._remove_file = remove_file
        self.state: ServerState = "starting"
        self.admin: Server | None = None
        self._manager: ServiceManager | None = None
        self._ended = asyncio.Event()
        self._at_end = ExitStack()  # ends timers and signal handlers when it has drained
        self._at_end.callback(self._ended.set)
        self._draining: asyncio.Task[None] | None = None
        self._tell_from = self._tell_of_strangers_from = 0.0
        self._tasks: dict[asyncio.Task[None], IOStream] = {}
        self._acceptor = Acceptor(
            sockets,
            on_connection=self._accepted,
            on_failure=self._accept_failed,
            room=lambda: service.max_connections - len(self._tasks),
        )

    @property
    def stats(self) -> ServerStats:
        """A copy of its counters, those of open connections included."""
        return self._stats.with_streams(self._tasks.values())

    @property
    def open_connections(self) -> int:
        """How many connections are open: as `stats` tells, but without looking at each."""
        return self._stats.open

    @property
    def ready(self) -> bool:
        """True while it serves and welcomes new connections: not while it starts, leaves or drains."""
        return self.state == "ready"

    @property
    def most_connections(self) -> float:
        """The most connections served at once, infinity without `max_connections`."""
        return self._service.max_connections * max(1, self._service.workers)

    @property
    def workers_alive(self) -> int:
        """How many of its workers accept connections; 0 if it serves from this process."""
        return 0

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of its workers; empty if it serves from this process."""
        return []

    async def reload(self) -> None:
        """Replace every worker process by a fresh one, which imports the code anew; no client is refused.

        Each old one drains once its successor accepts.

        Raises:
            TypeError: the server has no workers.
            WorkerError: a fresh one does not start; the old ones stay.
        """
        raise TypeError("only a server with workers can be reloaded")

    async def start(self) -> None:
        """Begin to accept. `serve` has called it already."""
        await self._start()
        self.state = "ready"
        events.tell("server_opened", server=self)

    @property
    def streams(self) -> list[IOStream]:
        """The open streams of this process."""
        return list(self._tasks.values())

    @property
    def closed(self) -> bool:
        """True once it has stopped listening."""
        return self.state == "draining"

    def leave(self) -> None:
        """Stop being ready but keep accepting: load balancers turn elsewhere before `aclose` drains."""
        if self.state in ("starting", "ready"):
            self.state = "leaving"
            self._tell_manager("STOPPING=1", "leaving")

    def close(self) -> None:
        """Stop listening, at once; connections stay open until `aclose`. Idempotent."""
        if not self.closed:
            if self.state != "leaving":
                self._tell_manager("STOPPING=1", "draining")
            self.state = "draining"
            self._stop_listening()
            try:
                self._remove_file()
            except OSError as error:  # such as privileges that were dropped meanwhile
                self._log(logging.WARNING, f"cannot remove the socket's file: {describe_os_error(error)}")
            events.tell("server_closed", server=self)

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """Stop listening, let connections finish what they have begun, and close those that take too long.

        Connections that wait between frames see the end of the stream at once. Handlers still running after
        `drain_timeout` seconds (by default that of `serve`) are cancelled. Cancelling this call
        leaves the draining under way.

        When a handler of this server calls it, it returns as soon as the draining has begun: draining waits
        for that handler, as for any other.
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
        with self._at_end:
            await self._drain(timeout)
            if self.admin is not None:
                await self.admin.aclose()

    def close_on(self, *signals: signal.Signals, notice: float = 0) -> None:
        """Drain and close when the process gets one of these signals, such as ``signal.SIGTERM``.

        Args:
            signals: the signals. Another one during the notice ends the notice.
            notice: seconds to `leave` first: not ready any more, and still accepting, until load balancers
                have noticed.

        Raises:
            NotImplementedError: the event loop has no signal handlers, as on Windows.
        """
        check_seconds("notice", notice)
        loop = asyncio.get_running_loop()
        for number in signals:
            try:
                loop.add_signal_handler(number, self.begin_to_close, notice)
            except NotImplementedError as error:
                what = f"{type(loop).__name__} has no signal handlers; call aclose() instead of close_on()"
                raise NotImplementedError(what) from error
            self._at_end.callback(loop.remove_signal_handler, number)

    def begin_to_close(self, notice: float = 0) -> None:
        """Do what a signal of `close_on` does: `leave` for so many seconds, then drain, without waiting."""
        if notice and self.ready:
            self.leave()
            asyncio.get_running_loop().call_later(notice, self._begin_to_drain)
        else:
            self._begin_to_drain()

    def notify_systemd(self) -> bool:
        """Tell systemd that the service is ready; from now on also that it reloads, stops, and is alive.

        For a unit of ``Type=notify`` or ``notify-reload``. Watchdog messages are sent at half of
        ``WatchdogSec=``, until the server has drained. If a program has several servers, call it on the last.

        Returns:
            False: no service manager asks for it (NOTIFY_SOCKET is not set); nothing is done.
        """
        manager = ServiceManager()
        if manager.listens:
            self._manager = manager
            self._tell_manager("READY=1", "serving")
            if manager.watchdog_interval is not None:
                self._keep_running(self._show_life(manager, manager.watchdog_interval))
        return manager.listens

    def _tell_manager(self, assignment: str, doing: str) -> None:
        if self._manager is not None:
            self._manager.tell(assignment, f"STATUS={doing} {self.url}")

    async def _show_life(self, manager: ServiceManager, interval: float) -> None:
        while True:
            manager.tell("WATCHDOG=1")
            await asyncio.sleep(interval)

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
        state = "closed" if self.closed else counted(self.open_connections, "connection")
        return f"<Server {self.url}, {state}>"

    # Serving; a server with workers overrides this part

    async def _start(self) -> None:
        service = self._service
        self._tls = service.tls() if callable(service.tls) else service.tls
        self._acceptor.notify()
        if service.measures_lag:
            self._keep_running(self._measure_lag())

    def _keep_running(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it in a task until the server has drained."""
        self._at_end.callback(asyncio.get_running_loop().create_task(work).cancel)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._stats.loop_lag += Histogram.of(max(0.0, loop.time() - due))

    def _stop_listening(self) -> None:
        self._acceptor.close(take_backlog=self.takes_backlog)

    async def _drain(self, timeout: float) -> None:
        """Let every connection finish what it has begun, for at most `timeout` seconds; then cancel.

        A connection that waits between two frames ends at once: its handler sees the end of the stream.
        A new connection that has sent nothing yet has a moment to send its first byte or finish its TLS
        handshake. Bytes from a load balancer before that do not count.
        """
        loop = asyncio.get_running_loop()
        for stream in self._tasks.values():
            if _has_spoken(stream):
                stream.end_input()
            else:
                loop.call_later(min(FIRST_BYTE_TIMEOUT, timeout), stream.end_input)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in [task for task in self._tasks if task.done()]:
            self._end_connection(task)  # it was cancelled before it had begun
        if not self._tasks:
            return
        cut = counted(len(self._tasks), "connection")
        self._log(logging.WARNING, f"the time to drain is over, cutting {cut}")
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=CANCEL_TIMEOUT)
        for stream in list(self._tasks.values()):
            self._log(logging.ERROR, "handler keeps running although it was cancelled", stream)
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
            self._failed(error, None, peer, is_gone=True)
            return
        stream.server = self
        stats.open += 1
        stats.most_open = max(stats.open, stats.most_open)
        # One name for all tasks: a name for each would cost an idle connection 64 bytes.
        name = "connection of a framestream server"
        self._tasks[asyncio.get_running_loop().create_task(self._converse(stream), name=name)] = stream

    def _end_connection(self, task: asyncio.Task[None]) -> None:
        stream = self._tasks.pop(task)
        stream.close()
        self._stats.open -= 1
        self._stats.add_stream(stream.stats)
        self._acceptor.notify()

    async def _converse(self, stream: IOStream) -> None:
        task = asyncio.current_task()
        assert task is not None
        started = task.get_loop().time()
        try:
            if self._service.balancers is not None:
                await self._service.balancers.read_header(stream, self._service.handshake_timeout)
            if self._tls is None or await self._shake_hands(stream, self._tls):
                await self._answer(stream)
                await stream.aclose(linger=LINGER)
        except asyncio.CancelledError as error:
            if task.cancelling():
                self._stats.cut += 1
                self._log(logging.DEBUG, "handler cancelled", stream)
            else:  # caused by the handler, such as awaiting a future that was cancelled
                await self._end_failed(stream, error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # one connection never costs the server
            await self._end_failed(stream, error)
        finally:
            self._stats.handler_seconds += Histogram.of(task.get_loop().time() - started)
            # Not in a callback of the task, which would cost an idle connection 128 bytes.
            self._end_connection(task)

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
            self._log(logging.INFO, f"TLS handshake failed: {reason}", stream)
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
        """Wait for the end of a stream whose handler left callbacks; raise the error that ended it."""
        await stream.wait_closed()
        if stream.error is not None:
            raise stream.error

    async def _end_failed(self, stream: IOStream, error: BaseException) -> None:
        self._failed(error, stream, stream.peer, is_gone=stream.closed())
        with suppress(asyncio.CancelledError):
            await stream.aclose(FLUSH_TIMEOUT, linger=LINGER)

    def _failed(self, error: BaseException, stream: IOStream | None, peer: str, *, is_gone: bool) -> None:
        stats, cause = self._stats, error
        while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]  # as a task group raises it
        words, kind = describe_error(cause), type(cause).__name__
        # A handler may use other streams, too: their failures are the handler's.
        is_ours = stream is None or failed_at(stream, cause)
        if is_ours and isinstance(cause, FramingError | PayloadError | BufferFull):
            stats.peer_failures += 1
            name = getattr(cause, "framer", "")
            framer = f" [{name}]" if name else ""
            what = f"connection ended by what the peer sent: {words}{framer}"
            self._log(logging.WARNING, what, stream, peer)
        elif (is_ours and isinstance(cause, _LOST_PEER)) or (is_gone and is_reset(cause)):
            how = getattr(cause, "real_error", cause)
            if stream is not None and self._is_check(stream) and (how is None or is_reset(how)):
                self._log(logging.DEBUG, f"connection ended before it had begun: {words}", stream)
                return
            stats.peer_failures += 1
            is_late = isinstance(how, StreamTimeout)
            stats.timeouts += is_late
            stats.lost += not is_late
            self._log(logging.INFO, f"connection ended: {words}", stream, peer)
        else:
            stats.handler_failures += 1
            what = kind if words == kind else f"{kind}: {words}"
            self._log(logging.ERROR, f"handler failed: {what}", stream, peer, exc_info=error)
            events.tell("server_failed", server=self, error=error)

    def _refused(self, peer: str, balancers: Balancers) -> None:
        self._stats.refused += 1
        now, level = asyncio.get_running_loop().time(), logging.DEBUG
        if now >= self._tell_of_strangers_from:
            self._tell_of_strangers_from, level = now + TELL_AGAIN, logging.WARNING
        trusted = listed([str(network) for network in balancers.networks])
        what = f"connection refused: it comes from none of the trusted networks ({trusted or 'there are none'})"
        self._log(level, what, peer=peer)

    def _is_check(self, stream: IOStream) -> bool:
        """Tell whether a load balancer only checked that the server accepts; many do all the time."""
        unused = stream.closed() and not _has_spoken(stream) and not stream.stats.bytes_sent
        return unused and self._service.balancers is not None

    def _accept_failed(self, error: OSError) -> None:
        self._stats.accept_failures += 1
        now = asyncio.get_running_loop().time()
        if now >= self._tell_from:
            self._tell_from = now + TELL_AGAIN
            self._log(logging.WARNING, f"cannot accept for now: {describe_os_error(error)}")
            events.tell("server_failed", server=self, error=error)

    def _log(
        self, level: int, message: str, stream: IOStream | None = None, peer: str | None = None, **options: Any
    ) -> None:
        extra: dict[str, Any] = {"server": self.url}
        if stream is not None:
            extra["connection"], peer = stream.id, stream.peer
        if peer is not None:
            extra["peer"] = peer
        who = self.url if peer is None else peer or "unknown peer"
        log.log(level, "%s", printable(f"{who}: {message}"), extra=extra, **options)


def failed_at(stream: IOStream, error: BaseException) -> bool:
    """Tell whether an error of a stream can be this one's: then this stream knows it."""
    stats, end = stream.receiver.decoder.stats, stream.receiver.end
    if isinstance(error, FramingError | PayloadError) and error.offset is None:
        return True  # the handler's own verdict on the peer's data
    if isinstance(error, PayloadError):
        return stats.payload_errors > 0
    if isinstance(error, FrameTooLarge):
        return stats.oversize > 0
    if isinstance(error, BufferFull):
        return stream.error is error  # it read too much; one of a write leaves the stream open
    if isinstance(error, FramingError) and not isinstance(error, IncompleteFrame):
        return stats.broken > 0 or stream.error is error
    if isinstance(error, StreamTimeout):
        return error.peer in ("", stream.peer)
    cause = getattr(error, "real_error", None)
    return stream.closed() or (end is not None and cause in (None, end.error))


def _has_spoken(stream: IOStream) -> bool:
    """Tell whether the client has sent anything; bytes from a load balancer before that do not count."""
    return stream.stats.bytes_received > getattr(stream.proxy_header, "size", 0)


def _show_traceback(record: logging.LogRecord) -> bool:
    """Print tracebacks so that a peer's words in them can neither reach a terminal nor forge lines."""
    if record.exc_info:
        text = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = textwrap.indent(printable(text.rstrip(), keep="\n"), "  ")
    return True


log.addFilter(_show_traceback)
