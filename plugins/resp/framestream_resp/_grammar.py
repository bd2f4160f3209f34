"""The type bytes of RESP, and the numbers after them."""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"

STRING, ERROR, INTEGER, BULK, ARRAY = b"+-:$*"
NULL, DOUBLE, BOOLEAN, BULK_ERROR, VERBATIM, BIG_NUMBER = b"_,#!=("
MAP, SET, PUSH, ATTRIBUTE = b"%~>|"
PART, END = b";."

LINES: Final = frozenset(b"+-:_,#(")
"""Types that end with their line."""
BODIES: Final = frozenset(b"$!=")
"""Types whose line says how many bytes follow, and a CR LF after those."""
AGGREGATES: Final = frozenset(b"*%~>|")
"""Types whose line says how many values follow."""
STREAMED: Final = frozenset(b"$*%~")
"""Types that may say ``?`` instead: the end is marked."""
NULLABLE: Final = frozenset(b"$*")
"""Types that say ``-1`` for null in RESP2."""
RESP2: Final = frozenset(b"+-:$*")

UNKNOWN: Final = -2
"""Stands for ``?`` among the numbers."""

_MOST_DIGITS: Final = 19
LONGEST_HEADER: Final = 1 + _MOST_DIGITS + len(CRLF)

# Most headers are found here at the price of one look; none of them is written in an unusual way.
NUMBERS: Final = {b"%d" % number: number for number in range(1024)}


def number_of(digits: bytes | bytearray, kind: int) -> int:
    """Return the number in the line of this type, `UNKNOWN` for ``?``, -1 for null.

    Raises:
        ValueError: it is not a number, is written with a sign or leading zeros, or has more than 19 digits.
    """
    if digits.isdigit() and len(digits) <= _MOST_DIGITS and (digits[0] != 0x30 or len(digits) == 1):
        return int(digits)
    if digits == b"-1" and kind in NULLABLE:
        return -1
    if digits == b"?" and kind in STREAMED:
        return UNKNOWN
    raise ValueError(f"{bytes(digits)!r} is not a size for the type {chr(kind)!r}")
