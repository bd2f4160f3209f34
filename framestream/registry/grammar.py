"""Spec strings: their grammar, which makes a tree of names, framers and options of a text; and names for them.

::

    spec    = name [ framers ] [ ":" option *( "," option ) ]
    framers = "(" [ framer *( "," framer ) ] ")"
    framer  = spec / "(" spec ")"
    option  = [ key "=" ] value
    value   = word / string / name framers / "(" spec ")"
    string  = DQUOTE *( char / escape ) DQUOTE / "'" *char "'"

Between parentheses a comma can end an option or a framer. It ends the framer if a bare name without
``=`` follows, so ``first-of(length-prefix:size=2,max=4KiB, line)`` reads as it looks. A bare name that is
not a framer's but a flag of the framer before it is recognised later, when the options are known. A framer
that needs more is wrapped in its own parentheses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

from framestream.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[A-Za-z][\w.-]*(?:/[A-Za-z][\w.-]*)?", re.ASCII)
"""A framer's name, or one qualified by its distribution (``acme-netstring/netstring``).

ASCII only: letters of other alphabets can imitate a trusted name.
"""

NESTED_OPTIONS = "between parentheses, options after the first are written key=value"
"""The hint for the commonest mistake in a nested spec."""

_TOKEN = re.compile(
    r"""\s*(?P<all>(?P<word>[^\s,()"'=:]+)|"(?P<text>(?:[^"\\]|\\.)*)"|'(?P<raw>[^']*)'|(?P<sign>.)|$)""",
    re.DOTALL,
)


class Word(NamedTuple):
    """A value as written, without its quotes and with its escapes."""

    text: str
    position: int = 0
    quote: str = ""


class Spec(NamedTuple):
    """A framer as written: its name, the framers in parentheses, and its options."""

    name: str
    framers: tuple[Spec, ...] = ()
    options: tuple[Option, ...] = ()
    position: int = 0


Value: TypeAlias = Word | Spec


class Option(NamedTuple):
    """One option as written; `key` is None if only the value was given."""

    key: str | None
    value: Value
    position: int = 0


def parse_spec(text: str) -> Spec:
    """Return the tree of a spec string. Raise `SpecError` with the place where it goes wrong."""
    tokens = _Tokens(text)
    spec = _spec(tokens, nested=False)
    if tokens.sign():
        tokens.fail(f"unexpected {text[tokens.position]!r} (a value with punctuation or spaces is quoted)")
    return spec


def _spec(tokens: _Tokens, *, nested: bool) -> Spec:
    if not tokens.is_name():
        word = tokens.found[tokens.index]["word"] or ""
        odd = "" if word.isascii() else f", which {word!a} is not: it is written in ASCII,"
        tokens.fail(f"expected the name of a framer{odd}")
    name = tokens.word("a name")
    framers = _framers(tokens)
    options = []
    if tokens.take(":"):
        options.append(_option(tokens))
        while tokens.sign() == "," and not (nested and tokens.framer_follows()):
            tokens.take(",")
            options.append(_option(tokens))
    return Spec(name.text, framers, tuple(options), name.position)


def _framers(tokens: _Tokens) -> tuple[Spec, ...]:
    if not tokens.take("(") or tokens.take(")"):
        return ()
    found = [_framer(tokens)]
    while not tokens.take(")"):
        tokens.expect(",", "',' or ')'")
        found.append(_framer(tokens))
    return tuple(found)


def _framer(tokens: _Tokens) -> Spec:
    if not tokens.take("("):
        return _spec(tokens, nested=True)
    spec = _spec(tokens, nested=False)
    tokens.expect(")", "')'")
    return spec


def _option(tokens: _Tokens) -> Option:
    position, key = tokens.position, None
    if tokens.sign() == "word" and tokens.sign(1) == "=":
        key = tokens.word("a key").text
        tokens.take("=")
    if tokens.sign() == "(":
        return Option(key, _framer(tokens), position)
    named = tokens.is_name()
    word = tokens.word("a value")
    if named and tokens.sign() == "(":
        return Option(key, Spec(word.text, _framers(tokens), (), word.position), position)
    return Option(key, word, position)


class _Tokens:
    """A spec string as words and signs, and a cursor over them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = list(_TOKEN.finditer(text))
        self.index = 0

    def sign(self, ahead: int = 0) -> str:
        """Return the sign that comes next: "word" if it is a word or a string, "" at the end."""
        match = self.found[self.index + ahead]
        return match["sign"] or ("word" if match["all"] else "")

    def is_name(self, ahead: int = 0) -> bool:
        return NAME.fullmatch(self.found[self.index + ahead]["word"] or "") is not None

    def framer_follows(self) -> bool:
        """Tell whether this comma is followed by the next framer rather than the next option."""
        ahead = 1
        while self.is_name(ahead) and self.sign(ahead + 1) == ",":
            ahead += 2  # before "key=value" these must be flags, for only options go before it
        return self.sign(ahead + 1) != "=" if self.is_name(ahead) else ahead > 1 or self.sign(1) == "("

    @property
    def position(self) -> int:
        return self.found[self.index].start("all")

    def take(self, sign: str) -> bool:
        taken = self.sign() == sign
        self.index += taken
        return taken

    def expect(self, sign: str, what: str) -> None:
        if not self.take(sign):
            self.fail("this string is not closed" if self.sign() in ('"', "'") else f"expected {what}")

    def word(self, what: str) -> Word:
        match, position = self.found[self.index], self.position
        self.expect("word", what)
        quote = "" if match["word"] else match["all"][0]
        return Word(match["word"] or match["text"] or match["raw"] or "", position, quote)

    def fail(self, reason: str) -> NoReturn:
        place = f"at character {self.position + 1}" if self.sign() else "at the end"
        raise SpecError(f"{reason} {place} of {self.text!r}", spec=self.text, position=self.position)


def names_in(value: Value) -> Iterator[str]:
    """Yield every name that this tree may refer to. A bare word may be one."""
    if isinstance(value, Word):
        yield value.text
        return
    yield value.name
    for part in (*value.framers, *(option.value for option in value.options)):
        yield from names_in(part)


def normalised(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def nearest(word: str, among: Iterable[str]) -> str | None:
    """Return the likeliest spelling of a mistyped word, or None."""
    # Imported after a mistake, when a millisecond does not matter.
    from difflib import get_close_matches  # noqa: PLC0415

    close = get_close_matches(word, list(among), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the likeliest spelling, or nothing."""
    close = nearest(word, among)
    return f"; did you mean {close!r}?" if close else ""


# Named framers: spec strings to which an application or a user gives names of their own:
#
#     [tool.framestream.framers]
#     acme = "length-prefix:size=2,offset=4,adjust=-6,max=1MiB"
#     acme-or-lines = "first-of(acme, line)"

TABLE: Final = "tool.framestream.framers"

# Not compiled at once, since most specs need no configuration: half a millisecond of `get_framer("line")`.
_OURS: Final = r"(?m)^\s*\[tool\.framestream\b"


class NamedFramer(NamedTuple):
    """A spec string with a name.

    Attributes:
        name: the name.
        text: the spec string it stands for.
        source: where the name was given, for messages.
        spec: the string's tree.
    """

    name: str
    text: str
    source: str
    spec: Spec

    def with_options(self, asked: Spec) -> Spec:
        """Return the tree with the options given to the name instead of its own."""
        for option in asked.options:
            if option.key is None:
                reason = f"{self.name} stands for {self.text!r}: write its options as key=value"
                raise SpecError(reason, position=option.position)
        if asked.framers:
            reason = f"{self.name} stands for {self.text!r}: it takes no framers"
            raise SpecError(reason, position=asked.position)
        given = {option.key for option in asked.options}
        kept = tuple(option for option in self.spec.options if option.key not in given)
        return self.spec._replace(options=(*kept, *asked.options))


def named_framer(name: str, text: Any, source: str) -> NamedFramer:
    """Return a named framer; raise `SpecError` if the name or the string is malformed."""
    if "/" in name or not NAME.fullmatch(name):
        raise SpecError(f"{source}: {name!r} is not a name for a framer")
    if not isinstance(text, str):
        raise SpecError(f"{source}: {name} is {text!r}; it must be a spec string")
    try:
        return NamedFramer(name, text, source, parse_spec(text))
    except SpecError as error:
        raise SpecError(f"{source}: {name}: {error}", spec=text, position=error.position) from error


def read_config(path: str | os.PathLike[str]) -> dict[str, NamedFramer]:
    """Return the named framers of a TOML file: its table ``tool.framestream.framers``, or else ``framers``.

    Raise `SpecError` naming the file and the entry that is wrong, or if there is no such table;
    `OSError` if it cannot be read.
    """
    # Few programs name framers, and every one that asks for a framer by name imports this module.
    from tomllib import load  # noqa: PLC0415

    place = os.fspath(path)
    try:
        with open(place, "rb") as file:
            document = load(file)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from error
    tool = document.get("tool")
    own = tool.get("framestream") if isinstance(tool, Mapping) else None
    title, tables = ("framers", document) if own is None else (TABLE, own)
    tables = tables if isinstance(tables, Mapping) else {}
    table = tables.get("framers")
    if not isinstance(table, Mapping):
        close = nearest("framers", tables.keys() - {"framers"})
        meant = f"; is [{title.removesuffix('framers')}{close}] meant to be it?" if close else ""
        raise SpecError(f"{place}: it has no table [{title}]{meant}")
    if others := tables.keys() - {"framers"} if own else ():
        raise SpecError(f"{place}: [tool.framestream] holds framers and nothing else, not {min(others)!r}")
    return {name: named_framer(name, text, place) for name, text in table.items()}


def refuse_cycles(named: Mapping[str, NamedFramer]) -> None:
    """Raise `SpecError` if a name refers to itself, directly or through others."""
    from graphlib import CycleError, TopologicalSorter  # noqa: PLC0415 - as above

    try:
        TopologicalSorter({name: named.keys() & set(names_in(framer.spec)) for name, framer in named.items()}).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        raise SpecError(f"{named[circle[0]].source}: {' -> '.join(circle)} is a circle") from None


def find_config(start: Path) -> Path | None:
    """Return the nearest pyproject.toml with named framers: in this directory or above it."""
    for directory in (start, *start.parents):
        path = directory / "pyproject.toml"
        try:
            if re.search(_OURS, path.read_text("utf-8")):
                return path
        except (OSError, UnicodeError):
            continue
    return None
