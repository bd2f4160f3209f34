"""The PROXY protocol at a server: which peers may name the client. The framer ``proxy`` cuts the header."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from framestream.checks import check_choice
from framestream.errors import StreamTimeout, printable
from framestream.framer import ReadCondition
from framestream.iterate import condition_of
from framestream.net.urls import Endpoint, Tcp
from framestream.stream.stream import IOStream
from framestream.transport.descriptor import format_address

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
        except StreamTimeout as error:
            raise StreamTimeout(f"no whole PROXY header within {timeout:g} s") from error
        stream.proxy_header = header
        if header.source is not None:
            transport: Any = stream.transport
            transport.peer = printable(format_address(header.source))


def balancers(protocol: str, trusted: Iterable[Any], endpoint: Endpoint) -> Balancers:
    """Return the balancers that these options of `serve` describe for an endpoint.

    Raises:
        ValueError, TypeError: they are invalid, such as trusted networks with ``"off"``.
        UnknownFramerError: framestream-proxy is not installed.
    """
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
