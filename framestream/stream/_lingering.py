"""Lingering: what the peer of a stream that ends is still sending is thrown away for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from framestream.stream._waiting import Reader

if TYPE_CHECKING:
    import asyncio

    from framestream.stream._core import StreamCore

# A peer that has not noticed the end by then sends without looking.
_MOST: Final = 1 << 24
_AT_ONCE: Final = 1 << 16


class Lingering(Reader):
    """Receive to nowhere until the peer ends, or has sent too much.

    Attributes:
        done: done then, or when the stream is closed.
    """

    __slots__ = ("_core", "_room", "done")

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        self._room = _MOST
        self.done: asyncio.Future[None] = core.loop.create_future()
        core.inbound.divert(self, self._discard)

    def go_on(self, at_once: bool) -> None:
        """End: nothing more will arrive."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End; there is no limit of time that could do so."""
        self.go_on(False)

    def _discard(self) -> None:
        core = self._core
        try:
            size = len(core.channel.receive(_AT_ONCE))
        except (BlockingIOError, InterruptedError):
            return
        except Exception as error:  # noqa: BLE001 - it closes the stream
            core.on_read_error(error)
            return
        self._room -= size
        if not size:
            core.inbound.peer_ended = True
            core.inbound.stop()
        elif self._room <= 0:
            core.inbound.unwatch()
            self.go_on(False)


def lingering(core: StreamCore) -> Lingering | None:
    """Begin to linger if the peer has sent what nobody has read; what has arrived of that is thrown away.

    A system that closes a connection over such bytes, or gets more of them, resets it, and then the peer may
    lose what was sent to it before. A peer that has sent nothing waits for that, and costs nothing.
    """
    inbound = core.inbound
    if core.closed or inbound.eof or core.reading:
        return None
    try:
        if core.decoder.buffered or (not inbound.drained and core.channel.receive(_AT_ONCE)):
            return Lingering(core)
    except Exception:  # noqa: BLE001 - nothing is there; or whatever it is, the stream is about to be closed
        return None
    return None
