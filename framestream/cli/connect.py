"""``framestream connect``: type frames, see frames."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any, Final, TypeVar

import click

import framestream
from framestream import FramestreamError, FrameTooLarge, FramingError, IOStream, PayloadError, StreamClosed
from framestream.blocking import in_thread
from framestream.cli import options
from framestream.cli.output import Printer, taken, to_bytes
from framestream.errors import describe_error, describe_os_error
from framestream.iterate import CHUNK_SIZE

T = TypeVar("T")

# A typed frame is one line, however long.
_LINE: Final = framestream.Line("utf-8", errors="surrogateescape", max_size=1 << 30)
_ENTRY: Final = click.Choice(["text", "json", "hex"])
_MOST_WRITTEN: Final = 1 << 16  # bytes that wait before a printer does


@click.command()
@click.argument("url")
@options.framer
@click.option("--send-framer", metavar="SPEC", help="How frames are sent, if differently.")
@click.option("-i", "--input", "entry", type=_ENTRY, default="text", help="Format of the lines to send.")
@click.option("-o", "--output", type=options.FORM, default="text", help="Output format.")
@options.count
@options.max_size(default="1MiB", help="Largest payload.")
@options.on_oversize
@options.on_payload_error
@click.option("--timeout", type=options.seconds, help="Seconds allowed for connecting.")
@click.option("--ca", type=options.FILE, help="Trust these certificates (PEM).")
@click.option("--server-hostname", metavar="NAME", help="Host name that the certificate must have.")
@options.separator
def connect(
    url: str, spec: str, send_framer: str | None, entry: str, output: str, count: int | None, **settings: Any
) -> int:
    """Connect to URL, send each line of standard input as a frame, print each frame that arrives.

    URL is tcp://HOST:PORT, tls://HOST:PORT, unix:PATH, exec:'PROGRAM ARGUMENTS', pipe:PATH or fd:N. When
    standard input ends, this half of the connection is closed; frames that still arrive are printed until
    the other side closes.

    The exit status is 1 if a line could not be sent, the peer sent malformed data or the program failed.

    \b
    Examples:
      framestream connect tcp://localhost:6379 --framer line
      echo '{"op": "list"}' | framestream connect unix:/run/app -f msgpack -i json
      framestream connect exec:'ssh host app' --framer length-prefix:4
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    framer = options.get_framer(spec)
    writer = framer if send_framer is None else options.writing_framer(send_framer)
    settings["tls"] = framestream.client_tls(ca=ca) if (ca := settings.pop("ca")) else None
    policy = settings.pop("on_payload_error")
    printer = LoopPrinter(output, settings.pop("separator"))
    complain = partial(printer.complain, url)

    async def receive(stream: IOStream) -> None:
        """Print frames until the stream ends, `count` are printed, or the stream is broken."""
        numbers = itertools.count(1)
        try:
            async for frame in good_frames(stream.frames(printer.condition(framer)), policy, complain):
                await printer.print(stream, frame)
                if next(numbers) == count:
                    break
        except (FramingError, PayloadError, StreamClosed) as error:
            complain(error)
        await printer.flush()

    async def converse() -> None:
        opening = framestream.connect(url, framer=framer, half_open=True, on_discard=complain, **settings)
        async with await opened(opening) as stream:
            try:
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(_send(stream, writer, entry, complain))
                    await receive(stream)
                    sending.cancel()  # its result is no longer needed
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        code = getattr(stream, "exit_code", None)  # of a program
        if code and (code > 0 or count is None):  # a program that we left may have died of that
            complain(f"the program ended with exit status {code}")

    run(converse())
    return printer.status


