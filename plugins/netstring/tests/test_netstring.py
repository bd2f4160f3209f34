"""Netstrings: the specification's rules, hostile lengths, and the kit."""

from __future__ import annotations

import tracemalloc

import pytest

from framestream import NEED_DATA, EncodeError, FrameDecoder, FrameTooLarge, FramingError, get_framer, iter_frames
from framestream.testing import check_framer
from framestream_netstring import Netstring


def test_conformance() -> None:
    check_framer(
        Netstring(),
        examples={
            b"5:hello,": [b"hello"],
            # From the specification: this string, and the empty one.
            b"12:hello world!,0:,": [b"hello world!", b""],
            b"1:,,3:1:,,10:0123456789,": [b",", b"1:,", b"0123456789"],
            b"2:\r\n,4:\0\xff\x80,,": [b"\r\n", b"\0\xff\x80,"],
            b"": [],
        },
        malformed={
            b":,": "netstring length has b':' where a digit is expected",
            b"-1:,": "netstring length has b'-' where a digit is expected",
            b"+1:a,": "netstring length has b'+'",
            b" 1:a,": "netstring length has b' '",
            b"1 :a,": "netstring length has b' ' where a digit or b':' is expected",
            b"1_0:aaaaaaaaaa,": "netstring length has b'_'",
            b"01:a,": "netstring length with a leading zero",
            b"00:,": "netstring length with a leading zero",
            b"10000000000000000000:": "netstring length of more than 19 digits",
            b"3:abcd,": "frame ends with b'd' where b',' is expected",
            b"3:abc;": "frame ends with b';' where b',' is expected",
            b"\xd9\xa3:abc,": "netstring length has b'\\xd9'",
            b"GET / HTTP/1.1\r\n": "netstring length has b'G'",
        },
        incomplete=[b"5", b"5:", b"5:hell", b"5:hello", b"0", b"0:"],
        slow_frame=lambda size: b"%d:%s," % (size, b"x" * size),
    )


def test_an_error_points_at_the_byte_that_is_wrong() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"1:a,12x:")
    assert decoder.next_frame(Netstring()) == b"a"
    with pytest.raises(FramingError) as caught:
        decoder.next_frame(Netstring())
    assert caught.value.offset == 6


def test_a_wrong_comma_is_found_at_its_place() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"3:abc")
    assert decoder.next_frame(Netstring()) is NEED_DATA
    decoder.receive_data(b".")
    with pytest.raises(FramingError) as caught:
        decoder.next_frame(Netstring())
    assert caught.value.offset == 5


def test_an_enormous_length_is_refused_at_its_colon_and_allocates_nothing() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"999999999999999999")
    assert decoder.next_frame(Netstring()) is NEED_DATA
    decoder.receive_data(b"9:")
    tracemalloc.start()
    try:
        with pytest.raises(FrameTooLarge) as caught:
            decoder.next_frame(Netstring())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (caught.value.size, caught.value.limit) == (9_999_999_999_999_999_999, 1 << 20)
    assert peak < 100_000


def test_a_string_above_the_limit_is_skipped_exactly() -> None:
    assert list(iter_frames(b"1:a,4:long,2:ok,", Netstring(max_size=3), on_oversize="discard")) == [b"a", b"ok"]


def test_writing_refuses_what_reading_would() -> None:
    with pytest.raises(EncodeError, match="payload of 4 bytes exceeds the limit 3"):
        Netstring(max_size=3).encode(b"long")


def test_it_is_found_by_name() -> None:
    assert get_framer("netstring:max=64KiB") == Netstring(max_size=65536)
