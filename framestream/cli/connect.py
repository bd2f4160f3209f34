"""``framestream connect``: type frames, see frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import EncodeError, Framer, FramingError, Line, PayloadError, StreamClosed
from framestream.cli import options
from framestream.cli.output import LoopPrinter, good_frames, report_skipped, to_bytes
from framestream.errors import describe_error

if TYPE_CHECKING:
    from framestream import IOStream, ReadCondition

# A typed frame is one line, however long.
_LINE: Final = Line("utf-8", errors="surrogateescape", max_size=1 << 30)
_ENTRY: Final = click.Choice(["text", "json", "hex"])


def _frame(entry: str, line: str, framer: Framer[Any]) -> Any:
    """Return the frame that a line stands for: text if the framer takes it, else its UTF-8 bytes."""
    if entry == "hex":
        return _from_hex(line)
    frame = json.loads(line, object_hook=_bytes_of) if entry == "json" else line
    return frame if not isinstance(frame, str) or _takes(framer, frame) else to_bytes(frame)


def _bytes_of(value: dict[str, Any]) -> Any:
    """Return ``{"hex": "00ff"}`` as bytes, as ``cut`` prints them."""
    is_hex = value.keys() == {"hex"} and isinstance(value["hex"], str)
    return _from_hex(value["hex"]) if is_hex else value


def _from_hex(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:  # its text differs between versions of Python
        raise ValueError("bytes are written as pairs of hexadecimal digits") from None


def _takes(framer: Framer[Any], frame: Any) -> bool:
    try:
        data = framer.encode(frame)
        return isinstance(data, bytes) or isinstance(b"".join(data), bytes)
    except (EncodeError, TypeError, AttributeError):
        return False


@click.command()
@click.argument("url")
@options.framer
@options.spec("--send-framer", help="How frames are sent, if differently.")
@click.option("-i", "--input", "entry", type=_ENTRY, default="text", help="Format of the lines to send.")
@click.option("-o", "--output", type=options.FORM, default="text", help="Output format.")
@options.count
@options.max_size(default="1MiB", help="Largest payload.")
@options.on_oversize
@options.on_payload_error
@click.option("--timeout", type=options.seconds, help="Time allowed for connecting.")
@click.option("--ca", type=options.FILE, help="Trust these certificates (PEM).")
@click.option("--server-hostname", metavar="NAME", help="Host name that the certificate must have.")
@click.option("--proxy-header", metavar="TEXT", help="Send this first, as a load balancer does.")
@click.option("--proxy-protocol", type=click.Choice(["v1", "v2"]), default="v1", help="Its version.")
@options.separator
def connect(
    url: str, spec: str, send_framer: str | None, entry: str, output: str, count: int | None, **settings: Any
) -> int:
    """Connect to URL, send each line of standard input as a frame, print each frame that arrives.

    URL is tcp://HOST:PORT, tls://HOST:PORT, unix:PATH, exec:'PROGRAM ARGUMENTS', pipe:PATH or fd:N. When
    standard input ends, this half of the connection is closed; frames that still arrive are printed until
    the other side closes.

    TEXT is UNKNOWN, or the client's address and the one it connected to with their ports, as in
    'TCP4 192.0.2.7 198.51.100.1 56324 443'.

    The exit status is 1 if a line could not be sent, the peer sent malformed data or the program failed.

    \b
    Examples:
      framestream connect tcp://localhost:6379 --framer line
      echo '{"op": "list"}' | framestream connect unix:/run/app -f msgpack -i json
      framestream connect exec:'ssh host app' --framer length-prefix:4
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    options.goes_with("--separator", "--output text or raw", output in ("text", "raw"))
    options.goes_with("--proxy-protocol", "--proxy-header", settings["proxy_header"] is not None)
    has_tls = settings["ca"] is not None or url.startswith("tls:")
    options.goes_with("--server-hostname", "tls:// or --ca", has_tls)
    framer = options.get_framer(spec)
    writer = framer if send_framer is None else options.writing_framer(send_framer)
    settings["tls"] = framestream.client_tls(ca=ca) if (ca := settings.pop("ca")) else None
    header, version = settings.pop("proxy_header"), settings.pop("proxy_protocol")
    settings["proxy_header"] = None if header is None else _proxy_header(header, version)
    policy = settings.pop("on_payload_error")
    printer = LoopPrinter(output, settings.pop("separator"))
    settings["on_discard"] = lambda error: printer.tell(partial(report_skipped, url, error))

    async def converse() -> None:
        async with await framestream.connect(url, framer=framer, half_open=True, **settings) as stream:
            conversation = Conversation(url, stream, printer, writer, entry)
            frames = stream.frames(printer.condition(framer))
            await conversation.run(good_frames(frames, policy, partial(printer.complain, url)), count)
        code = getattr(stream, "exit_code", None)  # of a program
        if code and (code > 0 or count is None):  # a program that we left may have died of that
            printer.complain(url, f"the program ended with exit status {code}")
        await printer.flush()

    asyncio.run(converse())
    return printer.status


