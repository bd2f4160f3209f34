"""Resp: replies and commands of Redis and its kin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan
from framestream_resp._grammar import BULK, CRLF, LONGEST_HEADER, UNKNOWN, number_of
from framestream_resp._parse import Parser
from framestream_resp._skim import START, skim
from framestream_resp._write import Writer

MOST_DEPTH: Final = 128
"""Aggregates are parsed by recursion: this depth fits on any thread's stack."""


@dataclass(frozen=True)
class Resp(Framer[Any]):
    r"""Cut RESP, the Redis serialization protocol, decoded to Python values.

    ::

        INPUT     +OK\r\n  $5\r\nhello\r\n  *2\r\n:1\r\n$-1\r\n  %1\r\n+a\r\n,1.5\r\n  -ERR no\r\n
        DECODED   "OK"     b"hello"         [1, None]            {"a": 1.5}            ErrorReply("ERR no")

    Sections of https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2 and RESP3) and of
    https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md (streamed values and
    attributes): simple strings are str, bulk strings bytes, integers and big numbers int, doubles float,
    booleans bool, all nulls None, arrays lists, maps dicts, sets sets; errors, simple or bulk, are
    `ErrorReply`, verbatim strings `Verbatim`, pushes `Push`; a value after attributes is `Attributed`.
    Streamed strings and aggregates are read as plain ones. A list or set inside a key or a set is a tuple
    or frozenset. A map that no dict can hold is `Pairs`, and such a set a list, so that nothing is lost: one
    with keys that are equal in Python (``:1``, ``#t`` and ``,1``), with maps among them, or with more than
    100 numbers and aggregates (whose hashes a peer can make collide). Text that is not UTF-8 keeps
    its bytes as surrogates.

    The payload is the reply as it was sent, and can be streamed or discarded in constant memory;
    that of a bulk string outside of any aggregate is the string alone: its size is known with its first
    line, and if it exceeds the limit it is refused before it arrives. No declared size allocates
    memory.

    Headers that break the grammar break the stream (`FramingError`): an unknown type, a size with a sign,
    leading zeros or more than 19 digits, a missing CR LF, more than `max_depth` open aggregates. A malformed
    number or boolean is a `PayloadError`: reading continues after the reply. Inline commands are refused.
    """

    name = "resp"
    overhead = LONGEST_HEADER + len(CRLF)
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b"+OK\r\n$5\r\nhello\r\n*2\r\n:1\r\n$-1\r\n": ["OK", b"hello", [1, None]],
        b"%1\r\n+a\r\n,1.5\r\n#t\r\n": [{"a": 1.5}, True],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"PING\r\n": "begins no value",
        b"$+5\r\nhello\r\n": "is not a size",
    }
    peers = ("redis-server 7.0.15",)

    version: Annotated[Literal[2, 3], "2 refuses the types that RESP3 added."] = 3
    max_depth: Annotated[int, "Aggregates, attributes and streamed strings that may be open at once."] = 64
    max_size: Annotated[int | None, "The largest reply; of a bulk string, the string. Bytes."] = None

    def __post_init__(self) -> None:
        if self.version not in (2, 3):
            raise ValueError(f"version is {self.version!r}; it must be 2 or 3")
        if type(self.max_depth) is not int or not 1 <= self.max_depth <= MOST_DEPTH:
            raise ValueError(f"max_depth is {self.max_depth!r}; it must be from 1 to {MOST_DEPTH}")

    @cached_property
    def _parser(self) -> Parser:
        return Parser(self.max_depth, self.version)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the reply's span, with its value if all of it has arrived at first sight."""
        progress = window.memo
        if progress is None:
            found = self._bulk(window) or self._whole(window)
            if found is not None:
                return found
            progress = START
        position, progress = skim(window.data, window.resume, progress, max_depth=self.max_depth, version=self.version)
        if progress is None:
            return window.start, position, position
        if progress == START:
            return NeedMore()
        return NeedMore(resume=position, memo=progress, settled=position)

    def _bulk(self, window: Window) -> ValueSpan | None:
        """Return the span of a bulk string whose size is known; None for anything else."""
        data, start = window.data, window.start
        if data[start : start + 1] != b"$":
            return None
        line = data.find(CRLF, start, start + LONGEST_HEADER)
        try:
            size = number_of(data[start + 1 : max(line, start)], BULK)
        except ValueError:
            return None
        first = line + len(CRLF)
        if size < 0:
            return None if size == UNKNOWN else (start, first, first, None)
        return first, first + size, first + size + len(CRLF), Decode(bytes, trailer=CRLF)

    def _whole(self, window: Window) -> ValueSpan | None:
        """Return the span of a complete reply, with its value; None if it is incomplete or wrong."""
        data, start = window.data, window.start
        if type(data) is not bytes:
            return None  # it has grown by several chunks already
        try:
            value, end = self._parser.parse(data, start, self.max_depth)
        except (ValueError, RecursionError):
            return None
        return start, end, end, value

    def decode(self, payload: bytes) -> Any:
        """Return the value of a reply. ValueError for a malformed number, boolean or key."""
        try:
            value, end = self._parser.parse(payload, 0, self.max_depth)
        except RecursionError as error:
            raise ValueError("nested too deep for this thread's stack") from error
        if end != len(payload):
            raise ValueError(f"{counted(len(payload) - end, 'byte')} after a reply")
        return value

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Parse every whole reply."""
        data, end = bytes(window.data), window.start
        values: list[Any] = []
        append, parse, levels = values.append, self._parser.parse, self.max_depth
        try:
            while True:
                value, end = parse(data, end, levels)
                append(value)
        except (ValueError, RecursionError):
            pass  # the next one is not complete, or `find` and `decode` report what is wrong with it
        return values, end

    def encode(self, frame: Any) -> bytes:
        """Return a value's bytes; `command` makes the form that servers expect from clients.

        Raises:
            EncodeError: it has no form in this version, is nested too deep or is larger than `max_size`.
        """
        writer = Writer(self.max_depth, self.version)
        try:
            writer.write(frame)
        except (TypeError, AttributeError) as error:
            raise EncodeError(f"value with a part of a wrong type: {error}") from error
        size = len(frame) if isinstance(frame, bytes) else sum(map(len, writer.pieces))
        if self.max_size is not None and size > self.max_size:
            raise EncodeError(f"value of {counted(size, 'byte')} exceeds the limit {self.max_size}")
        return b"".join(writer.pieces)
