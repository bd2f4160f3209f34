"""Write buffer: chunks on their way out, in a deque, sent with one vectored call."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from framestream.errors import because
from framestream.transport._channel import MOST_BUFFERS, Buffer, Channel

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

# The most to offer in one call. A kernel rarely takes more, and with TLS each byte offered is encrypted.
_MOST_BYTES: Final = 1 << 20
_ONE: Final = (bytes, bytearray, memoryview, str)


class WriteBuffer:
    """Bytes that were written and not yet sent, in order; they are never joined or copied.

    The bytes offered to the channel always begin with what it has not taken yet, so the same bytes are
    offered again after a short or blocked send, as TLS demands.

    Attributes:
        size: bytes that wait.
        written: bytes ever added.
        high_water: the most that ever waited.
        passed: bytes sent past this buffer, from files.
    """

    __slots__ = ("_chunks", "high_water", "passed", "size", "written")

    def __init__(self) -> None:
        self._chunks: deque[Buffer] | None = None  # an idle connection does not pay for a deque
        self.size = 0
        self.written = 0
        self.high_water = 0
        self.passed = 0

    @property
    def sent(self) -> int:
        """Bytes that the channel has taken."""
        return self.written - self.size

    def append(self, chunks: Sequence[Buffer], size: int) -> None:
        """Add chunks of `size` bytes in all."""
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.extend(chunks)
        self.written += size
        self.size += size
        self.high_water = max(self.high_water, self.size)

    def prepend(self, chunk: memoryview) -> None:
        """Add a chunk before all others."""
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.appendleft(chunk)
        self.written += len(chunk)
        self.size += len(chunk)
        self.high_water = max(self.high_water, self.size)

    def send(self, channel: Channel, most: int = _MOST_BYTES) -> bool:
        """Offer the channel what it takes in one call; return True if that was everything offered.

        Nothing is offered behind the first `most` bytes.

        Raises ``BlockingIOError`` if the channel takes nothing.
        """
        chunks = self._chunks
        assert chunks
        offered: list[Buffer] = []
        room = min(_MOST_BYTES, most)
        for chunk in chunks:
            offered.append(memoryview(chunk)[:room] if len(chunk) > room else chunk)
            room -= len(chunk)
            if room <= 0 or len(offered) == MOST_BUFFERS:
                break
        size = sum(map(len, offered))
        try:
            taken = channel.send(offered)
        finally:
            offered.clear()  # an exception's traceback must not keep the caller's buffers
        self.advance(taken)
        return taken == size

    def advance(self, size: int) -> None:
        """Let go of the first `size` bytes: the channel has taken them."""
        chunks = self._chunks
        assert chunks is not None
        self.size -= size
        while size:
            chunk = chunks.popleft()
            if len(chunk) > size:
                chunks.appendleft(memoryview(chunk)[size:])
                return
            size -= len(chunk)

    def clear(self) -> None:
        """Throw away what waits, and let go of the caller's buffers."""
        for chunk in self._chunks or ():
            if isinstance(chunk, memoryview):
                chunk.release()  # an exception's traceback may still know it
        self._chunks = None
        self.written -= self.size
        self.size = 0


def as_chunks(data: Any) -> list[Buffer]:
    """Return the buffers as chunks of bytes, without copying any that is contiguous."""
    if isinstance(data, bytes):
        return [data] if data else []
    parts: Sequence[Any] = data if isinstance(data, Sequence) and not isinstance(data, _ONE) else [data]
    return [chunk for part in parts if len(chunk := part if isinstance(part, bytes) else _flat(part))]


def _flat(data: Any) -> memoryview:
    try:
        view = memoryview(data)
    except TypeError:
        kind = type(data).__name__
        reason = f"write takes bytes, a buffer, or a list of those, not {kind}"
        raise because(TypeError(reason), None)
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view.cast("B") if view.format != "B" or view.ndim != 1 else view
