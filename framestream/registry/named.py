"""Named framers: spec strings to which an application or a user gives names of their own.

::

    [tool.framestream.framers]
    acme = "length-prefix:size=2,offset=4,adjust=-6,max=1MiB"
    acme-or-lines = "first-of(acme, line)"
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from framestream.errors import SpecError
from framestream.registry.grammar import NAME, Spec, names_in, nearest, parse_spec

if TYPE_CHECKING:
    from pathlib import Path

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
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise SpecError(f"{named[name].source}: {circle} is a circle")
        if name in named and name not in finished:
            for used in names_in(named[name].spec):
                visit(used, (*path, name))
            finished.add(name)

    for name in named:
        visit(name, ())


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
