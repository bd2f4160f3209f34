"""COBS and COBS/R: the examples of the paper and of its implementations, damaged packets, and the kit."""

from __future__ import annotations

import pytest

from framestream import EncodeError, PayloadError, iter_frames
from framestream.testing import check_framer
from framestream_cobs import Cobs, CobsR

RUN = bytes(range(1, 255))

STUFFED = {
    b"": "01",
    b"\0": "01 01",
    b"\0\0": "01 01 01",
    b"\0\x11\0": "01 02 11 01",
    b"\x11\x22\0\x33": "03 11 22 02 33",
    b"\x11\x22\x33\x44": "05 11 22 33 44",
    b"\x11\0\0\0": "02 11 01 01 01",
    RUN: "ff" + RUN.hex(),
    b"\0" + RUN: "01 ff" + RUN.hex(),
    RUN + b"\xff": "ff" + RUN.hex() + "02 ff",
    RUN[1:] + b"\xff\0": "ff" + RUN[1:].hex() + "ff 01 01",
    RUN[2:] + b"\xff\0\1": "fe" + RUN[2:].hex() + "ff 02 01",
}
REDUCED = {
    b"": "01",
    b"\0": "01 01",
    b"\1": "02 01",
    b"\2": "02",
    b"\x11\x22\x33": "33 11 22",
    b"\x11\x22\x33\4": "05 11 22 33 04",
    b"\x11\x22\x33\5": "05 11 22 33",
    b"\x11\0": "02 11 01",
    b"\x11\0\x22": "02 11 22",
    RUN: "ff" + RUN.hex(),
    RUN[:-1] + b"\xff": "ff" + RUN[:-1].hex(),
}


def wire(stuffed: str) -> bytes:
    return bytes.fromhex(stuffed) + b"\0"


@pytest.mark.parametrize(("framer", "packets"), [(Cobs(), STUFFED), (CobsR(), REDUCED)])
def test_conformance(framer: Cobs, packets: dict[bytes, str]) -> None:
    check_framer(
        framer,
        examples=[
            *((wire(stuffed), [packet]) for packet, stuffed in packets.items()),
            (b"\0\0\0" + b"\0\0".join(map(wire, packets.values())), list(packets)),
            (b"\0\0", []),
        ],
        malformed={} if isinstance(framer, CobsR) else {b"\2\0": "code 2 at 0 reaches 1 byte beyond the end"},
        incomplete=[b"\1", b"\2\x11", b"\1\0\5"],
        slow_frame=lambda size: framer.encode(b"ab\0" * (size // 3)),
    )


@pytest.mark.parametrize(("framer", "packets"), [(Cobs(), STUFFED), (CobsR(), REDUCED)])
def test_packets_are_stuffed_as_the_examples_are(framer: Cobs, packets: dict[bytes, str]) -> None:
    assert {packet: framer.encode(packet) for packet in packets} == {p: wire(s) for p, s in packets.items()}


def test_reading_gets_in_step_at_the_first_zero_and_a_damaged_packet_costs_no_other() -> None:
    bad: list[PayloadError] = []
    stream = b"\x33\x02\x44\0" + wire("03 11 22") + b"\x09\x11\0" + wire("02 33")
    assert list(iter_frames(stream, Cobs(), on_payload_error=bad.append)) == [b"\x11\x22", b"\x33"]
    assert [error.offset for error in bad] == [0, 8]


@pytest.mark.parametrize("payload", [b"", b"\2\0", b"\0"])
def test_a_payload_holds_a_code_and_no_zero(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"no code|a zero at"):
        Cobs().decode(payload)


@pytest.mark.parametrize("framer", [Cobs(max_size=4), CobsR(max_size=3)])
def test_the_limit_counts_stuffed_bytes(framer: Cobs) -> None:
    assert list(iter_frames(framer.encode(b"\x11\x22\x33"), framer)) == [b"\x11\x22\x33"]
    with pytest.raises(EncodeError, match="exceeds the limit"):
        framer.encode(b"\x11\x22\x33\x44")


@pytest.mark.parametrize("framer", [Cobs(), CobsR()], ids=str)
def test_stuffing_a_large_packet_adds_one_byte_in_254(framer: Cobs) -> None:
    packet = b"\1" * (254 << 10)
    assert len(framer.encode(packet)) == len(packet) + 1024 + 1
    assert list(iter_frames(framer.encode(packet), framer)) == [packet]
