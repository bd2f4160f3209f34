"""``framestream serve``: answer frames. Handlers are values, so that they can be sent to workers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import click

import framestream
from framestream import EncodeError, FramestreamError, FrameTooLarge, FramingError, PayloadError, StreamClosed
from framestream.cli import options
from framestream.cli.output import (
    LoopPrinter,
    complain,
    discard_output,
    good_frames,
    outlet,
    own_stderr,
    report,
    report_skipped,
    to_bytes,
    to_json,
)
from framestream.errors import counted, describe_error, describe_os_error

if TYPE_CHECKING:
    import ssl

    from framestream import IOStream
    from framestream.net import Server

# Seconds for connections to end after the reader of the printed frames has gone.
_LAST_FRAMES: Final = 0.5
# Seconds to print the last messages, if something reads them.
_LAST_WORDS: Final = 0.5
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only the latter, and means the former


Command = tuple[str, ...]


def command(text: str) -> Command:
    """Return the words of a command; the help calls the value by this function's name."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {str(error).lower()}") from error
    if not words:
        raise click.BadParameter("it names no command")
    if shutil.which(words[0]) is None:
        raise click.ClickException(f"there is no program {words[0]!r}")
    return words


@click.command()
@click.argument("url")
@options.framer
@click.option("--echo", is_flag=True, help="Send every frame back.")
@click.option("--exec", "command", type=command, help="Run this for each frame; its output is the answer.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", help="Output format.")
@options.max_size(default="1MiB", help="Largest payload.")
@options.on_oversize
@options.on_payload_error
@click.option("--idle-timeout", type=options.seconds, help="Close connections that are silent for this long.")
@click.option("--max-connections", type=click.IntRange(min=1), metavar="N", help="Most connections at once.")
@click.option("--workers", type=click.IntRange(0), default=0, metavar="N", help="Serve from N processes.")
@click.option("--cert", type=options.FILE, help="Certificate chain (PEM), for TLS.")
@click.option("--key", type=options.FILE, help="Its key, if in another file.")
@click.option(
    "--proxy-protocol",
    type=click.Choice(["off", "v1", "v2", "auto"]),
    default="off",
    help="Expect a load balancer's PROXY header at the start of each connection.",
)
@click.option(
    "--trusted",
    multiple=True,
    metavar="NETWORK",
    help="Addresses of load balancers, such as 10.0.0.0/8; repeat it.",
)
@click.option("--drain-timeout", type=options.seconds, default="10", help="Time to finish when told to stop.")
@click.option("--admin", metavar="URL", help="Serve health checks and metrics over HTTP at this URL.")
@click.option(
    "--notice", type=options.seconds, default="0", help="Time to go on accepting, not ready, before draining."
)
@click.option("-v", "--verbose", is_flag=True, help="Log connections that end badly.")
def serve(
    url: str, spec: str, echo: bool, command: Command | None, output: str, verbose: bool, **settings: Any
) -> None:
    """Listen on URL and answer the frames of every connection.

    URL is tcp://HOST:PORT (port 0: any that is free), tls://HOST:PORT, unix:PATH, fd:N or systemd:NAME.
    The address is printed to standard error. After SIGTERM or Ctrl-C the server ends once every connection
    has finished what it had begun. With neither --echo nor --exec, frames are printed and not answered.

    COMMAND is run without a shell. Its standard input is the frame: bytes unchanged, text with a newline,
    anything else as JSON; its output is read the same way, and limited by --max-size.

    \b
    Examples:
      framestream serve tcp://:4000 --framer line
      framestream serve unix:/run/upper.sock --framer line --exec 'tr a-z A-Z'
      framestream serve tls://:4000 -f msgpack --echo --cert chain.pem --key key.pem
      framestream serve tcp://:4000 -f line --echo --admin tcp://127.0.0.1:9090
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    if echo and command is not None:
        raise click.UsageError("--echo and --exec exclude each other")
    options.goes_with("--output", "neither --echo nor --exec", not echo and command is None)
    policy = settings.pop("on_payload_error")
    handler: Handler = Echo(policy) if echo else Show(policy, output)
    if command is not None:
        handler = Execute(policy, command, settings["max_frame_size"])
    settings["framer"] = options.writing_framer(spec)
    settings["tls"] = _certificate(url, settings.pop("cert"), settings.pop("key"))
    notice = settings.pop("notice")
    # All that is printed goes through the outlet: while nothing reads it, the loop goes on.
    with own_stderr() as errors, redirect_stderr(errors), _log(logging.INFO if verbose else logging.WARNING):
        try:
            asyncio.run(_serve(handler, url, notice, settings))
        finally:
            outlet().finish(_LAST_WORDS)


def _certificate(url: str, cert: str | None, key: str | None) -> Callable[[], ssl.SSLContext] | None:
    if cert is None and key is not None:
        raise click.UsageError("--key goes with --cert")
    if cert is None and url.startswith("tls:"):
        raise click.UsageError("tls:// needs a certificate: --cert FILE")
    if cert is None:
        return None
    make = partial(framestream.server_tls, cert, key)
    make()  # report bad files here, not in each worker
    return make


class _Log(logging.Handler):
    """Prints log records like other complaints."""

    def emit(self, record: logging.LogRecord) -> None:
        outlet().tell(partial(complain, self.format(record), keep="\n"))


@contextmanager
def _log(level: int) -> Iterator[None]:
    """Print the package's log to standard error."""
    logger = logging.getLogger("framestream")
    logger.addHandler(handler := _Log())
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


