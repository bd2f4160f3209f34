"""JsonConcat: JSON texts one after another."""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, ClassVar, Final

from framestream import FramingError, NeedMore, Span, Window
from framestream.framer import ValueSpan, first_match
from framestream_json._scan import START, At, scan
from framestream_json._text import JsonFramer, before_text, parse, size_of, skip_space

# A text that ends within the first of these sizes is parsed where it is found; the scan is for the others.
_LOOKS: Final = (512, 8192, 131072)
_LONGEST_TOKEN: Final = 16
_SELF_DELIMITED: Final = (b"[", b"{", b'"')
_LINE_OF_TEXT: Final = re.compile(rb"(?<=\n)[^ \t\r\n\]},:\x1e]")
_BEHIND_SCALAR: Final = ' \t\r\n"[]{},:\x1e'


@dataclass(frozen=True)
class JsonConcat(JsonFramer):
    r"""Cut JSON texts that follow one another, with or without white space between them.

    ::

        INPUT     {"a": 1}  [1, 2]\n  3  "text"
        DECODED   {"a": 1}  [1, 2]    3  "text"

    The format that `jq` reads and writes. RFC 8259, section 2: arrays, objects and strings end by themselves;
    a number or a name ends at white space, at the beginning of another text, or with the stream. White space
    and byte order marks between texts belong to no frame. No byte is scanned twice: progress is the number of
    open brackets.

    A text that is not JSON in UTF-8, is nested too deep or holds NaN or Infinity (section 6) is a
    `PayloadError`, and reading continues after it. If no text can begin (``]``, ``}``, ``,``, ``:``), and
    at a byte 0x1e anywhere, the stream is broken (`FramingError`). Texts are written with an LF after them.
    """

    name = "json-concat"
    overhead = 2
    # A text that spans lines is nearly always indented, and no string contains LF.
    synchronises = "likely"
    lookbehind = 1
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'{"a": 1}[1, 2]\n3 "text"': [{"a": 1}, [1, 2], 3, "text"],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"[1}": ""}
    peers = ("jq 1.6",)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the end of the text, with its value if it is short and complete."""
        data, start, progress = window.data, window.start, window.memo
        if progress is None:
            if (nothing := before_text(window)) is not None:
                return nothing
            if (found := self._look(data, start)) is not None:
                return found
            progress = START
        position, progress = scan(data, window.resume, progress)
        at = progress[0]
        if at is At.END or (at is At.SCALAR and (window.eof or position < len(data))):
            return start, position, position
        if at is At.NO_TEXT:
            byte = bytes(data[position : position + 1])
            raise FramingError(f"{byte!r} where no JSON text can have it", position=position)
        return NeedMore(resume=position, memo=progress, settled=position)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place of the first byte that can begin a text and that begins a line."""
        return first_match(_LINE_OF_TEXT, window, 1)

    def _look(self, data: bytes | bytearray, start: int) -> ValueSpan | None:
        if data[start : start + 1] not in _SELF_DELIMITED:
            return None
        for size in _LOOKS:
            try:
                text, _ = utf_8_decode(data[start : start + size])  # a character cut off is no error here
                value, stop = parse(text, 0)
            except JSONDecodeError as error:
                # A larger look helps if the text was cut off: then the error is near the end, or a string
                # has no end. Otherwise a bad text would cost as much as the largest look.
                cut_off = error.pos > len(text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated")
                if len(data) - start <= size or not cut_off:
                    return None
                continue
            except (ValueError, RecursionError):
                return None
            end = start + size_of(text, stop)
            return None if self.is_too_deep(data[start:end]) else (start, end, end, value)
        return None

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse the texts of a block that is decoded at once."""
        return self.split_texts(window, _texts)

    def encode(self, frame: Any) -> bytes:
        """Return the text and LF. Raise EncodeError if the value has no JSON text, or it exceeds a limit."""
        return self.write(frame) + b"\n"


def _texts(text: str) -> Iterator[tuple[Any, int, int, int]]:
    index = 0
    while True:
        if text[index] <= " ":
            index = skip_space(text, index)
        value, stop = parse(text, index)
        if text[index] not in '[{"' and text[stop] not in _BEHIND_SCALAR:
            return
        yield value, index, stop, stop
        index = stop
