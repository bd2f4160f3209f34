"""The one computation in the opening handshake (RFC 6455 4.2.2)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers this Sec-WebSocket-Key."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
