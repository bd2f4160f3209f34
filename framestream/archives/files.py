"""Files: found by path, URL or glob, as sources; and the contents of compressed ones.

A gzip file may have many members, and others many frames or streams, each of which stands alone: bgzip,
WARC writers, ``pbzip2`` and ``pzstd`` write them so. The file can be divided only there. To find these places, all of
it is decompressed once; an index stores them.
"""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from typing import Any, Final, TypeAlias

from framestream.archives.index import Index
from framestream.archives.source import CHUNK, INDEX, Source, is_remote, local_path, remote_names, stored_file
from framestream.errors import ArchiveError, describe_error

Url: TypeAlias = str | os.PathLike[str]

_KINDS: Final = {
    ".gz": "gzip", ".bgz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".lz4": "lz4", ".zst": "zstd", ".zstd": "zstd",
}  # fmt: skip
_DECOMPRESSORS: Final = {
    "gzip": ("zlib:decompressobj",),
    "bzip2": ("bz2:BZ2Decompressor",),
    "xz": ("lzma:LZMADecompressor",),
    "lz4": ("lz4.frame:LZ4FrameDecompressor",),
    "zstd": ("compression.zstd:ZstdDecompressor", "backports.zstd:ZstdDecompressor"),
}
# The header of an xz file may ask for gigabytes; that of ``xz -9`` asks for 65 MiB.
_OPTIONS: Final = {"gzip": {"wbits": 31}, "xz": {"memlimit": 1 << 28}}
_PACKAGES: Final = {"zstd": '"framestream[archives]"'}
_BETWEEN_PLACES: Final = 1 << 20  # decompressed bytes
# What is given to a decompressor at once: it copies what it leaves, and may stop after a few bytes.
_BITE: Final = 1 << 13


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


def kind_of(name: str) -> str | None:
    """Return the compression that a file name stands for."""
    return _KINDS.get(os.path.splitext(name)[1].lower())


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
        for place, data in _decompressed(stored, kind, 0):
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
        for _, data in _decompressed(self.file, self.kind, from_place):
            piece = data[max(start - at, 0) : end - at]
            at += len(data)
            if piece:
                yield piece
            if at > end or at == end < self.size:
                break
        if at < end or at > end == self.size:
            how = "less" if at < end else "more"
            raise ArchiveError(f"it holds {how} than when it was planned; plan again", url=self.url)


def _decompressed(stored: Source, kind: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of a file's contents, each with the place of its member."""
    make = _maker(kind, stored)
    place = end = start
    member: Any = None
    for bite in _bites(stored.chunks(start)):
        end += len(bite)
        data = bite
        while True:
            if member is None:
                if kind in ("gzip", "xz") and end > start + len(data):
                    data = data.lstrip(b"\0")  # tapes, and streams of xz, are filled up with zeros
                if not data:
                    break
                member, place = make(), end - len(data)
            try:
                piece = member.decompress(data, CHUNK)
            except Exception as error:
                reason = f"it is no {kind} file, or damaged: {describe_error(error)}"
                raise ArchiveError(reason, url=stored.url, offset=place) from error
            if piece:
                yield place, piece
            if member.eof:
                data, member = member.unused_data, None
                continue
            data = member.unconsumed_tail if kind == "gzip" else b""  # others keep it inside
            if not data and len(piece) < CHUNK:
                break
    if member is not None:
        raise ArchiveError(f"it ends inside a {kind} member", url=stored.url, offset=place)


def _bites(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return (chunk[at : at + _BITE] for chunk in chunks for at in range(0, len(chunk), _BITE))


def _maker(kind: str, stored: Source) -> Callable[[], Any]:
    """Return what makes the decompressor of one member."""
    for name in _DECOMPRESSORS[kind]:
        with suppress(ImportError):
            return partial(resolve_name(name), **_OPTIONS.get(kind, {}))
    reason = f"it is compressed by {kind}, which needs: pip install {_PACKAGES.get(kind, kind)}"
    raise ArchiveError(reason, url=stored.url)
