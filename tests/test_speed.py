"""Comparing speeds: what is measured, and streams that cannot be."""

from __future__ import annotations

import gc

import pytest

from framestream import Delimiter, FramingError, LengthPrefix, Line, Msgpack, UntilClose
from framestream.testing import compare_speed


def test_a_framer_stands_beside_length_prefix_and_line_on_frames_of_the_same_sizes() -> None:
    report = compare_speed(Delimiter(b";"), b"abc;de;" * 4, rounds=2)
    assert [speed.framer for speed in report.speeds] == ["delimiter:;", "length-prefix", "line:encoding=none"]
    assert (3.5, 0) == (report.size, report.frames % 8)
    assert all(speed.one > 0 and speed.batch > 0 for speed in report.speeds)
    own, reference, _ = report.speeds
    assert report.ratios == (own.one / reference.one, own.batch / reference.batch)


@pytest.mark.parametrize(("stream", "end"), [(b"", 0), (b"abc", 0), (b"a\nb", 2)])
def test_a_stream_must_consist_of_whole_frames(stream: bytes, end: int) -> None:
    with pytest.raises(ValueError, match=f"whole frames end at {end} of {len(stream)} bytes"):
        compare_speed(Delimiter(b"\n"), stream)


def test_frames_that_end_with_the_stream_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="whole frames end at 0 of 3"):
        compare_speed(UntilClose(), b"abc")


class TwiceAsLong(LengthPrefix):
    """Takes two frames for one where a second one follows."""

    def find(self, window):  # type: ignore[no-untyped-def]
        if window.data[window.start + 1 : window.start + 3] == b"\0":
            return window.start, window.start + 2, window.start + 2
        return window.start, window.start + 4, window.start + 4


def test_frames_that_run_together_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="it cannot be repeated"):
        compare_speed(TwiceAsLong(), b"\1\0")


def test_a_stream_that_cannot_be_read_says_why() -> None:
    with pytest.raises(FramingError):
        compare_speed(Msgpack(), b"\xc1")


def test_the_garbage_collector_is_left_as_it_was() -> None:
    gc.disable()
    try:
        compare_speed(Line(), b"a\n", rounds=1)
        assert not gc.isenabled()
    finally:
        gc.enable()
    compare_speed(Line(), b"a\n", rounds=1)
    assert gc.isenabled()
