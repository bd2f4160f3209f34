"""Streams and servers for code without an event loop, as far as test_front_ends does not claim it."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import tty
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from certificates import certificates
from loopback import HERE, LINE, open_descriptors
from stream_pairs import refused

from framestream import (
    ConnectError,
    LengthPrefix,
    Line,
    PayloadError,
    StreamClosed,
    StreamTimeout,
    UnknownFramerError,
    blocking,
    serve,
)
from framestream.net.serve import ServeOptions
from framestream.stream.options import StreamOptions


def echo(stream):
    for line in stream:
        stream.send(line)


def ask(url, question="hello", **options):
    with blocking.connect(url, framer=LINE, **options) as stream:
        stream.send(question)
        return stream.receive(timeout=20)


# Connecting


@pytest.mark.parametrize("place", [HERE, "unix:{}/s", "unix:@framestream-{}", "tls://localhost:0"])
def test_a_server_and_its_clients_need_no_loop(place, tmp_path):
    files = certificates()
    tls = {"tls": files.server()} if place.startswith("tls") else {}
    client = {"tls": files.client()} if tls else {}
    place = place.format(tmp_path if place.startswith("unix:{") else os.getpid())
    with blocking.serve(echo, place, framer=LINE, **tls) as server, ThreadPoolExecutor(5) as pool:
        questions = [f"question {number}" for number in range(20)]
        answers = list(pool.map(lambda question: ask(server.url, question, **client), questions))
        assert questions == answers
    assert server.closed
    assert (20, 0, 20) == (server.stats.accepted, server.stats.open, server.stats.frames_received)
    refused(ConnectError, ask, server.url, **client)


def test_a_program_is_a_stream_with_an_exit_code():
    with blocking.connect("exec:sort -r", framer="line") as stream:
        assert isinstance(stream, blocking.ProcessStream)
        assert stream.pid > 0
        for word in ("apple", "cherry", "banana"):
            stream.send(word)
        assert stream.exit_code is None
        stream.send_eof()
        assert ["cherry", "banana", "apple"] == list(stream)
    assert stream.exit_code == 0


@pytest.mark.watching
def test_a_serial_port_is_opened_raw_by_its_path_and_by_an_open_file():
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    with open(ours, "r+b", buffering=0) as device:
        with blocking.connect(path, framer=LengthPrefix(1)) as port:
            device.write(b"\3a\rb")
            assert b"a\rb" == port.receive(timeout=20)
            refused(StreamTimeout, port.receive, timeout=0.01)
            port.send(b"\x03\n")
            assert b"\2\x03\n" == device.read(3)
        with open(theirs, "r+b", buffering=0) as opened:
            tty.setraw(opened)
            with blocking.framed(opened, LengthPrefix(1)) as port:
                device.write(b"\2hi")
                assert b"hi" == port.receive(timeout=20)
            opened.write(b"still open")
            assert b"still open" == device.read(10)


@pytest.mark.watching
def test_a_file_that_cannot_be_framed_costs_no_descriptor():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    packets = SimpleNamespace(fileno=ours.fileno)
    with joined(), ours, theirs, open(os.devnull, "rb", buffering=0) as file:
        gc.collect()  # what earlier tests have left has descriptors, too
        before = open_descriptors()
        refused(ValueError, blocking.framed, file, max_frame_size=-1)
        refused(UnknownFramerError, blocking.framed, file, framer="nothing")
        refused(ValueError, blocking.framed, packets)
        assert before == open_descriptors()


def test_tls_can_begin_in_mid_stream():
    def serve_tls(stream):
        assert "STARTTLS" == stream.receive()
        stream.send("go on")
        stream.start_tls(certificates().server(), server_side=True)
        echo(stream)

    with blocking.serve(serve_tls, HERE, framer=LINE) as server:
        with blocking.connect(server.url, framer=LINE) as stream:
            stream.send("STARTTLS")
            assert "go on" == stream.receive(timeout=20)
            stream.start_tls(certificates().client(), server_hostname="localhost")
            stream.send("secret")
            assert "secret" == stream.receive(timeout=20)
            assert stream is stream.framed("length-prefix:size=1")
            stream.write([b"\4", b"abc\n"])
            assert "\4abc" == stream.receive(LINE, timeout=20)


# One stream


@contextmanager
def joined(**options):
    ours, peer = socket.socketpair()
    peer.settimeout(20)
    with blocking.framed(ours, LINE, **options) as stream, peer:
        yield stream, peer


def test_an_iteration_goes_on_after_a_bad_frame_and_after_leaving_it():
    with joined() as (stream, peer):
        peer.sendall(b"a\n\2hib\n\xff\nc\n")
        for line in stream:
            assert "a" == line
            break
        assert b"hi" == stream.receive(LengthPrefix(1))
        frames = stream.frames(Line())
        assert "b" == next(frames)
        refused(PayloadError, next, frames)
        peer.close()
        assert ["c"] == list(frames)


def test_a_stream_tells_its_state():
    with joined() as (stream, peer):
        peer.sendall(b"abc\nhalf")
        assert "abc" == stream.receive()
        stream.send("x")
        stats = stream.stats
        assert (1, 1, 2) == (stats.frames_received, stats.frames_sent, stats.bytes_sent)
        assert b"half" == stream.leftover
        assert repr(stream).endswith("open>")
    assert (True, None) == (stream.closed(), stream.error)
    assert repr(stream).endswith("closed>")


def test_a_callback_that_waits_for_a_stream_is_told_instead_of_waiting_for_ever():
    said = []

    def complain(error):
        # Counters and bytes change in the background, so they are asked for there as well.
        asked = (lambda: stream.send("bad"), lambda: stream.stats, lambda: stream.leftover, lambda: server.stats)
        said.extend(refused(RuntimeError, ask, match="use a thread") for ask in asked)

    with blocking.serve(echo, HERE) as server, joined(on_payload_error=complain) as (stream, peer):
        peer.sendall(b"\xff\ngood\n")
        assert "good" == stream.receive()
    assert 4 == len(said)


@pytest.mark.parametrize("way_out", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_ends_the_program_ends_the_call_and_no_other_stream(way_out):
    def leave(error):
        raise way_out

    with joined(on_payload_error=leave) as (stream, peer), joined() as (other, its_peer):
        peer.sendall(b"\xff\n")
        refused(way_out, stream.receive)
        its_peer.sendall(b"hello\n")
        assert "hello" == other.receive(timeout=20)


# Programs

IN_PROGRAMS = """
import os, signal, socket, sys, threading
from framestream import Line, PayloadError, StreamBusy, blocking

