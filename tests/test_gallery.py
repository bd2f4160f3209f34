"""The gallery has every framer of the plugins in this repository, and what each was proven against."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import gallery

from framestream import available_framers, plugins


def test_the_page_has_every_framer() -> None:
    page = gallery.PAGE.read_text()
    before = [plugin.title for plugin in plugins]
    with gallery.repository_plugins():
        seen = [plugin.distribution for plugin in plugins]
        ours = [info.name for info in available_framers() if info.distribution != gallery.OURS]
    assert [f"framestream-{folder.name}" for folder in gallery.framer_folders()] == seen
    assert [name for name in ours if f"\n## {name}\n" not in page] == [], "run: python docs/gallery.py"
    assert before == [plugin.title for plugin in plugins]


def test_the_table_of_peers_names_programs() -> None:
    proven = gallery.peers()
    assert all(proven[name] for name in ("netstring", "resp", "json-lines"))
