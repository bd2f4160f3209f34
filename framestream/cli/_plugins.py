"""``framestream plugins``: list, check and explain plugins."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from framestream.cli._conformance import examine
from framestream.cli._tables import print_table
from framestream.errors import FramestreamError
from framestream.registry.lookup import get_framer
from framestream.registry.lookup import plugins as host
from framestream.registry.options import describe_options
from framestream.testing._material import material_of

if TYPE_CHECKING:
    from framestream.registry.plugin import Plugin


@click.group(invoke_without_command=True, short_help="List plugins, with what is wrong with them.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """List the plugins with what they bring and what is wrong with them."""
    # Every command here prints the reasons itself.
    logging.getLogger("framestream.plugins").addHandler(logging.NullHandler())
    if context.invoked_subcommand is not None:
        return
    host.load()
    if as_json:
        click.echo(json.dumps([_facts(plugin) for plugin in host], indent=2))
        return
    rows = [_row(plugin) for plugin in host]
    if rows:
        print_table(("PLUGIN", "STATE", "FRAMERS", "HOOKS", "LOADED IN", "CONTRACT", "WHAT IS WRONG"), rows)
    else:
        click.echo("no plugin is installed")
    for notice in host.notices():
        click.echo(f"framestream: {notice}", err=True)


@plugins.command(short_help="Try each plugin and each of its framers.")
@click.argument("names", nargs=-1)
@click.pass_context
def check(context: click.Context, names: tuple[str, ...]) -> None:
    """Check that plugins load, that their names are theirs, and that their framers keep the contract.

    The exit status is 1 if anything is wrong.
    """
    host.load()
    chosen = [plugin for name in names for plugin in host.matching(name)] if names else list(host)
    wrong = 0
    for plugin in chosen:
        click.echo(f"{plugin.title} ({plugin.module}): {plugin.state}")
        for complaint in _complaints(plugin):
            wrong += 1
            click.echo(f"  wrong: {complaint}")
        for report, broken in _conformance(plugin):
            wrong += broken
            click.echo(f"  {report}")
    for notice in host.notices():
        wrong += 1
        click.echo(f"wrong: {notice}")
    click.echo(f"{len(chosen)} plugin{'' if len(chosen) == 1 else 's'}, {wrong} wrong")
    context.exit(int(wrong > 0))


@plugins.command(short_help="Tell everything about one plugin.")
@click.argument("name")
def show(name: str) -> None:
    """Tell everything about one plugin, with the traceback if it has failed."""
    host.load()
    for plugin in host.matching(name):
        for key, value in {**_facts(plugin), "load_time": _load_time(plugin)}.items():
            shown = ", ".join(value) if isinstance(value, list) else value
            click.echo(f"{key + ':':<14} {'' if shown is None else shown}".rstrip())
        if plugin.traceback:
            click.echo(f"\n{plugin.traceback}")


def _facts(plugin: Plugin) -> dict[str, Any]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "names": list(plugin.names),
        "module": plugin.module,
        "state": plugin.state,
        "reason": plugin.reason,
        "problems": host.problems(plugin),
        "framers": list(plugin.framers),
        "hooks": list(plugin.hooks),
        "load_time": plugin.load_time,
        "contract": plugin.contract,
    }


def _row(plugin: Plugin) -> tuple[str, ...]:
    return (
        plugin.title,
        plugin.state,
        ", ".join(plugin.framers or plugin.names),
        ", ".join(hook.removeprefix("framestream_") for hook in plugin.hooks),
        _load_time(plugin),
        "" if plugin.contract is None else str(plugin.contract),
        "; ".join(_complaints(plugin)),
    )


def _load_time(plugin: Plugin) -> str:
    return "" if plugin.load_time is None else f"{plugin.load_time * 1000:.0f} ms"


def _complaints(plugin: Plugin) -> list[str]:
    return [*([plugin.reason] if plugin.reason else []), *host.problems(plugin)]


def _conformance(plugin: Plugin) -> Iterator[tuple[str, bool]]:
    """Yield a line for each framer of a plugin in use, and whether it breaks the contract."""
    if plugin.state != "loaded":
        return
    for name in plugin.framers:
        try:
            factory = plugin.factory(name)
            spec = getattr(factory, "example_spec", name)
            missing = [option.key for option in describe_options(factory) if option.required]
            if spec == name and missing:
                yield (
                    f"{name}: not tried, it needs {' and '.join(missing)}; its class may say example_spec",
                    False,
                )
                continue
            framer = get_framer(spec if ":" in spec or name != spec else f"{plugin.distribution}/{name}")
        except FramestreamError as error:
            yield f"wrong: {name}: {error}", True
            continue
        own = getattr(factory, "name", "")
        if own and own not in plugin.framers:
            yield f"wrong: {name}: its class calls itself {own!r}, a name that nobody can ask for", True
        outcome = examine(name, framer, material_of(factory))
        yield outcome.verdict, bool(outcome.broken)
        for message in outcome.broken.values():
            yield f"wrong: {message}".replace("\n", "\n    "), False
