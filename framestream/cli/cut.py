"""``framestream cut``: cut a stream, or a file in several processes, into frames, and print them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import partial
from io import BytesIO, FileIO
from typing import TYPE_CHECKING, Any, Final

import click

from framestream import FrameDecoder, FrameTooLarge, FramingError, PayloadError, ReadCondition
from framestream._compression import decompressed, kind_of
from framestream.cli import options
from framestream.cli.output import Printer, taken
from framestream.decoder import OnOversize
from framestream.iterate import CHUNK_SIZE, answers

if TYPE_CHECKING:
    from framestream.archives import Reader

_PRINTED: Final = 1 << 20  # bytes of a split whose output waits for its turn: up to 45 bytes for each of it


@click.command()
@click.argument("spec")
@click.argument("file", default="-")
@click.option("-o", "--output", type=options.FORM, default="json", help="Output format.")
@options.max_size(help="Largest payload, such as 64KiB.  [default: the framer's own, or 1MiB]")
@options.on_oversize
@options.on_payload_error
@options.count
@click.option("--stats", is_flag=True, help="Report counts and speed at the end.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Number of processes that cut a file.")
@options.separator
def cut(spec: str, file: str, max_frame_size: int | None, stats: bool, jobs: int | None, **how: Any) -> int:
    """Cut FILE into frames by SPEC and print them.

    FILE is a path, - for standard input (the default), or a recording that comes with framestream:
    sample:redis, sample:dns. It is decompressed if its name ends with .gz, .bz2, .xz, .lz4 or .zst. Frames are
    printed as they arrive. SPEC is a framer with its options; "framestream framers" lists them. With --jobs, FILE
    is a path, or a URL such as s3://bucket/key if fsspec is installed.

    The exit status is 1 if a frame is bad or too large, or the stream is malformed or ends inside a frame,
    after everything before that place has been printed. Frames that are discarded or truncated are reported.

    \b
    Examples:
      framestream cut line app.log --output text
      framestream cut length-prefix:size=2,byteorder=little --output hex < messages.bin
      framestream cut protobuf events.bin --jobs 4 > events.json
      tail -f app.log | framestream cut 'delimiter:"\\r\\n"'
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    work = Cutting(**how)
    printer = Printer(work.output, work.separator)
    condition = printer.condition(options.get_framer(spec))
    if jobs is not None:
        if stats:
            raise click.UsageError("--stats is for one process; framestream stats --jobs counts frames")
        _cut_by_several(printer, condition, file, max_frame_size, work, jobs)
        return printer.status
    started = time.monotonic()
    name = "standard input" if file == "-" else file
    with options.open_file(file) as source:
        decoder = FrameDecoder(on_oversize=work.on_oversize, on_discard=partial(printer.complain, name))
        ask: Any = decoder.next_batch if work.in_batches else decoder.next_frame
        chunks = _chunks(source, name)
        if (kind := kind_of(file)) is not None:
            chunks = (data for _, data in decompressed(chunks, kind, name))
        pieces = _pieces(decoder, partial(ask, condition, max_size=max_frame_size), chunks, work.in_batches)
        try:
            work.print(printer, pieces, partial(printer.complain, name))
        finally:
            printer.stream.flush()
            if stats:
                _print_stats(decoder, time.monotonic() - started)
    return printer.status


Piece = tuple[list[Any], tuple[int, int], Exception | None]
"""Frames, the offsets of the first byte and of the end if it is one by itself, and the error of one that is bad."""


