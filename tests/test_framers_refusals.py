"""What the built-in framers refuse: senseless options, and frames that would be read back differently."""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from datetime import UTC, datetime
from typing import Any

import pytest
from cutting import told, wire
from framer_examples import BLANK_LINE, EITHER, LINE, NEST, SIZED, SNIFF, Never, entries, of, value
from sample_conditions import Spaced

from framestream import (
    EncodeError,
    FrameDecoder,
    FramerContractError,
    blocking,
    connect,
    get_framer,
    iter_frames,
    serve,
)
from framestream.framer import read_digits
from framestream.framers import (
    Delimiter,
    FirstOf,
    FixedLength,
    LengthPrefix,
    Line,
    Mapped,
    Msgpack,
    Regex,
    Sequence,
    UntilClose,
    When,
)
from framestream.testing import check_framer, memory_stream_pair

OPTIONS = r"""
Line("utf-16"):  encoding is 'utf-16'; it must write newlines as ASCII does
Line("cp037"):  encoding is 'cp037'; it must write newlines
Line("a\0b"):  encoding is 'a\x00b', errors is 'strict': embedded null character
Line("klingon"):  unknown encoding: klingon
Line("rot13"):  'rot13' is not a text encoding
Line(errors="shrug"):  unknown error handler name 'shrug'
Line(newline="cr"):  newline is 'cr'; it must be one of any, lf, crlf
Line(max_size="9"):  max_size is '9'; it must be a whole number
Exactly(-1):  size is -1; it must be a whole number, 0 or more
Exactly(2.0):  size is 2.0
FixedLength(0):  size is 0; it must be a whole number, 1 or more
FixedLength(True):  size is True
Available(0):  max_size is 0; it must be a whole number, 1 or more
UntilClose(-1):  max_size is -1; it must be a whole number, 0 or more
Delimiter(()):  no delimiter is given
Delimiter(b""):  delimiter b'' is not bytes, one or more
Delimiter("\r\n"):  delimiter '\r\n' is not bytes, one or more
Delimiter(10):  delimiter 10 is not bytes
Delimiter(bytearray(b";")):  delimiter bytearray(b';') is not bytes, one or more
Delimiter(memoryview(b";")):  is not bytes, one or more
Delimiter([b";", b"\n"]):  delimiters are [b';', b'\n']; several are given as a tuple
Delimiter((bytearray(b";"),)):  delimiter bytearray(b';') is not bytes, one or more
Delimiter((b"\n", "\r\n")):  delimiter '\r\n' is not bytes, one or more
Delimiter((b"\n", b"\n\n")):  delimiter b'\n\n' can never end a frame: b'\n' in it ends one first
Delimiter((b"ab", b"xaby")):  delimiter b'xaby' can never end a frame
LengthPrefix(size=0):  size is 0; it must be a whole number, from 1 to 8
LengthPrefix(size=9):  size is 9; it must be a whole number, from 1 to 8
LengthPrefix(size=11, format="varint"):  size is 11; it must be a whole number, from 1 to 10
LengthPrefix(size=21, format="decimal"):  size is 21; it must be a whole number, from 1 to 20
LengthPrefix(format="hex"):  a hex length needs a terminator or a size
LengthPrefix(format="octal"):  format is 'octal'; it must be one of binary, varint, decimal, hex
LengthPrefix(byteorder="middle"):  byteorder is 'middle'; it must be one of big, little, native
LengthPrefix(offset=-1):  offset is -1; it must be a whole number, 0 or more
LengthPrefix(strip=-1):  strip is -1; it must be a whole number, 0 or more
LengthPrefix(adjust=0.5):  adjust is 0.5; it must be a whole number
LengthPrefix(max_size=-1):  max_size is -1
LengthPrefix(terminator=b":"):  terminator is b':'; a binary length has no such option
LengthPrefix(canonical=True):  canonical is True; a binary length has no such option
LengthPrefix(format="varint", byteorder="little"):  byteorder is 'little'; a varint length has no
LengthPrefix(format="varint", terminator=b":"):  terminator is b':'; a varint length has no such option
LengthPrefix(format="hex", size=4, canonical=True):  canonical is True; a hex length of fixed size
LengthPrefix(format="decimal", terminator=":"):  terminator is ':'; it must be bytes
LengthPrefix(format="decimal", terminator=b"0:"):  terminator is b'0:'; it must not begin with a decimal
LengthPrefix(format="hex", terminator=b"f"):  terminator is b'f'; it must not begin with a hex digit
Regex(b"a", max_size=-1):  max_size is -1
Regex(bytearray(b"a")):  pattern is bytearray(b'a'); it must be bytes or text
Regex(memoryview(b"a")):  it must be bytes or text
Regex([b"a"]):  pattern is [b'a']; it must be bytes or text
LengthPrefix(format="decimal", terminator=memoryview(b":")):  it must be bytes
When(bytearray(b"$"), Line()):  beginning bytearray(b'$') is not bytes
Regex(re.compile(b"a")):  pattern is re.compile(b'a'); it must be bytes or text
Msgpack(max_map_len=-1):  max_map_len is -1
Msgpack(max_map_len=1 << 70):  msgpack refuses these options
Msgpack(timestamp=7):  timestamp
Msgpack(object_hook=5):  object_hook
Msgpack(default=5):  default
Msgpack(max_size=-1):  max_size is -1
FirstOf():  at least one alternative
Sequence():  at least one part
When((), Line()):  none, or empty ones
When(b"", Line()):  none, or empty ones
Sequence(Line(), max_size=-1):  max_size is -1
HeaderThenBody(Line(), str, max_size=-1):  max_size is -1
Sequence(Line(), "line"):  part is 'line', not a read condition; get_framer('line') makes one of its name
FirstOf(Line(), 5):  alternative is 5, not a read condition; Exactly(5) reads so many bytes
When(b"a", b"\n"):  condition is b'\n', not a read condition; Delimiter(b'\n') reads up to that
Mapped(Line, str):  condition is the class Line, not a read condition; make one of it: Line(...)
Nested([], Line()):  condition is [], not a read condition
Nested(Line(None), None):  inner is None, not a read condition
HeaderThenBody(None, Exactly):  header is None, not a read condition
HeaderThenBody(Line(), 5):  part is 5, not a read condition
Mapped(Line(), None):  load is None; it must be a function
Mapped(Line(), str, 5):  dump is 5; it must be a function
When("$", Line()):  beginning '$' is not bytes
When((b"$", 5), Line()):  beginning 5 is not bytes
When(5, Line()):  beginning 5 is not bytes
When([b"$"], Line()):  beginning [b'$'] is not bytes
Body("line", str):  body is 'line', not a read condition
"""


