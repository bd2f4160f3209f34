"""Framers by name and by spec string, from any source: built in, of plugins, or named by the user."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from framestream.errors import FramestreamError, PluginError, SpecError, blame, printable
from framestream.framer import ReadCondition, is_condition, meant_by
from framestream.framers import BUILT_IN
from framestream.registry.manager import NamedFramer, PluginManager

if TYPE_CHECKING:
    from framestream.registry.plugin import Factory, Plugin


plugins = PluginManager()
"""The one plugin manager of the process."""


def get_framer(spec: str) -> ReadCondition[Any]:
    """Return the framer that a name or a spec string describes: ``length-prefix:size=2,max=64KiB``.

    A built-in name imports no plugin, any other only the plugin that declares it. Equal strings give
    the same object: framers are values.

    Raises:
        SpecError: the string is malformed or an option is wrong; `position` says where.
        UnknownFramerError: no framer has the name; lists the names and the nearest spelling.
        PluginError: the name belongs to a plugin that is disabled or failed, two plugins claim it, or its
            factory raises anything but the ValueError or TypeError of a wrong option.
        TypeError: `spec` is no text, but perhaps a framer already.
    """
    if not isinstance(spec, str):
        hint = "; it is a framer already" if is_condition(spec) else meant_by(spec) if isinstance(spec, type) else ""
        raise TypeError(f"spec is {spec!r}; it must be a name or a spec string{hint}")
    return _get_framer(spec, plugins.generation)


@lru_cache(maxsize=256)
def _get_framer(spec: str, generation: int) -> ReadCondition[Any]:
    if spec in BUILT_IN:
        # What reads spec strings takes longer to import than a framer that is named alone.
        with suppress(TypeError, ValueError):  # it needs options
            factory: Any = plugins.find(spec)[0]
            return factory()  # type: ignore[no-any-return]  # what is built in makes framers
    from framestream.registry.specs import make_framer, parse_spec  # noqa: PLC0415

    try:
        return make_framer(parse_spec(spec), plugins)
    except RecursionError:
        raise SpecError("it is nested too deeply", spec=spec) from None
    except SpecError as error:
        error.spec = spec
        raise


class FramerInfo(NamedTuple):
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
    """Return every framer, by name. Imports every plugin; those that fail have no entry.

    A plugin that does not finish importing within the load limit has failed. A framer whose name alone gives
    another one, or none because two plugins claim it, is there as ``distribution/name``. A name of the
    configuration has an entry even if it makes no framer; its summary says why.
    """
    plugins.load()
    found: dict[tuple[Plugin | None, str], FramerInfo] = {}

    def add(name: str) -> None:
        with suppress(PluginError):  # it is claimed, or its plugin is no longer in use
            factory, plugin = plugins.find(name)
            found[plugin, name.rpartition("/")[2]] = _described(name, factory, plugin)

    for name in plugins.names():
        add(name)
    for plugin in plugins:
        for name in plugin.framers:
            if (plugin, name) not in found:  # with its distribution, each name is looked for among all plugins
                add(f"{plugin.distribution}/{name}")
    return tuple(sorted(found.values(), key=lambda info: info.name))


def _described(name: str, factory: Factory | NamedFramer, plugin: Plugin | None) -> FramerInfo:
    from inspect import getdoc  # noqa: PLC0415 - it takes long to import

    if isinstance(factory, NamedFramer):
        summary = factory.text
        try:
            get_framer(name)
        except FramestreamError as error:
            summary += f": broken: {error}"
        return FramerInfo(name, factory.source, factory, summary)
    try:
        with blame("cannot be described"):
            summary = printable((getdoc(factory) or "").partition("\n")[0])
    except PluginError as error:
        summary = str(error)
    return FramerInfo(name, plugin.distribution if plugin else "framestream", factory, summary)
