"""What holds for every built-in framer: the contract, its docstring, being a value, refusals."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from cutting import cut, told
from framer_examples import BLANK_LINE, EITHER, LINE, READ, SAMPLES, SNIFF, Headed, Packet, entries, value
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import (
    FRAME_END,
    NEED_DATA,
    FrameDecoder,
    NeedMore,
    ReadCondition,
    Window,
    available_framers,
    get_framer,
)
from framestream.decoder import END
from framestream.errors import FrameTooLarge, FramingError, PayloadError
from framestream.framers import BUILT_IN, Interned
from framestream.framers.amounts import Available, Exactly, FixedLength, UntilClose
from framestream.framers.choice import FirstOf, When
from framestream.framers.combined import Sequence
from framestream.framers.delimiter import Delimiter, Line
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.msgpack import Msgpack
from framestream.testing import chunkings, conformance_checks
from framestream.testing.driver import read_whole
from framestream.testing.streams import check_exact, find_start

MAY_BE_UNTRIED = {
    "find-start": "framings whose frames cannot be found from the middle of a stream",
    "round-trip": "conditions that only read, and options with which nothing can be written",
    "spec-string": "a function as an option has no spelling",
    "malformed": "framings in which every sequence of bytes is valid",
    "incomplete": "framings in which every stream may end anywhere",
    "resume": "frames of fixed size",
    "linear-cost": "frames of fixed size",
    "start-cost": "frames of fixed size",
    "splits": "frames that take no bytes",
    "many-frames": "frames that end only with the stream",
    "memory": "frames of fixed size",
    "bad-frames": "framings in which every payload can be decoded",
    "many-bad-frames": "framings in which every payload can be decoded",
    "foreign-frames": "conditions that only read",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_keeps_every_promise_of_the_contract(name: str) -> None:
    framer, material = SAMPLES[name]
    for check in conformance_checks(framer, **material):
        untried = check.run()
        assert untried is None or "chunk_dependent" in material or check.name in MAY_BE_UNTRIED, untried


def test_every_built_in_has_a_sample() -> None:
    assert set(BUILT_IN) <= {sample.framer.name for sample in SAMPLES.values()}


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


@pytest.mark.parametrize("method", ["find", "decode"])
@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("mixed", [False, True])
def test_what_a_derived_framer_does_anew_it_does_in_batches_too(name: str, method: str, mixed: bool) -> None:
    framer, material = SAMPLES[name]
    base = type(framer)
    asked = []

    def anew(self: Any, given: Any) -> Any:
        asked.append(given)
        return getattr(base, method)(self, given)

    bases, own = ((type("Mixed", (), {method: anew}), base), {}) if mixed else ((base,), {method: anew})
    derived: Any = object.__new__(type("Derived", bases, own))
    state: Any = object.__getstate__(framer)
    for part in state if isinstance(state, tuple) else (state,):
        for attribute, set_to in (part or {}).items():
            object.__setattr__(derived, attribute, set_to)
    for stream in material["examples"]:
        window = Window(stream, eof=True)
        frames, end = framer.split(window)
        assert (repr(frames), end) == (repr(ReadCondition.split(derived, window)[0][: len(frames)]), end)
        asked.clear()
        ReadCondition.split(derived, window)
        expected = len(asked)
        asked.clear()
        derived.split(window)
        assert expected == len(asked)


EXACT = sorted(name for name, sample in SAMPLES.items() if sample.framer.synchronises == "exact")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_an_exact_framer_finds_the_next_frame_from_any_place(data: st.DataObject) -> None:
    framer, material = SAMPLES[data.draw(st.sampled_from(EXACT))]
    pieces = st.sampled_from([*material["examples"], b"\n", b"\r\n", b";", b"\0", b"-"])
    stream = b"".join(data.draw(st.lists(pieces | st.binary(max_size=4), max_size=8))) + b"x"
    start, step = data.draw(st.integers(1, len(stream))), data.draw(st.none() | st.integers(1, 5))
    place = find_start(framer, stream, start, step=step)
    check_exact(framer, stream, read_whole(framer, stream), start, place)


def test_what_may_begin_a_frame_of_several_framings_is_likely_if_all_of_them_say_so() -> None:
    lines, pieces = Line(None), Delimiter(b";")
    both = FirstOf(When(b"<", lines), pieces)
    assert (both.synchronises, both.lookbehind, FirstOf(lines).synchronises) == ("likely", 2, "exact")
    for step in (1, 3, None):
        assert [find_start(both, b"a;b\n<c\n", start, step=step) for start in (1, 3, 5)] == [2, 4, 7]
        sized = FirstOf(When(b"<", lines), FixedLength(8))
        assert [find_start(sized, b"ab\n<c\n12345", start, step=step) for start in (1, 4, 7)] == [3, 6, 8]
    assert FirstOf(When(b"<", lines), LengthPrefix()).synchronises is None
    assert both.find_start(Window(b"-abc", 1, taken=1)) == NeedMore(resume=4)  # and does not look at them again


# What is read

_EXAMPLE = re.compile(r" +(?P<framer>[A-Z]\w+\(.*\)): +(?P<stream>\S.*?)(?:, end)? +-> +(?P<frames>.+)")
FACTORIES = {info.factory.__name__: info.factory for info in available_framers() if info.distribution == "framestream"}
SHOWN = [
    (match["framer"], match["stream"], match["frames"], vars(inspect.getmodule(factory)) | FACTORIES)
    for factory in FACTORIES.values()
    for line in (inspect.getdoc(factory) or "").splitlines()
    if (match := _EXAMPLE.fullmatch(line))
]


@pytest.mark.parametrize(("framer", "stream", "frames", "names"), SHOWN, ids=[shown[0] for shown in SHOWN])
def test_what_a_docstring_shows_is_what_happens(framer: str, stream: str, frames: str, names: dict[str, Any]) -> None:
    assert told(eval(framer, names), ast.literal_eval(f"[{stream}]")) == ast.literal_eval(f"[{frames}]")


@pytest.mark.parametrize("entry", entries(READ), ids=lambda entry: entry.partition(":  ")[0])
def test_it_reads_the_same_in_any_chunking(entry: str) -> None:
    framer, stream, frames = re.fullmatch(r"(.*):  (.*?)\s+-> (.*)", entry, re.DOTALL).groups()
    condition, data, expected = map(value, (framer, stream, f"[{frames}]"))
    for chunks in chunkings(data, two_way=20):
        assert told(condition, chunks) == expected
    batch, end = condition.split(Window(bytearray(b"-" + data), 1))
    one_by_one, rest = ReadCondition.split(condition, Window(b"-" + data, 1))
    assert (end <= rest, repr(batch)) == (True, repr(one_by_one[: len(batch)]))


LONG = b"x" * 3000
OBJECT = msgpack.packb([{"data": b"x" * 2000}, [1] * 500, ["y" * 50] * 20])
STREAMED: list[tuple[ReadCondition[Any], bytes, bytes, int]] = [
    (LINE, LONG + b"\n", LONG, 0),
    (EITHER, LONG + b"\r\n", LONG, 1),
    (Delimiter(b";", last=True), LONG, LONG, 0),
    (UntilClose(), LONG, LONG, 0),
    (BLANK_LINE, b"x\r\n" * 1000 + b"\r\n", b"x\r\n" * 1000 + b"\r\n", 3),
    (Msgpack(), OBJECT, OBJECT, 4),
    (Sequence(LengthPrefix(1), LINE), b"\2hi" + LONG + b"\n", b"\2hi" + LONG, 3),
    (Sequence(LINE, LengthPrefix(2)), b"hi\n\x0b\xb8" + LONG, b"hi\n\x0b\xb8" + LONG, 4),
    (Sequence(UntilClose()), LONG, LONG, 0),
    (Sequence(LINE, Sequence(LINE, UntilClose())), b"a\nb\n" + LONG, b"a\nb\n" + LONG, 3),
    (SNIFF, LONG + b"\n", LONG, 0),
    (Packet(), b"\xb8\x0b\0\1" + LONG, LONG, 3),
    (Headed(LINE), b"put " + LONG + b"\n", LONG, 3),
    (FirstOf(When((b"a", b"xx"), LINE), Msgpack()), LONG + b"\n", LONG, 1),
    (FirstOf(LINE, Msgpack()), LONG + b"\n", LONG, 63),
]


@pytest.mark.parametrize(("framer", "frame", "payload", "kept"), STREAMED, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_frame_is_streamed_or_skipped_in_constant_memory(
    framer: ReadCondition[Any], frame: bytes, payload: bytes, kept: int, size: int
) -> None:
    streaming = FrameDecoder(max_frame_size=60)
    skipping = FrameDecoder(max_frame_size=60, on_oversize="discard")
    parts = []
    for start in range(0, len(frame), size):
        streaming.receive_data(frame[start : start + size])
        while type(part := streaming.next_part(framer)) is bytes:
            parts.append(part)
        assert streaming.buffered <= kept
        skipping.receive_data(frame[start : start + size])
        assert skipping.next_frame(framer) is NEED_DATA
    if part is NEED_DATA:
        streaming.receive_eof()
        part = streaming.next_part(framer)
    assert (part, b"".join(parts)) == (FRAME_END, payload)
    assert skipping.stats.high_water <= size + 130


# Frames whose size the reader knows


def test_exactly_may_ask_for_more_than_the_decoder_allows_others_but_not_than_the_call() -> None:
    decoder = FrameDecoder(max_frame_size=10)
    decoder.receive_data(b"x" * 100_000)
    with pytest.raises(FrameTooLarge, match="frame of 20 bytes exceeds the limit 10"):
        decoder.next_frame(Exactly(20), max_size=10)
    assert len(decoder.next_frame(Exactly(99_980))) == 99_980


def test_nothing_can_be_read_of_nothing() -> None:
    decoder = FrameDecoder()
    assert [decoder.next_frame(Exactly(0)) for _ in range(2)] == [b"", b""]
    assert (Exactly(0).can_be_empty, Exactly(1).can_be_empty, Exactly(0).synchronises) == (True, False, None)


def test_available_gives_what_is_there_never_nothing_and_cuts_nothing_ahead() -> None:
    decoder = FrameDecoder()
    assert decoder.next_frame(Available()) is NEED_DATA
    decoder.receive_data(b"x" * 95)
    assert [decoder.next_frame(Available(10)) for _ in range(9)] == [b"x" * 10] * 9
    assert (decoder.offset, decoder.next_frame(Available(10))) == (90, b"x" * 5)
    decoder.receive_eof()
    assert decoder.next_frame(Available(10)) is END
    assert Available(4).split(Window(b"-abcdef", 1)) == ([], 1)


# Values


@pytest.mark.parametrize(("call", "text"), [
    ("Line()", "line"),
    ("Line(encoding=None, keep=True)", "line:encoding=none,keep"),
    ("Line(encoding='ascii', newline='crlf', last=False, max_size=1024)",
     "line:encoding=ascii,newline=crlf,last=no,max=1KiB"),
    ("Delimiter((b'\\r\\n', b'\\n'), keep=True)", r'delimiter:"\r\n","\n",keep'),
    ("LengthPrefix(size=5, byteorder='little')", "length-prefix:size=5,byteorder=little"),
    ("LengthPrefix(format='decimal', terminator=b':')", 'length-prefix:format=decimal,terminator=":"'),
    ("LengthPrefix(size=2, adjust=-1, includes_header=True)", "length-prefix:size=2,adjust=-1,includes-header"),
    ("Msgpack(raw=True, max_map_len=5, max_size=100)", "msgpack:raw,max-map-len=5,max=100"),
    (r"Regex(b'\\r?\\n')", r"regex:'\r?\n'"),
    ("Exactly(3)", "exactly:3"),
    ("FixedLength(3)", "fixed-length:3"),
    ("UntilClose(max_size=5)", "until-close:max=5"),
    ("When((b'$', b'ab'), Line())", "when(line):$,ab"),
    ("FirstOf(Msgpack(), Line(max_size=5))", "first-of(msgpack, line:max=5)"),
    ("Sequence(Line(), Exactly(2), max_size=9)", "sequence(line, exactly:2):max=9"),
    ("Nested(LengthPrefix(size=1), Regex(b'a'))", "nested(length-prefix:size=1, regex:a)"),
])  # fmt: skip
def test_a_framer_is_shown_as_the_call_and_as_the_text_that_make_it(call: str, text: str) -> None:
    framer = value(call)
    with suppress(FramingError):
        framer.find(Window(b"1", eof=True))  # what it has worked out by then does not show
    assert (repr(framer), str(framer), get_framer(text)) == (call, text, framer)
    assert isinstance(type(framer), Interned) == (value(call) is framer)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_copy_is_equal_and_does_the_same(name: str) -> None:
    framer, material = SAMPLES[name]
    wire = next(iter(material["examples"]))
    twins = [copy.copy(framer), copy.deepcopy(framer)]
    with suppress(AttributeError, pickle.PicklingError):  # some hold a function that has no name
        twins.append(pickle.loads(pickle.dumps(framer)))
    for twin in twins:
        assert (twin, hash(twin), repr(twin)) == (framer, hash(framer), repr(framer))
        for trait in ("max_size", "overhead", "can_be_empty"):
            assert getattr(twin, trait) == getattr(framer, trait)
        assert framer.can_be_empty or repr(cut(twin, wire)) == repr(cut(framer, wire))


def test_what_is_equal_and_not_the_same_is_kept_apart() -> None:
    assert Delimiter(b";", keep=1) is not Delimiter(b";", keep=True)  # type: ignore[arg-type]
    assert str(Delimiter(b";", keep=True)) == "delimiter:;,keep"
    with pytest.raises(ValueError, match="size is True"):
        Exactly(True)
    with pytest.raises(TypeError, match="unhashable"):
        Exactly([3])  # type: ignore[arg-type]


def test_a_derived_class_is_made_as_often_as_it_is_called() -> None:
    class Counted(Exactly):
        pass

    class Again(Counted):
        pass

    assert Counted(3) == Counted(3) is not Counted(3)
    assert Again(3) is not Again(3)
    assert Exactly(3) is Exactly(3)
    assert list(inspect.signature(Counted).parameters) == list(inspect.signature(Exactly).parameters) == ["size"]


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
