"""Open a stream to a URL."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import ssl
import stat
from typing import Any, Literal, Unpack, overload
from weakref import finalize

from framestream.errors import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    FramestreamError,
    check_seconds,
    describe_os_error,
)
from framestream.framer import Framer, ReadCondition, writing
from framestream.iterate import T, condition_of
from framestream.net.process import connect_process
from framestream.net.sockets import Address, close_all, inherited_socket, on_failure, open_stream, resolve
from framestream.net.tls import default_client_tls
from framestream.net.urls import Command, Descriptors, Endpoint, Pipe, Tcp, Unix, check_host, parse_url
from framestream.stream.options import StreamOptions, check_options
from framestream.stream.stream import Condition, IOStream, SendFramer, directions
from framestream.transport import can_watch_descriptors
from framestream.transport.descriptor import PipeTransport, format_address, take_over

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds an address has before the next one is tried as well (RFC 8305, section 5)."""

# Seconds between two checks whether a FIFO has a reader: the system sends no notice of it.
_FIFO_POLL_INTERVAL = 0.02


class ConnectOptions(StreamOptions, total=False):
    """The options of `connect`, for its overloads."""

    tls: ssl.SSLContext | Literal[True] | None
    server_hostname: str | None
    timeout: float | None
    proxy_header: Any


@overload
async def connect(
    url: str, *, framer: ReadCondition[T], send_framer: Framer[T] | None = ..., **options: Unpack[ConnectOptions]
) -> IOStream[T]: ...
@overload
async def connect(
    url: str, *, framer: Condition[Any] = ..., send_framer: SendFramer = ..., **options: Unpack[ConnectOptions]
) -> IOStream[Any]: ...
async def connect(
    url: str,
    *,
    tls: ssl.SSLContext | Literal[True] | None = None,
    server_hostname: str | None = None,
    timeout: float | None = None,
    proxy_header: Any = None,
    framer: Condition[Any] = None,
    send_framer: SendFramer = None,
    **stream_options: Unpack[StreamOptions],
) -> IOStream[Any]:
    """Return a stream to the endpoint of a URL.

    All addresses of a host are tried, IPv6 and IPv4 in turn, each a quarter of a second after the
    one before (RFC 8305). Cancelling leaves nothing open.

    Args:
        url: ``tcp://HOST:PORT``, ``tls://HOST:PORT``, ``unix:PATH``, ``fd:N`` or ``fd:READ,WRITE`` for
            descriptors that are open, ``pipe:PATH`` to read a FIFO and ``pipe:>PATH`` to write one,
            ``exec:PROGRAM ARGUMENTS`` for a program's standard input and output, or just the path of a
            socket, FIFO or device. A terminal, such as a serial line, is raw while it is open: bytes pass
            unchanged. To keep a terminal's settings, open it yourself and pass its ``fd:N``.
        tls: a context, see `client_tls`; True for the platform's defaults, which ``tls://`` implies. The
            default context is made once for the process.
        server_hostname: the host name that the certificate must have, if not the URL's host. Only with TLS.
        timeout: seconds for everything up to the end of the TLS handshake.
        proxy_header: a ``framestream_proxy.ProxyHeader`` to send before everything else, TLS included, as
            a load balancer does.
        framer: what the stream reads and writes by default: a condition, name or spec string.
        send_framer: what it writes, if different.
        stream_options: see `StreamOptions`.

    Raises:
        AddressError: the URL is malformed, or this system or event loop cannot open its kind.
        ValueError, TypeError: an option is invalid; no connection was tried. `EncodeError` and
            `UnknownFramerError`, if framestream-proxy is not installed, for a `proxy_header`.
        ConnectError: no address answered; names each address that was tried, and why it failed.
            `ConnectTimeout` if the time was over.
    """
    endpoint = parse_url(url)
    if tls is True or (tls is None and isinstance(endpoint, Tcp) and endpoint.tls):
        tls = default_client_tls()
    elif not isinstance(tls, ssl.SSLContext | None):
        raise TypeError(f"tls is {tls!r}; it must be a context, or True for the platform's defaults")
    if not isinstance(server_hostname, str | None):
        raise TypeError(f"server_hostname is {server_hostname!r}; it must be a host name")
    if server_hostname:
        try:
            check_host(server_hostname)
        except ValueError as error:
            what = f"{server_hostname!r} in server_hostname={server_hostname!r} is not a host name: {error}"
            raise AddressError(what, url=url) from error
    host = getattr(endpoint, "host", None) if server_hostname is None else server_hostname
    if not host and tls is not None and tls.check_hostname:
        raise AddressError(f"{url} has no host for the certificate to name; pass server_hostname", url=url)
    if server_hostname is not None and tls is None:
        what = f"server_hostname is {server_hostname!r}, but {url} is without TLS, so there is no certificate"
        raise AddressError(f"{what}: use tls://, or pass tls=True", url=url)
    check_seconds("timeout", timeout, optional=True)
    check_options(stream_options)
    receiving, sending = directions(framer, send_framer)
    header = b"" if proxy_header is None else writing(condition_of("proxy")).encode(proxy_header)
    options = {"framer": receiving, "send_framer": sending, **stream_options}
    attempts = Attempts(url)
    missing = ""
    try:
        async with asyncio.timeout(timeout):
            stream = await _open(endpoint, attempts, options)
            with on_failure(stream.close):
                if header:
                    stream.write(header)
                if tls is not None:
                    missing = "no TLS handshake"
                    try:
                        await stream.start_tls(tls, server_hostname=host or None, timeout=None)
                    except (OSError, FramestreamError) as error:
                        raise attempts.failed(f"TLS handshake failed: {describe_os_error(error)}") from error
            return stream
    except TimeoutError as error:
        raise attempts.failed(missing, seconds=timeout) from error


