"""Chunks and chunked bodies: RFC 9112 7.1, what request smuggling lives on, and the kit."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from framestream import (
    FRAME_END,
    EncodeError,
    FrameDecoder,
    Framer,
    FrameTooLarge,
    IncompleteFrame,
    PayloadError,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_http import Chunk, Chunked, HttpChunk, HttpChunked

LAST = Chunk(b"")
CHUNKS: dict[bytes, list[Chunk]] = {
    b"5\r\nhello\r\n0\r\n\r\n": [Chunk(b"hello"), LAST],
    b"A\r\n0123456789\r\n0a\r\n9876543210\r\n000\r\n\r\n": [Chunk(b"0123456789"), Chunk(b"9876543210"), LAST],
    b'3;a\r\nabc\r\n1 ; a = b;c="d;\\"\r\te"\t;f\r\n\r\r\n'.replace(b"\r\te", b"\te"): [
        Chunk(b"abc", b";a"),
        Chunk(b"\r", b' ; a = b;c="d;\\"\te"\t;f'),
    ],
    b"0;last=1\r\nX: y\r\nZ:\r\n\r\n": [Chunk(b"", b";last=1", ((b"X", b"y"), (b"Z", b"")))],
    b"2\r\n\r\n\r\n0\r\n\r\n": [Chunk(b"\r\n"), LAST],
    b"1 \t \r\na\r\n1;a \r\nb\r\n0  \r\n\r\n": [Chunk(b"a"), Chunk(b"b", b";a"), LAST],
    b"": [],
}
MALFORMED: dict[bytes, str] = {
    b"\r\n": "b'\\r' in a chunk's size, or after it",
    b"x\r\n": "b'x' in a chunk's size",
    b"-1\r\n": "b'-' in a chunk's size",
    b"+1\r\na\r\n": "b'+' in a chunk's size",
    b" 1\r\na\r\n": "b' ' in a chunk's size",
    b"0x1\r\na\r\n": "b'x' in a chunk's size",
    b"1_0\r\n": "b'_' in a chunk's size",
    b"10000000000000000\r\n": "b'0' in a chunk's size",
    b"1\na\r\n": "b'\\n' in a chunk's size, or after it",
    b"1;\na\r\n": "LF without CR",
    b"1;a\na\r\n": "LF without CR",
    b"1;\r\na\r\n": "b';' is not a chunk extension",
    b"1;a=\r\n": "is not a chunk extension",
    b'1;a="b\r\n': "is not a chunk extension",
    b"1;a\rb\r\n": "is not a chunk extension",
    b"1;a=\x7f\r\n": "is not a chunk extension",
    b"1 1\r\n": "is not a chunk extension",
    b"1;" + b"a" * 5000: "no end of a chunk's first line in 4096 bytes",
    b"0\r\nX y: z\r\n": "is not a field",
    b"0\r\n X: z\r\n": "folded fields are refused",
    b"0\r\nX : z\r\n": "white space between a field's name and its colon",
    b"0\r\nX: z\n\r\n": "LF without CR",
    b"0\r\n\n": "LF without CR",
    b"0\r\nX: y\r\nY: " + b"y" * 5000 + b"\r\n\r\n": "no end of a line in 4096 bytes",
    b"0\r\nX: \rz\r\n": "CR without LF",
}
INCOMPLETE = [
    b"5",
    b"5\r",
    b"5;a=",
    b"5\r\n",
    b"5\r\nhell",
    b"5\r\nhello",
    b"5\r\nhello\r",
    b"0\r\n",
    b"0\r\nX: y\r\n",
    b"0\r\nX: y\r\n\r",
]


def test_conformance_of_chunks() -> None:
    check_framer(
        HttpChunk(),
        examples=CHUNKS,
        malformed=MALFORMED
        | {
            b"1\r\nabc": "frame ends with b'bc' where b'\\r\\n' is expected (at offset 4)",
            b"ffffffffffffffff\r\n": "frame of 18446744073709551615 bytes exceeds the limit",
        },
        incomplete=[*INCOMPLETE, b"5\r\nhello\r\n"],
        slow_frame=lambda size: b"%x\r\n%b\r\n" % (size, b"x" * size),
    )


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("chunks", [1, 2, 100])
def test_a_body_is_incomplete_without_its_last_chunk(size: int, chunks: int) -> None:
    wire = b"1\r\na\r\n" * chunks
    frames = iter_frames([wire[at : at + size] for at in range(0, len(wire), size)], HttpChunk())
    assert list(islice(frames, chunks)) == [Chunk(b"a")] * chunks
    with pytest.raises(IncompleteFrame, match="the last chunk has not come") as caught:
        next(frames)
    assert caught.value.offset == len(wire)


@pytest.mark.parametrize("policy", ["discard", "truncate"])
def test_a_body_is_incomplete_after_a_chunk_that_is_skipped(policy: Any) -> None:
    with pytest.raises(IncompleteFrame):
        list(iter_frames(b"5\r\nhello\r\n", HttpChunk(max_size=2), on_oversize=policy))


def test_a_body_is_incomplete_after_a_chunk_in_parts() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"1\r\na\r\n")
    decoder.receive_eof()
    assert [decoder.next_part(HttpChunk()) for _ in range(2)] == [b"a", FRAME_END]
    with pytest.raises(IncompleteFrame):
        decoder.next_part(HttpChunk())


def test_long_trailers_cost_linear_time() -> None:
    def slow(size: int) -> bytes:
        return b"0\r\n" + b"X: y\r\n" * (size // 6) + b"\r\n"

    check_framer(HttpChunk(), examples={b"1\r\na\r\n": [Chunk(b"a")]}, slow_frame=slow)
    check_framer(HttpChunked(), examples={b"0\r\n\r\n": [Chunked(b"")]}, slow_frame=slow)


BODIES: dict[bytes, list[Chunked]] = {
    b"5\r\nhello\r\n0\r\n\r\n": [Chunked(b"hello")],
    b"0\r\n\r\n00\r\n\r\n": [Chunked(b"")] * 2,
    b"3;a=b\r\nhel\r\n2\r\nlo\r\n0;c\r\nX: y\r\nZ: a\r\n\r\n": [Chunked(b"hello", ((b"X", b"y"), (b"Z", b"a")))],
    b"2\r\n\r\n\r\n0\r\n\r\n1\r\n0\r\n0\r\n\r\n": [Chunked(b"\r\n"), Chunked(b"0")],
    b"": [],
}


def test_conformance_of_bodies() -> None:
    check_framer(
        HttpChunked(),
        examples=BODIES,
        malformed=MALFORMED
        | {b"1\r\na\r\n" + wire: reason for wire, reason in MALFORMED.items()}
        | {
            b"1\r\nab\r\n": "chunk does not end with CR LF",
            b"1\r\na\rb": "chunk does not end with CR LF",
            b"1\r\na\n": "chunk does not end with CR LF",
        },
        incomplete=[*INCOMPLETE, b"1\r\na\r\n", b"1\r\na\r\n0\r\n"],
        slow_frame=lambda size: b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n",
    )


def test_a_chunk_is_streamed_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=1000)
    decoder.receive_data(b"100000\r\n")
    size = 0
    for _ in range(1024):
        decoder.receive_data(b"x" * 1024)
        while isinstance(part := decoder.next_part(HttpChunk()), bytes):
            size += len(part)
    decoder.receive_data(b"\r\n0\r\n\r\n")
    assert decoder.next_part(HttpChunk()) is FRAME_END
    assert decoder.next_frame(HttpChunk()) == LAST
    assert size == 1 << 20
    assert decoder.stats.high_water < 3000


def test_a_body_passes_unchanged_when_it_is_streamed() -> None:
    wire = b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n"
    decoder = FrameDecoder(max_frame_size=30)
    passed = b""
    for at in range(len(wire)):
        decoder.receive_data(wire[at : at + 1])
        while isinstance(part := decoder.next_part(HttpChunked()), bytes):
            passed += part
    assert part is FRAME_END
    assert passed == wire


def test_a_flood_of_tiny_chunks_comes_to_an_end() -> None:
    decoder = FrameDecoder(max_frame_size=1000)
    decoder.receive_data(b"1\r\na\r\n" * 1000)
    with pytest.raises(FrameTooLarge):
        decoder.next_frame(HttpChunked())


def test_a_truncated_body_is_no_body() -> None:
    with pytest.raises(PayloadError, match="body is not complete"):
        list(iter_frames(b"5\r\nhello\r\n0\r\n\r\n", HttpChunked(max_size=12), on_oversize="truncate"))


@pytest.mark.parametrize(("framer", "frame", "complaint"), [
    (HttpChunk(), Chunk(b"a", b"x"), "are not chunk extensions"),
    (HttpChunk(), Chunk(b"a", b";x\r\n"), "are not chunk extensions"),
    (HttpChunk(), Chunk(b"a", b";" + b"x" * 4096), "of at most 4096 bytes"),
    (HttpChunk(), Chunk(b"a", trailers=((b"X", b"y"),)), "after a chunk that is not the last"),
    (HttpChunk(), Chunk(b"", trailers=((b"X y", b"z"),)), "trailers cannot be written: .* is not a field"),
    (HttpChunk(), Chunk(b"", trailers=((b"X", b"y\r\nZ: a"),)), "trailers would be read as something else"),
    (HttpChunk(), Chunk(b"", trailers=((b"X", b"y\r\n\r\n"),)), "trailers would be read as something else"),
    (HttpChunk(max_size=3), Chunk(b"long"), "chunk of 4 bytes exceeds the limit 3"),
    (HttpChunked(), Chunked(b"a", ((b"X y", b"z"),)), "trailers cannot be written"),
    (HttpChunked(max_size=10), Chunked(b"a"), "body of 11 bytes exceeds the limit 10"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Framer[Any], frame: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(frame)


def test_what_is_written() -> None:
    body = Chunked(b"hello", ((b"X", b"y"),))
    assert b"".join(HttpChunked().encode(body)) == b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    assert b"".join(HttpChunk().encode(Chunk(b"hello", b";a=b"))) == b"5;a=b\r\nhello\r\n"
    assert Chunk(b"").last
    assert not Chunk(b"a").last
