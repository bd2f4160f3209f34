"""``framestream connect`` and ``framestream serve``: in this process, and in the pipes of a shell."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext, suppress

import pytest
from certificates import certificates

from framestream import Line, plugins
from framestream.cli import run

COMMAND = [sys.executable, "-m", "framestream"]


@contextmanager
def standard_input(data):
    kept = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


class Ran:
    """What a command left behind."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err


@pytest.fixture
def framestream(capfdbinary):
    """Run a command in this process."""

    def command(*arguments, stdin=b""):
        with nullcontext() if stdin is None else standard_input(stdin):
            status = run([str(argument) for argument in arguments])
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return Ran(status, captured.out, captured.err.decode())

    return command


@contextmanager
def conversation(script):
    """A server for one connection that `script` holds in a thread; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                script(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def received(connection):
    """Everything up to the end of the other half."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def echo(connection):
    connection.sendall(received(connection))


def say(data):
    return lambda connection: (
        connection.sendall(data),
        connection.shutdown(socket.SHUT_WR),
        received(connection),
    )


# connect


def test_lines_of_standard_input_are_sent_as_frames_and_frames_printed_as_lines(framestream):
    with conversation(echo) as url:
        ran = framestream("connect", url, "-f", "length-prefix:size=2", stdin=b"one\nthree\n")
    assert (0, b"one\nthree\n", "") == (ran.status, ran.out, ran.err)


def test_what_is_sent_is_framed(framestream):
    seen = []
    with conversation(lambda connection: seen.append(received(connection))) as url:
        framestream("connect", url, "-f", "length-prefix:size=2", stdin=b"one\ntwo")
    assert [b"\0\3one\0\3two"] == seen


@pytest.mark.parametrize(
    ("entry", "spec", "typed", "sent"),
    [
        ("json", "msgpack", b'{"a": [1, {"hex": "00ff"}]}\n', b"\x81\xa1a\x92\x01\xc4\x02\x00\xff"),
        ("json", "length-prefix:size=1", b'"ab"\n{"hex": "00"}\n', b"\2ab\1\0"),
        ("hex", "length-prefix:size=1", b"00 ff\n", b"\2\0\xff"),
        ("text", "line", "h\u00e9\n".encode(), "h\u00e9\n".encode()),
    ],
)
def test_lines_can_be_typed_as_text_json_or_hexadecimal(framestream, entry, spec, typed, sent):
    seen = []
    with conversation(lambda connection: seen.append(received(connection))) as url:
        ran = framestream("connect", url, "-f", spec, "-i", entry, stdin=typed)
    assert ([sent], 0) == (seen, ran.status)


def test_what_cannot_be_sent_is_reported_and_the_rest_is_sent(framestream):
    with conversation(echo) as url:
        ran = framestream("connect", url, "-f", "line", "-i", "json", stdin=b'"one"\n{\n"three"\n')
    assert (1, b"one\nthree\n") == (ran.status, ran.out)
    assert ran.err.startswith(f"framestream: {url}: cannot send '{{': ")


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (b'{"a": 1}', "frame is of type dict; it must be text"),
        (b"5", "frame is of type int; it must be text"),
        (b'"a\\nb"', "payload of 3 bytes would be read back as 1: a delimiter ends at byte 2"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"hex": "0"}', "non-hexadecimal number found in fromhex() arg at position 1"),
    ],
)
def test_a_value_that_the_framer_cannot_write_is_reported_and_the_rest_is_sent(framestream, typed, reason):
    with conversation(echo) as url:
        ran = framestream("connect", url, "-f", "line", "-i", "json", stdin=typed[:60_000] + b'\n"three"\n')
    assert (1, b"three\n") == (ran.status, ran.out)
    assert ran.err == f"framestream: {url}: cannot send {typed[:40].decode()!r}: {reason}\n"


class Broken(Line):
    """A framer with a bug in it."""

    name = "broken"

    def encode(self, frame):
        return self.nothing


