"""JsonLines: one JSON text per line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from framestream import NeedMore, Span, Window
from framestream.framer import ValueSpan
from framestream_json._text import JsonFramer, before_text, parse, skip_space


@dataclass(frozen=True)
class JsonLines(JsonFramer):
    r"""Cut lines of JSON (https://jsonlines.org; NDJSON, https://github.com/ndjson/ndjson-spec).

    ::

        INPUT     {"a": 1}\n  [1, 2]\r\n  \n  "text"\n
        DECODED   {"a": 1}    [1, 2]          "text"

    A line ends with LF; a CR in front of it is white space, and white space around a text belongs to no
    frame, blank lines included (NDJSON 3.2 lets a parser ignore them), nor does a byte order mark in front
    of one. The last line may lack its LF, as jsonlines.org says ("Line Terminator"); with ``last=no`` that
    is an `IncompleteFrame`.

    A line that is no JSON in UTF-8, is nested too deep or holds NaN or Infinity (RFC 8259, section 6) is a
    `PayloadError`: reading goes on with the next line. Nothing breaks the stream but a line above the
    limit, and that can be discarded. Lines are written without white space, in UTF-8.
    """

    name = "json-lines"
    overhead = 2
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'{"a": 1}\n[1, 2]\r\n\n"text"\n': [{"a": 1}, [1, 2], "text"],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"[1,]\n": "", b"1 2\n": "Extra data"}
    peers = ("jq 1.6", "mpv 0.35.1", "qemu 7.2.22")

    last: Annotated[bool, "At the end of the stream, take what has no newline as a last line."] = True

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the LF; what is in front of a text is padding."""
        data, start = window.data, window.start
        if not window.taken and window.resume == start and (nothing := before_text(window)) is not None:
            return nothing
        end = data.find(b"\n", window.resume)
        if end >= 0:
            return start, end, end + 1
        end = len(data)
        if window.eof and self.last and (end > start or window.taken):
            return start, end, end
        return NeedMore(resume=end, settled=end)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse line after line in a block that is decoded at once."""
        return self.split_texts(window, _texts)

    def encode(self, frame: Any) -> bytes:
        """Return the text and LF. Raise EncodeError if there is no text for it, or it exceeds a limit."""
        return self.write(frame) + b"\n"


def _texts(text: str) -> Iterator[tuple[Any, int, int, int]]:
    index = 0
    while True:
        line_end = text.index("\n", index)
        value, stop = parse(text, index)
        if stop != line_end and (stop > line_end or text[stop:line_end].strip(" \t\r")):
            return
        yield value, index, stop, line_end + 1
        index = line_end + 1
        if text[index] <= " ":
            index = skip_space(text, index)
