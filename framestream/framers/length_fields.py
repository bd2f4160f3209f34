"""The ways to write a length: binary, varint, digits, or any bytes that a function can read."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from struct import Struct
from typing import Any, Literal

from framestream.errors import EncodeError, FramerContractError, FramingError, counted
from framestream.framers.answers import reason_of

ByteOrder = Literal["big", "little"]


class LengthField(ABC):
    """How a length is written.

    Attributes:
        least: bytes the field takes at least.
        size: bytes it takes at most; the same as `least` if it is fixed.
        asks_for: bytes needed before anything can be said about it, even that it is wrong.
        unpack: ``struct``'s ``unpack_from``, if that reads it.
    """

    least: int
    size: int
    asks_for: int = 1
    unpack: Callable[..., tuple[Any, ...]] | None = None

    @abstractmethod
    def read(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Return the length at this index and the index after it, or None if it is not complete.

        Raise FramingError, with its position, if the bytes cannot be a length.
        """

    @abstractmethod
    def write(self, length: int) -> bytes:
        """Return the field for a length; raise EncodeError if it does not fit."""

    def explain(self, data: bytes | bytearray, at: int) -> str:
        """Guess why the length at this index is impossible or too large; "" without a guess."""
        return ""


_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Binary(LengthField):
    """An unsigned integer of 1 to 8 bytes."""

    def __init__(self, size: int, byteorder: ByteOrder) -> None:
        self.least = self.size = self.asks_for = size
        self.byteorder = byteorder
        if size in _CODES:
            self.unpack = Struct((">" if byteorder == "big" else "<") + _CODES[size]).unpack_from

    def read(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Read the integer."""
        end = at + self.size
        if len(data) < end:
            return None
        if self.unpack is not None:
            return self.unpack(data, at)[0], end
        return int.from_bytes(data[at:end], self.byteorder), end

    def write(self, length: int) -> bytes:
        """Write the integer."""
        try:
            return length.to_bytes(self.size, self.byteorder)
        except OverflowError:
            raise EncodeError(f"length {length} does not fit into {counted(self.size, 'byte')}") from None

    def explain(self, data: bytes | bytearray, at: int) -> str:
        """Notice the other byte order: then the highest byte is set, and the lower half is empty."""
        field = data[at : at + self.size]
        other: ByteOrder = "little" if self.byteorder == "big" else "big"
        high = int.from_bytes(field, self.byteorder).bit_length() > 8 * (self.size - 1)
        length = int.from_bytes(field, other)
        if self.size == 1 or not high or length.bit_length() > 4 * self.size:
            return ""
        return f"read as {other}-endian the length is {length}"


class Varint(LengthField):
    """LEB128: seven bits to an octet, the lowest first, and the top bit set in all but the last."""

    least = 1

    def __init__(self, size: int, *, canonical: bool) -> None:
        self.size = size
        self.canonical = canonical

    def read(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Read the varint, of at most 64 bits."""
        if at < len(data) and data[at] < 0x80:
            return data[at], at + 1
        length = shift = 0
        last = at + self.size - 1
        for index in range(at, min(last + 1, len(data))):
            octet = data[index]
            length |= (octet & 0x7F) << shift
            if octet < 0x80:
                if length >> 64:
                    raise FramingError("varint length of more than 64 bits", position=index)
                if self.canonical and shift and not octet:
                    raise FramingError("varint length is longer than necessary", position=index)
                return length, index + 1
            shift += 7
        if len(data) > last:
            raise FramingError(f"varint length of more than {counted(self.size, 'byte')}", position=last)
        return None

    def write(self, length: int) -> bytes:
        """Write the shortest varint."""
        if length < 0 or length >> min(7 * self.size, 64):
            raise EncodeError(f"length {length} does not fit into a varint of {counted(self.size, 'byte')}")
        field = bytearray()
        while length > 0x7F:
            field.append(length & 0x7F | 0x80)
            length >>= 7
        field.append(length)
        return bytes(field)


_NOTATIONS = {10: ("decimal", b"0123456789"), 16: ("hex", b"0123456789abcdefABCDEF")}


class Digits(LengthField):
    """ASCII digits, either up to a terminator or a fixed number of them.

    Args:
        digits: how many digits; with a terminator, at most.
        base: 10 or 16.
        terminator: the bytes after the digits; empty if their number is fixed.
        canonical: refuse leading zeros (with a fixed number of digits they fill up, so do not set it).
    """

    def __init__(self, digits: int, base: Literal[10, 16], terminator: bytes, *, canonical: bool) -> None:
        self.digits = digits
        self.least = (1 if terminator else digits) + len(terminator)
        self.size = digits + len(terminator)
        self.base = base
        self.terminator = terminator
        self.canonical = canonical
        self._kind, self._allowed = _NOTATIONS[base]
        if terminator and terminator[:1] in self._allowed:
            raise ValueError(f"terminator is {terminator!r}; it must not begin with a {self._kind} digit")
        leading = b"(?!0[%b])" % self._allowed if canonical else b""
        count = b"{1,%d}" % digits if terminator else b"{%d}" % digits
        self._number = re.compile(b"%b([%b]%b)%b" % (leading, self._allowed, count, re.escape(terminator)))

    def read(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Read the number; refuse at once a byte that is neither a digit nor the terminator."""
        match = self._number.match(data, at)
        if match is not None:
            return int(match[1], self.base), match.end()
        field = bytes(data[at : at + self.size])
        after = field[: self.digits].lstrip(self._allowed) + field[self.digits :]
        count = len(field) - len(after)
        if self.canonical and count > 1 and field[0] == 0x30:
            raise FramingError(f"{self._kind} length with a leading zero", position=at)
        if not after or (count and self.terminator.startswith(after)):
            return None
        raise FramingError(self._surprise(count, after[:1]), position=at + count)

    def _surprise(self, count: int, byte: bytes) -> str:
        expected = ["a digit"] if count < self.digits else []
        if count and self.terminator:
            expected.append(repr(self.terminator))
        return f"{self._kind} length has {byte!r} where {' or '.join(expected)} is expected"

    def write(self, length: int) -> bytes:
        """Write the number, with leading zeros if their number is fixed."""
        text = b"%d" % length if self.base == 10 else b"%x" % length
        if length < 0 or len(text) > self.digits:
            raise EncodeError(f"length {length} does not fit into {counted(self.digits, f'{self._kind} digit')}")
        return text + self.terminator if self.terminator else text.zfill(self.digits)


class Custom(LengthField):
    """Bytes that a function turns into a length. They cannot be written."""

    def __init__(self, size: int, function: Callable[[bytes], int]) -> None:
        self.least = self.size = self.asks_for = size
        self.function = function

    def read(self, data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        """Call the function; any exception in it refuses the header."""
        end = at + self.size
        if len(data) < end:
            return None
        try:
            return self.function(bytes(data[at:end])), end
        except (FramingError, FramerContractError):
            raise
        except Exception as error:
            raise FramingError(f"header refused: {reason_of(error)}", position=at) from error

    def write(self, length: int) -> bytes:
        """Refuse: a function only reads."""
        raise EncodeError("a length that a function reads cannot be written; keep the header with strip=0")
