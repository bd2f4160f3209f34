"""Fix: the messages of the FIX protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan, bytes_of
from framestream_marked._noise import before_mark

_SOH: Final = b"\1"
_MARK: Final = b"8=FIX"
_HEADER: Final = re.compile(rb"8=(FIX[!-~]{0,15})\x019=([0-9]{1,9})\x01")
_UNFINISHED: Final = re.compile(rb"8=FIX[!-~]{0,15}(?:\x01(?:9(?:=[0-9]{0,9})?)?)?")
_TRAILER: Final = re.compile(rb"10=[0-9]{3}\x01")
_TRAILER_SIZE: Final = len(b"10=000\1")
_LONGEST_HEADER: Final = 2 + 18 + 3 + 9 + 1
_LARGEST_LIKELY: Final = 1 << 20
# The fields that hold SOH, each after the field that tells its size (FIX 4.4, volume 6, "Data fields").
_DATA: Final = {
    90: 91, 93: 89, 95: 96, 212: 213, 348: 349, 350: 351, 352: 353, 354: 355, 356: 357, 358: 359, 360: 361,
    362: 363, 364: 365, 445: 446, 618: 619, 621: 622,
}  # fmt: skip


class FixMessage(NamedTuple):
    """A message.

    Attributes:
        version: its beginning, such as ``"FIX.4.4"``.
        fields: tags and values, from MsgType (35) on, without length and checksum.
    """

    version: str
    fields: tuple[tuple[int, bytes], ...]

    def get(self, tag: int, default: bytes = b"") -> bytes:
        """Return the first value with this tag."""
        return next((value for key, value in self.fields if key == tag), default)


def _slow_frame(size: int) -> bytes:
    """Return a message of about so many bytes, full of beginnings of others, for the conformance kit."""
    return Fix().encode(FixMessage("FIX.4.4", ((58, b"8=FIX8=FI" * (size // 9 + 1)),)))


@dataclass(frozen=True)
class Fix(Framer[FixMessage]):
    r"""Cut messages of FIX (FIX 4.4, volume 2, "FIX Message Delivery"; FIXT 1.1): tag, value, checksum.

    ::

        INPUT     8=FIX.4.4 | 9=12 | 35=0 | 112=ab | 10=102 |        (each | is SOH, 01)
        DECODED   FixMessage("FIX.4.4", ((35, b"0"), (112, b"ab")))

    BodyLength (9) tells where the message ends before the end arrives. A message whose CheckSum (10) is wrong
    or misplaced is a `PayloadError`, and so is one with a malformed field. Any beginning other than ``8=FIX``
    and a length breaks the stream (`FramingError`); with `skip`, bytes are skipped up to the next ``8=FIX``.

    Fields of data, which may hold SOH, are those of FIX 4.4, and are read by the length before them.

    In the middle of a log, a message probably begins where a whole one with its CheckSum follows.
    The payload, which the limit counts, is all of the message.
    """

    name = "fix"
    overhead = _LONGEST_HEADER  # of what may turn out to be no message, and is then not too large either
    synchronises = "likely"
    slow_frame = staticmethod(_slow_frame)
    examples: ClassVar[dict[bytes, list[FixMessage]]] = {
        b"8=FIX.4.4\x019=12\x0135=0\x01112=ab\x0110=102\x01": [FixMessage("FIX.4.4", ((35, b"0"), (112, b"ab")))],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"8=FIX.4.4\x0135=0\x01": "message without version and length"}
    peers = ("simplefix 1.0.17 (PyPI)",)

    skip: Annotated[bool, "Skip bytes that do not begin a message."] = False
    max_size: Annotated[int | None, "The largest message. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span as soon as the length has arrived."""
        if (noise := before_mark(window, (_MARK,), skip=self.skip)) is not None:
            return noise
        data, start = window.data, window.start
        header = _HEADER.match(data, start)
        if header is not None:
            stop = header.end() + int(header[2]) + _TRAILER_SIZE
            return start, stop, stop
        begun = _UNFINISHED.match(data, start)
        end = start if begun is None else begun.end()
        if end < len(data):
            if self.skip:
                return start, start, start + 1, PADDING
            raise FramingError("message without version and length", position=end)
        return NeedMore()

    def decode(self, payload: bytes) -> FixMessage:
        """Return the message. ValueError for a checksum or a field that is wrong."""
        header, trailer = _HEADER.match(payload), payload[-_TRAILER_SIZE:]
        if header is None or header.end() + int(header[2]) + _TRAILER_SIZE != len(payload):
            raise ValueError("message was truncated")
        if _TRAILER.fullmatch(trailer) is None:
            raise ValueError(f"{trailer!r} where the checksum belongs: the length is wrong")
        if (right := sum(payload[:-_TRAILER_SIZE]) % 256) != int(trailer[3:6]):
            raise ValueError(f"checksum is {int(trailer[3:6])}, not {right}")
        return FixMessage(header[1].decode("ascii"), _fields(payload[header.end() : -_TRAILER_SIZE]))

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place of a whole message of at most 1 MiB."""
        data, size, place = window.data, len(window.data), window.start
        while (place := data.find(_MARK, place)) >= 0:
            header = _HEADER.match(data, place)
            if header is None:
                if size - place < _LONGEST_HEADER and not window.eof:
                    return NeedMore(place + _LONGEST_HEADER - window.start, resume=place)
            else:
                stop = header.end() + int(header[2]) + _TRAILER_SIZE
                if stop > size and stop - place <= _LARGEST_LIKELY and not window.eof:
                    return NeedMore(stop - window.start, resume=place)
                if _TRAILER.match(data, stop - _TRAILER_SIZE):
                    return place
            place += 1
        return size if window.eof else NeedMore(resume=max(window.start, size - len(_MARK) + 1))

    def encode(self, frame: FixMessage) -> bytes:
        """Return the message with its length and checksum.

        Raises:
            EncodeError: it is no message, a value holds SOH that its tag does not allow, or it is too large.
        """
        try:
            version, fields = frame
            body = b"".join(b"%d=%b\1" % (tag, bytes_of(value)) for tag, value in fields)
            head = b"8=%b\x019=%d\1%b" % (version.encode("ascii"), len(body), body)
            wire = b"%b10=%03d\1" % (head, sum(head) % 256)
            again: Any = self.decode(wire)
        except Exception as error:
            raise EncodeError(f"no FIX message: {error}") from error
        if again != frame:
            raise EncodeError("message would be read back differently")
        if self.max_size is not None and len(wire) > self.max_size:
            raise EncodeError(f"message of {counted(len(wire), 'byte')} exceeds the limit {self.max_size}")
        return wire


def _fields(body: bytes) -> tuple[tuple[int, bytes], ...]:
    fields: list[tuple[int, bytes]] = []
    at, data_tag, data_size = 0, 0, 0
    while at < len(body):
        equals = body.find(b"=", at)
        name = body[at:equals]
        if equals < 0 or not name.isdigit() or name.startswith(b"0"):
            raise ValueError(f"{body[at : at + 40]!r} is not a field")
        tag = int(name)
        end = equals + 1 + data_size if tag == data_tag else body.find(_SOH, equals)
        if body[end : end + 1] != _SOH or end < 0:
            raise ValueError(f"field {tag} has no end")
        value = body[equals + 1 : end]
        fields.append((tag, value))
        data_tag, data_size = _DATA.get(tag, 0), int(value) if tag in _DATA and value.isdigit() else 0
        at = end + 1
    return tuple(fields)
