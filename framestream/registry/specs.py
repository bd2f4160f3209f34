"""Spec strings: parse one, make the framer it describes, names for them, and the spec string of a framer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from inspect import BoundArguments, Parameter, signature
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from framestream.errors import PluginError, SpecError, blame, did_you_mean, nearest
from framestream.framer import ReadCondition
from framestream.framers import BUILT_IN
from framestream.registry.manager import NamedFramer, PluginManager, is_name
from framestream.registry.options import Option, Word, format_value, options_of, unescaped

if TYPE_CHECKING:
    from pathlib import Path


MOST_NAMED: Final = 1000
"""How many framers names may stand for in one spec string: two dozen names that double each other fill the memory."""

NESTED_OPTIONS: Final = "between parentheses, options after the first are written key=value"
"""The hint for the commonest mistake in a nested spec."""

# From text to a tree ---------------------------------------------------------------------------


class Setting(NamedTuple):
    """One option as written; `key` is None if only the value was given."""

    key: Word | None
    value: Word


class Spec(NamedTuple):
    """A framer as written: its name, the framers in parentheses, and its options."""

    name: str
    framers: tuple[Spec, ...] = ()
    options: tuple[Setting, ...] = ()
    position: int = 0


# A string that is not closed is one sign, or each of its quotes would look for its end once more.
_TOKEN = re.compile(
    r"""\s*(?P<all>(?P<word>[^\s,()"'=:]+)|"(?P<text>(?:[^"\\]|\\.)*)"|'(?P<raw>[^']*)'|(?P<sign>["'].*|.)|$)""",
    re.DOTALL,
)


def parse_spec(text: str) -> Spec:
    """Return the tree of a spec string. Raise `SpecError` with the place where it goes wrong."""
    tokens = _Tokens(text)
    spec = _spec(tokens, nested=False)
    if tokens.sign():
        tokens.fail(f"unexpected {text[tokens.position]!r} (a value with punctuation or spaces is quoted)")
    return spec


def _spec(tokens: _Tokens, *, nested: bool) -> Spec:
    if nested and tokens.take("("):
        spec = _spec(tokens, nested=False)
        tokens.expect(")", "')'")
        return spec
    if not tokens.is_name():
        tokens.fail("expected the name of a framer (ASCII)")
    name = tokens.word("a name")
    framers = []
    if tokens.take("(") and not tokens.take(")"):
        framers.append(_spec(tokens, nested=True))
        while not tokens.take(")"):
            hint = f" ({NESTED_OPTIONS})" if tokens.sign() == "=" else ""
            tokens.expect(",", f"',' or ')'{hint}")
            framers.append(_spec(tokens, nested=True))
    options = []
    if tokens.take(":"):
        options.append(_option(tokens))
        while tokens.sign() == "," and not (nested and tokens.framer_follows()):
            tokens.take(",")
            options.append(_option(tokens))
    return Spec(name.text, tuple(framers), tuple(options), name.position)


def _option(tokens: _Tokens) -> Setting:
    key = None
    if tokens.sign(1) == "=":
        key = tokens.word("a key")
        tokens.take("=")
    return Setting(key, tokens.word("a value"))


class _Tokens:
    """A spec string as words and signs, and a cursor over them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = list(_TOKEN.finditer(text))
        self.index = 0

    def sign(self, ahead: int = 0) -> str:
        """Return the sign that comes next: "word" if it is a word or a string, "" at the end."""
        match = self.found[min(self.index + ahead, len(self.found) - 1)]
        return match["sign"] or ("word" if match["all"] else "")

    def is_name(self, ahead: int = 0) -> bool:
        word = self.found[self.index + ahead]["word"] or ""
        return all(map(is_name, word.split("/")))  # perhaps after that of its distribution

    def framer_follows(self) -> bool:
        """Tell whether this comma is followed by the next framer rather than the next option."""
        return self.sign(1) == "(" or (self.is_name(1) and self.sign(2) != "=")

    @property
    def position(self) -> int:
        return self.found[self.index].start("all")

    def take(self, sign: str) -> bool:
        taken = self.sign() == sign
        self.index += taken
        return taken

    def expect(self, sign: str, what: str) -> None:
        if not self.take(sign):
            self.fail("this string is not closed" if self.sign()[:1] in ('"', "'") else f"expected {what}")

    def word(self, what: str) -> Word:
        match, position = self.found[self.index], self.position
        self.expect("word", what)
        if match["raw"] is not None:
            return Word(match["raw"], position, is_quoted=True)
        return Word(unescaped(match["word"] or match["text"], position), position, is_quoted=not match["word"])

    def fail(self, reason: str) -> NoReturn:
        place = f"at character {self.position + 1}" if self.sign() else "at the end"
        raise SpecError(f"{reason} {place} of {self.text!a}", spec=self.text, position=self.position)


# From a tree to a framer -----------------------------------------------------------------------


class _TooManyError(SpecError):
    """Names stand for too many framers."""


def make_framer(
    spec: Spec, plugins: PluginManager, within: tuple[str, ...] = (), made: Iterator[int] | None = None
) -> ReadCondition[Any]:
    """Return the framer that a tree describes, which is part of the named framers `within`; `made` counts theirs."""
    made = made or count()
    if within and next(made) >= MOST_NAMED:
        raise _TooManyError(f"it is made of more than {MOST_NAMED} framers")
    try:
        factory, plugin = plugins.find(spec.name)
    except SpecError as error:
        error.position = spec.position
        if spec.position:
            error.args = (f"{error}; {NESTED_OPTIONS}",)
        raise
    if isinstance(factory, NamedFramer):
        return _make_named(factory, spec, plugins, within, made)
    what = f"{spec.name!r} of {plugin.title}" if plugin else repr(spec.name)
    with blame(f"{what} makes no framer", plugin=spec.name, ours=(SpecError, PluginError)):
        framer = build_framer(factory, spec, partial(make_framer, plugins=plugins, within=within, made=made))
        if not isinstance(framer, ReadCondition):
            raise PluginError(f"{what} makes {framer!r:.200}, which is not a framer", plugin=spec.name)
        return framer


def _make_named(
    named: NamedFramer, spec: Spec, plugins: PluginManager, within: tuple[str, ...], made: Iterator[int]
) -> ReadCondition[Any]:
    try:
        if named.name in within:
            raise SpecError("it is part of itself")
        if spec.options or spec.framers:
            raise SpecError("a name for a spec string takes no options of its own")
        return make_framer(parse_spec(named.text), plugins, (*within, named.name), made)
    except SpecError as error:
        if within and isinstance(error, _TooManyError):
            raise  # not the name where it shows is at fault, but the first
        reason = f"{named.name} = {named.text!r} in {named.source}: {error}"
        raise SpecError(reason, position=spec.position) from error


def build_framer(factory: Callable[..., Any], spec: Spec, build: Callable[[Spec], Any]) -> Any:
    """Call a factory, once, with the options of a parsed spec; `build` makes the framers nested in it.

    Raise `SpecError` naming the option, its value, what is allowed and the nearest spelling.
    """
    # A name alone needs no options, and those of a plugin's factory may be unreadable.
    values: dict[str, Any] = {}
    if spec.options or spec.framers:
        values = _values_of(options_of(factory), spec, build)
    try:
        if not values:
            return factory()
        bound = BoundArguments(signature(factory), values)
        bound.apply_defaults()  # those before a value that has no keyword
        return factory(*bound.args, **bound.kwargs)
    except SpecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        missing = [option.key for option in options_of(factory) if option.required and option.parameter not in values]
        reason = f"{spec.name} needs {' and '.join(missing)}" if missing else f"{spec.name}: {error}"
        raise SpecError(reason, position=spec.position) from error


def _values_of(options: Iterable[Option], spec: Spec, build: Callable[[Spec], Any]) -> dict[str, Any]:
    """Return the values of the options that a spec gives, by parameter."""
    holders = [option for option in options if option.holds_framers]
    in_place = [option for option in options if option.kind is not Parameter.KEYWORD_ONLY and not option.holds_framers]
    flags = {option.key for option in options if bool in option.takes.types}
    hint = "a framer stands in parentheses after the name" if holders and not spec.framers else ""
    given: dict[str, list[Any]] = {}
    for framer in spec.framers:
        option = _next_open(holders, given, spec, framer, NESTED_OPTIONS)
        is_none = framer.name == "none" and None in option.takes.types
        given.setdefault(option.key, []).append(None if is_none else build(framer))
    for setting in spec.options:
        key, value = setting
        if key is None and not value.is_quoted and value.text in flags:
            key, value = value, Word("yes", value.position)  # "keep" alone is "keep=yes"
        option = _by_key(options, spec, key) if key else _next_open(in_place, given, spec, value, hint)
        if option.key in given and not option.takes.several:
            raise SpecError(f"{option.key} is given twice", position=(key or value).position)
        try:
            given.setdefault(option.key, []).append(option.takes.convert(value))
        except SpecError as error:
            raise SpecError(f"{option.key}: {error}", position=error.position) from None
    values = {}
    for option in options:
        found = given.get(option.key, [])
        if found or (option.required and option.takes.several):  # or it is one that has none of several values
            values[option.parameter] = found[0] if len(found) == 1 and option.takes.one else tuple(found)
    return values


def _by_key(options: Iterable[Option], spec: Spec, key: Word) -> Option:
    wanted, keys = key.text.replace("_", "-"), {option.key: option for option in options}
    known = {option.parameter.replace("_", "-"): option for option in options} | keys
    if wanted in known:
        return known[wanted]
    listing = f" (options: {', '.join(keys)})" if keys else ", it takes none"
    reason = f"{spec.name} has no option {key.text!r}{did_you_mean(wanted, keys)}{listing}"
    raise SpecError(reason, position=key.position)


def _next_open(places: Iterable[Option], given: Mapping[str, Any], spec: Spec, value: Word | Spec, hint: str) -> Option:
    """Return the first option in its place that is not given, or that takes any number of values."""
    for option in places:
        if option.key not in given or option.takes.several:
            return option
    keys = ", ".join(option.key for option in places)
    what = f"has no option for {value[0]!r}" + (f" after {keys}" if keys else "") + (hint and f"; {hint}")
    raise SpecError(f"{spec.name} {what}", position=value.position)


# Names that a user gives to them ----------------------------------------------------------------


def named_framer(name: str, text: Any, source: str) -> NamedFramer:
    """Return a named framer; raise `SpecError` if the name or the string is malformed."""
    if not is_name(name):
        raise SpecError(f"{source}: {name!r} is not a name for a framer")
    if name in BUILT_IN:
        raise SpecError(f"{source}: {name!r} is the name of a built-in framer")
    if not isinstance(text, str):
        raise SpecError(f"{source}: {name} is {text!r}; it must be a spec string")
    try:
        parse_spec(text)
    except SpecError as error:
        raise SpecError(f"{source}: {name}: {error}", spec=text, position=error.position) from error
    return NamedFramer(name, text, source)


def read_config(path: str | os.PathLike[str]) -> dict[str, NamedFramer]:
    """Return the named framers of a TOML file: its table ``tool.framestream.framers``, or else ``framers``.

    Raise `SpecError` naming the file and the entry that is wrong, or if there is no such table;
    `OSError` if it cannot be read.
    """
    from tomllib import load  # noqa: PLC0415

    place = os.fspath(path)
    try:
        with open(place, "rb") as file:
            document = load(file)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from error
    tool = document.get("tool")
    own = tool.get("framestream") if isinstance(tool, Mapping) else None
    before, tables = ("tool.framestream.", own) if isinstance(own, Mapping) else ("", document)
    table = tables.get("framers")
    if not isinstance(table, Mapping):
        close = nearest("framers", tables.keys() - {"framers"})
        meant = f"; is [{before}{close}] meant to be it?" if close else ""
        raise SpecError(f"{place}: it has no table [{before}framers]{meant}")
    if before and (others := tables.keys() - {"framers"}):
        raise SpecError(f"{place}: [tool.framestream] holds framers and nothing else, not {min(others)!r}")
    return {name: named_framer(name, text, place) for name, text in table.items()}


def find_config(start: Path) -> Path | None:
    """Return the nearest pyproject.toml with named framers: in this directory or above it."""
    for directory in (start, *start.parents):
        path = directory / "pyproject.toml"
        with suppress(OSError, UnicodeError):
            if re.search(r"(?m)^\s*\[tool\.framestream\b", path.read_text("utf-8")):
                return path
    return None


# From a framer to its text ---------------------------------------------------------------------


def _kept_by(condition: ReadCondition[Any]) -> list[tuple[Option, Any, bool]]:
    """Return the options of a condition, their values, and whether each is the default.

    Raises:
        SpecError: an annotation names something undefined.
        AttributeError: the condition does not keep an option as an attribute.
    """
    values = [(option, getattr(condition, option.parameter)) for option in options_of(type(condition))]
    return [
        (option, value, type(value) is type(option.default) and value == option.default) for option, value in values
    ]


def call_string(condition: ReadCondition[Any]) -> str:
    """Return the call that makes a condition, without options that have their default."""
    shown: list[str] = []
    try:
        for option, value, is_default in _kept_by(condition):
            if option.kind is Parameter.VAR_POSITIONAL:
                shown += map(repr, value)
            elif option.required and option.kind is not Parameter.KEYWORD_ONLY:
                shown.append(repr(value))
            elif not is_default:
                shown.append(f"{option.parameter}={value!r}")
    except Exception:  # noqa: BLE001 - a person who looks for a mistake needs to see it
        return object.__repr__(condition)
    return f"{type(condition).__qualname__}({', '.join(shown)})"


def spec_string(condition: ReadCondition[Any]) -> str:
    """Return the shortest spec string: the name, and the options that are not the default.

    A condition without a name, or that does not keep its options as attributes, is shown by its `repr`.
    """
    if not condition.name:
        return repr(condition)
    try:
        values = _kept_by(condition)
    except (SpecError, AttributeError):
        return repr(condition)
    keys = [option.key for option, _, _ in values]
    framers: list[str] = []
    texts: list[str] = []
    shown = 0  # framers: those after the last that is not the default are left out
    in_place = True
    for option, value, is_default in values:
        items = value if isinstance(value, tuple) else (value,)
        if option.holds_framers:
            framers += map(_nested, items)
            shown = shown if is_default else len(framers)
            continue
        in_place = in_place and option.required and option.kind is not Parameter.KEYWORD_ONLY
        if value is True and not is_default:
            texts.append(option.key)
        elif in_place:
            # A word that is the name of an option would be read as that option.
            texts += [f'"{text}"' if text in keys else text for text in map(format_value, items)]
        elif not is_default:
            texts += [f"{option.key}={format_value(item)}" for item in items]
        in_place = in_place and not option.takes.several
    inside = f"({', '.join(framers[:shown])})" if shown else ""
    return f"{condition.name}{inside}{':' if texts else ''}{','.join(texts)}"


def _nested(value: Any) -> str:
    """Return a framer's text, in parentheses if a comma in it could be read as the one before the next framer."""
    text = format_value(value)
    return f"({text})" if re.search(_LIKE_THE_NEXT_FRAMER, text) else text


# An option without "key=" after a comma. Between two framers there is a space after the comma.
_LIKE_THE_NEXT_FRAMER: Final = r",(?=[A-Za-z])(?![\w-]+=)"
