"""Sources: the bytes of one file, readable in ranges, with a check whether the file has changed.

A local file needs nothing else. A file that fsspec opens (S3, HTTP, ...) needs the extra "archives".
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final, TypeAlias

from framestream.errors import ArchiveError, counted, describe_os_error

INDEX: Final = ".fsindex"  # suffix of the name of an index
CHUNK: Final = 1 << 16  # of a local file: what the operating system has read ahead
BLOCK: Final = 1 << 23  # one request to an object store; the next one runs while this one is cut
_FIRST_BLOCK: Final = 1 << 19  # if it is unknown how much is wanted; each further one is twice as large

_VERSIONS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")  # what stores call it

Write: TypeAlias = Callable[[bytes], None]


class Source(ABC):
    """The bytes of one file. A value: frozen, small, and the same in every process.

    Attributes:
        url: where it is, for messages.
        size: number of bytes.
        version: differs after a change: the time of modification, or an ETag.
        options: the storage options with which fsspec opens it.
        places: where reading can begin, if it cannot begin anywhere, since the file is compressed: the offset
            in the file, and in its contents; at most one for each MiB.
    """

    url: str
    size: int
    version: Any
    options: Mapping[str, Any] = {}
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

    def check(self, size: int, version: Any, *, may_grow: bool = False) -> None:
        """Raise ArchiveError if this is not the size and version of the file, so that it has changed."""
        if size < self.size or (size > self.size and not may_grow):
            how = "shorter" if size < self.size else "longer"
            sizes = f"{counted(self.size, 'byte')} then, {size} now"
            raise ArchiveError(f"it is {how} than when it was planned: {sizes}; plan again", url=self.url)
        if size == self.size and version != self.version:
            versions = f"{self.version}, {version}"
            raise ArchiveError(f"it has changed since it was planned ({versions}); plan again", url=self.url)


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
        with telling(path):
            status = os.stat(path)
            if os.path.isdir(path):
                raise ArchiveError(f"is a directory; give its files, such as {os.path.join(path, '*')}", url=path)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError("it is a pipe or a device, which cannot be read in parts", url=path)
            if not status.st_size and _has_bytes(path):
                raise ArchiveError("it tells no size, so it cannot be read in parts", url=path)
            return cls(path, status.st_size, status.st_mtime_ns)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets."""
        end = self.size if stop is None else stop
        with telling(self.url, start), open(self.url, "rb", buffering=0) as file:
            self.check_open(file, may_grow=True)
            file.seek(start)
            while start < end:
                chunk = file.read(min(CHUNK, end - start))
                if not chunk:
                    raise ArchiveError("it became shorter while it was read", url=self.url, offset=start)
                start += len(chunk)
                yield chunk
            self.check_open(file, may_grow=True)

    def check_open(self, file: IO[bytes], *, may_grow: bool = False) -> None:
        """Raise ArchiveError if an open file is not this one, as it was."""
        status = os.fstat(file.fileno())
        self.check(status.st_size, status.st_mtime_ns, may_grow=may_grow)


def _has_bytes(path: str) -> bool:
    """Tell whether a file that says it is empty has content, as those in /proc, which the kernel makes when read."""
    with open(path, "rb", buffering=0) as file:
        return bool(file.read(1)) and not os.fstat(file.fileno()).st_size


