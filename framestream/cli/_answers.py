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

from framestream._errors import FramestreamError
from framestream.cli._output import OUTPUTS
from framestream.cli._render import to_json

if TYPE_CHECKING:
    from framestream.streams._frames import FramedStream


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
    """

    argv: tuple[str, ...]

    async def __call__(self, conversation: FramedStream[Any]) -> None:
        """Serve one connection, one frame at a time."""
        async for frame in conversation:
            try:
                answer = await self._answer(frame)
            except (CommandFailed, ValueError) as error:
                click.echo(f"framestream: {conversation.stream.peer}: {error}", err=True)
                return
            await conversation.send(answer)

    async def _answer(self, frame: Any) -> Any:
        try:
            process = await asyncio.create_subprocess_exec(*self.argv, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            raise CommandFailed(f"cannot start {self.argv[0]}: {error.strerror}") from error
        try:
            output, _ = await process.communicate(_as_input(frame))
        except BaseException:
            with suppress(ProcessLookupError):  # it has just ended
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise CommandFailed(f"{self.argv[0]} ended with exit status {process.returncode}")
        return _as_frame(output, frame)


def _as_input(frame: Any) -> bytes:
    if isinstance(frame, bytes):
        return frame
    text = frame if isinstance(frame, str) else to_json(frame)
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _as_frame(output: bytes, like: Any) -> Any:
    if isinstance(like, bytes):
        return output
    text = output.decode("utf-8", "surrogateescape")
    return text.removesuffix("\n") if isinstance(like, str) else json.loads(text)


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
            writer.write(frame, place, stream.offset - place)
            place = stream.offset
            if not stream.buffered:
                writer.stream.flush()
