"""Archives: files of frames, indexed, read by number, written, appended to, and repaired."""

from __future__ import annotations

import operator
import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import chain
from typing import Any, Final, NamedTuple, overload
from weakref import proxy

from framestream._compression import kind_of
from framestream.archives.files import Index, Marks, Url, open_source
from framestream.archives.source import (
    INDEX,
    InMemory,
    LocalFile,
    Source,
    Write,
    alone,
    grown_file,
    is_remote,
    local_path,
    remove_remains,
    restored_on_error,
    telling,
    whole_file,
)
from framestream.archives.split import BadFrame, Reader, Split, divide
from framestream.archives.stitch import process
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE
from framestream.errors import ArchiveError, FramingError, IncompleteFrame, check_count, counted
from framestream.framer import Framer, ReadCondition, writing
from framestream.iterate import condition_of

_BLOCK: Final = 1 << 18  # bytes of small frames that are written at once
# Splits are small here, so that there is progress to report.
_SIZE: Final = 1 << 25
_KEPT: Final = 16  # blocks between two marks
_FIXED: Final = frozenset((str, bytes, int, float, bool, type(None)))
_BUFFERS: Final = (bytearray, memoryview)  # what encoders may return though the contract says bytes


class Archive(Sequence[Any]):
    """The frames of one file by their numbers: ``len(archive)``, ``archive[i]``, ``archive[i:j]``.

    It needs the index that `make_index` or `framestream index` makes. PyTorch and Hugging Face call this a
    map-style data set; it can be pickled, and each process then reads for itself. Reading a frame reads
    about 64 KiB; the frames of the last 16 of these blocks are kept, and each caller gets a deep copy,
    or the frame itself if it cannot be copied.

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
        url: Url,
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
        # A block is what is between two marks.
        self._offsets = array("Q", [0, *index.marks.offsets, index.size])
        self._counts = array("Q", [0, *index.marks.counts, index.count])

    def __len__(self) -> int:
        return self._counts[-1]

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
        index, count = operator.index(index), len(self)
        if not -count <= index < count:
            raise IndexError(f"frame {index} of an archive of {counted(count, 'frame')}")
        index %= count
        block = bisect_right(self._counts, index) - 1
        place = index - self._counts[block]
        frames = self._kept(block)
        if place >= len(frames):
            reason = f"the index is wrong: frame {index} is not where it says; make it again"
            raise ArchiveError(reason, url=self.source.url + INDEX)
        frame = frames[place]
        if isinstance(frame, BadFrame):
            raise frame.with_traceback(None)  # it is kept, and would keep one more piece of it each time
        return _copied(frame)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the frames of these numbers, as data loaders ask for them: each block is read once."""
        frames = {place: self[indices[place]] for place in sorted(range(len(indices)), key=indices.__getitem__)}
        return [frames[place] for place in range(len(indices))]

    @cached_property
    def _kept(self) -> Callable[[int], list[Any]]:
        # Threads may share it. Bound to the archive itself, it would keep all of it until the collector runs.
        return lru_cache(_KEPT)(partial(Archive._frames, proxy(self)))

    def _frames(self, block: int) -> list[Any]:
        frames: list[Any] = []
        start, stop = self._offsets[block : block + 2]
        count = self._counts[block + 1] - self._counts[block]
        for some, error in self._split(start, stop).read().pieces():
            frames += some if error is None else [error]
            # The next block is not read to see that these frames end where it begins.
            if len(frames) >= count:
                break
        return frames

    def _split(self, start: int, stop: int) -> Split:
        return Split(self.source, self._framer, start, stop, start, self._limit)

    def __iter__(self) -> Iterator[Any]:
        return self._split(0, self.source.size).frames()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}


def _copied(frame: Any) -> Any:
    """Return a deep copy of a frame, or the frame itself if it cannot be copied."""
    # A shallow copy is a deep one where nothing inside can change, and takes a quarter of the time.
    if type(frame) is dict and _FIXED.issuperset(map(type, chain(frame, frame.values()))):
        return frame.copy()
    try:
        return deepcopy(frame)
    except Exception:  # noqa: BLE001 - a class decides what copying it raises; a memoryview cannot be copied
        return frame


