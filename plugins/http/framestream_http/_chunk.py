"""HttpChunk: the chunks of a body, one at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, FramingError, NeedMore, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of
from framestream_http._heads import Fields, parse_fields, write_fields
from framestream_http._lines import field_of, next_line, searched_to

MOST_LINE: Final = 4096
"""Bytes of a trailer, and of a chunk's first line with its extensions (RFC 9112 7.1.1 asks for a limit)."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSIONS: Final = rb"((?:[\t ]*;[\t ]*%s(?:[\t ]*=[\t ]*(?:%s|%s))?)*)" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
# RFC 9112 does not allow trailing white space, but some servers fill up their lines with it.
LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})%s[\t ]*\r\n" % _EXTENSIONS)
_PLAIN: Final = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_EXTENSIONS_ONLY: Final = re.compile(_EXTENSIONS)
_AFTER_SIZE: Final = (b"", b"\r", b";", b" ", b"\t")


class Chunk(NamedTuple):
    """One chunk of a body.

    Attributes:
        data: its bytes; empty in the last chunk.
        extensions: the text after its size, semicolons included (RFC 9112 7.1.1).
        trailers: the fields after the last chunk (7.1.2).
    """

    data: bytes
    extensions: bytes = b""
    trailers: Fields = ()

    @property
    def last(self) -> bool:
        """True if the body ends here."""
        return not self.data


class _Trailer(NamedTuple):
    """The memo of a last chunk: its trailer section begins `first` bytes after the frame's start."""

    first: int
    extensions: bytes
    searched: int = 0


