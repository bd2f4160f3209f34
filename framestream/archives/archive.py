"""Archive: an indexed file as a sequence of frames; and how the index is made."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, overload

from framestream.archives.index import Index
from framestream.archives.plan import divide, open_source
from framestream.archives.source import INDEX, Source
from framestream.archives.split import BadFrame, Marks, Reader, Record, Split
from framestream.archives.stitch import process
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE
from framestream.errors import ArchiveError, counted
from framestream.framer import ReadCondition
from framestream.iterate import condition_of

# Splits are small here, so that there is progress to report.
_SIZE: Final = 1 << 25
_KEPT: Final = 16  # blocks between two marks


@dataclass(frozen=True)
class _Bad:
    error: BadFrame


class Archive(Sequence[Any]):
    """The frames of one file by their numbers: ``len(archive)``, ``archive[i]``, ``archive[i:j]``.

    It needs the index that `Archive.index` or `framestream index` makes. PyTorch and Hugging Face call this a
    map-style data set; it can be pickled, and each process then reads for itself. Reading a frame reads
    about 64 KiB; the frames of the last 16 of these blocks are kept.

    Args:
        url: a path, or a URL that fsspec opens.
        framer: cuts it: a read condition, or the name or spec string of one.
        storage_options: the options with which fsspec opens it.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.

    Raises:
        ArchiveError: the file or its index does not exist, or the index is of another state of the file.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        framer: ReadCondition[Any] | str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
    ) -> None:
        self._framer, self._limit = framer, max_frame_size
        self.source: Source = open_source(url, storage_options)
        index = Index.beside(self.source, condition_of(framer))
        if index is None:
            reason = f"there is no index next to it ({INDEX}): make one with `framestream index`"
            raise ArchiveError(reason, url=self.source.url)
        self._index = index
        self._blocks: dict[int, list[Any]] = {}

    def __len__(self) -> int:
        return self._index.count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a frame, or a list of them.

        Raises:
            IndexError: the archive has fewer frames.
            PayloadError: the frame is bad.
            ArchiveError: the file has changed.
        """
        if isinstance(index, slice):
            return self.__getitems__(range(*index.indices(len(self))))
        block, place = self._place(index)
        frames = self._blocks.get(block)
        if frames is None:
            if len(self._blocks) == _KEPT:
                del self._blocks[next(iter(self._blocks))]
            frames = self._blocks[block] = self._frames(block)
        if place >= len(frames):
            raise self._is_wrong(index)
        frame = frames[place]
        if isinstance(frame, _Bad):
            raise frame.error
        return frame

    def _frames(self, block: int) -> list[Any]:
        frames: list[Any] = []
        before, after = _between(self._index.marks.counts, block, len(self))
        for some, error in self._split(block).read().pieces():
            frames += some if error is None else [_Bad(error)]
            # The next block is not read to see that these frames end where it begins.
            if len(frames) >= after - before:
                break
        return frames

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the frames of these numbers, as data loaders ask for them."""
        frames = dict(zip(order := sorted(set(indices)), map(self.__getitem__, order), strict=True))
        return [frames[index] for index in indices]

    def record(self, index: int) -> Record:
        """Return a frame, or the error of a bad one, and its place in the file."""
        block, place = self._place(index)
        record = next(islice(self._split(block).records(on_error="column"), place, None), None)
        if record is None:
            raise self._is_wrong(index)
        return record

    def _is_wrong(self, index: int) -> ArchiveError:
        reason = f"the index is wrong: frame {index} is not where it says; make it again"
        return ArchiveError(reason, url=self.source.url + INDEX)

    def _place(self, index: int) -> tuple[int, int]:
        """Return the block between two marks that a frame is in, and which of its frames it is."""
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"frame {index} of an archive of {counted(count, 'frame')}")
        index %= count
        counts = self._index.marks.counts
        block = bisect_right(counts, index)
        return block, index - _between(counts, block, count)[0]

    def _split(self, block: int) -> Split:
        start, stop = _between(self._index.marks.offsets, block, self.source.size)
        return Split(self.source, self._framer, start, stop, start, self._limit)

    def __iter__(self) -> Iterator[Any]:
        return Split(self.source, self._framer, 0, self.source.size, 0, self._limit).frames()

    def splits(self, *, parts: int) -> list[Split]:
        """Return about this many splits; the index makes each exact."""
        size = -(-self.source.size // parts)
        limit = self._limit
        return list(divide(self.source, self._framer, size, max_frame_size=limit, index=self._index))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_blocks": {}}


def _between(marks: Sequence[int], block: int, end: int) -> tuple[int, int]:
    """Return what the marks say of the beginning of a block, and of its end."""
    return marks[block - 1] if block else 0, marks[block] if block < len(marks) else end


def make_index(
    url: str | os.PathLike[str] | Source,
    framer: ReadCondition[Any] | str,
    *,
    jobs: int = 1,
    storage_options: Mapping[str, Any] | None = None,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
    on_progress: Callable[[int], object] | None = None,
) -> Index:
    """Make the index of a file, and write it next to the file.

    Args:
        url: a path, a URL that fsspec opens, or a source.
        framer: cuts it. Its spec string is stored, and must be the same when the index is used.
        jobs: how many processes read the file.
        storage_options: the options with which fsspec opens it.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        on_progress: called with the number of bytes that have been read.

    Raises:
        FramingError: the file is malformed; no index is written.
        ArchiveError: the file cannot be read, or the index not written.
    """
    source = url if isinstance(url, Source) else open_source(url, storage_options)
    condition = condition_of(framer)
    splits = list(divide(source, framer, _SIZE, max_frame_size=max_frame_size))
    marks, count = Marks(), 0
    for split, (found, more) in zip(splits, process(splits, _marks_of, jobs=jobs), strict=True):
        marks.extend(found, count)
        count += more
        if on_progress is not None:
            on_progress(split.stop - split.start)
    index = Index.of(source, condition, count, marks)
    index.save(source)
    return index


def _marks_of(reader: Reader) -> tuple[Marks, int]:
    reader.drain()
    return reader.marks, reader.count
