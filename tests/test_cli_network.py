"""``framestream connect`` and ``framestream serve``: in this process, and in the pipes of a shell."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from array import array
from contextlib import suppress
from functools import partial
from pathlib import Path
from select import select

import command_line
import pytest
from certificates import certificates
from command_line import conversation, start
from distributions import with_proxy
from faulty_framers import faulty
from stream_pairs import reset_on_close

from framestream import plugins

framestream = command_line.framestream


def received(connection):
    """Return everything up to the end of the other half."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def get(admin, page):
    """Return what a server says about itself at the socket of this path."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(admin))
        client.sendall(b"GET %b HTTP/1.0\r\n\r\n" % page)
        return received(client)


def echo(connection):
    data = received(connection)
    connection.sendall(data)
    return data


def say(data):
    def script(connection):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return received(connection)

    return script


# connect


@pytest.mark.parametrize(("arguments", "typed", "sent", "printed"), [
    ("-f length-prefix:size=2", b"one\nthree", b"\0\3one\0\5three", b"one\nthree\n"),
    ("-f msgpack -i json", b'{"a": [1, {"hex": "00ff"}]}\n', b"\x81\xa1a\x92\x01\xc4\x02\x00\xff", None),
    ("-f msgpack -i json", b'{"hex": 5}\n', b"\x81\xa3hex\x05", None),
    ("-f length-prefix:size=1 -i json", b'"ab"\n{"hex": "00"}\n', b"\2ab\1\0", b"ab\n\0\n"),
    ("-f length-prefix:size=1 -i hex", b"00 ff\n", b"\2\0\xff", b"\0\\xff\n"),
    ("-f line", "h\u00e9\n".encode(), "h\u00e9\n".encode(), "h\u00e9\n".encode()),
    ("-f line -o raw --separator \\r\\n", b"a\n", b"a\n", b"a\r\n"),
    ("-f length-prefix:1 --send-framer line", b"\3ab", b"\3ab\n", b"ab\n\n"),
    ("-f line -n 2 -o json", b"a\nb\nc", b"a\nb\nc\n", b'{"offset":2,"size":2,"frame":"b"}\n'),
])  # fmt: skip
def test_lines_of_standard_input_are_sent_as_frames_and_frames_are_printed(
    framestream, arguments, typed, sent, printed
):
    with conversation(echo) as (url, seen):
        ran = framestream("connect", url, *arguments.split(), stdin=typed)
    assert ([sent], 0, "") == (seen, ran.status, ran.err)
    assert printed is None or ran.raw.endswith(printed)


DEEP = sys.version_info >= (3, 14)


@pytest.mark.parametrize(("typed", "reason"), [
    (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    (b'{"a": 1}', "frame is of type dict; it must be text"),
    (b'"a\\nb"', "payload of 3 bytes would be read back as 1: a delimiter ends at byte 2"),
    # Python 3.14 follows this deep, by the size of its stack.
    (b"[" * 30_000 + b"]" * 30_000, "frame is of type list; it must be text" if DEEP else "it is nested too deeply"),
    (b'{"hex": "0"}', "bytes are written as pairs of hexadecimal digits"),
])  # fmt: skip
def test_what_cannot_be_sent_is_reported_and_the_rest_is_sent(framestream, typed, reason):
    with conversation(echo) as (url, _):
        ran = framestream("connect", url, "-f", "line", "-i", "json", stdin=typed + b'\n"three"\n')
    assert (1, b"three\n") == ran[:2]
    assert ran.err == f"framestream: {url}: cannot send {typed[:40].decode()!r}: {reason}\n"


def test_a_framer_that_cannot_write_is_reported_when_something_is_typed(framestream):
    plugins.register(faulty("Broken", encode=lambda self, _: self.nothing), "broken")
    for arguments, told in (
        ("-f line --send-framer broken", "cannot send 'one': AttributeError: 'Broken' object has no attribute 'noth"),
        ("-f available", "cannot send 'one': available can only read; name a --send-framer\n"),
    ):
        with conversation(echo) as (url, _):
            ran = framestream("connect", url, *arguments.split(), stdin=b"one\n")
        assert (1, b"", True) == (*ran[:2], ran.err.startswith(f"framestream: {url}: {told}"))


def test_standard_input_that_cannot_be_read_is_reported_and_is_an_end(framestream):
    for path, flags, complaint in (
        ("/", os.O_RDONLY, "standard input: is a directory"),
        (os.devnull, os.O_WRONLY, "standard input: bad file descriptor"),
    ):
        with conversation(echo) as (url, _):
            ran = framestream("connect", url, "-f", "line", stdin=os.open(path, flags))
        assert (1, b"", f"framestream: {url}: {complaint}\n") == ran


def test_what_goes_wrong_with_the_input_ends_the_conversation(monkeypatch, framestream, tmp_path):
    def fail(thread):
        raise RuntimeError("no thread for it")

    with conversation(received, str(tmp_path / "socket")) as (url, _), monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="no thread for it"):
            framestream("connect", url, "-f", "line", stdin=b"one\n")


@pytest.mark.parametrize(("arguments", "said", "printed", "complaint"), [
    ("-f line", b"\xff\nnext\n", b"next\n", r"\(frame at offset 0\)\n00000000  ff "),
    ("-f length-prefix:1,max=4", b"\5large\2ok", b"ok\n", "frame of 5 bytes exceeds the limit 4"),
    ("-f line --on-payload-error close", b"a\n\xff\nb\n", b"a\n", r"\(frame at offset 2\)"),
    ("-f length-prefix:1,max=4 --on-oversize close", b"\5large\2ok", b"", "exceeds the limit 4"),
    ("-f length-prefix:1", b"\3one\5tw", b"one\n", r"ended inside a frame: .*\n00000004  05 74 77 "),
])  # fmt: skip
def test_what_is_malformed_is_reported_and_what_can_be_read_is_printed(
    framestream, arguments, said, printed, complaint
):
    with conversation(say(said)) as (url, _):
        ran = framestream("connect", url, *arguments.split())
    assert (1, printed) == ran[:2]
    assert re.search(complaint, ran.err)


def test_a_connection_that_breaks_is_reported(framestream):
    with conversation(reset_on_close) as (url, _):
        ran = framestream("connect", url, "-f", "line", stdin=b"hello\n")
    # Which of them depends on whether the reset meets the reader or the writer.
    assert re.search("connection reset|broken pipe|not connected", ran.err.lower()), ran.err
    assert 1 == ran.status


@pytest.mark.parametrize(("end", "status"), [("exit 7", 7), ("kill $$", -15)])
def test_a_program_that_fails_is_reported(framestream, end, status):
    ran = framestream("connect", f"exec:sh -c 'cat; {end}'", "-f", "line", stdin=b"a\n")
    assert (1, b"a\n") == ran[:2]
    assert ran.err.endswith(f": the program ended with exit status {status}\n")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_amid_any_line_ends_quietly(framestream, times):
    def decode(_, payload):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        return payload

    plugins.register(faulty("Interrupted", decode=decode), "interrupted")
    with conversation(echo) as (url, _):
        ran = framestream("connect", url, "-f", "interrupted", stdin=b"one\ntwo\n")
    assert (130, "") == (ran.status, ran.err)
    assert signal.default_int_handler is signal.getsignal(signal.SIGINT)


def test_connecting_over_tls(framestream):
    def echo(peer):
        peer.sendall(peer.recv(100))
        peer.recv(100)  # the command's end: a peer that closes with this unread resets the connection

    with conversation(echo, tls=certificates().server()) as (url, _):
        arguments = [url, "-f", "line", "-n", "1", "--ca", certificates().ca]
        assert (0, b"hello\n", "") == framestream("connect", *arguments, stdin=b"hello\n")


# serve: the command runs here, its clients in a thread that ends it with a signal


def ask(port, data, *, patience=None, tls=None):
    """Send all of it when somebody listens; return everything that comes back, within some seconds.

    It may be a script for the client instead.
    """
    while True:
        try:
            plain = socket.create_connection(("localhost", port))
        except ConnectionRefusedError:
            continue  # it does not listen yet
        with tls.wrap_socket(plain, server_hostname="localhost") if tls else plain as connection:
            if callable(data):
                return data(connection)
            connection.sendall(data)
            if tls:
                return connection.recv(100)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(patience)
            with suppress(TimeoutError):
                return received(connection)
            return None


def serving(framestream, question, *arguments, **how):
    """Run the command and ask it one thing; return what it left behind, and its answer."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        place = sock.getsockname()
    answers, over = [], threading.Event()

    def client():
        try:
            answers.append(ask(place[1], question, **how))
        except Exception as error:  # noqa: BLE001  # it fails the test, where it is looked at
            answers.append(error)
        # It may answer before it heeds signals, or have refused its arguments: then the signal would end the tests.
        while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not over.wait(0.01):
            pass
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=client)
    thread.start()
    url = "{}://{}:{}".format("tls" if how.get("tls") else "tcp", *place)
    ran = framestream("serve", url, *arguments)
    over.set()
    thread.join()
    return ran, answers[0]


