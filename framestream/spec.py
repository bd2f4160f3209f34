"""A read condition as text, as `framestream.get_framer` reads it back, and the options that its class takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from inspect import Parameter, signature
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from framestream.errors import SpecError
from framestream.framer import ReadCondition


class Option(NamedTuple):
    """One option of a condition's class, or of a function that makes one.

    Attributes:
        key: how it is spelled in a spec string.
        parameter: how it is spelled in Python.
        hint: the type it is annotated with.
        default: the default, or `inspect.Parameter.empty`.
        kind: how Python passes it: one of `inspect`'s kinds.
        required: True if it has no default.
        repeats: True if it takes any number of values.
        holds_framers: True if its values are conditions, which may stand in parentheses after the name.
    """

    key: str
    parameter: str
    hint: Any
    default: Any
    kind: Any
    required: bool
    repeats: bool
    holds_framers: bool


@lru_cache(maxsize=256)
def options_of(factory: Any) -> tuple[Option, ...]:
    """Return the options of a condition's class, or of a function that makes one, in their order.

    Raises:
        SpecError: an annotation names something undefined.
    """
    fields = getattr(factory, "__dataclass_fields__", {})
    annotated: Any = factory
    if isinstance(factory, type) and not fields:
        annotated = annotated.__init__
    try:
        hints = get_type_hints(annotated, include_extras=True)
    except NameError as error:
        raise SpecError(f"the options of {factory.__qualname__} cannot be read: {error}") from error
    parameters = signature(factory).parameters
    options = []
    for name, parameter in parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD or name.startswith("_"):
            continue
        default = parameter.default
        if name in fields and callable(make_default := fields[name].default_factory):
            default = make_default()
        variadic = parameter.kind is Parameter.VAR_POSITIONAL
        hint = hints.get(name, Any)
        members, repeat = zip(*leaves(hint), strict=True)
        options.append(
            Option(
                key="max" if name == "max_size" and "max" not in parameters else name.replace("_", "-"),
                parameter=name,
                hint=hint,
                default=() if variadic else default,
                kind=parameter.kind,
                required=default is Parameter.empty and not variadic,
                repeats=variadic or any(repeat),
                holds_framers=any(map(is_condition_type, members)),
            )
        )
    return tuple(options)


def is_condition_type(hint: Any) -> bool:
    """Tell whether a hint is the type of a read condition."""
    bare = get_origin(hint) or hint
    return isinstance(bare, type) and issubclass(bare, ReadCondition)


def leaves(hint: Any, *, several: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield the types that a hint allows, its unions and tuples taken apart, each with whether it may repeat."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, TypeVar):
        yield from leaves(hint.__bound__ or object, several=several)
    elif origin is Annotated or origin is tuple:
        yield from leaves(arguments[0], several=several or origin is tuple)
    elif origin is Union or origin is UnionType:
        for member in arguments:
            yield from leaves(member, several=several)
    else:
        yield hint, several


def _values_of(condition: ReadCondition[Any]) -> list[tuple[Option, Any, bool]]:
    """Return the options of a condition, their values, and whether each is the default.

    Raises:
        SpecError: an annotation names something undefined.
        AttributeError: the condition does not keep an option as an attribute.
    """
    values = [(option, getattr(condition, option.parameter)) for option in options_of(type(condition))]
    return [
        (option, value, type(value) is type(option.default) and value == option.default) for option, value in values
    ]


def call_string(condition: ReadCondition[Any]) -> str:
    """Return the call that makes a condition, without options that have their default."""
    shown: list[str] = []
    try:
        for option, value, is_default in _values_of(condition):
            if option.kind.name == "VAR_POSITIONAL":
                shown += map(repr, value)
            elif option.required and option.kind.name != "KEYWORD_ONLY":
                shown.append(repr(value))
            elif not is_default:
                shown.append(f"{option.parameter}={value!r}")
    except Exception:  # noqa: BLE001 - a person who looks for a mistake needs to see it
        return object.__repr__(condition)
    return f"{type(condition).__qualname__}({', '.join(shown)})"


def spec_string(condition: ReadCondition[Any]) -> str:
    """Return the shortest spec string: the name, and the options that are not the default.

    A condition without a name, or that does not keep its options as attributes, is shown by its `repr`.
    """
    if not condition.name:
        return repr(condition)
    try:
        values = _values_of(condition)
    except (SpecError, AttributeError):
        return repr(condition)
    children: list[str] = []
    texts: list[str] = []
    in_order = by_position = True
    keys = [option.key for option, _, _ in values]
    for option, value, is_default in values:
        items = value if isinstance(value, tuple) else (value,)
        are_conditions = option.holds_framers and all(isinstance(item, ReadCondition) for item in items)
        if are_conditions and in_order and not is_default:
            children.extend(map(_child, items))
            continue
        in_order = in_order and not option.holds_framers
        has_place = option.kind.name == "VAR_POSITIONAL" or (option.required and option.kind.name != "KEYWORD_ONLY")
        in_place = by_position and has_place and not isinstance(value, bool)
        by_position = in_place and not option.repeats
        if is_default:
            continue
        if value is True:
            texts.append(option.key)
        elif in_place:
            # A word that is the name of an option would be read as that option.
            texts += [f'"{text}"' if text in keys else text for text in map(format_value, items)]
        else:
            texts += [f"{option.key}={format_value(item)}" for item in items]
    inside = f"({', '.join(children)})" if children else ""
    return f"{condition.name}{inside}{':' if texts else ''}{','.join(texts)}"


def _child(condition: ReadCondition[Any]) -> str:
    """Return a condition's text, in parentheses if a comma in it could be read as the next child."""
    text = str(condition)
    return f"({text})" if re.search(_LIKE_THE_NEXT_CHILD, text) else text


