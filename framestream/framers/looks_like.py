"""Guess what the first bytes of a refused frame are: most often, another protocol on this port."""

from __future__ import annotations

import re

_BINARY = (
    (re.compile(rb"\x16\x03[\x00-\x04]"), "a TLS handshake"),
    (re.compile(rb"\x15\x03[\x00-\x04]"), "a TLS alert"),
    (re.compile(rb"\r\n\r\n\0\r\nQUIT\n"), "a PROXY protocol header"),
    (re.compile(rb"\x1f\x8b\x08"), "gzip data"),
)
_TEXT = (
    (re.compile(rb"PRI \* HTTP/2"), "an HTTP/2 connection"),
    (re.compile(rb"(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) "), "an HTTP request"),
    (re.compile(rb"HTTP/\d"), "an HTTP response"),
    (re.compile(rb"SSH-\d"), "an SSH greeting"),
    (re.compile(rb"PROXY "), "a PROXY protocol header"),
    (re.compile(rb"\s*[{[]\s*([\"{[\d\]}-]|true|false|null)"), "JSON"),
    (re.compile(rb"\s*<[?!A-Za-z]"), "XML or HTML"),
    (re.compile(rb"[\t\r\n -~]{8}"), "text"),
)
_LONGEST = 64


def looks_like(data: bytes | bytearray, start: int, *, expecting_text: bool = False) -> str:
    """Return ``looks like an HTTP request`` or the like; "" if the bytes from `start` on say nothing.

    Where text is expected, only what is no text is worth a remark.
    """
    beginning = bytes(data[start : start + _LONGEST])
    for pattern, what in _BINARY if expecting_text else _BINARY + _TEXT:
        if pattern.match(beginning):
            return f"looks like {what}"
    return ""
