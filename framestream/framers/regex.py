"""Frames that end where a regular expression first matches."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar, Unpack, overload

from framestream.errors import EncodeError, check_choice, check_count, counted
from framestream.framer import Framer, NeedMore, Span, Window, bytes_of
from framestream.framers import Interned
from framestream.framers.regex_pattern import MOST_STEPS, Analysis, analyse

T = TypeVar("T")


class _Options(TypedDict, total=False):
    engine: Literal["re", "re2"]
    max_size: int | None


@dataclass(frozen=True)
class Regex(Framer[T], metaclass=Interned):
    r"""Frames that end at the earliest byte by which a regular expression matches.

    ::

        Regex(rb"\r?\n\r?\n"):     b"a: 1\r\nb: 2\r\n\r\nc: 3\n\n"   ->  b"a: 1\r\nb: 2\r\n\r\n", b"c: 3\n\n"
        Regex(rb"[0-9]{1,3};"):    b"temp=21;hum=40;"              ->  b"temp=21;", b"hum=40;"

    The frame is all bytes up to there, the match included; with ``result="match"`` it is the match object
    instead, whose ``string`` holds the bytes. To give the same answer for every chunking in
    bounded time, the pattern must be bounded in length (at most 4096 bytes), must not depend on bytes
    outside the match, and must not continue where a shorter match is complete. Any other pattern is refused
    with the reason and an alternative.

    Cost: the engine ``re`` takes at most 1000 steps of a few nanoseconds at each byte, and where a frame ends
    at most 2 + log2(longest match) times that; ``re2`` (``pip install google-re2``) takes linear time
    for every pattern. When data arrives, the bytes that may begin a match are searched again: fewer than the
    longest match has.

    A str pattern must be ASCII. The first byte of a match is looked for from the start of the frame.
    """

    name = "regex"

    pattern: Annotated[bytes | str, "What the frame ends with: a regular expression over bytes."]
    _: KW_ONLY
    engine: Annotated[Literal["re", "re2"], "Python's own engine, or RE2, which takes linear time."] = "re"
    result: Annotated[Literal["bytes", "match"], "Give the frame's bytes, or the match object."] = "bytes"
    max_size: Annotated[int | None, "The largest frame, the match included. Bytes."] = None

    if TYPE_CHECKING:
        # The reader's type depends on `result`; at run time the dataclass writes `__init__`.
        @overload
        def __init__(
            self: Regex[bytes], pattern: bytes | str, *, result: Literal["bytes"] = ..., **options: Unpack[_Options]
        ) -> None: ...
        @overload
        def __init__(
            self: Regex[re.Match[bytes]], pattern: bytes | str, *, result: Literal["match"], **options: Unpack[_Options]
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ("re", "re2"))
        check_choice("result", self.result, ("bytes", "match"))
        check_count("max_size", self.max_size, optional=True)
        object.__setattr__(self, "pattern", _as_bytes(self.pattern))
        try:
            analysis = self._analysis
            if self.engine == "re" and analysis.steps > MOST_STEPS:
                steps = analysis.steps if analysis.steps < 1 << 32 else "more than 4 billion"
                raise ValueError(
                    f"it may take {steps} steps at one byte, limit {MOST_STEPS}; choose"
                    ' engine="re2" (pip install google-re2), or repeat less'
                )
            # Compiled now, so that neither fails later.
            self._ending, self.result == "match" and self._whole  # noqa: B018
        except ValueError as error:
            raise ValueError(f"regex {self.pattern!r}: {error}") from error
        # Bytes that may begin a match are kept while a frame is streamed or skipped, even above the limit.
        object.__setattr__(self, "overhead", analysis.most - 1)
        if analysis.most == 1:
            # Every byte that can end a frame does, whatever precedes it.
            self.__dict__.update(synchronises="exact", lookbehind=1)

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the end of the earliest match."""
        data = window.data
        end = self._earliest_end(data, window.resume)
        if end < 0:
            # A match that ends in bytes still to come begins among the last ones of these.
            going_on = max(window.resume, len(data) - self._analysis.most + 1)
            return NeedMore(resume=going_on, settled=going_on)
        return window.start, end, end

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the index after the first byte that ends a frame; for patterns where a single byte does."""
        if self.synchronises is None:
            return super().find_start(window)
        end = self._earliest_end(window.data, max(window.start - 1, 0))
        if end >= 0:
            return end
        return len(window.data) if window.eof else NeedMore(resume=len(window.data))

    def decode(self, payload: bytes) -> T:
        """Return the payload, or the match at its end."""
        if self.result == "bytes":
            return payload  # type: ignore[return-value]  # T is bytes: see __init__
        # Every match in the payload ends at its end, so none begins before the longest could.
        match = self._whole.search(payload, max(0, len(payload) - self._analysis.longest))
        if match is None:
            raise ValueError("frame was truncated before its match")
        found: Any = match if self.engine == "re" else Re2Match(match)
        return found  # type: ignore[no-any-return]  # T is a match: see __init__

    def split(self, window: Window) -> tuple[list[T], int]:
        """Cut every frame whose match has ended."""
        frames: list[Any] = []
        data, start = bytes(window.data), window.start
        if self._analysis.exact:
            for match in self._ending.finditer(data, start):
                end = match.end()
                frames.append(data[start:end])
                start = end
        else:
            while (end := self._earliest_end(data, start)) >= 0:
                frames.append(data[start:end])
                start = end
        if self.result == "match":
            frames = [self.decode(frame) for frame in frames]
        return frames, start

    def encode(self, frame: T) -> bytes:
        """Return the frame unchanged, or the bytes of a match that was read.

        Raises:
            EncodeError: the pattern does not match at its end, or matches before.
        """
        given: Any = getattr(frame, "string", frame)
        payload = bytes_of(given, self.max_size)
        end = self._earliest_end(payload, 0)
        if end != len(payload):
            what = "has no match in it" if end < 0 else f"ends after {counted(end, 'byte')} already"
            raise EncodeError(
                f"frame of {counted(len(payload), 'byte')} {what}; {self.pattern!r} must match at its end"
            )
        return payload

    def _earliest_end(self, data: bytes | bytearray, position: int) -> int:
        """Return the earliest byte by which a match is complete, or -1.

        The leftmost match that the engine gives may not be the one that ends first: another may begin
        later and end earlier, or be a shorter choice at the same place. All of them end within it.
        """
        search = self._ending.search
        match = search(data, position)
        if match is None:
            return -1
        start, end = match.span()
        least = self._analysis.least
        if not self._analysis.exact and end - start > least and (match := search(data, start, end - 1)):
            start, end = match.span()
            low = start + least
            while low < end:
                middle = (low + end - 1) // 2
                if match := search(data, start, middle):
                    start, end = match.span()
                    low = max(low, start + least)
                else:
                    low = middle + 1
        return int(end)

    @cached_property
    def _analysis(self) -> Analysis:
        return analyse(_as_bytes(self.pattern), whole=self.result == "match")

    @cached_property
    def _ending(self) -> Any:
        return _compiled(self._analysis.ending, self.engine)

    @cached_property
    def _whole(self) -> Any:
        # The match shows its pattern, so it is the author's own if that means the same.
        pattern = _as_bytes(self.pattern) if self.engine == "re" else self._analysis.pattern
        return _compiled(pattern, self.engine)


def _as_bytes(pattern: bytes | str) -> bytes:
    if isinstance(pattern, bytes):
        return pattern
    try:
        return pattern.encode("ascii")
    except UnicodeEncodeError as error:
        reason = f"{pattern[error.start]!r} is not one byte in every encoding; give the pattern as bytes"
        raise ValueError(f"regex {pattern!r}: {reason}") from error


def _compiled(pattern: bytes, engine: str) -> Any:
    """Return a compiled pattern. Raise ValueError if the engine is not installed, or refuses it."""
    if engine == "re":
        return re.compile(pattern)
    try:
        import re2  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ValueError('engine "re2" needs google-re2: pip install google-re2') from error
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"RE2 refuses it: {error}") from error


class Re2Match:
    """A match of RE2, which names the groups of a bytes pattern by bytes; `re` names them by str."""

    __slots__ = ("_match",)

    def __init__(self, match: Any) -> None:
        self._match = match

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._match, name)
        if name not in ("group", "start", "end", "span"):
            return found
        return lambda *groups: found(*map(self._number, groups))

    def __repr__(self) -> str:
        return f"<Re2Match span={self.span()!r} match={self.group()!r}>"

    def __getitem__(self, group: int | str) -> Any:
        return self.group(group)

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """Return the named groups; `default` for those that did not match."""
        return {name.decode("ascii"): value for name, value in self._match.groupdict(default).items()}

    @property
    def lastgroup(self) -> str | None:
        """The name of the last group that matched, if it has one."""
        name = self._match.lastgroup
        return None if name is None else name.decode("ascii")

    def _number(self, group: int | str) -> int:
        names = self._match.re.groupindex
        if isinstance(group, str) and group.encode() not in names:
            raise IndexError("no such group")
        return group if isinstance(group, int) else int(names[group.encode()])