async def _open(endpoint: Endpoint, attempts: Attempts, options: dict[str, Any]) -> IOStream:
    match endpoint:
        case Command():
            return await connect_process(endpoint.argv, **options)
        case Tcp() | Unix():
            return open_stream(await attempts.connect(endpoint), **options)
        case Descriptors():
            return open_stream(_adopt(endpoint), **options)
        case Pipe():
            return open_stream(await _open_pipe(endpoint), **options)
    raise AddressError(f"cannot connect to {endpoint}", url=str(endpoint))


# Sockets


class Attempts:
    """The addresses tried for one URL, and why each of them failed.

    Attributes:
        tried: in the order of their start; ``TimeoutError("no answer")`` for those not finished.
    """

    def __init__(self, url: str) -> None:
        self.tried: dict[Address, OSError] = {}
        self._url = url

    async def connect(self, endpoint: Tcp | Unix) -> socket.socket:
        """Return a socket connected to a Unix socket, or to the first address of a host that answers."""
        if isinstance(endpoint, Unix):
            return await self._first_connected([(socket.AF_UNIX, endpoint.address)])
        try:
            found = await resolve(endpoint.host, endpoint.port)
        except OSError as error:
            raise self.failed(f"cannot find the host {endpoint.host!r}: {describe_os_error(error)}") from error
        families: dict[int, list[Address]] = {}
        for address in found:
            families.setdefault(address[0], []).append(address)
        # The system orders the addresses (RFC 6724); families take turns, so that one without a route costs
        # one delay instead of many.
        turns = itertools.chain.from_iterable(itertools.zip_longest(*families.values()))
        return await self._first_connected([turn for turn in turns if turn])

    async def _first_connected(self, addresses: list[Address]) -> socket.socket:
        """Return a socket connected to the first address that answers (Happy Eyeballs, RFC 8305, section 5).

        Each address has the delay for itself before the next one is tried as well; when one fails, the next
        begins at once. The losers are closed; when this is cancelled, all are.
        """
        opened: list[socket.socket] = []
        try:
            await self._race(addresses, opened)
            return opened.pop(0)
        finally:
            close_all(opened)

    async def _race(self, addresses: list[Address], opened: list[socket.socket]) -> None:
        """Add to `opened` a socket, or more if they connect together; when this ends, no attempt runs any more."""
        # Not asyncio's create_connection or aiohappyeyeballs: neither tells why each address failed.
        waiting = addresses[::-1]
        running: set[asyncio.Task[None]] = set()
        try:
            while not opened:
                if waiting:
                    running.add(asyncio.ensure_future(self._try(waiting.pop(), opened)))
                elif not running:
                    raise self.failed()
                pause = HAPPY_EYEBALLS_DELAY if waiting else None
                done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _try(self, address: Address, opened: list[socket.socket]) -> None:
        self.tried[address] = TimeoutError("no answer")
        family, place = address
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            with on_failure(sock.close):
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, place)
            opened.append(sock)
        except OSError as error:
            self.tried[address] = error

    def failed(self, reason: str = "", *, seconds: float | None = None) -> ConnectError:
        """Return the error that says why no address answered, or not in time; by default each reason."""
        told = tuple((_text(place), error) for (_, place), error in self.tried.items())
        if not reason:
            reasons = [f"{address}: {describe_os_error(error)}" for address, error in told]
            reason = describe_os_error(told[0][1]) if len(told) == 1 else "; ".join(reasons)
        within = "" if seconds is None else f" within {seconds:g} s"
        what = f"cannot connect to {self._url}{within}{': ' if reason else ''}{reason}"
        kind = ConnectError if seconds is None else ConnectTimeout
        return kind(what, url=self._url, attempts=told)


