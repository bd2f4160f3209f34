"""Files: found by path, URL or glob, as sources; and the contents of compressed ones.

A gzip file may have many members, and others many frames or streams, each of which stands alone: bgzip,
WARC writers, ``pbzip2`` and ``pzstd`` write them so. The file can be divided only there. To find these places, all of
it is decompressed once; an index stores them.
"""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from framestream._compression import decompressed, kind_of
from framestream.archives.index import Index
from framestream.archives.source import INDEX, Source, is_remote, local_path, remote_names, stored_file
from framestream.errors import ArchiveError

Url: TypeAlias = str | os.PathLike[str]

_BETWEEN_PLACES: Final = 1 << 20  # decompressed bytes


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
        reason = f"it stands for {1 + len(others)} files, where one is wanted"
        raise ArchiveError(reason, url=os.fspath(url))
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
        known = cls._known(stored, kind)
        if known is not None:
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
            piece = data[max(start - at, 0) : end - at]
            at += len(data)
            if piece:
                yield piece
            if at > end or at == end < self.size:
                break
        if at < end or at > end == self.size:
            how = "less" if at < end else "more"
            raise ArchiveError(f"it holds {how} than when it was planned; plan again", url=self.url)
