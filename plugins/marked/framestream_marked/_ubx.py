"""Ubx: the binary messages of u-blox receivers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import Annotated, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import ValueSpan, bytes_of
from framestream_marked._noise import before_mark

_MARK: Final = b"\xb5\x62"
_HEADER: Final = Struct("<2xBBH")


class UbxMessage(NamedTuple):
    """A message.

    Attributes:
        cls: its class, such as 1 for NAV.
        id: its number in that class.
        payload: its fields, little-endian.
    """

    cls: int
    id: int
    payload: bytes = b""


def checksum(data: bytes) -> bytes:
    """Return the checksum of class, number, length and payload: Fletcher's, with 8 bits (section 3.4)."""
    sums = list(accumulate(data))
    return bytes((sums[-1] & 0xFF, sum(sums) & 0xFF))


def _slow_frame(size: int) -> bytes:
    """Return a message of about so many bytes, full of beginnings of others, for the conformance kit."""
    return Ubx().encode(UbxMessage(1, 2, (b"\xb5\x62\1\2\x08\0" * size)[:size]))


@dataclass(frozen=True)
class Ubx(Framer[UbxMessage]):
    r"""Cut UBX messages (u-blox, "M10 Interface Description", section 3.2, "UBX frame structure").

    ::

        INPUT     b5 62 | class | number | uint16 length | payload | checksum of two bytes
        DECODED   UbxMessage(class, number, payload)

    A message whose checksum is wrong is a `PayloadError`, and costs only that message; or, if its
    length was wrong, the messages that it covered. Any beginning other than the mark breaks the
    stream (`FramingError`); with `skip`, bytes up to the next mark are skipped, as on a line that also
    carries NMEA.

    In the middle of a log, a message probably begins at a mark where the checksum is right, or, if it is
    longer than 4 KiB, where another message begins after it.

    The payload, which the limit counts, is the message from its class to its checksum.
    """

    name = "ubx"
    overhead = len(_MARK) + _HEADER.size
    synchronises = "likely"
    slow_frame = staticmethod(_slow_frame)
    examples: ClassVar[dict[bytes, list[UbxMessage]]] = {
        b"\xb5\x62\5\1\2\0\6\1\x0f\x38\xb5\x62\x0a\4\0\0\x0e\x34": [
            UbxMessage(5, 1, b"\6\1"),
            UbxMessage(10, 4),
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"$G": "message begins with",
        b"\xb5\x62\x0a\4\0\0\x0e\x35": "checksum does not match",
    }
    peers = ("pyubx2 1.4.0 (PyPI)",)

    skip: Annotated[bool, "Skip bytes that do not begin with the mark."] = False
    max_size: Annotated[int | None, "The largest message, from its class to its checksum. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the length has arrived."""
        if (noise := before_mark(window, (_MARK,), skip=self.skip)) is not None:
            return noise
        data, start = window.data, window.start
        if len(data) < start + _HEADER.size:
            return NeedMore(_HEADER.size)
        stop = _end_of(data, start)
        return start + len(_MARK), stop, stop

    def decode(self, payload: bytes) -> UbxMessage:
        """Return the message. ValueError for a checksum that does not match."""
        if len(payload) < 6 or checksum(payload[:-2]) != payload[-2:]:
            raise ValueError("checksum does not match")
        return UbxMessage(payload[0], payload[1], payload[4:-2])

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place of a mark with a message after it."""
        data, size, place = window.data, len(window.data), window.start
        while (place := data.find(_MARK, place)) >= 0:
            if place + _HEADER.size > size:
                if not window.eof:
                    return NeedMore(place + _HEADER.size - window.start, resume=place)
                return size
            stop = _end_of(data, place)
            if stop + len(_MARK) > size and not window.eof:
                return NeedMore(stop + len(_MARK) - window.start, resume=place)
            if stop <= size and (stop == size or data.startswith(_MARK, stop) or _is_sound(data, place, stop)):
                return place
            place += 1
        return size if window.eof else NeedMore(resume=max(window.start, size - 1))

    def encode(self, frame: UbxMessage) -> bytes:
        """Return the message with its mark, length and checksum. Raise EncodeError for anything else."""
        try:
            kind, number, payload = frame
            payload = bytes_of(payload)
            wire = _HEADER.pack(kind, number, len(payload)) + payload
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"no UBX message: {error!r}") from error
        if self.max_size is not None and len(wire) > self.max_size:
            raise EncodeError(f"message of {counted(len(wire), 'byte')} exceeds the limit {self.max_size}")
        return _MARK + wire[2:] + checksum(wire[2:])


_LARGEST_SUMMED: Final = 4096


def _end_of(data: bytes | bytearray, start: int) -> int:
    return start + _HEADER.size + int(_HEADER.unpack_from(data, start)[2]) + 2


def _is_sound(data: bytes | bytearray, start: int, stop: int) -> bool:
    """Tell whether the checksum is right; not of a long message, or each mark in noise would cost 64 KiB."""
    if stop - start > _LARGEST_SUMMED:
        return False
    return checksum(bytes(data[start + 2 : stop - 2])) == data[stop - 2 : stop]
