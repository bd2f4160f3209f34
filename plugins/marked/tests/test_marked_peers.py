"""The same messages read and written by pyubx2, pynmeagps and simplefix."""

from __future__ import annotations

import os
import random

import pytest

from framestream import PayloadError, iter_frames
from framestream_marked import Fix, FixMessage, Nmea, Sentence, Ubx, UbxMessage

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1",
        reason="independent implementations are compared with only if FRAMESTREAM_REAL_PEERS=1",
    ),
]
INSTALL = "is not installed, see plugins/install_peers.sh"
CHUNKS = (1, 13, 4096)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_pyubx2_reads_and_writes_the_same_messages() -> None:
    pyubx2 = pytest.importorskip("pyubx2", reason=f"pyubx2 {INSTALL}")
    source = random.Random(7)
    messages = [UbxMessage(1, 0x03, source.randbytes(16)) for _ in range(300)]
    messages += [UbxMessage(4, 0x02, source.choice([b"", b"ANTSTATUS=OK", b"PROTVER=34.10"])) for _ in range(99)]
    wires = [Ubx().encode(message) for message in messages]
    for message, wire in zip(messages, wires, strict=True):
        theirs = pyubx2.UBXReader.parse(wire)
        assert (theirs.msg_cls[0], theirs.msg_id[0], theirs.payload or b"") == message
        assert theirs.serialize() == wire
        spoilt = bytearray(wire)
        spoilt[source.randrange(6, len(wire))] ^= 1 << source.randrange(8)
        bad: list[PayloadError] = []
        assert list(iter_frames(bytes(spoilt), Ubx(), on_payload_error=bad.append)) == []
        with pytest.raises(pyubx2.UBXParseError):
            pyubx2.UBXReader.parse(bytes(spoilt), validate=pyubx2.VALCKSUM)
    for size in CHUNKS:
        assert list(iter_frames(cut(b"".join(wires), size), Ubx())) == messages


def test_pynmeagps_reads_and_writes_the_same_sentences() -> None:
    pynmeagps = pytest.importorskip("pynmeagps", reason=f"pynmeagps {INSTALL}")
    wires = [
        pynmeagps.NMEAMessage("GN", "GLL", 0, lat=number / 7, NS="N", lon=-number / 3, EW="W", status="A").serialize()
        for number in range(300)
    ]
    sentences = list(iter_frames(b"".join(wires), Nmea()))
    assert [Nmea().encode(sentence) for sentence in sentences] == wires
    for sentence, wire in zip(sentences, wires, strict=True):
        theirs = pynmeagps.NMEAReader.parse(wire)
        assert (theirs.talker + theirs.msgID, tuple(theirs.payload)) == (sentence.name, sentence.fields)
    for size in CHUNKS:
        assert list(iter_frames(cut(b"".join(wires), size), Nmea())) == sentences
    assert type(sentences[0]) is Sentence


def test_simplefix_reads_and_writes_the_same_messages() -> None:
    simplefix = pytest.importorskip("simplefix", reason=f"simplefix {INSTALL}")
    source = random.Random(9)
    messages, wires = [], []
    for number in range(300):
        data = source.randbytes(number + 1)
        fields = ((35, b"B"), (34, b"%d" % number), (95, b"%d" % len(data)), (96, data), (58, b"text"))
        theirs = simplefix.FixMessage()
        theirs.append_pair(8, "FIX.4.4")
        for tag, value in fields:
            theirs.append_pair(tag, value)
        messages.append(FixMessage("FIX.4.4", fields))
        wires.append(theirs.encode())
    assert list(map(Fix().encode, messages)) == wires
    for size in CHUNKS:
        assert list(iter_frames(cut(b"".join(wires), size), Fix())) == messages
    parser = simplefix.FixParser()
    parser.append_buffer(b"".join(map(Fix().encode, messages)))
    for message in messages:
        theirs = parser.get_message()
        assert tuple((int(tag), value) for tag, value in theirs.pairs)[2:-1] == message.fields
