"""Writing archives: whole files under their names, appending to one, and cutting off a torn end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any, Final, NamedTuple

from framestream.archives.index import Index
from framestream.archives.plan import open_sources
from framestream.archives.source import LocalFile, Source, open_whole
from framestream.archives.split import Marks, Reader, Split
from framestream.errors import ArchiveError, FramingError, IncompleteFrame
from framestream.framer import Framer, ReadCondition
from framestream.iterate import condition_of

_BLOCK: Final = 1 << 18  # bytes of small frames that are written at once
_BETWEEN_MARKS: Final = 1 << 16


def write(
    url: str | os.PathLike[str],
    frames: Iterable[Any],
    framer: Framer[Any] | str,
    *,
    index: bool = True,
    part_size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write frames to a file that has its name only when it is complete, and return the names.

    A local file is written as ``.NAME.partial`` and renamed when the disk has it; an object store shows an
    object when it is closed. What is left after a crash is never taken for an archive.

    Args:
        url: a path, or a URL that fsspec opens.
        frames: what the framer writes, one after the other.
        framer: a framer, or the name or spec string of one.
        index: write an index beside each file as well.
        part_size: begin another file when one has so many bytes or more. Files are numbered: "log.bin"
            becomes "log-00000.bin", "log-00001.bin" and so on.
        storage_options: what fsspec needs.

    Raises:
        EncodeError: a frame has no encoding. The file that was begun is not there; parts before it are.
        ArchiveError: the file cannot be written.
    """
    url, writer = os.fspath(url), _writer(framer)
    pieces = map(_joined(writer), frames)
    names: list[str] = []
    following: Iterator[bytes] = pieces
    while True:
        name = url if part_size is None else _numbered(url, len(names))
        marks = Marks()
        with open_whole(name, storage_options or {}) as file:
            _size, count = _write_some(file, following, part_size, marks, 0, 0)
        names.append(name)
        if index:
            source = open_sources(name, storage_options)[0]
            Index.of(source, writer, count, marks).save(source)
        if part_size is None or (next_one := next(pieces, None)) is None:
            return names
        following = chain((next_one,), pieces)


def append(
    path: str | os.PathLike[str], frames: Iterable[Any], framer: Framer[Any] | str, *, index: bool = True
) -> int:
    """Append frames to a local file, and return how many.

    That its last frame is whole is looked at first: from the last place that its index tells, or all of it
    without one. If a frame cannot be written, the file is as it was.

    Args:
        path: the file; it is made if it is not there.
        frames: what the framer writes.
        framer: a framer, or the name or spec string of one.
        index: bring the index beside it up to date as well.

    Raises:
        IncompleteFrame: the file ends inside a frame: see `repair`.
        FramingError: it holds something else.
        EncodeError: a frame has no encoding.
        ArchiveError: it cannot be read or written, or the index is stale.
    """
    path, writer = os.fspath(path), _writer(framer)
    if not os.path.exists(path):
        with open_whole(path, {}):
            pass
    source = _local(path)
    known = Index.beside(source, writer) if index else None
    marks, count = (known.marks, known.count) if known is not None else (Marks(), 0)
    start, before = (marks.offsets[-1], marks.counts[-1]) if marks.offsets else (0, 0)
    reader = Reader(Split(source, writer, start, source.size, start))
    reader.drain()
    for offset, frames_there in zip(reader.marks.offsets, reader.marks.counts, strict=True):
        marks.add(offset, before + frames_there)
    count = before + reader.count
    with open(path, "r+b", buffering=0) as file:
        file.seek(source.size)
        try:
            _, total = _write_some(file, map(_joined(writer), frames), None, marks, source.size, count)
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(source.size)
            raise
    if index:
        source = _local(path)
        Index.of(source, writer, total, marks).save(source)
    return total - count


class Repaired(NamedTuple):
    """What `repair` did.

    Attributes:
        frames: how many are in the file, bad ones included.
        size: bytes of the file now.
        cut: bytes that were cut off.
        torn: the file that holds them, or "" if none were.
        reason: what was wrong.
    """

    frames: int
    size: int
    cut: int
    torn: str
    reason: str


def repair(
    path: str | os.PathLike[str],
    framer: ReadCondition[Any] | str,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Repaired:
    """Cut off what stands after the last whole frame of a local file, and keep it in another file.

    Args:
        path: the file.
        framer: what cuts it: a read condition, or the name or spec string of one.
        force: also cut off bytes that are no frame, such as the zeros that a crash leaves, and all after
            them, even where no frame is left; otherwise only a frame that is not complete, after others.
        dry_run: only say what would be done.

    Raises:
        FramingError: something else than a torn end is wrong, such as the framer, and `force` is not given.
        ArchiveError: the file cannot be read or written.
    """
    path = os.fspath(path)
    source = _local(path)
    reader = Reader(Split(source, framer, 0, source.size, 0))
    try:
        reader.drain()
    except FramingError as error:
        if not (force or (isinstance(error, IncompleteFrame) and reader.count > reader.bad)):
            raise
        size, reason = reader.last_end, error.reason
    else:
        return Repaired(reader.count, source.size, 0, "", "")
    torn = f"{path}.torn-{size}"
    if not dry_run:
        with open_whole(torn, {}) as file:
            for chunk in source.chunks(size):
                file.write(chunk)
        os.truncate(path, size)
    return Repaired(reader.count, size, source.size - size, torn, reason)


def _writer(framer: Framer[Any] | str) -> Framer[Any]:
    condition = condition_of(framer)
    if not isinstance(condition, Framer):
        raise TypeError(f"{condition} can only read")
    return condition


def _joined(framer: Framer[Any]) -> Callable[[Any], bytes]:
    def encode(frame: Any) -> bytes:
        wire = framer.encode(frame)
        return wire if isinstance(wire, bytes) else b"".join(wire)

    return encode


def _write_some(
    file: IO[bytes], pieces: Iterator[bytes], most: int | None, marks: Marks, size: int, count: int
) -> tuple[int, int]:
    """Write until there are `most` bytes, or no more; add marks. Return the size and the number of frames."""
    waiting: list[bytes] = []
    written, next_mark = size, marks.offsets[-1] + _BETWEEN_MARKS if marks.offsets else 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        count += 1
        if size >= next_mark:
            marks.add(size, count)
            next_mark = size + _BETWEEN_MARKS
        if size - written >= _BLOCK:
            file.write(b"".join(waiting))
            written = size
            waiting.clear()
        if most is not None and size >= most:
            break
    file.write(b"".join(waiting))
    return size, count


def _numbered(url: str, number: int) -> str:
    stem, suffix = os.path.splitext(url)
    return f"{stem}-{number:05}{suffix}"


def _local(path: str) -> Source:
    source = open_sources(path)[0]
    if not isinstance(source, LocalFile):
        raise ArchiveError("it is no local file, so it cannot be changed", url=path)
    return source
