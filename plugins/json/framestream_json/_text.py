"""One JSON text, to Python and back, as RFC 8259 defines it: common to the framings."""

from __future__ import annotations

import json
import re
from array import array
from codecs import BOM_UTF8, utf_8_decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Final, NoReturn, TypeAlias

from framestream import EncodeError, Framer, NeedMore, ReadCondition, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan

MOST_DEPTH: Final = 500
"""Python's parser recurses on nested values, and stops at 1000 of everything that is on the stack."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259, section 6)")


_decoder: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
parse: Final = _decoder.raw_decode
"""Return the value that begins at an index of a str, and where it ends; ValueError without one."""

Texts: TypeAlias = Callable[[str], Iterator[tuple[Any, int, int, int]]]
"""Cuts a str into values, each with where its text begins and stops, and where the next frame begins.

It ends, or raises ValueError or IndexError, before an incomplete or wrong text.
"""

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_NO_TEXT: Final = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*")
_SPACE_IN_TEXT: Final = re.compile(r"[ \t\r\n]*")
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")  # one level down, or as a signed number up
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def after_space(data: bytes | bytearray, start: int) -> int:
    """Return where insignificant white space (RFC 8259, section 2) that begins here ends."""
    return _SPACE.match(data, start).end()  # type: ignore[union-attr]  # it matches nothing, too


def before_text(window: Window) -> ValueSpan | NeedMore | None:
    """Answer with bytes of no text: white space and byte order marks; None where a text begins.

    RFC 8259, section 8.1, lets a parser ignore the mark. Joined files have it between texts, too.
    """
    data, start = window.data, window.start
    begin = _NO_TEXT.match(data, start).end()  # type: ignore[union-attr]  # it matches nothing, too
    if begin > start:
        return start, start, begin, PADDING
    seen = len(data) - start
    if 0 < seen < len(BOM_UTF8) and data.endswith(BOM_UTF8[:seen]) and not window.eof:
        return NeedMore(seen + 1)
    return None


def skip_space(text: str, start: int) -> int:
    """Do the same in decoded text."""
    return _SPACE_IN_TEXT.match(text, start).end()  # type: ignore[union-attr]  # it matches nothing, too


def size_of(text: str, stop: int) -> int:
    """Return how many bytes the first `stop` characters take."""
    return stop if text.isascii() else len(text[:stop].encode())


@dataclass(frozen=True)
class JsonReader(ReadCondition[Any]):
    """A framing whose payload is a JSON text in UTF-8, read only."""

    max_depth: Annotated[int, "Arrays and objects that may be open at once, at most 500."] = 250
    max_size: Annotated[int | None, "The longest text. Bytes."] = None

    def __post_init__(self) -> None:
        if type(self.max_depth) is not int or not 1 <= self.max_depth <= MOST_DEPTH:
            raise ValueError(f"max_depth is {self.max_depth!r}; it must be from 1 to {MOST_DEPTH}")

    def decode(self, payload: bytes) -> Any:
        """Return the value. ValueError for text that is not JSON in UTF-8, or nested too deep."""
        if self.is_too_deep(payload):
            raise ValueError(f"nested more than {self.max_depth} deep")
        text = payload.decode()
        try:
            value, stop = parse(text, 0 if text[:1] > " " else skip_space(text, 0))
        except RecursionError as error:
            raise ValueError("nested too deep for this thread's stack") from error
        if stop != len(text) and (stop := skip_space(text, stop)) != len(text):
            raise json.JSONDecodeError("Extra data", text, stop)
        return value

    def split_texts(self, window: Window, texts: Texts) -> tuple[list[Any], int]:
        """Do as `split`, parsing the texts of a block that is decoded at once."""
        try:
            text, _ = utf_8_decode(window.data[window.start :])
        except UnicodeDecodeError:
            return super().split(window)
        values: list[Any] = []
        append, harmless, end = values.append, 2 * self.max_depth, 0
        try:
            for value, begin, stop, after in texts(text):
                if stop - begin > harmless and self.is_too_deep(text[begin:stop].encode()):
                    break
                append(value)
                end = after
        except (ValueError, IndexError, RecursionError):
            pass  # no complete text is left, or `find` and `decode` report what is wrong with it
        return values, window.start + size_of(text, end)

    def is_too_deep(self, text: bytes | bytearray) -> bool:
        """Tell whether a text is nested too deep."""
        if len(text) < 2 * self.max_depth or text.count(b"[") + text.count(b"{") <= self.max_depth:
            return False
        steps = array("b", _STRINGS.sub(b"", text).translate(_STEPS, _NO_BRACKETS))
        return max(accumulate(steps), default=0) > self.max_depth


@dataclass(frozen=True)
class JsonFramer(JsonReader, Framer[Any]):
    """A framing whose payload is a JSON text in UTF-8."""

    def write(self, value: Any) -> bytes:
        """Return the text for a value. Raise EncodeError if there is none, or it exceeds a limit."""
        try:
            text = _encoder.encode(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"no JSON for it: {error}") from error
        if self.is_too_deep(text):
            raise EncodeError(f"value nested more than {self.max_depth} deep")
        if self.max_size is not None and len(text) > self.max_size:
            raise EncodeError(f"text of {counted(len(text), 'byte')} exceeds the limit {self.max_size}")
        return text
