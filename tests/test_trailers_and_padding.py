"""Trailers that the decoder checks, and bytes between frames that belong to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from framestream import (
    END,
    NEED_DATA,
    FrameDecoder,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    NeedMore,
    ReadCondition,
    Window,
)
from framestream.framer import PADDING, Decode, ValueSpan
from framestream.testing import check_framer


@dataclass(frozen=True)
class Counted(ReadCondition[bytes]):
    """One byte of length, the payload, and the two bytes ``--``."""

    overhead = 3

    def find(self, window: Window) -> ValueSpan | NeedMore:
        first = window.start + 1
        if len(window.data) < first:
            return NeedMore(1)
        stop = first + window.data[window.start]
        return first, stop, stop + 2, Decode(bytes, trailer=b"--")


@dataclass(frozen=True)
class Words(ReadCondition[bytes]):
    """To a full stop; spaces between words are nobody's."""

    overhead = 1

    def find(self, window: Window) -> Any:
        data, start = window.data, window.start
        if not window.taken and data[start : start + 1] == b" ":
            end = len(data) - len(data[start:].lstrip(b" "))
            return start, start, end, PADDING
        stop = data.find(b".", window.resume)
        return NeedMore(resume=len(data), settled=len(data)) if stop < 0 else (start, stop, stop + 1)


def read(condition: ReadCondition[Any], chunks: list[bytes], **options: Any) -> list[Any]:
    """Return the frames and what ends them: END, or the error as (class, offset, leftover)."""
    decoder = FrameDecoder(**options)
    seen: list[Any] = []
    for chunk in [*chunks, None]:
        if chunk is None:
            decoder.receive_eof()
        else:
            decoder.receive_data(chunk)
        try:
            while (frame := decoder.next_frame(condition)) is not NEED_DATA:
                seen.append(frame)
                if frame is END:
                    return seen
        except FramingError as error:
            return [*seen, (type(error).__name__, error.offset, decoder.leftover)]
    raise AssertionError("neither an end nor an error")


def test_both_are_kept_by_the_kit() -> None:
    check_framer(
        Counted(),
        examples={b"\3abc--\0--\1x--": [b"abc", b"", b"x"]},
        malformed={b"\1ax-": "frame ends with b'x-' where b'--' is expected"},
        incomplete=[b"\1a-", b"\2a"],
    )
    check_framer(
        Words(),
        examples={b"ab.c.": [b"ab", b"c"], b"  ab. .   ": [b"ab", b""], b" ": []},
        incomplete=[b" a"],
        slow_frame=lambda size: b"a" * size + b".",
    )


def test_a_frame_that_must_have_a_trailer_is_refused_by_its_size_before_it_arrives() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    decoder.receive_data(b"\xc8abc")
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_frame(Counted())
    assert (caught.value.size, caught.value.recoverable) == (200, True)


def test_a_wrong_trailer_is_noticed_behind_a_frame_passed_on_in_parts() -> None:
    decoder = FrameDecoder()
    parts = []
    for byte in b"\3abc-":
        decoder.receive_data(bytes([byte]))
        parts.append(decoder.next_part(Counted()))
    assert parts == [NEED_DATA, b"a", b"b", b"c", NEED_DATA]
    decoder.receive_data(b"x")
    with pytest.raises(FramingError, match="frame ends with b'-x' where b'--' is expected"):
        decoder.next_part(Counted())


def test_a_batch_stops_before_a_wrong_trailer() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"\1a--" * 200 + b"\1ax-")
    assert decoder.next_batch(Counted()) == [b"a"] * 200
    with pytest.raises(FramingError) as caught:
        decoder.next_batch(Counted())
    assert caught.value.offset == 802


def test_padding_counts_against_no_limit() -> None:
    assert read(Words(), [b" " * 100 + b"ab." + b" " * 100], max_frame_size=2) == [b"ab", END]


def test_padding_in_front_of_an_incomplete_frame_is_no_part_of_it() -> None:
    assert read(Words(), [b"  ", b"ab"]) == [("IncompleteFrame", 2, b"ab")]


def test_a_frame_that_breaks_off_in_parts_is_incomplete() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"  a")
    assert decoder.next_part(Words()) == b"a"
    decoder.receive_eof()
    with pytest.raises(IncompleteFrame):
        decoder.next_part(Words())


def test_they_can_be_told_apart_in_messages() -> None:
    assert repr(PADDING) == "PADDING"
    assert repr(Decode(bytes, trailer=b"--")) == "Decode(<class 'bytes'>, trailer=b'--')"
    assert repr(Decode(bytes)) == "Decode(<class 'bytes'>)"
