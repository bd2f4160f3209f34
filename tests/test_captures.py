"""What real programs sent is cut rightly, however it arrives; and their recorder leaves nothing half done.

The reference is `examples/recorder/cutters.py`, which works on complete captures, naively, and shares no
code with framestream.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cutting import wire

from framestream import FrameDecoder, iter_frames
from framestream.iterate import placed_frames
from framestream.registry import get_framer
from framestream.testing import chunkings

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import record_captures  # noqa: E402 - it lives beside the captures, in no package
from recorder import cutters  # noqa: E402
from recorder.recipe import RECIPES, Recipe  # noqa: E402

INDEX = json.loads((EXAMPLES / "captures" / "index.json").read_text())
CUTS = [(entry["name"], cut["spec"], cut["frames"]) for entry in INDEX for cut in entry["cuts"]]


def capture(name: str) -> bytes:
    return (EXAMPLES / "captures" / f"{name}.bin").read_bytes()


def frames_of(name: str, spec: str) -> list[Any]:
    return list(iter_frames(capture(name), get_framer(spec)))


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
    places = list(pairwise([0, *RECIPES[name].cuts[spec](data)]))
    for chunks in chunkings(data, two_way=40, random=4, empty=False):
        placed = list(placed_frames(FrameDecoder(), get_framer(spec), chunks))
        assert placed == list(zip(places, frames, strict=True))


@pytest.mark.parametrize(("name", "spec"), [
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
])  # fmt: skip
def test_encoding_the_frames_gives_the_programs_own_bytes(name: str, spec: str) -> None:
    assert wire(get_framer(spec), *frames_of(name, spec)) == capture(name)


# The recorder


def recipe(program: str, data: bytes = b"", *, cut: cutters.Cutter = cutters.whole) -> Recipe:
    return Recipe("sample", program, "sample-package", {"line": cut}, lambda _folder: data)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record_captures.record_all([recipe("no-such-program")], tmp_path) == 1
    expected = "sample: no-such-program is not installed; try: apt-get install sample-package\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def test_a_capture_is_written_with_its_index_entry_and_half_a_frame_is_not(tmp_path: Path) -> None:
    lines = recipe("sh", b"one\ntwo\n", cut=cutters.delimited(b"\n"))
    assert record_captures.record_all([lines], tmp_path) == 0
    assert (tmp_path / "sample.bin").read_bytes() == b"one\ntwo\n"
    assert record_captures.read_index(tmp_path)["sample"]["cuts"] == [{"spec": "line", "frames": 2}]
    half = recipe("sh", b"one\ntw", cut=cutters.delimited(b"\n"))
    assert record_captures.record_all([half], tmp_path) == 1
    assert (tmp_path / "sample.bin").read_bytes() == b"one\ntwo\n"
