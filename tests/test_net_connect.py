"""Reaching TCP ports, Unix sockets, descriptors, pipes and programs."""

import asyncio
import contextlib
import errno
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import textwrap
import threading
import tty
from pathlib import Path

import pytest
from conftest import run_on
from loopback import (
    HERE,
    LINE,
    TLS_HERE,
    echo,
    hear,
    no_more_descriptors,
    open_descriptors,
    resolve_to,
    tls_contexts,
)
from loops import LoopWithoutPolling
from stream_pairs import passes, raised, until
from test_transports import Side

from framestream import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    IOStream,
    StreamClosed,
    UnknownFramerError,
    connect,
    connect_process,
    serve,
)
from framestream.net.process import LoopPipes
from framestream.transport import PipeTransport


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture
def silent():
    """A port of 127.0.0.1 that never answers: its backlog is full."""
    with socket.socket() as listening, contextlib.ExitStack() as fillers:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


# Every kind


@contextlib.asynccontextmanager
async def echoing(kind, folder):
    """Give the URL of something that echoes lines, and the TLS context for it."""
    if kind == "exec":
        yield "exec:cat", None
    elif kind in ("fd", "pipe"):
        if kind == "fd":
            ours, theirs = socket.socketpair()
            url = f"fd:{ours.detach()}"
        else:
            (read, their_write), (their_read, write) = os.pipe(), os.pipe()
            url, theirs = f"fd:{read},{write}", PipeTransport(their_read, their_write)
        async with IOStream(theirs) as peer:
            echoed = asyncio.ensure_future(echo(peer))
            yield url, None
            await echoed
    else:
        places = {"unix": "unix:{}/socket", "path": "unix:{}/socket", "abstract": "unix:@echoing{}"}
        place = places.get(kind, kind)
        ours, theirs = tls_contexts(place)
        async with await serve(echo, place.format(folder), tls=ours) as server:
            yield server.url.removeprefix("unix:" if kind == "path" else ""), theirs


@pytest.mark.every_loop
@pytest.mark.parametrize("kind", [HERE, TLS_HERE, "unix", "path", "abstract", "fd", "pipe", "exec"])
async def test_frames_of_any_size_are_exchanged_with_every_kind_of_peer_until_one_ends(kind, tmp_path):
    before = open_descriptors()
    async with echoing(kind, tmp_path) as (url, tls), await connect(url, framer=LINE, tls=tls) as stream:
        for line in ("hello", "x" * 1_000_000):  # more than any buffer holds: it leaves while it comes back
            stream.send(line)
            assert line == await stream.read()
        assert (kind in ("pipe", "exec")) == (stream.transport.socket is None)
        stream.send("last")
        await stream.write_eof()
        assert ["last"] == [line async for line in stream]
    await until(lambda: open_descriptors() <= before)


# TCP


@pytest.mark.asyncio_only
async def test_a_refusal_is_one_line_and_every_address_that_was_tried_is_named_families_in_turn(monkeypatch):
    url = f"tcp://127.0.0.1:{unused_port()}"
    caught = await raised(ConnectError, connect, url)
    assert (f"cannot connect to {url}: connection refused", url) == (str(caught), caught.url)
    ((address, error),) = caught.attempts
    assert ("127.0.0.1", errno.ECONNREFUSED) == (address, error.errno)
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2", "::1")
    url = url.replace("127.0.0.1", "example.org")
    caught = await raised(ConnectError, connect, url)
    refused = [f"{address}: connection refused" for address in ("127.0.0.1", "::1", "127.0.0.2")]
    assert f"cannot connect to {url}: {'; '.join(refused)}" == str(caught)


@pytest.mark.asyncio_only
async def test_the_next_address_is_tried_when_one_is_silent_and_one_alone_stays_open(monkeypatch, silent):
    module = vars(sys.modules["framestream.net.connect"])  # not the function of that name
    monkeypatch.setitem(module, "HAPPY_EYEBALLS_DELAY", 0.01)
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", silent)):
        before = open_descriptors()
        async with await connect(f"tcp://example.org:{silent}") as stream:
            assert (f"127.0.0.2:{silent}", before + 1) == (stream.peer, open_descriptors())
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        monkeypatch.setitem(module, "HAPPY_EYEBALLS_DELAY", 0)
        loop, both = asyncio.get_running_loop(), asyncio.Barrier(2)

        async def answer_at_once(sock, place):
            await connect_one(sock, place)
            await both.wait()

        connect_one = loop.sock_connect
        monkeypatch.setattr(loop, "sock_connect", answer_at_once)
        with socket.create_server(("127.0.0.2", port)):
            before = open_descriptors()
            async with await connect(f"tcp://example.org:{port}"):
                assert before + 1 == open_descriptors()


