"""Erlang's packet types: the rules of each specification, hostile headers, and the kit."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import FRAME_END, NEED_DATA, EncodeError, FrameDecoder, Framer, FrameTooLarge, iter_frames
from framestream.testing import check_framer
from framestream.testing.cost import CountedBytes
from framestream_erlang import Ber, ErlangPacket, FastCgi, Giop, Record, RecordMarking, Tpkt


@pytest.mark.parametrize("size", [1, 2, 4])
def test_conformance_of_erlang_packets(size: int) -> None:
    def packet(payload: bytes) -> bytes:
        return len(payload).to_bytes(size, "big") + payload

    check_framer(
        ErlangPacket(size),  # type: ignore[arg-type]  # 1, 2 or 4
        examples={packet(b"hello") + packet(b"") + packet(b"a" * 200): [b"hello", b"", b"a" * 200], b"": []},
        malformed={b"GET / HTTP/1.1\r\n": "HTTP", b"\xff" * 4: "frame of 4294967295 bytes"} if size == 4 else {},
        incomplete=[packet(b"hello")[:-1], packet(b"x")[:size]],
    )


def test_conformance_of_tpkt() -> None:
    check_framer(
        Tpkt(),
        examples={
            b"\3\0\0\x07\2\xf0\x80": [b"\2\xf0\x80"],
            b"\3\xff\0\x08abcd\3\0\1\0" + b"x" * 252: [b"abcd", b"x" * 252],
            b"": [],
        },
        malformed={
            b"\2": "TPKT of version 2, it must be 3",
            b"\x16\3\1\0": "TPKT of version 22",
            b"\3\0\0\x06\2\xf0": "TPKT of 6 bytes, it must be at least 7",
            b"\3\0\0\0": "TPKT of 0 bytes",
        },
        incomplete=[b"\3", b"\3\0\0", b"\3\0\0\x07", b"\3\0\0\x07ab"],
        slow_frame=lambda size: b"\3\0" + (size + 4).to_bytes(2, "big") + b"x" * size,
    )


ELEMENTS = [
    b"0\3\2\1\5",  # SEQUENCE { INTEGER 5 }
    b"\5\0",
    b"\4\x81\3abc",  # a longer length than needed (X.690 8.1.3.5, note 2)
    b"\4\x84\0\0\0\1a",
    b"\4\x82\1\0" + b"x" * 256,
    b"\4\x81\x80" + b"x" * 128,
    b"\x1f\x1f\1a",  # the least tag number in several octets
    b"\xbf\x84\1\0",
    b"\x7f\xff\xff\xff\x7f\1a",
]


def test_conformance_of_ber() -> None:
    check_framer(
        Ber(),
        examples=[(b"", []), (b"".join(ELEMENTS[:3]), ELEMENTS[:3]), *((each, [each]) for each in ELEMENTS)],
        malformed={
            b"\4\x88\x7f" + b"\xff" * 7: "frame of 9223372036854775817 bytes exceeds the limit",
            b"0\x80\0\0": "element of indefinite length",
            b"0\xff": "length octet 0xFF",
            b"0\x89": "length of 9 octets, at most 8",
            b"\x1f\x80\x1f\0": "tag number with leading zeros",
            b"\x1f\x1e\0": "tag number 30 in the form for 31 and above",
            b"\x1f\xff\xff\xff\xff\x7f\0": "tag number of more than 4 octets",
            b"\x1f\x1f\x80": "element of indefinite length",
        },
        incomplete=[b"0", b"0\3", b"0\3\2\1", b"0\x82", b"0\x82\1", b"\x1f", b"\x1f\x9f", b"\x1f\x1f"],
        slow_frame=lambda size: b"\4\x83" + size.to_bytes(3, "big") + b"x" * size,
    )


def test_conformance_of_giop() -> None:
    big = b"GIOP\1\2\0\0\0\0\0\4abcd"
    little = b"GIOP\1\0\1\1\4\0\0\0abcd"
    check_framer(
        Giop(),
        examples={big: [big], little + big: [little, big], b"GIOP\1\1\0\5\0\0\0\0": [b"GIOP\1\1\0\5\0\0\0\0"]},
        malformed={
            b"GIOP\1\2\0\0\xff\xff\xff\xff": "frame of 4294967307 bytes exceeds the limit",
            b"GET / HTTP/1.1\r\n": "message does not begin with b'GIOP'",
            b"GIOX": "message does not begin with b'GIOP'",
            b"X": "message does not begin with b'GIOP'",
            b"GIOP\2": "GIOP of version 2",
        },
        incomplete=[b"G", b"GIOP", b"GIOP\1\2\0\0\0\0\0", big[:-1]],
        slow_frame=lambda size: b"GIOP\1\2\0\0" + size.to_bytes(4, "big") + b"x" * size,
    )


# FastCGI 1.0, appendix B, the second example: what a web server sends.
FASTCGI = (
    b"\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0"
    b"\1\4\0\1\0\x0f\1\0\x0b\2SERVER_PORT80\0\1\4\0\1\0\0\0\0"
    b"\1\5\0\1\0\x0b\5\0quantity=10\0\0\0\0\0"
)
RECORDS = [
    Record(1, 1, b"\0\1\0\0\0\0\0\0"),
    Record(4, 1, b"\x0b\2SERVER_PORT80"),
    Record(4, 1, b""),
    Record(5, 1, b"quantity=10"),
]


@pytest.mark.parametrize("align", [1, 8, 256])
def test_conformance_of_fastcgi(align: int) -> None:
    check_framer(
        FastCgi(align),
        examples={FASTCGI: RECORDS, b"\1\x63\xff\xff\0\1\xff\7a" + b"p" * 255: [Record(99, 65535, b"a")]},
        malformed={b"\0": "record of version 0, it must be 1", b"\2\1\0\1": "record of version 2"},
        incomplete=[b"\1", b"\1\1\0\1\0\1\0", b"\1\1\0\1\0\1\0\0", b"\1\1\0\1\0\1\1\0a"],
        slow_frame=lambda size: b"".join(FastCgi().encode(Record(5, 1, b"x" * size))),
    )


def test_fastcgi_pads_records_as_the_specification_recommends() -> None:
    wire = [b"".join(FastCgi().encode(record)) for record in RECORDS]
    assert [len(each) % 8 for each in wire] == [0, 0, 0, 0]
    assert wire[3] == b"\1\5\0\1\0\x0b\5\0quantity=10" + bytes(5)


RECORD_EXAMPLES: dict[bytes, list[bytes]] = {
    b"\x80\0\0\5hello": [b"hello"],
    b"\x80\0\0\0\x80\0\0\1a": [b"", b"a"],
    b"\0\0\0\3hel\x80\0\0\2lo\x80\0\0\1!": [b"hello", b"!"],
    b"\0\0\0\0\0\0\0\0\x80\0\0\0": [b""],
    b"\0\0\0\1a\0\0\0\0\0\0\0\1b\x80\0\0\0": [b"ab"],
    b"": [],
}
RECORD_BEGUN = [b"\x80", b"\x80\0\0\5hell", b"\0\0\0\1", b"\0\0\0\1a", b"\0\0\0\1a\x80\0", b"\0\0\0\1a\x80\0\0\1"]


@pytest.mark.parametrize("fragment", [1, 3, 0x7FFFFFFF])
def test_conformance_of_record_marking(fragment: int) -> None:
    def slow(size: int) -> bytes:
        return b"".join(RecordMarking(7).encode(b"x" * size))

    check_framer(
        RecordMarking(fragment),
        examples=RECORD_EXAMPLES,
        malformed={b"\xff\xff\xff\xff": "frame of 2147483647 bytes exceeds the limit"},
        incomplete=RECORD_BEGUN,
        slow_frame=slow,
    )


def test_a_record_is_written_in_fragments() -> None:
    assert b"".join(RecordMarking(2).encode(b"hello")) == b"\0\0\0\2he\0\0\0\2ll\x80\0\0\1o"
    assert b"".join(RecordMarking(5).encode(b"hello")) == b"\x80\0\0\5hello"


@pytest.mark.parametrize("fragment", [1, 7, 2000, 3000])
def test_writing_copies_each_byte_once_however_many_fragments_there_are(fragment: int) -> None:
    record = CountedBytes(bytes(range(200)) * 10)
    wire = b"".join(RecordMarking(fragment).encode(record))
    assert list(iter_frames(wire, RecordMarking())) == [record]
    assert record.examined <= 2 * len(record)


def test_the_limit_holds_for_all_fragments_together() -> None:
    wire = b"\0\0\0\2he\0\0\0\2ll\x80\0\0\1o"  # 5 bytes, and 8 of marks after the first
    assert list(iter_frames(wire, RecordMarking(max_size=13))) == [b"hello"]
    with pytest.raises(FrameTooLarge, match="exceeds the limit"):
        list(iter_frames(wire, RecordMarking(max_size=12)))
    assert list(iter_frames(wire + b"\x80\0\0\1!", RecordMarking(max_size=12), on_oversize="discard")) == [b"!"]


def test_endless_empty_fragments_come_to_an_end() -> None:
    decoder = FrameDecoder(max_frame_size=1000)
    decoder.receive_data(bytes(1000))
    assert decoder.next_frame(RecordMarking()) is NEED_DATA
    decoder.receive_data(bytes(100))
    with pytest.raises(FrameTooLarge):
        decoder.next_frame(RecordMarking())


def test_a_record_of_many_fragments_is_discarded_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=1000, on_oversize="discard")
    for _ in range(1000):
        decoder.receive_data(b"\0\0\x27\x10" + bytes(10_000))
        assert decoder.next_frame(RecordMarking()) is NEED_DATA
    decoder.receive_data(b"\x80\0\0\0\x80\0\0\2ok")
    assert decoder.next_frame(RecordMarking()) == b"ok"
    assert decoder.stats.high_water < 12_000


def test_a_record_is_streamed_with_the_marks_inside_it() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"\0\0\0\3hel\x80\0")
    assert decoder.next_part(RecordMarking()) == b"hel"
    decoder.receive_data(b"\0\2lo")
    assert decoder.next_part(RecordMarking()) == b"\x80\0\0\2lo"
    assert decoder.next_part(RecordMarking()) is FRAME_END


@pytest.mark.parametrize(("framer", "frame", "complaint"), [
    (ErlangPacket(1), bytes(256), "256"),
    (ErlangPacket(1, max_size=3), b"long", "payload of 4 bytes exceeds the limit 3"),
    (Tpkt(), b"ab", "TPKT of 6 bytes, it must be from 7 to 65535"),
    (Tpkt(), bytes(65532), "TPKT of 65536 bytes"),
    (Tpkt(max_size=3), b"long", "exceeds the limit 3"),
    (Ber(), b"", "frame of 0 bytes is shorter than its header"),
    (Ber(), b"\4\2a", "frame of 3 bytes, but its header says 4"),
    (Ber(), b"\4\1ab", "frame of 4 bytes, but its header says 3"),
    (Ber(), b"0\x80\0\0", "indefinite"),
    (Giop(), b"GIOP", "frame of 4 bytes is shorter than its header"),
    (Giop(max_size=3), b"GIOP", "exceeds the limit 3"),
    (FastCgi(), Record(256), "type 256"),
    (FastCgi(), Record(1, 65536), "request 65536"),
    (FastCgi(), Record(1, 1, bytes(65536)), "65536 bytes"),
    (FastCgi(max_size=3), Record(1, 1, b"long"), "exceeds the limit 3"),
    (RecordMarking(max_size=3), b"long", "record of 4 bytes with its marks exceeds the limit 3"),
    (RecordMarking(1, max_size=4), b"ab", "record of 6 bytes with its marks exceeds the limit 4"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Framer[Any], frame: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(frame)


@pytest.mark.parametrize(("kind", "option", "value"), [
    (ErlangPacket, "size", 3),
    (FastCgi, "align", 0),
    (FastCgi, "align", 257),
    (RecordMarking, "fragment", 0),
    (RecordMarking, "fragment", 1 << 31),
])  # fmt: skip
def test_options_are_checked(kind: type[Any], option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{option} is {value}; it must be"):
        kind(**{option: value})
