"""Every built-in framer keeps every promise of the contract, tested as a stranger's would be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from framer_examples import SAMPLES

from framestream.framers import BUILT_IN
from framestream.testing import Check, check_framer, conformance_checks

MAY_BE_UNTRIED = {
    "settled": "framers that know a frame's extent from its header",
    "round-trip": "conditions that only read, and options with which nothing can be written",
    "spec-string": "a function as an option has no spelling",
    "malformed": "framings in which every sequence of bytes is valid",
    "incomplete": "framings in which every stream may end anywhere",
    "resume": "frames of fixed size",
    "linear-cost": "frames of fixed size",
    "many-frames": "frames that end only with the stream",
}


def checks() -> Iterator[object]:
    for name, sample in SAMPLES.items():
        for check in conformance_checks(sample.framer, **sample.material):
            yield pytest.param(check, "pieces" in sample.material, id=f"{name}-{check.name}")


@pytest.mark.parametrize(("check", "pieces"), list(checks()))
def test_built_in_keeps_its_promise(check: Check, pieces: bool) -> None:
    reason = check.run()
    if reason is not None and not pieces:
        assert check.name in MAY_BE_UNTRIED, reason


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_has_a_sample(name: str) -> None:
    assert any(sample.framer.name == name for sample in SAMPLES.values())


def test_report_counts_what_was_kept_and_names_what_was_not_tried() -> None:
    sample = SAMPLES["fixed-length"]
    report = check_framer(sample.framer, **sample.material)
    assert "chunking" in report.kept
    assert "no malformed bytes were given" in str(report)
    assert str(report).startswith(f"{sample.framer}: {len(report.kept)} checks passed")
