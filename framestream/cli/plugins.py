"""``framestream plugins``: list plugins, check them and their framers, show one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import FramestreamError
from framestream import plugins as manager
from framestream.cli.framers import badge, level_of, trial
from framestream.cli.options import matching
from framestream.cli.output import complain, print_table, prints_aside, say
from framestream.errors import blame, counted, describe_error, printable
from framestream.framers import BUILT_IN

if TYPE_CHECKING:
    from framestream.registry.plugin import Plugin

_FACTS: Final = "distribution version names module state reason problems framers hooks"


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
        rated = {info.name: level_of(info) for info in found if info.name not in BUILT_IN}
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
    factory = plugin.framers[name]
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
