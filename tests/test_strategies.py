"""Strategies for hypothesis: what they draw is what they say."""

from __future__ import annotations

from hypothesis import find, given
from hypothesis import strategies as st

from framestream import EncodeError, LengthPrefix, Line, iter_frames
from framestream.testing.strategies import WireStream, chunkings, wire_streams


@given(chunkings(st.sampled_from([b"one", b"two"])))
def test_chunks_join_to_the_bytes(chunks: list[bytes]) -> None:
    assert b"".join(chunks) in (b"one", b"two")


def test_the_simplest_chunking_is_the_whole_and_empty_chunks_and_single_bytes_are_drawn() -> None:
    assert find(chunkings(b"abc"), lambda _: True) == [b"abc"]
    assert find(chunkings(b"abc"), lambda chunks: b"" in chunks)
    assert find(chunkings(b"abc"), lambda chunks: [b"a", b"b", b"c"] == chunks)


class Odd(LengthPrefix):
    """Carries hardly anything of what there is."""

    def encode(self, frame: bytes) -> list[bytes]:
        if len(frame) < 3 or not frame.isdigit():
            raise EncodeError("not three digits")
        return super().encode(frame)


@given(wire_streams(Odd(2), st.binary()))
def test_frames_that_are_refused_are_left_out(stream: WireStream) -> None:
    assert list(iter_frames(stream.chunks, LengthPrefix(2))) == stream.frames


@given(wire_streams(Line(), st.sampled_from(["one", "two"]), max_frames=3))
def test_the_wire_is_all_the_chunks(stream: WireStream) -> None:
    assert stream.wire.decode().split("\n")[:-1] == stream.frames
    assert len(stream.frames) <= 3
