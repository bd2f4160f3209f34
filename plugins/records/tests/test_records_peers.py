"""The same archives read and written by tfrecord, warcio, python-pcapng and journalctl."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from framestream import iter_frames
from framestream.archives import plan, stitch
from framestream_records import Block, JournalExport, Pcapng, TFRecord, Warc

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1",
        reason="real programs and independent implementations run only with FRAMESTREAM_REAL_PEERS=1",
    ),
]
INSTALL = "is not installed, see plugins/install_peers.sh"


def in_chunks(data: bytes) -> list[list[bytes]]:
    return [[data[at : at + size] for at in range(0, len(data), size)] for size in (1, 13, 4096)]


def in_parts(path: Path, framer: Any) -> list[Any]:
    return [frame for split in stitch(plan(path, framer, parts=7)).splits for frame in split.frames()]


def test_what_tfrecord_writes_is_read_and_the_other_way_round(tmp_path: Path) -> None:
    tfrecord = pytest.importorskip("tfrecord", reason=f"tfrecord {INSTALL}")
    path = tmp_path / "theirs"
    writer = tfrecord.TFRecordWriter(str(path))
    for number in range(300):
        writer.write({"number": (number, "int"), "blob": (random.Random(number).randbytes(number), "byte")})
    writer.close()
    data = path.read_bytes()
    records = list(iter_frames(data, TFRecord()))
    assert len(records) == 300
    for chunks in in_chunks(data):
        assert list(iter_frames(chunks, TFRecord())) == records
    assert in_parts(path, TFRecord()) == records
    ours = b"".join(piece for record in records for piece in TFRecord().encode(record))
    assert ours == data
    read = tfrecord.tfrecord_loader(str(path), None, {"number": "int"})
    assert [int(example["number"][0]) for example in read] == list(range(300))


# warcio leaves its temporary files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_warcio_writes_is_read_and_the_other_way_round(tmp_path: Path) -> None:
    warcwriter = pytest.importorskip("warcio.warcwriter", reason=f"warcio {INSTALL}")
    from warcio.archiveiterator import ArchiveIterator  # noqa: PLC0415
    from warcio.statusandheaders import StatusAndHeaders  # noqa: PLC0415

    out = io.BytesIO()
    writer = warcwriter.WARCWriter(out, gzip=False)
    for number in range(100):
        block = random.Random(number).randbytes(number * 7) + b"\r\n\r\nWARC/1.0\r\n"
        head = StatusAndHeaders("200 OK", [("Content-Type", "text/plain")], protocol="HTTP/1.0")
        url = f"http://example.org/\u00fc{number}"
        writer.write_record(writer.create_warc_record(url, "response", io.BytesIO(block), http_headers=head))
        writer.write_record(writer.create_warc_record(url, "resource", io.BytesIO(block)))
    data = out.getvalue()
    records = list(iter_frames(data, Warc()))
    for chunks in in_chunks(data):
        assert list(iter_frames(chunks, Warc())) == records
    (tmp_path / "theirs").write_bytes(data)
    assert in_parts(tmp_path / "theirs", Warc()) == records
    ours = b"".join(piece for record in records for piece in Warc().encode(record))
    for wire in (data, ours):
        theirs = [
            (record.rec_type, record.rec_headers.get_header("WARC-Record-ID"), record.raw_stream.read())
            for record in ArchiveIterator(io.BytesIO(wire), no_record_parse=True)
        ]
        assert theirs == [(record.type, record.get("WARC-Record-ID"), record.payload) for record in records]


@pytest.mark.parametrize("order", ["little", "big"])
def test_python_pcapng_cuts_the_same_blocks(order: Any) -> None:
    scanner = pytest.importorskip("pcapng.scanner", reason=f"python-pcapng {INSTALL}")
    pack = lambda layout, *values: struct.pack("<>"[order == "big"] + layout, *values)  # noqa: E731
    source = random.Random(5)
    blocks = [Block(0x0A0D0D0A, pack("IHHq", 0x1A2B3C4D, 1, 0, -1), order), Block(1, pack("HHI", 1, 0, 65535), order)]
    packets = [source.randbytes(source.randrange(1500)) for _ in range(200)]
    for packet in packets:
        body = pack("IIIII", 0, 0, 0, len(packet), len(packet)) + packet + bytes(-len(packet) % 4)
        blocks.append(Block(6, body, order))
    wire = b"".join(map(Pcapng().encode, blocks))
    theirs = list(scanner.FileScanner(io.BytesIO(wire)))
    assert [block.magic_number for block in theirs] == [block.type for block in blocks]
    assert [block.packet_data for block in theirs[2:]] == packets
    for chunks in in_chunks(wire):
        assert list(iter_frames(chunks, Pcapng())) == blocks


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a folder with a journal of 200 entries that systemd-journal-remote has written from ours."""
    remote = shutil.which("systemd-journal-remote", path="/usr/lib/systemd:/lib/systemd")
    if remote is None or shutil.which("journalctl") is None:
        pytest.skip(f"systemd-journal-remote or journalctl {INSTALL}")
    entries = [
        {
            "__REALTIME_TIMESTAMP": str(1_700_000_000_000_000 + number),
            "__MONOTONIC_TIMESTAMP": str(1000 + number),
            "_BOOT_ID": f"{1:032x}",
            "MESSAGE": f"message {number}" + "\nin two lines\n\nA=1" * (number % 3 == 0),
            "NUMBER": str(number),
            "BLOB": b"\xff\n\n" + random.Random(number).randbytes(number),
        }
        for number in range(200)
    ]
    wire = b"".join(map(JournalExport().encode, entries))
    path = tmp_path / "test.journal"
    subprocess.run([remote, "-o", str(path), "-"], input=wire, check=True, timeout=60)
    return path


def test_journalctl_writes_what_it_was_given(journal: Path) -> None:
    command = ["journalctl", "--file", str(journal), "--all", "-o"]
    data = subprocess.run([*command, "export"], capture_output=True, check=True, timeout=60).stdout
    entries = list(iter_frames(data, JournalExport()))
    assert len(entries) == 200
    for chunks in in_chunks(data):
        assert list(iter_frames(chunks, JournalExport())) == entries
    lines = subprocess.run([*command, "json"], capture_output=True, check=True, timeout=60).stdout.splitlines()
    for entry, line in zip(entries, lines, strict=True):
        theirs = json.loads(line)
        for name in ("MESSAGE", "NUMBER", "BLOB"):
            value: Any = theirs[name]
            assert entry[name] == (bytes(value) if isinstance(value, list) else value)
