"""Framers with one defect each, as people really write them; what the kit is for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from framestream.errors import EncodeError, FramingError
from framestream.framer import PADDING, Framer, NeedMore, ReadCondition, Span, Window, bytes_of, first_match


def cr_lf(window: Window, begin: int, **need: Any) -> Any:
    """Return the line whose end is found from `begin` on, or else NeedMore, with these answers in it."""
    end = window.data.find(b"\r\n", begin)
    if end >= 0:
        return window.start, end, end + 2
    searched = max(window.start, len(window.data) - 1)
    answer = NeedMore(resume=searched, settled=searched)
    for name, value in need.items():
        setattr(answer, name, value)
    return answer


@dataclass(frozen=True)
class Value(ReadCondition[bytes]):
    """A condition without fields, which equals its copy."""


@dataclass(frozen=True)
class Lines(Framer[bytes]):
    """Lines that end with CR LF, without a defect; the others differ from it in one place."""

    overhead = 2

    def find(self, window: Window) -> Any:
        return cr_lf(window, window.resume)

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame)
        if b"\r\n" in payload + b"\r":
            raise EncodeError("payload contains the delimiter")
        return payload + b"\r\n"


def faulty(name: str, kind: Any = Lines, /, **attributes: Any) -> Any:
    """Return a class of this kind, with other attributes."""
    return type(name, (kind,), attributes)


def after(change: Callable[[Any, Window], Any], *kinds: type) -> Any:
    """Return a `find` that answers what `change` makes of an answer of one of these kinds."""

    def find(_: Lines, window: Window) -> Any:
        found = cr_lf(window, window.resume)
        return change(found, window) if isinstance(found, kinds) else found

    return find


def first(action: Callable[[Window], object]) -> Any:
    """Return a `find` that does something else before it searches as it should."""

    def find(_: Lines, window: Window) -> Any:
        action(window)
        return cr_lf(window, window.resume)

    return find


def counting(window: Window, counts: list[int]) -> Any:
    counts[0] += 1
    return cr_lf(window, window.resume, size=counts[0], memo=counts)


def refuse(reason: str, error: type[Exception] = FramingError, **details: Any) -> Any:
    raise error(reason, **details)


# Searches from the start again, at every byte.
Rescans = faulty("Rescans", find=lambda _, w: cr_lf(w, w.start, resume=None, settled=None))
# Searches from the right place, and looks at everything besides.
CountsFromTheStart = faulty("CountsFromTheStart", find=first(lambda w: w.data.count(b"\r\n", w.start)))
LooksBehindTheFrame = faulty("LooksBehindTheFrame", find=first(lambda w: w.data.count(b"\r\n", w.resume)))
CopiesEverything = faulty(
    "CopiesEverything", find=lambda _, w: cr_lf(Window(bytearray(w.data), w.start, w.resume), w.resume)
)
# Remembers some questions in a memo, or an index in a window that moves.
HoardsALittle = faulty(
    "HoardsALittle", find=lambda _, w: cr_lf(w, w.resume, memo=w.memo if (len(w.data) - w.start) % 10 else (w.memo,))
)
AbsoluteMemo = faulty("AbsoluteMemo", find=lambda _, w: cr_lf(w, w.memo or w.start, memo=max(w.start, len(w.data) - 1)))
# Answers with an index of the window before this one.
AbsoluteResume = faulty(
    "AbsoluteResume", find=lambda _, w: cr_lf(w, w.resume, resume=w.memo, settled=None, memo=len(w.data))
)
# Moves the window on by itself, or changes the memo it is handed.
TouchesTheWindow = faulty(
    "TouchesTheWindow", find=after(lambda found, w: setattr(w, "resume", len(w.data)) or found, NeedMore)
)
MemoIsConsumed = faulty("MemoIsConsumed", find=lambda _, w: counting(w, w.memo if w.memo else [0]))
# Moves the frame on by itself, or takes it out of the data.
MovesTheStart = faulty("MovesTheStart", find=after(lambda found, w: setattr(w, "start", found[2]) or found, tuple))
EmptiesTheWindow = faulty(
    "EmptiesTheWindow", find=after(lambda found, w: (type(w.data) is bytearray and w.data.clear()) or found, tuple)
)
# Loses a delimiter that is cut in half by a chunk.
ChunkDependent = faulty("ChunkDependent", find=lambda _, w: cr_lf(w, w.resume, resume=len(w.data), settled=None))
# Reports the first half of a delimiter as payload.
SettlesTooMuch = faulty("SettlesTooMuch", find=lambda _, w: cr_lf(w, w.resume, settled=len(w.data)))
# Answers in no form that the contract has.
OutOfOrder = faulty("OutOfOrder", find=after(lambda found, _: (found[1], found[0], found[2]), tuple))
ReturnsNone = faulty("ReturnsNone", find=after(lambda *_: None, NeedMore))
# Takes a stream that breaks off for a malformed one, or takes back what it cut.
RefusesAtTheEnd = faulty(
    "RefusesAtTheEnd", find=after(lambda found, w: refuse("line without an end") if w.eof else found, NeedMore)
)
LosesTheLast = faulty(
    "LosesTheLast", find=after(lambda found, w: NeedMore() if w.eof and not w.data.endswith(b"\r\n") else found, tuple)
)
# Forgets in a fast path that a lone LF ends no line, and that a window may begin, and end, anywhere.
SplitsOtherwise = faulty(
    "SplitsOtherwise", split=lambda _, w: (w.data[w.start :].split(b"\n")[:-1], w.data.rfind(b"\n") + 1)
)
SplitsFromZero = faulty("SplitsFromZero", split=lambda _, w: (w.data.split(b"\r\n")[:-1], w.data.rfind(b"\r\n") + 2))
SplitRaises = faulty("SplitRaises", split=lambda self, w: w.data[w.start :].split(b"\r\n")[1] and Lines.split(self, w))
SplitsToATuple = faulty("SplitsToATuple", split=lambda self, w: (tuple(Lines.split(self, w)[0]), w.start))
SplitsToBytes = faulty("SplitsToBytes", split=lambda _, w: w.data[w.start :].split(b"\r\n"))
SplitsToTheRest = faulty("SplitsToTheRest", split=lambda _, w: ([], w.data))
# Fails for an empty payload, which is a good one, or for one that it refuses rightly.
DecodeFails = faulty("DecodeFails", decode=lambda _, payload: bytes([payload[0]]) + payload[1:])
Picky = faulty("Picky", decode=lambda _, payload: refuse("?", KeyError) if payload.startswith(b"?") else payload)
# Looks at all that follows, for every frame that it will not be able to decode.
SearchesAfterABadFrame = faulty(
    "SearchesAfterABadFrame",
    Picky,
    find=first(lambda w: w.data.startswith(b"?", w.start) and w.data.count(b"?", w.start)),
)
# Takes it for granted that a frame is bytes, or writes the text of whatever it is given, line ends included.
TrustsItsCaller = faulty(
    "TrustsItsCaller", encode=lambda _, frame: refuse("LF", EncodeError) if b"\n" in frame else frame + b"\r\n"
)
WritesAnything = faulty(
    "WritesAnything",
    encode=lambda self, frame: Lines.encode(self, frame) if isinstance(frame, bytes) else f"{frame}\r\n\r".encode(),
)
# Writes a delimiter inside the payload as if nothing were the matter, or no buffer, or nothing at all.
LosesInEncoding = faulty("LosesInEncoding", encode=lambda _, frame: frame + b"\r\n")
EncodesToText = faulty("EncodesToText", encode=lambda _, frame: frame.decode("latin-1") + "\r\n")
EncodesNothing = faulty("EncodesNothing", encode=lambda *_: refuse("not today", EncodeError))
EncodeFails = faulty("EncodeFails", encode=lambda *_: refuse("codec", KeyError))
# Writes what it does not take itself, or leaves its mark on what it is given.
IgnoresItsLimit = faulty("IgnoresItsLimit", max_size=9)
EncodeChanges = faulty(
    "EncodeChanges",
    decode=lambda _, payload: [payload],
    encode=lambda self, frame: Lines.encode(self, frame.pop() if type(frame) is list and frame else None),
)
# Is no value.
Unhashable = faulty("Unhashable", __hash__=None)
EqualsNothing = faulty("EqualsNothing", __eq__=lambda self, other: self is other, __hash__=object.__hash__)
# Does not say that a frame takes two bytes besides its payload.
HidesOverhead = faulty("HidesOverhead", overhead=0)
# Fails when it is asked for its string, or takes the name of another framer.
CannotPrint = faulty("CannotPrint", Rescans, __str__=lambda _: refuse("", RuntimeError))
PrintsAnother = faulty("PrintsAnother", name="line", __str__=lambda _: "line")
# Would end the program, or raises, where nobody expects it.
ExitsInPrint = faulty("ExitsInPrint", Rescans, __str__=lambda _: sys.exit(3))
ExitsInHash = faulty("ExitsInHash", __hash__=lambda _: sys.exit(3))
HasNoLimit = faulty("HasNoLimit", max_size=property(lambda _: refuse("?", KeyError)))


def leaving(method: str) -> Lines:
    """Return a framer that ends the program in this method."""
    framer: Lines = faulty("Leaves", Picky, **{method: lambda *_: sys.exit(7)})()
    return framer


class RescansInSecret(Lines):
    """Says where to go on, and does not go on there; the regex engine reads uncounted."""

    def find(self, window: Window) -> Any:
        match = re.compile(rb"\r\n").search(window.data, window.start)
        if match is None:
            return NeedMore(resume=max(window.start, len(window.data) - 1))
        return window.start, match.start(), match.end()


# Goes over all of it again, honestly, and uncounted.
RescansByRegex = faulty(
    "RescansByRegex",
    find=lambda _, w: (
        (w.start, *match.span()) if (match := re.compile(rb"\r\n").search(w.data, w.start)) else NeedMore()
    ),
)


class OverlooksHalves(Value):
    """Refuses two tabs in a row, unless a chunk ends between them."""

    overhead = 2

    def find(self, window: Window) -> Any:
        found = cr_lf(window, window.resume)
        stop = len(window.data) if isinstance(found, NeedMore) else found[1]
        at = window.data.find(b"\t\t", window.resume + (window.resume > window.start), stop)
        return found if at < 0 else refuse("two tabs", position=at)


class CountsInASlot(Lines):
    """Counts where `vars` shows nothing, under a name that is mangled."""

    __slots__ = ("__asked",)

    def find(self, window: Window) -> Any:
        object.__setattr__(self, "_CountsInASlot__asked", getattr(self, "_CountsInASlot__asked", 0) + 1)
        return super().find(window)


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


class Greedy(Value):
    """A regex that takes what it gets: how long the match is depends on what has arrived."""

    def find(self, window: Window) -> Span | NeedMore:
        match = re.compile(rb"[0-9]+").match(window.data, window.start)
        return NeedMore() if match is None else (window.start, match.end(), match.end())


class EarlySpan(Value):
    """One byte of length, the payload, one byte of checksum, which is checked if it happens to be there."""

    def find(self, window: Window) -> Span | NeedMore:
        data, start = window.data, window.start
        if len(data) == start:
            return NeedMore(size=1)
        stop = start + 1 + data[start]
        if stop < len(data) and sum(data[start + 1 : stop]) % 256 != data[stop]:
            raise FramingError("checksum is wrong", position=stop)
        return start + 1, stop, stop + 1


@dataclass(frozen=True)
class Counted(Framer[bytes]):
    """Two bytes of length and the payload, without a defect; the next ones differ from it in one place."""

    overhead = 2

    def find(self, window: Window) -> Span | NeedMore:
        first = window.start + 2
        if len(window.data) < first:
            return NeedMore(size=2)
        stop = first + int.from_bytes(window.data[window.start : first])
        return first, stop, stop

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame, 0xFFFF)
        return [len(payload).to_bytes(2), payload]


# Does not say that its header comes on top of the payload.
HidesHeader = faulty("HidesHeader", Counted, overhead=0)


class AsksForTooMuch(Counted):
    """Counts its header twice when it says how much it needs."""

    def find(self, window: Window) -> Span | NeedMore:
        found = super().find(window)
        if isinstance(found, NeedMore) or found[2] <= len(window.data):
            return found
        return NeedMore(size=found[2] - window.start + 2)


class IndexErrorWhenShort(Counted):
    """Looks at a byte that has not arrived."""

    def find(self, window: Window) -> Span | NeedMore:
        size = 2 + window.data[window.start] + window.data[window.start + 1]
        return window.start + 2, window.start + size, window.start + size


@dataclass(frozen=True)
class Pairs(Framer[bytes]):
    """Two bytes, and takes two items of any width for two bytes."""

    def find(self, window: Window) -> Span | NeedMore:
        return window.start, window.start + 2, window.start + 2

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        bytes_of(frame)
        if len(frame) != 2:
            raise EncodeError("a frame has two bytes")
        return bytes(frame)


class CountsItems(Counted):
    """Takes the number of items for the number of bytes."""

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        bytes_of(frame, 0xFFFF)
        return [len(frame).to_bytes(2), frame]


_FAILED = {"before": False}


class SharesADecoder(Picky):
    """Decodes with something that is shared, and broken by what it cannot decode."""

    def decode(self, payload: bytes) -> bytes:
        failed, _FAILED["before"] = _FAILED["before"], payload.startswith(b"?")
        return b"" if failed else super().decode(payload)


class RefusesTooSoon(Lines):
    """Takes a CR at the end of what is there for an error."""

    def find(self, window: Window) -> Any:
        at = window.data.find(b"\r", window.start)
        if at >= 0 and window.data[at : at + 2] != b"\r\n":
            raise FramingError("a CR without LF", position=at)
        return super().find(window)


class SplitsWithCopies(Lines):
    """A fast path that cuts off the beginning of what is left, again and again."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        lines, start = [], window.start
        while (end := window.data[start:].find(b"\r\n")) >= 0:
            lines.append(window.data[start : start + end])
            start += end + 2
        return lines, start


