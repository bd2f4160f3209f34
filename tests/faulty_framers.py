"""Framers with one defect each, as people really write them; what the kit is for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from framestream.errors import EncodeError, FramingError
from framestream.framer import Framer, NeedMore, ReadCondition, Span, Window, bytes_of


@dataclass(frozen=True)
class Lines(Framer[bytes]):
    """Lines that end with CR LF, without a defect; the others differ from it in one place."""

    overhead = 2

    def find(self, window: Window) -> Any:
        end = window.data.find(b"\r\n", window.resume)
        if end >= 0:
            return window.start, end, end + 2
        searched = max(window.start, len(window.data) - 1)
        return NeedMore(resume=searched, settled=searched)

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame)
        if b"\r\n" in payload + b"\r":
            raise EncodeError("payload contains the delimiter")
        return payload + b"\r\n"


class Rescans(Lines):
    """Searches from the start again, at every byte."""

    def find(self, window: Window) -> Any:
        end = window.data.find(b"\r\n", window.start)
        return NeedMore() if end < 0 else (window.start, end, end + 2)


class RescansInSecret(Lines):
    """Says where to go on, and does not go on there; the regex engine reads uncounted."""

    def find(self, window: Window) -> Any:
        match = re.compile(rb"\r\n").search(window.data, window.start)
        if match is None:
            return NeedMore(resume=max(window.start, len(window.data) - 1))
        return window.start, match.start(), match.end()


class CountsFromTheStart(Lines):
    """Searches from the right place, and looks at everything besides."""

    def find(self, window: Window) -> Any:
        window.data.count(b"\r\n", window.start)
        return super().find(window)


class CopiesEverything(Lines):
    """Searches from the right place, in a copy made for each question."""

    def find(self, window: Window) -> Any:
        return super().find(
            Window(bytearray(window.data), window.start, window.resume, window.memo, window.eof)
        )


@dataclass
class KeepsState(ReadCondition[bytes]):
    """Keeps its progress in self instead of in NeedMore."""

    overhead = 1
    position: int = field(default=0, compare=False)

    def find(self, window: Window) -> Span | NeedMore:
        end = window.data.find(b"\n", max(window.start, self.position))
        if end < 0:
            self.position = len(window.data)
            return NeedMore(resume=len(window.data))
        self.position = 0
        return window.start, end, end + 1

    def __hash__(self) -> int:
        return 1


class Unhashable(Lines):
    """Cannot be a key."""

    __hash__ = None  # type: ignore[assignment]


class EqualsNothing(Lines):
    """Is not even its own like."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Greedy(ReadCondition[bytes]):
    """A regex that takes what it gets: how long the match is depends on what has arrived."""

    def find(self, window: Window) -> Span | NeedMore:
        match = re.compile(rb"[0-9]+").match(window.data, window.start)
        return NeedMore() if match is None else (window.start, match.end(), match.end())


class SplitsOtherwise(Lines):
    """A fast path that forgets what `find` knows: a lone LF is no end of a line."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        stop = window.data.rfind(b"\n", window.start) + 1
        lines = window.data[window.start : stop].splitlines()
        return lines, max(stop, window.start)


class SplitsFromZero(Lines):
    """A fast path that forgets that the window may begin elsewhere."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        *lines, rest = window.data.split(b"\r\n")
        return lines, len(window.data) - len(rest)


@dataclass(frozen=True)
class EarlySpan(ReadCondition[bytes]):
    """One byte of length, the payload, one byte of checksum, which is checked if it happens to be there."""

    def find(self, window: Window) -> Span | NeedMore:
        data, start = window.data, window.start
        if len(data) == start:
            return NeedMore(size=1)
        stop = start + 1 + data[start]
        if stop < len(data) and sum(data[start + 1 : stop]) % 256 != data[stop]:
            raise FramingError("checksum is wrong", position=stop)
        return start + 1, stop, stop + 1


class ChunkDependent(Lines):
    """Loses a delimiter that is cut in half by a chunk."""

    def find(self, window: Window) -> Any:
        end = window.data.find(b"\r\n", window.resume)
        return NeedMore(resume=len(window.data)) if end < 0 else (window.start, end, end + 2)


class AbsoluteMemo(Lines):
    """Remembers an index in a window that moves."""

    def find(self, window: Window) -> Any:
        end = window.data.find(b"\r\n", window.memo or window.start)
        if end >= 0:
            return window.start, end, end + 2
        searched = max(window.start, len(window.data) - 1)
        return NeedMore(resume=searched, memo=searched)


