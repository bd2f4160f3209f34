"""SLIP: what RFC 1055 says, what violates it, and the kit."""

from __future__ import annotations

import pytest

from framestream import EncodeError, PayloadError, iter_frames
from framestream.testing import check_framer
from framestream_slip import Slip

EXAMPLES: dict[bytes, list[bytes]] = {
    b"\1\2\3\xc0": [b"\1\2\3"],
    b"\xc0\1\xdb\xdc\2\xdb\xdd\3\xc0": [b"\1\xc0\2\xdb\3"],
    b"\xc0\xc0a\xc0\xc0\xc0b\xc0\xc0": [b"a", b"b"],
    b"\xdb\xdd\xdc\xc0\xdb\xdd\xdd\xc0": [b"\xdb\xdc", b"\xdb\xdd"],
    b"\xdb\xdc\xdc\xdd\xc0\xdb\xdc\xc0": [b"\xc0\xdc\xdd", b"\xc0"],
    b"\xc0": [],
}


def test_conformance() -> None:
    check_framer(
        Slip(),
        examples=EXAMPLES,
        malformed={
            b"a\xdbb\xc0": "ESC at 1 with b'b' after it",
            b"\xdb\xc0": "ESC at 0 with b'' after it",
            b"\xdb\xdb\xdc\xc0": "ESC at 0 with b'\\xdb' after it",
        },
        incomplete=[b"a", b"a\xc0\xdb", b"\xdb\xdc"],
        slow_frame=lambda size: b"a\xdb\xdc" * (size // 3) + b"\xc0",
    )


def test_conformance_when_bad_escapes_are_left_alone() -> None:
    check_framer(
        Slip(strict=False),
        examples={
            **EXAMPLES,
            b"a\xdbb\xdb\xdc\xc0": [b"ab\xc0"],
            b"a\xdb\xc0": [b"a"],
            b"\xdb\xdb\xdc\xc0": [b"\xdb\xdc"],
        },
    )


def test_conformance_when_packets_begin_with_end() -> None:
    check_framer(Slip(leading=True), examples=EXAMPLES)


def test_a_packet_with_a_bad_escape_costs_no_other() -> None:
    bad: list[PayloadError] = []
    assert list(iter_frames(b"a\xc0\xdbx\xc0b\xc0", Slip(), on_payload_error=bad.append)) == [b"a", b"b"]
    assert [(error.offset, error.payload) for error in bad] == [(2, b"\xdbx")]


def test_line_noise_in_front_of_a_leading_end_is_a_packet_of_its_own() -> None:
    assert list(iter_frames(b"\x7f\xfe" + b"".join([Slip(leading=True).encode(b"ip")]), Slip())) == [b"\x7f\xfe", b"ip"]


@pytest.mark.parametrize(
    ("framer", "packet", "complaint"),
    [(Slip(), b"", "a packet of no bytes"), (Slip(max_size=3), b"\xc0\xdb", "packet of 4 bytes with its escapes")],
)
def test_what_cannot_be_written_is_refused(framer: Slip, packet: bytes, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(packet)
