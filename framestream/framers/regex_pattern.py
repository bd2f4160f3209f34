"""Which patterns end a frame at the same byte for every chunking, in bounded time, and how to search them.

A frame ends at the earliest byte by which the pattern matches. For that to be found by searching what has
arrived, going back a bounded number of bytes, a match must be bounded in length and depend on its own
bytes only; for it to be what the author means, no alternative may hide behind a shorter one.

The standard library's own parser reads the pattern, so that a pattern means here what it means in `re`, and
its compiler says which bytes a set holds. They are not public (``re._parser`` and ``re._compiler``, as they
are called from 3.11 to 3.15 at least), but a parser of our own would be longer and would differ. `_node` and
`_set_of` are all that know them; what `_node` does not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeAlias

_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")

LONGEST: Final = 4096
"""Most bytes a match may take: that much is searched again when more data arrives."""

MOST_STEPS: Final = 1000
"""Most steps the backtracking engine ``re`` may take at one byte."""

_UNBOUNDED: Final[int] = int(_parser.MAXREPEAT)
_MOST_WORDS: Final = 64
TOO_MANY: Final = 1 << 32
_EVERY_BYTE: Final = bytes(range(256))


class Cost(NamedTuple):
    """Fewest and most bytes of a match; ways to match at one place, and steps to try them all."""

    least: int
    most: int
    ways: int
    steps: int


class _TooManyWordsError(Exception):
    """More byte strings match than are worth a list."""


# A pattern, or a part of one, is a node of four kinds, each with the same five questions:
#
#   spell()      it as a pattern without flags, classes or shorthands, which every engine reads alike
#   cost()       what a match takes; ValueError if that is not bounded, or if engines differ about it
#   words()      every byte string that matches
#   needed()     it without what a match may begin with or not: its matches end at the same bytes
#   loose_end()  a repeat at its end that could go on where a shorter match is complete


@dataclass(frozen=True)
class OneOf:
    """One byte out of a set."""

    allowed: frozenset[int]

    def spell(self) -> str:
        ranges: list[list[int]] = []
        for byte in sorted(self.allowed):
            if ranges and byte == ranges[-1][1] + 1:
                ranges[-1][1] = byte
            else:
                ranges.append([byte, byte])
        if len(self.allowed) == 1:
            return _spell_byte(ranges[0][0])
        return "[" + "".join("-".join(map(_spell_byte, dict.fromkeys(ends))) for ends in ranges) + "]"

    def cost(self) -> Cost:
        return Cost(1, 1, 1, 1)

    def words(self) -> frozenset[bytes]:
        return _few(bytes((byte,)) for byte in self.allowed)

    def needed(self) -> Node:
        return self

    def loose_end(self) -> Repeat | None:
        return None


@dataclass(frozen=True)
class Series:
    """One part after the other; with a `group`, which may have a name, they are captured."""

    parts: tuple[Node, ...] = ()
    group: str | None = None

    def spell(self) -> str:
        inside = "".join(
            f"(?:{part.spell()})" if type(part) is Choice else part.spell() for part in self.parts
        )
        if self.group is None:
            return inside
        return f"(?P<{self.group}>{inside})" if self.group else f"({inside})"

    def cost(self) -> Cost:
        least, most, ways, steps = 0, 0, 1, 0
        for part in self.parts:
            cost = part.cost()
            least, most = least + cost.least, most + cost.most
            steps = min(steps + ways * cost.steps, TOO_MANY)
            ways = min(ways * cost.ways, TOO_MANY)
        return Cost(least, most, ways, steps)

    def words(self) -> frozenset[bytes]:
        together = frozenset((b"",))
        for part in self.parts:
            words = part.words()
            together = _few(first + second for first in together for second in words)
        return together

    def needed(self) -> Node:
        for index, part in enumerate(self.parts):
            if (needed := part.needed()) != _NOTHING:
                return Series((needed, *self.parts[index + 1 :]))
        return _NOTHING

    def loose_end(self) -> Repeat | None:
        return self.parts[-1].loose_end() if self.parts else None


_NOTHING: Final = Series()


@dataclass(frozen=True)
class Choice:
    """The first alternative that leads to a match."""

    options: tuple[Node, ...]

    def spell(self) -> str:
        return "|".join(option.spell() for option in self.options)

    def cost(self) -> Cost:
        least, most, ways, steps = zip(*(option.cost() for option in self.options), strict=True)
        return Cost(min(least), max(most), min(sum(ways), TOO_MANY), min(sum(steps), TOO_MANY))

    def words(self) -> frozenset[bytes]:
        return _few(word for option in self.options for word in option.words())

    def needed(self) -> Node:
        options = tuple(option.needed() for option in self.options)
        return _NOTHING if _NOTHING in options else Choice(options)

    def loose_end(self) -> Repeat | None:
        return next(filter(None, (option.loose_end() for option in self.options)), None)


@dataclass(frozen=True)
class Repeat:
    """A part several times, as often as possible or, if it is `lazy`, as seldom."""

    part: Node
    least: int
    most: int
    lazy: bool = False

    def spell(self) -> str:
        part = self.part.spell()
        if type(self.part) is not OneOf and getattr(self.part, "group", None) is None:
            part = f"(?:{part})"
        if self.most == _UNBOUNDED:
            counts = {0: "*", 1: "+"}.get(self.least, f"{{{self.least},}}")
        elif self.least == self.most:
            counts = f"{{{self.least}}}" if self.least != 1 else ""
        else:
            counts = "?" if self.most == 1 else f"{{{self.least},{self.most}}}"
        return part + counts + ("?" if self.lazy and self.least < self.most else "")

    def exactly(self, times: int) -> Repeat:
        """Return the part so many times."""
        return Repeat(self.part, times, times)

    def cost(self) -> Cost:
        if self.most == _UNBOUNDED:
            bounded = Repeat(self.part, self.least, max(200, self.least), self.lazy).spell()
            raise ValueError(
                f"{self.spell()} has no upper bound, so what is searched could never be left behind;"
                f" bound it, such as {bounded}, or end the frame with a delimiter"
            )
        part = self.part.cost()
        if part.least == 0 and self.most > 1:
            raise ValueError(
                f"{self.spell()} repeats what may be empty, which engines understand differently;"
                " repeat something of at least one byte: (?:a?){1,3} is a{0,3}"
            )
        least, most = part.least * self.least, part.most * self.most
        if most > LONGEST:
            return Cost(least, most, TOO_MANY, TOO_MANY)
        # Each further round is tried from every way the rounds before it matched.
        ways, steps, reached = 0, 0, 1
        for count in range(self.most + 1):
            if count >= self.least:
                ways = min(ways + reached, TOO_MANY)
            if count < self.most:
                steps = min(steps + reached * part.steps, TOO_MANY)
            reached = min(reached * part.ways, TOO_MANY)
        return Cost(least, most, ways, steps)

    def words(self) -> frozenset[bytes]:
        if self.most >= self.least + _MOST_WORDS:
            raise _TooManyWordsError
        counts = range(self.least, self.most + 1)
        return _few(word for count in counts for word in Series((self.part,) * count).words())

    def needed(self) -> Node:
        if self.least > 1:
            return self.exactly(self.least)
        return self.part.needed() if self.least else _NOTHING

    def loose_end(self) -> Repeat | None:
        return self if self.least < self.most else self.part.loose_end()


Node: TypeAlias = OneOf | Series | Choice | Repeat


def _few(words: Iterable[bytes]) -> frozenset[bytes]:
    together = frozenset(words)
    if len(together) > _MOST_WORDS:
        raise _TooManyWordsError
    return together


def _spell_byte(byte: int) -> str:
    character = chr(byte)
    if not (character.isascii() and character.isprintable()):
        return {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}.get(byte, f"\\x{byte:02x}")
    return character if character.isalnum() or character in " _" else f"\\{character}"


# From the standard library's tree ---------------------------------------------------------------

_REFUSED: Final = {
    "AT": "an anchor or boundary (^ $ \\A \\Z \\b \\B) depends on more than the bytes that match; match the"
    " bytes themselves, such as \\n; the search begins at the frame's start anyway",
    "ASSERT": "a lookahead or lookbehind depends on more than the bytes that match; make those bytes part of"
    " the pattern",
    "ASSERT_NOT": "a negative lookahead or lookbehind depends on more than the bytes that match; list what"
    " may stand there, such as [^x]",
    "FAILURE": "a negative lookahead of nothing never matches; leave it out",
    "GROUPREF": "a backreference depends on what was captured; read one field after the other: sequence(...)",
    "GROUPREF_EXISTS": "a conditional depends on what was captured; write both cases as alternatives: a|b",
    "ATOMIC_GROUP": "an atomic group depends on how the engine searches; use (?:...)",
    "POSSESSIVE_REPEAT": "a possessive repeat depends on how the engine searches; use a plain repeat",
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
    return _series(tree, flags, names)


def _series(tree: Any, flags: int, names: dict[int, str]) -> Node:
    parts = tuple(_node(code, argument, flags, names) for code, argument in tree)
    return parts[0] if len(parts) == 1 else Series(parts)


def _node(code: Any, argument: Any, flags: int, names: dict[int, str]) -> Node:
    op = str(code)
    if op == "BRANCH":
        return Choice(tuple(_series(option, flags, names) for option in argument[1]))
    if op == "SUBPATTERN":
        number, added, removed, tree = argument
        part = _series(tree, (flags | added) & ~removed, names)
        return part if number is None else Series((part,), names.get(number, ""))
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, tree = argument
        return Repeat(_series(tree, flags, names), int(least), int(most), op == "MIN_REPEAT")
    if op in _REFUSED:
        raise ValueError(_REFUSED[op])
    if op not in ("ANY", "LITERAL", "NOT_LITERAL", "IN"):
        raise ValueError(f"{op.lower()} is not supported; write it with literals, sets and bounded repeats")
    return OneOf(_set_of(code, argument, flags))


def _set_of(code: Any, argument: Any, flags: int) -> frozenset[int]:
    """Return the bytes that a node for one byte stands for: those that `re` says it matches."""
    state = _parser.State()
    state.flags = flags
    one_byte = _compiler.compile(_parser.SubPattern(state, [(code, argument)]))
    if not (allowed := frozenset(b"".join(one_byte.findall(_EVERY_BYTE)))):
        raise ValueError("it has a set that no byte is in, so it never matches; leave the set out")
    return allowed


# What there is to know --------------------------------------------------------------------------


@dataclass(frozen=True)
class Analysis:
    """What is known about an accepted pattern.

    Attributes:
        pattern: the pattern spelled so that every engine reads it alike.
        ending: a simpler pattern whose matches end at the same bytes; this is what is searched for.
        least, most: bytes of the shortest and the longest match of `ending`.
        longest: bytes of the longest match of `pattern`, if that is bounded, else 0.
        steps: upper bound on what a backtracking engine does at one byte.
        exact: whether the leftmost match of `ending` is also the one that ends first.
    """

    pattern: bytes
    ending: bytes
    least: int
    most: int
    longest: int
    steps: int
    exact: bool


@lru_cache(maxsize=128)
def analyse(pattern: bytes, *, whole: bool) -> Analysis:
    """Return what there is to know about the pattern; `whole` if the match is wanted, not only where it ends.

    Raises:
        ValueError: the pattern is refused; the text says why, and what to write instead.
    """
    tree = parse(pattern)
    ending = tree.needed()
    cost = _bounded_cost(ending)
    whole_cost = _bounded_cost(tree) if whole else cost
    if cost.least == 0:
        raise ValueError("it matches the empty string, at which no frame can end; require at least one byte")
    if loose := tree.loose_end():
        instead = loose.exactly(loose.least).spell() if loose.least else "nothing there"
        raise ValueError(
            f"the frame ends at the shortest match, so {loose.spell()} at the end never goes beyond"
            f" {loose.least}; write {instead}, or add what stands after it"
        )
    try:
        words = _last_words(ending.words())
        ending = Choice(tuple(Series(tuple(OneOf(frozenset((byte,))) for byte in word)) for word in words))
    except _TooManyWordsError:
        words = []
    return Analysis(
        tree.spell().encode("ascii"),
        ending.spell().encode("ascii"),
        cost.least,
        cost.most,
        whole_cost.most if whole else 0,
        whole_cost.steps,
        bool(words),
    )


def _bounded_cost(tree: Node) -> Cost:
    cost = tree.cost()
    if cost.most > LONGEST:
        raise ValueError(
            f"a match may take {cost.most} bytes, limit {LONGEST}; bound the repeats tighter,"
            " or read the long part with another condition: sequence(...)"
        )
    return cost


def _last_words(words: frozenset[bytes]) -> list[bytes]:
    """Return the words without those that end with another one: where they match, that one matches too.

    None of what is left contains another, so of those in the data the leftmost is the one that ends first.
    """
    for word in sorted(words):
        for other in sorted(words):
            if other in word[:-1]:
                raise ValueError(f"the frame ends at {other!r}, so {word!r} is never reached; leave it out")
    return sorted(word for word in words if not any(word.endswith(other) for other in words - {word}))
