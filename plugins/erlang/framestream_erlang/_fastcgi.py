"""FastCgi: records between a web server and an application."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, FramingError, NeedMore, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of

_VERSION: Final = 1
_FIELDS: Final = struct.Struct(">BBHHBx")  # version, type, request, content length, padding length, reserved
_HEADER: Final = _FIELDS.size
_MOST: Final = 65535
_MOST_PADDING: Final = 255


class Record(NamedTuple):
    """A FastCGI record without its padding.

    Attributes:
        type: what it carries, such as 1 for FCGI_BEGIN_REQUEST, 5 for FCGI_STDIN (section 8).
        request_id: the request it belongs to; 0 for management records (section 3.3).
        content: up to 65535 bytes.
    """

    type: int
    request_id: int = 0
    content: bytes = b""


@dataclass(frozen=True)
class FastCgi(Framer[Record]):
    r"""Cut FastCGI records (FastCGI Specification 1.0, section 3.3); Erlang's ``fcgi``.

    ::

        INPUT     \1\5\0\1\0\2\6\0hi\0\0\0\0\0\0   \1\5\0\1\0\0\0\0
        DECODED   Record(5, 1, b"hi")             Record(5, 1, b"")

    A header of 8 bytes: version, type, request, length of the content, length of the padding, one reserved
    byte; then content and padding. The padding is ignored; when writing, it is chosen so that records
    begin at multiples of `align`, as section 3.3 recommends. The payload is the content.

    A version other than 1 breaks the stream (`FramingError`). Types are not checked: section 4.2 requires an
    answer to an unknown one, and the stream continues.
    """

    name = "fastcgi"
    examples: ClassVar[dict[bytes, list[Record]]] = {
        b"\1\5\0\1\0\2\6\0hi\0\0\0\0\0\0\1\5\0\1\0\0\0\0": [Record(5, 1, b"hi"), Record(5, 1, b"")]
    }
    malformed: ClassVar[dict[bytes, str]] = {b"\0": "record of version 0"}
    peers = ("Erlang/OTP 25 (erts 13.1.5)", "nginx 1.22.1")
    overhead = _HEADER + _MOST_PADDING

    align: Annotated[int, "What the size of a written record is a multiple of. Bytes."] = 8
    max_size: Annotated[int | None, "The largest content. Bytes."] = None

    def __post_init__(self) -> None:
        if type(self.align) is not int or not 1 <= self.align <= _MOST_PADDING + 1:
            raise ValueError(f"align is {self.align!r}; it must be from 1 to {_MOST_PADDING + 1}")

    def find(self, window: Window) -> ValueSpan | NeedMore:
        """Return the span as soon as the header has arrived."""
        data, start = window.data, window.start
        if start < len(data) and data[start] != _VERSION:
            raise FramingError(f"record of version {data[start]}, it must be {_VERSION}", position=start)
        first = start + _HEADER
        if len(data) < first:
            return NeedMore(_HEADER)
        _, kind, request, length, padding = _FIELDS.unpack_from(data, start)
        stop = first + length
        return first, stop, stop + padding, Decode(partial(Record, kind, request))

    def split(self, window: Window) -> tuple[list[Record], int]:
        """Cut every whole record."""
        data, start = bytes(window.data), window.start
        size = len(data)
        records: list[Record] = []
        append, unpack, make = records.append, _FIELDS.unpack_from, tuple.__new__
        while start + _HEADER <= size:
            version, kind, request, length, padding = unpack(data, start)
            first = start + _HEADER
            stop = first + length
            if version != _VERSION or stop + padding > size:
                break
            # A named tuple's own constructor is a function in Python, and takes twice as long.
            append(make(Record, (kind, request, data[first:stop])))
            start = stop + padding
        return records, start

    def encode(self, frame: Record) -> list[bytes]:
        """Return header, content and padding. Raise EncodeError if they do not fit into a record."""
        if not isinstance(frame, Record):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a Record")
        content = bytes_of(frame.content, self.max_size, copy=False)
        size = len(content)
        padding = -(_HEADER + size) % self.align
        try:
            header = _FIELDS.pack(_VERSION, frame.type, frame.request_id, size, padding)
        except struct.error as error:
            what = f"type {frame.type}, request {frame.request_id}, {counted(size, 'byte')}"
            raise EncodeError(f"{what}: limits 255, 65535, {_MOST}") from error
        return [header, content, bytes(padding)]
