"""Pipes, FIFOs, terminals, files: a channel over file descriptors."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence

from framestream.transport._channel import MOST_BUFFERS, Buffer, Callback, Channel
from framestream.transport._readiness import Readiness


class PipeChannel(Channel):
    """Read from one descriptor and write to another, or to the same one.

    Either may be left out. They are made non-blocking and belong to the channel from here on; what else
    shares their open file (a terminal's other programs, say) sees that they do not block.

    Args:
        read_fd: where to read; also a regular file.
        write_fd: where to write.
    """

    __slots__ = ("_read_ready", "_write_ready", "read_fd", "write_fd")

    def __init__(self, read_fd: int | None, write_fd: int | None = None) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._read_ready: Readiness | None = None
        self._write_ready: Readiness | None = None
        for fd in {read_fd, write_fd} - {None}:
            os.set_blocking(fd, False)  # type: ignore[arg-type]  # None is taken out

    def receive(self, size: int) -> bytes:
        """Read; the other side of a terminal that is gone is an end, not an error."""
        if self.read_fd is None:
            return b""
        try:
            return os.read(self.read_fd, size)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def receive_into(self, buffer: memoryview) -> int:
        """Read straight into the buffer."""
        if self.read_fd is None:
            return 0
        try:
            return os.readv(self.read_fd, [buffer])
        except OSError as error:
            if error.errno == errno.EIO:
                return 0
            raise

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Write with one system call, however many buffers there are."""
        if self.write_fd is None:
            raise BrokenPipeError(errno.EPIPE, "there is nothing to write to")
        return os.writev(self.write_fd, buffers[:MOST_BUFFERS])

    def watch_read(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Register with the loop's selector."""
        if self._read_ready is not None:
            self._read_ready.watch(loop, callback)
            return
        # What can only be written is watched, too: it is readable once nobody is there to read it.
        fd = self.write_fd if self.read_fd is None else self.read_fd
        if fd is None:
            return
        if callback is None:
            loop.remove_reader(fd)
            return
        try:
            loop.add_reader(fd, callback)
        except PermissionError:
            if self.read_fd is not None:
                self._read_ready = _always(loop, callback)

    def watch_write(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Register with the loop's selector."""
        if self._write_ready is not None:
            self._write_ready.watch(loop, callback)
        elif self.write_fd is None:
            return
        elif callback is None:
            loop.remove_writer(self.write_fd)
        else:
            try:
                loop.add_writer(self.write_fd, callback)
            except PermissionError:
                self._write_ready = _always(loop, callback)

    def shutdown(self) -> None:
        """Close the descriptor for writing: that is how the end of a pipe is sent."""
        if self.write_fd is None:
            return
        if self.write_fd == self.read_fd:
            raise OSError(errno.EOPNOTSUPP, "one descriptor for both directions cannot be half closed")
        os.close(self.write_fd)
        self.write_fd = None

    def close(self) -> None:
        """Close both descriptors."""
        for fd in {self.read_fd, self.write_fd} - {None}:
            os.close(fd)  # type: ignore[arg-type]  # None is taken out
        self.read_fd = self.write_fd = None


def _always(loop: asyncio.AbstractEventLoop, callback: Callback) -> Readiness:
    # What cannot be polled, like a regular file, never blocks either.
    ready = Readiness(lambda: True)
    ready.watch(loop, callback)
    return ready
