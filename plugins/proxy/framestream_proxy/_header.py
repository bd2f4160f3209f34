"""One header as a value that is always valid."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Literal, TypeAlias, get_args

from framestream_proxy._tlv import TlsInfo, Tlv, Tlvs, read_tls

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a Unix socket; as the socket module writes them."""

Command: TypeAlias = Literal["PROXY", "LOCAL"]
Family: TypeAlias = Literal["UNSPEC", "TCP4", "UDP4", "TCP6", "UDP6", "UNIX", "UNIX_DGRAM"]

LONGEST_PATH: Final = 108
"""Bytes of a Unix socket's path in a header."""

_KINDS: Final[dict[type, tuple[Family, ...]]] = {
    IPv4Address: ("TCP4", "UDP4"),
    IPv6Address: ("TCP6", "UDP6"),
    str: ("UNIX", "UNIX_DGRAM"),
}


@dataclass(frozen=True, kw_only=True)
class ProxyHeader:
    """A header of the PROXY protocol, version 1 or 2.

    ::

        ProxyHeader(source=("192.0.2.7", 56324), destination=("198.51.100.1", 443))

    Addresses are kept in the usual spelling (``2001:DB8:0::1`` as ``2001:db8::1``).

    Attributes:
        version: 1, a line of text, or 2, binary.
        command: ``"PROXY"`` for a client's connection, ``"LOCAL"`` for one of the balancer itself, such as a
            health check: it carries nothing else, and only version 2 has it.
        family: the kind of the addresses; derived from them if left out. ``"UNSPEC"`` (UNKNOWN in version 1)
            is a client whose address is not given.
        source, destination: addresses of the client, and of the endpoint it connected to; both or neither.
        tlvs: further entries, in version 2.
        crc32c: whether it has a checksum, in version 2. A wrong one is refused.
        size: bytes it took when it was read, else 0. Not compared.

    Raises:
        ValueError: the combination is invalid.
    """

    version: int = 2
    command: Command = "PROXY"
    family: Family = "UNSPEC"
    source: Address | None = None
    destination: Address | None = None
    tlvs: Tlvs = ()
    crc32c: bool = False
    size: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.version not in (1, 2) or self.command not in get_args(Command):
            raise ValueError(f"version {self.version!r}, command {self.command!r}: there is no such header")
        if (self.source is None) != (self.destination is None):
            raise ValueError("a header has a source and a destination, or neither")
        if self.source is not None:
            self._set_addresses(self.source, self.destination)
        elif self.family != "UNSPEC":
            raise ValueError(f"a header of the family {self.family!r} without addresses")
        object.__setattr__(self, "tlvs", tuple(map(_checked_tlv, self.tlvs)))
        is_text = self.command == "PROXY" and self.family in ("UNSPEC", "TCP4", "TCP6")
        if self.version == 1 and (not is_text or self.tlvs or self.crc32c):
            raise ValueError("version 1 tells of TCP4, TCP6 or UNSPEC, and has no LOCAL, TLVs or checksum")
        if self.command == "LOCAL" and (self.source is not None or self.tlvs or self.crc32c):
            raise ValueError("a LOCAL header carries no addresses, TLVs or checksum: they are ignored")

    def _set_addresses(self, source: Any, destination: Any) -> None:
        ends = [_checked(source), _checked(destination)]
        families = _KINDS[type(ends[0][0])]
        if families != _KINDS[type(ends[1][0])]:
            raise ValueError(f"source {source!r} and destination {destination!r} are of two families")
        if self.family == "UNSPEC":
            object.__setattr__(self, "family", families[0])
        elif self.family not in families:
            raise ValueError(f"family {self.family!r} with {source!r}, which is of {' or '.join(families)}")
        for name, (host, port) in zip(("source", "destination"), ends, strict=True):
            object.__setattr__(self, name, host if isinstance(host, str) else (str(host), port))

    def get(self, kind: int) -> bytes | None:
        """Return the value of the first entry of this type, such as `Tlv.AUTHORITY`; None without one."""
        return next((value for each, value in self.tlvs if each == kind), None)

    @property
    def tls(self) -> TlsInfo | None:
        """What the balancer says about the client's TLS; None if nothing.

        Raises:
            ValueError: the entry breaks off.
        """
        value = self.get(Tlv.TLS)
        return None if value is None else read_tls(value)


def _checked(address: Any) -> tuple[IPv4Address | IPv6Address | str, int]:
    """Return a host and its port, or a path and 0."""
    match address:
        case str():
            if len(os.fsencode(address)) > LONGEST_PATH or "\0" in address[1:] or address == "\0":
                raise ValueError(f"{address!r} is not a path, or abstract name, of at most {LONGEST_PATH} bytes")
            return address, 0
        case (str(host), int(port), *_) if 0 <= port <= 0xFFFF and "%" not in host:
            return ip_address(host), port
    raise ValueError(f"{address!r} is not an address; it must be (HOST, PORT), with an IP address, or a path")


def _checked_tlv(tlv: Any) -> tuple[int, bytes]:
    match tlv:
        case (int(kind), bytes(value)) if 0 <= kind <= 0xFF and kind != Tlv.CRC32C and len(value) <= 0xFFFF:
            return kind, value
    raise ValueError(f"{str(tlv)[:80]} is not a TLV: a type from 0 to 255 but 3, which is crc32c, and bytes")
