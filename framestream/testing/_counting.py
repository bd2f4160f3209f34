"""Bytes that count how many of them are looked at or copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Tally:
    """A running count of bytes examined."""

    def __init__(self) -> None:
        self.bytes = 0


class CountedBytes(bytes):
    """Bytes that add to a tally what their methods examine; slices and results are plain bytes.

    Code in C that goes through the buffer protocol, such as a regex, is not seen. The kit catches
    that by other means: by the memory it allocates, and by decoys put where it must not look.
    """

    tally: Tally

    def __new__(cls, data: bytes, tally: Tally) -> CountedBytes:
        counted = super().__new__(cls, data)
        counted.tally = tally
        return counted

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            self.tally.bytes += len(range(*index.indices(len(self))))
        else:
            self.tally.bytes += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[int]:
        for byte in super().__iter__():
            self.tally.bytes += 1
            yield byte


def _searching(name: str) -> Callable[..., Any]:
    """Wrap a method that stops where it finds something: what it examined ends there."""
    method = getattr(bytes, name)
    backwards = name.startswith("r")

    def search(self: CountedBytes, sub: Any, start: int | None = None, stop: int | None = None) -> Any:
        first, last, _ = slice(start, stop).indices(len(self))
        found = bytes.rfind(self, sub, start, stop) if backwards else bytes.find(self, sub, start, stop)
        if found < 0:
            self.tally.bytes += max(0, last - first)
        else:
            self.tally.bytes += last - found if backwards else found + _width(sub) - first
        return method(self, sub, start, stop)

    return search


def _ranging(name: str) -> Callable[..., Any]:
    """Wrap a method that examines all that lies between two indices, or the width of its argument."""
    method = getattr(bytes, name)

    def examine(self: CountedBytes, sub: Any, start: int | None = None, stop: int | None = None) -> Any:
        if name == "count":
            self.tally.bytes += len(range(*slice(start, stop).indices(len(self))))
        else:
            self.tally.bytes += max(map(_width, sub)) if isinstance(sub, tuple) else _width(sub)
        return method(self, sub, start, stop)

    return examine


def _whole(name: str) -> Callable[..., Any]:
    """Wrap a method that examines or copies everything."""
    method = getattr(bytes, name, None)

    def examine(self: CountedBytes, *args: Any, **options: Any) -> Any:
        self.tally.bytes += len(self)
        # bytes has no __bytes__ before 3.11.
        return method(self, *args, **options) if method is not None else b"".join([self])

    return examine


def _width(sub: Any) -> int:
    return 1 if isinstance(sub, int) else len(sub)


_EVERYTHING = (
    "__add__ __bytes__ __contains__ __eq__ __ge__ __gt__ __le__ __lt__ __mul__ __ne__ __rmul__ "
    "capitalize decode expandtabs hex isalnum isalpha isascii isdigit islower isspace isupper lower "
    "lstrip partition removeprefix removesuffix replace rpartition rsplit rstrip split splitlines strip "
    "swapcase title translate upper zfill"
)

for _name in ("find", "index", "rfind", "rindex"):
    setattr(CountedBytes, _name, _searching(_name))
for _name in ("count", "startswith", "endswith"):
    setattr(CountedBytes, _name, _ranging(_name))
for _name in _EVERYTHING.split():
    setattr(CountedBytes, _name, _whole(_name))
