"""HttpRequest and HttpResponse: all bytes up to the empty line."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeVar

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.framer import PADDING, ValueSpan
from framestream_http._facts import Facts, facts_of
from framestream_http._heads import (
    REQUEST_HEAD,
    REQUEST_LINE,
    RESPONSE_HEAD,
    STATUS_LINE,
    RequestHead,
    ResponseHead,
    check_target,
    parse_fields,
    write_fields,
)
from framestream_http._lines import field_of, next_line, searched_to, unfolded

Head = TypeVar("Head", RequestHead, ResponseHead)

_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
_EMPTY_BARE_LINES: Final = re.compile(rb"(?:\r?\n)+")
_TOKEN_BYTE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")


class _Progress(NamedTuple):
    """The memo of a head that arrives in pieces: its lines before `window.resume` are checked.

    Attributes:
        searched: how far after `window.resume` there is no line end.
        facts: the facts of the lines before; None in the first line.
    """

    searched: int = 0
    facts: Facts | None = None


class _HttpHead(Framer[Head]):
    """The common part of requests and responses: lines, fields, an empty line."""

    bare_lf: bool
    folds: ClassVar[bool]

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the empty line, checking every line as it arrives."""
        data, start = window.data, window.start
        if window.memo is None:
            if len(data) - start < 2 and data[start:] in (b"", b"\r"):
                return NeedMore(2)
            if empty := (_EMPTY_BARE_LINES if self.bare_lf else _EMPTY_LINES).match(data, start):
                return start, start, empty.end(), PADDING
            if (found := self._begin(data, start) or self._whole(data, start)) is not None:
                return found
        progress, at = window.memo or _Progress(), window.resume
        facts, searched = progress.facts, at + progress.searched
        while True:
            fold = self.folds and facts is not None
            found_line = next_line(data, at, searched, bare_lf=self.bare_lf, fold=fold)
            if found_line is None:
                return NeedMore(resume=at, memo=_Progress(searched_to(data, at) - at, facts))
            line, following = found_line
            try:
                if facts is None:
                    facts = self._first(line)
                elif line:
                    facts = facts.noted(*field_of(line, at))
                else:
                    facts.check()
                    return start, at, following
            except ValueError as error:
                raise FramingError(str(error), position=at) from error
            at = searched = following

    @abstractmethod
    def _begin(self, data: bytes | bytearray, start: int) -> NeedMore | None:
        """Check the first bytes alone. FramingError refuses them."""

    @abstractmethod
    def _first(self, line: bytes) -> Facts:
        """Check the first line. ValueError refuses it."""

    @abstractmethod
    def _head_at(self, data: bytes | bytearray, start: int) -> tuple[Head, int] | None:
        """Return the head at this index and where it ends, if it is complete and plain; else None.

        ValueError refuses it: `find` says where.
        """

    def _whole(self, data: bytes | bytearray, start: int) -> ValueSpan | None:
        """Return the span of a complete head; None if it must be checked line by line."""
        try:
            parsed = self._head_at(data, start)
        except ValueError:
            return None  # raised again, with its place, when its line is met
        return None if parsed is None else (start, parsed[1] - 2, parsed[1], parsed[0])

    def split(self, window: Window) -> tuple[list[Head], int]:
        """Cut every whole head that is plain; leave the others to `find`."""
        data, start = bytes(window.data), window.start
        heads: list[Head] = []
        try:
            while (parsed := self._head_at(data, start)) is not None:
                head, start = parsed
                heads.append(head)
        except ValueError:
            pass  # `find` raises it with its place
        return heads, start

    def encode(self, frame: Head) -> bytes:
        """Return the head's bytes, with CR LF.

        Raises:
            EncodeError: they would not be read as this head: a field with a line end in it, a
                contradiction about the body, a request without Host; or it is larger than `max_size`.
        """
        try:
            wire = self._first_line(frame) + write_fields(frame.fields) + b"\r\n"
            found: Any = self.find(Window(wire))
        except (FramingError, TypeError, AttributeError) as error:
            raise EncodeError(f"{frame!r:.64} cannot be written: {error}") from error
        if type(found) is not tuple or found[2] != len(wire) or self._value(found, wire) != frame:
            raise EncodeError(f"{frame!r:.64} would be read as something else")
        if self.max_size is not None and found[1] > self.max_size:
            raise EncodeError(f"head of {found[1]} bytes exceeds the limit {self.max_size}")
        return wire

    def _value(self, found: tuple[Any, ...], wire: bytes) -> Head:
        head: Head = found[3] if len(found) == 4 else self.decode(wire[: found[1]])
        return head

    @abstractmethod
    def _first_line(self, head: Head) -> bytes:
        """Write the first line."""


