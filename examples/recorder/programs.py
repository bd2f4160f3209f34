"""Start real programs, talk to them, and leave none behind."""

from __future__ import annotations

import contextlib
import glob
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

PATIENCE = 20.0
"""Seconds that a program may take to start, to answer, or to end."""

COURTESY = 5.0
"""Seconds between asking a program to end and killing it."""

FOLDERS = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *glob.glob("/usr/lib/postgresql/*/bin")]
SEARCH_PATH = os.pathsep.join(FOLDERS)


class MissingProgram(Exception):
    """A program is not installed."""


def find_program(name: str) -> str:
    """Return the path of a program. Raise `MissingProgram` if it is not installed."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise MissingProgram(f"{name} is not installed")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def as_user(user: str) -> list[str]:
    """Return the prefix that runs a command as another user, for programs that refuse to run as root."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.geteuid() == 0 else []


@contextlib.contextmanager
def running(*command: str | Path, user: str = "", **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block is left; it dies with the recorder in any case.

    Its output goes nowhere unless `options`, which are Popen's, say otherwise.
    """
    program, *arguments = map(str, command)
    mortal = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    prefix = [*(as_user(user) if user else []), *mortal]
    defaults: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(
        [*prefix, find_program(program), *arguments], start_new_session=True, **(defaults | options)
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything it started: politely first, then not."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(COURTESY)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def output_of(*command: str | Path, **options: Any) -> bytes:
    """Run a program to its end and return what it printed."""
    program, *arguments = map(str, command)
    done = subprocess.run(
        [find_program(program), *arguments], check=True, stdout=subprocess.PIPE, timeout=PATIENCE, **options
    )
    return bytes(done.stdout)


def read_some(pipe: IO[bytes]) -> bytes:
    """Return what a program has written to a pipe, waiting for it; nothing at the end."""
    if not select.select([pipe], [], [], PATIENCE)[0]:
        raise TimeoutError("program is silent")
    return os.read(pipe.fileno(), 65536)


class Wire:
    """A connection that remembers every byte that was received on it.

    Attributes:
        received: the bytes so far, exactly as they came.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, complete: Callable[[bytes], bool]) -> bytes:
        """Receive until everything that came satisfies `complete`, and return it."""
        while not complete(self.received):
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"connection closed after {self.received[-80:]!r}")
            self.received += data
        return self.received

    def rest(self) -> bytes:
        """Receive until the program closes the connection, and return everything."""
        while data := self.sock.recv(65536):
            self.received += data
        return self.received


def wait_until(ready: Callable[[], object], process: subprocess.Popen[bytes]) -> Any:
    """Call `ready` until it returns something true, and return that; an ``OSError`` means "not yet"."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"program ended with status {process.returncode} while it was starting")
        with contextlib.suppress(OSError):
            if result := ready():
                return result
        time.sleep(0.02)  # nobody tells when a program has begun to listen
    raise TimeoutError("program does not start")


def connect(port: int, process: subprocess.Popen[bytes]) -> Wire:
    """Connect to a program that is just starting, as soon as it listens."""
    return Wire(wait_until(lambda: socket.create_connection(("127.0.0.1", port), PATIENCE), process))
