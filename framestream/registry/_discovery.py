"""Find the plugins that installed distributions declare, without importing any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

from framestream.registry._plugin import Plugin

GROUP = "framestream"


def installed_plugins(path: Sequence[str] | None = None) -> Iterator[Plugin]:
    """Yield a plugin for each module that entry points of the group refer to, on `path` or ``sys.path``.

    Several entry points of a distribution that refer to the same module are one plugin with several
    names. A distribution whose entry points cannot be read yields a quarantined plugin.
    """
    where: dict[str, Any] = {} if path is None else {"path": list(path)}
    seen: set[str] = set()
    # metadata.entry_points() parses every distribution there is, and one that is broken breaks it:
    # looking for the group in the text first costs a tenth, and lets each fail alone.
    for distribution in metadata.distributions(**where):
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except (OSError, UnicodeError):
            continue
        if f"[{GROUP}]" not in text:
            continue
        try:
            name = _name(distribution)
            first = next(iter(metadata.distributions(name=name, **where)), distribution)
            # Only the copy that comes first on the path can be imported, and a directory that is on the
            # path twice shows it twice.
            if name not in seen and first.read_text("entry_points.txt") == text:
                seen.add(name)
                yield from _plugins_of(first)
        except Exception as error:  # noqa: BLE001 - broken metadata of any kind belongs to one distribution
            yield _broken(distribution, error)


def _name(distribution: metadata.Distribution) -> str:
    name = distribution.metadata["Name"]
    if not name:
        raise ValueError("it has no name")
    return name


def _plugins_of(distribution: metadata.Distribution) -> Iterator[Plugin]:
    by_module: dict[str, dict[str, Callable[[], Any]]] = {}
    for point in distribution.entry_points:
        if point.group == GROUP:
            by_module.setdefault(point.value.partition(":")[0].strip(), {})[point.name] = point.load
    for module, points in by_module.items():
        yield Plugin(_name(distribution), distribution.version, module, points)


def _broken(distribution: metadata.Distribution, error: Exception) -> Plugin:
    where = str(getattr(distribution, "_path", "a distribution"))
    plugin = Plugin(where, "", "entry_points.txt", {where: lambda: None})
    plugin.quarantine(f"its metadata cannot be read: {type(error).__name__}: {error}", error)
    return plugin
