"""The connections of one process: accepted while there is room, answered by a handler, counted, and drained."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import isawaitable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

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
    check_choice,
    counted,
    describe_error,
    describe_os_error,
    printable,
)
from framestream.framer import ReadCondition
from framestream.iterate import condition_of
from framestream.net.sockets import Acceptor, on_failure, open_stream
from framestream.net.urls import Endpoint, Tcp
from framestream.stream.stream import IOStream, StreamStats
from framestream.transport.base import is_reset
from framestream.transport.descriptor import format_address

if TYPE_CHECKING:
    from framestream.net.serve import Server

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

# If a handler starts TLS itself, the TLS engine tells what is wrong with the peer's.
_LOST_PEER: Final = (StreamClosed, StreamTimeout, ssl.SSLError)
_BAD_PEER: Final = (FramingError, PayloadError, BufferFull)


@dataclass(frozen=True)
class Service:
    """Where a server listens, and what it does with each connection; the same in every process that shares the work."""

    endpoint: Endpoint
    handler: Callable[[Any], Any]
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None
    handshake_timeout: float
    max_connections: float
    drain_timeout: float
    workers: int
    balancers: Balancers | None
    stream_options: dict[str, Any]


# Load balancers

# Without framestream-proxy there is no such framer, and the error says what to install.
_FRAMERS: Final = {"v1": "proxy:version=1", "v2": "proxy:version=2", "auto": "proxy"}


@dataclass(frozen=True)
class Balancers:
    """The load balancers in front of a server.

    Attributes:
        framer: cuts the header that each of their connections begins with.
        networks: their addresses. At a Unix socket every peer is one: file permissions decide who opens it.
    """

    framer: ReadCondition[Any]
    networks: tuple[IPv4Network | IPv6Network, ...]

    def include(self, address: Any) -> bool:
        """Tell whether a socket's address is that of a balancer."""
        if not isinstance(address, tuple):
            return True
        host = ip_address(address[0])
        host = getattr(host, "ipv4_mapped", None) or host  # as a dual-stack socket writes it
        return any(host in network for network in self.networks)

    async def read_header(self, stream: IOStream, timeout: float) -> None:
        """Read the header, and set the stream's peer to the client that it names, if any.

        Raises:
            FramingError: the header breaks the rules, is too large, or incomplete.
            StreamTimeout: it has not arrived completely within `timeout` seconds.
            StreamClosed: the connection ended before the header began, or broke.
        """
        with on_failure(stream.close):  # nothing to send or to wait for
            try:
                # Independent of the stream's policy for its own large frames: there is no second header.
                header = await stream.read(self.framer, timeout=timeout, on_oversize="raise")
            except StreamTimeout as error:
                raise StreamTimeout(f"no whole PROXY header within {timeout:g} s") from error
        stream.proxy_header = header
        if header.source is not None:
            transport: Any = stream.transport
            transport.peer = printable(format_address(header.source))


def balancers(protocol: str, trusted: Iterable[Any], endpoint: Endpoint) -> Balancers | None:
    """Return the balancers that these options of `serve` describe for an endpoint, if any.

    Raises:
        ValueError, TypeError: they are invalid, such as trusted networks with ``"off"``.
        UnknownFramerError: framestream-proxy is not installed.
    """
    if protocol == "off" and not trusted:
        return None
    check_choice("proxy_protocol", protocol, ("off", *_FRAMERS))
    if isinstance(trusted, str | bytes) or not isinstance(trusted, Iterable):
        raise TypeError(f'trusted is {trusted!r}; it must be a list of networks, such as ["10.0.0.0/8"]')
    networks = tuple(ip_network(str(network)) for network in trusted)
    if protocol == "off":
        raise ValueError('trusted says whose PROXY headers count; pass proxy_protocol="auto" as well')
    if not networks and isinstance(endpoint, Tcp):
        what = "every peer could claim to be any client; pass trusted=[...], the balancers' networks"
        raise ValueError(f"proxy_protocol is {protocol!r} and no network is trusted: {what}")
    return Balancers(condition_of(_FRAMERS[protocol]), networks)


# Counting