@dataclass(frozen=True)
class AsksForTooMuch(Framer[bytes]):
    """Counts its header twice when it says how much it needs."""

    def find(self, window: Window) -> Span | NeedMore:
        data, start = window.data, window.start
        if len(data) == start:
            return NeedMore(size=1)
        size = 1 + data[start]
        if len(data) - start < size:
            return NeedMore(size=size + 1)
        return start + 1, start + size, start + size

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame, 255)
        return [bytes([len(payload)]), payload]


class IndexErrorWhenShort(AsksForTooMuch):
    """Looks at a byte that has not arrived."""

    def find(self, window: Window) -> Span | NeedMore:
        size = 2 + window.data[window.start] + window.data[window.start + 1]
        return window.start + 2, window.start + size, window.start + size


class DecodeFails(Lines):
    """Fails for an empty payload, which is a good one."""

    def decode(self, payload: bytes) -> bytes:
        return bytes([payload[0]]) + payload[1:]


class Picky(Lines):
    """Cannot decode what begins with a question mark."""

    def decode(self, payload: bytes) -> bytes:
        if payload.startswith(b"?"):
            raise KeyError(payload)
        return payload


_FAILED = {"before": False}


class SharesADecoder(Picky):
    """Decodes with something that is shared, and broken by what it cannot decode."""

    def decode(self, payload: bytes) -> bytes:
        failed, _FAILED["before"] = _FAILED["before"], payload.startswith(b"?")
        if failed:
            raise RuntimeError("broken by the frame before")
        return super().decode(payload)


class SearchesAfterABadFrame(Picky):
    """Looks at all that follows, for every frame that it will not be able to decode."""

    def find(self, window: Window) -> Any:
        if window.data.startswith(b"?", window.start):
            window.data.count(b"?", window.start)
        return super().find(window)


def leaving(method: str) -> Picky:
    """Return a framer that ends the program in this method."""
    kind: type[Picky] = type("Leaves", (Picky,), {method: lambda *_: sys.exit(7)})
    return kind()


class Hoards(Lines):
    """Remembers every question in a memo."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        if isinstance(found, NeedMore):
            found.memo = (window.memo, len(window.data) - window.start)
        return found


class TrustsItsCaller(Lines):
    """Takes it for granted that a frame is bytes."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        if b"\n" in frame:
            raise EncodeError("payload contains a line feed")
        return frame + b"\r\n"


class WritesAnything(Lines):
    """Writes the text of whatever it is given, line ends included."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        return super().encode(frame) if isinstance(frame, bytes) else f"{frame}\r\n\r".encode()


class CountsItems(AsksForTooMuch):
    """Takes the number of items for the number of bytes."""

    def find(self, window: Window) -> Span | NeedMore:
        data, start = window.data, window.start
        if len(data) == start:
            return NeedMore(size=1)
        return start + 1, start + 1 + data[start], start + 1 + data[start]

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        bytes_of(frame, 255)
        return [bytes([len(frame)]), frame]


class LosesInEncoding(Lines):
    """Writes a delimiter inside the payload as if nothing were the matter."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        return frame + b"\r\n"


class EncodesToText(Lines):
    """Writes something that is no buffer."""

    def encode(self, frame: bytes) -> Any:
        return frame.decode("latin-1") + "\r\n"


class EncodesNothing(Lines):
    """Refuses everything."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        raise EncodeError("not today")


class EncodeFails(Lines):
    """Raises something that says nothing to the caller."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        raise KeyError("codec")


class SettlesTooMuch(Lines):
    """Reports the first half of a delimiter as payload."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        if isinstance(found, NeedMore):
            found.settled = len(window.data)
        return found


class LooksBehindTheFrame(Lines):
    """Counts all delimiters there are, for every frame."""

    def find(self, window: Window) -> Any:
        window.data.count(b"\r\n", window.resume)
        return super().find(window)


class OutOfOrder(Lines):
    """Returns the end before the beginning."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        return (found[1], found[0], found[2]) if isinstance(found, tuple) else found


class ReturnsNone(Lines):
    """Forgets to answer."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        return found if isinstance(found, tuple) else None


class TouchesTheWindow(Lines):
    """Moves the window on by itself."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        if isinstance(found, NeedMore):
            window.resume = len(window.data)
        return found


class MemoIsConsumed(ReadCondition[bytes]):
    """Changes the memo it is handed."""

    overhead = 1

    def find(self, window: Window) -> Span | NeedMore:
        counts = window.memo if window.memo is not None else [0]
        counts[0] += 1
        end = window.data.find(b"\n", window.resume)
        if end < 0:
            return NeedMore(size=counts[0], resume=len(window.data), memo=counts)
        return window.start, end, end + 1


class RefusesTooSoon(Lines):
    """Takes a CR at the end of what is there for an error."""

    def find(self, window: Window) -> Any:
        at = window.data.find(b"\r", window.start)
        if at >= 0 and window.data[at : at + 2] != b"\r\n":
            raise FramingError("a CR without LF", position=at)
        return super().find(window)


