"""Framed files on Dask: `read_frames` gives a Bag, `read_dataframe` a DataFrame; a split is a partition."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import dask.bag

from framestream import ReadCondition
from framestream.archives import Columns, OnError, Split, exact, plan, rows

__all__ = ["read_dataframe", "read_frames"]


def read_frames(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    framer: ReadCondition[Any] | str,
    *,
    on_error: OnError = "raise",
    **options: Any,
) -> dask.bag.Bag:
    """Return a Bag of the frames as dictionaries, in their order.

    A frame that is a mapping is such a dictionary; of another, it has the keys `offset`, `size` and `frame`.
    If the framer cannot tell in the middle of a file where a frame begins, and no index does, the files are
    read here already, once, by the workers, to find the borders.

    Args:
        urls: paths, globs, or URLs that fsspec opens, which every worker can reach.
        framer: a read condition, or the name or spec string of one; its plugin must be on every worker.
        on_error: "raise" the error of a bad frame; "skip" it, and log on the worker how many were
            skipped; or put it in a "column": every dictionary has `_error`, which is None for a good frame.
        **options: those of `framestream.archives.plan`: `parts` or `size`, `storage_options` and
            `max_frame_size`.

    Raises:
        ArchiveError: a file does not exist.
        SpecError: the spec string describes no framer.
    """
    splits = exact(plan(urls, framer, **options), map=_map)
    return dask.bag.from_sequence(splits, npartitions=len(splits)).map(rows, on_error=on_error).flatten()


def read_dataframe(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    framer: ReadCondition[Any] | str,
    *,
    schema: Any = None,
    on_error: OnError = "raise",
    **options: Any,
) -> Any:
    """Return a `dask.dataframe.DataFrame` of the frames, with Arrow's types; otherwise as `read_frames`.

    Args:
        schema: a `pyarrow.Schema` with the columns wanted. Without it, the first 1000 frames show the
            columns, and a frame with other fields, or with values of other types, is a bad frame.
        on_error: as for `read_frames`; the column is `_error`.

    Raises:
        ArchiveError, FramingError, PayloadError: as `read_frames`, and what is wrong with the first frames.
    """
    import dask.dataframe  # noqa: PLC0415 - it needs pandas, which a Bag does not

    splits = exact(plan(urls, framer, **options), map=_map)
    columns = Columns.of(splits, schema, on_error=on_error)
    meta = _to_pandas(columns.schema.empty_table())
    return dask.dataframe.from_map(_read, splits, reader=columns, meta=meta)


def _map(function: Callable[[Split], Any], splits: Iterable[Split]) -> Any:
    splits = list(splits)
    return dask.bag.from_sequence(splits, npartitions=len(splits)).map(function).compute()


def _read(split: Split, reader: Columns) -> Any:
    return _to_pandas(reader.table(split))


def _to_pandas(table: Any) -> Any:
    import pandas  # noqa: PLC0415

    # pandas' own types would make floats of integers where one is missing.
    return table.to_pandas(types_mapper=pandas.ArrowDtype)
