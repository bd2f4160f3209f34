"""How bytes and frames look: hex dumps, JSON, text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else 0x2E for byte in range(256))
# json.dumps makes a new encoder for every call that asks for anything but the defaults.
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LAYOUT = frozenset("\t\r\n")


def hexdump(data: bytes, offset: int = 0) -> Iterator[str]:
    """Yield lines of 16 bytes: where in the stream, the bytes in hexadecimal, the bytes as text."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        yield f"{offset + start:08x}  {left:<23}  {right:<23}  |{row.translate(_PRINTABLE).decode('ascii')}|"


def readable(data: bytes) -> str | None:
    """Return the bytes as text if they are UTF-8 that a terminal can show, else None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or all(c.isprintable() or c in _LAYOUT for c in text) else None


def to_json(value: Any) -> str:
    """Return one line of JSON. Bytes become text if they are readable, else ``{"hex": "00ff"}``."""
    try:
        return _ENCODE(_plain(value))
    except RecursionError:
        return _ENCODE({"error": "nested too deeply to be shown"})


def to_text(value: Any) -> str:
    """Return a frame as one piece of text: text as it is, bytes as UTF-8, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return to_json(value)


def _plain(value: Any) -> Any:
    """Return the value as dictionaries, lists, text, numbers, booleans and None."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        text = readable(bytes(value))
        return {"hex": bytes(value).hex()} if text is None else text
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, re.Match):
        return {"match": _plain(value[0]), "groups": _plain(value.groupdict() or value.groups())}
    return str(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return readable(key) or key.hex()
    return to_json(key)