@dataclass
class Cutting:
    """How frames are printed, and when that ends: the options of a command, which the processes of ``--jobs`` get.

    Attributes:
        count: how many more frames are printed; None: all.
    """

    output: str
    separator: bytes | None
    on_oversize: OnOversize
    on_payload_error: str
    count: int | None = None

    @property
    def in_batches(self) -> bool:
        """Whether frames are cut in batches, which costs half as much for each.

        Frames that are skipped in a batch are reported before it is printed.
        """
        skips = self.on_oversize in ("discard", "truncate")
        return self.output in ("text", "raw") and self.count is None and not skips

    def print(self, printer: Printer, pieces: Iterable[Piece], tell: Callable[[Exception], object]) -> bool:
        """Print frames and tell errors; return whether these options ended that before the stream did."""
        try:
            for frames, span, error in pieces:
                if error is None:
                    printer.write(frames, span)
                    if self.count is not None:
                        self.count -= len(frames)
                else:
                    tell(error)
                if self.count == 0 or (self.on_payload_error == "close" and isinstance(error, PayloadError)):
                    return True
        except FramingError as error:
            tell(error)
        return False

    def __call__(self, reader: Reader) -> list[bytes | Exception]:
        """Return what is printed of a split, and told, in order."""
        output = BytesIO()
        told: list[bytes | Exception] = []

        def tell(error: Exception) -> None:
            # A copy has no traceback, which holds several KiB (there may be as many bad frames as good ones), and
            # does not change when the frame is skipped.
            told.extend((taken(output), copy(error)))

        pieces = reader.pieces(in_batches=self.in_batches, on_oversize=self.on_oversize)
        placed = ((frames, (reader.place[0], sum(reader.place)), error) for frames, error in pieces)
        if self.print(Printer(self.output, self.separator, output), placed, tell):
            reader.error = EOFError("no more frames are wanted")
        return [*told, output.getvalue()]


def _chunks(source: FileIO, name: str) -> Iterator[bytes]:
    """Yield what arrives; what was printed of one chunk appears before the next is waited for."""
    # Where nothing has arrived yet, and the source does not block, `FileIO.read` returns what looks like the end.
    read = options.named(name)(os.read)
    while chunk := read(source.fileno(), CHUNK_SIZE):
        yield chunk
        sys.stdout.flush()


def _pieces(
    decoder: FrameDecoder, ask: Callable[[], Any], chunks: Iterator[bytes], in_batches: bool
) -> Iterator[Piece]:
    """Yield the frames of a stream, as `Reader.pieces` does those of a split."""
    while True:
        try:
            for answer in answers(decoder, ask, chunks):
                # To find the place of the last frame of a batch, all of it would be cut again.
                yield (answer, (0, 0), None) if in_batches else ([answer], decoder.frame_span, None)
            return
        except (PayloadError, FrameTooLarge) as error:
            if isinstance(error, FrameTooLarge) and not error.recoverable:
                raise
            yield [], (0, 0), error


def _print_stats(decoder: FrameDecoder, seconds: float) -> None:
    """Print counters, in frames and bytes, and the speed to standard error."""
    stats = decoder.stats
    for name in ("frames", "received", "oversize", "discarded", "payload_errors", "high_water"):
        click.echo(f"{name.replace('_', ' '):<16}{getattr(stats, name)}", err=True)
    click.echo(f"{'left over':<16}{decoder.buffered}", err=True)
    click.echo(f"{'time':<16}{seconds:.3f} s, {stats.received / max(seconds, 1e-9) / 1e6:.1f} MB/s", err=True)


def _cut_by_several(
    printer: Printer, condition: ReadCondition[Any], file: str, max_size: int | None, work: Cutting, jobs: int
) -> None:
    """Print the frames of a file that several processes cut, exactly as one process would."""
    from framestream.cli.archives import processed, splits_of  # noqa: PLC0415  # a stream does without

    splits = splits_of(file, condition, max_size, _PRINTED)
    jobs = jobs if work.count is None else 1  # only one process at a time knows how many are left
    for _, printed in processed(splits, work, jobs, file, hidden=sys.stdout.isatty()):
        for piece in printed:
            if isinstance(piece, bytes):
                printer.stream.write(piece)
            else:
                printer.complain(file, piece)
    printer.stream.flush()
