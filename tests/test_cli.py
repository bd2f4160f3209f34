"""``framestream cut``, and every command's mistakes, exit statuses, pipes and terminals."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import pytest
from command_line import Printed, start
from faulty_framers import faulty

from framestream import NeedMore, plugins
from framestream import __main__ as entry
from framestream.cli import run
from framestream.cli.output import say_list, to_json, to_text
from framestream.framer import PADDING, Decode

framestream = command_line.framestream
ROOT = Path(__file__).parents[1]

LINES = b"one\ntwo\r\n\nfour\n"
HOSTILE = "\x1b]0;title\x07 \x9b31m \u202e"


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(LINES)
    return path


# cut: what is printed


def test_json_lines_have_offset_size_and_frame_and_standard_input_is_the_default(framestream, lines):
    printed = framestream("cut", "line", lines)
    assert [(0, 4, "one"), (4, 5, "two"), (9, 1, ""), (10, 5, "four")] == [
        tuple(json.loads(line).values()) for line in printed.out.splitlines()
    ]
    assert ["offset", "size", "frame"] == list(json.loads(printed.out.splitlines()[0]))
    assert (0, "") == (printed.status, printed.err)
    assert printed == framestream("cut", "line", stdin=LINES)
    assert framestream("cut", "delimiter:;", "-", stdin=b"a;\x00;").frames == ["a", {"hex": "00"}]


def two_letters(_, window):
    """Find words of two letters, with blanks between them."""
    start = window.start
    if window.data[start : start + 1] == b" ":
        return start, start, start + 1, PADDING
    return (start, start + 2, start + 2) if len(window.data) >= start + 2 else NeedMore()


SPACED = faulty("Spaced", find=two_letters, decode=lambda _, payload: payload.decode() + "\ud800")


def test_padding_is_no_part_of_a_frame_and_a_lone_surrogate_is_printed_as_its_escape(framestream):
    plugins.register(SPACED, "spaced")
    printed = framestream("cut", "spaced", stdin=b"ab  cd")
    assert (0, 2) == (printed.status, printed.out.count(r"\ud800"))
    assert [(0, "ab\ud800"), (4, "cd\ud800")] == list(zip(printed.offsets, printed.frames, strict=True))
    assert "ab\\ud800\ncd\\ud800\n" == framestream("cut", "spaced", "-o", "text", stdin=b"ab  cd").out
    assert b"abcd" == framestream("cut", "spaced", "-o", "raw", stdin=b"ab  cd").raw
    dumped = framestream("cut", "spaced", "-o", "hex", stdin=b"ab  cd").out
    assert ["frame at 0, 2 bytes", "frame at 4, 2 bytes"] == re.findall("frame at [^,]+, [^,]+", dumped)


@pytest.mark.parametrize("form", ["json", "text", "hex", "raw"])
def test_a_frame_that_ends_otherwise_is_malformed_for_every_output(framestream, form):
    comma = Decode(bytes, trailer=b",")
    plugins.register(faulty("Trailed", find=lambda _, w: (w.start, w.start + 1, w.start + 2, comma)), "trailed")
    plugins.register(faulty("Backwards", find=lambda _, w: (w.start, w.start - 1, w.start)), "backwards")
    assert "framestream: Backwards(): " in framestream("cut", "backwards", "-o", form, stdin=b"a").err
    printed = framestream("cut", "trailed", "-o", form, stdin=b"a,b;")
    assert (1, 0) == (printed.status, printed.out.count("b;"))
    assert re.search(r"framestream: standard input: .* \(at offset 3\)\n", printed.err)


@pytest.mark.parametrize(("arguments", "stream", "printed"), [
    (["msgpack", "-o", "text"], b"\x81\xa1k\xc4\x01\xff\xa1a", b'{"k":{"hex":"ff"}}\na\n'),
    (["line", "-o", "text", "--separator", r"|\t"], b"a\nb\n", b"a|\tb|\t"),
    (["delimiter:;", "-o", "text"], b"\xffa;", b"\\xffa\n"),
    (["line", "-o", "text"], f"{HOSTILE}\n".encode(), f"{HOSTILE}\n".encode()),
    (["line", "-o", "raw"], b"a\r\nb\n", b"ab"),
    (["msgpack", "-o", "raw"], b"\xa1a\xc4\x01\xff", b"\xa1a\xc4\x01\xff"),
    (
        ["length-prefix:2", "-o", "hex"],
        b"\0\x120123456789abcdef\xff\n",
        b"frame at 0, 20 bytes, payload 18\n"
        b"00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
        b"00000010  ff 0a                                             |..|\n",
    ),
])  # fmt: skip
def test_text_is_decoded_and_raw_and_hex_are_the_payload(arguments, stream, printed, framestream):
    assert (0, printed, "") == framestream("cut", *arguments, stdin=stream)


def test_count_stops_and_a_size_given_here_goes_before_the_framers_own(framestream, lines):
    assert framestream("cut", "line", lines, "-n", "2").frames == ["one", "two"]
    assert framestream("cut", "delimiter:;,max=2", "--max-size", "1KiB", stdin=b"abcd;").frames == ["abcd"]


def test_stats_go_to_standard_error_and_memory_does_not_grow_with_the_input(framestream, tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(16 << 20)
    printed = framestream("cut", "fixed-length:64KiB", large, "--stats", "-o", "raw")
    stats = dict(re.split(" {2,}", line) for line in printed.err.splitlines())
    assert ("256", str(16 << 20), "0") == (stats["frames"], stats["received"], stats["left over"])
    assert int(stats["high water"]) <= 128 << 10
    assert re.fullmatch(r"\d\.\d{3} s, \d+\.\d MB/s", stats["time"])


# cut: what is wrong with the stream


@pytest.mark.parametrize(("spec", "stream", "frames", "complaint"), [
    (
        "length-prefix:1,max=3",
        b"\x01a\x05abcde\x01b",
        ["a", "b"],
        "frame of 5 bytes exceeds the limit 3 (at offset 2)\n"
        "00000002  05 61 62 63 64 65 01 62                           |.abcde.b|\n",
    ),
    ("length-prefix:1", b"\1a\5ab", ["a"], "3 of 6 bytes arrived (at offset 2)\n00000002  05 61 62"),
    ("line", b"a\n\xff\nb\n", ["a", "b"], "(frame at offset 2)\n00000002  ff "),
    ("nested(length-prefix,line)", b"\0\0\0\1a\0\0\0\1\xff", ["a"], "(frame at offset 5)\n00000009  ff "),
    ("line --on-payload-error close", b"a\n\xff\nb\n", ["a"], "(frame at offset 2)\n00000002  ff "),
    ("line:max=3 --on-oversize close", b"a\nlarge\nb\n", ["a"], "limit of 3 bytes (at offset 2)"),
    ("length-prefix:max=64 -o raw", b"GET / HTTP/1.1\r\n", [], "limit 64; looks like an HTTP request"),
])  # fmt: skip
def test_malformed_input_is_reported_with_its_place_after_what_came_before_it(
    spec, stream, frames, complaint, framestream
):
    printed = framestream("cut", *spec.split(), stdin=stream)
    assert (1, frames) == (printed.status, printed.frames)
    assert printed.err.startswith("framestream: standard input: ")
    assert complaint in printed.err


@pytest.mark.parametrize("output", ["text", "raw"])
def test_what_is_bad_or_too_large_costs_no_neighbour_where_frames_are_printed_in_batches(framestream, output):
    arguments = ["length-prefix:1", "--max-size", "3", "-o", output, "--separator", "|"]
    printed = framestream("cut", *arguments, stdin=b"\1a\5abcde\1b")
    assert (1, "a|b|", 1) == (printed.status, printed.out, printed.err.count("framestream: "))
    bad = framestream("cut", "line", "-o", "text", stdin=b"a\n\xff\nb\n\xff\n")
    assert (1, "a\nb\n", 2) == (bad.status, bad.out, bad.err.count("framestream: "))


@pytest.mark.parametrize(
    ("policy", "places"), [("discard", [(0, "ab"), (10, "cd")]), ("truncate", [(0, "ab"), (3, "abc"), (10, "cd")])]
)
def test_frames_above_the_limit_are_reported_and_offsets_stay_exact(policy, places, framestream):
    arguments = ["--max-size", "3", "--on-oversize", policy]
    printed = framestream("cut", "line", *arguments, stdin=b"ab\nabcdef\ncd\n")
    assert places == list(zip(printed.offsets, printed.frames, strict=True))
    told = "standard input: frame exceeds the limit of 3 bytes (at offset 3); 7 bytes skipped"
    assert (0, f"framestream: {told}\n") == (printed.status, printed.err)


# Mistakes


@pytest.mark.parametrize(("arguments", "status", "message"), [
    ("cut", 2, "framestream: Missing argument 'SPEC'.\nhint: framestream cut --help\n"),
    ("cut line -o xml", 2, "Invalid value for '-o' / '--output': 'xml' is not one of"),
    ("cut line --max-size big", 2, "Invalid value for '--max-size': 'big' is not a whole number"),
    ("cut line tls://a:4000", 2, "'tls://a:4000' is not a file; cut --jobs reads URLs of files"),
    ("cut line x --jobs 2 --stats", 2, "--stats is for one process; framestream stats --jobs counts frames"),
    ("cut line:kep=yes", 2, "\n  line:kep=yes\n       ^\nhint: framestream framers lists all"),
    ("cut lnie", 2, "did you mean 'line'?"),
    ("nonsense", 2, "framestream: No such command 'nonsense'.\nhint: framestream --help\n"),
    ("check no_such_module:thing", 2, "No module named 'no_such_module'"),
    ("plugins show x", 2, "framestream: no plugin 'x' is installed\n"),
    ("-p x framers", 2, "framestream: no plugin 'x' is installed\n"),
    ("--config no-such-file framers", 1, "framestream: no-such-file: no such file or directory\n"),
    ("new --update", 1, "no .framestream-new.json here; run this in the folder of a project that framestream new"),
    ("connect ./no-such-device -f line", 1, "framestream: ./no-such-device: no such file or directory\n"),
    ("connect exec:no-such-program -f line", 1, "cannot start no-such-program: no such file"),
    ("connect tls://a:1 -f line --ca no-such-file", 1, "in no-such-file: no such file or directory\n"),
    ("serve localhost -f line", 2, "'localhost' begins with none of the schemes"),
    ("serve unix:no/such/folder -f line", 1, "cannot listen on unix:no/such/folder: no such file"),
    ("serve tls://:0 -f line --cert no-such-file", 1, "no such file or directory\n"),
    ("connect tcp://127.0.0.1:1 -f line", 1, "cannot connect to tcp://127.0.0.1:1: connection refused"),
    ("connect tcp://a:1 -f line --send-framer available", 2, "available can only read"),
    ("connect tcp://a:1 -f line --timeout nan", 2, "'--timeout': 'nan' is not a number of seconds"),
    (f"connect tls://a:1 -f line --ca {__file__}", 1, f"the certificates to trust in {__file__}: "),
    ("serve tcp://:0 -f line --echo --exec cat", 2, "--echo and --exec exclude each other"),
    ("serve tcp://:0 -f line --exec '", 2, "'--exec': \"'\": no closing quotation"),
    ("serve tcp://:0 -f line --exec no-such-program", 1, "there is no program 'no-such-program'"),
    ("serve tcp://:0 -f line --exec=", 2, "'--exec': it names no command"),
    ("serve tcp://:0 -f line --notice nan", 2, "'--notice': 'nan' is not a number of seconds"),
    ("serve tcp://:0 -f line --max-size=-5", 2, "'--max-size': '-5' is not a size: it is negative"),
    ("serve tls://:0 -f line", 2, "--key and tls:// need a certificate: --cert FILE\n"),
    (f"serve tls://:0 -f line --cert {__file__}", 1, "one is missing or no PEM\n"),
    ("serve tcp://:0 -f line --echo --trusted ::1", 2, "trusted says whose PROXY headers count"),
    ("cut line sample:radis", 2, "no sample named 'radis' (available: dns, redis)"),
    ("stats line nosuch", 1, "framestream: nosuch: no such file or directory\n"),
    ("cut line /", 1, "framestream: /: is a directory\n"),
    (f"cut {__file__} line", 2, f"\nhint: {__file__} is a file, not a framer; framestream framers lists those\n"),
    ("stats line /", 1, "framestream: /: is a directory; give its files, such as /*\n"),
    ("cut --jobs 2 line nosuch", 1, "framestream: nosuch: no such file or directory\n"),
    ("index -f line nosuch", 1, "framestream: nosuch: no such file or directory\n"),
    ("cut line - --jobs 2", 2, "'-' is standard input, which cannot be read in parts; name a file\n"),
    ("stats line -", 2, "'-' is standard input, which cannot be read in parts"),
    ("index - -f line", 2, "'-' is standard input, which cannot be read in parts"),
    ("repair - -f line", 2, "'-' is standard input, which cannot be read in parts"),
    ("index sample:dns -f line", 2, "sample:dns comes with framestream and is only read; name a file of your own\n"),
    ("repair sample:dns -f line", 2, "sample:dns comes with framestream and is only read"),
])  # fmt: skip
def test_a_mistake_takes_a_line_and_a_hint(arguments, status, message, framestream):
    printed = framestream(*arguments.split())
    assert (status, b"") == (printed.status, printed.raw)
    assert message in printed.err
    assert printed.err.startswith("framestream: ")
    assert printed.err.count("\n") == 1 or re.search(r"\nhint: .*\n\Z", printed.err)


@pytest.mark.parametrize(("path", "flags", "complaint"), [
    (os.devnull, os.O_WRONLY, "framestream: standard input: bad file descriptor\n"),
    ("/", os.O_RDONLY, "framestream: standard input: is a directory\n"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(framestream, path, flags, complaint):
    assert (1, b"", complaint) == framestream("cut", "line", stdin=os.open(path, flags))


def test_an_error_of_the_system_that_names_no_file_or_an_empty_name_is_told_in_words(framestream, tmp_path):
    assert (1, b"", "framestream: '': no such file or directory\n") == framestream("cut", "line", "")
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert (1, b"", "framestream: no such file or directory\n") == framestream("framers")


def test_help_is_there_for_all_and_for_each_command(framestream):
    assert framestream("--version").out.startswith("framestream ")
    printed = framestream("--help")
    assert (0, "") == (printed.status, printed.err)
    commands = re.findall(r"^  (\w+)  ", printed.out.partition("Commands:\n")[2], re.MULTILINE)
    assert "cut stats index repair connect serve framers check plugins new" == " ".join(commands)
    for words in [*map(str.split, commands), ["plugins", "check"], ["plugins", "show"]]:
        printed = framestream(*words, "--help").out
        assert printed.startswith(f"Usage: framestream {' '.join(words)} [OPTIONS]")
        assert f"\n  Examples:\n    framestream {' '.join(words)}" in printed


def test_nothing_yet_is_not_the_end(framestream):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"a\n")
    printed = framestream("cut", "line", stdin=reader)
    os.close(writer)
    assert (1, ["a"]) == (printed.status, printed.frames)
    assert "framestream: standard input: resource temporarily unavailable\n" == printed.err


# In a process of its own


@pytest.mark.parametrize("arguments", ["cut line bytes", "connect 'exec:cat bytes' -f line -o json"])
def test_a_complaint_stands_after_what_was_printed_before_it(arguments, tmp_path):
    (tmp_path / "bytes").write_bytes(b"a\n\xff\nb\n")
    with start(*shlex.split(arguments), cwd=tmp_path, stderr=subprocess.STDOUT) as process:
        first, complaint, *_, last = process.communicate()[0].splitlines()
    assert (True, True) == (first.endswith(b'"a"}'), last.endswith(b'"b"}'))
    assert complaint.startswith(b"framestream: ")


def test_frames_appear_as_they_arrive_and_ctrl_c_ends_quietly():
    # A shell that starts a job in the background lets it ignore the signal; here it must not.
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with start("cut", "line", bufsize=0, **heed) as process:
        for word in ("one", "two"):
            process.stdin.write(f"{word}\n".encode())
            assert json.loads(process.stdout.readline())["frame"] == word
        process.send_signal(signal.SIGINT)
        assert (b"", b"", 130) == (*process.communicate(timeout=10), process.returncode)


def test_a_closed_pipe_ends_quietly():
    with start("cut", "line", bufsize=0) as process:
        process.stdin.write(b"one\n")
        process.stdout.readline()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write(b"two\n" * 100_000)
        process.stdin.close()
        assert (b"", 141) == (process.stderr.read(), process.wait(10))


@pytest.mark.parametrize("arguments", ["cut line lines.txt", "framers", "--help"])
def test_a_full_disk_takes_one_line(arguments, lines, monkeypatch, capfd):
    monkeypatch.chdir(lines.parent)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with plugins.isolated():
            assert run(arguments.split()) == 1
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert "framestream: standard output: no space left on device\n" == capfd.readouterr().err


def test_a_mistake_that_cannot_be_told_has_its_status():
    with open("/dev/full", "w") as full, start("cut", "nosuch", stderr=full) as process:
        assert 2 == process.wait(20)


def test_a_missing_extra_is_told_from_a_bug_and_an_interrupt_is_quiet(capsys, monkeypatch, tmp_path):
    def main_without(module):
        with monkeypatch.context() as patched:
            for name in [name for name in sys.modules if name.startswith(("framestream.cli", "click"))]:
                patched.delitem(sys.modules, name)
            if module:
                patched.setitem(sys.modules, module, None)
            return entry.main()

    assert main_without("click") == 2
    assert capsys.readouterr().err == (
        "framestream: the command line needs click, which is not installed\nhint: pip install click\n"
    )
    with pytest.raises(ModuleNotFoundError):
        main_without("importlib")
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    assert main_without(None) == 130


def test_help_imports_no_command_cutting_a_file_no_event_loop_and_nothing_a_module_of_unix(lines):
    script = """
