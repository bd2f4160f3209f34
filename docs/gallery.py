#!/usr/bin/env python3
"""Write docs/gallery.md from the plugins in this repository: what they cut, how fast, proven against what.

Everything comes from somewhere: names from the entry points in each pyproject.toml, summaries and options
and programs from the classes, drawings from cutting the examples that the classes carry, levels from
holding the framers to the contract, speed from measuring it here and now. Run this after changing a plugin;
a test tells when one is missing.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from framestream import FramingError, available_framers, get_framer, plugins
from framestream.cli.framers import HIGHEST, Outcome, badge, draw, examples_of, trial
from framestream.registry import FramerInfo
from framestream.registry.options import options_of
from framestream.testing import SpeedReport, compare_speed

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
BADGES = ROOT / "docs" / "badges"
OURS = "framestream"

HEAD = """\
# Gallery

Every framer of the plugins in this repository, and what it was proven against. `python docs/gallery.py`
writes this page. [Yours](publish-a-plugin.md) can look like this too: `framestream framers NAME` draws the
`examples` of any framer's class.

[Levels](publish-a-plugin.md#levels) are from 1, which keeps the contract, to 4. Most framings have no mark
by which a frame could be found in the middle of a stream: 3 is the highest level they can have.

Speed is CPU time per frame beside `length-prefix` on frames of the same sizes, as {interpreter} takes it on
a shared machine: one frame at a time, and by batch. Trust the ratios. The frames are those of the drawings:
most are tiny, which is when framing costs most beside everything else, and some are rare, such as the last
chunk of a body with its trailers.
"""


@contextmanager
def repository_plugins() -> Iterator[None]:
    """Let the host see the plugins of this repository and no others, installed or not."""
    folders = [str(folder) for folder in framer_folders()]
    with tempfile.TemporaryDirectory() as site:
        for folder in folders:
            _install(Path(folder), Path(site))
        sys.path[:0] = folders
        try:
            plugins.rescan([site])
            yield
        finally:
            del sys.path[: len(folders)]
            plugins.rescan()


def framer_folders() -> list[Path]:
    """Return the folders of the plugins that bring framers; not all do."""
    folders = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return [folder for folder in folders if OURS in _project(folder).get("entry-points", {})]


def _project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def _install(folder: Path, site: Path) -> None:
    """Leave the metadata that pip leaves."""
    project = _project(folder)
    name, version = project["name"], project["version"]
    points = [f"{key} = {value}\n" for key, value in project["entry-points"][OURS].items()]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{OURS}]\n{''.join(points)}")


def _measured(info: FramerInfo) -> SpeedReport | None:
    """Return how fast a framer is on its first example, if it has one that can be repeated."""
    for spec, stream in examples_of(info.name, info.factory)[:1]:
        with suppress(ValueError, FramingError):
            return compare_speed(get_framer(spec), stream)
    return None


def generated() -> str:
    """Return the page."""
    with repository_plugins():
        ours = [info for info in available_framers() if info.distribution != OURS]
        speeds = {info.name: _measured(info) for info in ours}
        levels = {info.name: _level(info) for info in ours}
        interpreters = {speed.interpreter for speed in speeds.values() if speed}
        head = HEAD.format(interpreter=", ".join(interpreters))
        rows = ["| framer | cuts | level | speed | proven against |", "|---|---|---:|---:|---|"]
        rows += [_row(info, levels[info.name], speeds[info.name]) for info in ours]
        sections = [_section(info, levels[info.name], speeds[info.name]) for info in ours]
    return "\n".join([head, *rows, "", *sections])


def _level(info: FramerInfo) -> int:
    outcome = trial(info.name, info.factory, info.distribution)
    assert isinstance(outcome, Outcome), f"{info.name} needs {outcome}"
    return outcome.level


def _peers(info: FramerInfo) -> str:
    return ", ".join(getattr(info.factory, "peers", ()))


def _row(info: FramerInfo, level: int, speed: SpeedReport | None) -> str:
    link = f"[`{info.name}`](#{info.name})"
    return f"| {link} | {_escaped(info.summary)} | {level} | {_ratios(speed)} | {_peers(info)} |"


def _ratios(speed: SpeedReport | None) -> str:
    return "" if speed is None else "{:.1f} x, {:.1f} x".format(*speed.ratios)


def _section(info: FramerInfo, level: int, speed: SpeedReport | None) -> str:
    lines = [f"## {info.name}", "", f"{_escaped(info.summary)} From `{info.distribution}`.", ""]
    lines += [f"![Level {level} of {HIGHEST}]({BADGES.name}/level-{level}.svg)", ""]
    for spec, stream in examples_of(info.name, info.factory):
        lines += ["```text", spec, draw(get_framer(spec), stream), "```", ""]
    options = options_of(info.factory)
    if options:
        lines += ["| option | takes | default | meaning |", "|---|---|---|---|"]
        for option in options:
            default = "required" if option.required else f"`{option.default_text}`" if option.default_text else ""
            lines.append(f"| `{option.key}` | {option.takes} | {default} | {_escaped(option.help)} |")
        lines.append("")
    keys = [option.key for option in options]
    limit = "`max`, else the decoder's" if "max" in keys else _own_limit(info.factory)
    lines += [f"- Limit: {limit}"]
    lines += [] if speed is None else [f"- Speed: {_ratios(speed)} `length-prefix`"]
    lines += [f"- Proven against: {_peers(info)}"] if _peers(info) else []
    return "\n".join([*lines, ""])


def _own_limit(factory: Any) -> str:
    size = getattr(factory, "max_size", None)
    return "the decoder's" if size is None else f"{size} bytes"


def _escaped(text: str) -> str:
    """Return text of a docstring as it is written in a table of Markdown."""
    return text.replace("``", "`").replace("|", "\\|")


def main() -> None:
    """Write the page, and a badge for each level."""
    for level in range(HIGHEST + 1):
        (BADGES / f"level-{level}.svg").write_text(badge(level))
    PAGE.write_text(generated())
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
