"""The grammar of spec strings: text to a tree of names, children and options.

::

    spec    = name [ "(" child *( "," child ) ")" ] [ ":" option *( "," option ) ]
    child   = spec / "(" spec ")"
    option  = [ key "=" ] value
    value   = word / string / name "(" child *( "," child ) ")" / "(" spec ")"
    string  = DQUOTE *( char / escape ) DQUOTE / "'" *char "'"

Between parentheses a comma can end an option or a child. It ends the child if a bare name without
``=`` follows, so ``first-of(length-prefix:size=2,max=4KiB, line)`` reads as it looks; a child that
needs more is wrapped in parentheses of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from framestream.errors import SpecError

NAME = re.compile(r"[A-Za-z][\w.-]*(?:/[A-Za-z][\w.-]*)?")
"""A framer's name, or one qualified by its distribution (``acme-netstring/netstring``)."""

_KEY = re.compile(r"([A-Za-z][\w-]*)\s*=(?!=)\s*")
_WORD = re.compile(r"[^\s,()\"'=:]+")
_SPACE = re.compile(r"\s*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|' r"'([^']*)'", re.DOTALL)


@dataclass(frozen=True)
class Word:
    """A value as it was written, without its quotes and with its escapes."""

    text: str
    position: int = 0
    quote: str = ""


@dataclass(frozen=True)
class Spec:
    """A framer as it was written: its name, what is in parentheses, and its options."""

    name: str
    children: tuple[Spec, ...] = ()
    options: tuple[Option, ...] = ()
    position: int = 0


Value: TypeAlias = "Word | Spec"


@dataclass(frozen=True)
class Option:
    """One option as it was written; `key` is None where only the value was given."""

    key: str | None
    value: Value
    position: int = 0


def parse_spec(text: str) -> Spec:
    """Return the tree of a spec string. Raise `SpecError` with the place where it goes wrong."""
    parser = _Parser(text)
    spec = parser.spec(nested=False)
    if parser.index < len(text):
        parser.fail(f"unexpected {text[parser.index]!r} (a value with punctuation or spaces is quoted)")
    return spec


class _Parser:
    """A cursor over one spec string; every method eats what it recognises and the space behind it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0
        self.space()

    def spec(self, *, nested: bool) -> Spec:
        position = self.index
        name = self.name()
        children = self.children() if self.take("(") else ()
        options = self.options(nested=nested) if self.take(":") else ()
        return Spec(name, children, options, position)

    def name(self) -> str:
        match = NAME.match(self.text, self.index)
        if match is None:
            self.fail("expected the name of a framer")
        self.advance(match.end())
        return match[0]

    def children(self) -> tuple[Spec, ...]:
        children: list[Spec] = []
        if self.take(")"):
            return ()
        while True:
            children.append(self.group() if self.take("(") else self.spec(nested=True))
            if self.take(")"):
                return tuple(children)
            if not self.take(","):
                self.fail("expected ',' or ')'")

    def group(self) -> Spec:
        spec = self.spec(nested=False)
        if not self.take(")"):
            self.fail("expected ')'")
        return spec

    def options(self, *, nested: bool) -> tuple[Option, ...]:
        options = [self.option()]
        while self.peek() == "," and not (nested and self.child_follows()):
            self.take(",")
            options.append(self.option())
        return tuple(options)

    def child_follows(self) -> bool:
        """Tell whether what follows this comma is the next child rather than the next option."""
        start = self.skip(self.index + 1)
        name = NAME.match(self.text, start)
        if name is None:
            return self.text.startswith("(", start)
        return not self.text.startswith("=", self.skip(name.end()))

    def option(self) -> Option:
        position = self.index
        match = _KEY.match(self.text, position)
        if match is None:
            return Option(None, self.value(), position)
        self.advance(match.end())
        return Option(match[1], self.value(), position)

    def value(self) -> Value:
        position = self.index
        if self.take("("):
            return self.group()
        if self.peek() in ('"', "'"):
            return self.string()
        match = _WORD.match(self.text, position)
        if match is None:
            self.fail("expected a value")
        self.advance(match.end())
        if self.peek() == "(" and NAME.fullmatch(match[0]):
            self.take("(")
            return Spec(match[0], self.children(), (), position)
        return Word(match[0], position)

    def string(self) -> Word:
        position = self.index
        match = _STRING.match(self.text, position)
        if match is None:
            self.fail("this string is not closed")
        self.advance(match.end())
        text = match[1] if match[2] is None else match[2]
        return Word(text, position, quote=match[0][0])

    def peek(self) -> str:
        return self.text[self.index : self.index + 1]

    def take(self, symbol: str) -> bool:
        if self.peek() != symbol:
            return False
        self.advance(self.index + 1)
        return True

    def advance(self, index: int) -> None:
        self.index = self.skip(index)

    def skip(self, index: int) -> int:
        return _SPACE.match(self.text, index).end()  # type: ignore[union-attr]  # it matches nothing, too

    def space(self) -> None:
        self.advance(self.index)

    def fail(self, reason: str) -> NoReturn:
        place = "at the end" if self.index >= len(self.text) else f"at character {self.index + 1}"
        raise SpecError(f"{reason} {place} of {self.text!r}", spec=self.text, position=self.index)
