"""JsonSeq: JSON text sequences, RFC 7464."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Final, NoReturn

from framestream import NeedMore, Span, Window
from framestream.framer import PADDING, Decode, ValueSpan
from framestream_json._scan import RS, START, At, Progress, scan
from framestream_json._text import JsonFramer, after_space, parse, skip_space

# An RS before another one begins nothing (section 2.1), nor does white space between texts.
_BETWEEN: Final = re.compile(rb"(?:[ \t\r\n]|\x1e(?=\x1e))+")
_SPACE: Final = b" \t\r\n"
_UNFINISHED: Final = (At.START, At.INSIDE, At.STRING)


class _Resync(Enum):
    """What the bytes up to the next RS are."""

    OUTSIDE = auto()
    BROKEN = auto()


@dataclass(frozen=True)
class JsonSeq(JsonFramer):
    r"""Cut JSON text sequences (RFC 7464, application/json-seq): RS, a text, LF.

    ::

        INPUT     \x1e{"a": 1}\n  \x1e[1, 2]\n  \x1e{"cut off\x1e3\n
        DECODED   {"a": 1}        [1, 2]        PayloadError      3

    After any error the next RS begins a new text (sections 2.1 and 2.3): a text that is not JSON in
    UTF-8, is cut off or is nested too deep is a `PayloadError`, and so are bytes outside of any text, as
    when reading begins in the middle; only a text above the limit breaks the stream, and that can be
    discarded. A number or a name with no white space after it may be cut off, and so is refused (section
    2.4). White space between texts, and an RS before another one, belong to no frame (section 2.1).

    A text is delivered as soon as the byte after it has arrived, which is the LF (section 2.2), without
    waiting for the next RS. Bytes between it and the next RS are reported separately.
    """

    name = "json-seq"
    overhead = 2
    # Every RS is a place, but bytes outside of any text, which are frames that cannot be decoded, have none.
    synchronises = "likely"
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'\x1e{"a": 1}\n\x1e[1, 2]\n\x1e3\n': [{"a": 1}, [1, 2], 3],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"1\n": "outside of any text", b"\x1e[1,]\n": ""}
    peers = ("jq 1.6",)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the text, without its RS and the byte after it."""
        data, start, memo = window.data, window.start, window.memo
        if memo is None:
            between = _BETWEEN.match(data, start)
            if between is not None:
                return start, start, between.end(), PADDING
            if data[start : start + 2] in (b"", b"\x1e"):
                return NeedMore()
            memo = START if data[start] == RS else _Resync.OUTSIDE
        first = start if window.taken or data[start] != RS else start + 1
        position = max(window.resume, first)
        if isinstance(memo, _Resync):
            return self._resync(window, first, position, memo)
        return self._text(window, first, position, memo)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place of the first RS."""
        place = window.data.find(RS, window.start)
        if place >= 0:
            return place
        return len(window.data) if window.eof else NeedMore(resume=len(window.data))

    def _text(self, window: Window, first: int, position: int, progress: Progress) -> Span | ValueSpan | NeedMore:
        data, size = window.data, len(window.data)
        if progress[0] is At.START:
            position = after_space(data, position)
        position, progress = scan(data, position, progress)
        at = progress[0]
        if at in _UNFINISHED or (position == size and not window.eof):
            return NeedMore(resume=position, memo=progress, settled=position, payload_start=first)
        following = data[position : position + 1]
        if following and following in _SPACE:
            return first, position, position + 1
        if following in (b"", b"\x1e"):
            return (first, position, position, _CUT_OFF) if at is At.SCALAR else (first, position, position)
        return self._resync(window, first, position, _Resync.BROKEN)

    def _resync(self, window: Window, first: int, position: int, memo: _Resync) -> Span | ValueSpan | NeedMore:
        end = window.data.find(RS, position)
        if end < 0:
            end = len(window.data)
            if not window.eof:
                return NeedMore(resume=end, memo=memo, settled=end, payload_start=first)
        return (first, end, end, _OUTSIDE) if memo is _Resync.OUTSIDE else (first, end, end)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse the texts of a block that is decoded at once."""
        return self.split_texts(window, _texts)

    def encode(self, frame: Any) -> bytes:
        """Return RS, the text and LF (section 2.2). Raise EncodeError if the value has no JSON text."""
        return b"\x1e%b\n" % self.write(frame)


def _next_record(text: str, index: int) -> int:
    """Return where the text after the next RS begins; ValueError if something else comes first."""
    if text[index] != "\x1e":
        index = skip_space(text, index)
    while text[index] == "\x1e":
        index += 1
        if text[index] not in " \t\r\n\x1e":
            return index
        if text[index] != "\x1e":
            return skip_space(text, index)
    raise ValueError("bytes outside of any text of the sequence")


def _refuse_outside(_: bytes) -> NoReturn:
    raise ValueError("bytes outside of any text of the sequence")


def _refuse_cut_off(_: bytes) -> NoReturn:
    raise ValueError("a number or name with no white space after it may be cut off")


_OUTSIDE: Final = Decode(_refuse_outside)
_CUT_OFF: Final = Decode(_refuse_cut_off)


def _texts(text: str) -> Iterator[tuple[Any, int, int, int]]:
    index = 0
    while True:
        begin = _next_record(text, index)
        value, stop = parse(text, begin)
        following = text[stop]
        if following not in " \t\r\n" and (following != "\x1e" or text[begin] not in '[{"'):
            return
        index = stop + (following != "\x1e")
        yield value, begin, stop, index
