"""``framestream framers``, ``check`` and ``plugins``: list framers and plugins, and check them."""

from __future__ import annotations

import inspect
import json
import logging
import os
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import FrameDecoder, FramestreamError, FramingError, ReadCondition, get_framer
from framestream import plugins as manager
from framestream.cli.options import complete_framer, matching
from framestream.cli.output import complain, print_table, prints_aside, say, wrapped
from framestream.cli.quality import Outcome, badge, prose, trial
from framestream.errors import blame, counted, describe_error, printable
from framestream.iterate import placed_frames
from framestream.registry.named import NamedFramer
from framestream.registry.options import describe_options
from framestream.testing.suite import Arguments, arguments_of

if TYPE_CHECKING:
    from framestream.registry import FramerInfo
    from framestream.registry.options import OptionInfo
    from framestream.registry.plugin import Plugin

EXAMPLES: Final[tuple[tuple[str, bytes], ...]] = (
    ("available:max=4", b"abcdefghij"),
    ('delimiter:"\\r\\n","\\n"', b"PING\r\nPONG\n"),
    ("delimiter:;,keep", b"a=1;b=2;"),
    ("exactly:4", b"\x00\x01\x02\x03"),
    ('first-of(when(length-prefix:2):"\\0", line)', b"\x00\x02hihello\n"),
    ("fixed-length:3", b"abcdef"),
    ('fixed-length:4,pad=" "', b"ab  cd  "),
    ("length-prefix:2", b"\x00\x03abc\x00\x02hi"),
    ("length-prefix:format=varint", b"\x03abc\x02hi"),
    ('length-prefix:format=decimal,terminator=":"', b"3:abc2:hi"),
    ("line", b"hello\r\nworld\n"),
    ("line:newline=crlf", b"hello\r\n"),
    ("msgpack", b"\x82\xa2op\xa3add\xa1n\x01\x93\x01\x02\xc0"),
    ("nested(length-prefix:1, msgpack)", b"\x04\x93\x01\x02\x03"),
    ('regex:"\\r\\n\\r\\n"', b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("sequence(length-prefix:1, line)", b"\x02hiline\n"),
    ("until-close", b"everything there is"),
    ("when(line):$", b"$1\n$2\n"),
)
"""Examples of every built-in framer: a spec string, and a stream that it cuts."""

_FACTS: Final = "distribution version names module state reason problems framers hooks load_time contract"
_PLACE: Final = re.compile(r"([\w.]+):([A-Za-z_][\w.]*)")


# framers -------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False, shell_complete=complete_framer)
@click.option("--levels", is_flag=True, help="Try each framer, and list its level, from 0 to 4.")
def framers(name: str | None, levels: bool) -> None:
    """List every framer; with NAME, explain that one: options, examples, a drawing.

    \b
    Examples:
      framestream framers
      framestream framers length-prefix
      framestream framers --levels
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    if name is not None and levels:
        raise click.UsageError("--levels goes with the list, without NAME")
    if name is None:
        with prints_aside():
            found = [(info, _level(info)) if levels else (info,) for info in framestream.available_framers()]
        heading = ("NAME", *(["LEVEL"] if levels else ()), "FROM", "WHAT IT CUTS")
        print_table(heading, ((info.name, *rated, info.distribution, prose(info.summary)) for info, *rated in found))
        return
    with prints_aside():
        factory = manager.factory(name)
    if isinstance(factory, NamedFramer):
        say(f"{name} = {factory.text!r}, from {factory.source}\nIn full: {get_framer(name)}")
        say(f"framestream framers {factory.spec.name} explains it.")
        return
    with prints_aside(), blame(f"{name} cannot be described", ours=(FramestreamError,)):
        text, options = prose(inspect.getdoc(factory) or ""), describe_options(factory)
        examples = [(spec, draw(get_framer(spec), stream)) for spec, stream in examples_of(name, factory)]
    say(name)
    say("\n\n".join(map(_paragraph, text.split("\n\n"))))
    if options:
        say("\nOptions")
        print_table(("  NAME", "TAKES", "DEFAULT", "MEANING"), map(_option_row, options))
    for spec, drawing in examples:
        say(f"\n{spec}\n{drawing}")


def _level(info: FramerInfo) -> str:
    """Return the level of a framer; nothing for one that is named, or cannot be tried without its options."""
    if isinstance(info.factory, NamedFramer):
        return ""
    with suppress(FramestreamError), blame("cannot be tried"):
        if info.name in manager.built_in:
            return str(Outcome(info.name, *_find(examples_of(info.name, info.factory)[0][0])).level)
        outcome = trial(info.name, info.factory, info.distribution)
        return "" if isinstance(outcome, str) else str(outcome.level)
    return "0"


def _paragraph(text: str) -> str:
    if re.search("^[ *-]", text, re.MULTILINE):  # a drawing, or a list
        return indent(text, "  ")
    return wrapped(text, "  ", "  ", shutil.get_terminal_size().columns)


def _option_row(option: OptionInfo) -> tuple[str, ...]:
    default = "required" if option.required else option.default_text
    return f"  {option.key}", option.type, default, prose(option.help)


def examples_of(name: str, factory: Any) -> tuple[tuple[str, bytes], ...]:
    """Return the examples of a framer: ours, or those of its class.

    A framer's class says ``examples = {b"3:abc,": [b"abc"]}``, the streams that the conformance kit takes,
    and ``example_spec = "netstring:max=1KiB"`` if its name alone does not make one.
    """
    own = tuple(example for example in EXAMPLES if re.split("[:(]", example[0])[0] == name)
    spec = getattr(factory, "example_spec", name)
    return own or tuple((spec, bytes(stream)) for stream in getattr(factory, "examples", ()))


def draw(condition: ReadCondition[Any], stream: bytes, width: int = 100) -> str:
    """Return a drawing made by cutting the stream: a box for each frame, input above, decoded below."""
    # Bytes are shown as in a Python literal, which readers know.
    cells = [(repr(data)[2:-1], text) for data, text in _pieces(condition, stream)]
    widths = [max(map(len, cell)) for cell in cells]
    if sum(widths) + 3 * len(widths) + 10 > width:
        return "\n".join(f"INPUT    {above}\nDECODED  {below}" for above, below in cells)
    rule = "         +" + "+".join("-" * (size + 2) for size in widths) + "+"
    above, below = (
        "|".join(f" {cell[row]:<{size}} " for cell, size in zip(cells, widths, strict=True)) for row in (0, 1)
    )
    return "\n".join((rule, f"INPUT    |{above}|", rule, f"DECODED  |{below}|", rule))


def _pieces(condition: ReadCondition[Any], stream: bytes) -> list[tuple[bytes, str]]:
    """Return the pieces of the stream, and the result of each."""
    pieces: list[tuple[bytes, str]] = []
    place = 0

    def add(frame: Any) -> None:
        nonlocal place
        start, place = place, decoder.frame_span[1]
        pieces.append((stream[start:place], repr(frame)))

    decoder = FrameDecoder(on_payload_error=add)
    try:
        for _, frame in placed_frames(decoder, condition, [stream]):
            add(frame)
    except FramingError as error:
        pieces.append((stream[place:], describe_error(error)))
    return pieces


# check ---------------------------------------------------------------------------------------------


@click.command()
@click.argument("targets", metavar="FRAMER...", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="Print only broken promises and verdicts.")
def check(targets: tuple[str, ...], quiet: bool) -> int:
    """Run the conformance kit on framers.

    FRAMER is MODULE:ATTRIBUTE, a framer or its class, or a spec string. Its test material comes from
    attributes of the class or else of the module: examples, malformed, incomplete, slow_frame, which are
    the arguments of framestream.testing.check_framer. The exit status is 1 if a promise is broken.

    \b
    Examples:
      framestream check 'delimiter:;,keep' --quiet
      framestream check acme_frames:AcmeFrames
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    broken = False
    for target in targets:
        with prints_aside():
            outcome = Outcome(target, *_find(target))
        broken = broken or bool(outcome.broken)
        say("\n".join(outcome.lines(quiet=quiet)))
    return int(broken)


def _find(target: str) -> tuple[ReadCondition[Any], Arguments]:
    """Return the framer of a target, and its test material."""
    place = _PLACE.fullmatch(target)
    if place is not None and place[1] not in manager.names():
        found = _import(target)
        return _make(found, target), arguments_of(found, sys.modules[place[1]])
    framer = get_framer(target)
    material = arguments_of(type(framer))
    own = dict(EXAMPLES).get(target)
    if own is not None:
        material.setdefault("examples", {own: list(framestream.iter_frames(own, framer))})
    if framer.name == "available":
        material["chunk_dependent"] = True
    return framer, material


def _import(target: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with blame(f"{target} cannot be imported", ours=(ModuleNotFoundError, AttributeError)):
            return pkgutil.resolve_name(target)
    except (ModuleNotFoundError, AttributeError) as error:
        raise click.UsageError(f"{target}: {describe_error(error)}") from error


def _make(found: Any, target: str) -> ReadCondition[Any]:
    try:
        with blame(f"{target} cannot be made", ours=(TypeError,)):
            framer = found() if callable(found) else found
    except TypeError as error:
        reason = f"{target}: {describe_error(error)}; name an instance, such as {target.lower()}"
        raise click.UsageError(reason) from error
    if not isinstance(framer, ReadCondition):
        raise click.UsageError(f"{target} gives {framer!r:.60}, which is not a framer")
    return framer


# plugins -------------------------------------------------------------------------------------------


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--levels", is_flag=True, help="Try each framer, and show its level, from 0 to 4.")
@click.pass_context
def plugins(context: click.Context, as_json: bool, levels: bool) -> None:
    """List the plugins with what they bring and their problems.

    \b
    Examples:
      framestream plugins
      framestream plugins check
      framestream plugins show framestream-resp
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    # Every command here prints the reasons itself.
    logging.getLogger("framestream.plugins").addHandler(logging.NullHandler())
    with prints_aside():
        manager.load()
    if context.invoked_subcommand is not None:
        if as_json or levels:
            raise click.UsageError("--json and --levels go with the list")
        return
    if as_json and levels:
        raise click.UsageError("--levels goes with the list for people; without --json")
    if as_json:
        say(json.dumps([_facts(plugin) for plugin in manager], indent=2))
        return
    with prints_aside():
        found = framestream.available_framers() if levels else ()
        rated = {info.name: _level(info) for info in found if info.name not in manager.built_in}
    rows = [
        (
            plugin.title,
            plugin.state,
            ", ".join(f"{name} {rated.get(name, '')}".rstrip() for name in _names_shown(plugin)) or "none",
        )
        for plugin in manager
    ]
    if rows:
        print_table(("PLUGIN", "STATE", "FRAMERS"), rows)
    else:
        say("no plugin is installed")
    for plugin in manager:
        for complaint in _complaints(plugin):
            say(f"{plugin.title}: {complaint}")
    for notice in manager.notices():
        complain(notice)


@plugins.command("check", short_help="Try each plugin and each of its framers.")
@click.argument("names", nargs=-1)
@click.option("--badge", "picture", type=click.Path(path_type=Path), help="Write the lowest level here, as SVG.")
def check_plugins(names: tuple[str, ...], picture: Path | None) -> int:
    """Check that plugins load, that no two claim a name, and that their framers keep the contract.

    Each framer has a level: 1 if it keeps the contract, 2 if its class also carries examples and malformed
    bytes and reading restores every frame it writes, 3 if its class also names the programs its tests talk
    to, 4 if it also has a fast path, can be streamed, and can start in the middle of a stream.

    The exit status is 1 if anything is wrong.

    \b
    Examples:
      framestream plugins check
      framestream plugins check framestream-resp --badge level.svg
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    chosen = [plugin for name in names for plugin in matching(name)] if names else list(manager)
    wrong, levels = 0, list[int]()
    for plugin in chosen:
        say(f"{plugin.title} ({plugin.module}): {plugin.state}")
        with prints_aside():
            findings = list(_findings(plugin, levels))
        for report, broken in findings:
            wrong += broken
            say(f"  {report}")
    for notice in manager.notices():
        wrong += 1
        say(f"wrong: {notice}")
    say(f"{counted(len(chosen), 'plugin')}, {wrong} wrong")
    if picture is not None:
        picture.write_text(badge(min(levels, default=0)), "utf-8")
    return int(wrong > 0)


@plugins.command(short_help="Show everything about one plugin.")
@click.argument("name")
def show(name: str) -> None:
    """Show everything about one plugin, with the traceback if it could not be loaded.

    \b
    Examples:
      framestream plugins show framestream-resp
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    for plugin in matching(name):
        for key, value in _facts(plugin).items():
            shown = ", ".join(value) if isinstance(value, list | tuple) else value
            if key == "load_time" and value is not None:
                shown = f"{value * 1000:.0f} ms"
            say(f"{key + ':':<14} {'' if shown is None else shown}".rstrip())
        if plugin.traceback:
            say(f"\n{plugin.traceback}")


def _names_shown(plugin: Plugin) -> Iterable[str]:
    return plugin.framers if plugin.state == "loaded" else plugin.names


def _facts(plugin: Plugin) -> dict[str, Any]:
    facts = {name: getattr(plugin, name) for name in _FACTS.split() if name != "problems"}
    return {**facts, "framers": list(plugin.framers), "problems": manager.problems(plugin)}


def _complaints(plugin: Plugin) -> list[str]:
    return [printable(told) for told in (plugin.reason, *manager.problems(plugin)) if told]


def _findings(plugin: Plugin, levels: list[int]) -> Iterator[tuple[str, bool]]:
    """Yield lines about a plugin and each of its framers, if it is in use, and whether each is a fault.

    Append the level of each framer that was tried.
    """
    for complaint in _complaints(plugin):
        yield f"wrong: {complaint}", True
    for name in list(plugin.framers) if plugin.state == "loaded" else ():
        try:
            with blame("cannot be tried", ours=(FramestreamError,)):
                found = list(_tried(plugin, name, levels))
        except FramestreamError as error:
            found = [(f"wrong: {name}: {describe_error(error)}", True)]
        yield from found


def _tried(plugin: Plugin, name: str, levels: list[int]) -> Iterator[tuple[str, bool]]:
    factory = plugin.factory(name)
    outcome = trial(name, factory, plugin.distribution)
    if isinstance(outcome, str):
        yield f"{name}: not tried, it needs {outcome}; its class may say example_spec", False
        return
    levels.append(outcome.level)
    own = getattr(factory, "name", "")
    if own and own not in plugin.framers:
        yield f"wrong: {name}: its class calls itself {own!r}, a name that its plugin does not register", True
    yield outcome.rating, bool(outcome.broken)
    for message in outcome.broken:
        yield f"wrong: {message}".replace("\n", "\n    "), False
