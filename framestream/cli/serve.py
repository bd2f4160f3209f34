"""``framestream serve``: answer frames. Handlers are values, so that they can be sent to workers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import signal
import ssl
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import StringIO
from select import select
from typing import Any, Final

import click

import framestream
from framestream.cli import CLOSED_PIPE, options
from framestream.cli.connect import LoopPrinter, good_frames, opened, run
from framestream.cli.output import complain, report, to_bytes, to_json
from framestream.errors import counted, describe_error, describe_os_error

Command = tuple[str, ...]

# Sent by whatever process finds out. (The system sends SIGPIPE for any connection that a peer has left.)
_READER_IS_GONE: Final = getattr(signal, "SIGUSR1", signal.SIGTERM)
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_kill_group: Final = getattr(os, "killpg", os.kill)


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
@click.option("--idle-timeout", type=options.seconds, help="Close connections that are silent for so many seconds.")
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
    "--trusted", multiple=True, metavar="NETWORK", help="Addresses of load balancers, such as 10.0.0.0/8; repeat it."
)
@click.option("--drain-timeout", type=options.seconds, default=10, help="Seconds to finish when told to stop.")
@click.option("--admin", metavar="URL", help="Serve health checks and metrics over HTTP at this URL.")
@click.option(
    "--notice", type=options.seconds, default=0, help="Seconds to go on accepting, not ready, before draining."
)
@click.option("-v", "--verbose", is_flag=True, help="Log connections that end badly.")
def serve(url: str, spec: str, echo: bool, command: Command | None, output: str, verbose: bool, **settings: Any) -> int:
    """Listen on URL and answer the frames of every connection.

    URL is tcp://HOST:PORT (port 0: any that is free), tls://HOST:PORT, unix:PATH, fd:N or systemd:NAME.
    The address is printed to standard error. After SIGTERM, SIGHUP or Ctrl-C the server ends once every connection
    has finished what it had begun. With neither --echo nor --exec, frames are printed and not answered.

    COMMAND is run without a shell. Its standard input is the frame: bytes unchanged, text with a newline,
    anything else as JSON; its output is read the same way.

    \b
    Examples:
      framestream serve tcp://:4000 --framer line
      framestream serve unix:/run/upper.sock --framer line --exec 'tr a-z A-Z'
      framestream serve tls://:4000 -f msgpack --echo --cert chain.pem --key key.pem
      framestream serve tcp://:4000 -f line --echo --admin tcp://127.0.0.1:9090
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    if echo and command is not None:
        raise click.UsageError("--echo and --exec exclude each other")
    policy, notice = settings.pop("on_payload_error"), settings.pop("notice")
    handler: Handler = Show(policy, output)
    if echo:
        handler = Echo(policy)
    elif command is not None:
        handler = Execute(policy, command, settings["max_frame_size"])
    settings["framer"] = options.get_framer(spec) if type(handler) is Show else options.writing_framer(spec)
    settings["tls"] = _certificate(url, settings.pop("cert"), settings.pop("key"))
    _log_from(logging.INFO if verbose else logging.WARNING)
    return run(_serve(handler, url, notice, settings))


def _certificate(url: str, cert: str | None, key: str | None) -> Callable[[], ssl.SSLContext] | None:
    if cert is None:
        if key is not None or url.startswith("tls:"):
            raise click.UsageError("--key and tls:// need a certificate: --cert FILE")
        return None
    make = partial(framestream.server_tls, cert, key)
    make()  # report bad files here, not in each worker
    return make


_AT_ONCE: Final = 512  # bytes that a pipe takes without blocking if it takes any, by POSIX


def _write_now(data: bytes) -> bool:
    """Write to standard error if that need not wait; return False if it must, or if nothing can read it any more."""
    with suppress(OSError, ValueError):  # this system, or this kind of descriptor, cannot tell
        if not select([], [2], [], 0)[1]:
            return False
    try:
        os.write(2, data)
    except OSError:
        return False
    return True