@dataclass
class ServerStats:
    """Counters of one server since it began to listen, its workers included.

    Attributes:
        accepted: connections accepted.
        open: open connections.
        refused: connections closed at once because they came from no trusted load balancer.
        handshake_failures: connections lost to a TLS handshake that failed or took too long.
        peer_failures: connections ended by the peer: broken framing, a reset, a time limit...
        lost: ...those of them that were reset, or closed inside a frame or an answer...
        timeouts: ...and those that passed a limit of time.
        handler_failures: connections whose handler raised any other exception, or could not be started.
        cut: connections whose handler was cancelled, as when the time to drain was over.
        accept_failures: how often accepting failed for lack of descriptors or memory.
        bytes_received, bytes_sent: over all connections.
        frames_received, frames_sent: over all connections; a PROXY header is a frame.
        oversize: frames above the limit.
        payload_errors: frames that could not be decoded.
        broken: connections on which nothing more could be read, because of their framing.
        bytes_unread, bytes_unsent: received and not read yet, written and not sent yet, on open
            connections.
        handler_seconds: how long the closed connections lasted, all together.
        worker_restarts: workers that were replaced because they died or were told to terminate.
    """

    accepted: int = 0
    open: int = 0
    refused: int = 0
    handshake_failures: int = 0
    peer_failures: int = 0
    lost: int = 0
    timeouts: int = 0
    handler_failures: int = 0
    cut: int = 0
    accept_failures: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    frames_sent: int = 0
    oversize: int = 0
    payload_errors: int = 0
    broken: int = 0
    bytes_unread: int = 0
    bytes_unsent: int = 0
    handler_seconds: float = 0
    worker_restarts: int = 0

    def add(self, other: ServerStats | StreamStats) -> None:
        """Add the counters of another server, or those of a stream that a server has, too."""
        counters = vars(self)
        for name, count in vars(other).items():
            if name in counters:
                counters[name] += count

    def with_streams(self, streams: Iterable[IOStream]) -> ServerStats:
        """Return a copy with the counters of open streams added."""
        total = ServerStats()
        total.add(self)
        for stream in streams:
            total.add(stream.stats)
            total.bytes_unread += stream.buffered
            total.bytes_unsent += stream.sender.size
        return total


# Serving


