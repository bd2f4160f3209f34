"""Small conditions that the tests of the core use, so that they depend on no built-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framestream import FramingError, NeedMore, ReadCondition, Span, Window
from framestream.framer import PADDING, Decode, ValueSpan


@dataclass(frozen=True)
class Lines(ReadCondition[bytes]):
    """To a newline; settles everything, has a batch path."""

    max_size: int | None = None

    def find(self, window: Window) -> Span | NeedMore:
        end = window.data.find(b"\n", window.resume)
        if end < 0:
            return NeedMore(resume=len(window.data), settled=len(window.data))
        return window.start, end, end + 1

    def split(self, window: Window) -> tuple[list[bytes], int]:
        lines = bytes(window.data[window.start :]).split(b"\n")
        return lines[:-1], len(window.data) - len(lines[-1])


@dataclass(frozen=True)
class Plain(ReadCondition[bytes]):
    """To a newline, in the four lines a newcomer writes: nothing settled, no batch path."""

    overhead = 1

    def find(self, window: Window) -> Span | NeedMore:
        end = window.data.find(b"\n", window.resume)
        return NeedMore(resume=len(window.data)) if end < 0 else (window.start, end, end + 1)


@dataclass(frozen=True)
class Prefixed(ReadCondition[bytes]):
    """Four bytes of length, the payload, and a number of bytes of padding."""

    padding: int = 0
    max_size: int | None = None

    def find(self, window: Window) -> Span | NeedMore:
        start = window.start
        if len(window.data) - start < 4:
            return NeedMore(4)
        stop = start + 4 + int.from_bytes(window.data[start : start + 4], "big")
        return start + 4, stop, stop + self.padding


@dataclass(frozen=True)
class Bracketed(ReadCondition[str]):
    """``<text>``: a header byte, an end that must be searched, a text that may be no ASCII."""

    def find(self, window: Window) -> Span | NeedMore:
        start = window.start if window.taken else window.start + 1
        if not window.taken and window.data[window.start : start] != b"<":
            raise FramingError("no '<' where a frame begins")
        end = window.data.find(b">", max(window.resume, start))
        if end < 0:
            return NeedMore(resume=len(window.data), settled=len(window.data), payload_start=start)
        return start, end, end + 1

    def decode(self, payload: bytes) -> str:
        return payload.decode("ascii")


@dataclass(frozen=True)
class Number(ReadCondition[int]):
    """Digits to a semicolon, whose value is known when the end is."""

    def find(self, window: Window) -> ValueSpan | NeedMore:
        end = window.data.find(b";", window.resume)
        if end < 0:
            return NeedMore(resume=len(window.data))
        return window.start, end, end + 1, int(window.data[window.start : end])


@dataclass(frozen=True)
class Upper(ReadCondition[str]):
    """Like `Prefixed`, but says itself how to decode."""

    def find(self, window: Window) -> ValueSpan | NeedMore:
        found = Prefixed().find(window)
        return found if isinstance(found, NeedMore) else (*found, Decode(lambda p: p.decode("ascii").upper()))


@dataclass(frozen=True)
class Rest(ReadCondition[bytes]):
    """Everything to the end of the stream."""

    can_be_empty = True

    def find(self, window: Window) -> Span | NeedMore:
        end = len(window.data)
        return (window.start, end, end) if window.eof else NeedMore(resume=end, settled=end)


@dataclass(frozen=True)
class Spaced(ReadCondition[bytes]):
    """Lines, with blanks before them that belong to no frame."""

    def find(self, window: Window) -> Any:
        data, start = window.data, window.start
        first = start
        while first < len(data) and data[first] == 32:
            first += 1
        if first > start:
            return start, start, first, PADDING
        return Plain().find(window)

    def explain(self, window: Window) -> str:
        return "looks like poetry"


class Silent(Exception):
    """Has no words."""

    def __str__(self) -> str:
        raise RuntimeError


def prefixed(*payloads: bytes, padding: bytes = b"") -> bytes:
    return b"".join(len(p).to_bytes(4, "big") + p + padding for p in payloads)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
