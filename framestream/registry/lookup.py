"""Framers by name and by spec string, from any source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from inspect import getdoc
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from framestream.errors import FramestreamError, PluginError, SpecError, blame, printable
from framestream.framer import Option, ReadCondition, options_of
from framestream.framers import BUILT_IN
from framestream.registry.grammar import Option as SpecOption
from framestream.registry.grammar import Spec, Value, Word, did_you_mean, parse_spec
from framestream.registry.manager import PluginManager
from framestream.registry.named import NamedFramer
from framestream.registry.options import Takes

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
    """
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

_NESTED_OPTIONS = "between parentheses, options after the first are written key=value"
"""The hint for the commonest mistake in a nested spec."""


def _build(spec: Spec) -> ReadCondition[Any]:
    try:
        factory = plugins.factory(spec.name)
    except SpecError as error:
        error.position = spec.position
        if spec.position:
            error.args = (f"{error}; {_NESTED_OPTIONS}",)
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
        framer = build_framer(factory, spec._replace(framers=tuple(_with_flags(spec.framers))), _build)
        if not isinstance(framer, ReadCondition):
            raise PluginError(
                f"{spec.name!r}{of_whom} makes {framer!r:.200}, which is not a framer", plugin=spec.name
            )
        return framer


def _with_flags(framers: Iterable[Spec]) -> list[Spec]:
    """Return nested framers; pass a bare name that is a flag of the framer before it to that framer."""
    found: list[Spec] = []
    for framer in framers:
        bare = found and framer == Spec(framer.name, position=framer.position)
        if bare and framer.name not in plugins.names():
            before = found[-1]
            factory = plugins.factory(before.name)
            if not isinstance(factory, NamedFramer) and framer.name in _flags(options_of(factory)):
                flag = SpecOption(framer.name, Word("yes", framer.position), framer.position)
                found[-1] = before._replace(options=(*before.options, flag))
                continue
        found.append(framer)
    return found


def _flags(options: Iterable[Option]) -> set[str]:
    return {option.key for option in options if bool in Takes(option.hint).types}


_Asked: TypeAlias = tuple[list[Option], str | None, Value, int]
"""Where a value may go, the key it was given, the value, and its place in the string."""


def build_framer(factory: Callable[..., Any], spec: Spec, build: Callable[[Spec], Any]) -> Any:
    """Make the framer that a parsed spec describes; `build` makes the framers nested in it.

    Raise `SpecError` naming the option, its value, what is allowed and the nearest spelling.
    """
    options = options_of(factory)
    flags = _flags(options)
    holders = [option for option in options if option.holds_framers]
    in_place = [option for option in options if option.kind.name != "KEYWORD_ONLY"]
    asked: list[_Asked] = [(holders, None, framer, framer.position) for framer in spec.framers]
    asked += [(in_place, *option) for option in spec.options]
    given: dict[str, list[Value]] = {}
    for places, word, shown, position in asked:
        key, value = word, shown
        if key is None and isinstance(value, Word) and not value.quote and value.text in flags:
            key, value = value.text, Word("yes", position)  # "keep" alone is "keep=yes"
        option = _by_key(options, spec, key, position) if key else _next_open(places, given, spec, value)
        if option.key in given and not option.repeats:
            raise SpecError(f"{option.key} is given twice", position=position)
        given.setdefault(option.key, []).append(value)
    missing = [option.key for option in options if option.required and option.key not in given]
    if missing:
        raise SpecError(f"{spec.name} needs {' and '.join(missing)}", position=spec.position)
    values = {one.key: _convert(one, given[one.key], build) for one in options if one.key in given}
    try:
        return _call(factory, options, values)
    except SpecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(f"{spec.name}: {error}", position=spec.position) from error


def _by_key(options: Iterable[Option], spec: Spec, key: str, position: int) -> Option:
    wanted = key.replace("_", "-")
    for option in options:
        if wanted in (option.key, option.parameter.replace("_", "-")):
            return option
    keys = [option.key for option in options]
    listing = f" (options: {', '.join(keys)})" if keys else ", it takes none"
    hint = did_you_mean(wanted, keys)
    raise SpecError(f"{spec.name} has no option {key!r}{hint}{listing}", position=position)


def _next_open(options: Iterable[Option], given: dict[str, list[Value]], spec: Spec, value: Value) -> Option:
    for option in options:
        if option.key not in given or option.repeats:
            return option
    shown, hint = (value.text, "") if isinstance(value, Word) else (value.name, f"; {_NESTED_OPTIONS}")
    keys = ", ".join(option.key for option in options)
    what = f"has no option for {shown!r}" + (f" after {keys}" if keys else "")
    raise SpecError(f"{spec.name} {what}{hint}", position=value.position)


def _convert(option: Option, values: list[Value], build: Callable[[Spec], Any]) -> Any:
    takes = Takes(option.hint)
    try:
        found = tuple(takes.convert(value, build) for value in values)
    except SpecError as error:
        if type(error) is not SpecError or option.holds_framers:
            raise
        raise SpecError(f"{option.key}: {error}", position=error.position) from None
    alone = len(found) == 1 and takes.one and option.kind.name != "VAR_POSITIONAL"
    return found[0] if alone else found


def _call(factory: Callable[..., Any], options: Iterable[Option], values: dict[str, Any]) -> Any:
    by_position = any(option.kind.name in ("VAR_POSITIONAL", "POSITIONAL_ONLY") for option in options)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for option in options:
        if option.kind.name == "VAR_POSITIONAL":
            positional.extend(values.get(option.key, ()))
        elif by_position and option.kind.name != "KEYWORD_ONLY":
            positional.append(values.get(option.key, option.default))
        elif option.key in values:
            keywords[option.parameter] = values[option.key]
    return factory(*positional, **keywords)
