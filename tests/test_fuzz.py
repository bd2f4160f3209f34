"""Whatever bytes come, however they are cut: only framing errors, and one answer.

The loop that this file runs for a moment runs for any time as ``python -m framestream.testing.fuzz``.
"""

from __future__ import annotations

from typing import Any

import faulty_framers as faulty
import pytest
from framer_examples import SAMPLES, Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import FrameDecoder, Framer, FramestreamError, get_framer
from framestream.testing import ConformanceError, chunkings, fuzz_framer, transcript
from framestream.testing._comparing import difference
from framestream.testing.fuzz import BUILT_IN_SPECS, main

# `available` reads whatever has arrived: its answers depend on the chunks, and that is its purpose.
CHUNK_INDEPENDENT = {name: sample for name, sample in SAMPLES.items() if "pieces" not in sample.material}


@st.composite
def streams(draw: st.DrawFn, sample: Sample) -> list[bytes]:
    """Bytes of the sample's own alphabet, in chunks."""
    pieces = [bytes(wire[at : at + 3]) for wire in sample.material["examples"] for at in range(len(wire))]
    piece = st.sampled_from(pieces or [b"\0"]) | st.binary(max_size=4)
    return draw(st.lists(st.lists(piece, max_size=6).map(b"".join), max_size=8))


@pytest.mark.parametrize("name", CHUNK_INDEPENDENT)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_chunking_of_any_bytes_gives_the_transcript_of_the_whole(name: str, data: st.DataObject) -> None:
    sample = CHUNK_INDEPENDENT[name]
    chunks = data.draw(streams(sample))
    by: Any = data.draw(st.sampled_from(["frame", "batch", "part"]))
    limit = data.draw(st.none() | st.integers(0, 20))
    policy: Any = data.draw(st.sampled_from(["raise", "discard", "truncate", "close"]))
    whole = transcript(sample.framer, [b"".join(chunks)], by=by, max_size=limit, on_oversize=policy)
    assert (
        difference(whole, transcript(sample.framer, chunks, by=by, max_size=limit, on_oversize=policy))
        is None
    )


FRAMES = {
    "delimiter-pair": st.binary(max_size=40),
    "line": st.text(max_size=40),
    "length-prefix": st.binary(max_size=300),
    "varint": st.binary(max_size=300),
    "netstring-like": st.binary(max_size=40),
    "msgpack": st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
        lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
        max_leaves=12,
    ),
}


@pytest.mark.parametrize("name", FRAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back_or_refused(name: str, data: st.DataObject) -> None:
    framer = SAMPLES[name].framer
    assert isinstance(framer, Framer)
    written, wire = [], []
    for frame in data.draw(st.lists(FRAMES[name], max_size=5)):
        try:
            encoded = framer.encode(frame)
        except FramestreamError:
            continue
        written.append(frame)
        wire.append(encoded if isinstance(encoded, bytes) else b"".join(encoded))
    decoder = FrameDecoder()
    decoder.receive_data(b"".join(wire))
    read = decoder.next_batch(framer)
    assert (read if isinstance(read, list) else []) == written
    assert decoder.leftover == b""


@pytest.mark.parametrize("spec", BUILT_IN_SPECS)
def test_fuzzing_a_built_in_finds_nothing(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([spec, "--iterations", "150"]) == 0
    assert f"{get_framer(spec)}: 150 streams" in capsys.readouterr().out


def test_fuzzing_finds_a_framer_that_depends_on_chunks_and_shows_little() -> None:
    with pytest.raises(ConformanceError, match=r"disagree \(seed 3, stream \d+\)") as caught:
        fuzz_framer(faulty.ChunkDependent(), [b"one\r\ntwo\r\nthree and four\r\n"], seed=3)
    assert caught.value.check == "fuzz"
    assert caught.value.chunks is not None
    assert len(caught.value.chunks) == 2
    assert b"".join(caught.value.chunks) == b"\r\n"


def test_fuzzing_finds_a_framer_that_raises_anything_else() -> None:
    with pytest.raises(ConformanceError, match=r"find raise[sd] IndexError") as caught:
        fuzz_framer(faulty.IndexErrorWhenShort(), [b"\1\1ab"])
    assert len(caught.value.data or b"") <= 1


def test_fuzzing_stops_when_the_time_is_over() -> None:
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.0).iterations == 0
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.01).iterations % 64 == 0
    assert str(fuzz_framer(faulty.Lines(), [b"a\r\n"], iterations=0)) == (
        "Lines(): 0 streams (0 per second), 0 frames, no errors"
    )


def test_the_same_seed_tries_the_same_streams() -> None:
    reports = [fuzz_framer(faulty.Lines(), [b"a\r\nb"], iterations=200, seed=seed) for seed in (1, 1, 2)]
    assert reports[0].errors == reports[1].errors != reports[2].errors


def test_fuzz_command_reports_what_it_finds(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-framer"]) == 2
    assert "no framer named 'no-such-framer'" in capsys.readouterr().err
    seeds = tmp_path / "stream"
    seeds.write_bytes(b"12345")
    assert main(["available:2", "--iterations", "500", "--seeds", str(seeds)]) == 1
    assert "two readings of the same bytes disagree" in capsys.readouterr().out
    assert main(["line", "--seconds", "0", "--seed", "5"]) == 0


def test_chunks_are_described_by_their_sizes() -> None:
    described = [
        str(ConformanceError("", chunks=chunks)) for chunks in ([b"ab"], [b"a", b"b"], [b"a", b"bcd"])
    ]
    assert [text.rpartition("chunks:   ")[2] for text in described] == [
        "all in one chunk",
        "one byte at a time",
        "2 chunks of 1 + 3 bytes",
    ]


def test_chunkings_join_to_the_data_and_start_with_the_whole() -> None:
    for size in (0, 1, 2, 5, 200):
        data = bytes(range(size))
        ways = list(chunkings(data))
        assert ways[0] == [data]
        assert all(b"".join(chunks) == data for chunks in ways)
    assert [b"ab", b"c"] in list(chunkings(b"abc"))
    assert [b"a", b"b", b"c"] in list(chunkings(b"abc"))
    assert any(b"" in chunks for chunks in chunkings(b"abc"))


def test_two_way_cuts_of_long_data_are_a_selection_with_both_ends() -> None:
    cuts = [len(chunks[0]) for chunks in chunkings(bytes(5000), random=0, empty=False) if len(chunks) == 2]
    assert len(cuts) <= 64
    assert {1, 2, 4998, 4999} <= set(cuts)
