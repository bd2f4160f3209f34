"""``framestream check``: hold framers to the contract."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from framestream.cli._conformance import examine
from framestream.cli._examples import BUILT_IN, frames_in
from framestream.framer import ReadCondition
from framestream.registry.grammar import parse_spec
from framestream.registry.lookup import get_framer, plugins
from framestream.testing._material import material_of

_PLACE = re.compile(r"([\w.]+):([A-Za-z_][\w.]*)")


@click.command(short_help="Hold framers to the contract.")
@click.argument("targets", metavar="FRAMER...", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="Print what is broken, and the verdicts.")
@click.pass_context
def check(context: click.Context, targets: tuple[str, ...], quiet: bool) -> None:
    """Run the conformance kit on framers.

    FRAMER is MODULE:ATTRIBUTE, a framer or its class, or a spec string. What to try it on is taken from
    attributes of the class or else of the module: examples, malformed, incomplete, slow_frame, which are
    the arguments of framestream.testing.check_framer. The exit status is 1 if a promise is broken.
    """
    broken = False
    for target in targets:
        framer, material = _find(target)
        outcome = examine(target, framer, material)
        broken = broken or bool(outcome.broken)
        lines = outcome.lines()
        click.echo("\n".join(line for line in lines if not quiet or _matters(line, outcome.verdict)))
    context.exit(int(broken))


def _matters(line: str, verdict: str) -> bool:
    return line == verdict or line.startswith(("  BROKEN", "          "))


def _find(target: str) -> tuple[ReadCondition[Any], Mapping[str, Any]]:
    """Return the framer that a target means, and what to try it on."""
    place = _PLACE.fullmatch(target)
    if place is None or place[1] in plugins.names():
        return _by_spec(target)
    found, module = _imported(place[1], place[2])
    framer = found if isinstance(found, ReadCondition) else _made(found, target)
    return framer, material_of(found, module)


def _by_spec(spec: str) -> tuple[ReadCondition[Any], Mapping[str, Any]]:
    framer = get_framer(spec)
    material = material_of(type(framer))
    name = parse_spec(spec).name
    own = [stream for known, stream in BUILT_IN.get(name, ()) if known == spec]
    if own and "examples" not in material:
        material["examples"] = {stream: frames_in(framer, stream) for stream in own}
    if name == "available":
        material["pieces"] = True
    return framer, material


def _imported(module: str, attribute: str) -> tuple[Any, Any]:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = owner = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"{module}:{attribute}: {error}") from error
    return found, owner


def _made(factory: Any, target: str) -> ReadCondition[Any]:
    if not callable(factory):
        raise click.UsageError(f"{target} is {factory!r:.60}, which makes no framer")
    try:
        framer = factory()
    except TypeError as error:
        raise click.UsageError(f"{target}: {error}; name an instance, such as {target.lower()}") from error
    if not isinstance(framer, ReadCondition):
        raise click.UsageError(f"{target} makes {framer!r}, which is no framer")
    return framer
