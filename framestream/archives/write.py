"""Writing archives: complete files, appending to one, and cutting off a torn end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any, Final, NamedTuple

from framestream.archives.index import Index
from framestream.archives.plan import kind_of, open_source
from framestream.archives.source import (
    InMemory,
    LocalFile,
    Source,
    finish,
    is_remote,
    local_path,
    open_to_write,
    open_whole,
    write_all,
)
from framestream.archives.split import Marks, Reader, Split
from framestream.errors import ArchiveError, FramingError, IncompleteFrame
from framestream.framer import Framer, ReadCondition
from framestream.iterate import condition_of

_BLOCK: Final = 1 << 18  # bytes of small frames that are written at once


def write(
    url: str | os.PathLike[str],
    frames: Iterable[Any],
    framer: Framer[Any] | str,
    *,
    index: bool = True,
    part_size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write frames to a file that gets its name only when it is complete, and return the names.

    A local file is written as ``.NAME.partial`` and renamed once it is on the disk; an object store shows an
    object once it is closed. The remains of a crash are never taken for an archive.

    Args:
        url: a path, or a URL that fsspec opens.
        frames: the frames to write, in order.
        framer: a framer, or the name or spec string of one.
        index: write an index next to each file as well.
        part_size: begin another file when one has this many bytes or more. Files are numbered: "log.bin"
            becomes "log-00000.bin", "log-00001.bin" and so on.
        storage_options: the options with which fsspec opens the file.

    Raises:
        EncodeError: a frame has no encoding. The unfinished file does not appear; finished parts do.
        ArchiveError: the file cannot be written.
    """
    url, writer = _uncompressed(url), _writer(framer)
    pieces = map(_joined(writer), frames)
    names: list[str] = []
    following: Iterator[bytes] = pieces
    while True:
        name = url if part_size is None else _numbered(url, len(names))
        marks = Marks()
        with open_whole(name, storage_options or {}) as file:
            _size, count = _write_some(file, name, following, part_size, marks, 0, 0)
        names.append(name)
        if index:
            source = open_source(name, storage_options)
            Index.of(source, writer, count, marks).save(source)
        if part_size is None or (next_one := next(pieces, None)) is None:
            return names
        following = chain((next_one,), pieces)


def append(
    path: str | os.PathLike[str], frames: Iterable[Any], framer: Framer[Any] | str, *, index: bool = True
) -> int:
    """Append frames to a local file, and return how many.

    It first checks that the last frame is whole, and stays so when more follows: from the last place in its
    index, or all of the file without one. If a frame cannot be written, the file is as it was.

    Args:
        path: the file; it is created if it does not exist.
        frames: the frames to write.
        framer: a framer, or the name or spec string of one.
        index: update its index as well.

    Raises:
        IncompleteFrame: the file ends inside a frame: see `repair`.
        FramingError: it holds something else.
        EncodeError: a frame has no encoding.
        ArchiveError: it cannot be read or written, the index is stale, or what is appended would be joined to
            the last frame, as to a line without its newline.
    """
    path, writer = _local(path), _writer(framer)
    if not os.path.exists(path):
        open_to_write(path, "xb").close()
    source = LocalFile.of(path)
    known = Index.beside(source, writer) if index else None
    marks, count = (known.marks, known.count) if known is not None else (Marks(), 0)
    start, before = (marks.offsets[-1], marks.counts[-1]) if marks.offsets else (0, 0)
    reader = Reader(Split(source, writer, start, source.size, start))
    reader.drain()
    marks.extend(reader.marks, before)
    count = before + reader.count
    pieces = map(_joined(writer), frames)
    if (piece := next(pieces, None)) is None:
        return 0
    _check_border(source, writer, marks, piece)
    with open_to_write(path, "r+b") as file:
        file.seek(source.size)
        try:
            following = chain((piece,), pieces)
            _, total = _write_some(file, path, following, None, marks, source.size, count)
            finish(file, path)
        except BaseException:
            file.truncate(source.size)
            raise
    if index:
        source = LocalFile.of(path)
        Index.of(source, writer, total, marks).save(source)
    return total - count


def _check_border(source: Source, writer: Framer[Any], marks: Marks, piece: bytes) -> None:
    """Refuse to append a frame if it would not begin where the file ends."""
    if not source.size:
        return
    last = max((place for place in marks.offsets[-2:] if place < source.size), default=0)
    both = InMemory(b"".join(source.chunks(last)) + piece)
    records = Split(both, writer, 0, both.size, 0).records(on_error="column")
    if source.size - last not in {record.offset for record in records}:
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


def repair(
    path: str | os.PathLike[str],
    framer: ReadCondition[Any] | str,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Repaired:
    """Cut off the bytes after the last whole frame of a local file, and keep them in another file.

    Args:
        path: the file.
        framer: cuts it: a read condition, or the name or spec string of one.
        force: also cut off bytes that are not frames, such as the zeros that a crash leaves, and all after
            them, even if no frame remains; without it only an incomplete frame after others.
        dry_run: only report what would be done.

    Raises:
        FramingError: the error is not a torn end, perhaps a wrong framer, and `force` is not given.
        ArchiveError: the file cannot be read or written.
    """
    path = _local(path)
    source = LocalFile.of(path)
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
    if os.path.exists(torn):
        raise ArchiveError("it holds what an earlier repair cut off; move it away", url=torn)
    if not dry_run:
        with open_to_write(path, "r+b") as damaged:
            with open_whole(torn, {}) as file:
                for chunk in source.chunks(size):
                    write_all(file, chunk, torn)
            damaged.truncate(size)
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
    file: IO[bytes], url: str, pieces: Iterator[bytes], most: int | None, marks: Marks, size: int, count: int
) -> tuple[int, int]:
    """Write up to `most` bytes; add marks. Return the size and the number of frames."""
    waiting: list[bytes] = []
    written = size
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        count += 1
        marks.add(size, count)
        if size - written >= _BLOCK:
            write_all(file, b"".join(waiting), url)
            written = size
            waiting.clear()
        if most is not None and size >= most:
            break
    write_all(file, b"".join(waiting), url)
    return size, count


def _numbered(url: str, number: int) -> str:
    stem, suffix = os.path.splitext(url)
    return f"{stem}-{number:05}{suffix}"


def _local(url: str | os.PathLike[str]) -> str:
    """Return the path of a file that can be changed."""
    path = _uncompressed(url)
    if is_remote(path):
        raise ArchiveError("it is not a local file, so it cannot be changed", url=path)
    return local_path(path)


def _uncompressed(url: str | os.PathLike[str]) -> str:
    url = os.fspath(url)
    if kind_of(url) is not None:
        reason = "its name says that it is compressed; compressed files are only read: compress it afterwards"
        raise ArchiveError(reason, url=url)
    return url
