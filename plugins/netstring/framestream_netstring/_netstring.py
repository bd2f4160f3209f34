"""Netstring: a decimal length, a colon, that many bytes, a comma."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, NoReturn

from framestream import Framer, FramingError, NeedMore, Span, Window
from framestream.framer import Decode, ValueSpan, bytes_of

MAX_DIGITS: Final = 19
"""Digits a length may have: enough for any size that a file offset can hold."""

_LENGTH: Final = re.compile(rb"(0|[1-9][0-9]{0,%d}):" % (MAX_DIGITS - 1))
_DIGITS: Final = re.compile(rb"[1-9][0-9]{0,%d}|0?" % (MAX_DIGITS - 1))

# A look at these costs half of what a match and a conversion do.
_SMALL: Final = {b"%d" % size: size for size in range(1024)}


@dataclass(frozen=True)
class Netstring(Framer[bytes]):
    r"""Cut netstrings (D. J. Bernstein, "Netstrings", 1997; https://cr.yp.to/proto/netstrings.txt).

    ::

        INPUT     5:hello,  0:,  12:hello world!,
        DECODED   b"hello"  b""  b"hello world!"

    "Any string of 8-bit bytes may be encoded as [len]":"[string]",". Here [string] is the string and
    [len] is a nonempty sequence of ASCII digits giving the length of [string] in decimal." Postfix's
    socketmap protocol is netstrings in both directions; an SCGI request is one of headers, then a body.

    The size is known with the colon: a frame above the limit is refused before its first byte arrives,
    and can be skipped or streamed. These break the stream (`FramingError`): a length of more than 19
    digits, or none; "extra zeros at the front of [len] are prohibited"; a byte other than the comma
    after the string.
    """

    name = "netstring"
    overhead = MAX_DIGITS + len(":,")
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"5:hello,0:,12:hello world!,": [b"hello", b"", b"hello world!"]}
    malformed: ClassVar[dict[bytes, str]] = {b"01:a,": "leading zero", b"-1:,": "where a digit is expected"}
    peers = ("nginx 1.22.1", "Postfix 3.7.11")

    max_size: Annotated[int | None, "The longest string. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the colon has arrived; the decoder checks the comma when it arrives."""
        data = window.data
        header = _LENGTH.match(data, window.start)
        if header is None:
            return self._incomplete(window)
        first = header.end()
        stop = first + int(header[1])
        if data[stop : stop + 1] == b",":
            return first, stop, stop + 1
        return first, stop, stop + 1, Decode(bytes, trailer=b",")

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole netstring."""
        data, start = bytes(window.data), window.start
        strings: list[bytes] = []
        append, find, known = strings.append, data.find, _SMALL.get
        while (colon := find(b":", start, start + MAX_DIGITS + 1)) >= 0:
            size = known(data[start:colon])
            if size is None:
                header = _LENGTH.match(data, start)
                if header is None:
                    break
                size = int(header[1])
            stop = colon + 1 + size
            if data[stop : stop + 1] != b",":
                break
            append(data[colon + 1 : stop])
            start = stop + 1
        return strings, start

    def encode(self, frame: bytes) -> list[bytes]:
        """Return the length, the string itself and the comma. Raise EncodeError above `max_size`."""
        frame = bytes_of(frame, self.max_size, copy=False)
        return [b"%d:" % len(frame), frame, b","]

    def _incomplete(self, window: Window) -> NeedMore:
        digits = _DIGITS.match(window.data, window.start)
        assert digits is not None  # it matches the empty string, too
        if digits.end() < len(window.data):
            self._refuse(window, digits.end())
        return NeedMore()

    def _refuse(self, window: Window, position: int) -> NoReturn:
        byte = bytes(window.data[position : position + 1])
        digits = position - window.start
        if not byte.isdigit():
            expected = "a digit or b':'" if digits else "a digit"
            raise FramingError(f"netstring length has {byte!r} where {expected} is expected", position=position)
        if digits == 1:
            raise FramingError("netstring length with a leading zero", position=position - 1)
        raise FramingError(f"netstring length of more than {MAX_DIGITS} digits", position=position)
