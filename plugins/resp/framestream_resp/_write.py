"""Python values, to RESP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from framestream import EncodeError
from framestream_resp._parse import MAX_DIGITS
from framestream_resp._values import Attributed, ErrorReply, Pairs, Push, Verbatim

_TOO_LARGE: Final = 10 ** (MAX_DIGITS - 1)


class Writer:
    """Appends the bytes of values to `pieces`.

    Args:
        max_depth: aggregates that may be open at once.
        version: 2 refuses values of the types that RESP3 added.
    """

    def __init__(self, max_depth: int, version: int) -> None:
        self.pieces: list[bytes] = []
        self._levels = self._max_depth = max_depth
        self._resp2 = version == 2

    def write(self, value: Any) -> None:
        """Write one value. Raise EncodeError if it has no form in this version of RESP."""
        if isinstance(value, bytes):
            self.pieces.append(b"$%d\r\n%b\r\n" % (len(value), value))
        elif isinstance(value, str):
            self._line(b"+", value)
        elif value is None:
            self.pieces.append(b"$-1\r\n" if self._resp2 else b"_\r\n")
        elif isinstance(value, int) and not isinstance(value, bool):
            self._integer(value)
        elif isinstance(value, ErrorReply):
            self._error(value.message)
        elif isinstance(value, (list, tuple)) and not isinstance(value, (Push, Pairs)):
            self._aggregate(b"*", len(value), value)
        elif self._resp2:
            raise EncodeError(f"RESP2 has no form for {type(value).__name__}")
        else:
            self._resp3(value)

    def _resp3(self, value: Any) -> None:
        if isinstance(value, bool):
            self.pieces.append(b"#t\r\n" if value else b"#f\r\n")
        elif isinstance(value, float):
            self.pieces.append(b",%b\r\n" % float.__repr__(value).encode())
        elif isinstance(value, (dict, Pairs)):
            self._aggregate(b"%", len(value), (item for pair in value.items() for item in pair))
        elif isinstance(value, (set, frozenset)):
            self._aggregate(b"~", len(value), value)
        elif isinstance(value, Verbatim):
            self._verbatim(value)
        elif isinstance(value, Push):
            if self._levels != self._max_depth:
                raise EncodeError("a push inside a reply")
            self._aggregate(b">", len(value), value)
        elif isinstance(value, Attributed):
            pairs = [item for pair in value.attributes.items() for item in pair]
            self._aggregate(b"|", len(value.attributes), [*pairs, value.value])
        else:
            raise EncodeError(f"RESP has no form for {type(value).__name__}")

    def _aggregate(self, kind: bytes, count: int, values: Iterable[Any]) -> None:
        if not self._levels and (count or kind == b"|"):
            raise EncodeError(f"value nested more than {self._max_depth} deep")
        self.pieces.append(b"%b%d\r\n" % (kind, count))
        self._levels -= 1
        for value in values:
            self.write(value)
        self._levels += 1

    def _line(self, kind: bytes, text: str) -> None:
        if "\r" in text or "\n" in text:
            raise EncodeError("a simple string holds no CR or LF; write bytes")
        self.pieces.append(b"%b%b\r\n" % (kind, encoded(text)))

    def _integer(self, number: int) -> None:
        if -(1 << 63) <= number < 1 << 63:
            self.pieces.append(b":%d\r\n" % number)
        elif self._resp2 or abs(number) >= _TOO_LARGE:
            limit = 64 if self._resp2 else _TOO_LARGE.bit_length()
            raise EncodeError(f"integer of {number.bit_length()} bits, limit {limit}")
        else:
            self.pieces.append(b"(%d\r\n" % number)

    def _error(self, message: str) -> None:
        if self._resp2 or not ("\r" in message or "\n" in message):
            self._line(b"-", message)
        else:
            body = encoded(message)
            self.pieces.append(b"!%d\r\n%b\r\n" % (len(body), body))

    def _verbatim(self, value: Verbatim) -> None:
        try:
            format_ = value.format.encode("latin-1")
        except UnicodeEncodeError:
            format_ = b""
        if len(format_) != 3:
            raise EncodeError(f"format {value.format!r} is not three characters of one byte")
        self.pieces.append(b"=%d\r\n%b:%b\r\n" % (4 + len(value.text), format_, value.text))


def encoded(text: str) -> bytes:
    """Return text in UTF-8, restoring bytes kept as surrogates. Raise EncodeError for other surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise EncodeError(f"text cannot be encoded: {error}") from error
