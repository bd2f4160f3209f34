"""Printing: frames, lists and complaints, with nothing in them that a terminal would obey."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from io import BytesIO, StringIO
from math import isfinite
from typing import IO, Any, Final, TextIO

import click

from framestream.errors import FrameTooLarge, PayloadError, counted, describe_error, printable
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers.answers import Over

_PRINTABLE: Final = bytes(byte if 0x20 <= byte < 0x7F else 0x2E for byte in range(256))
# With options, json.dumps makes a new encoder for every call.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LAYOUT: Final = "\t\r\n"


class Printer:
    """Prints frames to standard output, and complaints about them in order to standard error.

    Attributes:
        stream: standard output.
        decoded: whether it prints decoded frames; otherwise the payload as it is in the stream.
        status: the exit status so far.
    """

    def __init__(self, form: str, separator: bytes | None = None, stream: IO[bytes] | None = None) -> None:
        self.stream = stream or sys.stdout.buffer
        self.decoded = form in ("json", "text")
        self.status = 0
        self._form = form
        self._separator = (b"\n" if form == "text" else b"") if separator is None else separator
        self._shown = partial(printable, keep="\t\n") if sys.stdout.isatty() else str

    def condition(self, condition: ReadCondition[Any]) -> ReadCondition[Any]:
        """Return the condition that reads the frames to print."""
        return condition if self.decoded else Undecoded(condition)

    def write(self, frames: list[Any], span: tuple[int, int] = (0, 0), peer: str = "") -> None:
        """Print frames, as text or raw; or one, with its offsets in the stream of this peer."""
        shown, separator = self._shown, self._separator
        if self._form == "text":
            self.stream.writelines(to_bytes(shown(to_text(frame))) + separator for frame in frames)
            return
        if self._form == "raw":
            self.stream.writelines(frame + separator for frame in frames)
            return
        [frame] = frames
        start, end = span
        if self._form == "json":
            whose = f'"peer":{to_json(peer)},' if peer else ""
            line = f'{{{whose}"offset":{start},"size":{end - start},"frame":{to_json(frame)}}}\n'
        else:
            size = f"frame at {start}, {counted(end - start, 'byte')}, payload {len(frame)}"
            line = "\n".join((size, *hexdump(frame), ""))
        # A lone surrogate becomes its JSON escape.
        self.stream.write(shown(line).encode("utf-8", "backslashreplace"))

    def complain(self, name: str, error: Exception | str) -> None:
        """Print an error, after everything printed before it; a frame that was skipped as wanted is no failure."""
        if not _skipped(error):
            self.status = 1
        self.print_rest()
        report(name, error)

    def print_rest(self) -> None:
        """Print now what waits."""
        self.stream.flush()


class Undecoded(Over[bytes]):
    """Another condition's frames, each with its payload as in the stream instead of its decoded value."""

    def __init__(self, condition: ReadCondition[Any]) -> None:
        self._adopt(condition)

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the other condition's span without the value; keep only the mark of padding."""
        found = self._cutter.find(window)
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


def taken(written: BytesIO) -> bytes:
    """Return what was written to a buffer, and empty it."""
    data = written.getvalue()
    written.seek(0)
    written.truncate()
    return data


# Values --------------------------------------------------------------------------------------------


def hexdump(data: bytes, offset: int = 0) -> Iterator[str]:
    """Yield lines of 16 bytes: their offset in the stream, the bytes in hexadecimal, the bytes as text."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        yield f"{offset + start:08x}  {left:<23}  {right:<23}  |{row.translate(_PRINTABLE).decode('ascii')}|"


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
    if isinstance(key, bytes):
        return _readable(key) or key.hex()
    return key if isinstance(key, str) else to_json(key)


def _readable(data: bytes) -> str | None:
    """Return the bytes as text if they are UTF-8 that a terminal can show, else None."""
    with suppress(UnicodeDecodeError):
        text = data.decode("utf-8")
        # The first is all that most take, and a tenth as long.
        if text.isprintable() or all(c.isprintable() or c in _LAYOUT for c in text):
            return text
    return None


# Lists and complaints ------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print lines to standard output."""
    click.echo(printable(text, keep="\t\n"))


def say_list(rows: Sequence[tuple[str, str]]) -> None:
    """Print names, and what is said about each: on a terminal as wide as that, elsewhere in one line, for grep."""
    from shutil import get_terminal_size  # noqa: PLC0415 - it imports three compressions, for few commands

    width = get_terminal_size().columns if sys.stdout.isatty() else 1 << 20
    lines = click.HelpFormatter(width=width)
    lines.write_dl(rows, col_max=width // 2)
    say(lines.getvalue().rstrip())


def report(name: str, error: Exception | str) -> None:
    """Print an error of a stream to standard error, with the bytes at fault, or how many of them were skipped."""
    what = error if isinstance(error, str) else _describe(error)
    if skipped := _skipped(error):
        complain(f"{name}: {what}; {counted(skipped, 'byte')} skipped")
        return
    complain(f"{name}: {what}")
    data, place = ("payload", "payload_offset") if isinstance(error, PayloadError) else ("excerpt", "offset")
    for line in hexdump(getattr(error, data, b"")[:32], getattr(error, place, 0) or 0):
        click.echo(line, err=True)


def _skipped(error: Exception | str) -> int:
    """Return how many bytes were skipped: all of a frame that is discarded or truncated, when its error is told."""
    return error.discarded if isinstance(error, FrameTooLarge) else 0


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
    coloured = False if os.environ.get("NO_COLOR") else None
    try:
        click.echo(f"{click.style(label, fg=colour, bold=True)} {text}", err=True, color=coloured)
    except OSError:  # nothing reads it, or the disk is full: the exit status tells, too
        discard(sys.stderr)


def progress(size: int, label: str, *, hidden: bool = False) -> Any:
    """Return a bar on standard error, unless it is hidden or that is no terminal, to be told of each step's size."""
    is_shown = sys.stderr.isatty() and not hidden
    return click.progressbar(length=size, label=label, file=sys.stderr if is_shown else StringIO())


def prints_aside() -> redirect_stdout[Any]:
    """Send to standard error what plugins print, for instance while they are imported: it is no output."""
    return redirect_stdout(sys.stderr)


def discard(stream: TextIO) -> None:
    """Discard everything printed to a stream from here on, and what is still buffered.

    Otherwise the interpreter would complain about it when it exits.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
