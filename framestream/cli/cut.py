"""``framestream cut``: cut a stream into frames and print them; and where bytes come from, read as they arrive."""

from __future__ import annotations

import os
import select
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from framestream import FrameDecoder, FramestreamError, FramingError, PayloadError
from framestream.cli import options
from framestream.cli.output import Printer, progress_bar, report_skipped
from framestream.decoder import DecoderStats
from framestream.errors import describe_os_error
from framestream.iterate import answers

if TYPE_CHECKING:
    import socket

CHUNK_SIZE: Final = 1 << 16

_URLS: Final = ("tcp:", "tls:", "unix:", "exec:", "pipe:", "fd:")
_SAMPLES: Final = Path(__file__).parent / "samples"
"""Recordings of real programs, to try commands on: ``sample:redis`` is one of them."""


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
    printer = Printer(output, separator)
    condition = printer.condition(options.get_framer(spec))
    started = time.monotonic()
    if jobs is not None:
        if file == "-":
            raise click.UsageError("--jobs needs a file")
        from framestream.cli.archives import Cutting, cut_file  # noqa: PLC0415  # a stream does without

        work = Cutting(output, separator, limits["on_oversize"], limits["on_payload_error"], count)
        total = cut_file(printer, condition, file, limits["max_frame_size"], work, jobs)
        printer.stream.flush()
        if stats:
            _print_stats(total, started)
        return printer.status
    with open_source(file) as source, _progress(source, printer) as read:
        tell = partial(printer.complain, source.name)
        decoder = FrameDecoder(
            on_oversize=limits["on_oversize"],
            on_discard=partial(report_skipped, source.name),
            on_payload_error=tell if limits["on_payload_error"] == "skip" else None,
        )
        # A batch costs half as much per frame. It knows the place of its last one only, and frames skipped
        # in it are reported before it can be printed.
        batched = not printer.placed and count is None and limits["on_oversize"] in ("raise", "close")
        ask: Any = decoder.next_batch if batched else decoder.next_frame
        ask = partial(ask, condition, max_size=limits["max_frame_size"])
        try:
            for number, answer in enumerate(_answers(decoder, ask, read, tell), 1):
                if batched:
                    printer.write_all(answer)
                    continue
                printer.write(answer, decoder.frame_span)
                if number == count:
                    break
        finally:
            printer.stream.flush()
            if stats:
                counted = decoder.stats
                _print_stats(counted, started, high_water=counted.high_water, left_over=decoder.buffered)
    return printer.status


def _answers(
    decoder: FrameDecoder,
    ask: Callable[[], Any],
    read: Callable[[], bytes],
    tell: Callable[[FramestreamError], object],
) -> Iterator[Any]:
    """Yield frames until the stream ends or is broken; report errors."""
    going_on = True
    while going_on:
        try:
            yield from answers(decoder, ask, iter(read, b""))
            return
        except (FramingError, PayloadError) as error:
            tell(error)
            going_on = getattr(error, "recoverable", False)


def _print_stats(stats: DecoderStats, started: float, **more: int) -> None:
    """Print counters, in frames and bytes, and the speed to standard error."""
    counters = ("frames", "received", "oversize", "discarded", "payload_errors")
    for name, value in ({name: getattr(stats, name) for name in counters} | more).items():
        click.echo(f"{name.replace('_', ' '):<16}{value}", err=True)
    seconds = max(time.monotonic() - started, 1e-9)
    click.echo(f"time            {seconds:.3f} s, {stats.received / seconds / 1e6:.1f} MB/s", err=True)


@contextmanager
def _progress(source: Source, printer: Printer) -> Iterator[Callable[[], bytes]]:
    """Return the function that reads the source; it first flushes the output if reading may take a while.

    A long file gets a progress bar, on a terminal that the frames are not printed to.
    """
    with progress_bar(source.size or 0, source.name, hidden=printer.stream.isatty()) as bar:

        def read() -> bytes:
            if not source.is_ready():
                printer.stream.flush()
            chunk = source.read()
            if bar is not None:
                bar.update(len(chunk))
            return chunk

        yield read


# Where bytes come from -----------------------------------------------------------------------------


class Source:
    """An open file descriptor with a name.

    Attributes:
        name: its name in messages.
        size: its size in bytes, if it is a regular file, else None.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self) -> bytes:
        """Return the available bytes, waiting only if there are none; ``b""`` at the end."""
        try:
            return os.read(self._descriptor, CHUNK_SIZE)
        except OSError as error:
            raise _refusal(self.name, error) from error

    def is_ready(self) -> bool:
        """Tell whether `read` returns at once."""
        if self.size is not None:
            return True
        try:
            return bool(select.select([self._descriptor], [], [], 0)[0])
        except (OSError, ValueError):
            return False  # this kind of descriptor cannot tell


@contextmanager
def open_source(place: str) -> Iterator[Source]:
    """Open ``-``, a path, a sample, ``tcp://host:port`` or ``unix:path``; report a failure in one line."""
    try:
        opened = _open(place)
    except OSError as error:
        raise _refusal(place, error) from error
    with opened:
        yield Source(opened.fileno(), "standard input" if place == "-" else place)


def _open(place: str) -> FileIO | socket.socket:
    if place == "-":
        return FileIO(0, closefd=False)
    if place.startswith("sample:") and not os.path.exists(place):
        return FileIO(_sample(place.removeprefix("sample:")))
    if place.startswith("file://"):
        return FileIO(place.removeprefix("file://"))
    if "://" in place and not place.startswith(_URLS) and not os.path.exists(place):
        raise click.UsageError(f"{place!r} is read in parts: add --jobs 1")
    if not place.startswith(_URLS) or os.path.exists(place):
        return FileIO(place)
    # Imported here: files need neither sockets nor an event loop.
    import socket  # noqa: PLC0415

    from framestream.net.urls import Tcp, Unix, parse_url  # noqa: PLC0415

    match parse_url(place):
        case Tcp(host, port, tls=False):
            return socket.create_connection((host or None, port))
        case Unix() as endpoint:
            with ExitStack() as unless_connected:
                connection = unless_connected.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(endpoint.address)
                unless_connected.pop_all()
            return connection
    # These need an event loop: TLS, programs, descriptors that may not be read alone.
    hint = f"framestream connect {shlex.quote(place)} --framer SPEC"
    raise click.UsageError(f"{place!r} is not a file, and cut does not connect there: {hint}")


def file_of(place: str, *, changed: bool = False) -> str:
    """Return the path or URL of a file that is read in parts; refuse what is read once, as it arrives.

    A sample is no file to be `changed`, nor to be written next to.
    """
    if os.path.exists(place):
        return place
    if place.startswith("sample:"):
        if changed:
            raise click.UsageError(f"{place} comes with framestream and is only read; name a file of your own")
        return str(_sample(place.removeprefix("sample:")))
    if place == "-" or place.startswith(_URLS):
        raise click.UsageError(f"{place!r} is no file; framestream cut SPEC PLACE --stats reads a stream")
    return place


def _sample(name: str) -> Path:
    names = sorted(path.stem for path in _SAMPLES.glob("*.bin"))
    if name not in names:
        raise click.UsageError(f"no sample named {name!r} (available: {', '.join(names)})")
    return _SAMPLES / f"{name}.bin"


def _refusal(place: str, error: OSError) -> click.ClickException:
    return click.ClickException(f"{place}: {describe_os_error(error)}")