import sys
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")))
before = set(sys.modules)
from framestream.cli import run

def imported():
    return {name.removeprefix("framestream.") for name in sys.modules.keys() - before}

run(["--help"])
assert not {"registry", "cli.cut", "cli.options"} & imported(), imported()
run(["cut", "line", sys.argv[1]])
others = {"net", "stream", "transport", "testing", "archives", "cli.connect", "cli.plugins"}
assert not others & imported(), imported()
assert not {"asyncio", "ssl", "socket", "msgpack"} & imported(), imported()
from framestream.cli import connect, new, plugins, serve
from framestream.net import workers
"""
    done = subprocess.run([sys.executable, "-c", script, lines], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


# On a terminal


@contextmanager
def terminal(monkeypatch, name):
    """Make a standard stream a terminal; what is given reads what it shows."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")

    def shown():
        found = b""
        while select.select([ours], [], [], 0.05)[0]:
            found += os.read(ours, 65536)
        return found.decode()

    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        yield shown
    monkeypatch.undo()
    os.close(ours)


def test_a_file_that_is_read_in_parts_has_a_progress_bar_on_a_terminal(lines, monkeypatch):
    with open(os.devnull, "w") as output, terminal(monkeypatch, "stderr") as shown:
        monkeypatch.setattr(sys, "stdout", output)
        assert run(["stats", "line", str(lines)]) == 0
        assert re.search(r"lines\.txt  \[.*100%", shown())
    with terminal(monkeypatch, "stderr") as shown, terminal(monkeypatch, "stdout") as printed:
        assert run(["cut", "line", str(lines), "--jobs", "1"]) == 0
        assert ("", True) == (shown(), printed().endswith('"four"}\r\n'))  # and no bar in between