async def _send(stream: IOStream, framer: Any, entry: str, complain: Callable[[str], object]) -> None:
    """Send the lines of standard input until it ends, then end this half of the stream."""
    try:
        # A thread reads, since making a terminal non-blocking would do the same to the shell that shares it.
        with options.open_file("-") as source:
            read = partial(in_thread, partial(os.read, source.fileno(), CHUNK_SIZE), "standard input")
            async for line in framestream.aiter_frames(read, _LINE):
                await _send_line(stream, framer, entry, line, complain)
    except StreamClosed:
        return  # the receiving half tells how it ended
    except OSError as error:
        complain(f"standard input: {describe_os_error(error)}")
    with suppress(StreamClosed, OSError):
        await stream.write_eof()


async def _send_line(stream: IOStream, framer: Any, entry: str, line: str, complain: Callable[[str], object]) -> None:
    """Send the frame that a line stands for: text if the framer takes it, else its UTF-8 bytes."""
    try:
        if not isinstance(framer, framestream.Framer):
            raise ValueError(f"{framer} can only read; name a --send-framer")
        frame = _parsed(entry, line)
        try:
            await stream.send(frame, framer)
        except (framestream.EncodeError, TypeError, AttributeError):
            if not isinstance(frame, str):
                raise
            await stream.send(to_bytes(frame), framer)
    except StreamClosed:
        raise
    except Exception as error:  # noqa: BLE001  # whatever ails this frame, or its framer, others are sent
        named = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        complain(f"cannot send {line[:40]!r}: {named}{describe_error(error)}")


def _parsed(entry: str, line: str) -> Any:
    if entry == "hex":
        return _from_hex(line)
    try:
        return json.loads(line, object_hook=_bytes_of) if entry == "json" else line
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _bytes_of(value: dict[str, Any]) -> Any:
    """Return ``{"hex": "00ff"}`` as bytes, as ``cut`` prints them."""
    is_hex = value.keys() == {"hex"} and isinstance(value["hex"], str)
    return _from_hex(value["hex"]) if is_hex else value


def _from_hex(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:  # its text differs between versions of Python
        raise ValueError("bytes are written as pairs of hexadecimal digits") from None


# What `serve` needs, too ------------------------------------------------------------------------------


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in an event loop and return its result. Ctrl-C cancels it, twice if need be; the third ends the process.

    The handler of `asyncio.run` cancels, or raises, amid any line of the loop: even amid the one that sets the very
    future that is cancelled.
    """
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # up to Python 3.11, it warns of programs that outlive it
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            task = loop.create_task(main)
            following: list[Any] = [signal.SIG_DFL]

            def interrupt(number: int, _: object) -> None:
                signal.signal(number, following.pop())
                with suppress(RuntimeError):  # the loop has just been closed
                    loop.call_soon_threadsafe(task.cancel)

            following.append(interrupt)
            if heeded:
                signal.signal(signal.SIGINT, interrupt)
            return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)


async def opened(opening: Awaitable[T]) -> T:
    """Return what connects or listens; a senseless setting is a mistake in the command."""
    try:
        return await opening
    except FramestreamError:
        raise
    except ValueError as error:
        raise click.UsageError(describe_error(error)) from error


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


class LoopPrinter(Printer):
    """A `Printer` that writes in a thread: while nothing reads the output, the event loop goes on."""

    def __init__(self, form: str, separator: bytes | None = None) -> None:
        self._waiting = BytesIO()
        super().__init__(form, separator, self._waiting)
        self._writing = asyncio.Lock()

    async def print(self, stream: IOStream, frame: Any, peer: str = "") -> None:
        """Print a frame that was just read; wait until all are printed unless others were cut with it, but not many."""
        self.write([frame], stream.receiver.decoder.frame_span, peer)
        if not stream.receiver.decoder.ahead or self.stream.tell() > _MOST_WRITTEN:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything is printed."""
        async with self._writing:
            await in_thread(partial(_write_all, taken(self._waiting)), "standard output")

    def print_rest(self) -> None:
        """Print now what waits."""
        _write_all(taken(self._waiting))


def _write_all(data: bytes) -> None:
    # Not by sys.stdout: at its end the interpreter would wait for the lock that this thread holds.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]
