"""Decoding payloads only if all of them is there, for framings that cannot make anything of less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from framestream.errors import PayloadError
from framestream.framer import Decode, Window


def decode_whole(decode: Callable[[bytes], Any], window: Window, span: tuple[Any, ...]) -> Decode:
    """Return the fourth item for this span: `decode`, unless the payload was truncated at the limit.

    What a truncated frame is must not depend on how much was known about it when it grew too large.
    """
    # A frame of which parts are gone is being skipped; what is kept of it is never all.
    size = -1 if window.taken else span[1] - span[0]
    trailer = span[3].trailer if len(span) == 4 and isinstance(span[3], Decode) else b""
    return Decode(_Whole(decode, size), trailer=trailer)


def refuse_truncated(payload: bytes) -> NoReturn:
    """Refuse a payload about which no more is known."""
    raise PayloadError(f"nothing can be made of the first {len(payload)} bytes alone", payload=payload)


class _Whole:
    __slots__ = ("decode", "size")

    def __init__(self, decode: Callable[[bytes], Any], size: int) -> None:
        self.decode = decode
        self.size = size

    def __call__(self, payload: bytes) -> Any:
        return self.decode(payload) if len(payload) == self.size else refuse_truncated(payload)
