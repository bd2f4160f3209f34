"""SLIP compared with sliplib, on random packets in both directions."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from framestream import PayloadError, iter_frames
from framestream_slip import Slip

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1",
        reason="independent implementations are compared with only if FRAMESTREAM_REAL_PEERS=1",
    ),
]


@pytest.fixture
def sliplib() -> Any:
    return pytest.importorskip("sliplib", reason="sliplib is not installed, see plugins/install_peers.sh")


def packets(count: int) -> list[bytes]:
    source = random.Random(13)
    alphabets = [b"\xc0\xdb\xdc\xdd", b"ab\xc0\xdb", bytes(range(256))]
    return [bytes(source.choices(source.choice(alphabets), k=source.randrange(1, 60))) for _ in range(count)]


@pytest.mark.parametrize("leading", [False, True])
def test_both_write_alike(sliplib: Any, leading: bool) -> None:
    with sliplib.use_leading_end_byte(leading):
        driver = sliplib.Driver()
    for packet in packets(3000):
        assert Slip(leading=leading).encode(packet) == driver.send(packet)


@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("size", [1, 13, 4096])
def test_what_they_write_is_read_under_any_chunking(sliplib: Any, size: int, leading: bool) -> None:
    with sliplib.use_leading_end_byte(leading):
        driver = sliplib.Driver()
    sent = packets(2000)
    stream = b"".join(map(driver.send, sent))
    chunks = (stream[at : at + size] for at in range(0, len(stream), size))
    assert list(iter_frames(chunks, Slip())) == sent


@pytest.mark.parametrize("framer", [Slip(), Slip(leading=True)], ids=str)
def test_what_is_written_they_read(sliplib: Any, framer: Slip) -> None:
    sent = packets(2000)
    driver = sliplib.Driver()
    driver.receive(b"".join(map(framer.encode, sent)))
    assert [driver.get(block=False) for _ in sent] == sent


def test_both_refuse_the_same_packets(sliplib: Any) -> None:
    for sent in packets(4000):
        packet = sent.replace(b"\xc0", b"")
        if not packet:
            continue
        try:
            expected = sliplib.decode(packet)
        except sliplib.ProtocolError:
            expected = None
        try:
            [read] = iter_frames(packet + b"\xc0", Slip())
        except PayloadError:
            read = None
        assert read == expected
