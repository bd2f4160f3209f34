"""Sources: the bytes of one file, readable in ranges, with a check whether the file has changed.

A local file needs nothing else. A file that fsspec opens (S3, HTTP, ...) needs the extra "archives".
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any, Final

from framestream.errors import ArchiveError, counted, describe_os_error

INDEX: Final = ".fsindex"  # suffix of the name of an index
CHUNK: Final = 1 << 16  # of a local file: what the operating system has read ahead
BLOCK: Final = 1 << 23  # one request to an object store; the next one runs while this one is cut
_FIRST_BLOCK: Final = 1 << 17  # if it is unknown how much is wanted; each further one is twice as large


class Source(ABC):
    """The bytes of one file. A value: frozen, small, and the same in every process.

    Attributes:
        url: where it is, for messages.
        size: number of bytes.
        version: differs after a change: the time of modification, or an ETag.
        places: where reading can begin, if it cannot begin anywhere, since the file is compressed: the offset
            in the file, and in its contents; at most one for each MiB.
    """

    url: str
    size: int
    version: Any
    places: tuple[tuple[int, int], ...] = ()

    @abstractmethod
    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets; without `stop`, as many as the caller takes.

        Raises:
            ArchiveError: the file cannot be read, or has changed.
        """

    @property
    def stored(self) -> Source:
        """The file as it is stored: the compressed one, if this is its contents; else itself."""
        return self

    def read_beside(self, suffix: str, most: int) -> bytes | None:
        """Return the file whose name has one suffix more, or None if there is none.

        Raises:
            ArchiveError: it cannot be read, or has more than `most` bytes.
        """
        return None

    def write_beside(self, suffix: str, data: bytes) -> None:
        """Write such a file, completely or not at all."""
        raise ArchiveError("no file can be written next to it", url=self.url)


@dataclass(frozen=True)
class InMemory(Source):
    """Bytes in memory."""

    data: bytes = field(repr=False)
    url: str = "memory"
    step: int = CHUNK
    version: str = ""

    @property
    def size(self) -> int:  # type: ignore[override]  # a value all the same
        """Number of bytes."""
        return len(self.data)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets."""
        end = self.size if stop is None else stop
        for at in range(start, end, self.step):
            yield self.data[at : min(at + self.step, end)]


@dataclass(frozen=True)
class LocalFile(Source):
    """A file of this machine.

    It may grow meanwhile: its first `size` bytes count, and an append-only file keeps them.
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
                raise ArchiveError(f"is a directory; give its files, such as {os.path.join(path, '*')}", url=path)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError("it is a pipe or a device, which cannot be read in parts", url=path)
            return cls(path, status.st_size, status.st_mtime_ns)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets."""
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

    def read_beside(self, suffix: str, most: int) -> bytes | None:
        """Return the file whose name has one suffix more, or None if there is none."""
        path = self.url + suffix
        if not os.path.exists(path):
            return None
        file = LocalFile.of(path)
        _check_size(path, file.size, most)
        return b"".join(file.chunks(0))

    def write_beside(self, suffix: str, data: bytes) -> None:
        """Write such a file, completely or not at all."""
        path = self.url + suffix
        with open_whole(path, {}) as file:
            write_all(file, data, path)

    def _check(self, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        check_unchanged(self.url, self.size, self.version, status.st_size, status.st_mtime_ns, may_grow=True)


@dataclass(frozen=True)
class RemoteFile(Source):
    """A file that fsspec opens.

    Attributes:
        version: its ETag, or the time of modification; "" if the store tells neither.
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
            return cls(url, *_state(url, _info(*_store(url, options))), options)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets; read one block ahead if it is known to be wanted."""
        end = self.size if stop is None else stop
        if start >= end:
            return
        read = self._block
        if stop is None:
            size = _FIRST_BLOCK
            while start < end:
                yield read(start, min(start + size, end))
                start, size = start + size, min(2 * size, BLOCK)
            return
        with futures.ThreadPoolExecutor(1, "framestream-read-ahead") as executor:
            ahead = executor.submit(read, start, min(start + BLOCK, end))
            while start < end:
                block = ahead.result()
                start += len(block)
                if start < end:
                    ahead = executor.submit(read, start, min(start + BLOCK, end))
                yield block

    def _block(self, start: int, stop: int) -> bytes:
        store, path = _store(self.url, self.options)
        with _telling(self.url, start):
            is_checked = False
            try:
                if "s3" in store.protocol:
                    block, is_checked = self._checked_block(store, path, start, stop), True
                else:
                    block = store.cat_file(path, start=start, end=stop)
            finally:  # what came, or why nothing did, may be of another object that has replaced it
                if not is_checked:
                    self._check(_info(store, path))
        if len(block) != stop - start:
            what = f"{counted(len(block), 'byte')} came where {stop - start} were asked for"
            raise ArchiveError(f"it cannot be read by ranges: {what}", url=self.url, offset=start)
        return block

    def _checked_block(self, store: Any, path: str, start: int, stop: int) -> bytes:
        """Read from a store whose files check the ETag with each read, which saves a request."""
        try:
            file = self._opened.pop()  # taken out: a file has a position, and other threads read, too
        except IndexError:
            file = store.open(path, "rb", cache_type="none")
            self._check(file.details)
        file.seek(start)
        block: bytes = file.read(stop - start)
        self._opened.append(file)
        return block

    @cached_property
    def _opened(self) -> list[Any]:
        return []

    def _check(self, info: Mapping[str, Any]) -> None:
        check_unchanged(self.url, self.size, self.version, *_state(self.url, info))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def read_beside(self, suffix: str, most: int) -> bytes | None:
        """Return the file whose name has one suffix more, or None if there is none."""
        url = self.url + suffix
        with _telling(url), suppress(FileNotFoundError):
            store, path = _store(url, self.options)
            _check_size(url, _state(url, _info(store, path))[0], most)
            data: bytes = store.cat_file(path)
            return data
        return None

    def write_beside(self, suffix: str, data: bytes) -> None:
        """Write such a file, completely or not at all."""
        store, path = _store(self.url + suffix, self.options)
        with _telling(self.url + suffix, done="written"):
            store.pipe_file(path, data)


def write_all(file: IO[bytes], data: bytes, url: str) -> None:
    """Write all bytes to a file: when the disk is nearly full, an unbuffered one takes a part of them.

    Raises:
        ArchiveError: it cannot be written.
    """
    rest = memoryview(data)
    with _telling(url, done="written"):
        while rest:
            rest = rest[file.write(rest) :]


def open_to_write(path: str, mode: str, url: str = "") -> IO[bytes]:
    """Open a local file to write into it without a buffer; `url` is what an error names instead.

    Raises:
        ArchiveError: it cannot be written.
    """
    with _telling(url or path, done="written"):
        return open(path, mode, buffering=0)


def finish(file: IO[bytes], url: str) -> None:
    """Have the disk keep what was written.

    Raises:
        ArchiveError: it cannot be written.
    """
    with _telling(url, done="written"):
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def open_whole(url: str, options: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name only when complete; a local one is then on the disk."""
    if is_remote(url):
        store, path = _store(url, options)
        with store.transaction, store.open(path, "wb") as file:
            yield file
        return
    folder, name = os.path.split(path := local_path(url))
    partial = os.path.join(folder, f".{name}.partial")
    opened = open_to_write(partial, "wb", url)
    try:
        with opened as file:
            yield file
            finish(file, url)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def is_remote(url: str) -> bool:
    """Tell whether fsspec must open it."""
    return "://" in url and not url.startswith("file://")


