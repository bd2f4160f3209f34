"""The registry: framers by name and by spec string, wherever they come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from framestream._conditions import ReadCondition
from framestream._errors import FramestreamError, PluginError, SpecError
from framestream._grammar import Spec
from framestream._plugin import Plugin
from framestream._plugin_host import PluginHost
from framestream._spec import build_framer, parse_spec

plugins = PluginHost(
    Plugin("framestream", "", "framestream.framers", ["framestream"], lambda: _own_framers())
)
"""The one plugin host of the process."""


def _own_framers() -> Any:
    # The built-in framers register through the same hook as anybody's; nothing asks for them sooner.
    from framestream.framers import _built_in  # noqa: PLC0415

    return _built_in


def get_framer(spec: str) -> ReadCondition[Any]:
    """Return the framer that a name or a spec string describes: ``length-prefix:size=2,max=64KiB``.

    A built-in name imports no plugin, any other only the plugin that declares it. Equal strings give
    the same object: framers are values.

    Raises:
        SpecError: the string is malformed or an option is wrong; `position` says where.
        UnknownFramerError: no framer has the name; lists what is there and the nearest spelling.
        PluginError: the name belongs to a plugin that is disabled, quarantined or contested.
    """
    return _get_framer(spec, plugins.generation)


@lru_cache(maxsize=256)
def _get_framer(spec: str, generation: int) -> ReadCondition[Any]:
    try:
        return _build(parse_spec(spec))
    except SpecError as error:
        error.spec = spec
        raise


def _build(spec: Spec) -> ReadCondition[Any]:
    try:
        factory = plugins.factory(spec.name)
    except SpecError as error:
        error.position = spec.position
        raise
    framer = build_framer(factory, spec, _build)
    if not isinstance(framer, ReadCondition):
        raise PluginError(f"{spec.name!r} makes {framer!r}, which is no framer", plugin=spec.name)
    return framer


@dataclass(frozen=True)
class FramerInfo:
    """One framer that can be asked for by name.

    Attributes:
        name: what to write in a spec string.
        distribution: the distribution it comes from.
        factory: its class, or the function that makes one.
        summary: the first line of its docstring.
    """

    name: str
    distribution: str
    factory: Callable[..., ReadCondition[Any]]
    summary: str


def available_framers() -> tuple[FramerInfo, ...]:
    """Return every framer there is, by name. Imports every plugin; those in quarantine have no entry."""
    plugins.load()
    found = []
    for name in plugins.names():
        try:
            factory = plugins.factory(name)
        except FramestreamError:
            continue  # contested, or its plugin breaks when its framer is imported
        found.append(FramerInfo(name, _distribution(name), factory, _summary(factory)))
    return tuple(found)


def _distribution(name: str) -> str:
    if name in plugins.built_in.framers:
        return plugins.built_in.distribution
    return next(plugin.distribution for plugin in plugins if name in plugin.framers)


def _summary(factory: Any) -> str:
    return (inspect.getdoc(factory) or "").partition("\n")[0]