async def test_a_silent_address_is_given_up_when_the_time_is_over_or_nobody_waits(silent):
    url, before = f"tcp://127.0.0.1:{silent}", open_descriptors()
    with pytest.raises(ConnectTimeout, match=f"cannot connect to {url} within 0.2 s: no answer") as caught:
        await connect(url, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert ["127.0.0.1"] == [address for address, _ in caught.value.attempts]
    connecting = asyncio.ensure_future(connect(url))
    await passes(10)
    connecting.cancel()
    await raised(asyncio.CancelledError, connecting)
    assert before == open_descriptors()


@pytest.mark.every_loop
@pytest.mark.parametrize("place", [HERE, "unix:{}/socket"])
async def test_a_connect_that_is_cancelled_at_any_moment_leaves_nothing_open(place, tmp_path):
    async with await serve(echo, place.format(tmp_path)) as server:
        before = open_descriptors()
        moment, connected = 0, False
        while not connected:
            connecting = asyncio.ensure_future(connect(server.url))
            await passes(moment)
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await connecting).aclose()
                connected = True
            moment += 1
        await until(lambda: before >= open_descriptors())


@pytest.mark.every_loop
@pytest.mark.parametrize("soon", [False, True])
async def test_a_program_whose_start_is_cancelled_at_any_moment_is_gone(soon):
    loop = asyncio.get_running_loop()
    async with await connect("exec:cat"):
        pass  # the loop has what it needs
    before = open_descriptors()
    moment, connected = 0, False
    while not connected:
        connecting = asyncio.ensure_future(connect("exec:cat"))
        await passes(moment)
        loop.call_soon(connecting.cancel) if soon else connecting.cancel()
        await asyncio.wait([connecting], timeout=5)
        with contextlib.suppress(asyncio.CancelledError):
            await connecting.result().aclose()
            connected = True
        moment += 1
    await asyncio.wait_for(until(lambda: before >= open_descriptors()), 5)


async def test_what_cannot_be_reached_is_refused_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        refusals = (
            ("tcp://nowhere.invalid:1", ConnectError, "cannot connect to {}: cannot find the host 'nowhere"),
            (f"unix:{tmp_path}/none", ConnectError, "cannot connect to {}: no such file or directory"),
            (f"pipe:>{tmp_path}/none", ConnectError, f"cannot open {tmp_path}/none: no such file or dir"),
            ("exec:no-such-program", ConnectError, "cannot start no-such-program: no such file or directory"),
            ("fd:999", AddressError, "descriptor 999 is not open"),
            ("systemd:", AddressError, "cannot connect to systemd:"),
            (f"fd:{listening.fileno()}", AddressError, "it is a socket that listens: pass it to serve"),
        )
        for url, error, message in refusals:
            before = open_descriptors()
            await raised(error, connect, url, match=re.escape(message.format(url)))
            assert before >= open_descriptors()
    await raised(ConnectError, connect, "tcp://localhost:1")  # a loop may open something to ask for names
    with no_more_descriptors():
        await raised(ConnectError, connect, "tcp://localhost:1", match="find the host 'localhost': too many open files")
    caught = await raised(ConnectError, connect, "unix:@nobody")
    assert ["@nobody"] == [address for address, _ in caught.attempts]


# FIFOs and devices


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


async def test_a_fifo_is_read_from_the_first_byte_to_the_last(fifo):
    connecting = asyncio.ensure_future(connect(f"pipe:{fifo}"))
    writing = await connect(f"pipe:>{fifo}")
    await writing.write(b"one\ntwo\n")
    async with await connecting as stream:
        assert "one" == await stream.read(LINE)
        await writing.aclose()
        assert "two" == await stream.read(LINE)
        await raised(StreamClosed, stream.read, LINE)


async def test_a_fifo_is_waited_for_and_giving_up_closes_it(fifo):
    before = open_descriptors()
    for url in (fifo, f"pipe:>{fifo}"):
        await raised(ConnectTimeout, connect(url, timeout=0.01), match=f"cannot connect to {url} within 0.01 s")
    with no_more_descriptors(), pytest.raises(ConnectError, match="too many open files"):
        await connect(f"pipe:>{fifo}")
    assert before == open_descriptors()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    async with await connect(f"pipe:>{fifo}") as stream:
        await stream.write(b"hello")
        assert b"hello" == os.read(reader, 10)
    os.close(reader)


