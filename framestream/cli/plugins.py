"""``framestream plugins``: list plugins, check them and their framers, show one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from framestream import FramestreamError
from framestream import plugins as manager
from framestream.cli.framers import badge, trial
from framestream.cli.options import matching
from framestream.cli.output import complain, prints_aside, say, say_list
from framestream.errors import blame, counted, describe_error

if TYPE_CHECKING:
    from framestream.registry.plugin import Plugin


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
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
        return
    rows = [(plugin.title, f"{plugin.state}: {_framers(plugin)}") for plugin in manager]
    say_list(rows or [("no plugin is installed", "")])
    for plugin in manager:
        for complaint in _complaints(plugin):
            say(f"{plugin.title}: {complaint}")
    for notice in manager.notices():
        complain(notice)


def _framers(plugin: Plugin) -> str:
    return ", ".join(plugin.framers if plugin.state == "loaded" else plugin.names) or "no framer"


def _complaints(plugin: Plugin) -> list[str]:
    return [*filter(None, (plugin.reason, *manager.problems(plugin)))]


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
        for report, broken in _findings(plugin, levels):
            wrong += broken
            say(f"  {report}")
    for notice in manager.notices():
        wrong += 1
        say(f"wrong: {notice}")
    say(f"{counted(len(chosen), 'plugin')}, {wrong} wrong")
    if picture is not None:
        picture.write_text(badge(min(levels, default=0)), "utf-8")
    return int(wrong > 0)


def _findings(plugin: Plugin, levels: list[int]) -> Iterator[tuple[str, bool]]:
    """Yield lines about a plugin and each of its framers, if it is in use, and whether each is a fault.

    Append the level of each framer that was tried.
    """
    for complaint in _complaints(plugin):
        yield f"wrong: {complaint}", True
    for name, factory in list(plugin.framers.items()) if plugin.state == "loaded" else ():
        try:
            with blame("cannot be tried", ours=(FramestreamError,)):
                own = str(getattr(factory, "name", ""))
                outcome = trial(name, factory, plugin.distribution)
        except FramestreamError as error:
            yield f"wrong: {name}: {describe_error(error)}", True
            continue
        if isinstance(outcome, str):
            yield f"{name}: not tried, it needs {outcome}; its class may say example_spec", False
            continue
        levels.append(outcome.level)
        if own and own not in plugin.framers:
            yield f"wrong: {name}: its class calls itself {own!r}, a name that its plugin does not register", True
        yield outcome.rating, bool(outcome.broken)
        for message in outcome.broken:
            yield f"wrong: {message}".replace("\n", "\n    "), False


@plugins.command(short_help="Show everything about one plugin.")
@click.argument("name")
def show(name: str) -> None:
    """Show everything about one plugin, with the traceback if it could not be loaded.

    \b
    Examples:
      framestream plugins show framestream-resp
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    for plugin in matching(name):
        say(f"{plugin.title} ({plugin.module}): {plugin.state}")
        facts = {
            "names": ", ".join(plugin.names),
            "framers": ", ".join(plugin.framers),
            "hooks": ", ".join(plugin.hooks),
            "problems": "; ".join(_complaints(plugin)),
        }
        say_list([(name, value) for name, value in facts.items() if value])
        if plugin.traceback:
            say(f"\n{plugin.traceback}")
