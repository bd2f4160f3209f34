"""Line: lines of text or bytes."""

from __future__ import annotations

import codecs
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar, Unpack, overload

from framestream.checks import check_choice, check_count
from framestream.errors import EncodeError
from framestream.framer import Window, bytes_of
from framestream.framers.delimiter import DelimiterSearch, split_lines
from framestream.framers.values import Interned

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


@lru_cache(maxsize=256)
def _codec(encoding: str, errors: str) -> str:
    """Return Python's name of the encoding. Raise ValueError unless it writes newlines as ASCII does."""
    try:
        codecs.lookup_error(errors)
        name, newlines = codecs.lookup(encoding).name, "\r\n".encode(encoding)
        if name == _MARKED:
            newlines = newlines.removeprefix(codecs.BOM_UTF8)
    except (LookupError, UnicodeError, TypeError) as error:
        raise ValueError(f"encoding is {encoding!r}, errors is {errors!r}: {error}") from error
    if newlines != b"\r\n":
        raise ValueError(f"encoding is {encoding!r}; it must write newlines as ASCII does, such as utf-8")
    return name
