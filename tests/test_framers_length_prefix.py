"""Frames that say how long they are."""

from __future__ import annotations

import pytest
from cutting import cut, error, wire
from framer_examples import NETSTRING
from hypothesis import given
from hypothesis import strategies as st

from framestream.errors import FramingError, IncompleteFrame
from framestream.framer import Window
from framestream.framers.amounts import UntilClose
from framestream.framers.length_prefix import LengthPrefix
from framestream.iterate import iter_frames


def test_the_payload_is_not_copied_when_it_is_written() -> None:
    for payload in (bytes(1000), bytearray(1000)):
        for written in (LengthPrefix(2).encode(payload)[1], UntilClose().encode(payload)):
            assert memoryview(written).obj is payload


@pytest.mark.parametrize(
    ("size", "header"),
    [(7, "9 "), (8, "11 "), (96, "99 "), (97, "101 "), (99, "103 "), (995, "999 "), (996, "1001 "), (997, "1002 ")],
)
def test_a_length_that_counts_its_own_digits_takes_the_fewest(size: int, header: str) -> None:
    framer = LengthPrefix(format="decimal", terminator=b" ", includes_header=True)
    encoded = wire(framer, b"x" * size)
    assert encoded == header.encode() + b"x" * size
    assert cut(framer, encoded) == [b"x" * size]


@pytest.mark.parametrize(("framer", "data", "hint"), [
    (LengthPrefix(), b"GET / HTTP/1.1\r\n", "; looks like an HTTP request"),
    (LengthPrefix(), b"HTTP/1.1 400 Bad Request\r\n", "; looks like an HTTP response"),
    (LengthPrefix(), b"PRI * HTTP/2.0\r\n\r\n", "; looks like an HTTP/2 connection"),
    (LengthPrefix(), b"SSH-2.0-OpenSSH_9.2\r\n", "; looks like an SSH greeting"),
    (LengthPrefix(), b"\x16\x03\x01\x02\x00\x01", "; looks like a TLS handshake"),
    (LengthPrefix(), b"\x15\x03\x03\x00\x02\x02", "; looks like a TLS alert"),
    (LengthPrefix(), b"PROXY TCP4 127.0.0.1", "; looks like a PROXY protocol header"),
    (LengthPrefix(), b'{"jsonrpc": "2.0"}', "; looks like JSON"),
    (LengthPrefix(), b"[[1, 2]]\n", "; looks like JSON"),
    (LengthPrefix(), b"<?xml version='1.0'?>", "; looks like XML or HTML"),
    (LengthPrefix(), b"\x1f\x8b\x08\0\0", "; looks like gzip data"),
    (LengthPrefix(), b"220 mail.example.org ESMTP\r\n", "; looks like text"),
    (LengthPrefix(), b"\x10\1\0\0" + bytes(16), "; read as little-endian the length is 272"),
    (LengthPrefix(8, "little"), b"\0\0\0\0\0\0\0\x21", "; read as big-endian the length is 33"),
    (NETSTRING, b"GET / HTTP/1.1\r\n", "; looks like an HTTP request"),
    (LengthPrefix(adjust=-(1 << 30), size=4), b"\0\0\0\5", "header of 4"),
    (LengthPrefix(), b"\xff\xff\xff\xff\0", "exceeds the limit 1048576"),
    (LengthPrefix(), b"\0\x20\0\0", "exceeds the limit 1048576"),
    (LengthPrefix(), b"\x80\x01\x02\x03\x04", "exceeds the limit 1048576"),
    (LengthPrefix(2, adjust=-30_000), b'{"id": 1}', "; looks like JSON"),
])  # fmt: skip
def test_an_error_says_what_the_header_looks_like(framer, data, hint) -> None:
    failure = error(framer, data)
    assert (failure.offset, failure.reason.endswith(hint)) == (0, True)


headers = st.fixed_dictionaries(
    {
        "size": st.integers(1, 8),
        "byteorder": st.sampled_from(["big", "little"]),
        "offset": st.integers(0, 3),
        "adjust": st.integers(-6, 6),
        "strip": st.none() | st.integers(0, 12),
        "includes_header": st.booleans(),
    }
)


def frame_by_nettys_rule(data: bytes, options) -> tuple[bytes, int] | None:
    """Cut the first frame as the documentation of Netty's LengthFieldBasedFrameDecoder defines it."""
    end_of_field = options["offset"] + options["size"]
    length = int.from_bytes(data[options["offset"] : end_of_field], options["byteorder"])
    adjust = options["adjust"] - (end_of_field if options["includes_header"] else 0)
    frame_length = length + adjust + end_of_field
    strip = end_of_field if options["strip"] is None else options["strip"]
    if frame_length < end_of_field or strip > frame_length:
        return None
    return data[strip:frame_length], frame_length


@given(headers, st.integers(0, 30))
def test_frames_are_those_of_netty(options, length) -> None:
    framer = LengthPrefix(**options)
    field = b"\0" * options["offset"] + length.to_bytes(options["size"], options["byteorder"])
    data = field + bytes(range(60))
    expected = frame_by_nettys_rule(data, options)
    if expected is None:
        assert isinstance(error(framer, data), FramingError)
        assert framer.split(Window(data)) == ([], 0)
    else:
        payload, size = expected
        assert cut(framer, data[:size]) == [payload]
        assert framer.split(Window(b"-" + data[:size], 1)) == ([payload], size + 1)
        short = data[: size - 1]
        assert cut(framer, short) == ([IncompleteFrame, ("left", short)] if short else [])


@pytest.mark.parametrize("rest", [b"", b"\xff", b"\xff" * 8, b"\xff" * 8 + b"abc", bytes(7) + b"\4abc"])
def test_a_batch_ends_before_a_frame_that_is_cut_short(rest: bytes) -> None:
    frame = bytes(7) + b"\3abc"
    assert LengthPrefix(8).split(Window(frame + frame + rest)) == ([b"abc", b"abc"], 22)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_varint_may_take_all_the_bytes_that_it_is_allowed_and_no_more(size: int) -> None:
    framer = LengthPrefix(size, format="varint")
    length = b"\x83" + b"\x80" * (size - 2) + b"\0" if size > 1 else b"\3"
    assert list(iter_frames(length + b"abc", framer)) == [b"abc"]
    with pytest.raises(FramingError):
        list(iter_frames(b"\x80" * size + b"\0", framer))
