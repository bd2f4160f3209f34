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
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeAlias, TypeVar

from framestream.archives.split import Reader, Split
from framestream.errors import FramingError, WorkerError, check_count, check_function, describe_error

R = TypeVar("R")

# Splits under way for each process: one in work, one waiting.
_AHEAD: Final = 2
_WAITS: Final = 50  # ms for a thread that has ended to go


@dataclass(frozen=True)
class Chain:
    """What other splits need to know about the frames of one split; it can be pickled.

    Attributes:
        of_split: the URL of its file, and where it starts.
        first: where the first of them begins; without one, where the first one after the split does.
        end: where the first frame after them begins, or the size of the file if there is none.
        error: the error that ends the file before that, or None.
        places: where some of them end.
    """

    of_split: tuple[str, int]
    first: int
    end: int
    error: Exception | None = field(repr=False)
    places: Sequence[int] = field(repr=False)

    @classmethod
    def of(cls, reader: Reader) -> Chain:
        """Return the chain of a split that was read; what its reader has not found is -1."""
        first, end = (-1 if place is None else place for place in (reader.first, reader.end))
        return cls(_name(reader.split), first, end, reader.error, reader.marks.offsets)


def _name(split: Split) -> tuple[str, int]:
    return split.source.url, split.start


def walk(split: Split) -> Chain:
    """Read a split from its first frame, or from the best guess of it, and return its chain.

    Raises:
        ArchiveError: the file cannot be read, or has changed.
        FramerContractError: the framer is at fault.
    """
    reader = Reader(split)
    with suppress(FramingError):
        reader.drain()
    return Chain.of(reader)


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
        return replace(split, first=self.true if self.error is None else max(split.stop, 1))

    def fits(self, split: Split, chain: Chain) -> bool:
        """Say whether the chain of a split is the true one. Before the first frame of a file there may be padding."""
        return not split.start or chain.first == self.true

    def leave(self, chain: Chain) -> None:
        """Go on to the next split."""
        self.true, self.error = chain.end, chain.error

    def mend(self, split: Split, chain: Chain) -> Chain:
        """Walk a split from its true first frame until its chain is met; return the one that ends as the true one."""
        first = self.true
        known = {chain.first, *chain.places}
        reader = Reader(split)
        with suppress(FramingError):
            for _, bad in reader.pieces(in_batches=False):
                # Above the limit, it may have to be skipped yet: then the position is inside it.
                if not isinstance(bad, FramingError) and reader.position in known:
                    self.walked_twice += reader.position - first
                    return chain
        self.walked_twice += min(reader.position, split.stop) - first
        return Chain.of(reader)


Map: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with each item of an iterable, as ``map`` does, in any process."""


@dataclass(frozen=True)
class Stitched:
    """The result of `stitch`.

    Attributes:
        splits: the splits, each with its true first frame.
        walked_twice: how many bytes were walked again because a guess was wrong.
    """

    splits: list[Split]
    walked_twice: int


def stitch(splits: Iterable[Split], *, map: Map = map) -> Stitched:
    """Find the true first frame of every split, by reading all of them at once.

    Each split is then exact, and can be read by itself, anywhere. Splits after the place where a file is
    malformed have no frames; the split that ends there raises the error.

    Args:
        splits: from `plan`: each file completely, in order.
        map: calls `walk` for each split, and keeps their order: that of an executor, or anything that runs
            on other machines. Splits that must be walked again are walked here, in order.

    Raises:
        ArchiveError: a file cannot be read, or has changed.
    """
    splits = list(splits)
    _check_whole(splits)
    seam = Seam()
    exact = []
    for guessed, chain in zip(splits, map(walk, splits), strict=True):
        if chain.of_split != _name(guessed):
            raise ValueError(f"map returned {chain} for {guessed}: it must keep the order")
        split = seam.enter(guessed)
        exact.append(split)
        if seam.error is None and not (seam.true >= split.stop > 0):
            seam.leave(chain if seam.fits(split, chain) else seam.mend(split, chain))
    return Stitched(exact, seam.walked_twice)


def _check_whole(splits: list[Split]) -> None:
    place: tuple[Any, int] = (None, 0)
    for split in splits:
        if split.start and place != (split.source, split.start):
            raise ValueError(f"{split} does not follow the split before it: stitch all of a plan, in its order")
        place = (split.source, split.stop)


Done: TypeAlias = tuple[Chain, Any, Exception | None]
"""The outcome of one split: what the next one needs to know, and the function's result or error."""


