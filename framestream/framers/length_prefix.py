"""LengthPrefix: frames that say how long they are."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, get_args

from framestream.errors import EncodeError, FramingError, check_choice, check_count, counted
from framestream.framer import Framer, NeedMore, Span, Window, bytes_of
from framestream.framers import Interned, looks_like

ByteOrder = Literal["big", "little", "native"]
Endian = Literal["big", "little"]
Format = Literal["binary", "varint", "decimal", "hex"]

# For each format: its options, the bytes or digits it takes unless a size is given, and the most.
_FORMATS: dict[str, tuple[tuple[str, ...], int | None, int]] = {
    "binary": (("byteorder",), 4, 8),
    "varint": (("canonical",), 10, 10),
    "decimal": (("terminator", "canonical"), 20, 20),
    "hex": (("terminator", "canonical"), 16, 16),
}


@dataclass(frozen=True)
class LengthPrefix(Framer[bytes], metaclass=Interned):
    r"""Frames with a header that tells their length.

    ::

        |<-- offset -->|<--- size --->|
        +--------------+--------------+-----------------------+
        | other header | length field | length + adjust bytes |
        +--------------+--------------+-----------------------+
        |<- header, stripped -------->|<- payload ----------->|

        LengthPrefix(2):                                  b"\0\3abc"    ->  b"abc"
        LengthPrefix(2, "little"):                        b"\3\0abc"    ->  b"abc"
        LengthPrefix(2, offset=2, strip=0):               b"hi\0\3abc"  ->  b"hi\0\3abc"
        LengthPrefix(2, includes_header=True):            b"\0\5abc"    ->  b"abc"
        LengthPrefix(format="varint"):                    b"\3abc"      ->  b"abc"
        LengthPrefix(format="decimal", terminator=b":"):  b"3:abc"      ->  b"abc"
        LengthPrefix(4, format="hex"):                    b"0003abc"    ->  b"abc"

    `offset`, `adjust` and `strip` are Netty's lengthFieldOffset, lengthAdjustment and initialBytesToStrip,
    and tokio's length_field_offset, length_adjustment and num_skip; unlike in Netty, the header is stripped
    unless `strip` says otherwise.

    The header tells the extent: a frame that is too large is refused before its body arrives,
    and can be skipped. A length that makes the frame end inside its own header breaks the stream.

    Writing puts the length before the payload, which is not copied. A frame that is read with its header
    (``strip=0``) is also written with it, and refused if its length field is wrong. Framings that strip
    more than the length field cannot be written, because the stripped bytes are lost.
    """

    name = "length-prefix"

    size: Annotated[
        int | None,
        "Size of the length field: 4 unless given. If it varies, the most: a varint's bytes (10), "
        "digits before a terminator (20, hex 16). Bytes.",
    ] = None
    byteorder: Annotated[ByteOrder, "Byte order of a binary length."] = "big"
    _: KW_ONLY
    offset: Annotated[int, "Where the length field begins in the header. Bytes."] = 0
    adjust: Annotated[int, "Added to the length to get how much follows the length field. Bytes."] = 0
    includes_header: Annotated[bool, "The length also counts everything up to its own end."] = False
    strip: Annotated[int | None, "What to strip from the front: the header unless given. Bytes."] = None
    format: Annotated[Format, "How the length is written."] = "binary"
    terminator: Annotated[bytes, "What ends a decimal or hex length that has no fixed size."] = b""
    canonical: Annotated[bool, "Refuse lengths written longer than needed, such as with leading zeros."] = False
    max_size: Annotated[int | None, "The largest payload. Bytes."] = None

    def __post_init__(self) -> None:
        check_choice("byteorder", self.byteorder, get_args(ByteOrder))
        check_choice("format", self.format, get_args(Format))
        check_count("offset", self.offset)
        check_count("strip", self.strip, optional=True)
        if type(self.adjust) is not int:
            raise ValueError(f"adjust is {self.adjust!r}; it must be a whole number")
        if not isinstance(self.terminator, bytes):
            raise ValueError(f"terminator is {self.terminator!r}; it must be bytes")
        check_count("max_size", self.max_size, optional=True)
        object.__setattr__(self, "overhead", max(self.offset + self._field.size, self.strip or 0))

    @cached_property
    def _field(self) -> LengthField:
        what, options, usual, most = f"a {self.format} length", *_FORMATS[self.format]
        if "terminator" in options and not self.terminator:
            what, options, usual = f"{what} of fixed size", (), None
        for option in ("byteorder", "terminator", "canonical"):
            value = getattr(self, option)
            if option not in options and value != getattr(type(self), option):
                raise ValueError(f"{option} is {value!r}; {what} has no such option")
        size = usual if self.size is None else self.size
        if size is None:
            raise ValueError(f"a {self.format} length needs a terminator or a size")
        check_count("size", size, least=1, most=most)
        if self.format == "binary":
            return _binary(size, sys.byteorder if self.byteorder == "native" else self.byteorder)
        if self.format == "varint":
            return _varint(size, self.canonical)
        return _digits(self.format, size, self.terminator, self.canonical)

    @cached_property
    def _is_plain(self) -> bool:
        return self.strip is None and not (self.offset or self.adjust or self.includes_header)

    def __getstate__(self) -> dict[str, Any]:
        # Functions made here cannot be pickled; a copy makes them again.
        return {name: value for name, value in self.__dict__.items() if name != "_field"}

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the header is complete."""
        data, start = window.data, window.start
        if self._is_plain:  # as below, with nothing to add: a third cheaper ("prefix-64k" in benchmarks/)
            found = self._field.read(data, start)
            return NeedMore(1) if found is None else (found[1], end := found[0] + found[1], end)
        at = start + self.offset
        found = self._field.read(data, at) if at < len(data) else None
        if found is None:
            return NeedMore(self.offset + 1)
        length, after = found
        end = (start if self.includes_header else after) + length + self.adjust
        first = after if self.strip is None else start + self.strip
        if end < after or end < first:
            least = max(after, first) - start
            whole = counted(end - start, "byte")
            raise FramingError(f"length {length} makes a frame of {whole}, less than its header of {least}")
        return first, end, end

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole frame; leave one that `find` refuses to it."""
        data, start, field = bytes(window.data), window.start, self._field
        size, read, offset, strip = len(data), field.read, self.offset, self.strip
        frames: list[bytes] = []
        if (unpack := field.unpack) is not None and self._is_plain:
            # The commonest header, cheaper than by hand (in_process.py, lengths): one more check or name is
            # measurable. So a frame that is cut short is cut, too, and taken away afterwards.
            header, last = field.size, size - field.size
            while start <= last:
                first = start + header
                start = first + unpack(data, start)[0]
                frames.append(data[first:start])
            return frames, start if start <= size else size - len(frames.pop()) - header
        try:
            while start + offset < size and (found := read(data, start + offset)) is not None:
                length, after = found
                stop = (start if self.includes_header else after) + length + self.adjust
                first = after if strip is None else start + strip
                if not first <= stop <= size or stop < after:
                    break
                frames.append(data[first:stop])
                start = stop
        except FramingError:
            pass
        return frames, start

    def encode(self, frame: bytes) -> bytes | list[bytes]:
        """Return the length and the payload, uncopied; with ``strip=0``, the frame if its length is right.

        Raise EncodeError for a length that does not fit its field, and for a payload above `max_size`.
        """
        frame = bytes_of(frame, self.max_size, copy=self.strip == 0)
        if self.strip == 0:
            try:
                found = self.find(Window(frame))
            except FramingError as error:
                raise EncodeError(f"header refused: {error.reason}") from error
            shown = f"frame of {counted(len(frame), 'byte')}"
            if not isinstance(found, tuple):
                raise EncodeError(f"{shown} is shorter than the header it must have")
            if found[2] != len(frame):
                raise EncodeError(f"{shown}, but its header says {found[2]}")
            return frame
        strips_length = self.strip is None or self.strip == self._field.size == self._field.least
        if self.offset or not strips_length:
            raise EncodeError(
                "reading strips more than the length, which cannot be written; keep the header with strip=0"
            )
        return [self._prefix(len(frame)), frame]

    def _prefix(self, size: int) -> bytes:
        length = size - self.adjust
        if not self.includes_header:
            return self._field.write(length)
        # The length counts its own digits, and one more digit may make it longer again.
        header = self._field.least
        while len(prefix := self._field.write(length + header)) != header:
            header = len(prefix)
        return prefix

    def explain(self, window: Window) -> str:
        """Guess which other protocol this is, or that the byte order is the other one."""
        data, start = window.data, window.start
        return looks_like(data, start) or self._field.explain(data, start + self.offset)


# The ways to write a length -----------------------------------------------------------------


class LengthField(NamedTuple):
    """How a length is written.

    Attributes:
        least: bytes the field takes at least.
        size: bytes it takes at most; the same as `least` if it is fixed.
        read: returns the length at an index and the index after it, or None if it is not complete; raises
            FramingError, with its position, if the bytes cannot be a length.
        write: returns the field for a length; raises EncodeError if it does not fit.
        unpack: ``struct``'s ``unpack_from``, if that reads it.
        explain: guesses why the length at an index is impossible or too large; "" without a guess.
    """

    least: int
    size: int
    read: Callable[[bytes | bytearray, int], tuple[int, int] | None]
    write: Callable[[int], bytes]
    unpack: Callable[..., tuple[Any, ...]] | None = None
    explain: Callable[[bytes | bytearray, int], str] = lambda data, at: ""


_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _binary(size: int, byteorder: Endian) -> LengthField:
    """Return the field of an unsigned integer of 1 to 8 bytes."""
    unpack = None
    if size in _CODES:
        unpack = struct.Struct((">" if byteorder == "big" else "<") + _CODES[size]).unpack_from

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        end = at + size
        if len(data) < end:
            return None
        if unpack is not None:
            return unpack(data, at)[0], end
        return int.from_bytes(data[at:end], byteorder), end

    def write(length: int) -> bytes:
        try:
            return length.to_bytes(size, byteorder)
        except OverflowError:
            raise EncodeError(f"length {length} does not fit into {counted(size, 'byte')}") from None

    def explain(data: bytes | bytearray, at: int) -> str:
        # In the other byte order, the highest byte is set and the lower half is empty.
        field = data[at : at + size]
        other: Endian = "little" if byteorder == "big" else "big"
        high = int.from_bytes(field, byteorder).bit_length() > 8 * (size - 1)
        length = int.from_bytes(field, other)
        if size == 1 or not high or length.bit_length() > 4 * size:
            return ""
        return f"read as {other}-endian the length is {length}"

    return LengthField(size, size, read, write, unpack, explain)


def _varint(size: int, canonical: bool) -> LengthField:
    """Return the field of LEB128: seven bits to an octet, the lowest first, the top bit set in all but the last."""

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        if at < len(data) and data[at] < 0x80:
            return data[at], at + 1
        length = shift = 0
        last = at + size - 1
        for index in range(at, min(last + 1, len(data))):
            octet = data[index]
            length |= (octet & 0x7F) << shift
            if octet < 0x80:
                if length >> 64:
                    raise FramingError("varint length of more than 64 bits", position=index)
                if canonical and not octet:
                    raise FramingError("varint length is longer than necessary", position=index)
                return length, index + 1
            shift += 7
        if len(data) > last:
            raise FramingError(f"varint length of more than {counted(size, 'byte')}", position=last)
        return None

    def write(length: int) -> bytes:
        if length < 0 or length >> min(7 * size, 64):
            raise EncodeError(f"length {length} does not fit into a varint of {counted(size, 'byte')}")
        field = bytearray()
        while length > 0x7F:
            field.append(length & 0x7F | 0x80)
            length >>= 7
        field.append(length)
        return bytes(field)

    return LengthField(1, size, read, write)


_DIGITS = {"decimal": (b"0123456789", 10), "hex": (b"0123456789abcdefABCDEF", 16)}


def _digits(kind: str, digits: int, terminator: bytes, canonical: bool) -> LengthField:
    """Return the field of ASCII digits, either up to a terminator or a fixed number of them.

    Args:
        kind: ``"decimal"`` or ``"hex"``.
        digits: how many digits; with a terminator, at most.
        terminator: the bytes after the digits; empty if their number is fixed.
        canonical: refuse leading zeros (with a fixed number of digits they fill up, so do not set it).
    """
    allowed, base = _DIGITS[kind]
    size = digits + len(terminator)
    if terminator and terminator[:1] in allowed:
        raise ValueError(f"terminator is {terminator!r}; it must not begin with a {kind} digit")
    count = b"{1,%d}" % digits if terminator else b"{%d}" % digits
    number = re.compile(b"([%b]%b)%b" % (allowed, count, re.escape(terminator))).match

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        if (match := number(data, at)) is not None:
            if canonical and len(match[1]) > 1 and match[1].startswith(b"0"):
                raise FramingError(f"{kind} length with a leading zero", position=at)
            return int(match[1], base), match.end()
        # Refuse a byte that is neither a digit nor of the terminator as soon as it is there.
        field = bytes(data[at : at + size])
        after = field[:digits].lstrip(allowed) + field[digits:]
        count = len(field) - len(after)
        if not after or (count and terminator.startswith(after)):
            return None
        expected = ["a digit"] if count < digits else []
        if count and terminator:
            expected.append(repr(terminator))
        what = f"{kind} length has {after[:1]!r} where {' or '.join(expected)} is expected"
        raise FramingError(what, position=at + count)

    def write(length: int) -> bytes:
        text = b"%d" % length if base == 10 else b"%x" % length
        if length < 0 or len(text) > digits:
            raise EncodeError(f"length {length} does not fit into {counted(digits, f'{kind} digit')}")
        return text + terminator if terminator else text.zfill(digits)

    return LengthField((1 if terminator else digits) + len(terminator), size, read, write)
