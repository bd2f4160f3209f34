"""Splits: the parts of framed files, each read by one process. A frame belongs to the split it begins in.

`plan` divides files without reading them. `Reader` reads a split: from its first frame to the last that begins
before its end, however far that one extends. The middle of a file often does not show where the first frame of
a split begins: `framestream.archives.stitch` finds out.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from math import ceil
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias, get_args

from framestream.archives.files import BETWEEN_MARKS, Index, Marks, Url, open_sources
from framestream.archives.guess import find_start
from framestream.archives.source import Source
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE, END, NEED_DATA, End, FrameDecoder, OnOversize
from framestream.errors import (
    ArchiveError,
    FrameTooLarge,
    FramingError,
    PayloadError,
    check_choice,
    check_count,
    printable,
)
from framestream.framer import ReadCondition
from framestream.iterate import condition_of, feed

OnError: TypeAlias = Literal["raise", "skip", "column"]
BadFrame: TypeAlias = PayloadError | FrameTooLarge

ON_ERROR: Final[tuple[str, ...]] = get_args(OnError)
_SIZE: Final = 1 << 26

logger = logging.getLogger("framestream.archives")


class Record(NamedTuple):
    """A frame and its place.

    Attributes:
        offset: where in the file it begins.
        size: bytes it takes there, header and delimiter included; 0 for a frame above the limit.
        frame: the frame, or None if it is bad.
        error: the error of a bad frame, or None.
    """

    offset: int
    size: int
    frame: Any
    error: BadFrame | None = None


@dataclass(frozen=True)
class Split:
    """A part of a file: small, frozen, and picklable.

    Attributes:
        source: the file.
        framer: a read condition, or the name or spec string of one.
        start, stop: its frames begin at `start` or after it, and before `stop`.
        first: where the first of them begins, or None if unknown; `stop` or more if there is none.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        max_size: a limit that replaces that of any condition.
    """

    source: Source
    framer: ReadCondition[Any] | str
    start: int
    stop: int
    first: int | None = None
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE
    max_size: int | None = None

    def __post_init__(self) -> None:
        check_count("max_frame_size", self.max_frame_size)

    @cached_property
    def condition(self) -> ReadCondition[Any]:
        """The read condition."""
        return condition_of(self.framer)

    @property
    def is_exact(self) -> bool:
        """Whether its first frame is known, or can be found with certainty."""
        return self.first is not None or self.start == 0 or self.condition.synchronises == "exact"

    @property
    def limit(self) -> int:
        """Bytes that a frame takes at most, with header and delimiter, unless it is above its limit."""
        condition = self.condition
        payload = self.max_frame_size if condition.max_size is None else condition.max_size
        return (payload if self.max_size is None else self.max_size) + condition.overhead

    def read(self) -> Reader:
        """Return a reader that reads it once.

        Raises:
            ArchiveError: the start of its first frame would be a guess.
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
    urls: Url | Iterable[Url],
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
        ValueError: an option is senseless.
        SpecError: the spec string describes no framer.
    """
    if parts is not None and size is not None:
        raise ValueError("give parts or size, not both")
    for option, value in (("parts", parts), ("size", size)):
        if value is not None:
            check_count(option, value, least=1)
    condition = condition_of(framer)
    sources = open_sources(urls, storage_options)
    if parts is not None:
        size = -(-sum(source.size for source in sources) // parts)
    splits: list[Split] = []
    for source in sources:
        index = None if condition.synchronises == "exact" else Index.beside(source, condition)
        splits += divide(source, framer, size or _even(source.size), max_frame_size=max_frame_size, index=index)
    return splits


def _even(size: int) -> int:
    """Return a size of splits with which 2 or 4 processes end at the same time."""
    count = ceil(size / _SIZE)
    if count > 4:
        count = 4 * ceil(count / 4)
    return ceil(size / max(count, 1))


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
    borders = [source.size * i // count for i in range(count + 1)]
    if source.places:
        borders = _snapped(borders, [*(place for _, place in source.places), source.size])
        if count > 1 == len(source.places):
            name = printable(source.url)
            logger.warning("%s is one compressed stream, which cannot be divided: it is one split", name)
    if index is not None:
        borders = _snapped(borders, [0, *index.marks.offsets, source.size])
    for start, stop in pairwise(borders if len(borders) > 1 else [0, 0]):
        yield Split(source, framer, start, stop, None if index is None else start, max_frame_size)


def _snapped(borders: list[int], places: Sequence[int]) -> list[int]:
    """Return the first of the places at each border or after it."""
    return sorted({places[bisect_left(places, border)] for border in borders})


class Reader:
    """The frames of one split, to be read once, by one of its methods.

    Bad frames are those that cannot be decoded, and those above the limit whose end is known. With
    ``on_error="raise"`` the first of them is raised. With ``"skip"`` they are left out, and counted; with
    ``"column"`` they are among the records, with their error. Any other error ends the file: a
    `FramingError` or `IncompleteFrame` is always raised, after all frames before it. Another word is a
    ValueError.

    Attributes:
        split: the split that is read.
        first: where its first frame begins, or that of a later split if none does. None before it is
            found, and -1 if it was a guess that led far beyond the split: it was wrong, or a frame there is
            above the limit.
        end: where the first frame after it begins, or the size of the file. None before all is read, and -1
            as above.
        count: frames read, bad ones included.
        bad: how many of them were bad.
        error: what ended the reading early, or None; a caller that stops for its own reason sets it.
        marks: where frames end, one place for about each 64 KiB.
        place: where the last frame began, and its size, if it was read by itself, or is bad.
        in_batches: whether `pieces` cuts as many frames at once as it can, without their places; it may be
            changed from piece to piece.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.first: int | None = None
        self.end: int | None = None
        self.count = self.bad = 0
        self.error: Exception | None = None
        self.marks = Marks()
        self.place = (0, 0)
        self.in_batches = True
        self._decoder = FrameDecoder()

    def batches(self, *, on_error: OnError = "raise") -> Iterator[list[Any]]:
        """Yield the frames in lists, as they were cut."""
        return (frames for frames, error in self._kept(on_error, in_batches=True) if error is None)

    def records(self, *, on_error: OnError = "raise") -> Iterator[Record]:
        """Yield each frame with its place."""
        for frames, error in self._kept(on_error, in_batches=False):
            yield Record(*self.place, frames[0] if error is None else None, error)

    def _kept(self, on_error: OnError, *, in_batches: bool) -> Iterator[tuple[list[Any], BadFrame | None]]:
        check_choice("on_error", on_error, ON_ERROR)
        for frames, error in self.pieces(in_batches=in_batches):
            if error is not None and on_error == "raise":
                self.error = error
                raise error
            if error is None or on_error == "column":
                yield frames, error

    @property
    def position(self) -> int:
        """Offset of the next frame, or of bytes that are not a frame."""
        return self._decoder.offset

    def drain(self) -> None:
        """Read all of it, for `end`, `count` and `marks`."""
        for _ in self.pieces(in_batches=True):
            pass

    def pieces(
        self, *, in_batches: bool = True, on_oversize: OnOversize = "raise"
    ) -> Iterator[tuple[list[Any], BadFrame | None]]:
        """Yield lists of frames with None; for a bad one an empty list, with its error.

        With another policy `on_oversize` than "raise", see `FrameDecoder`, frames must not be cut in batches.
        The error of a frame that was discarded or truncated comes when all of it has been skipped.
        """
        split, source = self.split, self.split.source
        self.in_batches = in_batches
        first = split.first
        if first is None:
            first = find_start(source, split.condition, split.start, split.stop, split.limit)
        if first >= split.stop > 0:
            self.first = self.end = first
            return
        # A guess may lead anywhere. If all of the file were read after each wrong one, it would be read as
        # often as there are splits.
        reach = source.size if split.is_exact else split.stop + split.limit + BETWEEN_MARKS
        self._decoder = FrameDecoder(
            offset=first, max_frame_size=split.max_frame_size, on_oversize=on_oversize, on_discard=_raise
        )
        try:
            for chunk, border in self._chunks(first):
                if self._decoder.offset + self._decoder.buffered >= reach < source.size:
                    self.first = self.end = -1
                    return
                feed(self._decoder, chunk)
                while (piece := self._next(border)) is not None:
                    yield piece
                if self.end is not None:
                    break
            else:
                self.end = source.size
        except FramingError as error:
            error.source = source.url
            self.error = error
            raise
        finally:
            self.first = self.end if self.first is None else self.first

    def _chunks(self, first: int) -> Iterator[tuple[bytes | End, int | None]]:
        """Yield the bytes to be cut, and the border of the split once they are after it."""
        source, border = self.split.source, self.split.stop
        for chunk in source.chunks(first, border):
            yield chunk, None
        if border == source.size:
            yield END, None
            return
        for chunk in source.chunks(border):
            yield chunk, border
        yield END, border

    def _next(self, border: int | None) -> tuple[list[Any], BadFrame | None] | None:
        """Return the next piece; None if more is needed, or if the next frame begins at the border or after it."""
        decoder = self._decoder
        # The first frame shows where it begins, and after the border each may belong to the next split.
        as_batch = self.in_batches and self.count > 0 and border is None
        ask: Any = decoder.next_batch if as_batch else decoder.next_frame
        # Where the next frame begins, or padding before it; one that is being skipped began before the border.
        begin = -1 if decoder.skipping else decoder.offset
        frames: list[Any] = []
        bad: BadFrame | None = None
        try:
            answer = ask(self.split.condition, max_size=self.split.max_size)
            if answer is NEED_DATA or answer is END:
                return None
            frames = answer if as_batch else [answer]
        except PayloadError as error:
            bad = error
        except FramingError as error:
            if isinstance(error, FrameTooLarge):
                begin = error.offset or 0
            # At the end of the file no split begins: what is wrong there belongs to the last frame.
            if border is not None and border <= begin < self.split.source.size:
                self.end = begin
                return None
            if not isinstance(error, FrameTooLarge) or not error.recoverable:
                raise
            bad = error
        if bad is not None or not as_batch:
            start, end = (begin, begin) if isinstance(bad, FrameTooLarge) else decoder.frame_span
            if border is not None and start >= border:
                self.end = start
                return None
            self.place = start, end - start
            self.first = start if self.first is None else self.first
        if bad is not None:
            self.bad += 1
            bad.source = self.split.source.url
            # It is an answer here. Its tracebacks would keep alive what all callers have, such as the open file.
            for one in (bad, bad.__cause__):
                if one is not None:
                    one.__traceback__ = None
        # The beginning of a frame that is truncated was counted.
        if not isinstance(bad, FrameTooLarge) or decoder.on_oversize != "truncate":
            self.count += len(frames) or 1
        if not decoder.skipping:
            self.marks.add(decoder.offset, self.count)
        return frames, bad


def _raise(error: FrameTooLarge) -> NoReturn:
    raise error
