"""Spec strings: from text to a tree, from words to values, and from a tree to a framer.

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

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from inspect import BoundArguments, signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args, get_origin

from framestream.errors import PluginError, SpecError, blame
from framestream.framer import ReadCondition
from framestream.registry.names import NamedFramer, did_you_mean, is_name
from framestream.spec import ESCAPES, UNITS, Option, format_value, is_condition_type, leaves, options_of

if TYPE_CHECKING:
    from framestream.registry.manager import PluginManager

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


def _option(tokens: _Tokens) -> Setting:
    position, key = tokens.position, None
    if tokens.sign() == "word" and tokens.sign(1) == "=":
        key = tokens.word("a key").text
        tokens.take("=")
    if tokens.sign() == "(":
        return Setting(key, _framer(tokens), position)
    named = tokens.is_name()
    word = tokens.word("a value")
    if named and tokens.sign() == "(":
        return Setting(key, Spec(word.text, _framers(tokens), (), word.position), position)
    return Setting(key, word, position)


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
        return is_name(self.found[self.index + ahead]["word"] or "")

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


# From words to values ---------------------------------------------------------------------

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
        for leaf, several in leaves(hint):
            if leaf is type(None):
                self.types[None] = None
                continue
            self.several |= several
            self.one |= not several
            if get_origin(leaf) is Literal:
                self.choices += get_args(leaf)
            else:
                known = ReadCondition if is_condition_type(leaf) else leaf if leaf in _TYPES else object
                self.types[known] = None

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


class OptionInfo(NamedTuple):
    """One option of a framer, as the command line explains it.

    Attributes:
        key: how it is spelled in a spec string.
        type: the values it takes, in words.
        default_text: its default in spec notation, empty if there is none.
        help: the text of its `Annotated` hint.
        required: True if it has no default.
    """

    key: str
    type: str
    default_text: str
    help: str
    required: bool


def describe_options(factory: Any) -> tuple[OptionInfo, ...]:
    """Return the options of a framer's class, or of a function that makes one, in their order."""
    infos = []
    for option in options_of(factory):
        values = option.default if isinstance(option.default, tuple) else (option.default,)
        default = "" if option.required else ",".join(map(format_value, values))
        notes = get_args(option.hint)[1:] if get_origin(option.hint) is Annotated else ()
        text = next((note for note in notes if isinstance(note, str)), "")
        infos.append(OptionInfo(option.key, str(Takes(option.hint)), default, text, option.required))
    return tuple(infos)


# From a tree to a framer -----------------------------------------------------------------------


def make_framer(spec: Spec, plugins: PluginManager) -> ReadCondition[Any]:
    """Return the framer that a tree describes, out of the framers that the plugin manager knows."""
    try:
        factory, plugin = plugins.find(spec.name)
    except SpecError as error:
        error.position = spec.position
        if spec.position:
            error.args = (f"{error}; {NESTED_OPTIONS}",)
        raise
    if isinstance(factory, NamedFramer):
        asked = factory.with_options(spec)
        try:
            return make_framer(asked, plugins)
        except SpecError as error:
            reason = f"{factory.name} = {factory.text!r} in {factory.source}: {error}"
            raise SpecError(reason, position=spec.position) from error
    what = f"{spec.name!r} of {plugin.title}" if plugin else repr(spec.name)
    with blame(f"{what} makes no framer", plugin=spec.name, ours=(SpecError, PluginError)):
        nested = tuple(_with_flags(spec.framers, plugins))
        framer = build_framer(factory, spec._replace(framers=nested), partial(make_framer, plugins=plugins))
        if not isinstance(framer, ReadCondition):
            raise PluginError(f"{what} makes {framer!r:.200}, which is not a framer", plugin=spec.name)
        return framer


def _with_flags(framers: Iterable[Spec], plugins: PluginManager) -> list[Spec]:
    """Return nested framers; pass a bare name that is a flag of the framer before it to that framer."""
    found: list[Spec] = []
    for framer in framers:
        bare = found and framer == Spec(framer.name, position=framer.position)
        if bare and framer.name not in plugins.names():
            before = found[-1]
            factory, _ = plugins.find(before.name)
            if not isinstance(factory, NamedFramer) and framer.name in _flags_of(factory):
                flag = Setting(framer.name, Word("yes", framer.position), framer.position)
                found[-1] = before._replace(options=(*before.options, flag))
                continue
        found.append(framer)
    return found


