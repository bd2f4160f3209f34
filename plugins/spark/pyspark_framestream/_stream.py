"""Files that grow: each micro-batch is the whole frames that have been appended since the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceStreamReader, InputPartition

from framestream import NEED_DATA, FrameDecoder, FrameTooLarge, FramingError, PayloadError
from framestream.archives import ArchiveError, Columns, Split

if TYPE_CHECKING:
    import pyarrow


class FrameStreamReader(DataSourceStreamReader):
    """Reads what is appended. An offset says for each URL where in the file the next frame begins.

    The driver cuts what is new to find where the last whole frame ends, and on the way the borders of the
    tasks. An unfinished frame waits for its rest. Files that a glob matches later are read, too.
    """

    def __init__(self, files: Callable[[], list[Split]], size: int, columns: Columns) -> None:
        self._files, self._size, self._columns = files, size, columns
        self._borders: dict[str, list[int]] = {}

    def initialOffset(self) -> dict[str, int]:  # noqa: N802 - Spark's names
        """Return the beginning of every file."""
        return {}

    def latestOffset(self, start: dict[str, int], limit: Any = None) -> dict[str, int]:  # noqa: N802
        """Return where the last whole frame of every file ends.

        Raises:
            ArchiveError: a file has become shorter than what was read of it.
            FramingError: what is new begins with what is no frame.
        """
        latest = dict(start)
        for file in self._files():
            url = file.source.url
            self._borders[url] = _borders(file, start.get(url, 0), self._size)
            latest[url] = self._borders[url][-1]
        return latest

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[InputPartition]:
        """Return the splits between two offsets; only one for each file after a restart."""
        files = {file.source.url: file for file in self._files()}
        parts: list[InputPartition] = []
        for url, last in end.items():
            first = start.get(url, 0)
            if first < last:
                if url not in files:
                    raise ArchiveError("it is gone, and not all of it was read", url=url, offset=first)
                known = [place for place in self._borders.get(url, []) if first < place < last]
                parts += [
                    InputPartition(replace(files[url], start=begin, stop=stop, first=begin))
                    for begin, stop in pairwise([first, *known, last])
                ]
        return parts

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the frames of a split."""
        return self._columns.batches(partition.value)


def _borders(split: Split, start: int, size: int) -> list[int]:
    """Cut a file from one place on; return ends of frames, about `size` bytes apart, and the last end."""
    source = split.source
    if source.size < start:
        raise ArchiveError(f"it is {source.size} bytes long, and {start} were read", url=source.url)
    decoder = FrameDecoder(offset=start, max_frame_size=split.max_frame_size)
    borders = [start]
    end = start
    try:
        for chunk in source.chunks(start, source.size):
            decoder.receive_data(chunk)
            more = True
            while more:
                more = _cut(decoder, split.condition)
                if not decoder.skipping:  # else it is inside a frame that is too large
                    end = decoder.offset
            if end >= borders[-1] + size:
                borders.append(end)
    except FramingError as error:
        if end == start:
            error.source = source.url
            raise
    # The frames before what is none are read first.
    return [*borders[1:], end]


def _cut(decoder: FrameDecoder, condition: Any) -> bool:
    try:
        return decoder.next_batch(condition) is not NEED_DATA
    except PayloadError:
        return True
    except FrameTooLarge as error:
        if not error.recoverable:
            raise
        return True
