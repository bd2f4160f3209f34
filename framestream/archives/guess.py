"""Where the first frame of a split begins: what the framer says, or where chains of frames run together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, NoReturn

from framestream.archives.source import Source
from framestream.errors import FramerContractError
from framestream.framer import NeedMore, ReadCondition, Window

# Chains from every byte of so much before the place in question are followed. More is tried where few of
# them agree, as frames are larger than that.
_RUN_INS: Final = (1 << 13, 1 << 17)
# A condition that has looked at so much and found no place, and cannot say that there is none, is at fault.
_MOST_UNDECIDED: Final = 1 << 24


def find_start(source: Source, condition: ReadCondition[Any], start: int, max_frame_size: int) -> int:
    """Return the first place at or after `start` where a frame begins; for some conditions that is a guess.

    Raises:
        FramerContractError: the condition's `find_start` breaks the contract.
        ArchiveError: the file cannot be read.
    """
    if not start:
        return 0
    if condition.synchronises is not None:
        return _ask(source, condition, start)
    limit = max_frame_size if condition.max_size is None else condition.max_size
    return _chains_meet(source, condition, start, limit + condition.overhead)


def _ask(source: Source, condition: ReadCondition[Any], start: int) -> int:
    base = max(start - condition.lookbehind, 0)
    data = b""
    for chunk, eof in _with_eof(source.chunks(base)):
        data += chunk
        found = condition.find_start(Window(data, start - base, eof=eof, taken=start))
        if not isinstance(found, NeedMore):
            if found < start - base:
                _fault(condition, f"find_start returned {found}, before {start - base}", start)
            return min(base + found, source.size)
        if found.resume is not None:
            start = max(base + found.resume, start)
            data = data[max(start - condition.lookbehind - base, 0) :]
            base = max(start - condition.lookbehind, base)
        if len(data) > _MOST_UNDECIDED:
            _fault(condition, f"find_start wants more than {len(data)} bytes", start)
    return _fault(condition, "find_start wants more at the end", start)


def _with_eof(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    return chain(((chunk, False) for chunk in chunks), ((b"", True),))


def _fault(condition: ReadCondition[Any], reason: str, offset: int) -> NoReturn:
    raise FramerContractError(reason, framer=str(condition), offset=offset)


def _chains_meet(source: Source, condition: ReadCondition[Any], start: int, limit: int) -> int:
    """Return where most chains arrive: frames that are read from a wrong place on soon meet a right one."""
    best = start
    for run_in in _RUN_INS:
        base = max(start - run_in, 0)
        # Some conditions find a frame only when all of it is there.
        data = b"".join(source.chunks(base, min(start + run_in, source.size)))
        arrivals = _arrivals(condition, data, start - base, limit)
        certain = arrivals[:1] if not base else arrivals[: run_in // 4]
        votes = Counter(place for place in certain if place is not None)
        if votes:
            place, count = votes.most_common(1)[0]
            best = base + place
            if 2 * count > votes.total():
                break
    return min(best, source.size)


def _arrivals(condition: ReadCondition[Any], data: bytes, stop: int, limit: int) -> list[int | None]:
    """Return for each place before `stop` where the frames from there on lead to, at `stop` or after it."""
    arrivals: list[int | None] = [None] * stop
    for start in reversed(range(stop)):
        try:
            found: Any = condition.find(Window(data, start))
        except Exception:  # noqa: BLE001, S112 - no frame begins here
            continue
        if type(found) is tuple and start < found[2] <= start + limit:
            arrivals[start] = found[2] if found[2] >= stop else arrivals[found[2]]
    return arrivals