def test_a_framer_that_fails_to_write_is_reported(framestream):
    with plugins.isolated(), conversation(echo) as url:
        plugins.register(Broken)
        ran = framestream("connect", url, "-f", "line", "--send-framer", "broken", stdin=b"one\n")
    assert (1, b"") == (ran.status, ran.out)
    assert "cannot send 'one': AttributeError: 'Broken' object has no attribute 'nothing'" in ran.err


def test_what_goes_wrong_with_the_input_ends_the_conversation(monkeypatch, framestream):
    async def fail(read):
        raise MemoryError("no thread for it")

    monkeypatch.setattr("framestream.cli.connect.read_stdin", fail)
    with conversation(echo) as url, pytest.raises(MemoryError, match="no thread for it"):
        framestream("connect", url, "-f", "line", stdin=b"one\n")


def test_each_direction_may_have_a_framer(framestream):
    seen = []

    def script(connection):
        connection.sendall(b"one,two,")
        seen.append(received(connection))

    with conversation(script) as url:
        arguments = ["-f", 'delimiter:","', "--send-framer", "line", "-n", "2"]
        ran = framestream("connect", url, *arguments, stdin=b"hello\n")
    assert b"one\ntwo\n" == ran.out
    assert seen[0] in (b"hello\n", b"")  # it may have been done before it read its input


def test_a_framer_that_can_only_read_is_reported_when_something_is_typed(framestream):
    with conversation(echo) as url:
        ran = framestream("connect", url, "-f", "available", stdin=b"hello\n")
    assert (1, f"framestream: {url}: available can only read; name a --send-framer\n") == (
        ran.status,
        ran.err,
    )


def test_a_stop_after_some_frames_leaves_the_rest(framestream):
    with conversation(say(b"one\ntwo\nthree\n")) as url:
        ran = framestream("connect", url, "-f", "line", "-n", "2", "-o", "json")
    offsets = [json.loads(line)["offset"] for line in ran.out.splitlines()]
    assert ([0, 4], 0) == (offsets, ran.status)


def test_a_frame_that_cannot_be_decoded_is_reported_and_the_next_is_printed(framestream):
    with conversation(say(b"\xff\nnext\n")) as url:
        ran = framestream("connect", url, "-f", "line")
    assert (1, b"next\n") == (ran.status, ran.out)
    assert "00000000  ff" in ran.err


@pytest.mark.parametrize(
    ("path", "flags", "complaint"),
    [
        ("/", os.O_RDONLY, "-: Is a directory"),
        (os.devnull, os.O_WRONLY, "standard input: Bad file descriptor"),
    ],
)
def test_standard_input_that_cannot_be_read_is_reported_and_is_an_end(framestream, path, flags, complaint):
    kept = os.dup(0)
    unreadable = os.open(path, flags)
    os.dup2(unreadable, 0)
    os.close(unreadable)
    try:
        with conversation(echo) as url:
            ran = framestream("connect", url, "-f", "line", stdin=None)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert (1, f"framestream: {url}: {complaint}\n") == (ran.status, ran.err)


@pytest.mark.parametrize(("policy", "printed"), [("raise", b"ok\n"), ("close", b"")])
def test_a_frame_that_is_too_large_is_reported(framestream, policy, printed):
    with conversation(say(b"\x05large\x02ok")) as url:
        arguments = ["-f", "length-prefix:size=1", "--max-size", "4", "--on-oversize", policy]
        ran = framestream("connect", url, *arguments)
    assert (1, printed) == (ran.status, ran.out)
    assert "frame of 5 bytes exceeds the limit 4" in ran.err


def test_a_connection_that_breaks_is_reported(framestream):
    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with conversation(reset) as url:
        ran = framestream("connect", url, "-f", "line", stdin=b"hello\n")
    assert 1 == ran.status
    # Which of them depends on whether the reset meets the reader or the writer.
    assert re.search("connection reset|broken pipe|not connected", ran.err.lower()), ran.err


