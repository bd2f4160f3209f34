"""Names of framers: their form, their likeliest spelling, and names that a user gives to spec strings::

[tool.framestream.framers]
acme = "length-prefix:size=2,offset=4,adjust=-6,max=1MiB"
acme-or-lines = "first-of(acme, line)"
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from framestream.errors import SpecError, nearest
from framestream.framers import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

# Patterns are compiled on first use, and what few programs need is imported where it is used: every program
# that asks for a framer by name imports this module.

# The plugins of this project, each with its framers, and those whose only framer has the plugin's name.
_SEVERAL: Final = {
    "cobs": "cobs cobs-r",
    "erlang": "ber erlang-packet fastcgi giop record-marking tpkt",
    "http": "http-chunk http-chunked http-request http-response",
    "json": "json-array json-concat json-lines json-seq",
    "marked": "fix nmea ubx",
    "records": "journal-export pcapng tfrecord warc",
}
_ONE: Final = "fstrm lsp mqtt netstring protobuf proxy resp slip syslog websocket"
FIRST_PARTY: Final = {framer: f"framestream-{framer}" for framer in _ONE.split()} | {
    framer: f"framestream-{plugin}" for plugin, framers in _SEVERAL.items() for framer in framers.split()
}
"""The distributions of this project that bring framers, by framer: what to install if one is missing."""


def is_name(text: str) -> bool:
    """Tell whether a text can be a framer's name. ASCII only: letters of other alphabets can imitate a trusted name."""
    return re.fullmatch(r"(?a)[A-Za-z][\w.-]*", text) is not None


def normalised(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the likeliest spelling, or nothing."""
    close = nearest(word, among)
    return f"; did you mean {close!r}?" if close else ""


class NamedFramer(NamedTuple):
    """A spec string with a name.

    Attributes:
        name: the name.
        text: the spec string it stands for.
        source: where the name was given, for messages.
    """

    name: str
    text: str
    source: str


def named_framer(name: str, text: Any, source: str) -> NamedFramer:
    """Return a named framer; raise `SpecError` if the name or the string is malformed."""
    from framestream.registry.specs import parse_spec  # noqa: PLC0415

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
