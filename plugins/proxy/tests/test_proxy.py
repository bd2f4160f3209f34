"""PROXY headers: both versions, TLVs, the checksum, the limits, and the kit."""

from __future__ import annotations

import random
from typing import Any

import pytest

from framestream import NEED_DATA, EncodeError, FrameDecoder, FrameTooLarge, FramingError, get_framer, iter_frames
from framestream.testing import check_framer
from framestream_proxy import Proxy, ProxyHeader, Tlv

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = b"\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"
SIX = bytes(range(1, 33)) + b"\xff\xff\0\0"


def binary(rest: bytes, family: int = 0x11, command: int = 0x21, size: int | None = None) -> bytes:
    size = len(rest) if size is None else size
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


ADDRESSES: dict[str, Any] = {"source": ("192.0.2.7", 56324), "destination": ("198.51.100.1", 443)}
PATHS: dict[str, Any] = {"source": "/run/client", "destination": "\0abstract"}
UNIX = b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")

EXAMPLES: list[tuple[bytes, list[ProxyHeader]]] = [
    *Proxy.examples.items(),
    (
        b"PROXY TCP6 2001:DB8::0:7 ::1 0 65535\r\n",
        [ProxyHeader(version=1, source=("2001:db8::7", 0), destination=("::1", 65535))],
    ),
    (b"PROXY UNKNOWN\r\n", [ProxyHeader(version=1)]),
    (b"PROXY UNKNOWN \xff any thing\r, even this\r\n", [ProxyHeader(version=1)]),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", [ProxyHeader(version=1)]),
    (binary(b"", 0, 0x20), [ProxyHeader(command="LOCAL")]),
    (binary(FOUR + b"\3\0\4nope", 0x77, 0x20), [ProxyHeader(command="LOCAL")]),
    (binary(b"", 0), [ProxyHeader()]),
    (binary(tlv(5, b"id"), 0), [ProxyHeader(tlvs=((Tlv.UNIQUE_ID, b"id"),))]),
    (binary(FOUR, 0x12), [ProxyHeader(family="UDP4", **ADDRESSES)]),
    (
        binary(SIX, 0x22),
        [
            ProxyHeader(
                family="UDP6",
                source=("102:304:506:708:90a:b0c:d0e:f10", 65535),
                destination=("1112:1314:1516:1718:191a:1b1c:1d1e:1f20", 0),
            )
        ],
    ),
    (binary(UNIX, 0x31), [ProxyHeader(**PATHS)]),
    (binary(UNIX, 0x32), [ProxyHeader(family="UNIX_DGRAM", **PATHS)]),
    (binary(bytes(216), 0x31), [ProxyHeader(source="", destination="")]),
    (
        binary(FOUR + tlv(2, b"example.org") + tlv(4, b"") + tlv(0xE0, b"\0" * 300)),
        [ProxyHeader(**ADDRESSES, tlvs=((2, b"example.org"), (4, b""), (0xE0, bytes(300))))],
    ),
    (  # as haproxy 2.6.12 wrote it
        binary(bytes.fromhex("7f0000017f000001b9028d83030004c274cc41")),
        [ProxyHeader(source=("127.0.0.1", 47362), destination=("127.0.0.1", 36227), crc32c=True)],
    ),
]

MALFORMED = {
    b"GET / HTTP/1.1\r\n": "no PROXY header",
    b"\x16\x03\x01": "no PROXY header",
    b"PROXY\r\n": "no PROXY header",
    b"\r\n\r\n\0\r\nQUIT\r": "no PROXY header",
    b"PROXY \r\n": "is none of PROXY TCP4",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n": "ends with LF alone",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n": "without an end within 107 bytes",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n": "is none of PROXY TCP4",
    b"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n": "is none of PROXY TCP4",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n": "is none of PROXY TCP4",
    b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n": "is none of PROXY TCP4",
    b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n": "is none of PROXY TCP4",
    b"PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n": "1.2.3.04",
    b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n": "1.2.3",
    b"PROXY TCP4 ::1 ::1 1 2\r\n": "family 'TCP4' with ('::1', 1), which is of TCP6 or UDP6",
    b"PROXY TCP6 ::1 1.2.3.4 1 2\r\n": "are of two families",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n": "is not an address",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n": "'01' is not a port",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n": "'65536' is not a port",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n": "'-1' is not a number",
    binary(FOUR, command=0x11): "version and command 0x11, it must be 0x20 or 0x21",
    binary(FOUR, command=0x22): "version and command 0x22",
    binary(FOUR, 0x10): "address family and protocol 0x10",
    binary(FOUR, 0x41): "address family and protocol 0x41",
    binary(FOUR[:-1]): "11 bytes where TCP4 addresses take 12",
    binary(FOUR, 0x21): "12 bytes where TCP6 addresses take 36",
    binary(FOUR, 0x31): "12 bytes where UNIX addresses take 216",
    binary(FOUR + b"\2\0"): "TLV that breaks off, 2 of 3 bytes before its value",
    binary(FOUR + b"\2\0\5abcd"): "TLV 0x02 of 5 bytes where 4 are left",
    binary(FOUR + tlv(3, b"\0\0\0\0")): "checksum 00000000, but that of what arrived is",
    binary(FOUR + tlv(3, b"\0\0\0")): "1 checksum, the last of 3 bytes; it must be one of 4",
    binary(FOUR + tlv(3, bytes(4)) + tlv(3, bytes(4))): "2 checksums",
}
INCOMPLETE = [b"P", b"PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r", b"\r\n", SIGNATURE, binary(FOUR)[:-1]]


