"""Transcript: all that a `FrameDecoder` says about a stream, in a form that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from framestream.decoder import END, FRAME_END, NEED_DATA, FrameDecoder
from framestream.errors import (
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
)
from framestream.framer import ReadCondition
from framestream.testing._failure import ConformanceError

By: TypeAlias = Literal["frame", "batch", "part", "mixed"]
OnOversize: TypeAlias = Literal["raise", "discard", "truncate", "close"]

WAYS: tuple[By, ...] = ("frame", "batch", "part", "mixed")
POLICIES: tuple[OnOversize, ...] = ("raise", "discard", "truncate", "close")
UNLIMITED = 1 << 80  # more than a length field of eight bytes can declare


class Event(NamedTuple):
    """One thing a decoder said.

    Attributes:
        kind: ``"frame"``, ``"payload"`` (of a frame streamed in parts), ``"end"`` or the class name of
            an error.
        value: the frame or the payload; of an error, what it says about sizes.
        offset: of an error, where in the stream; of a frame, where the next one begins, if asked.
    """

    kind: str
    value: Any = None
    offset: int | None = None


class Transcript(NamedTuple):
    """What a decoder made of a stream.

    Attributes:
        events: frames, errors and the end, in order.
        discards: offset, limit and size on the wire of each frame that was skipped for its size.
        leftover: bytes that were not delivered; None if a frame broke off while it was passed on in
            parts, as some of its bytes are then delivered and some are not.
    """

    events: list[Event]
    discards: list[tuple[int | None, int, int]]
    leftover: bytes | None


def transcript(
    framer: ReadCondition[Any],
    chunks: Iterable[bytes],
    *,
    by: By = "frame",
    max_frame_size: int = 1 << 20,
    max_size: int | None = None,
    on_oversize: OnOversize = "raise",
    seed: int = 0,
) -> Transcript:
    """Feed chunks and then the end of the stream to a `FrameDecoder`; return all that it says.

    The same bytes give the same transcript however they are cut, for every framer that keeps the
    contract. That is what this function is for: compare two of them.

    Args:
        framer: the condition to read with.
        chunks: the stream.
        by: which method takes the frames: `next_frame`, `next_batch`, `next_part` (events are then
            payloads, not frames), or one of them drawn for every call.
        max_frame_size: the decoder's limit, in bytes.
        max_size: the limit for each call, in bytes, if there is to be one.
        on_oversize: what happens to a frame above the limit.
        seed: for the draws of ``by="mixed"``.

    Raises:
        ConformanceError: the framer breaks the contract and the decoder noticed.
    """
    taker = _Taker(framer, max_size)
    decoder = taker.decoder = FrameDecoder(
        max_frame_size=max_frame_size, on_oversize=on_oversize, on_discard=taker.discarded
    )
    take = taker.way(by, seed)
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            taker.take_all(take)
        decoder.receive_eof()
        taker.take_all(take)
    except FramerContractError as error:
        raise ConformanceError(f"the decoder refuses it: {error}") from error
    return Transcript(taker.events, taker.discards, None if taker.streaming else decoder.leftover)


class _Taker:
    """Takes everything a decoder has to give and writes it down."""

    decoder: FrameDecoder

    def __init__(self, framer: ReadCondition[Any], max_size: int | None) -> None:
        self.framer = framer
        self.max_size = max_size
        self.events: list[Event] = []
        self.discards: list[tuple[int | None, int, int]] = []
        self.parts: list[bytes] = []
        self.streaming = False
        self.place = 0
        self.over = False

    def take_all(self, take: Callable[[], bool]) -> None:
        """Take frames until more data is needed or nothing can follow."""
        while not self.over:
            try:
                if not take():
                    return
            except (FramingError, PayloadError) as error:  # each is an event
                self.events.append(_error_event(error))
                self.over = not _recoverable(error)

    def way(self, by: By, seed: int) -> Callable[[], bool]:
        """Return the method that takes the next frame, batch or part, and tells whether to go on."""
        if by == "mixed":
            return self._mixed(Random(seed))  # noqa: S311  # reproducible, not secret
        return {"frame": self._frame, "batch": self._batch, "part": self._part}[by]

    def discarded(self, error: FrameTooLarge) -> None:
        """Write down a frame that was skipped for its size."""
        self.discards.append((error.offset, error.limit, error.discarded))

    def _frame(self) -> bool:
        frame = self.decoder.next_frame(self.framer, max_size=self.max_size)
        if frame is NEED_DATA:
            return False
        if frame is END:
            return self._end()
        self.events.append(Event("frame", frame))
        return self._goes_on()

    def _batch(self) -> bool:
        frames = self.decoder.next_batch(self.framer, max_size=self.max_size)
        if frames is NEED_DATA:
            return False
        if frames is END:
            return self._end()
        self.events += [Event("frame", frame) for frame in frames]
        return self._goes_on()

    def _part(self) -> bool:
        self.streaming = True
        part = self.decoder.next_part(self.framer)
        if part is NEED_DATA:
            return False
        if part is END:
            return self._end()
        if part is FRAME_END:
            self.events.append(Event("payload", b"".join(self.parts), self.decoder.offset))
            self.parts.clear()
            self.streaming = False
            return self._goes_on()
        self.parts.append(part)
        return True

    def _mixed(self, source: Random) -> Callable[[], bool]:
        def placed() -> bool:
            known = len(self.events)
            more = self._frame()
            if len(self.events) > known and self.events[-1].kind == "frame":
                self.events[-1] = self.events[-1]._replace(offset=self.decoder.offset)
            return more

        ways = (self._frame, placed, self._batch, self._part)

        def take() -> bool:
            return self._part() if self.streaming else ways[int(source.random() * 4)]()

        return take

    def _end(self) -> bool:
        self.streaming = False
        self.events.append(Event("end"))
        self.over = True
        return False

    def _goes_on(self) -> bool:
        """Note the end after a frame of no bytes: one is enough, there would be no end of them."""
        if self.framer.can_be_empty:
            place, self.place = self.place, self.decoder.offset
            if place == self.place:
                return self._end()
        return True


def _error_event(error: FramingError | PayloadError) -> Event:
    value: Any = None
    if isinstance(error, PayloadError):
        value = error.payload
    elif isinstance(error, FrameTooLarge):
        value = (error.limit, error.size, error.recoverable)
    elif isinstance(error, IncompleteFrame):
        value = (error.received, error.expected)
    return Event(type(error).__name__, value, error.offset)


def _recoverable(error: FramingError | PayloadError) -> bool:
    return isinstance(error, PayloadError) or (isinstance(error, FrameTooLarge) and error.recoverable)
