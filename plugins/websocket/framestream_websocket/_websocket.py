"""WebSocket: frames of one direction of a connection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

from framestream import EncodeError, Framer, FramingError, NeedMore, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of
from framestream_websocket._frame import Frame, Opcode, Rule, rules_of

_MASK: Final = 0x80
_KEY: Final = 4
_LONGEST_HEADER: Final = 2 + 8 + _KEY
# The length in the second byte that says how many bytes of length follow, and the least they may say.
_EXTENDED: Final = {126: (2, 126), 127: (8, 65536)}


@dataclass(frozen=True)
class WebSocket(Framer[Frame]):
    r"""Cut the frames of one direction of a WebSocket connection (RFC 6455 5.2), unmasked.

    ::

        INPUT     \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58   (with masked=no: \x81\5Hello)
        DECODED   Frame(TEXT, b"Hello")

    Clients mask their frames, servers do not (5.1): a client reads with ``masked=no`` and writes
    with ``masked``, a server the other way round. `Messages` puts messages together.

    A frame above the limit is refused by its header, and can be skipped. The payload is the application
    data; streamed in parts, it stays masked.

    These break the stream (`FramingError`), for a close with code 1002: a reserved opcode (5.2) or bit that
    `rsv` does not allow, a frame that is wrongly masked or unmasked (5.1), a length in more bytes than
    it needs or above 63 bits (5.2), a control frame in fragments or of more than 125 bytes (5.5), a Close of
    one byte (5.5.1).
    """

    name = "websocket"
    overhead = _LONGEST_HEADER
    examples: ClassVar[dict[bytes, list[Frame]]] = {
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58": [Frame(Opcode.TEXT, b"Hello")],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"\x83": "reserved opcode 3", b"\x91": "reserved bits 001"}
    peers = ("websockets 17.4", "wsproto 1.3.2")

    masked: Annotated[bool, "Frames are masked: they go from a client to a server."] = True
    rsv: Annotated[int, "Reserved bits that an extension has claimed; RSV1 is 4."] = 0
    max_size: Annotated[int | None, "The largest payload. Bytes."] = None

    def __post_init__(self) -> None:
        if type(self.rsv) is not int or not 0 <= self.rsv <= 7:
            raise ValueError(f"rsv is {self.rsv!r}; it must be from 0 to 7")

    @cached_property
    def _rules(self) -> list[Rule | str]:
        return rules_of(self.rsv)

    def find(self, window: Window) -> ValueSpan | NeedMore:
        """Return the frame's span as soon as its header has arrived."""
        data, start, size = window.data, window.start, len(window.data)
        if start == size:
            return NeedMore(2)
        rule = self._rules[data[start]]
        if isinstance(rule, str):
            raise FramingError(rule, position=start)
        if size < start + 2:
            return NeedMore(2)
        length, first = data[start + 1] & ~_MASK, start + 2
        self._check_second(rule, data[start + 1], first - 1)
        if length in _EXTENDED:
            width, least = _EXTENDED[length]
            first += width
            if size < first:
                return NeedMore(2 + width)
            length = int.from_bytes(data[first - width : first], "big")
            if not least <= length <= rule.most:
                raise FramingError(f"length {length} in {counted(width, 'byte')}", position=first - width)
        key = b""
        if self.masked:
            key = bytes(data[first : first + _KEY])
            first += _KEY
            if size < first:
                return NeedMore(first - start)
        return first, first + length, first + length, Decode(_Unmask(rule, key))

    def _check_second(self, rule: Rule, byte: int, position: int) -> None:
        if bool(byte & _MASK) != self.masked:
            how = "a masked frame" if byte & _MASK else "a frame without a mask"
            raise FramingError(f"{how} from a {'client' if self.masked else 'server'}", position=position)
        length = byte & ~_MASK
        if length > rule.most:
            raise FramingError(f"{rule.opcode.name} of more than {rule.most} bytes", position=position)
        if length == 1 and rule.opcode is Opcode.CLOSE:
            raise FramingError("CLOSE of one byte", position=position)

    def split(self, window: Window) -> tuple[list[Frame], int]:
        """Cut every whole frame of up to 65535 bytes that is not a control frame."""
        data, start = bytes(window.data), window.start
        size, rules, mask = len(data), self._rules, _MASK if self.masked else 0
        frames: list[Frame] = []
        append, make = frames.append, tuple.__new__
        rule: Any
        try:
            while True:
                rule, length, first = rules[data[start]], data[start + 1] ^ mask, start + 2
                opcode, fin, rsv, most = rule
                if length > 125:
                    if length != 126 or most < 126:
                        break
                    length, first = data[start + 2] << 8 | data[start + 3], start + 4
                    if length < 126:
                        break
                elif length == 1 and most == 125:
                    break
                if mask:
                    first += _KEY
                stop = first + length
                if stop > size:
                    break
                payload = data[first:stop]
                if mask:
                    payload = _unmasked(payload, data[first - _KEY : first])
                # A named tuple's own constructor is a function in Python, and takes twice as long.
                append(make(Frame, (opcode, payload, fin, rsv)))
                start = stop
        except (IndexError, ValueError):
            pass  # the rest is not complete, or `find` reports what is wrong with it
        return frames, start

    def encode(self, frame: Frame) -> list[bytes]:
        """Return header and payload, masked with a key from the system's source of randomness (5.3).

        Raises:
            EncodeError: a frame that `find` would refuse, or a payload above `max_size`.
        """
        if not isinstance(frame, Frame):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a Frame")
        opcode, rsv = frame.opcode, frame.rsv
        if opcode not in range(16) or rsv not in range(8):
            raise EncodeError(f"opcode {opcode} and reserved bits {rsv} do not fit into a byte")
        first = bool(frame.fin) << 7 | rsv << 4 | opcode
        payload = bytes_of(frame.payload, self.max_size, copy=False)
        length, rule = len(payload), self._rules[first]
        if isinstance(rule, str):
            raise EncodeError(rule)
        if length > rule.most or (opcode == Opcode.CLOSE and length == 1):
            raise EncodeError(f"{rule.opcode.name} of {counted(length, 'byte')}")
        if not self.masked:
            return [bytes((first,)) + _length(length, 0), payload]
        key = os.urandom(_KEY)
        return [bytes((first,)) + _length(length, _MASK) + key, _unmasked(payload, key)]


class _Unmask:
    __slots__ = ("key", "rule")

    def __init__(self, rule: Rule, key: bytes) -> None:
        self.rule = rule
        self.key = key

    def __call__(self, payload: bytes) -> Frame:
        opcode, fin, rsv, _ = self.rule
        return Frame(opcode, _unmasked(payload, self.key) if self.key else payload, fin, rsv)


def _length(length: int, mask: int) -> bytes:
    if length < 126:
        return bytes((mask | length,))
    width, code = (2, 126) if length < 65536 else (8, 127)
    return bytes((mask | code,)) + length.to_bytes(width, "big")


def _unmasked(payload: bytes, key: bytes) -> bytes:
    """Return the payload masked, or unmasked, with the key (5.3)."""
    # As one number each: the loop over the bytes is then the interpreter's own.
    size = len(payload)
    stream = key * (size // _KEY + 1)
    number = int.from_bytes(payload, "little") ^ int.from_bytes(stream[:size], "little")
    return number.to_bytes(size, "little")
