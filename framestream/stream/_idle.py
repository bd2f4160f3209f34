"""A stream that nobody reads: it takes no bytes, but notices its end if somebody wants to know of that."""

from __future__ import annotations

import asyncio
from typing import Protocol

from framestream.decoder import FrameDecoder
from framestream.stream._inbound import Inbound
from framestream.stream._waiting import Stoppable


class Idler(Protocol):
    """What is to be known of a stream that nobody reads."""

    decoder: FrameDecoder
    handshake: Stoppable | None
    inbound: Inbound
    loop: asyncio.AbstractEventLoop

    @property
    def end_is_awaited(self) -> bool:
        """True if somebody wants to know when the stream is closed."""
        ...

    def note_end(self, error: BaseException | None = None) -> None: ...
    def on_read_error(self, error: Exception) -> None: ...


def watch_for_end(stream: Idler) -> None:
    """Watch for the end of the stream, if somebody wants to know; it may be there already."""
    if stream.end_is_awaited and stream.handshake is None:  # which minds it itself, and tells at its end
        stream.inbound.watch()
        if stream.inbound.eof:
            stream.loop.call_soon(_close_if_over, stream)


def look_for_end(stream: Idler) -> None:
    """See whether what has arrived, and nobody reads, is the end."""
    # Only who waits for the close callback wants to know what arrived, and learning whether it was
    # the end takes a read: of one chunk at most.
    inbound = stream.inbound
    if not stream.end_is_awaited:
        inbound.unwatch()
    elif stream.decoder.buffered:
        inbound.unwatch()
        inbound.doze()
    else:
        try:
            inbound.receive()
        except Exception as error:  # noqa: BLE001 - it closes the stream and is logged
            stream.on_read_error(error)
        _close_if_over(stream)


def end_idling(stream: Idler) -> None:
    """Let a read begin, the first after a while in which nobody read."""
    # What is buffered may be on its way out: mind the end again behind it.
    inbound = stream.inbound
    inbound.free = not inbound.eof
    watch_for_end(stream)


def _close_if_over(stream: Idler) -> None:
    if stream.inbound.eof and stream.inbound.busy is None and not stream.decoder.buffered:
        stream.note_end()
