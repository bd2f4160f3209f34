"""Which patterns end a frame at the same byte for every chunking, in bounded time, and how to search them.

A frame ends at the earliest byte by which the pattern matches. To find it in the bytes that have arrived,
going back a bounded number of bytes, a match must be bounded in length and depend on its own bytes only;
for it to be what the author means, a shorter alternative must not make a longer one unreachable.

The standard library's own parser reads the pattern, so that a pattern means here what it means in `re`, and
its compiler says which bytes a set holds. They are not public (``re._parser`` and ``re._compiler`` are their
names from 3.11 to 3.15 at least), but a parser of our own would be longer and would differ. Only `parse`,
`_node` and `_set_of` depend on them; `_node` refuses any node it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from importlib import import_module
from itertools import count, groupby
from typing import Any, Final, NamedTuple

_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")

LONGEST: Final = 4096
"""Most bytes a match may take: up to this many are searched again when more data arrives."""

MOST_STEPS: Final = 1000
"""Most steps the backtracking engine ``re`` may take at one byte."""

_UNBOUNDED: Final[int] = int(_parser.MAXREPEAT)
_MOST_WORDS: Final = 64
_EVERY_BYTE: Final = bytes(range(256))

# What a part can stand next to without parentheses: nothing, other parts, or also a count of repeats.
_CHOICE, _SERIES, _ATOM = range(3)


class Node(NamedTuple):
    """The properties of a pattern, or of a part of one.

    Attributes:
        text: the pattern without flags, classes or shorthands, as every engine reads it alike.
        least, most: bytes of the shortest and the longest match.
        ways, steps: ways to match at one place, and steps to try them all.
        words: every byte string that matches; None if there are too many to list.
        binding: what it can stand next to without parentheses.
        refused: why it cannot be searched for; "" if it can.
        loose: why it must not end a pattern: at its end, a repeat could continue where a shorter match is
            complete.
    """

    text: str
    least: int
    most: int
    ways: int
    steps: int
    words: frozenset[bytes] | None
    binding: int = _SERIES
    refused: str = ""
    loose: str = ""

    def beside(self, binding: int) -> str:
        """Return the text, in parentheses if its neighbours would change its meaning."""
        return self.text if self.binding >= binding else f"(?:{self.text})"


def _one_of(allowed: frozenset[int]) -> Node:
    """Return the properties of one byte out of a set."""
    steps = count()
    runs = [list(run) for _, run in groupby(sorted(allowed), lambda byte: byte - next(steps))]
    spelled = ["-".join(map(_spell_byte, dict.fromkeys((run[0], run[-1])))) for run in runs]
    text = spelled[0] if len(allowed) == 1 else f"[{''.join(spelled)}]"
    return Node(text, 1, 1, 1, 1, _few(bytes((byte,)) for byte in allowed), _ATOM)


def _then(one: Node, other: Node) -> Node:
    """Return the properties of a part with another one after it."""
    words = None
    if one.words is not None and other.words is not None:
        words = _few(first + second for first in one.words for second in other.words)
    return Node(
        one.beside(_SERIES) + other.beside(_SERIES),
        one.least + other.least,
        one.most + other.most,
        one.ways * other.ways,
        one.steps + one.ways * other.steps,
        words,
        refused=one.refused or other.refused,
        loose=other.loose,
    )


def _either(one: Node, other: Node) -> Node:
    """Return the properties of a choice: the first alternative that leads to a match."""
    return Node(
        f"{one.text}|{other.text}",
        min(one.least, other.least),
        max(one.most, other.most),
        one.ways + other.ways,
        one.steps + other.steps,
        None if one.words is None or other.words is None else _few(one.words | other.words),
        _CHOICE,
        one.refused or other.refused,
        one.loose or other.loose,
    )


def _repeat(part: Node, least: int, most: int, lazy: bool) -> Node:
    """Return the properties of a repeated part, as often as possible or, if lazy, as seldom."""
    text = _spell_repeat(part, least, most, lazy)
    refused = part.refused
    if most == _UNBOUNDED:
        bounded = _spell_repeat(part, least, max(200, least), lazy)
        refused = (
            f"{text} has no upper bound, so bytes already searched could never be released;"
            f" bound it, such as {bounded}, or end the frame with a delimiter"
        )
    elif not refused and part.least == 0 and most > 1:
        refused = (
            f"{text} repeats what may be empty, which engines understand differently;"
            " repeat something of at least one byte: (?:a?){1,3} is a{0,3}"
        )
    loose = part.loose
    if least < most:
        instead = _spell_repeat(part, least, least, lazy) if least else "nothing there"
        loose = (
            f"the frame ends at the shortest match, so {text} at the end never goes beyond"
            f" {least}; write {instead}, or add what stands after it"
        )
    repeated = part
    if not refused and part.most * most <= LONGEST:
        # a{2,4} is aa(|a(|a)): each further round is tried from every way that the rounds before it matched.
        repeated, one_round = _NOTHING, part._replace(text="")
        for number in range(most, 0, -1):
            repeated = _then(one_round, repeated)
            if number > least:
                repeated = _either(_NOTHING, repeated)._replace(text="")
    return repeated._replace(
        text=text,
        least=part.least * least,
        most=part.most * most,
        binding=_SERIES,
        refused=refused,
        loose=loose,
    )


def _spell_repeat(part: Node, least: int, most: int, lazy: bool) -> str:
    if most == _UNBOUNDED:
        counts = {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    elif least == most:
        counts = f"{{{least}}}" if least != 1 else ""
    else:
        counts = "?" if most == 1 else f"{{{least},{most}}}"
    return part.beside(_ATOM) + counts + ("?" if lazy and least < most else "")


def _few(words: Iterable[bytes]) -> frozenset[bytes] | None:
    together = frozenset(words)
    return together if len(together) <= _MOST_WORDS else None


def _spell_byte(byte: int) -> str:
    character = chr(byte)
    if not (character.isascii() and character.isprintable()):
        return {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}.get(byte, f"\\x{byte:02x}")
    return character if character.isalnum() or character in " _" else f"\\{character}"


_NOTHING: Final = Node("", 0, 0, 1, 0, frozenset((b"",)))

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


def parse(pattern: bytes) -> tuple[Node, Node]:
    """Return the properties of a pattern, and of a simpler one whose matches end at the same bytes.

    The simpler one leaves out an optional beginning.

    Raises:
        ValueError: it is not a regular expression, or its match depends on more than the matched bytes.
    """
    try:
        tree = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    flags = tree.state.flags
    if flags & re.LOCALE:
        raise ValueError("the flag L makes the match depend on the locale; list the bytes: [a-z\\xe4]")
    names = {number: name for name, number in tree.state.groupdict.items()}
    return _tree(tree, flags, names, needed=False), _tree(tree, flags, names, needed=True)


def _tree(tree: Any, flags: int, names: dict[int, str], *, needed: bool) -> Node:
    """Return the properties of a tree; with `needed`, without an optional beginning."""
    parts: list[Node] = []
    for code, argument in tree:
        at_the_beginning = needed and not parts
        part = _node(code, argument, flags, names, needed=at_the_beginning)
        if not at_the_beginning or part != _NOTHING:
            parts.append(part)
    return reduce(_then, parts) if parts else _NOTHING


def _node(code: Any, argument: Any, flags: int, names: dict[int, str], *, needed: bool) -> Node:
    op = str(code)
    if op == "BRANCH":
        options = [_tree(option, flags, names, needed=needed) for option in argument[1]]
        return _NOTHING if needed and _NOTHING in options else reduce(_either, options)
    if op == "SUBPATTERN":
        number, added, removed, tree = argument
        part = _tree(tree, (flags | added) & ~removed, names, needed=needed)
        if number is None or needed:
            return part
        name = f"?P<{names[number]}>" if number in names else ""
        return part._replace(text=f"({name}{part.text})", binding=_ATOM)
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, tree = argument
        if needed and least < 2:
            return _tree(tree, flags, names, needed=True) if least else _NOTHING
        part = _tree(tree, flags, names, needed=False)
        return _repeat(part, int(least), int(least if needed else most), op == "MIN_REPEAT")
    if op in _REFUSED:
        raise ValueError(_REFUSED[op])
    if op not in ("ANY", "LITERAL", "NOT_LITERAL", "IN"):
        raise ValueError(f"{op.lower()} is not supported; write it with literals, sets and bounded repeats")
    return _one_of(_set_of(code, argument, flags))


def _set_of(code: Any, argument: Any, flags: int) -> frozenset[int]:
    """Return the bytes that a node for one byte stands for: those that `re` says it matches."""
    state = _parser.State()
    state.flags = flags
    one_byte = _compiler.compile(_parser.SubPattern(state, [(code, argument)]))
    if not (allowed := frozenset(b"".join(one_byte.findall(_EVERY_BYTE)))):
        raise ValueError("it has a set that no byte is in, so it never matches; leave the set out")
    return allowed


# Result of the analysis ------------------------------------------------------------------------


class Analysis(NamedTuple):
    """The properties of an accepted pattern.

    Attributes:
        pattern: the pattern spelled so that every engine reads it alike.
        ending: a simpler pattern whose matches end at the same bytes; this one is searched for.
        least, most: bytes of the shortest and the longest match of `ending`.
        longest: bytes of the longest match of `pattern`, if that is bounded, else 0.
        steps: upper bound on the steps of a backtracking engine at one byte.
        exact: whether the leftmost match of `ending` is also the one that ends first.
    """

    pattern: bytes
    ending: bytes
    least: int
    most: int
    longest: int
    steps: int
    exact: bool


def analyse(pattern: bytes, *, whole: bool) -> Analysis:
    """Return the analysis of the pattern; `whole` if the match is wanted, not only where it ends.

    Raises:
        ValueError: the pattern is refused; the text says why, and what to write instead.
    """
    written, ending = parse(pattern)
    searched = written if whole else ending
    for node in (ending, searched):
        if node.refused:
            raise ValueError(node.refused)
        if node.most > LONGEST:
            raise ValueError(
                f"a match may take {node.most} bytes, limit {LONGEST}; bound the repeats tighter,"
                " or read the long part with another condition: sequence(...)"
            )
    if ending.least == 0:
        raise ValueError("it matches the empty string, at which no frame can end; require at least one byte")
    if written.loose:
        raise ValueError(written.loose)
    text = ending.text
    if ending.words is not None:
        text = "|".join("".join(map(_spell_byte, word)) for word in _last_words(ending.words))
    return Analysis(
        written.text.encode("ascii"),
        text.encode("ascii"),
        ending.least,
        ending.most,
        written.most if whole else 0,
        searched.steps,
        ending.words is not None,
    )


def _last_words(words: frozenset[bytes]) -> list[bytes]:
    """Return the words without those that end with another one: where they match, that one matches too.

    No remaining word contains another, so of those in the data the leftmost is the one that ends first.
    """
    for word in sorted(words):
        for other in sorted(words):
            if other in word[:-1]:
                raise ValueError(f"the frame ends at {other!r}, so {word!r} is never reached; leave it out")
    return sorted(word for word in words if not any(word.endswith(other) for other in words - {word}))