# An option without "key=" after a comma. Between two children there is a space after the comma.
_LIKE_THE_NEXT_CHILD: Final = r",(?=[A-Za-z(])(?![\w-]+=)"

UNITS: Final = {"": 1, "b": 1} | {
    f"{letter}{unit}": size**power
    for power, letter in enumerate("kmgt", 1)
    for unit, size in (("b", 1000), ("ib", 1024))
}
"""The units of a size in lower case, and how many bytes each has."""

ESCAPES: Final = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}
"""What may follow a backslash in a spec string, and what it means; ``\\xff`` is any other byte."""

_BARE: Final = r"[\w.+*/;|!?$%^&@#~<>\[\]{}-]+"
# If an option takes text or something else, these words would be read as the latter.
_NOT_TEXT: Final = r"(?i:[+-]?\.?\d.*|[+-]?(inf|infinity|nan)|none|yes|no|true|false|on|off)"


def format_value(value: Any) -> str:
    """Return the text of an option's value in a spec string."""
    if isinstance(value, ReadCondition):
        text = str(value)
        return f"({text})" if ":" in text else text
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_size(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str | bytes):
        return _format_text(value)
    name = getattr(value, "__name__", None)
    return f"<{type(value).__name__}>" if name is None else f"<function {name}>"


def format_size(size: int) -> str:
    """Return a whole number with the largest binary unit that divides it: ``64KiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % UNITS[unit.lower()] == 0:
            return f"{size // UNITS[unit.lower()]}{unit}"
    return str(size)


def _format_text(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    shown = "".join(_escaped(character, isinstance(value, bytes)) for character in text)
    if re.fullmatch(_BARE, shown) and not re.fullmatch(_NOT_TEXT, shown):
        return shown
    literal = shown.replace("\\\\", "")
    if "\\" in shown and "\\" not in literal and "'" not in shown:
        return "'" + shown.replace("\\\\", "\\") + "'"  # nothing needs an escape but backslashes themselves
    return '"' + shown.replace('"', '\\"') + '"'


def _escaped(character: str, as_bytes: bool) -> str:
    for letter, meaning in ESCAPES.items():
        if character == meaning and letter != '"':
            return "\\" + letter
    if character.isprintable() or (not as_bytes and character > "\xff"):
        return character
    if not as_bytes:
        return f"\\x{ord(character):02x}"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
