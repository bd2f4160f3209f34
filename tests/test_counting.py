"""Bytes that count what is examined or copied of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import islice
from typing import Any

import faulty_framers as faulty
import pytest

from framestream.testing import check_framer
from framestream.testing._counting import CountedBytes, Tally

DATA = b"one,two;three"


@pytest.mark.parametrize(
    ("examined", "use"),
    [
        (1, lambda data: data[3]),
        (3, lambda data: data[2:5]),
        (5, lambda data: data[-5:]),
        (0, lambda data: data[50:]),
        (4, lambda data: data.find(b",")),
        (2, lambda data: data.find(44, 2)),
        (13, lambda data: data.find(b"\0")),
        (8, lambda data: data.find(b"\0", 5)),
        (3, lambda data: data.find(b"\0", 5, 8)),
        (0, lambda data: data.find(b"\0", 50)),
        (6, lambda data: data.rfind(b";")),
        (3, lambda data: data.rindex(b";", 2, -3)),
        (4, lambda data: data.index(b",")),
        (13, lambda data: data.count(b",")),
        (4, lambda data: data.count(b",", 3, 7)),
        (3, lambda data: data.startswith(b"one")),
        (4, lambda data: data.endswith((b"ee", b"tree"))),
        (2, lambda data: list(islice(data, 2))),
        (13, list),
        (13, lambda data: data.split(b",")),
        (13, lambda data: b"w" in data),
        (13, lambda data: data + b"more"),
        (13, bytes),
        (13, lambda data: data.decode()),
        (13, lambda data: data == DATA),
        (0, len),
    ],
)
def test_each_use_counts_the_bytes_it_examines(examined: int, use: Callable[[Any], Any]) -> None:
    tally = Tally()
    use(CountedBytes(DATA, tally))
    assert tally.bytes == examined


@pytest.mark.parametrize(
    "use",
    [
        lambda data: data[2:5],
        lambda data: data.find(b"t", 5),
        lambda data: data.rfind(b"t", 0, -1),
        lambda data: data.count(b"e"),
        lambda data: data.startswith(b"two", 4),
        lambda data: data.split(b";", 1),
        bytes,
        list,
    ],
)
def test_each_use_gives_what_bytes_give(use: Callable[[Any], Any]) -> None:
    assert use(CountedBytes(DATA, Tally())) == use(DATA)


def test_somebody_elses_tracing_goes_on() -> None:
    tracemalloc.start()
    try:
        check_framer(faulty.Lines(), examples={b"one\r\n": [b"one"]})
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
