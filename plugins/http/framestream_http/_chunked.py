"""HttpChunked: a whole chunked body as one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import bytes_of
from framestream_http._chunk import LINE, MOST_LINE, Chunk, HttpChunk
from framestream_http._heads import FIELD_SECTION, Fields, parse_fields

_CHUNK: Final = HttpChunk()
_CRLF: Final = b"\r\n"


class Chunked(NamedTuple):
    """A whole body.

    Attributes:
        data: the data of its chunks, joined.
        trailers: the fields after the last chunk.
    """

    data: bytes
    trailers: Fields = ()


class _Progress(NamedTuple):
    """The memo of a body that arrives in pieces.

    Attributes:
        left: bytes still to come of a chunk's data with the CR LF after it; 0 between chunks.
        searched: how far after `window.resume` the search in the next chunk has come.
        memo: the memo of that search, in the trailers.
    """

    left: int = 0
    searched: int = 0
    memo: Any = None


@dataclass(frozen=True)
class HttpChunked(Framer[Chunked]):
    r"""Cut whole chunked bodies (RFC 9112 7.1), with their trailers; extensions are dropped.

    ::

        INPUT     5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX: y\r\n\r\n
        DECODED   Chunked(b"helloyou", ((b"X", b"y"),))

    The payload, which the limit counts, is the body as it was sent, so a flood of tiny chunks or
    endless extensions reach the limit. Streamed in parts it is passed on unchanged, and checked.

    It refuses the same as `HttpChunk`. Writing makes one chunk.
    """

    name = "http-chunked"
    overhead = MOST_LINE  # a line is not settled before it ends, however small the limit
    examples: ClassVar[dict[bytes, list[Chunked]]] = {
        b"5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX: y\r\n\r\n": [Chunked(b"helloyou", ((b"X", b"y"),))]
    }
    malformed: ClassVar[dict[bytes, str]] = {b"x\r\n": "in a chunk's size", b"1\na\r\n": "in a chunk's size"}
    peers = ("nginx 1.22.1", "curl 7.88.1")
    # Linear in lines: each is looked at once, but `resume` stays at the beginning of the last one.
    slow_frame: ClassVar[bytes] = b"1\r\na\r\n" * 300 + b"0\r\n\r\n"

    max_size: Annotated[int | None, "The largest body, with the chunks' own lines. Bytes."] = None

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the empty line after the last chunk."""
        data, at = window.data, window.resume
        left, searched, memo = window.memo or _Progress()
        while True:
            if left:
                at, left = _after_data(data, at, left)
                if left:
                    return NeedMore(resume=at, settled=at, memo=_Progress(left))
            found: Any = _CHUNK.find(Window(data, at, at + searched, memo))
            if type(found) is NeedMore:
                resume = at if found.resume is None else found.resume
                # In the trailers, earlier lines need no second look.
                at, searched = (at, resume - at) if found.memo is None else (resume, 0)
                return NeedMore(resume=at, settled=at, memo=_Progress(0, searched, found.memo))
            first, _, end, decode = found
            if not decode.trailer:
                return window.start, end, end
            at, left, searched, memo = first, end - first, 0, None

    def decode(self, payload: bytes) -> Chunked:
        """Return the body's data and trailers. ValueError for one that was truncated."""
        pieces: list[bytes] = []
        at = 0
        while True:
            found: Any = _CHUNK.find(Window(payload, at))
            if type(found) is NeedMore or found[2] > len(payload):
                raise ValueError("body is not complete")
            chunk: Chunk = found[3].decode(payload[found[0] : found[1]])
            if chunk.last:
                return Chunked(b"".join(pieces), chunk.trailers)
            pieces.append(chunk.data)
            at = found[2]

    def split(self, window: Window) -> tuple[list[Chunked], int]:
        """Cut every whole body; leave the rest to `find`."""
        data, start = bytes(window.data), window.start
        bodies: list[Chunked] = []
        while (whole := _body_at(data, start)) is not None:
            body, start = whole
            bodies.append(body)
        return bodies, start

    def encode(self, frame: Chunked) -> list[bytes]:
        """Return the body as one chunk, and the last one. Raise EncodeError for malformed trailers."""
        if not isinstance(frame, Chunked):
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be a Chunked")
        data = bytes_of(frame.data, copy=False)
        pieces = _CHUNK.encode(Chunk(data)) if data else []
        pieces += _CHUNK.encode(Chunk(b"", trailers=frame.trailers))
        size = sum(map(len, pieces))
        if self.max_size is not None and size > self.max_size:
            raise EncodeError(f"body of {counted(size, 'byte')} exceeds the limit {self.max_size}")
        return pieces


def _after_data(data: bytes | bytearray, at: int, left: int) -> tuple[int, int]:
    """Skip the bytes of a chunk's data; return where to continue, and how many are left with its CR LF."""
    size = max(left - len(_CRLF), 0)
    have = len(data) - at
    if have < size:
        return len(data), left - have
    at += size
    tail = bytes(data[at : at + len(_CRLF)])
    if not _CRLF.startswith(tail):
        raise FramingError("chunk does not end with CR LF", position=at)
    return (at + len(_CRLF), 0) if tail == _CRLF else (at, len(_CRLF))


def _body_at(data: bytes, start: int) -> tuple[Chunked, int] | None:
    """Return the body at this index and where it ends, if it is complete; `find` refuses bad ones."""
    pieces: list[bytes] = []
    while line := LINE.match(data, start, start + MOST_LINE):
        first, size = line.end(), int(line[1], 16)
        if not size:
            section = FIELD_SECTION.match(data, first, first + MOST_LINE)
            if section is None:
                return None
            return Chunked(b"".join(pieces), parse_fields(section[1])), section.end()
        stop = first + size
        start = stop + len(_CRLF)
        if data[stop:start] != _CRLF:
            return None
        pieces.append(data[first:stop])
    return None
