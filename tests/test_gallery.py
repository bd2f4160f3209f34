"""The gallery shows what the plugins are now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from framestream import plugins

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import gallery  # noqa: E402 - it lives beside the pages, in no package


def test_the_gallery_is_up_to_date_but_for_its_timings() -> None:
    committed = gallery.without_timings(gallery.PAGE.read_text())
    assert committed == gallery.without_timings(gallery.generated(rounds=1)), "run: python docs/gallery.py"


def test_timings_are_all_that_may_differ() -> None:
    line = "| 2.2 x, 13.5 x | nginx 1.22.1 | CPython 3.11.7 takes |"
    assert gallery.without_timings(line) == "| ,  | nginx 1.22.1 |  takes |"


def test_the_plugins_of_the_repository_are_seen_and_forgotten_again() -> None:
    before = [plugin.title for plugin in plugins]
    with gallery.repository_plugins():
        seen = [plugin.distribution for plugin in plugins]
    assert [f"framestream-{folder.name}" for folder in gallery.framer_folders()] == seen
    assert before == [plugin.title for plugin in plugins]


@pytest.mark.parametrize("name", ["netstring", "resp", "json-lines"])
def test_every_framing_in_the_table_of_peers_has_its_program(name: str) -> None:
    assert gallery.peers()[name]
