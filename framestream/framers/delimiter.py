"""Delimiter and Line: frames that end with a delimiter."""

from __future__ import annotations

import codecs
import re
from dataclasses import KW_ONLY, dataclass, field
from io import BytesIO
from itertools import product, starmap
from typing import TYPE_CHECKING, Annotated, Any, AnyStr, Literal, TypedDict, TypeVar, Unpack, overload

from framestream.errors import EncodeError, check_choice, check_count, counted
from framestream.framer import Framer, NeedMore, Span, Window, bytes_of
from framestream.framers import Interned, looks_like

T = TypeVar("T")

_SAMPLE = 512


class DelimiterSearch(Framer[T]):
    """The common part of `Delimiter` and `Line`: the first of several delimiters ends the frame."""

    keep: bool
    last: bool
    _written: bytes
    _shortest: bytes
    _longer: tuple[bytes, ...]
    _any: re.Pattern[bytes]
    _nested: bool

    def _adopt(self, delimiters: tuple[bytes, ...]) -> None:
        shortest, *longer = sorted(set(delimiters), key=len)
        longest = max(map(len, delimiters))
        self.__dict__.update(
            # Counted even if delimiters are kept and so are payload: bytes that may begin one
            # are not yet too much.
            overhead=longest,
            lookbehind=longest,
            # If the end of one is the beginning of another, the bytes before decide which it was.
            synchronises="likely" if any(starmap(_overlap, product(delimiters, repeat=2))) else "exact",
            _written=b"" if self.keep else delimiters[0],
            _shortest=shortest,
            # Kept, they need not be told apart.
            _longer=() if self.keep else tuple(reversed(longer)),
            # No delimiter contains another except at its end, so the match that starts first also ends
            # first, and is the longest that ends there.
            _any=re.compile(b"(" + b"|".join(map(re.escape, delimiters)) + b")"),
            # If all end with the shortest one, a frame ends where that one does, and no regex is needed.
            _nested=all(delimiter.endswith(shortest) for delimiter in longer),
        )

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the first delimiter.

        Deciding by where a delimiter ends makes the answer independent of bytes that have not arrived.
        """
        data, start = window.data, window.start
        if self._nested:
            stop = data.find(self._shortest, window.resume)
            if stop < 0:
                return self._no_delimiter(window)
            end = stop + len(self._shortest)
            for delimiter in self._longer:
                if data.endswith(delimiter, start, end):
                    stop = end - len(delimiter)
                    break
        elif match := self._any.search(data, window.resume):
            stop, end = match.span()
        else:
            return self._no_delimiter(window)
        return start, end if self.keep else stop, end

    def _no_delimiter(self, window: Window) -> Span | NeedMore:
        size = len(window.data)
        if window.eof and self.last and (size > window.start or window.taken):
            return window.start, size, size
        # The last bytes may be the beginning of a delimiter.
        unclear = max(window.start, size - self.overhead + 1)
        return NeedMore(resume=unclear, settled=unclear)

    def find_start(self, window: Window) -> int | NeedMore:
        """Return where the first delimiter ends that ends at or after the start."""
        data, start = window.data, window.start
        for match in self._any.finditer(data, max(start - self.lookbehind, 0)):
            if match.end() >= start:
                return match.end()
        return len(data) if window.eof else NeedMore(resume=len(data))

    def _split_bytes(self, window: Window) -> tuple[list[bytes], int]:
        data = bytes(window.data)
        block = data[window.start :]
        if self.keep and self._nested and self._shortest == b"\n":  # a file is 16 times as fast as the regex
            payloads = list(BytesIO(block))
            if not block or block.endswith(b"\n"):
                payloads.append(b"")
        elif self.keep:
            parts = self._any.split(block)
            payloads = [*map(bytes.__add__, parts[:-1:2], parts[1::2]), parts[-1]]
        elif not self._longer:  # twice as fast as the regex (in_process.py, lines); so is the next
            payloads = block.split(self._shortest)
        elif self._shortest == b"\n" and self._longer == (b"\r\n",):
            payloads = split_lines(block, b"\n", b"\r\n")
        else:
            payloads = self._any.split(block)[::2]
        rest = payloads.pop()
        return payloads, len(data) - len(rest)

    def explain(self, window: Window) -> str:
        """Guess which binary protocol this is."""
        return looks_like(window.data, window.start, expecting_text=True)

    def _with_delimiter(self, payload: bytes) -> bytes:
        """Return the payload with its delimiter; refuse any that would be read back differently."""
        wire = payload + self._written
        found = self.find(Window(wire))
        shown = f"payload of {counted(len(payload), 'byte')}"
        if not isinstance(found, tuple):
            raise EncodeError(f"{shown} has to keep its delimiter at its end")
        _, stop, end = found
        if (stop, end) != (len(payload), len(wire)):
            raise EncodeError(f"{shown} would be read back as {stop}: a delimiter ends at byte {end}")
        return wire


@dataclass(frozen=True)
class Delimiter(DelimiterSearch[bytes], metaclass=Interned, checked=True):
    r"""Frames that end with a delimiter, or with one of several.

    ::

        Delimiter(b"\0"):             b"one\0two\0"      ->  b"one", b"two"
        Delimiter((b"\r\n", b"\n")):  b"one\r\ntwo\n"    ->  b"one", b"two"
        Delimiter(b";", keep=True):   b"one;two;"       ->  b"one;", b"two;"
        Delimiter(b";", last=True):   b"one;two", end   ->  b"one", b"two"

    The delimiter that ends first wins, and of those that end at the same byte the longest. A delimiter
    that contains another, other than at its end, could never win and is refused. The limit counts the
    payload, so it counts delimiters that are kept.

    Writing appends the first delimiter (with `keep`, the payload brings its own), and refuses a payload
    that would be read back differently: one that contains a delimiter, or whose end forms another
    delimiter together with the one appended.
    """

    name = "delimiter"

    delimiters: Annotated[
        bytes | tuple[bytes, ...], "What ends a frame: bytes, or several; the first is used for writing."
    ]
    _: KW_ONLY
    keep: Annotated[bool, "Leave the delimiter at the end of the payload."] = False
    last: Annotated[bool, "At the end of the stream, accept a last frame without a delimiter."] = False
    max_size: Annotated[int | None, "The largest payload. Bytes."] = None

    def __post_init__(self) -> None:
        check_count("max_size", self.max_size, optional=True)
        if isinstance(self.delimiters, list):
            raise TypeError(f"delimiters are {self.delimiters!r}; several are given as a tuple")
        delimiters: tuple[Any, ...] = self.delimiters if isinstance(self.delimiters, tuple) else (self.delimiters,)
        if not delimiters:
            raise ValueError("no delimiter is given")
        for delimiter in delimiters:
            if not isinstance(delimiter, bytes) or not delimiter:
                raise ValueError(f"delimiter {delimiter!r} is not bytes, one or more")
        for delimiter, other in product(delimiters, repeat=2):
            if other in delimiter[:-1]:
                raise ValueError(f"delimiter {delimiter!r} can never end a frame: {other!r} in it ends one first")
        object.__setattr__(self, "delimiters", delimiters)
        self._adopt(delimiters)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every frame that has its delimiter."""
        return self._split_bytes(window)

    def encode(self, frame: bytes) -> bytes:
        """Return the payload with its delimiter; refuse any that would be read back differently."""
        return self._with_delimiter(bytes_of(frame, self.max_size))


