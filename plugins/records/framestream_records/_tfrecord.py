"""TFRecord: records of bytes, each with its length and two checksums."""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import Annotated, ClassVar, Final

from google_crc32c import value as crc32c

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import bytes_of

_LENGTH: Final = Struct("<Q")
_CHECKSUM: Final = Struct("<I")
_HEADER: Final = Struct("<QI")
# What a length below 4 GiB looks like; overlapping ones are looked for, too.
_SHORT_LENGTH: Final = re.compile(rb"(?=.{4}\0{4}.{4})", re.DOTALL)


def masked(data: bytes) -> int:
    """Return the checksum of these bytes: CRC-32C (RFC 3720, 12.1), rotated by 15 bits, plus a constant."""
    crc: int = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@dataclass(frozen=True)
class TFRecord(Framer[bytes]):
    r"""Cut TFRecord files (TensorFlow, "TFRecord and tf.train.Example", "TFRecords format details").

    ::

        INPUT     uint64 length | uint32 its checksum | the bytes | uint32 their checksum
        DECODED                                         the bytes

    Numbers are little-endian, checksums masked CRC-32C. A length whose checksum is wrong breaks the file
    (`FramingError`); a record whose checksum is wrong is a `PayloadError`, and costs only that record. In the
    middle of a file, a record probably begins where eight bytes are a length with its checksum after them.

    The payload, which the limit counts and which is streamed, is the record and its checksum.
    """

    name = "tfrecord"
    overhead = _HEADER.size
    synchronises = "likely"
    examples: ClassVar[dict[bytes, list[bytes]]] = {
        b"\5\0\0\0\0\0\0\0\xea\xb2\x04>hello\xbb\x1f\x1c\x19": [b"hello"],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"\4" + bytes(11): "checksum of the length 4 does not match"}
    peers = ("tfrecord 1.14.6 (PyPI)",)

    max_size: Annotated[int | None, "The largest record, with the 4 bytes of its checksum. Bytes."] = None

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the length has arrived and its checksum is right."""
        data, start = window.data, window.start
        first = start + _HEADER.size
        if len(data) < first:
            return NeedMore(_HEADER.size)
        length, checksum = _HEADER.unpack_from(data, start)
        if masked(bytes(data[start : start + 8])) != checksum:
            raise FramingError(f"checksum of the length {length} does not match", position=start + 8)
        stop = first + length + 4
        return first, stop, stop

    def decode(self, payload: bytes) -> bytes:
        """Return the record. ValueError for a checksum that does not match."""
        record = payload[:-4]
        if len(payload) < 4 or payload[-4:] != _CHECKSUM.pack(masked(record)):
            raise ValueError("checksum of the record does not match")
        return record

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole record with right checksums."""
        data, start = bytes(window.data), window.start
        records: list[bytes] = []
        append, unpack, sum_of = records.append, _HEADER.unpack_from, _CHECKSUM.unpack_from
        last = len(data) - _HEADER.size - 4
        while start <= last:
            length, checksum = unpack(data, start)
            stop = start + _HEADER.size + length
            if stop + 4 > len(data) or masked(data[start : start + 8]) != checksum:
                break
            record = data[start + _HEADER.size : stop]
            if masked(record) != sum_of(data, stop)[0]:
                break
            append(record)
            start = stop + 4
        return records, start

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place of a length below 4 GiB with its checksum after it."""
        data = window.data
        for match in _SHORT_LENGTH.finditer(data, window.start):
            place = match.start()
            if masked(bytes(data[place : place + 8])) == _CHECKSUM.unpack_from(data, place + 8)[0]:
                return place
        size = len(data)
        return size if window.eof else NeedMore(resume=max(window.start, size - _HEADER.size + 1))

    def encode(self, frame: bytes) -> list[bytes]:
        """Return length, record and checksums. Raise EncodeError for no bytes, or more than `max_size`."""
        record = bytes_of(frame)
        if self.max_size is not None and len(record) + 4 > self.max_size:
            raise EncodeError(
                f"record of {counted(len(record), 'byte')} and 4 of checksum exceed the limit {self.max_size}"
            )
        length = _LENGTH.pack(len(record))
        return [length + _CHECKSUM.pack(masked(length)), record, _CHECKSUM.pack(masked(record))]
