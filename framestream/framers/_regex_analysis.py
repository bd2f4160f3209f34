"""Which patterns end a frame at the same byte for every chunking, in bounded time, and how to search them.

A frame ends at the earliest byte by which the pattern matches. For that to be found by searching what has
arrived, going back a bounded number of bytes, a match must be bounded in length and depend on its own
bytes only; for it to be what the author means, no alternative may hide behind a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from framestream.framers._regex_syntax import (
    UNBOUNDED,
    Choice,
    Group,
    Node,
    OneOf,
    Repeat,
    Series,
    parse,
    spell,
)

LONGEST: Final = 4096
"""Most bytes a match may take: that much is searched again when more data arrives."""

MOST_STEPS: Final = 1000
"""Most steps the backtracking engine ``re`` may take at one byte."""

_MOST_WORDS: Final = 64
_TOO_MANY: Final = 1 << 32
_NOTHING: Final = Series(())


class Cost(NamedTuple):
    """Fewest and most bytes of a match; ways to match at one place, and steps to try them all."""

    least: int
    most: int
    ways: int
    steps: int


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
    ending = _without_lead(tree)
    cost = _bounded_cost(ending)
    longest, steps = 0, cost.steps
    if whole:
        _, longest, _, steps = _bounded_cost(tree)
    if cost.least == 0:
        raise ValueError("it matches the empty string, at which no frame can end; require at least one byte")
    if loose := _loose_end(tree):
        raise ValueError(
            f"the frame ends at the shortest match, so {spell(loose)} at the end never goes beyond"
            f" {loose.least}; write {_exactly(loose)}, or add what stands behind it"
        )
    if words := _last_words(_words(ending) or frozenset()):
        ending = Choice(tuple(Series(tuple(OneOf(frozenset((byte,))) for byte in word)) for word in words))
    return Analysis(
        spell(tree).encode("ascii"),
        spell(ending).encode("ascii"),
        cost.least,
        cost.most,
        longest,
        steps,
        bool(words),
    )


def _without_lead(node: Node) -> Node:
    """Return the pattern without what a match may begin with or not: its matches end at the same bytes."""
    if isinstance(node, OneOf):
        return node
    if isinstance(node, Group):
        return _without_lead(node.part)
    if isinstance(node, Choice):
        options = tuple(_without_lead(option) for option in node.options)
        return _NOTHING if _NOTHING in options else Choice(options)
    if isinstance(node, Repeat):
        if node.least > 1:
            return Repeat(node.part, node.least, node.least, greedy=True)
        return _without_lead(node.part) if node.least else _NOTHING
    for index, part in enumerate(node.parts):
        if (needed := _without_lead(part)) != _NOTHING:
            return Series((needed, *node.parts[index + 1 :]))
    return _NOTHING


def _bounded_cost(tree: Node) -> Cost:
    _refuse_unbounded(tree)
    cost = _cost(tree)
    if cost.most > LONGEST:
        raise ValueError(
            f"a match may take {cost.most} bytes, limit {LONGEST}; bound the repeats tighter,"
            " or read the long part with another condition: sequence(...)"
        )
    return cost


def _exactly(node: Repeat) -> str:
    return spell(Repeat(node.part, node.least, node.least, greedy=True)) if node.least else "nothing there"


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, OneOf):
        return ()
    if isinstance(node, Series):
        return node.parts
    if isinstance(node, Choice):
        return node.options
    return (node.part,)


def _refuse_unbounded(node: Node) -> None:
    if isinstance(node, Repeat) and node.most == UNBOUNDED:
        bounded = spell(Repeat(node.part, node.least, max(200, node.least), node.greedy))
        raise ValueError(
            f"{spell(node)} has no upper bound, so what is searched could never be left behind;"
            f" bound it, such as {bounded}, or end the frame with a delimiter"
        )
    for child in _children(node):
        _refuse_unbounded(child)


def _cost(node: Node) -> Cost:
    if isinstance(node, OneOf):
        return Cost(1, 1, 1, 1)
    if isinstance(node, Group):
        return _cost(node.part)
    if isinstance(node, Repeat):
        return _cost_of_repeat(node, _cost(node.part))
    costs = [_cost(child) for child in _children(node)]
    if isinstance(node, Choice):
        return Cost(
            min(cost.least for cost in costs),
            max(cost.most for cost in costs),
            min(sum(cost.ways for cost in costs), _TOO_MANY),
            min(sum(cost.steps for cost in costs), _TOO_MANY),
        )
    ways, steps = 1, 0
    for cost in costs:
        steps = min(steps + ways * cost.steps, _TOO_MANY)
        ways = min(ways * cost.ways, _TOO_MANY)
    return Cost(sum(cost.least for cost in costs), sum(cost.most for cost in costs), ways, steps)


def _cost_of_repeat(node: Repeat, part: Cost) -> Cost:
    """Each further round is tried from every way the rounds before it matched."""
    if part.least == 0 and node.most > 1:
        raise ValueError(
            f"{spell(node)} repeats what may be empty, which engines understand differently;"
            " repeat something of at least one byte: (?:a?){1,3} is a{0,3}"
        )
    least, most = part.least * node.least, part.most * node.most
    if most > LONGEST:
        return Cost(least, most, _TOO_MANY, _TOO_MANY)
    ways, steps, reached = 0, 0, 1
    for count in range(node.most + 1):
        if count >= node.least:
            ways = min(ways + reached, _TOO_MANY)
        if count < node.most:
            steps = min(steps + reached * part.steps, _TOO_MANY)
        reached = min(reached * part.ways, _TOO_MANY)
    return Cost(least, most, ways, steps)


def _words(node: Node) -> frozenset[bytes] | None:
    """Return every byte string that matches, or None if they are too many to list."""
    if isinstance(node, OneOf):
        found = frozenset(bytes((byte,)) for byte in node.allowed)
        return found if len(found) <= _MOST_WORDS else None
    if isinstance(node, Group):
        return _words(node.part)
    if isinstance(node, Choice):
        return _union([_words(option) for option in node.options])
    if isinstance(node, Series):
        return _joined([_words(part) for part in node.parts])
    part = _words(node.part)
    counts = range(node.least, node.most + 1)
    if part is None or len(counts) > _MOST_WORDS:
        return None
    return _union([_joined([part] * count) for count in counts])


def _union(sets: list[frozenset[bytes] | None]) -> frozenset[bytes] | None:
    together: frozenset[bytes] = frozenset()
    for words in sets:
        if words is None or len(together := together | words) > _MOST_WORDS:
            return None
    return together


def _joined(sets: list[frozenset[bytes] | None]) -> frozenset[bytes] | None:
    together = frozenset((b"",))
    for words in sets:
        if words is None or len(together) * len(words) > _MOST_WORDS:
            return None
        together = frozenset(first + second for first in together for second in words)
    return together


def _last_words(words: frozenset[bytes]) -> list[bytes]:
    """Return the words without those that end with another one: where they match, that one matches too.

    None of what is left contains another, so of those in the data the leftmost is the one that ends first.
    """
    for word in sorted(words):
        for other in sorted(words):
            if other in word[:-1]:
                raise ValueError(f"the frame ends at {other!r}, so {word!r} is never reached; leave it out")
    return sorted(word for word in words if not any(word.endswith(other) for other in words - {word}))


def _loose_end(node: Node) -> Repeat | None:
    """Return a repeat at the end of the pattern that could go on where a shorter match is complete."""
    if isinstance(node, OneOf):
        return None
    if isinstance(node, Repeat):
        return node if node.least < node.most else _loose_end(node.part)
    if isinstance(node, Series):
        return _loose_end(node.parts[-1]) if node.parts else None
    return next((loose for child in _children(node) if (loose := _loose_end(child))), None)