@dataclass(frozen=True)
class HttpChunk(Framer[Chunk]):
    r"""Cut the chunks of a chunked body (RFC 9112 7.1), down to the last one with its trailers.

    ::

        INPUT     5\r\nhello\r\n   3;a=b\r\nyou\r\n       0\r\nX: y\r\n\r\n
        DECODED   Chunk(b"hello")  Chunk(b"you", b";a=b")  Chunk(b"", trailers=((b"X", b"y"),))

    Ask for chunks until one is ``last``; the next head follows. A stream that ends before it is an
    `IncompleteFrame`. The payload, which the limit counts and which can be streamed, is a chunk's data; that
    of the last one is the trailer section.

    These break the stream (`FramingError`), because request smuggling uses them: a size other than
    1 to 16 hexadecimal digits; anything but well-formed extensions after it, or more than 4096 bytes of
    them; lines that end with a line feed alone, in every case; data that does not end where its size says;
    in trailers, anything that is wrong in a head, and lines of more than 4096 bytes.
    """

    name = "http-chunk"
    examples: ClassVar[dict[bytes, list[Chunk]]] = {
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\n": [Chunk(b"hello"), Chunk(b"", trailers=((b"X", b"y"),))]
    }
    malformed: ClassVar[dict[bytes, str]] = {b"x\r\n": "in a chunk's size", b"1\na\r\n": "in a chunk's size"}
    peers = ("nginx 1.22.1", "curl 7.88.1")
    # Linear in lines: each is looked at once, but `resume` stays at the beginning of the last one.
    slow_frame: ClassVar[bytes] = b"0\r\n" + b"X: y\r\n" * 300 + b"\r\n"
    overhead = MOST_LINE + len(b"\r\n")

    max_size: Annotated[int | None, "The largest chunk. Bytes."] = None

    def find(self, window: Window) -> ValueSpan | NeedMore:
        """Return a chunk's span with its first line, the last one's with the empty line."""
        data, start = window.data, window.start
        if window.memo is not None:
            return self._trailers(window, window.memo, window.resume)
        feed = data.find(b"\n", window.resume, start + MOST_LINE)
        line = LINE.match(data, start, feed + 1) if feed >= 0 else None
        if line is None:
            return self._incomplete(window, feed)
        first, size = line.end(), int(line[1], 16)
        if not size:
            return self._trailers(window, _Trailer(first - start, line[2]), first)
        stop = first + size
        return first, stop, stop + 2, Decode(_Data(line[2]), trailer=b"\r\n", final=False)

    def _incomplete(self, window: Window, feed: int) -> NeedMore:
        data, start = window.data, window.start
        size = _SIZE.match(data, start)
        after = start if size is None else size.end()
        if size is None or data[after : after + 1] not in _AFTER_SIZE:
            if start == len(data):
                return NeedMore()
            byte = bytes(data[after : after + 1])
            raise FramingError(f"{byte!r} in a chunk's size, or after it", position=after)
        if feed >= 0:
            line = bytes(data[after:feed])
            reason = f"{line[:-1][:32]!r} is not a chunk extension" if line.endswith(b"\r") else "LF without CR"
            raise FramingError(reason, position=after)
        if len(data) >= start + MOST_LINE:
            raise FramingError(f"no end of a chunk's first line in {MOST_LINE} bytes", position=start)
        return NeedMore(resume=len(data))

    def _trailers(self, window: Window, trailer: _Trailer, at: int) -> ValueSpan | NeedMore:
        data, searched = window.data, at + trailer.searched
        while (found := next_line(data, at, searched, most=MOST_LINE)) is not None:
            line, following = found
            if not line:
                first = window.start + trailer.first
                return first, at, following, Decode(_Last(trailer.extensions))
            field_of(line, at)
            at = searched = following
        return NeedMore(resume=at, memo=trailer._replace(searched=searched_to(data, at) - at))

    def split(self, window: Window) -> tuple[list[Chunk], int]:
        """Cut whole chunks without extensions that have bytes after them; leave the others to `find`."""
        data, start = bytes(window.data), window.start
        size = len(data)
        chunks: list[Chunk] = []
        append, match, make = chunks.append, _PLAIN.match, tuple.__new__
        while line := match(data, start):
            first = line.end()
            stop = first + int(line[1], 16)
            if stop == first or stop + 2 >= size or data[stop : stop + 2] != b"\r\n":
                break
            # A named tuple's own constructor is a function in Python, and takes twice as long.
            append(make(Chunk, (data[first:stop], b"", ())))
            start = stop + 2
        return chunks, start

    def encode(self, frame: Chunk) -> list[bytes]:
        """Return the chunk's first line, its data uncopied, and its end.

        Raises:
            EncodeError: trailers after a chunk that is not the last; malformed extensions or trailers;
                more of them, or of data, than the limits allow.
        """
        if not isinstance(frame, Chunk):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a Chunk")
        data, extensions = bytes_of(frame.data, copy=False), bytes_of(frame.extensions)
        trailers = frame.trailers
        head = b"%x%b\r\n" % (len(data), extensions)
        if not _EXTENSIONS_ONLY.fullmatch(extensions) or len(head) > MOST_LINE:
            raise EncodeError(f"{extensions[:32]!r} are not chunk extensions of at most {MOST_LINE} bytes")
        if data and trailers:
            raise EncodeError("trailers after a chunk that is not the last")
        try:
            section = write_fields(trailers)
        except TypeError as error:
            raise EncodeError(f"trailers cannot be written: {error}") from error
        size = len(data) + len(section)
        if self.max_size is not None and size > self.max_size:
            raise EncodeError(f"chunk of {counted(size, 'byte')} exceeds the limit {self.max_size}")
        if trailers:
            self._check(head + section + b"\r\n", frame)
        return [head, data, section + b"\r\n"]

    def explain(self, window: Window) -> str:
        """Say what is missing if a body ends between two chunks."""
        return "the last chunk has not come" if window.start == len(window.data) else ""

    def _check(self, wire: bytes, frame: Chunk) -> None:
        try:
            found: Any = self.find(Window(wire))
        except FramingError as error:
            raise EncodeError(f"trailers cannot be written: {error.reason}") from error
        if found[2] != len(wire) or found[3].decode(wire[found[0] : found[1]]) != frame:
            raise EncodeError("trailers would be read as something else")


class _Data:
    __slots__ = ("extensions",)

    def __init__(self, extensions: bytes) -> None:
        self.extensions = extensions

    def __call__(self, payload: bytes) -> Chunk:
        return Chunk(payload, self.extensions)


class _Last(_Data):
    __slots__ = ()

    def __call__(self, payload: bytes) -> Chunk:
        return Chunk(b"", self.extensions, parse_fields(payload))
