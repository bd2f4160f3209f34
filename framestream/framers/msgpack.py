"""Concatenated msgpack objects, on msgpack's C implementation; a walk over their heads finds where a large one ends.

MessagePack specification, "Formats": the first byte of a value, its head, says how many bytes or how
many values follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, Literal, Optional, TypeAlias

import msgpack

from framestream.errors import EncodeError, FramingError, check_count
from framestream.framer import Framer, NeedMore, Span, ValueSpan, Window, bytes_of
from framestream.framers import Interned
from framestream.framers.answers import reason_of

# An object that ends within the first sufficient one of these sizes is built by C where it is found; the
# Python scan is for objects still arriving. Each try costs a sixteenth of the next one.
_LOOKS: Final = (512, 8192, 131072)

_FEED: Final = 1 << 20

MAX_DEPTH: Final = 1024
"""Containers that may be open at once; msgpack's C parser refuses the next one too."""

# The C parser allocates an array as declared, before its elements, in up to 1024 nested ones: until an
# object is known to be complete, all arrays together may declare no more than this (4 MiB of pointers).
_UNPROVEN_ELEMENTS: Final = 1 << 19
_UNPROVEN_ARRAY: Final = _UNPROVEN_ELEMENTS // MAX_DEPTH

# `Unpacker.tell` gives the end of an object only until the next one is begun, and to ask after each would cost
# a tenth. So each piece that is fed leaves a quarter of what is left, and it is asked once after each ("msgpack" in
# benchmarks/), in the last one after each object: if none ends there, those since then, a few, are walked again.
_LAST_PIECE: Final = 512

_HOOKS: Final = ("object_hook", "ext_hook")
_READING: Final = ("raw", "use_list", "strict_map_key", "timestamp", *_HOOKS, "max_map_len")
_WRITING: Final = ("datetime", "default")


