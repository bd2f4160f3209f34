"""Framed files on Ray: `read_frames` gives a `ray.data.Dataset`, from `Frames`, a `ray.data.Datasource`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, pairwise
from typing import Any

import pyarrow
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

import ray
from framestream import ReadCondition
from framestream.archives import Columns, OnError, Split, exact, plan

__all__ = ["Frames", "read_frames"]


def read_frames(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    framer: ReadCondition[Any] | str,
    *,
    schema: pyarrow.Schema | None = None,
    on_error: OnError = "raise",
    read_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> ray.data.Dataset:
    """Return a Dataset of the frames; nothing but their first 1000 is read before it is used.

    A frame that is a mapping is a row; of another, the row is `offset`, `size` and `frame`. If the framer
    cannot tell in the middle of a file where a frame begins, and no index does, the files are read here
    already, once, in tasks, to find the borders.

    Args:
        urls: paths, globs, or URLs that fsspec opens, which every node can reach.
        framer: a read condition, or the name or spec string of one; its plugin must be on every node.
        schema: a `pyarrow.Schema` with the columns wanted. Without it, the first 1000 frames show the
            columns, and a frame with other fields, or with values of other types, is a bad frame.
        on_error: "raise" the error of a bad frame; "skip" it, and log on the worker how many were
            skipped; or put it in a "column": every row has `_error`, which is None for a good frame.
        read_options: those of `ray.data.read_datasource`, such as ``{"override_num_blocks": 8}``.
        **options: those of `framestream.archives.plan`: `parts` or `size`, `storage_options` and
            `max_frame_size`.

    Raises:
        ArchiveError: a file does not exist, or the first frames show no one type for a column.
        SpecError: the spec string describes no framer.
        FramingError, PayloadError: the first frames are bad.
    """
    source = Frames(urls, framer, schema=schema, on_error=on_error, **options)
    return ray.data.read_datasource(source, **(read_options or {}))


class Frames(Datasource):
    """The frames of files; the arguments are those of `read_frames`."""

    def __init__(
        self,
        urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        framer: ReadCondition[Any] | str,
        *,
        schema: pyarrow.Schema | None = None,
        on_error: OnError = "raise",
        **options: Any,
    ) -> None:
        super().__init__()
        self._splits = exact(plan(urls, framer, **options), map=_map)
        self._columns = Columns.of(self._splits, schema, on_error=on_error)

    def get_name(self) -> str:
        """Return the name that Ray shows."""
        return "Frames"

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of the files, in bytes: a guess, as nothing is decoded."""
        return sum(split.stop - split.start for split in self._splits)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,
    ) -> list[ReadTask]:
        """Return a task per split; of more than `parallelism` splits, some in each task, in their order."""
        count = len(self._splits)
        borders = [count * i // parallelism for i in range(parallelism + 1)]
        parts = [self._splits[start:stop] for start, stop in pairwise(borders) if start < stop]
        return [self._task(part, per_task_row_limit) for part in parts]

    def _task(self, splits: list[Split], row_limit: int | None) -> ReadTask:
        size = sum(split.stop - split.start for split in splits)
        files = sorted({split.source.url for split in splits})
        metadata = BlockMetadata(num_rows=None, size_bytes=size, input_files=files, exec_stats=None)
        read = partial(_blocks, splits, self._columns)
        return ReadTask(read, metadata, schema=self._columns.schema, per_task_row_limit=row_limit)


def _blocks(splits: list[Split], columns: Columns) -> Iterator[pyarrow.Table]:
    for batch in chain.from_iterable(map(columns.batches, splits)):
        yield pyarrow.Table.from_batches([batch])


def _map(function: Callable[[Split], Any], splits: Iterable[Split]) -> Any:
    remote = ray.remote(function)
    return ray.get([remote.remote(split) for split in splits])
