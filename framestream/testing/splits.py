"""Checks of archives: however one is divided, its splits give the frames of the whole.

``python -m framestream.testing.splits`` tries random archives of framers named by their spec strings; without
one, of every built-in framer under many options, and of every framer that is installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from random import Random
from typing import Any, TypeAlias

from framestream.archives import InMemory, OnError, Reader, Record, Split, process, stitch
from framestream.decoder import FrameDecoder
from framestream.errors import FramerContractError, FramingError, PayloadError, SpecError
from framestream.framer import ReadCondition
from framestream.iterate import placed_frames
from framestream.registry import available_framers, get_framer
from framestream.testing.contract import ConformanceError, Untried, describe_error, describe_framer, under
from framestream.testing.driver import same_frame
from framestream.testing.suite import Suite, seeds_for, spoil

Item: TypeAlias = tuple[Any, ...]
"""Offset, size and frame of a frame; class and offset of an error."""

_MOST_WIRE = 2000
_ARCHIVES = 40
_STEPS = (1, 7, 64, 1 << 16)
_LIMITS = (1 << 20, 1 << 20, 40, 5)


@dataclass(frozen=True)
class Division:
    """An archive and how it is divided.

    Attributes:
        data: its bytes.
        borders: where its splits begin and end, the first at 0 and the last at its end.
        step: how many bytes of it arrive at a time.
        limit: the largest payload, for framers without a limit of their own.
        on_error: what becomes of bad frames.
    """

    data: bytes
    borders: tuple[int, ...]
    step: int
    limit: int
    on_error: OnError

    def splits(self, framer: ReadCondition[Any]) -> list[Split]:
        """Return the splits."""
        source = InMemory(self.data, step=self.step)
        pairs = list(pairwise(self.borders)) or [(0, 0)]
        return [Split(source, framer, start, stop, max_frame_size=self.limit) for start, stop in pairs]

    def __str__(self) -> str:
        return (
            f"splits at {list(self.borders)}, {self.step} bytes at a time, limit {self.limit}, "
            f"on_error={self.on_error!r}"
        )


def check_splits(suite: Suite) -> None:
    """Divided anywhere, an archive gives the frames of the whole, at the same places, and the same error.

    Let find be a function of the bytes from window.start on; let find_start, if there is one, be "likely"
    unless it finds every frame.
    """
    wires = [wire for wire in suite.wires if len(wire) <= _MOST_WIRE]
    check_archives(suite.framer, wires, archives=_ARCHIVES, seed=suite.seed)


def check_archives(framer: ReadCondition[Any], seeds: Sequence[bytes], *, archives: int, seed: int = 0) -> None:
    """Hold random archives, made of these streams and divided at random, to the whole of each.

    Raises:
        Untried: a frame of it may take no bytes.
        ConformanceError: the splits of one give other frames than the whole.
    """
    source = Random(seed)  # noqa: S311  # reproducible, not secret
    for _ in range(archives):
        check_division(framer, _drawn(source, seeds))


def check_division(framer: ReadCondition[Any], division: Division) -> None:
    """Hold one archive to the whole of it; see `check_archives`."""
    try:
        whole = read_whole(framer, division)
    except FramerContractError as error:
        raise ConformanceError(f"an archive raises {describe_error(error)}", data=division.data) from error
    if whole is None:
        raise Untried("its frames take no bytes, so that there is no end of them")
    for way, read in _ways(framer, whole):
        try:
            got = list(read(division.splits(framer), division.on_error))
        except Exception as error:
            raise ConformanceError(
                f"{way}, an archive raises {describe_error(error)}",
                data=division.data,
                got=division,
            ) from error
        if unlike := _difference(whole, got, ends_alike=way == _IN_PROCESSES):
            raise ConformanceError(
                f"{way}, an archive gives other frames than as a whole",
                data=division.data,
                expected=unlike[0],
                got=f"{unlike[1]}, with {division}",
            )


_STITCHED = "divided and stitched"
_IN_PROCESSES = "divided and read in order"
_ALONE = "divided, and each split read alone"


def _ways(
    framer: ReadCondition[Any], whole: list[Item]
) -> Iterator[tuple[str, Callable[[list[Split], OnError], Iterator[Item]]]]:
    yield _STITCHED, lambda splits, on_error: _read(stitch(splits).splits, on_error)
    yield _IN_PROCESSES, _process
    # After what ends a stream, a split that is read alone continues.
    if framer.synchronises == "exact" and not any(isinstance(item[0], str) for item in whole):
        yield _ALONE, _read


def read_whole(framer: ReadCondition[Any], division: Division) -> list[Item] | None:
    """Return what one decoder makes of an archive; None if there is no end of it."""
    decoder = FrameDecoder(max_frame_size=division.limit)
    decoder.receive_data(division.data)
    decoder.receive_eof()
    items: list[Item] = []
    while True:
        try:
            for (start, end), frame in placed_frames(decoder, framer, ()):
                if start == end < len(division.data):
                    return None
                items.append((start, end - start, frame))
        except (PayloadError, FramingError) as error:
            items.append(_told(error))
            goes_on = isinstance(error, PayloadError) or getattr(error, "recoverable", False)
            if goes_on and division.on_error != "raise":
                continue
        return items


def _told(error: PayloadError | FramingError) -> Item:
    return type(error).__name__, error.offset


def _items(records: list[Record]) -> Iterator[Item]:
    for record in records:
        yield record[:3] if record.error is None else _told(record.error)


def _read(splits: list[Split], on_error: OnError) -> Iterator[Item]:
    try:
        for split in splits:
            for record in split.records(on_error=on_error):
                yield from _items([record])
    except (PayloadError, FramingError) as error:
        yield _told(error)


def _process(splits: list[Split], on_error: OnError) -> Iterator[Item]:
    def read(reader: Reader) -> list[Record]:
        return list(reader.records(on_error=on_error))

    try:
        yield from chain.from_iterable(map(_items, process(splits, read, jobs=1)))
    except (PayloadError, FramingError) as error:
        yield _told(error)


def _difference(whole: list[Item], got: list[Item], *, ends_alike: bool) -> tuple[str, str] | None:
    """Return the first thing in which they differ, or None.

    With `ends_alike`, frames of the split that raises may be missing: what was made of it is dropped.
    """
    is_bad = bool(whole) and isinstance(whole[-1][0], str)
    if ends_alike and is_bad and got and len(got) < len(whole):
        whole = [*whole[: len(got) - 1], whole[-1]]
    for one, other in zip_longest(whole, got):
        same = one is not None and other is not None and len(one) == len(other) and one[:2] == other[:2]
        if not same or not all(map(same_frame, one, other)):
            return f"{one or 'nothing more'}", f"{other or 'nothing more'}"
    return None


def _drawn(source: Random, seeds: Sequence[bytes]) -> Division:
    """Return an archive of some of the streams, many of them spoilt, and how it is divided."""
    pieces = [source.choice(seeds) for _ in range(source.randint(1, 6))] if seeds else [source.randbytes(9)]
    data = b"".join(spoil(piece, source) if source.random() < 0.2 else piece for piece in pieces)
    borders = {0, len(data), *(source.randint(0, len(data)) for _ in range(source.randint(0, 5)))}
    on_error: OnError = source.choice(("raise", "column"))
    return Division(data, tuple(sorted(borders)), source.choice(_STEPS), source.choice(_LIMITS), on_error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each framer in turn; return 0 if none failed, 1 if one did, 2 if one does not exist."""
    from framestream.testing.fuzz import BUILT_IN_SPECS  # noqa: PLC0415  # needs hypothesis

    about = "Divide random archives, and see that their splits give the frames of the whole."
    parser = argparse.ArgumentParser(prog="python -m framestream.testing.splits", description=about)
    add = parser.add_argument
    add("spec", nargs="*", help="a framer; every built-in and every installed one if none is given")
    add("--archives", type=int, default=1000, help="archives to try of each framer")
    add("--seed", type=int, default=0, help="another seed tries other archives")
    options = parser.parse_args(arguments)
    installed = [info.name for info in available_framers() if info.distribution != "framestream"]
    status = 0
    for spec in options.spec or [*BUILT_IN_SPECS, *installed]:
        began = time.monotonic()
        try:
            framer = get_framer(spec)
        except SpecError as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            return 2
        seeds = list(getattr(framer, "examples", ())) or seeds_for(framer)
        try:
            with under("splits", framer):
                check_archives(framer, seeds, archives=options.archives, seed=options.seed)
            told: object = f"{describe_framer(framer)}: {options.archives} archives in {time.monotonic() - began:.0f} s"
        except Untried as reason:
            told = f"{describe_framer(framer)}: {reason}"
        except ConformanceError as error:
            told, status = error, 1
        print(told, flush=True)
    return status


if __name__ == "__main__":  # pragma: no cover  # all it does is in main
    sys.exit(main())
