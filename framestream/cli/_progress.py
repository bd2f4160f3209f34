"""A progress bar on a terminal, for files that take long enough to wonder."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framestream.cli._sources import Source

PATIENCE = 0.5
"""Seconds before the bar appears."""


class Progress:
    """How far a file is read; shown only where standard error is a terminal that the frames do not use."""

    def __init__(self, source: Source, output: IO[bytes]) -> None:
        self._size = source.size
        self._name = source.name
        self._read = 0
        self._wanted = bool(source.size) and sys.stderr.isatty() and not output.isatty()
        self._due = time.monotonic() + PATIENCE
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int) -> None:
        """Note that so many bytes more have been read."""
        self._read += size
        if self._wanted and self._bar is None and time.monotonic() >= self._due:
            self._show()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._read)

    def _show(self) -> None:
        # Only a long file on a terminal needs rich, which takes longer to import than most files to cut.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._name, total=self._size)
        self._bar.start()
