"""A program's standard input and output as one stream."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from subprocess import PIPE
from typing import IO, Any

from framestream.errors import ConnectError, describe_os_error
from framestream.net.streams import check_watchable
from framestream.stream.options import check_options
from framestream.stream.stream import IOStream
from framestream.transport.descriptor import PipeTransport

TERMINATE_DELAY = 5.0
"""Seconds a program has to end by itself after its input has ended; then it is terminated."""

KILL_DELAY = 2.0
"""Seconds a program has to end after it was told to terminate; then it is killed."""


class ProcessTransport(PipeTransport):
    """The pipes to a program, which has a while to end when they close.

    Attributes:
        process: the program.
        peer: its name and process id.
    """

    __slots__ = ("_loop", "peer", "process")

    peer: str

    def __init__(self, read_fd: int, write_fd: int, process: Process, name: str) -> None:
        super().__init__(read_fd, write_fd)
        self.process = process
        self.peer = f"{name}[{process.pid}]"
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Close the pipes: the program sees the end of its input."""
        super().close()
        self._loop.call_later(TERMINATE_DELAY, self._end, self.process.terminate)
        self._loop.call_later(TERMINATE_DELAY + KILL_DELAY, self._end, self.process.kill)

    def _end(self, how: Callable[[], None]) -> None:
        if self.process.returncode is None:
            how()


class ProcessStream(IOStream):
    """A stream to a program: what is written is its standard input, what is read its standard output."""

    __slots__ = ("_process",)

    def __init__(self, transport: ProcessTransport, **options: Any) -> None:
        super().__init__(transport, **options)
        self._process = transport.process

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The program's exit status, or minus the signal that ended it; None while it runs."""
        return self._process.returncode

    async def wait_exit(self) -> int:
        """Return the exit status when the program has ended. Cancelling leaves it running."""
        return await self._process.wait()

    async def aclose(self, timeout: float | None = 10.0, *, linger: float = 0) -> None:
        """Send what is written, end the program's input, and wait until it has ended.

        It has a few seconds for that; then it is terminated, and at last killed.
        """
        await super().aclose(timeout, linger=linger)
        await self.wait_exit()


async def connect_process(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: IO[Any] | int | None = None,
    **stream_options: Any,
) -> ProcessStream:
    """Start a program, without a shell, and return a stream to its standard input and output.

    Args:
        argv: the program and its arguments.
        cwd: where to run it.
        env: its environment, instead of this process's.
        stderr: where its messages go, as for ``subprocess``; by default where this process's go.
        stream_options: passed to the stream, such as ``framer`` and ``max_frame_size``.

    Raises:
        ConnectError: the program cannot be started.
    """
    if stderr == PIPE:
        raise ValueError("stderr=PIPE is read by nobody here; pass a file or subprocess.DEVNULL")
    check_options({name: value for name, value in stream_options.items() if not name.endswith("framer")})
    check_watchable(f"exec:{argv[0]}")
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=their_input, stdout=their_output, stderr=stderr, cwd=cwd, env=env
        )
    except BaseException as error:
        os.close(our_input)
        os.close(our_output)
        if isinstance(error, OSError):
            why = f"cannot start {argv[0]}: {describe_os_error(error)}"
            raise ConnectError(why, url=argv[0], attempts=((argv[0], error),)) from error
        raise
    finally:
        os.close(their_input)
        os.close(their_output)
    transport = ProcessTransport(our_input, our_output, process, argv[0])
    try:
        return ProcessStream(transport, **stream_options)
    except BaseException:
        transport.close()
        raise
