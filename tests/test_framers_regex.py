"""Frames that end where a regular expression first matches."""

from __future__ import annotations

import builtins
import re
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
from cutting import cut, wire
from framer_examples import BLANK_LINE
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream.decoder import FrameDecoder
from framestream.errors import IncompleteFrame, PayloadError
from framestream.framer import NeedMore, Window
from framestream.framers import regex_pattern
from framestream.framers.regex import Regex
from framestream.framers.regex_pattern import parse
from framestream.testing import chunkings

NEEDS_RE2 = pytest.mark.skipif(
    find_spec("re2") is None, reason="google-re2 is not installed: it has no wheel for every Python"
)
ENGINES = ["re", pytest.param("re2", marks=NEEDS_RE2)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("pattern", "data", "expected"),
    [
        (rb"\n\r?\n", b"a\n\r\nb\n\n", [b"a\n\r\n", b"b\n\n"]),
        (rb"a{2,3}b", b"aaaabaab", [b"aaaab", b"aab"]),
        (rb"(?i)END|stop", b"xenDsTOPy", [b"xenD", b"sTOP", ("left", b"y")]),
        (rb"[0-9]{0,4000};", b"12;x;", [b"12;", b"x;"]),
        (rb".*;", b"12;x;", [b"12;", b"x;"]),
        (rb"abcd.e|c", b"abcdxe", [b"abc", ("left", b"dxe")]),
        (rb"x(?:ab|abc)d{0,2};", b"xabdd;xabc;", [b"xabdd;", b"xabc;"]),
        (rb"\d\s[^\W\d]\D\S\w;", b"1\x0ba-b_;", [b"1\x0ba-b_;"]),
        (rb"(?s:a.)b.c", b"a\nb\ncb.c", [("left", b"a\nb\ncb.c")]),
        (rb"(?-i:a);", b"A;a;", [b"A;a;"]),
        (rb"(?i)a(?-i:b);", b"AB;Ab;", [b"AB;Ab;"]),
        (rb"\xff[\x80-\xfe]", b"\xff\x7f\xff\x80", [b"\xff\x7f\xff\x80"]),
    ],
)
def test_the_frame_ends_at_the_earliest_match_in_any_chunking(
    pattern: bytes, data: bytes, expected: list[Any], engine: Any
) -> None:
    expected = [each if isinstance(each, bytes) else IncompleteFrame for each in expected] + [
        each for each in expected if not isinstance(each, bytes)
    ]
    for chunks in chunkings(data):
        assert cut(Regex(pattern, engine=engine), *chunks) == expected


def test_str_patterns_are_ascii() -> None:
    assert Regex(r"\r?\n") == Regex(rb"\r?\n")
    with pytest.raises(ValueError, match="'é' is not one byte in every encoding"):
        Regex("é")


def test_what_can_still_be_part_of_a_match_is_searched_again_and_nothing_else() -> None:
    assert BLANK_LINE.find(Window(b"abcdefgh\r\n")) == NeedMore(resume=8, settled=8)
    assert Regex(b"END").find(Window(b"xE")) == NeedMore(resume=0, settled=0)
    assert Regex(rb"[a-z]{0,4000};").find(Window(b"abc")) == NeedMore(resume=3, settled=3)
    assert Regex(rb"a?b?c").find(Window(b"ab")) == NeedMore(resume=2, settled=2)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_match_itself_on_request(engine: Any) -> None:
    condition = Regex(rb"(?P<key>[a-z]{1,9})=([0-9]{1,9});", engine=engine, result="match")
    for chunks in chunkings(b"temp=21;?hum=40;"):
        first, second = cut(condition, *chunks)
        assert (first.span(), first.string, first["key"], first[2]) == ((0, 8), b"temp=21;", b"temp", b"21")
        assert (second.span(), second.string, second.groups()) == ((1, 8), b"?hum=40;", (b"hum", b"40"))
    assert (first.group(), first.group("key", 2), first.lastgroup) == (b"temp=21;", (b"temp", b"21"), None)
    assert (first.start("key"), first.end("key"), first.span(2)) == (0, 4, (5, 7))
    assert first.groupdict() == {"key": b"temp"}
    assert "span=(0, 8)" in repr(first)
    assert cut(Regex(rb"(?x) \d ;", result="match"), b"1;")[0].re.pattern == rb"(?x) \d ;"
    with pytest.raises(IndexError, match="no such group"):
        first["other"]
    named = cut(Regex(rb"(?P<all>a;)", engine=engine, result="match"), b"a;")[0]
    assert (named.lastgroup, named.lastindex) == ("all", 1)
    assert wire(condition, first, second) == b"temp=21;?hum=40;"
    decoder = FrameDecoder()
    decoder.receive_data(b"a=1;b=2;")
    assert [match["key"] for match in decoder.next_batch(condition)] == [b"a", b"b"]


def test_a_frame_truncated_before_its_match_has_none() -> None:
    decoder = FrameDecoder(max_frame_size=3, on_oversize="truncate")
    decoder.receive_data(b"abcdef1;")
    with pytest.raises(PayloadError, match="truncated before its match"):
        decoder.next_frame(Regex(b"[0-9];", result="match"))


