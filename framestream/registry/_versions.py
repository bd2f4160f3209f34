"""Versions and requirements such as ``acme-netstring>=1.2,<2``: as much of PEP 440 as plugins need."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from framestream.errors import PluginError

Order: TypeAlias = "tuple[tuple[int, ...], int, int]"

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)[-_.]?(a|b|rc|dev|post)?[-_.]?(\d*)(?:\+.*)?", re.IGNORECASE)
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(.*?)\s*")
_CLAUSE = re.compile(r"(~=|==|!=|<=|>=|<|>)\s*([\w.+-]+)")

_STAGES: Final = {"dev": -4, "a": -3, "b": -2, "rc": -1, "": 0, "post": 1}


def version_order(version: str) -> Order:
    """Return what versions sort by: the release, then the stage (1.0a1 < 1.0rc1 < 1.0 < 1.0.post1)."""
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        raise PluginError(f"{version!r} is no version such as 1.2 or 2.0rc1")
    release = [int(part) for part in match[1].split(".")]
    while release and release[-1] == 0:
        release.pop()  # 1.0 is 1
    return tuple(release), _STAGES[(match[2] or "").lower()], int(match[3] or 0)


def _compatible(installed: Order, wanted: str) -> bool:
    """``~=1.4.2``: at least that, and the same up to the last number but one."""
    series = wanted.split(".")[:-1]
    start = tuple(int(part) for part in series)
    padded = (*installed[0], *[0] * len(start))
    return installed >= version_order(wanted) and padded[: len(start)] == start


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


class Requirement:
    """A distribution and the versions of it that will do: ``name``, ``name>=1.2``, ``name~=1.4,!=1.4.3``."""

    def __init__(self, text: str) -> None:
        match = _REQUIREMENT.fullmatch(text)
        clauses = [clause.strip() for clause in match[2].split(",")] if match and match[2] else []
        found = [_CLAUSE.fullmatch(clause) for clause in clauses]
        if match is None or None in found:
            raise PluginError(f"{text!r} is no requirement such as 'acme-netstring>=1.2,<2'")
        self.text = text
        self.name = match[1]
        self.clauses = [(clause[1], clause[2]) for clause in found if clause]
        for _, version in self.clauses:
            version_order(version)

    def allows(self, version: str) -> bool:
        """Tell whether this version of the distribution will do."""
        installed = version_order(version)
        return all(
            _compatible(installed, wanted)
            if sign == "~="
            else _OPERATORS[sign](installed, version_order(wanted))
            for sign, wanted in self.clauses
        )
