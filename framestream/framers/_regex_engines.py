"""The two engines: Python's own, and RE2 with the same answers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def compile_pattern(pattern: bytes, engine: str) -> Any:
    """Return a compiled pattern with `search` and `finditer`.

    Raises:
        ValueError: the engine is not installed, or refuses the pattern.
    """
    return re.compile(pattern) if engine == "re" else _compile_re2(pattern)


def _compile_re2(pattern: bytes) -> Any:
    try:
        import re2  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ValueError('engine "re2" needs google-re2: pip install framestream[re2]') from error
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"RE2 refuses it: {error}") from error


def with_text_names(match: Any) -> Any:
    """Return a match whose groups are named by str, as those of `re` are."""
    return match if isinstance(match, re.Match) else Re2Match(match)


class Re2Match:
    """A match of RE2, which names the groups of a bytes pattern by bytes."""

    __slots__ = ("_match",)

    def __init__(self, match: Any) -> None:
        self._match = match

    def __getattr__(self, name: str) -> Any:
        return getattr(self._match, name)

    def __repr__(self) -> str:
        return f"<Re2Match span={self.span()!r} match={self.group()!r}>"

    def __getitem__(self, group: int | str) -> bytes | None:
        value: bytes | None = self._match[self._number(group)]
        return value

    def group(self, *groups: int | str) -> Any:
        """Return the bytes of one group, or a tuple of several."""
        return self._match.group(*map(self._number, groups))

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """Return the named groups; `default` for those that took no part."""
        return {name.decode("ascii"): value for name, value in self._match.groupdict(default).items()}

    def start(self, group: int | str = 0) -> int:
        """Return where a group begins, or -1."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Return where a group ends, or -1."""
        return self.span(group)[1]

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """Return where a group begins and ends."""
        found: tuple[int, int] = self._match.span(self._number(group))
        return found

    @property
    def lastgroup(self) -> str | None:
        """The name of the last group that took part, if it has one."""
        name = self._match.lastgroup
        return None if name is None else name.decode("ascii")

    def _number(self, group: int | str) -> int:
        if isinstance(group, int):
            return group
        number: int | None = self._match.re.groupindex.get(group.encode())
        if number is None:
            raise IndexError("no such group")
        return number