def _proxy_header(text: str, version: str) -> Any:
    line = f"PROXY {text}\r\n"
    try:
        [header] = framestream.iter_frames(line.encode(), options.get_framer("proxy"))
    except (FramingError, ValueError) as error:
        raise click.UsageError(f"--proxy-header {text!r}: {describe_error(error)}") from error
    return replace(header, version=int(version[1:]))


@dataclass
class Conversation:
    """Both directions of one stream: typed lines are sent, received frames are printed."""

    name: str
    stream: IOStream
    printer: LoopPrinter
    send_framer: ReadCondition[Any]
    entry: str

    async def run(self, frames: AsyncIterator[Any], count: int | None) -> None:
        """Print frames until the stream ends, `count` are printed, or sending has failed."""
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self.send())
                await self.receive(frames, count)
                sending.cancel()  # its result is no longer needed
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def send(self) -> None:
        """Send the lines of standard input until it ends, then end this half of the stream."""
        with suppress(StreamClosed, OSError):  # the receiving half tells how the stream ended
            try:
                with options.open_source("-") as source:
                    async for line in framestream.aiter_frames(partial(read_stdin, source.read), _LINE):
                        await self._send(line)
            except click.ClickException as error:
                self.printer.complain(self.name, error.format_message())
            await self.stream.write_eof()

    async def _send(self, line: str) -> None:
        if not isinstance(self.send_framer, Framer):
            self.printer.complain(self.name, f"{self.send_framer} can only read; name a --send-framer")
            return
        try:
            await self.stream.send(_frame(self.entry, line, self.send_framer), self.send_framer)
        except (StreamClosed, OSError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever ails this frame, or its framer, others are sent
            named = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            reason = f"{named}{describe_error(error)}"
            if isinstance(error, RecursionError):
                reason = "it is nested too deeply"
            self.printer.complain(self.name, f"cannot send {line[:40]!r}: {reason}")

    async def receive(self, frames: AsyncIterator[Any], count: int | None) -> None:
        """Print frames until the stream ends, `count` are printed, or the stream is broken."""
        printed = 0
        try:
            async for frame in frames:
                self.printer.write(frame, self.stream.receiver.decoder.frame_span)
                await self.printer.flush(more=bool(self.stream.buffered))
                printed += 1
                if printed == count:
                    break
        except (FramingError, PayloadError, StreamClosed) as error:
            self.printer.complain(self.name, error)
        await self.printer.flush()


async def read_stdin(read: Callable[[], bytes]) -> bytes:
    """Return the result of `read`, while the event loop keeps running.

    A thread reads, since making a terminal non-blocking would do the same to the shell that shares it.
    """
    from framestream.blocking import in_thread  # noqa: PLC0415  # --help does without the network

    return await in_thread(read, "standard input")
