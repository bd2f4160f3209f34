"""Delimiter: frames that end with a mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated

from framestream.framer import Framer, NeedMore, Span, Window
from framestream.framers._delimiter_search import DelimiterSearch
from framestream.framers._looks_like import looks_like
from framestream.framers._value_checks import check_max_size, check_payload


@dataclass(frozen=True)
class Delimiter(Framer[bytes]):
    r"""Frames that end with a delimiter, or with one of several.

    ::

        Delimiter(b"\0"):             b"one\0two\0"      ->  b"one", b"two"
        Delimiter((b"\r\n", b"\n")):  b"one\r\ntwo\n"    ->  b"one", b"two"
        Delimiter(b";", keep=True):   b"one;two;"       ->  b"one;", b"two;"
        Delimiter(b";", last=True):   b"one;two", end   ->  b"one", b"two"

    The delimiter that ends first wins, and of those that end at the same byte the longest. One that has
    another inside it, other than at its end, could never win and is refused. The limit counts the
    payload, so it counts delimiters that are kept.

    Writing appends the first delimiter (with `keep`, the payload brings its own), and refuses a payload
    that would be read back otherwise: one that contains a delimiter, or whose end makes another delimiter
    together with the one appended.
    """

    name = "delimiter"

    delimiters: Annotated[
        bytes | tuple[bytes, ...], "What ends a frame: bytes, or several of which the first is written."
    ]
    _: KW_ONLY
    keep: Annotated[bool, "Leave the delimiter at the end of the payload."] = False
    last: Annotated[bool, "At the end of the stream, take what has no delimiter as a last frame."] = False
    max_size: Annotated[int | None, "The largest payload. Bytes."] = None

    def __post_init__(self) -> None:
        check_max_size(self.max_size)
        object.__setattr__(self, "delimiters", self._search.delimiters)
        object.__setattr__(self, "overhead", self._search.longest)
        if type(self).cut is Delimiter.cut and self._search.nested:
            object.__setattr__(self, "cut", self._cut)  # one call less for each frame

    @cached_property
    def _search(self) -> DelimiterSearch:
        given = self.delimiters
        delimiters = tuple(given) if isinstance(given, tuple | list) else (given,)
        return DelimiterSearch(delimiters, keep=self.keep, last=self.last)

    @cached_property
    def _cut(self) -> Callable[[bytes, int], tuple[bytes, int] | None]:
        return self._search.cut_keeping if self.keep else self._search.cut

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the first delimiter."""
        return self._search.find(window)

    def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Cut the one frame at `start`."""
        return self._cut(data, start) if self._search.nested else None

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every frame that has its delimiter."""
        return self._search.split(window)

    def explain(self, window: Window) -> str:
        """Guess which binary protocol this is."""
        return looks_like(window.data, window.start, expecting_text=True)

    def encode(self, frame: bytes) -> bytes:
        """Return the payload with its delimiter; refuse any that would be read back otherwise."""
        check_payload(frame, self.max_size)
        return self._search.join(frame)
