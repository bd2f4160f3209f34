"""``framestream stats``, ``index``, ``repair`` and ``cut --jobs``: files, in parallel."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Final

import click

from framestream import FrameTooLarge, FramingError, PayloadError
from framestream.archives import Reader, Split, make_index, open_source, plan, process
from framestream.archives import repair as repair_archive
from framestream.cli import options
from framestream.cli.cut import file_of
from framestream.cli.output import Printer, complain, progress_bar, report, report_skipped, say
from framestream.decoder import DecoderStats, OnOversize
from framestream.errors import counted
from framestream.framer import ReadCondition

_COUNTED: Final = 1 << 24  # bytes of a split of which only numbers are kept
_PRINTED: Final = 1 << 20  # of one whose output waits for its turn: up to 45 bytes for each of it
_BAR: Final = 40  # columns of the longest bar of the histogram

jobs = click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, help="Number of processes.")


@click.command()
@click.argument("spec", shell_complete=options.complete_framer)
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
    splits = _splits(file, options.get_framer(spec), max_frame_size, _COUNTED)
    total = Tally()
    for split, found in _with_bar(splits, process(splits, Tally.of, jobs=jobs), file):
        total.sizes.update(found.sizes)
        total.bad += found.bad
        total.error = total.error or found.error
        if found.error is not None:
            report(split.source.url, _without_source(found.error))
    seconds = max(time.monotonic() - started, 1e-9)
    size, frames = _size(splits), total.sizes.total()
    in_frames = sum(size * count for size, count in total.sizes.items())
    say(f"{'frames':<16}{frames}")
    say(f"{'bad frames':<16}{total.bad}")
    say(f"{'bytes':<16}{size}")
    say(f"{'in frames':<16}{in_frames}")
    if frames:
        say(f"{'sizes':<16}{min(total.sizes)} to {max(total.sizes)}, {in_frames / frames:.1f} on average")
    say(f"{'time':<16}{seconds:.3f} s, {size / seconds / 1e6:.1f} MB/s, {counted(jobs, 'process')}")
    for line in total.histogram():
        say(line)
    return int(total.bad > 0 or total.error is not None)


@dataclass
class Tally:
    """What `stats` counts.

    Attributes:
        sizes: how many frames have each size.
        bad: how many more are bad.
        error: what ended the reading early, or None.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    bad: int = 0
    error: Exception | None = None

    @classmethod
    def of(cls, reader: Reader) -> Tally:
        """Count the frames of a split."""
        tally = cls()
        try:
            for _, error in reader.pieces(in_batches=False):
                if error is None:
                    tally.sizes[reader.place[1]] += 1
        except FramingError as error:
            tally.error = error
        tally.bad = reader.bad
        return tally

    def histogram(self) -> Iterator[str]:
        """Yield a line for each power of two, with a bar."""
        powers = Counter[int]()
        for size, count in self.sizes.items():
            powers[size.bit_length()] += count
        for bits in range(min(powers), max(powers) + 1) if powers else ():
            count = powers[bits]
            sizes = f"{1 << bits >> 1} to {(1 << bits) - 1}" if bits > 1 else str(bits)
            eighths = -(-count * _BAR * 8 // max(powers.values()))
            bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
            yield f"{sizes:>24} bytes {bar} {count}".rstrip()


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
    source = open_source(file_of(file, changed=True))
    with progress_bar(source.size, file) as bar:
        made = make_index(source, framer, jobs=jobs, on_progress=None if bar is None else bar.update)
    say(f"{file}.fsindex: {counted(made.count, 'frame')}, {counted(len(made.marks.offsets), 'place')}")
    return 0


@click.command()
@click.argument("file", type=options.FILE)
@options.framer
@click.option("--force", is_flag=True, help="Also cut off bytes that are not frames, and all after them.")
@click.option("--dry-run", is_flag=True, help="Only report what would be cut off.")
def repair(file: str, spec: str, force: bool, dry_run: bool) -> int:
    """Cut off an incomplete frame at the end of FILE, and keep it in FILE.torn-OFFSET.

    \b
    Examples:
      framestream repair events.bin --framer protobuf --dry-run
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    try:
        done = repair_archive(file_of(file, changed=True), options.get_framer(spec), force=force, dry_run=dry_run)
    except FramingError as error:
        report(file, _without_source(error))
        complain(f"{file}: this is not a torn end, or not a file of these frames; --force cuts off the rest")
        return 1
    frames = counted(done.frames, "frame")
    if not done.torn:
        say(f"{file}: whole, {frames}")
    else:
        frames += " stays" if done.frames == 1 else " stay"
        what = "would be cut off" if dry_run else f"cut off, and kept in {done.torn}"
        say(f"{file}: {done.reason}; {counted(done.cut, 'byte')} at offset {done.size} {what}; {frames}")
    return 0


# Cutting ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cutting:
    """The work of each process for ``cut --jobs``: it prints into memory.

    Attributes:
        form, separator: those of `Printer`.
        on_oversize, on_payload_error: the policies.
        count: stop after this many frames.
    """

    form: str
    separator: bytes | None
    on_oversize: OnOversize
    on_payload_error: str
    count: int | None = None

    @property
    def skips(self) -> bool:
        """Whether a frame that is too large is reported once it has been skipped."""
        return self.on_oversize in ("discard", "truncate")

    def __call__(self, reader: Reader) -> Printed:
        """Return the frames and complaints to print, in order."""
        output = BytesIO()
        printer = Printer(self.form, self.separator, output)
        pieces: list[bytes | Exception] = []
        printed = 0

        def complain_of(error: Exception) -> None:
            # Its traceback holds several KiB: there may be as many bad frames as good ones.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            if data := output.getvalue():
                pieces.append(data)
                output.seek(0)
                output.truncate()
            pieces.append(_without_source(error))

        batched = not (printer.placed or self.skips or self.count is not None)
        try:
            for frames, error in reader.pieces(in_batches=batched, on_oversize=self.on_oversize):
                if error is not None:
                    complain_of(error)
                    if self.on_payload_error == "close" and isinstance(error, PayloadError):
                        reader.error = error
                        break
                    continue
                printed += len(frames)
                if batched:
                    printer.write_all(frames)
                    continue
                start, size = reader.place
                printer.write(frames[0], (start, start + size))
                if printed == self.count:
                    break
        except FramingError as error:
            complain_of(error)
        return Printed(reader.first, printed, [*pieces, output.getvalue()])


@dataclass(frozen=True)
class Printed:
    """What the frames of a split look like.

    Attributes:
        first: where the first of them begins.
        frames: how many are printed.
        pieces: the text, and complaints, in order.
    """

    first: int | None
    frames: int
    pieces: list[bytes | Exception]


def cut_file(
    printer: Printer, condition: ReadCondition[Any], file: str, max_size: int | None, work: Cutting, jobs: int
) -> DecoderStats:
    """Print the frames of a file that several processes cut, exactly as one process would."""
    splits = _splits(file, condition, max_size, _PRINTED)
    hidden = printer.stream.isatty()
    total, missing = DecoderStats(), work.count
    # What is printed of a split is only known to be right when all before it is: none counts alone.
    results = process(splits, replace(work, count=None), jobs=jobs)
    for split, result in _with_bar(splits, results, file, hidden=hidden):
        printed = result
        if missing is not None:
            if printed.frames >= missing:
                printed = replace(work, count=missing)(Reader(replace(split, first=printed.first)))
            missing -= printed.frames
        for piece in printed.pieces:
            if isinstance(piece, bytes):
                printer.stream.write(piece)
                continue
            if isinstance(piece, PayloadError):
                total.payload_errors += 1
                total.frames += 1
            elif isinstance(piece, FrameTooLarge):
                total.oversize += 1
                total.discarded += piece.discarded
                if work.skips and piece.recoverable:
                    report_skipped(file, piece)
                    continue
            printer.complain(file, piece)
        total.frames += printed.frames
        total.received += split.stop - split.start
        if missing == 0:
            break
    return total


def _splits(file: str, condition: ReadCondition[Any], max_size: int | None, size: int) -> list[Split]:
    return [replace(split, max_size=max_size) for split in plan(file_of(file), condition, size=size)]


def _size(splits: list[Split]) -> int:
    return sum(split.stop - split.start for split in splits)


def _without_source(error: Exception) -> Exception:
    """Return the error as reported for a stream: the file's name is printed before it anyway."""
    if isinstance(error, FramingError | PayloadError):
        error.source = ""
    return error


def _with_bar(
    splits: list[Split], results: Iterable[Any], label: str, *, hidden: bool = False
) -> Iterator[tuple[Split, Any]]:
    with progress_bar(_size(splits), label, hidden=hidden) as bar:
        for split, result in zip(splits, results, strict=False):
            yield split, result
            if bar is not None:
                bar.update(split.stop - split.start)
