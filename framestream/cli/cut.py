"""``framestream cut``: cut a stream, or a file in several processes, into frames, and print them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final

import click

from framestream import FrameDecoder, FrameTooLarge, FramingError, PayloadError
from framestream.cli import options
from framestream.cli.output import Printer, progress, report_skipped
from framestream.decoder import DecoderStats, OnOversize
from framestream.iterate import answers

if TYPE_CHECKING:
    from framestream import ReadCondition
    from framestream.archives import Reader

_PRINTED: Final = 1 << 20  # bytes of a split whose output waits for its turn: up to 45 bytes for each of it


@click.command()
@click.argument("spec", shell_complete=options.complete_framer)
@click.argument("file", default="-")
@click.option("-o", "--output", type=options.FORM, default="json", help="Output format.")
@options.max_size(help="Largest payload, such as 64KiB.  [default: the framer's own, or 1MiB]")
@options.on_oversize
@options.on_payload_error
@options.count
@click.option("--stats", is_flag=True, help="Report counts and speed at the end.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Number of processes that cut a file.")
@options.separator
def cut(
    spec: str,
    file: str,
    output: str,
    separator: bytes | None,
    count: int | None,
    stats: bool,
    jobs: int | None,
    **limits: Any,
) -> int:
    """Cut FILE into frames by SPEC and print them.

    FILE is a path, - for standard input (the default), tcp://host:port, unix:path, or a recording that
    comes with framestream: sample:redis, sample:dns. Frames are printed as they arrive. SPEC is a framer
    with its options; "framestream framers" lists them.
    With --jobs, FILE is a path, or a URL such as s3://bucket/key if fsspec is installed.

    The exit status is 1 if a frame is bad or too large, or the stream is malformed or ends inside a frame,
    after everything before that place has been printed. Frames that are discarded or truncated are reported.

    \b
    Examples:
      framestream cut line app.log --output text
      framestream cut length-prefix:size=2,byteorder=little --output hex < messages.bin
      framestream cut protobuf events.bin --jobs 4 > events.json
      tail -f app.log | framestream cut 'delimiter:"\\r\\n"'
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    options.goes_with("--separator", "--output text or raw", output in ("text", "raw"))
    work = Cutting(output, separator, limits["on_oversize"], limits["on_payload_error"], count)
    printer = work.printer()
    condition = printer.condition(options.get_framer(spec))
    started = time.monotonic()
    if jobs is not None:
        if file == "-":
            raise click.UsageError("--jobs needs a file")
        total = _cut_by_several(printer, condition, file, limits["max_frame_size"], work, jobs)
        printer.stream.flush()
        if stats:
            _print_stats(total, started)
        return printer.status
    with options.open_source(file) as source, _progress(source, printer) as read:
        decoder = FrameDecoder(on_oversize=work.on_oversize, on_discard=partial(report_skipped, source.name))
        ask: Any = decoder.next_batch if work.in_batches else decoder.next_frame
        ask = partial(ask, condition, max_size=limits["max_frame_size"])
        pieces = _pieces(decoder, ask, iter(read, b""), in_batches=work.in_batches)
        try:
            work.print(printer, pieces, lambda: decoder.frame_span, partial(printer.complain, source.name))
        finally:
            printer.stream.flush()
            if stats:
                counted = decoder.stats
                _print_stats(counted, started, high_water=counted.high_water, left_over=decoder.buffered)
    return printer.status


Piece = tuple[list[Any], Exception | None]