@dataclass(frozen=True)
class HttpRequest(_HttpHead[RequestHead]):
    r"""Cut the heads of HTTP/1.1 requests (RFC 9112 2 to 5).

    ::

        INPUT     GET / HTTP/1.1\r\nHost: example.org\r\n\r\n
        DECODED   RequestHead(b"GET", b"/", ((b"Host", b"example.org"),))

    Read the body with what `body_of` gives, then the next head. Empty lines before a head are padding (2.2).

    Anything that two readers may interpret differently breaks the stream (`FramingError`), because request
    smuggling uses it: both Content-Length and Transfer-Encoding (6.3), lengths that differ or are malformed,
    Transfer-Encoding in HTTP/1.0 (6.1), one that does not end with chunked or has it twice (7), folded
    fields (5.2), white space before a colon (5.1), a line feed alone unless `bare_lf` and a carriage return
    alone (2.2), control characters (RFC 9110 5.5), a request line with anything but two single spaces (3),
    a target in a wrong form (3.2), no Host in HTTP/1.1 and more than one in any (3.2).
    """

    name = "http-request"
    split = _HttpHead.split  # which decodes as this class does
    folds = False
    examples: ClassVar[dict[bytes, list[RequestHead]]] = {
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": [RequestHead(b"GET", b"/", ((b"Host", b"a"),))]
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"GET /\r\n": "is not a request line",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n": "is not a number",
    }
    peers = ("nginx 1.22.1", "curl 7.88.1")
    # Linear in lines: each is looked at once, but `resume` stays at the beginning of the last one.
    slow_frame: ClassVar[bytes] = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300 + b"\r\n"
    overhead = len(b"\r\n")

    bare_lf: Annotated[bool, "Accept a line feed alone as the end of a line, too."] = False
    max_size: Annotated[int | None, "The largest head. Bytes."] = 65536

    def decode(self, payload: bytes) -> RequestHead:
        """Return the head. ValueError for one that was truncated."""
        line, _, section = payload.partition(b"\n")
        match = REQUEST_LINE.fullmatch(line.rstrip(b"\r"))
        if match is None or not payload.endswith(b"\n"):
            raise ValueError("head is not complete")
        return RequestHead(match[1], match[2], parse_fields(section), int(match[3]))

    def _begin(self, data: bytes | bytearray, start: int) -> NeedMore | None:
        if not _TOKEN_BYTE.match(data, start):
            raise FramingError(f"{bytes(data[start : start + 1])!r} begins no method", position=start)
        return None

    def _first(self, line: bytes) -> Facts:
        match = REQUEST_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:64]!r} is not a request line of HTTP/1")
        check_target(match[1], match[2])
        return Facts(request=True, minor=int(match[3]))

    def _head_at(self, data: bytes | bytearray, start: int) -> tuple[RequestHead, int] | None:
        """Return the head at this index and where it ends, if it is complete and plain."""
        match = REQUEST_HEAD.match(data, start)
        if match is None:
            return None
        method, target, digit, section = match.groups()
        check_target(method, target)
        fields, minor = parse_fields(section), int(digit)
        facts_of(fields, request=True, minor=minor)
        return RequestHead(method, target, fields, minor), match.end()

    def _first_line(self, head: RequestHead) -> bytes:
        return b"%b %b HTTP/1.%d\r\n" % (head.method, head.target, head.minor)

    def explain(self, window: Window) -> str:
        """Recognise a client that speaks TLS or HTTP/2."""
        data, start = window.data, window.start
        if data.startswith(b"\x16\x03", start):
            return "looks like a TLS hello"
        return "looks like HTTP/2" if data.startswith(b"PRI * HTTP/2.0", start) else ""


@dataclass(frozen=True)
class HttpResponse(_HttpHead[ResponseHead]):
    r"""Cut the heads of HTTP/1.1 responses (RFC 9112 2, 4 and 5).

    ::

        INPUT     HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n
        DECODED   ResponseHead(200, b"OK", ((b"Content-Length", b"5"),))

    Read the body with what `body_of` gives, then the next head. It refuses the same as `HttpRequest`, as
    far as that applies. A status line may lack the space after its status, which some servers omit, and a
    field may be folded: a space replaces the fold (5.2).
    """

    name = "http-response"
    split = _HttpHead.split  # as above
    folds = True
    examples: ClassVar[dict[bytes, list[ResponseHead]]] = {
        b"HTTP/1.1 204 No Content\r\n\r\n": [ResponseHead(204, b"No Content", ())]
    }
    malformed: ClassVar[dict[bytes, str]] = {b"HTTP/1.1 20 OK\r\n": "is not a status line"}
    peers = ("nginx 1.22.1", "curl 7.88.1")
    # Linear in lines: each is looked at once, but `resume` stays at the beginning of the last one.
    slow_frame: ClassVar[bytes] = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n"
    overhead = len(b"\r\n")

    bare_lf: Annotated[bool, "Accept a line feed alone as the end of a line, too."] = False
    max_size: Annotated[int | None, "The largest head. Bytes."] = 65536

    def decode(self, payload: bytes) -> ResponseHead:
        """Return the head. ValueError for one that was truncated."""
        line, _, section = payload.partition(b"\n")
        match = STATUS_LINE.fullmatch(line.rstrip(b"\r"))
        if match is None or not payload.endswith(b"\n"):
            raise ValueError("head is not complete")
        return ResponseHead(int(match[2]), match[3] or b"", parse_fields(unfolded(section)), int(match[1]))

    def _begin(self, data: bytes | bytearray, start: int) -> NeedMore | None:
        seen = bytes(data[start : start + 7])
        if not b"HTTP/1.".startswith(seen):
            raise FramingError("no status line of HTTP/1 begins here", position=start)
        return NeedMore() if len(seen) < 7 else None

    def _first(self, line: bytes) -> Facts:
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:64]!r} is not a status line of HTTP/1")
        return Facts(request=False, minor=int(match[1]))

    def _head_at(self, data: bytes | bytearray, start: int) -> tuple[ResponseHead, int] | None:
        """Return the head at this index and where it ends, if it is complete and plain."""
        match = RESPONSE_HEAD.match(data, start)
        if match is None:
            return None
        digit, status, reason, section = match.groups()
        fields, minor = parse_fields(section), int(digit)
        facts_of(fields, request=False, minor=minor)
        return ResponseHead(int(status), reason or b"", fields, minor), match.end()

    def _first_line(self, head: ResponseHead) -> bytes:
        return b"HTTP/1.%d %d %b\r\n" % (head.minor, head.status, head.reason)
