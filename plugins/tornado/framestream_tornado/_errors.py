"""The three exceptions: Tornado's own, unless this package replaces the module they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framestream_tornado._place import place

if TYPE_CHECKING or not place.taken:
    from tornado.iostream import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
else:

    class StreamClosedError(OSError):
        """The stream is closed; `real_error` is the reason, or None."""

        def __init__(self, real_error: BaseException | None = None) -> None:
            super().__init__("Stream is closed")
            self.real_error = real_error

    class UnsatisfiableReadError(Exception):
        """A read did not find its end within its `max_bytes`."""

    class StreamBufferFullError(Exception):
        """The stream would have to buffer more than its limit."""


__all__ = ["StreamBufferFullError", "StreamClosedError", "UnsatisfiableReadError"]
