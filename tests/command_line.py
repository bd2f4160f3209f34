"""Running the command line in the process of a test, and what it leaves behind."""

import json
import logging
import os
import runpy
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from framestream import plugins
from framestream.cli import run


class Printed(NamedTuple):
    """What a command left behind."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self):
        return self.raw.decode("utf-8", "replace")

    @property
    def frames(self):
        return [json.loads(line)["frame"] for line in self.out.splitlines()]

    @property
    def offsets(self):
        return [json.loads(line)["offset"] for line in self.out.splitlines()]


@pytest.fixture
def framestream(capfdbinary, tmp_path, monkeypatch):
    """Run the command line in this process, in an empty folder; only plugins of the test's own are there."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments, stdin=b""):
        with standard_input(stdin):
            status = run([str(argument) for argument in arguments])
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return Printed(status, captured.out, captured.err.decode())

    with plugins.isolated():
        yield command
    log = logging.getLogger("framestream")
    log.setLevel(logging.NOTSET)
    log.handlers.clear()


@contextmanager
def standard_input(source):
    """Let standard input be these bytes, or this descriptor, which is closed."""
    kept = os.dup(0)
    descriptor = source
    if isinstance(source, bytes):
        descriptor, writer = os.pipe()
        os.write(writer, source)
        os.close(writer)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@contextmanager
def conversation(script, address=("127.0.0.1", 0), *, tls=None):
    """Hold one connection in a thread; give its URL, and a list for what `script` returns."""
    results = []
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as listening:
        listening.bind(address)
        listening.listen()
        listening.settimeout(20)

        def serve():
            accepted, _ = listening.accept()
            with tls.wrap_socket(accepted, server_side=True) if tls else accepted as connection:
                results.append(script(connection))

        thread = threading.Thread(target=serve)
        thread.start()
        where = f"unix:{address}" if isinstance(address, str) else f"tcp://localhost:{listening.getsockname()[1]}"
        yield where.replace("tcp", "tls") if tls else where, results
        thread.join()


def start(*arguments, **options):
    """Start the real command in a process of its own, with buffered output, as users have it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-m", "framestream", *arguments], **{"env": env, **streams, **options})


def program_in(folder, arguments, environment, source, output):
    """Do what ``python -m`` does with these arguments, with a file each for what is read and printed."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [str(folder), *environment["PYTHONPATH"].split(os.pathsep)]
    with source.open("rb") as read, output.open("wb") as printed:
        for descriptor, file in enumerate((read, printed, printed)):
            os.dup2(file.fileno(), descriptor)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
