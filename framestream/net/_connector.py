"""Connect a socket to a host and port, or to a Unix socket, and keep account of what was tried."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, TypeAlias

from framestream.errors import ConnectError, ConnectTimeout
from framestream.net._race import Race, interleave
from framestream.net._reasons import reason

if TYPE_CHECKING:
    from framestream.net._urls import Tcp, Unix

Address: TypeAlias = tuple[int, Any]
"""An address family and an address as the socket module spells it."""


class Connector:
    """One attempt to reach one endpoint, which may have several addresses.

    Args:
        url: as the caller wrote it, for messages.
        local_address: host and port to connect from; port 0 is any.
        delay: seconds each address has for itself before the next one is tried as well (RFC 8305).
    """

    def __init__(self, url: str, *, local_address: tuple[str, int] | None, delay: float) -> None:
        self._url = url
        self._local_address = local_address
        self._delay = delay
        self._addresses: list[Address] = []
        self._race: Race[socket.socket] | None = None

    async def connect_tcp(self, endpoint: Tcp) -> socket.socket:
        """Return a socket connected to the first address of the host that answers.

        The system resolves the name and orders its addresses (RFC 6724); families take turns.
        """
        found = await self._resolve(endpoint.host, endpoint.port)
        mine = [] if self._local_address is None else await self._resolve(*self._local_address)
        self._addresses = interleave(_by_family(found))
        return await self._first(mine)

    async def connect_unix(self, endpoint: Unix) -> socket.socket:
        """Return a socket connected to a Unix socket."""
        self._addresses = [(socket.AF_UNIX, endpoint.address)]
        return await self._first([])

    async def _resolve(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise self.failed(f"cannot find the host {host!r}: {reason(error)}") from error
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))

    async def _first(self, mine: list[Address]) -> socket.socket:
        attempts = [lambda address=address: _connected(address, mine) for address in self._addresses]
        self._race = Race(attempts, delay=self._delay, discard=socket.socket.close)
        winner = await self._race.run()
        if winner is None:
            raise self.failed(self._reasons())
        return winner

    # What is said when it fails

    def failed(self, reason: str) -> ConnectError:
        """Return the error that says why nobody was reached."""
        return ConnectError(f"cannot connect to {self._url}: {reason}", url=self._url, attempts=self._tried())

    def timed_out(self, seconds: float) -> ConnectTimeout:
        """Return the error that says so, with the addresses that gave no answer until then."""
        reasons = self._reasons()
        message = f"cannot connect to {self._url} within {seconds:g} s{': ' if reasons else ''}{reasons}"
        return ConnectTimeout(message, url=self._url, attempts=self._tried())

    def _tried(self) -> tuple[tuple[str, BaseException], ...]:
        if self._race is None:
            return ()
        silent = TimeoutError("no answer")
        started = self._addresses[: self._race.started]
        return tuple(
            (_text(address), self._race.failures.get(index, silent)) for index, address in enumerate(started)
        )

    def _reasons(self) -> str:
        tried = self._tried()
        if len(tried) == 1:
            return reason(tried[0][1])
        return "; ".join(f"{address}: {reason(error)}" for address, error in tried)


def _by_family(addresses: list[Address]) -> list[list[Address]]:
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return list(families.values())


async def _connected(address: Address, mine: list[Address]) -> socket.socket:
    family, place = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if mine:
            sock.bind(_of_family(mine, family))
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _of_family(mine: list[Address], family: int) -> Any:
    for own_family, own in mine:
        if own_family == family:
            return own
    raise OSError(errno.EAFNOSUPPORT, "the local address is of another family")


def _text(address: Address) -> str:
    family, place = address
    if family == socket.AF_UNIX:
        return str(place).replace("\0", "@", 1)
    return str(place[0])
