"""Ber: elements of ASN.1's Basic Encoding Rules, as on an LDAP connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, NoReturn

from framestream import Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import bytes_of
from framestream_erlang._extent import refuse_other_extent

_HIGH_TAG: Final = 31
_MOST_TAG: Final = 4
"""Bytes of a tag number: 28 bits, more than any protocol defines."""
_MOST_LENGTH: Final = 8
_INDEFINITE: Final = 0x80
_RESERVED: Final = 0xFF


@dataclass(frozen=True)
class Ber(Framer[bytes]):
    r"""Cut BER elements of definite length (X.690 8.1), undecoded; Erlang's ``asn1``.

    ::

        INPUT     0\3\2\1\5         \4\x81\3abc
        DECODED   b"0\3\2\1\5"      b"\4\x81\3abc"

    A frame, and the payload, is a whole element: identifier octets (8.1.2), length octets (8.1.3) and
    contents. LDAP messages are such elements (RFC 4511 5.1), and so are Kerberos', H.323's and X.400's.

    These break the stream (`FramingError`): the indefinite length, which RFC 4511 5.1 and DER forbid; the
    length octet 0xFF (8.1.3.5); a length of more than 8 octets; a tag number with leading zeros (8.1.2.4.2),
    below 31 in the form for higher ones (8.1.2.2), or of more than 4 octets.
    """

    name = "ber"
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"0\3\2\1\5\4\x81\3abc": [b"0\3\2\1\5", b"\4\x81\3abc"]}
    malformed: ClassVar[dict[bytes, str]] = {b"0\x80\0\0": "indefinite length", b"0\xff": "length octet 0xFF"}
    peers = ("Erlang/OTP 25 (erts 13.1.5)",)

    max_size: Annotated[int | None, "The largest element, with its header. Bytes."] = None

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span as soon as the length octets have arrived."""
        data, start, size = window.data, window.start, len(window.data)
        if start == size:
            return NeedMore(2)
        at = start + 1
        if data[start] & _HIGH_TAG == _HIGH_TAG:
            at = self._after_tag(data, at)
        if not start < at < size:
            return NeedMore()
        length, first = data[at], at + 1
        if length >= _INDEFINITE:
            octets = self._octets(length, at)
            if first + octets > size:
                return NeedMore(first + octets - start)
            length = int.from_bytes(data[first : first + octets], "big")
            first += octets
        return start, first + length, first + length

    def _after_tag(self, data: bytes | bytearray, at: int) -> int:
        """Return where a tag number in several octets ends, or 0 if it is incomplete (8.1.2.4)."""
        octets = data[at : at + _MOST_TAG]
        for index, octet in enumerate(octets):
            if octet == 0x80 and not index:
                self._refuse("tag number with leading zeros", at)
            if octet < 0x80:
                if not index and octet < _HIGH_TAG:
                    self._refuse(f"tag number {octet} in the form for {_HIGH_TAG} and above", at)
                return at + index + 1
        if len(octets) == _MOST_TAG:
            self._refuse(f"tag number of more than {_MOST_TAG} octets", at)
        return 0

    def _octets(self, octet: int, at: int) -> int:
        if octet == _INDEFINITE:
            self._refuse("element of indefinite length", at)
        if octet == _RESERVED:
            self._refuse("length octet 0xFF", at)
        if octet & 0x7F > _MOST_LENGTH:
            self._refuse(f"length of {counted(octet & 0x7F, 'octet')}, at most {_MOST_LENGTH}", at)
        return octet & 0x7F

    def _refuse(self, reason: str, position: int) -> NoReturn:
        raise FramingError(reason, position=position)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole element with a tag below 31 and a length of up to two octets."""
        data, start = bytes(window.data), window.start
        size = len(data)
        elements: list[bytes] = []
        append = elements.append
        while start + 2 <= size and data[start] & _HIGH_TAG != _HIGH_TAG:
            length = data[start + 1]
            if length < _INDEFINITE:
                stop = start + 2 + length
            elif length == 0x81 and start + 3 <= size:
                stop = start + 3 + data[start + 2]
            elif length == 0x82 and start + 4 <= size:
                stop = start + 4 + (data[start + 2] << 8 | data[start + 3])
            else:
                break
            if stop > size:
                break
            append(data[start:stop])
            start = stop
        return elements, start

    def encode(self, frame: bytes) -> bytes:
        """Return the element itself. Raise EncodeError if it is not exactly one, of definite length."""
        frame = bytes_of(frame, self.max_size)
        refuse_other_extent(self, frame)
        return frame