def echo():
    ours, peer = socket.socketpair()
    with blocking.framed(ours, Line()) as stream, peer:
        stream.send("hello")
        return peer.recv(10).decode().strip()

def interrupt_soon():
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)

"""
PROGRAMS = {
    "ctrl-c ends a receive and loses nothing": ("half", """
ours, peer = socket.socketpair()
with blocking.framed(ours, Line()) as stream:
    peer.sendall(b"ha")
    try:
        interrupt_soon()
        stream.receive()
    except KeyboardInterrupt:
        peer.sendall(b"lf\\n")
        print(stream.receive())
"""),
    "ctrl-c as a frame is taken leaves the frame, or its error, to the next receive": ("a, bad, end", """
class Interrupting(Line):
    def decode(self, payload):  # in the background, in the moment in which the frame is taken
        signal.raise_signal(signal.SIGINT)
        return super().decode(payload)

ours, peer = socket.socketpair()
with blocking.framed(ours, Interrupting()) as stream, peer:
    def interrupted():
        try:
            return stream.receive()
        except KeyboardInterrupt:
            return True

    peer.sendall(b"a\\n\\xff\\n")
    assert interrupted() is True
    try:
        stream.receive(Line())
    except StreamBusy as error:
        assert "a frame of line" in str(error), error
    print(stream.receive(), end=", ")
    assert interrupted() is True
    try:
        stream.receive()
    except PayloadError:
        print("bad", end=", ")
    peer.sendall(b"end\\n")
    print(stream.receive(Line()))
"""),
    "a hail of ctrl-c loses nothing": ("True", """
ours, peer = socket.socketpair()
want = [f"{number}" for number in range(3000)]
def feed():
    for at in range(0, len(want), 3):
        peer.sendall("".join(f"{line}\\n" for line in want[at : at + 3]).encode())
        os.sched_yield()
    peer.close()

def interrupt(number, frame):
    signal.setitimer(signal.ITIMER_REAL, delay)
    while frame is not None:
        if frame.f_code.co_filename == blocking.__file__:
            raise KeyboardInterrupt
        frame = frame.f_back

sys.unraisablehook = id  # Python itself meets some
threading.Thread(target=feed).start()
stream = blocking.framed(ours, Line())
frames = stream.frames()
got = []
signal.signal(signal.SIGALRM, interrupt)
delay = 0.0002
signal.setitimer(signal.ITIMER_REAL, delay)
while len(got) < len(want):
    try:
        got.append(next(frames) if len(got) % 2 else stream.receive())
        delay = 0.0002
    except KeyboardInterrupt:
        delay *= 1.5  # however slow the machine, a frame gets through some time
signal.signal(signal.SIGALRM, signal.SIG_IGN)
stream.close()
print(got == want)
"""),
    "ctrl-c ends a server": ("True", """
with blocking.serve(print, "tcp://127.0.0.1:0") as server:
    try:
        interrupt_soon()
        server.serve_forever()
    except KeyboardInterrupt:
        print(server.closed)
"""),
    "a forked process has streams of its own, and no others": ("hello 0", """
