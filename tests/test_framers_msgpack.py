"""Concatenated msgpack objects."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tracemalloc
from itertools import takewhile
from typing import Any

import msgpack
import pytest
from cutting import cut, error, wire
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream.decoder import END, FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import EncodeError, FramingError, PayloadError
from framestream.framer import NeedMore, Window
from framestream.framers.msgpack import Msgpack
from framestream.testing import chunkings

OBJECTS = [
    None, False, True, 0, -1, 2**64 - 1, -(2**63), 1.5, "", "é" * 20, "x" * 300, b"", b"x" * 70000,
    [], {}, [1, [2, [3, []]]], {"a": {"b": [None, 1.5]}}, msgpack.ExtType(5, b"abc"),
    msgpack.ExtType(5, b"x" * 9), msgpack.ExtType(1, b"x" * 300), msgpack.Timestamp(1, 2),
    list(range(1000)), {str(i): i for i in range(400)},
]  # fmt: skip
STREAM = wire(Msgpack(), *OBJECTS)

objects = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def batches(condition: Msgpack, *chunks: bytes) -> list[Any]:
    """Read by batch up to what breaks the stream; bad frames become their payload."""
    decoder, out = FrameDecoder(), []
    for chunk in [*chunks, None]:
        decoder.receive_data(chunk) if chunk is not None else decoder.receive_eof()
        while True:
            try:
                answer = decoder.next_batch(condition)
            except PayloadError as error:
                out.append(("bad", error.payload))
                continue
            except FramingError:
                return out
            if answer is NEED_DATA or answer is END:
                break
            out += answer
    return out


def test_every_kind_of_object_comes_back_one_at_a_time_and_by_batch() -> None:
    assert cut(Msgpack(), STREAM) == OBJECTS
    assert batches(Msgpack(), STREAM) == OBJECTS
    assert cut(Msgpack(), *(STREAM[i : i + 1000] for i in range(0, len(STREAM), 1000))) == OBJECTS


@settings(max_examples=30, deadline=None)
@given(st.lists(objects, max_size=5))
def test_what_is_written_is_read_back_in_any_chunking(frames: list[Any]) -> None:
    data = wire(Msgpack(), *frames)
    for chunks in chunkings(data, two_way=5, random=2):
        assert cut(Msgpack(), *chunks) == frames
        assert batches(Msgpack(), *chunks) == frames


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_cut_as_the_c_parser_cuts_them(data: bytes) -> None:
    unpacker = msgpack.Unpacker(strict_map_key=False, raw=True)
    unpacker.feed(data)
    expected = []
    try:
        for each in unpacker:
            expected.append(repr(each))  # noqa: PERF401 - what came before an error counts
    except Exception:  # noqa: BLE001 - where it stops, the comparison stops
        pass
    condition = Msgpack(strict_map_key=False, raw=True)
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert list(map(repr, cut(condition, *chunks)))[: len(expected)] == expected
        good = takewhile(lambda told: not told.startswith("('bad', "), map(repr, batches(condition, *chunks)))
        assert list(good) == expected


def test_a_small_object_has_its_value_at_first_sight() -> None:
    assert Msgpack().find(Window(b"\x00\xc0\x05", 1)) == (1, 2, 2, None)
    assert Msgpack().find(Window(bytearray(b"\x93\x01\x02\x03\x05"))) == (0, 4, 4, [1, 2, 3])


def test_a_string_on_its_own_tells_its_size_with_its_head() -> None:
    assert Msgpack().find(Window(b"\xdb\x00\x10\x00\x00abc")) == (0, 5 + (1 << 20), 5 + (1 << 20))
    assert Msgpack().find(Window(b"\x92\x01\xc7\x09\x05")) == (0, 14, 14)
    assert type(Msgpack().find(Window(b"\xdb\x00\x10\x00"))) is NeedMore


def test_nothing_is_looked_at_twice_and_all_of_an_unfinished_object_is_settled() -> None:
    found = Msgpack().find(Window(b"\x93\x01\xc4\x05ab"))
    assert isinstance(found, NeedMore)
    assert (found.resume, found.settled) == (6, 6)
    again = Msgpack().find(Window(b"\x93\x01\xc4\x05abcde\x02", resume=6, memo=found.memo))
    assert again == (0, 10, 10)


def test_an_object_is_streamed_in_parts_without_being_kept() -> None:
    frame = msgpack.packb({"data": b"x" * 5000, "more": [1] * 500})
    decoder = FrameDecoder(max_frame_size=64)
    parts, most = [], 0
    for start in range(0, len(frame), 50):
        decoder.receive_data(frame[start : start + 50])
        while type(part := decoder.next_part(Msgpack())) is bytes:
            parts.append(part)
        most = max(most, decoder.buffered)
    assert (part, b"".join(parts)) == (FRAME_END, frame)
    assert most <= 16


def test_an_object_above_the_limit_is_skipped_in_constant_memory() -> None:
    large = msgpack.packb([b"x" * 200, ["y" * 50] * 100])
    decoder = FrameDecoder(max_frame_size=100, on_oversize="discard")
    frames = []
    for byte in large + b"\x07":
        decoder.receive_data(bytes([byte]))
        if (frame := decoder.next_frame(Msgpack())) is not NEED_DATA:
            frames.append(frame)
    assert frames == [7]
    assert decoder.stats.high_water <= 110


def depth(frame: Any) -> int:
    # Python's own == and repr give up on such an object.
    levels = 0
    while isinstance(frame, list | dict):
        frame = frame[0] if isinstance(frame, list) else next(iter(frame.values()))
        levels += 1
    return levels


@pytest.mark.parametrize(
    "head", [b"\x91", b"\x81\x00", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01", b"\xde\x00\x01\xa0"]
)
def test_containers_nest_as_deep_as_the_c_parser_allows(head: bytes) -> None:
    condition = Msgpack(strict_map_key=False)
    assert depth(cut(condition, head * 1024 + b"\x05")[0]) == 1024
    assert depth(batches(condition, head * 1024 + b"\x05")[0]) == 1024
    refused = error(condition, b"\x05", head * 1024 + b"\x90")
    assert str(refused) == f"msgpack object nested more than 1024 deep (at offset {1 + len(head) * 1024})"
    assert cut(condition, b"\x05" + head * 1024 + b"\x80")[:2] == [5, FramingError]


def test_a_large_object_is_found_by_its_heads_alone() -> None:
    frame = {"a": b"x" * 200_000}
    data = msgpack.packb(frame)
    assert Msgpack().find(Window(data)) == (0, len(data), len(data))
    assert cut(Msgpack(), data) == [frame]


HOSTILE = [
    b"\xdd\x00\x00\xff\xff" * 13000,
    b"\xdc\xff\xff" * 22000,
    b"\xdf\x00\x00\xff\xff\xa0" * 11000,
    b"\xdd\xff\xff\xff\xff" * 1000,
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x92\x01\xc9\xff\xff\xff\xff",
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
@pytest.mark.parametrize("condition", [Msgpack(), Msgpack(object_pairs_hook=list, use_list=False)])
def test_declared_sizes_allocate_nothing_before_the_bytes_are_there(
    hostile: bytes, method: str, condition: Msgpack
) -> None:
    decoder = FrameDecoder()
    decoder.receive_data(hostile)
    tracemalloc.start()
    try:
        getattr(decoder, method)(condition)
    except FramingError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5 << 20


def test_arrays_longer_than_the_guard_are_cut_by_batch_all_the_same() -> None:
    frames = [[7] * 300, 1, ["ab", 2.5] * 4000, {"a": list(range(257))}, 2]
    assert batches(Msgpack(), wire(Msgpack(), *frames)) == frames
    noisy = [[0xDCDC] * 5000, 1, b"\xdc" * 9000, [[0xDD] * 3000] * 2]
    assert batches(Msgpack(), wire(Msgpack(), *noisy)) == noisy


def test_a_batch_goes_on_behind_what_is_fed_at_once() -> None:
    frames = [b"x" * 700_000, 1, b"y" * 700_000, *range(600), b"z" * (1 << 20), "end"]
    decoder = FrameDecoder(max_frame_size=4 << 20)
    decoder.receive_data(wire(Msgpack(), *frames) + b"\x92")
    assert decoder.next_batch(Msgpack()) == frames
    assert decoder.leftover == b"\x92"


BAD = [b"\xa2\xff\xfe", b"\x81\x01\x02", b"\xc7\x0c\xff\0\0\0\0\x10\0\0\0\0\0\0\0", b"\x81\x90\x01"]


@pytest.mark.parametrize("bad", BAD)
def test_an_object_that_cannot_be_decoded_leaves_the_stream_in_step(bad: bytes) -> None:
    condition = Msgpack(timestamp=3)
    for chunks in chunkings(b"\x01\x02" + bad + b"\x03"):
        assert batches(condition, *chunks) == [1, 2, ("bad", bad), 3]
    refused = error(condition, b"\x01" + bad)
    assert isinstance(refused, PayloadError)
    assert (refused.offset, refused.payload) == (1, bad)


def test_lengths_above_the_chosen_ones_are_bad_payloads() -> None:
    condition = Msgpack(max_array_len=2, max_str_len=3, max_bin_len=3, max_map_len=1, max_ext_len=2)
    bad = [[1, 2, 3], "four", b"four", {"a": 1, "b": 2}, msgpack.ExtType(1, b"abc")]
    for each in bad:
        data = msgpack.packb(each)
        assert batches(condition, b"\x01" + data + b"\x02") == [1, ("bad", data), 2]
    assert cut(condition, wire(condition, [1, 2], "abc", {"a": b"abc"})) == [[1, 2], "abc", {"a": b"abc"}]


def test_a_hook_that_refuses_with_value_error_makes_a_bad_payload() -> None:
    def refuse(code: int, data: bytes) -> Any:
        if code == 1:
            raise ValueError(f"no extension {code}")
        return code, data

    data = wire(Msgpack(), msgpack.ExtType(2, b"a"), msgpack.ExtType(1, b"b"), 3)
    assert batches(Msgpack(ext_hook=refuse), data) == [(2, b"a"), ("bad", b"\xd4\x01b"), 3]


def test_what_a_hook_raises_otherwise_makes_a_bad_payload_too() -> None:
    condition = Msgpack(object_hook=lambda pairs: pairs["missing"])
    assert batches(condition, b"\x05\x81\xa1a\x01\x06") == [5, ("bad", b"\x81\xa1a\x01"), 6]


def test_the_options_of_msgpack_do_what_they_do_there() -> None:
    data = msgpack.packb(["é", {"a": 1}, msgpack.Timestamp(1, 500)])
    assert cut(Msgpack(raw=True), data)[0][0] == "é".encode()
    assert cut(Msgpack(use_list=False), data)[0][1] == {"a": 1}
    assert cut(Msgpack(object_hook=sorted), data)[0][1] == ["a"]
    assert cut(Msgpack(object_pairs_hook=list), data)[0][1] == [("a", 1)]
    assert cut(Msgpack(timestamp=1), data)[0][2] == 1.0000005
    assert cut(Msgpack(unicode_errors="replace"), b"\xa1\xff") == ["\ufffd"]
    assert cut(Msgpack(strict_map_key=False), b"\x81\x01\x02") == [{1: 2}]
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    clock = Msgpack(datetime=True, timestamp=3)
    assert cut(clock, clock.encode(moment)) == [moment]
    assert Msgpack(use_bin_type=False).encode(b"a") == b"\xa1a"
    assert Msgpack(use_single_float=True).encode(1.5) == b"\xca?\xc0\x00\x00"
    assert Msgpack(default=str).encode(1j) == b"\xa21j"


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("frame", [object(), 2**64, "\ud800", b"x" * 10, {"a": 1j}, ENDLESS], ids=str)
def test_what_has_no_form_is_not_written(frame: Any) -> None:
    with pytest.raises(EncodeError):
        Msgpack(max_size=8).encode(frame)


def test_without_the_c_implementation_it_gives_the_same_frames_in_linear_time() -> None:
    program = (
        "import msgpack\n"
        "from framestream.decoder import FrameDecoder\n"
        "from framestream.framers.msgpack import Msgpack\n"
        "assert not Msgpack.compiled\n"
        "data = msgpack.packb([['x' * 8] * 10, None]) * 2000 + b'\\xa1\\xff' + b'\\x05'\n"
        "decoder = FrameDecoder()\n"
        "decoder.receive_data(data)\n"
        "frames = decoder.next_batch(Msgpack())\n"
        "assert frames == [[['x' * 8] * 10, None]] * 2000, len(frames)\n"
        "one = msgpack.packb(['x' * 8] * 20000)\n"
        "decoder = FrameDecoder()\n"
        "for start in range(0, len(one), 100):\n"
        "    decoder.receive_data(one[start:start + 100])\n"
        "    answer = decoder.next_frame(Msgpack())\n"
        "assert answer == ['x' * 8] * 20000\n"
    )
    environment = {**os.environ, "MSGPACK_PUREPYTHON": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""


def test_the_default_split_stands_in_where_msgpack_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Msgpack, "compiled", False)
    assert batches(Msgpack(), STREAM) == OBJECTS
