"""Reads of bytes by name, as the ancestor had them: each one line over `read`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from framestream._conditions import ReadCondition

Callback = Callable[[bytes], object]


@lru_cache(maxsize=256)
def _exactly(size: int, partial: bool) -> ReadCondition[bytes]:
    from framestream.framers._available import Available
    from framestream.framers._exactly import Exactly

    return Available(size) if partial and size else Exactly(size)


@lru_cache(maxsize=256)
def _until(delimiter: bytes | tuple[bytes, ...]) -> ReadCondition[bytes]:
    from framestream.framers._delimiter import Delimiter

    return Delimiter(delimiter, keep=True)


@lru_cache(maxsize=256)
def _until_regex(pattern: bytes) -> ReadCondition[bytes]:
    from framestream.framers._regex import Regex

    return Regex(pattern)


@lru_cache(maxsize=1)
def _until_close() -> ReadCondition[bytes]:
    from framestream.framers._until_close import UntilClose

    return UntilClose()


class ByteReads(ABC):
    """Read plain bytes by count, delimiter, regular expression, or to the end.

    All take what `IOStream.read` takes besides: time limits, `callback`, and `streaming_callback`.
    """

    __slots__ = ()

    @abstractmethod
    def read(self, condition: Any = None, **options: Any) -> Any:
        """Return the next frame."""

    def read_bytes(self, size: int, *, partial: bool = False, **options: Any) -> Any:
        """Return exactly `size` bytes; with `partial`, at least one and at most `size` as soon as any are there."""
        return self.read(_exactly(size, partial), **options)

    def read_until(
        self, delimiter: bytes | tuple[bytes, ...], *, max_bytes: int | None = None, **options: Any
    ) -> Any:
        """Return everything up to a delimiter, and the delimiter.

        More than `max_bytes` of it is a `FrameTooLarge`, and closes the stream.
        """
        return self.read(_until(delimiter), **_limited(max_bytes, options))

    def read_until_regex(self, pattern: bytes, *, max_bytes: int | None = None, **options: Any) -> Any:
        """Return everything up to the end of the first match; `max_bytes` as for `read_until`."""
        return self.read(_until_regex(pattern), **_limited(max_bytes, options))


def _limited(max_bytes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if max_bytes is None:
        return options
    return {"max_size": max_bytes, "on_oversize": "close", **options}
