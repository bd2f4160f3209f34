"""Tables: wrapped on a terminal, one whole line for each row in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

_GAP = 3


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headings; on a terminal the last column takes what is left of the line."""
    lines = [tuple(headings), *map(tuple, rows)]
    if sys.stdout.isatty():
        _print_wrapped(lines)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width + _GAP}}" for cell, width in zip(line, widths, strict=True))
        click.echo("".join(cells).rstrip())


def _print_wrapped(lines: Sequence[Sequence[str]]) -> None:
    # Only a terminal is worth the time it takes to import rich.
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    headings, *rows = lines
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)