@pytest.mark.parametrize(("arguments", "question", "answer"), [
    (["-f", "length-prefix:1", "--echo"], b"\x03one\x03two", b"\x03one\x03two"),
    (["-f", "line", "--exec", "tr a-z A-Z"], b"one\ntwo\n", b"ONE\nTWO\n"),
    (["-f", "length-prefix:1", "--exec", "tr a-z A-Z"], b"\x02a\n", b"\x02A\n"),
    (["-f", "msgpack", "--exec", "tr a-z A-Z"], b"\x92\xa1a\x01", b"\x92\xa1A\x01"),
    # the command need not read its input
    (["-f", "line", "--exec", "echo done"], b"x" * 1_000_000 + b"\n", b"done\n"),
    (["-f", "line", "--max-size", "99", "--exec", f"printf '{'x' * 99}\\n'"], b"1\n", b"x" * 99 + b"\n"),
])  # fmt: skip
def test_serving_answers_each_frame(framestream, arguments, question, answer):
    ran, answered = serving(framestream, question, *arguments)
    assert (0, b"", answer) == (*ran[:2], answered)
    assert re.fullmatch(r"listening on tcp://127.0.0.1:\d+\n", ran.err)


def test_a_server_says_where_its_health_is_told_and_is_not_ready_before_it_ends(tmp_path):
    admin = tmp_path / "admin"
    options = ["-f", "line", "--admin", f"unix:{admin}", "--notice", "600"]
    with start("serve", "tcp://127.0.0.1:0", *options) as server:
        said = [server.stderr.readline() for _ in range(2)]
        assert f"health and metrics at unix:{admin}\n".encode() == said[1]
        assert get(admin, b"/readyz").endswith(b"\r\n\r\nready\n")
        server.send_signal(signal.SIGTERM)
        while b" 503 " not in (answer := get(admin, b"/readyz")):
            pass
        assert answer.endswith(b"not ready: leaving, 0 connections open\n")
        server.send_signal(signal.SIGTERM)
        assert 0 == server.wait(30)


