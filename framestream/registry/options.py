"""The options of a framer as text: how words are read, what types are called, and a framer made of a spec."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import BoundArguments, signature
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args, get_origin

from framestream.errors import SpecError
from framestream.framer import ReadCondition
from framestream.registry.grammar import NESTED_OPTIONS, Spec, Value, Word, did_you_mean
from framestream.spec import ESCAPES, UNITS, Option, format_value, is_condition_type, leaves, options_of

_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_BOOLEANS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)

# Compiled on first use: a spec without options needs neither.
_INTEGER = r"([+-]?)(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)\s*([A-Za-z]*)"
_ESCAPE = r"(?s)\\(x[0-9a-fA-F]{2}|.|$)"


def _integer(word: Word) -> int:
    match = re.fullmatch(_INTEGER, word.text)
    if match is None:
        raise ValueError
    digits = match[2].replace("_", "")
    size = int(digits, 16 if digits[:2] in ("0x", "0X") else 10) * int(UNITS[match[3].lower()])
    return -size if match[1] == "-" else size


def _text(word: Word, byte: int = 0) -> str:
    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if escape in ESCAPES:
            return ESCAPES[escape]
        if len(escape) < 3:
            reason = f"unknown escape \\{escape} (write \\\\{escape}, or the text in single quotes)"
            raise SpecError(reason, position=word.position)
        code = int(escape[1:], 16)
        return chr(code if code < 128 else code + byte)

    return word.text if word.quote == "'" else re.sub(_ESCAPE, character, word.text)


def _bytes(word: Word) -> bytes:
    # An escaped byte travels as a lone surrogate, which is what "surrogateescape" turns back into it.
    return _text(word, byte=0xDC00).encode("utf-8", "surrogateescape")


_TYPES: dict[Any, tuple[str, Callable[[Word], Any]]] = {
    int: ("whole number", _integer),
    float: ("number", lambda word: float(word.text)),
    bool: ("yes or no", lambda word: _BOOLEANS[word.text.lower()]),
    str: ("text", _text),
    bytes: ("bytes", _bytes),
}
"""How a word can be read, from the types that take few words to those that take any: the name of the
type, and the function that reads it (a ValueError or LookupError means: not this type)."""

Build = Callable[[Spec], Any]
"""Makes the framer that a nested spec describes."""


class Takes:
    """The values that a type hint allows, with its unions and tuples taken apart.

    Attributes:
        types: keys of the table above, `ReadCondition`, None, or `object` if no text can give the value.
        choices: the values of its `Literal`.
        one: True if a single value will do.
        several: True if a tuple of any length will do.
    """

    def __init__(self, hint: Any) -> None:
        self.types: dict[Any, None] = {}
        self.choices: list[Any] = []
        self.one = self.several = False
        for leaf, several in leaves(hint):
            if leaf is type(None):
                self.types[None] = None
                continue
            self.several |= several
            self.one |= not several
            if get_origin(leaf) is Literal:
                self.choices += get_args(leaf)
            else:
                known = ReadCondition if is_condition_type(leaf) else leaf if leaf in _TYPES else object
                self.types[known] = None

    def __str__(self) -> str:
        called = {kind: words for kind, (words, _) in _TYPES.items()} | {ReadCondition: "framer"}
        words = [called.get(kind, "Python object") for kind in self.types if kind is not None]
        words += map(format_value, self.choices)
        return " or ".join(words) + (", one or more" if self.several else "")

    def convert(self, value: Value, build: Build | None = None) -> Any:
        """Return what a word or a nested spec stands for. Raise `SpecError` if that is not allowed.

        A quoted word is text wherever text is allowed; ``none`` without quotes is None.
        """
        if isinstance(value, Spec):
            if ReadCondition in self.types and build is not None:
                return build(value)
            raise self._refusal(f"{value.name}(...)", value)
        if value == Word("none", value.position) and None in self.types:
            return None
        for choice in self.choices:
            with suppress(ValueError, LookupError):
                found = _TYPES[type(choice)][1](value)
                if type(found) is type(choice) and found == choice:
                    return choice
        # The narrowest type wins: of `int | str`, 5 is a number, and "5" is text because it is quoted.
        quoted = value.quote and not self.types.keys().isdisjoint((str, bytes))
        for kind, (_, read) in _TYPES.items():
            if kind not in self.types or (quoted and kind in (int, float, bool)):
                continue
            try:
                return read(value)
            except SpecError:
                raise
            except (ValueError, LookupError):
                continue
        if ReadCondition in self.types and build is not None:
            return build(Spec(value.text, position=value.position))
        raise self._refusal(repr(value.text), value)

    def _refusal(self, shown: str, value: Value) -> SpecError:
        if object in self.types:
            reason = "this option takes a Python object, which a spec string cannot hold"
        else:
            words = str(self).removesuffix(", one or more")
            is_noun = words in ("whole number", "number", "framer")
            reason = f"{shown} is not {'a ' if is_noun else ''}{words}"
            reason += " (write 2, 0x10, 64KiB or 1MB)" if int in self.types else ""
            reason += did_you_mean(shown.strip("'"), map(format_value, self.choices))
        return SpecError(reason, position=value.position)


class OptionInfo(NamedTuple):
    """One option of a framer, as the command line explains it.

    Attributes:
        key: how it is spelled in a spec string.
        type: the values it takes, in words.
        default_text: its default in spec notation, empty if there is none.
        help: the text of its `Annotated` hint.
        required: True if it has no default.
    """

    key: str
    type: str
    default_text: str
    help: str
    required: bool


def describe_options(factory: Any) -> tuple[OptionInfo, ...]:
    """Return the options of a framer's class, or of a function that makes one, in their order."""
    infos = []
    for option in options_of(factory):
        values = option.default if isinstance(option.default, tuple) else (option.default,)
        default = "" if option.required else ",".join(map(format_value, values))
        notes = get_args(option.hint)[1:] if get_origin(option.hint) is Annotated else ()
        text = next((note for note in notes if isinstance(note, str)), "")
        infos.append(OptionInfo(option.key, str(Takes(option.hint)), default, text, option.required))
    return tuple(infos)


# From a tree to a framer -----------------------------------------------------------------------


def flags_of(factory: Callable[..., Any]) -> set[str]:
    """Return the options that a bare word sets: ``keep`` alone is ``keep=yes``."""
    return {option.key for option in options_of(factory) if bool in Takes(option.hint).types}


_Asked: TypeAlias = tuple[list[Option], str | None, Value, int]
"""Where a value may go, the key it was given, the value, and its place in the string."""


def build_framer(factory: Callable[..., Any], spec: Spec, build: Build) -> Any:
    """Make the framer that a parsed spec describes; `build` makes the framers nested in it.

    Raise `SpecError` naming the option, its value, what is allowed and the nearest spelling.
    """
    options, flags = options_of(factory), flags_of(factory)
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
    shown, hint = (value.text, "") if isinstance(value, Word) else (value.name, f"; {NESTED_OPTIONS}")
    keys = ", ".join(option.key for option in options)
    what = f"has no option for {shown!r}" + (f" after {keys}" if keys else "")
    raise SpecError(f"{spec.name} {what}{hint}", position=value.position)


def _convert(option: Option, values: list[Value], build: Build) -> Any:
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
    given = {option.parameter: values[option.key] for option in options if option.key in values}
    bound = BoundArguments(signature(factory), given)
    if any(option.kind.name in ("VAR_POSITIONAL", "POSITIONAL_ONLY") for option in options):
        bound.apply_defaults()  # those before a value that has no keyword
    return factory(*bound.args, **bound.kwargs)
