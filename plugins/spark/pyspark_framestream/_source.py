"""The format "framestream": options in, record batches out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from framestream.archives import Columns, Split, exact, open_sources, plan
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE
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
        return from_arrow_schema(Columns.of(self._files(), on_error=self._on_error).schema)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Return what reads the frames that there are."""
        splits = plan(
            self._urls,
            self._framer,
            parts=self._number("parts"),
            size=self._number("size"),
            storage_options=self._storage_options,
            max_frame_size=self._max_frame_size,
        )
        return FrameReader(splits, self._columns(schema))

    def streamReader(self, schema: StructType) -> FrameStreamReader:  # noqa: N802 - Spark's name
        """Return what reads the frames that there are, and those that are appended later."""
        return FrameStreamReader(self._files, self._number("size") or 1 << 26, self._columns(schema))

    def _files(self) -> list[Split]:
        framer, limit = self._framer, self._max_frame_size
        sources = open_sources(self._urls, self._storage_options)
        return [Split(source, framer, 0, source.size, max_frame_size=limit) for source in sources]

    def _columns(self, schema: Any) -> Columns:
        if isinstance(schema, StructType):  # Sail has Arrow's already
            schema = to_arrow_schema(schema, timezone="UTC")
        return Columns(schema, self.is_shown, self._on_error)

    @property
    def _urls(self) -> Any:
        # Spark gives several paths as JSON.
        urls = json.loads(self.options["paths"]) if "paths" in self.options else self.options.get("path")
        if not urls:
            raise ValueError("say which files to read: .load(path)")
        return urls

    @property
    def _framer(self) -> str:
        if "framer" not in self.options:
            raise ValueError('say what cuts the files: .option("framer", "line")')
        return str(self.options["framer"])

    @property
    def _on_error(self) -> Any:
        return self.options.get("on_error", "raise")

    @property
    def _storage_options(self) -> dict[str, Any]:
        options: dict[str, Any] = json.loads(self.options.get("storage_options", "{}"))
        return options

    @property
    def _max_frame_size(self) -> int:
        return self._number("max_frame_size") or DEFAULT_MAX_FRAME_SIZE

    def _number(self, name: str) -> int | None:
        return int(self.options[name]) if name in self.options else None


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