def test_conformance() -> None:
    check_framer(
        Proxy(),
        examples=EXAMPLES,
        malformed=MALFORMED,
        incomplete=INCOMPLETE,
        slow_frame=lambda size: binary(FOUR + tlv(4, bytes(min(size, 4000)))),
    )


@pytest.mark.parametrize("version", [1, 2])
def test_conformance_of_one_version(version: Any) -> None:
    kept = [(wire, frames) for wire, frames in EXAMPLES if frames[0].version == version]
    other = {wire: f"no PROXY header of version {version}" for wire, [frame] in EXAMPLES if frame.version != version}
    check_framer(Proxy(version), examples=kept, malformed=other)
    assert get_framer(f"proxy:version={version}") == Proxy(version)


@pytest.mark.parametrize("max_size", [16, 50])
def test_conformance_with_a_limit(max_size: int) -> None:
    kept = [(wire, frames) for wire, frames in EXAMPLES if len(wire) <= max_size]
    check_framer(Proxy(max_size=max_size), examples=kept)


def test_what_else_arrived_stays_whole_wherever_the_header_is_cut() -> None:
    for wire, [header] in EXAMPLES:
        stream = wire + b"hello"
        for cut in range(len(stream) + 1):
            decoder = FrameDecoder()
            decoder.receive_data(stream[:cut])
            found = decoder.next_frame(Proxy())
            assert (found is NEED_DATA) is (cut < len(wire))
            decoder.receive_data(stream[cut:])
            if found is NEED_DATA:
                found = decoder.next_frame(Proxy())
            assert (header, len(wire), b"hello") == (found, found.size, decoder.leftover)


def test_a_wrong_byte_is_refused_as_soon_as_it_is_there() -> None:
    for beginning in (SIGNATURE, b"PROXY "):
        for at in range(len(beginning)):
            decoder = FrameDecoder()
            decoder.receive_data(beginning[:at])
            assert decoder.next_frame(Proxy()) is NEED_DATA
            decoder.receive_data(b"\xff")
            with pytest.raises(FramingError, match="no PROXY header"):
                decoder.next_frame(Proxy())


def test_a_declared_size_above_the_limit_is_refused_by_itself() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(binary(b"", size=0xFFFF))
    with pytest.raises(FrameTooLarge, match="frame of 65551 bytes exceeds the limit 4096"):
        decoder.next_frame(Proxy())
    largest = binary(FOUR + tlv(4, bytes(0xFFFF - 12 - 3)))
    [header] = iter_frames(largest, Proxy(max_size=None))
    assert 16 + 0xFFFF == header.size


