"""A DataFrame of frames whose borders the workers find, for framings that need that."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from framestream import ReadCondition
from framestream.archives import Columns, OnError, Split, exact, plan


def read_frames(
    spark: Any,
    urls: Any,
    framer: ReadCondition[Any] | str,
    *,
    schema: pyarrow.Schema | None = None,
    on_error: OnError = "raise",
    **options: Any,
) -> Any:
    """Return a DataFrame of the frames: the rows of ``spark.read.format("framestream")``.

    If the framer cannot tell in the middle of a file where a frame begins, and no index does, the files are
    read here already, once, by the workers, to find the borders.

    Args:
        spark: a session, classic or of Spark Connect.
        urls: paths, globs, or URLs that fsspec opens, which every worker can reach.
        framer: a read condition, or the name or spec string of one; its plugin must be on every worker.
        schema: a `pyarrow.Schema` with the columns wanted. Without it, the first 1000 frames show the
            columns, and a frame with other fields, or with values of other types, is a bad frame.
        on_error: "raise" what is wrong with a bad frame; "skip" it, and log on the worker how many were
            skipped; or tell it in a "column": every row has `_error`, which is null for a good frame.
        **options: those of `framestream.archives.plan`: `parts` or `size`, `storage_options` and
            `max_frame_size`.

    Raises:
        ArchiveError: a file is not there, or the first frames show no one type for a column.
        SpecError: the spec string describes no framer.
        FramingError, PayloadError: what is wrong with the first frames.
    """
    splits = exact(plan(urls, framer, **options), map=partial(_map, spark))
    columns = Columns.of(splits, schema, on_error=on_error)
    types = from_arrow_schema(columns.schema)
    columns = replace(columns, schema=to_arrow_schema(types, timezone="UTC"))
    return _for_each(spark, splits, columns.batches, types)


def _map(spark: Any, function: Callable[[Split], Any], splits: Iterable[Split]) -> Iterable[Any]:
    splits = list(splits)
    rows = _for_each(spark, splits, partial(_pickled, function), "start bigint, url string, result binary")
    # Some engines give rows in whatever order they become ready.
    results = {(row.url, row.start): pickle.loads(row.result) for row in rows.collect()}  # noqa: S301 - ours
    return [results[split.source.url, split.start] for split in splits]


def _pickled(function: Callable[[Split], Any], split: Split) -> Iterator[pyarrow.RecordBatch]:
    result = [split.start], [split.source.url], [pickle.dumps(function(split))]
    yield pyarrow.RecordBatch.from_arrays(list(map(pyarrow.array, result)), ["start", "url", "result"])


def _for_each(
    spark: Any, splits: list[Split], read: Callable[[Split], Iterator[pyarrow.RecordBatch]], types: Any
) -> Any:
    """Return a DataFrame of what `read` yields for each split, each in a task of its own, in their order."""

    def work(numbers: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from read(splits[number])

    return spark.range(0, len(splits), 1, len(splits)).mapInArrow(work, types)
