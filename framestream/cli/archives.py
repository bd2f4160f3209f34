"""``framestream stats``, ``index`` and ``repair``: files, in parallel."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import click

from framestream import FramingError, ReadCondition
from framestream.archives import Reader, Split, make_index, open_source, plan, process
from framestream.archives import repair as repair_archive
from framestream.cli import options
from framestream.cli.output import complain, progress, report, say
from framestream.errors import counted

_COUNTED: Final = 1 << 24  # bytes of a split of which only numbers are kept
_BAR: Final = 40  # columns of the longest bar of the histogram

jobs = click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, help="Number of processes.")


@click.command()
@click.argument("spec")
@click.argument("file", type=options.FILE)
@jobs
@options.max_size(help="Largest payload, such as 64KiB.  [default: the framer's own, or 1MiB]")
def stats(spec: str, file: str, jobs: int, max_frame_size: int | None) -> int:
    """Count the frames of FILE, and show how large they are.

    FILE is a path, or a URL such as s3://bucket/key if fsspec is installed. Sizes are those of whole frames,
    with header and delimiter. The exit status is 1 if frames are bad, or the file is malformed or ends inside
    a frame.

    \b
    Examples:
      framestream stats line app.log
      framestream stats protobuf events.bin --jobs 4
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    started = time.monotonic()
    splits = splits_of(file, options.get_framer(spec), max_frame_size, _COUNTED)
    sizes, bad, is_broken = Counter[int](), 0, False
    for split, (its_sizes, its_bad, error) in processed(splits, _count, jobs, file):
        sizes.update(its_sizes)
        bad += its_bad
        if error is not None:
            report(split.source.url, error)
            is_broken = True
    seconds = max(time.monotonic() - started, 1e-9)
    size, frames = _size(splits), sizes.total()
    in_frames = sum(size * count for size, count in sizes.items())
    told: dict[str, Any] = {"frames": frames, "bad frames": bad, "bytes": size, "in frames": in_frames}
    if frames:
        told["sizes"] = f"{min(sizes)} to {max(sizes)}, {in_frames / frames:.1f} on average"
    told["time"] = f"{seconds:.3f} s, {size / seconds / 1e6:.1f} MB/s, {counted(jobs, 'process')}"
    for name, value in told.items():
        say(f"{name:<16}{value}")
    for line in _histogram(sizes):
        say(line)
    return int(bad > 0 or is_broken)


def _count(reader: Reader) -> tuple[Counter[int], int, Exception | None]:
    """Return how many frames of a split have each size, how many more are bad, and what ended the reading early."""
    sizes = Counter[int]()
    try:
        for _, error in reader.pieces(in_batches=False):
            if error is None:
                sizes[reader.place[1]] += 1
    except FramingError as error:
        return sizes, reader.bad, error
    return sizes, reader.bad, None


def _histogram(sizes: Counter[int]) -> Iterator[str]:
    """Yield a line for each power of two, with a bar."""
    powers = Counter[int]()
    for size, count in sizes.items():
        powers[size.bit_length()] += count
    for bits in range(min(powers), max(powers) + 1) if powers else ():
        count = powers[bits]
        eighths = -(-count * _BAR * 8 // max(powers.values()))
        bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        span = f"{1 << bits >> 1} to {(1 << bits) - 1}" if bits > 1 else bits
        yield f"{span:>24} bytes {bar} {count}".rstrip()


@click.command()
@click.argument("file", type=options.FILE)
@options.framer
@jobs
def index(file: str, spec: str, jobs: int) -> int:
    """Write an index of FILE next to it, as FILE.fsindex.

    With it, framestream.archives finds any frame by its number, and divides the file without a guess. After
    the file has changed, the index is refused: make it again.

    \b
    Examples:
      framestream index events.bin --framer protobuf --jobs 4
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    framer = options.get_framer(spec)
    source = open_source(_own(file))  # all of a compressed file is decompressed here
    with progress(source.size, file) as bar:
        made = make_index(source, framer, jobs=jobs, on_progress=bar.update)
    say(f"{file}.fsindex: {counted(made.count, 'frame')}, {counted(len(made.marks.offsets), 'place')}")
    return 0


@click.command()
@click.argument("file", type=options.FILE)
@options.framer
def repair(file: str, spec: str) -> int:
    """Cut off an incomplete frame at the end of FILE, and keep it in FILE.torn-OFFSET.

    \b
    Examples:
      framestream repair events.bin --framer protobuf
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    try:
        done = repair_archive(_own(file), options.get_framer(spec))
    except FramingError as error:
        report(file, error)
        complain(f"{file}: this is not a torn end, or not a file of these frames; nothing is cut off")
        return 1
    frames = counted(done.frames, "frame")
    if not done.torn:
        say(f"{file}: whole, {frames}")
        return 0
    kept = f"{frames} {'stays' if done.frames == 1 else 'stay'}"
    cut = f"{counted(done.cut, 'byte')} at offset {done.size} cut off, and kept in {done.torn}"
    say(f"{file}: {done.reason}; {cut}; {kept}")
    return 0


def splits_of(file: str, condition: ReadCondition[Any], max_size: int | None, size: int) -> list[Split]:
    """Return the splits of a file, each of about `size` bytes."""
    return [replace(split, max_size=max_size) for split in plan(_stored(file), condition, size=size)]


def _own(file: str) -> str:
    """Return the path or URL of a file that may be changed, or written next to."""
    if file.startswith("sample:"):
        raise click.UsageError(f"{file} comes with framestream and is only read; name a file of your own")
    return _stored(file)


def _stored(file: str) -> str:
    """Return the path or URL of a file that is read in parts."""
    if file == "-":
        raise click.UsageError("'-' is standard input, which cannot be read in parts; name a file")
    return options.path_of(file)


def processed(
    splits: list[Split], function: Callable[[Reader], Any], jobs: int, label: str, *, hidden: bool = False
) -> Iterator[tuple[Split, Any]]:
    """Yield each split with the function's result, as `process` does, and show the progress."""
    with progress(_size(splits), label, hidden=hidden) as bar:
        for split, result in zip(splits, process(splits, function, jobs=jobs), strict=False):
            yield split, result
            bar.update(split.stop - split.start)


def _size(splits: list[Split]) -> int:
    return sum(split.stop - split.start for split in splits)
