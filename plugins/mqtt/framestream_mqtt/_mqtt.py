"""Mqtt: a type, flags, a length of one to four bytes, and a body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Final

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of
from framestream_mqtt._packet import MOST_LENGTH, Packet, PacketType, Rule, rules_of

_LONGEST_HEADER: Final = 5


@dataclass(frozen=True)
class Mqtt(Framer[Packet]):
    r"""Cut MQTT control packets.

    ::

        INPUT     \xc0\x00            0\x05\x00\x01ahi
        DECODED   Packet(PINGREQ)     Packet(PUBLISH, body=b"\x00\x01ahi")

    Sections of "MQTT Version 5.0" and of "MQTT Version 3.1.1" (OASIS Standards): a byte of packet type and
    flags (2.1.1 to 2.1.3; 2.2.1 and 2.2.2), the Remaining Length as a Variable Byte Integer (2.1.4 and
    1.5.5; 2.2.3), the body. The payload, which the limit counts and which can be streamed, is the body.

    A packet above the limit is refused by its header, and can be skipped. A packet that the standards call
    malformed breaks the stream (`FramingError`): a reserved type; flags other than the reserved
    ones; a PUBLISH with quality of service 3, or with 0 and DUP (MQTT-3.3.1-2, -4); a length of five bytes,
    in version 5 also one longer than needed (MQTT-1.5.5-1); a length too small for the fields that
    this type of packet must have, or too large where nothing may follow.
    """

    name = "mqtt"
    examples: ClassVar[dict[bytes, list[Packet]]] = {
        b"\xc0\x000\x05\x00\x01ahi": [
            Packet(PacketType.PINGREQ),
            Packet(PacketType.PUBLISH, 0, b"\x00\x01ahi"),
        ]
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"\0\0": "packet type 0 is forbidden",
        b"\x11": "CONNECT with flags 0001",
    }
    peers = ("mosquitto 2.0.11", "mosquitto_pub, mosquitto_sub 2.0.11")
    overhead = _LONGEST_HEADER

    version: Annotated[
        int | None, "The protocol level: 4 is MQTT 3.1.1, 5 is MQTT 5. What either allows, unless given."
    ] = None
    max_size: Annotated[int | None, "The largest body: the packet's Remaining Length. Bytes."] = None

    def __post_init__(self) -> None:
        if self.version not in (None, 4, 5):
            raise ValueError(f"version is {self.version!r}; it must be 4 (for MQTT 3.1.1) or 5")

    @cached_property
    def _rules(self) -> list[Rule | str]:
        return rules_of(self.version)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the packet's span as soon as its header has arrived."""
        data, start = window.data, window.start
        if start == len(data):
            return NeedMore(2)
        rule = self._rules[data[start]]
        if isinstance(rule, str):
            raise FramingError(rule, position=start)
        found = self._length(data, start + 1)
        if found is None:
            return NeedMore()
        length, first = found
        if not rule.least <= length <= rule.most:
            raise FramingError(_misfit(rule, length), position=start + 1)
        return first, first + length, first + length, Decode(partial(Packet, rule.type, rule.flags))

    def _length(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Return the Remaining Length and where the body begins, or None if it is incomplete."""
        length = 0
        for index, byte in enumerate(data[at : at + 4]):
            length |= (byte & 127) << 7 * index
            if byte < 128:
                if index and not byte and self.version == 5:
                    raise FramingError(f"length {length} in {counted(index + 1, 'byte')}", position=at)
                return length, at + index + 1
        if len(data) >= at + 4:
            raise FramingError("length of more than 4 bytes", position=at + 3)
        return None

    def split(self, window: Window) -> tuple[list[Packet], int]:
        """Cut every whole packet."""
        data, start, rules = bytes(window.data), window.start, self._rules
        size = len(data)
        packets: list[Packet] = []
        append, make = packets.append, tuple.__new__
        rule: Any
        try:
            while True:
                rule, length, first = rules[data[start]], data[start + 1], start + 2
                if length > 127:
                    found = self._length(data, start + 1)
                    if found is None:
                        break
                    length, first = found
                kind, flags, least, most = rule
                stop = first + length
                if stop > size or not least <= length <= most:
                    break
                # A named tuple's own constructor is a function in Python, and takes twice as long.
                append(make(Packet, (kind, flags, data[first:stop])))
                start = stop
        except (IndexError, ValueError, FramingError):
            pass  # the rest is not complete, or `find` reports what is wrong with it
        return packets, start

    def encode(self, frame: Packet) -> list[bytes]:
        """Return the fixed header and the body, uncopied.

        Raises:
            EncodeError: a type, flags or length that `find` would refuse, or a body above `max_size`.
        """
        if not isinstance(frame, Packet):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a Packet")
        kind, flags = frame.type, frame.flags
        if kind not in range(16) or flags not in range(16):
            raise EncodeError(f"type {kind} and flags {flags} do not fit into a byte")
        first = kind << 4 | flags
        rule = self._rules[first]
        if isinstance(rule, str):
            raise EncodeError(rule)
        body = bytes_of(frame.body, self.max_size, copy=False)
        length = len(body)
        if not rule.least <= length <= rule.most:
            raise EncodeError(_misfit(rule, length))
        return [bytes((first, *_digits(length))), body]

    def explain(self, window: Window) -> str:
        """Recognise a client of another protocol."""
        data, start = window.data, window.start
        if data.startswith(b"\x16\x03", start):
            return "looks like a TLS hello"
        if data.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT "), start):
            return "looks like an HTTP request"
        return ""


def _digits(length: int) -> list[int]:
    """Return the bytes of a Variable Byte Integer (section 1.5.5)."""
    digits = []
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return [*digits, length]


def _misfit(rule: Rule, length: int) -> str:
    wanted = f"at least {rule.least}" if rule.most == MOST_LENGTH else f"{rule.least}"
    limit = f"at most {MOST_LENGTH}" if length > MOST_LENGTH else wanted
    return f"{rule.type.name} with a body of {counted(length, 'byte')}, it must be {limit}"
