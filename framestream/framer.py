r"""The contract between the decoder and a framing: `ReadCondition`, `Framer`, `Window`, `NeedMore`.

A read condition answers one pure question, *where does the frame that begins here end?* The decoder
owns everything else: bytes, progress, limits, end of stream, errors, look-ahead.

The simplest complete framer::

    @dataclass(frozen=True)
    class NulTerminated(ReadCondition[bytes]):
        def find(self, window):
            end = window.data.find(b"\0", window.resume)
            if end < 0:
                return NeedMore(resume=len(window.data))
            return window.start, end, end + 1
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from framestream.errors import FramingError, PayloadError
from framestream.registry._spec import format_spec

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Span: TypeAlias = tuple[int, int, int]
"""Payload start, payload stop, start of the next frame: indices in ``window.data``.

The last two may lie beyond the data: the decoder then waits, checks the limit before the body has
arrived, and does not ask again.
"""

ValueSpan: TypeAlias = tuple[int, int, int, Any]
"""A span plus the decoded frame, for framings where finding the end already produces the value.

The frame must be complete in the data, unless the fourth item is a `Decode`.
"""


class Decode:
    """The fourth item of a span: decode the payload with this function instead of ``condition.decode``.

    Combinators use it to say which of their parts must decode a frame whose body has yet to arrive.

    Args:
        decode: turns the payload into the frame.
        trailer: the bytes that must stand between the payload and the next frame, such as the comma of
            a netstring. The extent can then be told before they have arrived: the decoder checks them
            when they do, and a frame that ends otherwise is a `FramingError` at its trailer.
    """

    __slots__ = ("decode", "trailer")

    def __init__(self, decode: Callable[[bytes], Any], *, trailer: bytes = b"") -> None:
        self.decode = decode
        self.trailer = trailer

    def __repr__(self) -> str:
        trailer = f", trailer={self.trailer!r}" if self.trailer else ""
        return f"Decode({self.decode!r}{trailer})"


class _Padding(Enum):
    PADDING = "bytes that belong to no frame"

    def __repr__(self) -> str:
        return self.name


PADDING: Final = _Padding.PADDING
"""The fourth item of a span of bytes that belong to no frame: blank lines, keep-alives, white space.

