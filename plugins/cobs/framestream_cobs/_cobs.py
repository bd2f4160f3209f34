"""Cobs and CobsR: stuffed packets, each ended by a zero."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan, bytes_of
from framestream.framers import Delimiter
from framestream_cobs._stuffing import stuff, stuff_reduced, unstuff

_ZEROS: Final = re.compile(rb"\0+")
_END: Final = Delimiter(b"\0")


@dataclass(frozen=True)
class Cobs(Framer[bytes]):
    r"""Cut packets stuffed by COBS (Cheshire and Baker 1999) and ended by a zero.

    ::

        INPUT     03 11 22 02 33 00         01 01 00   00   05 11 22 33 44 00
        DECODED   11 22 00 33               00              11 22 33 44

    A zero always ends a packet, so reading is in step after the first
    one, and a truncated or damaged packet affects no other: it is a `PayloadError`. A zero after a
    zero ends nothing, and belongs to no frame; the empty packet is ``01 00``.

    The limit counts stuffed bytes: one more than the packet has, and one for each 254 bytes of it at most.
    """

    name = "cobs"
    overhead = 1
    synchronises = "exact"
    lookbehind = 1
    examples: ClassVar[dict[bytes, list[bytes]]] = {
        b"\x03\x11\x22\x02\x33\0\x01\x01\0\0\x05\x11\x22\x33\x44\0": [
            b"\x11\x22\0\x33",
            b"\0",
            b"\x11\x22\x33\x44",
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"\2\0": "reaches 1 byte beyond the end"}
    peers = ("cobs 1.2.2 (PyPI)",)

    max_size: Annotated[int | None, "The longest stuffed packet, without its zero. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the zero; zeros before a packet are padding."""
        data, start = window.data, window.start
        end = data.find(b"\0", window.resume)
        if end < 0:
            return NeedMore(resume=len(data), settled=len(data))
        if end == start and not window.taken:
            return start, start, _ZEROS.match(data, start).end(), PADDING  # type: ignore[union-attr]  # a zero
        return start, end, end + 1

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place after the first zero."""
        return _END.find_start(window)

    def decode(self, payload: bytes) -> bytes:
        """Return the packet. ValueError for a code that reaches beyond its end."""
        return unstuff(payload)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Split at the zeros and unstuff every packet."""
        data, start = bytes(window.data), window.start
        packets: list[bytes] = []
        append, decode = packets.append, self.decode
        end = start
        try:
            for stuffed in data[start : data.rfind(b"\0", start) + 1].split(b"\0")[:-1]:
                start += len(stuffed) + 1
                if stuffed:
                    append(decode(stuffed))
                    end = start
        except ValueError:
            pass  # `find` and `decode` report what is wrong with this one
        return packets, end

    def encode(self, frame: bytes) -> bytes:
        """Return the stuffed packet and its zero."""
        return self._checked(stuff(bytes_of(frame))) + b"\0"

    def _checked(self, stuffed: bytes) -> bytes:
        if self.max_size is not None and len(stuffed) > self.max_size:
            raise EncodeError(f"stuffed packet of {counted(len(stuffed), 'byte')} exceeds the limit {self.max_size}")
        return stuffed


@dataclass(frozen=True)
class CobsR(Cobs):
    r"""Cut packets stuffed by COBS/R, which saves the overhead of most short packets.

    ::

        INPUT     33 11 22 00     05 11 22 33 04 00
        DECODED   11 22 33        11 22 33 04

    "Consistent Overhead Byte Stuffing, Reduced" (C. McQueen, https://pypi.org/project/cobs/): if the last
    byte of a packet is at least as large as its last code, it replaces that code, which then points
    beyond the end. Every code can be read so, and no packet is malformed. Otherwise as `Cobs`.
    """

    name = "cobs-r"
    examples: ClassVar[dict[bytes, list[bytes]]] = {
        b"\x33\x11\x22\0\x05\x11\x22\x33\x04\0": [b"\x11\x22\x33", b"\x11\x22\x33\x04"],
    }
    malformed: ClassVar[dict[bytes, str]] = {}
    peers = ("cobs 1.2.2 (PyPI)",)
    split = Cobs.split  # which asks `decode`

    def decode(self, payload: bytes) -> bytes:
        """Return the packet."""
        return unstuff(payload, reduced=True)

    def encode(self, frame: bytes) -> bytes:
        """Return the stuffed packet and its zero."""
        return self._checked(stuff_reduced(bytes_of(frame))) + b"\0"