def test_raw_output_is_the_payload(framestream):
    with conversation(say(b"\xff\n\0\n")) as url:
        ran = framestream("connect", url, "-f", "line", "-o", "raw", "--separator", r"\r\n")
    assert (0, b"\xff\r\n\0\r\n") == (ran.status, ran.out)


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["tcp://127.0.0.1:1", "-f", "line"], 1, "cannot connect to tcp://127.0.0.1:1: connection refused"),
        (["localhost", "-f", "line"], 2, "'localhost' begins with none of the schemes"),
        (["tcp://127.0.0.1:1", "-f", "lien"], 2, "no framer named 'lien'; did you mean 'line'?"),
        (["tcp://127.0.0.1:1", "-f", "line", "--send-framer", "available"], 2, "available can only read"),
        (["tcp://127.0.0.1:1", "-f", "line", "--timeout", "nan"], 2, "Invalid value for '--timeout'"),
        (["tcp://x..y:1", "-f", "line"], 2, "'x..y' in 'tcp://x..y:1' is no host name"),
        (
            ["tls://127.0.0.1:1", "-f", "line", "--server-hostname", "x..y"],
            2,
            "'x..y' in server_hostname='x..y' is no host name",
        ),
        (["tcp://127.0.0.1:1"], 2, "Missing option '-f' / '--framer'."),
        (
            ["unix:/nowhere", "-f", "line", "--timeout", "1"],
            1,
            "cannot connect to unix:/nowhere: no such file",
        ),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(framestream, arguments, status, error):
    ran = framestream("connect", *arguments)
    assert status == ran.status
    assert ran.err.startswith(f"framestream: {error}")
    assert "Traceback" not in ran.err


# serve: the command runs here, its clients in a thread that ends it with a signal


