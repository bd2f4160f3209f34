"""Concatenated msgpack objects."""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from itertools import takewhile
from typing import Any

import msgpack
import pytest
from cutting import cut, error, growth_below, wire
from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import fallback

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.errors import EncodeError, FramingError, PayloadError
from framestream.framer import Window
from framestream.framers.msgpack import Msgpack
from framestream.testing import chunkings

OBJECTS = [
    None, False, True, 0, -1, 2**64 - 1, -(2**63), 1.5, "", "é" * 20, "x" * 300, b"", b"x" * 70000,
    [], {}, [1, [2, [3, []]]], {"a": {"b": [None, 1.5]}}, msgpack.ExtType(5, b"abc"),
    msgpack.ExtType(5, b"x" * 9), msgpack.ExtType(1, b"x" * 300), msgpack.ExtType(1, b"x" * 70000),
    msgpack.Timestamp(1, 2),
    list(range(1000)), {str(i): i for i in range(400)},
]  # fmt: skip
STREAM = wire(Msgpack(), *OBJECTS)


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
    assert batches(Msgpack(), STREAM) == OBJECTS
    assert cut(Msgpack(), *(STREAM[i : i + 1000] for i in range(0, len(STREAM), 1000))) == OBJECTS


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


LARGE = msgpack.packb({"a": b"x" * 200_000})


@pytest.mark.parametrize(("data", "found"), [
    (b"\xc0\x05", (0, 1, 1, None)),  # a small object has its value at first sight
    (b"\x93\x01\x02\x03\x05", (0, 4, 4, [1, 2, 3])),
    (b"\xdb\x00\x10\x00\x00abc", (0, 5 + (1 << 20), 5 + (1 << 20))),  # a string tells its size
    (b"\x92\x01\xc7\x09\x05", (0, 14, 14)),
    (LARGE, (0, len(LARGE), len(LARGE))),  # only the heads of a large one are looked at
])  # fmt: skip
def test_an_extent_is_known_as_soon_as_it_can_be(data: bytes, found: tuple[Any, ...]) -> None:
    assert Msgpack().find(Window(data)) == found
    assert Msgpack().find(Window(bytearray(data))) == found


def depth(frame: Any) -> int:
    # Python's own == and repr give up on such an object.
    levels = 0
    while isinstance(frame, list | dict):
        frame = frame[0] if isinstance(frame, list) else next(iter(frame.values()))
        levels += 1
    return levels


