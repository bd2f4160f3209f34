"""COBS and COBS/R compared with the cobs package, on random packets in both directions."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from framestream import PayloadError, iter_frames
from framestream_cobs import Cobs, CobsR

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1",
        reason="independent implementations are compared with only if FRAMESTREAM_REAL_PEERS=1",
    ),
]


@pytest.fixture(params=["cobs", "cobsr"])
def pair(request: pytest.FixtureRequest) -> tuple[Cobs, Any]:
    """Return a framer, and the module that does the same."""
    theirs = pytest.importorskip(f"cobs.{request.param}", reason="cobs is not installed, see plugins/install_peers.sh")
    return (Cobs() if request.param == "cobs" else CobsR()), theirs


def packets(count: int) -> list[bytes]:
    source = random.Random(11)
    alphabets = [b"\0\1", b"\0\1\2\xff", bytes(range(256)), bytes(range(1, 256)), b"\xff\xfe"]
    sizes = [0, 1, 2, 3, 10, 252, 253, 254, 255, 256, 507, 508, 509, 510, 700]
    return [bytes(source.choices(source.choice(alphabets), k=source.choice(sizes))) for _ in range(count)]


def test_both_stuff_alike(pair: tuple[Cobs, Any]) -> None:
    framer, theirs = pair
    for packet in packets(4000):
        assert framer.encode(packet) == theirs.encode(packet) + b"\0"


def test_what_they_stuff_is_read_under_any_chunking(pair: tuple[Cobs, Any]) -> None:
    framer, theirs = pair
    sent = packets(2000)
    stream = b"".join(theirs.encode(packet) + b"\0" for packet in sent)
    for size in (1, 13, 4096):
        chunks = (stream[at : at + size] for at in range(0, len(stream), size))
        assert list(iter_frames(chunks, framer)) == sent


def test_both_refuse_the_same_bytes(pair: tuple[Cobs, Any]) -> None:
    framer, theirs = pair
    source = random.Random(12)
    for _ in range(4000):
        stuffed = bytes(source.choices(range(1, source.choice([4, 9, 256])), k=source.randrange(1, 300)))
        try:
            expected = theirs.decode(stuffed)
        except theirs.DecodeError:
            expected = None
        try:
            [packet] = iter_frames(stuffed + b"\0", framer)
        except PayloadError:
            packet = None
        assert packet == expected
