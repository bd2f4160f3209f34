"""Streams in memory, for tests: no sockets, no time, no chance; two ends joined by two wires, each with its
faults on schedule.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Unpack

from framestream.errors import check_count
from framestream.stream.options import StreamOptions
from framestream.stream.stream import Condition, IOStream
from framestream.transport.base import Buffer, PolledTransport
from framestream.transport.descriptor import Readiness

_ENDLESS = 1 << 62


@dataclass(frozen=True)
class Wire:
    """How the bytes of one direction travel. Nothing depends on time or chance: a test repeats exactly.

    Each schedule repeats from its beginning.

    Attributes:
        chunks: the most bytes each receive returns, 0 to block it; () for all that have arrived.
        takes: the most bytes each send takes, 0 to block it; () for everything.
        blocks: True for each receive that blocks although bytes have arrived, an exception to raise
            for one that fails in another way (``InterruptedError()``), False for one that works.
        capacity: bytes on the wire from which sends block; None for no limit.
        end: offset at which the direction ends, as if the peer had disconnected; None for no such end.
        error: raised at `end`, such as a ConnectionResetError; None for a clean end.
    """

    chunks: Sequence[int] = ()
    takes: Sequence[int] = ()
    blocks: Sequence[bool | OSError] = ()
    capacity: int | None = None
    end: int | None = None
    error: OSError | None = None

    def __post_init__(self) -> None:
        for name in ("chunks", "takes"):
            for size in getattr(self, name):
                check_count(f"a size in {name}", size, of=" of bytes")
        for name in ("capacity", "end"):
            if (size := getattr(self, name)) is not None:
                check_count(name, size, of=" of bytes")


class MemoryWire:
    """One direction of a pair: the bytes sent and not yet received."""

    def __init__(self, plan: Wire) -> None:
        self.plan = plan
        self.data = bytearray()
        self.received = 0
        self.ended = False
        self.reader_gone = False
        self.readable = Readiness(lambda: self._visible > 0 or self.ended or self._is_cut)
        self.writable = Readiness(lambda: self.reader_gone or self._room > 0)
        self._chunks = cycle(plan.chunks or (_ENDLESS,))
        self._takes = cycle(plan.takes or (_ENDLESS,))
        self._blocks = cycle(plan.blocks or (False,))

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Put bytes on the wire; return how many were taken."""
        if self.reader_gone:
            raise BrokenPipeError(errno.EPIPE, "the other end is closed")
        taken: int = min(sum(map(len, buffers)), next(self._takes), self._room)
        if not taken:
            raise BlockingIOError
        self.data += b"".join(buffers)[:taken]
        self.readable.notify()
        return taken

    def receive(self, size: int) -> bytes:
        """Take bytes off the wire."""
        fault = next(self._blocks)
        if fault:
            raise BlockingIOError if fault is True else fault
        if self._is_cut and self.plan.error is not None:
            raise self.plan.error
        size = min(size, next(self._chunks), self._visible)
        if not size and (self._visible or not (self.ended or self._is_cut)):
            raise BlockingIOError
        data = bytes(self.data[:size])
        del self.data[:size]
        self.received += size
        self.writable.notify()
        return data

    def end(self) -> None:
        """Send the end of the direction."""
        self.ended = True
        self.readable.notify()

    def abandon(self) -> None:
        """Refuse further bytes: they cannot be received any more."""
        self.reader_gone = True
        self.writable.notify()

    @property
    def _visible(self) -> int:
        """Bytes that can be received, up to the end on the schedule."""
        end = _ENDLESS if self.plan.end is None else self.plan.end
        return min(len(self.data), end - self.received)

    @property
    def _is_cut(self) -> bool:
        return self.received == self.plan.end

    @property
    def _room(self) -> int:
        return _ENDLESS if self.plan.capacity is None else max(0, self.plan.capacity - len(self.data))


class MemoryTransport(PolledTransport):
    """One end of a pair of wires."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self, incoming: MemoryWire, outgoing: MemoryWire) -> None:
        super().__init__()
        self.incoming = incoming
        self.outgoing = outgoing

    def receive_into(self, buffer: memoryview) -> int:
        """Receive bytes from the wire."""
        data = self.incoming.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send into the wire."""
        return self.outgoing.send(buffers)

    def watch_readable(self, callback: Callable[[], object] | None) -> None:
        """Call back while something can be received."""
        self.incoming.readable.watch(self.loop, callback)

    def watch_writable(self, callback: Callable[[], object] | None) -> None:
        """Call back while something can be sent."""
        self.outgoing.writable.watch(self.loop, callback)

    def shutdown(self) -> None:
        """End the outgoing direction."""
        self.outgoing.end()

    def close(self) -> None:
        """End both directions."""
        self.stop_watching()
        self.outgoing.end()
        self.incoming.abandon()


def memory_transport_pair(
    there: Wire | None = None, back: Wire | None = None
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two transports joined in memory; the first one's bytes go `there`, the second one's `back`."""
    outgoing, incoming = MemoryWire(there or Wire()), MemoryWire(back or Wire())
    return MemoryTransport(incoming, outgoing), MemoryTransport(outgoing, incoming)


def memory_stream_pair(
    there: Wire | None = None,
    back: Wire | None = None,
    *,
    framer: Condition[Any] = None,
    **options: Unpack[StreamOptions],
) -> tuple[IOStream, IOStream]:
    """Return two streams joined in memory.

    ::

        client, server = memory_stream_pair(Wire(chunks=[1, 2, 3]))

    Args:
        there: how the first stream's bytes travel to the second.
        back: how the second stream's bytes travel to the first.
        framer: the framer of both.
        options: the options of both, as for `IOStream`.
    """
    first, second = memory_transport_pair(there, back)
    return IOStream(first, framer=framer, **options), IOStream(second, framer=framer, **options)
