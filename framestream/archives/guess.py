"""Where the first frame of a split begins: as the framer says, or where chains of frames meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, NoReturn

from framestream.archives.source import Source
from framestream.errors import FramerContractError, describe_error
from framestream.framer import NeedMore, ReadCondition, Window

# This many chains are followed, beginning this far before the place in question. More are tried if they do
# not agree, because frames are large, or often look like frames inside.
_CHAINS: Final = 256
_RUN_INS: Final = (1 << 15, 1 << 18)
_SHOWN: Final = (1 << 10, 1 << 14, 1 << 18)
# A condition that has looked at this many bytes without a place, and cannot rule one out, is at fault.
_MOST_UNDECIDED: Final = 1 << 24


def find_start(source: Source, condition: ReadCondition[Any], start: int, stop: int, limit: int) -> int:
    """Return the first place from `start` on where a frame begins; for some conditions that is a guess.

    Args:
        stop: where the search may end; if it does, `stop` or a place after it is returned.
        limit: bytes that a frame takes at most.

    Raises:
        FramerContractError: the condition's `find_start` breaks the contract.
        ArchiveError: the file cannot be read.
    """
    if not start:
        return 0
    if condition.synchronises is not None:
        return _ask(source, condition, start, stop)
    return _chains_meet(source, condition, start, limit)


def _ask(source: Source, condition: ReadCondition[Any], start: int, stop: int) -> int:
    base = max(start - condition.lookbehind, 0)
    data, enough = b"", start + 1
    for chunk, eof in _with_eof(source.chunks(base)):
        data += chunk
        if base + len(data) < enough and not eof:
            continue
        found: int | NeedMore = _answer(condition, Window(data, start - base, eof=eof, taken=start))
        if not isinstance(found, NeedMore):
            return min(base + found, source.size)
        enough = start + found.size
        start = start if found.resume is None else base + found.resume
        enough = max(enough, start + 1)
        data = data[max(start - condition.lookbehind - base, 0) :]
        base = max(start - condition.lookbehind, base)
        if start >= stop:
            return start
        if len(data) > _MOST_UNDECIDED:
            _fault(condition, f"find_start wants more than {len(data)} bytes", start)
    return _fault(condition, "find_start wants more at the end", start)


def _answer(condition: ReadCondition[Any], window: Window) -> Any:
    """Return the answer of `find_start`, of which every place is one that this window allows."""
    try:
        found: Any = condition.find_start(window)
    except Exception as error:  # noqa: BLE001 - the framer is at fault
        _fault(condition, f"find_start raises {type(error).__name__}: {describe_error(error)}", window.taken, error)
    wants_more, size = isinstance(found, NeedMore), len(window.data)
    place = found.resume if wants_more else found
    is_open = not (wants_more or window.eof)  # then the place may be one that has not arrived
    if place is None and wants_more:
        return found
    if type(place) is not int or place < window.start or (place > size and not is_open):
        what = f"no place from {window.start}, where the window starts, to {size}"
        _fault(condition, f"find_start returns {found!r}: {what}", window.taken)
    return found


def _with_eof(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    return chain(((chunk, False) for chunk in chunks), ((b"", True),))


def _fault(condition: ReadCondition[Any], reason: str, offset: int, cause: Exception | None = None) -> NoReturn:
    raise FramerContractError(reason, framer=str(condition), offset=offset) from cause


def _chains_meet(source: Source, condition: ReadCondition[Any], start: int, limit: int) -> int:
    """Return where most chains arrive: reading from a wrong place soon meets a right one."""
    best = start
    for run_in in _RUN_INS:
        base = max(start - run_in, 0)
        # Some conditions find a frame only when all of it has arrived.
        data = b"".join(source.chunks(base, min(start + run_in, source.size)))
        seen: dict[int, int | None] = {}
        starts = range(0, run_in // 4, run_in // 4 // _CHAINS) if base else (0,)
        arrivals = [_follow(condition, data, place, start - base, limit, seen) for place in starts]
        votes = Counter(place for place in arrivals if place is not None).most_common(2)
        if votes:
            best = base + votes[0][0]
            if len(votes) == 1 or votes[0][1] >= 3 * votes[1][1]:
                break
    return min(best, source.size)


def _follow(
    condition: ReadCondition[Any],
    data: bytes,
    place: int | None,
    stop: int,
    limit: int,
    seen: dict[int, int | None],
) -> int | None:
    """Return where the frames from a place on lead to, at `stop` or after it; None if they are not frames."""
    path = []
    while place is not None and place < stop and place not in seen:
        path.append(place)
        place = _end_of_frame(condition, data, place, limit)
    arrival = None if place is None else seen.get(place, place)
    seen.update(dict.fromkeys(path, arrival))
    return arrival


def _end_of_frame(condition: ReadCondition[Any], data: bytes, place: int, limit: int) -> int | None:
    # A condition may look at all the data that it gets.
    for size in _SHOWN:
        piece = data[place : place + size]
        try:
            found: Any = condition.find(Window(piece))
        except Exception:  # noqa: BLE001 - no frame begins here
            return None
        if type(found) is tuple:
            return place + found[2] if 0 < found[2] <= limit else None
        if len(piece) < size:
            return None
    return None
