"""Walk msgpack heads to find where an object ends, without building it.

MessagePack specification, "Formats": the first byte of a value, its head, says how many bytes or how
many values follow.
"""

from __future__ import annotations

from typing import Final, Optional, TypeAlias

from framestream.errors import FramingError

MAX_DEPTH: Final = 1024
"""Containers that may be open at once; msgpack's C parser refuses the next one too."""

Outer: TypeAlias = tuple[int, Optional["Outer"]]
"""Values still to come in an enclosing container, and the entry of the container around it."""

Progress: TypeAlias = tuple[int, int, int, Outer | None]
"""Bytes of the current value to skip, values to come in the innermost container, depth, the others."""

START: Final[Progress] = (0, 1, 0, None)

_NEVER_USED = 0xC1

# Bytes that follow the head before the body: the length, then the type of an extension.
_LENGTH_SIZES = {
    0xC4: 1, 0xC5: 2, 0xC6: 4,  # bin
    0xC7: 1, 0xC8: 2, 0xC9: 4,  # ext
    0xD9: 1, 0xDA: 2, 0xDB: 4,  # str
    0xDC: 2, 0xDD: 4,           # array
    0xDE: 2, 0xDF: 4,           # map
}  # fmt: skip


def _fixed_size(head: int) -> int:
    """Return the size in bytes of a value if its head alone tells it, or 0."""
    if head in range(0xA0, 0xC0):
        return 1 + head - 0xA0  # fixstr
    if head in range(0x80, 0xA0) or head in _LENGTH_SIZES or head == _NEVER_USED:
        return 0
    if head in range(0xD4, 0xD9):
        return 2 + (1 << (head - 0xD4))  # fixext, type byte included
    sizes = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    return sizes.get(head, 1)


_FIXED_SIZES: Final = tuple(map(_fixed_size, range(256)))

# Values of one size come in runs, as in arrays of numbers. Their heads are then equally spaced: one slice
# with a stride and one `lstrip` skip a run at the cost of some six values, so it is tried every 16th time.
_HEADS_OF_SIZE: Final = {
    size: bytes(head for head in range(256) if _FIXED_SIZES[head] == size) for size in set(_FIXED_SIZES) - {0}
}
_RUN_TRIED: Final = 16
_LONGEST_RUN: Final = 256


def scan(data: bytes | bytearray, position: int, progress: Progress) -> tuple[int, Progress | None]:
    """Continue from `position`; return where the object ends and None, or where to continue, and how.

    The end lies beyond the data if only the body of the last value is missing.

    Raises:
        FramingError: a head that MessagePack never uses, or containers nested more than `MAX_DEPTH` deep.
    """
    skip, left, depth, outer = progress
    size = len(data)
    fixed_sizes = _FIXED_SIZES
    position += skip
    while position < size:
        head = data[position]
        if width := fixed_sizes[head]:
            if left % _RUN_TRIED:
                position += width
                left -= 1
            else:
                run = _run(data, position, width, min(left, _LONGEST_RUN))
                position += run * width
                left -= run
        elif (known := _sized_value(data, position, head)) is None:
            break
        else:
            left -= 1
            if known[1] >= 0:
                if depth == MAX_DEPTH:
                    raise FramingError(f"msgpack object nested more than {MAX_DEPTH} deep", position=position)
                depth += 1
                left, outer = known[1], (left, outer)
            position = known[0]
        while not left:
            if outer is None:
                return position, None
            depth -= 1
            left, outer = outer
    here = min(position, size)
    return here, (position - here, left, depth, outer)


def _run(data: bytes | bytearray, position: int, width: int, most: int) -> int:
    """Return how many values of this size follow one another; the first one does."""
    heads = data[position : position + width * most : width]
    return len(heads) - len(heads.lstrip(_HEADS_OF_SIZE[width]))


def _sized_value(data: bytes | bytearray, position: int, head: int) -> tuple[int, int] | None:
    """Return where a scalar ends and -1, or a container's first value and how many; None if cut short."""
    if head < 0xA0:
        return position + 1, (head - 0x80) * 2 if head < 0x90 else head - 0x90
    if head == _NEVER_USED:
        raise FramingError("byte 0xc1 begins no msgpack object", position=position)
    body = position + 1 + _LENGTH_SIZES[head]
    if body > len(data):
        return None
    length = int.from_bytes(data[position + 1 : body], "big")
    if head >= 0xDC:
        return body, length * 2 if head >= 0xDE else length
    return body + length + (0xC7 <= head <= 0xC9), -1
