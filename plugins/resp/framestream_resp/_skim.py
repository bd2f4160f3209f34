"""Find where a reply ends from its headers alone: for replies that arrive in pieces."""

from __future__ import annotations

from typing import Final, NoReturn, Optional, TypeAlias

from framestream import FramingError
from framestream_resp._grammar import (
    AGGREGATES,
    ATTRIBUTE,
    BODIES,
    CRLF,
    END,
    LINES,
    LONGEST_HEADER,
    MAP,
    PART,
    PUSH,
    RESP2,
    UNKNOWN,
    number_of,
)

Outer: TypeAlias = tuple[int, Optional["Outer"]]
"""Values still to come in an enclosing aggregate, and the entry of the aggregate around it."""

Progress: TypeAlias = tuple[int, int, int, Outer | None]
"""Bytes to come of a body with its CR LF, or `_IN_LINE`; what is to come in the aggregate; depth; `Outer`."""

START: Final[Progress] = (0, 1, 0, None)

_IN_LINE: Final = -1

# What is to come in an aggregate is a number of values, or one of these.
_UNTIL_END, _PAIRS_UNTIL_END, _VALUE_AND_PAIRS_UNTIL_END, _PARTS = -1, -2, -3, -4
_AFTER_ONE: Final = {
    _UNTIL_END: _UNTIL_END,
    _PAIRS_UNTIL_END: _VALUE_AND_PAIRS_UNTIL_END,
    _VALUE_AND_PAIRS_UNTIL_END: _PAIRS_UNTIL_END,
    _PARTS: _PARTS,
}


def skim(
    data: bytes | bytearray, position: int, progress: Progress, *, max_depth: int, version: int
) -> tuple[int, Progress | None]:
    """Continue from `position`; return where the reply ends and None, or where to continue, and how.

    Raises:
        FramingError: a byte that begins no type (or none allowed here), a malformed size, a body
            without CR LF after it, a line that ends with LF alone, more than `max_depth` open aggregates.
    """
    walk = _Walk(data, position, progress, max_depth, RESP2 if version == 2 else None)
    while walk.step():
        if not walk.left:
            return walk.position, None
    return walk.position, (walk.pending, walk.left, walk.depth, walk.outer)


class _Walk:
    """One pass over the bytes that have arrived; it keeps only the numbers it ends with."""

    def __init__(
        self,
        data: bytes | bytearray,
        position: int,
        progress: Progress,
        max_depth: int,
        kinds: frozenset[int] | None,
    ) -> None:
        self.data = data
        self.position = position
        self.pending, self.left, self.depth, self.outer = progress
        self.max_depth = max_depth
        self.kinds = kinds

    def step(self) -> bool:
        """Go over one header, line or body; return False if it is incomplete."""
        if self.pending == _IN_LINE:
            return self._line()
        if self.pending:
            return self._body()
        if self.position == len(self.data):
            return False
        kind = self.data[self.position]
        self._check_kind(kind)
        if kind in LINES:
            self.pending = _IN_LINE
            self.position += 1
            return True
        return self._header(kind)

    def _check_kind(self, kind: int) -> None:
        if self.kinds is not None and kind not in self.kinds:
            self._refuse(f"{bytes([kind])!r} begins no value of RESP2")
        if (kind == PART) != (self.left == _PARTS):
            self._refuse(f"{bytes([kind])!r} where a part of a string " + ("can" if kind == PART else "must"))
        if kind == END and self.left not in (_UNTIL_END, _PAIRS_UNTIL_END):
            self._refuse("an end where no aggregate can end")
        if kind == PUSH and self.depth:
            self._refuse("a push inside a reply")
        if kind not in LINES | BODIES | AGGREGATES and kind not in (PART, END):
            self._refuse(f"{bytes([kind])!r} begins no value")

    def _line(self) -> bool:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            self.position = max(self.position, len(self.data) - 1)  # the last byte may be the CR
            return False
        self._check_line(end)
        self.position = end + 1
        self._value_done()
        return True

    def _body(self) -> bool:
        end = self.position + self.pending
        tail = end - len(CRLF)
        if end > len(self.data):
            self.position = min(tail, len(self.data))
            self.pending = end - self.position
            return False
        self.position = tail
        if self.data[tail:end] != CRLF:
            self._refuse(f"{bytes(self.data[tail:end])!r} where CR LF is expected")
        self.position = end
        self._value_done()
        return True

    def _header(self, kind: int) -> bool:
        start = self.position
        end = self.data.find(b"\n", start, start + LONGEST_HEADER)
        if end < 0:
            if len(self.data) - start >= LONGEST_HEADER:
                self._refuse(f"no size for the type {chr(kind)!r} in {LONGEST_HEADER} bytes")
            return False
        self._check_line(end)
        number = 0 if kind == END and end == start + 2 else self._number(kind, end)
        if number == UNKNOWN or (kind in AGGREGATES and number > 0) or kind == ATTRIBUTE:
            self._open(kind, number)
        self.position = end + 1
        if (kind in BODIES and number >= 0) or (kind == PART and number):
            self.pending = number + len(CRLF)
        elif kind in (PART, END):
            self._close()
        elif number == -1 or (number == 0 and kind != ATTRIBUTE):
            self._value_done()
        return True

    def _number(self, kind: int, end: int) -> int:
        try:
            number = number_of(self.data[self.position + 1 : end - 1], kind)
        except ValueError as error:
            self._refuse(str(error))
        if number == UNKNOWN and self.kinds is not None:
            self._refuse("a streamed value in RESP2")
        return number

    def _open(self, kind: int, number: int) -> None:
        if self.depth == self.max_depth:
            self._refuse(f"reply nested more than {self.max_depth} deep")
        self.depth += 1
        self.outer = (self.left, self.outer)
        self.left = _values_in(kind, number)

    def _close(self) -> None:
        self._leave()
        self._value_done()

    def _leave(self) -> None:
        assert self.outer is not None
        self.depth -= 1
        self.left, self.outer = self.outer

    def _value_done(self) -> None:
        self.pending = 0
        while True:
            self.left = self.left - 1 if self.left > 0 else _AFTER_ONE[self.left]
            if self.left or self.outer is None:
                return
            self._leave()

    def _check_line(self, end: int) -> None:
        if end == self.position or self.data[end - 1] != CRLF[0]:  # earlier bytes may be another frame's
            self.position = end
            self._refuse("LF without CR")

    def _refuse(self, reason: str) -> NoReturn:
        raise FramingError(reason, position=self.position)


def _values_in(kind: int, number: int) -> int:
    if number == UNKNOWN:
        return {MAP: _PAIRS_UNTIL_END, ord("$"): _PARTS}.get(kind, _UNTIL_END)
    if kind == ATTRIBUTE:
        return 2 * number + 1  # the value it describes is the last one in it
    return 2 * number if kind == MAP else number
