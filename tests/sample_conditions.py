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


@dataclass(frozen=True)
class Drawn(ReadCondition[bytes]):
    """One of many framings that keep the contract. Spaces and ``#...$`` before a frame are nobody's.

    Attributes:
        kind: ``delimited`` ends at a semicolon, ``declared`` begins with a digit, its size, ``nested`` ends
            with the parenthesis that closes the first.
        trailer: must stand after the payload; the decoder checks it.
        value: who decodes: the condition, the span, or `find` itself.
        final: the stream may end after a frame that the span decodes.
        error: what decoding raises for an ``x``.
        resumes: the search goes on where it stopped, with its state in the memo.
        settles: payload is passed on before the end is known.
        refuses: an exclamation mark in the payload is an error.
        greedy: spaces are one span of padding, else one each.
    """

    kind: str = "delimited"
    opening: bytes = b""
    trailer: bytes = b""
    value: str = "condition"
    final: bool = True
    error: Any = KeyError
    resumes: bool = True
    settles: bool = False
    refuses: bool = True
    greedy: bool = False
    overhead: int = 0
    max_size: int | None = None

    def decode(self, payload: bytes) -> bytes:
        if b"x" in payload:
            raise self.error("x")
        return payload.upper()

    def write(self, payload: bytes) -> bytes:
        if self.kind == "nested":
            return b"(%b)%b" % (payload, self.trailer)
        size = b"%d" % len(payload) if self.kind == "declared" else b""
        return self.opening + size + payload + b";" * (not size) + self.trailer

    def find(self, window: Window) -> Any:
        data, start = window.data, window.start
        assert start <= window.resume <= len(data)
        at, memo = (window.resume, window.memo) if self.resumes else (start, None)
        first = start
        if memo is None and not window.taken:
            byte = bytes(data[start : start + 1])
            if byte == b" ":
                end = start + 1
                while self.greedy and data[end : end + 1] == b" ":
                    end += 1
                return start, end, end, PADDING
            if byte == b"#":
                end = data.find(b"$", start)
                return NeedMore() if end < 0 else (start, start, end + 1, PADDING)
            if self.opening:
                if not byte:
                    return NeedMore(1)
                if byte != self.opening:
                    raise FramingError("no opening")
                first += 1
        elif not window.taken:
            first += len(self.opening)
        return getattr(self, self.kind)(window, first, max(at, first), memo or 0)

    def delimited(self, window: Window, first: int, at: int, memo: int) -> Any:
        data = window.data
        end = data.find(b";", at)
        self.refuse(data, at, end)
        return self.more(window, first, 1) if end < 0 else self.span(window, first, end, end + 1, b";")

    def nested(self, window: Window, first: int, at: int, depth: int) -> Any:
        data = window.data
        for end in range(at, len(data)):
            depth += (data[end] == ord("(")) - (data[end] == ord(")"))
            if depth <= 0:
                self.refuse(data, at, end)
                return self.span(window, first, end, end + 1, bytes(data[end : end + 1]))
        self.refuse(data, at, -1)
        return self.more(window, first, depth)

    def declared(self, window: Window, first: int, at: int, memo: int) -> Any:
        digit = bytes(window.data[first : first + 1])
        if not digit:
            return NeedMore(len(self.opening) + 1)
        if not digit.isdigit():
            raise FramingError("no digit", position=first)
        return self.span(window, first + 1, first + 1 + int(digit), first + 1 + int(digit), b"")

    def refuse(self, data: bytes | bytearray, at: int, end: int) -> None:
        bad = data.find(b"!", at, len(data) if end < 0 else end)
        if self.refuses and bad >= 0:
            raise FramingError("refused", position=bad)

    def more(self, window: Window, first: int, memo: int) -> NeedMore:
        size = len(window.data)
        if size < first + (size == window.start):
            return NeedMore()
        if not self.resumes:
            return NeedMore()
        settled = size if self.settles and size > first else None
        return NeedMore(resume=size, memo=memo, settled=settled, payload_start=first)

    def decoding(self, trailer: bytes) -> Decode:
        return Decode(lambda payload: self.decode(payload)[::-1], trailer=trailer, final=self.final)

    def span(self, window: Window, first: int, stop: int, end: int, delimiter: bytes) -> Any:
        if self.trailer:
            return first, stop, end + len(self.trailer), self.decoding(delimiter + self.trailer)
        if self.value == "span":
            return first, stop, end, self.decoding(b"")
        if self.value == "find" and not window.taken and end <= len(window.data):
            return first, stop, end, (b"found", bytes(window.data[first:stop]))
        if self.value == "find" and not window.taken and self.kind == "declared":
            return NeedMore(end - window.start)
        return first, stop, end


class Silent(Exception):
    """Has no words."""

    def __str__(self) -> str:
        raise RuntimeError


def prefixed(*payloads: bytes, padding: bytes = b"") -> bytes:
    return b"".join(len(p).to_bytes(4, "big") + p + padding for p in payloads)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