@dataclass(frozen=True)
class Msgpack(Framer[Any], metaclass=Interned):
    r"""Cut concatenated msgpack objects, decoded to Python objects; the options are msgpack's own.

    ::

        INPUT     83 a1 61 01 ... | 93 01 02 03 | c0 | ...
        DECODED   {"a": 1, ...}     [1, 2, 3]     None

    Nothing is allocated for a declared size before the bytes have arrived. Containers nest up to 1024
    deep, as in msgpack's C parser; deeper nesting, or the byte 0xc1, is a `FramingError`. An object that
    ends properly but cannot be decoded (text that is not UTF-8, a map key that cannot be hashed, a map
    with more than `max_map_len` pairs) is a `PayloadError`, and reading continues after it.

    With ``strict_map_key=False``, keys may be numbers, and a sender can choose numbers with equal hashes: a
    map of n such keys takes n * n steps. If peers may be hostile, also give `max_map_len`; 1000 will do.

    A hook may be called more than once for the same bytes. ``strict_map_key`` and `max_map_len` apply to
    reading only: a reader of what `encode` writes may have other options.
    """

    raw: Annotated[bool, "Give strings as bytes instead of str."] = False
    use_list: Annotated[bool, "Give arrays as lists; with no, as tuples."] = True
    strict_map_key: Annotated[bool, "Accept only strings and bytes as map keys."] = True
    timestamp: Annotated[
        Literal[0, 1, 2, 3], "Give timestamps as Timestamp (0), float (1), nanoseconds (2) or datetime (3)."
    ] = 0
    max_map_len: Annotated[int | None, "Largest map accepted, in pairs."] = None
    datetime: Annotated[bool, "Write an aware datetime as a timestamp."] = False
    object_hook: Annotated[Callable[[dict[Any, Any]], Any] | None, "Turns each map into a value."] = None
    ext_hook: Annotated[Callable[[int, bytes], Any] | None, "Turns the type and data of an extension into a value."] = (
        None
    )
    default: Annotated[
        Callable[[Any], Any] | None, "Turns an object that msgpack cannot write into one that it can."
    ] = None
    max_size: Annotated[int | None, "Largest object accepted. Bytes."] = None

    _reading: dict[str, Any] = field(init=False, repr=False, compare=False)
    _batching: dict[str, Any] = field(init=False, repr=False, compare=False)
    _writing: dict[str, Any] = field(init=False, repr=False, compare=False)

    name = "msgpack"
    overhead = 4
    """A head is passed on when it is complete: five bytes at most, four of which may be waiting."""

    def __post_init__(self) -> None:
        check_count("max_map_len", self.max_map_len, optional=True)
        check_count("max_size", self.max_size, optional=True)
        self.__dict__.update(_reading=self._chosen(_READING), _writing=self._chosen(_WRITING))
        try:
            self._unpacker(_UNPROVEN_ARRAY, _LOOKS[0], self._reading)
            msgpack.Packer(**self._writing)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"msgpack refuses these options: {error}") from error
        hooks = {name: partial(_ask, self._reading[name]) for name in _HOOKS if name in self._reading}
        self.__dict__["_batching"] = self._reading | hooks

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the next object's span, with its value if it is small or complete at first sight."""
        progress = window.memo
        if progress is None:
            if (found := self._look(window.data, window.start)) is not None:
                return found
            progress = START
        position, progress = scan(window.data, window.resume, progress)
        if progress is None:
            return window.start, position, position
        return NeedMore(resume=position, memo=progress, settled=position)

    def decode(self, payload: bytes) -> Any:
        """Return the object. The payload holds exactly one, so it covers the lengths declared in it."""
        return msgpack.unpackb(payload, **self._reading)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Take objects from one Unpacker; `find` looks again at what it refuses."""
        frames: list[Any] = []
        data, start = window.data, window.start
        while True:
            stop = min(start + _FEED, len(data))
            end, refused = self._pull(data, start, stop, frames, _UNPROVEN_ARRAY)
            if refused:
                end, refused = self._pull(data, end, stop, frames, _longest_harmless(data, end, stop))
            if stop == len(data) and not refused:
                return frames, end
            if end == start and (end := self._take_one(data, start, frames)) == start:
                return frames, start
            start = end

    def encode(self, frame: Any) -> bytes:
        """Return the object as msgpack.

        Raises:
            EncodeError: msgpack cannot represent it, or it is longer than `max_size`.
        """
        try:
            packed: bytes = msgpack.packb(frame, **self._writing)
        except Exception as error:
            raise EncodeError(f"msgpack cannot write it: {reason_of(error)}") from error
        return bytes_of(packed, self.max_size)

    def _look(self, data: bytes | bytearray, start: int) -> ValueSpan | None:
        for size in _LOOKS:
            unpacker = self._unpacker(_UNPROVEN_ARRAY, size, self._reading)
            unpacker.feed(data[start : start + size])
            try:
                value = unpacker.unpack()
            except msgpack.OutOfData:
                if len(data) - start <= size:
                    return None
            except Exception:  # noqa: BLE001 - hooks may raise anything; `decode` raises it again in its place
                return None
            else:
                end = start + unpacker.tell()
                return start, end, end, value
        return None

    def _pull(
        self, data: bytes | bytearray, start: int, stop: int, frames: list[Any], longest: int
    ) -> tuple[int, bool]:
        """Append the Unpacker's objects; return where the rest begins and whether it refused."""
        unpacker = self._unpacker(longest, stop - start, self._batching)
        view, fed, end, known, refused = memoryview(data), start, start, len(frames), False
        try:
            while fed < stop:
                rest = stop - fed
                piece = rest - rest // 4 if rest > _LAST_PIECE else rest
                unpacker.feed(view[fed : fed + piece])
                fed += piece
                for one in unpacker if fed == stop else islice(unpacker, 1):
                    frames.append(one)
                    end, known = start + unpacker.tell(), len(frames)
                frames.extend(unpacker)
        except Exception:  # noqa: BLE001 - hooks may raise anything; `find` and `decode` raise it in its place
            refused = True
        return _end_of(data, end, stop, len(frames) - known), refused

    def _unpacker(self, longest: int, size: int, options: dict[str, Any]) -> Any:
        """Return an Unpacker for so many bytes that refuses arrays declared longer than `longest` elements."""
        # Without a read_size each Unpacker begins with a buffer of 1 MiB.
        return msgpack.Unpacker(max_array_len=longest, max_buffer_size=0, read_size=size, **options)

    def _take_one(self, data: bytes | bytearray, start: int, frames: list[Any]) -> int:
        """Append the one object at `start`, if it is complete and good, and return where it ends."""
        try:
            end, progress = scan(data, start, START)
            if progress is None and end <= len(data):
                frames.append(self.decode(bytes(data[start:end])))
                return end
        except Exception:  # noqa: BLE001, S110 - `find` and `decode` raise it again, with its place
            pass
        return start

    def _chosen(self, names: tuple[str, ...]) -> dict[str, Any]:
        # Options left at their default are not passed: parsing keywords takes a time that shows on small objects.
        chosen = {name: getattr(self, name) for name in names}
        return {name: value for name, value in chosen.items() if value != getattr(type(self), name)}


def _ask(hook: Callable[..., Any], *given: Any) -> Any:
    """Call a hook; raise nothing that an Unpacker, iterated over, takes for the end of what it was fed."""
    try:
        return hook(*given)
    except (StopIteration, msgpack.OutOfData) as error:
        raise ValueError from error


def _longest_harmless(data: bytes | bytearray, start: int, stop: int) -> int:
    """Return how much each array here may declare to keep all together within `_UNPROVEN_ELEMENTS`.

    A map is a dict that grows, and the shorter forms of arrays hold 15 at most.
    """
    heads = data.count(b"\xdc", start, stop) + data.count(b"\xdd", start, stop)
    return _UNPROVEN_ELEMENTS // max(1, min(heads, MAX_DEPTH))


