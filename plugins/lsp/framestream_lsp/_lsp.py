"""Lsp: messages of language servers and debug adapters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NoReturn

from framestream import FramingError, NeedMore, Span, Window
from framestream.framer import Decode, ValueSpan, first_match
from framestream_json import JsonFramer
from framestream_lsp._header import MAX_DIGITS, Fields, Line, check_name, read_field

# Nearly every message has this header and no other.
_PLAIN: Final = re.compile(rb"Content-Length: ([0-9]{1,%d})\r\n\r\n" % MAX_DIGITS)
_LENGTH: Final = re.compile(rb"(?i:content-length): ?[0-9]{1,%d}\r\n" % MAX_DIGITS)
_LONGEST_LENGTH: Final = len(b"Content-Length: \r\n") + MAX_DIGITS
_UTF_8: Final = ("utf-8", "utf8")


@dataclass(frozen=True)
class Lsp(JsonFramer):
    r"""Cut messages of the base protocol of LSP and DAP: a header that tells the size, and JSON.

    ::

        INPUT     Content-Length: 17\r\n\r\n{"jsonrpc":"2.0"}   content-length:2\r\nX: y\r\n\r\n{}
        DECODED   {"jsonrpc": "2.0"}                            {}

    Language Server Protocol 3.17, "Base Protocol"; Debug Adapter Protocol, "Base protocol". The size is
    known with the header: content above the limit is refused before it arrives, and can be skipped.

    Header part: fields are ``name: value`` and end with CR LF, an empty line ends them; names are read in
    either case, as those of HTTP, and unknown ones are ignored. No Content-Length, or two, or one that
    is not a number of at most 15 digits, a line that ends with LF alone or is not a field, and a header above
    `max_header` break the stream (`FramingError`).

    Content part: JSON in UTF-8, for which ``utf8`` is another name. Another Content-Type,
    and content that is not JSON or is nested too deep, is a `PayloadError`, since the protocol requires an
    answer: reading continues after the message.
    """

    name = "lsp"
    # No JSON string contains a line end, so no content has a header in it; other fields may come first.
    synchronises = "likely"
    examples: ClassVar[dict[bytes, list[Any]]] = {
        b'Content-Length: 17\r\n\r\n{"jsonrpc":"2.0"}content-length:2\r\nX: y\r\n\r\n{}': [
            {"jsonrpc": "2.0"},
            {},
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"\r\n{}": "header without Content-Length",
        b"Content-Length: +2\r\n\r\n{}": "Content-Length is b'+2'",
    }
    peers = ("clangd 14.0.6", "pylsp 1.7.1")

    max_header: Annotated[int, "The longest header. Bytes."] = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.max_header) is not int or self.max_header < 21:
            raise ValueError(f"max_header is {self.max_header!r}; it must be at least 21")
        object.__setattr__(self, "overhead", self.max_header)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the header is complete."""
        data, start = window.data, window.start
        plain = _PLAIN.match(data, start)
        if plain is not None and plain.end() - start <= self.max_header:
            first = plain.end()
            stop = first + int(plain[1])
            return first, stop, stop
        return self._header(window)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place of the first header that begins with its Content-Length."""
        return first_match(_LENGTH, window, _LONGEST_LENGTH)

    def _header(self, window: Window) -> Span | ValueSpan | NeedMore:
        data, start, position = window.data, window.start, window.resume
        limit = start + self.max_header
        line = window.memo or Line()
        while True:
            end = data.find(b"\n", position, limit)
            if end > position and not line.text and data[position:end] == b"\r":
                return _span(line.fields, start, end + 1)
            if not line.is_named and (line.text or data[position : min(position + 2, limit)] != b"\r"):
                check_name(data, position, limit, begun=bool(line.text))
            if end < 0 and len(data) >= limit:
                raise FramingError(f"header of more than {self.max_header} bytes", position=start)
            stop = len(data) - data.endswith(b"\r") if end < 0 else end - 1
            line = line.with_more(bytes(data[position:stop]))
            if end < 0:
                return NeedMore(resume=max(position, stop), memo=line)
            if data[stop:end] != b"\r":
                raise FramingError("LF without CR in a header", position=end)
            line = Line(read_field(line, start + line.start), end + 1 - start)
            position = end + 1

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Cut every whole message with the usual header; leave the bytes after another one to `find`."""
        data, start = bytes(window.data), window.start
        messages: list[Any] = []
        append, match, decode = messages.append, _PLAIN.match, self.decode
        try:
            while (header := match(data, start)) and header.end() - start <= self.max_header:
                first = header.end()
                stop = first + int(header[1])
                if stop > len(data):
                    return messages, start
                append(decode(data[first:stop]))
                start = stop
        except ValueError:
            return messages, start
        rest, end = super().split(Window(data, start, eof=window.eof))
        return messages + rest, end

    def encode(self, frame: Any) -> list[bytes]:
        """Return header and content. Raise EncodeError if the value has no JSON text, or exceeds a limit."""
        content = self.write(frame)
        return [b"Content-Length: %d\r\n\r\n" % len(content), content]


def _span(fields: Fields, start: int, first: int) -> Span | ValueSpan:
    if fields.length is None:
        raise FramingError("header without Content-Length", position=start)
    stop = first + fields.length
    if fields.charset in _UTF_8:
        return first, stop, stop

    def refuse(_: bytes) -> NoReturn:
        raise ValueError(f"content in {fields.charset!r}; it must be in utf-8")

    return first, stop, stop, Decode(refuse)
