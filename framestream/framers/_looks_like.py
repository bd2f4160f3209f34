"""Guess what the first bytes of a refused frame are: most often, another protocol on this port."""

from __future__ import annotations

import re

_BEGINNINGS = (
    (re.compile(rb"PRI \* HTTP/2"), "an HTTP/2 connection"),
    (re.compile(rb"(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) "), "an HTTP request"),
    (re.compile(rb"HTTP/\d"), "an HTTP response"),
    (re.compile(rb"SSH-\d"), "an SSH greeting"),
    (re.compile(rb"\x16\x03[\x00-\x04]"), "a TLS handshake"),
    (re.compile(rb"\x15\x03[\x00-\x04]"), "a TLS alert"),
    (re.compile(rb"PROXY |\r\n\r\n\0\r\nQUIT\n"), "a PROXY protocol header"),
    (re.compile(rb"\x1f\x8b\x08"), "gzip data"),
    (re.compile(rb"\s*[{[]\s*([\"{[\d\]}-]|true|false|null)"), "JSON"),
    (re.compile(rb"\s*<[?!A-Za-z]"), "XML or HTML"),
    (re.compile(rb"[\t\r\n -~]{8}"), "text"),
)


def looks_like(data: bytes | bytearray) -> str:
    """Return ``looks like an HTTP request`` or the like; "" if the bytes say nothing."""
    for beginning, what in _BEGINNINGS:
        if beginning.match(data):
            return f"looks like {what}"
    return ""
