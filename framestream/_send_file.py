"""Send a file: by the system from the page cache where it can, else piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, BinaryIO

from framestream._errors import StreamClosed

if TYPE_CHECKING:
    from framestream._core import StreamCore

_MOST_AT_ONCE = 1 << 20
# Read by hand this much at a time: what is queued stays bounded.
_PIECE = 1 << 16


async def send_file(core: StreamCore, file: BinaryIO, offset: int, count: int | None) -> int:
    """Send `count` bytes of a file, or all of it from `offset` on; return how many were sent."""
    await core.outbound.flush()
    with core.outbound.held():
        try:
            return await _by_the_system(core, file, offset, count)
        except NotImplementedError:
            pass
    return await _by_hand(core, file, offset, count)


async def _by_the_system(core: StreamCore, file: BinaryIO, offset: int, count: int | None) -> int:
    sent = 0
    while count is None or sent < count:
        if core.closed:
            raise StreamClosed("stream closed before the file was sent", real_error=core.error)
        size = _MOST_AT_ONCE if count is None else min(_MOST_AT_ONCE, count - sent)
        try:
            taken = core.channel.send_file(file, offset + sent, size)
        except (BlockingIOError, InterruptedError):
            await core.outbound.writable()
            continue
        except OSError as error:
            core.close(error)
            raise StreamClosed("stream closed before the file was sent", real_error=error) from error
        if not taken:
            break
        sent += taken
        core.outbound.buffer.passed += taken
        await asyncio.sleep(0)
    return sent


async def _by_hand(core: StreamCore, file: BinaryIO, offset: int, count: int | None) -> int:
    file.seek(offset)
    sent = 0
    while count is None or sent < count:
        piece = file.read(_PIECE if count is None else min(_PIECE, count - sent))
        if not piece:
            break
        core.outbound.write(piece)
        sent += len(piece)
        await core.outbound.flush()
    return sent
