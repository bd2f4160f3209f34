"""``framestream framers``: list the framers, or explain one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

from framestream.cli._drawing import draw
from framestream.cli._examples import examples_of
from framestream.cli._parameters import SPEC
from framestream.cli._tables import print_table
from framestream.registry.lookup import available_framers, get_framer, plugins
from framestream.registry.named import NamedFramer
from framestream.registry.options import OptionInfo, describe_options


@click.command(short_help="List the framers, or explain one.")
@click.argument("name", required=False, type=SPEC)
def framers(name: str | None) -> None:
    """List every framer there is; with NAME, explain that one: options, examples, a drawing."""
    if name is None:
        rows = ((info.name, info.distribution, info.summary) for info in available_framers())
        print_table(("NAME", "FROM", "WHAT IT CUTS"), rows)
        return
    factory = plugins.factory(name)
    if isinstance(factory, NamedFramer):
        click.echo(f"{name} = {factory.text!r}, from {factory.source}\n{get_framer(name)!r}")
        return
    click.echo("\n".join(_about(name, factory)))
    options = describe_options(factory)
    if options:
        click.echo("\nOptions")
        print_table(("  NAME", "TAKES", "DEFAULT", "MEANING"), map(_option_row, options))
    for spec, stream in examples_of(name, factory):
        click.echo(f"\n{spec}\n{draw(get_framer(spec), stream)}")


def _about(name: str, factory: Any) -> Iterator[str]:
    """Yield the name and the docstring, without the marks of reStructuredText that only its tools need."""
    yield name
    text = re.sub(r"^::\n\n", "", inspect.getdoc(factory) or "", flags=re.MULTILINE)
    for line in text.splitlines():
        yield f"  {line}".rstrip()


def _option_row(option: OptionInfo) -> tuple[str, str, str, str]:
    default = "required" if option.required else option.default_text
    return f"  {option.key}", option.type, default, option.help
