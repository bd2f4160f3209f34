"""JSON framings: what the specifications say, what they forbid, hostile texts, and the kit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from framestream import (
    END,
    NEED_DATA,
    EncodeError,
    FrameDecoder,
    FrameTooLarge,
    IncompleteFrame,
    PayloadError,
    ReadCondition,
    Window,
    iter_frames,
)
from framestream.testing import check_framer, chunkings
from framestream_json import JsonArray, JsonConcat, JsonLines, JsonSeq

FRAMERS: list[JsonLines | JsonSeq | JsonConcat] = [JsonLines(), JsonSeq(), JsonConcat()]
VALUES: list[Any] = [{"a": [1, {"b": None}]}, [], 't\\e"x\n', 3, -0.5e3, True, False, None, "Zoë €😀", {"}": "]"}]

BAD_TEXTS = [
    b"{",
    b"[1,]",
    b"{'a': 1}",
    b"[1}",
    b"NaN",
    b"[-Infinity]",
    b"nul",
    b"01",
    b"+1",
    b'"\xff"',
    b'"a\tb"',
    b'"\\x"',
    b"[" * 251 + b"]" * 251,
]


def read(framer: ReadCondition[Any], chunks: list[bytes]) -> tuple[list[Any], list[bytes]]:
    """Return the frames and the payloads of those that could not be decoded."""
    bad: list[bytes] = []
    return list(iter_frames(chunks, framer, on_payload_error=lambda error: bad.append(error.payload))), bad


def test_conformance_of_lines() -> None:
    check_framer(
        JsonLines(),
        examples=[
            (b'{"a": 1}\n[1, 2]\r\n"text"\n', [{"a": 1}, [1, 2], "text"]),
            (b"".join(map(JsonLines().encode, VALUES)), VALUES),
            (b"\n \r\n\n1\n\n  2 \n\t\n \t", [1, 2]),
            (b"1\n2", [1, 2]),
            (b'{"a": 1}', [{"a": 1}]),
            ('["Zoë €😀", "\\ud83d\\ude00"]\n'.encode(), [["Zoë €😀", "😀"]]),
        ],
        malformed=[*((text + b"\n", "") for text in BAD_TEXTS), (b"1 2\n", "Extra data"), (b"[1,\n2]\n", "")],
        slow_frame=lambda size: b"[" + b"1," * (size // 2) + b"1]\n",
    )


def test_a_run_of_blank_lines_costs_one_question() -> None:
    asked = []

    class Asked(JsonLines):
        def find(self, window: Window) -> Any:
            asked.append(window.start)
            return super().find(window)

    for lines in (10, 10_000):
        data = b" \t\r\n\xef\xbb\xbf\n\n" * lines
        assert list(iter_frames([data, b"1\n" + data, b" \n2"], Asked(), max_frame_size=1 << 20)) == [1, 2]
        assert len(asked) < 20
        asked.clear()


def test_conformance_of_lines_that_must_end() -> None:
    check_framer(JsonLines(last=False), examples={b"1\n[2]\n": [1, [2]]}, incomplete=[b"1", b"1\n[2]"])


def test_conformance_of_sequences() -> None:
    check_framer(
        JsonSeq(),
        examples=[
            (b'\x1e{"a": 1}\n\x1e[1, 2]\n\x1e"text"\n\x1e3\n', [{"a": 1}, [1, 2], "text", 3]),
            (b"".join(map(JsonSeq().encode, VALUES)), VALUES),
            (b'\x1e{"a":\n 1\n}\n\x1e\n 1 \n', [{"a": 1}, 1]),
            (b"\x1e\x1e\x1e1\n\n\n\x1e\x1e2\r\n", [1, 2]),
            (b'\x1e{"a": 1}\x1e[]\x1e"b"', [{"a": 1}, [], "b"]),
            ('\x1e"Zoë €😀"\n'.encode(), ["Zoë €😀"]),
        ],
        malformed=[
            *((b"\x1e" + text + b"\n\x1e1\n", "") for text in BAD_TEXTS),
            (b'{"a": 1}\n', "outside of any text"),
            (b"\x1e1\x1e2\n", "may be cut off"),
            (b"\x1e1", "may be cut off"),
            (b'\x1e{"a\\\x1e1\n', "Unterminated string"),
            (b"\x1e \x1e", "Expecting value"),
            (b"\x1e]\n", "Expecting value"),
            (b"\x1e[]]\n", "Extra data"),
        ],
        incomplete=[b"\x1e", b"\x1e{", b'\x1e"', b"\x1e1\n\x1e[", b'\x1e"\\'],
        slow_frame=lambda size: b'\x1e{"a": "' + b"x\\n" * (size // 3) + b'"}\n',
    )


def test_conformance_of_concatenated_texts() -> None:
    check_framer(
        JsonConcat(),
        examples=[
            (b'{"a": 1}[1, 2]\n3 "text"null', [{"a": 1}, [1, 2], 3, "text", None]),
            (b"".join(map(JsonConcat().encode, VALUES)), VALUES),
            (b"  1\n\n[]{}\r\n true[false]\n", [1, [], {}, True, [False]]),
            (b'"a""b\\"c""\\\\"{"]}": "[{"}', ["a", 'b"c', "\\", {"]}": "[{"}]),
            (b"12", [12]),
            (b"1[2]3", [1, [2], 3]),
            ('"Zoë €😀"["é"]{"€": 1}'.encode(), ["Zoë €😀", ["é"], {"€": 1}]),
        ],
        malformed=[
            *((text + b" 1 ", "") for text in BAD_TEXTS[1:]),
            (b"]", "b']' where no JSON text can have it"),
            (b"[1] , [2]", "b',' where no JSON text can have it (at offset 4)"),
            (b'"a\x1e"', "b'\\x1e' where no JSON text can have it"),
            (b'["a\\\x1e"]', "b'\\x1e' where no JSON text can have it"),
            (b"[\x1e]", "b'\\x1e' where no JSON text can have it"),
        ],
        incomplete=[b"{", b'"', b'"\\', b"[1", b'{"a": "}"'],
        slow_frame=lambda size: b"[" + b'{"a": [1]},' * (size // 11) + b"1]",
    )


def test_conformance_of_elements() -> None:
    check_framer(
        JsonArray(),
        examples=[
            (b'[{"a": 1}, {"b": [2]} ,3,"x,]"]', [{"a": 1}, {"b": [2]}, 3, "x,]"]),
            (b" \n[ \t1 , \r\n true\n,null ] \n", [1, True, None]),
            (b"[]", []),
            (b" [ \n ] ", []),
            (b'[[], {}, "\\\\"]', [[], {}, "\\"]),
            (b"[1]\n[2,3][]", [1, 2, 3]),
            ('["Zoë €😀",["é"]]'.encode(), ["Zoë €😀", ["é"]]),
        ],
        malformed=[
            *((b"[" + text + b", 1]", "") for text in BAD_TEXTS[1:]),
            (b"1", "b'1' where no array can have it"),
            (b"]", "b']' where"),
            (b"[1]]", "b']' where"),
            (b"[,1]", "b',' where"),
            (b"[1,]", "b']' where"),
            (b"[1, ]", "b']' where"),
            (b"[1,,2]", "b',' where"),
            (b"[1 2]", "b'2' where"),
            (b"[[1] [2]]", ""),
            (b'["a"1]', "b'1' where"),
            (b'["a":1]', "b':' where"),
            (b"[1}", "b'}' where"),
            (b"[\x1e]", "b'\\x1e' where"),
        ],
        incomplete=[b"[", b"[ ", b"[1", b"[1 ", b"[[1]", b'["a"', b"[1,", b"[1, ", b'[1, "', b'["\\'],
        slow_frame=lambda size: b"[" + b'{"a": [1]}' + b" " * size + b"]",
    )


def test_an_array_without_end_is_read_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=1000)
    decoder.receive_data(b"[0")
    for number in range(1, 5000):
        decoder.receive_data(b", %d" % number)
        assert decoder.next_frame(JsonArray()) == number - 1
    assert decoder.stats.high_water < 100


def test_an_element_that_is_no_json_costs_nothing_but_itself() -> None:
    for chunks in chunkings(b'[1, tru, {"a" 1}, [1}, 5]'):
        assert read(JsonArray(), chunks) == ([1, 5], [b" tru", b' {"a" 1}', b" [1}"])


def test_a_large_element_is_skipped_and_streamed() -> None:
    wire = b'[1, "' + b"x" * 2000 + b'" , 2]'
    assert list(iter_frames(wire, JsonArray(max_size=1000), on_oversize="discard")) == [1, 2]
    decoder = FrameDecoder()
    decoder.receive_data(wire[:1000])
    assert decoder.next_frame(JsonArray()) == 1
    assert decoder.next_part(JsonArray()) == wire[3:1000]


@pytest.mark.parametrize("framer", FRAMERS, ids=str)
@pytest.mark.parametrize("text", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000])
def test_a_depth_bomb_is_one_bad_text_at_most(framer: Any, text: bytes) -> None:
    wire = b"\x1e" * (framer.name == "json-seq") + text + b"\n" + framer.encode(7)
    values: list[Any] = []
    bad: list[PayloadError] = []
    try:
        for value in iter_frames(wire, framer, on_payload_error=bad.append):
            values.append(value)  # noqa: PERF402  # what came before an error counts
    except IncompleteFrame:
        assert framer.name == "json-concat"
    else:
        assert (values, len(bad)) == ([7], 1)


@pytest.mark.parametrize("depth", [1, 250, 251, 252])
@pytest.mark.parametrize("wide", [b"", b"[]," * 300, b'"[[[\\"[[[",' * 100])
def test_depth_counts_open_brackets_and_nothing_else(depth: int, wide: bytes) -> None:
    text = b"[" * (depth - 1) + b"[" + wide + b"1]" + b"]" * (depth - 1)
    expected = depth + (depth == 250 and wide.startswith(b"[]"))
    for framer in FRAMERS:
        values, bad = read(framer, [b"\x1e" * (framer.name == "json-seq") + text + b"\n"])
        assert (len(values), len(bad)) == ((1, 0) if expected <= 250 else (0, 1))


def test_a_sequence_is_read_from_the_middle_on() -> None:
    wire = b'"cut": 1}\n\x1e{"a": 1}\n'
    for chunks in chunkings(wire):
        assert read(JsonSeq(), chunks) == ([{"a": 1}], [b'"cut": 1}\n'])


def test_a_sequence_with_a_broken_text_goes_on_with_the_next() -> None:
    wire = b'\x1e{"a": "b\x1e[1]\n\x1e[1] oops\n\x1e2\n\x1e3\x1e4\n'
    for chunks in chunkings(wire):
        # The good text that is followed by other bytes was given out before those arrived.
        assert read(JsonSeq(), chunks) == ([[1], [1], 2, 4], [b'{"a": "b', b"oops\n", b"3"])


@pytest.mark.parametrize("framer", FRAMERS, ids=str)
def test_a_text_is_given_out_when_its_newline_is_there(framer: Any) -> None:
    decoder = FrameDecoder()
    for value in VALUES:
        decoder.receive_data(framer.encode(value))
        assert decoder.next_frame(framer) == value
        assert decoder.next_frame(framer) is NEED_DATA
    decoder.receive_eof()
    assert decoder.next_frame(framer) is END


@pytest.mark.parametrize("framer", FRAMERS, ids=str)
def test_a_text_above_the_limit_can_be_discarded_in_constant_memory(framer: Any) -> None:
    decoder = FrameDecoder(max_frame_size=1000, on_oversize="discard")
    decoder.receive_data(b"\x1e" * (framer.name == "json-seq") + b'["')
    for _ in range(1000):
        decoder.receive_data(b"x\\n" * 1000)
        assert decoder.next_frame(framer) is NEED_DATA
    decoder.receive_data(b'"]\n' + framer.encode(7))
    assert decoder.next_frame(framer) == 7
    assert decoder.stats.high_water < 8000


def test_a_backslash_that_waits_for_its_other_half_exceeds_no_limit() -> None:
    decoder = FrameDecoder(max_frame_size=0)
    decoder.receive_data(b'"\\')
    assert [decoder.next_part(JsonConcat()) for _ in range(2)] == [b'"', NEED_DATA]


def test_the_limit_counts_the_text_alone() -> None:
    for framer in (JsonLines(max_size=5), JsonSeq(max_size=5), JsonConcat(max_size=5)):
        wire = framer.encode([100])
        assert list(iter_frames(wire * 3, framer)) == [[100]] * 3
        with pytest.raises(FrameTooLarge):
            list(iter_frames(wire.replace(b"100", b"1000"), framer))
        with pytest.raises(EncodeError, match="text of 6 bytes exceeds the limit 5"):
            framer.encode([1000])


@pytest.mark.parametrize("value", [float("nan"), object(), {(1, 2): 3}, "\ud800"])
def test_what_has_no_json_is_not_written(value: Any) -> None:
    with pytest.raises(EncodeError, match="no JSON for it"):
        JsonLines().encode([value])


def test_what_is_nested_too_deep_is_not_written() -> None:
    value: list[Any] = []
    for _ in range(250):
        value = [value]
    with pytest.raises(EncodeError, match="nested more than 250 deep"):
        JsonLines().encode(value)
    value.append(value)
    with pytest.raises(EncodeError, match="no JSON for it"):
        JsonLines().encode(value)


@pytest.mark.parametrize(("text", "depth"), [
    (b"[" * 30 + b"]" * 30, 30),
    (b'{"a":' * 30 + b"1" + b"}" * 30, 30),
    (b"[" + b",".join([b"[[]]"] * 99) + b"]", 3),
    (b'["' + b"[" * 30 + b'\\"{", {"]]]": "}"}]', 2),
    (b'"' + b"[{" * 30 + b'"', 0),
])  # fmt: skip
def test_a_text_may_be_as_deep_as_the_limit_says_and_no_deeper(text: bytes, depth: int) -> None:
    wire = b"\x1e" + text + b"\n"
    if depth:
        assert list(iter_frames(wire, JsonSeq(max_depth=depth))) == [json.loads(text)]
    if depth > 1:
        with pytest.raises(PayloadError, match=f"nested more than {depth - 1} deep"):
            list(iter_frames(wire, JsonSeq(max_depth=depth - 1)))
    if not depth:
        assert list(iter_frames(wire, JsonSeq(max_depth=1))) == [json.loads(text)]


@pytest.mark.parametrize("depth", [0, 501, "3"])
def test_options_are_checked(depth: Any) -> None:
    with pytest.raises(ValueError, match="it must be from 1 to 500"):
        JsonLines(max_depth=depth)


def test_a_batch_of_documents_equals_what_python_reads() -> None:
    documents: list[Any] = [{"id": n, "name": "é" * (n % 3), "list": list(range(n % 7))} for n in range(500)]
    for framer in FRAMERS:
        assert list(iter_frames(b"".join(map(framer.encode, documents)), framer)) == documents
    assert list(iter_frames(json.dumps(documents, indent=1).encode(), JsonArray())) == documents
    lines = "".join(json.dumps(document, indent=1) for document in documents).encode()
    assert list(iter_frames(lines, JsonConcat())) == documents
