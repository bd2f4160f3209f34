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

A window is what `find` looks at; every position in it is an index in ``data``::

     ------ - -------- + ------------------ + ----------------
     other frames      | seen last time     | new bytes
     ------ - -------- + ------------------ + ----------------
                       ^start               ^resume           ^len(data)

For a complete frame the answer is a span, ``(first, stop, end)``. It may end beyond the data::

                       + ------ + ------------ + --------- + ----------
                       | header | payload      | delimiter | next frame
                       + ------ + ------------ + --------- + ----------
                       ^start   ^first         ^stop       ^end

For any other it is ``NeedMore(resume=..., settled=...)``: the search continues from `resume`, and payload
before `settled` is final::

                       + ------ + ------------------- + ------ +
                       | header | payload so far      | unclear|
                       + ------ + ------------------- + ------ +
                       ^start   ^payload_start        ^settled ^len(data)
                                                      ^resume

When the frame is streamed, the settled part is passed on and removed. The next window begins after it, and
``start - taken`` is where the frame began::

     |<---------- taken ------------------------------>| unclear, and new bytes
                                                       ^start
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeAlias, TypeGuard, TypeVar

from framestream.errors import EncodeError, counted

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Span: TypeAlias = tuple[int, int, int]
"""Payload start, payload stop, start of the next frame: indices in ``window.data``.

The last two may lie beyond the data: the decoder then checks the limit before the body has arrived,
waits, and does not ask again.
"""

ValueSpan: TypeAlias = tuple[int, int, int, Any]
"""A span plus the decoded frame, for framings where finding the end already produces the value.

The frame must be complete in the data, unless the fourth item is a `Decode`.
"""


class Decode:
    """The fourth item of a span: decode the payload with this function instead of ``condition.decode``.

    Combinators use it to say which of their parts must decode a frame whose body has not arrived yet.

    Args:
        decode: turns the payload into the frame.
        trailer: the bytes that must stand between the payload and the next frame, such as the comma of
            a netstring. The condition can then tell the extent before they arrive: the decoder checks them
            when they do, and a frame that ends otherwise is a `FramingError` at its trailer.
        final: False if the stream must not end after this frame, because more belongs to it: such an
            end is an `IncompleteFrame`. `split` then leaves a frame that ends with the data to `find`.
    """

    __slots__ = ("decode", "final", "trailer")

    def __init__(self, decode: Callable[[bytes], Any], *, trailer: bytes = b"", final: bool = True) -> None:
        self.decode = decode
        self.trailer = trailer
        self.final = final

    def using(self, decode: Callable[[bytes], Any]) -> Decode:
        """Return a copy with another function."""
        return Decode(decode, trailer=self.trailer, final=self.final)

    def __repr__(self) -> str:
        trailer = f", trailer={self.trailer!r}" if self.trailer else ""
        return f"Decode({self.decode!r}{trailer}{'' if self.final else ', final=False'})"


class _Padding(Enum):
    PADDING = "bytes that belong to no frame"

    def __repr__(self) -> str:
        return self.name


PADDING: Final = _Padding.PADDING
"""The fourth item of a span of bytes that belong to no frame: blank lines, keep-alives, white space.

They are consumed and not delivered, and the stream may end after them. They must be in
the data, and no payload of a frame may have been settled before.
"""


class Window:
    """The bytes received and not yet consumed. Read them only.

    Attributes:
        data: contiguous bytes; those before `start` belong to other frames.
        start: first byte of the frame. When the frame is being streamed in parts, the first byte
            not yet passed on; `taken` bytes of the frame came before it.
        resume: where the last search stopped (at first, `start`): continue from here.
        memo: what the last `NeedMore` carried (at first, None).
        eof: True if no bytes will follow `data`.
        taken: bytes of this frame already passed on and removed (0 unless the frame is streamed and the
            condition reported `NeedMore.settled`).
    """

    __slots__ = ("data", "eof", "memo", "resume", "start", "taken")

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