class SplitsACopy(Lines):
    """Takes a copy once, as it should, and cuts off the beginning of that again and again."""

    def split(self, window: Window) -> tuple[list[bytes], int]:
        lines, data = [], bytes(window.data[window.start :])
        while (end := data.find(b"\r\n")) >= 0:
            lines.append(data[:end])
            data = data[end + 2 :]
        return lines, len(window.data) - len(data)


_SEARCHED = {"bytes": 0}


class KeepsStateElsewhere(Value):
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


class SettlesTheHeader(Value):
    """One byte of type, then text up to a semicolon; takes the type for payload when it settles."""

    overhead = 2

    def find(self, window: Window) -> Span | NeedMore:
        first = window.start + (0 if window.taken else 1)
        end = window.data.find(b";", max(window.resume, first))
        if end < 0:
            return NeedMore(resume=len(window.data), settled=len(window.data))
        return first, end, end + 1


class ForgetsWhatWasTaken(Value):
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


class Checked(Value):
    """Two bytes and an exclamation mark."""

    def find(self, window: Window) -> Span | NeedMore:
        stop = window.start + 2
        if len(window.data) <= stop:
            return NeedMore(size=3)
        if window.data[stop] != ord("!"):
            raise FramingError("no exclamation mark", position=stop)
        return window.start, stop, stop + 1


