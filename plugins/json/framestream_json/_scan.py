"""Find where one JSON text ends, without building it: for texts that have no delimiter.

RFC 8259, section 2: an array, object or string ends with its last byte, a number or name with the byte
after it. No text contains RS (0x1e): RFC 7464 relies on that.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final, TypeAlias

RS: Final = 0x1E


class At(Enum):
    """Where in a text a scan is.

    A number or name is over if there is a byte after it, which is not scanned.
    """

    START = auto()
    INSIDE = auto()
    STRING = auto()
    SCALAR = auto()
    END = auto()
    NO_TEXT = auto()
    """A byte that no text can have here, or RS."""


Progress: TypeAlias = tuple[At, int]
"""Where the scan is, and how many arrays and objects are open."""

START: Final[Progress] = (At.START, 0)

_STRUCTURE: Final = re.compile(rb'["\[\]{}\x1e]')
# Unrolled, so that escapes cost one step of the engine each; it stops at the quote, RS or a last backslash.
_STRING: Final = re.compile(rb'[^"\\\x1e]*(?:\\[^\x1e][^"\\\x1e]*)*')
_SCALAR: Final = re.compile(rb'[^ \t\r\n"\[\]{},:\x1e]*')
_QUOTE, _BACKSLASH = b'"\\'
_OPENING: Final = b"[{"
_NO_START: Final = b"]},:\x1e"


def scan(data: bytes | bytearray, position: int, progress: Progress) -> tuple[int, Progress]:
    """Continue from `position`; return how far the scan got, and where in the text that is.

    The scan stops after the text, before a byte that no text can have there, or where the data ends
    (before a backslash, if that may escape the next byte).
    """
    at, depth = progress
    while position < len(data):
        if at is At.INSIDE:
            position, at, depth = _inside(data, position, depth)
        elif at is At.STRING:
            position, at = _string(data, position, depth)
            if at is At.STRING:
                break
        elif at is At.SCALAR:
            position = _SCALAR.match(data, position).end()  # type: ignore[union-attr]  # it matches nothing, too
            break
        elif at is At.START:
            position, at, depth = _start(data, position)
        else:
            break
    return position, (at, depth)


def _start(data: bytes | bytearray, position: int) -> tuple[int, At, int]:
    byte = data[position]
    if byte == _QUOTE:
        return position + 1, At.STRING, 0
    if byte in _OPENING:
        return position + 1, At.INSIDE, 1
    return position, At.NO_TEXT if byte in _NO_START else At.SCALAR, 0


def _inside(data: bytes | bytearray, position: int, depth: int) -> tuple[int, At, int]:
    found = _STRUCTURE.search(data, position)
    if found is None:
        return len(data), At.INSIDE, depth
    position = found.start()
    byte = data[position]
    if byte == RS:
        return position, At.NO_TEXT, depth
    if byte == _QUOTE:
        return position + 1, At.STRING, depth
    depth += 1 if byte in _OPENING else -1
    return position + 1, At.INSIDE if depth else At.END, depth


def _string(data: bytes | bytearray, position: int, depth: int) -> tuple[int, At]:
    position = _STRING.match(data, position).end()  # type: ignore[union-attr]  # it matches nothing, too
    if position < len(data) and data[position] == _BACKSLASH:
        if position + 1 == len(data):
            return position, At.STRING
        position += 1  # to the RS that it does not escape
    if position == len(data):
        return position, At.STRING
    if data[position] == RS:
        return position, At.NO_TEXT
    return position + 1, At.INSIDE if depth else At.END