def make_index(
    url: Url | Source,
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
        ArchiveError: the file cannot be read, or the index not written, or another program has changed the
            file meanwhile, or appends to it at this moment.
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
    stored = source.stored
    # One who appends meanwhile writes the index of what is there then, which this one would replace.
    with alone(stored, "rb") if isinstance(stored, LocalFile) else nullcontext():
        index.save(source)
    return index


def _marks_of(reader: Reader) -> tuple[Marks, int]:
    reader.drain()
    return reader.marks, reader.count


# Writing -----------------------------------------------------------------------------------------


def write(
    url: Url,
    frames: Iterable[Any],
    framer: Framer[Any] | str,
    *,
    index: bool = True,
    part_size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write frames to a file that gets its name only when it is complete, and return the names.

    A local file is written as ``.NAME.*.partial`` and renamed once it is on the disk; an object store shows an
    object once it is closed. What a crash leaves under such a name is never taken for an archive, and may be deleted;
    this does so after a minute, where the system has locks (flock) to tell that its writer is dead.

    Args:
        url: a path, or a URL that fsspec opens.
        frames: the frames to write, in order.
        framer: a framer, or the name or spec string of one.
        index: write an index next to each file as well.
        part_size: begin another file when one has this many bytes or more. Files are numbered: "log.bin"
            becomes "log-00000.bin", "log-00001.bin" and so on. Later ones of an earlier call stay.
        storage_options: the options with which fsspec opens the file.

    Raises:
        EncodeError: a frame has no encoding. The unfinished file does not appear; finished parts do.
        ArchiveError: the file cannot be written.
    """
    if part_size is not None:
        check_count("part_size", part_size, least=1)
    url, writer = _uncompressed(url), writing(condition_of(framer))
    options = storage_options or {}
    if not is_remote(url):
        remove_remains(local_path(url))
    pieces = following = _encoded(writer, frames)
    stem, suffix = os.path.splitext(url)
    names: list[str] = []
    while True:
        name = url if part_size is None else f"{stem}-{len(names):05}{suffix}"
        marks = Marks()
        with whole_file(name, options) as put:
            size, count = _write_some(put, following, marks, most=part_size)
        names.append(name)
        if index:
            source = open_source(name, options)
            if source.size != size:
                raise ArchiveError("another program has written it meanwhile; it has no index", url=source.url)
            Index.of(source, writer, count, marks).save(source)
        if (piece := next(pieces, None)) is None:
            return names
        following = chain((piece,), pieces)


def append(path: Url, frames: Iterable[Any], framer: Framer[Any] | str, *, index: bool = True) -> int:
    """Append frames to a local file, and return how many.

    It first checks that the last frame is whole, and stays so when more follows: from the last place in its
    index, or all of the file without one. If a frame or the index cannot be written, the file is as it was. One
    program at a time appends to a file or repairs it: the system's lock (flock), where there is one, keeps others
    from it.

    Args:
        path: the file; it is created if it does not exist.
        frames: the frames to write.
        framer: a framer, or the name or spec string of one.
        index: update its index as well.

    Raises:
        IncompleteFrame: the file ends inside a frame: see `repair`.
        FramingError: it holds something else.
        EncodeError: a frame has no encoding.
        ArchiveError: it cannot be read or written, or another program has written to it meanwhile or appends to
            it at this moment, the index is stale, or what is appended would be joined to the last frame, as to a
            line without its newline.
    """
    path, writer = _local(path), writing(condition_of(framer))
    if not os.path.exists(path):
        with telling(path, done="written"), open(path, "ab"):
            pass
    source = LocalFile.of(path)
    with alone(source) as file:
        known = Index.beside(source, writer) if index else None
        marks = Marks() if known is None else known.marks
        start, before = (marks.offsets[-1], marks.counts[-1]) if marks.offsets else (0, 0)
        reader = Reader(Split(source, writer, start, source.size, start))
        reader.drain()
        marks.extend(reader.marks, before)
        count = before + reader.count
        pieces = _encoded(writer, frames)
        if (piece := next(pieces, None)) is None:
            return 0
        _check_border(source, writer, marks, piece)
        with restored_on_error(source, file):
            with grown_file(source, file) as write:
                _, total = _write_some(write, chain((piece,), pieces), marks, source.size, count)
            if index:
                grown = LocalFile.of(path)
                Index.of(grown, writer, total, marks).save(grown)
    return total - count


def _check_border(source: Source, writer: Framer[Any], marks: Marks, piece: bytes) -> None:
    """Refuse to append a frame if it would not begin where the file ends."""
    if not source.size:
        return
    last = max((place for place in marks.offsets[-2:] if place < source.size), default=0)
    both = InMemory(b"".join(source.chunks(last)) + piece)
    with suppress(FramingError):  # the frames to come may mend that
        for record in Split(both, writer, 0, both.size, 0).records(on_error="column"):
            if record.offset == source.size - last:
                return
    reason = "the first frame to be appended would be joined to its last frame"
    raise ArchiveError(reason, url=source.url, offset=source.size)


class Repaired(NamedTuple):
    """The result of `repair`.

    Attributes:
        frames: number of frames in the file, bad ones included.
        size: bytes of the file now.
        cut: bytes that were cut off.
        torn: the file that holds them, or "" if none were.
        reason: the error that was found.
    """

    frames: int
    size: int
    cut: int
    torn: str
    reason: str


def repair(path: Url, framer: ReadCondition[Any] | str) -> Repaired:
    """Cut off an incomplete frame at the end of a local file, and keep it in another file.

    Args:
        path: the file.
        framer: cuts it: a read condition, or the name or spec string of one.

    Raises:
        FramingError: the error is not a torn end after whole frames: perhaps the framer is wrong. Or the file
            would be as torn without it, as a JSON array is without its bracket.
        ArchiveError: the file cannot be read or written, or another program has written to it meanwhile.
    """
    path = _local(path)
    source = LocalFile.of(path)
    reader = Reader(Split(source, framer, 0, source.size, 0))
    try:
        reader.drain()
    except IncompleteFrame as error:
        size, reason = error.offset or 0, error.reason
        # What `decode` says is about a frame in a frame.
        is_torn = size <= reader.position and size + error.received == source.size
        if reader.count == reader.bad or not is_torn:
            raise
    else:
        return Repaired(reader.count, source.size, 0, "", "")
    start = reader.marks.offsets[-1]  # there is one, since there are frames
    Reader(Split(replace(source, size=size), framer, start, size, start)).drain()
    torn = f"{path}.torn-{size}"
    if os.path.exists(torn):
        raise ArchiveError("it holds what an earlier repair cut off; move it away", url=torn)
    with alone(source) as damaged, telling(path, done="written"):
        with whole_file(torn, {}) as write:
            for chunk in source.chunks(size):
                write(chunk)
            source.check_open(damaged)  # the file may be one that is being written, and end otherwise by now
        damaged.truncate(size)
    # A frame that is too large was counted before it proved incomplete.
    frames = reader.count - (reader.place[0] == size)
    return Repaired(frames, size, source.size - size, torn, reason)


def _encoded(framer: Framer[Any], frames: Iterable[Any]) -> Iterator[bytes]:
    for frame in frames:
        wire = framer.encode(frame)
        yield wire if isinstance(wire, bytes) else b"".join([wire] if isinstance(wire, _BUFFERS) else wire)


def _write_some(
    write: Write, pieces: Iterable[bytes], marks: Marks, size: int = 0, count: int = 0, *, most: int | None = None
) -> tuple[int, int]:
    """Write frames after `count` others in `size` bytes, up to `most` bytes; add marks, return both numbers."""
    waiting: list[bytes] = []
    written = size
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        count += 1
        marks.add(size, count)
        if size - written >= _BLOCK:
            write(b"".join(waiting))
            written = size
            waiting.clear()
        if most is not None and size >= most:
            break
    write(b"".join(waiting))
    return size, count


def _local(url: Url) -> str:
    """Return the path of a file that can be changed."""
    path = _uncompressed(url)
    if is_remote(path):
        raise ArchiveError("it is not a local file, so it cannot be changed", url=path)
    return local_path(path)


def _uncompressed(url: Url) -> str:
    url = os.fspath(url)
    if kind_of(url) is not None:
        reason = "its name says that it is compressed; compressed files are only read: compress it afterwards"
        raise ArchiveError(reason, url=url)
    return url
