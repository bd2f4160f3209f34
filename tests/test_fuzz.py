"""Fuzzing finds what depends on chunks, shows little of it, and finds nothing in the built-in framers."""

from __future__ import annotations

from itertools import count
from typing import Any

import faulty_framers as faulty
import pytest
from framer_examples import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import FramingError, Window, get_framer, iter_frames
from framestream.testing import ConformanceError, chunkings, fuzz_framer
from framestream.testing.fuzz import BUILT_IN_SPECS, main
from framestream.testing.strategies import wire_streams

FRAMES = {
    "line": st.text(max_size=40),
    "varint": st.binary(max_size=300),
    "netstring-like": st.binary(max_size=40),
    "msgpack": st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
        lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
        max_leaves=12,
    ),
}


@pytest.mark.parametrize("name", FRAMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back_or_refused(name: str, data: st.DataObject) -> None:
    framer: Any = SAMPLES[name].framer
    stream = data.draw(wire_streams(framer, FRAMES[name], max_frames=5))
    assert list(iter_frames(stream.chunks, framer)) == stream.frames


def test_fuzzing_the_built_in_framers_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--iterations", str(6 * len(BUILT_IN_SPECS))]) == 0
    told = capsys.readouterr().out.splitlines()
    for spec, line in zip(BUILT_IN_SPECS, told, strict=False):  # those that are installed come after them
        assert line.startswith(f"{get_framer(spec)}: 6 streams (")


class Moody(faulty.Lines):
    """Refuses now and then, whatever it is shown."""

    questions = count()

    def find(self, window: Window) -> Any:
        if next(self.questions) % 53 == 50:
            raise FramingError("not today")
        return super().find(window)


@pytest.mark.parametrize(
    ("framer", "defect", "longest"),
    [
        (faulty.ChunkDependent(), "two readings of the same bytes disagree", 6),
        (faulty.IndexErrorWhenShort(), "the decoder refuses it: IndexErrorWhenShort(): ", 6),
        (Moody(), "the same bytes are read otherwise when they come again", 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fuzzing_finds_a_defect_and_shows_little(framer: Any, defect: str, longest: int) -> None:
    with pytest.raises(ConformanceError) as caught:
        fuzz_framer(framer, [b"one\r\ntwo\r\nthree and four\r\n"], seed=3)
    assert caught.value.defect.startswith(defect)
    assert caught.value.defect.endswith("(seed 3)")
    assert len(caught.value.data or b"") <= longest


def test_fuzzing_stops_when_the_time_is_over() -> None:
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.0).iterations == 0
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.001).iterations == 100
    assert str(fuzz_framer(faulty.Lines(), [b"a\r\n"], iterations=1)).startswith("Lines(): 1 stream (")
    assert str(fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0)).startswith("Lines(): 0 streams (0 per second), 0 fr")


def test_the_same_seed_tries_the_same_streams() -> None:
    reports = [fuzz_framer(faulty.Lines(), [b"a\r\nb"], iterations=60, seed=seed) for seed in (1, 1, 2)]
    assert reports[0].errors == reports[1].errors != reports[2].errors


def test_the_command_reports_what_it_finds(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-framer"]) == 2
    assert "no framer named 'no-such-framer'" in capsys.readouterr().err
    seeds = tmp_path / "stream"
    seeds.write_bytes(b"12345")
    assert main(["available:2", "--iterations", "500", "--seeds", str(seeds)]) == 1
    assert "two readings of the same bytes disagree" in capsys.readouterr().out
    assert main(["line", "--seconds", "0", "--seed", "5"]) == 0
    assert main(["exactly:0", "--iterations", "30"]) == 0


def test_chunkings_join_to_the_data_and_of_long_data_only_some_are_cut_in_two() -> None:
    for size in (0, 1, 2, 5, 200):
        data = bytes(range(size))
        ways = list(chunkings(data))
        assert ways[0] == [data]
        assert all(b"".join(chunks) == data for chunks in ways)
    ways = list(chunkings(b"abc"))
    assert [b"ab", b"c"] in ways
    assert [b"a", b"b", b"c"] in ways
    assert any(b"" in chunks for chunks in ways)
    cuts = [len(chunks[0]) for chunks in chunkings(bytes(5000), random=0, empty=False) if len(chunks) == 2]
    assert len(cuts) <= 64
    assert {1, 2, 4998, 4999} <= set(cuts)


def test_chunks_are_described_by_their_sizes() -> None:
    ways = {"all in one chunk": [b"ab"], "one byte at a time": [b"a", b"b"], "2 chunks of 1 + 3 bytes": [b"a", b"bcd"]}
    for text, chunks in ways.items():
        assert str(ConformanceError("", chunks=chunks)).endswith(f"chunks:   {text}")
