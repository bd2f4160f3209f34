"""Comparing speeds: what is measured, and streams that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import Delimiter, Exactly, FramingError, Msgpack, ReadCondition, UntilClose
from framestream.testing import compare_speed


class TakesTwo(Exactly):
    """Takes two frames for one where a second one follows."""

    def find(self, window: Any) -> Any:
        return super().find(window) if len(window.data) == 2 else (window.start, window.start + 4, window.start + 4)


def test_a_framer_stands_beside_length_prefix_and_line_on_frames_of_the_same_sizes() -> None:
    report = compare_speed(Delimiter(b";"), b"abc;de;" * 4, rounds=2)
    assert list(report.speeds) == ["delimiter:;", "length-prefix", "line:encoding=none"]
    assert (3.5, 0) == (report.size, report.frames % 8)
    own, reference, _ = report.speeds.values()
    assert report.ratios == (own[0] / reference[0], own[1] / reference[1])
    assert min(own) > 0


@pytest.mark.parametrize(
    ("framer", "stream"), [(Delimiter(b"\n"), b""), (UntilClose(), b"abc"), (TakesTwo(2), b"ab")], ids=str
)
def test_a_stream_must_have_frames_and_bear_repetition(framer: ReadCondition[Any], stream: bytes) -> None:
    with pytest.raises(ValueError, match="it cannot be repeated"):
        compare_speed(framer, stream)


@pytest.mark.parametrize(("framer", "stream"), [(Msgpack(), b"\xc1"), (Delimiter(b"\n"), b"a\nb")], ids=str)
def test_a_stream_that_cannot_be_read_says_why(framer: ReadCondition[Any], stream: bytes) -> None:
    with pytest.raises(FramingError):
        compare_speed(framer, stream)
