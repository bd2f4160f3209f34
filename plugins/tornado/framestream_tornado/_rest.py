"""What `read_until_close` settles: a rest that may be empty, of a stream that ends with it."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import TYPE_CHECKING

from framestream_tornado._errors import StreamClosedError

if TYPE_CHECKING:
    from framestream_tornado._base import BaseIOStream

_RESETS = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}


class Rest:
    """The future of everything up to the end, which closes the stream; a reset is an end, too."""

    __slots__ = ("_stream", "future")

    def __init__(self, stream: BaseIOStream) -> None:
        self._stream = stream
        self.future: asyncio.Future[bytes] = stream.loop.create_future()

    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.future.done()

    def set_result(self, result: bytes) -> None:
        """Close the stream, and deliver unless it was cut off."""
        self._stream.close()
        error = self._stream.error
        if error is None or is_reset(error):
            self.future.set_result(result)
        else:
            self.future.set_exception(StreamClosedError(real_error=error))
            self.future.exception()  # nobody need look at it

    def set_exception(self, error: BaseException) -> None:
        """Take a stream of which nothing is left for one that ended: too much is the only other fault."""
        self.set_result(b"")


def is_reset(error: BaseException) -> bool:
    """Tell whether this only says that the peer is gone."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError)
    return isinstance(error, OSError) and error.errno in _RESETS
