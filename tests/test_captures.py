"""What real programs sent is cut rightly, however it arrives.

The reference is `examples/recorder/cutters.py`, which works on complete captures, naively, and shares no
code with framestream.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cutting import wire

from framestream import END, FRAME_END, NEED_DATA, FrameDecoder, iter_frames
from framestream.registry import get_framer
from framestream.testing import chunkings

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import record_captures  # noqa: E402 - it lives beside the captures, in no package
from recorder.recipe import RECIPES  # noqa: E402

INDEX = json.loads((EXAMPLES / "captures" / "index.json").read_text())
CUTS = [(entry["name"], cut["spec"], cut["frames"]) for entry in INDEX for cut in entry["cuts"]]


def capture(name: str) -> bytes:
    return (EXAMPLES / "captures" / f"{name}.bin").read_bytes()


def frames_of(name: str, spec: str) -> list[Any]:
    return list(iter_frames(capture(name), get_framer(spec)))


def read(chunks: Iterable[bytes], spec: str, method: str = "next_frame") -> Iterator[tuple[int, Any]]:
    """Read as chunks arrive; yield where the stream is after each item, and the item."""
    decoder, condition, waiting = FrameDecoder(), get_framer(spec), iter(chunks)
    while (item := getattr(decoder, method)(condition)) is not END:
        if item is not NEED_DATA:
            yield decoder.offset, item
        elif chunk := next(filter(None, waiting), b""):
            decoder.receive_data(chunk)
        else:
            decoder.receive_eof()
    assert decoder.leftover == b""


def test_the_index_lists_every_capture_and_every_recipe() -> None:
    files = {path.stem for path in (EXAMPLES / "captures").glob("*.bin")}
    assert {entry["name"] for entry in INDEX} == files == set(RECIPES)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["name"])
def test_an_index_entry_describes_its_capture(entry: dict[str, Any]) -> None:
    fresh = record_captures.describe(RECIPES[entry["name"]], capture(entry["name"]))
    assert entry == fresh | {"version": entry["version"]}


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_frames_end_where_the_reference_says_for_every_chunking(name: str, spec: str, count: int) -> None:
    data = capture(name)
    frames = frames_of(name, spec)
    assert len(frames) == count
    expected = list(zip(RECIPES[name].cuts[spec](data), frames, strict=True))
    for chunks in chunkings(data, two_way=40, random=4, empty=False):
        assert list(read(chunks, spec)) == expected


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_frames_in_parts_are_the_same_bytes(name: str, spec: str, count: int) -> None:
    """Join the parts of each frame: the payloads have the sizes of whole frames read without decoding."""
    data, payloads = capture(name), [b""]
    for _, part in read((data[i : i + 11] for i in range(0, len(data), 11)), spec, "next_part"):
        if part is FRAME_END:
            payloads.append(b"")
        else:
            payloads[-1] += part
    assert list(map(get_framer(spec).decode, payloads[:-1])) == frames_of(name, spec)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("erlang-packet-1", "length-prefix:size=1"),
        ("erlang-packet-4", "length-prefix"),
        ("bind9-dns", "length-prefix:size=2"),
        ("unbound-dnstap", "length-prefix:size=4"),
        ("node-exporter-protobuf", "length-prefix:format=varint"),
        ("rsyslog-octet-counted", 'length-prefix:format=decimal,terminator=" "'),
        ("redis-replies", r'delimiter:"\r\n"'),
        ("git-paths", r'delimiter:"\0"'),
        ("tar-blocks", "fixed-length:512"),
        ("nginx-until-close", "until-close"),
        ("jq-json-lines", "line"),
    ],
)
def test_encoding_the_frames_gives_the_programs_own_bytes(name: str, spec: str) -> None:
    assert wire(get_framer(spec), *frames_of(name, spec)) == capture(name)


CONTENTS: dict[str, tuple[str, Callable[[list[Any]], bool]]] = {
    "redis-replies": ("line", lambda f: f[:4] == ["+PONG", "+OK", "$13", "hello, stream"] and f[-1] == "+OK"),
    "neovim-rpc": ("msgpack", lambda f: [m[1] for m in f if m[0] == 1] == list(range(11))),
    "mosquitto-mqtt": (
        "length-prefix:format=varint,offset=1",
        lambda f: {len(m) - 13 for m in f} >= {0, 1, 125, 126, 127, 128, 1000, 16382, 20000, *range(7, 28)},
    ),
    "postgresql-backend": (
        "length-prefix:size=4,offset=1,adjust=-4",
        lambda f: [m.count(b"apple") for m in f if b"apple" in m] == list(range(1, 41)),
    ),
    "mariadb-packets": (
        "length-prefix:size=3,byteorder=little,adjust=1",
        lambda f: [m[0] for m in f[2:58]] == list(range(1, 57)) and b"no_such_column" in f[-1],
    ),
    "erlang-packet-1": ("length-prefix:size=1", lambda f: f == [bytes([n]) * n for n in range(256)]),
    "nginx-heads": (r'delimiter:"\r\n\r\n"', lambda f: [head[9:12] for head in f].count(b"200") == 2),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_frames_are_what_the_program_said(name: str) -> None:
    spec, holds = CONTENTS[name]
    assert holds(frames_of(name, spec))
