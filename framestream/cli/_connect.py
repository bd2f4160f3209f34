"""``framestream connect``: type frames, see frames."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from framestream.cli._entering import INPUTS, Typed, sending_framer, writing_framer
from framestream.cli._output import OUTPUTS, Output, Undecoded
from framestream.cli._parameters import ESCAPED, SECONDS, SIZE, SPEC
from framestream.cli._render import hexdump
from framestream.cli._sources import open_source
from framestream.errors import FramingError, PayloadError, StreamClosed
from framestream.framers.line import Line
from framestream.iterate import aiter_frames
from framestream.net.connect import connect as open_stream
from framestream.net.streams import client_tls
from framestream.registry.lookup import get_framer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine

    from framestream.decoder import OnOversize
    from framestream.stream.stream import IOStream

# A frame that was typed is one line, however long.
_LINE = Line("utf-8", errors="surrogateescape", max_size=1 << 30)


@click.command(short_help="Connect to a server; send and see frames.")
@click.argument("url")
@click.option("-f", "--framer", "spec", type=SPEC, required=True, metavar="SPEC", help="How frames are cut.")
@click.option("--send-framer", type=SPEC, metavar="SPEC", help="How frames are sent, if differently.")
@click.option(
    "-i",
    "--input",
    "entry",
    type=click.Choice(list(INPUTS)),
    default="text",
    show_default=True,
    help="What each line of standard input is.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(OUTPUTS)),
    default="text",
    show_default=True,
    help="What to print.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after receiving so many frames.")
@click.option(
    "--max-size", type=SIZE, metavar="SIZE", default="1MiB", show_default=True, help="Largest payload."
)
@click.option(
    "--on-oversize",
    type=click.Choice(["raise", "discard", "truncate", "close"]),
    default="raise",
    show_default=True,
    help="What to do with a larger frame.",
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="How long connecting may take.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Trust these certificates (PEM).")
@click.option("--server-hostname", metavar="NAME", help="Whom the certificate must name.")
@click.option(
    "--separator", type=ESCAPED, default=None, metavar="TEXT", help="What follows each printed frame."
)
@click.pass_context
def connect(
    context: click.Context,
    url: str,
    spec: str,
    send_framer: str | None,
    entry: str,
    output: str,
    count: int | None,
    max_size: int,
    on_oversize: OnOversize,
    timeout: float | None,
    ca: str | None,
    server_hostname: str | None,
    separator: bytes | None,
) -> None:
    r"""Connect to URL, send each line of standard input as a frame, print each frame that arrives.

    URL is tcp://HOST:PORT, tls://HOST:PORT, unix:PATH, exec:'PROGRAM ARGUMENTS', pipe:PATH or fd:N. When
    standard input ends, so does the sending half of the connection; what still arrives is printed until
    the other side closes.

    The exit status is 1 if something could not be sent or what arrived is malformed.
    """
    if separator is None:
        separator = b"\n" if output == "text" else b""
    writer = OUTPUTS[output](sys.stdout.buffer, separator)
    options: dict[str, Any] = {
        "framer": get_framer(spec),
        "tls": _context(ca),
        "server_hostname": server_hostname,
        "timeout": timeout,
        "max_frame_size": max_size,
        "on_oversize": on_oversize,
        "half_open": True,
    }
    if send_framer is not None:
        options["send_framer"] = writing_framer(send_framer)
    context.exit(asyncio.run(_converse(url, options, writer, entry, count)))


def _context(ca: str | None) -> ssl.SSLContext | None:
    return None if ca is None else client_tls(ca=ca)


async def _converse(url: str, options: dict[str, Any], output: Output, entry: str, count: int | None) -> int:
    async with await open_stream(url, **options) as stream:
        conversation = Conversation(url, stream, output, entry)
        await _either(conversation.receive(count), conversation.send())
        return conversation.status


async def _either(leading: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Run both until the first has ended, or the other has failed: what nobody waits for is lost."""
    leader, follower = tasks = [asyncio.ensure_future(leading), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if follower.done():
            follower.result()
        await leader
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    told = isinstance(error, ValueError)
    return str(error) if told else f"{type(error).__name__}: {error}"


class Conversation:
    """Both directions of one stream.

    Attributes:
        status: the exit status so far.
    """

    def __init__(self, name: str, stream: IOStream, output: Output, entry: str) -> None:
        assert stream.framer is not None
        self.status = 0
        self._name = name
        self._stream = stream
        self._output = output
        self._condition = stream.framer if output.decoded else Undecoded(stream.framer)
        self._framer = sending_framer(stream.send_framer or stream.framer)
        self._enter = INPUTS[entry]

    async def send(self) -> None:
        """Send the lines of standard input until it ends, then end this half of the stream."""
        with suppress(StreamClosed, OSError):  # the receiving half tells how the stream ended
            try:
                with open_source("-") as source:
                    async for line in aiter_frames(Typed(source).receive, _LINE):
                        await self._send(line)
            except click.ClickException as error:
                self._complain(error.format_message())
            await self._stream.write_eof()

    async def _send(self, line: str) -> None:
        if self._framer is None:
            self._complain(f"{self._condition} can only read; name a --send-framer")
            return
        try:
            frame = self._enter(line, self._framer)
            await self._stream.send(frame, self._framer)
        except (StreamClosed, OSError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever ails this frame, or its framer, others are sent
            self._complain(f"cannot send {line[:40]!r}: {_reason(error)}")

    async def receive(self, count: int | None) -> None:
        """Print frames until the stream ends, `count` are printed, or the stream is broken."""
        frames = self._stream.frames(self._condition)
        printed, place = 0, 0
        while printed != count:
            try:
                frame = await anext(frames)
            except StopAsyncIteration:
                break
            except PayloadError as error:
                self._complain(str(error), error.payload[:32], error.offset)
            except FramingError as error:
                self._complain(str(error), error.excerpt, error.offset)
                if not getattr(error, "recoverable", False):
                    break
            except StreamClosed as error:
                self._complain(str(error))
                break
            else:
                self._output.write(frame, place, self._stream.offset - place)
                printed += 1
            place = self._stream.offset
            if not self._stream.buffered:
                self._output.stream.flush()
        self._output.stream.flush()

    def _complain(self, what: str, excerpt: bytes = b"", offset: int | None = None) -> None:
        self.status = 1
        self._output.stream.flush()
        click.echo(f"framestream: {self._name}: {what}", err=True)
        for line in hexdump(excerpt, offset or 0):
            click.echo(line, err=True)
