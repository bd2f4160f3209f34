"""Printing: frames, tables and complaints; from an event loop, too, and after the reader of the output has gone.

In an event loop a thread waits for the reader of the output, and the loop goes on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache, partial
from io import BytesIO, FileIO, TextIOWrapper
from math import isfinite
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Final, cast

import click

from framestream.errors import FramestreamError, FrameTooLarge, PayloadError, counted, describe_error, printable
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers.answers import Over

if TYPE_CHECKING:
    from concurrent.futures import Future

_PRINTABLE: Final = bytes(byte if 0x20 <= byte < 0x7F else 0x2E for byte in range(256))
# With options, json.dumps makes a new encoder for every call.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_GAP: Final = " " * 3
_NARROW: Final = 20  # columns; wrapping text to fewer is useless
_LONG: Final = 8 << 20  # bytes of a file that takes long enough to wonder
_LAYOUT: Final = frozenset("\t\r\n")
_MOST_TOLD: Final = 1000  # messages that wait; nothing reads them, and memory is finite
_MOST_WRITTEN: Final = 1 << 16  # bytes that wait before a printer does
# Control characters and the overrides of direction, which a terminal obeys instead of showing them, and lone
# surrogates, which stand for bytes that are not UTF-8. Other text that Python calls unprintable is unchanged.
_OBEYED: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Printer:
    """Prints frames to standard output, and complaints about them in order to standard error.

    Attributes:
        stream: standard output.
        decoded: whether it prints decoded frames; otherwise the payload as it is in the stream.
        placed: whether it also prints the place of each frame.
        status: the exit status so far.
    """

    def __init__(self, form: str, separator: bytes | None = None, stream: IO[bytes] | None = None) -> None:
        self.stream = stream or sys.stdout.buffer
        self.decoded = form in ("json", "text")
        self.placed = form in ("json", "hex")
        self.status = 0
        self._form = form
        self._separator = (b"\n" if form == "text" else b"") if separator is None else separator
        self._shown = visible if sys.stdout.isatty() else str

    def condition(self, condition: ReadCondition[Any]) -> ReadCondition[Any]:
        """Return the condition that reads the frames to print."""
        return condition if self.decoded else Undecoded(condition)

    def write(self, frame: Any, span: tuple[int, int] = (0, 0), peer: str = "") -> None:
        """Print the frame between these offsets in the stream of this peer."""
        start, end = span
        if self._form == "json":
            whose = f'"peer":{to_json(peer)},' if peer else ""
            line = f'{{{whose}"offset":{start},"size":{end - start},"frame":{to_json(frame)}}}\n'
            # A lone surrogate becomes its JSON escape.
            data = self._shown(line).encode("utf-8", "backslashreplace")
        elif self._form == "text":
            data = to_bytes(self._shown(to_text(frame))) + self._separator
        elif self._form == "hex":
            size = f"frame at {start}, {counted(end - start, 'byte')}, payload {len(frame)}"
            data = "\n".join((size, *hexdump(frame), "")).encode()
        else:
            data = frame + self._separator
        self.stream.write(data)

    def write_all(self, frames: list[Any]) -> None:
        """Print frames without their places."""
        if self._form == "raw":
            self.stream.writelines(frame + self._separator for frame in frames)
        else:
            shown, separator = self._shown, self._separator
            self.stream.writelines(to_bytes(shown(to_text(frame))) + separator for frame in frames)

    def complain(self, name: str, error: Exception | str) -> None:
        """Print an error, after everything printed before it, with the bytes at fault."""
        self.status = 1
        self.stream.flush()
        report(name, error)


class Undecoded(Over[bytes]):
    """Another condition's frames, each with its payload as in the stream instead of its decoded value."""

    def __init__(self, condition: ReadCondition[Any]) -> None:
        self.name = condition.name
        self._adopt(condition)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the other condition's span without the value; keep only the mark of padding."""
        found = super().find(window)
        if not isinstance(found, tuple) or len(found) == 3 or found[3] is PADDING:
            return found
        if isinstance(value := found[3], Decode):
            return *found[:3], value.using(bytes)
        return found[:3]

    def decode(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def __str__(self) -> str:
        return str(self._cutter)


# Values --------------------------------------------------------------------------------------------


def hexdump(data: bytes, offset: int = 0) -> Iterator[str]:
    """Yield lines of 16 bytes: their offset in the stream, the bytes in hexadecimal, the bytes as text."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        yield f"{offset + start:08x}  {left:<23}  {right:<23}  |{row.translate(_PRINTABLE).decode('ascii')}|"


def visible(text: str) -> str:
    """Return text with its control characters as JSON escapes, which a terminal shows instead of obeying."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_json(value: Any) -> str:
    """Return one line of JSON. Bytes become text if they are readable, else ``{"hex": "00ff"}``."""
    try:
        return _ENCODE(_plain(value))
    except RecursionError:
        return _ENCODE({"error": "nested too deeply to be shown"})


def to_text(value: Any) -> str:
    """Return a frame as one piece of text: text as it is, bytes as UTF-8, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return to_json(value)


def to_bytes(text: str) -> bytes:
    """Return text in UTF-8, with bytes that were not UTF-8 restored, and a lone surrogate escaped."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Return the value as dictionaries, lists, text, numbers, booleans and None."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        text = _readable(bytes(value))
        return {"hex": bytes(value).hex()} if text is None else text
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return _readable(key) or key.hex()
    return to_json(key)


def _readable(data: bytes) -> str | None:
    """Return the bytes as text if they are UTF-8 that a terminal can show, else None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or all(c.isprintable() or c in _LAYOUT for c in text) else None


# Tables and complaints -----------------------------------------------------------------------------


def say(text: str) -> None:
    """Print lines to standard output; characters that it would obey, or cannot write, as escapes."""
    if sys.stdout.isatty():
        text = visible(text)
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headings. On a terminal the last column is wrapped, below the others if it must be."""
    table = [headings, *rows]
    sizes = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1 << 20
    place = sum(sizes) + len(_GAP) * len(sizes)
    for *cells, last in table:
        start = "".join(f"{cell:<{size}}{_GAP}" for cell, size in zip(cells, sizes, strict=True))
        if columns - place >= _NARROW:
            say(wrapped(last, start, " " * place, columns))
        else:
            say("\n".join(filter(None, (start.rstrip(), wrapped(last, _GAP * 2, _GAP * 2, columns)))))


def wrapped(text: str, start: str, indent: str, columns: int) -> str:
    """Return lines of whole words in this many columns: the first after `start`, others after `indent`."""
    lines = textwrap.wrap(
        text,
        columns,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) if lines else start.rstrip()


def report(name: str, error: Exception | str) -> None:
    """Print an error of a stream to standard error, with the bytes at fault."""
    complain(f"{name}: {error if isinstance(error, str) else _describe(error)}")
    data, place = ("payload", "payload_offset") if isinstance(error, PayloadError) else ("excerpt", "offset")
    for line in hexdump(getattr(error, data, b"")[:32], getattr(error, place, 0) or 0):
        click.echo(line, err=True)


def report_skipped(name: str, error: FrameTooLarge) -> None:
    """Print which frame was skipped to standard error, after everything printed before it."""
    sys.stdout.flush()
    complain(f"{name}: {_describe(error)}; {counted(error.discarded, 'byte')} skipped")


def _describe(error: Exception) -> str:
    """Return what an error says, without the file, whose name is printed before it anyway."""
    if getattr(error, "source", ""):
        error.source = ""  # type: ignore[attr-defined]  # it has one
    return describe_error(error)


def complain(what: str, *, keep: str = "") -> None:
    """Print one complaint to standard error, with unprintable characters as escapes but for `keep`."""
    tell("framestream:", printable(what, keep=keep), "red")


def tell(label: str, text: str, colour: str) -> None:
    """Print a line to standard error, its label in a colour on a terminal unless NO_COLOR is set."""
    with suppress(BrokenPipeError):  # the exit status tells, too
        coloured = False if os.environ.get("NO_COLOR") else None
        click.echo(f"{click.style(label, fg=colour, bold=True)} {text}", err=True, color=coloured)


@contextmanager
def progress(size: int, label: str, *, hidden: bool = False) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal, unless it is hidden or the work is short; yield what is told of each step's size."""
    if hidden or size < _LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield bar.update


def prints_aside() -> redirect_stdout[Any]:
    """Send to standard error what plugins print, for instance while they are imported: it is no output."""
    return redirect_stdout(sys.stderr)


def discard_output() -> None:
    """Discard everything printed from here on, and what is still buffered.

    Otherwise the interpreter would complain about it when it exits.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# From an event loop --------------------------------------------------------------------------------


class Outlet:
    """Runs what prints in one thread, in order.

    It is a daemon thread: one that waits for a reader does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], object], Future[None]]] = SimpleQueue()
        self._lost = 0
        threading.Thread(target=self._work, name="output", daemon=True).start()

    def put(self, job: Callable[[], object]) -> Future[None]:
        """Have it run after everything before it."""
        from concurrent.futures import Future  # noqa: PLC0415  # other commands do without

        done: Future[None] = Future()
        self._jobs.put((job, done))
        return done

    def tell(self, job: Callable[[], object]) -> None:
        """Have it run, unless a thousand others wait: then they are counted."""
        if self._jobs.qsize() < _MOST_TOLD:
            self.put(job)
        else:
            self._lost += 1

    def finish(self, timeout: float) -> None:
        """Wait until everything is printed, at most this many seconds."""
        with suppress(TimeoutError):
            self.put(lambda: None).result(timeout)

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            if done.set_running_or_notify_cancel():
                try:
                    job()
                except BaseException as error:  # noqa: BLE001  # the waiting coroutine raises it
                    done.set_exception(error)
                else:
                    done.set_result(None)
            if self._lost and self._jobs.empty():
                lost, self._lost = self._lost, 0
                complain(f"{counted(lost, 'message')} could not be printed: nothing read them")