ours, _ = socket.socketpair()
before = blocking.framed(ours, Line())
first = echo()
if not os.fork():
    try:
        before.close()
    except RuntimeError as error:
        os._exit(echo() != "hello" or "opened before this process was forked" not in str(error))
_, status = os.wait()
print(first, os.waitstatus_to_exitcode(status))
"""),
    "a loop is made while another one is, by a fork or a signal handler": ("hello 0, hello, hello", """
import asyncio
make = asyncio.new_event_loop
def make_others_first():
    asyncio.new_event_loop = make
    if not os.fork():
        os._exit(echo() != "hello")
    _, status = os.wait()
    print("hello", os.waitstatus_to_exitcode(status), end=", ")
    print(echo(), end=", ")
    return make()
asyncio.new_event_loop = make_others_first
print(echo())
"""),
    "after a thread could not be started another try works": ("can't start new thread, hello", """
threading.stack_size(1 << 46)
try:
    echo()
except RuntimeError as error:
    threading.stack_size(0)
    print(error, echo(), sep=", ")
"""),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_a_program(name):
    said, program = PROGRAMS[name]
    warnings = ["-W", "default:unclosed event loop:ResourceWarning", "-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *warnings, "-c", IN_PROGRAMS + program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (f"{said}\n", "", 0) == (ran.stdout, ran.stderr, ran.returncode)


# Serving


@pytest.mark.parametrize(("error", "logged"), [
    (None, []),
    (SystemExit, []),
    (KeyError("oops"), ["KeyError: 'oops'"]),
    (StopIteration, ["StopIteration"]),  # as next() of a stream that has ended
    (KeyboardInterrupt, ["KeyboardInterrupt"]),
], ids=str)  # fmt: skip
def test_a_handler_may_end_at_once_and_in_any_way(error, logged, caplog):
    def end(stream):
        if error is not None:
            raise error

    with blocking.serve(end, HERE, framer=LINE) as server:
        for _ in range(3):
            with blocking.connect(server.url, framer=LINE) as stream, pytest.raises(StreamClosed):
                stream.receive(timeout=20)
    stats = server.stats
    assert (3, 0, 3 * len(logged)) == (stats.accepted, stats.open, stats.handler_failures)
    failures = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [True] * 3 * len(logged) == [logged[0] in message for message in failures]


def test_the_connections_that_are_handled_at_once_have_a_limit(monkeypatch):
    monkeypatch.setattr(blocking, "MAX_CONNECTIONS", 1)
    with blocking.serve(echo, HERE, framer=LINE) as server, blocking.connect(server.url, framer=LINE) as first:
        first.send("first")
        assert "first" == first.receive(timeout=20)
        with blocking.connect(server.url, framer=LINE) as second:
            second.send("second")
            refused(StreamTimeout, second.receive, timeout=0.05)
            first.close()
            assert "second" == second.receive(timeout=20)


def test_what_outlasts_the_time_to_drain_has_its_stream_closed(caplog):
    ended = threading.Event()

    def stay(stream):
        try:
            stream.receive(LengthPrefix(4))
        except StreamClosed:
            ended.set()

    server = blocking.serve(stay, HERE, framer=LINE, drain_timeout=0.05)
    with blocking.connect(server.url, framer=LINE) as stream:
        stream.write(b"\0")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.serve_forever)
            server.close()
            waiting.result(20)
    assert ended.wait(20)


def test_a_signal_closes_a_server_after_a_notice_and_its_health_is_told():
    before = signal.getsignal(signal.SIGUSR1)
    with blocking.serve(echo, HERE, framer=LINE, admin=HERE) as server:
        server.close_on(signal.SIGUSR1, notice=600)
        with blocking.connect(server.admin.url, framer=LINE) as stream:
            stream.write(b"GET /readyz HTTP/1.0\n\n")
            assert "HTTP/1.1 200 OK" == stream.receive(timeout=20)
        os.kill(os.getpid(), signal.SIGUSR1)
        while server.ready:
            pass
        assert "hello" == ask(server.url)
        os.kill(os.getpid(), signal.SIGUSR1)
        server.serve_forever()
        assert (True, True) == (server.closed, server.admin.closed)
    assert before == signal.getsignal(signal.SIGUSR1)


def test_a_handler_has_to_be_a_function_that_waits():
    async def asynchronous(stream):
        """Do nothing."""

    for handler, words in ((asynchronous, "coroutine function"), (None, "must be a function")):
        refused(TypeError, blocking.serve, handler, HERE, match=words)
    refused(TypeError, blocking.serve, echo, HERE, max_frames=3, match="max_frames")


def test_a_blocking_server_has_each_option_of_the_other():
    named = {"handler", "url", "framer", "send_framer"}
    of_serve = inspect.signature(serve).parameters.keys() | StreamOptions.__annotations__.keys()
    assert of_serve - named - {"stream_options"} == ServeOptions.__annotations__.keys()