def _overlap(one: bytes, other: bytes) -> bool:
    """Tell whether the end of one is the beginning of the other, but neither is the end of the other."""
    return any(one.endswith(other[:size]) for size in range(1, min(len(one), len(other))))


def split_lines(block: AnyStr, short: AnyStr, long: AnyStr) -> list[AnyStr]:
    """Split by two delimiters; the long one is the short one after one more character."""
    head = long[:1]
    if head not in block:
        return block.split(short)
    # Nearly always all ends are alike, and two passes in C cost less than one in Python. The first ends show
    # whether to try that.
    sample = block[:_SAMPLE]
    if sample.count(short) == sample.count(long):
        parts = block.split(long)
        if block.count(short) == len(parts) - 1:
            return parts
    parts = block.split(short)
    rest = parts.pop()
    parts = [part[:-1] if part.endswith(head) else part for part in parts]
    parts.append(rest)
    return parts


# Lines

LineT = TypeVar("LineT", bound=str | bytes)
Newline = Literal["any", "lf", "crlf"]

_DELIMITERS = {"any": (b"\n", b"\r\n"), "lf": (b"\n",), "crlf": (b"\r\n",)}
# In these encodings a block of lines decodes to the lines of the decoded block.
_STATELESS = ("utf-8", "ascii", "iso8859-1")
# UTF-8 without a byte order mark at the beginning of a line.
_MARKED = "utf-8-sig"
# How much of a batch is decoded at once: an undecodable line costs no more than this.
_BLOCK = 1 << 15
# The only error handlers whose encoding restores the bytes they decoded.
_REVERSIBLE = ("surrogateescape", "surrogatepass")


if TYPE_CHECKING:

    class _Options(TypedDict, total=False):
        errors: str
        newline: Newline
        keep: bool
        last: bool
        max_size: int | None