outlet = cache(Outlet)
"""The outlet of this process."""


class LoopPrinter(Printer):
    """A `Printer` that keeps what it is given, and prints it in the thread of the outlet."""

    def __init__(self, form: str, separator: bytes | None = None) -> None:
        super().__init__(form, separator, BytesIO())
        self._told = False

    async def flush(self, *, more: bool = False) -> None:
        """Wait until everything is printed; if `more` is to come, only if much waits."""
        if not more or self._told or self.stream.tell() > _MOST_WRITTEN:
            self._told = False
            from asyncio import wrap_future  # noqa: PLC0415  # other commands do without

            await wrap_future(self._pass_on())

    def complain(self, name: str, error: Exception | str) -> None:
        """Print an error, after everything printed before it, with the bytes at fault."""
        self.status = 1
        self.tell(partial(report, name, error))

    def tell(self, job: Callable[[], object]) -> None:
        """Run what prints a message, after everything printed before it."""
        self._told = True
        self._pass_on()
        outlet().tell(job)

    def _pass_on(self) -> Future[None]:
        written = cast("BytesIO", self.stream)
        data = written.getvalue()
        written.seek(0)
        written.truncate()
        return outlet().put(partial(_write_all, data))


def _write_all(data: bytes) -> None:
    # Not by sys.stdout: at its end the interpreter would wait for the lock that this thread holds.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def own_stderr() -> IO[str]:
    """Return standard error as a file of its own, which has no lock: one that a stuck write holds stops the end."""
    return TextIOWrapper(FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)


async def good_frames(
    frames: AsyncIterator[Any], on_payload_error: str, tell: Callable[[FramestreamError], object]
) -> AsyncIterator[Any]:
    """Yield the frames of a stream; report those that are bad or too large, and continue after them."""
    while True:
        try:
            async for frame in frames:
                yield frame
            return
        except (FrameTooLarge, PayloadError) as error:
            if not (error.recoverable if isinstance(error, FrameTooLarge) else on_payload_error == "skip"):
                raise
            tell(error)
