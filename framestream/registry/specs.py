"""Spec strings: from a text to a tree, from a tree to a framer, and from a framer to its text.

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
from functools import partial
from inspect import BoundArguments, signature
from typing import TYPE_CHECKING, Any, Final, NoReturn

from framestream.errors import PluginError, SpecError, blame
from framestream.framer import ReadCondition
from framestream.registry.names import NamedFramer, did_you_mean, is_name
from framestream.registry.options import Build, Option, Setting, Spec, Value, Word, format_value, options_of

if TYPE_CHECKING:
    from framestream.registry.manager import PluginManager

NESTED_OPTIONS = "between parentheses, options after the first are written key=value"
"""The hint for the commonest mistake in a nested spec."""

_TOKEN = re.compile(
    r"""\s*(?P<all>(?P<word>[^\s,()"'=:]+)|"(?P<text>(?:[^"\\]|\\.)*)"|'(?P<raw>[^']*)'|(?P<sign>.)|$)""",
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
    return {option.key for option in options_of(factory) if bool in option.takes.types}


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
    try:
        found = tuple(option.takes.convert(value, build) for value in values)
    except SpecError as error:
        if type(error) is not SpecError or option.holds_framers:
            raise
        raise SpecError(f"{option.key}: {error}", position=error.position) from None
    alone = len(found) == 1 and option.takes.one and option.kind.name != "VAR_POSITIONAL"
    return found[0] if alone else found


def _call(factory: Callable[..., Any], values: dict[str, Any]) -> Any:
    bound = BoundArguments(signature(factory), values)
    kinds = {parameter.kind.name for parameter in bound.signature.parameters.values()}
    if kinds & {"VAR_POSITIONAL", "POSITIONAL_ONLY"}:
        bound.apply_defaults()  # those before a value that has no keyword
    return factory(*bound.args, **bound.kwargs)


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
            if option.kind.name == "VAR_POSITIONAL":
                shown += map(repr, value)
            elif option.required and option.kind.name != "KEYWORD_ONLY":
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
    children: list[str] = []
    texts: list[str] = []
    in_order = by_position = True
    keys = [option.key for option, _, _ in values]
    for option, value, is_default in values:
        items = value if isinstance(value, tuple) else (value,)
        are_conditions = option.holds_framers and all(isinstance(item, ReadCondition) for item in items)
        if are_conditions and in_order and not is_default:
            children.extend(map(_child, items))
            continue
        in_order = in_order and not option.holds_framers
        has_place = option.kind.name == "VAR_POSITIONAL" or (option.required and option.kind.name != "KEYWORD_ONLY")
        in_place = by_position and has_place and not isinstance(value, bool)
        by_position = in_place and not option.repeats
        if is_default:
            continue
        if value is True:
            texts.append(option.key)
        elif in_place:
            # A word that is the name of an option would be read as that option.
            texts += [f'"{text}"' if text in keys else text for text in map(format_value, items)]
        else:
            texts += [f"{option.key}={format_value(item)}" for item in items]
    inside = f"({', '.join(children)})" if children else ""
    return f"{condition.name}{inside}{':' if texts else ''}{','.join(texts)}"


def _child(condition: ReadCondition[Any]) -> str:
    """Return a condition's text, in parentheses if a comma in it could be read as the next child."""
    text = str(condition)
    return f"({text})" if re.search(_LIKE_THE_NEXT_CHILD, text) else text


# An option without "key=" after a comma. Between two children there is a space after the comma.
_LIKE_THE_NEXT_CHILD: Final = r",(?=[A-Za-z(])(?![\w-]+=)"
