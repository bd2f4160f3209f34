"""Complete replies, to Python values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from framestream_resp._grammar import (
    ARRAY,
    ATTRIBUTE,
    BIG_NUMBER,
    BOOLEAN,
    BULK,
    BULK_ERROR,
    CRLF,
    DOUBLE,
    ERROR,
    INTEGER,
    MAP,
    NULL,
    NUMBERS,
    PART,
    PUSH,
    SET,
    STRING,
    VERBATIM,
    number_of,
)
from framestream_resp._values import Attributed, ErrorReply, Pairs, Push, Verbatim

MAX_DIGITS: Final = 4096
"""Digits of a big number: as many as Python converts in negligible time."""

MOST_NUMBERS: Final = 100
"""Numbers and aggregates that may be keys of one dict, or members of one set.

Python keeps its hashes of text secret, but not those of numbers: a peer that chooses them can make a table
n keys take n * n steps to fill.
"""

Table = TypeVar("Table", dict[Any, Any], set[Any])

_TEXT: Final = frozenset({str, bytes, bool, type(None), ErrorReply, Verbatim})
_INTEGER: Final = re.compile(rb"[+-]?[0-9]+")
# Servers print what the C library does: "-nan" in Redis before 7.2, "Inf" or ".5" elsewhere.
_DOUBLE: Final = re.compile(rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)


class Parser:
    """Makes values of replies; anything wrong or missing is a ValueError.

    Args:
        max_depth: aggregates that may be open at once.
        version: 2 refuses the types that RESP3 added.
    """

    def __init__(self, max_depth: int, version: int) -> None:
        self.max_depth = max_depth
        self._resp2 = version == 2

    def parse(self, data: bytes, position: int, levels: int) -> tuple[Any, int]:
        """Return the value that begins here and where it ends; it may nest `levels` deep."""
        end = data.find(CRLF, position)
        if end < 0:
            raise ValueError("reply is not complete")
        kind = data[position]
        line = data[position + 1 : end]
        end += 2
        if kind == BULK:
            size = NUMBERS.get(line)
            if size is None:
                size = number_of(line, kind)
            if size < 0:
                return (None, end) if size == -1 else self._parts(data, end, levels)
            stop = end + size
            if data[stop : stop + 2] != CRLF:
                raise ValueError("body is not complete")
            return data[end:stop], stop + 2
        if kind == INTEGER:
            number = NUMBERS.get(line)
            return (_integer(line) if number is None else number), end
        if kind == ARRAY:
            count = NUMBERS.get(line)
            if count is None:
                count = number_of(line, kind)
            if count == -1:
                return None, end
            return self._values(data, end, count, levels)
        if kind == STRING:
            return _text(line), end
        if kind == ERROR:
            return ErrorReply(_text(line)), end
        if self._resp2:
            raise ValueError(f"{chr(kind)!r} begins no value of RESP2")
        if kind in _SCALARS:
            return _SCALARS[kind](line), end
        return self._more(data, end, kind, line, levels)

    def _more(self, data: bytes, position: int, kind: int, line: bytes, levels: int) -> tuple[Any, int]:
        """Parse the types of RESP3 that a line alone does not hold."""
        if kind not in _OF_BODY and kind not in _OF_VALUES and kind != ATTRIBUTE:
            raise ValueError(f"{bytes([kind])!r} begins no value")
        number = number_of(line, kind)
        if kind in _OF_BODY:
            body, position = _body(data, position, number)
            return _OF_BODY[kind](body), position
        if kind == ATTRIBUTE:
            values, position = self._values(data, position, 2 * number + 1, levels)
            return Attributed(values.pop(), _map(values)), position
        if kind == PUSH and levels != self.max_depth:
            raise ValueError("a push inside a reply")
        values, position = self._values(data, position, 2 * number if kind == MAP else number, levels)
        return _OF_VALUES[kind](values), position

    def _values(self, data: bytes, position: int, count: int, levels: int) -> tuple[list[Any], int]:
        if not levels and count:
            raise ValueError(f"reply nested more than {self.max_depth} deep")
        values: list[Any] = []
        append, parse, levels = values.append, self.parse, levels - 1
        if count >= 0:
            for _ in range(count):
                value, position = parse(data, position, levels)
                append(value)
            return values, position
        self._refuse_streamed()
        while not data.startswith(b".\r\n", position):
            value, position = parse(data, position, levels)
            append(value)
        return values, position + 3

    def _parts(self, data: bytes, position: int, levels: int) -> tuple[bytes, int]:
        """Parse a streamed string: parts; the empty one is the last and has no body."""
        self._refuse_streamed()
        if not levels:
            raise ValueError(f"reply nested more than {self.max_depth} deep")
        parts: list[bytes] = []
        while True:
            end = data.find(CRLF, position)
            if end < 0 or data[position] != PART:
                raise ValueError("string is not complete")
            size = number_of(data[position + 1 : end], PART)
            if not size:
                return b"".join(parts), end + 2
            part, position = _body(data, end + 2, size)
            parts.append(part)

    def _refuse_streamed(self) -> None:
        if self._resp2:
            raise ValueError("a streamed value in RESP2")


def _body(data: bytes, start: int, size: int) -> tuple[bytes, int]:
    stop = start + size
    if data[stop : stop + 2] != CRLF:
        raise ValueError("body is not complete")
    return data[start:stop], stop + 2


def _text(line: bytes) -> str:
    if 0x0D in line or 0x0A in line:  # a number is found in a tenth of the time that bytes take
        raise ValueError(f"line {line[:40]!r} holds a CR or an LF")
    return line.decode() if line.isascii() else _decoded(line)


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _integer(line: bytes) -> int:
    if not _INTEGER.fullmatch(line) or len(line) > 20 or not -(1 << 63) <= (number := int(line)) < 1 << 63:
        raise ValueError(f"{line[:40]!r} is not an integer of 64 bits")
    return number


def _big_number(line: bytes) -> int:
    if not _INTEGER.fullmatch(line) or len(line) > MAX_DIGITS:
        raise ValueError(f"{line[:40]!r} is not a number of at most {MAX_DIGITS} digits")
    return int(line)


def _double(line: bytes) -> float:
    if not _DOUBLE.fullmatch(line):
        raise ValueError(f"{line[:40]!r} is not a double")
    return float(line)


def _boolean(line: bytes) -> bool:
    if line not in (b"t", b"f"):
        raise ValueError(f"{line[:40]!r} is not a boolean")
    return line == b"t"


def _null(line: bytes) -> None:
    if line:
        raise ValueError(f"{line[:40]!r} after a null")


def _verbatim(body: bytes) -> Verbatim:
    if body[3:4] != b":":
        raise ValueError(f"{body[:4]!r} is not a format of a verbatim string")
    return Verbatim(body[4:], body[:3].decode("latin-1"))


def _bulk_error(body: bytes) -> ErrorReply:
    return ErrorReply(_decoded(body))


def _map(values: list[Any]) -> dict[Any, Any] | Pairs:
    keys, mapped = values[::2], values[1::2]
    table = _table(keys, lambda hashable: dict(zip(hashable, mapped, strict=True)))
    return Pairs(zip(keys, mapped, strict=True)) if table is None else table


def _set(values: list[Any]) -> set[Any] | list[Any]:
    table = _table(values, set)
    return values if table is None else table  # redis-server itself sends sets of maps, in its answer to COMMAND


def _table(keys: list[Any], make: Callable[[Iterable[Any]], Table]) -> Table | None:
    """Return a dict or set of these keys; None if Python has none, merges some, or may take too long."""
    if len(keys) > MOST_NUMBERS and sum(type(key) not in _TEXT for key in keys) > MOST_NUMBERS:
        return None
    try:
        table = make(keys)
    except TypeError:
        try:
            table = make(map(_hashable, keys))
        except TypeError:
            return None
    return table if len(table) == len(keys) else None  # :1, #t and ,1 are equal in Python


def _hashable(value: Any) -> Any:
    """Return a list or a set as the tuple or frozenset that can be a key."""
    if type(value) is list:
        return tuple(map(_hashable, value))
    return frozenset(value) if type(value) is set else value


_SCALARS: Final[dict[int, Callable[[bytes], Any]]] = {
    NULL: _null,
    DOUBLE: _double,
    BOOLEAN: _boolean,
    BIG_NUMBER: _big_number,
}
_OF_BODY: Final[dict[int, Callable[[bytes], Any]]] = {BULK_ERROR: _bulk_error, VERBATIM: _verbatim}
_OF_VALUES: Final[dict[int, Callable[[list[Any]], Any]]] = {MAP: _map, SET: _set, PUSH: Push}
