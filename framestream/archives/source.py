"""Sources: the bytes of one file, of which any range can be read, and which say whether they have changed.

A local file needs nothing else. Everything that fsspec opens (S3, HTTP, ...) needs the extra "archives".
"""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final

from framestream.errors import ArchiveError, counted, describe_error

CHUNK: Final = 1 << 16  # of a local file: what the operating system has read ahead
BLOCK: Final = 1 << 23  # one request to an object store; the next one is under way while it is cut
_FIRST_BLOCK: Final = 1 << 17  # where it is not known how much is wanted; every further one is twice as large


class Source(ABC):
    """The bytes of one file. A value: frozen, small, and the same in every process.

    Attributes:
        url: where it is, for people.
        size: how many bytes there are.
    """

    url: str
    size: int

    @abstractmethod
    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from one place to another; without `stop`, as many as the caller takes.

        Raises:
            ArchiveError: the file cannot be read, or is no longer the one it was.
        """


@dataclass(frozen=True)
class InMemory(Source):
    """Bytes that are there."""

    data: bytes = field(repr=False)
    url: str = "memory"
    step: int = CHUNK

    @property
    def size(self) -> int:  # type: ignore[override]  # a value all the same
        """How many bytes there are."""
        return len(self.data)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from one place to another."""
        end = self.size if stop is None else stop
        for at in range(start, end, self.step):
            yield self.data[at : min(at + self.step, end)]


@dataclass(frozen=True)
class LocalFile(Source):
    """A file of this machine.

    It may have grown since: its first `size` bytes count, which is what an append-only file keeps.
    """

    url: str
    size: int
    version: int

    @classmethod
    def of(cls, path: str) -> LocalFile:
        """Look at the file."""
        with _telling(path):
            status = os.stat(path)
            if os.path.isdir(path):
                raise IsADirectoryError(f"it is a directory; give its files, such as {path}/*")
            return cls(path, status.st_size, status.st_mtime_ns)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from one place to another."""
        end = self.size if stop is None else stop
        with _telling(self.url, start), open(self.url, "rb", buffering=0) as file:
            self._check(file)
            file.seek(start)
            while start < end:
                chunk = file.read(min(CHUNK, end - start))
                if not chunk:
                    raise ArchiveError("it became shorter while it was read", url=self.url, offset=start)
                start += len(chunk)
                yield chunk
            self._check(file)

    def _check(self, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        check_unchanged(self.url, self.size, self.version, status.st_size, status.st_mtime_ns, may_grow=True)


@dataclass(frozen=True)
class RemoteFile(Source):
    """A file that fsspec opens.

    Attributes:
        version: its ETag, or when it was modified; "" if the store tells neither.
        options: the storage options, as fsspec takes them.
    """

    url: str
    size: int
    version: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # secrets are among them

    @classmethod
    def of(cls, url: str, options: Mapping[str, Any]) -> RemoteFile:
        """Ask the store."""
        with _telling(url):
            size, version = _status(url, options)
            return cls(url, size, version, options)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from one place to another; one block is read ahead if it is known to be wanted."""
        end = self.size if stop is None else stop
        if start >= end:
            return
        with _telling(self.url, start):
            store, path = _store(self.url, self.options)
            check_unchanged(self.url, self.size, self.version, *_status(self.url, self.options))

        def read(at: int, to: int) -> bytes:
            with _telling(self.url, at):
                block: bytes = store.cat_file(path, start=at, end=to)
            if len(block) != to - at:
                what = f"{counted(len(block), 'byte')} came where {to - at} were asked for"
                raise ArchiveError(f"it cannot be read by ranges: {what}", url=self.url, offset=at)
            return block

        if stop is None:
            size = _FIRST_BLOCK
            while start < end:
                yield read(start, min(start + size, end))
                start, size = start + size, min(2 * size, BLOCK)
            return
        with ThreadPoolExecutor(1, "framestream-read-ahead") as executor:
            ahead = executor.submit(read, start, min(start + BLOCK, end))
            while start < end:
                block = ahead.result()
                start += len(block)
                if start < end:
                    ahead = executor.submit(read, start, min(start + BLOCK, end))
                yield block


def open_sources(
    urls: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], options: Mapping[str, Any] | None = None
) -> list[Source]:
    """Return the sources that paths, URLs and globs stand for, those of a glob in the order of their names.

    Raises:
        ArchiveError: one is not there, or nothing matches a glob.
    """
    if isinstance(urls, str | os.PathLike):
        urls = [urls]
    return [source for url in urls for source in _expanded(os.fspath(url), options or {})]


def _expanded(url: str, options: Mapping[str, Any]) -> Iterator[Source]:
    if "://" not in url or url.startswith("file://"):
        path = url.removeprefix("file://")
        is_pattern = glob.has_magic(path) and not os.path.exists(path)
        paths = sorted(glob.glob(path, recursive=True)) if is_pattern else [path]
        yield from map(LocalFile.of, paths)
    else:
        paths = [url]
        if glob.has_magic(url.partition("://")[2]) and not url.startswith("http"):
            with _telling(url):
                store, path = _store(url, options)
                paths = [store.unstrip_protocol(found) for found in sorted(store.glob(path))]
        for found in paths:
            yield RemoteFile.of(found, options)
    if not paths:
        raise ArchiveError("nothing matches", url=url)


def check_unchanged(
    url: str, size: int, version: Any, size_now: int, version_now: Any, *, may_grow: bool = False
) -> None:
    """Raise ArchiveError if a file is not what it was; one that grew at its end is, where that is allowed."""
    if size_now < size or (size_now > size and not may_grow):
        how = "shorter" if size_now < size else "longer"
        sizes = f"{counted(size, 'byte')} then, {size_now} now"
        raise ArchiveError(f"it is {how} than when it was planned: {sizes}; plan again", url=url)
    if size_now == size and version_now != version:
        raise ArchiveError(
            f"it has changed since it was planned ({version}, {version_now}); plan again", url=url
        )


def _store(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = 'it needs fsspec: pip install "framestream[archives]"'
        raise ArchiveError(f"it is no local file; {hint}", url=url) from error
    store, path = url_to_fs(url, **options)
    return store, path


def _status(url: str, options: Mapping[str, Any]) -> tuple[int, str]:
    store, path = _store(url, options)
    store.invalidate_cache()
    info = store.info(path)
    size = info.get("size")
    if size is None:
        raise ArchiveError("the store does not tell its size, so no part of it can be asked for", url=url)
    return size, str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "").strip('"')


@contextmanager
def _telling(url: str, offset: int | None = None) -> Iterator[None]:
    """Turn what the system or a store says into an `ArchiveError`, with the place."""
    try:
        yield
    except (ArchiveError, GeneratorExit):
        raise
    except Exception as error:  # a store's errors have no common class
        reason = getattr(error, "strerror", None) or describe_error(error)
        raise ArchiveError(f"it cannot be read: {reason}", url=url, offset=offset) from error