# Behind a load balancer

BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"


def test_frames_are_printed_with_the_client_that_a_load_balancer_names(framestream, tmp_path):
    options = ["-f", "line", "--proxy-protocol", "auto", "--trusted", "127.0.0.0/8", "--trusted", "::1"]
    with with_proxy(tmp_path):
        ran, _ = serving(framestream, BINARY + b"hello\n", *options)
        assert b'{"peer":"192.0.2.7:56324","offset":28,"size":6,"frame":"hello"}\n' == ran.raw
        ran = framestream("serve", "tcp://127.0.0.1:0", *options[:4])
        assert (2, True) == (ran.status, "no network is trusted" in ran.err)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_connections_that_end_badly_are_told_once_and_counted(tmp_path, workers):
    admin = tmp_path / "admin"
    options = ["-f", "length-prefix:1", "--exec", "false", "--admin", f"unix:{admin}", "--workers", workers]
    failed = [b"peer failures       1", b"handler failures    1", b"open                0"]
    with start("serve", "tcp://127.0.0.1:0", *options) as server:
        url = listening(server)
        server.stderr.readline()
        for question in (b"\1a", b"\2a"):
            assert b"" == ask(port(url), question)
        while not {*failed} <= {*get(admin, b"/").splitlines()}:
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        told = server.stderr.read().decode().splitlines()
        assert 0 == server.wait(30)
    assert [True, True, False] == [line.startswith("framestream: 127.0.0.1:") for line in told], told
    assert told[0].endswith(": false ended with exit status 1")
    assert "stream ended inside a frame: 2 of 3 bytes" in told[1]