def _text(place: Any) -> str:
    return place[0] if isinstance(place, tuple) else format_address(place).replace("\0", "@", 1)


# Descriptors, FIFOs, terminals and devices


def _check_watchable(endpoint: Pipe | Descriptors) -> None:
    if not can_watch_descriptors():
        loop = type(asyncio.get_running_loop()).__name__
        what = f"{endpoint} needs an event loop with add_reader; {loop} has none"
        raise AddressError(what, url=str(endpoint))


def _adopt(endpoint: Descriptors) -> socket.socket | PipeTransport:
    for descriptor in (endpoint.read, endpoint.write):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:
            raise AddressError(f"descriptor {descriptor} is not open", url=str(endpoint)) from error
    if endpoint.read == endpoint.write and stat.S_ISSOCK(mode):
        return _Inherited(inherited_socket(endpoint.read, listening=False).detach())
    _check_watchable(endpoint)
    try:
        return PipeTransport(endpoint.read, endpoint.write)
    except ValueError as error:
        raise AddressError(f"{endpoint}: {error}", url=str(endpoint)) from error


class _Inherited(socket.socket):
    """A socket that others may share: it is restored when it is closed here, or the program ends."""

    def __init__(self, descriptor: int) -> None:
        self._give_back = finalize(self, take_over(descriptor))
        super().__init__(fileno=descriptor)

    def close(self) -> None:
        """Restore the socket's settings, and close it here."""
        self._give_back()
        super().close()


async def _open_pipe(endpoint: Pipe) -> PipeTransport:
    """Open a FIFO in one direction, anything else in both, a terminal raw; wait until a FIFO has another end.

    For reading, that is until a writer has sent something or has come and gone: the system reports
    nothing sooner, and a FIFO that no writer has opened yet looks like one that has ended.
    """
    _check_watchable(endpoint)
    try:
        if not stat.S_ISFIFO(os.stat(endpoint.path).st_mode):
            descriptor = _open_now(endpoint, os.O_RDWR)
            with on_failure(os.close, descriptor):
                return PipeTransport(descriptor, descriptor, raw=True)
        if endpoint.writes:
            return PipeTransport(None, await _open_for_writing(endpoint))
        return PipeTransport(await _open_for_reading(endpoint))
    except OSError as error:
        raise ConnectError(f"cannot open {endpoint.path}: {describe_os_error(error)}", url=str(endpoint)) from error


def _open_now(endpoint: Pipe, flags: int) -> int:
    return os.open(endpoint.path, flags | os.O_NONBLOCK | os.O_NOCTTY)


async def _open_for_writing(endpoint: Pipe) -> int:
    while True:
        try:
            return _open_now(endpoint, os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no reader
                raise
        await asyncio.sleep(_FIFO_POLL_INTERVAL)


async def _open_for_reading(endpoint: Pipe) -> int:
    descriptor = _open_now(endpoint, os.O_RDONLY)
    loop, something = asyncio.get_running_loop(), asyncio.Event()
    with on_failure(os.close, descriptor):
        loop.add_reader(descriptor, something.set)
        try:
            await something.wait()
        finally:
            loop.remove_reader(descriptor)
    return descriptor
