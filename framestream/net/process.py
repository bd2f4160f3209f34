"""A program's standard input and output as one stream."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from subprocess import PIPE
from typing import IO, Any

from framestream.errors import ConnectError, describe_os_error
from framestream.net.sockets import on_failure
from framestream.stream.options import check_options
from framestream.stream.stream import IOStream
from framestream.transport import LoopTransport, PipeTransport, can_watch_descriptors

TERMINATE_DELAY = 5.0
"""Seconds a program has to end by itself after the end of its input; then it is terminated."""

KILL_DELAY = 2.0
"""Seconds a program has to end after it was terminated; then it is killed."""


class Program(asyncio.SubprocessProtocol):
    """A running program: its end, and the ways to end it. The transport over its pipes is one.

    Args:
        name: for messages.

    Attributes:
        peer: its name with its process id.
        exited: done with its exit status, or minus the signal that ended it.
        process: the loop's transport of it.
        stdin, stdout: its ends of the pipes, as for ``subprocess``.
    """

    may_read_no_more = True
    peer = ""
    stdin = stdout = PIPE

    def __init__(self, name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self.loop.create_future()
        self.process: Any = None
        self.peer = name

    async def start(self, argv: Sequence[str], **options: Any) -> None:
        """Start it, with the options of ``subprocess.Popen``."""
        process, _ = await self.loop.subprocess_exec(
            lambda: self, *argv, stdin=self.stdin, stdout=self.stdout, **options
        )
        self.connection_made(process)

    def connection_made(self, transport: Any) -> None:
        """Store the process; called by the loop, or by `start` if eager tasks make that later."""
        if self.process is None:
            self.process = transport
            self.peer += f"[{transport.get_pid()}]"

    def process_exited(self) -> None:
        """Note the end; called by the loop."""
        self.exited.set_result(self.process.get_returncode())

    def connection_lost(self, error: Exception | None) -> None:
        """Release the process, after its pipes have ended as well; called by the loop."""
        self.process.close()

    def end_soon(self) -> None:
        """Terminate it, and finally kill it, if it does not end by itself."""
        if self.process is not None and not self.exited.done():
            self.loop.call_later(TERMINATE_DELAY, self._end, self.process.terminate)
            self.loop.call_later(TERMINATE_DELAY + KILL_DELAY, self._end, self.process.kill)

    def _end(self, how: Callable[[], None]) -> None:
        if not self.exited.done():
            how()


class OurPipes(Program, PipeTransport):
    """A program on our own pipes; when they close, it has a while to end."""

    def __init__(self, name: str) -> None:
        Program.__init__(self, name)
        ends: list[int] = []
        with on_failure(_close_all, ends):
            ends += os.pipe()
            ends += os.pipe()
            self.stdin, our_output, our_input, self.stdout = ends
            PipeTransport.__init__(self, our_input, our_output)

    async def start(self, argv: Sequence[str], **options: Any) -> None:
        """Start it, and let it alone have its ends of the pipes."""
        try:
            await super().start(argv, **options)
        finally:
            _close_all((self.stdin, self.stdout))

    def close(self) -> None:
        """Close the pipes: the program sees the end of its input."""
        super().close()
        self.end_soon()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Pipes:
    """A program's standard input and output as one transport of the loop."""

    def __init__(self, process: Any) -> None:
        self._input, self._output = process.get_pipe_transport(0), process.get_pipe_transport(1)
        self.write_eof = self._input.close
        self.pause_reading = self._output.pause_reading
        self.resume_reading = self._output.resume_reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._input, name)  # writing and its buffer

    def close(self) -> None:
        self._input.close()
        self._output.close()

    def can_write_eof(self) -> bool:
        return True  # Proactor's does not: closing is its only end

    abort = close


