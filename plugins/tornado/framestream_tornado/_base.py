"""BaseIOStream: Tornado's methods on one of our streams."""

from __future__ import annotations

import numbers
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.log import gen_log

from framestream import (
    BufferFull,
    Channel,
    FrameTooLarge,
    IOStream,
    ReadCondition,
    StreamBusy,
    StreamClosed,
    TLSSocketChannel,
)
from framestream.framers import Mapped
from framestream_tornado._channel import StreamChannel
from framestream_tornado._conditions import some_bytes, until, until_match
from framestream_tornado._errors import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from framestream_tornado._rest import Rest

if TYPE_CHECKING:
    import asyncio
    import socket

# Less at a time would cost a call for each piece of what is there anyway.
_LEAST_CHUNK = 1 << 12
# Beyond `max_buffer_size`, so that it is a read of Tornado's that meets its limit, and not the stream.
_SPARE = 1 << 16


class BaseIOStream(IOStream):
    """A stream with the methods, futures, errors and log lines of Tornado's, and the reads of ours.

    A subclass has `fileno`, and either a channel of ours, `inner`, or its own `close_fd`, `write_to_fd` and
    `read_from_fd`.

    Args:
        max_buffer_size: the most to buffer for one read; 100 MiB if left out.
        read_chunk_size: the most to receive at a time; 64 KiB if left out.
        max_write_buffer_size: the most that may wait to be sent; no limit if left out.
        options: what a stream of ours takes besides, such as ``framer`` and ``max_frame_size``.
    """

    inner: Channel | None = None

    def __init__(
        self,
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
        max_write_buffer_size: int | None = None,
        **options: Any,
    ) -> None:
        self.io_loop = IOLoop.current()
        self.max_buffer_size = max_buffer_size or 100 << 20
        self.read_chunk_size = min(read_chunk_size or 1 << 16, self.max_buffer_size // 2)
        self.max_write_buffer_size = max_write_buffer_size
        self._on_close: Callable[[], object] | None = None
        self._minds_end = self._beginning = False
        self._wanted: object = None  # what the present read looks for
        self.fds = StreamChannel(self)
        super().__init__(
            self.fds,
            loop=self.io_loop.asyncio_loop,  # type: ignore[attr-defined]  # every IOLoop has had one since 6.0
            max_buffer_size=self.max_buffer_size + _SPARE,
            read_chunk_size=max(self.read_chunk_size, min(_LEAST_CHUNK, self.max_buffer_size // 2)),
            max_write_buffer_size=max_write_buffer_size,
            **options,
        )

    # How bytes move

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in ("read_from_fd", "write_to_fd"):
            self.fds.choose()

    @property
    def straight(self) -> Channel | None:
        """The channel that bytes may take past `read_from_fd` and `write_to_fd`: they are not replaced."""
        own = type(self).read_from_fd is _READ and type(self).write_to_fd is _WRITE
        if own and self.__dict__.keys().isdisjoint(("read_from_fd", "write_to_fd")):
            return None if isinstance(self.inner, TLSSocketChannel) else self.inner
        return None

    @property
    def _channel(self) -> Channel:
        if self.inner is None:
            raise NotImplementedError
        return self.inner

    def fileno(self) -> int | socket.socket:
        """Return the descriptor, or what has one."""
        raise NotImplementedError

    def close_fd(self) -> None:
        """Close the descriptor; only the stream calls this."""
        self._channel.close()

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read into `buf`; return how many bytes, None for none at present, 0 at the end."""
        try:
            return self._channel.receive_into(buf)  # type: ignore[arg-type]  # either will do
        except BlockingIOError:
            return None

    def write_to_fd(self, data: memoryview) -> int:
        """Write; return how many bytes were taken, 0 for none at present."""
        try:
            return self._channel.send([data])
        except BlockingIOError:
            return 0

    def get_fd_error(self) -> Exception | None:
        """Return what is wrong with the descriptor, if that can be known."""
        return None

    def fail_to_open(self) -> None:
        """Tell who waits for the stream to open that it is closed."""

    # Reading

    def read_bytes(  # type: ignore[override]  # a future
        self, num_bytes: int, partial: bool = False, **callbacks: Any
    ) -> asyncio.Future[bytes]:
        """Return a future of so many bytes; with `partial`, of at least one and at most so many."""
        assert isinstance(num_bytes, numbers.Integral)
        return self._read(some_bytes(num_bytes, partial), None, None, callbacks)

    def read_until(  # type: ignore[override]  # a future
        self, delimiter: bytes, max_bytes: int | None = None, **callbacks: Any
    ) -> asyncio.Future[bytes]:
        """Return a future of everything up to a delimiter; more than `max_bytes` closes the stream."""
        return self._read(until(delimiter), delimiter, max_bytes, callbacks)

    def read_until_regex(  # type: ignore[override]  # a future
        self, regex: bytes | re.Pattern[bytes], max_bytes: int | None = None, **callbacks: Any
    ) -> asyncio.Future[bytes]:
        """Return a future of everything up to the end of a match; more than `max_bytes` closes the stream."""
        return self._read(until_match(regex), regex, max_bytes, callbacks)

    def read_until_close(self, **callbacks: Any) -> asyncio.Future[bytes]:
        """Return a future of everything up to the end, which closes the stream; a reset is an end."""
        if any(callbacks.values()):
            super().read_until_close(**callbacks)
            return self.loop.create_future()
        rest = Rest(self)
        begin = partial(self.begin_read_until_close, settle=rest, max_size=self.max_buffer_size)
        self._begin(begin, rest.future)
        return rest.future

    def read_into(  # type: ignore[override]  # a future
        self, buf: bytearray | memoryview, partial: bool = False
    ) -> asyncio.Future[int]:
        """Return a future of how many bytes were put into `buf`; with `partial`, that may be just one."""

        def put(data: bytes) -> int:
            buf[: len(data)] = data
            return len(data)

        future = self._read(Mapped(some_bytes(len(buf), partial), put), None, None, {})
        if not future.done():
            put(self.leftover)
        return future

    def _read(
        self, condition: ReadCondition[Any], wanted: object, max_bytes: int | None, callbacks: dict[str, Any]
    ) -> asyncio.Future[Any]:
        limit = self.max_buffer_size
        if max_bytes is not None and max_bytes < limit:
            limit = max_bytes
        future: asyncio.Future[Any] = self.loop.create_future()
        if callbacks and any(callbacks.values()):
            self.read(condition, max_size=limit, on_oversize="close", **callbacks)
        else:
            self._wanted = wanted
            self._begin(partial(self.begin_read, condition, settle=future, max_size=limit), future)
        return future

    def _begin(self, begin: Callable[[], object], future: asyncio.Future[Any]) -> None:
        was_closed = self.closed()
        self._beginning = True
        try:
            begin()
        except StreamBusy:
            if was_closed:
                raise StreamClosedError(real_error=self.error) from None
            raise AssertionError("Already reading") from None
        finally:
            self._beginning = False
        if future.done():
            error: Any = future.exception()
            if error is not None and was_closed:
                raise error
            if error is not None and isinstance(error.real_error, StreamBufferFullError):
                raise error.real_error
        elif not self._minds_end:
            self.mind_end()

    # Writing

    def write(  # type: ignore[override]  # a future
        self, data: bytes | bytearray | memoryview, callback: Callable[[], object] | None = None
    ) -> asyncio.Future[None]:
        """Write; return a future that is done when the bytes have left."""
        try:
            future = self.begin_write(data)
            if callback is not None:
                super().write(b"", callback)
        except StreamClosed as error:
            raise self.translate_error(error) from None
        except BufferFull:
            raise StreamBufferFullError("Reached maximum write buffer size") from None
        return future

    # The end

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Call a function, or run a coroutine, when the stream is closed; None: no longer."""
        self._on_close = callback
        self.mind_end()

    def mind_end(self) -> None:
        """Notice from now on that the peer closes, even while nobody reads."""
        self._minds_end = True
        super().set_close_callback(self._tell_closed)

    def _tell_closed(self) -> None:
        callback, self._on_close = self._on_close, None
        if callback is not None:
            self.io_loop.add_callback(callback)

    def close(self, exc_info: Any = False) -> None:
        """Close, because of an exception, of what `sys.exc_info` returns, or of the current one (True)."""
        if exc_info is True:
            exc_info = sys.exc_info()
        super().close(exc_info[1] if isinstance(exc_info, tuple) else exc_info or None)

    def translate_error(self, error: BaseException) -> BaseException:
        """Close the stream, if it is not, and tell so in Tornado's words."""
        if isinstance(error, FrameTooLarge):
            self._close_for(error.limit)
        return StreamClosedError(real_error=self.error)

    def _close_for(self, limit: int) -> None:
        if limit < self.max_buffer_size:
            unsatisfiable = UnsatisfiableReadError(
                f"delimiter {self._wanted!r} not found within {limit} bytes"
            )
            self.log_problem("oversize", unsatisfiable)
            self.close(unsatisfiable)
            return
        full = StreamBufferFullError("Reached maximum read buffer size")
        self.log_problem("buffer", full)
        self.close(full)
        if not self._beginning:  # or it is raised
            self.log_problem("read", full)

    def log_problem(self, problem: str, error: BaseException) -> None:
        """Log on Tornado's general logger, in its words."""
        if problem == "read":
            gen_log.warning("error on read: %s", error)
        elif problem == "write":
            gen_log.warning("Write error on %s: %s", self.fileno(), error)
        elif problem == "buffer":
            gen_log.error("Reached maximum read buffer size")
        elif problem == "oversize":
            gen_log.info("Unsatisfiable read, closing connection: %s", error)
        else:
            gen_log.error("Uncaught exception, closing connection.", exc_info=error)


_READ, _WRITE = BaseIOStream.read_from_fd, BaseIOStream.write_to_fd
