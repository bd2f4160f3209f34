"""Nmea: the sentences of NMEA 0183."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan
from framestream.framers import Delimiter
from framestream_marked._noise import before_mark

_MARKS: Final = (b"$", b"!")
_END: Final = Delimiter(b"\n")
_LINE_ENDS: Final = re.compile(rb"(?:\r?\n)+")
_SENTENCE: Final = re.compile(r"([$!])([A-Z0-9]+)((?:,[^,*$!\r\n]*)*)(?:\*([0-9A-F]{2}))?\r?\n", re.ASCII)


class Sentence(NamedTuple):
    """A sentence.

    Attributes:
        name: the talker and the sentence's type, such as ``"GPGGA"``.
        fields: the texts between its commas.
        mark: ``"$"``, or ``"!"`` of sentences with encapsulated data, such as those of AIS.
    """

    name: str
    fields: tuple[str, ...]
    mark: str = "$"


@dataclass(frozen=True)
class Nmea(Framer[Sentence]):
    r"""Cut sentences of NMEA 0183 (version 4.11, section 5.3): text, a checksum, CR LF.

    ::

        INPUT     $GPGLL,5057.97,N,00146.11,E,142451,A*27\r\n
        DECODED   Sentence("GPGLL", ("5057.97", "N", "00146.11", "E", "142451", "A"))

    The checksum is the exclusive or of all between the mark and the star. A sentence without one, or with
    another, and one that is malformed, is a `PayloadError`, and costs only that sentence; with
    ``checksum=no``, it may be left out. LF alone ends a sentence as well, and blank lines are ignored. Any
    beginning other than ``$`` or ``!`` breaks the stream (`FramingError`); with `skip`, bytes up to the next
    one are skipped, as on a line that also carries UBX.

    Each LF ends a sentence, so that reading may begin after any of them; with `skip` that is only likely.
    """

    name = "nmea"
    overhead = 0
    lookbehind = 1
    examples: ClassVar[dict[bytes, list[Sentence]]] = {
        b"$GPGLL,5057.97,N,00146.11,E,142451,A*27\r\n!AIVDM,1,1,,B,177,0*14\r\n": [
            Sentence("GPGLL", ("5057.97", "N", "00146.11", "E", "142451", "A")),
            Sentence("AIVDM", ("1", "1", "", "B", "177", "0"), "!"),
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {
        b"GPGLL": "message begins with",
        b"$GPGLL*00\r\n": "checksum is 00",
    }
    peers = ("pynmeagps 1.1.8 (PyPI)",)

    checksum: Annotated[bool, "Refuse sentences without a checksum, too."] = True
    skip: Annotated[bool, "Skip bytes that do not begin a sentence."] = False
    max_size: Annotated[int | None, "The longest sentence, with its mark and line end. Bytes."] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "synchronises", "likely" if self.skip else "exact")

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to the LF."""
        data, start = window.data, window.start
        if window.resume == start and not window.taken:
            if (blank := _LINE_ENDS.match(data, start)) is not None:
                return start, start, blank.end(), PADDING
            if len(data) == start + 1 and data.endswith(b"\r") and not window.eof:
                return NeedMore(2)
            if (noise := before_mark(window, _MARKS, skip=self.skip)) is not None:
                return noise
        end = data.find(b"\n", window.resume) + 1
        return (start, end, end) if end else NeedMore(resume=len(data), settled=len(data))

    def decode(self, payload: bytes) -> Sentence:
        """Return the sentence. ValueError for other text, or for a checksum that does not match."""
        found = _SENTENCE.fullmatch(payload.decode("ascii"))
        if found is None:
            raise ValueError(f"{payload[:82]!r} is not a sentence")
        mark, name, fields, given = found.groups()
        if given is None and self.checksum:
            raise ValueError("no checksum")
        if given is not None and given != (right := _checksum(name + fields)):
            raise ValueError(f"checksum is {given}, not {right}")
        return Sentence(name, tuple(fields.split(",")[1:]), mark)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place after the first LF."""
        return _END.find_start(window)

    def encode(self, frame: Sentence) -> bytes:
        """Return the sentence with its checksum. Raise EncodeError for other text, or above `max_size`."""
        try:
            name, fields, mark = frame
            text = ",".join((name, *fields))
            wire = f"{mark}{text}*{_checksum(text)}\r\n".encode("ascii")
            again: Any = self.decode(wire)
        except Exception as error:
            raise EncodeError(f"no NMEA sentence: {error}") from error
        if again != frame:
            raise EncodeError("sentence would be read back differently")
        if self.max_size is not None and len(wire) > self.max_size:
            raise EncodeError(f"sentence of {counted(len(wire), 'byte')} exceeds the limit {self.max_size}")
        return wire


def _checksum(text: str) -> str:
    return f"{reduce(xor, text.encode('ascii')):02X}"
