"""Index: a small file next to an archive that says where its frames are.

It is a msgpack map after its checksum. Each place is stored as its distance from the one before, and so is the
number of frames up to it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any, Final

from framestream.archives.source import INDEX, Source, StoredFile, stored_file, whole_file
from framestream.errors import ArchiveError, counted
from framestream.framer import ReadCondition

BETWEEN_MARKS: Final = 1 << 16  # at most, about
"""How many bytes there are at least from one mark to the next."""

_FORMAT: Final = b"framestream-index 2\n"
_CHECKSUM: Final = 32  # bytes of a SHA-256
_ENDS: Final = 1 << 16  # bytes at either end that the checksum covers
_LEAST: Final = 1 << 24  # bytes that an index may always have; else an eighth of its file
_AGAIN: Final = "make it again with `framestream index`"


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
        index = cls.load(source)
        if index is None:
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
