"""Files: found by path, URL or glob, as sources; the index beside one; and the contents of compressed ones.

An index says where the frames of its file are, and where decompression can begin. It is a msgpack map after its
checksum. Each place is stored as its distance from the one before, and so is the number of frames up to it.

A gzip file may have many members, and others many frames or streams, each of which stands alone: bgzip,
WARC writers, ``pbzip2`` and ``pzstd`` write them so. The file can be divided only there. To find these places, all of
it is decompressed once; an index stores them.
"""

from __future__ import annotations

import glob
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any, Final, TypeAlias

from framestream._compression import decompressed, kind_of
from framestream.archives.source import (
    INDEX,
    Source,
    StoredFile,
    is_remote,
    local_path,
    remote_names,
    stored_file,
    whole_file,
)
from framestream.errors import ArchiveError, counted
from framestream.framer import ReadCondition

Url: TypeAlias = str | os.PathLike[str]

_BETWEEN_PLACES: Final = 1 << 20  # decompressed bytes
BETWEEN_MARKS: Final = 1 << 16  # at most, about
"""How many bytes there are at least from one mark to the next."""

_FORMAT: Final = b"framestream-index 2\n"
_CHECKSUM: Final = 32  # bytes of a SHA-256
_ENDS: Final = 1 << 16  # bytes at either end that the checksum covers
_LEAST: Final = 1 << 24  # bytes that an index may always have; else an eighth of its file
_AGAIN: Final = "make it again with `framestream index`"


def open_sources(urls: Url | Iterable[Url], options: Mapping[str, Any] | None = None) -> list[Source]:
    """Return the sources of paths, URLs and globs; those of a glob sorted by name.

    Indexes are left out. A file whose name ends with .gz, .bgz, .bz2, .xz, .lz4, .zst or .zstd is decompressed.

    Raises:
        ArchiveError: a file does not exist, or is damaged, or nothing matches a glob.
        TypeError: something is no path or URL.
    """
    if isinstance(urls, str | bytes | os.PathLike) or not isinstance(urls, Iterable):
        urls = [urls]
    return [source for url in urls for source in _expanded(url, options or {})]


def open_source(url: Url, options: Mapping[str, Any] | None = None) -> Source:
    """Return the source that a path, a URL or a glob stands for.

    Raises:
        ArchiveError: it is not there, or damaged, or there are several.
    """
    source, *others = open_sources(url, options)
    if others:
        raise ArchiveError(f"it stands for {1 + len(others)} files, where one is wanted", url=os.fspath(url))
    return source


def _expanded(given: Url, options: Mapping[str, Any]) -> Iterator[Source]:
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"a path or URL is of type {type(given).__name__}; it must be str or os.PathLike")
    url = os.fspath(given)
    if is_remote(url):
        is_pattern = glob.has_magic(url.partition("://")[2]) and not url.startswith("http")
        names = remote_names(url, options) if is_pattern else [url]
    else:
        url = local_path(url)
        is_pattern = glob.has_magic(url) and not os.path.exists(url)
        names = sorted(glob.glob(url, recursive=True)) if is_pattern else [url]
    names = [name for name in names if not (is_pattern and name.endswith(INDEX))]
    if not names:
        raise ArchiveError("nothing matches", url=url)
    for name in names:
        stored, kind = stored_file(name, options), kind_of(name)
        yield stored if kind is None else Compressed.of(stored, kind)


# Indexes -------------------------------------------------------------------------------------------


@dataclass
class Marks:
    """Some of the places where a frame ends, in order, and the number of frames up to each of them.

    Counts begin at the first frame of the reader.
    """

    offsets: array[int] = field(default_factory=partial(array, "Q"))
    counts: array[int] = field(default_factory=partial(array, "Q"))

    def add(self, offset: int, count: int) -> None:
        """Add a place, unless it is within 32 KiB of the last one: batches end just before each 64 KiB."""
        if not self.offsets or offset >= self.offsets[-1] + BETWEEN_MARKS // 2:
            self.offsets.append(offset)
            self.counts.append(count)

    def extend(self, other: Marks, count: int) -> None:
        """Add the places of another reader, after the first `count` frames."""
        self.offsets += other.offsets
        self.counts += array("Q", [count + more for more in other.counts])


