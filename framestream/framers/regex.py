r"""Frames that end where a regular expression first matches.

A frame ends at the earliest byte by which the pattern matches; bytes after it change nothing. To find that byte
in what has arrived, going back a bounded number of bytes and in bounded time, a match must be bounded in length,
depend on its own bytes only, and not be searched for in too many ways.

The standard library's own parser reads the pattern, so that it means here what it means in `re`. It is not public
(``re._parser`` and ``re._compiler`` are its names from 3.11 to 3.15 at least), but a parser of our own would be
longer and would differ. A node that it may learn one day is refused.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from importlib import import_module
from itertools import accumulate, product, repeat
from math import prod
from typing import Annotated, Any, Final, NamedTuple

from framestream.errors import EncodeError, check_count, counted
from framestream.framer import Framer, NeedMore, Span, Window, bytes_of
from framestream.framers import Interned

_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")

_LONGEST: Final = 4096
"""Most bytes a match may take: up to this many are searched again when more data arrives."""

_MOST_STEPS: Final = 1000
"""Most steps the backtracking engine may take at one byte."""


@dataclass(frozen=True)
class Regex(Framer[bytes], metaclass=Interned, checked=True):
    r"""Frames that end at the earliest byte by which a regular expression matches.

    ::

        Regex(rb"\r?\n\r?\n"):     b"a: 1\r\nb: 2\r\n\r\nc: 3\n\n"   ->  b"a: 1\r\nb: 2\r\n\r\n", b"c: 3\n\n"
        Regex(rb"[0-9]{1,3};"):    b"temp=21;hum=40;"              ->  b"temp=21;", b"hum=40;"

    The frame is all bytes up to there, the match included. To give the same answer for every chunking in
    bounded time, the pattern must be bounded in length (at most 4096 bytes), must not depend on bytes
    outside the match, must not continue where a shorter match is complete, and may take the engine at most 1000
    steps of a few nanoseconds at one byte. Any other pattern is refused with the reason.

    Where a frame ends costs at most 2 + log2(longest match) searches. When data arrives, the bytes that may
    begin a match are searched again: fewer than the longest match has.

    A str pattern must be ASCII. The first byte of a match is looked for from the start of the frame.
    """

    name = "regex"

    pattern: Annotated[bytes | str, "What the frame ends with: a regular expression over bytes."]
    _: KW_ONLY
    max_size: Annotated[int | None, "The largest frame, the match included. Bytes."] = None

    def __post_init__(self) -> None:
        check_count("max_size", self.max_size, optional=True)
        if not isinstance(self.pattern, bytes | str):
            raise TypeError(f"pattern is {self.pattern!r}; it must be bytes or text")
        try:
            pattern = self.pattern.encode("ascii") if isinstance(self.pattern, str) else self.pattern
            object.__setattr__(self, "pattern", pattern)
            # Bytes that may begin a match are kept while a frame is streamed or skipped, even above the limit.
            object.__setattr__(self, "overhead", self._ending.most - 1)
        except UnicodeEncodeError as error:
            shown = f"{error.object[error.start]!r} is not one byte in every encoding; give the pattern as bytes"
            raise ValueError(f"regex {self.pattern!r}: {shown}") from error
        except (ValueError, re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"regex {self.pattern!r}: {error}") from error

    @cached_property
    def _ending(self) -> _Ending:
        return _ending_of(self.pattern)  # type: ignore[arg-type]  # `__post_init__` has made it bytes

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled from a tree cannot be pickled; a copy compiles it again.
        return {name: value for name, value in self.__dict__.items() if name != "_ending"}

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the end of the earliest match."""
        data = window.data
        end = self._earliest_end(data, window.resume)
        if end < 0:
            # A match that ends in bytes still to come begins among the last ones of these.
            going_on = max(window.resume, len(data) - self._ending.most + 1)
            return NeedMore(resume=going_on, settled=going_on)
        return window.start, end, end

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every frame whose match has ended."""
        frames: list[bytes] = []
        data, start = bytes(window.data), window.start
        if self._ending.least == self._ending.most:  # a third faster (in_process.py, heads)
            for match in self._ending.pattern.finditer(data, start):
                end = match.end()
                frames.append(data[start:end])
                start = end
        else:
            while (end := self._earliest_end(data, start)) >= 0:
                frames.append(data[start:end])
                start = end
        return frames, start

    def encode(self, frame: bytes) -> bytes:
        """Return the frame unchanged.

        Raises:
            EncodeError: the pattern does not match at its end, or matches before.
        """
        payload = bytes_of(frame, self.max_size)
        end = self._earliest_end(payload, 0)
        if end != len(payload):
            what = "has no match in it" if end < 0 else f"ends after {counted(end, 'byte')} already"
            raise EncodeError(
                f"frame of {counted(len(payload), 'byte')} {what}; {self.pattern!r} must match at its end"
            )
        return payload

    def _earliest_end(self, data: bytes | bytearray, position: int) -> int:
        """Return the earliest byte by which a match is complete, or -1.

        The leftmost match that the engine gives may not be the one that ends first: another may begin
        later and end earlier, or be a shorter choice at the same place. All of them end within it.
        """
        pattern, least, _ = self._ending
        search = pattern.search
        match = search(data, position)
        if match is None:
            return -1
        start, end = match.span()
        if end - start > least and (match := search(data, start, end - 1)):
            start, end = match.span()
            low = start + least
            while low < end:
                middle = (low + end - 1) // 2
                if match := search(data, start, middle):
                    start, end = match.span()
                else:
                    low = middle + 1
        return end


# Which patterns are accepted ---------------------------------------------------------------------

_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT")
_OUTSIDE: Final = {
    "AT": "an anchor or boundary (^ $ \\A \\Z \\b \\B)",
    "ASSERT": "a lookahead or lookbehind",
    "ASSERT_NOT": "a negative lookahead or lookbehind",
    "GROUPREF": "a backreference",
    "GROUPREF_EXISTS": "a conditional",
}


class _Ending(NamedTuple):
    """What to search for where a frame ends, and the bytes of the shortest and of the longest match.

    If both are the same, the leftmost match is the one that ends first.
    """

    pattern: re.Pattern[bytes]
    least: int
    most: int


def _ending_of(pattern: bytes) -> _Ending:
    """Return how to search for where the matches of a pattern end. Raise ValueError if it is refused."""
    tree = _parser.parse(pattern)
    if _may_go_on(tree):
        raise ValueError(
            "the frame ends at the shortest match, so what is optional or repeated at the end is never reached;"
            " leave it out, or add what stands after it"
        )
    # What is optional at the beginning changes no end. Without it, the engine can look for the first byte in C.
    while str(tree[0][0]) in _REPEATS:
        op, (least, most, part) = tree[0]
        if least:
            tree[0] = op, (least, least, part)
            break
        del tree[0]
    _, steps = _cost(tree)
    _check_flags(tree.state.flags)
    least, most = tree.getwidth()
    if most > _LONGEST:
        raise ValueError(
            f"a match may take {most} bytes, limit {_LONGEST}; bound the repeats tighter,"
            " or read the long part with another condition: sequence(...)"
        )
    if steps > _MOST_STEPS:
        raise ValueError(f"it may take {steps} steps or more at one byte, limit {_MOST_STEPS}; repeat less")
    try:
        words = _words(tree, tree.state.flags)
    except OverflowError:
        return _Ending(_compiler.compile(tree), least, most)
    for word, other in product(sorted(words), repeat=2):
        if other in word[:-1]:
            raise ValueError(f"the frame ends at {other!r}, so {word!r} is never reached; leave it out")
    # None contains another, except at its end: the leftmost in the data is the one that ends first.
    return _Ending(re.compile(b"|".join(map(re.escape, sorted(words)))), most, most)


def _check_flags(flags: int) -> None:
    if flags & re.LOCALE:
        raise ValueError("the flag L makes the match depend on the locale; list the bytes: [a-z\\xe4]")


def _may_go_on(tree: Any) -> bool:
    """Tell whether a match could continue where a shorter one is complete, or be empty."""
    if not tree:
        return True
    op, argument = tree[-1]
    name = str(op)
    if name in _REPEATS:
        least, most, part = argument
        return not 0 < least == most or _may_go_on(part)
    if name == "SUBPATTERN":
        return _may_go_on(argument[-1])
    return name == "BRANCH" and any(map(_may_go_on, argument[1]))


_MOST_WORDS: Final = 64


def _words(tree: Any, flags: int) -> set[bytes]:
    """Return every byte string that matches. Raise OverflowError if they are too many to list."""
    parts: list[set[bytes]] = []
    for op, argument in tree:
        name = str(op)
        if name == "SUBPATTERN":
            parts.append(_words(argument[-1], (flags | argument[1]) & ~argument[2]))
        elif name == "BRANCH":
            parts.append(set().union(*(_words(option, flags) for option in argument[1])))
        elif name in _REPEATS:
            least, most, part = argument
            once = _words(part, flags)
            if len(once) ** most > _MOST_WORDS:
                raise OverflowError
            counts = range(least, most + 1)
            parts.append({b"".join(words) for count in counts for words in product(once, repeat=count)})
        else:
            byte = _compiler.compile(_parser.SubPattern(_parser.State(), [(op, argument)]), flags)
            parts.append(set(byte.findall(bytes(range(256)))))
            if not parts[-1]:
                raise ValueError("it has a set that no byte is in, so it never matches; leave the set out")
    if prod(map(len, parts)) > _MOST_WORDS:
        raise OverflowError
    return set(map(b"".join, product(*parts)))


_VERY_MANY: Final = 1 << 32


def _cost(tree: Any) -> tuple[int, int]:
    """Return in how many ways a tree can match at one place, and the steps to try them all, up to very many."""
    ways, steps = 1, 0
    for op, argument in tree:
        name = str(op)
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            part_ways, part_steps = 1, 1
        elif name == "SUBPATTERN":
            _check_flags(argument[1])
            part_ways, part_steps = _cost(argument[-1])
        elif name == "BRANCH":
            part_ways, part_steps = map(sum, zip(*map(_cost, argument[1]), strict=True))
        elif name in _REPEATS:
            part_ways, part_steps = _cost_of_repeat(*argument)
        elif name in _OUTSIDE:
            raise ValueError(
                f"{_OUTSIDE[name]} depends on more than the bytes that match; make those bytes part of the pattern"
            )
        else:
            raise ValueError(f"{name.lower()} is not supported; write it with literals, sets and bounded repeats")
        steps += ways * part_steps
        ways *= part_ways
    return min(ways, _VERY_MANY), min(steps, _VERY_MANY)


def _cost_of_repeat(least: int, most: int, part: Any) -> tuple[int, int]:
    if most > _LONGEST:
        raise ValueError(
            f"a repeat has no upper bound of at most {_LONGEST}, so bytes already searched could never be released;"
            " bound it, such as .{0,200}, or end the frame with a delimiter"
        )
    ways, steps = _cost(part)
    # Each further round is tried from every way that the rounds before it matched.
    rounds = list(accumulate(repeat(ways, most), lambda one, other: min(one * other, _VERY_MANY), initial=1))
    return sum(rounds[least:]), steps * sum(rounds[:most])