def test_complaints_have_a_colour_on_a_terminal_only_and_never_what_a_terminal_obeys(monkeypatch, tmp_path):
    hostile = str(tmp_path / HOSTILE.replace("/", ""))
    for setting, label in (("", "\x1b[31m\x1b[1mframestream:\x1b[0m"), ("1", "framestream:")):
        monkeypatch.setenv("NO_COLOR", setting)
        with terminal(monkeypatch, "stderr") as shown, plugins.isolated():
            assert run(["cut", "line", hostile]) == 1
            text = shown()
        assert text.startswith(f"{label} {tmp_path}")
        assert r"\x1b]0;title\x07 \x9b31m \u202e: no such file or directory" in text


def test_lists_are_as_wide_as_a_terminal(monkeypatch):
    with terminal(monkeypatch, "stdout") as shown:
        say_list([("name", "words of five " * 9), ("a" * 20, "short")])
        lines = shown().splitlines()
    assert 50 < max(map(len, lines)) <= 60
    assert ["words", "of", "five"] * 9 == " ".join(lines[:-1]).split()[1:]


@pytest.mark.parametrize("form", ["json", "text"])
def test_control_characters_are_shown_on_a_terminal_and_not_obeyed(form, monkeypatch, tmp_path):
    file = tmp_path / "hostile"
    file.write_text(f"{HOSTILE} \u00e9\u3000\n")
    with terminal(monkeypatch, "stdout") as shown, plugins.isolated():
        assert run(["cut", "line", str(file), "-o", form]) == 0
        text = shown()
    assert re.search(r"(\\u001b|\\x1b)]0;title(\\u0007|\\x07) \\x9b31m \\u202e é\u3000", text)
    assert not re.search("[\x1b\x07\x9b\u202e]", text)