@pytest.mark.parametrize(("spec", "question", "command", "complaint"), [
    ("line", b"one\n", "false", "false ended with exit status 1"),
    ("line", b"one\n", "yes", "yes gave more than 100 bytes, the limit of --max-size"),
    ("line", b"one\n", "./script", "./script cannot be started: no such file or directory"),
    ("line", b"one\n", "printf 'a\\nb\\n'", "printf gave no answer that line can send: payload of 3"),
    ("msgpack", b"\x01", "echo notjson", "echo gave no JSON: Expecting value: line 1 column 1"),
    ("line", b"one\n", "printf '\\377\\n'", "line can send: line cannot be encoded: 'utf-8' codec"),
])  # fmt: skip
def test_a_command_without_an_answer_ends_the_connection_and_is_named(
    framestream, tmp_path, spec, question, command, complaint
):
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    ran, answer = serving(framestream, question, "-f", spec, "--exec", command, "--max-size", "100")
    assert (b"", 2, True) == (answer, ran.err.count("\n"), complaint in ran.err), ran.err


@pytest.mark.parametrize("program", ["exec sleep 600", "sleep 600"])  # in the command's place, or started by it
def test_a_command_that_takes_too_long_is_killed_when_the_server_ends(program, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    command = f"sh -c 'read frame; {program} >{tmp_path}/fifo; true'"
    options = ["-f", "line", "--exec", command, "--drain-timeout", "0"]
    with start("serve", "tcp://127.0.0.1:0", *options) as server:
        url = listening(server)
        with socket.create_connection(("127.0.0.1", port(url))) as client:
            client.sendall(b"one\n")
            with open(tmp_path / "fifo", "rb") as running:  # it has begun
                server.send_signal(signal.SIGTERM)
                assert b"" == running.read()  # and is over
        (told,) = server.stderr.read().splitlines()
    assert told.endswith(b": the time to drain is over, cutting 1 connection")
    assert 0 == server.returncode


@pytest.mark.parametrize("workers", ["0", "1"])
def test_ctrl_c_lets_a_command_that_has_begun_finish(workers, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    options = ["-f", "line", "--exec", f"sed s/go/done/ {tmp_path}/fifo", "--workers", workers]
    with start("serve", "tcp://127.0.0.1:0", *options, start_new_session=True) as server:
        with socket.create_connection(("127.0.0.1", port(listening(server)))) as client:
            client.sendall(b"one\n")
            with open(tmp_path / "fifo", "wb") as awaited:  # by the command, which has begun
                os.killpg(server.pid, signal.SIGINT)  # as a terminal does
                awaited.write(b"go\n")
            assert b"done\n" == client.recv(100)


@pytest.mark.parametrize(
    ("verbose", "told"), [((), ""), (("-v",), ".*: connection ended: .*: connection reset by peer\\n")]
)
def test_a_command_whose_client_has_reset_has_a_while_to_end_and_is_not_complained_of(
    framestream, monkeypatch, tmp_path, verbose, told
):
    monkeypatch.setattr("framestream.net.process.TERMINATE_DELAY", 0.05)
    os.mkfifo(tmp_path / "fifo")
    script = f"exec >{tmp_path}/fifo 2>&1; trap 'echo told; exit 3' TERM; while :; do sleep 0.01; done"

    def leave(connection):
        connection.sendall(b"one\ntwo\n")
        with open(tmp_path / "fifo", "rb") as running:  # it has begun
            reset_on_close(connection)
            connection.close()
            return running.read()  # until it is over

    ran, said = serving(framestream, leave, *verbose, "-f", "line", "--exec", f'sh -c "{script}"')
    assert (0, b"told\n") == (ran.status, said)
    assert re.fullmatch(f"listening on .*\n{told}", ran.err)


def test_serving_prints_frames_with_their_peers_when_it_is_not_told_to_answer(framestream):
    assert b"one\ntwo\n" == serving(framestream, b"one\ntwo\n", "-f", "line", "-o", "text")[0].raw
    ran, _ = serving(framestream, b"one\ntwo\n", "-f", "line")
    first, second = map(json.loads, ran.out.splitlines())
    assert re.fullmatch(r"127\.0\.0\.1:\d+", first.pop("peer"))
    assert {"offset": 0, "size": 4, "frame": "one"} == first
    assert (4, "two") == (second["offset"], second["frame"])
    assert b"one" == serving(framestream, b"one", "-f", "available", "-o", "text", "--workers", "0")[0].raw[:3]


@pytest.mark.parametrize(("how", "question", "answer", "told"), [
    ("-f line --echo", b"a\n\xff\nb\nc\n", b"a\nb\nc\n", r"\(frame at offset 2\)\n00000002  ff "),
    ("-f line --exec cat", b"a\n\xff\nb\n", b"a\nb\n", r"\(frame at offset 2\)\n00000002  ff "),
    ("-f line -o text", b"a\n\xff\nb\n", b"", r"\(frame at offset 2\)\n00000002  ff "),
    ("-f line --echo --on-payload-error close", b"a\n\xff\nb\n", b"a\n", r"\(frame at offset 2\)"),
    ("-f length-prefix:1,max=3 --echo", b"\1a\4abcd\1b", b"\1a\1b", r"exceeds the limit 3 \(at offset 2\)"),
    ("-f length-prefix:1 --echo", b"\1a\4ab", b"\1a", r"ended inside a frame: 3 of 5 bytes"),
    (
        "-f line --max-size 3 --on-oversize discard --echo",
        b"a\nlarge\nb\n",
        b"a\nb\n",
        r"\(at offset 2\); 6 bytes skipped",
    ),
])  # fmt: skip
def test_what_is_wrong_with_a_frame_is_told_and_costs_no_other_frame(framestream, how, question, answer, told):
    ran, answered = serving(framestream, question, *how.split())
    assert (0, answer) == (ran.status, answered)
    assert re.search(rf"framestream: .*127\.0\.0\.1:\d+: .*{told}", ran.err), ran.err
    assert "text" not in how or b"a\nb\n" == ran.raw


def test_serving_over_tls_and_a_key_that_is_none_is_named_also_before_workers_start(framestream):
    cert, key = certificates().certificate, certificates().key
    arguments = ["-f", "line", "--echo", "--cert", cert, "--key"]
    answer = serving(framestream, b"hello\n", *arguments, key, tls=certificates().client())[1]
    assert b"hello\n" == answer
    for workers in ("0", "1"):
        ran = framestream("serve", "tls://127.0.0.1:0", "--workers", workers, *arguments, __file__)
        assert f"framestream: cannot use the certificate in {cert} with the key in {__file__}: " in ran.err
        assert (1, 1) == (ran.status, ran.err.count("\n"))


# In a shell


def listening(server):
    """Return the URL that a server prints when it listens."""
    return server.stderr.readline().decode().split()[-1]


def port(url):
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize(("workers", "end", "status"), [("0", "SIGINT", 130), ("2", "SIGTERM", 0), ("2", "SIGHUP", 0)])
def test_both_ends_in_a_shell_and_their_ends_are_quiet(workers, end, status):
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "--echo", "--workers", workers) as server:
        with start("connect", listening(server), "-f", "line", bufsize=0) as client:
            client.stdin.write(b"hello\n")
            assert b"hello\n" == client.stdout.readline()
            client.send_signal(signal.SIGINT)  # while it waits for standard input
            assert (b"", b"", 130) == (*client.communicate(), client.returncode)
        server.send_signal(signal.Signals[end])
        assert (b"", b"", status) == (*server.communicate(), server.returncode)


def test_the_first_process_of_a_container_ends_with_sigterm():
    container = ["unshare", "-Urpf", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*container, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no container can be made")
    command = [*container, sys.executable, "-m", "framestream", "connect", "exec:cat", "-f", "line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        process.stdin.write(b"hi\n")
        assert b"hi\n" == process.stdout.readline()
        [first] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert 143 == process.wait(timeout=20)


def test_a_command_ends_with_its_peer_while_it_waits_for_standard_input():
    with start("connect", "exec:echo hello", "-f", "line") as process:
        assert (b"hello\n", 0) == (process.stdout.read(), process.wait(20))


def test_a_reader_of_the_output_that_leaves_ends_the_command_quietly():
    shell = f"yes | head -n 5000 | {sys.executable} -m framestream connect exec:cat -f line | head -n 1"
    ran = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=False)
    assert (b"y\n", b"") == (ran.stdout, ran.stderr)


def test_neither_a_peer_that_reads_no_answer_nor_under_nohup_a_terminal_that_hangs_up_ends_a_server(tmp_path):
    ignored = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    with start("serve", f"unix:{tmp_path}/socket", "-f", "line", "--echo", preexec_fn=ignored) as server:
        listening(server)
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{tmp_path}/socket")
                client.sendall(b"one\n" * 1000)
        server.send_signal(signal.SIGHUP)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/socket")
            client.sendall(b"two\n")
            assert b"two\n" == client.recv(100)
        server.terminate()
        assert (b"", 0) == (server.stderr.read(), server.wait(timeout=20))


def test_a_server_whose_messages_have_no_reader_any_more_goes_on_after_bad_frames():
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "--echo", "-v") as server:
        url = listening(server)
        server.stderr.close()
        for _ in range(2):
            assert b"one\ntwo\n" == ask(port(url), b"one\n\xff\ntwo\n")
        server.terminate()
        assert 0 == server.wait(timeout=20)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_server_whose_output_has_no_reader_any_more_ends(workers):
    with start("serve", "tcp://127.0.0.1:0", "-f", "line", "-o", "text", "--workers", workers) as server:
        with socket.create_connection(("127.0.0.1", port(listening(server)))) as client:
            client.sendall(b"one\n")
            assert b"one\n" == server.stdout.readline()
            server.stdout.close()
            with suppress(OSError):
                client.sendall(b"two\n")
            assert (141, b"") == (server.wait(timeout=20), server.stderr.read())


@pytest.mark.parametrize("rest", [b"ha", b"\xff\n", b"\xff\nha"])
@pytest.mark.parametrize("command", ["serve", "connect"])
def test_a_frame_is_printed_when_it_has_arrived_whatever_part_of_others_has(command, rest):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "tcp://127.0.0.1:" + str(listener.getsockname()[1] if command == "connect" else 0)
        with start(command, url, "-f", "line", "-o", "text") as process:
            server = None if command == "connect" else ("127.0.0.1", port(listening(process)))
            with listener.accept()[0] if server is None else socket.create_connection(server) as peer:
                peer.sendall(b"one\n" + rest)
                assert select([process.stdout], [], [], 20)[0]
                assert b"one\n" == process.stdout.readline()
                process.kill()


def test_frames_that_cannot_be_printed_end_their_connection_and_that_is_reported():
    arguments = ["serve", "tcp://127.0.0.1:0", "-f", "line"]
    with open("/dev/full", "wb") as full, start(*arguments, stdout=full) as server:
        assert b"" == ask(port(listening(server)), b"one\n")
        told = rb"framestream: 127\.0\.0\.1:\d+: cannot print: no space left on device\n"
        assert re.fullmatch(told, server.stderr.readline())
        server.terminate()
        assert b"" == server.stderr.read()


def test_a_command_runs_without_standard_output_and_with_one_that_cannot_encode_what_is_printed():
    program = "\"exec:sh -c 'echo one >&2 && echo two'\""  # it has a standard error although we have none
    commands = (
        "framers 1>&-",
        "connect exec:cat -f line 0<&- 1>&-",
        f"connect {program} -f line 2>&-",
        "stats line sample:redis",
    )
    shell = " && ".join(f"{sys.executable} -m framestream {command}" for command in commands)
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    ran = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=False, env=env)
    assert (0, b"") == (ran.returncode, ran.stderr)
    assert ran.stdout.startswith(b"two\n")
    assert rb" bytes \u2588\u258a 5" in ran.stdout


