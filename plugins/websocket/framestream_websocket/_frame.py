"""Frames, and what their first byte may be (RFC 6455 5.2)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

MOST_CONTROL: Final = 125
"""Bytes of payload a control frame may have (section 5.5)."""


class Opcode(IntEnum):
    """What a frame carries (section 11.8)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Frame(NamedTuple):
    """A WebSocket frame, unmasked.

    Attributes:
        opcode: the kind of its payload; CONTINUATION in all fragments of a message but the first.
        payload: its application data, and that of extensions.
        fin: it is the last fragment of its message.
        rsv: the three reserved bits, as extensions use them: RSV1 is 4.
    """

    opcode: Opcode
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0


class Rule(NamedTuple):
    """The rule for the first byte of a frame."""

    opcode: Opcode
    fin: bool
    rsv: int
    most: int


def rules_of(rsv: int) -> list[Rule | str]:
    """Return the rule for each first byte, or why no frame begins with it."""
    return [_rule_of(byte, rsv) for byte in range(256)]


def _rule_of(byte: int, allowed: int) -> Rule | str:
    fin, rsv, number = bool(byte & 0x80), byte >> 4 & 7, byte & 15
    if rsv & ~allowed:
        return f"reserved bits {rsv:03b}, allowed are {allowed:03b}"
    if number not in list(Opcode):
        return f"reserved opcode {number}"
    if number < Opcode.CLOSE:
        return Rule(Opcode(number), fin, rsv, (1 << 63) - 1)
    if not fin:
        return f"{Opcode(number).name} in fragments"
    return Rule(Opcode(number), fin, rsv, MOST_CONTROL)