def _flags_of(factory: Callable[..., Any]) -> set[str]:
    """Return the options that a bare word sets: ``keep`` alone is ``keep=yes``."""
    return {option.key for option in options_of(factory) if bool in Takes(option.hint).types}


def build_framer(factory: Callable[..., Any], spec: Spec, build: Build) -> Any:
    """Call a factory, once, with the options of a parsed spec; `build` makes the framers nested in it.

    Raise `SpecError` naming the option, its value, what is allowed and the nearest spelling.
    """
    # A name alone needs no options, and those of a plugin's factory may be unreadable.
    values = _values_of(factory, spec, build) if spec.options or spec.framers else {}
    try:
        return _call(factory, values) if values else factory()
    except SpecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        missing = [option.key for option in options_of(factory) if option.required and option.parameter not in values]
        reason = f"{spec.name} needs {' and '.join(missing)}" if missing else f"{spec.name}: {error}"
        raise SpecError(reason, position=spec.position) from error


def _values_of(factory: Callable[..., Any], spec: Spec, build: Build) -> dict[str, Any]:
    """Return the values of the options that a spec gives, by parameter."""
    options, flags = options_of(factory), _flags_of(factory)
    holders = [option for option in options if option.holds_framers]
    in_place = [option for option in options if option.kind.name != "KEYWORD_ONLY"]
    asked: list[tuple[list[Option], Setting]] = [
        *((holders, Setting(None, framer, framer.position)) for framer in spec.framers),
        *((in_place, setting) for setting in spec.options),
    ]
    given: dict[str, list[Value]] = {}
    for places, (word, shown, position) in asked:
        key, value = word, shown
        if key is None and isinstance(value, Word) and not value.quote and value.text in flags:
            key, value = value.text, Word("yes", position)  # "keep" alone is "keep=yes"
        option = _by_key(options, spec, key, position) if key else _next_open(places, given, spec, value)
        if option.key in given and not option.repeats:
            raise SpecError(f"{option.key} is given twice", position=position)
        given.setdefault(option.key, []).append(value)
    return {one.parameter: _convert(one, given[one.key], build) for one in options if one.key in given}


def _by_key(options: Iterable[Option], spec: Spec, key: str, position: int) -> Option:
    wanted = key.replace("_", "-")
    for option in options:
        if wanted in (option.key, option.parameter.replace("_", "-")):
            return option
    keys = [option.key for option in options]
    listing = f" (options: {', '.join(keys)})" if keys else ", it takes none"
    hint = did_you_mean(wanted, keys)
    raise SpecError(f"{spec.name} has no option {key!r}{hint}{listing}", position=position)


def _next_open(options: Iterable[Option], given: dict[str, list[Value]], spec: Spec, value: Value) -> Option:
    for option in options:
        if option.key not in given or option.repeats:
            return option
    shown, hint = (value.text, "") if isinstance(value, Word) else (value.name, f"; {NESTED_OPTIONS}")
    keys = ", ".join(option.key for option in options)
    what = f"has no option for {shown!r}" + (f" after {keys}" if keys else "")
    raise SpecError(f"{spec.name} {what}{hint}", position=value.position)


def _convert(option: Option, values: list[Value], build: Build) -> Any:
    takes = Takes(option.hint)
    try:
        found = tuple(takes.convert(value, build) for value in values)
    except SpecError as error:
        if type(error) is not SpecError or option.holds_framers:
            raise
        raise SpecError(f"{option.key}: {error}", position=error.position) from None
    alone = len(found) == 1 and takes.one and option.kind.name != "VAR_POSITIONAL"
    return found[0] if alone else found


def _call(factory: Callable[..., Any], values: dict[str, Any]) -> Any:
    bound = BoundArguments(signature(factory), values)
    kinds = {parameter.kind.name for parameter in bound.signature.parameters.values()}
    if kinds & {"VAR_POSITIONAL", "POSITIONAL_ONLY"}:
        bound.apply_defaults()  # those before a value that has no keyword
    return factory(*bound.args, **bound.kwargs)
