"""Open a stream to a URL."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from framestream.checks import check_seconds
from framestream.errors import AddressError, FramestreamError
from framestream.framer import ReadCondition
from framestream.net._connector import Connector
from framestream.net._pipes import adopt, open_pipe
from framestream.net._process import connect_process
from framestream.net._reasons import reason
from framestream.net._time_limit import time_limit
from framestream.net._tls import client_tls
from framestream.net._urls import Command, Descriptors, Endpoint, Pipe, Tcp, Unix, check_host, parse_url
from framestream.stream._framing import directions
from framestream.stream._stream import IOStream
from framestream.stream._stream_options import check_options
from framestream.transport._channel import SocketChannel

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from framestream.framer import Framer
    from framestream.stream._stream_options import StreamOptions
    from framestream.transport._channel import Channel

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds an address has before the next one is tried as well (RFC 8305, section 5)."""


async def connect(
    url: str,
    *,
    tls: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    alpn: tuple[str, ...] = (),
    truncation_is_end: bool = False,
    local_address: tuple[str, int] | None = None,
    timeout: float | None = None,
    happy_eyeballs_delay: float = HAPPY_EYEBALLS_DELAY,
    framer: ReadCondition[Any] | str | None = None,
    send_framer: Framer[Any] | str | None = None,
    **stream_options: Unpack[StreamOptions],
) -> IOStream:
    """Return a stream to what a URL names.

    A host with several addresses is tried at all of them, IPv6 and IPv4 in turn, each a little after the
    one before (RFC 8305). Cancelling leaves nothing open.

    Args:
        url: ``tcp://HOST:PORT``, ``tls://HOST:PORT``, ``unix:PATH``, ``fd:N`` or ``fd:READ,WRITE`` for
            descriptors that are open, ``pipe:PATH`` to read a FIFO and ``pipe:>PATH`` to write one,
            ``exec:PROGRAM ARGUMENTS`` for a program's standard input and output, or just the path of a
            socket, FIFO or device.
        tls: a context, see `client_tls`; True for the platform's defaults, which ``tls://`` implies.
        server_hostname: whom the certificate must name, if not the URL's host.
        alpn: protocols to offer during the handshake (RFC 7301), unless the context says so itself.
        truncation_is_end: take TLS that ends without its goodbye for an end, see `IOStream.start_tls`.
        local_address: host and port to connect from.
        timeout: seconds for everything up to the end of the TLS handshake.
        happy_eyeballs_delay: seconds an address has before the next one is tried as well.
        framer: what the stream reads and writes unless told otherwise: a condition, name or spec string.
        send_framer: what it writes, if that is something else.
        stream_options: see `StreamOptions`.

    Raises:
        AddressError: the URL is malformed.
        ValueError, TypeError: an option has no meaning; nobody was asked.
        ConnectError: nobody was reached; names each address that was tried, and why it failed.
            `ConnectTimeout` if the time was over.
    """
    endpoint = parse_url(url)
    context = _context(endpoint, tls, alpn)
    check_seconds("timeout", timeout, optional=True)
    check_seconds("happy_eyeballs_delay", happy_eyeballs_delay)
    _check_local_address(local_address)
    check_options(stream_options)
    host = server_hostname if server_hostname is not None else _host(endpoint)
    if context is not None:
        _check_certificate_name(context, host, url)
    options = {**_framers(framer, send_framer), **stream_options}
    connector = Connector(url, local_address=local_address, delay=happy_eyeballs_delay)
    try:
        async with time_limit(timeout):
            stream = await _open(endpoint, connector, options)
            stream.set_nodelay(True)
            if context is not None:
                await _start_tls(stream, context, host, connector, truncation_is_end)
            return stream
    except TimeoutError as error:
        assert timeout is not None
        raise connector.timed_out(timeout) from error


def _check_local_address(address: object) -> None:
    match address:
        case None:
            return
        case (str(host), int()):
            check_host(host, f"local_address={address!r}")
            return
    raise TypeError(f"local_address is {address!r}; it must be (HOST, PORT)")


def _framers(
    framer: ReadCondition[Any] | str | None, send_framer: Framer[Any] | str | None
) -> dict[str, Any]:
    for name, given in (("framer", framer), ("send_framer", send_framer)):
        if not isinstance(given, ReadCondition | str | None):
            raise TypeError(f"{name} is {given!r}; it must be a condition, a name or a spec string")
    reading, sending = directions(framer, send_framer)
    return {"framer": reading, "send_framer": None if send_framer is None else sending}


def _context(endpoint: Endpoint, tls: ssl.SSLContext | bool | None, alpn: tuple[str, ...]) -> Any:
    if not isinstance(tls, ssl.SSLContext | bool | None):
        raise TypeError(f"tls is {tls!r}; it must be a context, True, False or None")
    implied = isinstance(endpoint, Tcp) and endpoint.tls
    if implied and tls is False:
        raise AddressError(f"{endpoint} asks for TLS, tls=False forbids it", url=str(endpoint))
    if isinstance(tls, ssl.SSLContext):
        if alpn:
            raise TypeError("alpn is given, and so is a context; set it there")
        return tls
    return client_tls(alpn=alpn) if tls or implied else None


def _check_certificate_name(context: ssl.SSLContext, host: str | None, url: str) -> None:
    if host:
        check_host(host, f"server_hostname={host!r}")
    elif context.check_hostname:
        raise AddressError(f"{url} has no host for the certificate to name; pass server_hostname", url=url)


def _host(endpoint: Endpoint) -> str | None:
    return endpoint.host if isinstance(endpoint, Tcp) else None


async def _start_tls(
    stream: IOStream, context: ssl.SSLContext, host: str | None, connector: Connector, truncation_is_end: bool
) -> None:
    try:
        await stream.start_tls(
            context, server_hostname=host or None, timeout=None, truncation_is_end=truncation_is_end
        )
    except (OSError, FramestreamError) as error:
        raise connector.failed(f"TLS handshake failed: {reason(error)}") from error


async def _open(endpoint: Endpoint, connector: Connector, options: dict[str, Any]) -> IOStream:
    if isinstance(endpoint, Command):
        return await connect_process(endpoint.argv, **options)
    channel = await _channel(endpoint, connector)
    try:
        return IOStream(channel, **options)
    except BaseException:
        channel.close()
        raise


def _named(channel: SocketChannel) -> SocketChannel:
    _ = channel.peer  # asked once it is connected, so that it is known when it is gone
    return channel


async def _channel(endpoint: Endpoint, connector: Connector) -> Channel:
    if isinstance(endpoint, Tcp):
        return _named(SocketChannel(await connector.connect_tcp(endpoint)))
    if isinstance(endpoint, Unix):
        return _named(SocketChannel(await connector.connect_unix(endpoint)))
    if isinstance(endpoint, Pipe):
        return await open_pipe(endpoint)
    if isinstance(endpoint, Descriptors):
        return adopt(endpoint)
    raise AddressError(f"cannot connect to {endpoint}", url=str(endpoint))
