"""The command line: what it prints where, its exit statuses, and how it behaves in a pipe."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from distributions import Site, healthy, site

from framestream import ReadCondition, Regex, Window, get_framer, iter_frames, plugins
from framestream import __main__ as entry
from framestream.cli import _progress, run
from framestream.cli._drawing import draw
from framestream.cli._examples import BUILT_IN
from framestream.cli._parameters import SPEC
from framestream.cli._render import hexdump, to_json, to_text
from framestream.cli._sources import open_source

LINES = b"one\ntwo\r\n\nfour\n"


class Printed(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def frames(self) -> list[Any]:
        return [json.loads(line)["frame"] for line in self.out.splitlines()]


Command = Callable[..., Printed]


@pytest.fixture
def framestream(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Run the command line in this process; only plugins of the test's own are there."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str | Path, stdin: bytes = b"") -> Printed:
        with standard_input(stdin):
            status = run([str(argument) for argument in arguments])
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return Printed(status, captured.out.decode("utf-8", "replace"), captured.err.decode())

    with plugins.isolated():
        yield command


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
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


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_bytes(LINES)
    return path


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the real command in a process of its own."""
    command = [sys.executable, "-m", "framestream", *arguments]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **{**streams, **options})


# cut: what is printed


def test_json_lines_have_offset_size_and_frame(framestream: Command, lines: Path) -> None:
    printed = framestream("cut", "line", lines)

    assert [
        {"offset": 0, "size": 4, "frame": "one"},
        {"offset": 4, "size": 5, "frame": "two"},
        {"offset": 9, "size": 1, "frame": ""},
        {"offset": 10, "size": 5, "frame": "four"},
    ] == [json.loads(line) for line in printed.out.splitlines()]
    assert (0, "") == (printed.status, printed.err)


def test_standard_input_is_the_default(framestream: Command) -> None:
    assert framestream("cut", "line", stdin=LINES).frames == ["one", "two", "", "four"]
    assert framestream("cut", "delimiter:;", "-", stdin=b"a;\x00;").frames == ["a", {"hex": "00"}]


def test_hex_shows_the_payload_under_a_headline(framestream: Command) -> None:
    printed = framestream("cut", "length-prefix:2", "-o", "hex", stdin=b"\0\x12" + b"0123456789abcdef\xff\n")

    assert printed.out.splitlines() == [
        "frame at 0, 20 bytes, payload 18",
        "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  ff 0a                                             |..|",
    ]


def test_text_is_decoded_and_raw_is_not(framestream: Command) -> None:
    stream = b"\x81\xa1k\xc4\x01\xff\xa1a"

    assert framestream("cut", "msgpack", "-o", "text", stdin=stream).out == '{"k":{"hex":"ff"}}\na\n'
    assert framestream("cut", "line", "-o", "text", "--separator", r"|\t", stdin=b"a\nb\n").out == "a|\tb|\t"
    assert framestream("cut", "delimiter:;", "-o", "text", stdin=b"\xffa;").out == "\\xffa\n"
    assert framestream("cut", "line", "-o", "raw", stdin=b"a\r\nb\n").out == "ab"
    assert framestream("cut", "msgpack", "-o", "raw", stdin=b"\xa1a\xa1b").out == "\xa1a\xa1b".replace(
        "\xa1", "\ufffd"
    )


def test_raw_output_has_the_limits_and_hints_of_the_framer(framestream: Command) -> None:
    printed = framestream("cut", "length-prefix:max=64", "-o", "raw", stdin=b"GET / HTTP/1.1\r\n")

    assert printed.status == 1
    assert "exceeds the limit 64; looks like an HTTP request (at offset 0)" in printed.err


def test_count_stops_after_so_many_frames(framestream: Command, lines: Path) -> None:
    assert framestream("cut", "line", lines, "-n", "2").frames == ["one", "two"]


def test_stats_go_to_standard_error(framestream: Command, lines: Path) -> None:
    printed = framestream("cut", "line", lines, "--stats")

    assert printed.err.startswith("frames 4, bytes 15, left over 0, too large 0, discarded 0 bytes,")


