"""A recipe: one program, one conversation, the bytes it sends, and how those are cut into frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recorder.cutters import Cutter

Record = Callable[[Path], bytes]

RECIPES: dict[str, Recipe] = {}


@dataclass(frozen=True)
class Recipe:
    """How to make one capture.

    Attributes:
        name: the capture's name; its file is ``NAME.bin``.
        program: the executable that sends the bytes.
        package: the Debian package that has it.
        cuts: spec strings, each with a naive cutter that knows where its frames end.
        record: runs the program in an empty folder and returns the bytes exactly as received.
    """

    name: str
    program: str
    package: str
    cuts: dict[str, Cutter]
    record: Record

    @property
    def story(self) -> str:
        """What was recorded, in one sentence."""
        return " ".join((self.record.__doc__ or "").split())


def capture(name: str, *, program: str, package: str, cuts: dict[str, Cutter]) -> Callable[[Record], Record]:
    """Register the decorated function as the recipe of a capture."""

    def register(record: Record) -> Record:
        RECIPES[name] = Recipe(name, program, package, cuts, record)
        return record

    return register
