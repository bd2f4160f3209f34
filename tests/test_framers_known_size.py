"""Frames whose size the reader knows, or that end with the stream."""

from __future__ import annotations

import pytest

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.errors import FrameTooLarge
from framestream.framer import Window
from framestream.framers.amounts import Available, Exactly, FixedLength, UntilClose


def test_exactly_consumes_nothing_more() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"abcdef")
    assert decoder.next_frame(Exactly(2)) == b"ab"
    assert decoder.next_frame(Exactly(0)) == b""
    assert decoder.next_frame(Exactly(3)) == b"cde"
    assert decoder.next_frame(Exactly(2)) is NEED_DATA
    assert decoder.leftover == b"f"


def test_exactly_may_ask_for_more_than_the_decoder_allows_others() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    decoder.receive_data(b"x" * 100_000)
    assert len(decoder.next_frame(Exactly(100_000))) == 100_000


def test_a_limit_for_one_call_holds_for_exactly_too() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"a")
    with pytest.raises(FrameTooLarge, match="frame of 20 bytes exceeds the limit 10"):
        decoder.next_frame(Exactly(20), max_size=10)


def test_records_are_cut_in_batches_however_small() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"ab" * 1000 + b"x")
    assert decoder.next_batch(FixedLength(2)) == [b"ab"] * 1000
    assert FixedLength(2).split(Window(bytearray(b"-ababx"), 1)) == ([b"ab", b"ab"], 5)


def test_available_gives_what_is_there_and_never_nothing() -> None:
    decoder = FrameDecoder()
    assert decoder.next_frame(Available()) is NEED_DATA
    decoder.receive_data(b"abcdef")
    assert decoder.next_frame(Available(4)) == b"abcd"
    assert decoder.next_frame(Available(4)) == b"ef"
    decoder.receive_eof()
    assert decoder.next_frame(Available(4)) is END


def test_available_cuts_nothing_ahead_even_after_many_reads() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"x" * 100)
    assert [decoder.next_frame(Available(10)) for _ in range(9)] == [b"x" * 10] * 9
    assert decoder.offset == 90
    assert Available(4).split(Window(b"-abcdef", 1)) == ([], 1)


@pytest.mark.parametrize(("policy", "frames"), [("discard", []), ("truncate", [b"ab"])])
def test_until_close_above_the_limit_is_one_frame_and_none_follows_it(policy, frames) -> None:
    decoder = FrameDecoder(max_frame_size=2, on_oversize=policy)
    got = []
    for chunk in (b"abc", b"def"):
        decoder.receive_data(chunk)
        got.append(decoder.next_frame(UntilClose()))
    decoder.receive_eof()
    while (frame := decoder.next_frame(UntilClose())) is not END:
        got.append(frame)
    assert [frame for frame in got if frame is not NEED_DATA] == frames