def test_every_bit_that_is_flipped_in_a_header_with_a_checksum_is_noticed() -> None:
    wire = Proxy().encode(ProxyHeader(**ADDRESSES, tlvs=((2, b"example.org"),), crc32c=True))
    assert [True] == [header.crc32c for header in iter_frames(wire, Proxy())]
    for at in range(8 * 12, 8 * len(wire)):
        spoilt = bytearray(wire)
        spoilt[at // 8] ^= 1 << at % 8
        # Of LOCAL the rest is ignored, and an entry of another type is no checksum.
        if spoilt[12] != 0x20 and at // 8 != len(wire) - 7:
            with pytest.raises(FramingError):
                list(iter_frames(bytes(spoilt), Proxy()))


@pytest.mark.parametrize(("wire", "guess"), [
    (b"GET / HTTP/1.1\r\nHost: a\r\n", "an HTTP request"),
    (b"\x16\x03\x01\0\xf4\1\0\0\xf0\3\3", "a TLS handshake"),
    (binary(FOUR), "version 2"),
])  # fmt: skip
def test_an_error_says_what_the_bytes_look_like(wire: bytes, guess: str) -> None:
    with pytest.raises(FramingError, match=f"no PROXY header of version 1.*looks like {guess}"):
        list(iter_frames(wire, Proxy(1)))


def test_what_a_balancer_says_about_tls() -> None:
    inner = tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice")
    for flags, verify, expected in (
        (7, 0, (True, True, True)),
        (3, 1, (True, True, False)),
        (1, 0, (True, False, False)),
    ):
        value = bytes([flags]) + verify.to_bytes(4, "big") + inner
        [header] = iter_frames(binary(FOUR + tlv(0x20, value)), Proxy())
        assert header.tls is not None
        assert (*expected, ((Tlv.TLS_VERSION, b"TLSv1.3"), (Tlv.TLS_COMMON_NAME, b"alice"))) == header.tls
    assert ProxyHeader().tls is None
    with pytest.raises(ValueError, match="TLV of TLS with 2 bytes, it must have 5 or more"):
        ProxyHeader(tlvs=((Tlv.TLS, b"ab"),)).tls  # noqa: B018


BAD: list[tuple[dict[str, Any], str]] = [
    ({"version": 3}, "version 3"),
    ({"command": "local"}, "command 'local'"),
    ({"source": ("192.0.2.7", 1)}, "a source and a destination, or neither"),
    ({"family": "TCP4"}, "family 'TCP4' without addresses"),
    ({**ADDRESSES, "family": "TCP6"}, "family 'TCP6'"),
    ({**ADDRESSES, "source": "/run/client"}, "of two families"),
    ({**ADDRESSES, "source": ("localhost", 1)}, "localhost"),
    ({**ADDRESSES, "source": ("192.0.2.7", 65536)}, "is not an address"),
    ({**ADDRESSES, "source": "192.0.2.7:80"}, "of two families"),
    ({**ADDRESSES, "source": 5}, "5 is not an address"),
    ({**PATHS, "source": "x" * 109}, "is not a path, or abstract name, of at most 108 bytes"),
    ({**PATHS, "source": "a\0b"}, "is not a path"),
    ({**ADDRESSES, "tlvs": ((3, b"abcd"),)}, "is not a TLV"),
    ({**ADDRESSES, "tlvs": ((256, b""),)}, "is not a TLV"),
    ({**ADDRESSES, "tlvs": ((1, "h2"),)}, "is not a TLV"),
    ({**ADDRESSES, "version": 1, "crc32c": True}, "version 1 tells of"),
    ({**PATHS, "version": 1}, "version 1 tells of"),
    ({"version": 1, "command": "LOCAL"}, "version 1 tells of"),
    ({**ADDRESSES, "command": "LOCAL"}, "a LOCAL header carries no addresses"),
]


@pytest.mark.parametrize(("fields", "reason"), BAD)
def test_a_header_that_cannot_be_is_refused_where_it_is_made(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ProxyHeader(**fields)


def test_an_address_of_the_socket_module_will_do() -> None:
    header = ProxyHeader(source=("::1", 5, 0, 0), destination=("::2", 6, 0, 0))  # type: ignore[arg-type]
    assert (("::1", 5), "TCP6") == (header.source, header.family)


@pytest.mark.parametrize(("framer", "frame", "reason"), [
    (Proxy(), b"PROXY UNKNOWN\r\n", "it must be a ProxyHeader"),
    (Proxy(1), ProxyHeader(), "header of version 2, only 1 is written"),
    (Proxy(), ProxyHeader(tlvs=((4, bytes(5000)),)), "header of 5019 bytes exceeds the limit 4096"),
    (Proxy(max_size=None), ProxyHeader(tlvs=((4, bytes(0xFFFF)),)), "addresses and TLVs of 65538 bytes, limit 65535"),
])  # fmt: skip
def test_what_cannot_be_written_is_an_encode_error(framer: Proxy, frame: Any, reason: str) -> None:
    with pytest.raises(EncodeError, match=reason):
        framer.encode(frame)


def random_header(source: random.Random) -> ProxyHeader:
    """Return a header that both versions of the oracle know, too."""
    if source.random() < 0.5:
        ends = [f"{source.getrandbits(8)}.{source.getrandbits(8)}.0.{source.getrandbits(8)}" for _ in "ab"]
    else:
        ends = [":".join(f"{source.choice([0, 1, source.getrandbits(16)]):x}" for _ in range(8)) for _ in "ab"]
    version = source.choice([1, 2])
    entries = (
        ()
        if version == 1
        else tuple(
            (kind, source.randbytes(source.randrange(20))) for kind in sorted(source.sample(range(0x40, 0xFF), 3))
        )
    )
    return ProxyHeader(
        version=version,
        source=(ends[0], source.getrandbits(16)),
        destination=(ends[1], source.getrandbits(16)),
        tlvs=entries,
        crc32c=version == 2 and source.random() < 0.5,
    )


def test_random_headers_come_back() -> None:
    source = random.Random(13)
    sent = [random_header(source) for _ in range(300)]
    assert sent == list(iter_frames(b"".join(map(Proxy().encode, sent)), Proxy()))
