"""Frames that end with a delimiter, and lines."""

from __future__ import annotations

import pytest
from cutting import cut, wire
from framer_examples import EITHER
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framestream.decoder import FrameDecoder
from framestream.errors import EncodeError
from framestream.framer import ReadCondition, Window
from framestream.framers.delimiter import Delimiter, Line


@pytest.mark.parametrize("ends", [[b"\r\n"] * 600 + [b"\n"], [b"\n"] * 600 + [b"\r\n"], [b"\n", b"\r\n"] * 300])
def test_line_ends_may_change_in_the_middle_of_a_batch(ends) -> None:
    data = b"".join(b"x%b" % end for end in ends)
    assert EITHER.split(Window(data)) == ([b"x"] * len(ends), len(data))


def frames_by_definition(data: bytes, delimiters: list[bytes]) -> tuple[list[bytes], bytes]:
    """Cut as the definition says: the first end, and the longest delimiter that ends there."""
    frames = []
    start, end = 0, 1
    while end <= len(data):
        ending = [d for d in delimiters if len(d) <= end - start and data[:end].endswith(d)]
        if ending:
            frames.append(data[start : end - max(map(len, ending))])
            start = end
        end += 1
    return frames, data[start:]


delimiter_sets = st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=4).map(
    lambda raw: [bytes(b"ab;"[byte % 3] for byte in one) for one in raw]
)
streams = st.lists(st.text("ab;", max_size=6).map(str.encode), max_size=5)


@given(delimiter_sets, streams)
@example([b";", b"b;", b"ab;"], [b"xab;"])
def test_any_set_cuts_any_stream_as_the_definition_says(delimiters, chunks) -> None:
    try:
        framer = Delimiter(tuple(delimiters))
    except ValueError:
        assert any(d in e[:-1] for d in delimiters for e in delimiters)
        return
    data = b"".join(chunks)
    frames, rest = frames_by_definition(data, delimiters)
    left = [("left", rest)] if rest else []
    assert cut(framer, *chunks, eof=False) == frames + left
    assert framer.split(Window(data)) == (frames, len(data) - len(rest))


@given(delimiter_sets, st.text("ab;", max_size=6).map(str.encode))
def test_what_is_written_is_read_back_and_refused_only_if_it_cannot_be(delimiters, payload) -> None:
    try:
        framer = Delimiter(tuple(delimiters))
    except ValueError:
        return
    readable = frames_by_definition(payload + delimiters[0], delimiters) == ([payload], b"")
    if readable:
        assert cut(framer, wire(framer, payload)) == [payload]
    else:
        with pytest.raises(EncodeError):
            framer.encode(payload)


@pytest.mark.parametrize("chunks", [[b"bbababa"], [b"b", b"b", b"a", b"bab", b"a"]])
def test_a_kept_delimiter_longer_than_the_limit_can_still_be_streamed(chunks) -> None:
    framer = Delimiter(b"baba", keep=True, max_size=0)
    decoder = FrameDecoder()
    parts = b""
    for chunk in chunks:
        decoder.receive_data(chunk)
        while isinstance(part := decoder.next_part(framer), bytes):
            parts += part
    assert (parts, decoder.leftover) == (b"bbaba", b"ba")


# Lines


def test_many_lines_are_decoded_a_block_at_a_time() -> None:
    lines = [f"{number} é".rjust(number % 90) for number in range(3000)]
    long = "x" * 200_000
    text = "\r\n".join([*lines[:1500], long, *lines[1500:], ""]).encode()
    assert Line().split(Window(b"--" + text + b"rest", 2)) == ([*lines[:1500], long, *lines[1500:]], len(text) + 2)


def test_a_batch_stops_before_a_bad_line_and_goes_on_over_a_mended_one() -> None:
    good = b"".join(b"line %d\n" % number for number in range(20_000))
    data = good + b"\xff\n" + good
    assert Line().split(Window(data))[1] == len(good)
    lines, end = Line(errors="replace").split(Window(data))
    assert (len(lines), lines[20_000], lines[-1], end) == (40_001, "\ufffd", "line 19999", len(data))


lines = st.builds(
    Line,
    errors=st.sampled_from(["strict", "replace", "surrogateescape"]),
    newline=st.sampled_from(["any", "lf", "crlf"]),
    keep=st.booleans(),
)


@settings(max_examples=400)
@given(lines, st.lists(st.binary(max_size=8).map(lambda raw: bytes(b"a\r\n\xc3\xa9\xff"[byte % 6] for byte in raw))))
def test_a_batch_is_what_single_reads_give(line, chunks) -> None:
    window = Window(b"".join(chunks))
    assert line.split(window) == ReadCondition.split(line, window)
