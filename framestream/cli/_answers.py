"""What ``framestream serve`` does with the frames of a connection. Values, so workers can have them, too."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import click

from framestream.cli._output import OUTPUTS
from framestream.cli._render import to_json
from framestream.cli._standard_output import discard_output
from framestream.errors import EncodeError, FramestreamError, describe_os_error

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable

    from framestream.stream.frames import FramedStream

# Seconds for a killed command's output to end: another process may have it as well.
_LAST_OUTPUT = 2.0


class CommandFailed(FramestreamError):
    """The command of ``--exec`` gave no answer; the connection ends, since its order is lost."""


@dataclass(frozen=True)
class Echo:
    """Send every frame back."""

    async def __call__(self, conversation: FramedStream[Any]) -> None:
        """Serve one connection."""
        async for frame in conversation:
            await conversation.send(frame)


@dataclass(frozen=True)
class Execute:
    """Run a command for each frame: the frame is its input, its output is the answer.

    Attributes:
        argv: the command.
        max_size: the most bytes of an answer, besides a newline at its end.
    """

    argv: tuple[str, ...]
    max_size: int

    async def __call__(self, conversation: FramedStream[Any]) -> None:
        """Serve one connection, one frame at a time."""
        async for frame in conversation:
            try:
                answer = self._as_frame(await self._output(_as_input(frame)), frame)
                sent = self._send(conversation, answer)
            except CommandFailed as error:
                click.echo(f"framestream: {conversation.stream.peer}: {error}", err=True)
                return
            await sent

    def _send(self, conversation: FramedStream[Any], answer: Any) -> Awaitable[None]:
        try:
            return conversation.send(answer)
        except EncodeError as error:
            framer = conversation.send_framer
            raise CommandFailed(f"{self.argv[0]} gave no answer that {framer} can send: {error}") from error

    async def _output(self, data: bytes) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(*self.argv, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            raise CommandFailed(f"cannot start {self.argv[0]}: {error.strerror}") from error
        feeding = asyncio.ensure_future(_feed(process, data))
        try:
            output = await self._read(process)
            await process.wait()
        except BaseException:
            with suppress(ProcessLookupError):  # it has just ended
                process.kill()
            # Some versions of asyncio wait for the end of what it has written, too: take what is left.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.communicate(), _LAST_OUTPUT)
            raise
        finally:
            feeding.cancel()
        if process.returncode:
            raise CommandFailed(f"{self.argv[0]} ended with exit status {process.returncode}")
        return output

    async def _read(self, process: Process) -> bytes:
        assert process.stdout is not None
        most = self.max_size + len("\n")
        output = bytearray()
        while piece := await process.stdout.read(most + 1 - len(output)):
            output += piece
            if len(output) > most:
                what = f"{self.argv[0]} gave more than {self.max_size} bytes"
                raise CommandFailed(f"{what}, the limit of --max-size")
        return bytes(output)

    def _as_frame(self, output: bytes, like: Any) -> Any:
        if isinstance(like, bytes):
            return output
        text = output.decode("utf-8", "surrogateescape")
        if isinstance(like, str):
            return text.removesuffix("\n")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"{self.argv[0]} gave no JSON: {error}") from error


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it may end without having read everything
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


def _as_input(frame: Any) -> bytes:
    if isinstance(frame, bytes):
        return frame
    text = frame if isinstance(frame, str) else to_json(frame)
    return text.encode("utf-8", "surrogateescape") + b"\n"


@dataclass(frozen=True)
class Show:
    """Print every frame, and answer nothing.

    Attributes:
        output: how, see ``--output``.
    """

    output: str

    async def __call__(self, conversation: FramedStream[Any]) -> None:
        """Serve one connection."""
        writer = OUTPUTS[self.output](sys.stdout.buffer, b"\n" if self.output == "text" else b"")
        stream, place = conversation.stream, 0
        async for frame in conversation:
            try:
                writer.write(frame, place, stream.offset - place)
                if not stream.buffered:
                    writer.stream.flush()
            except BrokenPipeError:
                discard_output()  # the command itself has noticed, and ends
                return
            except OSError as error:
                click.echo(f"framestream: cannot print: {describe_os_error(error)}", err=True)
                return
            place = stream.offset