@dataclass(frozen=True)
class Line(DelimiterSearch[LineT], metaclass=Interned):
    r"""Lines, as text; as bytes with ``encoding=None``.

    ::

        Line():                  b"one\r\ntwo\nthree", end  ->  "one", "two", "three"
        Line(newline="crlf"):    b"one\ntwo\r\n"            ->  "one\ntwo"
        Line(None, keep=True):   b"one\ntwo\r\n"            ->  b"one\n", b"two\r\n"

    The defaults are those of reading a text file: UTF-8, either newline, and a last line without a
    newline is a line. Most line-based formats say the same, many programs leave out the last newline,
    and losing their last line is the worse surprise. A protocol of commands, where half a line
    must never be taken for a whole one, needs ``last=False``: half a line is then an `IncompleteFrame`.

    ``encoding="utf-8-sig"`` is UTF-8 without the byte order mark that programs on Windows put before the
    first line. A mark before another line, where files were joined, is removed as well, so that
    every line means the same in any place; none is written.

    A line that cannot be decoded is a `PayloadError`: reading continues after it. The limit counts bytes.

    Writing appends ``\r\n`` for ``newline="crlf"``, else ``\n``, and refuses a line that would be read back
    differently: one with a newline inside it, or one that the encoding cannot hold.
    """

    name = "line"

    encoding: Annotated[str | None, "Encoding of the text; none gives bytes."] = "utf-8"
    _: KW_ONLY
    errors: Annotated[str, "What to do about undecodable bytes: a Python error handler."] = "strict"
    newline: Annotated[Newline, "What ends a line; any is both."] = "any"
    keep: Annotated[bool, "Leave the newline at the end of the line."] = False
    last: Annotated[bool, "At the end of the stream, accept a last line without a newline."] = True
    max_size: Annotated[int | None, "The longest line. Bytes."] = None

    _codec: str = field(init=False, repr=False, compare=False)

    if TYPE_CHECKING:

        @overload
        def __init__(self: Line[str], encoding: str = "utf-8", **options: Unpack[_Options]) -> None: ...
        @overload
        def __init__(self: Line[bytes], encoding: None, **options: Unpack[_Options]) -> None: ...
        def __init__(self, encoding: str | None = "utf-8", **options: Any) -> None: ...

    def __post_init__(self) -> None:
        check_choice("newline", self.newline, tuple(_DELIMITERS))
        check_count("max_size", self.max_size, optional=True)
        self._adopt(_DELIMITERS[self.newline])
        codec = "" if self.encoding is None else _codec(self.encoding, self.errors)
        object.__setattr__(self, "_codec", codec)

    def decode(self, payload: bytes) -> LineT:
        """Return the line as text, or the bytes themselves."""
        if self.encoding is None:
            return payload  # type: ignore[return-value]  # LineT is bytes: see __init__
        return str(payload, self.encoding, self.errors)  # type: ignore[return-value]  # and here it is str

    def split(self, window: Window) -> tuple[list[LineT], int]:
        """Cut every line that has its newline, decoding many at once if the encoding allows it."""
        if self.encoding is None:
            return self._split_bytes(window)  # type: ignore[return-value]  # LineT is bytes: see __init__
        if self._codec not in _STATELESS:
            return super().split(window)
        data, start = bytes(window.data), window.start
        lines: list[Any] = []
        while (end := self._end_of_block(data, start)) > start:
            block = data[start:end]
            try:
                lines += self._split_text(str(block, self.encoding))
            except UnicodeDecodeError:
                some, size = super().split(Window(block))
                lines += some
                if size < len(block):
                    return lines, start + size
            start = end
        return lines, start

    def _end_of_block(self, data: bytes, start: int) -> int:
        newline = _DELIMITERS[self.newline][0]
        last = data.rfind(newline, start, start + _BLOCK)
        if last < 0:
            last = data.find(newline, start)
        return start if last < 0 else last + len(newline)

    def _split_text(self, text: str) -> list[str]:
        newline = _DELIMITERS[self.newline][0].decode()
        if self.newline == "any" and not self.keep:
            return split_lines(text, "\n", "\r\n")[:-1]
        lines = text.split(newline)[:-1]
        return [line + newline for line in lines] if self.keep else lines

    def encode(self, frame: LineT) -> bytes:
        """Return the line with its newline; refuse any that would be read back differently."""
        if self.encoding is None:
            if isinstance(frame, str):
                raise EncodeError("frame is text; without an encoding it must be bytes")
            return self._with_delimiter(bytes_of(frame, self.max_size))
        given = None if isinstance(frame, str) else bytes_of(frame, kind="text")
        errors = self.errors if self.errors in _REVERSIBLE else "strict"
        try:
            line = frame if given is None else str(given, self.encoding, errors)
            payload: bytes = line.encode(self.encoding, errors)  # type: ignore[union-attr]  # it is text
            if self._codec == _MARKED:
                payload = payload.removeprefix(codecs.BOM_UTF8)
            same = str(payload, self.encoding, self.errors) == line and given in (None, payload)
        except UnicodeError as error:
            raise EncodeError(f"line cannot be encoded: {error}") from error
        if not same:
            raise EncodeError(f"line would be read back differently in encoding {self.encoding}")
        return self._with_delimiter(bytes_of(payload, self.max_size))


def _codec(encoding: str, errors: str) -> str:
    """Return Python's name of the encoding. Raise ValueError unless it writes newlines as ASCII does."""
    try:
        codecs.lookup_error(errors)
        name, newlines = codecs.lookup(encoding).name, "\r\n".encode(encoding)
        if name == _MARKED:
            newlines = newlines.removeprefix(codecs.BOM_UTF8)
    except (LookupError, ValueError, TypeError) as error:
        raise ValueError(f"encoding is {encoding!r}, errors is {errors!r}: {error}") from error
    if newlines != b"\r\n":
        raise ValueError(f"encoding is {encoding!r}; it must write newlines as ASCII does, such as utf-8")
    return name
