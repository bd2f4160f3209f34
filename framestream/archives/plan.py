"""Plans: find files and divide them into splits, without reading them."""

from __future__ import annotations

import glob
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from framestream.archives.compressed import KINDS, Compressed, Kind
from framestream.archives.index import Index
from framestream.archives.source import (
    INDEX,
    LocalFile,
    RemoteFile,
    Source,
    is_remote,
    local_path,
    remote_names,
)
from framestream.archives.split import Split
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE
from framestream.errors import ArchiveError
from framestream.framer import ReadCondition
from framestream.iterate import condition_of

SIZE: Final = 1 << 26


def plan(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    framer: ReadCondition[Any] | str,
    *,
    parts: int | None = None,
    size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
) -> list[Split]:
    """Divide files into splits of about the same size, without reading them.

    A compressed file is divided where decompression can begin. To find these places and its size, all of
    it is decompressed once, unless it has an index. A single compressed stream becomes one split.

    If the framer cannot find a frame in the middle of a file, but the file has an index, the splits begin
    where the index says.

    Args:
        urls: paths, globs, or URLs that fsspec opens; all of them, in this order.
        framer: cuts them: a read condition, or the name or spec string of one.
        parts: number of splits for all files together; each file has at least one.
        size: size of a split instead, in bytes; at most 64 MiB by default.
        storage_options: the options with which fsspec opens the files.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.

    Raises:
        ArchiveError: a file does not exist, or its index is stale.
        SpecError: the spec string describes no framer.
    """
    if parts is not None and size is not None:
        raise ValueError("give parts or size, not both")
    for option, value in (("parts", parts), ("size", size)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}; it must be at least 1")
    condition = condition_of(framer)
    sources = open_sources(urls, storage_options)
    if parts is not None:
        size = -(-sum(source.size for source in sources) // parts)
    splits: list[Split] = []
    for source in sources:
        index = None if condition.synchronises == "exact" else Index.beside(source, condition)
        some = size or _even(source.size)
        splits += divide(source, framer, some, max_frame_size=max_frame_size, index=index)
    return splits


def _even(size: int) -> int:
    """Return a size of splits with which 2 or 4 processes end at the same time."""
    count = -(-size // SIZE)
    return -(-size // (-(-count // 4) * 4)) if count > 4 else SIZE


def divide(
    source: Source,
    framer: ReadCondition[Any] | str,
    size: int,
    *,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
    index: Index | None = None,
) -> Iterator[Split]:
    """Yield the splits of one file, none much larger than `size` bytes; one for an empty file."""
    count = max(-(-source.size // max(size, 1)), 1)
    borders = source.snapped([source.size * i // count for i in range(count + 1)])
    if index is not None:
        places = [0, *index.marks.offsets, source.size]
        borders = sorted({places[bisect_left(places, border)] for border in borders})
    for start, stop in pairwise(borders if len(borders) > 1 else [0, 0]):
        first = None if index is None else start
        yield Split(source, framer, start, stop, first, max_frame_size)


def open_sources(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], options: Mapping[str, Any] | None = None
) -> list[Source]:
    """Return the sources of paths, URLs and globs; those of a glob sorted by name.

    Indexes are left out. A file whose name ends with .gz, .bgz, .zst or .zstd is decompressed.

    Raises:
        ArchiveError: a file does not exist, or is damaged, or nothing matches a glob.
    """
    if isinstance(urls, str | os.PathLike):
        urls = [urls]
    return [source for url in urls for source in _expanded(os.fspath(url), options or {})]


def open_source(url: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Source:
    """Return the source that a path, a URL or a glob stands for.

    Raises:
        ArchiveError: it is not there, or damaged, or there are several.
    """
    source, *others = open_sources(url, options)
    if others:
        reason = f"it stands for {1 + len(others)} files, where one is wanted"
        raise ArchiveError(reason, url=os.fspath(url))
    return source


def _expanded(url: str, options: Mapping[str, Any]) -> Iterator[Source]:
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
        stored = RemoteFile.of(name, options) if is_remote(name) else LocalFile.of(name)
        kind = kind_of(name)
        yield stored if kind is None else Compressed.of(stored, kind)


def kind_of(name: str) -> Kind | None:
    """Return the compression that a file name stands for."""
    return KINDS.get(os.path.splitext(name)[1].lower())
