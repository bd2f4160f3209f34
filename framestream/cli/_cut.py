"""``framestream cut``: cut a stream into frames and print them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from framestream.cli._output import OUTPUTS, Output, Undecoded
from framestream.cli._parameters import ESCAPED, SIZE, SPEC
from framestream.cli._progress import Progress
from framestream.cli._render import hexdump
from framestream.cli._sources import Source, open_source
from framestream.decoder import DEFAULT_MAX_FRAME_SIZE, END, NEED_DATA, FrameDecoder, OnOversize
from framestream.errors import FrameTooLarge, FramingError, PayloadError
from framestream.framer import format_size
from framestream.registry.lookup import get_framer

if TYPE_CHECKING:
    from framestream.framer import ReadCondition

MALFORMED: Final = 1
"""Exit status when frames were refused, cut short or could not be decoded."""


@click.command(short_help="Cut a stream into frames and print them.")
@click.argument("spec", type=SPEC)
@click.argument("file", default="-")
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(OUTPUTS)),
    default="json",
    show_default=True,
    help="What to print.",
)
@click.option(
    "--max-size", type=SIZE, metavar="SIZE", help="Largest payload, such as 64KiB.  [default: 1MiB]"
)
@click.option(
    "--on-oversize",
    type=click.Choice(["raise", "discard", "truncate", "close"]),
    default="raise",
    show_default=True,
    help="What to do with a larger frame. Frames that are discarded or truncated are reported.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--stats", is_flag=True, help="Report counts and speed at the end.")
@click.option(
    "--separator",
    type=ESCAPED,
    default=None,
    metavar="TEXT",
    help=r"What follows each frame in text and raw output.  [default: \n in text, nothing in raw]",
)
@click.pass_context
def cut(
    context: click.Context,
    spec: str,
    file: str,
    output: str,
    max_size: int | None,
    on_oversize: OnOversize,
    count: int | None,
    stats: bool,
    separator: bytes | None,
) -> None:
    r"""Cut FILE into frames by SPEC and print them.

    FILE is a path, - for standard input (the default), tcp://host:port or unix:path. Frames are printed
    as they arrive. SPEC is a framer and its options, such as 'line', 'delimiter:"\r\n"' or
    'length-prefix:size=2,byteorder=little'; "framestream framers" lists them.

    The exit status is 1 if the stream is malformed or ends inside a frame, after everything before that
    place has been printed.
    """
    condition = get_framer(spec)
    if separator is None:
        separator = b"\n" if output == "text" else b""
    writer = OUTPUTS[output](sys.stdout.buffer, separator)
    with open_source(file) as source:
        cutter = Cutter(source, condition, writer, max_size=max_size, on_oversize=on_oversize)
        try:
            cutter.run(count)
        finally:
            writer.stream.flush()
            if stats:
                cutter.report_stats()
    context.exit(cutter.status)


class Cutter:
    """One source being cut: what has been printed so far, and where in the stream that is.

    Attributes:
        status: the exit status so far.
    """

    def __init__(
        self,
        source: Source,
        condition: ReadCondition[Any],
        output: Output,
        *,
        max_size: int | None = None,
        on_oversize: OnOversize = "raise",
    ) -> None:
        self.status = 0
        self._source = source
        self._condition = condition if output.decoded else Undecoded(condition)
        self._output = output
        if max_size is None and output.placed:
            # With a limit of its own no call looks ahead, and so nothing has to be put back when the
            # offset is asked for: for JSON lines that saves a third of the time.
            max_size = DEFAULT_MAX_FRAME_SIZE if condition.max_size is None else condition.max_size
        self._max_size = max_size
        self._started = time.monotonic()
        self._place = 0
        self._decoder = FrameDecoder(
            on_oversize=on_oversize,
            on_discard=self._report_discarded,
        )

    def run(self, count: int | None = None) -> None:
        """Print frames until the source ends, `count` are printed, or the stream is broken."""
        with Progress(self._source, self._output.stream) as progress:
            try:
                for number, frame in enumerate(self._frames(progress), 1):
                    place, self._place = self._place, self._end_of_frame()
                    self._output.write(frame, place, self._place - place)
                    if number == count:
                        return
            except FramingError as error:
                self._report(error, error.offset, error.excerpt)

    def _frames(self, progress: Progress) -> Iterator[Any]:
        decoder, source = self._decoder, self._source
        while True:
            try:
                frame = decoder.next_frame(self._condition, max_size=self._max_size)
            except PayloadError as error:
                self._place = self._end_of_frame()
                self._report(error, error.offset, error.payload[:32])
                continue
            if frame is END:
                return
            if frame is not NEED_DATA:
                yield frame
                continue
            if not source.is_ready():
                self._output.stream.flush()
            chunk = source.read()
            progress.advance(len(chunk))
            decoder.receive_data(chunk) if chunk else decoder.receive_eof()

    def _end_of_frame(self) -> int:
        return self._decoder.offset if self._output.placed else 0

    def _report(self, error: Exception, offset: int | None, excerpt: bytes) -> None:
        """Print what is wrong, behind everything that was cut before it."""
        self.status = MALFORMED
        self._output.stream.flush()
        click.echo(f"framestream: {self._source.name}: {error}", err=True)
        for line in hexdump(excerpt, offset or 0):
            click.echo(line, err=True)

    def _report_discarded(self, error: FrameTooLarge) -> None:
        self._place = (error.offset or 0) + error.discarded
        self._output.stream.flush()
        click.echo(f"framestream: {self._source.name}: {error}; {error.discarded} bytes skipped", err=True)

    def report_stats(self) -> None:
        """Print the decoder's counters and the speed to standard error."""
        stats, seconds = self._decoder.stats, time.monotonic() - self._started
        rate = stats.received / max(seconds, 1e-9) / 1e6
        click.echo(
            f"frames {stats.frames}, bytes {stats.received}, left over {self._decoder.buffered}, "
            f"too large {stats.oversize}, discarded {stats.discarded} bytes, "
            f"undecodable {stats.payload_errors}, most buffered {format_size(stats.high_water)}, "
            f"{seconds:.3f} s, {rate:.1f} MB/s",
            err=True,
        )
        sys.stderr.flush()
