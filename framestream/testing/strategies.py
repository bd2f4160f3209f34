"""Strategies for hypothesis: ways to cut bytes, and streams of a framer's frames. Needs hypothesis."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

if TYPE_CHECKING:
    from framestream.framer import Framer

_MOST_CUTS = 8


class WireStream(NamedTuple):
    """Frames, and the bytes that carry them.

    Attributes:
        chunks: the bytes, cut at random.
        frames: the frames that are in them.
    """

    chunks: list[bytes]
    frames: list[Any]

    @property
    def wire(self) -> bytes:
        """All the bytes."""
        return b"".join(self.chunks)


def chunkings(data: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Return lists of chunks that join to `data`, some of them empty; the simplest has one chunk.

    `data` may be a strategy itself.
    """
    drawn = data if isinstance(data, st.SearchStrategy) else st.just(data)
    return drawn.flatmap(_cut)


def wire_streams(
    framer: Framer[Any], frames: st.SearchStrategy[Any], *, max_frames: int = 8
) -> st.SearchStrategy[WireStream]:
    """Return streams of up to `max_frames` frames, written by the framer and cut at random::

        @given(wire_streams(Netstring(), st.binary()))
        def test_netstrings_come_back(stream):
            assert list(iter_frames(stream.chunks, Netstring())) == stream.frames

    Args:
        framer: writes the frames.
        frames: the frames; such that the framer can carry.
        max_frames: how many there are at most.
    """

    def write(some: list[Any]) -> st.SearchStrategy[WireStream]:
        wire = b"".join(_written(framer, frame) for frame in some)
        return chunkings(wire).map(lambda chunks: WireStream(chunks, some))

    return st.lists(frames, max_size=max_frames).flatmap(write)


def _cut(data: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(data)), max_size=_MOST_CUTS).map(sorted)
    return places.map(lambda cuts: [data[one:other] for one, other in pairwise([0, *cuts, len(data)])])


def _written(framer: Framer[Any], frame: Any) -> bytes:
    encoded = framer.encode(frame)
    return encoded if isinstance(encoded, bytes) else b"".join(encoded)
