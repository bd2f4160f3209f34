"""Reads of plain bytes by name, as the ancestor has them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from framestream.stream._frame_reads import FrameReads
from framestream.stream._raw_reads import REST, peek, read_into, read_rest

if TYPE_CHECKING:
    from framestream.framer import ReadCondition


class ByteReads(FrameReads):
    """Read bytes by count, by delimiter, by regular expression, or to the end.

    Those that take `options` take what `read` takes besides the condition, and return what it returns:
    something to await, or None where there is a `callback`.
    """

    __slots__ = ()

    def read_bytes(self, size: int, *, partial: bool = False, **options: Any) -> Any:
        """Return exactly `size` bytes; with `partial`, at least one and at most `size`."""
        return self.read(_exactly(size, partial), **options)

    def read_until(
        self, delimiter: bytes | tuple[bytes, ...], *, max_bytes: int | None = None, **options: Any
    ) -> Any:
        """Return everything up to a delimiter, and the delimiter.

        If that is more than `max_bytes`, it is a `FrameTooLarge` and the stream is closed.
        """
        return self.read(_until(delimiter), **_limited(max_bytes, options))

    def read_until_regex(self, pattern: bytes, *, max_bytes: int | None = None, **options: Any) -> Any:
        """Return everything up to the end of the first match; `max_bytes` is as for `read_until`."""
        return self.read(_until_regex(pattern), **_limited(max_bytes, options))

    def read_until_close(self, **options: Any) -> Any:
        """Return everything up to the end of the stream, and close it (unless half open).

        The limit is `max_buffer_size` unless there is a `max_size`. A connection reset by the peer is an
        end; cut off in any other way it is a `StreamClosed`.
        """
        return read_rest(self._core, self.read, options)

    def begin_read_until_close(self, **options: Any) -> Any:
        """Return a future of everything up to the end, as `begin_read` does; the stream is not closed then.

        The limit is `max_buffer_size` unless there is a `max_size`.
        """
        return self.begin_read(REST, **{"max_size": self._core.max_buffer_size, **options})

    async def read_into(self, buffer: bytearray | memoryview, *, partial: bool = False) -> int:
        """Fill a buffer of the caller's; with `partial`, with at least one byte. Return how many.

        Cancelling consumes nothing.
        """
        return await read_into(self._core, buffer, partial=partial)

    async def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer if the stream ends before. Nothing is consumed."""
        return await peek(self._core, size)


# One object for each kind of read: the decoder goes on where it was when it sees the same one again.


@lru_cache(maxsize=256)
def _exactly(size: int, partial: bool) -> ReadCondition[bytes]:
    from framestream.framers.amounts import Available, Exactly  # noqa: PLC0415

    return Available(size) if partial and size else Exactly(size)


@lru_cache(maxsize=256)
def _until(delimiter: bytes | tuple[bytes, ...]) -> ReadCondition[bytes]:
    from framestream.framers.delimiter import Delimiter  # noqa: PLC0415

    return Delimiter(delimiter, keep=True)


@lru_cache(maxsize=256)
def _until_regex(pattern: bytes) -> ReadCondition[bytes]:
    from framestream.framers.regex import Regex  # noqa: PLC0415

    return Regex(pattern)


def _limited(max_bytes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if max_bytes is None:
        return options
    return {"max_size": max_bytes, "on_oversize": "close", **options}