REFUSED = [
    (rb"a?", "matches the empty string"),
    (rb"", "matches the empty string"),
    (rb"(?:a|b{0,2})", "matches the empty string"),
    (rb"^a", "anchor or boundary"),
    (rb"a$", "anchor or boundary"),
    (rb"\Aa\Z", "anchor or boundary"),
    (rb"\ba\B", "anchor or boundary"),
    (rb"a(?=b)", "lookahead.*make those bytes part"),
    (rb"(?<=a)b", "lookbehind"),
    (rb"(?<!a)b", "negative lookahead or lookbehind.*\\[\\^x\\]"),
    (rb"(?!)b", "negative lookahead"),
    (rb"(a)\1", "backreference.*sequence"),
    (rb"(a)?(?(1)b|c)", "conditional.*a|b"),
    (rb"a.*b", r"\[.*\]\* has no upper bound.*\{0,200\}.*delimiter"),
    (rb"ab+c", r"b\+ has no upper bound.*b\{1,200\}"),
    (rb"a(?:bc){300,}?d", r"\(\?:bc\)\{300,\}\? has no upper bound.*\{300\}"),
    (rb"ab{5000}", "may take 5001 bytes, limit 4096"),
    (rb"a(?:b{4000}){4000}", "may take 16000001 bytes, limit 4096"),
    (rb"a{1,5}", r"shortest match, so a\{1,5\} at the end never goes beyond 1; write a,"),
    (rb"\n\r?", r"\\r\? at the end never goes beyond 0; write nothing there"),
    (rb"x(?:ab{2,3}|c)", r"b\{2,3\} at the end never goes beyond 2; write b\{2\}"),
    (rb"\n|\n\r", "frame ends at b'\\\\n', so b'\\\\n\\\\r' is never reached"),
    (rb"x(?:a?){1,3}b", "repeats what may be empty"),
    (rb"x(?:a{0,30}b){0,30};", "more than 4 billion steps at one byte, limit 1000.*re2"),
    (rb"x[a-z]{0,40}[a-y]{0,40};", "1803 steps|[0-9]{4} steps"),
    (rb"(", "not a regular expression"),
    (rb"(?L)a", "flag L"),
    (rb"a[^\x00-\xff]", "no byte is in"),
    (rb"(?>a)b", "atomic group|not a regular expression"),
    (rb"a++b", "possessive repeat|not a regular expression"),
]


@pytest.mark.parametrize(("pattern", "reason"), REFUSED)
def test_patterns_whose_answer_could_depend_on_the_chunking_are_refused(pattern: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){reason}") as caught:
        Regex(pattern)
    assert repr(pattern) in str(caught.value)


def test_what_the_parser_may_learn_one_day_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tree(list):  # type: ignore[type-arg]
        state = SimpleNamespace(flags=0, groupdict={})

    future = SimpleNamespace(parse=lambda pattern: Tree([("NEW_THING", None)]))
    monkeypatch.setattr(regex_pattern, "_parser", future)
    with pytest.raises(ValueError, match="new_thing is not supported"):
        parse(b"\\new")


def test_a_match_is_held_to_more_than_where_it_ends() -> None:
    Regex(rb".*;")
    with pytest.raises(ValueError, match="no upper bound"):
        Regex(rb".*;", result="match")
    Regex(rb"(?:a|a){0,20};")
    with pytest.raises(ValueError, match="steps at one byte"):
        Regex(rb"(?:a|a){0,20};", result="match")


def test_re2_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_re2(name: str, *args: Any) -> Any:
        if name == "re2":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_re2)
    with pytest.raises(ValueError, match=r"pip install google-re2"):
        Regex(b"abcd", engine="re2")


@NEEDS_RE2
def test_what_re2_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="RE2 refuses it"):
        Regex(rb"x[a-z]{0,2000};", engine="re2")


@NEEDS_RE2
def test_re2_takes_what_costs_the_other_engine_too_much() -> None:
    condition = Regex(rb"x(?:a{1,30}b?){1,10}c;", engine="re2")
    assert cut(condition, b"xaabaac;xac;") == [b"xaabaac;", b"xac;"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b";", b"1"]), max_size=30).map(b"".join))
def test_an_engine_agrees_with_the_definition(engine: Any, data: bytes) -> None:
    for pattern in (rb"\r?\n\r?\n", rb"(a|1){1,3}[;\n]", rb"(?P<x>\r|a){0,2}(1{1,2}|a);|\n"):
        expected, start = [], 0
        for end in range(1, len(data) + 1):
            if match := re.search(pattern, data[start:end]):
                expected.append((match.string, match.span(), match.groups(), match.groupdict()))
                start = end
        condition = Regex(pattern, engine=engine, result="match")
        for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
            found = [each for each in cut(condition, *chunks, eof=False) if not isinstance(each, tuple)]
            assert [(m.string, m.span(), m.groups(), m.groupdict()) for m in found] == expected


@pytest.mark.parametrize(
    "pattern", [rb"(?:a|b)c", rb"(?P<x>a)(b)?c", rb"(?x) [ab-d\n\xff] \{ {2,3}? z", rb"(?i:a)[^b]", rb"(?s:.)a{2}(|b)c"]
)
def test_a_pattern_spelled_anew_matches_the_same(pattern: bytes) -> None:
    anew = parse(pattern)[0].text.encode()
    for data in (b"ac", b"abc", b"a{{z", b"Az", b"qaac", b"qaabc", b"bc"):
        one, other = re.search(pattern, data), re.search(anew, data)
        assert (one and (one.span(), one.groups())) == (other and (other.span(), other.groups()))


def test_a_growing_window_is_searched_as_a_frozen_one() -> None:
    assert BLANK_LINE.find(Window(bytearray(b"a\n\nb"))) == (0, 3, 3)
    assert BLANK_LINE.split(Window(bytearray(b"a\n\nb"))) == ([b"a\n\n"], 3)
    assert type(BLANK_LINE.split(Window(bytearray(b"a\n\nb")))[0][0]) is bytes