async def test_a_terminal_that_is_opened_passes_bytes_as_they_are_until_it_is_closed():
    """As a serial line has to; what was a terminal for a person before is one afterwards."""
    device, program = pty.openpty()
    mode = termios.tcgetattr(program)
    every_byte = bytes(range(256))
    async with await connect(os.ttyname(program)) as stream:
        os.write(device, every_byte)
        assert every_byte == await stream.read_bytes(256)
        await stream.write(every_byte)
        assert every_byte == os.read(device, 1000)
    assert mode == termios.tcgetattr(program)
    async with await connect(f"fd:{os.dup(program)}"):
        assert mode == termios.tcgetattr(program)
    os.close(program)
    async with await connect(f"fd:{device}") as stream:
        assert b"" == await stream.read_until_close()


async def test_a_terminal_that_others_poll_by_time_does_not_end_while_nothing_is_there():
    """It gives 0 bytes then (VMIN and VTIME are 0), as libraries for serial ports set it."""
    device, program = pty.openpty()
    tty.setraw(program)
    mode = termios.tcgetattr(program)
    mode[6][termios.VMIN] = mode[6][termios.VTIME] = 0
    termios.tcsetattr(program, termios.TCSANOW, mode)
    async with await connect(f"fd:{os.dup(program)}") as stream:
        reading = asyncio.ensure_future(stream.read(LINE))
        await passes()
        os.write(device, b"hello\n")
        assert "hello" == await reading
    assert mode[6] == termios.tcgetattr(program)[6]
    os.close(device)
    os.close(program)


def test_a_terminal_that_cannot_be_made_raw_is_told_in_one_line_and_left_as_it_was():
    """As its system refuses it to a program in the background that no shell can bring back (EIO)."""
    program = """
        import asyncio, os, pty, socket
        from framestream import ConnectError, connect
        from framestream.transport import PipeTransport
        device, terminal = pty.openpty()
        path = os.ttyname(terminal)
        os.open(path, os.O_RDWR)  # now it is the one of this session
        read, write = os.pipe()
        if not (foreground := os.fork()):
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        os.setpgid(foreground, foreground)
        os.tcsetpgrp(terminal, foreground)
        try:
            asyncio.run(connect(path))
        except ConnectError as error:
            print(str(error).replace(path, "it"))
        ours, theirs = (end.detach() for end in socket.socketpair())
        try:
            PipeTransport(ours, device, raw=True)
        except OSError as error:
            print(error, os.get_blocking(ours), os.get_blocking(device))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert ["cannot open it: input/output error", "[Errno 5] Input/output error True True"] == ran.stdout.splitlines()


def test_a_program_leaves_the_descriptors_it_was_started_with_as_they_were():
    """Whoever comes after it on the same terminal, or socket, would fail with EAGAIN."""
    program = """
        import asyncio, os, signal, sys
        from framestream import connect
        async def main():
            stream = await connect(sys.argv[1])
            await stream.write(b"hi")
            if sys.argv[2] != "forgets":
                os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    ours, theirs = socket.socketpair()
    device, terminal = pty.openpty()
    for url, fd in ("fd:0,1", terminal), ("fd:0,1", theirs.fileno()), ("fd:0", theirs.fileno()):
        how = "is killed" if fd == terminal else "forgets"
        subprocess.run([sys.executable, "-c", textwrap.dedent(program), url, how], stdin=fd, stdout=fd)
        assert os.get_blocking(fd)
    assert (b"hi", b"hihi") == (os.read(device, 10), ours.recv(10))
    for fd in (device, terminal):
        os.close(fd)
    ours.close()
    theirs.close()


# Programs


async def test_the_loops_own_pipes_to_a_program_push_only_while_that_is_wanted():
    """As a loop is used that cannot watch pipes of ours; here it is the transport alone."""
    program = LoopPipes("cat")
    await program.start(["cat"])
    side = Side(program, size=1000)
    side.on_push = program.pause_reading
    await side.send(b"x" * 2500)
    for _ in range(2):
        program.resume_reading()
        await until(lambda: side.data)
        await passes(10)
        await side.received(b"x" * 1000)
    program.resume_reading()
    side.close()
    assert 0 == await program.exited
    assert not side.data


@pytest.mark.asyncio_only
@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
async def test_a_program_is_known_when_it_has_started_with_eager_tasks_too():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with await connect_process(["cat"], framer=LINE) as stream:
        assert f"cat[{stream.pid}]" == stream.peer
    assert 0 == stream.exit_code


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4])
async def test_a_program_that_cannot_be_started_for_want_of_descriptors_leaves_none_open(left):
    before = open_descriptors()
    with no_more_descriptors(left), pytest.raises(ConnectError, match="cannot start cat: too many open files"):
        await connect_process(["cat"])
    assert before == open_descriptors()


