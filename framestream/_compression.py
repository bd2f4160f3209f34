"""Compression: which one the name of a file stands for, and the contents, piece by piece.

A gzip file may have many members, and others many frames or streams, each of which stands alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from framestream.errors import ArchiveError, describe_error

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
_PIECE: Final = 1 << 16  # decompressed bytes, at most
# What is given to a decompressor at once: it copies what it leaves, and may stop after a few bytes.
_BITE: Final = 1 << 13


def kind_of(name: str) -> str | None:
    """Return the compression that a file name stands for."""
    return _KINDS.get(os.path.splitext(name)[1].lower())


def decompressed(chunks: Iterable[bytes], kind: str, url: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of a file's contents, each with the place of its member.

    Args:
        chunks: the file, from a place where a member begins.
        kind: its compression.
        url: where it is, for messages.
        start: the place in the file where the chunks begin.

    Raises:
        ArchiveError: it is damaged, or not complete, or this compression needs a library that is not there.
    """
    make = _maker(kind, url)
    place = end = start
    member: Any = None
    for bite in _bites(chunks):
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
                piece = member.decompress(data, _PIECE)
            except Exception as error:
                reason = f"it is no {kind} file, or damaged: {describe_error(error)}"
                raise ArchiveError(reason, url=url, offset=place) from error
            if piece:
                yield place, piece
            if member.eof:
                data, member = member.unused_data, None
                continue
            data = member.unconsumed_tail if kind == "gzip" else b""  # others keep it inside
            if not data and len(piece) < _PIECE:
                break
    if member is not None:
        raise ArchiveError(f"it ends inside a {kind} member", url=url, offset=place)


def _bites(chunks: Iterable[bytes]) -> Iterator[bytes]:
    return (chunk[at : at + _BITE] for chunk in chunks for at in range(0, len(chunk), _BITE))


def _maker(kind: str, url: str) -> Callable[[], Any]:
    """Return what makes the decompressor of one member."""
    from pkgutil import resolve_name  # noqa: PLC0415 - few files are compressed

    for name in _DECOMPRESSORS[kind]:
        with suppress(ImportError):
            return partial(resolve_name(name), **_OPTIONS.get(kind, {}))
    reason = f"it is compressed by {kind}, which needs: pip install {_PACKAGES.get(kind, kind)}"
    raise ArchiveError(reason, url=url)