@dataclass(frozen=True)
class RemoteFile(Source):
    """A file that fsspec opens.

    Attributes:
        version: its ETag, or the time of modification; "" if the store tells neither.
    """

    url: str
    size: int
    version: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # secrets are among them

    @classmethod
    def of(cls, url: str, options: Mapping[str, Any]) -> RemoteFile:
        """Ask the store."""
        with telling(url):
            return cls(url, *_state(url, *_store(url, options)), options)

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets; without `stop`, in blocks that grow, as more seem to be wanted."""
        end, size = (self.size, _FIRST_BLOCK) if stop is None else (stop, BLOCK)
        ahead: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(1, "framestream-read-ahead") as executor:
            while start < end:
                ahead.append(executor.submit(self._block, start, min(start + size, end)))
                if size < BLOCK or len(ahead) > 1:
                    yield ahead.popleft().result()
                start, size = start + size, min(2 * size, BLOCK)
            for last in ahead:
                yield last.result()

    def _block(self, start: int, stop: int) -> bytes:
        with telling(self.url):
            store, path = _store(self.url, self.options)
        with telling(self.url, start):
            try:
                block: bytes = store.cat_file(path, start=start, end=stop)
            finally:  # what came, or why nothing did, may be of another object that has replaced it
                self.check(*_state(self.url, store, path))
        if len(block) != stop - start:
            what = f"{counted(len(block), 'byte')} came where {stop - start} were asked for"
            raise ArchiveError(f"it cannot be read by ranges: {what}", url=self.url, offset=start)
        return block


StoredFile: TypeAlias = LocalFile | RemoteFile
"""A file that other files are next to."""


def stored_file(url: str, options: Mapping[str, Any]) -> StoredFile:
    """Return the source of a path or URL.

    Raises:
        ArchiveError: it cannot be read; the cause is a FileNotFoundError if it does not exist.
    """
    return RemoteFile.of(url, options) if is_remote(url) else LocalFile.of(local_path(url))


def is_remote(url: str) -> bool:
    """Tell whether fsspec must open it."""
    return "://" in url and not url.startswith("file://")


def local_path(url: str) -> str:
    """Return the path of a local file."""
    return url.removeprefix("file://")


def remote_names(pattern: str, options: Mapping[str, Any]) -> list[str]:
    """Return the URLs that match a pattern, in their order."""
    first, mark, rest = pattern.partition("::")  # such as "zip://*.bin::s3://bucket/all.zip"
    with telling(pattern):
        store, path = _store(pattern, options)
        inside = mark + rest if "://" in first else ""
        return [store.unstrip_protocol(found) + inside for found in sorted(store.glob(path))]


def _store(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = 'it needs fsspec: pip install "framestream[archives]"'
        raise ArchiveError(f"it is not a local file; {hint}", url=url) from error
    return url_to_fs(url, **options)  # type: ignore[no-any-return]  # untyped


def _state(url: str, store: Any, path: str) -> tuple[int, str]:
    """Return the size of a file, and its version."""
    store.invalidate_cache(path)  # only of this file: others use the same store
    info: Mapping[str, Any] = store.info(path)
    size = info.get("size")
    if size is None:
        raise ArchiveError("the store does not tell its size, so no part of it can be asked for", url=url)
    return size, next((str(info[name]).strip('"') for name in _VERSIONS if info.get(name)), "")


@contextmanager
def telling(url: str, offset: int | None = None, *, done: str = "read") -> Iterator[None]:
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


# Writing -----------------------------------------------------------------------------------------


def whole_file(url: str, options: Mapping[str, Any]) -> AbstractContextManager[Write]:
    """Give a function that writes to a file, which gets its name only when it is complete.

    Raises:
        ArchiveError: it cannot be written.
    """
    return _told(url, _stored(url, options) if is_remote(url) else _renamed(local_path(url)))


@contextmanager
def alone(source: LocalFile, mode: str = "r+b") -> Iterator[IO[bytes]]:
    """Open a local file while others who open it so are refused, where the system has locks.

    Raises:
        ArchiveError: another one has it, it is not as it was, or it cannot be opened.
    """
    with telling(source.url, done="written"):
        file: IO[bytes] = open(source.url, mode, buffering=0)  # noqa: SIM115 - what the caller does is told by the caller
    try:
        try:
            _lock(file)
        except BlockingIOError as error:
            reason = "another program is appending to it, or repairing it, at this moment"
            raise ArchiveError(reason, url=source.url) from error
        source.check_open(file)
        yield file
    finally:
        with suppress(OSError):  # the disk has what was written, or the caller knows that it has not
            file.close()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; return False where there are no locks.

    Raises:
        BlockingIOError: it is locked.
    """
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):  # Windows has no locks that leave readers alone, some disks have none
        return False
    return True


@contextmanager
def restored_on_error(source: LocalFile, raw: IO[bytes]) -> Iterator[None]:
    """After an error, make a local file that grows meanwhile what it was.

    Raises:
        ArchiveError: it has changed already.
    """
    source.check_open(raw)  # what another process has appended meanwhile would be overwritten
    try:
        yield
    except BaseException:
        with suppress(OSError):
            raw.truncate(source.size)
            if os.utime in os.supports_fd:  # what has not changed keeps its index
                os.utime(raw.fileno(), ns=(time.time_ns(), source.version))
        raise


def grown_file(source: LocalFile, raw: IO[bytes]) -> AbstractContextManager[Write]:
    """Give a function that writes to the end of a local file.

    Raises:
        ArchiveError: it cannot be written.
    """
    return _told(source.url, _grown(source, raw))


@contextmanager
def _told(url: str, opening: AbstractContextManager[IO[bytes]]) -> Iterator[Write]:
    """Turn the errors of opening, writing and closing into ArchiveErrors, but not those of the caller."""

    def write(data: bytes) -> None:
        with telling(url, done="written"):
            file.write(data)

    with telling(url, done="written"):
        file = opening.__enter__()
    try:
        yield write
    except BaseException as error:
        with suppress(Exception):  # closing may fail once more
            opening.__exit__(type(error), error, error.__traceback__)
        raise
    with telling(url, done="written"):
        opening.__exit__(None, None, None)


@contextmanager
def _stored(url: str, options: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    store, path = _store(url, options)
    with store.transaction, store.open(path, "wb") as file:
        yield file


def remove_remains(url: str) -> None:
    """Remove what writers of a local file, of its parts and of their indexes left when they were killed."""
    folder, name = map(glob.escape, os.path.split(os.path.splitext(url)[0]))
    for path in glob.iglob(os.path.join(folder, f".{name}*.{'[0-9a-f]' * 8}.partial")):
        with suppress(OSError), open(path, "ab") as file:  # a BlockingIOError: its writer lives
            # A new one may not be locked yet.
            if os.fstat(file.fileno()).st_mtime < time.time() - 60 and _lock(file):
                os.unlink(path)


@contextmanager
def _renamed(path: str) -> Iterator[IO[bytes]]:
    folder, name = os.path.split(path)
    # Of those who write it at once each has its own, and the last one to finish gives the name.
    partial = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.partial")
    try:
        with open(partial, "wb") as file:
            _lock(file)
            yield file
            _finish(file)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


@contextmanager
def _grown(source: LocalFile, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    with open(raw.fileno(), "r+b", closefd=False) as file:
        file.seek(source.size)
        yield file
        _finish(file)


def _finish(file: IO[bytes]) -> None:
    """Have the disk keep what was written."""
    file.flush()
    os.fsync(file.fileno())
