"""Stitching: the frames of all splits, in order, are the frames of the file, even after wrong guesses.

The bytes from a place on decide where the next frame begins, so two chains of frames that meet stay
together. Each split is read from where its first frame probably begins, and tells where the first frame
after it begins. If the next split began elsewhere, it is walked again from the true place, only until
it meets a known place::

      split 0                split 1                 split 2
      |--f--f---f----f--f----|--?--f---f---f---f-----|---f--f----f---|
                         end └─►first?            end └─►first?
                                ▲ wrong guess: walked again from the end of split 0; both chains
                                  meet after one frame, and the rest of split 1 stands

It is never wrong. At worst, if no chain meets another, it is as slow as reading the file twice.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Final, Generic, TypeAlias, TypeVar

from framestream.archives.index import Marks
from framestream.archives.split import Reader, Split
from framestream.errors import FramingError, WorkerError

R = TypeVar("R")

# Splits under way for each process: one in work, one waiting.
_AHEAD: Final = 2


@dataclass(frozen=True)
class Chain:
    """What other splits need to know about the frames of one split; it can be pickled.

    Attributes:
        first: where the first of them begins; without one, where the first one after the split does.
        end: where the first frame after them begins, the size of the file if there is none, or where the file
            is malformed.
        count: number of frames, bad ones included.
        error: the error that ends the file there, or None.
        marks: where some of them end.
        of: the URL and the start of the split.
    """

    first: int
    end: int
    count: int
    error: Exception | None = field(default=None, repr=False)
    marks: Marks = field(default_factory=Marks, repr=False)
    of: tuple[str, int] = ("", 0)


def walk(split: Split) -> Chain:
    """Read a split from its first frame, or from the best guess of it, and return its chain.

    Raises:
        ArchiveError: the file cannot be read, or has changed.
        FramerContractError: the framer is at fault.
    """
    reader = Reader(split)
    with suppress(FramingError):
        reader.drain()
    return _chain(reader)


def _chain(reader: Reader) -> Chain:
    if reader.is_astray:
        return Chain(-1, -1, 0, of=_name(reader.split))  # it fits nowhere
    first = reader.position if reader.first is None else reader.first
    end = reader.position if reader.end is None else reader.end
    return Chain(first, end, reader.count, reader.error, reader.marks, _name(reader.split))


def _name(split: Split) -> tuple[str, int]:
    return split.source.url, split.start


class Seam:
    """Goes through the splits of one or more files in order, and knows where the next frame truly begins.

    Attributes:
        true: where the first frame begins that is not in the splits so far.
        error: what ended the file, or None.
        walked_twice: bytes of all splits that had to be walked again.
    """

    def __init__(self) -> None:
        self.true = self.walked_twice = 0
        self.error: Exception | None = None

    def enter(self, split: Split) -> Split:
        """Return the split with its true first frame; with none if an error ended the file before it."""
        if not split.start:
            self.true, self.error = 0, None
        if self.error is not None:
            return replace(split, first=max(split.stop, 1))
        return replace(split, first=self.true)

    def leave(self, end: int, error: Exception | None = None) -> None:
        """Go on to the next split."""
        self.true, self.error = end, self.error or error

    def add(self, split: Split, chain: Chain) -> tuple[Split, Chain]:
        """Return the split with its true first frame, and the true chain of its frames."""
        split = self.enter(split)
        first = split.first or 0
        if self.error is not None or first >= split.stop > 0:
            chain = Chain(first, self.true, 0)
        elif split.start and chain.first != first:
            chain = self._mend(split, first, chain)
        self.leave(chain.end, chain.error)
        return split, chain

    def _mend(self, split: Split, first: int, chain: Chain) -> Chain:
        """Walk the split from its true first frame until the chain is met, and return the true chain."""
        reader = Reader(split)
        known = {chain.first: 0, **dict(zip(chain.marks.offsets, chain.marks.counts, strict=True))}
        with suppress(FramingError):
            for record in reader.records(on_error="column"):
                met = next((place for place in (record.offset, reader.position) if place in known), None)
                if met is not None:
                    self.walked_twice += met - first
                    # A frame that begins there was read, and is in the other chain, too.
                    more = reader.count - (met == record.offset) - known[met]
                    reader.marks.extend(chain.marks.since(met), more)
                    return Chain(first, chain.end, chain.count + more, chain.error, reader.marks)
        again = _chain(reader)
        self.walked_twice += min(again.end, split.stop) - first
        return again


Map: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with each item of an iterable, as ``map`` does, in any process."""


@dataclass(frozen=True)
class Stitched:
    """The result of `stitch`.

    Attributes:
        splits: the splits, each with its true first frame.
        chains: the true chain of each.
        walked_twice: how many bytes were walked again because a guess was wrong.
    """

    splits: list[Split]
    chains: list[Chain] = field(repr=False)
    walked_twice: int


def stitch(splits: Iterable[Split], *, map: Map = map) -> Stitched:
    """Find the true first frame of every split, by reading all of them at once.

    Each split is then exact, and can be read by itself, anywhere. Splits after the place where a file is
    malformed have no frames; the split that ends there raises the error.

    Args:
        splits: from `plan`: each file completely, in order.
        map: calls `walk` for each split: that of an executor, or anything that runs on other
            machines. Splits that must be walked again are walked here, in order.

    Raises:
        ArchiveError: a file cannot be read, or has changed.
    """
    splits = list(splits)
    _check_whole(splits)
    seam = Seam()
    true = []
    for split, chain in zip(splits, map(walk, splits), strict=True):
        if chain.of != _name(split):
            raise ValueError(f"map returned {chain} for {split}: it must keep the order")
        true.append(seam.add(split, chain))
    return Stitched([split for split, _ in true], [chain for _, chain in true], seam.walked_twice)


