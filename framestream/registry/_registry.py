"""The registry: framers by name and by spec string, wherever they come from."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from framestream.errors import FramestreamError, PluginError, SpecError
from framestream.framer import ReadCondition
from framestream.registry._named_framers import NamedFramer
from framestream.registry._plugin import Factory, Plugin
from framestream.registry._plugin_host import PluginHost
from framestream.registry._spec import NESTED_OPTIONS, Spec, build_framer, parse_spec


def _own_framers() -> Any:
    # The built-in framers register through the same hook as anybody's; nothing asks for them sooner.
    from framestream.registry import _built_in  # noqa: PLC0415

    return _built_in


plugins = PluginHost(Plugin("framestream", "", "framestream.framers", {"framestream": _own_framers}))
"""The one plugin host of the process."""


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
        if spec.position:
            error.args = (f"{error}; {NESTED_OPTIONS}",)
        raise
    if isinstance(factory, NamedFramer):
        return _build_named(factory, spec)
    framer = build_framer(factory, spec, _build)
    if not isinstance(framer, ReadCondition):
        raise PluginError(f"{spec.name!r} makes {framer!r}, which is no framer", plugin=spec.name)
    return framer


def _build_named(named: NamedFramer, spec: Spec) -> ReadCondition[Any]:
    asked = named.with_options(spec)
    try:
        return _build(asked)
    except SpecError as error:
        reason = f"{named.name} = {named.text!r} in {named.source}: {error}"
        raise SpecError(reason, position=spec.position) from error


@dataclass(frozen=True)
class FramerInfo:
    """One framer that can be asked for by name.

    Attributes:
        name: what to write in a spec string.
        distribution: the distribution it comes from.
        factory: its class, the function that makes one, or a `NamedFramer` of the configuration.
        summary: the first line of its docstring, or the spec string that a name stands for.
    """

    name: str
    distribution: str
    factory: Factory | NamedFramer
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
        found.append(FramerInfo(name, _origin(name, factory), factory, _summary(factory)))
    return tuple(found)


def _origin(name: str, factory: Factory | NamedFramer) -> str:
    if isinstance(factory, NamedFramer):
        return factory.source
    if name in plugins.built_in.framers:
        return plugins.built_in.distribution
    return next(plugin.distribution for plugin in plugins if plugin.framers.get(name) is factory)


def _summary(factory: Factory | NamedFramer) -> str:
    if isinstance(factory, NamedFramer):
        return factory.text
    return (inspect.getdoc(factory) or "").partition("\n")[0]
