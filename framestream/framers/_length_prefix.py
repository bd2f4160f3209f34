"""LengthPrefix: frames that say how long they are."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from framestream.errors import EncodeError, FramingError
from framestream.framer import Framer, NeedMore, Span, Window
from framestream.framers._length_fields import Binary, Custom, Digits, LengthField, Varint
from framestream.framers._length_split import split_by_field, split_fixed, split_plain
from framestream.framers._looks_like import looks_like
from framestream.framers._value_checks import (
    check_bytes,
    check_choice,
    check_max_size,
    check_payload,
    check_size,
)

ByteOrder = Literal["big", "little", "native"]
Format = Literal["binary", "varint", "decimal", "hex"]

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True)
class LengthPrefix(Framer[bytes]):
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
    and tokio's length_field_offset, length_adjustment and num_skip; unlike Netty, the header is stripped
    unless `strip` says otherwise. With `length`, a function is given the `size` bytes at `offset` and
    returns the length; what it refuses with a ValueError is a `FramingError`.

    The extent is known with the header: a frame that is too large is refused before its body arrives,
    and can be skipped. A length that makes the frame end inside its own header breaks the stream.

    Writing puts the length before the payload, which is not copied. A frame that is read with its header
    (``strip=0``) is written with it, too, and refused if its length field is wrong. Framings that strip
    more than the length field cannot be written, because nobody knows what was there.
    """

    name = "length-prefix"

    size: Annotated[
        int | None,
        "Size of the length field: 4 unless given. Where it varies, at most: a varint's bytes (10), "
        "digits before a terminator (20, hex 16). With a function, what it is given. Bytes.",
    ] = None
    byteorder: Annotated[ByteOrder, "Byte order of a binary length."] = "big"
    _: KW_ONLY
    offset: Annotated[int, "Where the length field begins in the header. Bytes."] = 0
    adjust: Annotated[int, "Added to the length to get how much follows the length field. Bytes."] = 0
    includes_header: Annotated[bool, "The length counts everything up to its own end as well."] = False
    strip: Annotated[int | None, "What to strip from the front: the header unless given. Bytes."] = None
    format: Annotated[Format, "How the length is written."] = "binary"
    terminator: Annotated[bytes, "What ends a decimal or hex length that has no fixed size."] = b""
    canonical: Annotated[bool, "Refuse lengths written longer than needed, such as with leading zeros."] = (
        False
    )
    length: Annotated[
        Callable[[bytes], int] | None, "Turns the bytes of the length field into the length."
    ] = None
    max_size: Annotated[int | None, "The largest payload. Bytes."] = None

    def __post_init__(self) -> None:
        check_choice("byteorder", self.byteorder, get_args(ByteOrder))
        check_choice("format", self.format, get_args(Format))
        check_size("offset", self.offset, least=0)
        if self.strip is not None:
            check_size("strip", self.strip, least=0)
        if type(self.adjust) is not int:
            raise ValueError(f"adjust is {self.adjust!r}; it must be a whole number")
        check_bytes("terminator", self.terminator)
        check_max_size(self.max_size)
        object.__setattr__(self, "overhead", max(self.offset + self._field.size, self.strip or 0))

    @cached_property
    def _field(self) -> LengthField:
        if self.length is not None:
            self._refuse("a length that a function reads", "byteorder", "format", "terminator", "canonical")
            return Custom(check_size("size", self.size), self.length)
        if self.format == "binary":
            self._refuse("a binary length", "terminator", "canonical")
            size = check_size("size", 4 if self.size is None else self.size, most=8)
            return Binary(size, sys.byteorder if self.byteorder == "native" else self.byteorder)
        self._refuse(f"a {self.format} length", "byteorder")
        if self.format == "varint":
            self._refuse("a varint length", "terminator")
            size = check_size("size", 10 if self.size is None else self.size, most=10)
            return Varint(size, canonical=self.canonical)
        return self._digits(10 if self.format == "decimal" else 16)

    def _digits(self, base: Literal[10, 16]) -> Digits:
        most = 20 if base == 10 else 16
        if not self.terminator:
            self._refuse(f"a {self.format} length of fixed size", "canonical")
            if self.size is None:
                raise ValueError(f"a {self.format} length needs a terminator or a size")
        digits = check_size("size", most if self.size is None else self.size, most=most)
        return Digits(digits, base, self.terminator, canonical=self.canonical)

    def _refuse(self, what: str, *options: str) -> None:
        for option in options:
            value = getattr(self, option)
            if value != getattr(type(self), option):
                raise ValueError(f"{option} is {value!r}; {what} has no such option")

    @cached_property
    def _header(self) -> int:
        """Size of the header; the least, where it varies."""
        return self.offset + self._field.least

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the header is stripped and the length counts exactly what follows it."""
        return self.strip is None and self.adjust == 0 and not self.includes_header

    @cached_property
    def _unpack(self) -> Callable[..., tuple[int]] | None:
        """Reads the length field of a header, for the sizes that struct has."""
        field = self._field
        if not isinstance(field, Binary) or field.size not in _CODES:
            return None
        order = ">" if field.byteorder == "big" else "<"
        return struct.Struct(f"{order}{self.offset}x{_CODES[field.size]}").unpack_from

    def __getstate__(self) -> dict[str, Any]:
        # A Struct cannot be pickled; it is made again when it is needed.
        return {name: value for name, value in self.__dict__.items() if name != "_unpack"}

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the header is complete."""
        start = window.start
        if self._unpack is None:
            found = self._read(window)
            if found is None:
                return NeedMore()
            length, after = found
        else:
            after = start + self._header
            if len(window.data) < after:
                return NeedMore(self._header)
            length = self._unpack(window.data, start)[0]
        end = (start if self.includes_header else after) + length + self.adjust
        first = after if self.strip is None else start + self.strip
        if end < after or end < first:
            least = max(after, first) - start
            reason = f"length {length} makes a frame of {end - start} bytes, less than its header of {least}"
            raise FramingError(self._with_hint(reason, window))
        return first, end, end

    def _read(self, window: Window) -> tuple[int, int] | None:
        at = window.start + self.offset
        try:
            return self._field.read(window.data, at) if at < len(window.data) else None
        except FramingError as error:
            error.reason = self._with_hint(error.reason, window)
            raise

    def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Cut the one frame at `start`, if its header is of the commonest kind."""
        body = start + self._header
        if self._unpack is None or not self._is_plain or body > len(data):
            return None
        stop = body + self._unpack(data, start)[0]
        return (data[body:stop], stop) if stop <= len(data) else None

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole frame, in a loop made for the commonest headers."""
        data, start, header = bytes(window.data), window.start, self._header
        if self._unpack is None:
            return split_by_field(
                data,
                start,
                self._field,
                offset=self.offset,
                adjust=self.adjust,
                strip=self.strip,
                includes_header=self.includes_header,
            )
        if self._is_plain:
            return split_plain(data, start, self._unpack, header)
        return split_fixed(
            data,
            start,
            self._unpack,
            strip=header if self.strip is None else self.strip,
            least=max(header, self.strip or 0),
            beyond=self.adjust + (0 if self.includes_header else header),
        )

    def encode(self, frame: bytes) -> bytes | list[bytes]:
        """Return the length and the payload, uncopied; with ``strip=0``, the frame if its length is right.

        Raise EncodeError for a length that does not fit its field, and for a payload above `max_size`.
        """
        check_payload(frame, self.max_size)
        if self.strip == 0:
            self._check_header(frame)
            return frame
        strips_length = self.strip is None or self.strip == self._field.size == self._field.least
        if self.offset or not strips_length:
            raise EncodeError(
                "reading strips more than the length, which cannot be written; keep the header with strip=0"
            )
        return [self._prefix(len(frame)), frame]

    def _check_header(self, frame: bytes) -> None:
        try:
            found = self.find(Window(frame))
        except FramingError as error:
            raise EncodeError(f"header refused: {error.reason}") from error
        if not isinstance(found, tuple):
            raise EncodeError(f"frame of {len(frame)} bytes is shorter than the header it must have")
        if found[2] != len(frame):
            raise EncodeError(f"frame of {len(frame)} bytes, but its header says {found[2]}")

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

    def _with_hint(self, reason: str, window: Window) -> str:
        hint = self.explain(window)
        return f"{reason}; {hint}" if hint else reason