def _context() -> Any:
    """Return how processes start: as copies of this one where that is safe, which takes 5 ms instead of 100.

    In a copy, a lock that another thread holds stays locked for ever; threads that are not Python's have some,
    too. The folder is only there on Linux: the libraries of other systems do not survive being copied.
    """
    from multiprocessing import get_context  # noqa: PLC0415 - one process does without

    with suppress(OSError):
        for _ in range(_WAITS):
            if len(os.listdir("/proc/self/task")) == 1:
                return get_context("fork")
            if threading.active_count() > 1:
                break
            time.sleep(0.001)  # until 3.12, Python says that a thread has ended before it is gone
    return get_context("spawn")


def _begin(parent: int) -> None:
    # Text that modules print at import, such as those of plugins, is no output.
    sys.stdout = sys.stderr
    # As an exception, Ctrl-C would end only the work on one split, and another one would begin.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process after its parent: a copy has both ends of the pipes between them, and sees no end of file."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(function: Callable[[Reader], R], split: Split) -> Done:
    reader = Reader(split)
    try:
        result, error = function(reader), None
    except Exception as caught:  # noqa: BLE001 - it may be the guess that is wrong
        result, error = None, caught
    if reader.end is None and error is None and reader.error is None:
        error = ValueError(f"{function!r} stopped before the end of {split}")
    return Chain.of(reader), result, error


def _work_elsewhere(function: Callable[[Reader], R], split: Split) -> Done:
    """Do the same in another process, which cannot send every error: it would look as if it had been killed."""
    chain, result, error = _work(function, split)
    return replace(chain, error=_sendable(chain.error)), result, _sendable(error)


def _sendable(error: Exception | None) -> Exception | None:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - ours
    except Exception:  # noqa: BLE001 - a class decides what that raises
        reason = f"{type(error).__name__} in another process, from which it cannot be sent"
        return WorkerError(f"{reason}: {describe_error(error)}")  # type: ignore[arg-type]  # None can be sent
    return error


class Process(Generic[R]):
    """The results of `process`, one for each split, in order; iterate over it once."""

    def __init__(self, splits: list[Split], function: Callable[[Reader], R], jobs: int) -> None:
        self._splits, self._function, self._jobs = splits, function, min(jobs, len(splits) or 1)
        self._seam = Seam()

    @property
    def walked_twice(self) -> int:
        """Bytes of the splits done again so far, after a wrong guess."""
        return self._seam.walked_twice

    def __iter__(self) -> Iterator[R]:
        seam = self._seam
        # Each is read when it is asked for, and so from its true first frame on.
        in_turn = (_work(self._function, seam.enter(split)) for split in self._splits)
        with closing(in_turn if self._jobs == 1 else self._in_processes()) as outcomes:
            for split, outcome in zip(self._splits, outcomes, strict=True):
                true = seam.enter(split)
                chain, result, error = outcome
                if not seam.fits(split, chain):
                    seam.walked_twice += max(split.stop - seam.true, 0)
                    chain, result, error = _work(self._function, true)
                if error is not None:
                    raise error
                yield result
                if chain.error is not None:
                    return
                seam.leave(chain)

    def _in_processes(self) -> Generator[Done]:
        """Yield the outcome of each split, read from the best guess of its first frame on."""
        waiting: deque[Future[Done]] = deque()
        with ProcessPoolExecutor(self._jobs, _context(), initializer=_begin, initargs=(os.getpid(),)) as pool:
            try:
                for split in self._splits:
                    waiting.append(pool.submit(_work_elsewhere, self._function, split))
                    if len(waiting) == _AHEAD * self._jobs:
                        yield waiting.popleft().result()
                for last in waiting:
                    yield last.result()
            except BrokenExecutor as error:
                if error.__cause__ is not None:  # what came from it, and its traceback
                    raise WorkerError("the result of a process cannot be unpickled here") from error
                reason = "a process that cut frames was killed, or could not start"
                hint = 'a script calls this under `if __name__ == "__main__":`'
                raise WorkerError(f"{reason}; {hint}") from error
            finally:
                pool.shutdown(cancel_futures=True)


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
        ValueError: the function or the framer cannot be pickled.
        WorkerError: a process was killed, or could not start, its error cannot be pickled, or its result cannot be
            unpickled. On Linux, processes are copies of one that has a single thread; otherwise each imports the
            script again, so a script must call this under ``if __name__ == "__main__":``.
    """
    check_count("jobs", jobs, least=1)
    check_function("function", function)
    splits = list(splits)
    _check_whole(splits)
    if jobs > 1:
        try:
            pickle.dumps((function, splits[:1]))
        except Exception as error:
            # The pool's own thread would meet it, and then may wait for ever.
            raise ValueError(f"{function!r} cannot be sent to another process: {describe_error(error)}") from error
    return Process(splits, function, jobs)
