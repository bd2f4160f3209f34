"""The options of a framer, and their values: the types they have, how a spec string spells them, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from framestream.errors import SpecError, did_you_mean
from framestream.framer import ReadCondition

# From words to values --------------------------------------------------------------------------

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
"""The units of a size in lower case, and how many bytes each has."""

ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}
"""What may follow a backslash in a spec string, and what it means; ``\\xff`` is any other byte."""

_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}


class Word(NamedTuple):
    """A value in a spec string, without its quotes. An escaped byte that is not ASCII is a lone surrogate."""

    text: str
    position: int = 0
    is_quoted: bool = False


def unescaped(text: str, position: int = 0) -> str:
    """Return text with its escapes replaced; `SpecError`, with the position, for one that is unknown."""

    def meaning(match: re.Match[str]) -> str:
        escape = match[1]
        if escape in ESCAPES:
            return ESCAPES[escape]
        if len(escape) < 3:
            reason = f"unknown escape \\{escape} (write \\\\{escape}, or the text in single quotes)"
            raise SpecError(reason, position=position)
        return bytes.fromhex(escape[1:]).decode("ascii", "surrogateescape")

    return re.sub(r"(?s)\\(x[0-9a-fA-F]{2}|.|$)", meaning, text)


def _integer(text: str) -> int:
    match = re.fullmatch(r"([+-]?(?:0[xX][0-9a-fA-F_]+|[0-9][0-9_]*))\s*([A-Za-z]*)", text)
    if match is None:
        raise ValueError
    return int(match[1], 16 if "x" in match[1].lower() else 10) * UNITS[match[2].lower()]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_TYPES: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("whole number", _integer),
    float: ("number", float),
    bool: ("yes or no", lambda text: _BOOLEANS[text.lower()]),
    str: ("text", lambda text: _bytes(text).decode()),
    bytes: ("bytes", _bytes),
}
"""How a word can be read, from the types that take few words to those that take any: the name of the
type, and the function that reads it (a ValueError or LookupError means: not this type)."""


class Takes:
    """The values that a type hint allows, with its unions and tuples taken apart.

    Attributes:
        types: keys of the table above, `ReadCondition`, None, or `object` if no text can give the value.
        choices: the values of its `Literal`.
        one: True if a single value will do.
        several: True if a tuple of any length will do.
    """

    def __init__(self, hint: Any, *, several: bool = False) -> None:
        self.types: dict[Any, None] = {}
        self.choices: list[Any] = []
        self.one = self.several = False
        self._add(hint, several=several)

    def _add(self, hint: Any, *, several: bool) -> None:
        origin, arguments = get_origin(hint), get_args(hint)
        bare = origin or hint
        if isinstance(hint, TypeVar):
            self._add(hint.__bound__, several=several)
        elif origin is Annotated or origin is tuple:
            self._add(arguments[0], several=several or origin is tuple)
        elif origin is Union or origin is UnionType:
            for member in arguments:
                self._add(member, several=several)
        elif hint is NoneType:
            self.types[None] = None
        else:
            self.several |= several
            self.one |= not several
            if origin is Literal:
                self.choices += arguments
            elif isinstance(bare, type) and issubclass(bare, ReadCondition):
                self.types[ReadCondition] = None
            else:
                self.types[hint if hint in _TYPES else object] = None

    def __str__(self) -> str:
        called = {kind: words for kind, (words, _) in _TYPES.items()} | {ReadCondition: "framer"}
        words = [called.get(kind, "Python object") for kind in self.types if kind is not None]
        words += map(format_value, self.choices)
        return " or ".join(words) + (", one or more" if self.several else "")

    def convert(self, word: Word) -> Any:
        """Return what a word stands for. Raise `SpecError` if that is not allowed.

        A quoted word is text wherever text is allowed; ``none`` without quotes is None.
        """
        if word.text == "none" and not word.is_quoted and None in self.types:
            return None
        for choice in self.choices:
            with suppress(ValueError, LookupError):
                if _TYPES[type(choice)][1](word.text) == choice:
                    return choice
        if ReadCondition in self.types:
            raise SpecError("a framer stands in parentheses after the name", position=word.position)
        # The narrowest type wins: of `int | str`, 5 is a number, and "5" is text because it is quoted.
        is_text = word.is_quoted and not self.types.keys().isdisjoint((str, bytes))
        for kind, (_, read) in _TYPES.items():
            if kind in self.types and not (is_text and kind in (int, float, bool)):
                try:
                    return read(word.text)
                except (ValueError, LookupError):
                    continue
        raise SpecError(self._refusal(word.text), position=word.position)

    def _refusal(self, text: str) -> str:
        if object in self.types:
            return "this option takes a Python object, which a spec string cannot hold"
        words = str(self).removesuffix(", one or more")
        is_noun = words in ("whole number", "number")
        reason = f"{text!r} is not {'a ' if is_noun else ''}{words}"
        reason += " (write 2, 0x10, 64KiB or 1MB)" if int in self.types else ""
        return reason + did_you_mean(text, map(format_value, self.choices))


# As declared -----------------------------------------------------------------------------------


class Option(NamedTuple):
    """One option of a condition's class, or of a function that makes one.

    Attributes:
        key: how it is spelled in a spec string.
        parameter: how it is spelled in Python.
        takes: the values that it may have; as text, in words.
        default: the default, or `inspect.Parameter.empty`.
        kind: how Python passes it: one of `inspect`'s kinds.
        help: the text of its `Annotated` hint.
    """

    key: str
    parameter: str
    takes: Takes
    default: Any
    kind: Any
    help: str

    @property
    def required(self) -> bool:
        """True if it has no default."""
        return self.default is Parameter.empty

    @property
    def holds_framers(self) -> bool:
        """True if its values are conditions, which stand in parentheses after the name."""
        return ReadCondition in self.takes.types

    @property
    def default_text(self) -> str:
        """The default as a spec string spells it, empty if there is none."""
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return "" if self.required else ",".join(map(format_value, values))


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
        key = "max" if name == "max_size" and "max" not in parameters else name.replace("_", "-")
        is_rest = parameter.kind is Parameter.VAR_POSITIONAL
        hint = hints.get(name, Any)
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        text = next((note for note in notes if isinstance(note, str)), "")
        default = () if is_rest else parameter.default
        if name in fields and callable(make_default := fields[name].default_factory):
            default = make_default()
        options.append(Option(key, name, Takes(hint, several=is_rest), default, parameter.kind, text))
    return tuple(options)


# From values to words --------------------------------------------------------------------------

_BARE = r"[\w.+*/;|!?$%^&@#~<>\[\]{}-]+"
# If an option takes text or something else, these words would be read as the latter.
_NOT_TEXT = r"(?i:[+-]?\.?\d.*|[+-]?(inf|infinity|nan)|none|yes|no|true|false)"
_ESCAPED = {meaning: f"\\{letter}" for letter, meaning in ESCAPES.items()}


def format_value(value: Any) -> str:
    """Return the text of an option's value in a spec string."""
    if isinstance(value, ReadCondition):
        return str(value)
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
    shown = "".join(map(_escaped, text))
    if re.fullmatch(_BARE, shown) and not re.fullmatch(_NOT_TEXT, shown):
        return shown
    literal = shown.replace("\\\\", "")
    if "\\" in shown and "\\" not in literal and "'" not in shown:
        return "'" + shown.replace("\\\\", "\\") + "'"  # nothing needs an escape but backslashes themselves
    return '"' + shown.replace('"', '\\"') + '"'


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return _ESCAPED.get(character) or "".join(f"\\x{byte:02x}" for byte in _bytes(character))
