"""Netstrings: the specification's rules, hostile lengths, and the kit."""

from __future__ import annotations

import pytest

from framestream import EncodeError
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
            b"9999999999999999999:": "frame of 9999999999999999999 bytes exceeds the limit 1048576 (at offset 0)",
            b"1:a,12x:": "b'x' where a digit or b':' is expected (at offset 6)",
            b"3:abcd,": "frame ends with b'd' where b',' is expected",
            b"3:abc;": "frame ends with b';' where b',' is expected (at offset 5)",
            b"\xd9\xa3:abc,": "netstring length has b'\\xd9'",
            b"GET / HTTP/1.1\r\n": "netstring length has b'G'",
        },
        incomplete=[b"5", b"5:", b"5:hell", b"5:hello", b"0", b"0:"],
        slow_frame=lambda size: b"%d:%s," % (size, b"x" * size),
    )


def test_writing_refuses_what_reading_would() -> None:
    with pytest.raises(EncodeError, match="payload of 4 bytes exceeds the limit 3"):
        Netstring(max_size=3).encode(b"long")
