"""BaseIOStream: Tornado's methods on one of our streams."""
# mypy: disable-error-code="override"
# What is a coroutine there gives a future here.

from __future__ import annotations

import numbers
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.log import gen_log

from framestream import BufferFull, FrameTooLarge, IncompleteFrame, IOStream, StreamBusy, StreamClosed
from framestream.stream import REST
from framestream.transport import is_reset
from framestream_tornado._conditions import some_bytes, until, until_match
from framestream_tornado._errors import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from framestream_tornado._futures import FutureRead, RestRead, WriteFuture
from framestream_tornado._transport import DescriptorTransport

if TYPE_CHECKING:
    import re
    from asyncio import Future
    from collections.abc import Callable
    from typing import TypeAlias

    from framestream import ReadCondition

    BytesLike: TypeAlias = bytes | bytearray | memoryview

# Less at a time would cost a call for each piece of bytes that have arrived anyway.
_LEAST_CHUNK = 1 << 12
# Beyond `max_buffer_size`, so that a read of Tornado's meets its limit before the stream does.
_SPARE = 1 << 16


class BaseIOStream(IOStream):
    """A stream with the methods, futures, errors and log lines of Tornado's, and the reads of ours.

    A subclass has `fileno`, `close_fd`, `write_to_fd` and `read_from_fd`.

    Args:
        max_buffer_size: the most to buffer for one read; 100 MiB if left out.
        read_chunk_size: the most to receive at a time; 64 KiB if left out.
        max_write_buffer_size: the most bytes queued to be sent; no limit if left out.
        options: further options of our streams, such as ``framer`` and ``max_frame_size``.

    Attributes:
        descriptor: the stream's transport, which calls these methods.
        plain_read: the `read_from_fd` that leaves bytes that do not fit into its buffer to the system.
    """

    socket: Any = None
    plain_read: Any = None

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
        self.descriptor = DescriptorTransport(self, type(self).read_from_fd is not type(self).plain_read)
        self._on_close: Callable[[], object] | None = None
        self._minds_end = self._beginning = False
        super().__init__(
            self.descriptor,
            loop=self.io_loop.asyncio_loop,  # type: ignore[attr-defined]  # every IOLoop has had one since 6.0
            max_buffer_size=self.max_buffer_size + _SPARE,
            read_chunk_size=max(self.read_chunk_size, min(_LEAST_CHUNK, self.max_buffer_size // 2)),
            max_write_buffer_size=max_write_buffer_size,
            **options,
        )

    # How bytes move

    def fileno(self) -> Any:
        """Return the descriptor, or an object that has one."""
        raise NotImplementedError

    def close_fd(self) -> None:
        """Close the descriptor; only the stream calls this."""
        raise NotImplementedError

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read into `buf`; return the number of bytes, None if none have arrived, 0 at the end."""
        raise NotImplementedError

    def write_to_fd(self, data: memoryview) -> int:
        """Write; return the number of bytes taken, 0 if none can be at present."""
        raise NotImplementedError

    def get_fd_error(self) -> Exception | None:
        """Return the error of the descriptor, if it can be known."""
        return None

    def fail_to_open(self) -> None:
        """Tell the futures that wait for the stream to open that it is closed."""

    # Reading

    def read_bytes(self, num_bytes: int, partial: bool = False, **callbacks: Any) -> Future[bytes]:
        """Return a future of so many bytes; with `partial`, of at least one and at most so many."""
        assert isinstance(num_bytes, numbers.Integral)
        return self._read(some_bytes(num_bytes, partial), **callbacks)

    def read_until(self, delimiter: bytes, max_bytes: int | None = None, **callbacks: Any) -> Future[bytes]:
        """Return a future of all bytes up to a delimiter; more than `max_bytes` closes the stream."""
        return self._read(until(delimiter), delimiter, max_bytes, **callbacks)

    def read_until_regex(
        self, regex: bytes | re.Pattern[bytes], max_bytes: int | None = None, **callbacks: Any
    ) -> Future[bytes]:
        """Return a future of all bytes up to the end of a match; more than `max_bytes` closes the stream."""
        return self._read(until_match(regex), regex, max_bytes, **callbacks)

    def read_until_close(self, **callbacks: Any) -> Future[bytes]:
        """Return a future of all bytes up to the end, which closes the stream; a reset is an end."""
        if any(callbacks.values()):
            super().read_until_close(**_with_callback(callbacks))
            return self.loop.create_future()
        return self._begin(RestRead(self, REST, self.max_buffer_size, partial(self._in_words, None)))

    def read_into(self, buf: bytearray | memoryview, partial: bool = False) -> Future[int]:
        """Return a future of the number of bytes put into `buf`; with `partial`, that may be just one."""

        def put(data: bytes) -> int:
            buf[: len(data)] = data
            return len(data)

        future = self._read(some_bytes(len(buf), partial), convert=put)
        if not future.done():
            put(self.leftover)
        return future

    def _read(
        self,
        condition: ReadCondition[bytes],
        wanted: object = None,
        max_bytes: int | None = None,
        convert: Callable[[bytes], Any] = bytes,
        **callbacks: Any,
    ) -> Future[Any]:
        limit = self.max_buffer_size if max_bytes is None else min(max_bytes, self.max_buffer_size)
        if callbacks and any(callbacks.values()):
            self.read(condition, max_size=limit, on_oversize="close", **_with_callback(callbacks))
            return self.loop.create_future()
        return self._begin(FutureRead(self, condition, limit, partial(self._in_words, wanted), convert))

    def _begin(self, read: FutureRead) -> Future[Any]:
        was_closed = self.closed()
        self._beginning = True
        try:
            read.start()
        except StreamBusy:
            if was_closed:
                raise StreamClosedError(real_error=self.error) from None
            raise AssertionError("Already reading") from None
        finally:
            self._beginning = False
        future = read.future
        if not future.done():
            if not self._minds_end:
                self.mind_end()
            return future
        error = future.exception()
        if isinstance(error, StreamClosedError):
            if was_closed:
                raise error
            # Immediate errors are raised immediately.
            cause = error.real_error
            if cause is not None and not isinstance(cause, UnsatisfiableReadError) and not is_reset(cause):
                raise cause
        return future

    # Writing

    def write(self, data: BytesLike, callback: Callable[[], object] | None = None) -> Future[None]:
        """Write; return a future that is done when the bytes have left."""
        try:
            super().write(data, callback)
        except StreamClosed:
            raise StreamClosedError(real_error=self.error) from None
        except BufferFull:
            raise StreamBufferFullError("Reached maximum write buffer size") from None
        future = WriteFuture(loop=self.loop)
        self.sender.when_sent(future.settle)
        return future

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (True) or let TCP wait for more (False). Without TCP, do nothing."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, value)

    # The end

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Call a function, or run a coroutine, when the stream is closed; with None, stop."""
        self._on_close = callback
        self.mind_end()

    def mind_end(self) -> None:
        """Notice from now on that the peer closes, even without a read."""
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

    # In Tornado's words

    def _in_words(self, wanted: object, error: BaseException) -> BaseException:
        if isinstance(error, FrameTooLarge):
            self._close_for(wanted, error.limit)
        if self.closed() or isinstance(error, StreamClosed | IncompleteFrame):
            return StreamClosedError(real_error=self.error)
        return error

    def _close_for(self, wanted: object, limit: int) -> None:
        if limit < self.max_buffer_size:
            unsatisfiable = UnsatisfiableReadError(f"delimiter {wanted!r} not found within {limit} bytes")
            self.log_problem("oversize", unsatisfiable)
            self.close(unsatisfiable)
            return
        full = StreamBufferFullError("Reached maximum read buffer size")
        self.log_problem("buffer", full)
        self.close(full)
        self.log_problem("read", full)

    def log_problem(self, problem: Any, error: BaseException) -> None:
        """Log on Tornado's general logger, in its words."""
        if problem == "read":
            if not self._beginning:  # or it is raised
                gen_log.warning("error on read: %s", error)
        elif problem == "write":
            gen_log.warning("Write error on %s: %s", self.fileno(), error)
        elif problem == "buffer":
            gen_log.error("Reached maximum read buffer size")
        elif problem == "oversize":
            gen_log.info("Unsatisfiable read, closing connection: %s", error)
        elif problem == "callback":
            gen_log.error("Uncaught exception, closing connection.", exc_info=error)
        else:  # Tornado has no such problem
            super().log_problem(problem, error)


def _with_callback(callbacks: dict[str, Any]) -> dict[str, Any]:
    # Nothing awaits the end of a read whose payload goes to a function piece by piece.
    return {**callbacks, "callback": callbacks.get("callback") or (lambda _: None)}
