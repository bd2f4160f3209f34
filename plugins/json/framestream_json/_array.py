"""JsonArray: the elements of one array that may have no end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

from framestream import FramingError, NeedMore, Span, Window
from framestream.framer import PADDING, ValueSpan
from framestream_json._scan import START, At, Progress, scan
from framestream_json._text import JsonReader, after_space, before_text, parse, skip_space

_OPENING, _COMMA, _CLOSING = b"[,]"
_AFTER: Final[Progress] = (At.END, 0)


@dataclass(frozen=True)
class JsonArray(JsonReader):
    r"""Cut the elements of one JSON array of any length.

    ::

        INPUT     [{"a": 1}, [2, 3] ,4]
        DECODED   {"a": 1}  [2, 3]  4

    An element is delivered as soon as the comma or bracket after it has arrived, so an array that
    breaks off is an `IncompleteFrame`, and a number is never cut in half. The limit holds for each element,
    with the white space around it; the array may have any number. No byte is scanned twice, and nothing is
    remembered between two elements: another array after the first one is read as well, and reading may begin
    at a comma.

    An element that is not JSON in UTF-8, is nested too deep or holds NaN or Infinity (RFC 8259, section 6) is
    a `PayloadError`, and reading continues with the next one. Anything but an array breaks the stream
    (`FramingError`), and so do a missing element and a missing comma.
    """

    name = "json-array"
    overhead = 2
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'[{"a": 1}, [2, 3] ,4]': [{"a": 1}, [2, 3], 4],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"[1 2]": "where"}
    peers = ("jq 1.6",)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span from the bracket or comma before an element to the one after it."""
        data, start, position = window.data, window.start, window.resume
        progress: Progress | None = window.memo
        if progress is None:
            if (nothing := before_text(window)) is not None:
                return nothing
            if start == len(data):
                return NeedMore()
            if data[start] not in (_OPENING, _COMMA):
                self._refuse(data, start)
            position, progress = start + 1, START
        first = start if window.taken else start + 1
        if progress == START:
            position = after_space(data, position)
            if position == len(data):
                return NeedMore(resume=position, memo=START)
            if data[position] == _CLOSING and data[start] == _OPENING:
                return start, start, position + 1, PADDING  # an empty array
        if progress != _AFTER:
            position, progress = scan(data, position, progress)
        at = progress[0]
        if at is At.END or (at is At.SCALAR and position < len(data)):
            position, progress = after_space(data, position), _AFTER
        if at is At.NO_TEXT:
            self._refuse(data, position)
        if progress != _AFTER or position == len(data):
            return NeedMore(resume=position, memo=progress, settled=position, payload_start=first)
        if data[position] not in (_COMMA, _CLOSING):
            self._refuse(data, position)
        return first, position, position + (data[position] == _CLOSING)

    def _refuse(self, data: bytes | bytearray, position: int) -> NoReturn:
        byte = bytes(data[position : position + 1])
        raise FramingError(f"{byte!r} where no array can have it", position=position)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse the elements of a block that is decoded at once."""
        return self.split_texts(window, _texts)


def _texts(text: str) -> Iterator[tuple[Any, int, int, int]]:
    index = 0
    while text[index] in "[,":
        begin = index + 1
        if text[begin] <= " ":
            begin = skip_space(text, begin)
        value, stop = parse(text, begin)
        index = stop if text[stop] > " " else skip_space(text, stop)
        following = text[index]
        if following not in ",]":
            return
        index += following == "]"
        yield value, begin, stop, index
