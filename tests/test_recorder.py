"""The recorder of captures says what is missing, refuses half a capture, and leaves no process behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import record_captures
from recorder import cutters, programs
from recorder.recipe import Recipe


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


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM;"])
def test_a_program_is_gone_when_its_block_is_left(stubborn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "COURTESY", 0.1)
    with programs.running("sh", "-c", f"{stubborn} while :; do read line; done < /dev/zero") as process:
        assert process.poll() is None
    assert process.returncode is not None
    with programs.running("sh", "-c", "exit 3") as process, pytest.raises(RuntimeError, match="ended with status 3"):
        programs.connect(programs.free_port(), process)
