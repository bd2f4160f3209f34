"""Ways to cut the same bytes into chunks: what a network may do to a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random

SIZES = (1, 2, 3, 7)


def chunkings(
    data: bytes, *, two_way: int = 64, random: int = 8, empty: bool = True, seed: int = 0
) -> Iterator[list[bytes]]:
    """Yield lists of chunks, each of which joins to `data`; the first is the whole in one chunk.

    Then come chunks of 1, 2, 3 and 7 bytes, cuts in two, cuts at random places, and a drip with
    empty chunks in between. The same arguments give the same chunkings. A list is cut when it is
    asked for, so taking a few of many costs little.

    Args:
        data: what to cut.
        two_way: how many cuts in two at most: every one if the data is that short, else evenly
            spread and always the ones nearest to both ends.
        random: how many random chunkings.
        empty: whether to include empty chunks.
        seed: for the random ones.
    """
    yield [data]
    for size in SIZES:
        if size < len(data):
            yield in_pieces(data, size)
    for cut in _two_way_cuts(len(data), two_way):
        yield [data[:cut], data[cut:]]
    source = Random(seed)  # noqa: S311  # reproducible, not secret
    if len(data) > 2:
        for _ in range(random):
            yield random_chunks(data, source)
    if empty:
        yield [b"", *(chunk for piece in in_pieces(data, 1) for chunk in (piece, b""))]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Cut `data` into chunks of `size` bytes, the last one possibly shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def random_chunks(data: bytes, source: Random) -> list[bytes]:
    """Cut `data` at up to seven places drawn from `source`; chunks may turn out empty."""
    size = len(data)
    # Scaling a float is three times as fast as randrange, and the fuzz loop lives on this.
    cuts = sorted([int(source.random() * size) for _ in range(1 + int(source.random() * 7))])
    return [data[start:stop] for start, stop in pairwise([0, *cuts, size])]


def describe_chunks(chunks: Sequence[bytes]) -> str:
    """Say in a few words how the bytes were cut: ``"3 chunks of 5 + 1 + 80 bytes"``."""
    sizes = [len(chunk) for chunk in chunks]
    if len(sizes) < 2:
        return "all in one chunk"
    if set(sizes) == {1}:
        return "one byte at a time"
    shown = " + ".join(map(str, sizes[:12])) + (" + ..." if len(sizes) > 12 else "")
    return f"{len(sizes)} chunks of {shown} bytes"


def _two_way_cuts(size: int, most: int) -> list[int]:
    if size - 1 <= most:
        return list(range(1, size))
    ends = {cut for near in range(1, most // 4 + 1) for cut in (near, size - near)}
    rest = max(1, most - len(ends))
    return sorted(ends | {1 + step * (size - 2) // rest for step in range(rest)})
