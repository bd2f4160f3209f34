"""Real distributions, made in a directory: a module each, and the metadata that pip would have written."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from framestream import plugins

HEALTHY = """
from dataclasses import dataclass
from framestream import NeedMore, ReadCondition, hookimpl

@dataclass(frozen=True)
class Upto(ReadCondition[bytes]):
    '''Read up to a semicolon.'''

    name = "{name}"
    keep: bool = False

    def find(self, window):
        end = window.data.find(b";", window.resume)
        if end < 0:
            return NeedMore(resume=len(window.data))
        return window.start, end, end + 1

@hookimpl
def framestream_register_framers(register):
    register("{name}", Upto)
"""


def healthy(name: str) -> str:
    """Return the source of a plugin that registers one framer under this name."""
    return HEALTHY.replace("{name}", name)


class Site:
    """A directory of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, source: str, *names: str, version: str = "1.0", target: str = "") -> str:
        """Install a distribution whose entry points of these names refer to its one module; return that."""
        module = distribution.replace("-", "_")
        (self.path / f"{module}.py").write_text(source)
        points = dict.fromkeys(names, target or module)
        self.write_metadata(distribution, version, points)
        self.scan()
        return module

    def scan(self) -> None:
        """Let the host look at this directory, and at nothing else."""
        plugins.rescan([str(self.path)])

    def write_metadata(self, distribution: str, version: str, points: Mapping[str, str]) -> Path:
        """Write what pip writes: a directory with the name, the version and the entry points."""
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text(
            "\n".join(["[console_scripts]", "tool = tool:main", "[framestream]", *lines, ""])
        )
        return info


@contextmanager
def site(path: Path) -> Iterator[Site]:
    """Put a directory on the path, and forget the modules imported from it afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(path))
    try:
        yield Site(path)
    finally:
        sys.path.remove(str(path))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(path)):
                del sys.modules[name]


@contextmanager
def with_proxy(path: Path) -> Iterator[None]:
    """Have framestream-proxy of this repository as if it were installed, and no other plugin."""
    folder = str(Path(__file__).parents[1] / "plugins" / "proxy")
    sys.path.insert(0, folder)
    try:
        with site(path) as place, plugins.isolated():
            place.write_metadata("framestream-proxy", "0.1.0", {"proxy": "framestream_proxy:Proxy"})
            place.scan()
            yield
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "framestream_proxy"]:
            del sys.modules[name]
