"""Frames whose size the reader knows: limits, and what has arrived."""

from __future__ import annotations

import pytest

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.errors import FrameTooLarge
from framestream.framer import Window
from framestream.framers.amounts import Available, Exactly


def test_exactly_may_ask_for_more_than_the_decoder_allows_others_but_not_than_the_call() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    decoder.receive_data(b"x" * 100_000)
    with pytest.raises(FrameTooLarge, match="frame of 20 bytes exceeds the limit 10"):
        decoder.next_frame(Exactly(20), max_size=10)
    assert len(decoder.next_frame(Exactly(99_980))) == 99_980


def test_available_gives_what_is_there_never_nothing_and_cuts_nothing_ahead() -> None:
    decoder = FrameDecoder()
    assert decoder.next_frame(Available()) is NEED_DATA
    decoder.receive_data(b"x" * 95)
    assert [decoder.next_frame(Available(10)) for _ in range(9)] == [b"x" * 10] * 9
    assert (decoder.offset, decoder.next_frame(Available(10))) == (90, b"x" * 5)
    decoder.receive_eof()
    assert decoder.next_frame(Available(10)) is END
    assert Available(4).split(Window(b"-abcdef", 1)) == ([], 1)
