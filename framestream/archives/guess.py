"""Where the first frame of a split begins: as the framer says, or where chains of frames meet."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import exp, log
from typing import Any, Final, NoReturn

from framestream.archives.source import Source
from framestream.errors import FramerContractError, describe_error
from framestream.framer import NeedMore, ReadCondition, Window

# This many chains are followed, beginning this far before the place in question. More are tried if they do
# not agree, because frames are large, or often look like frames inside.
_CHAINS: Final = 256
_RUN_INS: Final = (1 << 15, 1 << 18)
_COMPARED: Final = 16  # frames of the chain that was found
# If it misleads, this many places are tried, from each of which this many frames must follow in these bytes.
_SCANNED: Final = 1 << 14
_CONFIRMING: Final = 4
_AHEAD: Final = 1 << 18
_LITTLE: Final = 1 << 8
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
    return _guess(source, condition, start, limit)


def _ask(source: Source, condition: ReadCondition[Any], start: int, stop: int) -> int:
    base = max(start - condition.lookbehind, 0)
    data, enough = b"", start + 1
    for chunk in chain(source.chunks(base), (None,)):
        data += chunk or b""
        if chunk is not None and base + len(data) < enough:
            continue
        found = _answer(condition, Window(data, start - base, eof=chunk is None, taken=start))
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


def _answer(condition: ReadCondition[Any], window: Window) -> int | NeedMore:
    """Return the answer of `find_start`, of which every place is one that this window allows."""
    try:
        found: int | NeedMore = condition.find_start(window)
    except Exception as error:  # noqa: BLE001 - the framer is at fault
        _fault(condition, f"find_start raises {type(error).__name__}: {describe_error(error)}", window.taken, error)
    place: Any = found
    last = len(window.data)
    if isinstance(found, NeedMore):
        place = window.start if found.resume is None else found.resume
    elif not window.eof:
        last = sys.maxsize  # the place may be one that has not arrived
    if type(place) is not int or not window.start <= place <= last:
        what = f"no place from {window.start}, where the window starts, to {len(window.data)}"
        _fault(condition, f"find_start returns {found!r}: {what}", window.taken)
    return found


def _fault(condition: ReadCondition[Any], reason: str, offset: int, cause: Exception | None = None) -> NoReturn:
    raise FramerContractError(reason, framer=str(condition), offset=offset) from cause


def _guess(source: Source, condition: ReadCondition[Any], start: int, limit: int) -> int:
    """Return where a frame probably begins.

    Reading from a wrong place soon meets a right one, if frames are small: most chains arrive there. If they are
    large, chains of what looks like frames inside them break off, or meet one another first. But their frames
    have the size that is usual for any place, and those of the right chain do not.
    """
    best, usual = start, None
    for run_in in _RUN_INS:
        base = max(start - run_in, 0)
        # Some conditions find a frame only when all of it has arrived.
        chains = Chains(condition, source, base, start + run_in, limit)
        places = range(0, run_in // 4, run_in // 4 // _CHAINS) if base else (0,)
        sizes = [size for place in places for size in chains.sizes(place, 1)]
        usual = _mean(sizes) if len(sizes) > len(places) // 4 else None
        if usual is None:
            break
        arrivals = [chains.arrival(place, start - base) for place in places]
        votes = Counter(place for place in arrivals if place is not None).most_common(2)
        if votes:
            place, count = votes[0]
            best = min(base + place, source.size)
            if len(votes) == 1 or count >= 3 * votes[1][1]:
                found = chains.sizes(place, _COMPARED)
                if not (base and found and usual / 1.3 < _mean(found) < usual * 1.3):
                    return best
                break
    else:
        return best
    chains = Chains(condition, source, start, start + _AHEAD, limit)
    unusual = (place for place in range(min(_SCANNED, source.size - start)) if chains.are_unusual(place, usual))
    return next((start + place for place in unusual), best)


def _mean(sizes: list[int]) -> float:
    """Return the geometric mean: some places look like the beginning of a huge frame."""
    return exp(sum(map(log, sizes)) / len(sizes))


class Chains:
    """Frames that follow one another in a part of a file; places are counted from its beginning."""

    def __init__(self, condition: ReadCondition[Any], source: Source, start: int, stop: int, limit: int) -> None:
        self._condition, self._limit = condition, limit
        self._data = b"".join(source.chunks(start, min(stop, source.size)))
        self._arrivals: dict[int, int | None] = {}

    def arrival(self, place: int | None, stop: int) -> int | None:
        """Return where the frames from a place on lead to, at `stop` or after it; None if they break off."""
        path, arrivals = [], self._arrivals
        while place is not None and place < stop and place not in arrivals:
            path.append(place)
            place = self._end_of_frame(place)
        arrival = None if place is None else arrivals.get(place, place)
        arrivals.update(dict.fromkeys(path, arrival))
        return arrival

    def sizes(self, place: int, most: int) -> list[int]:
        """Return the sizes of some frames from a place on; none if they break off."""
        sizes: list[int] = []
        while len(sizes) < most and place < len(self._data):
            end = self._end_of_frame(place)
            if end is None:
                return []
            sizes.append(end - place)
            place = end
        return sizes

    def are_unusual(self, place: int, usual: float | None) -> bool:
        """Say whether some frames follow one another from a place on, none of about the usual size."""
        for number in range(_CONFIRMING):
            if place >= len(self._data):
                return number > 1
            end = self._end_of_frame(place, (_LITTLE,))  # so many places are asked that its beginning must show it
            if end is None or (usual is not None and usual / 5 < end - place < usual * 5):
                return False
            place = end
        return True

    def _end_of_frame(self, place: int, shown: Sequence[int] = _SHOWN) -> int | None:
        # A condition may look at all the data that it gets.
        for size in shown:
            piece = self._data[place : place + size]
            try:
                found: Any = self._condition.find(Window(piece))
            except Exception:  # noqa: BLE001 - no frame begins here
                return None
            if type(found) is tuple:
                return place + found[2] if 0 < found[2] <= self._limit else None
            if len(piece) < size:
                return None
        return None