@contextmanager
def clients(script, port):
    """Run `script` with the port in a thread when somebody listens there; then send SIGTERM."""
    failures = []

    def act():
        try:
            script(port)
        except Exception as error:  # noqa: BLE001  # it fails the test, where it can
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()
    assert [] == failures


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def ask(port, data, patience=None):
    """Send all of it and return everything that comes back, within some seconds."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(patience)
                with suppress(TimeoutError):
                    return received(connection)
                return None
        except ConnectionRefusedError:
            continue  # it does not listen yet


def serving(framestream, script, *arguments):
    port = free_port()
    with clients(script, port):
        return framestream("serve", f"tcp://127.0.0.1:{port}", *arguments)


def test_serving_can_echo(framestream):
    answers = []
    ran = serving(
        framestream,
        lambda port: answers.append(ask(port, b"\x03one\x03two")),
        "-f",
        "length-prefix:size=1",
        "--echo",
    )
    assert [b"\x03one\x03two"] == answers
    assert (0, b"") == (ran.status, ran.out)
    assert ran.err.startswith("listening on tcp://127.0.0.1:")
    assert 1 == ran.err.count("\n")


@pytest.mark.parametrize(
    ("spec", "question", "answer"),
    [
        ("line", b"one\ntwo\n", b"ONE\nTWO\n"),
        ("length-prefix:size=1", b"\x02a\n", b"\x02A\n"),
        ("msgpack", b"\x92\xa1a\x01", b"\x92\xa1A\x01"),
    ],
)
def test_serving_can_run_a_command_for_each_frame(framestream, spec, question, answer):
    answers = []
    serving(framestream, lambda port: answers.append(ask(port, question)), "-f", spec, "--exec", "tr a-z A-Z")
    assert [answer] == answers


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("false", "false ended with exit status 1"),
        ("./gone", "cannot be started: No such file or directory"),
    ],
)
def test_a_command_that_fails_ends_the_connection_and_is_reported(framestream, command, complaint):
    answers = []
    ran = serving(
        framestream, lambda port: answers.append(ask(port, b"one\n")), "-f", "line", "--exec", command
    )
    assert [b""] == answers
    assert complaint in ran.err


@pytest.mark.parametrize(
    ("spec", "question", "command", "complaint"),
    [
        (
            "line",
            b"one\n",
            "printf 'a\\nb\\n'",
            "printf gave no answer that line can send: payload of 3",
        ),
        ("msgpack", b"\x01", "echo notjson", "echo gave no JSON: Expecting value: line 1 column 1"),
        ("msgpack", b"\x01", "printf '\\377'", "printf gave no JSON: "),
        ("line", b"one\n", "yes", "yes gave more than 100 bytes, the limit of --max-size"),
        ("line", b"one\n", "printf '\\377\\n'", "line can send: line cannot be encoded: 'utf-8' codec"),
    ],
)
def test_an_answer_that_cannot_be_sent_ends_the_connection_and_names_the_command(
    framestream, spec, question, command, complaint
):
    answers = []
    arguments = ["-f", spec, "--exec", command, "--max-size", "100"]
    ran = serving(framestream, lambda port: answers.append(ask(port, question)), *arguments)
    assert [b""] == answers
    assert complaint in ran.err
    assert 2 == ran.err.count("\n")


def test_an_answer_may_be_as_large_as_a_frame_and_a_newline(framestream):
    answers = []
    arguments = ["-f", "line", "--exec", f"printf '{'x' * 100}\\n'", "--max-size", "100"]
    serving(framestream, lambda port: answers.append(ask(port, b"one\n")), *arguments)
    assert [b"x" * 100 + b"\n"] == answers


def test_a_command_need_not_read_its_input(framestream):
    answers = []
    arguments = ["-f", "line", "--exec", "echo done"]
    serving(framestream, lambda port: answers.append(ask(port, b"x" * 1_000_000 + b"\n")), *arguments)
    assert [b"done\n"] == answers


def test_a_command_that_takes_too_long_is_killed_when_the_server_ends(framestream):
    def leave_running(port):
        with suppress(ConnectionResetError):
            ask(port, b"one\n", patience=0.5)

    ran = serving(framestream, leave_running, "-f", "line", "--exec", "sleep 60", "--drain-timeout", "0")
    assert 0 == ran.status
    assert "the time to drain is over, 1 connections are cut" in ran.err


def test_serving_prints_frames_when_it_is_not_told_to_answer(framestream):
    ran = serving(framestream, lambda port: ask(port, b"one\ntwo\n"), "-f", "line", "-o", "text")
    assert b"one\ntwo\n" == ran.out
    ran = serving(framestream, lambda port: ask(port, b"one\ntwo\n"), "-f", "line")
    assert [0, 4] == [json.loads(line)["offset"] for line in ran.out.splitlines()]


def test_serving_over_tls(framestream):
    files = certificates()
    answers = []

    def client(port):
        while True:
            ran = subprocess.run(
                [*COMMAND, "connect", f"tls://localhost:{port}", "-f", "line", "--ca", files.ca],
                input=b"hello\n",
                capture_output=True,
                check=False,
            )
            if b"connection refused" not in ran.stderr:
                answers.append(ran.stdout)
                return

    serving(framestream, client, "-f", "line", "--echo", "--cert", files.certificate, "--key", files.key)
    assert [b"hello\n"] == answers


def test_connections_that_end_badly_are_logged_when_asked(framestream):
    ran = serving(framestream, lambda port: ask(port, b"\xff\n"), "-f", "line", "--echo", "-v")
    assert "connection ended: " in ran.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--echo", "--exec", "cat"], "--echo and --exec exclude each other"),
        (["--exec", "'"], "Invalid value for '--exec': \"'\": no closing quotation"),
        (["--exec", "no-such-program"], "Invalid value for '--exec': there is no program 'no-such-program'"),
        (["--exec", ""], "Invalid value for '--exec': it names no command"),
        (["--key", __file__], "--key goes with --cert"),
        (["-f", "available"], "available can only read; what is sent takes a framer that writes"),
        (["--max-size=-5"], "Invalid value for '--max-size': '-5' is no size: it is negative"),
        (["--idle-timeout", "nan"], "Invalid value for '--idle-timeout': 'nan' is no number of seconds"),
        (["--drain-timeout", "inf"], "Invalid value for '--drain-timeout': 'inf' is no number of seconds"),
    ],
)
def test_a_contradiction_is_a_mistake(framestream, arguments, error):
    ran = framestream("serve", "tcp://127.0.0.1:0", "-f", "line", *arguments)
    assert (2, f"framestream: {error}\n") == (ran.status, ran.err.partition("hint:")[0])


@pytest.mark.parametrize("more", [[], ["--workers", "1"]])
def test_a_certificate_that_is_none_is_named(framestream, more):
    files = certificates()
    arguments = ["serve", "tls://127.0.0.1:0", "-f", "line", *more]
    ran = framestream(*arguments)
    assert "framestream: tls:// needs a certificate: --cert FILE\n" == ran.err.partition("hint:")[0]
    ran = framestream(*arguments, "--cert", __file__)
    named = f"the certificate in {__file__} with the key in {__file__}"
    assert f"framestream: cannot use {named}: one is missing or no PEM\n" == ran.err
    ran = framestream(*arguments, "--cert", files.certificate, "--key", __file__)
    assert f"cannot use the certificate in {files.certificate} with the key in {__file__}: " in ran.err
    assert 1 == ran.err.count("\n")


def test_a_file_of_certificates_that_holds_none_is_named(framestream):
    ran = framestream("connect", "tls://127.0.0.1:1", "-f", "line", "--ca", __file__)
    assert ran.err.startswith(f"framestream: cannot use the certificates to trust in {__file__}: ")
    assert (1, 1) == (ran.status, ran.err.count("\n"))


# In a shell


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def listening(server):
    """Return the URL that a server prints when it listens."""
    return server.stderr.readline().decode().split()[-1]


def test_both_ends_in_a_shell_and_ctrl_c_is_quiet():
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "--echo") as server:
        url = listening(server)
        with start("connect", url, "-f", "line") as client:
            client.stdin.write(b"hello\n")
            client.stdin.flush()
            assert b"hello\n" == client.stdout.readline()
            client.send_signal(signal.SIGINT)  # while it waits for standard input
            assert (b"", b"") == client.communicate()
            assert 130 == client.returncode
        server.send_signal(signal.SIGINT)
        assert (b"", b"") == server.communicate()
        assert 130 == server.returncode


def test_a_reader_of_the_output_that_leaves_ends_the_command_quietly():
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "--echo") as server:
        url = listening(server)
        shell = f"yes | head -n 100000 | {sys.executable} -m framestream connect {url} -f line | head -n 1"
        ran = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=False)
        assert (b"y\n", b"") == (ran.stdout, ran.stderr)
        server.terminate()
        server.communicate()
        assert 0 == server.returncode


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_server_whose_output_has_no_reader_any_more_ends(workers):
    arguments = ["-f", "line", "-o", "text", "--workers", workers]
    with start("serve", "tcp://127.0.0.1:0", *arguments) as server:
        port = int(listening(server).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"one\n")
            assert b"one\n" == server.stdout.readline()
            server.stdout.close()
            with suppress(OSError):
                client.sendall(b"two\n")
            assert 141 == server.wait(timeout=20)
        assert b"" == server.stderr.read()


def test_frames_that_cannot_be_printed_end_their_connection_and_that_is_reported():
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "serve", "tcp://127.0.0.1:0", "-f", "line"]
        with subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE) as server:
            port = int(listening(server).rpartition(":")[2])
            assert b"" == ask(port, b"one\n")
            assert b"framestream: cannot print: no space left on device\n" == server.stderr.readline()
            server.terminate()
            assert b"" == server.stderr.read()


@pytest.mark.parametrize(
    "command", ["cut line /dev/null", "framers", "connect exec:cat -f line", "connect exec:cat -f line 0<&-"]
)
def test_a_command_runs_without_standard_output(command):
    shell = f"{sys.executable} -m framestream {command} 1>&-"
    ran = subprocess.run(["/bin/sh", "-c", shell], input=b"hello\n", stderr=subprocess.PIPE, check=False)
    assert (0, b"") == (ran.returncode, ran.stderr)


def test_workers_serve_a_shell():
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "--echo", "--workers", "2") as server:
        url = listening(server)
        ran = subprocess.run(
            [*COMMAND, "connect", url, "-f", "line"], input=b"hello\n", capture_output=True, check=True
        )
        assert b"hello\n" == ran.stdout
        server.terminate()
        assert (b"", b"") == server.communicate()
        assert 0 == server.returncode