def _check_whole(splits: list[Split]) -> None:
    place: tuple[Any, int] = (None, 0)
    for split in splits:
        if split.start and place != (split.source, split.start):
            raise ValueError(f"{split} does not follow the split before it: stitch all of a plan, in its order")
        place = (split.source, split.stop)


Done: TypeAlias = tuple[Chain, R | None, Exception | None]
"""The outcome of one split: what the next one needs to know, and the function's result or error."""


def _context() -> Any:
    """Return how processes start: as copies of this one where that is safe, which takes 5 ms instead of 100.

    In a copy, a lock that another thread holds stays locked for ever; threads that are not Python's have some,
    too. The folder is only there on Linux: the libraries of other systems do not survive being copied.
    """
    from multiprocessing import get_context  # noqa: PLC0415 - one process does without

    with suppress(OSError):
        if len(os.listdir("/proc/self/task")) == 1:
            return get_context("fork")
    return get_context("spawn")


def _begin(parent: int) -> None:
    # Text that modules print at import, such as those of plugins, is no output.
    sys.stdout = sys.stderr
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process after its parent: a copy has both ends of the pipes between them, and sees no end of file."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(function: Callable[[Reader], R], split: Split) -> Done[R]:
    reader = Reader(split)
    try:
        result, error = function(reader), None
    except Exception as caught:  # noqa: BLE001 - it may be the guess that is wrong
        result, error = None, caught
    if reader.end is None and error is None and reader.error is None and not reader.is_astray:
        error = ValueError(f"{function!r} stopped before the end of {split}")
    return _chain(reader), result, error


class Process(Generic[R]):
    """The results of `process`, one for each split, in order; iterate over it once."""

    def __init__(self, splits: list[Split], function: Callable[[Reader], R], jobs: int) -> None:
        self._splits, self._function, self._jobs = splits, function, jobs
        self._seam = Seam()

    @property
    def walked_twice(self) -> int:
        """Bytes of the splits done again so far, after a wrong guess."""
        return self._seam.walked_twice

    def __iter__(self) -> Iterator[R]:
        with ExitStack() as stack:
            executor: futures.Executor | None = None
            if self._jobs > 1:
                pool = futures.ProcessPoolExecutor(self._jobs, _context(), initializer=_begin, initargs=(os.getpid(),))
                executor = stack.enter_context(pool)
                stack.callback(executor.shutdown, cancel_futures=True)
            start = partial(self._start, executor)
            todo = iter(self._splits)
            waiting = deque((split, start(split)) for split in islice(todo, _AHEAD * self._jobs))
            while waiting:
                split, begun = waiting.popleft()
                try:
                    chain, result = self._true_outcome(split, begun, start)
                except futures.BrokenExecutor as error:
                    reason = "a process that cut frames was killed, or could not start"
                    hint = 'a script calls this under `if __name__ == "__main__":`'
                    raise WorkerError(f"{reason}; {hint}") from error
                yield result
                if chain.error is not None:
                    return
                waiting.extend((split, start(split)) for split in islice(todo, 1))

    def _start(self, executor: futures.Executor | None, split: Split) -> Callable[[], Done[R]]:
        """Start the work on a split; without an executor it is done when asked for, and so from the true place on."""
        if executor is None:
            return lambda: _work(self._function, self._seam.enter(split))
        return executor.submit(_work, self._function, split).result

    def _true_outcome(
        self, split: Split, begun: Callable[[], Done[R]], start: Callable[[Split], Callable[[], Done[R]]]
    ) -> tuple[Chain, Any]:
        seam = self._seam
        true = seam.enter(split)
        chain, result, error = begun()
        if chain.first != (first := seam.true):
            seam.walked_twice += max(split.stop - first, 0)
            chain, result, error = start(true)()
        if error is not None:
            raise error
        seam.leave(chain.end)
        return chain, result


def process(splits: Iterable[Split], function: Callable[[Reader], R], *, jobs: int) -> Process[R]:
    """Call a function with a `Reader` for each split, in several processes, and yield the results in order.

    All is read once, in the usual case: only if the first frame of a split was guessed wrong, the split is
    done again from the true place, and the function's first result is dropped.

    Args:
        splits: from `plan`: each file completely, in order.
        function: reads all of its reader, and returns a picklable result. With more than one process it must
            be importable, and have no effect besides its result. If it handles the error that ends the
            reading, or sets ``reader.error``, its result is the last.
        jobs: number of processes; 1 for this one. What others print goes to standard error.

    Raises:
        FramingError, PayloadError: what ended the reading of a split, after the results of those before it.
        ArchiveError: a file cannot be read, or has changed.
        WorkerError: a process was killed, or could not start. On Linux, processes are copies of one that has a
            single thread; otherwise each imports the script again, so a script must call this under
            ``if __name__ == "__main__":``.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; it must be at least 1")
    splits = list(splits)
    _check_whole(splits)
    return Process(splits, function, jobs)
