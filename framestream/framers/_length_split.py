"""The loops that cut a batch of length-prefixed frames: the same answer as `find`, as fast as Python goes."""

from __future__ import annotations

import struct
from collections.abc import Callable

from framestream.errors import FramingError
from framestream.framers._length_fields import LengthField

Unpack = Callable[..., tuple[int]]


def split_plain(data: bytes, start: int, unpack: Unpack, header: int) -> tuple[list[bytes], int]:
    """Cut frames of a header that is stripped and a length that counts what follows it."""
    # The bare minimum per frame: one check or one name less is measurable. The exception ends the loop.
    payloads: list[bytes] = []
    append = payloads.append
    size = len(data)
    try:
        while True:
            body = start + header
            stop = body + unpack(data, start)[0]
            if stop > size:
                break
            append(data[body:stop])
            start = stop
    except struct.error:
        pass
    return payloads, start


def split_fixed(
    data: bytes, start: int, unpack: Unpack, *, strip: int, least: int, beyond: int
) -> tuple[list[bytes], int]:
    """Cut frames whose size is the length plus `beyond`, and at least `least`."""
    payloads: list[bytes] = []
    append = payloads.append
    size = len(data)
    try:
        while True:
            stop = start + unpack(data, start)[0] + beyond
            if not start + least <= stop <= size:
                break
            append(data[start + strip : stop])
            start = stop
    except struct.error:
        pass
    return payloads, start


def split_by_field(
    data: bytes,
    start: int,
    field: LengthField,
    *,
    offset: int,
    adjust: int,
    strip: int | None,
    includes_header: bool,
) -> tuple[list[bytes], int]:
    """Cut frames with a length field of any kind."""
    payloads: list[bytes] = []
    append, read, size = payloads.append, field.read, len(data)
    try:
        while start + offset < size and (found := read(data, start + offset)) is not None:
            length, after = found
            stop = (start if includes_header else after) + length + adjust
            first = after if strip is None else start + strip
            if not first <= stop <= size or stop < after:
                break
            append(data[first:stop])
            start = stop
    except FramingError:
        pass  # `find` meets it next, and explains it
    return payloads, start