class LoopPipes(Program, LoopTransport):
    """A program on the loop's own pipes, for a loop that cannot watch ours.

    Not for the others: it costs a fifth more, and uvloop has closed the pipes of a program that ends at once before
    it tells of them.
    """

    def __init__(self, name: str) -> None:
        LoopTransport.__init__(self)
        Program.__init__(self, name)
        self._arrived = bytearray()  # before a read
        self._ended = False

    # From the loop

    async def start(self, argv: Sequence[str], **options: Any) -> None:
        """Start it; nothing is read yet. Until then the loop reads: it waits for the end of a program given up."""
        await super().start(argv, **options)
        LoopTransport.connection_made(self, _Pipes(self.process))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Push the program's output, if the sink wants it."""
        self._arrived += data
        self._push()

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        """Push the end of its output, or note that it reads no more."""
        if fd == 0:
            self.fail_writing(error or BrokenPipeError(errno.EPIPE, "the program reads no more"))
        else:
            self._ended = True
            self._push()

    def _push(self) -> None:
        while self._reading and self._arrived:
            place = self.sink.get_buffer(len(self._arrived))
            size = min(len(place), len(self._arrived))
            place[:size] = self._arrived[:size]
            del self._arrived[:size]
            self.sink.buffer_updated(size)
        if self._reading and self._ended:
            self._reading = self._ended = False
            self.sink.eof_received()

    # Towards the stream

    def resume_reading(self) -> None:
        """Let the loop read, and push from its next pass on."""
        super().resume_reading()
        self.loop.call_soon(self._push)

    def close(self) -> None:
        """Close the pipes: the program sees the end of its input."""
        self._reading = False
        super().close()
        self.end_soon()


class ProcessStream(IOStream):
    """A stream to a program: writing goes to its standard input, reading comes from its standard output."""

    __slots__ = ("_program",)

    def __init__(self, program: OurPipes | LoopPipes, **options: Any) -> None:
        super().__init__(program, **options)
        self._program = program  # under the transport, if that becomes TLS

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._program.process.get_pid()  # type: ignore[no-any-return]  # an int

    @property
    def exit_code(self) -> int | None:
        """The program's exit status, or minus the signal that ended it; None while it runs."""
        return self._program.exited.result() if self._program.exited.done() else None

    async def wait_exit(self) -> int:
        """Return the exit status when the program has ended. Cancelling leaves it running."""
        return await asyncio.shield(self._program.exited)

    async def aclose(self, timeout: float | None = 10.0, *, linger: float = 0) -> None:
        """Send queued bytes, end the program's input, and wait until it has ended.

        It has a few seconds for that; then it is terminated, and finally killed.
        """
        await super().aclose(timeout, linger=linger)
        await self.wait_exit()


async def connect_process(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: IO[Any] | int | None = None,
    start_new_session: bool = False,
    **stream_options: Any,
) -> ProcessStream:
    """Start a program, without a shell, and return a stream to its standard input and output.

    Args:
        argv: the program and its arguments.
        cwd: where to run it.
        env: its environment, instead of this process's.
        stderr: where its messages go, as for ``subprocess``; by default to this process's stderr.
        start_new_session: make it the leader of a session and a process group of its own: a signal of the
            terminal, such as that of Ctrl-C, then does not reach it.
        stream_options: passed to the stream, such as ``framer`` and ``max_frame_size``.

    Raises:
        ValueError: `argv` is not a list, or empty.
        ConnectError: the program cannot be started, or not in `cwd`; says which.
    """
    if stderr == PIPE:
        raise ValueError("stderr=PIPE would never be read; pass a file or subprocess.DEVNULL")
    if isinstance(argv, str | bytes) or not argv:
        raise ValueError(f"argv is {argv!r}; it must be a list: a program and its arguments")
    name = os.fsdecode(argv[0])
    check_options({name: value for name, value in stream_options.items() if not name.endswith("framer")})
    try:
        program = OurPipes(name) if can_watch_descriptors() else LoopPipes(name)
        with on_failure(program.close):
            await program.start(argv, stderr=stderr, cwd=cwd, env=env, start_new_session=start_new_session)
            return ProcessStream(program, **stream_options)
    except OSError as error:
        why = f"cannot start {name}: {_fault_of_directory(cwd) or describe_os_error(error)}"
        raise ConnectError(why, url=name, attempts=((name, error),)) from error


def _fault_of_directory(cwd: str | os.PathLike[str] | None) -> str:
    """Say why no program can run in this directory; nothing if one can. The error is the same for both."""
    if cwd is not None:
        directory = os.fsdecode(cwd)
        try:
            os.stat(os.path.join(directory, os.curdir))  # this needs what entering it needs
        except OSError as error:
            return f"cannot enter the directory {directory}: {describe_os_error(error)}"
    return ""
