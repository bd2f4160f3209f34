"""Listen on a URL, and serve until the end: a server, its options, and what its service manager is told."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import socket
import ssl
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, Unpack

from framestream._events import events
from framestream.errors import AddressError, check_count, check_seconds, counted, describe_os_error, printable
from framestream.iterate import T
from framestream.net.connections import Connections, ServerStats, Service, balancers
from framestream.net.sockets import file_remover, listen
from framestream.net.urls import Tcp, Unix, parse_url
from framestream.stream.options import StreamOptions, check_options
from framestream.stream.stream import Condition, IOStream, SendFramer, directions
from framestream.transport.descriptor import format_address

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from framestream.net.workers import Workers

log = logging.getLogger("framestream.server")

HANDSHAKE_TIMEOUT = 10.0
"""Seconds a client has by default for the TLS handshake."""

DRAIN_TIMEOUT = 10.0
"""Seconds that connections have by default to finish when a server closes."""

MOST_WORKERS = 1024
"""Most processes of a server: more is a typing mistake, and starting them would overload the machine."""


class ServeOptions(StreamOptions, total=False):
    """The options of `serve` besides its framers, for functions that pass them on."""

    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None
    handshake_timeout: float
    backlog: int
    reuse_port: bool
    max_connections: int | None
    drain_timeout: float
    workers: int
    proxy_protocol: Literal["off", "v1", "v2", "auto"]
    trusted: Iterable[str | IPv4Network | IPv6Network]
    admin: str | None


async def serve(
    handler: Callable[[IOStream[T]], object],
    url: str,
    *,
    framer: Condition[T] = None,
    send_framer: SendFramer = None,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    backlog: int = 1024,
    reuse_port: bool = False,
    max_connections: int | None = None,
    drain_timeout: float = DRAIN_TIMEOUT,
    workers: int = 0,
    proxy_protocol: Literal["off", "v1", "v2", "auto"] = "off",
    trusted: Iterable[str | IPv4Network | IPv6Network] = (),
    admin: str | None = None,
    **stream_options: Unpack[StreamOptions],
) -> Server:
    """Listen on a URL and run ``handler(stream)`` in a task for each connection.

    When the handler returns, its queued bytes are sent and the stream is closed. An exception in it is
    logged with the peer and ends only that connection, after its queued bytes are sent. A handler that
    is not a coroutine function may set callbacks and return; the connection then lasts as long as the stream.

    A client may end its half and wait for the answer: the stream stays open for writing until a coroutine
    handler returns or awaits `IOStream.wait_closed`; for other handlers, set `half_open`.

    Args:
        handler: called with an `IOStream`.
        url: ``tcp://HOST:PORT`` (no host: every interface; port 0: any, see `Server.url`), ``tls://``,
            ``unix:PATH``, ``fd:N`` for an inherited listening socket, ``systemd:`` or ``systemd:NAME``
            for sockets that the service manager passed.
        framer: what the streams read and send by default: a condition, name or spec string.
        send_framer: what they send, if different.
        tls: a server-side context, see `server_tls`, or a function that makes it; required for
            ``tls://``.
        handshake_timeout: seconds a client has for the TLS handshake, and a balancer for the PROXY header.
        backlog: connections that the kernel queues until they are accepted.
        reuse_port: let other processes listen on the same port (SO_REUSEPORT).
        max_connections: the most served at once; further ones wait in the backlog. With workers,
            for each of them.
        drain_timeout: seconds connections have to finish when the server closes.
        workers: serve from this many processes instead of this one, 1024 at most, see the how-to page; the
            handler must then be importable by name.
        proxy_protocol: the version of the PROXY protocol that the load balancers speak, ``"auto"`` for
            either; needs framestream-proxy. Each connection must then begin with a header, before TLS.
            `IOStream.peer` is the client it names, `IOStream.proxy_header` the whole header.
        trusted: networks of the load balancers, such as ``["10.0.0.0/8", "::1"]``. Connections from elsewhere
            are closed at once; at a Unix socket every peer is trusted.
        admin: where to serve health checks and metrics over HTTP, such as ``tcp://127.0.0.1:9090``; it opens
            before the server listens and closes after the drain. It has no passwords and no TLS: keep it
            on an address that only your own machines reach.
        stream_options: for each stream, see `StreamOptions`.

    Raises:
        AddressError: the URL is malformed, or of a kind that cannot listen.
        ValueError, TypeError: an option is invalid, or the handler is not a function of one argument.
        UnknownFramerError: framestream-proxy is not installed, and `proxy_protocol` needs it.
        OSError: the address is in use or not allowed.
    """
    check_handler(handler)
    endpoint = parse_url(url)
    if isinstance(endpoint, Tcp) and endpoint.tls and tls is None:
        raise AddressError(f"{url} needs a certificate: pass tls=server_tls(...)", url=url)
    if not (tls is None or callable(tls) or isinstance(tls, ssl.SSLContext)):
        raise TypeError(f"tls is {tls!r}; pass server_tls(...), or a function that makes a context")
    if isinstance(tls, ssl.SSLContext) and tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("tls is a context for clients; pass server_tls(...)")
    check_seconds("handshake_timeout", handshake_timeout)
    check_seconds("drain_timeout", drain_timeout)
    check_count("backlog", backlog)
    check_count("max_connections", max_connections, least=1, optional=True)
    check_count("workers", workers, most=MOST_WORKERS)
    check_options(stream_options)
    receiving, sending = directions(framer, send_framer)
    service = Service(
        endpoint=endpoint,
        handler=handler,
        tls=tls,
        handshake_timeout=handshake_timeout,
        max_connections=float("inf") if max_connections is None else max_connections,
        drain_timeout=drain_timeout,
        workers=workers,
        balancers=balancers(proxy_protocol, trusted, endpoint),
        stream_options={"framer": receiving, "send_framer": sending, **stream_options},
    )
    if workers:
        # Only a server of several processes pays for importing what starts them.
        from framestream.net.workers import check_portable  # noqa: PLC0415

        check_portable(service)
    sockets = await listen(endpoint, backlog=backlog, reuse_port=reuse_port)
    server = Server(service, sockets, file_remover(endpoint))
    try:
        if admin is not None:
            from framestream.net.admin import serve_admin  # noqa: PLC0415  # it imports this, and few need it

            server.admin = await serve_admin(server, admin)
        await server.start()
    except BaseException:
        await server.aclose(drain_timeout=0)
        raise
    return server


def check_handler(handler: object) -> None:
    """Refuse an object that cannot serve a stream, and suggest what was meant. Close a coroutine.

    Raises:
        TypeError: it is not a function of one argument.
    """
    name = getattr(handler, "__qualname__", "") or repr(handler)
    if inspect.iscoroutine(handler):
        handler.close()
        raise TypeError(f"the handler was called already; pass the function itself: serve({name}, ...)")
    if not callable(handler) or isinstance(handler, type):
        swapped = "; the handler comes first, then the URL" if isinstance(handler, str | tuple) else ""
        raise TypeError(f"handler is {handler!r}; it must be a function that takes a stream{swapped}")
    for function in (handler, handler.__call__):  # of an object
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"handler {name} has a yield, so a call runs nothing of it; use stream.send")
    try:
        inspect.signature(handler).bind(None)
    except ValueError:  # a built-in function may have no signature
        return
    except TypeError as error:
        raise TypeError(f"handler {name} must take one argument, the stream: {error}") from error


# The server

ServerState: TypeAlias = Literal["starting", "ready", "leaving", "draining"]


class Server:
    """The result of `serve`: a task for each connection, counted, logged and drained.

    It is an async context manager that drains and closes at its end.

    Args:
        service: what it is to do.
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
        self, service: Service, sockets: Sequence[socket.socket], remove_file: Callable[[], object] = lambda: None
    ) -> None:
        endpoint = service.endpoint
        names = [sock.getsockname() for sock in sockets]
        self.addresses = tuple(map(format_address, names))
        if isinstance(endpoint, Tcp):
            self.url = str(replace(endpoint, port=names[0][1]))
        elif isinstance(endpoint, Unix):
            self.url = str(endpoint)
        else:  # inherited: the sockets tell
            self.url = f"{'tcp://' if isinstance(names[0], tuple) else 'unix:'}{self.addresses[0]}"
        self._service = service
        self._remove_file = remove_file
        self.state: ServerState = "starting"
        self.admin: Server | None = None
        self._is_managed = False  # by systemd, which wants to know
        self._ended = asyncio.Event()
        self._at_end = ExitStack()  # ends timers and signal handlers when it has drained
        self._at_end.callback(self._ended.set)
        self._draining: asyncio.Task[None] | None = None
        self._workers: Workers | None = None
        if service.workers:
            from framestream.net.workers import Workers  # noqa: PLC0415

            self._workers = Workers(self, service, sockets)
        # Who serves: other processes, or this one.
        self._crew = self._workers or Connections(self, service, sockets)

    @property
    def stats(self) -> ServerStats:
        """A copy of its counters, those of open connections included.

        With workers, the sum of their last reports, at most a fraction of a second old.
        """
        return self._crew.stats

    @property
    def streams(self) -> list[IOStream]:
        """The open streams of this process."""
        return list(self._crew.tasks.values())

    @property
    def most_connections(self) -> float:
        """The most connections served at once, infinity without `max_connections`."""
        return self._service.max_connections * max(1, self._service.workers)

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of its workers; empty if it serves from this process."""
        return [] if self._workers is None else self._workers.pids

    @property
    def workers_alive(self) -> int:
        """How many of its workers accept connections; 0 if it serves from this process."""
        return 0 if self._workers is None else self._workers.alive

    @property
    def ready(self) -> bool:
        """True while it serves and welcomes new connections: not while it starts, leaves or drains.

        With workers, one of them must accept.
        """
        return self.state == "ready" and (self._workers is None or self.workers_alive > 0)

    @property
    def closed(self) -> bool:
        """True once it has stopped listening."""
        return self.state == "draining"

    async def start(self) -> None:
        """Begin to accept. `serve` has called it already."""
        await self._crew.start()
        self.state = "ready"
        events.tell("server_opened", server=self)

    async def reload(self) -> None:
        """Replace every worker process by a fresh one, which imports the code anew; no client is refused.

        Each old one drains once its successor accepts.

        Raises:
            TypeError: the server has no workers.
            WorkerError: a fresh one does not start; the old ones stay.
        """
        if self._workers is None:
            raise TypeError("only a server with workers can be reloaded")
        if self._is_managed and self.state == "ready":
            tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            await self._workers.replace_all()
        finally:
            if self.state == "ready":  # still
                self._tell_manager("READY=1", "serving")

    def leave(self) -> None:
        """Stop being ready but keep accepting: load balancers turn elsewhere before `aclose` drains."""
        if self.state in ("starting", "ready"):
            self.state = "leaving"
            self._tell_manager("STOPPING=1", "leaving")
        if self._workers is not None:
            self._workers.leave()

    def close(self) -> None:
        """Stop listening, at once; connections stay open until `aclose`. Idempotent."""
        if not self.closed:
            if self.state != "leaving":
                self._tell_manager("STOPPING=1", "draining")
            self.state = "draining"
            self._crew.stop_listening(take_backlog=self.takes_backlog)
            self._remove_file()
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
        if asyncio.current_task() not in self._crew.tasks:
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
            await self._crew.drain(timeout)
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
        self._is_managed = tell_systemd("READY=1", f"STATUS=serving {self.url}")
        if self._is_managed and (interval := watchdog_interval()):
            showing = asyncio.ensure_future(_show_life(interval))
            self._at_end.callback(showing.cancel)
        return self._is_managed

    def _tell_manager(self, assignment: str, doing: str) -> None:
        if self._is_managed:
            tell_systemd(assignment, f"STATUS={doing} {self.url}")

    async def serve_forever(self) -> None:
        """Serve until the server is closed and drained. Cancelling it drains first."""
        try:
            await self._ended.wait()
        finally:
            await self.aclose()

    def log(
        self,
        level: int,
        message: str,
        stream: IOStream | None = None,
        peer: str | None = None,
        error: BaseException | None = None,
        **options: Any,
    ) -> None:
        """Log a line about the server, or about one of its connections."""
        extra: dict[str, Any] = {"server": self.url, "error": error}
        if stream is not None:
            extra["connection"], peer = stream.id, stream.peer
        if peer is not None:
            extra["peer"] = peer
        who = self.url if peer is None else peer or "unknown peer"
        log.log(level, "%s", printable(f"{who}: {message}"), extra=extra, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.closed else counted(self.stats.open, "connection")
        return f"<Server {self.url}, {state}>"


# The service manager


def tell_systemd(*assignments: str) -> bool:
    """Send assignments such as ``READY=1``; return False if no service manager listens. Never waits; logs errors."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(map(printable, assignments)).encode(), Unix(path).address)
    except OSError as error:
        log.warning("cannot tell the service manager: %s", describe_os_error(error))
    return True


def watchdog_interval() -> float:
    """Return the seconds between two signs of life, half of what the service manager allows; 0 if it wants none."""
    is_meant = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    limit = os.environ.get("WATCHDOG_USEC", "")
    return int(limit) / 2e6 if is_meant and limit.isdecimal() else 0


async def _show_life(interval: float) -> None:
    while True:
        tell_systemd("WATCHDOG=1")
        await asyncio.sleep(interval)


# The log


def _show_traceback(record: logging.LogRecord) -> bool:
    """Print tracebacks so that a peer's words in them can neither reach a terminal nor forge lines."""
    if record.exc_info:
        text = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = textwrap.indent(printable(text.rstrip(), keep="\n"), "  ")
    return True


log.addFilter(_show_traceback)
