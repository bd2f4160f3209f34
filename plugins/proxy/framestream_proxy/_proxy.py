"""The framer: where a header ends, in both versions, and its contents."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct
from typing import Annotated, Any, ClassVar, Final, Literal

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import read_digits
from framestream.framers import looks_like
from framestream_proxy._header import LONGEST_PATH, Address, Family, ProxyHeader
from framestream_proxy._tlv import Tlv, crc32c, read_tlvs, write_tlvs

LINE: Final = b"PROXY "
"""How a header of version 1 begins."""
LONGEST_LINE: Final = 107
"""Bytes that a header of version 1 may take, with its CR LF."""
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""How a header of version 2 begins."""

# After the signature: version and command, family, bytes that follow.
_FIXED: Final = Struct(">12sBBH")
_MOST: Final = 0xFFFF
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES: Final[dict[int, Family]] = {
    0x00: "UNSPEC",
    0x11: "TCP4",
    0x12: "UDP4",
    0x21: "TCP6",
    0x22: "UDP6",
    0x31: "UNIX",
    0x32: "UNIX_DGRAM",
}
_CODES: Final = {family: code for code, family in _FAMILIES.items()}
# By the address family, the upper half of the code: source and destination, then the ports.
_ADDRESSES: Final = (
    Struct(""),
    Struct(">4s4sHH"),
    Struct(">16s16sHH"),
    Struct(f">{LONGEST_PATH}s{LONGEST_PATH}s"),
)
_CHECKSUM: Final = Struct(">I")


