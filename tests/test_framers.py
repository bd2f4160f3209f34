"""What holds for every built-in framer: the contract, its docstring, being a value, refusals."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from cutting import cut
from framer_examples import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import (
    EncodeError,
    Framer,
    FramingError,
    PayloadError,
    ReadCondition,
    Window,
    available_framers,
    framers,
    get_framer,
)
from framestream.framers import (
    BUILT_IN,
    Delimiter,
    Exactly,
    FixedLength,
    LengthPrefix,
    Line,
    Msgpack,
    Regex,
    UntilClose,
)
from framestream.testing import check_framer, conformance_checks

MAY_BE_UNTRIED = {
    "settled": "framers that know a frame's extent from its header",
    "round-trip": "conditions that only read, and options with which nothing can be written",
    "spec-string": "a function as an option has no spelling",
    "malformed": "framings in which every sequence of bytes is valid",
    "incomplete": "framings in which every stream may end anywhere",
    "resume": "frames of fixed size",
    "linear-cost": "frames of fixed size",
    "many-frames": "frames that end only with the stream",
    "memory": "frames of fixed size",
    "bad-frames": "framings in which every payload can be decoded",
    "many-bad-frames": "framings in which every payload can be decoded",
    "foreign-frames": "conditions that only read",
    "wide-buffers": "conditions that only read, and frames that are no bytes",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_keeps_every_promise_of_the_contract(name: str) -> None:
    framer, material = SAMPLES[name]
    for check in conformance_checks(framer, **material):
        untried = check.run()
        assert untried is None or "chunk_dependent" in material or check.name in MAY_BE_UNTRIED, untried


def test_every_built_in_has_a_sample() -> None:
    assert set(BUILT_IN) <= {sample.framer.name for sample in SAMPLES.values()}


def test_report_counts_what_was_kept_and_names_what_was_not_tried() -> None:
    sample = SAMPLES["fixed-length"]
    report = check_framer(sample.framer, **sample.material)
    assert "chunking" in report.kept
    assert "no malformed bytes were given" in str(report)
    assert str(report).startswith(f"{sample.framer}: {len(report.kept)} checks passed")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_batch_of_any_bytes_is_what_single_reads_give(data: st.DataObject) -> None:
    framer, material = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    pieces = st.sampled_from([*material["examples"], b"\n", b"\r\n", b";", b"\0", b"\1", b"5", b"\xff"])
    stream = b"".join(data.draw(st.lists(pieces | st.binary(max_size=4), max_size=6)))
    try:
        frames, end = framer.split(Window(b"-" + stream, 1))
    except (FramingError, PayloadError, ValueError):
        return
    expected, rest = ReadCondition.split(framer, Window(b"-" + stream, 1))
    assert (end <= rest, repr(frames)) == (True, repr(expected[: len(frames)]))


# Docstrings

_EXAMPLE = re.compile(
    r"^ +(?P<framer>[A-Z]\w+\(.*\)): +(?P<stream>\S.*?)(?P<end>, end)? +-> +(?P<frames>.+)$"
)
FACTORIES = {
    info.factory.__name__: info.factory for info in available_framers() if info.distribution == "framestream"
}
SHOWN = [
    (factory, match)
    for factory in FACTORIES.values()
    for line in (inspect.getdoc(factory) or "").splitlines()
    if (match := _EXAMPLE.match(line))
]


@pytest.mark.parametrize(("factory", "example"), SHOWN, ids=[match["framer"] for _, match in SHOWN])
def test_what_a_docstring_shows_is_what_happens(factory: Any, example: re.Match[str]) -> None:
    framer = eval(example["framer"], {**vars(inspect.getmodule(factory)), **FACTORIES})
    chunks = ast.literal_eval(f"[{example['stream']}]")
    frames = cut(framer, *chunks, eof=example["end"] is not None)
    assert frames == ast.literal_eval(f"[{example['frames']}]")


def test_every_simple_framer_shows_examples() -> None:
    simple = {"available", "delimiter", "exactly", "fixed-length", "length-prefix", "line", "until-close"}
    assert simple <= {factory.name for factory, _ in SHOWN}


# Values


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Line("ascii", newline="crlf", last=False, max_size=1024),
         "line:encoding=ascii,newline=crlf,last=no,max=1KiB"),
        (lambda: Line(None), "line:encoding=none"),
        (lambda: Delimiter((b"\r\n", b"\n"), keep=True), r'delimiter:"\r\n","\n",keep'),
        (lambda: LengthPrefix(5, "little"), "length-prefix:size=5,byteorder=little"),
        (lambda: LengthPrefix(format="decimal", terminator=b":"),
         'length-prefix:format=decimal,terminator=":"'),
        (lambda: LengthPrefix(2, adjust=-1, includes_header=True),
         "length-prefix:size=2,adjust=-1,includes-header"),
        (lambda: Msgpack(raw=True, max_array_len=5, max_size=100), "msgpack:raw,max-array-len=5,max=100"),
        (lambda: Regex(rb"\r?\n"), r"regex:'\r?\n'"),
        (lambda: Exactly(3), "exactly:3"),
        (lambda: FixedLength(3, b" "), 'fixed-length:3,pad=" "'),
        (lambda: UntilClose(max_size=5), "until-close:max=5"),
    ],
)  # fmt: skip
def test_equal_calls_give_one_object_that_prints_as_what_makes_it(make: Callable[[], Any], text: str) -> None:
    framer = make()
    framer.find(Window(b"1", eof=True))
    assert make() is framer
    assert (str(framer), get_framer(text)) == (text, framer)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_copy_is_equal_and_does_the_same(name: str) -> None:
    framer, material = SAMPLES[name]
    wire = next(iter(material["examples"]))
    twins = [copy.copy(framer), copy.deepcopy(framer)]
    with suppress(AttributeError, pickle.PicklingError):  # some hold a function that has no name
        twins.append(pickle.loads(pickle.dumps(framer)))
    for twin in twins:
        assert (twin, hash(twin), repr(twin)) == (framer, hash(framer), repr(framer))
        assert (twin.max_size, twin.overhead, twin.can_be_empty) == (
            framer.max_size,
            framer.overhead,
            framer.can_be_empty,
        )
        assert framer.can_be_empty or repr(cut(twin, wire)) == repr(cut(framer, wire))


def test_what_is_equal_and_not_the_same_is_kept_apart() -> None:
    assert Delimiter(b";", keep=1) is not Delimiter(b";", keep=True)  # type: ignore[arg-type]
    assert str(Delimiter(b";", keep=True)) == "delimiter:;,keep"
    with pytest.raises(ValueError, match="size is True"):
        Exactly(True)
    with pytest.raises(TypeError, match="unhashable"):
        Delimiter([b";"])  # type: ignore[arg-type]


def test_a_derived_class_is_made_as_often_as_it_is_called() -> None:
    class Counted(Exactly):
        pass

    class Again(Counted):
        pass

    assert Counted(3) == Counted(3) is not Counted(3)
    assert Again(3) is not Again(3)
    assert Exactly(3) is Exactly(3)
    assert (
        list(inspect.signature(Counted).parameters) == list(inspect.signature(Exactly).parameters) == ["size"]
    )


@pytest.mark.parametrize(
    "shown",
    [
        "Exactly(4)",
        "Line()",
        "Line(encoding=None, keep=True)",
        "LengthPrefix(size=2, byteorder='little')",
        "Delimiter((b'\\n', b';'), last=True)",
        "Msgpack(raw=True)",
        "When((b'$',), Line(), one_of=b'ab')",
        "FirstOf(Msgpack(), Line(max_size=5))",
        "Sequence(Line(), Exactly(2), max_size=9)",
        "Nested(LengthPrefix(size=1), Regex(b'a'))",
        "UntilClose()",
    ],
)
def test_a_framer_is_shown_as_the_call_that_makes_it(shown: str) -> None:
    assert repr(eval(shown, {name: getattr(framers, name) for name in framers.__all__})) == shown


def test_what_a_framer_inherits_shows_it() -> None:
    class Base(Exactly):
        def __repr__(self) -> str:
            return "as Base says"

    @dataclass(frozen=True)
    class Derived(Base):
        more: int = 0

    class Odd(ReadCondition[bytes]):
        def __init__(self, size: int) -> None:
            """Keep nothing."""

        find = Exactly.find

    assert repr(Derived(4)) == "as Base says"
    assert "Odd object" in repr(Odd(4))


def test_no_more_than_a_bounded_number_is_remembered() -> None:
    first = Exactly(10**9)
    for size in range(1000):
        Exactly(size)
    assert first == Exactly(10**9) is not first


# Writing

FRAMERS = [sample.framer for sample in SAMPLES.values() if isinstance(sample.framer, Framer)]
VALUES = st.sampled_from([object(), "\ud800", "x\n"]) | (
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=2), inner, max_size=2)
            | st.tuples(inner, inner)
            | st.binary(max_size=3).map(memoryview)
        ),
        max_leaves=5,
    )
)


@settings(deadline=None)
@given(VALUES)
def test_any_value_is_written_as_bytes_or_refused(value: Any) -> None:
    for framer in FRAMERS:
        with suppress(EncodeError):
            written = framer.encode(value)
            b"".join([written] if isinstance(written, bytes | bytearray | memoryview) else written)
