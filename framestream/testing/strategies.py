"""Strategies for hypothesis: ways to cut bytes, and streams of a framer's frames. Needs hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from framestream.errors import counted
from framestream.testing.contract import ConformanceError, describe_framer, encode
from framestream.testing.suite import TELLING, cut_at, spliced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framestream.framer import Framer

_MOST_CUTS = 8
_MOST_SEEDS = 4
_MOST_REFUSED = 100


class WireStream(NamedTuple):
    """Frames, and the bytes that carry them.

    Attributes:
        chunks: the bytes, cut at random.
        frames: the frames in them.
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
        frames: the frames; those that the framer refuses are left out. If it refuses every one of the first
            100, that is a `ConformanceError`: a test of streams without frames would pass.
        max_frames: how many there are at most.
    """
    refused, accepted = 0, False

    def written(drawn: list[Any]) -> st.SearchStrategy[WireStream]:
        # Left out instead of filtered: a framer may refuse nearly all, and hypothesis would report that.
        encoded = [(frame, wire) for frame in drawn if (wire := encode(framer, frame)) is not None]
        chunks = chunkings(b"".join(wire for _, wire in encoded))
        return chunks.map(lambda cut: checked(WireStream(cut, [frame for frame, _ in encoded]), drawn))

    # Hypothesis does not allow to stop before everything is drawn that was drawn before.
    def checked(stream: WireStream, drawn: list[Any]) -> WireStream:
        nonlocal refused, accepted
        accepted = accepted or bool(stream.frames)
        refused += len(drawn) - len(stream.frames)
        if refused >= _MOST_REFUSED and not accepted:
            told = f"writes none of {counted(refused, 'frame')} drawn for it"
            raise ConformanceError(f"{describe_framer(framer)} {told}", expected="frames that encode accepts")
        return stream

    return st.lists(frames, max_size=max_frames).flatmap(written)


def spoilt_streams(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return streams of runs of one of the seeds, with bytes left out and put in between them, or of whole seeds."""
    seed = st.sampled_from(seeds)
    return seed.flatmap(_spoilt) | st.lists(seed, max_size=_MOST_SEEDS).map(b"".join)


def _spoilt(seed: bytes) -> st.SearchStrategy[bytes]:
    telling = st.sampled_from([bytes([byte]) for byte in TELLING])
    inserted = st.just(b"") | telling | st.binary(max_size=4)
    # The size comes first: hypothesis then shortens a run from its beginning, too, as it leaves out more.
    runs = st.lists(st.tuples(st.integers(0, len(seed)), st.integers(0, 8), inserted), max_size=_MOST_CUTS)
    return runs.map(lambda drawn: spliced(seed, drawn))


def _cut(data: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(data)), max_size=_MOST_CUTS)
    return places.map(lambda cuts: cut_at(data, cuts))