def local_path(url: str) -> str:
    """Return the path of a local file."""
    return url.removeprefix("file://")


def remote_names(pattern: str, options: Mapping[str, Any]) -> list[str]:
    """Return the URLs that match a pattern, in their order."""
    with _telling(pattern):
        store, path = _store(pattern, options)
        return [store.unstrip_protocol(found) for found in sorted(store.glob(path))]


def check_unchanged(
    url: str, size: int, version: Any, size_now: int, version_now: Any, *, may_grow: bool = False
) -> None:
    """Raise ArchiveError if a file has changed; growth at its end is no change, if that is allowed."""
    if size_now < size or (size_now > size and not may_grow):
        how = "shorter" if size_now < size else "longer"
        sizes = f"{counted(size, 'byte')} then, {size_now} now"
        raise ArchiveError(f"it is {how} than when it was planned: {sizes}; plan again", url=url)
    if size_now == size and version_now != version:
        raise ArchiveError(f"it has changed since it was planned ({version}, {version_now}); plan again", url=url)


def _check_size(url: str, size: int, most: int) -> None:
    if size > most:
        raise ArchiveError(f"it has {size} bytes; at most {most} are read", url=url)


def _store(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = 'it needs fsspec: pip install "framestream[archives]"'
        raise ArchiveError(f"it is not a local file; {hint}", url=url) from error
    with _telling(url):
        store, path = url_to_fs(url, **options)
    return store, path


def _info(store: Any, path: str) -> Mapping[str, Any]:
    store.invalidate_cache(path)  # only of this file: others use the same store
    info: Mapping[str, Any] = store.info(path)
    return info


def _state(url: str, info: Mapping[str, Any]) -> tuple[int, str]:
    """Return the size of a file, and its version."""
    size = info.get("size")
    if size is None:
        raise ArchiveError("the store does not tell its size, so no part of it can be asked for", url=url)
    return size, str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "").strip('"')


@contextmanager
def _telling(url: str, offset: int | None = None, *, done: str = "read") -> Iterator[None]:
    """Turn an error of the system or a store into an `ArchiveError`, with the place."""
    try:
        yield
    except (ArchiveError, GeneratorExit):
        raise
    except Exception as error:  # a store's errors have no common class
        reason = describe_os_error(error)
        if isinstance(error, FileNotFoundError) and url.endswith(str(error)):  # a store's has the path for its text
            reason = os.strerror(errno.ENOENT).lower()
        if done != "read" or not isinstance(error, OSError):
            reason = f"it cannot be {done}: {reason}"
        raise ArchiveError(reason, url=url, offset=offset) from error
