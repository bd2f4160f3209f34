"""Strategies draw what they say; fuzzing finds what depends on chunks, and nothing in the built-in framers."""

from __future__ import annotations

from itertools import count
from typing import Any

import faulty_framers as faulty
import pytest
from framer_examples import SAMPLES
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck

from framestream import EncodeError, Framer, FramingError, LengthPrefix, Regex, Window, iter_frames
from framestream.testing import ConformanceError, FuzzReport, fuzz_framer
from framestream.testing.fuzz import WireStream, chunkings, main, wire_streams
from framestream.testing.suite import Suite

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


@given(chunkings(st.sampled_from([b"one", b"two"])))
def test_chunks_join_to_the_bytes(chunks: list[bytes]) -> None:
    assert b"".join(chunks) in (b"one", b"two")


def test_the_simplest_chunking_is_the_whole_and_empty_chunks_and_single_bytes_are_drawn() -> None:
    assert find(chunkings(b"abc"), lambda _: True) == [b"abc"]
    assert find(chunkings(b"abc"), lambda chunks: b"" in chunks)
    assert find(chunkings(b"abc"), lambda chunks: [b"a", b"b", b"c"] == chunks)


class AtLeast(LengthPrefix):
    """Carries few frames, or none."""

    def encode(self, frame: bytes) -> list[bytes]:
        if len(frame) < self.size:
            raise EncodeError("too short")
        return super().encode(frame)


@given(wire_streams(AtLeast(2), st.binary(max_size=3)))
def test_frames_that_are_refused_are_left_out(stream: WireStream) -> None:
    assert list(iter_frames(stream.chunks, LengthPrefix(2))) == stream.frames
    assert all(len(frame) > 1 for frame in stream.frames)


@pytest.mark.parametrize("framer", [AtLeast(4), Regex(b";")], ids=repr)
def test_a_framer_that_refuses_every_frame_leaves_nothing_to_test(framer: Framer[bytes]) -> None:
    @given(wire_streams(framer, st.binary(max_size=3), max_frames=3))
    def test_nothing(stream: WireStream) -> None:
        raise AssertionError(stream)

    with pytest.raises(FailedHealthCheck, match="filtering out a lot"):
        test_nothing()


# Fuzzing


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if "chunk_dependent" not in sample.material])
def test_fuzzing_the_built_in_framers_finds_nothing(name: str) -> None:
    framer, material = SAMPLES[name]
    assert fuzz_framer(framer, Suite(framer, **material).seeds, iterations=6).iterations == 6


DISAGREE = "two readings of the same bytes disagree"


class Moody(faulty.Lines):
    """Refuses now and then, whatever it is shown."""

    questions = count()

    def find(self, window: Window) -> Any:
        if next(self.questions) % 53 == 50:
            raise FramingError("not today")
        return super().find(window)


@pytest.mark.parametrize(("framer", "defect", "longest"), [
    (faulty.ChunkDependent(), f"{DISAGREE}: as a whole, and ", 6),
    (faulty.IndexErrorWhenShort(), "the decoder refuses it: IndexErrorWhenShort(): ", 6),
    (Moody(), "the same bytes are read otherwise when they come again", 0),
    (
        faulty.start(faulty.starts_at_any_line_feed),
        f"{DISAGREE}: as a whole, and divided, and each split read alone",
        100,
    ),
    (faulty.start(lambda _, window: window.start - 1), "divided and stitched, an archive raises FramerContract", 6),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_fuzzing_finds_a_defect_and_shows_little(framer: Any, defect: str, longest: int) -> None:
    with pytest.raises(ConformanceError) as caught:
        fuzz_framer(framer, [b"one\r\ntwo\r\n\r\nmore\n or\r less\r\n"], seed=3)
    assert caught.value.defect.startswith(defect)
    assert caught.value.defect.endswith("(seed 3)")
    assert len(caught.value.data or b"") <= longest


def test_fuzzing_stops_when_the_time_is_over() -> None:
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.0).iterations == 0
    assert fuzz_framer(faulty.Lines(), [b"a\r\n"], seconds=0.001).iterations == 100
    assert str(fuzz_framer(faulty.Lines(), [b"a\r\n"], iterations=1)).startswith("Lines(): 1 stream (")
    assert str(FuzzReport("Lines()")) == "Lines(): 0 streams (0 per second): nothing"


@pytest.mark.parametrize(("arguments", "error", "told"), [
    ({"seeds": []}, ValueError, "seeds is empty; there must be a stream to start from"),
    ({"seeds": b"ab"}, TypeError, "seeds: 97 is not bytes"),
    ({"seeds": ["ab"]}, TypeError, "seeds: 'ab' is not bytes"),
    ({"iterations": 0}, ValueError, "iterations is 0; it must be a whole number, 1 or more"),
    ({"iterations": 1.5}, ValueError, "iterations is 1.5; it must be a whole number"),
    ({"seconds": -1}, ValueError, "seconds is -1; it must be a number of seconds, 0 or more"),
    ({"seconds": float("nan")}, ValueError, "seconds is nan; it must be a number of seconds"),
])  # fmt: skip
def test_fuzzing_with_nothing_to_try_is_refused(arguments: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        fuzz_framer(faulty.Lines(), **{"seeds": [b"one\r\n"], **arguments})


def test_the_same_seed_tries_the_same_streams() -> None:
    reports = [fuzz_framer(faulty.Lines(), [b"a\r\nb"], iterations=60, seed=seed) for seed in (1, 1, 2)]
    assert reports[0].seen == reports[1].seen != reports[2].seen


def test_the_command_reports_what_it_finds(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (["no-such-framer"], "no framer named 'no-such-framer'"),
        (["line", "--iterations", "0"], "--iterations is 0; it must be a whole number, 1 or more"),
        (["line", "--seconds", "-1"], "--seconds is -1.0; it must be a number of seconds, 0 or more"),
        (["line", "--seeds", str(tmp_path / "none")], "No such file or directory"),
    ):
        assert main(arguments) == 2
        assert told in capsys.readouterr().err
    seeds = tmp_path / "stream"
    seeds.write_bytes(b"12345")
    assert main(["available:2", "--iterations", "500", "--seeds", str(seeds)]) == 1
    assert "two readings of the same bytes disagree" in capsys.readouterr().out
    seeds.write_bytes(bytes(5000))
    assert main(["fixed-length:4000", "--iterations", "30", "--seeds", str(seeds)]) == 0
    assert " frame" in capsys.readouterr().out  # no other stream is as long
    assert main(["line", "--seconds", "0", "--seed", "5"]) == 0
    assert main(["exactly:0", "--iterations", "30"]) == 0
