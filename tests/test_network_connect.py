"""Reaching TCP ports, Unix sockets, descriptors, pipes and programs."""

import asyncio
import contextlib
import errno
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import tty
from pathlib import Path

import pytest

from framestream import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    LengthPrefix,
    Line,
    StreamClosed,
    UnknownFramerError,
    connect,
    connect_process,
    serve,
)

LINE = Line()


async def echo(stream):
    async for line in stream.frames(LINE):
        await stream.send(line, LINE)


async def greet(stream):
    await stream.send("hello", LINE)


def resolve_to(monkeypatch, *addresses):
    """Make every host name resolve to these addresses."""

    def getaddrinfo(host, port, *_, **__):
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def silent():
    """An address that never answers: its backlog is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = []
        while True:
            filler = socket.socket()
            filler.settimeout(0.2)
            fillers.append(filler)
            try:
                filler.connect(listening.getsockname())
            except TimeoutError:
                break
        yield listening.getsockname()[1]
        for filler in fillers:
            filler.close()


# TCP


async def test_a_refusal_is_one_line_with_the_url_and_the_reason():
    url = f"tcp://127.0.0.1:{unused_port()}"
    with pytest.raises(ConnectError) as caught:
        await connect(url)
    assert f"cannot connect to {url}: connection refused" == str(caught.value)
    assert url == caught.value.url
    ((address, error),) = caught.value.attempts
    assert ("127.0.0.1", errno.ECONNREFUSED) == (address, error.errno)


@pytest.mark.asyncio_only
async def test_every_address_that_was_tried_is_named(monkeypatch):
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    url = f"tcp://example.org:{unused_port()}"
    with pytest.raises(ConnectError) as caught:
        await connect(url)
    reasons = "127.0.0.1: connection refused; 127.0.0.2: connection refused"
    assert f"cannot connect to {url}: {reasons}" == str(caught.value)


@pytest.mark.asyncio_only
async def test_the_next_address_is_tried_when_one_refuses(monkeypatch):
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    async with await serve(greet, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url.replace("127.0.0.1", "example.org")) as stream:
            assert "hello" == await stream.read(LINE)


@pytest.mark.asyncio_only
async def test_the_next_address_is_tried_when_one_is_silent(monkeypatch, silent):
    with socket.socket() as answering:
        answering.bind(("127.0.0.2", silent))
        answering.listen()
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        async with await connect(f"tcp://example.org:{silent}", happy_eyeballs_delay=0.01) as stream:
            assert f"127.0.0.2:{silent}" == stream.peer


async def test_a_silent_address_is_given_up_when_the_time_is_over(silent):
    url = f"tcp://127.0.0.1:{silent}"
    with pytest.raises(ConnectTimeout, match=f"cannot connect to {url} within 0.02 s: no answer") as caught:
        await connect(url, timeout=0.02)
    assert isinstance(caught.value, TimeoutError)
    assert ["127.0.0.1"] == [address for address, _ in caught.value.attempts]


async def test_cancelling_leaves_no_socket_open(silent):
    before = len(os.listdir("/proc/self/fd"))
    connecting = asyncio.ensure_future(connect(f"tcp://127.0.0.1:{silent}"))
    for _ in range(10):
        await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert before == len(os.listdir("/proc/self/fd"))


async def test_a_host_that_does_not_exist_is_reported():
    with pytest.raises(
        ConnectError, match=r"cannot connect to tcp://nowhere\.invalid:1: cannot find the host 'no"
    ):
        await connect("tcp://nowhere.invalid:1")


async def test_the_local_address_can_be_chosen():
    async with await serve(greet, "tcp://127.0.0.1:0") as server:
        async with await connect(server.url, local_address=("127.0.0.3", 0)) as stream:
            assert "127.0.0.3" == stream.channel.socket.getsockname()[0]


async def test_a_local_address_of_another_family_reaches_nobody():
    with pytest.raises(ConnectError, match="address family not supported"):
        await connect("tcp://127.0.0.1:1", local_address=("::1", 0))


async def test_small_writes_are_not_held_back_by_tcp():
    async with await serve(greet, "tcp://127.0.0.1:0") as server, await connect(server.url) as stream:
        assert stream.channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_option_that_does_not_exist_is_refused_and_nothing_stays_open():
    async with await serve(greet, "tcp://127.0.0.1:0") as server:
        with pytest.raises(TypeError, match="max_fame_size"):
            await connect(server.url, max_fame_size=1)
    with pytest.raises(TypeError, match="max_fame_size"):
        await connect_process(["cat"], max_fame_size=1)


async def test_nobody_can_connect_to_a_url_for_servers():
    with pytest.raises(AddressError, match="cannot connect to systemd:"):
        await connect("systemd:")


# Unix sockets


async def test_a_missing_unix_socket_is_reported(tmp_path):
    url = f"unix:{tmp_path}/socket"
    with pytest.raises(ConnectError, match=f"cannot connect to {url}: no such file or directory"):
        await connect(url)


async def test_an_abstract_unix_socket_is_reached_and_named_when_it_is_not():
    url = f"unix:@framestream-connect-{os.getpid()}"
    async with await serve(greet, url), await connect(url) as stream:
        assert "hello" == await stream.read(LINE)
    with pytest.raises(ConnectError) as caught:
        await connect(url)
    assert [url.removeprefix("unix:")] == [address for address, _ in caught.value.attempts]


async def test_the_path_of_a_unix_socket_is_enough(tmp_path):
    async with await serve(greet, f"unix:{tmp_path}/socket"), await connect(f"{tmp_path}/socket") as stream:
        assert "hello" == await stream.read(LINE)


# Descriptors


async def test_an_open_socket_is_adopted():
    ours, theirs = socket.socketpair()
    async with await connect(f"fd:{ours.detach()}") as stream:
        theirs.sendall(b"hello\n")
        assert "hello" == await stream.read(LINE)
        assert stream.channel.socket is not None
    theirs.close()


async def test_what_was_received_before_a_wait_counts():
    ours, theirs = socket.socketpair()
    async with await connect(f"fd:{ours.detach()}", read_chunk_size=4) as stream:
        theirs.sendall(b"\x0a" + b"x" * 7)
        reading = asyncio.ensure_future(stream.read(LengthPrefix(1)))
        await asyncio.sleep(0)
        theirs.sendall(b"x" * 3)
        assert b"x" * 10 == await reading
    theirs.close()


async def test_two_pipes_are_one_stream():
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    async with await connect(f"fd:{our_input},{our_output}") as stream:
        os.write(their_output, b"hello\n")
        assert "hello" == await stream.read(LINE)
        await stream.write(b"bye")
        assert b"bye" == os.read(their_input, 10)
    os.close(their_input)
    os.close(their_output)


async def test_a_descriptor_that_is_not_open_is_refused():
    with pytest.raises(AddressError, match="descriptor 999 is not open"):
        await connect("fd:999")


# FIFOs and devices


async def test_a_fifo_is_read_from_the_first_byte_to_the_last(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    connecting = asyncio.ensure_future(connect(f"pipe:{fifo}"))
    writing = await connect(f"pipe:>{fifo}")
    await writing.write(b"one\ntwo\n")
    async with await connecting as stream:
        assert "one" == await stream.read(LINE)
        await writing.aclose()
        assert "two" == await stream.read(LINE)
        with pytest.raises(StreamClosed):
            await stream.read(LINE)


async def test_writing_a_fifo_waits_until_somebody_reads_it(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConnectTimeout, match=f"cannot connect to pipe:>{fifo} within 0.01 s"):
        await connect(f"pipe:>{fifo}", timeout=0.01)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    async with await connect(f"pipe:>{fifo}") as stream:
        await stream.write(b"hello")
        assert b"hello" == os.read(reader, 10)
    os.close(reader)


async def test_giving_up_on_a_fifo_closes_it(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectTimeout):
        await connect(str(fifo), timeout=0.01)
    assert before == len(os.listdir("/proc/self/fd"))


async def test_a_terminal_is_read_and_written():
    master, slave = pty.openpty()
    tty.setraw(slave)
    async with await connect(os.ttyname(slave)) as stream:
        os.write(master, b"hello\n")
        assert "hello" == await stream.read(LINE)
        await stream.write(b"bye")
        assert b"bye" == os.read(master, 10)
    os.close(master)
    os.close(slave)


async def test_a_fifo_that_cannot_be_opened_for_want_of_descriptors_is_reported(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as probe:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
    try:
        with pytest.raises(ConnectError, match="too many open files"):
            await connect(f"pipe:>{fifo}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_missing_fifo_is_reported(tmp_path):
    with pytest.raises(ConnectError, match=f"cannot open {tmp_path}/fifo: no such file or directory"):
        await connect(f"pipe:>{tmp_path}/fifo")


# Programs


async def test_a_program_is_a_stream():
    async with await connect("exec:cat", framer=LengthPrefix(4)) as stream:
        stream.send(b"x" * 200_000)  # more than the pipes hold: it leaves while the answer arrives
        assert b"x" * 200_000 == await stream.read()
        assert stream.peer == f"cat[{stream.pid}]"
        assert stream.exit_code is None
    assert 0 == stream.exit_code == await stream.wait_exit()


async def test_no_shell_looks_at_the_arguments():
    async with await connect("exec:echo '$HOME' * ;") as stream:
        assert "$HOME * ;" == await stream.read(LINE)


async def test_a_program_is_given_a_directory_an_environment_and_a_place_for_its_messages(tmp_path):
    with open(tmp_path / "messages", "w+b") as messages:
        script = "import os, sys; print(os.getcwd(), os.environ['WORD']); sys.exit('failed')"
        arguments = {"cwd": tmp_path, "env": {"WORD": "hello"}, "stderr": messages}
        async with await connect_process([sys.executable, "-c", script], **arguments) as stream:
            assert f"{tmp_path.resolve()} hello" == await stream.read(LINE)
        messages.seek(0)
        assert b"failed\n" == messages.read()
    assert 1 == stream.exit_code


async def test_a_program_sees_the_end_of_its_input_and_its_last_words_are_read():
    async with await connect("exec:sort") as stream:
        stream.write(b"b\na\n")
        await stream.write_eof()
        assert b"a\nb\n" == await stream.read_until_close()


async def test_a_program_that_has_ended_by_itself_is_not_waited_for():
    async with await connect("exec:true") as stream:
        assert 0 == await stream.wait_exit()


async def test_a_program_that_ignores_the_end_is_terminated_and_then_killed(monkeypatch):
    monkeypatch.setattr("framestream.net._process.GRACE", 0)
    async with await connect("exec:sleep 60") as polite:
        pass
    assert -signal.SIGTERM == polite.exit_code
    monkeypatch.setattr("framestream.net._process._LAST_WORDS", 0)
    script = "trap '' TERM; echo ready; while :; do sleep 60; done"
    async with await connect_process(["/bin/bash", "-c", script]) as stubborn:
        assert "ready" == await stubborn.read(LINE)
    assert -signal.SIGKILL == stubborn.exit_code


async def test_a_program_that_cannot_be_started_is_reported_and_nothing_stays_open():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectError, match="cannot start no-such-program: no such file or directory"):
        await connect("exec:no-such-program")
    with pytest.raises(TypeError):
        await connect_process(["echo", 1])
    assert before == len(os.listdir("/proc/self/fd"))


async def test_a_program_whose_framer_does_not_exist_is_let_go():
    with pytest.raises(UnknownFramerError):
        await connect("exec:cat", framer="lien")
    while programs_of_ours("cat"):
        await asyncio.sleep(0.01)


def programs_of_ours(name):
    """Return the processes of this name that this process started and has not reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = path.read_text().rpartition(")")
            if head.endswith(f"({name}") and rest.split()[1] == str(os.getpid()):
                found.append(path.parent.name)
    return found


async def test_messages_that_nobody_would_read_are_refused():
    with pytest.raises(ValueError, match="stderr=PIPE is read by nobody"):
        await connect_process(["cat"], stderr=subprocess.PIPE)
