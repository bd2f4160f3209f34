"""Strategies for hypothesis: what they draw is what they say."""

from __future__ import annotations

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from framestream import EncodeError, Framer, LengthPrefix, Line, Regex, iter_frames
from framestream.testing import ConformanceError
from framestream.testing.strategies import WireStream, chunkings, wire_streams


@given(chunkings(st.sampled_from([b"one", b"two"])))
def test_chunks_join_to_the_bytes(chunks: list[bytes]) -> None:
    assert b"".join(chunks) in (b"one", b"two")


def test_the_simplest_chunking_is_the_whole_and_empty_chunks_and_single_bytes_are_drawn() -> None:
    assert find(chunkings(b"abc"), lambda _: True) == [b"abc"]
    assert find(chunkings(b"abc"), lambda chunks: b"" in chunks)
    assert find(chunkings(b"abc"), lambda chunks: [b"a", b"b", b"c"] == chunks)


class Picky(LengthPrefix):
    """Carries few frames, or none."""

    def encode(self, frame: bytes) -> list[bytes]:
        if len(frame) < self.size:
            raise EncodeError("too short")
        return super().encode(frame)


@given(wire_streams(Picky(2), st.binary(max_size=3)))
def test_frames_that_are_refused_are_left_out(stream: WireStream) -> None:
    assert list(iter_frames(stream.chunks, LengthPrefix(2))) == stream.frames
    assert all(len(frame) > 1 for frame in stream.frames)


@pytest.mark.parametrize("framer", [Picky(4), Regex(b";")], ids=repr)
def test_a_framer_that_refuses_every_frame_leaves_nothing_to_test(framer: Framer[bytes]) -> None:
    @given(wire_streams(framer, st.binary(max_size=3), max_frames=3))
    def test_nothing(stream: WireStream) -> None:
        assert stream.frames == []

    with pytest.raises(ConformanceError, match=r"writes none of \d+ frames drawn for it"):
        test_nothing()


@given(wire_streams(Line(), st.sampled_from(["one", "two"]), max_frames=3))
def test_the_wire_is_all_the_chunks(stream: WireStream) -> None:
    assert stream.wire.decode().split("\n")[:-1] == stream.frames
    assert len(stream.frames) <= 3
