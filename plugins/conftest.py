"""Lets the tests of several plugins run in one call; each of them can run alone without this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_peer: talks to a real program; runs only with FRAMESTREAM_REAL_PEERS=1"
    )
