"""Streams in memory, for tests: no sockets, no time, no chance; two ends joined by two wires, each with its
faults on schedule.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, repeat
from typing import TYPE_CHECKING, Any

from framestream.stream.stream import IOStream
from framestream.transport.base import Buffer, PolledTransport
from framestream.transport.descriptor import Readiness

if TYPE_CHECKING:
    from typing import Unpack

    from framestream.framer import ReadCondition
    from framestream.stream.options import StreamOptions


@dataclass(frozen=True)
class Wire:
    """How the bytes of one direction travel. Nothing depends on time or chance: a test repeats exactly.

    Each schedule repeats from its beginning.

    Attributes:
        chunks: the most bytes each receive returns; () for all that have arrived.
        lags: passes of the loop for which each write stays invisible; () for none.
        takes: the most bytes each send takes, 0 to block it; () for everything.
        blocks: True for each receive that blocks although bytes have arrived, an exception to raise
            for one that fails in another way (``InterruptedError()``), False for one that works.
        capacity: bytes on the wire from which sends block; None for no limit.
        errors: exceptions by offset in the direction's bytes: raised when all bytes before it are received.
        end: offset at which the direction ends, as if the peer had disconnected; None for no such end.
    """

    chunks: Sequence[int] = ()
    lags: Sequence[int] = ()
    takes: Sequence[int] = ()
    blocks: Sequence[bool | OSError] = ()
    capacity: int | None = None
    errors: Mapping[int, OSError] = field(default_factory=dict)
    end: int | None = None


class MemoryWire:
    """One direction of a pair: the bytes sent and not yet received."""

    def __init__(self, plan: Wire) -> None:
        self.plan = plan
        self.data = bytearray()
        self.received = 0
        self.ended = False
        self.reader_gone = False
        self.readable = Readiness(self._is_readable)
        self.writable = Readiness(self._is_writable)
        self._chunks = _schedule(plan.chunks, 1 << 62)
        self._lags = _schedule(plan.lags, 0)
        self._takes = _schedule(plan.takes, 1 << 62)
        self._blocks = _schedule(plan.blocks, False)
        self._hidden: list[list[int]] = []  # size and remaining lag of the writes still invisible

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Put bytes on the wire; return how many were taken."""
        if self.reader_gone:
            raise BrokenPipeError(errno.EPIPE, "the other end is closed")
        taken: int = min(sum(map(len, buffers)), next(self._takes), self._room())
        if not taken:
            raise BlockingIOError
        self.data += b"".join(buffers)[:taken]
        if lag := next(self._lags):
            self._hidden.append([taken, lag])
            if len(self._hidden) == 1:
                asyncio.get_running_loop().call_soon(self._tick)
        self.readable.notify()
        return taken

    def receive(self, size: int) -> bytes:
        """Take bytes off the wire."""
        fault = next(self._blocks)
        if fault:
            raise BlockingIOError if fault is True else fault
        if error := self.plan.errors.get(self.received):
            raise error
        if self._is_cut:
            return b""
        size = min(size, next(self._chunks), self._visible)
        if size:
            data = bytes(self.data[:size])
            del self.data[:size]
            self.received += size
            self.writable.notify()
            return data
        if self.ended and not self._hidden:
            return b""
        raise BlockingIOError

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
        """Bytes that can be received, up to the next fault on the schedule."""
        visible = len(self.data) - sum(size for size, _ in self._hidden)
        faults = [at for at in (*self.plan.errors, self.plan.end) if at is not None and at > self.received]
        return min([visible, *(at - self.received for at in faults)])

    @property
    def _is_cut(self) -> bool:
        return self.plan.end is not None and self.received >= self.plan.end

    def _room(self) -> int:
        return 1 << 62 if self.plan.capacity is None else max(0, self.plan.capacity - len(self.data))

    def _is_readable(self) -> bool:
        over = self.ended and not self._hidden
        return self._visible > 0 or over or self._is_cut or self.received in self.plan.errors

    def _is_writable(self) -> bool:
        return self.reader_gone or self._room() > 0

    def _tick(self) -> None:
        # A write becomes visible only after those before it.
        self._hidden[0][1] -= 1
        if self._hidden[0][1] == 0:
            del self._hidden[0]
            self.readable.notify()
        if self._hidden:
            asyncio.get_running_loop().call_soon(self._tick)


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
        self.pause_reading()
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
    framer: ReadCondition[Any] | str | None = None,
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


def _schedule(values: Sequence[Any], usual: Any) -> Iterator[Any]:
    return cycle(values) if values else repeat(usual)