class Connections:
    """The connections that a server accepts in this process, each in a task of its own.

    Args:
        server: what handlers, plugins and the log are told of.
        service: what to do with each connection.
        sockets: listening and non-blocking; they are owned from here on.

    Attributes:
        tasks: those of open connections, with their streams.
    """

    def __init__(self, server: Server, service: Service, sockets: Sequence[socket.socket]) -> None:
        self._server = server
        self._service = service
        self._stats = ServerStats()
        self.tasks: dict[asyncio.Task[None], IOStream] = {}
        self._told_until: dict[str, float] = {}  # for what happens far more often than is worth a line
        self._acceptor = Acceptor(
            sockets,
            on_connection=self._accepted,
            on_failure=self._accept_failed,
            room=lambda: service.max_connections - len(self.tasks),
        )

    @property
    def stats(self) -> ServerStats:
        """A copy of the counters, those of open connections included."""
        return self._stats.with_streams(self.tasks.values())

    async def start(self) -> None:
        """Begin to accept."""
        service = self._service
        self._tls = service.tls() if callable(service.tls) else service.tls
        self._acceptor.notify()

    def stop_listening(self, *, take_backlog: bool = True) -> None:
        """Close the listening sockets; see `Acceptor.close`."""
        self._acceptor.close(take_backlog=take_backlog)

    async def drain(self, timeout: float) -> None:
        """Let every connection finish what it has begun, for at most `timeout` seconds; then cancel.

        A connection that waits between two frames ends at once: its handler sees the end of the stream.
        A new connection that has sent nothing yet has a moment to send its first byte or finish its TLS
        handshake. Bytes from a load balancer before that do not count.
        """
        self._end_inputs(timeout)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=timeout)
        for task in [task for task in self.tasks if task.done()]:
            self._end_connection(task)  # it was cancelled before it had begun
        if self.tasks:
            await self._cut()

    def _end_inputs(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        for stream in self.tasks.values():
            if _has_spoken(stream):
                stream.end_input()
            else:
                loop.call_later(min(FIRST_BYTE_TIMEOUT, timeout), stream.end_input)

    async def _cut(self) -> None:
        cut = counted(len(self.tasks), "connection")
        self._server.log(logging.WARNING, f"the time to drain is over, cutting {cut}")
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks, timeout=CANCEL_TIMEOUT)
        for stream in self.tasks.values():
            self._server.log(logging.ERROR, "handler keeps running although it was cancelled", stream)
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
            self._failed(error, peer)
            return
        stream.server = self._server
        stats.open += 1
        # One name for all tasks: a name for each would cost an idle connection 64 bytes.
        name = "connection of a framestream server"
        task = asyncio.get_running_loop().create_task(self._converse(stream), name=name)
        if not task.done():  # an eager one may be
            self.tasks[task] = stream

    def _end_connection(self, task: asyncio.Task[None]) -> None:
        stream = self.tasks.pop(task)
        stream.close()
        self._stats.open -= 1
        self._stats.add(stream.stats)
        self._acceptor.notify()

    async def _converse(self, stream: IOStream) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks[task] = stream
        started = task.get_loop().time()
        try:
            if self._service.balancers is not None:
                await self._service.balancers.read_header(stream, self._service.handshake_timeout)
            if self._tls is None or await self._shake_hands(stream, self._tls):
                # Here and in no coroutine of its own, which would cost an idle connection 200 bytes.
                answer = self._service.handler(stream)
                if isawaitable(answer):
                    # A client may end its half and wait for the answer.
                    stream.half_open = self._service.stream_options.get("half_open")
                    await answer
                else:
                    await stream.wait_closed()
                    if stream.error is not None:
                        raise stream.error
                await stream.aclose(linger=LINGER)
        except asyncio.CancelledError as error:
            if task.cancelling():
                self._stats.cut += 1
                self._server.log(logging.DEBUG, "handler cancelled", stream)
            else:  # caused by the handler, such as awaiting a future that was cancelled
                await self._end_failed(stream, error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # one connection never costs the server
            await self._end_failed(stream, error)
        finally:
            self._stats.handler_seconds += task.get_loop().time() - started
            # Not in a callback of the task, which would cost an idle connection 128 bytes.
            self._end_connection(task)

    async def _shake_hands(self, stream: IOStream, context: ssl.SSLContext) -> bool:
        service = self._service
        try:
            await stream.start_tls(
                context,
                server_side=True,
                leftover="keep",  # the handshake's beginning may come with the header
                timeout=service.handshake_timeout,
            )
        except (OSError, FramestreamError, asyncio.CancelledError) as error:
            is_ours = isinstance(error, asyncio.CancelledError)
            reason = "the server closes" if is_ours else describe_os_error(error)
            self._stats.handshake_failures += 1
            self._server.log(logging.INFO, f"TLS handshake failed: {reason}", stream)
            return False
        return True

    # Failures

    async def _end_failed(self, stream: IOStream, error: BaseException) -> None:
        self._failed(error, stream.peer, stream)
        with suppress(asyncio.CancelledError):
            await stream.aclose(FLUSH_TIMEOUT, linger=LINGER)

    def _failed(self, error: BaseException, peer: str, stream: IOStream | None = None) -> None:
        stats, cause = self._stats, error
        # As a task group raises it: tasks that read and write fail at once when the peer is lost.
        while isinstance(cause, BaseExceptionGroup) and (len(cause.exceptions) == 1 or all_failed_at(stream, cause)):
            cause = min(cause.exceptions, key=lambda one: isinstance(one, _LOST_PEER))
        words, kind = describe_error(cause), type(cause).__name__
        # A handler may use other streams, too: their failures are the handler's.
        is_ours = stream is None or failed_at(stream, cause)
        is_gone = stream is None or stream.closed()
        if is_ours and isinstance(cause, _BAD_PEER):
            stats.peer_failures += 1
            name = getattr(cause, "framer", "")
            framer = f" [{name}]" if name else ""
            what = f"connection ended by what the peer sent: {words}{framer}"
            self._server.log(logging.WARNING, what, stream, peer, error)
        elif (is_ours and isinstance(cause, _LOST_PEER)) or (is_gone and is_reset(cause)):
            how = getattr(cause, "real_error", cause)
            if stream is not None and self._is_check(stream) and (how is None or is_reset(how)):
                self._server.log(logging.DEBUG, f"connection ended before it had begun: {words}", stream)
                return
            stats.peer_failures += 1
            is_late = isinstance(how, StreamTimeout)
            stats.timeouts += is_late
            stats.lost += not is_late
            self._server.log(logging.INFO, f"connection ended: {words}", stream, peer, error)
        else:
            stats.handler_failures += 1
            what = kind if words == kind else f"{kind}: {words}"
            self._server.log(logging.ERROR, f"handler failed: {what}", stream, peer, error, exc_info=error)
            events.tell("server_failed", server=self._server, error=error)

    def _is_check(self, stream: IOStream) -> bool:
        """Tell whether a load balancer only checked that the server accepts; many do all the time."""
        unused = stream.closed() and not _has_spoken(stream) and not stream.stats.bytes_sent
        return unused and self._service.balancers is not None

    def _refused(self, peer: str, balancers: Balancers) -> None:
        self._stats.refused += 1
        level = logging.WARNING if self._is_news("refused") else logging.DEBUG
        trusted = ", ".join(map(str, balancers.networks))
        what = f"connection refused: it comes from none of the trusted networks ({trusted})"
        self._server.log(level, what, peer=peer)

    def _accept_failed(self, error: OSError) -> None:
        self._stats.accept_failures += 1
        if self._is_news("accept failed"):
            self._server.log(logging.WARNING, f"cannot accept for now: {describe_os_error(error)}")
            events.tell("server_failed", server=self._server, error=error)

    def _is_news(self, what: str) -> bool:
        now = asyncio.get_running_loop().time()
        is_news = now >= self._told_until.get(what, now)
        if is_news:
            self._told_until[what] = now + TELL_AGAIN
        return is_news


def all_failed_at(stream: IOStream | None, group: BaseExceptionGroup) -> bool:
    """Tell whether every error of a group can be one of the peer that this stream knows."""
    peers = (*_LOST_PEER, *_BAD_PEER)
    _, others = group.split(lambda error: isinstance(error, peers) and (stream is None or failed_at(stream, error)))
    return others is None


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
    if cause is not None and cause is stream.sender.error:
        return True  # the peer takes no more, and what it has sent is not read yet
    return stream.closed() or (end is not None and cause in (None, end.error))


def _has_spoken(stream: IOStream) -> bool:
    """Tell whether the client has sent anything; bytes from a load balancer before that do not count."""
    return stream.stats.bytes_received > getattr(stream.proxy_header, "size", 0)
