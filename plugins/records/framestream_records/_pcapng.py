"""Pcapng: the blocks of packet captures."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

from framestream import EncodeError, Framer, FramingError, NeedMore, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of

ByteOrder = Literal["little", "big"]

SECTION_HEADER: Final = 0x0A0D0D0A
"""The type of the block that begins a section (4.1): it reads alike in both byte orders."""

_MAGIC: Final[dict[bytes, ByteOrder]] = {b"\x4d\x3c\x2b\x1a": "little", b"\x1a\x2b\x3c\x4d": "big"}
_SECTION_BYTES: Final = b"\x0a\x0d\x0d\x0a"
_HEADERS: Final = {"little": Struct("<II"), "big": Struct(">II")}
_SMALLEST: Final = 12
_OF_A_SECTION: Final = 12
_LOCAL: Final = 0x7FFFFFFF
_CUSTOM: Final = 0x40000BAD
# A block that is looked for in the middle of a capture is at most this large.
_LARGEST_LIKELY: Final = 1 << 20


class Block(NamedTuple):
    """A block.

    Attributes:
        type: its type, such as 6 for an Enhanced Packet Block.
        body: the bytes between its lengths, with the padding: its size is a multiple of 4.
        byteorder: how numbers in it are written.
    """

    type: int
    body: bytes
    byteorder: ByteOrder = "little"


def _slow_frame(size: int) -> bytes:
    """Return a block of about so many bytes, full of bytes that look like blocks, for the conformance kit."""
    start = _HEADERS["little"].pack(6, size - size % 8 + 12)
    return start + b"\5\0\0\0\x1c\0\0\0" * (size // 8) + start[4:]


@dataclass(frozen=True)
class Pcapng(Framer[Block]):
    r"""Cut the blocks of pcapng captures (IETF draft-ietf-opsawg-pcapng, section 3.1).

    ::

        INPUT     uint32 type | uint32 total length | body, padded to 32 bits | uint32 total length
        DECODED   Block(type, body, byteorder)

    Each section has a byte order, which its header says (4.1). As types are small numbers, but for the
    highest bit of local ones, every other block shows it as well: reading may begin at any. A length below
    12 or that is no multiple of 4, lengths that differ, and a section header without its magic number break
    the capture (`FramingError`).

    In the middle of a capture, a block probably begins at a multiple of 4 bytes where a type is one in use
    and both lengths, up to 1 MiB, are the same.
    """

    name = "pcapng"
    slow_frame = staticmethod(_slow_frame)
    overhead = 4
    synchronises = "likely"
    examples: ClassVar[dict[bytes, list[Block]]] = {
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\1\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0"
        b"\3\0\0\0\x14\0\0\0\4\0\0\0abcd\x14\0\0\0": [
            Block(SECTION_HEADER, b"\x4d\x3c\x2b\x1a\1\0\0\0" + b"\xff" * 8),
            Block(3, b"\4\0\0\0abcd"),
        ],
        b"\0\0\0\3\0\0\0\x14\0\0\0\4abcd\0\0\0\x14": [Block(3, b"\0\0\0\4abcd", "big")],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0\0\0\0\0": "section header without its magic number",
        b"\6\0\0\0\x08\0\0\0": "block of 8 bytes",
    }
    peers = ("python-pcapng 2.1.1 (PyPI)",)

    max_size: Annotated[int | None, "The largest block, without its second length. Bytes."] = None

    def find(self, window: Window) -> ValueSpan | NeedMore:
        """Return the span as soon as the length has arrived; the decoder checks the second length."""
        data, start = window.data, window.start
        if len(data) < start + 8:
            return NeedMore(8)
        is_section = data.startswith(_SECTION_BYTES, start)
        if is_section and len(data) < start + _OF_A_SECTION:
            return NeedMore(_OF_A_SECTION)
        header = _header(data, start)
        if header is None:
            raise FramingError("section header without its magic number", position=start + 8)
        _, size, _ = header
        if size < _SMALLEST or size % 4:
            raise FramingError(f"block of {counted(size, 'byte')}", position=start + 4)
        how = Decode(self.decode, trailer=bytes(data[start + 4 : start + 8]))
        return start, start + size - 4, start + size, how

    def decode(self, payload: bytes) -> Block:
        """Return the block. ValueError if it was truncated."""
        header = _header(payload, 0) if len(payload) >= 8 else None
        if header is None or header[1] != len(payload) + 4:
            raise ValueError("block was truncated")
        return Block(header[0], payload[8:], header[2])

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place with a type in use and the same length twice."""
        data, size = window.data, len(window.data)
        place = window.start + -window.taken % 4  # all blocks before it are multiples of 4
        while place + _OF_A_SECTION <= size:
            header = _header(data, place)
            if header is not None and _is_likely(header[0], header[1]):
                stop = place + header[1]
                if stop > size:
                    if not window.eof:
                        return NeedMore(stop - window.start, resume=place)
                elif data[place + 4 : place + 8] == data[stop - 4 : stop]:
                    return place
            place += 4
        return size if window.eof else NeedMore(resume=min(place, size))

    def encode(self, frame: Block) -> bytes:
        """Return the block with its lengths.

        Raises:
            EncodeError: its body is not padded, its type does not show its byte order, or it is too large.
        """
        try:
            kind, body, order = frame
            header = _HEADERS[order]
            body = bytes_of(body)
            size = len(body) + _SMALLEST
            start = header.pack(kind, size)
            wire = start + body + start[4:]
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"no block: {error!r}") from error
        if size % 4:
            raise EncodeError(f"body of {counted(len(body), 'byte')}; it must be padded to a multiple of 4")
        if self.max_size is not None and size - 4 > self.max_size:
            raise EncodeError(f"block of {counted(size, 'byte')} exceeds the limit {self.max_size}")
        if len(wire) < _OF_A_SECTION or _header(wire, 0) != (kind, size, order):
            raise EncodeError(f"block of type {kind:#x} would be read in another byte order than {order}")
        return wire


def _header(data: bytes | bytearray, start: int) -> tuple[int, int, ByteOrder] | None:
    """Return type, total length and byte order; None for a section header that does not say its order."""
    if data.startswith(_SECTION_BYTES, start):
        order = _MAGIC.get(bytes(data[start + 8 : start + 12]))
        if order is None:
            return None
        kind, size = _HEADERS[order].unpack_from(data, start)
        return kind, size, order
    little, size = _HEADERS["little"].unpack_from(data, start)
    big, other_size = _HEADERS["big"].unpack_from(data, start)
    if little & _LOCAL <= big & _LOCAL:
        return little, size, "little"
    return big, other_size, "big"


def _is_likely(kind: int, size: int) -> bool:
    known = 0 < kind & _LOCAL < 0x10000 or kind in (_CUSTOM, SECTION_HEADER)
    return known and _SMALLEST <= size <= _LARGEST_LIKELY and not size % 4
