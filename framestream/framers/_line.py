"""Line: lines of text or bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args, overload

from framestream.errors import EncodeError
from framestream.framer import Framer, NeedMore, Span, Window
from framestream.framers._delimiter_search import DelimiterSearch, split_pair
from framestream.framers._looks_like import looks_like
from framestream.framers._value_checks import check_choice, check_max_size, check_payload

LineT = TypeVar("LineT", bound=str | bytes)
Newline = Literal["any", "lf", "crlf"]

_DELIMITERS = {"any": (b"\n", b"\r\n"), "lf": (b"\n",), "crlf": (b"\r\n",)}
# In these a block of lines decodes to the lines of the decoded block.
_STATELESS = ("utf-8", "ascii", "iso8859-1")
# How much of a batch is decoded at once, so that a line that cannot be decoded costs no more than this.
_BLOCK = 1 << 15
# The only error handlers that give back in encoding what they took in decoding.
_REVERSIBLE = ("surrogateescape", "surrogatepass")


@dataclass(frozen=True)
class Line(Framer[LineT]):
    r"""Lines, as text; as bytes with ``encoding=None``.

    ::

        Line():                  b"one\r\ntwo\nthree", end  ->  "one", "two", "three"
        Line(newline="crlf"):    b"one\ntwo\r\n"            ->  "one\ntwo"
        Line(None, keep=True):   b"one\ntwo\r\n"            ->  b"one\n", b"two\r\n"

    The defaults are what reading a text file gives: UTF-8, either newline, and a last line that nothing
    ends is a line. Most line-based formats say the same, programs that leave out the last newline are
    many, and losing what they wrote last is the worse surprise. A protocol of commands, where half a line
    must never be taken for a whole one, asks for ``last=False``: then it is an `IncompleteFrame`.

    A line that cannot be decoded is a `PayloadError`: reading goes on behind it. The limit counts bytes.

    Writing appends ``\r\n`` for ``newline="crlf"``, else ``\n``, and refuses what would be read back
    otherwise: a line with a newline inside it, or one that the encoding cannot hold.
    """

    name = "line"

    encoding: Annotated[str | None, "Encoding of the text; none gives bytes."] = "utf-8"
    _: KW_ONLY
    errors: Annotated[str, "What to do about undecodable bytes: a Python error handler."] = "strict"
    newline: Annotated[Newline, "What ends a line; any is both."] = "any"
    keep: Annotated[bool, "Leave the newline at the end of the line."] = False
    last: Annotated[bool, "At the end of the stream, take what has no newline as a last line."] = True
    max_size: Annotated[int | None, "The longest line. Bytes."] = None

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Line[str],
            encoding: str = "utf-8",
            *,
            errors: str = "strict",
            newline: Newline = "any",
            keep: bool = False,
            last: bool = True,
            max_size: int | None = None,
        ) -> None: ...
        @overload
        def __init__(
            self: Line[bytes],
            encoding: None,
            *,
            errors: str = "strict",
            newline: Newline = "any",
            keep: bool = False,
            last: bool = True,
            max_size: int | None = None,
        ) -> None: ...
        def __init__(self, encoding: str | None = "utf-8", **options: Any) -> None: ...

    def __post_init__(self) -> None:
        check_choice("newline", self.newline, get_args(Newline))
        check_max_size(self.max_size)
        if self.encoding is not None:
            _check_encoding(self.encoding, self.errors)
        object.__setattr__(self, "overhead", self._search.longest)
        if self.encoding is None and type(self).cut is Line.cut:
            object.__setattr__(self, "cut", self._cut)  # one call less for each frame

    @cached_property
    def _search(self) -> DelimiterSearch:
        return DelimiterSearch(_DELIMITERS[self.newline], keep=self.keep, last=self.last)

    @cached_property
    def _cut(self) -> Callable[[bytes, int], tuple[bytes, int] | None]:
        return self._search.cut_keeping if self.keep else self._search.cut

    @cached_property
    def _is_stateless(self) -> bool:
        return self.encoding is not None and codecs.lookup(self.encoding).name in _STATELESS

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the first newline."""
        return self._search.find(window)

    def decode(self, payload: bytes) -> LineT:
        """Return the line as text, or the bytes themselves."""
        if self.encoding is None:
            return cast("LineT", payload)
        return cast("LineT", str(payload, self.encoding, self.errors))

    def cut(self, data: bytes, start: int) -> tuple[LineT, int] | None:
        """Cut the one line at `start`."""
        found = self._cut(data, start)
        if found is None or self.encoding is None:
            return cast("tuple[LineT, int] | None", found)
        return cast("LineT", str(found[0], self.encoding, self.errors)), found[1]

    def split(self, window: Window) -> tuple[list[LineT], int]:
        """Cut every line that has its newline, decoding many at once where the encoding allows it."""
        if self.encoding is None:
            return cast("tuple[list[LineT], int]", self._search.split(window))
        if not self._is_stateless:
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
        newline = self._search.shortest
        last = data.rfind(newline, start, start + _BLOCK)
        if last < 0:
            last = data.find(newline, start)
        return start if last < 0 else last + len(newline)

    def _split_text(self, text: str) -> list[str]:
        newline = self._search.shortest.decode()
        if self._search.longer and not self.keep:
            return split_pair(text, newline, "\r\n")[:-1]
        lines = text.split(newline)[:-1]
        return [line + newline for line in lines] if self.keep else lines

    def explain(self, window: Window) -> str:
        """Guess which binary protocol this is."""
        return looks_like(window.data, window.start, expecting_text=True)

    def encode(self, frame: LineT) -> bytes:
        """Return the line with its newline; refuse any that would be read back otherwise."""
        payload = self._to_bytes(frame) if isinstance(frame, str) else frame
        check_payload(payload, self.max_size, kind="bytes" if self.encoding is None else "text")
        return self._search.join(payload)

    def _to_bytes(self, line: str) -> bytes:
        if self.encoding is None:
            raise EncodeError("frame is text; without an encoding it must be bytes")
        try:
            payload = line.encode(self.encoding, self.errors if self.errors in _REVERSIBLE else "strict")
            same = str(payload, self.encoding, self.errors) == line
        except UnicodeError as error:
            raise EncodeError(f"line cannot be encoded: {error}") from error
        if not same:
            raise EncodeError(f"line would be read back otherwise in encoding {self.encoding}")
        return payload


def _check_encoding(encoding: str, errors: str) -> None:
    try:
        codecs.lookup_error(errors)
        newlines = "\r\n".encode(encoding)
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"encoding is {encoding!r}, errors is {errors!r}: {error}") from error
    if newlines != b"\r\n":
        raise ValueError(f"encoding is {encoding!r}; it must write newlines as ASCII does, such as utf-8")