# By hand: as a dataclass it takes 0.8 ms to make, of the 25 that `get_framer("line")` has.
class NeedMore:
    """The answer "this frame does not end in these bytes".

    Args:
        size: do not ask again before the frame has this many bytes, counted from
            ``window.start`` (0: ask after any new byte). Never more than `find` needs to answer.
        resume: index in the data at which the search continues; it does not look at earlier bytes
            again, except at a bounded header.
        memo: passed back in ``window.memo``. Treat it as immutable.
        settled: index in the data; payload before it is final and may already be delivered or
            discarded. A condition that reports it does not look before it again.
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
            if value is not None and (name != "size" or value)
        )
        return f"NeedMore({shown})"


class ReadCondition(ABC, Generic[T_co]):
    """Where does the frame that begins here end? Subclass it, preferably as a frozen dataclass.

    Conditions are values: they keep nothing in ``self`` between calls, so one object may serve any
    number of streams at once, equals others with the same options, and prints as its spec string.
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

    synchronises: Literal["exact", "likely"] | None = None
    """How reliable `find_start` is: "exact" if it finds every place where a frame begins, and no other;
    "likely" if it may miss one or be wrong; None if it cannot tell from bytes in the middle of a stream.
    """

    lookbehind: int = 0
    """Bytes before ``window.start`` that `find_start` looks at, such as the previous frame's delimiter."""

    @abstractmethod
    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of the frame that begins at ``window.start``, or `NeedMore`.

        Pure: the same window gives the same answer. Raise `FramingError` if the bytes cannot be a
        frame; any other exception is reported as a bug of the framer.
        """

    def decode(self, payload: bytes) -> T_co:
        """Turn a payload into what the reader gets; by default the payload itself.

        Any exception becomes a `PayloadError`: the frame is consumed and reading continues after it. Only a
        `FramingError`, or a `FramerContractError`, breaks the stream.
        """
        return payload  # type: ignore[return-value]  # T_co is bytes unless a subclass decodes

    def split(self, window: Window) -> tuple[list[T_co], int]:
        """Cut every whole frame from ``window.start`` on; return them and the index where the rest begins.

        Override it if a batch can be cut faster than frame by frame. The decoder never passes
        more bytes than the limit allows for one frame, so it need not check sizes. It must agree with
        repeated `find` and `decode`, stop before a frame that raises, and may stop earlier.

        A class that defines `find` or `decode` anew, and no `split`, has this one, whatever its base has.
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
                elif data.endswith(value.trailer, found[1], found[2]) and (value.final or found[2] < size):
                    frames.append(value.decode(data[found[0] : found[1]]))
                else:
                    break
                end = found[2]
        except Exception:  # noqa: BLE001, S110 - the decoder asks `find` about this frame, and knows its place
            pass
        return frames, end

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place at or after ``window.start`` where a frame may begin.

        Only conditions that synchronise are asked, by readers that begin in the middle: of an archive read by
        several processes, or of a stream that has lost bytes. ``window.taken`` bytes come before
        ``window.start``, at least one, and `lookbehind` of them are in the data, or all of them. Padding may
        come first at the place returned.

        Pure, like `find`. `NeedMore` with `resume` says that no frame begins before that index, where the
        next question starts. At the end, if no frame begins any more, return ``len(window.data)``.
        """
        raise NotImplementedError(f"{self} does not synchronise")

    def explain(self, window: Window) -> str:
        """Guess what the bytes of a refused frame are, for the error message; "" if they match nothing known.

        Called with the window at the frame's start, and only when the frame is refused.
        """
        return ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A dataclass would print all options, defaults too; it keeps a `__repr__` that the class defines.
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]
        # An inherited `split` cuts and decodes as the class that defines it: Line's knows no other `decode`.
        split, *others = (
            next(place for place, base in enumerate(cls.__mro__) if name in vars(base))
            for name in ("split", "find", "decode")
        )
        if min(others) < split < cls.__mro__.index(ReadCondition):
            cls.split = ReadCondition.split  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return the call that makes this condition, without options that have their default."""
        from framestream.registry.specs import call_string  # noqa: PLC0415 - a program that prints none does not need it

        return call_string(self)

    def __str__(self) -> str:
        from framestream.registry.specs import spec_string  # noqa: PLC0415 - as above

        return spec_string(self)


class Framer(ReadCondition[T]):
    """A read condition that can also write."""

    @abstractmethod
    def encode(self, frame: T) -> bytes | Sequence[bytes]:
        """Return the bytes that carry this frame, as one buffer or several to be sent in order.

        Raise `EncodeError` for a frame that this framing cannot carry. Reading the bytes back gives
        an equal frame.
        """