class _Messages(logging.Handler):
    """Messages to standard error, and the log. None waits for a reader: those that nothing reads are counted."""

    lost = 0

    def tell(self, print_it: Callable[[], object]) -> None:
        """Print a message, and before it how many were lost."""
        text = StringIO()
        text.isatty = sys.stderr.isatty  # type: ignore[method-assign]  # it may have colours
        with redirect_stderr(text):
            if self.lost:
                complain(f"{counted(self.lost, 'message')} could not be printed: nothing read them")
            print_it()
        data = text.getvalue().encode("utf-8", "backslashreplace")
        for at in range(0, len(data), _AT_ONCE):
            if not _write_now(data[at : at + _AT_ONCE]):
                self.lost += 1
                return
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log record like other complaints, unless it is about an error that was told already."""
        if not getattr(getattr(record, "error", None), "is_told", False):
            self.tell(partial(complain, self.format(record), keep="\n"))


_messages: Final = _Messages()
"""Those of this process."""

_logger: Final = logging.getLogger("framestream")


def _log_from(level: int) -> None:
    _logger.addHandler(_messages)
    _logger.setLevel(level)


async def _serve(handler: Any, url: str, notice: float, settings: dict[str, Any]) -> int:
    status = 0

    def end() -> None:
        nonlocal status
        status = CLOSED_PIPE
        signal.raise_signal(signal.SIGTERM)

    async with await opened(framestream.serve(handler, url, **settings)) as server:
        if sys.platform != "win32":  # there the loop has no signal handlers, and Ctrl-C ends it
            ends = {signal.SIGTERM, signal.SIGHUP}
            if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
                ends.remove(signal.SIGHUP)  # by nohup: it goes on when its terminal hangs up
            server.close_on(*ends, notice=notice)
            asyncio.get_running_loop().add_signal_handler(_READER_IS_GONE, end)
        click.echo(f"listening on {server.url}", err=True)
        if server.admin is not None:
            click.echo(f"health and metrics at {server.admin.url}", err=True)
        server.notify_systemd()
        await server.serve_forever()
    return status


# Handlers ---------------------------------------------------------------------------------------------


class CannotGoOn(Exception):
    """A frame has no answer; the connection ends, since the order of answers would be lost. Without text, silently."""


@dataclass(frozen=True)
class Handler:
    """Answer each frame of a stream, report errors, and continue if possible.

    Attributes:
        on_payload_error: whether to continue after a bad frame: ``"skip"`` or ``"close"``.
    """

    on_payload_error: str

    def __getstate__(self) -> tuple[dict[str, Any], int]:
        return vars(self), _logger.level

    def __setstate__(self, state: tuple[dict[str, Any], int]) -> None:
        attributes, level = state
        vars(self).update(attributes)
        _log_from(level)  # a worker as its parent, and without waiting for a reader

    async def __call__(self, stream: framestream.IOStream) -> None:
        skipped = 0

        def tell(error: Exception | str) -> None:
            _messages.tell(partial(report, stream.peer, error))

        def skip(error: framestream.FramestreamError) -> None:
            nonlocal skipped
            skipped += 1
            if skipped == 1:  # otherwise a peer would decide how much is printed
                tell(error)

        stream.receiver.decoder.on_discard = skip
        try:
            async for frame in good_frames(stream.frames(), self.on_payload_error, skip):
                await self.answer(stream, frame)
        except (framestream.FramingError, framestream.PayloadError, CannotGoOn) as error:
            if not str(error):
                return
            tell(error)
            error.is_told = True  # type: ignore[union-attr]  # the server counts and logs it as well
            raise
        finally:
            if skipped > 1:
                tell(f"skipped {counted(skipped - 1, 'more frame')}")

    async def answer(self, stream: framestream.IOStream, frame: Any) -> None:
        """Answer this frame, or raise CannotGoOn."""
        raise NotImplementedError


class Echo(Handler):
    """Send every frame back."""

    async def answer(self, stream: framestream.IOStream, frame: Any) -> None:
        """Send it."""
        await stream.send(frame)


@dataclass(frozen=True)
class Show(Handler):
    """Print every frame as `output` says, without an answer."""

    output: str
    server: int = field(default_factory=os.getpid)

    @cached_property
    def _printer(self) -> LoopPrinter:  # of this process: all connections fill the same buffer
        return LoopPrinter(self.output)

    async def answer(self, stream: framestream.IOStream, frame: Any) -> None:
        """Print it, with its peer; without a reader, end the server."""
        try:
            await self._printer.print(stream, frame, stream.peer)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                os.kill(self.server, _READER_IS_GONE)
                raise CannotGoOn from error
            raise CannotGoOn(f"cannot print: {describe_os_error(error)}") from error


@dataclass(frozen=True)
class Execute(Handler):
    """Run a command for each frame: the frame is its input, its output is the answer.

    Attributes:
        argv: the command.
        most: bytes that it may answer, besides the end of a line.
    """

    argv: Command
    most: int

    async def answer(self, stream: framestream.IOStream, frame: Any) -> None:
        """Run the command."""
        output = await self._run(stream, _as_input(frame))
        try:
            sent = stream.send(self._as_frame(output, frame))
        except framestream.EncodeError as error:
            reason = f"gave no answer that {stream.send_framer} can send: {describe_error(error)}"
            raise self._failure(reason) from error
        await sent

    def _failure(self, reason: str) -> CannotGoOn:
        return CannotGoOn(f"{self.argv[0]} {reason}")

    async def _run(self, stream: framestream.IOStream, data: bytes) -> bytes:
        """Return the command's output. Without its client, its streams end, and it has some seconds to end as well."""
        try:
            # Of a session of its own: Ctrl-C is for the server, which lets what has begun finish; and what the
            # command has started ends with it.
            program = await framestream.connect_process(
                self.argv, start_new_session=True, max_frame_size=self.most + 1, half_open=True
            )
        except framestream.ConnectError as error:
            raise self._failure(f"cannot be started: {describe_os_error(error.attempts[0][1])}") from error
        stream.set_close_callback(program.close)
        try:
            program.write(data)  # it may answer without reading everything
            program.write_eof()
            output = await program.read(framestream.UntilClose())
            await program.wait_exit()
        except framestream.FrameTooLarge as error:
            what = f"gave more than {counted(self.most, 'byte')}, the limit of --max-size"
            raise self._failure(what) from error
        except framestream.StreamClosed:
            await program.wait_exit()
        finally:
            if program.exit_code is None:  # it answers too much, or the time to drain is over
                with suppress(ProcessLookupError):
                    _kill_group(program.pid, _KILL)
            program.close()
            await program.wait_exit()
        stream.sender.check_can_write()
        if program.exit_code:
            raise self._failure(f"ended with exit status {program.exit_code}")
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


def _as_input(frame: Any) -> bytes:
    if isinstance(frame, bytes):
        return frame
    return to_bytes(frame if isinstance(frame, str) else to_json(frame)) + b"\n"