@pytest.mark.parametrize("head", [b"\x91", b"\x81\x00", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01", b"\xde\x00\x01\xa0"])
def test_containers_nest_as_deep_as_the_c_parser_allows(head: bytes) -> None:
    condition = Msgpack(strict_map_key=False)
    assert depth(cut(condition, head * 1024 + b"\x05")[0]) == 1024
    assert depth(batches(condition, head * 1024 + b"\x05")[0]) == 1024
    refused = error(condition, b"\x05", head * 1024 + b"\x90")
    assert str(refused) == f"msgpack object nested more than 1024 deep (at offset {1 + len(head) * 1024})"
    assert cut(condition, b"\x05" + head * 1024 + b"\x80")[:2] == [5, FramingError]


# Sizes in sizes; those that stand alone are the kit's.
HOSTILE = [
    b"\xdd\x00\x00\xff\xff" * 13000,
    b"\xdc\xff\xff" * 22000,
    b"\xdf\x00\x00\xff\xff\xa0" * 11000,
    b"\x92\x01\xc9\xff\xff\xff\xff",
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("method", ["next_frame", "next_batch"])
@pytest.mark.parametrize("condition", [Msgpack(), Msgpack(use_list=False)])
def test_declared_sizes_allocate_nothing_before_the_bytes_are_there(
    hostile: bytes, method: str, condition: Msgpack
) -> None:
    decoder = FrameDecoder()
    decoder.receive_data(hostile)
    with growth_below(5 << 20), suppress(FramingError):
        getattr(decoder, method)(condition)


def test_arrays_longer_than_the_guard_are_cut_by_batch_all_the_same() -> None:
    frames = [[7] * 300, 1, ["ab", 2.5] * 4000, {"a": list(range(257))}, 2]
    assert batches(Msgpack(), wire(Msgpack(), *frames)) == frames
    noisy = [[0xDCDC] * 5000, 1, b"\xdc" * 9000, [[0xDD] * 3000] * 2]
    data = wire(Msgpack(), *noisy)
    assert batches(Msgpack(), data) == noisy
    assert Msgpack().split(Window(data)) == (noisy, len(data))


def test_long_arrays_that_can_do_no_harm_are_built_at_first_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Msgpack.__module__], "scan", None)
    data = wire(Msgpack(), [7] * 5000, 1)
    assert Msgpack().split(Window(data)) == ([[7] * 5000, 1], len(data))


def test_a_batch_goes_on_behind_what_is_fed_at_once() -> None:
    frames = [b"x" * 700_000, 1, b"y" * 700_000, *range(600), b"z" * (1 << 20), "end"]
    decoder = FrameDecoder(max_frame_size=4 << 20)
    decoder.receive_data(wire(Msgpack(), *frames) + b"\x92")
    assert decoder.next_batch(Msgpack()) == frames
    assert decoder.leftover == b"\x92"


BAD = [b"\xa2\xff\xfe", b"\x81\x01\x02", b"\xc7\x0c\xff\0\0\0\0\x10\0\0\0\0\0\0\0", b"\x81\x90\x01"]
BAD.append(msgpack.packb({"a": 1, "b": 2}))  # larger than the map that is accepted


@pytest.mark.parametrize("bad", BAD)
def test_an_object_that_cannot_be_decoded_leaves_the_stream_in_step(bad: bytes) -> None:
    condition = Msgpack(timestamp=3, max_map_len=1)
    for chunks in chunkings(b"\x01\x02" + bad + b"\x81\xa1a\x03"):
        assert batches(condition, *chunks) == [1, 2, ("bad", bad), {"a": 3}]
    refused = error(condition, b"\x01" + bad)
    assert isinstance(refused, PayloadError)
    assert (refused.offset, refused.payload) == (1, bad)


@pytest.mark.parametrize("fault", [StopIteration, KeyError, msgpack.OutOfData])
def test_a_hook_that_raises_refuses_its_object_and_no_other(fault: type[Exception]) -> None:
    def hook(*given: Any) -> Any:
        if given[-1] in ({"bad": 1}, b"bad!"):
            raise fault
        return given

    condition = Msgpack(object_hook=hook, ext_hook=hook)
    good = wire(Msgpack(), {"a": 1}, msgpack.ExtType(1, b"good"), *range(600))
    for bad in ({"bad": 1}, msgpack.ExtType(1, b"bad!")):
        refused = wire(Msgpack(), [7, bad, "b" * 20])
        for size in (1, 100, 10_000):
            data = good + refused + good
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            read = [({"a": 1},), (1, b"good"), *range(600)]
            assert batches(condition, *chunks) == [*read, ("bad", refused), *read]


def test_a_framer_with_hooks_can_be_sent_to_another_process() -> None:
    condition = Msgpack(object_hook=sorted, ext_hook=divmod)
    assert pickle.loads(pickle.dumps(condition)) == condition


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("frame", [object(), 2**64, "\ud800", b"x" * 10, {"a": 1j}, ENDLESS], ids=type)
def test_what_has_no_form_is_not_written(frame: Any) -> None:
    with pytest.raises(EncodeError):
        Msgpack(max_size=8).encode(frame)


def test_without_the_c_implementation_it_gives_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack, "Unpacker", fallback.Unpacker)
    assert batches(Msgpack(), STREAM + b"\xa1\xff\5") == [*OBJECTS, ("bad", b"\xa1\xff"), 5]
    assert cut(Msgpack(), *(STREAM[i : i + 1000] for i in range(0, len(STREAM), 1000))) == OBJECTS


def measured(head: int) -> int:
    """Return the size of a value that its head alone tells, as the msgpack library has it; or 0."""
    for size in range(1, 34):
        try:
            msgpack.unpackb(bytes([head]) + b"\0" * (size - 1), strict_map_key=False)
        except (ValueError, msgpack.exceptions.UnpackException):
            continue
        return size if head not in (*range(0x81, 0xA0), *range(0xC4, 0xCA), *range(0xD9, 0xE0)) else 0
    return 0


@pytest.mark.parametrize("head", [head for head in range(256) if measured(head)], ids=hex)
def test_every_value_of_fixed_size_is_passed_over_by_its_size(head: int) -> None:
    value = bytes([head]) + b"\0" * (measured(head) - 1)
    array = b"\xdc\0\x25" + value * 37
    decoder = FrameDecoder()
    for at in range(0, len(array), 7):  # in pieces: an array that is there whole is parsed at once
        assert decoder.next_frame(Msgpack()) is NEED_DATA
        decoder.receive_data(array[at : at + 7])
    decoder.receive_data(b"\x01")
    assert decoder.next_frame(Msgpack()) == msgpack.unpackb(array)
    assert decoder.next_frame(Msgpack()) == 1
