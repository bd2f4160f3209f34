"""Compressed files: places where decompression can begin, and the bytes between them, as a source.

A gzip file may have many members, and a zstd file many frames, each of which stands alone: bgzip,
WARC writers and ``pzstd`` write them so. The file can be divided only there. To find these places, all of
it is decompressed once; an index stores them.
"""

from __future__ import annotations

import logging
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from framestream.archives.index import Index, checksum_of_ends
from framestream.archives.source import CHUNK, Source
from framestream.errors import ArchiveError, describe_error

Kind: TypeAlias = Literal["gzip", "zstd"]

KINDS: Final[dict[str, Kind]] = {".gz": "gzip", ".bgz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
"""File name suffix, and the compression it stands for."""

_BETWEEN_PLACES: Final = 1 << 20  # decompressed bytes
# What is given to a decompressor at once: it copies what it leaves, and may stop after a few bytes.
_BITE: Final = 1 << 13
_MOST_RATIO: Final = 16  # as a power of two: zstd stores a block of 128 KiB in 4 bytes

logger = logging.getLogger("framestream.archives")


@dataclass(frozen=True)
class Compressed(Source):
    """The contents of a compressed file. Offsets are those of the decompressed bytes.

    Attributes:
        file: the file itself.
        kind: its compression.
        places: where decompression can begin: the offset in the file, and in its contents; at most one for
            each MiB.
    """

    file: Source
    kind: Kind
    size: int
    places: tuple[tuple[int, int], ...] = field(repr=False)

    @property
    def stored(self) -> Source:
        """The file itself."""
        return self.file

    @property
    def url(self) -> str:  # type: ignore[override]  # a value all the same
        """Where the file is."""
        return self.stored.url

    @property
    def version(self) -> Any:
        """The version of the file."""
        return self.stored.version

    @classmethod
    def of(cls, stored: Source, kind: Kind) -> Compressed:
        """Find the places of a file: from its index, or by decompressing it.

        Raises:
            ArchiveError: it is damaged, or not complete.
        """
        known = _known_places(stored)
        if known is not None:
            return cls(stored, kind, *known)
        places: list[tuple[int, int]] = []
        size, before = 0, -1
        for place, data in _decompressed(stored, kind, 0):
            is_new = place != before
            if is_new and (not places or size - places[-1][1] >= _BETWEEN_PLACES):
                places.append((place, size))
            size, before = size + len(data), place
        return cls(stored, kind, size, tuple(places) or ((0, 0),))

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the decompressed bytes between two offsets."""
        end = self.size if stop is None else stop
        from_place, at = self.places[bisect_right(self.places, start, key=lambda place: place[1]) - 1]
        if start >= end:
            return
        for _, data in _decompressed(self.stored, self.kind, from_place):
            piece = data[max(start - at, 0) : end - at]
            at += len(data)
            if piece:
                yield piece
            if at > end or at == end < self.size:
                break
        if at < end or at > end == self.size:
            how = "less" if at < end else "more"
            raise ArchiveError(f"it holds {how} than when it was planned; plan again", url=self.url)

    def snapped(self, borders: list[int]) -> list[int]:
        """Return the places nearest to the borders."""
        places = [place for _, place in self.places] + [self.size]
        snapped = sorted({places[min(bisect_left(places, border), len(places) - 1)] for border in borders})
        if len(snapped) < len(borders) and len(self.places) == 1:
            logger.warning("%s is one %s stream, which cannot be divided: it is one split", self.url, self.kind)
        return snapped

    def read_beside(self, suffix: str, most: int) -> bytes | None:
        """Return the file whose name has one suffix more, or None if there is none."""
        return self.stored.read_beside(suffix, most)

    def write_beside(self, suffix: str, data: bytes) -> None:
        """Write such a file, completely or not at all."""
        self.stored.write_beside(suffix, data)


def _known_places(stored: Source) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    """Return the size of the contents, and the places, if the index of the file is up to date."""
    try:
        index = Index.load(stored)
    except ArchiveError:  # who needs the index reports it
        return None
    if index is None or not index.places or index.size > stored.size << _MOST_RATIO:
        return None
    if index.version != str(stored.version) or index.ends != checksum_of_ends(stored):
        return None
    return index.size, index.places


def _decompressed(stored: Source, kind: Kind, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of a file's contents, each with the place of its member."""
    place = end = start
    member: Any = None
    for bite in _bites(stored.chunks(start)):
        end += len(bite)
        data = bite
        while data or member is not None:
            if member is None:
                if kind == "gzip" and end > start + len(data):
                    data = data.lstrip(b"\0")  # tapes are filled up with zeros
                if not data:
                    break
                member, place = _decompressor(kind, stored), end - len(data)
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
            data = member.unconsumed_tail if kind == "gzip" else b""
            wants_more = len(piece) < CHUNK if kind == "gzip" else member.needs_input
            if not data and wants_more:
                break
    if member is not None:
        raise ArchiveError(f"it ends inside a {kind} member", url=stored.url, offset=place)


def _bites(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return (chunk[at : at + _BITE] for chunk in chunks for at in range(0, len(chunk), _BITE))


def _decompressor(kind: Kind, stored: Source) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    try:
        return _zstd().ZstdDecompressor()
    except ImportError as error:
        reason = 'it is compressed by zstd, which needs: pip install "framestream[archives]"'
        raise ArchiveError(reason, url=stored.url) from error


@cache  # a search for a module that is not there takes longer than a small frame
def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError:
        from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]  # noqa: PLC0415
    return zstd
