"""The format "framestream": options in, record batches out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from framestream.archives import Columns, Split, exact, plan
from pyspark_framestream._stream import FrameStreamReader

if TYPE_CHECKING:
    import pyarrow


class DefaultSource(DataSource):
    """The frames of files; ``load`` takes a path, a glob, or a URL that fsspec opens.

    A frame that is a mapping is a row; of another, the row is `offset`, `size` and `frame`. Without a schema,
    the first 1000 frames show the columns, and a frame with other fields, or with values of other types, is a
    bad frame. If the framer cannot tell in the middle of a file where a frame begins, and no index does, the
    driver reads the files once to find the borders: `read_frames` has the workers do it.

    The options:
        framer: the spec string of what cuts the files; its plugin must be wherever Spark runs Python.
        on_error: "raise" what is wrong with a bad frame (the default); "skip" it, and log how many were
            skipped; or tell it in the "column" `_error`, which is null for a good frame.
        storage_options: what fsspec needs to open the files, as JSON.
        parts, size, max_frame_size: as for `framestream.archives.plan`.
    """

    is_shown = False

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "framestream"

    def schema(self) -> StructType:
        """Return the schema that the first frames show; asked for only if the user gives none."""
        self.is_shown = True
        return from_arrow_schema(Columns.of(self._plan(), on_error=self._on_error).schema)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Return what reads the frames that there are."""
        return FrameReader(self._plan(), self._columns(schema))

    def streamReader(self, schema: StructType) -> FrameStreamReader:  # noqa: N802 - Spark's name
        """Return what reads the frames that there are, and those that are appended later."""
        return FrameStreamReader(self._plan, self._columns(schema))

    @property
    def _on_error(self) -> Any:
        on_error = self.options.get("on_error", "raise")
        if on_error not in ("raise", "skip", "column"):
            raise ValueError(f'on_error is {on_error!r}; it must be "raise", "skip" or "column"')
        return on_error

    def _columns(self, schema: Any) -> Columns:
        if isinstance(schema, StructType):  # Sail has Arrow's already
            schema = to_arrow_schema(schema, timezone="UTC")
        return Columns(schema, self.is_shown, self._on_error)

    def _plan(self) -> list[Split]:
        options = self.options
        if "framer" not in options:
            raise ValueError('say what cuts the files: .option("framer", "line")')
        # Spark gives several paths as JSON.
        urls = json.loads(options["paths"]) if "paths" in options else options.get("path", [])
        if not urls:
            raise ValueError("say which files to read: .load(path)")
        numbers = {
            name: int(options[name]) for name in ("parts", "size", "max_frame_size") if name in options
        }
        storage_options = json.loads(options.get("storage_options", "{}"))
        return plan(urls, options["framer"], storage_options=storage_options, **numbers)


class FrameReader(DataSourceReader):
    """Reads each split in a task."""

    def __init__(self, splits: list[Split], columns: Columns) -> None:
        self._splits, self._columns = splits, columns

    def partitions(self) -> list[InputPartition]:
        """Return one for each split."""
        return [InputPartition(split) for split in exact(self._splits)]

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the frames of a split."""
        return self._columns.batches(partition.value)
