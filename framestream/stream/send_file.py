"""Send a file: by the system from the page cache where it can, else piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, BinaryIO, Final

from framestream.errors import StreamClosed

if TYPE_CHECKING:
    from framestream.stream.stream import IOStream

_MOST_AT_ONCE: Final = 1 << 18
_UNSENT: Final = "stream closed before the file was sent"


async def send_file(stream: IOStream, file: BinaryIO, offset: int, count: int | None) -> int:
    """Send `count` bytes of a file, or all of it from `offset` on; return how many were sent."""
    sender = stream.sender
    sender.check_can_write()
    end = None if count is None else offset + count
    at = offset
    piece = memoryview(b"")  # read and not yet sent, where the system cannot send the file
    system_can = True

    def send(size: int) -> int:
        nonlocal piece
        if system_can:
            return sender.transport.send_file(file, at, size)
        sent = sender.transport.send([piece]) if piece else 0
        piece = piece[sent:]
        return sent

    # From here on nothing that others write may leave before the file.
    with sender.held():
        try:
            await sender.send_held(sender.written)
            while end is None or at < end:
                size = _MOST_AT_ONCE if end is None else min(_MOST_AT_ONCE, end - at)
                if not system_can and not piece:
                    file.seek(at)  # what the file raises is no fault of the stream
                    piece = memoryview(file.read(size))
                if stream.closed():
                    raise StreamClosed(_UNSENT, real_error=stream.error)
                try:
                    sent = send(size)
                except (BlockingIOError, InterruptedError):
                    await sender.writable()
                    continue
                except NotImplementedError:
                    system_can = False
                    continue
                except OSError as error:
                    stream.on_write_error(error)
                    raise StreamClosed(_UNSENT, real_error=error) from error
                if not sent:
                    break
                at += sent
                sender.passed += sent
                await asyncio.sleep(0)  # a peer that takes everything at once leaves others their turn
        finally:
            if piece:  # offered and not taken: it has to leave before all else
                sender.put_first(piece)
    return at - offset
