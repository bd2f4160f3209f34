"""Type-length-value entries of a version 2 header (specification, section 2.2), and their checksum."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from framestream.errors import counted

Tlvs: TypeAlias = tuple[tuple[int, bytes], ...]
"""Pairs of a type from 0 to 255, see `Tlv`, and a value of at most 65535 bytes."""

_HEAD: Final = Struct(">BH")
_TLS_HEAD: Final = Struct(">BI")


class Tlv(IntEnum):
    """The types that the specification names; TLS_VERSION to TLS_KEY_ALGORITHM are inside TLS."""

    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    TLS = 0x20
    TLS_VERSION = 0x21
    TLS_COMMON_NAME = 0x22
    TLS_CIPHER = 0x23
    TLS_SIGNATURE_ALGORITHM = 0x24
    TLS_KEY_ALGORITHM = 0x25
    NETWORK_NAMESPACE = 0x30


class TlsInfo(NamedTuple):
    """The facts about the client's connection from a balancer that ends TLS (section 2.2.6).

    Attributes:
        is_tls: the client connected over TLS.
        has_certificate: it showed a certificate in this connection, or in the session that this one resumes.
        is_verified: it showed a certificate, and that was verified.
        tlvs: the entries inside, such as ``(Tlv.TLS_COMMON_NAME, b"alice")``.
    """

    is_tls: bool
    has_certificate: bool
    is_verified: bool
    tlvs: Tlvs


def read_tls(value: bytes) -> TlsInfo:
    """Return the facts in the value of a `Tlv.TLS`. Raise ValueError if it breaks off."""
    if len(value) < _TLS_HEAD.size:
        raise ValueError(f"TLV of TLS with {counted(len(value), 'byte')}, it must have {_TLS_HEAD.size} or more")
    client, verify = _TLS_HEAD.unpack_from(value)
    certificate = bool(client & 0b110)
    return TlsInfo(bool(client & 1), certificate, certificate and verify == 0, read_tlvs(value, _TLS_HEAD.size))


def read_tlvs(data: bytes, at: int) -> Tlvs:
    """Return the entries from an index to the end. Raise ValueError if the last one breaks off."""
    tlvs: list[tuple[int, bytes]] = []
    while at < len(data):
        left = len(data) - at - _HEAD.size
        if left < 0:
            raise ValueError(f"TLV that breaks off, {len(data) - at} of {_HEAD.size} bytes before its value")
        kind, size = _HEAD.unpack_from(data, at)
        if size > left:
            raise ValueError(f"TLV 0x{kind:02x} of {counted(size, 'byte')} where {left} are left")
        at += _HEAD.size + size
        tlvs.append((kind, data[at - size : at]))
    return tuple(tlvs)


def write_tlvs(tlvs: Tlvs) -> bytes:
    """Return the bytes of entries."""
    return b"".join(_HEAD.pack(kind, len(value)) + value for kind, value in tlvs)


# The checksum of iSCSI (RFC 3720, appendix B.4), which zlib does not have.
def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_REMAINDERS: Final = tuple(map(_remainder, range(256)))


def crc32c(data: bytes) -> int:
    """Return the CRC32C of the data."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _REMAINDERS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
