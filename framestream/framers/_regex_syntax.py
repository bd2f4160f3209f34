"""Regular expressions as trees of a few node kinds: bytes, sequences, choices, repeats, groups.

The standard library's own parser reads the pattern, so that a pattern means here what it means in `re`.
It is not a public module; this file is the only one that knows it. What cannot be decided from the bytes
of the match alone has no node and is refused here.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeAlias

# In 3.11 `sre_parse` became `re._parser`, and its old name a deprecation warning.
_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


@dataclass(frozen=True)
class OneOf:
    """One byte out of a set."""

    allowed: frozenset[int]


@dataclass(frozen=True)
class Series:
    """One part behind the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """The first alternative that leads to a match."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part several times, as often as possible or, unless `greedy`, as seldom."""

    part: Node
    least: int
    most: int
    greedy: bool


@dataclass(frozen=True)
class Group:
    """A capturing group."""

    part: Node
    name: str | None


Node: TypeAlias = OneOf | Series | Choice | Repeat | Group

UNBOUNDED: Final[int] = int(_parser.MAXREPEAT)

_EVERY_BYTE: Final = frozenset(range(256))
_CLASSES: Final = {
    f"CATEGORY_{name}": frozenset(byte for byte in range(256) if re.match(escape, bytes((byte,))))
    for name, escape in (
        ("DIGIT", rb"\d"), ("NOT_DIGIT", rb"\D"), ("SPACE", rb"\s"),
        ("NOT_SPACE", rb"\S"), ("WORD", rb"\w"), ("NOT_WORD", rb"\W"),
    )
}  # fmt: skip

_SHORTHANDS: Final = {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}

_SHORT_COUNTS: Final = {(0, 1): "?", (1, 1): "", (0, UNBOUNDED): "*", (1, UNBOUNDED): "+"}

_MATCH_THE_BYTES = "match the bytes themselves, such as \\n; the search begins at the frame's start anyway"
_INCLUDE_THEM = "make those bytes part of the pattern"
_PLAIN_REPEAT = "use a plain repeat"
_REFUSED: Final = {
    "AT": ("an anchor or boundary (^ $ \\A \\Z \\b \\B)", _MATCH_THE_BYTES),
    "ASSERT": ("a lookahead or lookbehind", _INCLUDE_THEM),
    "ASSERT_NOT": ("a negative lookahead or lookbehind", "list what may stand there, such as [^x]"),
    "FAILURE": ("a negative lookahead", "leave it out: nothing ever matches"),
    "GROUPREF": ("a backreference", "read one field after the other: sequence(...)"),
    "GROUPREF_EXISTS": ("a conditional", "write both cases as alternatives: a|b"),
    "ATOMIC_GROUP": ("an atomic group", "use (?:...)"),
    "POSSESSIVE_REPEAT": ("a possessive repeat", _PLAIN_REPEAT),
}


def parse(pattern: bytes) -> Node:
    """Return the pattern as a tree.

    Raises:
        ValueError: it is no regular expression, or what it matches depends on more than the matched bytes.
    """
    try:
        tree = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    flags = tree.state.flags
    if flags & re.LOCALE:
        raise ValueError("the flag L makes the match depend on the locale; list the bytes: [a-z\\xe4]")
    names = {number: name for name, number in tree.state.groupdict.items()}
    return _Reader(names).series(tree, flags)


class _Reader:
    """Turns the parser's tree into nodes."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def series(self, tree: Any, flags: int) -> Node:
        parts = tuple(self.node(str(op), argument, flags) for op, argument in tree)
        return parts[0] if len(parts) == 1 else Series(parts)

    def node(self, op: str, argument: Any, flags: int) -> Node:
        if op == "BRANCH":
            return Choice(tuple(self.series(option, flags) for option in argument[1]))
        if op == "SUBPATTERN":
            number, added, removed, tree = argument
            part = self.series(tree, (flags | added) & ~removed)
            return part if number is None else Group(part, self.names.get(number))
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, tree = argument
            return Repeat(self.series(tree, flags), int(least), int(most), op == "MAX_REPEAT")
        if op in _REFUSED:
            what, way_out = _REFUSED[op]
            raise ValueError(f"{what} depends on more than the bytes that match; {way_out}")
        allowed = _bytes_of(op, argument, flags)
        if not allowed:
            raise ValueError("it has a set that no byte is in, so it never matches; leave the set out")
        return OneOf(allowed)


def _bytes_of(op: str, argument: Any, flags: int) -> frozenset[int]:
    if op == "ANY":
        return _EVERY_BYTE if flags & re.DOTALL else _EVERY_BYTE - {ord("\n")}
    if op == "LITERAL":
        return _either_case({argument}, flags)
    if op == "NOT_LITERAL":
        return _EVERY_BYTE - _either_case({argument}, flags)
    if op == "IN":
        return _set_of(argument, flags)
    raise ValueError(f"{op.lower()} is not supported; write it with literals, sets and bounded repeats")


def _set_of(items: list[tuple[Any, Any]], flags: int) -> frozenset[int]:
    allowed: set[int] = set()
    negated = False
    for op, argument in items:
        kind = str(op)
        if kind == "NEGATE":
            negated = True
        elif kind == "RANGE":
            allowed.update(range(argument[0], argument[1] + 1))
        elif kind == "CATEGORY":
            allowed |= _CLASSES[str(argument)]
        else:
            allowed.add(argument)
    folded = _either_case(allowed, flags)
    return _EVERY_BYTE - folded if negated else folded


def _either_case(allowed: set[int], flags: int) -> frozenset[int]:
    if not flags & re.IGNORECASE:
        return frozenset(allowed)
    both = bytes(sorted(allowed))
    return frozenset(both.lower() + both.upper())


def spell(node: Node) -> str:
    """Return the tree as a pattern without flags, classes or shorthands, which every engine reads alike."""
    if isinstance(node, OneOf):
        return _spell_set(node.allowed)
    if isinstance(node, Series):
        return "".join(map(_spell_part, node.parts))
    if isinstance(node, Choice):
        return "|".join(map(spell, node.options))
    if isinstance(node, Group):
        return f"(?P<{node.name}>{spell(node.part)})" if node.name else f"({spell(node.part)})"
    part = spell(node.part)
    if not isinstance(node.part, OneOf | Group):
        part = f"(?:{part})"
    lazy = "?" if not node.greedy and node.least < node.most else ""
    return part + _spell_counts(node.least, node.most) + lazy


def _spell_part(node: Node) -> str:
    return f"(?:{spell(node)})" if isinstance(node, Choice) else spell(node)


def _spell_counts(least: int, most: int) -> str:
    if (least, most) in _SHORT_COUNTS:
        return _SHORT_COUNTS[least, most]
    if most == UNBOUNDED:
        return f"{{{least},}}"
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"


def _spell_set(allowed: frozenset[int]) -> str:
    if len(allowed) == 1:
        return _spell_byte(min(allowed))
    ranges: list[list[int]] = []
    for byte in sorted(allowed):
        if ranges and byte == ranges[-1][1] + 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return "[" + "".join(map(_spell_range, ranges)) + "]"


def _spell_range(ends: list[int]) -> str:
    low, high = map(_spell_byte, ends)
    return low if low == high else f"{low}-{high}"


def _spell_byte(byte: int) -> str:
    if byte in _SHORTHANDS:
        return _SHORTHANDS[byte]
    character = chr(byte)
    if not (character.isascii() and character.isprintable()):
        return f"\\x{byte:02x}"
    return character if character.isalnum() or character in " _" else f"\\{character}"