@dataclass(frozen=True)
class Cutting:
    """How frames are printed, and when that ends: a value that the processes of ``--jobs`` get.

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

    @property
    def in_batches(self) -> bool:
        """Whether frames are cut in batches, which costs half as much for each.

        A batch knows the place of its last frame only, and frames skipped in it are reported before it is printed.
        """
        return self.form in ("text", "raw") and self.count is None and not self.skips

    def printer(self, stream: IO[bytes] | None = None) -> Printer:
        """Return what prints the frames."""
        return Printer(self.form, self.separator, stream)

    def print(
        self,
        printer: Printer,
        pieces: Iterable[Piece],
        place: Callable[[], tuple[int, int]],
        tell: Callable[[Exception], object],
    ) -> int:
        """Print frames, each between the offsets that `place` returns, and tell errors; return how many frames."""
        printed = 0
        try:
            for frames, error in pieces:
                if error is not None:
                    tell(error)
                    if self.on_payload_error == "close" and isinstance(error, PayloadError):
                        break
                    continue
                printed += len(frames)
                if self.in_batches:
                    printer.write_all(frames)
                    continue
                printer.write(frames[0], place())
                if printed == self.count:
                    break
        except FramingError as error:
            tell(error)
        return printed

    def __call__(self, reader: Reader) -> Printed:
        """Print the frames of a split into memory."""
        output = BytesIO()
        told: list[bytes | Exception] = []

        def tell(error: Exception) -> None:
            # Its traceback holds several KiB: there may be as many bad frames as good ones.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            if data := output.getvalue():
                told.append(data)
                output.seek(0)
                output.truncate()
            told.append(error)
            if self.on_payload_error == "close" and isinstance(error, PayloadError):
                reader.error = error

        pieces = reader.pieces(in_batches=self.in_batches, on_oversize=self.on_oversize)
        printed = self.print(self.printer(output), pieces, lambda: (reader.place[0], sum(reader.place)), tell)
        return Printed(reader.first, printed, [*told, output.getvalue()])


def _pieces(
    decoder: FrameDecoder, ask: Callable[[], Any], chunks: Iterator[bytes], *, in_batches: bool
) -> Iterator[Piece]:
    """Yield the frames of a stream, as `Reader.pieces` does those of a split."""
    while True:
        try:
            for answer in answers(decoder, ask, chunks):
                yield (answer if in_batches else [answer]), None
            return
        except (PayloadError, FrameTooLarge) as error:
            if isinstance(error, FrameTooLarge) and not error.recoverable:
                raise
            yield [], error


def _print_stats(stats: DecoderStats, started: float, **more: int) -> None:
    """Print counters, in frames and bytes, and the speed to standard error."""
    counters = ("frames", "received", "oversize", "discarded", "payload_errors")
    for name, value in ({name: getattr(stats, name) for name in counters} | more).items():
        click.echo(f"{name.replace('_', ' '):<16}{value}", err=True)
    seconds = max(time.monotonic() - started, 1e-9)
    click.echo(f"time            {seconds:.3f} s, {stats.received / seconds / 1e6:.1f} MB/s", err=True)


@contextmanager
def _progress(source: options.Source, printer: Printer) -> Iterator[Callable[[], bytes]]:
    """Return the function that reads the source; it first flushes the output if reading may take a while.

    A long file gets a progress bar, on a terminal that the frames are not printed to.
    """
    with progress(source.size or 0, source.name, hidden=printer.stream.isatty()) as advance:

        def read() -> bytes:
            if not source.is_ready():
                printer.stream.flush()
            chunk = source.read()
            advance(len(chunk))
            return chunk

        yield read


# In several processes -----------------------------------------------------------------------------


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


def _cut_by_several(
    printer: Printer, condition: ReadCondition[Any], file: str, max_size: int | None, work: Cutting, jobs: int
) -> DecoderStats:
    """Print the frames of a file that several processes cut, exactly as one process would."""
    from framestream.archives import Reader  # noqa: PLC0415  # a stream does without
    from framestream.cli.archives import processed, splits_of  # noqa: PLC0415

    splits = splits_of(file, condition, max_size, _PRINTED)
    total, missing = DecoderStats(), work.count
    # What is printed of a split is only known to be right when all before it is: none counts alone.
    results = processed(splits, replace(work, count=None), jobs, file, hidden=printer.stream.isatty())
    for split, result in results:
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
