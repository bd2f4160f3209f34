"""The public names: all there, and listed."""

from __future__ import annotations

import pytest

import framestream


def test_every_public_name_is_there_and_shown_by_dir() -> None:
    assert [name for name in framestream.__all__ if not hasattr(framestream, name)] == []
    assert set(framestream.__all__) <= set(dir(framestream))


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match="'framestream' has no attribute 'Lines'"):
        framestream.Lines  # type: ignore[attr-defined]  # noqa: B018