@dataclass(frozen=True)
class IgnoresAnOption(Lines):
    """Equals framers that read otherwise."""

    encodings: dict[str, str] = field(default_factory=dict, compare=False)


class Counted(Lines):
    """Two bytes of length, which overflow."""

    def find(self, window: Window) -> Any:
        first = window.start + 2
        if len(window.data) < first:
            return NeedMore(2)
        stop = first + int.from_bytes(window.data[window.start : first], "big")
        return first, stop, stop

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame)
        return (len(payload) & 0xFFFF).to_bytes(2, "big") + payload


class ReusesABuffer(Lines):
    """Writes each frame to where it wrote the one before."""

    buffer = bytearray()

    def encode(self, frame: bytes) -> Any:
        self.buffer[:] = super().encode(frame)
        return self.buffer


class BelievesAMark(Lines):
    """Quoted text with its size in front: where a quote stands no frame need begin, as this one claims."""

    synchronises = "exact"
    overhead = 3

    def find(self, window: Window) -> Any:
        first = window.start + 2
        if window.data[window.start : window.start + 1] not in (b"", b'"'):
            raise FramingError("no quote", position=window.start)
        if len(window.data) < first:
            return NeedMore(2)
        stop = first + window.data[first - 1]
        return first, stop, stop

    def find_start(self, window: Window) -> int | NeedMore:
        return first_match(re.compile(b'"'), window, 1)

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        payload = bytes_of(frame, 255)
        return b'"' + bytes([len(payload)]) + payload


