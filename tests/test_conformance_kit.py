"""The kit passes what is sound, and names the defect of what is not."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import faulty_framers as faulty
import pytest
from distributions import site
from framer_examples import Never

from framestream import Exactly, Line, Msgpack, NeedMore, ReadCondition, Window, plugins
from framestream.framer import PADDING, Decode, read_digits
from framestream.framers import Fields, GeneratorFramer, HeaderThenBody
from framestream.testing import Check, ConformanceError, check_framer, conformance_checks, fuzz_framer
from framestream.testing.cost import CountedBytes
from framestream.testing.suite import Suite

LINES = {b"one\r\ntwo\r\n\r\nmore\n or\r less\r\n": [b"one", b"two", b"", b"more\n or\r less"]}
BAD = {"malformed": {b"?one\r\nok\r\n": "KeyError"}}
SHORT = {b"\1\1ab": [b"ab"]}
LF_LINES = {b"one\ntwo\n": [b"one", b"two"]}
LONG_LINES = {b"a line\nand one longer than three of it\n": [b"a line", b"and one longer than three of it"]}
COUNTED_3 = {b"\0\0\3abc": [b"abc"]}
COUNTED = {b"\0\3abc\0\0\0\1x": [b"abc", b"", b"x"]}


DIGITS = {"examples": {b"123": [b"123"]}, "malformed": [b"9"]}


def no_nine(_: object, payload: bytes) -> int:
    return {b"123": 123}[payload]


def failure(framer: ReadCondition[Any], **material: Any) -> ConformanceError:
    with pytest.raises(ConformanceError) as caught:
        check_framer(framer, **material)
    return caught.value


@pytest.mark.parametrize(("framer", "examples", "check", "defect"), [
    (faulty.Rescans(), LINES, "linear-cost", "find rescans a frame that arrives byte by byte"),
    (faulty.RescansByRegex(), LINES, "linear-cost", "byte by byte: resume stays where it was"),
    (faulty.RescansInSecret(), LINES, "resume", "find rescans: it looks again at bytes before resume"),
    (faulty.CountsFromTheStart(), LINES, "linear-cost", "find rescans a frame that arrives byte by byte"),
    (faulty.CopiesEverything(), LINES, "linear-cost", "find copies a frame that arrives byte by byte"),
    (faulty.LooksBehindTheFrame(), LINES, "many-frames", "find looks far beyond the frame"),
    (faulty.Preallocates(), COUNTED_3, "declared-sizes", "allocates memory for a size that a frame merely"),
    (faulty.SplitsWithCopies(), LINES, "many-frames", "split looks at the same bytes again"),
    (faulty.SplitsACopy(), LINES, "many-frames", "split looks at the same bytes again"),
    (faulty.IgnoresAnOption(), LINES, "value", "framers that differ in encodings are equal"),
    (faulty.Counted(), {b"\0\3abc": [b"abc"]}, "round-trip", "what encode writes is read back as something else"),
    (faulty.ReusesABuffer(), LINES, "round-trip", "encode changes what it has returned before"),
    (faulty.BelievesAMark(), {b'"\3abc': [b"abc"]}, "find-start", 'find_start is not "exact"'),
    (faulty.KeepsState(), LF_LINES, "purity", "find keeps state in self: asking changes the attribute"),
    (faulty.CountsInASlot(), LINES, "purity", "asking changes the attribute _CountsInASlot__asked"),
    (faulty.KeepsStateElsewhere(), LONG_LINES, "purity", "disturb each other"),
    (faulty.MemoIsConsumed(), LINES, "purity", "answers differently when it is asked the same"),
    (faulty.TouchesTheWindow(), LINES, "purity", "find changes the window"),
    (faulty.MovesTheStart(), LINES, "purity", "find changes the window"),
    (faulty.EmptiesTheWindow(), LINES, "purity", "find changes the window"),
    (faulty.Unhashable(), LINES, "value", "it cannot be hashed"),
    (faulty.EqualsNothing(), LINES, "value", "it does not equal its own copy"),
    (faulty.ExitsInHash(), LINES, "value", "the check is cut short by SystemExit: 3"),
    (faulty.ExitsInPrint(), LINES, "linear-cost", "find rescans"),
    (faulty.HasNoLimit(), LINES, "value", "the check is cut short by KeyError"),
    (faulty.Idles((0, 0, 0, PADDING)), {b"a": []}, "answers", "padding of no bytes at all, so reading would"),
    (faulty.Greedy(), {b"123": [b"123"]}, "final", "find is greedy"),
    (faulty.EarlySpan(), {b"\3abc\x26\0\0": [b"abc", b""]}, "final", "find returns the span early"),
    (faulty.RefusesTooSoon(), LINES, "final", "find refuses bytes that are not wrong once more"),
    (faulty.RefusesAtTheEnd(), LINES, "truncation", "bytes that merely break off are refused"),
    (faulty.LosesTheLast(), LINES, "final", "takes an answer back when the stream has ended"),
    (faulty.SplitsOtherwise(), LINES, "split", "split disagrees with find"),
    (faulty.SplitsFromZero(), LINES, "split", "split disagrees with find"),
    (faulty.SplitRaises(), LINES, "split", "split raises IndexError"),
    (faulty.SplitsToATuple(), LINES, "split", "something else than a list of frames and an index"),
    (faulty.SplitsToBytes(), LINES, "split", "split raises ValueError: too many values"),
    (faulty.SplitsToTheRest(), LINES, "split", "split returns something else than a list of frames and an"),
    (faulty.ChunkDependent(), LINES, "chunking", "this chunking gives another transcript"),
    (faulty.AbsoluteMemo(), LINES, "purity", "depends on where in window.data the frame begins"),
    (faulty.AsksForTooMuch(), COUNTED, "final", "NeedMore asks for 7 bytes of a frame of 5"),
    (faulty.IndexErrorWhenShort(), SHORT, "answers", "find raises IndexError"),
    (faulty.OutOfOrder(), LINES, "answers", "find returns a span out of order"),
    (faulty.ReturnsNone(), LINES, "answers", "neither a tuple of three (or four) nor NeedMore"),
    (faulty.DecodeFails(), LINES, "examples", "does not give the frames that its author names"),
    (faulty.HoardsALittle(), LINES, "memory", "takes far more memory than it has bytes"),
    (faulty.TrustsItsCaller(), LINES, "foreign-frames", "encode raises TypeError"),
    (faulty.WritesAnything(), LINES, "foreign-frames", "what encode writes cannot be read"),
    (faulty.CountsItems(), COUNTED, "foreign-frames", "what encode writes cannot be read"),
    (faulty.Pairs(), {b"abcd": [b"ab", b"cd"]}, "foreign-frames", "what encode writes cannot be read"),
    (faulty.IgnoresItsLimit(), {b"one\r\n": [b"one"]}, "round-trip", "above its own limit of 9 bytes"),
    (faulty.faulty("Small", max_size=4)(), LINES, "examples", "an example is above its own limit of 4 bytes"),
    (faulty.EncodeChanges(), {b"one\r\n": [[b"one"]]}, "round-trip", "encode changes the frame that it is given"),
    (faulty.SettlesTooMuch(), LINES, "final", "settled=4, but it ends at 3"),
    (faulty.SettlesTheHeader(), {b"ab;": [b"b"]}, "final", "but the payload begins at 1"),
    (faulty.ForgetsWhatWasTaken(), {b"<ab>": [b"ab"]}, "chunking", "read in parts"),
    (faulty.HidesOverhead(), LINES, "limits", "payload of 3 bytes is too large for a limit of 3"),
    # Held to its own size after a larger one that ends the stream.
    (faulty.HidesHeader(), {b"\0\6longer\0\0": [b"longer", b""]}, "limits", "is too large for a limit of 0"),
    (faulty.LosesInEncoding(), LINES, "round-trip", "what encode writes is read back as something else"),
    (faulty.EncodesToText(), LINES, "round-trip", "encode returns something else than bytes"),
    (faulty.EncodeFails(), LINES, "round-trip", "encode raises KeyError"),
    (faulty.PrintsAnother(), LINES, "spec-string", "its string does not make it again"),
    (faulty.start(faulty.starts_at_any_line_feed), LINES, "find-start", 'find_start is not "exact"'),
    (faulty.start(lambda found, _: found, lookbehind=0), LINES, "find-start", 'find_start is not "exact"'),
    (faulty.start(faulty.starts_over), LINES, "start-cost", "looks at the same bytes again and again"),
    (faulty.start(faulty.starts_too_soon), LINES, "find-start", "answers differently"),
    (faulty.start(lambda _, window: window.start - 1), LINES, "find-start", "returns 0: no place from 1"),
    (faulty.start(lambda _, window: len(window.data) + 1), LINES, "find-start", "answers differently"),
    (faulty.start(lambda *_: NeedMore(resume=0)), LINES, "find-start", "no place from 1"),
    (
        faulty.start(lambda found, _: NeedMore() if isinstance(found, NeedMore) else found),
        LINES,
        "start-cost",
        "looks at the same bytes again and again",
    ),
    (faulty.start(faulty.starts_somewhere_else_the_second_time), LINES, "find-start", "answers differently"),
    (faulty.start(lambda *_: NeedMore()), LINES, "find-start", "find_start wants more at the end"),
    (faulty.start(lambda *_: None), LINES, "find-start", "find_start returns None"),
    (faulty.start(lambda *_: {}[1]), LINES, "find-start", "find_start raises KeyError"),
    (faulty.start(lambda found, _: found, find_start=ReadCondition.find_start), LINES, "find-start", "raises Not"),
], ids=lambda value: type(value).__name__ if isinstance(value, ReadCondition) else "")  # fmt: skip
def test_defect_is_named(framer: ReadCondition[Any], examples: Any, check: str, defect: str) -> None:
    error = failure(framer, examples=examples)
    assert (error.check, defect in error.defect) == (check, True), error
    assert type(framer).__name__ in error.framer or error.framer == "line"
    assert error.hint
    assert error.defect in str(error)
    assert f"mend:     {error.hint}" in str(error)


@pytest.mark.parametrize(("attribute", "value", "wanted"), [
    ("overhead", None, "a number of bytes"),
    ("overhead", -1, "a number of bytes"),
    ("lookbehind", 1.5, "a number of bytes"),
    ("max_size", "64KiB", "a number of bytes, or None"),
    ("max_size", -1, "a number of bytes, or None"),
    ("can_be_empty", None, "True or False"),
    ("synchronises", "exactly", "'exact', 'likely' or None"),
])  # fmt: skip
def test_an_attribute_of_another_kind_is_named(attribute: str, value: Any, wanted: str) -> None:
    error = failure(faulty.faulty("Odd", **{attribute: value})(), examples=LINES)
    assert (error.check, error.defect, error.expected) == ("value", f"{attribute} is {value!r}", wanted)


@pytest.mark.parametrize(("material", "told"), [
    ({"examples": {"a\r\n": ["a"]}}, "examples: ('a\\r\\n', ['a']) is not bytes with the list of their frames"),
    ({"examples": {5: [b"a"]}}, "examples: (5, [b'a']) is not bytes with"),
    ({"examples": {b"a\r\n": b"a"}}, "examples: (b'a\\r\\n', b'a') is not bytes with"),
    ({"examples": {b"a\r\n": None}}, "examples: (b'a\\r\\n', None) is not bytes with"),
    ({"examples": [b"a\r\n"]}, "examples: b'a\\r\\n' is not bytes with"),
    ({"examples": b"a\r\n"}, "examples: 97 is not bytes with"),
    ({"examples": (b"a\r\n", [b"a"])}, "examples: b'a\\r\\n' is not bytes with"),
    ({"malformed": b"a"}, "malformed: 97 is not bytes, perhaps with a text of their error"),
    ({"malformed": ["a"]}, "malformed: 'a' is not bytes, perhaps with"),
    ({"malformed": {b"a": 5}}, "malformed: (b'a', 5) is not bytes, perhaps with"),
    ({"incomplete": b"a"}, "incomplete: 97 is not bytes"),
    ({"incomplete": "a"}, "incomplete: 'a' is not bytes"),
    ({"incomplete": [(b"a", "b")]}, "incomplete: (b'a', 'b') is not bytes"),
    ({"slow_frame": 5}, "slow_frame: 5 is neither bytes nor a function that makes bytes of a size"),
])  # fmt: skip
def test_test_material_of_another_kind_is_named(material: Any, told: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_framer(faulty.Lines(), **({"examples": LINES} | material))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(("examined", "use"), [
    (1, lambda data: data[3]),
    (3, lambda data: data[2:5]),
    (0, lambda data: data[50:]),
    (4, lambda data: data.find(b",")),
    (2, lambda data: data.find(44, 2)),
    (8, lambda data: data.find(b"\0", 5)),
    (3, lambda data: data.find(b"\0", 5, 8)),
    (6, lambda data: data.rfind(b";")),
    (4, lambda data: data.count(b",", 3, 7)),
    (1, lambda data: data.startswith(b"one")),
    (2, lambda data: list(islice(data, 2))),
    (13, list),
    (13, lambda data: data.split(b",")),
    (13, lambda data: b"w" in data),
    (0, len),
])  # fmt: skip
def test_counted_bytes_give_what_bytes_give_and_count_what_is_examined(examined: int, use: Any) -> None:
    data = CountedBytes(b"one,two;three")
    assert use(data) == use(b"one,two;three")
    assert data.examined == examined


def test_sound_framer_passes_and_somebody_elses_tracing_goes_on() -> None:
    report = check_framer(faulty.Lines(), examples=LINES, malformed=[], incomplete=[b"one\r"])
    assert not tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        assert run("memory", faulty.Lines(), examples=LINES) is None
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    untried = ["find-start", "start-cost", "many-bad-frames", "bad-frames", "malformed", "spec-string"]
    assert list(report.untried) == untried


@pytest.mark.parametrize(("answer", "complaint"), [
    ((0, 1), "neither a tuple of three"),
    ((0, 1.0, 1), "a span of something other than int"),
    ((0, 0, 0), "a frame of no bytes at all"),
    ((0, 1, 2, Decode(bytes, trailer=b"--")), "another size for the trailer than the trailer has"),
    ((0, 1, 9, "value"), "a value before the frame's last byte has arrived"),
    (NeedMore(-1), "NeedMore.size is not a number of bytes"),
    (NeedMore(resume=99), "NeedMore.resume lies outside the window"),
    (NeedMore(resume="0"), "NeedMore.resume lies outside the window"),  # type: ignore[arg-type]
    (NeedMore(settled=99), "NeedMore.settled lies outside the window"),
    (NeedMore(payload_start=99), "NeedMore.payload_start lies outside the window"),
])  # fmt: skip
def test_answer_in_another_form_is_refused(answer: Any, complaint: str) -> None:
    assert complaint in failure(faulty.Answers(answer), examples={b"a": [b"a"]}).defect


class RaisesBelow(faulty.Lines):
    def find(self, window: Window) -> Any:
        return self.number("7")

    def number(self, text: str) -> int:
        return int(text + "x")


@dataclass(frozen=True)
class Listing(faulty.Lines):
    names: Any = field(default_factory=list)


def test_what_a_framer_raises_is_placed_in_its_own_code_if_that_is_python_and_somebody_wrote_it() -> None:
    error = failure(RaisesBelow(), examples={b"7": [b"7"]})
    assert "int('x')" not in error.defect
    assert "test_conformance_kit.py, line " in str(error)
    assert ', in number: return int(text + "x")\n' in str(error)
    assert "\n  at: " not in str(failure(faulty.faulty("InC", find=int)(), examples={b"7": [b"7"]}))
    unhashable = failure(Listing())
    assert "unhashable type: 'list'" in unhashable.defect
    assert "\n  at: " not in str(unhashable)


@pytest.mark.parametrize("method", ["find", "split", "decode", "encode"])
def test_a_framer_that_would_end_the_program_is_told_in_whatever_asks_it(method: str) -> None:
    framer, told = faulty.leaving(method), f"{method} raises SystemExit: 7"
    error = failure(framer, examples=LINES)
    assert (error.framer, error.defect) == ("Leaves()", told)
    assert "faulty_framers.py, line " in str(error)
    interrupted = faulty.faulty("Interrupted", **{method: lambda *_: faulty.refuse("", KeyboardInterrupt)})
    with pytest.raises(KeyboardInterrupt):
        check_framer(interrupted(), examples=LINES)
    if method in ("find", "decode"):  # the fuzzer drives a decoder, which does without a `split` that raises
        with pytest.raises(ConformanceError, match="SystemExit: 7"):
            fuzz_framer(framer, [b"one\r\ntwo\r\n"], iterations=50)


def only(name: str, framer: ReadCondition[Any], **arguments: Any) -> Check:
    return {check.name: check for check in conformance_checks(framer, **arguments)}[name]


def run(name: str, framer: ReadCondition[Any], **arguments: Any) -> str | None:
    """Run one check; return why it was not tried, or what it found."""
    try:
        return only(name, framer, **arguments).run()
    except ConformanceError as error:
        return f"{error.defect}, got {error.got}"


def slow_if_short(size: int) -> bytes:
    return b"x" * size + b"\r\n" if size < 900 else b""


LONG = b"x" * 1500 + b"\r\n"
EXAMPLES = {"examples": LINES}


@pytest.mark.parametrize(("framer", "name", "arguments", "told"), [
    (faulty.Checked(), "malformed", {"malformed": {b"no?": "no exclamation mark"}}, "None"),
    (faulty.Checked(), "malformed", {"malformed": [b"no?", (b"no?", "mark")]}, "None"),
    (faulty.Checked(), "malformed", {"malformed": {b"no?": "checksum"}}, "another reason"),
    (faulty.Checked(), "malformed", {"malformed": [b"ok!"]}, "are accepted, got no error"),
    (faulty.Checked(), "malformed", {"malformed": [b"ok"]}, "are accepted"),
    (faulty.Checked(), "incomplete", {"incomplete": [b"ok", b"ok!o"]}, "None"),
    (faulty.Checked(), "incomplete", {"incomplete": [b"ok!"]}, "got no error"),
    (faulty.Checked(), "incomplete", {"incomplete": [b"no?"]}, "got FramingError"),
    (faulty.Rescans(), "linear-cost", {"slow_frame": LONG}, "find rescans"),
    (faulty.Lines(), "linear-cost", {"slow_frame": LONG}, "None"),
    (faulty.Lines(), "linear-cost", {"slow_frame": b"x"}, "no two bytes to compare"),
    (faulty.Lines(), "linear-cost", {"slow_frame": b"xy"}, "None"),
    (faulty.Lines(), "linear-cost", {"slow_frame": lambda _: faulty.refuse("?", KeyError)}, "short by KeyError"),
    (faulty.Rescans(), "linear-cost", {"slow_frame": slow_if_short}, "find rescans"),
    (faulty.Lines(), "linear-cost", {"slow_frame": lambda size: b"x\r\n" * size}, "does not make one frame"),
    (faulty.Lines(), "linear-cost", {"slow_frame": lambda size: "x" * size}, "does not make one frame, got 'xxx"),
    (faulty.IndexErrorWhenShort(), "malformed", {"malformed": [b"\0"]}, "the decoder refuses it"),
    (faulty.IndexErrorWhenShort(), "truncation", {"examples": SHORT}, "find raises IndexError"),
    (faulty.AbsoluteResume(), "purity", EXAMPLES, "depends on where in window.data"),
    (faulty.ChunkDependent(), "truncation", EXAMPLES, "read one at a time"),
    (faulty.OverlooksHalves(), "spoilt-bytes", {"malformed": [b"a\t\tb\r\n"]}, "gives another transcript"),
    (faulty.ChunkDependent(), "limits", EXAMPLES, "max_size=2, this chunking"),
    (faulty.Greedy(), "many-frames", {"examples": {b"123": [b"123"]}}, "cannot be repeated"),
    (faulty.faulty("Odd", faulty.Greedy, decode=no_nine)(), "bad-frames", DIGITS, "cannot stand in a row"),
    (faulty.SharesADecoder(), "bad-frames", EXAMPLES | BAD, "costs its neighbours"),
    (faulty.Picky(), "bad-frames", EXAMPLES | BAD, "None"),
    (faulty.Lines(), "bad-frames", EXAMPLES, "no frame that cannot be decoded"),
    (faulty.Picky(), "bad-frames", {"examples": {b"": []}, **BAD}, "no frame that ends by itself"),
    (faulty.SearchesAfterABadFrame(), "many-bad-frames", BAD, "find looks far beyond the frame"),
    (faulty.Picky(), "many-bad-frames", BAD, "None"),
    (faulty.Checked(), "foreign-frames", {}, "it is a ReadCondition, not a Framer"),
    (faulty.start(faulty.starts_at_any_line_feed), "splits", EXAMPLES, "divided, and each split read alone"),
])  # fmt: skip
def test_each_check_finds_by_itself(framer: Any, name: str, arguments: dict[str, Any], told: str) -> None:
    assert told in str(run(name, framer, **arguments))


@pytest.mark.parametrize("frame", [[1, 2], [], {"a": 1}, "text", b"\0"], ids=repr)
def test_long_frames_are_grown_from_the_examples(frame: Any) -> None:
    assert run("linear-cost", Msgpack(), examples=[(b"".join([Msgpack().encode(frame)]), [frame])]) is None


@pytest.mark.parametrize(("framer", "name", "arguments", "mend"), [
    (faulty.IndexErrorWhenShort(), "malformed", {"malformed": [b"\0"]}, "return NeedMore() for bytes that have"),
    (faulty.Answers((2, 1, 1)), "malformed", {"malformed": [b"abc"]}, "answer (payload start, payload stop, start"),
    (faulty.ChunkDependent(), "truncation", EXAMPLES, "the same bytes are read rightly in one chunk; see check"),
    (faulty.ChunkDependent(), "chunking", EXAMPLES, "let resume not move past what may be the beginning"),
])  # fmt: skip
def test_the_hint_is_about_the_fault_and_not_about_the_check_that_meets_it(
    framer: Any, name: str, arguments: dict[str, Any], mend: str
) -> None:
    with pytest.raises(ConformanceError) as caught:
        only(name, framer, **arguments).run()
    assert caught.value.hint.startswith(mend)
    if isinstance(framer, faulty.IndexErrorWhenShort):
        assert "\n  at:       " in str(caught.value)


def test_a_plugin_that_cannot_be_imported_breaks_the_promise_about_its_name(tmp_path: Path) -> None:
    named = faulty.faulty("Named", name="upto", __str__=lambda _: "upto")
    with site(tmp_path) as place, plugins.isolated():
        place.install("acme-upto", "raise KeyError", "upto")
        assert "KeyError" in str(run("spec-string", named()))


def test_every_check_has_a_name_and_a_promise() -> None:
    checks = conformance_checks(faulty.Lines())
    assert len({check.name for check in checks}) == len(checks) > 15
    assert all(check.promise.endswith(".") for check in checks)


def test_what_is_long_is_shown_by_its_ends_and_what_cannot_print_itself_by_its_class() -> None:
    error = failure(faulty.Lines(), examples={b"a" * 1000 + b"\r\n": [b"b"]})
    assert (error.check, error.expected, error.got[-18:]) == ("examples", "[b'b']", ", then a clean end")
    assert "a ... a" in str(error)
    assert len(str(error)) < 1000
    error = failure(faulty.CannotPrint(), examples=LINES, slow_frame=lambda size: b"x" * size + b"\r\n")
    assert error.framer == "CannotPrint (str() raises RuntimeError)"
    assert "xxx ... xxx" in str(error)
    assert "xx\\r\\n' (1026 bytes)" in str(error)


def test_without_examples_frames_that_it_writes_itself_are_tried() -> None:
    report = check_framer(faulty.Lines())
    assert str(report).startswith("Lines(): 1")
    assert "  not tried: malformed (no malformed bytes were given)" in str(report)
    assert report.untried["examples"] == "no examples given"
    assert {"linear-cost", "limits", "round-trip"} <= set(report.kept)
    assert failure(faulty.ChunkDependent()).check == "chunking"
    assert "spoilt-bytes" in check_framer(faulty.Checked()).kept


def test_without_any_frame_no_promise_about_frames_counts_as_kept() -> None:
    """What is kept is kept for bytes that are no frames, and for frames that are refused."""
    framers = (Never(), Exactly(3), faulty.EncodesNothing())
    for framer, refuses in zip(framers, (set(), set(), {"foreign-frames"}), strict=True):
        kept = set(check_framer(framer).kept)
        known = {"answers", "purity", "value", "final", "split", "declared-sizes", "splits"}
        assert kept - {"spec-string", "spoilt-bytes", "find-start"} == known | refuses


class Bare:
    """A frame that has neither an equal nor a text of its own."""


class Mute(Bare):
    """A frame without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Incomparable:
    """A frame that cannot be compared, as an array cannot."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __repr__(self) -> str:
        return "array"


def test_frames_that_equal_nothing_are_compared_by_their_repr() -> None:
    nan = faulty.faulty("Nan", decode=lambda *_: float("nan"))()
    check_framer(nan, examples={b"1\r\n2\r\n": [float("nan")] * 2})
    assert failure(nan, examples={b"1\r\n": [1.0]}).check == "examples"
    odd = faulty.faulty("Odd", decode=lambda *_: Incomparable())()
    check_framer(odd, examples={b"1\r\n": [Incomparable()]})
    for kind in (Bare, Mute):
        bare = faulty.faulty("Bare", decode=lambda *_, kind=kind: kind())()
        error = failure(bare, malformed=[b"1\r\n"])
        assert error.defect == f"frames of class {kind.__name__} cannot be compared"
        assert error.hint.startswith("give the class an ==")


class Padded(faulty.Value):
    """Two letters and a comma, with blanks after it, of which there must be one at the end; all pass at once."""

    overhead = 1

    def find(self, window: Window) -> Any:
        start = window.start
        if blanks := re.compile(b" +").match(window.data, start):
            return start, start, blanks.end(), PADDING
        if len(window.data) == start:
            return NeedMore(size=3)
        return start, start + 2, start + 3, Decode(bytes, trailer=b",", final=False)


@dataclass(frozen=True)
class Septets(GeneratorFramer[int]):
    """Bytes up to one whose top bit is not set: a frame of n bytes has n fields."""

    def fields(self) -> Fields[int]:
        count = 1
        while ord((yield 1)) >= 0x80:
            count += 1
        return count


# A header that is read when its end is found, however long it is.
LONG_HEADER = HeaderThenBody(Line(last=False), lambda line: Exactly(read_digits(line.rpartition(" ")[2])))
Late = faulty.faulty("Late", decode=lambda _, payload: faulty.refuse("late") if payload == b"bad" else payload)
BLANKS = b"ab\r\n\r\ncd\r\n" * 3


@pytest.mark.parametrize(("framer", "material"), [
    # `decode` may break the stream, and a framer pass over padding, and leave trailer and end to the decoder.
    (Late(), {"examples": LINES, "malformed": {b"ok\r\nbad\r\nmore\r\n": "late"}}),
    (Padded(), {"examples": {b"ab,  cd,   ": [b"ab", b"cd"]}, "malformed": [b"ab;"], "incomplete": [b"ab,"]}),
    (faulty.StartsWithBlanks(), {"examples": {BLANKS: [b"ab", b"cd"] * 3}, "malformed": [BLANKS + b"!\r\n" + BLANKS]}),
    (faulty.Starts(), {"examples": LINES}),
    (Septets(), {"examples": {b"\x80\x80\1\2": [3, 1]}}),
    (LONG_HEADER, {"examples": {b"size 2\nhi": [("size 2", b"hi")]}, "malformed": [b"size\n"]}),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_the_contract_allows_is_no_defect(framer: ReadCondition[Any], material: dict[str, Any]) -> None:
    check_framer(framer, **material)
    fuzz_framer(framer, Suite(framer, **material).seeds, iterations=100)
