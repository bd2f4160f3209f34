"""Slip: packets ended by END, with escapes for bytes that look like it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan, bytes_of
from framestream.framers import Delimiter

END: Final = b"\xc0"
ESC: Final = b"\xdb"
_ESC: Final = ESC[0]  # a number is found in a tenth of the time that bytes take
ESCAPED_END: Final = b"\xdb\xdc"
ESCAPED_ESC: Final = b"\xdb\xdd"

_ENDS: Final = re.compile(rb"\xc0+")
_END: Final = Delimiter(END)
_BAD_ESCAPE: Final = re.compile(rb"\xdb(?![\xdc\xdd])")


@dataclass(frozen=True)
class Slip(Framer[bytes]):
    r"""Cut SLIP packets (RFC 1055, "A Nonstandard for Transmission of IP Datagrams over Serial Lines").

    ::

        INPUT     01 02 03 c0    c0 01 db dc 02 db dd 03 c0
        DECODED   01 02 03       01 c0 02 db 03

    "Protocol": END (c0) ends a packet; an END in it is sent as ESC ESC_END (db dc), an ESC (db) as ESC
    ESC_ESC (db dd). Drivers may begin a packet with END, too, which flushes line noise as a packet of its
    own: empty packets are ignored, and `leading` writes that END. OSC 1.1 does so.

    An ESC with anything else after it is a protocol violation, and here a `PayloadError`, which costs only
    that packet. The driver in the RFC leaves the byte alone and puts it into the packet: ``strict=no`` does.

    The limit counts bytes as they are sent, escapes included.
    """

    name = "slip"
    overhead = 1
    synchronises = "exact"
    lookbehind = 1
    examples: ClassVar[dict[bytes, list[bytes]]] = {
        b"\1\2\3\xc0\xc0\1\xdb\xdc\2\xdb\xdd\3\xc0": [b"\1\2\3", b"\1\xc0\2\xdb\3"],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"a\xdbb\xc0": "ESC at 1"}
    peers = ("sliplib 0.7.2 (PyPI)",)

    leading: Annotated[bool, "Write an END before every packet, too."] = False
    strict: Annotated[bool, "Refuse a packet with an ESC that escapes nothing."] = True
    max_size: Annotated[int | None, "The longest packet as it is sent, without its END. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span up to END; ENDs before a packet are padding."""
        data, start = window.data, window.start
        end = data.find(END, window.resume)
        if end < 0:
            return NeedMore(resume=len(data), settled=len(data))
        if end == start and not window.taken:
            return start, start, _ENDS.match(data, start).end(), PADDING  # type: ignore[union-attr]  # an END
        return start, end, end + 1

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the place after the first END."""
        return _END.find_start(window)

    def decode(self, payload: bytes) -> bytes:
        """Return the packet. ValueError for an ESC that escapes nothing, unless not `strict`."""
        if _ESC not in payload:
            return payload
        bad = _BAD_ESCAPE.search(payload)
        if bad is None:
            # The second byte of an escape is never ESC, so that every match is one.
            return payload.replace(ESCAPED_END, END).replace(ESCAPED_ESC, ESC)
        if self.strict:
            following = payload[bad.end() : bad.end() + 1]
            raise ValueError(f"ESC at {bad.start()} with {following!r} after it")
        return _ESCAPE.sub(_leniently, payload)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Split at the ENDs and take the escapes out of the packets that have any."""
        data, start = bytes(window.data), window.start
        packets: list[bytes] = []
        append, decode = packets.append, self.decode
        end = start
        try:
            for sent in data[start : data.rfind(END, start) + 1].split(END)[:-1]:
                start += len(sent) + 1
                if sent:
                    append(decode(sent) if _ESC in sent else sent)
                    end = start
        except ValueError:
            pass  # `find` and `decode` report what is wrong with this one
        return packets, end

    def encode(self, frame: bytes) -> bytes:
        """Return the packet with its escapes and END.

        Raises:
            EncodeError: an empty packet, which every reader would ignore, or one that exceeds `max_size`.
        """
        packet = bytes_of(frame)
        if not packet:
            raise EncodeError("a packet of no bytes would be ignored by its reader")
        sent = packet.replace(ESC, ESCAPED_ESC).replace(END, ESCAPED_END)
        if self.max_size is not None and len(sent) > self.max_size:
            raise EncodeError(
                f"packet of {counted(len(sent), 'byte')} with its escapes exceeds the limit {self.max_size}"
            )
        return END + sent + END if self.leading else sent + END


_ESCAPE: Final = re.compile(rb"\xdb(.?)", re.DOTALL)
_MEANINGS: Final = {b"\xdc": END, b"\xdd": ESC}


def _leniently(escape: re.Match[bytes]) -> bytes:
    return _MEANINGS.get(escape[1], escape[1])
