"""MQTT: what each byte of the fixed header may be, hostile lengths, and the kit."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import (
    EncodeError,
    FrameTooLarge,
    FramingError,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_mqtt import Mqtt, Packet, PacketType

CONNECT = b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc"
EXAMPLES: dict[bytes, list[Packet]] = {
    b"\x10\x0f" + CONNECT: [Packet(PacketType.CONNECT, 0, CONNECT)],
    b"\xc0\x00\xd0\x00": [Packet(PacketType.PINGREQ), Packet(PacketType.PINGRESP)],
    b"0\x05\x00\x01ahi=\x06\x00\x01a\x00\x01\x00": [
        Packet(PacketType.PUBLISH, 0, b"\x00\x01ahi"),
        Packet(PacketType.PUBLISH, 13, b"\x00\x01a\x00\x01\x00"),
    ],
    b"@\x02\x00\x01P\x02\x00\x01b\x02\x00\x01p\x02\x00\x01": [
        Packet(kind, flags, b"\x00\x01")
        for kind, flags in (
            (PacketType.PUBACK, 0),
            (PacketType.PUBREC, 0),
            (PacketType.PUBREL, 2),
            (PacketType.PUBCOMP, 0),
        )
    ],
    b"0\x80\x01\x00\x01a" + b"x" * 125: [Packet(PacketType.PUBLISH, 0, b"\x00\x01a" + b"x" * 125)],
    b"": [],
}
VERSION_5 = {
    b"\xf0\x00\xf0\x02\x18\x00\xe0\x01\x8e": [
        Packet(PacketType.AUTH),
        Packet(PacketType.AUTH, 0, b"\x18\x00"),
        Packet(PacketType.DISCONNECT, 0, b"\x8e"),
    ],
    b"@\x03\x00\x01\x10 \x03\x00\x00\x00": [
        Packet(PacketType.PUBACK, 0, b"\x00\x01\x10"),
        Packet(PacketType.CONNACK, 0, b"\x00\x00\x00"),
    ],
}
VERSION_4 = {b" \x02\x01\x00\xe0\x00": [Packet(PacketType.CONNACK, 0, b"\x01\x00"), Packet(PacketType.DISCONNECT)]}
MALFORMED = {
    b"\x00\x00": "packet type 0 is forbidden",
    b"\x11": "CONNECT with flags 0001, they must be 0000",
    b"\x80": "SUBSCRIBE with flags 0000, they must be 0010",
    b"\xa3": "UNSUBSCRIBE with flags 0011, they must be 0010",
    b"`": "PUBREL with flags 0000, they must be 0010",
    b"A": "PUBACK with flags 0001",
    b"6": "PUBLISH with quality of service 3",
    b"?": "PUBLISH with quality of service 3",
    b"8": "PUBLISH marked DUP with quality of service 0",
    b"0\x80\x80\x80\x80": "length of more than 4 bytes",
    b"0\xff\xff\xff\xff\x7f": "length of more than 4 bytes",
    b"0\xff\xff\xff\x7f": "frame of 268435455 bytes exceeds the limit",
    b"\xc0\x01x": "PINGREQ with a body of 1 byte, it must be 0",
    b"\xd0\x80\x80\x80\x01": "PINGRESP with a body of 2097152 bytes",
    b"\x10\x00": "CONNECT with a body of 0 bytes, it must be at least 12",
    b"@\x01\x00": "PUBACK with a body of 1 byte, it must be",
    b"0\x02\x00\x01": "PUBLISH with a body of 2 bytes, it must be at least 3",
    b"2\x04\x00\x01a\x00": "PUBLISH with a body of 4 bytes, it must be at least 5",
    b"\x3c\x04\x00\x01a\x00": "PUBLISH with a body of 4 bytes, it must be at least 5",
    b"\x82\x05\x00\x01\x00\x01a": "SUBSCRIBE with a body of 5 bytes, it must be at least 6",
}
INCOMPLETE = [b"0", b"0\x80", b"0\x80\x80\x80", b"\x10\x0f\x00\x04MQTT", b"0\x04\x00\x01"]


def slow(size: int) -> bytes:
    return b"".join(Mqtt().encode(Packet(PacketType.PUBLISH, 0, b"\x00\x01a" + b"x" * size)))


@pytest.mark.parametrize("version", [None, 4, 5])
def test_conformance(version: int | None) -> None:
    malformed: dict[bytes, str] = dict(MALFORMED)
    if version == 4:
        malformed |= {
            b"\xf0": "packet type 15 is forbidden in MQTT 3.1.1",
            b"@\x03": "PUBACK with a body of 3 bytes, it must be 2",
            b"\xe0\x01": "DISCONNECT with a body of 1 byte, it must be 0",
        }
    if version == 5:
        malformed |= {
            b" \x02\x01": "CONNACK with a body of 2 bytes, it must be at least 3",
            b"0\x85\x00": "length 5 in 2 bytes",
            b"0\x80\x80\x80\x00": "length 0 in 4 bytes",
        }
        malformed[b"\x10\x00"] = "at least 13"
        malformed[b"0\x02\x00\x01"] = "at least 4"
        malformed |= dict.fromkeys((b"2\x04\x00\x01a\x00", b"\x3c\x04\x00\x01a\x00"), "at least 6")
        malformed[b"\x82\x05\x00\x01\x00\x01a"] = "at least 7"
    examples = EXAMPLES | (VERSION_4 if version != 5 else {}) | (VERSION_5 if version != 4 else {})
    check_framer(Mqtt(version), examples=examples, malformed=malformed, incomplete=INCOMPLETE, slow_frame=slow)


def test_a_length_may_be_longer_than_needed_before_version_5() -> None:
    long_way = b"0\x85\x80\x80\x00\x00\x01ahi"
    assert list(iter_frames(long_way, Mqtt(4))) == EXAMPLES[b"0\x05\x00\x01ahi=\x06\x00\x01a\x00\x01\x00"][:1]
    with pytest.raises(FramingError, match="length 5 in 4 bytes"):
        list(iter_frames(long_way, Mqtt(5)))


# Table 2-4 of both specifications: the first and the last length of each size.
@pytest.mark.parametrize(("length", "digits"), [
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (16_383, b"\xff\x7f"),
    (16_384, b"\x80\x80\x01"),
    (2_097_151, b"\xff\xff\x7f"),
    (2_097_152, b"\x80\x80\x80\x01"),
])  # fmt: skip
def test_lengths_are_written_as_the_specification_lists_them(length: int, digits: bytes) -> None:
    packet = Packet(PacketType.PUBLISH, 0, b"\x00\x01a" + bytes(length - 3))
    wire = b"".join(Mqtt().encode(packet))
    assert wire[: 1 + len(digits)] == b"0" + digits
    assert list(iter_frames(wire, Mqtt(5), max_frame_size=length)) == [packet]


def test_flags_of_a_publish_have_names() -> None:
    packet = Packet(PacketType.PUBLISH, 0b1101, b"")
    assert (packet.dup, packet.qos, packet.retain) == (True, 2, True)


@pytest.mark.parametrize(("packet", "complaint"), [
    (Packet(PacketType.AUTH), "packet type 15 is forbidden in MQTT 3.1.1"),
    (Packet(PacketType.PUBLISH, 6, b"\x00\x01a"), "quality of service 3"),
    (Packet(PacketType.PUBLISH, 16, b"\x00\x01a"), "type 3 and flags 16 do not fit into a byte"),
    (Packet(16, 0), "type 16 and flags 0 do not fit"),  # type: ignore[arg-type]  # on purpose
    (Packet(PacketType.PINGREQ, 0, b"x"), "PINGREQ with a body of 1 byte, it must be 0"),
    (Packet(PacketType.PUBLISH, 0, bytes(33)), "payload of 33 bytes exceeds the limit 32"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(packet: Packet, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        Mqtt(4, max_size=32).encode(packet)


def test_a_body_no_length_can_say_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 268_435_456

    with pytest.raises(EncodeError, match="it must be at most 268435455"):
        Mqtt().encode(Packet(PacketType.PUBLISH, 0, Huge()))


def test_other_protocols_are_recognised() -> None:
    with pytest.raises(FramingError, match="flags 0110, they must be 0000"):
        list(iter_frames(b"\x16\x03\x01\x02\x00", Mqtt()))
    with pytest.raises(FrameTooLarge, match="looks like an HTTP request"):
        list(iter_frames(b"PUT /index.html HTTP/1.1\r\n", Mqtt(max_size=10)))


@pytest.mark.parametrize("version", [3, 6, "5"])
def test_options_are_checked(version: Any) -> None:
    with pytest.raises(ValueError, match="it must be 4"):
        Mqtt(version)