@dataclass(frozen=True)
class Index:
    """Where the frames of a file are: some places where one ends, and the number of frames up to each.

    Attributes:
        spec: the framing, as a spec string.
        size: of the file, in bytes.
        version: of the file: its ETag, or when it was modified.
        ends: a checksum (SHA-256) of its first and last 64 KiB.
        count: number of frames, bad ones included.
        marks: the places.
        places: where decompression of the file can begin, if it is compressed.
    """

    spec: str
    size: int
    version: str
    ends: bytes
    count: int
    marks: Marks = field(repr=False)
    places: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, source: Source, condition: ReadCondition[Any], count: int, marks: Marks) -> Index:
        """Make the index of a file from the results of reading it."""
        spec, version, ends = str(condition), str(source.version), _checksum_of_ends(source.stored)
        return cls(spec, source.size, version, ends, count, marks, source.places)

    @classmethod
    def beside(cls, source: Source, condition: ReadCondition[Any]) -> Index | None:
        """Return the index of a file, or None if there is none.

        Raises:
            ArchiveError: it is damaged, or belongs to another state of the file, or to another framing.
        """
        if (index := cls.load(source)) is None:
            return None
        is_other = index.spec != (spec := str(condition))
        reason = f"it is of the framing {index.spec}, not {spec}" if is_other else index.staleness(source)
        if reason:
            raise ArchiveError(f"the index is stale: {reason}; {_AGAIN}", url=source.url + INDEX)
        return index

    def staleness(self, source: Source) -> str:
        """Return how a file differs from the one that this is the index of, or "" if it does not."""
        if self.size != source.size:
            return f"the file had {counted(self.size, 'byte')}, and has {source.size}"
        if self.version != str(source.version):
            return f"the file was changed ({self.version} then, {source.version} now)"
        return "" if self.ends == _checksum_of_ends(source.stored) else "the file begins or ends otherwise"

    @classmethod
    def load(cls, source: Source) -> Index | None:
        """Return the index next to a file, whatever it is the index of, or None if there is none.

        Raises:
            ArchiveError: it is damaged, or much too large.
        """
        import msgpack  # noqa: PLC0415 - splitting does not need it

        if not isinstance(source.stored, StoredFile):
            return None
        try:
            file = stored_file(source.url + INDEX, source.stored.options)
        except ArchiveError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        if file.size > source.stored.size // 8 + _LEAST:
            raise ArchiveError(f"it has {file.size} bytes, too many for an index; {_AGAIN}", url=file.url)
        data = b"".join(file.chunks(0, file.size))
        packed = data[_CHECKSUM:]
        if data[:_CHECKSUM] != _checksum(_FORMAT, packed):
            now = stored_file(file.url, file.options)
            file.check(now.size, now.version)  # another one may have taken its place
            reason = f"it is damaged, or another version of framestream wrote it; {_AGAIN}"
            raise ArchiveError(reason, url=file.url)
        fields = msgpack.unpackb(packed, use_list=False)
        marks = Marks(*(array("Q", accumulate(distances)) for distances in fields["marks"]))
        return cls(**fields | {"marks": marks})

    def save(self, source: Source) -> None:
        """Write it next to its file, completely or not at all.

        Raises:
            ArchiveError: it cannot be written.
        """
        import msgpack  # noqa: PLC0415

        if not isinstance(source.stored, StoredFile):
            raise ArchiveError("no file can be written next to it", url=source.url)
        marks = [_distances(self.marks.offsets), _distances(self.marks.counts)]
        packed = msgpack.packb(vars(self) | {"marks": marks})
        with whole_file(source.url + INDEX, source.stored.options) as write:
            write(_checksum(_FORMAT, packed) + packed)


def _checksum_of_ends(source: Source) -> bytes:
    """Return the checksum of a file's first and last 64 KiB."""
    ends = ((0, min(_ENDS, source.size)), (max(source.size - _ENDS, 0), source.size))
    return _checksum(*chain.from_iterable(source.chunks(*end) for end in ends))


def _checksum(*pieces: bytes) -> bytes:
    import hashlib  # noqa: PLC0415 - splitting does not need it, and it loads OpenSSL

    return hashlib.sha256(b"".join(pieces)).digest()


def _distances(values: Iterable[int]) -> list[int]:
    return [value - before for before, value in pairwise((0, *values))]


# Compressed files ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compressed(Source):
    """The contents of a compressed file. Offsets are those of the decompressed bytes.

    Attributes:
        file: the file itself.
        kind: its compression.
    """

    url: str
    size: int
    version: Any
    file: Source
    kind: str
    places: tuple[tuple[int, int], ...] = field(repr=False)

    @property
    def stored(self) -> Source:
        """The file itself."""
        return self.file

    @classmethod
    def of(cls, stored: Source, kind: str) -> Compressed:
        """Find the places of a file: from its index, or by decompressing it.

        Raises:
            ArchiveError: it is damaged, or not complete.
        """
        if (known := cls._known(stored, kind)) is not None:
            return known
        places: list[tuple[int, int]] = []
        size, before = 0, -1
        for place, data in decompressed(stored.chunks(0), kind, stored.url):
            is_new = place != before
            if is_new and (not places or size - places[-1][1] >= _BETWEEN_PLACES):
                places.append((place, size))
            size, before = size + len(data), place
        return cls(stored.url, size, stored.version, stored, kind, tuple(places) or ((0, 0),))

    @classmethod
    def _known(cls, stored: Source, kind: str) -> Compressed | None:
        """Return what the index of the file tells of it, if that is up to date."""
        try:
            index = Index.load(stored)
        except ArchiveError:  # who needs the index reports it
            return None
        if index is None or not index.places:
            return None
        known = cls(stored.url, index.size, stored.version, stored, kind, index.places)
        return None if index.staleness(known) else known

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the decompressed bytes between two offsets."""
        end = self.size if stop is None else stop
        from_place, at = self.places[bisect_right(self.places, start, key=lambda place: place[1]) - 1]
        if start >= end:
            return
        for _, data in decompressed(self.file.chunks(from_place), self.kind, self.url, from_place):
            yield data[max(start - at, 0) : end - at]
            at += len(data)
            if at > end or at == end < self.size:
                break
        if at < end or at > end == self.size:
            how = "less" if at < end else "more"
            raise ArchiveError(f"it holds {how} than when it was planned; plan again", url=self.url)