def is_condition(value: object) -> TypeGuard[ReadCondition[Any]]:
    """Tell whether a value is a read condition.

    ``isinstance`` asks an abstract class, in Python, and takes five times as long: too much for each field.
    """
    return type.__instancecheck__(ReadCondition, value)


def check_condition(value: object, name: str = "") -> None:
    """Raise TypeError unless a value, passed as `name`, is a read condition; suggest what was meant.

    People pass what other libraries take: a number of bytes, a delimiter, a framing's name, or the class.
    """
    if is_condition(value):
        return
    shown = f"the class {value.__name__}" if isinstance(value, type) else repr(value)[:80]
    place = f"{name} is {shown}, not" if name else f"{shown} is not"
    raise TypeError(f"{place} a read condition{meant_by(value)}")


def writing(condition: ReadCondition[Any]) -> Framer[Any]:
    """Return a condition that can also write as what it is; raise TypeError if it can only read."""
    check_condition(condition)
    if not isinstance(condition, Framer):
        raise TypeError(f"{condition} can only read; sending and writing take a framer")
    return condition


def meant_by(value: object) -> str:
    """Return a hint at the condition that a caller meant who passed this instead: ``; make one of it: Line(...)``."""
    shown = repr(value)[:80]
    if isinstance(value, type) and issubclass(value, ReadCondition):
        return f"; make one of it: {value.__name__}(...)"
    if isinstance(value, int):
        return f"; Exactly({shown}) reads so many bytes"
    if isinstance(value, bytes):
        return f"; Delimiter({shown}) reads up to that"
    if isinstance(value, str):
        return f"; get_framer({shown}) makes one of its name"
    return ""


# For authors: what nearly every framer of bytes, or of lengths in digits, needs -----------------


def first_match(pattern: re.Pattern[bytes], window: Window, longest: int) -> int | NeedMore:
    """Return where a pattern first matches from ``window.start`` on: an answer for `find_start`.

    Args:
        longest: bytes of the longest match; those before `window.start` that the pattern looks at do not count.
    """
    found = pattern.search(window.data, window.start)
    if found is not None:
        return found.start()
    size = len(window.data)
    return size if window.eof else NeedMore(resume=max(window.start, size - longest + 1))


def bytes_of(frame: object, max_size: int | None = None, *, copy: bool = True, kind: str = "bytes") -> bytes:
    """Return the bytes of the bytes-like object that an encoder was given.

    `bytes` are not copied. ``len`` of the result counts bytes; that of an array or a view of larger
    items would count items.

    Args:
        max_size: the most bytes to accept; None for any number.
        copy: with False, anything but `bytes` is returned as a contiguous view of bytes.
        kind: what the frame should have been, for the message.

    Raises:
        EncodeError: the frame is not bytes-like, or too large.
    """
    if not isinstance(frame, bytes):
        try:
            view = memoryview(frame)  # type: ignore[arg-type]  # it may be anything
        except TypeError:
            raise EncodeError(f"frame is of type {type(frame).__name__}; it must be {kind}") from None
        frame = view.tobytes() if copy or not view.c_contiguous else view.cast("B")
    size = len(frame)
    if max_size is not None and size > max_size:
        raise EncodeError(f"payload of {counted(size, 'byte')} exceeds the limit {max_size}")
    return frame  # type: ignore[return-value]  # callers with copy=False accept a view


def read_digits(field: bytes | bytearray | str, base: int = 10) -> int:
    """Return the number written in ASCII digits; accept nothing but digits.

    ``int`` takes more: signs, spaces, underscores, ``0x`` and the digits of other scripts. A peer that sends
    those is wrong, and an attacker can exploit two programs that disagree about a length.

    Raises:
        ValueError: the text is empty, or has a character that is no digit.
    """
    text = field if isinstance(field, str) else field.decode("latin-1")
    allowed = "0123456789abcdefABCDEF" if base == 16 else "0123456789"[:base]
    if not text or text.strip(allowed):
        raise ValueError(f"{text[:32]!r} is not a number in digits")
    return int(text, base)
