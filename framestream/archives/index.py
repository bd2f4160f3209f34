"""Index: a small file next to an archive that says where its frames are.

It is a msgpack map. Each place is stored as its distance from the one before, and so is the number of
frames up to it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any, Final

from framestream.archives.source import INDEX, Source
from framestream.errors import ArchiveError, counted, describe_error
from framestream.framer import ReadCondition

BETWEEN_MARKS: Final = 1 << 16  # at most, about
"""How many bytes there are at least from one mark to the next."""

_FORMAT: Final = 1
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

    def since(self, offset: int) -> Marks:
        """Return the places from an offset on."""
        rest = bisect_left(self.offsets, offset)
        return Marks(self.offsets[rest:], self.counts[rest:])


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
        data = source.stored.read_beside(INDEX, source.stored.size // 8 + _LEAST)
        return None if data is None else cls._loads(data, source.url + INDEX)

    def save(self, source: Source) -> str:
        """Write it next to its file, completely or not at all; return where."""
        source.stored.write_beside(INDEX, self._dumps())
        return source.url + INDEX

    def _dumps(self) -> bytes:
        import msgpack  # noqa: PLC0415 - splitting does not need it

        fields = {
            "framestream-index": _FORMAT,
            "spec": self.spec,
            "size": self.size,
            "version": self.version,
            "ends": self.ends,
            "count": self.count,
            "offsets": _deltas(self.marks.offsets),
            "counts": _deltas(self.marks.counts),
            "places": self.places,
        }
        data: bytes = msgpack.packb(fields)
        return data

    @classmethod
    def _loads(cls, data: bytes, url: str) -> Index:
        import msgpack  # noqa: PLC0415

        try:
            fields = msgpack.unpackb(data)
            if fields.pop("framestream-index") != _FORMAT:
                raise ValueError("another version wrote it")
            marks = Marks()
            marks = Marks(*(array("Q", accumulate(fields.pop(name))) for name in ("offsets", "counts")))
            places = tuple((place, at) for place, at in fields.pop("places"))
            index = cls(**fields, marks=marks, places=places)
            index._check()
            return index
        except Exception as error:
            reason = f"it is not an index that can be read ({describe_error(error)}); {_AGAIN}"
            raise ArchiveError(reason, url=url) from error

    def _check(self) -> None:
        """Raise ValueError or TypeError for what no file can have."""
        numbers = [self.size, self.count, *chain.from_iterable(self.places)]
        if any(type(number) is not int for number in numbers):
            raise TypeError("a number is not a whole number")
        offsets, counts = self.marks.offsets, self.marks.counts
        starts, at = [place for place, _ in self.places], [at for _, at in self.places]
        rising = (*offsets, self.size), (*counts, self.count, self.size + 1), starts, (*at, self.size)
        if (
            len(offsets) != len(counts)
            or at[:1] > [0]
            or any(before > value for values in rising for before, value in pairwise((0, *values)))
        ):
            raise ValueError("its places are not in order")


def _checksum_of_ends(source: Source) -> bytes:
    """Return the checksum of a file's first and last 64 KiB."""
    import hashlib  # noqa: PLC0415 - splitting does not need it, and it loads OpenSSL

    digest = hashlib.sha256()
    for start, stop in ((0, min(_ENDS, source.size)), (max(source.size - _ENDS, 0), source.size)):
        for chunk in source.chunks(start, stop):
            digest.update(chunk)
    return digest.digest()


def _deltas(values: Iterable[int]) -> list[int]:
    return [value - before for before, value in pairwise((0, *values))]
