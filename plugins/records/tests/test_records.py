"""TFRecord, WARC, pcapng and journal export: the kit, malformed archives, where records begin, writing."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import Any

import pytest

from framestream import EncodeError, FrameTooLarge, FramingError, PayloadError, get_framer, iter_frames
from framestream.archives import plan, stitch
from framestream.testing import check_framer
from framestream.testing.streams import find_start
from framestream_records import Block, JournalExport, Pcapng, TFRecord, Warc, WarcRecord

HELLO = b"\5\0\0\0\0\0\0\0\xea\xb2\x04>hello\xbb\x1f\x1c\x19"
SECTION = Block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a\1\0\0\0" + b"\xff" * 8)
BIG_SECTION = Block(0x0A0D0D0A, b"\x1a\x2b\x3c\x4d\0\1\0\0" + b"\xff" * 8, "big")


def record(block: bytes, kind: str = "resource") -> bytes:
    headers = (("WARC-Type", kind), ("Content-Length", str(len(block))))
    return b"".join(Warc().encode(WarcRecord("1.0", headers, block)))


MATERIAL: dict[str, dict[str, Any]] = {
    "tfrecord": {
        "malformed": {
            HELLO[:8] + b"\0" + HELLO[9:]: "checksum of the length 5 does not match (at offset 8)",
            b"\4" + HELLO[1:]: "checksum of the length 4",
            HELLO[:12] + b"H" + HELLO[13:] + HELLO: "checksum of the record does not match",
        },
        "incomplete": [HELLO[:7], HELLO[:12], HELLO[:-1]],
    },
    "warc": {
        "malformed": {
            b"GET / HTTP/1.1\r\n\r\n": "record begins with b'GET /', not with b'WARC/'",
            b"WARC/2.0\r\n\r\n": "version b'2.0' of WARC",
            b"WARC/1.0\r\nno header\r\n\r\n": "b'no header' is not a header",
            b"WARC/1.0\r\n folded\r\n\r\n": "b' folded' is not a header",
            b"WARC/1.0\r\nName : x\r\n\r\n": "b'Name : x' is not a header",
            b"WARC/1.0\r\n\r\n": "header with 0 Content-Length",
            b"WARC/1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx\r\n\r\n": "header with 2 Content-L",
            b"WARC/1.0\r\nContent-Length: -1\r\n\r\n\r\n\r\n": "'-1' is not a number in digits",
            b"WARC/1.0\r\nContent-Length: 1\r\n\r\nxy\r\n\r\n": "frame ends with",
        },
        "incomplete": [b"WAR", b"WARC/1.0\r\n", record(b"some")[:-1], record(b"some")[:-6], b"\r\n\r\n\r"],
    },
    "pcapng": {
        "malformed": {
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0" + bytes(20): "section header without its magic number",
            b"\6\0\0\0\x08\0\0\0": "block of 8 bytes (at offset 4)",
            b"\6\0\0\0\x0e\0\0\0" + bytes(6): "block of 14 bytes",
            b"\6\0\0\0\x10\0\0\0abcd\x14\0\0\0": "frame ends with",
        },
        "incomplete": [b"\6\0\0\0", Pcapng().encode(SECTION)[:10], Pcapng().encode(SECTION)[:-1]],
    },
    "journal-export": {
        "malformed": {
            b"lower=1\n\n": "b'lower' is not a name of a field",
            b"=1\n\n": "b'' is not a name",
            b"A" * 65 + b"=1\n\n": "is not a name",
            b"A\n\1\0\0\0\0\0\0\0xy\n": "field of 1 byte",
        },
        "incomplete": [b"A=1\n", b"A", b"A\n\1\0\0\0\0\0\0\0x"],
    },
}


@pytest.mark.parametrize("name", MATERIAL)
def test_conformance(name: str) -> None:
    framer: Any = get_framer(name)
    slow = {"slow_frame": framer.slow_frame} if hasattr(framer, "slow_frame") else {}
    report = check_framer(framer, examples=framer.examples, **slow, **MATERIAL[name])
    assert {"find-start", "start-cost", "malformed", "incomplete"} <= set(report.kept)


def test_blank_lines_between_records_belong_to_none() -> None:
    frames = list(iter_frames(b"\r\n" + record(b"a") + b"\r\n\r\n" + record(b"b") + b"\r\n", Warc()))
    assert [frame.payload for frame in frames] == [b"a", b"b"]
    assert list(iter_frames(b"\n\nA=1\n\n\n\nA=2\n\n\n", JournalExport())) == [{"A": "1"}, {"A": "2"}]


def test_a_header_of_warc_may_go_on_in_the_next_line() -> None:
    wire = b"WARC/1.1\r\nX: one\r\n two\r\n\tthree\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    [frame] = iter_frames(wire, Warc())
    assert (frame.get("x"), frame.get("y", "none"), frame.type) == ("one two three", "none", "")


def test_a_record_that_is_damaged_costs_no_other() -> None:
    bad: list[PayloadError] = []
    wire = HELLO + HELLO.replace(b"hello", b"hullo") + HELLO
    assert list(iter_frames(wire, TFRecord(), on_payload_error=bad.append)) == [b"hello"] * 2
    assert [error.offset for error in bad] == [len(HELLO)]


@pytest.mark.parametrize(("name", "wire"), [
    ("tfrecord", b"".join(TFRecord().encode(bytes(1000)))),
    ("warc", record(bytes(1000))),
    ("pcapng", Pcapng().encode(Block(6, bytes(1000)))),
])  # fmt: skip
def test_a_record_above_the_limit_is_refused_by_its_header(name: str, wire: bytes) -> None:
    with pytest.raises(FrameTooLarge) as caught:
        list(iter_frames(wire[:80], get_framer(f"{name}:max=100")))
    assert caught.value.size is not None


def test_sections_of_a_capture_may_differ_in_their_byte_order() -> None:
    framer = Pcapng()
    blocks = [SECTION, Block(6, b"abcd"), BIG_SECTION, Block(0x80000001, b"", "big"), Block(0xBAD, b"")]
    wire = b"".join(map(framer.encode, blocks))
    assert list(iter_frames(wire, framer)) == blocks
    assert list(iter_frames(wire[len(framer.encode(SECTION)) :], framer)) == blocks[1:]


@pytest.mark.parametrize(("framer", "pieces"), [
    (TFRecord(), [b"".join(TFRecord().encode(bytes(range(size)))) for size in (0, 1, 100, 8, 0)]),
    (Warc(), [record(b"x" * size) for size in (3, 0, 50)]),
    (Pcapng(), [Pcapng().encode(Block(kind, bytes(4 * kind))) for kind in (1, 6, 6, 5, 6)]),
    (JournalExport(), [b"A=1\nBB\n\3\0\0\0\0\0\0\0\0\n\xff\n\n", b"B=2\n\n", b"_C=3\n\n"]),
], ids=lambda value: value.name if hasattr(value, "name") else "")  # fmt: skip
def test_in_a_sound_archive_the_next_record_is_found_from_every_place(framer: Any, pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    starts = [sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)]
    for place in range(1, len(wire) + 1):
        expected = min(start for start in starts if start >= place)
        assert [find_start(framer, wire, place, step=step) for step in (None, 3)] == [expected] * 2


def test_an_archive_in_an_archive_is_taken_for_the_outer_one_and_leads_back_to_it() -> None:
    inner = record(b"one") + record(b"two")
    wire = record(b"") + record(inner) + record(b"three")
    place = find_start(Warc(), wire, wire.index(b"one"))
    frames = list(iter_frames(wire[place:], Warc()))
    assert [frame.payload for frame in frames] == [b"two", b"three"]


@pytest.mark.parametrize("parts", [2, 3, 7, 20])
def test_archives_in_archives_are_divided_exactly(tmp_path: Path, parts: int) -> None:
    inner = b"".join(record(b"x" * size) for size in range(20))
    tar = b"".join(b"".join(TFRecord().encode(bytes(size))) for size in range(20))
    for framer, wire in (
        (Warc(), record(b"a") + record(inner) + record(inner + record(inner)) + record(b"z")),
        (TFRecord(), b"".join(piece for data in (b"a", tar, tar * 3, b"z") for piece in TFRecord().encode(data))),
        (JournalExport(), b"".join(JournalExport().encode({"A": "\n\nB=1\n\nC\n" * 9}) for _ in range(9))),
    ):
        path = tmp_path / framer.name
        path.write_bytes(wire)
        splits = stitch(plan(path, framer, parts=parts)).splits
        assert [frame for split in splits for frame in split.frames()] == list(iter_frames(wire, framer))


def test_padding_of_a_capture_cannot_be_left_out() -> None:
    with pytest.raises(EncodeError, match="body of 3 bytes; it must be padded"):
        Pcapng().encode(Block(6, b"abc"))


@pytest.mark.parametrize(("framer", "frame", "complaint"), [
    (TFRecord(max_size=8), b"12345", "record of 5 bytes and 4 of checksum exceed the limit 8"),
    (Pcapng(), Block(0x01000000, b""), "would be read in another byte order than little"),
    (Pcapng(max_size=12), Block(6, b"abcdefgh"), "block of 20 bytes exceeds the limit 12"),
    (Pcapng(), Block(1 << 32, b""), "no block"),
    (Pcapng(), Block(0x0A0D0D0A, b""), "in another byte order"),
    (Warc(), WarcRecord("1.0", (("Content-Length", "3"),), b"four"), "its Content-Length"),
    (Warc(), WarcRecord("1.0", (), b""), "header with 0 Content-Length"),
    (Warc(), WarcRecord("1.0", (("X", " y"), ("Content-Length", "0")), b""), "white space in a header"),
    (Warc(max_size=3), WarcRecord("1.0", (("Content-Length", "4"),), b"four"), "exceeds the limit 3"),
    (JournalExport(), {}, "at least one name"),
    (JournalExport(), {"lower": "x"}, "'lower' is not a name of a field"),
    (JournalExport(), {"A": ["x"]}, "list of 1 values"),
    (JournalExport(), {"A": b"x"}, "bytes that are UTF-8"),
    (JournalExport(), {"A": "\ud800"}, "A: "),
    (JournalExport(max_size=4), {"A": "123"}, "entry of 7 bytes exceeds the limit 4"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Any, frame: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(frame)


def test_text_of_several_lines_is_written_with_its_size() -> None:
    entry = {"MESSAGE": "two\nlines", "TABS": "a\tb", "RAW": b"\xff", "N": ["1", "2"]}
    wire = JournalExport().encode(entry)
    assert wire.startswith(b"MESSAGE\n" + pack("<Q", 9) + b"two\nlines\nTABS=a\tb\nRAW\n")
    assert list(iter_frames(wire, "journal-export")) == [entry]


def test_a_truncated_block_is_none() -> None:
    bad: list[PayloadError] = []
    wire = Pcapng().encode(Block(6, bytes(100))) + Pcapng().encode(Block(6, b"abcd"))
    options: Any = {"on_oversize": "truncate", "on_payload_error": bad.append}
    assert list(iter_frames(wire, Pcapng(max_size=20), **options)) == [Block(6, b"abcd")]
    assert len(bad) == 1


def test_other_bytes_break_an_archive() -> None:
    with pytest.raises(FramingError, match="at offset 0"):
        list(iter_frames(b"\x1f\x8b\x08" + bytes(20), Warc()))
