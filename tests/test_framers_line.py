"""Lines of text or bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framestream.framer import Window
from framestream.framers.delimiter import Line


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


@given(st.lists(st.binary(max_size=8).map(lambda raw: bytes(b"a\r\n\xc3\xa9\xff"[byte % 6] for byte in raw))))
@pytest.mark.parametrize("errors", ["strict", "replace", "surrogateescape"])
@pytest.mark.parametrize("newline", ["any", "lf", "crlf"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_batch_is_what_single_reads_give(keep, newline, errors, chunks) -> None:
    data = b"".join(chunks)
    line = Line(errors=errors, newline=newline, keep=keep)
    assert line.split(Window(data)) == super(Line, line).split(Window(data))
