"""The options of a framer, and their values: the types they have, how a spec string spells them, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from inspect import Parameter, signature
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from framestream.errors import SpecError
from framestream.framer import ReadCondition
from framestream.registry.names import did_you_mean

# As written ------------------------------------------------------------------------------------


class Word(NamedTuple):
    """A value as written, without its quotes and with its escapes."""

    text: str
    position: int = 0
    quote: str = ""

    def names(self) -> set[str]:
        """Return the name that this may be."""
        return {self.text}


class Spec(NamedTuple):
    """A framer as written: its name, the framers in parentheses, and its options."""

    name: str
    framers: tuple[Spec, ...] = ()
    options: tuple[Setting, ...] = ()
    position: int = 0

    def names(self) -> set[str]:
        """Return every name that the tree may refer to."""
        parts = (*self.framers, *(option.value for option in self.options))
        return {self.name}.union(*(part.names() for part in parts))


Value: TypeAlias = Word | Spec


class Setting(NamedTuple):
    """One option as written; `key` is None if only the value was given."""

    key: str | None
    value: Value
    position: int = 0


# From words to values --------------------------------------------------------------------------

UNITS = {"": 1, "b": 1} | {
    f"{letter}{unit}": size**power
    for power, letter in enumerate("kmgt", 1)
    for unit, size in (("b", 1000), ("ib", 1024))
}
"""The units of a size in lower case, and how many bytes each has."""

ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}
"""What may follow a backslash in a spec string, and what it means; ``\\xff`` is any other byte."""

_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_BOOLEANS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)

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
        for leaf, several in _leaves(hint):
            bare = get_origin(leaf) or leaf
            if leaf is type(None):
                self.types[None] = None
                continue
            self.several |= several
            self.one |= not several
            if bare is Literal:
                self.choices += get_args(leaf)
            elif isinstance(bare, type) and issubclass(bare, ReadCondition):
                self.types[ReadCondition] = None
            else:
                self.types[leaf if isinstance(leaf, type) and leaf in _TYPES else object] = None

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


def _leaves(hint: Any, *, several: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield the types that a hint allows, its unions and tuples taken apart, each with whether it may repeat."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, TypeVar):
        yield from _leaves(hint.__bound__ or object, several=several)
    elif origin is Annotated or origin is tuple:
        yield from _leaves(arguments[0], several=several or origin is tuple)
    elif origin is Union or origin is UnionType:
        for member in arguments:
            yield from _leaves(member, several=several)
    else:
        yield hint, several


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
    def repeats(self) -> bool:
        """True if it takes any number of values."""
        return self.takes.several or self.kind is Parameter.VAR_POSITIONAL

    @property
    def holds_framers(self) -> bool:
        """True if its values are conditions, which may stand in parentheses after the name."""
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
        default = () if parameter.kind is Parameter.VAR_POSITIONAL else parameter.default
        if name in fields and callable(make_default := fields[name].default_factory):
            default = make_default()
        hint = hints.get(name, Any)
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        text = next((note for note in notes if isinstance(note, str)), "")
        options.append(Option(key, name, Takes(hint), default, parameter.kind, text))
    return tuple(options)


# From values to words --------------------------------------------------------------------------

_BARE = r"[\w.+*/;|!?$%^&@#~<>\[\]{}-]+"
# If an option takes text or something else, these words would be read as the latter.
_NOT_TEXT = r"(?i:[+-]?\.?\d.*|[+-]?(inf|infinity|nan)|none|yes|no|true|false|on|off)"


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
