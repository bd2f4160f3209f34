"""DelimiterSearch: find the delimiter that ends first, and the longest one at that place."""

from __future__ import annotations

import re
from io import BytesIO
from typing import AnyStr

from framestream.errors import EncodeError
from framestream.framer import NeedMore, Span, Window

_SAMPLE = 512


class DelimiterSearch:
    r"""A set of delimiters, ready to search for; it answers for the framers that have one.

    The delimiter that ends first wins, and of those that end at the same byte the longest: ``\r\n``
    against ``\n``. Deciding by the end makes the answer independent of what has yet to arrive.

    Args:
        delimiters: the set; the first is the one that is written.
        keep: a payload includes its delimiter.
        last: at the end of the stream, what is left without a delimiter is a frame.

    Raises:
        ValueError: a delimiter is empty, or could never win.
    """

    def __init__(self, delimiters: tuple[bytes, ...], *, keep: bool = False, last: bool = False) -> None:
        _check(delimiters)
        self.delimiters = delimiters
        self.keep = keep
        self.last = last
        self.shortest, *longer = sorted(set(delimiters), key=len)
        self.longer = tuple(reversed(longer))
        # This is the overhead of a frame, even where delimiters are kept and so count as payload: what may
        # be the beginning of one is not yet too much.
        self.longest = len(longer[-1] if longer else self.shortest)
        # Where every delimiter ends with the shortest one, a frame ends where that one does. Otherwise a
        # regex will do: no delimiter has another inside it except at its end, so the match that starts
        # first also ends first, and is the longest that ends there.
        self.nested = all(delimiter.endswith(self.shortest) for delimiter in longer)
        self.width = len(self.shortest)
        self.before = bytes({delimiter[-self.width - 1] for delimiter in longer}) if self.nested else b""
        self.regex = re.compile(b"(" + b"|".join(map(re.escape, delimiters)) + b")")

    def find(self, window: Window) -> Span | NeedMore:
        """Return the span up to the first delimiter from ``window.resume`` on."""
        data, start = window.data, window.start
        if self.nested:
            stop = data.find(self.shortest, window.resume)
            if stop < 0:
                return self._no_delimiter(window)
            end = stop + len(self.shortest)
            for delimiter in self.longer:
                if data.endswith(delimiter, start, end):
                    stop = end - len(delimiter)
                    break
        else:
            match = self.regex.search(data, window.resume)
            if match is None:
                return self._no_delimiter(window)
            stop, end = match.span()
        return start, end if self.keep else stop, end

    def cut(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Return the payload that begins at `start` and where the next begins, if one search tells.

        Only where all delimiters are `nested`.
        """
        stop = data.find(self.shortest, start)
        if stop < 0:
            return None
        end = stop + self.width
        # A look at one byte is most of the answer: endswith costs as much as the search.
        if data[stop - 1] in self.before and stop > start:
            for delimiter in self.longer:
                if data.endswith(delimiter, start, end):
                    return data[start : end - len(delimiter)], end
        return data[start:stop], end

    def cut_keeping(self, data: bytes, start: int) -> tuple[bytes, int] | None:
        """Do the same where the payload includes its delimiter."""
        stop = data.find(self.shortest, start)
        if stop < 0:
            return None
        end = stop + self.width
        return data[start:end], end

    def _no_delimiter(self, window: Window) -> Span | NeedMore:
        size = len(window.data)
        if window.eof and self.last and (size > window.start or window.taken):
            return window.start, size, size
        # The last bytes may be the beginning of a delimiter.
        unclear = max(window.start, size - self.longest + 1)
        return NeedMore(resume=unclear, settled=unclear)

    def split(self, window: Window) -> tuple[list[bytes], int]:
        """Cut every frame that has its delimiter."""
        data = bytes(window.data)
        payloads = self._split_all(data[window.start :])
        rest = payloads.pop()
        return payloads, len(data) - len(rest)

    def _split_all(self, block: bytes) -> list[bytes]:
        """Return the payloads and, as the last item, what follows the last delimiter."""
        if not self.longer and not self.keep:
            return block.split(self.shortest)
        if self.nested and self.keep:
            return _split_and_keep(block, self.shortest)
        if self.nested and len(self.longer) == len(self.shortest) == 1:
            return split_pair(block, self.shortest, self.longer[0])
        parts: list[bytes] = self.regex.split(block)
        if not self.keep:
            return parts[::2]
        rest = parts.pop()
        return [*map(bytes.__add__, parts[::2], parts[1::2]), rest]

    def join(self, payload: bytes | bytearray | memoryview) -> bytes:
        """Return the payload with its delimiter; raise EncodeError if it would be read back otherwise."""
        payload = bytes(payload)
        wire = payload if self.keep else payload + self.delimiters[0]
        found = self.find(Window(wire))
        if not isinstance(found, tuple):
            raise EncodeError(f"payload of {len(payload)} bytes has to keep its delimiter at its end")
        _, stop, end = found
        if (stop, end) != (len(payload), len(wire)):
            raise EncodeError(
                f"payload of {len(payload)} bytes would be read back as {stop}: "
                f"a delimiter ends at byte {end}"
            )
        return wire


def _split_and_keep(block: bytes, delimiter: bytes) -> list[bytes]:
    if delimiter != b"\n":
        *payloads, rest = block.split(delimiter)
        return [*(payload + delimiter for payload in payloads), rest]
    # A file cuts its lines four times as fast as any other way to keep their ends.
    lines = list(BytesIO(block))
    if block.endswith(b"\n") or not block:
        lines.append(b"")
    return lines


def split_pair(block: AnyStr, short: AnyStr, long: AnyStr) -> list[AnyStr]:
    """Split by two delimiters, of which the long one ends with the short one, a single character."""
    head = long[:-1]
    if head not in block:
        return block.split(short)
    # Nearly always all ends are alike, and two passes in C cost less than one in Python. The first ones tell
    # whether that is worth a try.
    sample = block[:_SAMPLE]
    if sample.count(short) == sample.count(long):
        parts = block.split(long)
        if block.count(short) == len(parts) - 1:
            return parts
    parts = block.split(short)
    rest = parts.pop()
    size = len(head)
    parts = [part[:-size] if part.endswith(head) else part for part in parts]
    parts.append(rest)
    return parts


def _check(delimiters: tuple[object, ...]) -> None:
    if not delimiters:
        raise ValueError("no delimiter is given")
    known: list[bytes] = []
    for delimiter in delimiters:
        if not isinstance(delimiter, bytes) or not delimiter:
            raise ValueError(f"delimiter {delimiter!r} is not bytes, one or more")
        known.append(delimiter)
    for delimiter in known:
        for other in known:
            if other in delimiter[:-1]:
                raise ValueError(
                    f"delimiter {delimiter!r} can never end a frame: {other!r} in it ends one first"
                )
