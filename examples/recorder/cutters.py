"""Where frames end, worked out the naive way on a complete capture.

A cutter takes all the bytes and returns the offset just after each frame. It raises ``ValueError`` if
the bytes stop in the middle of one. The recorder uses cutters to know when a conversation is complete,
and the tests compare framestream with them, so they share no code with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Cutter = Callable[[bytes], list[int]]
EndOfFrame = Callable[[bytes, int], int]


def repeated(end_of_frame: EndOfFrame) -> Cutter:
    """Cut frame after frame with a function that finds the end of the one at an offset."""

    def cut(data: bytes) -> list[int]:
        ends: list[int] = []
        at = 0
        while at < len(data):
            try:
                at = end_of_frame(data, at)
            except IndexError:
                at = len(data) + 1
            if at > len(data):
                raise ValueError(f"incomplete frame after offset {ends[-1] if ends else 0}")
            ends.append(at)
        return ends

    return cut


def count(cut: Cutter, data: bytes) -> int:
    """Return the number of frames, or -1 while the last one is incomplete."""
    try:
        return len(cut(data))
    except ValueError:
        return -1


def whole(data: bytes) -> list[int]:
    """Take everything as one frame."""
    return [len(data)]


def delimited(delimiter: bytes) -> Cutter:
    return repeated(lambda data, at: data.index(delimiter, at) + len(delimiter))


def matched(pattern: bytes) -> Cutter:
    compiled = re.compile(pattern)

    def end(data: bytes, at: int) -> int:
        match = compiled.search(data, at)
        return match.end() if match else len(data) + 1

    return repeated(end)


def fixed(size: int) -> Cutter:
    return repeated(lambda data, at: at + size)


def prefixed(size: int, *, offset: int = 0, adjust: int = 0, little: bool = False) -> Cutter:
    """Read a length of `size` bytes after `offset` bytes of header; `adjust` bytes more follow it."""

    def end(data: bytes, at: int) -> int:
        body = at + offset + size
        field = data[at + offset : body]
        if len(field) < size:
            return len(data) + 1
        return body + int.from_bytes(field, "little" if little else "big") + adjust

    return repeated(end)


def varint_prefixed(offset: int = 0) -> Cutter:
    """Read a LEB128 length after `offset` bytes of header."""

    def end(data: bytes, at: int) -> int:
        at += offset
        length = shift = 0
        while True:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return at + length

    return repeated(end)


def decimal_prefixed(terminator: bytes) -> Cutter:
    def end(data: bytes, at: int) -> int:
        stop = data.find(terminator, at)
        return len(data) + 1 if stop < 0 else stop + len(terminator) + int(data[at:stop])

    return repeated(end)


def msgpack_end(data: bytes, at: int) -> int:
    """Return the end of the msgpack object at an offset, by the table of the specification."""
    kind = data[at]
    if kind < 0x80 or kind >= 0xE0 or kind in {0xC0, 0xC2, 0xC3}:
        return at + 1
    if kind < 0x90:
        return _items(data, at + 1, 2 * (kind & 0x0F))
    if kind < 0xA0:
        return _items(data, at + 1, kind & 0x0F)
    if kind < 0xC0:
        return at + 1 + (kind & 0x1F)
    if kind in _FIXED:
        return at + 1 + _FIXED[kind]
    width, unit = _COUNTED[kind]
    count = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    at += 1 + width
    return _items(data, at, count * unit) if unit else at + count + (kind in {0xC7, 0xC8, 0xC9})


def _items(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        at = msgpack_end(data, at)
    return at


# Bytes after the type byte: floats, integers, extensions of fixed size.
_FIXED = dict(zip(range(0xCA, 0xD4), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8), strict=True))
_FIXED |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
# Width of the count, and objects per count (0: it counts bytes): bin, ext, str, array, map.
_COUNTED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 0), 0xC8: (2, 0), 0xC9: (4, 0)}
_COUNTED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0), 0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}

msgpack = repeated(msgpack_end)
