"""Warc: the records of web archives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan, first_match, read_digits
from framestream.framers import Body, Fields, GeneratorFramer

_VERSIONS: Final = (b"1.0", b"1.1")
_BEGINNING: Final = b"WARC/"
_SPACE: Final = " \t"
_END: Final = b"\r\n\r\n"
_BLANK_LINES: Final = re.compile(rb"(?:\r\n)+")
# A record ends with two CR LF.
_AFTER_A_RECORD: Final = re.compile(rb"(?<=\r\n\r\n)WARC/1\.[01]\r\n")
_SIZE: Final = len(b"WARC/1.0\r\n")


@dataclass(frozen=True)
class WarcRecord:
    """A record.

    Attributes:
        version: ``"1.0"`` or ``"1.1"``.
        headers: names and values, in their order.
        payload: the block.
    """

    version: str
    headers: tuple[tuple[str, str], ...]
    payload: bytes

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a header, whose name may be in upper or lower case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), default)

    @property
    def type(self) -> str:
        """Its type: response, request, warcinfo, ..."""
        return self.get("WARC-Type")


def _slow_frame(size: int) -> bytes:
    """Return a record of about so many bytes, with beginnings of others in it, for the conformance kit."""
    block = b"\r\n\r\nWARC/1." * (size // 11 + 1)
    return b"WARC/1.0\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (len(block), block)


@dataclass(frozen=True)
class Warc(GeneratorFramer[WarcRecord], Framer[WarcRecord]):
    r"""Cut the records of WARC files (ISO 28500:2017, "The WARC Format 1.1", section 4; 1.0 as well).

    ::

        INPUT     WARC/1.1\r\nWARC-Type: resource\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n
        DECODED   WarcRecord("1.1", (("WARC-Type", "resource"), ("Content-Length", "2")), b"hi")

    The size is known with the header: a block above the limit is refused before it arrives, and can be
    skipped or streamed. Values may continue in lines that begin with white space (section 4).
    Further blank lines between records are ignored. Another version, a header without exactly one
    Content-Length in digits, and a block without a blank line after it break the file (`FramingError`).

    In the middle of a file, a record probably begins where ``WARC/1.`` stands after a blank line. It may
    stand so in a block, too, as when a WARC file was archived.
    """

    name = "warc"
    slow_frame = staticmethod(_slow_frame)
    overhead = 1 << 16
    synchronises = "likely"
    lookbehind = len(_END)
    examples: ClassVar[dict[bytes, list[WarcRecord]]] = {
        b"WARC/1.1\r\nWARC-Type: resource\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n"
        b"WARC/1.0\r\ncontent-length:0\r\n\r\n\r\n\r\n": [
            WarcRecord("1.1", (("WARC-Type", "resource"), ("Content-Length", "2")), b"hi"),
            WarcRecord("1.0", (("content-length", "0"),), b""),
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"GET / HTTP/1.1\r\n\r\n": "record begins with",
        b"WARC/1.0\r\n\r\n": "header with 0 Content-Length",
    }
    peers = ("warcio 1.8.1 (PyPI)",)

    max_size: Annotated[int | None, "The largest block. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the header is complete; blank lines before it are padding."""
        if window.memo is None and (blank := _BLANK_LINES.match(window.data, window.start)):
            return window.start, window.start, blank.end(), PADDING
        if len(window.data) == window.start + 1 and window.data.endswith(b"\r"):
            return NeedMore(2)
        return super().find(window)

    def fields(self) -> Fields[WarcRecord]:
        """Read the header, up to the blank line."""
        if (beginning := (yield len(_BEGINNING))) != _BEGINNING:
            raise FramingError(f"record begins with {beginning!r}, not with {_BEGINNING!r}")
        if (version := (yield b"\r\n")) not in _VERSIONS:
            raise FramingError(f"version {version[:16]!r} of WARC; 1.0 and 1.1 are known")
        headers: list[tuple[str, str]] = []
        while line := (yield b"\r\n"):
            text = line.decode("utf-8", "surrogateescape")
            name, colon, value = text.partition(":")
            if text[0] in _SPACE and headers:
                name, value = headers.pop()
                value += " " + text.strip(_SPACE)
            elif not colon or not name or name != name.strip(_SPACE):
                raise FramingError(f"{line[:40]!r} is not a header")
            headers.append((name, value.strip(_SPACE)))
        sizes = [value for name, value in headers if name.lower() == "content-length"]
        if len(sizes) != 1:
            raise FramingError(f"header with {len(sizes)} Content-Length")
        known = tuple(headers)
        return Body(
            read_digits(sizes[0]),
            lambda block: WarcRecord(version.decode(), known, bytes(block)),
            trailer=_END,
        )

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place of a version after a blank line."""
        return first_match(_AFTER_A_RECORD, window, _SIZE)

    def encode(self, frame: WarcRecord) -> list[bytes]:
        """Return the header, with the blank line, the block and its end.

        Raises:
            EncodeError: the header does not say the size of the block, or would be read back differently.
        """
        try:
            lines = [f"WARC/{frame.version}", *(f"{name}: {value}" for name, value in frame.headers), "", ""]
            header = "\r\n".join(lines).encode("utf-8", "surrogateescape")
            found: tuple[Any, ...] = self.find(Window(header))  # type: ignore[assignment]  # a span, or a bug
            again = found[3].decode(frame.payload)
            same = again == frame and found[1] - found[0] == len(frame.payload)
        except Exception as error:
            raise EncodeError(f"no WARC record: {error}") from error
        if not same or len(header) > self.overhead:
            reason = "its Content-Length, its version, or white space in a header"
            raise EncodeError(f"record would be read back differently: {reason}")
        if self.max_size is not None and len(frame.payload) > self.max_size:
            raise EncodeError(f"block of {counted(len(frame.payload), 'byte')} exceeds the limit {self.max_size}")
        return [header, frame.payload, _END]