# cut: what is wrong with the stream


def test_what_was_cut_before_malformed_input_is_printed(framestream: Command) -> None:
    printed = framestream("cut", "length-prefix:1,max=3", stdin=b"\x01a\x05abcde\x01b\xff")

    assert (1, ["a"]) == (printed.status, printed.frames)
    assert printed.err.splitlines() == [
        "framestream: standard input: frame of 5 bytes exceeds the limit 3 (at offset 2)",
        "00000002  05 61 62 63 64 65 01 62  ff                       |.abcde.b.|",
    ]


def test_an_incomplete_last_frame_is_reported(framestream: Command) -> None:
    printed = framestream("cut", "length-prefix:1", stdin=b"\x01a\x05ab")

    assert (1, ["a"]) == (printed.status, printed.frames)
    assert printed.err.startswith(
        "framestream: standard input: stream ended inside a frame: 3 of 6 bytes arrived (at offset 2)"
    )


def test_a_frame_that_cannot_be_decoded_is_reported_and_cutting_goes_on(framestream: Command) -> None:
    printed = framestream("cut", "line", stdin=b"a\n\xff\nb\n")

    assert (1, ["a", "b"]) == (printed.status, printed.frames)
    assert "(frame at offset 2)\n00000002  ff" in printed.err
    assert json.loads(printed.out.splitlines()[1])["offset"] == 4


@pytest.mark.parametrize("policy", ["discard", "truncate"])
def test_frames_above_the_limit_are_reported_and_offsets_stay_exact(
    policy: str, framestream: Command
) -> None:
    stream = b"ab\nabcdef\ncd\n"

    printed = framestream("cut", "line", "--max-size", "3", "--on-oversize", policy, stdin=stream)

    places = [(frame["offset"], frame["frame"]) for frame in map(json.loads, printed.out.splitlines())]
    assert (
        [(0, "ab"), (3, "abc"), (10, "cd")] == places
        if policy == "truncate"
        else places == [(0, "ab"), (10, "cd")]
    )
    assert printed.err == (
        "framestream: standard input: frame exceeds the limit of 3 bytes (at offset 3); 7 bytes skipped\n"
    )
    assert printed.status == 0


def test_max_size_takes_precedence_over_the_framers_own(framestream: Command) -> None:
    printed = framestream("cut", "delimiter:;,max=2", "--max-size", "1KiB", stdin=b"abcd;")

    assert printed.frames == ["abcd"]


# cut: mistakes


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["cut"], 2, "framestream: Missing argument 'SPEC'.\nhint: framestream cut --help\n"),
        (["cut", "line", "-o", "xml"], 2, "Invalid value for '-o' / '--output': 'xml' is not one of"),
        (["cut", "line", "--max-size", "big"], 2, "'big' is no whole number"),
        (["cut", "lin"], 2, "no framer named 'lin'; did you mean 'line'?"),
        (["cut", "line", "no-such-file"], 1, "framestream: no-such-file: No such file or directory\n"),
        (["cut", "line", "."], 1, "framestream: .: Is a directory\n"),
        (
            ["cut", "line", "tcp://localhost"],
            2,
            "'tcp://localhost' is no address such as tcp://localhost:4000",
        ),
        (["cut", "line", "tcp://x..y:1"], 2, "'tcp://x..y:1' is no address"),
        (["cut", "line", "tcp://[::1"], 2, "'tcp://[::1' is no address"),
        (
            ["cut", "line", "tls://localhost:4000"],
            2,
            "cut does not connect there: framestream connect tls://localhost:4000 --framer SPEC\n",
        ),
        (["cut", "line", f"unix:{'x' * 200}"], 2, "has 200 bytes; a Unix socket's has 107 at most\n"),
        (
            ["serve", "tcp://:0", "-f", "line", "--workers", "99999"],
            2,
            "99999 is not in the range 0<=x<=1024",
        ),
        (["cut", "line", "exec:cat file"], 2, "framestream connect 'exec:cat file' --framer SPEC\n"),
        (["cut", "line", "unix:no-such-socket"], 1, "unix:no-such-socket: No such file or directory\n"),
        (["nonsense"], 2, "framestream: No such command 'nonsense'.\nhint: framestream --help\n"),
        (["framers", "lin"], 2, "did you mean 'line'?"),
        (["check", "no_such_module:thing"], 2, "No module named 'no_such_module'"),
        (["plugins", "show", "x"], 1, "framestream: no plugin 'x' is installed\n"),
        (["-p", "x", "framers"], 1, "framestream: no plugin 'x' is installed\n"),
    ],
)
def test_a_mistake_takes_a_line_and_a_hint(
    arguments: list[str], status: int, message: str, framestream: Command
) -> None:
    printed = framestream(*arguments)

    assert status == printed.status
    assert message in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


