"""Heads and their fields, and the grammar of their lines (RFC 9112 2 to 5; RFC 9110 5.1, 5.5, 5.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names as written, and values without the white space around them."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT: Final = rb"[\t \x21-\x7e\x80-\xff]*"

REQUEST_LINE: Final = re.compile(rb"(%s) ([\x21-\x7e]+) HTTP/1\.([0-9])" % _TOKEN)
STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: (%s))?" % _TEXT)
FIELD_LINE: Final = re.compile(rb"(%s):(%s)" % (_TOKEN, _TEXT))

_FIELDS: Final = rb"((?:%s:%s\r\n)*)\r\n" % (_TOKEN, _TEXT)
REQUEST_HEAD: Final = re.compile(REQUEST_LINE.pattern + rb"\r\n" + _FIELDS)
RESPONSE_HEAD: Final = re.compile(STATUS_LINE.pattern + rb"\r\n" + _FIELDS)
FIELD_SECTION: Final = re.compile(_FIELDS)
_EACH_FIELD: Final = re.compile(rb"([^:\n]+):([^\r\n]*)\r?\n")

_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:.")
_AUTHORITY: Final = re.compile(rb"[^/?#@:]+:[0-9]+|\[[^/?#@\]]+\]:[0-9]+")


class RequestHead(NamedTuple):
    """The request line and the fields of a request.

    Attributes:
        method: such as ``b"GET"``.
        target: in any of the four forms of RFC 9112 3.2.
        fields: in their order.
        minor: the version's second digit; the first one is 1.
    """

    method: bytes
    target: bytes
    fields: Fields = ()
    minor: int = 1

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every field of this name, in upper or lower case."""
        return _values(self.fields, name)


class ResponseHead(NamedTuple):
    """The status line and the fields of a response.

    Attributes:
        status: from 100 to 999.
        reason: the reason phrase, perhaps empty.
        fields: in their order.
        minor: the version's second digit; the first one is 1.
    """

    status: int
    reason: bytes = b""
    fields: Fields = ()
    minor: int = 1

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every field of this name, in upper or lower case."""
        return _values(self.fields, name)


def _values(fields: Fields, name: bytes) -> list[bytes]:
    wanted = name.lower()
    return [value for each, value in fields if each.lower() == wanted]


def parse_fields(section: bytes) -> Fields:
    """Return the fields of checked lines."""
    return tuple([(name, value.strip(b" \t")) for name, value in _EACH_FIELD.findall(section)])


def write_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the lines of fields; reading them back shows whether they are right."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def check_target(method: bytes, target: bytes) -> None:
    """Raise ValueError for a target in a form that this method does not allow (RFC 9112 3.2)."""
    if method == b"CONNECT":
        right = _AUTHORITY.fullmatch(target) is not None
    elif target == b"*":
        right = method == b"OPTIONS"
    else:
        right = target.startswith(b"/") or _ABSOLUTE.match(target) is not None
    if not right:
        raise ValueError(f"{target[:32]!r} is not a target of {method.decode()}")
