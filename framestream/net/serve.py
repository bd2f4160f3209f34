"""Listen on a URL."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal, TypeVar, Unpack, overload

from framestream.errors import AddressError, StreamTimeout, check_choice, check_count, check_seconds, printable
from framestream.framer import Framer, ReadCondition
from framestream.iterate import condition_of
from framestream.net.listen import file_remover, listen
from framestream.net.server import DRAIN_TIMEOUT, Server, Service
from framestream.net.streams import HANDSHAKE_TIMEOUT
from framestream.net.urls import Endpoint, Tcp, parse_url, takes_url
from framestream.stream.options import StreamOptions, check_options
from framestream.stream.stream import IOStream, directions
from framestream.transport.descriptor import format_address

T = TypeVar("T")

MOST_WORKERS = 1024
"""Most processes of a server: more is a typing mistake, and starting them would overload the machine."""


class ServeOptions(StreamOptions, total=False):
    """The options of `serve`, for its overloads."""

    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None
    handshake_timeout: float
    truncation_is_end: bool
    backlog: int
    reuse_port: bool
    max_connections: int | None
    drain_timeout: float
    workers: int
    proxy_protocol: Literal["off", "v1", "v2", "auto"]
    trusted: Iterable[str | IPv4Network | IPv6Network]
    admin: str | None


@overload
async def serve(
    handler: Callable[[IOStream[T]], object],
    url: str,
    *,
    framer: ReadCondition[T],
    send_framer: Framer[T] | None = ...,
    **options: Unpack[ServeOptions],
) -> Server: ...
@overload
async def serve(
    handler: Callable[[IOStream[Any]], object],
    url: str,
    *,
    framer: ReadCondition[Any] | str | None = ...,
    send_framer: Framer[Any] | str,
    **options: Unpack[ServeOptions],
) -> Server: ...
@overload
async def serve(
    handler: Callable[[IOStream[Any]], object],
    url: str,
    *,
    framer: str | None = ...,
    send_framer: None = ...,
    **options: Unpack[ServeOptions],
) -> Server: ...
@takes_url
async def serve(
    handler: Callable[[Any], Any],
    url: str,
    *,
    framer: ReadCondition[Any] | str | None = None,
    send_framer: Framer[Any] | str | None = None,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    truncation_is_end: bool = False,
    backlog: int = 1024,
    reuse_port: bool = False,
    max_connections: int | None = None,
    drain_timeout: float = DRAIN_TIMEOUT,
    workers: int = 0,
    proxy_protocol: Literal["off", "v1", "v2", "auto"] = "off",
    trusted: Iterable[str | IPv4Network | IPv6Network] = (),
    admin: str | None = None,
    **stream_options: Any,
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
        truncation_is_end: treat TLS that ends without close_notify as an end, see `IOStream.start_tls`.
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
    check_seconds("handshake_timeout", handshake_timeout)
    check_seconds("drain_timeout", drain_timeout)
    check_count("backlog", backlog)
    check_count("max_connections", max_connections, least=1, optional=True)
    check_count("workers", workers, most=MOST_WORKERS)
    check_options(stream_options)
    receiving, sending = directions(framer, send_framer)
    service = Service(
        handler=handler,
        tls=tls,
        handshake_timeout=handshake_timeout,
        truncation_is_end=truncation_is_end,
        max_connections=float("inf") if max_connections is None else max_connections,
        drain_timeout=drain_timeout,
        workers=workers,
        balancers=_balancers(proxy_protocol, trusted, endpoint),
        measures_lag=admin is not None,
        stream_options={"framer": receiving, "send_framer": sending, **stream_options},
    )
    kind: type[Server] = Server
    if workers:
        # Only a server of several processes pays for importing what starts them.
        from framestream.net.workers import WorkerServer, check_portable  # noqa: PLC0415

        check_portable(service)
        kind = WorkerServer
    elif callable(tls):
        service = replace(service, tls=tls())  # report its errors before anything listens
    sockets = await listen(endpoint, backlog=backlog, reuse_port=reuse_port)
    server = kind(endpoint, service, sockets, file_remover(endpoint))
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
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # a built-in function may have no signature
        return
    try:
        signature.bind(None)
    except TypeError:
        what = f"handler {name}{signature} must take one argument, the stream"
        raise TypeError(what) from None


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
        try:
            # Independent of the stream's policy for its own large frames: there is no second header.
            header = await stream.read(self.framer, timeout=timeout, on_oversize="raise")
        except BaseException as error:
            stream.close()  # nothing to send or to wait for
            if isinstance(error, StreamTimeout):
                raise StreamTimeout(f"no whole PROXY header within {timeout:g} s") from error
            raise
        stream.proxy_header = header
        if header.source is not None:
            transport: Any = stream.transport
            transport.peer = printable(format_address(header.source))


def _balancers(protocol: str, trusted: Iterable[Any], endpoint: Endpoint) -> Balancers | None:
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
    networks = tuple(map(_network, trusted))
    if protocol == "off":
        raise ValueError('trusted says whose PROXY headers count; pass proxy_protocol="auto" as well')
    if not networks and isinstance(endpoint, Tcp):
        what = "every peer could claim to be any client; pass trusted=[...], the balancers' networks"
        raise ValueError(f"proxy_protocol is {protocol!r} and no network is trusted: {what}")
    return Balancers(condition_of(_FRAMERS[protocol]), networks)


def _network(text: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(text))
    except ValueError as error:
        raise ValueError(f"trusted has {str(text)!r}, which is not a network: {error}") from error
