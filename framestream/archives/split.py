"""Splits: the parts of framed files, each read by one process. A frame belongs to the split it begins in.

`plan` makes them without reading anything. `Reader` reads one: from its first frame to the last that begins
before its end, however far that one reaches. What nobody can tell from the middle of a file, the place of the
first frame, `framestream.archives.stitch` finds out.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from framestream.archives.guess import find_start
from framestream.archives.source import Source, open_sources
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE, END, NEED_DATA, End, FrameDecoder
from framestream.errors import ArchiveError, FrameTooLarge, FramingError, PayloadError
from framestream.framer import ReadCondition
from framestream.iterate import condition_of, feed

OnError: TypeAlias = Literal["raise", "skip", "column"]
BadFrame: TypeAlias = "PayloadError | FrameTooLarge"

SIZE: Final = 1 << 26
_BETWEEN_MARKS: Final = 1 << 16


class Record(NamedTuple):
    """A frame and its place.

    Attributes:
        offset: where in the file it begins.
        size: bytes it takes there, header and delimiter included; of a frame above the limit, 0.
        frame: the frame, or None if it is bad.
        error: what is wrong with a bad frame, or None.
    """

    offset: int
    size: int
    frame: Any
    error: BadFrame | None = None


@dataclass(frozen=True)
class Split:
    """A part of a file: small, frozen, and to be pickled.

    Attributes:
        source: the file.
        framer: a read condition, or the name or spec string of one.
        start, stop: the frames are those that begin at `start` or after it, and before `stop`.
        first: where the first of them begins, or None if that is not known; `stop` or more if there is none.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
    """

    source: Source
    framer: ReadCondition[Any] | str
    start: int
    stop: int
    first: int | None = None
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE

    @cached_property
    def condition(self) -> ReadCondition[Any]:
        """The read condition."""
        return condition_of(self.framer)

    @property
    def is_exact(self) -> bool:
        """Whether its first frame is known, or can be found without a doubt."""
        return self.first is not None or self.start == 0 or self.condition.synchronises == "exact"

    def read(self) -> Reader:
        """Return what reads it, once.

        Raises:
            ArchiveError: where its first frame begins would be a guess.
        """
        if not self.is_exact:
            reason = (
                f"where a frame of {self.condition} begins cannot be told from the middle of a file: "
                "pass the plan to stitch(), or make an index of the file"
            )
            raise ArchiveError(reason, url=self.source.url, offset=self.start)
        return Reader(self)

    def frames(self, *, on_error: OnError = "raise") -> Iterator[Any]:
        """Yield the frames; see `Reader.pieces` for the errors."""
        return chain.from_iterable(self.batches(on_error=on_error))

    def batches(self, *, on_error: OnError = "raise") -> Iterator[list[Any]]:
        """Yield the frames in lists, as they were cut."""
        return self.read().batches(on_error=on_error)

    def records(self, *, on_error: OnError = "raise") -> Iterator[Record]:
        """Yield each frame with its place; with ``on_error="column"``, bad ones as well."""
        return self.read().records(on_error=on_error)

    def to_arrow(self, schema: Any = None, *, on_error: OnError = "raise") -> Any:
        """Return the frames as a `pyarrow.Table`, whose columns are those of `Columns.of`."""
        from framestream.archives.rows import Columns  # noqa: PLC0415 - it needs pyarrow

        return Columns.of([self], schema, on_error=on_error).table(self)


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

    Args:
        urls: paths, globs, or URLs that fsspec opens; of all files, in this order.
        framer: what cuts them: a read condition, or the name or spec string of one.
        parts: how many splits there should be, of all files together; each file has at least one.
        size: how large they should be instead, in bytes; 64 MiB unless told.
        storage_options: what fsspec needs to open the files.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.

    Raises:
        ArchiveError: a file is not there.
        SpecError: the spec string describes no framer.
    """
    if parts is not None and size is not None:
        raise ValueError("give parts or size, not both")
    for option, value in (("parts", parts), ("size", size)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}; it must be at least 1")
    condition_of(framer)
    sources = open_sources(urls, storage_options)
    if parts is not None:
        size = -(-sum(source.size for source in sources) // parts)
    return [split for source in sources for split in divide(source, framer, size or SIZE, max_frame_size)]


def divide(
    source: Source,
    framer: ReadCondition[Any] | str,
    size: int,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
) -> Iterator[Split]:
    """Yield the splits of one file, none larger than `size` bytes; of an empty file, one."""
    count = max(-(-source.size // max(size, 1)), 1)
    borders = [source.size * i // count for i in range(count + 1)]
    for start, stop in pairwise(borders):
        yield Split(source, framer, start, stop, max_frame_size=max_frame_size)


@dataclass
class Marks:
    """Some of the places where a frame ends, in order, and how many frames there are up to each of them.

    Counts are those since the first frame of the reader.
    """

    offsets: array[int] = field(default_factory=partial(array, "Q"))
    counts: array[int] = field(default_factory=partial(array, "Q"))

    def add(self, offset: int, count: int) -> None:
        """Add a place."""
        self.offsets.append(offset)
        self.counts.append(count)


def _ending(chunks: Iterator[bytes]) -> Iterator[bytes | End]:
    """Yield the chunks, and then the end of the file."""
    yield from chunks
    yield END


class Reader:
    """The frames of one split, to be read once, by one of its methods.

    Bad frames are those that cannot be decoded, and those above the limit whose end is known. With
    ``on_error="raise"`` the first of them is raised. With ``"skip"`` they are left out, and counted; with
    ``"column"`` they are among the records, with their error. Whatever else is wrong ends the file: a
    `FramingError` or `IncompleteFrame` is always raised, after all frames before it.

    Attributes:
        split: what is read.
        first: where the first frame of it begins, or that of another split if none does. None before it is
            found.
        end: where the first frame after it begins, or the size of the file. None before all is read.
        count: frames that were read, bad ones included.
        bad: how many of them were bad.
        marks: where frames end, one place for about each 64 KiB.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.first: int | None = None
        self.end: int | None = None
        self.count = self.bad = 0
        self.marks = Marks()
        self._next_mark = 0
        self._decoder = FrameDecoder()

    def batches(self, *, on_error: OnError = "raise") -> Iterator[list[Any]]:
        """Yield the frames in lists, as they were cut."""
        for batch, error in self._pieces(in_batches=True):
            if error is None:
                yield batch
            elif on_error == "raise":
                raise error

    def records(self, *, on_error: OnError = "raise") -> Iterator[Record]:
        """Yield each frame with its place."""
        for frames, error in self._pieces(in_batches=False):
            if error is None:
                start, end = self._decoder.frame_span
                yield Record(start, end - start, frames[0])
            elif on_error == "raise":
                raise error
            elif on_error == "column":
                start, end = self._place_of(error)
                yield Record(start, end - start, None, error)

    @property
    def position(self) -> int:
        """Where the last frame that was read ended."""
        return self._decoder.offset

    def drain(self) -> None:
        """Read all of it, for `end`, `count` and `marks`."""
        for _ in self._pieces(in_batches=True):
            pass

    def _pieces(self, *, in_batches: bool) -> Iterator[tuple[list[Any], BadFrame | None]]:
        """Yield one or more frames with None, or for a bad one, none with what is wrong."""
        split, source = self.split, self.split.source
        first = split.first
        if first is None:
            first = find_start(source, split.condition, split.start, split.max_frame_size)
        if first >= split.stop > 0:
            self.first = self.end = first
            return
        self._decoder = FrameDecoder(offset=first, max_frame_size=split.max_frame_size)
        is_last = split.stop == source.size
        try:
            for chunk in (
                _ending(source.chunks(first, split.stop)) if is_last else source.chunks(first, split.stop)
            ):
                feed(self._decoder, chunk)
                # The first frame tells where it begins; a batch would not.
                while (piece := self._next(in_batches and self.count > 0)) is not None:
                    yield piece
            # What is left begins before the border, unless it is padding. What follows is cut one by one, as
            # the next frame belongs to the next split.
            for chunk in () if is_last else _ending(source.chunks(split.stop)):
                feed(self._decoder, chunk)
                while (piece := self._next(False, split.stop)) is not None:
                    yield piece
                if self.end is not None:
                    break
        except (FramingError, PayloadError) as error:
            error.source = source.url
            raise
        self.end = source.size if self.end is None else self.end
        self.first = self.end if self.first is None else self.first

    def _next(self, as_batch: bool, stop: int | None = None) -> tuple[list[Any], BadFrame | None] | None:
        """Return the next piece; None if more is needed, or if the next frame begins at `stop` or later."""
        decoder, condition = self._decoder, self.split.condition
        frames: list[Any] = []
        bad: BadFrame | None = None
        try:
            answer: Any = decoder.next_batch(condition) if as_batch else decoder.next_frame(condition)
            if answer is NEED_DATA or answer is END:
                return None
            frames = answer if as_batch else [answer]
        except PayloadError as error:
            bad = error
        except FramingError as error:
            if stop is not None and decoder.offset >= stop:
                self.end = decoder.offset
                return None
            if not (isinstance(error, FrameTooLarge) and error.recoverable):
                raise
            bad = error
        if not as_batch:
            start, _ = self._place_of(bad)
            if stop is not None and start >= stop:
                self.end = start
                return None
            self.first = start if self.first is None else self.first
        self.count += len(frames) or 1
        if bad is not None:
            self.bad += 1
            bad.source = self.split.source.url
        if decoder.offset >= self._next_mark:
            self.marks.add(decoder.offset, self.count)
            self._next_mark = decoder.offset + _BETWEEN_MARKS
        return frames, bad

    def _place_of(self, bad: BadFrame | None) -> tuple[int, int]:
        if isinstance(bad, FrameTooLarge):
            return bad.offset or 0, bad.offset or 0  # its end has not been seen
        return self._decoder.frame_span