def _end_of(data: bytes | bytearray, start: int, stop: int, count: int) -> int:
    """Return where the last of `count` complete objects ends."""
    if not count:
        return start
    unpacker = msgpack.Unpacker(max_buffer_size=0, read_size=_LOOKS[0])
    unpacker.feed(memoryview(data)[start:stop])
    for _ in range(count):
        unpacker.skip()
    return start + unpacker.tell()  # type: ignore[no-any-return]  # untyped


# Where an object ends, without building it ------------------------------------------------------

Outer: TypeAlias = tuple[int, Optional["Outer"]]
"""Values still to come in an enclosing container, and the entry of the container around it."""

Progress: TypeAlias = tuple[int, int, int, Outer | None]
"""Bytes of the current value to skip, values to come in the innermost container, depth, the others."""

START: Final[Progress] = (0, 1, 0, None)

_NEVER_USED = 0xC1

# Bytes that follow the head before the body: the length, then the type of an extension.
_LENGTH_SIZES = {
    0xC4: 1, 0xC5: 2, 0xC6: 4,  # bin
    0xC7: 1, 0xC8: 2, 0xC9: 4,  # ext
    0xD9: 1, 0xDA: 2, 0xDB: 4,  # str
    0xDC: 2, 0xDD: 4,           # array
    0xDE: 2, 0xDF: 4,           # map
}  # fmt: skip


def _fixed_size(head: int) -> int:
    """Return the size in bytes of a value if its head alone tells it, or 0."""
    if head in range(0xA0, 0xC0):
        return 1 + head - 0xA0  # fixstr
    if head in range(0x80, 0xA0) or head in _LENGTH_SIZES or head == _NEVER_USED:
        return 0
    if head in range(0xD4, 0xD9):
        return 2 + (1 << (head - 0xD4))  # fixext, type byte included
    sizes = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    return sizes.get(head, 1)


_FIXED_SIZES: Final = tuple(map(_fixed_size, range(256)))

# Values of one size come in runs, as in arrays of numbers. Their heads are then equally spaced: one slice
# with a stride and one `lstrip` skip a run at the cost of some six values, so it is tried every 16th time.
_HEADS_OF_SIZE: Final = {
    size: bytes(head for head in range(256) if _FIXED_SIZES[head] == size) for size in set(_FIXED_SIZES) - {0}
}
_RUN_TRIED: Final = 16
_LONGEST_RUN: Final = 256


def scan(data: bytes | bytearray, position: int, progress: Progress) -> tuple[int, Progress | None]:
    """Continue from `position`; return where the object ends and None, or where to continue, and how.

    The end lies beyond the data if only the body of the last value is missing.

    Raises:
        FramingError: a head that MessagePack never uses, or containers nested more than `MAX_DEPTH` deep.
    """
    skip, left, depth, outer = progress
    size = len(data)
    fixed_sizes = _FIXED_SIZES
    position += skip
    while position < size:
        head = data[position]
        if width := fixed_sizes[head]:
            if left % _RUN_TRIED:
                position += width
                left -= 1
            else:
                run = _run(data, position, width, min(left, _LONGEST_RUN))
                position += run * width
                left -= run
        elif (known := _sized_value(data, position, head)) is None:
            break
        else:
            left -= 1
            if known[1] >= 0:
                if depth == MAX_DEPTH:
                    raise FramingError(f"msgpack object nested more than {MAX_DEPTH} deep", position=position)
                depth += 1
                left, outer = known[1], (left, outer)
            position = known[0]
        while not left:
            if outer is None:
                return position, None
            depth -= 1
            left, outer = outer
    here = min(position, size)
    return here, (position - here, left, depth, outer)


def _run(data: bytes | bytearray, position: int, width: int, most: int) -> int:
    """Return how many values of this size follow one another; the first one does."""
    heads = data[position : position + width * most : width]
    return len(heads) - len(heads.lstrip(_HEADS_OF_SIZE[width]))


def _sized_value(data: bytes | bytearray, position: int, head: int) -> tuple[int, int] | None:
    """Return where a scalar ends and -1, or a container's first value and how many; None if cut short."""
    if head < 0xA0:
        return position + 1, (head - 0x80) * 2 if head < 0x90 else head - 0x90
    if head == _NEVER_USED:
        raise FramingError("byte 0xc1 begins no msgpack object", position=position)
    body = position + 1 + _LENGTH_SIZES[head]
    if body > len(data):
        return None
    length = int.from_bytes(data[position + 1 : body], "big")
    if head >= 0xDC:
        return body, length * 2 if head >= 0xDE else length
    return body + length + (0xC7 <= head <= 0xC9), -1
