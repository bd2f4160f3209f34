"""JsonLines: one JSON text per line."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from framestream import NeedMore, Span, Window
from framestream.framer import PADDING, ValueSpan
from framestream.framers import Delimiter
from framestream_json._text import JsonFramer, parse, skip_space

_NO_TEXT: Final = re.compile(rb"(?:[ \t\r]|\xef\xbb\xbf)*")
_NO_TEXTS: Final = re.compile(rb"(?:(?:[ \t\r]|\xef\xbb\xbf)*+\n)++")  # all at once: one by one, each costs as a frame
_IN_TEXT: Final = "in a text"
_END: Final = Delimiter(b"\n")


@dataclass(frozen=True)
class JsonLines(JsonFramer):
    r"""Cut lines of JSON (https://jsonlines.org; NDJSON, https://github.com/ndjson/ndjson-spec).

    ::

        INPUT     {"a": 1}\n  [1, 2]\r\n  \n  "text"\n
        DECODED   {"a": 1}    [1, 2]          "text"

    A line ends with LF; a CR before it is white space. White space may surround a text, and a byte order
    mark may precede one; lines with nothing else in them belong to no frame (NDJSON 3.2 lets a
    parser ignore them). The last line may lack its LF, as jsonlines.org says ("Line Terminator"); with
    ``last=no`` that is an `IncompleteFrame`. Every LF ends a line, so reading may begin after any of them.

    A line that is not JSON in UTF-8, is nested too deep or holds NaN or Infinity (RFC 8259, section 6) is a
    `PayloadError`: reading continues with the next line. Only a line above the limit breaks the
    stream, and that can be discarded. Lines are written without white space, in UTF-8.
    """

    name = "json-lines"
    overhead = 2
    synchronises = "exact"
    lookbehind = 1
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'{"a": 1}\n[1, 2]\r\n\n"text"\n': [{"a": 1}, [1, 2], "text"],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"[1,]\n": "", b"1 2\n": "Extra data"}
    peers = ("jq 1.6", "mpv 0.35.1", "qemu 7.2.22")

    last: Annotated[bool, "At the end of the stream, accept a last line without a newline."] = True

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the LF; lines without a text are padding."""
        data, start, position = window.data, window.start, window.resume
        size = len(data)
        if window.memo is None:
            if lines := _NO_TEXTS.match(data, position):
                return start, start, lines.end(), PADDING
            # A frame is the whole line, so that it begins where a line does.
            position = _NO_TEXT.match(data, position).end()  # type: ignore[union-attr]  # it matches nothing, too
            if window.eof and start < position == size:
                return start, start, size, PADDING
            if not window.eof and BOM_UTF8.startswith(data[position : position + 3]):
                return NeedMore(resume=position)  # no bytes, or the beginning of a mark
        end = data.find(b"\n", position)
        if end >= 0:
            return start, end, end + 1
        if window.eof and self.last and (size > start or window.taken):
            return start, size, size
        return NeedMore(resume=size, settled=size, memo=_IN_TEXT)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place after the first LF."""
        return _END.find_start(window)

    def decode(self, payload: bytes) -> Any:
        """Return the value. ValueError for text that is not JSON in UTF-8, or nested too deep."""
        begin = _NO_TEXT.match(payload).end()  # type: ignore[union-attr]  # it matches nothing, too
        return super().decode(payload[begin:] if begin else payload)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse the lines of a block that is decoded at once."""
        return self.split_texts(window, _texts)

    def encode(self, frame: Any) -> bytes:
        """Return the text and LF. Raise EncodeError if the value has no JSON text, or it exceeds a limit."""
        return self.write(frame) + b"\n"


def _texts(text: str) -> Iterator[tuple[Any, int, int, int]]:
    index = 0
    while True:
        if text[index] <= " ":
            index = skip_space(text, index)
        line_end = text.index("\n", index)
        value, stop = parse(text, index)
        if stop != line_end and (stop > line_end or text[stop:line_end].strip(" \t\r")):
            return
        yield value, index, stop, line_end + 1
        index = line_end + 1
