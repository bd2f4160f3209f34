"""Frames that end where a regular expression first matches."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from cutting import cut
from framer_examples import BLANK_LINE
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream.framer import NeedMore, Window
from framestream.framers import regex
from framestream.framers.regex import Regex


def test_what_can_still_be_part_of_a_match_is_searched_again_and_nothing_else() -> None:
    assert BLANK_LINE.find(Window(b"abcdefgh\r\n")) == NeedMore(resume=8, settled=8)
    assert Regex(b"END").find(Window(b"xE")) == NeedMore(resume=0, settled=0)
    assert Regex(rb"[a-z]{0,4000};").find(Window(b"abc")) == NeedMore(resume=3, settled=3)
    assert Regex(rb"x[a-z]{1,30};").find(Window(b"xabc")) == NeedMore(resume=0, settled=0)  # not each word is tried
    assert Regex(rb"a?b?c").find(Window(b"ab")) == NeedMore(resume=2, settled=2)


SHORTEST = "ends at the shortest match"
REFUSED = [
    (rb"a?", SHORTEST),
    (rb"", SHORTEST),
    (rb"a{0}", SHORTEST),
    (rb"\n+", SHORTEST),
    (rb"(?:a|b{0,2})", SHORTEST),
    (rb"x(a(b{2,3}))", SHORTEST),
    (rb"\r\n|\r", SHORTEST),
    (rb"(?:ab?){2}", SHORTEST),
    (rb"^a", "anchor or boundary"),
    (rb"a(?=b)", "lookahead.*make those bytes part"),
    (rb"(?<!a)b", "negative lookahead or lookbehind"),
    (rb"(a)\1", "backreference"),
    (rb"(a)?c(?(1)b|c)d", "conditional"),
    (rb"a.*b", r"no upper bound.*such as .\{0,200\}.*delimiter"),
    (rb"ab{5000}", "no upper bound of at most 4096"),
    (rb"a(?:b{4000}){4000}", "may take 16000001 bytes, limit 4096"),
    (rb"x(?:(?:|a){4096}){4096};", "16777217 bytes|[0-9]+ bytes"),
    (rb"x(?:a{0,30}b){0,30};", "steps or more at one byte, limit 1000; repeat less"),
    (rb"x(?:a|a){0,20};", "3145727 steps"),
    (rb"x[a-z]{0,40}[a-y]{0,40};", "3362 steps or more at one byte, limit 1000; repeat less"),
    (rb"b{9}ab|a", "frame ends at b'a', so b'bbbbbbbbbab' is never reached"),
    (rb"bab|a", "frame ends at b'a', so b'bab' is never reached; leave it out"),
    (rb"(?L)a", "flag L makes the match depend on the locale"),
    (rb"(?iL:x.)[a-z]", "flag L makes the match depend on the locale"),
    (rb"a[^\x00-\xff]", "a set that no byte is in"),
    (rb"(", "missing \\)"),
    (rb"(?:" * 2000 + rb"a" + rb"){1,2}" * 2000 + b";", "recursion"),
    (rb"a(?>b)c", "atomic_group is not supported"),
    ("aé", "'é' is not one byte in every encoding"),
]


@pytest.mark.parametrize(("pattern", "reason"), REFUSED)
def test_patterns_whose_answer_could_depend_on_the_chunking_are_refused(pattern: bytes | str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){reason}") as caught:
        Regex(pattern)
    assert repr(pattern) in str(caught.value)


def test_what_the_parser_may_learn_one_day_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    future = SimpleNamespace(parse=lambda pattern: [("NEW_THING", None)])
    monkeypatch.setattr(regex, "_parser", future)
    with pytest.raises(ValueError, match="new_thing is not supported"):
        Regex(b"\\new")


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b";", b"1"]), max_size=30).map(b"".join))
def test_a_frame_ends_where_the_definition_says(data: bytes) -> None:
    for pattern in (rb"\r?\n\r?\n", rb"(a|1){1,3}[;\n]", rb"(?P<x>\r|a){0,2}(1{1,2}|a);|\n", rb"aa;|a1|1[^a]{1,3}\n"):
        expected, start = [], 0
        for end in range(1, len(data) + 1):
            if re.search(pattern, data[start:end]):
                expected.append(data[start:end])
                start = end
        for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
            assert [each for each in cut(Regex(pattern), *chunks, eof=False) if type(each) is bytes] == expected