def test_a_caret_shows_where_a_spec_goes_wrong(framestream: Command) -> None:
    printed = framestream("cut", "line:kep=yes")

    assert printed.err.splitlines()[1:] == [
        "  line:kep=yes",
        "       ^",
        "hint: framestream framers NAME explains a framer's options",
    ]


def test_a_name_that_nobody_has_may_be_that_of_a_plugin_to_install(framestream: Command) -> None:
    printed = framestream("cut", "lnie")

    assert printed.err.splitlines()[0].startswith("framestream: no framer named 'lnie'; did you mean 'line'?")
    assert printed.err.splitlines()[-1] == (
        "hint: a plugin's framers have names once it is installed; framestream plugins lists them"
    )


def test_without_a_command_the_help_is_printed(framestream: Command) -> None:
    printed = framestream()

    assert (0, "") == (printed.status, printed.err)
    assert "Commands:\n  cut " in printed.out


# cut: sources


def serve(listener: socket.socket, data: bytes) -> threading.Thread:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(data)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_a_tcp_connection_is_cut(framestream: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = serve(listener, LINES)
        printed = framestream("cut", "line", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()

    assert printed.frames == ["one", "two", "", "four"]


def test_a_unix_connection_is_cut(framestream: Command, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = serve(listener, LINES)
        printed = framestream("cut", "line", f"unix:{path}")
        thread.join()

    assert printed.frames == ["one", "two", "", "four"]


def test_a_refused_connection_takes_one_line(framestream: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    printed = framestream("cut", "line", f"tcp://127.0.0.1:{port}")

    assert (1, f"framestream: tcp://127.0.0.1:{port}: Connection refused\n") == (printed.status, printed.err)


def test_a_reset_connection_takes_one_line(framestream: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        def reset() -> None:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        printed = framestream("cut", "line", address)
        thread.join()

    assert (1, f"framestream: {address}: Connection reset by peer\n") == (printed.status, printed.err)


def test_a_descriptor_that_cannot_be_asked_counts_as_not_ready(lines: Path) -> None:
    with open_source("/dev/null") as source:
        assert source.size is None
        assert source.is_ready()
    assert not source.is_ready()  # closed by now


# cut: in a pipe, in a process of its own


def test_frames_appear_as_they_arrive() -> None:
    with start("cut", "line") as process:
        assert process.stdin
        assert process.stdout
        for word in ("one", "two"):
            process.stdin.write(f"{word}\nhalf".encode()[: len(word) + 1])
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["frame"] == word
        process.stdin.close()
        assert process.wait(10) == 0


def test_ctrl_c_ends_quietly_and_loses_nothing() -> None:
    # A shell that starts a job in the background lets it ignore the signal; here it must not.
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with start("cut", "line", **default) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one\npart")
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert json.loads(first)["frame"] == "one"
    assert (130, b"", b"") == (process.returncode, out, err)


def test_a_closed_pipe_ends_quietly() -> None:
    with start("cut", "line") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write(b"two\n" * 100_000)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None
        assert process.stderr
        assert (b"", 141) == (process.stderr.read(), process.wait(10))


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    peaks = []
    for size in (1 << 20, 256 << 20):
        path = tmp_path / str(size)
        with path.open("wb") as file:
            file.truncate(size)
        process = start("cut", "fixed-length:65536", "-o", "raw", str(path), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        process.communicate()
        peaks.append(usage.ru_maxrss)

    assert peaks[1] - peaks[0] < 8 << 10  # in KiB


def test_a_full_disk_takes_one_line(lines: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with plugins.isolated():
            assert run(["cut", "line", str(lines)]) == 1
        monkeypatch.undo()
        with suppress(OSError):
            full.close()

    assert "framestream: standard output: No space left on device\n" == capfd.readouterr().err


def test_the_module_is_a_command_and_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = (
        "import sys; sys.modules['click'] = None; sys.argv = ['framestream', 'cut', 'line']\n"
        "from framestream.__main__ import main; sys.exit(main())"
    )

    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == (
        "framestream: the command line needs click, which is not installed\n"
        "hint: pip install 'framestream[cli]'\n"
    )
    monkeypatch.setattr(sys, "argv", ["framestream", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(entry.__file__, run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("framestream ")


def forget_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("framestream.cli")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_extra_is_told_from_a_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_the_command_line(monkeypatch)
    monkeypatch.setitem(sys.modules, "click", None)
    assert entry.main() == 2
    assert "needs click" in capsys.readouterr().err

    forget_the_command_line(monkeypatch)
    monkeypatch.undo()
    forget_the_command_line(monkeypatch)
    monkeypatch.setitem(sys.modules, "importlib", None)
    with pytest.raises(ModuleNotFoundError):
        entry.main()


def test_an_interrupt_while_starting_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_command_line(monkeypatch)
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    for name in [name for name in sys.modules if name.partition(".")[0] == "click"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)

    assert entry.main() == 130


# On a terminal


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Callable[[], str]]:
    """Make a standard stream a terminal; what is given reads what it shows."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")

    def shown() -> str:
        found = b""
        while select.select([ours], [], [], 0.05)[0]:
            found += os.read(ours, 65536)
        return found.decode()

    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        yield shown
    monkeypatch.undo()
    os.close(ours)


def test_a_long_file_has_a_progress_bar_on_a_terminal(
    lines: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_progress, "PATIENCE", 0)
    with (
        terminal(monkeypatch, "stderr") as shown,
        open_source(str(lines)) as source,
        (tmp_path / "out").open("wb") as output,
        _progress.Progress(source, output) as progress,
    ):
        for _ in range(3):
            progress.advance(5)
        assert "test_a_long_file" in shown()


def test_a_short_file_has_none(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        terminal(monkeypatch, "stderr") as shown,
        open_source(str(lines)) as source,
        _progress.Progress(source, io.BytesIO()) as progress,
    ):
        progress.advance(15)
        assert shown() == ""


def test_tables_are_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, "stdout") as shown, plugins.isolated():
        assert run(["framers"]) == 0
        text = shown()

    assert "length-prefix" in text
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", text).splitlines())) <= 60


def test_ctrl_c_and_a_closed_pipe_have_their_statuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.py").write_text("raise KeyboardInterrupt")
    monkeypatch.chdir(tmp_path)
    with plugins.isolated():
        assert run(["check", "held:framer"]) == 130

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with plugins.isolated():
            assert run(["framers"]) == 141
        monkeypatch.undo()


# framers


def test_the_framers_are_listed(framestream: Command) -> None:
    heading, *rows = framestream("framers").out.splitlines()

    assert heading.split() == ["NAME", "FROM", "WHAT", "IT", "CUTS"]
    assert "line" in [row.split()[0] for row in rows]
    assert not any(row.endswith(" ") for row in rows)


def test_a_framer_is_explained_with_options_and_a_drawing_that_was_made(framestream: Command) -> None:
    out = framestream("framers", "length-prefix").out

    assert "  Frames with a header that tells their length.\n" in out
    assert "  byteorder         big or little or native" in out
    assert (
        """
length-prefix:2
         +-------------+------------+
INPUT    | \\x00\\x03abc | \\x00\\x02hi |
         +-------------+------------+
DECODED  | b'abc'      | b'hi'      |
         +-------------+------------+
"""
        in out
    )


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_is_explained(name: str, framestream: Command) -> None:
    printed = framestream("framers", name)

    assert printed.status == 0
    for spec, _ in BUILT_IN[name]:
        drawing = printed.out.partition(f"\n\n{spec}\n")[2].partition("\n\n")[0]
        assert "INPUT" in drawing
        assert "Error" not in drawing


def test_a_drawing_shows_what_was_refused() -> None:
    assert "frame of 65 bytes exceeds the limit 9" in draw(get_framer("length-prefix:1,max=9"), b"Abcdef")
    assert "PayloadError" in draw(get_framer("line"), b"\xff\nok\n", width=200)


def test_a_wide_drawing_is_a_list() -> None:
    assert draw(get_framer("line"), b"abc\nde\n", width=10) == (
        "INPUT    abc\\n\nDECODED  'abc'\nINPUT    de\\n\nDECODED  'de'"
    )


class Optionless(ReadCondition[bytes]):
    """Everything up to the end of the data."""

    name = "optionless"

    def find(self, window: Window) -> tuple[int, int, int]:
        return window.start, len(window.data), len(window.data)


def test_a_framer_without_options_and_examples_is_explained_too(framestream: Command) -> None:
    plugins.register(Optionless)

    out = framestream("framers", "optionless").out

    assert out == "optionless\n  Everything up to the end of the data.\n"


def test_a_plugins_framer_is_drawn_with_the_examples_it_carries(
    framestream: Command, installed: Site
) -> None:
    installed.install("acme-upto", UPTO, "upto")

    out = framestream("framers", "upto").out

    assert out.endswith("DECODED  | b'a' | b'b' |\n         +------+------+\n")


def test_a_named_framer_is_explained_by_what_it_stands_for(framestream: Command, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.framestream.framers]\nacme = 'delimiter:;'\n")
    (tmp_path / "other.toml").write_text("[framers]\nother = 'delimiter:x'\n")

    out = framestream("framers", "acme").out

    assert out.startswith(f"acme = 'delimiter:;', from {tmp_path / 'pyproject.toml'}\nDelimiter(")
    assert framestream("cut", "acme", stdin=b"a;b;").frames == ["a", "b"]
    assert framestream("--config", "other.toml", "cut", "other", stdin=b"axbx").frames == ["a", "b"]


# check

CHECKED = """
from dataclasses import dataclass
from framestream import NeedMore, ReadCondition

examples = {b"a;b;": [b"a", b"b"]}
malformed = []

@dataclass(frozen=True)
class Good(ReadCondition[bytes]):
    def find(self, window):
        end = window.data.find(b";", window.resume)
        if end < 0:
            return NeedMore(resume=len(window.data))
        return window.start, end, end + 1

class Bad(Good):
    def decode(self, payload):
        return payload[:1]
    examples = {b"ab;": [b"ab"]}

class Raising(Good):
    def find(self, window):
        return window.data[99]

class Needy(Good):
    def __init__(self, size): ...

good = Good()
number = 42
def make(): return number
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "checked_framers.py").write_text(CHECKED)
    yield
    sys.modules.pop("checked_framers", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@pytest.mark.usefixtures("checked")
def test_the_kit_checks_a_framer_of_a_module_with_its_examples(framestream: Command) -> None:
    printed = framestream("check", "checked_framers:Good", "checked_framers:good")

    assert printed.status == 0
    assert "  ok      chunking " in printed.out
    assert "  -       malformed " in printed.out
    assert "checked_framers:good: " in printed.out.splitlines()[-1]
    assert printed.out.splitlines()[-1].endswith(" 0 broken")


@pytest.mark.usefixtures("checked")
def test_a_broken_promise_is_told_and_the_status_is_one(framestream: Command) -> None:
    printed = framestream("check", "-q", "checked_framers:Good", "checked_framers:Bad")

    assert printed.status == 1
    assert "  BROKEN  examples " in printed.out
    assert "  ok " not in printed.out
    assert printed.out.startswith("checked_framers:Good: ")


@pytest.mark.usefixtures("checked")
def test_what_a_framer_raises_is_told_once_with_its_place(framestream: Command) -> None:
    printed = framestream("check", "-q", "checked_framers:Raising")

    assert printed.out.count("find raises IndexError") == 1
    assert "at:       checked_framers.py, line 23, in find: return window.data[99]" in printed.out
    assert "  BROKEN  purity          Raising(): the same as in answers\n" in printed.out


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("checked_framers:number", "checked_framers:number is 42, which makes no framer"),
        ("checked_framers:Needy", "missing 1 required positional argument: 'size'; name an instance"),
        ("checked_framers:make", "checked_framers:make makes 42, which is no framer"),
        ("checked_framers:none", "has no attribute 'none'"),
    ],
)
def test_what_is_no_framer_cannot_be_checked(target: str, message: str, framestream: Command) -> None:
    printed = framestream("check", target)

    assert (2, "") == (printed.status, printed.out)
    assert message in printed.err


def test_a_spec_string_can_be_checked(framestream: Command) -> None:
    printed = framestream("check", "-q", "length-prefix:2", "line:keep", "available:max=4")

    assert printed.status == 0
    assert len(printed.out.splitlines()) == 3


# plugins


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Site]:
    directory = tmp_path / "site"
    directory.mkdir()
    with site(directory) as place:
        yield place


UPTO = healthy("upto") + "    Upto.examples = {b'a;b;': [b'a', b'b']}\n"


def test_plugins_are_listed_with_what_is_wrong(framestream: Command, installed: Site) -> None:
    assert framestream("plugins").out == "no plugin is installed\n"
    installed.install("acme-upto", UPTO, "upto", version="1.2")
    installed.install("acme-broken", "import nowhere", "broken")

    heading, broken, upto = framestream("plugins").out.splitlines()

    assert heading.split()[:5] == ["PLUGIN", "STATE", "FRAMERS", "HOOKS", "LOADED"]
    assert "acme-broken 1.0   failed   broken " in broken
    assert broken.endswith("cannot be imported: ModuleNotFoundError: No module named 'nowhere'")
    assert "acme-upto 1.2     loaded   upto      register_framers" in upto


def test_plugins_are_listed_for_programs(framestream: Command, installed: Site) -> None:
    installed.install("acme-upto", UPTO, "upto", version="1.2")

    (facts,) = json.loads(framestream("plugins", "--json").out)

    assert 0 < facts.pop("load_time") < 10
    assert facts == {
        "distribution": "acme-upto",
        "version": "1.2",
        "names": ["upto"],
        "module": "acme_upto",
        "state": "loaded",
        "reason": "",
        "problems": [],
        "framers": ["upto"],
        "hooks": ["framestream_register_framers"],
        "contract": 1,
    }


def test_the_doctor_finds_nothing_wrong_with_a_healthy_plugin(framestream: Command, installed: Site) -> None:
    installed.install("acme-upto", UPTO, "upto")

    printed = framestream("plugins", "check")

    assert printed.status == 0
    assert printed.out.splitlines()[0] == "acme-upto 1.0 (acme_upto): loaded"
    assert "  upto: " in printed.out
    assert printed.out.endswith("1 plugin, 0 wrong\n")


def test_the_doctor_names_everything_that_is_wrong(
    framestream: Command, installed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.install("acme-broken", "import nowhere", "broken")
    installed.install("acme-line", healthy("line"), "line")
    installed.install("acme-late", healthy("late").replace("Upto)", "'nowhere:At')"), "late")
    installed.install("acme-wrong", UPTO.replace("[b'a', b'b']", "[b'c']").replace("upto", "wrong"), "wrong")
    monkeypatch.setenv("FRAMESTREAM_DISABLE_PLUGINS", "typo")
    installed.scan()

    printed = framestream("plugins", "check")

    assert printed.status == 1
    assert "  wrong: cannot be imported: ModuleNotFoundError" in printed.out
    assert "  wrong: 'line' is built in; write acme-line/line for this one" in printed.out
    assert "  wrong: late: cannot import nowhere:At" in printed.out
    assert "  wrong: wrong:keep" not in printed.out
    assert "check:    examples" in printed.out
    assert "wrong: no plugin answers to 'typo', which the environment names" in printed.out
    assert framestream("plugins", "check", "acme-line").status == 1
    assert "no plugin answers to 'typo'" in framestream("plugins").err


def test_the_doctor_leaves_out_a_framer_that_needs_an_option_unless_its_class_names_one(
    framestream: Command, installed: Site
) -> None:
    needy = UPTO.replace("keep: bool = False", "end: bytes")
    installed.install("acme-needy", needy.replace("upto", "needy"), "needy")
    told = needy.replace("upto", "told") + "    Upto.example_spec = 'told:x'\n"
    installed.install("acme-told", told, "told")

    printed = framestream("plugins", "check")

    assert printed.status == 0
    assert "  needy: not tried, it needs end; its class may say example_spec\n" in printed.out
    assert "  told: " in printed.out
    assert printed.out.endswith("2 plugins, 0 wrong\n")


def test_the_doctor_finds_a_class_that_calls_itself_something_else(
    framestream: Command, installed: Site
) -> None:
    misnamed = UPTO + "    Upto.name = 'up_to'\n"
    installed.install("acme-upto", misnamed, "upto")

    printed = framestream("plugins", "check")

    assert printed.status == 1
    assert "  wrong: upto: its class calls itself 'up_to', a name that nobody can ask for\n" in printed.out
    assert printed.out.endswith("1 plugin, 1 wrong\n")


def test_one_plugin_is_shown_with_its_traceback(framestream: Command, installed: Site) -> None:
    installed.install("acme-broken", "def fall(): raise OSError\nfall()", "broken")
    installed.install("acme-upto", UPTO, "upto")

    assert "in fall" in framestream("plugins", "show", "broken").out
    shown = framestream("plugins", "show", "upto").out
    assert "distribution:  acme-upto\n" in shown
    assert re.search(r"load_time: +\d+ ms\n", shown)
    assert "Traceback" not in shown


def test_plugins_are_disabled_and_loaded_by_argument(framestream: Command, installed: Site) -> None:
    installed.install("acme-upto", UPTO, "upto")

    assert framestream("-p", "upto", "cut", "upto", stdin=b"a;").frames == ["a"]
    printed = framestream("-p", "no:upto", "cut", "upto", stdin=b"a;")
    assert printed.status == 1
    assert "plugin acme-upto 1.0 is disabled: -p no:upto" in printed.err


# Rendering


def test_values_become_json_that_any_program_reads() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    (match,) = iter_frames(b"GET\n", Regex(rb"(?P<verb>\w{3})\n", result="match"))

    assert to_json({1: b"a", b"k": b"\xff", b"\xff": frozenset({3}), "f": float("inf")}) == (
        '{"1":"a","k":{"hex":"ff"},"ff":[3],"f":"inf"}'
    )
    assert to_json([None, True, 1.5, "é", (1, 2), object]) == '[null,true,1.5,"é",[1,2],"<class \'object\'>"]'
    assert to_json(match) == '{"match":"GET\\n","groups":{"verb":"GET"}}'
    assert to_json(os.stat_result(range(10)))[:3] == "[0,"
    assert to_json(Printed(1, "a", "b")) == '{"status":1,"out":"a","err":"b"}'
    assert to_json(deep) == '{"error":"nested too deeply to be shown"}'
    assert to_text(memoryview(b"a\xff")) == "a\\xff"
    assert to_text(5) == "5"


def test_a_hex_dump_begins_where_it_is_told() -> None:
    assert list(hexdump(b"", 5)) == []
    assert list(hexdump(b"\x00~\x7f", 255)) == [
        "000000ff  00 7e 7f                                          |.~.|"
    ]


def test_names_complete_in_the_shell() -> None:
    with plugins.isolated():
        assert ["length-prefix", "line"] == [item.value for item in SPEC.shell_complete(None, None, "l")]
    done = subprocess.run(
        [sys.executable, "-m", "framestream"],
        env={
            **os.environ,
            "_FRAMESTREAM_COMPLETE": "bash_complete",
            "COMP_WORDS": "framestream cut le",
            "COMP_CWORD": "2",
            "FRAMESTREAM_PLUGINS": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "plain,length-prefix\n"