async def _serve(handler: Any, url: str, notice: float, settings: dict[str, Any]) -> None:
    try:
        opened = await framestream.serve(handler, url, **settings)
    except FramestreamError:
        raise
    except ValueError as error:  # a senseless setting
        raise click.UsageError(describe_error(error)) from error
    async with opened as server:
        server.close_on(signal.SIGTERM, notice=notice)
        click.echo(f"listening on {server.url}", err=True)
        if server.admin is not None:
            click.echo(f"health and metrics at {server.admin.url}", err=True)
        server.notify_systemd()
        piped = stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode) and sys.platform != "win32"
        if isinstance(handler, Show) and piped:
            await _serve_a_reader(server)
        else:
            await server.serve_forever()


async def _serve_a_reader(server: Server) -> None:
    """Serve until the server is closed, or its output is a closed pipe, as for any command."""
    loop = asyncio.get_running_loop()
    leaving: list[asyncio.Task[None]] = []

    def leave() -> None:
        loop.remove_reader(watched)
        for stream in server.streams:
            stream.close()
        leaving.append(loop.create_task(server.aclose(drain_timeout=_LAST_FRAMES)))

    # A descriptor of its own keeps watching the pipe after the output is discarded.
    watched = os.dup(sys.stdout.fileno())
    loop.add_reader(watched, leave)  # this end is never readable: an event means an error
    try:
        await server.serve_forever()
    finally:
        loop.remove_reader(watched)
        os.close(watched)
    if leaving:
        raise BrokenPipeError


# Handlers ---------------------------------------------------------------------------------------------


class CannotGoOn(Exception):
    """A frame has no answer; the connection ends, since the order of answers would be lost."""


