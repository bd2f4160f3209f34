"""RecordMarking: records of ONC RPC, joined from their fragments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Final, NamedTuple

from framestream import EncodeError, Framer, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import Decode, ValueSpan, bytes_of

_MARK: Final = 4
_LAST: Final = 0x80000000
_MOST_FRAGMENT: Final = 0x7FFFFFFF


class _Progress(NamedTuple):
    """The memo of a record with more than one fragment.

    Attributes:
        first: the first fragment's size.
        gap: distance from the place to resume to the next mark.
    """

    first: int
    gap: int


@dataclass(frozen=True)
class RecordMarking(Framer[bytes]):
    r"""Cut records marked for TCP as ONC RPC does (RFC 5531 11), whole; Erlang's ``sunrm``.

    ::

        INPUT     \x80\0\0\5hello   \0\0\0\3hel\x80\0\0\2lo
        DECODED   b"hello"          b"hello"

    "A record is composed of one or more record fragments": each has a mark of four bytes, whose
    highest bit marks the last one, and whose other bits are its length. NFS, rpcbind and NDMP use it.

    The limit holds for the whole record: the payload is everything after the first mark, so the marks
    between fragments count, and endless empty fragments reach the limit. A record of one fragment is refused
    by its mark; any record can be skipped, and streamed, with the marks between fragments in it.
    """

    name = "record-marking"
    examples: ClassVar[dict[bytes, list[bytes]]] = {b"\x80\0\0\5hello\0\0\0\3hel\x80\0\0\2lo": [b"hello", b"hello"]}
    malformed: ClassVar[dict[bytes, str]] = {}
    peers = ("Erlang/OTP 25 (erts 13.1.5)",)
    overhead = _MARK

    fragment: Annotated[int, "The largest fragment that is written. Bytes."] = _MOST_FRAGMENT
    max_size: Annotated[int | None, "The largest record, with the marks inside. Bytes."] = None

    def __post_init__(self) -> None:
        if type(self.fragment) is not int or not 1 <= self.fragment <= _MOST_FRAGMENT:
            raise ValueError(f"fragment is {self.fragment!r}; it must be from 1 to {_MOST_FRAGMENT}")

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the record's span as soon as the mark of its last fragment has arrived."""
        data, start, size = window.data, window.start, len(window.data)
        progress: _Progress | None = window.memo
        at = window.resume if progress is None else window.resume + progress.gap
        while at + _MARK <= size:
            mark = int.from_bytes(data[at : at + _MARK], "big")
            stop = at + _MARK + (mark & _MOST_FRAGMENT)
            if mark & _LAST:
                return _span(window, progress, stop)
            if progress is None:
                progress = _Progress(mark, 0)
            at = stop
        if progress is None:
            return NeedMore(_MARK)
        seen = min(at, size)
        # No size: asked with every chunk, it can settle that chunk.
        return NeedMore(
            resume=seen,
            memo=_Progress(progress.first, at - seen),
            settled=seen,
            payload_start=start if window.taken else start + _MARK,
        )

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every whole record of one fragment; leave the others to `find`."""
        data, start = bytes(window.data), window.start
        size = len(data)
        records: list[bytes] = []
        append, number = records.append, int.from_bytes
        while start + _MARK <= size:
            first = start + _MARK
            mark = number(data[start:first], "big")
            stop = first + mark - _LAST
            if mark < _LAST or stop > size:
                break
            append(data[first:stop])
            start = stop
        return records, start

    def encode(self, frame: bytes) -> list[bytes]:
        """Return the record in as few fragments as `fragment` allows. Raise EncodeError above `max_size`."""
        pieces = list(self._fragments(bytes_of(frame, copy=False)))
        size = sum(map(len, pieces)) - _MARK
        if self.max_size is not None and size > self.max_size:
            raise EncodeError(f"record of {counted(size, 'byte')} with its marks exceeds the limit {self.max_size}")
        return pieces

    def _fragments(self, record: bytes) -> Iterator[bytes]:
        last = max(len(record) - 1, 0) // self.fragment * self.fragment
        for at in range(0, last, self.fragment):
            yield self.fragment.to_bytes(_MARK, "big")
            yield record[at : at + self.fragment]
        yield (len(record) - last | _LAST).to_bytes(_MARK, "big")
        yield record[last:]


def _span(window: Window, progress: _Progress | None, stop: int) -> Span | ValueSpan:
    first = window.start if window.taken else window.start + _MARK
    if progress is None:
        return first, stop, stop
    return first, stop, stop, Decode(partial(_joined, progress.first))


def _joined(size: int, payload: bytes) -> bytes:
    """Return the record without the marks inside it; `size` is the first fragment's."""
    pieces, at = [payload[:size]], size
    while at < len(payload):
        size = int.from_bytes(payload[at : at + _MARK], "big") & _MOST_FRAGMENT
        at += _MARK
        pieces.append(payload[at : at + size])
        at += size
    return b"".join(pieces)