# Values


def test_values_become_json_that_any_program_reads():
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for value, text in (
        ({1: b"a", b"k": b"\xff", b"\xff": frozenset({3})}, '{"1":"a","k":{"hex":"ff"},"ff":[3]}'),
        ([None, True, 1.5, "é", (1, 2), object], '[null,true,1.5,"é",[1,2],"<class \'object\'>"]'),
        (Printed(1, b"a", "b"), '{"status":1,"raw":"a","err":"b"}'),
        (float("inf"), '"inf"'),
        (b"a\tb\r\n", r'"a\tb\r\n"'),
        ({(1, "a"): None, None: 2}, '{"[1,\\"a\\"]":null,"null":2}'),
        (deep, '{"error":"nested too deeply to be shown"}'),
    ):
        assert text == to_json(value)
    assert to_json(os.stat_result(range(10)))[:3] == "[0,"
    assert ["a\\xff", "5"] == [to_text(memoryview(b"a\xff")), to_text(5)]


def test_commands_complete_in_the_shell(monkeypatch, capsys):
    settings = {"_FRAMESTREAM_COMPLETE": "bash_complete", "COMP_WORDS": "framestream c", "COMP_CWORD": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        run([])
    assert "plain,cut\nplain,connect\nplain,check\n" == capsys.readouterr().out


def test_what_to_try_first_works(capsys):
    """Every command of the text that `framestream` alone prints, but for the one that writes a project."""
    assert 0 == run([])
    shown = capsys.readouterr().out
    commands = re.findall(r"^  framestream ((?:cut|framers) .*?)(?:  .*)?$", shown, re.MULTILINE)
    assert 3 == len(commands)
    assert [0, 0, 0] == [run(command.split()) for command in commands]


def test_samples_are_captures_and_every_command_that_reads_a_file_reads_one(framestream):
    captures = [capture.read_bytes() for capture in (ROOT / "examples" / "captures").glob("*.bin")]
    samples = [sample.read_bytes() for sample in (Path(entry.__file__).parent / "cli" / "samples").glob("*.bin")]
    assert all(sample in captures for sample in samples)
    cut = framestream("cut", "line", "sample:redis")
    assert cut.raw == framestream("cut", "line", "sample:redis", "--jobs", "1").raw
    assert f"frames          {len(cut.frames)}\n" in framestream("stats", "line", "sample:redis").out


def test_a_frame_for_which_there_is_not_enough_memory_is_told():
    resource = pytest.importorskip("resource")
    limited = partial(resource.setrlimit, resource.RLIMIT_AS, (1 << 28, 1 << 28))
    with start("cut", "line", "/dev/zero", "--max-size", "4GiB", preexec_fn=limited) as process:
        said = "framestream: there is not enough memory; --max-size limits what a frame takes\n"
        assert (b"", said.encode(), 1) == (*process.communicate(timeout=60), process.returncode)