@dataclass(frozen=True)
class Handler:
    """Answer each frame of a stream, report errors, and continue if possible.

    Attributes:
        on_payload_error: whether to continue after a bad frame: ``"skip"`` or ``"close"``.
    """

    on_payload_error: str

    async def __call__(self, stream: IOStream) -> None:
        skipped = 0

        def tell(error: Exception | str, how: Callable[[str, Any], None] = report) -> None:
            outlet().tell(partial(how, stream.peer, error))

        def skip(error: FramestreamError, how: Callable[[str, Any], None] = report) -> None:
            nonlocal skipped
            skipped += 1
            if skipped == 1:  # otherwise a peer would decide how much is printed
                tell(error, how)

        stream.receiver.decoder.on_discard = partial(skip, how=report_skipped)
        try:
            async for frame in good_frames(stream.frames(), self.on_payload_error, skip):
                await self.answer(stream, frame)
        except (FramingError, PayloadError, CannotGoOn) as error:
            tell(error)
        finally:
            if skipped > 1:
                tell(f"skipped {counted(skipped - 1, 'more frame')}")

    async def answer(self, stream: IOStream, frame: Any) -> None:
        """Answer this frame, or raise CannotGoOn."""
        raise NotImplementedError


class Echo(Handler):
    """Send every frame back."""

    async def answer(self, stream: IOStream, frame: Any) -> None:
        """Send it."""
        await stream.send(frame)


@dataclass(frozen=True)
class Show(Handler):
    """Print every frame as `output` says, without an answer."""

    output: str

    @cached_property
    def _printer(self) -> LoopPrinter:  # of this process: all connections fill the same buffer
        return LoopPrinter(self.output)

    async def answer(self, stream: IOStream, frame: Any) -> None:
        """Print it, with its peer."""
        try:
            self._printer.write(frame, stream.receiver.decoder.frame_span, stream.peer)
            await self._printer.flush(more=bool(stream.buffered))
        except BrokenPipeError:
            discard_output()  # the command itself notices, and ends
        except OSError as error:
            raise CannotGoOn(f"cannot print: {describe_os_error(error)}") from error


@dataclass(frozen=True)
class Execute(Handler):
    """Run a command for each frame: the frame is its input, its output is the answer.

    Attributes:
        argv: the command.
        max_size: the most bytes of an answer, besides a newline at its end.
    """

    argv: Command
    max_size: int

    async def answer(self, stream: IOStream, frame: Any) -> None:
        """Run the command."""
        try:
            sent = stream.send(self._as_frame(await self._run(_as_input(frame)), frame))
        except EncodeError as error:
            reason = f"gave no answer that {stream.send_framer} can send: {describe_error(error)}"
            raise self._failure(reason) from error
        await sent

    def _failure(self, reason: str) -> CannotGoOn:
        return CannotGoOn(f"{self.argv[0]} {reason}")

    async def _run(self, data: bytes) -> bytes:
        most = self.max_size + len("\n")
        try:
            process = await framestream.connect_process(self.argv, half_open=True, max_frame_size=most)
        except framestream.ConnectError as error:
            raise self._failure(f"cannot be started: {describe_os_error(error.attempts[0][1])}") from error
        feeding = asyncio.ensure_future(_feed(process, data))
        try:
            output: bytes = await process.read(framestream.UntilClose())
            status = await process.wait_exit()
        except BaseException as error:
            if process.exit_code is None:
                os.kill(process.pid, _KILL)
                await process.wait_exit()  # or the loop may be closed before it has heard of that
            if isinstance(error, FrameTooLarge):
                reason = f"gave more than {counted(self.max_size, 'byte')}, the limit of --max-size"
                raise self._failure(reason) from error
            raise
        finally:
            feeding.cancel()
            process.close()
        if status:
            raise self._failure(f"ended with exit status {status}")
        return output

    def _as_frame(self, output: bytes, like: Any) -> Any:
        if isinstance(like, bytes):
            return output
        text = output.decode("utf-8", "surrogateescape")
        if isinstance(like, str):
            return text.removesuffix("\n")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._failure(f"gave no JSON: {error}") from error


async def _feed(process: IOStream, data: bytes) -> None:
    with suppress(StreamClosed, OSError):  # it may end without reading everything
        await process.write(data)
        await process.write_eof()


def _as_input(frame: Any) -> bytes:
    if isinstance(frame, bytes):
        return frame
    return to_bytes(frame if isinstance(frame, str) else to_json(frame)) + b"\n"
