"""Syslog spoken with rsyslog, in both framings and both directions, and with logger as a sender."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from framestream import iter_frames
from framestream_syslog import Syslog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin"

# Messages are passed on as they came: to a file, with ~~ after each, and to us.
RSYSLOG = """
global(workDirectory="{home}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       parser.dropTrailingLFOnReception="off")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{home}/port")
template(name="raw" type="string" string="%rawmsg%")
template(name="kept" type="string" string="%rawmsg%~~")
action(type="omfile" file="{home}/kept" template="kept")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" template="raw" tcp_framing="{framing}")
"""


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program, path=PATH) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed, see plugins/install_peers.sh")


@contextmanager
def rsyslog(home: Path, port: int, framing: str) -> Iterator[int]:
    """Run an rsyslog daemon that passes messages on to `port`; yield the port it listens at."""
    config = home / "rsyslog.conf"
    config.write_text(RSYSLOG.format(home=home, port=port, framing=framing))
    command = [str(shutil.which("rsyslogd", path=PATH)), "-n", "-f", str(config), "-i", str(home / "pid")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(500):
            if (home / "port").exists() and (home / "port").read_text():
                break
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.02)
        yield int((home / "port").read_text())
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def read_all(server: socket.socket, framer: Syslog, count: int) -> list[bytes]:
    """Return `count` messages that somebody sends us."""
    connection, _ = server.accept()
    messages = []
    with connection:
        connection.settimeout(TIMEOUT)
        for message in iter_frames(connection, framer):
            messages.append(message)
            if len(messages) == count:
                break
    return messages


def numbered(count: int, text: str) -> list[bytes]:
    return [
        f"<13>1 2026-11-23T10:00:{number % 60:02}Z host app {number} - - {text} {'x' * number}".encode()
        for number in range(count)
    ]


@needs("rsyslogd")
@pytest.mark.parametrize(("ours", "theirs", "text"), [
    ("octet-counting", "octet-counted", "two\nlines\nand a last one\n"),
    ("octet-counting", "octet-counted", "\u20ac"),
    ("non-transparent", "octet-counted", "one line"),
    ("non-transparent", "traditional", "one line"),
    ("octet-counting", "traditional", "one line"),
])  # fmt: skip
def test_rsyslog_reads_and_writes_messages(tmp_path: Path, ours: str, theirs: str, text: str) -> None:
    messages = numbered(1000, text)
    framer = Syslog(ours)  # type: ignore[arg-type]  # one of the two names
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        with rsyslog(tmp_path, server.getsockname()[1], theirs) as port:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                client.sendall(b"".join(piece for message in messages for piece in framer.encode(message)))
            assert read_all(server, Syslog(), len(messages)) == messages
        assert (tmp_path / "kept").read_bytes().split(b"~~") == [*messages, b""]


@needs("rsyslogd")
def test_rsyslog_reads_both_framings_on_one_connection(tmp_path: Path) -> None:
    messages = numbered(100, "mixed")
    writers = (Syslog("octet-counting"), Syslog("non-transparent"))
    wire = [b"".join(writers[number % 3 % 2].encode(message)) for number, message in enumerate(messages)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        with rsyslog(tmp_path, server.getsockname()[1], "octet-counted") as port:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                client.sendall(b"".join(wire))
            assert read_all(server, Syslog(), len(messages)) == messages
    assert list(iter_frames(wire, Syslog())) == messages


@needs("logger")
@pytest.mark.parametrize(("options", "framing"), [(["--octet-count"], "octet-counting"), ([], "auto")])
def test_logger_sends_messages(options: list[str], framing: str) -> None:
    lines = [f"message {number} {'x' * number}" for number in range(200)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        port = str(server.getsockname()[1])
        command = ["logger", "--tcp", "--server", "127.0.0.1", "--port", port, *options]
        subprocess.run(command, input="\n".join(lines).encode(), check=True, timeout=TIMEOUT)
        messages = read_all(server, Syslog(framing), len(lines))  # type: ignore[arg-type]  # a framing
    assert all(message.decode().endswith(line) for message, line in zip(messages, lines, strict=True))
    assert all(message.startswith(b"<13>1 ") for message in messages)
