"""Syslog: messages after their length, or before a line feed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, NoReturn, TypeAlias, get_args

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.framer import PADDING, ValueSpan, bytes_of, first_match
from framestream.framers import Delimiter

Framing: TypeAlias = Literal["auto", "octet-counting", "non-transparent"]

MAX_DIGITS: Final = 19
"""Digits a length may have: enough for any size that a file offset can hold."""

_LENGTH: Final = re.compile(rb"([1-9][0-9]{0,%d}) " % (MAX_DIGITS - 1))
_DIGITS: Final = re.compile(rb"(?:[1-9][0-9]{0,%d})?" % (MAX_DIGITS - 1))
_BETWEEN: Final = re.compile(rb"[\r\n\0]+")
_LF_OR_NUL: Final = re.compile(rb"[\n\0]")
# A length, or a line end, and a priority after it (RFC 5424 6.2.1).
_LIKELY: Final = re.compile(rb"(?:(?<![0-9])[1-9][0-9]{0,9} |(?<=[\n\0]))<[0-9]{1,3}>")
_LONGEST_BEGINNING: Final = len(b"1234567890 <123>")
_LESS_THAN: Final = ord("<")
_IN_LINE: Final = "in a line"


@dataclass(frozen=True)
class Syslog(Framer[bytes]):
    r"""Cut syslog messages from a TCP stream (RFC 6587), or a TLS one (RFC 5425 4.3).

    ::

        INPUT     <34>su: failed\n   13 <13>two\nlines  <34>again\n
        DECODED   b"<34>su: failed"  b"<13>two\nlines"  b"<34>again"

    Two framings are in use, and a receiver distinguishes them by the first byte of every frame: a digit
    begins octet counting (3.4.1, "the number of octets", one space, the message), ``<`` begins a message
    that ends with a trailer (3.4.2, "non-transparent framing"): a line feed, or the NUL of Python's
    ``SysLogHandler``, whichever comes first, unless `trailer` names one. If `framing` names one of the
    two, nothing is guessed. Line ends and NULs before a message belong to no frame: some senders put them
    after counted messages, too. Only in "non-transparent" each trailer ends a message, perhaps an empty one.

    Writing uses octet counting, unless `framing` is non-transparent: only that can carry every message.

    A counted message above the limit is refused by its length, any other one as soon as it has grown too
    long; both can be skipped and streamed. These break the stream (`FramingError`): in "auto" a frame that
    begins with neither a digit nor ``<``; a length of zero, with leading zeros, or of more than 19 digits; a
    length that is not followed by a space.
    """

    name = "syslog"
    examples: ClassVar[dict[bytes, list[bytes]]] = {
        b"<34>su: failed\n13 <13>two\nlines<34>again\n": [b"<34>su: failed", b"<13>two\nlines", b"<34>again"]
    }
    malformed: ClassVar[dict[bytes, str]] = {b"0 ": "not with a digit", b"3:abc": "length ends with"}
    peers = ("rsyslog 8.2302.0", "logger 2.38.1")

    framing: Annotated[Framing, "How messages are framed; auto tells by the first byte of each."] = "auto"
    trailer: Annotated[
        bytes | None, "What ends a message that is not counted; LF (which is written) or NUL, unless given."
    ] = None
    last: Annotated[bool, "At the end of the stream, accept a last message without a trailer."] = False
    max_size: Annotated[int | None, "The longest message. Bytes."] = None

    def __post_init__(self) -> None:
        if self.framing not in get_args(Framing):
            raise ValueError(f"framing is {self.framing!r}; it must be one of {', '.join(get_args(Framing))}")
        if self.trailer is not None and not (type(self.trailer) is bytes and self.trailer):
            raise ValueError(f"trailer is {self.trailer!r}; it must be bytes, at least one")
        if self.framing == "non-transparent":
            delimiter = Delimiter(self._trailers)
            marks = {"synchronises": delimiter.synchronises, "lookbehind": delimiter.lookbehind}
        else:
            marks = {"synchronises": "likely", "lookbehind": 1}
        self.__dict__.update(marks, overhead=max(MAX_DIGITS + len(" "), len(self._written)))

    @property
    def _written(self) -> bytes:
        return b"\n" if self.trailer is None else self.trailer

    @property
    def _trailers(self) -> tuple[bytes, ...]:
        return (b"\n", b"\0") if self.trailer is None else (self.trailer,)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of a message as soon as its length or its trailer has arrived."""
        data, start = window.data, window.start
        if window.memo is not None:
            return self._line(window)
        if start == len(data):
            return NeedMore()
        if self.framing == "non-transparent" or (self.framing == "auto" and data[start] == _LESS_THAN):
            return self._line(window)
        if between := _BETWEEN.match(data, start):
            return start, start, between.end(), PADDING
        header = _LENGTH.match(data, start)
        if header is None:
            return self._incomplete(window)
        stop = header.end() + int(header[1])
        return header.end(), stop, stop

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place after a trailer, if each ends a message; else of what looks like a message."""
        if self.framing == "non-transparent":
            return Delimiter(self._trailers).find_start(window)
        return first_match(_LIKELY, window, _LONGEST_BEGINNING)

    def _line(self, window: Window) -> Span | NeedMore:
        data, width = window.data, len(self._written)
        end = self._end_of_line(data, window.resume)
        if end >= 0:
            return window.start, end, end + width
        if window.eof and self.last and (window.taken or len(data) > window.start):
            return window.start, len(data), len(data)
        # The last bytes may be the beginning of the trailer.
        seen = max(window.resume, len(data) - width + 1)
        return NeedMore(resume=seen, settled=seen, memo=_IN_LINE)

    def _end_of_line(self, data: bytes | bytearray, start: int) -> int:
        """Return where the trailer of a message begins, or -1."""
        if self.trailer is not None:
            return data.find(self.trailer, start)
        found = _LF_OR_NUL.search(data, start)
        return -1 if found is None else found.start()

    def _incomplete(self, window: Window) -> NeedMore:
        digits = _DIGITS.match(window.data, window.start)
        assert digits is not None  # it matches the empty string, too
        if digits.end() < len(window.data):
            self._refuse(window, digits.end())
        return NeedMore()

    def _refuse(self, window: Window, position: int) -> NoReturn:
        byte = bytes(window.data[position : position + 1])
        if position == window.start:
            expected = "a digit from 1 to 9" + (" or b'<'" if self.framing == "auto" else "")
            raise FramingError(f"frame begins with {byte!r}, not with {expected}", position=position)
        if byte.isdigit():
            raise FramingError(f"length of more than {MAX_DIGITS} digits", position=position)
        raise FramingError(f"length ends with {byte!r}, not with a space", position=position)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole message."""
        data, start = bytes(window.data), window.start
        # A search for either of two bytes takes ten times as long as one for a single byte.
        lines = data.replace(b"\0", b"\n") if self.trailer is None else data
        if self.framing == "non-transparent":
            messages = lines[start:].split(self._written)
            return messages, len(data) - len(messages.pop())
        messages = []
        append, find, match = messages.append, lines.find, _LENGTH.match
        size, trailer, width = len(data), self._written, len(self._written)
        line = _LESS_THAN if self.framing == "auto" else -1
        end = start
        while start < size:
            if data[start] == line:
                stop = find(trailer, start)
                if stop < 0:
                    break
                append(data[start:stop])
                start = end = stop + width
            elif header := match(data, start):
                first = header.end()
                stop = first + int(header[1])
                if stop > size:
                    break
                append(data[first:stop])
                start = end = stop
            elif between := _BETWEEN.match(data, start):
                start = between.end()
            else:
                break
        return messages, end

    def encode(self, frame: bytes) -> list[bytes]:
        """Return the length, a space and the message; or the message and the trailer.

        Raises:
            EncodeError: an empty message if messages are counted, one that contains the trailer if they
                are not, or one above `max_size`.
        """
        message = bytes_of(frame, self.max_size)
        if self.framing == "non-transparent":
            # The message's own end may be the beginning of a trailer.
            place = self._end_of_line(message + self._written, 0)
            if place != len(message):
                raise EncodeError(f"message with the trailer {self._written!r} in it, at {place}")
            return [message, self._written]
        if not message:
            raise EncodeError("an empty message cannot be counted: a length is not zero")
        return [b"%d " % len(message), message]

    def explain(self, window: Window) -> str:
        """Recognise a client of another protocol, or of TLS."""
        data, start = window.data, window.start
        if data.startswith(b"\x16\x03", start):
            return "looks like a TLS hello"
        if data.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT "), start):
            return "looks like an HTTP request"
        return ""