@dataclass(frozen=True)
class Answers(ReadCondition[bytes]):
    """Gives the same answer to everything."""

    answer: Any = field(hash=False)

    def find(self, window: Window) -> Any:
        return self.answer


# Passes over nothing, for ever.
Idles = faulty("Idles", Answers, can_be_empty=True)


class Preallocates(Value):
    """Makes room for a frame as soon as it knows its size."""

    def find(self, window: Window) -> Span | NeedMore:
        data, first = window.data, window.start + 3
        if len(data) < first:
            return NeedMore(size=3)
        room = bytearray(int.from_bytes(data[window.start : first], "big"))
        return first, first + len(room), first + len(room)


class Starts(Lines):
    """Lines that say where one may begin, without a defect; the next ones differ from it in one place."""

    synchronises = "exact"
    lookbehind = 2

    def find_start(self, window: Window) -> Any:
        end = window.data.find(b"\r\n", max(window.start - 2, 0))
        if end >= 0:
            return end + 2
        size = len(window.data)
        return size if window.eof else NeedMore(resume=max(window.start, size - 1))


class StartsWithBlanks(Starts):
    """The same without a defect, where empty lines are padding and an exclamation mark is refused."""

    def find(self, window: Window) -> Any:
        if not window.taken and window.data.startswith(b"\r\n", window.start):
            return window.start, window.start, window.start + 2, PADDING
        if not window.taken and window.data.startswith(b"!", window.start):
            raise FramingError("a line begins with an exclamation mark")
        return super().find(window)

    def encode(self, frame: bytes) -> bytes | Sequence[bytes]:
        if not bytes_of(frame) or bytes_of(frame).startswith(b"!"):
            raise EncodeError("line is empty, or begins with an exclamation mark")
        return super().encode(frame)


def start(answer: Callable[[Any, Window], Any], **attributes: Any) -> Any:
    """Return an instance whose `find_start` returns what this makes of the right answer."""

    def find_start(self: Starts, window: Window) -> Any:
        return answer(Starts.find_start(self, window), window)

    return faulty("Starts", Starts, **{"find_start": find_start, **attributes})()


def starts_at_any_line_feed(found: Any, window: Window) -> Any:
    end = window.data.find(b"\n", max(window.start - 1, 0))
    return end + 1 if end >= 0 else found


def starts_over(found: Any, window: Window) -> Any:
    return NeedMore(resume=window.start) if isinstance(found, NeedMore) else found


def starts_somewhere_else_the_second_time(found: Any, window: Window) -> Any:
    return window.start + next(_CALLS) % 2


_CALLS = count()


def starts_too_soon(found: Any, window: Window) -> Any:
    return len(window.data) if isinstance(found, NeedMore) else found
