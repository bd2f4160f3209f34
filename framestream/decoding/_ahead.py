"""Look-ahead: frames cut in a batch, delivered one at a time, and put back when they are not wanted."""

from __future__ import annotations

from typing import Any, Final

from framestream.decoding._buffer import ReadBuffer
from framestream.errors import FramerContractError, FramingError, PayloadError, because
from framestream.framer import PADDING, ReadCondition, Window

# Look-ahead starts small and doubles while the same condition goes on being asked, so that what is
# cut ahead and put back stays in proportion to what was delivered.
FIRST_QUOTA: Final = 512
_LAST_QUOTA: Final = 1 << 16
RUN_BEFORE_LOOKING_AHEAD: Final = 3
# Frames that fill more of the quota than this gain nothing from a batch.
_FEWEST_FRAMES: Final = 4


class LookAhead:
    """What was cut ahead of the caller. The buffer is moved only when the last of it is delivered.

    Attributes:
        frames: frames cut and not delivered, the next one last.
        condition: the condition they were cut by.
    """

    __slots__ = ("_buffer", "_count", "_eof", "_quota", "_size", "condition", "frames")

    def __init__(self, buffer: ReadBuffer) -> None:
        self._buffer = buffer
        self.frames: list[Any] = []
        self.condition: ReadCondition[Any] | None = None
        self._size = 0
        self._count = 0
        self._eof = False
        self._quota = FIRST_QUOTA

    def cut(self, condition: ReadCondition[Any], limit: int, size: int, eof: bool, run: int) -> int:
        """Cut frames ahead if that pays; return how many.

        Args:
            condition: what the caller keeps asking for.
            limit: the limit in force.
            size: bytes that the last frame took.
            eof: nothing will follow what is buffered.
            run: how often in a row it was asked for; at least RUN_BEFORE_LOOKING_AHEAD.
        """
        if run == RUN_BEFORE_LOOKING_AHEAD:
            self._quota = min(max(FIRST_QUOTA, 2 * _FEWEST_FRAMES * size), _LAST_QUOTA)
        quota = min(self._quota, limit)
        if size * _FEWEST_FRAMES > quota or quota < FIRST_QUOTA:
            return 0
        buffer = self._buffer
        have = len(buffer.head) - buffer.pos
        if have < size and buffer.chunks:
            buffer.grow(size)
            have = len(buffer.head) - buffer.pos
        if have < size:
            return 0
        self._eof = eof and not buffer.chunks and have <= quota
        frames, self._size = split(buffer, condition, quota, eof)
        if not frames:
            return 0
        self._quota = min(2 * self._quota, _LAST_QUOTA)
        self._count = len(frames)
        self.condition = condition
        frames.reverse()
        self.frames = frames
        return self._count

    def finish(self) -> int:
        """Consume everything that was cut; return how many frames it was."""
        self.frames = []
        self._buffer.advance(self._size)
        return self._count

    def put_back(self) -> int:
        """Consume exactly what was delivered; return how many frames that was.

        Nobody noted where each frame ended, so they are found again: once per frame, and only when the
        caller leaves off in the middle of a batch.
        """
        condition = self.condition
        assert condition is not None
        delivered = self._count - len(self.frames)
        self.frames = []
        buffer = self._buffer
        window = Window(buffer.head, buffer.pos, eof=self._eof)
        left = delivered
        while left:
            found = condition.find(window)
            if type(found) is not tuple or not window.start < found[2] <= len(buffer.head):
                raise FramerContractError(
                    "split and find disagree", framer=str(condition), offset=buffer.base + window.start
                )
            window.start = window.resume = found[2]
            left -= len(found) == 3 or found[3] is not PADDING
        buffer.advance(window.start - buffer.pos)
        return delivered


def split(buffer: ReadBuffer, condition: ReadCondition[Any], most: int, eof: bool) -> tuple[list[Any], int]:
    """Cut whole frames from the first `most` bytes of the head; return them and the bytes they take.

    A frame that raises ends the batch silently: `find` meets it next, and knows its place.
    """
    head, start = buffer.head, buffer.pos
    if type(head) is bytearray or condition.can_be_empty:
        return [], 0
    last = eof and not buffer.chunks
    if len(head) - start > most:
        # The window is never larger than the limit, so that no author of a `split` needs to check it.
        head, start, last = head[start : start + most], 0, False
    try:
        frames, end = condition.split(Window(head, start, eof=last))
    except (FramingError, PayloadError, ValueError):
        return [], 0
    except Exception as error:  # noqa: BLE001 - an author's mistake is reported as one
        reason = f"split raised {type(error).__name__}: {error}"
        raise because(FramerContractError(reason, framer=str(condition), offset=buffer.offset), error)
    if not start <= end <= len(head) or bool(frames) != (end > start):
        reason = f"split returned {len(frames)} frames that end at {end}, of data from {start} to {len(head)}"
        raise FramerContractError(reason, framer=str(condition), offset=buffer.offset)
    return frames, end - start
