"""A stream that nobody reads: it takes no bytes, but notices its end if somebody wants to know of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framestream.streams._core import StreamCore


def watch_for_end(core: StreamCore) -> None:
    """Watch for the end of the stream, if somebody wants to know; it may be there already."""
    if core.end_is_awaited and core.handshake is None:  # which minds it itself, and tells at its end
        core.inbound.watch()
        if core.inbound.eof:
            core.loop.call_soon(_close_if_over, core)


def look_for_end(core: StreamCore) -> None:
    """See whether what has arrived, and nobody reads, is the end."""
    # Only who waits for the close callback wants to know what arrived, and learning whether it was
    # the end takes a read: of one chunk at most.
    inbound = core.inbound
    if not core.end_is_awaited:
        inbound.unwatch()
    elif core.decoder.buffered:
        inbound.unwatch()
        inbound.doze()
    else:
        try:
            inbound.receive()
        except Exception as error:  # noqa: BLE001 - it closes the stream and is logged
            core.on_read_error(error)
        _close_if_over(core)


def end_idling(core: StreamCore) -> None:
    """Let a read begin, the first after a while in which nobody read."""
    # What is buffered may be on its way out: mind the end again behind it.
    inbound = core.inbound
    inbound.free = not inbound.eof
    watch_for_end(core)


def _close_if_over(core: StreamCore) -> None:
    if core.inbound.eof and core.inbound.busy is None and not core.decoder.buffered:
        core.note_end()
