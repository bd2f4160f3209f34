"""The header part of a message: fields in lines that end with CR LF, and an empty line."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from framestream import FramingError

MAX_DIGITS: Final = 15

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_BLANKS: Final = re.compile(rb"[ \t]+")
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


class Fields(NamedTuple):
    """The facts of the fields read so far.

    Attributes:
        length: the size of the content in bytes; None while it is unknown.
        charset: its encoding.
    """

    length: int | None = None
    charset: str = "utf-8"


class Line(NamedTuple):
    """The header read so far: whole fields, and the line that is still arriving.

    Attributes:
        fields: the facts of the lines before it.
        start: where it begins, counted from the beginning of the message.
        text: the part of it that can matter: without long names, values of other fields, and repeated blanks,
            so that no byte has to be looked at twice.
    """

    fields: Fields = Fields()
    start: int = 0
    text: bytes = b""

    @property
    def is_named(self) -> bool:
        """Whether the name of the field is complete."""
        return b":" in self.text

    def with_more(self, data: bytes) -> Line:
        """Return the line with the bytes that have arrived of it."""
        text = _BLANKS.sub(b" ", self.text + data)
        name, colon, _ = text.partition(b":")
        if name.lower() == b"content-length" or not colon:
            text = text[:64]  # a longer one is neither of the two, nor a length
        elif name.lower() != b"content-type":
            text = colon
        return self._replace(text=text)


def check_name(data: bytes | bytearray, start: int, limit: int, *, begun: bool) -> None:
    """Refuse the bytes before `limit` unless they are a field's name, or the rest of one that has `begun`.

    Raises:
        FramingError: anything but a colon follows it.
    """
    end = _NAME.match(data, start, limit).end()  # type: ignore[union-attr]  # it matches nothing, too
    begun = begun or end > start
    if end in (limit, len(data)) or (begun and data[end : end + 1] == b":"):
        return
    byte = bytes(data[end : end + 1])
    hint = "; a JSON text without its header?" if byte in (b"{", b"[") and not begun else ""
    raise FramingError(f"{byte!r} in the name of a header field{hint}", position=end)


def read_field(line: Line, position: int) -> Fields:
    """Return the fields with the one in this line, which begins here; other fields are ignored.

    Raises:
        FramingError: a malformed length, or a second one.
    """
    name, _, value = line.text.partition(b":")
    fields, name, value = line.fields, name.lower(), value.strip(b" \t")
    if name == b"content-length":
        if fields.length is not None:
            raise FramingError("a second Content-Length", position=position)
        if not value.isdigit() or len(value) > MAX_DIGITS:
            raise FramingError(f"Content-Length is {value[:40]!r}", position=position)
        return fields._replace(length=int(value))
    if name == b"content-type" and (charset := _CHARSET.search(value)):
        return fields._replace(charset=charset[1].decode("latin-1").lower())
    return fields
