"""Concatenated msgpack objects, on msgpack's C implementation."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, ClassVar, Final, Literal

import msgpack

from framestream.errors import EncodeError, check_count
from framestream.framer import Framer, NeedMore, Span, ValueSpan, Window, bytes_of
from framestream.framers.answers import reason_of
from framestream.framers.msgpack_scan import MAX_DEPTH, START, scan
from framestream.framers.values import Interned

# An object that ends within the first sufficient one of these sizes is built by C where it is found; the
# Python scan is for objects still arriving. Each try costs a sixteenth of the next one.
_LOOKS: Final = (512, 8192, 131072)

_FEED: Final = 1 << 20

# The C parser allocates an array as declared, before its elements, in up to 1024 nested ones: until an
# object is known to be complete, all arrays together may declare no more than this (4 MiB of pointers).
_UNPROVEN_ELEMENTS: Final = 1 << 19
_UNPROVEN_ARRAY: Final = _UNPROVEN_ELEMENTS // MAX_DEPTH

# `Unpacker.tell` gives the end of an object only until the next one is begun. Asking once per group of
# objects, instead of once per object, makes a batch as fast as a bare Unpacker (in_process.py, objects); the
# last group is walked again.
_MOST_IN_GROUP: Final = 256
_GROUP_SIZE: Final = 4096

_READING: Final = (
    "raw", "use_list", "strict_map_key", "timestamp", "unicode_errors", "object_hook", "object_pairs_hook",
    "ext_hook", "max_str_len", "max_bin_len", "max_array_len", "max_map_len", "max_ext_len",
)  # fmt: skip
_WRITING: Final = ("use_bin_type", "use_single_float", "datetime", "unicode_errors", "default")


@dataclass(frozen=True)
class Msgpack(Framer[Any], metaclass=Interned):
    r"""Cut concatenated msgpack objects, decoded to Python objects; the options are msgpack's own.

    ::

        INPUT     83 a1 61 01 ... | 93 01 02 03 | c0 | ...
        DECODED   {"a": 1, ...}     [1, 2, 3]     None

    Nothing is allocated for a declared size before the bytes have arrived. Containers nest up to 1024
    deep, as in msgpack's C parser; deeper nesting, or the byte 0xc1, is a `FramingError`. An object that
    ends properly but cannot be decoded (text that is not UTF-8, a map key that cannot be hashed, a length
    above one of the ``max_..._len``) is a `PayloadError`, and reading continues after it.

    With ``strict_map_key=False``, keys may be numbers, and a sender can choose numbers with equal hashes: a
    map of n such keys takes n * n steps. If peers may be hostile, also give `max_map_len`; 1000 will do.

    A hook may be called more than once for the same bytes. ``strict_map_key`` and the ``max_..._len``
    apply to reading only: a reader of what `encode` writes may have other options.
    """

    raw: Annotated[bool, "Give strings as bytes instead of str."] = False
    use_list: Annotated[bool, "Give arrays as lists; with no, as tuples."] = True
    strict_map_key: Annotated[bool, "Accept only strings and bytes as map keys."] = True
    timestamp: Annotated[
        Literal[0, 1, 2, 3], "Give timestamps as Timestamp (0), float (1), nanoseconds (2) or datetime (3)."
    ] = 0
    unicode_errors: Annotated[str, "What to do with text that is not UTF-8: strict, replace, ..."] = "strict"
    max_str_len: Annotated[int | None, "Longest string accepted, in bytes."] = None
    max_bin_len: Annotated[int | None, "Longest binary value accepted, in bytes."] = None
    max_array_len: Annotated[int | None, "Longest array accepted, in elements."] = None
    max_map_len: Annotated[int | None, "Largest map accepted, in pairs."] = None
    max_ext_len: Annotated[int | None, "Longest extension value accepted, in bytes."] = None
    use_bin_type: Annotated[bool, "Write bytes as binary values; with no, as strings."] = True
    use_single_float: Annotated[bool, "Write floats with 4 bytes instead of 8."] = False
    datetime: Annotated[bool, "Write an aware datetime as a timestamp."] = False
    object_hook: Annotated[Callable[[dict[Any, Any]], Any] | None, "Turns each map into a value."] = None
    object_pairs_hook: Annotated[
        Callable[[list[tuple[Any, Any]]], Any] | None, "Turns each map, as a list of pairs, into a value."
    ] = None
    ext_hook: Annotated[Callable[[int, bytes], Any] | None, "Turns the type and data of an extension into a value."] = (
        None
    )
    default: Annotated[
        Callable[[Any], Any] | None, "Turns an object that msgpack cannot write into one that it can."
    ] = None
    max_size: Annotated[int | None, "Largest object accepted. Bytes."] = None

    name = "msgpack"
    overhead = 4
    """A head is passed on when it is complete: five bytes at most, four of which may be waiting."""

    compiled: ClassVar[bool] = msgpack.Unpacker.__module__ != "msgpack.fallback"
    """Whether msgpack's C implementation is installed; without it batches are cut object by object."""

    def __post_init__(self) -> None:
        for option in self.__dataclass_fields__:
            if option.startswith("max_"):
                check_count(option, getattr(self, option), optional=True)
        try:
            codecs.lookup_error(self.unicode_errors)
            msgpack.Unpacker(**self._careful)
            msgpack.Packer(**self._writing)
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"msgpack refuses these options: {error}") from error

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
        if not self.compiled:
            return super().split(window)  # the fallback parses an unfinished object again from its start
        frames: list[Any] = []
        data, start = window.data, window.start
        while True:
            stop = min(start + _FEED, len(data))
            end, refused = self._pull(data, start, stop, frames, _UNPROVEN_ARRAY)
            if refused:
                end, refused = self._pull(data, end, stop, frames, self._longest_harmless(data, end, stop))
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
            unpacker = self._unpacker(data[start : start + size], _UNPROVEN_ARRAY)
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
        unpacker = self._unpacker(memoryview(data)[start:stop], longest)
        end, known, group, refused = start, len(frames), 1, False
        try:
            while True:
                frames.extend(islice(unpacker, group))
                if len(frames) < known + group:
                    break
                known += group
                group_start, end = end, start + unpacker.tell()
                group = min(1 + _GROUP_SIZE * group // (end - group_start), _MOST_IN_GROUP)
        except Exception:  # noqa: BLE001 - hooks may raise anything; `find` and `decode` raise it in its place
            refused = True
        return _end_of(data, end, stop, len(frames) - known), refused

    def _unpacker(self, data: bytes | bytearray | memoryview, longest: int) -> Any:
        """Return an Unpacker of this data that refuses arrays declared longer than `longest` elements."""
        options = self._careful if longest == _UNPROVEN_ARRAY else self._limited(longest)
        unpacker = msgpack.Unpacker(**options)
        unpacker.feed(data)
        return unpacker

    def _longest_harmless(self, data: bytes | bytearray, start: int, stop: int) -> int:
        """Return how much each array here may declare to keep all together within `_UNPROVEN_ELEMENTS`."""
        heads = sum(data.count(head, start, stop) for head in self._preallocating)
        return _UNPROVEN_ELEMENTS // max(1, min(heads, MAX_DEPTH))

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

    @cached_property
    def _reading(self) -> dict[str, Any]:
        return self._chosen(_READING)

    @cached_property
    def _writing(self) -> dict[str, Any]:
        return self._chosen(_WRITING)

    @cached_property
    def _careful(self) -> dict[str, Any]:
        return self._limited(_UNPROVEN_ARRAY)

    @cached_property
    def _preallocating(self) -> dict[bytes, str]:
        # A map is a dict that grows, unless its pairs are wanted as a list. Shorter forms hold 15 at most.
        array = {b"\xdc": "max_array_len", b"\xdd": "max_array_len"}
        return array | {b"\xde": "max_map_len", b"\xdf": "max_map_len"} if self.object_pairs_hook else array

    def _limited(self, longest: int) -> dict[str, Any]:
        # Without a read_size each Unpacker begins with a buffer of 1 MiB.
        options = {**self._reading, "max_buffer_size": 0, "read_size": _LOOKS[0]}
        for option in self._preallocating.values():
            options[option] = min(options.get(option, longest), longest)
        return options

    def _chosen(self, names: tuple[str, ...]) -> dict[str, Any]:
        # Options left at their default are not passed: parsing keywords takes a time that shows on small
        # objects.
        defaults = type(self).__dataclass_fields__
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name].default}


def _end_of(data: bytes | bytearray, start: int, stop: int, count: int) -> int:
    """Return where the last of `count` complete objects ends."""
    if not count:
        return start
    unpacker = msgpack.Unpacker(max_buffer_size=0, read_size=_LOOKS[0])
    unpacker.feed(memoryview(data)[start:stop])
    for _ in range(count):
        unpacker.skip()
    end: int = start + unpacker.tell()
    return end