They are consumed, nothing is delivered for them, and the stream may end behind them. They must be in
the data, and no payload of a frame may have been settled.
"""


class Window:
    """The bytes that have arrived and are not consumed: look, do not touch.

    Attributes:
        data: contiguous bytes; what lies before `start` belongs to somebody else.
        start: first byte of the frame. When the frame is being streamed in parts, the first byte that
            was not yet passed on; `taken` bytes of the frame are gone before it.
        resume: where the last search stopped (`start`, the first time): go on from here.
        memo: what `NeedMore` carried last time (None, the first time).
        eof: True if nothing will follow `data`.
        taken: bytes of this frame already passed on and gone (0 unless the frame is streamed and the
            condition reported `NeedMore.settled`).
    """

    __slots__ = ("data", "eof", "memo", "resume", "start", "taken")

    data: bytes | bytearray
    start: int
    resume: int
    memo: Any
    eof: bool
    taken: int

    def __init__(
        self,
        data: bytes | bytearray,
        start: int = 0,
        resume: int | None = None,
        memo: Any = None,
        eof: bool = False,
        taken: int = 0,
    ) -> None:
        self.data = data
        self.start = start
        self.resume = start if resume is None else resume
        self.memo = memo
        self.eof = eof
        self.taken = taken

    def __repr__(self) -> str:
        seen = bytes(self.data[self.start : self.start + 32])
        return (
            f"Window({seen!r}..., start={self.start}, resume={self.resume}, memo={self.memo!r}, "
            f"eof={self.eof}, taken={self.taken}, end={len(self.data)})"
        )


class NeedMore:
    """The answer "this frame does not end in what is there".

    Args:
        size: do not ask again before this many bytes of the frame are there, counted from
            ``window.start`` (0: ask when anything has arrived). Never more than `find` needs to answer.
        resume: index in the data from which to go on searching; what lies before it will not be
            looked at again, except for a bounded header.
        memo: handed back in ``window.memo``. Treat it as immutable.
        settled: index in the data; payload before it is final and may be delivered, or thrown away,
            already. A condition that reports it does not look before it again.
        payload_start: index where the settled payload begins (``window.start`` unless given).
    """

    __slots__ = ("memo", "payload_start", "resume", "settled", "size")

    def __init__(
        self,
        size: int = 0,
        *,
        resume: int | None = None,
        memo: Any = None,
        settled: int | None = None,
        payload_start: int | None = None,
    ) -> None:
        self.size = size
        self.resume = resume
        self.memo = memo
        self.settled = settled
        self.payload_start = payload_start

    def _key(self) -> tuple[Any, ...]:
        return self.size, self.resume, self.memo, self.settled, self.payload_start

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, NeedMore) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a memo need not be hashable

    def __repr__(self) -> str:
        names = ("size", "resume", "memo", "settled", "payload_start")
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in zip(names, self._key(), strict=True)
            if value not in (None, 0)
        )
        return f"NeedMore({shown})"


class ReadCondition(ABC, Generic[T_co]):
    """Where does the frame that begins here end? Subclass it, preferably as a frozen dataclass.

    Conditions are values: nothing is kept in ``self`` between calls, so one object may serve any
    number of streams at once, compares equal to its like, and prints as its own spec string.
    """

    name: str = ""
    """The name it is registered under, for messages and spec strings."""

    max_size: int | None = None
    """The largest payload in bytes; None leaves it to the decoder (1 MiB by default)."""

    overhead: int = 0
    """Bytes a frame may take besides its payload before its size is known: its header, or its delimiter.

    A frame that has not shown its end within ``limit + overhead`` bytes is too large.
    """

    can_be_empty: bool = False
    """True if a frame may take no bytes at all (``Exactly(0)``, or `UntilClose` on a finished stream)."""

    @abstractmethod
    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the frame that begins at ``window.start``, or what is missing.

        Pure: the same window gives the same answer. Raise `FramingError` where the bytes can be no
        frame; anything else that escapes is reported as a bug of the framer.
        """

    def decode(self, payload: bytes) -> T_co:
        """Turn a payload into what the reader gets; by default the payload itself.

        A ``ValueError`` becomes a `PayloadError`: the frame is consumed and reading goes on behind it.
        """
        return payload  # type: ignore[return-value]  # T_co is bytes unless a subclass decodes

    def cut(self, data: bytes, start: int) -> tuple[T_co, int] | None:
        """Cut the one frame that begins at `start`: return it and where the next begins, or None.

        Override it where a frame that is there whole can be cut faster than by `find` and `decode`, with
        which it must agree. None leaves the frame to them, and so does anything raised. Other bytes may
        follow; the limit is not its business.
        """
        return None

    def split(self, window: Window) -> tuple[list[T_co], int]:
        """Cut every whole frame from ``window.start`` on; return them and where the rest begins.

        Override it where a batch can be cut faster than frame by frame. The decoder never shows it
        more bytes than the limit allows for one frame, so it need not check sizes. It must agree with
        repeated `find` and `decode`, stop before a frame that raises, and may stop earlier.
        """
        frames: list[T_co] = []
        data, size = bytes(window.data), len(window.data)
        cursor, end = Window(data, window.start, eof=window.eof), window.start
        find, decode = self.find, self.decode
        try:
            while True:
                found = find(cursor)
                if type(found) is not tuple or not cursor.start < found[2] <= size:
                    break
                cursor.start = cursor.resume = found[2]
                if len(found) == 3:
                    frames.append(decode(data[found[0] : found[1]]))
                elif (value := found[3]) is PADDING:
                    continue
                elif type(value) is not Decode:
                    frames.append(value)
                elif data.endswith(value.trailer, found[1], found[2]):
                    frames.append(value.decode(data[found[0] : found[1]]))
                else:
                    break
                end = found[2]
        except (FramingError, PayloadError, ValueError):
            pass  # the decoder asks `find` about this frame next and raises with its place
        return frames, end

    def explain(self, window: Window) -> str:
        """Guess what the bytes of a refused frame are, for the error message; "" if they say nothing.

        Asked with the window at the frame's start, and only when the frame is refused.
        """
        return ""

    def __str__(self) -> str:
        return format_spec(self)


class Framer(ReadCondition[T]):
    """A read condition that can also write."""

    @abstractmethod
    def encode(self, frame: T) -> bytes | Sequence[bytes]:
        """Return the bytes that carry this frame, as one buffer or several to be sent in order.

        Raise `EncodeError` for a frame that this framing cannot carry: reading the bytes back gives
        an equal frame.
        """