@pytest.mark.every_loop
@pytest.mark.parametrize("closes", ["os.close(0); ", ""])  # or its input breaks when its output ends
async def test_a_program_that_reads_no_more_is_heard_to_its_end_and_not_killed(closes):
    script = f"import os; os.read(0, 9); {closes}os.write(1, b'answer\\n'); os._exit(3)"
    async with await connect_process([sys.executable, "-c", script]) as stream:
        with pytest.raises(StreamClosed):
            while True:
                await stream.write(b"x" * 100_000)
        assert "answer" == await stream.read(LINE)
        caught = await raised(StreamClosed, stream.read, LINE)
        assert (None, None) == (caught.real_error, stream.error)
    assert 3 == stream.exit_code


@pytest.mark.parametrize("event_loop_name", ["asyncio", "transports"], indirect=True)  # uvloop's programs keep a copy
async def test_what_a_program_that_has_closed_its_input_will_not_read_is_refused(monkeypatch):
    monkeypatch.setattr("framestream.net.process.TERMINATE_DELAY", 0)
    async with await connect("exec:sh -c 'exec 0<&-; echo ready; exec sleep 60'") as stream:
        assert "ready" == await stream.read(LINE)
        await passes(5)
        with pytest.raises(StreamClosed):
            await stream.write(b"x")
    await passes()  # by then a loop has closed what it had of the program


@pytest.mark.every_loop
async def test_whether_a_program_or_its_directory_is_missing_is_said(tmp_path):
    (tmp_path / "file").touch()
    nowhere = tmp_path / "none"
    for program, cwd, why in (
        ("cat", nowhere, f"cannot enter the directory {nowhere}: no such file or directory"),
        ("cat", os.fsencode(nowhere), f"cannot enter the directory {nowhere}: no such file or directory"),
        ("cat", f"{tmp_path}/file", f"cannot enter the directory {tmp_path}/file: not a directory"),
        ("no-such-program", tmp_path, "no such file or directory"),
    ):
        await raised(ConnectError, connect_process, [program], cwd=cwd, match=f"^cannot start {program}: {why}$")


async def test_a_program_has_a_name_arguments_a_directory_an_environment_and_an_end(tmp_path):
    assert "$HOME * ;" == await hear("exec:echo '$HOME' * ;")  # no shell looks at them
    with open(tmp_path / "messages", "w+b") as messages:
        script = "import os, sys; print(os.getcwd(), os.environ['WORD']); sys.exit('failed')"
        arguments = {"cwd": tmp_path, "env": {"WORD": "hello"}, "stderr": messages}
        async with await connect_process([Path(sys.executable), "-c", script], **arguments) as stream:
            assert f"{sys.executable}[{stream.pid}]" == stream.peer
            assert f"{tmp_path.resolve()} hello" == await stream.read(LINE)
            assert 1 == await stream.wait_exit() == stream.exit_code
        messages.seek(0)
        assert b"failed\n" == messages.read()


@pytest.mark.every_loop
async def test_a_program_that_ignores_the_end_is_terminated_and_then_killed(monkeypatch):
    monkeypatch.setattr("framestream.net.process.TERMINATE_DELAY", 0)
    async with await connect("exec:sleep 60") as polite:
        pass
    assert -signal.SIGTERM == polite.exit_code
    monkeypatch.setattr("framestream.net.process.KILL_DELAY", 0.01)
    script = "trap '' TERM; echo ready; while :; do sleep 60; done"
    async with await connect_process(["/bin/bash", "-c", script]) as stubborn:
        assert "ready" == await stubborn.read(LINE)
    assert -signal.SIGKILL == stubborn.exit_code


async def test_a_program_whose_options_make_no_sense_is_not_started_or_let_go():
    def children():
        # The loop's threads that wait for them, too: it has not heard of an end before they have ended.
        waiting = {thread.name for thread in threading.enumerate() if "waitpid" in thread.name}
        return waiting | set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before, descriptors = children(), open_descriptors()
    await raised(TypeError, connect_process, ["echo", 1])
    await raised(UnknownFramerError, connect_process, ["cat"], framer="lien")
    # What an earlier test has started may end meanwhile.
    await until(lambda: children() <= before and open_descriptors() <= descriptors)
    await passes()


def test_what_a_loop_cannot_wait_for_is_refused_in_one_line(fifo):
    async def reach():
        before = open_descriptors()
        why = "needs an event loop with add_reader; LoopWithoutPolling has"
        for url in (f"pipe:{fifo}", "/dev/null", "fd:0,1"):
            await raised(AddressError, connect, url, match=why)
        assert before == open_descriptors()

    run_on(LoopWithoutPolling, reach, {}, True)
