"""Lines of text or bytes."""

from __future__ import annotations

import re

import pytest
from cutting import cut
from hypothesis import given
from hypothesis import strategies as st

from framestream.decoder import FrameDecoder
from framestream.errors import EncodeError, PayloadError
from framestream.framer import Window
from framestream.framers.line import Line


@pytest.mark.parametrize(
    ("newline", "lines"),
    [("any", ["a", "b", "c\rd"]), ("lf", ["a\r", "b", "c\rd"]), ("crlf", ["a", "b\nc\rd\n"])],
)
def test_what_ends_a_line_is_a_choice(newline, lines) -> None:
    assert cut(Line(newline=newline), b"a\r\nb\nc\rd\n") == lines
    kept = {"any": ["a\r\n", "b\n"], "lf": ["a\r\n", "b\n"], "crlf": ["a\r\n", "b\n"]}
    assert cut(Line(newline=newline, keep=True), b"a\r\n", b"b\n") == kept[newline]


def test_a_character_that_looks_like_a_newline_to_python_is_none() -> None:
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    assert cut(Line(), f"{text}\n{text}".encode()) == [text, text]


def test_a_line_that_cannot_be_decoded_costs_only_that_line() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"one\ntw\xff\nthree\n")
    assert decoder.next_batch(Line()) == ["one"]
    with pytest.raises(PayloadError, match="can't decode byte 0xff in position 2") as caught:
        decoder.next_batch(Line())
    assert (caught.value.payload, caught.value.offset) == (b"tw\xff", 4)
    assert decoder.next_batch(Line()) == ["three"]


def test_many_lines_are_decoded_a_block_at_a_time() -> None:
    lines = [f"{number} é".rjust(number % 90) for number in range(3000)]
    long = "x" * 200_000
    text = "\r\n".join([*lines[:1500], long, *lines[1500:], ""]).encode()
    assert Line().split(Window(b"--" + text + b"rest", 2)) == (
        [*lines[:1500], long, *lines[1500:]],
        len(text) + 2,
    )


def test_a_batch_stops_before_a_bad_line_and_goes_on_over_a_mended_one() -> None:
    good = b"".join(b"line %d\n" % number for number in range(20_000))
    data = good + b"\xff\n" + good
    assert Line().split(Window(data))[1] == len(good)
    lines, end = Line(errors="replace").split(Window(data))
    assert (len(lines), lines[20_000], lines[-1], end) == (40_001, "\ufffd", "line 19999", len(data))


@pytest.mark.parametrize(
    ("line", "text", "reason"),
    [
        (Line(), "a\nb", "would be read back as 1: a delimiter ends at byte 2"),
        (Line(), "a\r", "payload of 2 bytes would be read back as 1"),
        (Line(newline="crlf"), "a\r\nb", "would be read back as 1"),
        (Line(None), b"a\nb", "would be read back as 1"),
        (Line("ascii"), "é", "line cannot be encoded: 'ascii' codec can't encode"),
        (Line(errors="replace"), "\ud800", "line cannot be encoded"),
        (Line(errors="surrogateescape"), "\udcc3\udca9", "line would be read back otherwise"),
        (Line("raw_unicode_escape"), "\\u0041", "line would be read back otherwise"),
        (Line(max_size=3), "éé", "payload of 4 bytes exceeds the limit 3"),
    ],
)
def test_a_line_that_would_be_read_back_otherwise_is_refused(line, text, reason) -> None:
    with pytest.raises(EncodeError, match=re.escape(reason)):
        line.encode(text)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Line("utf-16"), "encoding is 'utf-16'; it must write newlines as ASCII does"),
        (lambda: Line("utf-8-sig"), "encoding is 'utf-8-sig'; it must write newlines"),
        (lambda: Line("cp037"), "encoding is 'cp037'; it must write newlines"),
        (lambda: Line("klingon"), "unknown encoding: klingon"),
        (lambda: Line("rot13"), "'rot13' is not a text encoding"),
        (lambda: Line(errors="shrug"), "unknown error handler name 'shrug'"),
        (lambda: Line(newline="cr"), "newline is 'cr'; it must be one of any, lf, crlf"),
        (lambda: Line(max_size="9"), "max_size is '9'; it must be a whole number"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(make, reason) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        make()


@given(st.lists(st.binary(max_size=8).map(lambda raw: bytes(b"a\r\n\xc3\xa9\xff"[byte % 6] for byte in raw))))
@pytest.mark.parametrize("errors", ["strict", "replace", "surrogateescape"])
@pytest.mark.parametrize("newline", ["any", "lf", "crlf"])
def test_a_batch_is_what_single_reads_give(newline, errors, chunks) -> None:
    data = b"".join(chunks)
    line = Line(errors=errors, newline=newline)
    assert line.split(Window(data)) == super(Line, line).split(Window(data))
