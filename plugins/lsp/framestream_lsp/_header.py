"""The header part of a message: fields in lines that end with CR LF, and an empty line."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from framestream import FramingError

MAX_DIGITS: Final = 15

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


class Fields(NamedTuple):
    """What the fields read so far say.

    Attributes:
        length: the size of the content in bytes; None until that is said.
        charset: its encoding.
    """

    length: int | None = None
    charset: str = "utf-8"


def check_name(data: bytes | bytearray, start: int, limit: int) -> int:
    """Return where the name of a field that begins here ends, or as much of it as is there before `limit`.

    Raises:
        FramingError: anything but a colon follows it.
    """
    end = _NAME.match(data, start, limit).end()  # type: ignore[union-attr]  # it matches nothing, too
    if end in (limit, len(data)) or (end > start and data[end : end + 1] == b":"):
        return end
    byte = bytes(data[end : end + 1])
    hint = "; a JSON text without its header?" if byte in (b"{", b"[") and end == start else ""
    raise FramingError(f"{byte!r} in the name of a header field{hint}", position=end)


def read_field(data: bytes | bytearray, start: int, stop: int, fields: Fields) -> Fields:
    """Return the fields with the one in this line, which ends at `stop`; others than these two mean nothing.

    Raises:
        FramingError: a length that is none, or is said twice.
    """
    name, _, value = bytes(data[start:stop]).partition(b":")
    name, value = name.lower(), value.strip(b" \t")
    if name == b"content-length":
        if fields.length is not None:
            raise FramingError("a second Content-Length", position=start)
        if not value.isdigit() or len(value) > MAX_DIGITS:
            raise FramingError(f"Content-Length is {value[:40]!r}", position=start)
        return fields._replace(length=int(value))
    if name == b"content-type" and (charset := _CHARSET.search(value)):
        return fields._replace(charset=charset[1].decode("latin-1").lower())
    return fields
