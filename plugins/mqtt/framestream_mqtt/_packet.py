"""Packets, and what their first two bytes may be: tables 2-1 and 2-2 of both specifications."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

MOST_LENGTH: Final = 268_435_455
"""The largest Remaining Length: four bytes of seven bits (section 1.5.5; 2.2.3 of 3.1.1)."""


class PacketType(IntEnum):
    """MQTT Control Packet type (section 2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Packet(NamedTuple):
    """A control packet: the fixed header's two halves, and everything after it.

    Attributes:
        type: what kind of packet it is.
        flags: the lower four bits of the first byte.
        body: variable header and payload, as they were sent.
    """

    type: PacketType
    flags: int = 0
    body: bytes = b""

    @property
    def dup(self) -> bool:
        """True if this PUBLISH may be a second delivery (section 3.3.1.1)."""
        return bool(self.flags & 8)

    @property
    def qos(self) -> int:
        """The quality of service of a PUBLISH: 0, 1 or 2 (section 3.3.1.2)."""
        return self.flags >> 1 & 3

    @property
    def retain(self) -> bool:
        """True if this PUBLISH is kept by the server (section 3.3.1.3)."""
        return bool(self.flags & 1)


class Rule(NamedTuple):
    """The type of packets that begin with a certain byte, and how long they may be.

    Attributes:
        type: the packet's type.
        flags: its flags.
        least: the smallest Remaining Length that its variable header allows.
        most: the largest one.
    """

    type: PacketType
    flags: int
    least: int
    most: int


# The least and the most Remaining Length in 3.1.1 and in 5: from the mandatory fields of each packet
# (sections 3.1 to 3.15). In MQTT 5 most packets may carry properties, and acknowledgements may leave out
# their reason code.
_LENGTHS: Final = {
    PacketType.CONNECT: ((12, MOST_LENGTH), (13, MOST_LENGTH)),
    PacketType.CONNACK: ((2, 2), (3, MOST_LENGTH)),
    PacketType.PUBLISH: ((3, MOST_LENGTH), (4, MOST_LENGTH)),
    PacketType.PUBACK: ((2, 2), (2, MOST_LENGTH)),
    PacketType.PUBREC: ((2, 2), (2, MOST_LENGTH)),
    PacketType.PUBREL: ((2, 2), (2, MOST_LENGTH)),
    PacketType.PUBCOMP: ((2, 2), (2, MOST_LENGTH)),
    PacketType.SUBSCRIBE: ((6, MOST_LENGTH), (7, MOST_LENGTH)),
    PacketType.SUBACK: ((3, MOST_LENGTH), (4, MOST_LENGTH)),
    PacketType.UNSUBSCRIBE: ((5, MOST_LENGTH), (6, MOST_LENGTH)),
    PacketType.UNSUBACK: ((2, 2), (4, MOST_LENGTH)),
    PacketType.PINGREQ: ((0, 0), (0, 0)),
    PacketType.PINGRESP: ((0, 0), (0, 0)),
    PacketType.DISCONNECT: ((0, 0), (0, MOST_LENGTH)),
    PacketType.AUTH: (None, (0, MOST_LENGTH)),
}


def rules_of(version: int | None) -> list[Rule | str]:
    """Return the rule for each first byte, or why no packet of this version begins with it."""
    return [_rule_of(byte, version) for byte in range(256)]


def _rule_of(byte: int, version: int | None) -> Rule | str:
    number, flags = byte >> 4, byte & 15
    if not number:
        return "packet type 0 is forbidden"
    kind = PacketType(number)
    lengths = [
        length
        for level, length in zip((4, 5), _LENGTHS[kind], strict=True)
        if version in (None, level) and length is not None
    ]
    if not lengths:
        return "packet type 15 is forbidden in MQTT 3.1.1"
    if refusal := _flags_refused(kind, flags):
        return refusal
    # A PUBLISH of quality of service 1 or 2 has a packet identifier, too (section 3.3.2.2).
    identifier = 2 if kind is PacketType.PUBLISH and flags & 6 else 0
    return Rule(kind, flags, min(lengths)[0] + identifier, max(most for _, most in lengths))


def _flags_refused(kind: PacketType, flags: int) -> str:
    if kind is not PacketType.PUBLISH:
        expected = 2 if kind in (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE) else 0
        return "" if flags == expected else f"{kind.name} with flags {flags:04b}, they must be {expected:04b}"
    if flags & 6 == 6:
        return "PUBLISH with quality of service 3"
    if flags & 14 == 8:
        return "PUBLISH marked DUP with quality of service 0"
    return ""
