"""The facts of a head about its body, and their contradictions (RFC 9112 3.2, 6.1, 6.3; RFC 9110 8.6)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from framestream_http._heads import Fields

_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_CODING: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[\t ]*;[\t !-~]+)?")
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]*")
_CHUNKED: Final = b"chunked"


class Facts(NamedTuple):
    """The facts that decide where a message ends, collected field by field.

    Attributes:
        request: whether the message is a request.
        minor: the version's second digit.
        length: the value of Content-Length, if there is one.
        coding: the last one that Transfer-Encoding lists, in lower case; empty without that field.
        hosts: the number of Host fields.
    """

    request: bool
    minor: int
    length: int | None = None
    coding: bytes = b""
    hosts: int = 0

    @property
    def chunked(self) -> bool:
        """True if the body ends with its last chunk."""
        return self.coding == _CHUNKED

    def noted(self, name: bytes, value: bytes) -> Facts:
        """Return the facts with one more field. Raise ValueError if it is malformed or contradicts them."""
        # Every head passes here: `_replace` would take three times as long as the constructor.
        name = name.lower()
        if name == b"content-length":
            return Facts(self.request, self.minor, self._length(value), self.coding, self.hosts)
        if name == b"transfer-encoding":
            return Facts(self.request, self.minor, self.length, self._coding(value), self.hosts)
        if name == b"host":
            return self._host(value)
        return self

    def _length(self, value: bytes) -> int:
        # RFC 9110 8.6: repeating the same number, in a list or another line, is allowed.
        known = self.length
        for each in value.split(b","):
            digits = each.strip(b" \t")
            if not _LENGTH.fullmatch(digits):
                raise ValueError(f"Content-Length {value[:32]!r} is not a number of at most 19 digits")
            if known is not None and int(digits) != known:
                raise ValueError(f"Content-Length is {known} and {int(digits)}")
            known = int(digits)
        assert known is not None  # split() gives one part at least
        return known

    def _coding(self, value: bytes) -> bytes:
        before = self.coding
        for each in value.split(b","):
            coding = each.strip(b" \t").lower()
            if not _CODING.fullmatch(coding):
                raise ValueError(f"Transfer-Encoding {value[:32]!r} is not a list of codings")
            if coding != _CHUNKED and coding.split(b";")[0].strip(b" \t") == _CHUNKED:
                raise ValueError("Transfer-Encoding chunked with a parameter")
            if before == _CHUNKED:
                raise ValueError("Transfer-Encoding with a coding after chunked")
            before = coding
        return before

    def _host(self, value: bytes) -> Facts:
        if self.request and self.hosts:
            raise ValueError("request with two Host fields")
        if self.request and not _HOST.fullmatch(value):
            raise ValueError(f"Host {value[:32]!r} is malformed")
        return Facts(self.request, self.minor, self.length, self.coding, 1)

    def check(self) -> None:
        """Raise ValueError if another reader may see the message end elsewhere."""
        if self.coding and self.length is not None:
            raise ValueError("both Transfer-Encoding and Content-Length")
        if self.coding and not self.minor:
            raise ValueError("Transfer-Encoding in HTTP/1.0")
        if self.request and self.coding and not self.chunked:
            raise ValueError("request with a Transfer-Encoding that does not end with chunked")
        if self.request and self.minor and not self.hosts:
            raise ValueError("HTTP/1.1 request without Host")


def facts_of(fields: Fields, *, request: bool, minor: int) -> Facts:
    """Return the facts of these fields. Raise ValueError if they are forbidden."""
    facts = Facts(request, minor)
    for name, value in fields:
        # Most names are of other lengths: 4, 14 and 17 are those of the fields that count.
        if len(name) in (4, 14, 17):
            facts = facts.noted(name, value)
    facts.check()
    return facts
