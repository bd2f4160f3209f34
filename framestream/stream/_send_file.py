"""Send a file: by the system from the page cache where it can, else piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from framestream.errors import StreamClosed

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore

_MOST_AT_ONCE = 1 << 18


async def send_file(core: StreamCore, file: BinaryIO, offset: int, count: int | None) -> int:
    """Send `count` bytes of a file, or all of it from `offset` on; return how many were sent."""
    core.outbound.check_not_held()
    await core.outbound.flush()
    end = None if count is None else offset + count
    at = offset
    by_hand = ByHand(core)
    system_can = True
    with core.outbound.held():
        try:
            while end is None or at < end:
                size = _MOST_AT_ONCE if end is None else min(_MOST_AT_ONCE, end - at)
                try:
                    if system_can:
                        sent = await _send_some(core, core.channel.send_file, file, at, size)
                    else:
                        by_hand.read(file, at, size)
                        sent = await _send_some(core, by_hand.send_file, file, at, size)
                except NotImplementedError:
                    system_can = False
                    continue
                if not sent:
                    break
                at += sent
                core.outbound.buffer.passed += sent
        finally:
            by_hand.leave_off()
    return at - offset


async def _send_some(
    core: StreamCore, send: Callable[[BinaryIO, int, int], int], file: BinaryIO, at: int, size: int
) -> int:
    while True:
        if core.closed:
            raise StreamClosed("stream closed before the file was sent", real_error=core.error)
        try:
            sent = send(file, at, size)
        except (BlockingIOError, InterruptedError):
            await core.outbound.writable()
            continue
        except OSError as error:
            core.close(error)
            raise StreamClosed("stream closed before the file was sent", real_error=error) from error
        await asyncio.sleep(0)  # a peer that takes everything at once leaves others their turn
        return sent


class ByHand:
    """Send a file where the system cannot: read a piece, send what the channel takes, keep the rest."""

    def __init__(self, core: StreamCore) -> None:
        self._outbound = core.outbound
        self._channel = core.channel
        self._piece = memoryview(b"")

    def read(self, file: BinaryIO, offset: int, size: int) -> None:
        """Have the next piece at hand; what the file raises is no fault of the stream."""
        if not self._piece:
            file.seek(offset)
            self._piece = memoryview(file.read(size))

    def send_file(self, file: BinaryIO, offset: int, size: int) -> int:
        """Send of the piece at hand what the channel takes; 0 means that the file has ended."""
        if not self._piece:
            return 0
        sent = self._channel.send([self._piece])
        self._piece = self._piece[sent:]
        return sent

    def leave_off(self) -> None:
        """Have what the channel was offered and has not taken sent before all else, as it demands."""
        if self._piece:
            self._outbound.put_first(self._piece)
