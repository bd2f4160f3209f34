"""Spec strings: a framer written as text, and back.

``length-prefix:size=2,byteorder=little,max=64KiB`` names a framer and its options; the options are
the parameters of the framer's class, with ``-`` for ``_`` and ``max`` for ``max_size``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_origin

from framestream.errors import SpecError
from framestream.registry._grammar import Option, Spec, Value, Word, parse_spec
from framestream.registry._hints import element
from framestream.registry._option_info import (
    KEYWORD_ONLY,
    POSITIONAL_ONLY,
    VARIADIC,
    OptionInfo,
    describe_options,
)
from framestream.registry._spelling import did_you_mean
from framestream.registry._values import Build, convert

__all__ = [
    "NESTED_OPTIONS",
    "OptionInfo",
    "Spec",
    "build_framer",
    "describe_options",
    "format_spec",
    "parse_spec",
]

NESTED_OPTIONS = "between parentheses, options behind the first are written key=value"
"""What the commonest mistake in a nested spec is."""

# From text -------------------------------------------------------------------------------------


def build_framer(factory: Callable[..., Any], spec: Spec, build: Build) -> Any:
    """Make the framer that a parsed spec describes; `build` makes the framers nested in it.

    Raise `SpecError` naming the option, its value, what is allowed and the nearest spelling.
    """
    infos = describe_options(factory)
    given: dict[str, list[Value]] = {}
    for child in spec.children:
        holders = [info for info in infos if info.holds_framers]
        _give(given, _next_open(holders, given, spec, child), child, child.position)
    for option in spec.options:
        info, value = _assign(infos, given, spec, option)
        _give(given, info, value, option.position)
    missing = [info.key for info in infos if info.required and info.key not in given]
    if missing:
        raise SpecError(f"{spec.name} needs {' and '.join(missing)}", position=spec.position)
    try:
        return _call(factory, infos, {key: _convert(key, infos, given[key], build) for key in given})
    except SpecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(f"{spec.name}: {error}", position=spec.position) from error


def _assign(
    infos: Sequence[OptionInfo], given: dict[str, list[Value]], spec: Spec, option: Option
) -> tuple[OptionInfo, Value]:
    """Return the option that was meant and its value: by key, as a bare flag, or by position."""
    if option.key is not None:
        return _by_key(infos, spec, option.key, option.position), option.value
    for info in infos:
        if info.is_flag and option.value == Word(info.key, option.position):
            return info, Word("yes", option.position)
    positional = [info for info in infos if info.kind is not KEYWORD_ONLY]
    return _next_open(positional, given, spec, option.value), option.value


def _by_key(infos: Sequence[OptionInfo], spec: Spec, key: str, position: int) -> OptionInfo:
    wanted = key.replace("_", "-")
    for info in infos:
        if wanted in (info.key, info.parameter.replace("_", "-")):
            return info
    keys = [info.key for info in infos]
    listing = f" (options: {', '.join(keys)})" if keys else ", it takes none"
    hint = did_you_mean(wanted, keys)
    raise SpecError(f"{spec.name} has no option {key!r}{hint}{listing}", position=position)


def _next_open(
    infos: Sequence[OptionInfo], given: dict[str, list[Value]], spec: Spec, value: Value
) -> OptionInfo:
    for info in infos:
        if info.key not in given or info.repeats:
            return info
    shown, hint = (value.text, "") if isinstance(value, Word) else (value.name, f"; {NESTED_OPTIONS}")
    keys = ", ".join(info.key for info in infos)
    what = f"has no option for {shown!r}" + (f" after {keys}" if keys else "")
    raise SpecError(f"{spec.name} {what}{hint}", position=value.position)


def _give(given: dict[str, list[Value]], info: OptionInfo, value: Value, position: int) -> None:
    if info.key in given and not info.repeats:
        raise SpecError(f"{info.key} is given twice", position=position)
    given.setdefault(info.key, []).append(value)


def _convert(key: str, infos: Sequence[OptionInfo], values: list[Value], build: Build) -> Any:
    info = next(info for info in infos if info.key == key)
    one = element(info.hint)
    several = len(values) > 1 or get_origin(info.hint) is tuple
    hint = one if several and one is not None else info.hint
    try:
        found = tuple(convert(value, hint, build) for value in values)
    except SpecError as error:
        if type(error) is not SpecError or info.holds_framers:
            raise
        raise SpecError(f"{key}: {error}", position=error.position) from None
    return found if several or info.kind is VARIADIC else found[0]


def _call(factory: Callable[..., Any], infos: Sequence[OptionInfo], values: dict[str, Any]) -> Any:
    by_position = any(info.kind in (VARIADIC, POSITIONAL_ONLY) for info in infos)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for info in infos:
        if info.kind is VARIADIC:
            positional.extend(values.get(info.key, ()))
        elif by_position and info.kind is not KEYWORD_ONLY:
            positional.append(values.get(info.key, info.default))
        elif info.key in values:
            keywords[info.parameter] = values[info.key]
    return factory(*positional, **keywords)


# To text ---------------------------------------------------------------------------------------


def format_spec(condition: object) -> str:
    """Return the shortest spec string of a framer: its name and the options that are not the default.

    What has no name, or does not keep its options as attributes, is shown by its `repr`.
    """
    factory: Any = type(condition)
    name = getattr(factory, "name", "")
    if not name:
        return repr(condition)
    try:
        values = [(info, getattr(condition, info.parameter)) for info in describe_options(factory)]
    except (SpecError, AttributeError):
        return repr(condition)
    children, rest = _children(values)
    options = ",".join(_options(rest))
    inside = f"({', '.join(children)})" if children else ""
    return f"{name}{inside}:{options}" if options else f"{name}{inside}"


Values = list[tuple[OptionInfo, Any]]


def _children(values: Values) -> tuple[list[str], Values]:
    """Return the framers that go in parentheses, and what is left to be written as options."""
    children: list[str] = []
    rest: Values = []
    in_order = True
    for info, value in values:
        framers = value if isinstance(value, tuple) else (value,)
        are_framers = info.holds_framers and all(hasattr(framer, "can_be_empty") for framer in framers)
        if are_framers and in_order and not _is_default(info, value):
            children.extend(_child(framer) for framer in framers)
        else:
            in_order = in_order and not info.holds_framers
            rest.append((info, value))
    return children, rest


def _child(framer: object) -> str:
    """Return a framer's text, in parentheses where a comma in it could be taken for the next child."""
    text = str(framer)
    try:
        alone = len(parse_spec(f"x({text})").children) == 1
    except SpecError:
        alone = False
    return text if alone else f"({text})"


def _options(values: Values) -> list[str]:
    flags = {info.key for info, _ in values if info.is_flag}
    options: list[str] = []
    by_position = True
    for info, value in values:
        in_place = by_position and (info.required or info.kind is VARIADIC) and not isinstance(value, bool)
        by_position = in_place and not info.repeats
        if _is_default(info, value):
            continue
        if isinstance(value, bool):
            options.append(info.key if value else f"{info.key}=no")
        elif in_place:
            options.extend(f'"{text}"' if text in flags else text for text in info.texts(value))
        else:
            options.extend(f"{info.key}={text}" for text in info.texts(value))
    return options


def _is_default(info: OptionInfo, value: Any) -> bool:
    if info.kind is VARIADIC:
        return bool(value == ())
    return type(value) is type(info.default) and bool(value == info.default)
