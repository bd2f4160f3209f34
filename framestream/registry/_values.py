"""The values of options: a word of a spec string to a value of the hinted type, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NoReturn, get_args, get_origin

from framestream.errors import SpecError
from framestream.registry._grammar import Spec, Value, Word
from framestream.registry._hints import NOTHING, describe, is_condition_type, plain, union_members
from framestream.registry._spelling import did_you_mean

UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
BOOLEANS = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}

_INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)\s*([A-Za-z]*)")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}
_BARE = re.compile(r"[\w.+*/;|!?$%^&@#~<>\[\]{}-]+")

Build = Callable[[Spec], Any]
"""Makes the condition that a nested spec describes; the registry supplies it."""

_NUMBERS = (int, float, bool)


# From text -------------------------------------------------------------------------------------


def convert(value: Value, hint: Any, build: Build) -> Any:
    """Return the value that a word or a nested spec stands for where `hint` is expected."""
    hint = plain(hint)
    members = union_members(hint)
    if members:
        return _convert_union(value, members, build)
    if is_condition_type(hint):
        return build(value if isinstance(value, Spec) else Spec(value.text, position=value.position))
    if isinstance(value, Spec):
        raise _refusal(f"{value.name}(...) is a framer; expected {describe(hint)}", value)
    if get_origin(hint) is Literal:
        return _convert_literal(value, get_args(hint))
    reader = _READERS.get(hint)
    if reader is None:
        raise _refusal("this option takes a Python object, which a spec string cannot hold", value)
    return reader(value)


def _convert_union(value: Value, members: tuple[Any, ...], build: Build) -> Any:
    """Try the members from the narrowest on: numbers and choices before text, which takes anything."""
    if NOTHING in members and value == Word("none", value.position):
        return None
    candidates = [m for m in members if m is not NOTHING and get_origin(m) is not tuple]
    if isinstance(value, Word) and value.quote:
        # A quoted "5" is text wherever text is allowed.
        candidates = [m for m in candidates if m not in _NUMBERS] or candidates
    *narrow, widest = sorted(candidates, key=_breadth)
    for member in narrow:
        with suppress(SpecError):
            return convert(value, member, build)
    try:
        return convert(value, widest, build)
    except SpecError:
        if not narrow or widest in _READERS:
            raise
    raise _refusal(f"{_shown(value)} is not {' or '.join(map(describe, candidates))}", value)


def _breadth(hint: Any) -> int:
    """Order types from those that take few words to those that take any."""
    if hint in _NUMBERS:
        return _NUMBERS.index(hint)
    if get_origin(hint) is Literal:
        return 3
    return 4 if hint in _READERS else 5


def _convert_literal(word: Word, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if _reads_back(word, choice, type(choice)):
            return choice
    names = [format_value(choice, type(choice)) for choice in choices]
    raise _refusal(f"{word.text!r} is not one of {', '.join(names)}{did_you_mean(word.text, names)}", word)


def _read_integer(word: Word) -> int:
    match = _INTEGER.fullmatch(word.text)
    if match is None or match[3].lower() not in UNITS:
        raise _refusal(f"{word.text!r} is no whole number (write 2, 0x10, 64KiB or 1MB)", word)
    sign = -1 if match[1] == "-" else 1
    digits = match[2].replace("_", "")
    return sign * int(digits, 16 if digits[:2] in ("0x", "0X") else 10) * UNITS[match[3].lower()]


def _read_float(word: Word) -> float:
    try:
        return float(word.text)
    except ValueError:
        raise _refusal(f"{word.text!r} is no number", word) from None


def _read_boolean(word: Word) -> bool:
    try:
        return BOOLEANS[word.text.lower()]
    except KeyError:
        raise _refusal(f"{word.text!r} is neither yes nor no", word) from None


def _read_text(word: Word) -> str:
    if word.quote == "'":
        return word.text
    return _ESCAPE.sub(lambda match: _character(match, word), word.text)


def _read_bytes(word: Word) -> bytes:
    if word.quote == "'":
        return word.text.encode("utf-8")
    # An escaped byte travels as a lone surrogate, which is what "surrogateescape" turns back into it.
    text = _ESCAPE.sub(lambda match: _byte(_character(match, word)), word.text)
    return text.encode("utf-8", "surrogateescape")


def _byte(character: str) -> str:
    return character if character < "\x80" else chr(0xDC00 + ord(character))


def _character(match: re.Match[str], word: Word) -> str:
    escape = match[1]
    if len(escape) == 3:
        return chr(int(escape[1:], 16))
    if escape not in _ESCAPES:
        raise _refusal(f"unknown escape \\{escape} (write \\\\{escape}, or the text in single quotes)", word)
    return _ESCAPES[escape]


_READERS: dict[Any, Callable[[Word], Any]] = {
    int: _read_integer,
    float: _read_float,
    bool: _read_boolean,
    str: _read_text,
    bytes: _read_bytes,
}


def _shown(value: Value) -> str:
    return repr(value.text) if isinstance(value, Word) else f"{value.name}(...)"


def _refusal(reason: str, value: Value) -> SpecError:
    return SpecError(reason, position=value.position)


# To text ---------------------------------------------------------------------------------------


def format_value(value: Any, hint: Any) -> str:
    """Return the shortest text that `convert` turns back into this value."""
    if hasattr(value, "can_be_empty"):
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
        return _format_text(value, hint)
    return _format_object(value)


def format_size(size: int) -> str:
    """Return a whole number with the largest binary unit that divides it: ``64KiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % UNITS[unit.lower()] == 0:
            return f"{size // UNITS[unit.lower()]}{unit}"
    return str(size)


def _format_text(value: str | bytes, hint: Any) -> str:
    text = _printable(value)
    if _BARE.fullmatch(text) and _reads_back(Word(text), value, hint):
        return text
    literal = text.replace("\\\\", "")
    if "\\" in text and "\\" not in literal and "'" not in text:
        return "'" + text.replace("\\\\", "\\") + "'"
    return '"' + text.replace('"', '\\"') + '"'


def _reads_back(word: Word, value: Any, hint: Any) -> bool:
    try:
        found = convert(word, hint, no_framers)
    except SpecError:
        return False
    return type(found) is type(value) and bool(found == value)


def no_framers(spec: Spec) -> NoReturn:
    """Refuse to build a nested framer, where values are read that hold none."""
    raise SpecError(f"{spec.name} is a framer", position=spec.position)


def _printable(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    return "".join(_escaped(character, isinstance(value, bytes)) for character in text)


def _escaped(character: str, as_bytes: bool) -> str:
    for letter, meaning in _ESCAPES.items():
        if character == meaning and letter != '"':
            return "\\" + letter
    if character.isprintable() or (not as_bytes and character > "\xff"):
        return character
    if not as_bytes:
        return f"\\x{ord(character):02x}"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _format_object(value: Any) -> str:
    name = getattr(value, "__name__", None)
    if name is not None and callable(value):
        return f"<function {name}>"
    return f"<{type(value).__name__}>"