# Output that nothing reads


def waiting(pipe):
    """Return how many bytes nobody has read."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_server_whose_output_is_not_read_lives_and_ends(tmp_path, stream):
    admin = tmp_path / "admin"
    options = ["-f", "line", "--admin", f"unix:{admin}", "--drain-timeout", "0"]
    with start("serve", "tcp://127.0.0.1:0", *options) as server:
        url, stopped = listening(server), threading.Event()
        server.stderr.readline()
        said = b"x" * 100 + b"\n" if stream == "stdout" else b"\xff\n"

        def talk():
            while not stopped.is_set():
                with suppress(OSError), socket.create_connection(("127.0.0.1", port(url))) as client:
                    client.sendall(said * (10_000 if stream == "stdout" else 1))

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        pipe, unchanged = getattr(server, stream), 0
        while unchanged < 5:  # then it is full
            before = waiting(pipe)
            assert get(admin, b"/livez").endswith(b"alive\n")
            unchanged = unchanged + 1 if waiting(pipe) == before > 1 << 15 else 0
        if stream == "stderr":
            told = re.compile(rb"framestream: \d+ messages could not be printed: nothing read them\n")
            assert any(map(told.fullmatch, server.stderr))
        stopped.set()
        server.terminate()
        assert 0 == server.wait(20)
        talker.join(10)


def test_frames_that_are_discarded_do_not_fill_the_log(framestream):
    options = ["-f", "line", "--max-size", "3", "--on-oversize", "discard", "--echo"]
    ran, answered = serving(framestream, b"large\n" * 1000 + b"b\n", *options)
    assert (b"b\n", 3) == (answered, ran.err.count("\n"))
    assert "skipped 999 more frames\n" in ran.err