@dataclass(frozen=True)
class Proxy(Framer[ProxyHeader]):
    r"""Cut headers of the PROXY protocol, versions 1 and 2: who the client of a load balancer is.

    ::

        INPUT     PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n
        DECODED   ProxyHeader(version=1, family='TCP4', source=('192.0.2.7', 56324), ...)

    A connection has one header, before everything else: ``await stream.read("proxy")``. It is either
    version 1, a line of at most 107 bytes, or version 2: 16 bytes, the last two of which are the number of
    bytes that follow, then addresses and TLVs
    (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2).

    Any violation, a wrong checksum too, is a `FramingError`, as the specification requires: there is
    no next header. The rest of a LOCAL header is ignored, and so are the bytes after UNKNOWN.
    """

    name = "proxy"
    examples: ClassVar[dict[bytes, list[ProxyHeader]]] = {
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n": [
            ProxyHeader(version=1, source=("192.0.2.7", 56324), destination=("198.51.100.1", 443)),
        ],
        SIGNATURE + b"\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb": [
            ProxyHeader(source=("192.0.2.7", 56324), destination=("198.51.100.1", 443)),
        ],
    }

    malformed: ClassVar[dict[bytes, str]] = {
        b"GET / HTTP/1.1\r\n": "no PROXY header",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 0443\r\n": "'0443' is not a port",
    }
    peers = ("haproxy 2.6.12", "nginx 1.22.1", "proxy-protocol 0.11.3 (PyPI)")

    version: Annotated[Literal[1, 2] | None, "The only version to accept and to write."] = None
    max_size: Annotated[int | None, "The largest header. Bytes."] = 4096

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span of a line when its end has arrived, of a binary header when its length has."""
        data, start = window.data, window.start
        head = bytes(data[start : start + _FIXED.size])
        if self.version != 1 and SIGNATURE.startswith(head[: len(SIGNATURE)]):
            return self._find_binary(head, start)
        if self.version != 2 and LINE.startswith(head[: len(LINE)]):
            return self._find_line(window)
        raise FramingError(f"no PROXY header{f' of version {self.version}' if self.version else ''}")

    def _find_binary(self, head: bytes, start: int) -> Span | NeedMore:
        if len(head) > len(SIGNATURE) and head[len(SIGNATURE)] not in (_LOCAL, _PROXY):
            what = f"version and command 0x{head[len(SIGNATURE)]:02x}, it must be 0x20 or 0x21"
            raise FramingError(f"PROXY header: {what}", position=start + len(SIGNATURE))
        if len(head) < _FIXED.size:
            return NeedMore()  # bytes that are not the signature are refused at once, however few arrive
        end = start + _FIXED.size + _FIXED.unpack(head)[3]
        return start, end, end

    def _find_line(self, window: Window) -> Span | NeedMore:
        data, start = window.data, window.start
        end = data.find(b"\n", window.resume, start + LONGEST_LINE)
        if end < 0:
            if len(data) - start >= LONGEST_LINE:
                raise FramingError(f"PROXY line without an end within {LONGEST_LINE} bytes")
            return NeedMore(resume=len(data))
        if data[end - 1] != 0x0D:
            raise FramingError("PROXY line that ends with LF alone, it must be CR LF", position=end)
        return start, end + 1, end + 1

    def decode(self, payload: bytes) -> ProxyHeader:
        """Return the header. A violation breaks the stream (`FramingError`)."""
        if not _is_whole(payload):
            raise ValueError("only the beginning of a PROXY header above the limit")  # the rest is skipped
        try:
            return _read_line(payload) if payload.startswith(LINE) else _read_binary(payload)
        except ValueError as error:
            raise FramingError(f"PROXY header: {error}") from error

    def encode(self, frame: ProxyHeader) -> bytes:
        """Return the header in its version.

        Raises:
            EncodeError: it is not a `ProxyHeader`, of another version, or larger than `max_size`.
        """
        if not isinstance(frame, ProxyHeader):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a ProxyHeader")
        if self.version not in (None, frame.version):
            raise EncodeError(f"header of version {frame.version}, only {self.version} is written")
        data = _written_line(frame) if frame.version == 1 else _written_binary(frame)
        if self.max_size is not None and len(data) > self.max_size:
            raise EncodeError(f"header of {counted(len(data), 'byte')} exceeds the limit {self.max_size}")
        return data

    def explain(self, window: Window) -> str:
        """Guess the protocol of a client that speaks without a header."""
        for version, beginning in enumerate((LINE, SIGNATURE), 1):
            if window.data.startswith(beginning, window.start) and self.version not in (None, version):
                return f"looks like version {version}"
        return looks_like(window.data, window.start)


def _is_whole(header: bytes) -> bool:
    if header.startswith(LINE):
        return header.endswith(b"\r\n")
    return len(header) >= _FIXED.size and len(header) == _FIXED.size + _FIXED.unpack_from(header)[3]


def _read_line(line: bytes) -> ProxyHeader:
    match line[:-2].decode("latin-1").split(" "):
        case [_, "UNKNOWN", *_]:
            return ProxyHeader(version=1, size=len(line))
        case [_, "TCP4" | "TCP6" as family, source, destination, source_port, destination_port]:
            return ProxyHeader(
                version=1,
                family=family,
                source=(source, _port(source_port)),
                destination=(destination, _port(destination_port)),
                size=len(line),
            )
    raise ValueError(f"{line[:-2]!r} is none of PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT, PROXY UNKNOWN")


def _port(text: str) -> int:
    number = read_digits(text)
    if text != str(number) or number > 0xFFFF:
        raise ValueError(f"{text!r} is not a port: a number up to 65535 without leading zeros")
    return number


def _written_line(header: ProxyHeader) -> bytes:
    match header.source, header.destination:
        case (source, source_port), (destination, destination_port):
            text = f"{header.family} {source} {destination} {source_port} {destination_port}"
            return b"PROXY %b\r\n" % text.encode()
    return b"PROXY UNKNOWN\r\n"


def _read_binary(data: bytes) -> ProxyHeader:
    _, command, code, size = _FIXED.unpack_from(data)
    if command == _LOCAL:
        return ProxyHeader(command="LOCAL", size=len(data))
    family = _FAMILIES.get(code)
    if family is None:
        raise ValueError(f"address family and protocol 0x{code:02x}")
    addresses = _ADDRESSES[code >> 4]
    if size < addresses.size:
        raise ValueError(f"{counted(size, 'byte')} where {family} addresses take {addresses.size}")
    tlvs = read_tlvs(data, _FIXED.size + addresses.size)
    source, destination = _read_addresses(addresses.unpack_from(data, _FIXED.size))
    checksums = [value for kind, value in tlvs if kind == Tlv.CRC32C]
    if checksums:
        _check(data, tlvs, _FIXED.size + addresses.size)
    return ProxyHeader(
        family=family,
        source=source,
        destination=destination,
        tlvs=tuple(tlv for tlv in tlvs if tlv[0] != Tlv.CRC32C),
        crc32c=bool(checksums),
        size=len(data),
    )


def _check(data: bytes, tlvs: tuple[tuple[int, bytes], ...], at: int) -> None:
    """Raise ValueError unless the header has one checksum, and that is right (section 2.2.3)."""
    places = []
    for kind, value in tlvs:
        at += 3 + len(value)
        if kind == Tlv.CRC32C:
            places.append(at - len(value))
            told = value
    if len(places) > 1 or len(told) != _CHECKSUM.size:
        raise ValueError(
            f"{counted(len(places), 'checksum')}, the last of {counted(len(told), 'byte')}; it must be one of 4"
        )
    [place] = places
    found = crc32c(data[:place] + bytes(_CHECKSUM.size) + data[place + _CHECKSUM.size :])
    if found != _CHECKSUM.unpack(told)[0]:
        raise ValueError(f"checksum {told.hex()}, but that of what arrived is {found:08x}")


def _read_addresses(fields: tuple[Any, ...]) -> tuple[Address | None, Address | None]:
    match fields:
        case (source, destination, source_port, destination_port):
            return (str(ip_address(source)), source_port), (str(ip_address(destination)), destination_port)
        case (source, destination):
            return _path(source), _path(destination)
    return None, None


def _path(name: bytes) -> str:
    # An abstract name begins with a zero.
    return os.fsdecode(name[:1] + name[1:].partition(b"\0")[0]).rstrip("\0")


def _written_binary(header: ProxyHeader) -> bytes:
    code = _CODES[header.family]
    body = b""
    match header.source, header.destination:
        case (str(source), port), (str(destination), other_port):
            packed = ip_address(source).packed, ip_address(destination).packed
            body = _ADDRESSES[code >> 4].pack(*packed, port, other_port)
        case str(source), str(destination):
            body = _ADDRESSES[code >> 4].pack(os.fsencode(source), os.fsencode(destination))
    body += write_tlvs(header.tlvs)
    if header.crc32c:
        body += write_tlvs(((Tlv.CRC32C, bytes(_CHECKSUM.size)),))
    if len(body) > _MOST:
        raise EncodeError(f"addresses and TLVs of {counted(len(body), 'byte')}, limit {_MOST}")
    command = _PROXY if header.command == "PROXY" else _LOCAL
    data = _FIXED.pack(SIGNATURE, command, code, len(body)) + body
    if not header.crc32c:
        return data
    return data[: -_CHECKSUM.size] + _CHECKSUM.pack(crc32c(data))
