"""Giop: messages of CORBA's General Inter-ORB Protocol."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from framestream import Framer, FramingError, NeedMore, Span, Window
from framestream.framer import bytes_of
from framestream_erlang._extent import refuse_other_extent

_MAGIC: Final = b"GIOP"
_FIELDS: Final = struct.Struct(">4sBBBBI")  # magic, major and minor version, flags, type, size
_LITTLE_SIZE: Final = struct.Struct("<8xI")
_HEADER: Final = _FIELDS.size


@dataclass(frozen=True)
class Giop(Framer[bytes]):
    r"""Cut GIOP messages (CORBA 3.0.3, 15.4.1), undecoded; Erlang's ``cdr``.

    ::

        INPUT     GIOP\1\2\0\0\0\0\0\4abcd   GIOP\1\2\1\0\4\0\0\0abcd
        DECODED   a message of 16 bytes      another one, written little-endian

    A header of 12 bytes: ``GIOP``, version, flags, message type, and the size of the rest, in the byte
    order that the lowest flag gives (1 is little-endian; in version 1.0 the whole byte says it). A frame,
    and the payload, is a whole message with its header. Another beginning, and a version other than 1,
    break the stream (`FramingError`). Fragments (15.4.9) are messages of their own.
    """

    name = "giop"
    synchronises = "likely"
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"GIOP\1\2\0\0\0\0\0\4abcd": [b"GIOP\1\2\0\0\0\0\0\4abcd"]}
    malformed: ClassVar[dict[bytes, str]] = {b"GIOX": "does not begin with", b"GIOP\2": "GIOP of version 2"}
    peers = ("Erlang/OTP 25 (erts 13.1.5)",)

    max_size: Annotated[int | None, "The largest message, with its header. Bytes."] = None

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the header has arrived."""
        data, start = window.data, window.start
        header = bytes(data[start : start + _HEADER])
        if not header.startswith(_MAGIC[: len(header)]):
            raise FramingError(f"message does not begin with {_MAGIC!r}", position=start)
        if header[4:5] not in (b"", b"\1"):
            raise FramingError(f"GIOP of version {header[4]}", position=start + 4)
        if len(header) < _HEADER:
            return NeedMore()
        size = int.from_bytes(header[8:], "little" if header[6] & 1 else "big")
        return start, start + _HEADER + size, start + _HEADER + size

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place of the first bytes that form a header."""
        place, size = window.data.find(_MAGIC + b"\1", window.start), len(window.data)
        if place >= 0:
            return place
        return size if window.eof else NeedMore(resume=max(window.start, size - len(_MAGIC)))

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole message."""
        data, start = bytes(window.data), window.start
        size = len(data)
        messages: list[bytes] = []
        append, unpack, unpack_little = messages.append, _FIELDS.unpack_from, _LITTLE_SIZE.unpack_from
        while start + _HEADER <= size:
            magic, major, _, flags, _, length = unpack(data, start)
            if flags & 1:
                length = unpack_little(data, start)[0]
            stop = start + _HEADER + length
            if magic != _MAGIC or major != 1 or stop > size:
                break
            append(data[start:stop])
            start = stop
        return messages, start

    def encode(self, frame: bytes) -> bytes:
        """Return the message itself. Raise EncodeError if it is not exactly one."""
        frame = bytes_of(frame, self.max_size)
        refuse_other_extent(self, frame)
        return frame