class RefusesAtTheEnd(Lines):
    """Takes a stream that breaks off for a malformed one."""

    def find(self, window: Window) -> Any:
        found = super().find(window)
        if window.eof and isinstance(found, NeedMore):
            raise FramingError("line without an end")
        return found


class HidesOverhead(Lines):
    """Does not say that a frame takes two bytes besides its payload."""

    overhead = 0


class LosesTheLast(Lines):
    """Takes back what it cut if the stream does not end properly."""

    def find(self, window: Window) -> Any:
        if window.eof and not window.data.endswith(b"\r\n"):
            return NeedMore()
        return super().find(window)


class SplitRaises(Lines):
    """A fast path that expects a frame to be there."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        lines = window.data[window.start :].split(b"\r\n")
        _, _ = lines[0], lines[1]
        return super().split(window)


class SplitsWithCopies(Lines):
    """A fast path that cuts off the beginning of what is left, again and again."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        lines, start = [], window.start
        while (end := window.data[start:].find(b"\r\n")) >= 0:
            lines.append(window.data[start : start + end])
            start += end + 2
        return lines, start


_SEARCHED = {"bytes": 0}


@dataclass(frozen=True)
class KeepsStateElsewhere(ReadCondition[bytes]):
    """Keeps its progress where nobody looks for it: in a global."""

    overhead = 1

    def find(self, window: Window) -> Span | NeedMore:
        if window.resume == window.start:
            _SEARCHED["bytes"] = 0
        end = window.data.find(b"\n", window.start + _SEARCHED["bytes"])
        if end < 0:
            _SEARCHED["bytes"] = len(window.data) - window.start
            return NeedMore(resume=len(window.data))
        return window.start, end, end + 1


@dataclass(frozen=True)
class SettlesTheHeader(ReadCondition[bytes]):
    """One byte of type, then text up to a semicolon; takes the type for payload when it settles."""

    overhead = 2

    def find(self, window: Window) -> Span | NeedMore:
        first = window.start + (0 if window.taken else 1)
        end = window.data.find(b";", max(window.resume, first))
        if end < 0:
            return NeedMore(resume=len(window.data), settled=len(window.data))
        return first, end, end + 1


@dataclass(frozen=True)
class ForgetsWhatWasTaken(ReadCondition[bytes]):
    """``<text>``: settles payload, and when that is gone takes the next byte for the bracket again."""

    overhead = 2

    def find(self, window: Window) -> Span | NeedMore:
        first = window.start + 1
        end = window.data.find(b">", max(window.resume, first))
        if end >= 0:
            return first, end, end + 1
        if len(window.data) <= first:
            return NeedMore(size=2)
        return NeedMore(resume=len(window.data), settled=len(window.data), payload_start=first)


@dataclass(frozen=True)
class Checked(ReadCondition[bytes]):
    """Two bytes and an exclamation mark."""

    def find(self, window: Window) -> Span | NeedMore:
        stop = window.start + 2
        if len(window.data) <= stop:
            return NeedMore(size=3)
        if window.data[stop] != ord("!"):
            raise FramingError("no exclamation mark", position=stop)
        return window.start, stop, stop + 1


@dataclass(frozen=True)
class Answers(ReadCondition[bytes]):
    """Gives the same answer to everything."""

    answer: Any = field(hash=False)

    def find(self, window: Window) -> Any:
        return self.answer


class CannotPrint(Rescans):
    """Fails when it is asked for its string."""

    def __str__(self) -> str:
        raise RuntimeError


class PrintsAnother(Lines):
    """Takes the name of another framer."""

    name = "line"

    def __str__(self) -> str:
        return "line"


@dataclass(frozen=True)
class AbsoluteResume(ReadCondition[bytes]):
    """Answers with an index of the window before this one."""

    overhead = 1

    def find(self, window: Window) -> Span | NeedMore:
        end = window.data.find(b"\n", window.resume)
        if end < 0:
            return NeedMore(resume=window.memo, memo=len(window.data))
        return window.start, end, end + 1


@dataclass(frozen=True)
class Pieces(Framer[bytes]):
    """Whatever has arrived."""

    def find(self, window: Window) -> Span | NeedMore:
        size = len(window.data)
        return (window.start, size, size) if size > window.start else NeedMore()

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        return bytes_of(frame)


@dataclass(frozen=True)
class Preallocates(ReadCondition[bytes]):
    """Makes room for a frame as soon as it knows its size."""

    def find(self, window: Window) -> Span | NeedMore:
        data, first = window.data, window.start + 3
        if len(data) < first:
            return NeedMore(size=3)
        room = bytearray(int.from_bytes(data[window.start : first], "big"))
        return first, first + len(room), first + len(room)
