"""Lets the tests of several plugins run in one call; each of them can run alone without this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# A suite that passed once passes again: to look for more, add --hypothesis-profile=explore.
settings.register_profile("explore", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.register_profile("tests", settings.get_profile("explore"), derandomize=True)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_peer: talks to a real program; runs only with FRAMESTREAM_REAL_PEERS=1")
