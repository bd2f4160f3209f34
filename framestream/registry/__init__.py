"""Framers by name and by spec string, from any source: built in, of plugins, or named by the user."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from inspect import getdoc
from typing import TYPE_CHECKING, Any, NamedTuple

from framestream.errors import FramestreamError, PluginError, SpecError, blame, printable
from framestream.framer import ReadCondition
from framestream.framers import BUILT_IN
from framestream.registry.grammar import NESTED_OPTIONS, NamedFramer, Option, Spec, Word, parse_spec
from framestream.registry.manager import PluginManager

if TYPE_CHECKING:
    from framestream.registry.plugin import Factory


plugins = PluginManager({name: f"framestream.framers.{place}" for name, place in BUILT_IN.items()})
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
        raise TypeError(f"spec is {spec!r}; it must be a name or a spec string")
    return _get_framer(spec, plugins.generation)


@lru_cache(maxsize=256)
def _get_framer(spec: str, generation: int) -> ReadCondition[Any]:
    try:
        return _build(parse_spec(spec))
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

    A plugin that does not finish importing within the load limit has failed. A name of the configuration
    has an entry even if it makes no framer; its summary says why.
    """
    plugins.load()
    found = []
    for name in plugins.names():
        # Two plugins claim it, or its plugin breaks when its framer is imported or described.
        with suppress(PluginError), blame("cannot be described"):
            factory = plugins.factory(name)
            if isinstance(factory, NamedFramer):
                found.append(FramerInfo(name, factory.source, factory, _summary(factory)))
            else:
                owners = () if name in plugins.built_in else plugins.providers(name)
                owner = owners[0].distribution if owners else "framestream"
                summary = printable((getdoc(factory) or "").partition("\n")[0])
                found.append(FramerInfo(name, owner, factory, summary))
    return tuple(found)


def _summary(named: NamedFramer) -> str:
    try:
        get_framer(named.name)
    except FramestreamError as error:
        return f"{named.text}: broken: {error}"
    return named.text


# From a tree to a framer -----------------------------------------------------------------------


def _build(spec: Spec) -> ReadCondition[Any]:
    try:
        factory = plugins.factory(spec.name)
    except SpecError as error:
        error.position = spec.position
        if spec.position:
            error.args = (f"{error}; {NESTED_OPTIONS}",)
        raise
    if isinstance(factory, NamedFramer):
        asked = factory.with_options(spec)
        try:
            return _build(asked)
        except SpecError as error:
            reason = f"{factory.name} = {factory.text!r} in {factory.source}: {error}"
            raise SpecError(reason, position=spec.position) from error
    owners = () if spec.name in plugins.built_in else plugins.providers(spec.name.rpartition("/")[2])
    of_whom = f" of {owners[0].title}" if owners else ""
    with blame(f"{spec.name!r}{of_whom} makes no framer", plugin=spec.name, ours=(SpecError, PluginError)):
        framer = _made(factory, spec)
        if not isinstance(framer, ReadCondition):
            raise PluginError(f"{spec.name!r}{of_whom} makes {framer!r:.200}, which is not a framer", plugin=spec.name)
        return framer


def _made(factory: Factory, spec: Spec) -> Any:
    if not (spec.options or spec.framers):
        # A name alone needs no options, whose module and types take longer to read than all the rest.
        with suppress(TypeError, ValueError, OverflowError):
            return factory()
    from framestream.registry.options import build_framer  # noqa: PLC0415

    return build_framer(factory, spec._replace(framers=tuple(_with_flags(spec.framers))), _build)


def _with_flags(framers: Iterable[Spec]) -> list[Spec]:
    """Return nested framers; pass a bare name that is a flag of the framer before it to that framer."""
    from framestream.registry.options import flags_of  # noqa: PLC0415 - as above

    found: list[Spec] = []
    for framer in framers:
        bare = found and framer == Spec(framer.name, position=framer.position)
        if bare and framer.name not in plugins.names():
            before = found[-1]
            factory = plugins.factory(before.name)
            if not isinstance(factory, NamedFramer) and framer.name in flags_of(factory):
                flag = Option(framer.name, Word("yes", framer.position), framer.position)
                found[-1] = before._replace(options=(*before.options, flag))
                continue
        found.append(framer)
    return found