@pytest.mark.parametrize("entry", entries(OPTIONS))
def test_options_that_make_no_sense_are_refused_at_once(entry: str) -> None:
    call, _, reason = entry.partition(":  ")
    with pytest.raises((ValueError, TypeError)) as caught:
        value(call)
    assert reason in str(caught.value)
    assert "unhashable" not in str(caught.value.__context__)


def fields_of(*yielded: Any) -> Any:
    return (yield yielded[0])


async def on_a_stream(method: str, *arguments: Any) -> None:
    async with memory_stream_pair()[0] as stream:
        await getattr(stream, method)(*arguments)


TAKERS: dict[str, Any] = {
    "check_framer": lambda framer: check_framer(framer, examples=[(b"a\n", ["a"])]),
    "connect": lambda framer: asyncio.run(connect("tcp://127.0.0.1:9", framer=framer)),
    "connect to send": lambda framer: asyncio.run(connect("tcp://127.0.0.1:9", send_framer=framer)),
    "blocking.connect": lambda framer: blocking.connect("tcp://127.0.0.1:9", framer=framer),
    "function": lambda framer: list(iter_frames(b"a\n", Sequence(lambda: framer))),
    "generator": lambda framer: list(iter_frames(b"a\n", of(fields_of, framer))),
    "get_framer": get_framer,
    "iter_frames": lambda framer: list(iter_frames(b"a\n", framer)),
    "next_frame": lambda framer: FrameDecoder().next_frame(framer),
    "open_frame": lambda framer: asyncio.run(on_a_stream("open_frame", framer)),
    "read": lambda framer: asyncio.run(on_a_stream("read", framer)),
    "send": lambda framer: asyncio.run(on_a_stream("send", "a", framer)),
    "serve": lambda framer: asyncio.run(serve(print, "tcp://127.0.0.1:0", framer=framer)),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_who_passes_a_class_is_told_to_make_a_framer_of_it(taker: str) -> None:
    with pytest.raises((TypeError, FramerContractError), match=r"; make one of it: Line\(\.\.\.\)$"):
        TAKERS[taker](Line)


MIXED = FirstOf(When(b"{", Mapped(Line(), json.loads, json.dumps)), Line())
WRITTEN: list[tuple[Any, Any, bytes]] = [
    (Sequence(Line(), LengthPrefix(1), lambda line, data: FixedLength(len(line))), ("ab", b"c", b"de"), b"ab\n\x01cde"),
    (Sequence(Line(), SNIFF), ("ab", b"one"), b"ab\n\x00\x03one"),
    (Sequence(LINE, LINE, max_size=3), (b"a", b"b"), b"a\nb\n"),
    (SNIFF, b"one", b"\x00\x03one"),
    (FirstOf(Never(), LINE), b"one", b"one\n"),
    (MIXED, {"a": 1}, b'{"a": 1}\n'),
    (MIXED, "text", b"text\n"),
    (When(b"$", LINE), b"$a", b"$a\n"),
    (NEST, [1, 2], b"\3\x92\1\2"),
    (EITHER, b"a", b"a\r\n"),
    (BLANK_LINE, b"a: 1\r\n\r\n", b"a: 1\r\n\r\n"),
    (Delimiter(b";", keep=True), b"a;", b"a;"),
    (UntilClose(), b"abc", b"abc"),
    (LengthPrefix(2, offset=2, strip=0), b"hi\0\3abc", b"hi\0\3abc"),
    (LengthPrefix(format="varint"), b"", b"\0"),
    (LengthPrefix(4, "native"), b"abc", (3).to_bytes(4, sys.byteorder) + b"abc"),
    (Msgpack(datetime=True, timestamp=3), datetime(2026, 1, 2, tzinfo=UTC), b"\xd6\xffiW\n\x80"),
]


@pytest.mark.parametrize(("framer", "frame", "data"), WRITTEN)
def test_it_writes_what_it_would_read_back(framer: Any, frame: Any, data: bytes) -> None:
    assert wire(framer, frame) == data
    assert told(framer, [data]) == [frame]


FRAMES: list[tuple[Any, Any, str]] = [
    (Line(), "a\nb", "would be read back as 1: a delimiter ends at byte 2"),
    (Line(), "a\r", "payload of 2 bytes would be read back as 1"),
    (Line(newline="crlf"), "a\r\nb", "would be read back as 1"),
    (Line(None), b"a\nb", "would be read back as 1"),
    (Line("ascii"), "é", "line cannot be encoded: 'ascii' codec can't encode"),
    (Line(errors="replace"), "\ud800", "line cannot be encoded"),
    (Line(errors="surrogateescape"), "\udcc3\udca9", "line would be read back differently"),
    (Line("raw_unicode_escape"), "\\u0041", "line would be read back differently"),
    (Line(max_size=3), "éé", "payload of 4 bytes exceeds the limit 3"),
    (Delimiter(b"\n"), b"a\nb", "payload of 3 bytes would be read back as 1: a delimiter ends at byte 2"),
    (Delimiter(b"\n", max_size=3), b"abcd", "payload of 4 bytes exceeds the limit 3"),
    (Delimiter(b";", keep=True), b"ab", "payload of 2 bytes has to keep its delimiter at its end"),
    (Delimiter(b";", keep=True), b"a;b;", "payload of 4 bytes would be read back as 2"),
    (Delimiter(b";", keep=True), b"a;b", "payload of 3 bytes would be read back as 2"),
    (FixedLength(3), b"ab", "payload of 2 bytes in records of 3"),
    (FixedLength(3), b"abcd", "payload of 4 bytes in records of 3"),
    (UntilClose(max_size=2), b"abc", "payload of 3 bytes exceeds the limit 2"),
    (LengthPrefix(1), b"x" * 256, "length 256 does not fit into 1 byte"),
    (LengthPrefix(1, includes_header=True), b"x" * 255, "length 256 does not fit into 1 byte"),
    (LengthPrefix(2, adjust=3), b"ab", "length -1 does not fit into 2 bytes"),
    (LengthPrefix(1, format="varint"), b"x" * 128, "length 128 does not fit into a varint of 1 byte"),
    (LengthPrefix(format="varint", adjust=1), b"", "length -1 does not fit into a varint"),
    (LengthPrefix(2, format="decimal"), b"x" * 100, "length 100 does not fit into 2 decimal digits"),
    (LengthPrefix(1, format="hex", terminator=b":"), b"x" * 16, "does not fit into 1 hex digit"),
    (LengthPrefix(adjust=1, format="decimal", terminator=b":"), b"", "length -1 does not fit into 20"),
    (LengthPrefix(max_size=2), b"abc", "payload of 3 bytes exceeds the limit 2"),
    (LengthPrefix(2, offset=2), b"abc", "keep the header with strip=0"),
    (LengthPrefix(2, strip=1), b"abc", "keep the header with strip=0"),
    (LengthPrefix(strip=10, format="varint"), b"abc", "keep the header with strip=0"),
    (LengthPrefix(2, strip=0), b"\0", "frame of 1 byte is shorter than the header it must have"),
    (LengthPrefix(2, strip=0), b"\0\4abc", "frame of 5 bytes, but its header says 6"),
    (LengthPrefix(2, strip=0, adjust=-5), b"\0\4abc", "refused: length 4 makes a frame of 1 byte"),
    (Line(), 5, "frame is of type int; it must be text"),
    (Line(None), "one", "frame is text; without an encoding it must be bytes"),
    (LengthPrefix(4), "one", "frame is of type str; it must be bytes"),
    (Line(), b"\xff", "line cannot be encoded: 'utf-8' codec can't decode byte 0xff"),
    (Line(errors="replace"), b"\xff", "line cannot be encoded"),
    (Line("utf-8-sig"), "\ufeffone", "line would be read back differently"),
    (Line("utf-8-sig"), b"\xef\xbb\xbfone", "line would be read back differently"),
    (FixedLength(1), array("I", [1]), "payload of 4 bytes in records of 1"),
    (LengthPrefix(max_size=1), array("I", [1]), "payload of 4 bytes exceeds the limit 1"),
    (BLANK_LINE, b"a: 1\r\n", "frame of 6 bytes has no match in it; b'\\\\r?\\\\n\\\\r?\\\\n' must match"),
    (BLANK_LINE, b"a:\n\n\n", "frame of 5 bytes ends after 4 bytes already"),
    (Regex(b";", max_size=3), b"abc;", "payload of 4 bytes exceeds the limit 3"),
    (Sequence(Line(), Line()), 5, "frame is of type int, not one value for each part"),
    (Mapped(Line(), str, lambda value: value["name"]), {}, "'name'"),
    (Sequence(LINE, LINE), (b"a",), "frame of 1 value for 2 parts"),
    (Sequence(LINE, LINE), (b"a",) * 3, "frame of 3 values for 2 parts"),
    (SIZED, ("two", b"hi"), "part 2 does not follow"),
    (SIZED, ("3", b"hi"), "2 bytes"),
    (Sequence(Spaced()), (b"a",), " only reads"),
    (Sequence(LINE, LINE, max_size=3), (b"a", b"bc"), "payload of 4 bytes exceeds the limit 3"),
    (MIXED, "{", "would be read as when("),
    (FirstOf(Msgpack(), Spaced(), Line()), object(), "no alternative can write it"),
    (FirstOf(When(b"\x92", Msgpack()), Delimiter(b";")), b"\x92\xc1", "would be read as when("),
    (FirstOf(Mapped(Msgpack(), str), LINE), b"\xdc\xff\xff" + b"\1" * 70 + b"\xc1", "would be read as mapped"),
    (FirstOf(When(b"ab", LINE), FixedLength(1)), b"a", "fixed-length:1: it would be read as another alternative"),
    (When(b"$$", LINE), b"a", "frame does not begin with b'$$'"),
    (When(b"a\nb", LINE), b"a", "shorter than what it must begin with"),
    (Mapped(Line(), json.loads), {}, "there is no dump function"),
    (Mapped(Line(), json.loads, json.dumps), object(), "not JSON serializable"),
]


@pytest.mark.parametrize(("framer", "frame", "reason"), FRAMES)
def test_what_would_be_read_back_otherwise_is_not_written(framer: Any, frame: Any, reason: str) -> None:
    with pytest.raises(EncodeError) as caught:
        framer.encode(frame)
    assert reason in str(caught.value)


@pytest.mark.parametrize(("field", "base", "number"), [(b"042", 10, 42), ("fF", 16, 255), (bytearray(b"0"), 10, 0)])
def test_digits_are_read_as_a_number(field: Any, base: int, number: int) -> None:
    assert read_digits(field, base) == number


@pytest.mark.parametrize(
    "field", [b"", b" 5", b"5 ", b"+5", b"-0", b"1_0", b"0x5", b"f", b"5\n", "\u0665", "\uff15", b"\xb2"]
)
def test_only_digits_are_a_number(field: Any) -> None:
    with pytest.raises(ValueError, match="is not a number in digits"):
        read_digits(field)
