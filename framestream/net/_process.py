"""A program's standard input and output as one stream."""

from __future__ import annotations

import asyncio
import os
from subprocess import PIPE
from typing import IO, TYPE_CHECKING, Any

from framestream.errors import ConnectError
from framestream.stream._stream import IOStream
from framestream.stream._stream_options import check_options
from framestream.transport._pipe_channel import PipeChannel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GRACE = 5.0
"""Seconds a program has to end by itself after its input has ended; then it is terminated."""

# Seconds between asking a program to end and killing it.
_LAST_WORDS = 2.0


class Child(asyncio.SubprocessProtocol):
    """A running program: when it ends, and how it is made to.

    Attributes:
        pid: its process id.
        exited: done with its exit status, or minus the signal that ended it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self.pid = 0
        self._transport: asyncio.SubprocessTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take note of the process; called by the loop."""
        self._transport = transport
        self.pid = transport.get_pid()

    def process_exited(self) -> None:
        """Take note of the end; called by the loop."""
        assert self._transport is not None
        code = self._transport.get_returncode()
        assert code is not None
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
        self.exited.set_result(code)

    def dismiss(self, grace: float) -> None:
        """Terminate it after `grace` seconds, and kill it soon after that, unless it has ended by then."""
        if not self.exited.done():
            self._timer = self._loop.call_later(grace, self._terminate)

    def _terminate(self) -> None:
        assert self._transport is not None
        self._transport.terminate()
        self._timer = self._loop.call_later(_LAST_WORDS, self._transport.kill)


class ProcessChannel(PipeChannel):
    """The pipes to a program, and the program: it is dismissed when they close."""

    __slots__ = ("argv", "child")

    def __init__(self, read_fd: int, write_fd: int, child: Child, argv: Sequence[str]) -> None:
        super().__init__(read_fd, write_fd)
        self.child = child
        self.argv = argv

    def close(self) -> None:
        """Close the pipes; the program sees the end of its input."""
        super().close()
        self.child.dismiss(GRACE)

    @property
    def peer(self) -> str:
        """The program and its process id."""
        return f"{self.argv[0]}[{self.child.pid}]"


class ProcessStream(IOStream):
    """A stream to a program: what is written is its standard input, what is read its standard output."""

    __slots__ = ("_child",)

    def __init__(self, channel: ProcessChannel, **options: Any) -> None:
        super().__init__(channel, **options)
        self._child = channel.child

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """The program's exit status, or minus the signal that ended it; None while it runs."""
        return self._child.exited.result() if self._child.exited.done() else None

    async def wait_exit(self) -> int:
        """Return the exit status when the program has ended. Cancelling leaves it running."""
        return await asyncio.shield(self._child.exited)

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
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    try:
        _, child = await asyncio.get_running_loop().subprocess_exec(
            Child, *argv, stdin=their_input, stdout=their_output, stderr=stderr, cwd=cwd, env=env
        )
    except BaseException as error:
        os.close(our_input)
        os.close(our_output)
        if isinstance(error, OSError):
            raise _not_started(argv, error) from error
        raise
    finally:
        os.close(their_input)
        os.close(their_output)
    channel = ProcessChannel(our_input, our_output, child, argv)
    try:
        return ProcessStream(channel, **stream_options)
    except BaseException:
        channel.close()
        raise


def _not_started(argv: Sequence[str], error: OSError) -> ConnectError:
    reason = (error.strerror or str(error)).lower()
    return ConnectError(f"cannot start {argv[0]}: {reason}", url=argv[0], attempts=((argv[0], error),))
