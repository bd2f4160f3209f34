"""Tpkt: ISO transport packets on TCP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import bytes_of

_VERSION: Final = 3
_HEADER: Final = 4
_LEAST: Final = 7
_MOST: Final = 65535


@dataclass(frozen=True)
class Tpkt(Framer[bytes]):
    r"""Cut TPKTs (RFC 1006 6; RFC 2126 4.3), the frames of RDP, H.323, S7 and MMS; Erlang's ``tpkt``.

    ::

        INPUT     \3\0\0\7\2\xf0\x80
        DECODED   b"\2\xf0\x80"

    "A TPKT consists of two parts: a packet-header and a TPDU": version 3, a reserved byte, which is
    ignored and written as zero, and the length of both together, from 7 to 65535. A frame is the TPDU.
    Another version, and a length below 7, break the stream (`FramingError`).
    """

    name = "tpkt"
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"\3\0\0\7\2\xf0\x80\3\0\0\x0brequest": [b"\2\xf0\x80", b"request"]}
    malformed: ClassVar[dict[bytes, str]] = {b"\2": "TPKT of version 2", b"\3\0\0\0": "TPKT of 0 bytes"}
    peers = ("Erlang/OTP 25 (erts 13.1.5)",)
    overhead = _HEADER

    max_size: Annotated[int | None, "The largest TPDU. Bytes."] = None

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the header has arrived."""
        data, start = window.data, window.start
        if start < len(data) and data[start] != _VERSION:
            raise FramingError(f"TPKT of version {data[start]}, it must be {_VERSION}", position=start)
        if len(data) < start + _HEADER:
            return NeedMore(_HEADER)
        length = data[start + 2] << 8 | data[start + 3]
        if length < _LEAST:
            raise FramingError(f"TPKT of {counted(length, 'byte')}, it must be at least {_LEAST}", position=start + 2)
        return start + _HEADER, start + length, start + length

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole packet."""
        data, start = bytes(window.data), window.start
        size = len(data)
        units: list[bytes] = []
        append = units.append
        while start + _LEAST <= size and data[start] == _VERSION:
            length = data[start + 2] << 8 | data[start + 3]
            stop = start + length
            if length < _LEAST or stop > size:
                break
            append(data[start + _HEADER : stop])
            start = stop
        return units, start

    def encode(self, frame: bytes) -> list[bytes]:
        """Return the header and the TPDU. Raise EncodeError if it is not from 3 to 65531 bytes long."""
        frame = bytes_of(frame, self.max_size, copy=False)
        length = _HEADER + len(frame)
        if not _LEAST <= length <= _MOST:
            raise EncodeError(f"TPKT of {counted(length, 'byte')}, it must be from {_LEAST} to {_MOST}")
        return [bytes((_VERSION, 0, length >> 8, length & 255)), frame]
