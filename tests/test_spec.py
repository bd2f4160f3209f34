"""Spec strings: grammar, values, building and printing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import reduce
from typing import Annotated, Any, Literal, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framestream import Line, NeedMore, ReadCondition, SpecError, Window
from framestream.registry.options import Takes, Word, options_of
from framestream.registry.specs import Setting, Spec, build_framer, parse_spec


class Whole(ReadCondition[Any]):
    """A condition of which only the options matter here."""

    def find(self, window: Window) -> NeedMore:
        return NeedMore()


@dataclass(frozen=True)
class Ends(Whole):
    name = "ends"

    marks: Annotated[bytes | tuple[bytes, ...], "What ends a frame."]
    keep: Annotated[bool, "Keep it."] = False
    last: Annotated[bool, "Take the rest."] = True
    max_size: Annotated[int | None, "The most. Bytes."] = None


@dataclass(frozen=True)
class Many(Whole):
    name = "many"

    marks: tuple[bytes, ...]
    size: int


@dataclass(frozen=True)
class Strict(Whole):
    name = "strict"

    exact: bool
    size: int
    _: KW_ONLY
    mode: str


@dataclass(frozen=True)
class Header(Whole):
    name = "header"

    size: Annotated[int, "Size.", "second text"] = 4
    order: Literal["big", "little"] = "big"
    _: KW_ONLY
    width: int | Literal["varint", "any"] = 2
    pace: float = 1.0
    text: str | None = None
    fill: str | bytes | None = b"x"
    names: tuple[str, ...] = ()
    reader: Callable[[bytes], int] | None = None
    shared: tuple[str, ...] = field(default_factory=lambda: ("a", "b"))


@dataclass(frozen=True)
class Either(Whole):
    name = "either"

    parts: tuple[ReadCondition[Any], ...]
    note: str = ""


@dataclass(frozen=True)
class Pair(Whole):
    name = "pair"

    head: ReadCondition[Any]
    body: ReadCondition[Any] | None = None
    tail: ReadCondition[Any] | None = None


class Varied(Whole):
    """Not a dataclass: the options are the parameters, if they are kept as attributes."""

    name = "varied"

    def __init__(self, first: int, second: int = 2, *rest: Annotated[bytes, "x"], mode: str = "a", **more: Any) -> None:
        self.first, self.second, self.rest, self.mode = first, second, rest, mode

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Varied) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # never hashed here


FACTORIES: dict[str, Any] = {cls.name: cls for cls in (Ends, Many, Strict, Header, Either, Pair, Varied)}


def build(spec: str | Spec) -> Any:
    if isinstance(spec, str):
        spec = parse_spec(spec)
    return build_framer(FACTORIES.get(spec.name, Whole), spec, build)


# Grammar


def test_a_tree_holds_names_framers_options_and_places() -> None:
    tree = parse_spec(" a/b-c ( x:1 , (y:2,z) ) : k = v , \"q\" , 'r' ")
    one, two, z = (Setting(None, Word(text, place)) for text, place in (("1", 11), ("2", 18), ("z", 20)))
    quoted = (Setting(None, Word("q", 35, True)), Setting(None, Word("r", 41, True)))
    framers = (Spec("x", (), (one,), 9), Spec("y", (), (two, z), 16))
    assert tree == Spec("a/b-c", framers, (Setting(Word("k", 27), Word("v", 31)), *quoted), 1)


def test_between_parentheses_a_bare_name_after_a_comma_is_the_next_framer() -> None:
    tree = parse_spec('f(a:1,k=2,"s", b, (c:x,y), d())')
    assert [(framer.name, len(framer.options)) for framer in tree.framers] == [("a", 3), ("b", 0), ("c", 2), ("d", 0)]


@pytest.mark.parametrize(("text", "reason", "position"), [
    ("", "expected the name of a framer (ASCII) at the end", 0),
    ("1a", "expected the name of a framer", 0),
    ("(a)", "expected the name of a framer", 0),
    ("a:", "expected a value at the end", 2),
    ("a:k=", "expected a value", 4),
    ("a:=b", "expected a value", 2),
    ("a b", "unexpected 'b'", 2),
    ("a:x=tcp://y", "unexpected ':'", 7),
    ('a:"x', "this string is not closed", 2),
    pytest.param('a:"' + r"\"" * 200_000, "this string is not closed", 2, id="takes long unless cost is linear"),
    ("a(b", "expected ',' or ')' at the end", 3),
    ("a(b c)", "expected ',' or ')'", 4),
    ("a((b c))", "expected ')'", 5),
    ("a(b,)", "expected the name of a framer", 4),
    ("a:b=(c)", "expected a value", 4),
    (r'a:"\d"', r"unknown escape \d (write \\d, or the text in single quotes)", 2),
])  # fmt: skip
def test_a_malformed_string_is_refused_with_the_place(text: str, reason: str, position: int) -> None:
    with pytest.raises(SpecError, match=re.escape(reason)) as caught:
        parse_spec(text)
    assert position == caught.value.position


# Building and printing

PRINTED = {
    "strict:exact,5,mode=x": Strict(True, 5, mode="x"),
    "strict:no,5,mode=x": Strict(False, 5, mode="x"),
    "header": Header(),
    "header:size=2,order=little": Header(2, "little"),
    "header:size=0": Header(0),
    "header:size=1025": Header(1025),
    "header:size=64KiB": Header(65536),
    "header:size=3TiB": Header(3 << 40),
    'header:width=any,pace=0.5,text="a b"': Header(width="any", pace=0.5, text="a b"),
    'header:text="none"': Header(text="none"),
    "header:fill=none": Header(fill=None),
    "header:fill=x": Header(fill="x"),
    'header:names=a,names="b,"': Header(names=("a", "b,")),
    "header:shared=a": Header(shared=("a",)),
    "ends:;": Ends(b";"),
    "many:a,size=2": Many((b"a",), 2),
    "many:size=2": Many((), 2),
    r'ends:"\r\n"': Ends(b"\r\n"),
    r'ends:"\r\n","\n",keep': Ends((b"\r\n", b"\n"), keep=True),
    "ends:a,last=no,max=3MiB": Ends(b"a", last=False, max_size=3 << 20),
    'ends:"keep"': Ends(b"keep"),
    r"ends:'\d'": Ends(rb"\d"),
    r'ends:"\\' + "'\"": Ends(b"\\'"),
    r'ends:"é\xc2\x85\0\xff"': Ends("é\x85\x00".encode() + b"\xff"),
    "either(header, ends:a)": Either((Header(), Ends(b"a"))),
    "either((ends:a,keep), header):note=x": Either((Ends(b"a", keep=True), Header()), "x"),
    "pair(header, none, header:size=2)": Pair(Header(), tail=Header(2)),
    "pair(pair(header, header))": Pair(Pair(Header(), Header())),
    "varied:1,second=3,rest=a,mode=b": Varied(1, 3, b"a", mode="b"),
    "varied:1": Varied(1),
}
WRITTEN = {
    "header:2": Header(2),
    "header:2,little": Header(2, "little"),
    "header:0x10": Header(16),
    'header:"2"': Header(2),
    "header:1MB": Header(1_000_000),
    "header:1GB": Header(1_000_000_000),
    "header:-1_000": Header(-1000),
    "header:width=varint": Header(width="varint"),
    "header:width=8": Header(width=8),
    "header:text=none": Header(text=None),
    r"ends:\0": Ends(b"\0"),
    "ends:none": Ends(b"none"),
    r'ends:"\xff\"\\\t"': Ends(b'\xff"\\\t'),
    r"header:text='\é',fill=\xc3\xa9": Header(text=r"\é", fill="é"),
    "ends:keep=YES,marks=a,max=5": Ends(b"a", keep=True, max_size=5),
    "ends:a,max_size=5": Ends(b"a", max_size=5),
    "either(header, (ends:a,keep)):x": Either((Header(), Ends(b"a", keep=True)), "x"),
    "varied:1,2,a,b,mode=b": Varied(1, 2, b"a", b"b", mode="b"),
    "varied:first=1": Varied(1),
    "varied:1,rest=a": Varied(1, 2, b"a"),
}


def test_a_framer_prints_the_shortest_string_that_makes_it() -> None:
    assert {text: str(framer) for text, framer in PRINTED.items()} == {text: text for text in PRINTED}
    made = PRINTED | WRITTEN
    assert {text: build(text) for text in made} == made


@pytest.mark.parametrize(("spec", "reason", "position"), [
    ("header:siz=2", "header has no option 'siz'; did you mean 'size'? (options: size, order, width", 7),
    ("whole:x=1", "whole has no option 'x', it takes none", 6),
    ("header:size=two", "size: 'two' is not a whole number (write 2, 0x10, 64KiB or 1MB)", 12),
    ("header:size=none", "size: 'none' is not a whole number", 12),
    ("header:size=2XB", "size: '2XB' is not a whole number", 12),
    ("header:order=litle", "order: 'litle' is not big or little; did you mean 'little'?", 13),
    ("header:width=varnt", "width: 'varnt' is not whole number or varint or any", 13),
    ("header:pace=fast", "pace: 'fast' is not a number", 12),
    ("header:reader=len", "reader: this option takes a Python object, which a spec", 14),
    ("header:1,2", "order: '2' is not big or little", 9),
    ("header:1,big,3", "header has no option for '3' after size, order", 13),
    ("header(ends:a)", "header has no option for 'ends'", 7),
    ("header:size=1,size=2", "size is given twice", 14),
    ("pair:ends", "pair has no option for 'ends'; a framer stands in parentheses after the name", 5),
    ("ends", "ends needs marks", 0),
    ("ends:a,keep=maybe", "keep: 'maybe' is not yes or no", 12),
    ("pair:head=header", "head: a framer stands in parentheses after the name", 10),
    ("pair(header, header, header, ends)", "pair has no option for 'ends' after head, body, tail", 29),
    ("either(ends:a,mxa=1)", "ends has no option 'mxa'; did you mean 'max'?", 14),
])  # fmt: skip
def test_a_wrong_option_is_refused_with_what_is_allowed(spec: str, reason: str, position: int) -> None:
    with pytest.raises(SpecError, match="^" + re.escape(reason)) as caught:
        build(spec)
    assert position == caught.value.position
    assert not str(caught.value).endswith("; ")
    assert ("stands in parentheses" in str(caught.value)) == ("stands in parentheses" in reason)


def test_what_a_framer_itself_refuses_names_the_framer() -> None:
    def picky(size: int = 1) -> ReadCondition[Any]:
        raise ValueError(f"size is {size}; it must be even")

    def pickier() -> ReadCondition[Any]:
        raise SpecError("exactly this")

    with pytest.raises(SpecError, match=r"^picky: size is 3; it must be even$"):
        build_framer(picky, parse_spec("picky:3"), build)
    with pytest.raises(SpecError, match=r"^exactly this$"):
        build_framer(pickier, parse_spec("pickier"), build)


def test_options_that_cannot_be_read_are_a_spec_error() -> None:
    def broken(size: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821 - that is the point
        ...

    with pytest.raises(SpecError, match=r"the options of .*broken cannot be read: name 'Missing'"):
        build_framer(broken, parse_spec("broken"), build)


def test_a_framer_without_a_name_or_without_attributes_prints_its_repr() -> None:
    @dataclass(frozen=True)
    class Nameless(Whole):
        size: int = 1

    class Forgetful(Whole):
        name = "forgetful"

        def __init__(self, size: int) -> None: ...

        def __repr__(self) -> str:
            return "Forgetful()"

    assert str(Nameless()) == repr(Nameless())
    assert str(Forgetful(1)) == "Forgetful()"
    assert str(Header(reader=len)) == "header:reader=<function len>"
    assert str(Either((Header(reader=re.compile("")),))) == "either(header:reader=<Pattern>)"  # type: ignore[arg-type]


TEXTS = st.text(max_size=8) | st.sampled_from(["keep", "none", "yes", "1", "'", "\\", '"', "\r\n"])
MARK = st.binary(max_size=5) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
ENDS = st.builds(
    Ends,
    MARK | st.lists(MARK, min_size=2, max_size=3).map(tuple),
    keep=st.booleans(),
    last=st.booleans(),
    max_size=st.none() | st.integers(0, 1 << 50),
)
HEADERS = st.builds(
    Header,
    st.integers(),
    st.sampled_from(["big", "little"]),
    width=st.integers() | st.sampled_from(["varint", "any"]),
    pace=st.floats(allow_nan=False),
    text=st.none() | TEXTS,
    fill=st.none() | TEXTS,
    names=st.lists(TEXTS, max_size=3).map(tuple),
)
FRAMERS = st.recursive(
    ENDS | HEADERS,
    lambda inner: (
        st.builds(Either, st.lists(inner, min_size=1, max_size=3).map(tuple), note=TEXTS)
        | st.builds(Pair, inner, st.none() | inner, st.none() | inner)
    ),
    max_leaves=9,  # without a bound, drawing large trees takes most of the time
)


@given(FRAMERS)
@example(Ends(b""))
@example(Ends(b"'\\"))
@example(Header(text="\x00\x9f\u2028"))
@example(reduce(lambda inner, _: Pair(Either((inner,)), inner), range(5), Ends(b";")))
@example(reduce(lambda inner, _: Either((inner,)), range(20), Ends(b";")))
def test_every_framer_is_made_again_from_its_string(framer: ReadCondition[Any]) -> None:
    assert framer == build(str(framer))


# Describing


def test_options_are_described_from_their_annotations() -> None:
    def described(factory: Any) -> list[Any]:
        return [
            (each.key, str(each.takes), each.default_text, each.help, each.required) for each in options_of(factory)
        ]

    assert described(Ends) == [
        ("marks", "bytes, one or more", "", "What ends a frame.", True),
        ("keep", "yes or no", "no", "Keep it.", False),
        ("last", "yes or no", "yes", "Take the rest.", False),
        ("max", "whole number", "none", "The most. Bytes.", False),
    ]
    assert described(Header)[-1] == ("shared", "text, one or more", "a,b", "", False)
    assert described(Varied)[2] == ("rest", "bytes, one or more", "", "x", False)
    assert described(Pair)[-1] == ("tail", "framer", "none", "", False)

    @dataclass(frozen=True)
    class Loud(Line[str]):  # its own module does not know what the options of lines are made of
        loud: bool = False

    options = {each.key: str(each.takes) for each in options_of(Loud)}
    assert ("any or lf or crlf", "yes or no") == (options["newline"], options["loud"])

    def both(max: int = 1, max_size: int = 2) -> None: ...

    assert ["max", "max-size"] == [option.key for option in options_of(both)]


def test_types_are_described_in_words() -> None:
    words = {
        Annotated[int | None, "x"]: "whole number",
        TypeVar("bound", bound=int): "whole number",  # type: ignore[misc]
        TypeVar("free"): "Python object",  # type: ignore[misc]
        float | Literal["a"]: "number or a",
        Line | None: "framer",
        tuple[ReadCondition[Any], ...]: "framer, one or more",
        Literal["\r\n", b"\n", 5, True]: r'"\r\n" or "\n" or 5 or yes',
        Any: "Python object",
    }
    assert list(words.values()) == [str(Takes(hint)) for hint in words]
    either = Takes(int | str)
    assert [5, "5"] == [either.convert(Word("5")), either.convert(Word("5", is_quoted=True))]
    choices = Takes(Literal["\r\n", b"\n", 1024, True])
    written = Word("\r\n", is_quoted=True), Word("\n", is_quoted=True), Word("1KiB"), Word("yes")
    assert ["\r\n", b"\n", 1024, True] == [choices.convert(word) for word in written]
