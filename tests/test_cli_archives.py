"""``framestream cut --jobs``, ``stats``, ``index`` and ``repair``."""

import bz2
import gzip
import json
import lzma
import os
import sys
import tracemalloc
import zlib

import command_line
import pytest
from cutting import growth_below

from framestream import PayloadError
from framestream.archives import Archive, InMemory, Reader, divide
from framestream.cli.cut import Cutting
from framestream.framers import LengthPrefix

framestream = command_line.framestream

# As large as needed for two splits, with a bad line in each, and a last one that is not complete.
LINES = (b"one\r\n" + b"x" * 500 + b"\n") * 5000
BAD = LINES + b"\xff\n" + LINES + b"\xff"
PREFIXES = b"\0\3one" * 3 + b"\0\6larger" + b"\0\3tw"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PREFIXES)
    return path


@pytest.mark.parametrize("options", [
    "",
    "--on-oversize close",
    "--on-payload-error close",
    "--max-size 4",
    "--output hex",
    "--on-oversize discard",
    "--on-oversize truncate",
    "--count 2 --output text",
    "--count 3",
    "--count 9 --on-payload-error close",
])  # fmt: skip
def test_bad_frames_and_broken_files_end_the_same(framestream, file, options):
    command = ("cut", "length-prefix:2,max=4", file, *options.split())
    one = framestream(*command)
    for jobs in (1, 2, 10**11):  # no more processes are started than have something to do
        several = framestream(*command, "--jobs", jobs)
        assert (one.status, one.raw, one.err) == (several.status, several.raw, several.err)


@pytest.mark.parametrize(("options", "complaints"), [
    ("discard", 2),
    ("truncate", 3),
    ("raise --output text", 2),
    ("raise --on-payload-error close", 1),
    ("raise --count 9999 --output text", 0),
    ("discard --count 20001", 2),
])  # fmt: skip
def test_frames_of_several_splits_are_skipped_and_reported(framestream, tmp_path, options, complaints):
    """A frame that is too large begins in one split and ends in the one after the next."""
    path = tmp_path / "file"
    path.write_bytes(BAD + b"y" * (3 << 20) + b"\n" + LINES[:5000])
    command = ("cut", "line", path, "--max-size", "500", "--on-oversize", *options.split())
    one, several = framestream(*command), framestream(*command, "--jobs", 2)
    assert (one.status, one.raw, one.err) == (several.status, several.raw, several.err)
    assert one.err.count("framestream: ") == complaints


def test_bad_frames_wait_for_their_turn_without_tracebacks():
    """A whole split of them may: with what its traceback holds, each took 4 KiB."""
    bad = 2000
    (split,) = divide(InMemory(b"\xff\n" * bad), "line", 1 << 20)
    tracemalloc.start()
    try:
        done = Cutting("json", None, "raise", "skip")(Reader(split))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert bad == sum(isinstance(piece, PayloadError) for piece in done)
    assert held < 1500 * bad


# Compressed files: the same with and without --jobs


def other(module):
    """Return a function that compresses, of a module that need not be there."""
    return lambda data: pytest.importorskip(module).compress(data)


zstd = other("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
COMPRESSED = {
    ".gz": gzip.compress,
    ".BGZ": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(20),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lz4": other("lz4.frame"),
    ".zst": zstd,
    ".zstd": zstd,
}


@pytest.mark.parametrize("options", ["", "--output text", "--count 2"])
@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_compressed_file_is_decompressed_with_and_without_jobs(framestream, tmp_path, ending, options):
    path = tmp_path / f"file{ending}"
    path.write_bytes(COMPRESSED[ending](PREFIXES))
    framing = ("length-prefix:2", *options.split())
    (tmp_path / "file").write_bytes(PREFIXES)
    as_it_is = framestream("cut", *framing, "file")
    one, several = (framestream("cut", *framing, path.name, *jobs) for jobs in ([], ["--jobs", "2"]))
    assert as_it_is.raw == one.raw == several.raw
    assert as_it_is.err.replace("file", path.name) == one.err
    assert one.err in several.err  # which may warn that the file cannot be divided
    assert as_it_is.status == one.status == several.status


UNREADABLE = {
    "no.gz": (b"no gzip\n", 0),
    "torn.gz": (gzip.compress(b"one\ntwo\n")[:-5], 2),
    "more.gz": (gzip.compress(b"one\n") + b"more", 1),
    "no.bz2": (b"no bzip2", 0),
    "torn.xz": (lzma.compress(b"one\n")[:-1], 1),
    "x.lz4": (b"lz4", 0),
    "nosuch.gz": (None, 0),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decompressed_is_told_the_same_after_the_frames_before_it(
    framestream, tmp_path, monkeypatch, name
):
    content, frames = UNREADABLE[name]
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    one, several = (framestream("cut", "line", name, "-o", "text", *jobs) for jobs in ([], ["--jobs", "2"]))
    assert (1, one.err) == (one.status, several.err)
    assert f"framestream: {name}: " in one.err
    assert (several.status, several.raw) == (1, b"")
    assert one.raw == b"one\ntwo\n"[: 4 * frames]


def test_standard_input_is_not_decompressed(framestream, tmp_path):
    (tmp_path / "x.gz").write_bytes(packed := gzip.compress(b"one\n"))
    printed = framestream("cut", "until-close", "-o", "raw", stdin=os.open("x.gz", os.O_RDONLY))
    assert (0, packed, "") == printed


def test_what_decompresses_to_much_is_cut_in_pieces(framestream, tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(64 << 20)))
    with growth_below(4 << 20):
        printed = framestream("cut", "delimiter:;", "x.gz", "--on-oversize", "discard", "--stats")
    assert f"received        {64 << 20}\n" in printed.err


def test_frames_of_a_compressed_pipe_appear_as_they_arrive(tmp_path):
    path = tmp_path / "pipe.gz"
    os.mkfifo(path)
    packing = zlib.compressobj(wbits=31)
    with command_line.start("cut", "line", path) as process, path.open("wb", buffering=0) as pipe:
        for word in ("one", "two"):
            pipe.write(packing.compress(f"{word}\n".encode()) + packing.flush(zlib.Z_SYNC_FLUSH))
            assert json.loads(process.stdout.readline())["frame"] == word
        pipe.write(packing.flush())
        pipe.close()
        assert (b"", b"", 0) == (*process.communicate(timeout=10), process.returncode)


# The other commands


def test_stats_count_frames_and_draw_their_sizes(framestream, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a\n" * 59 + b"\n" + b"b" * 100 + b"\n" + b"\xff\n")
    printed = framestream("stats", "line", path)
    assert printed.status == 1
    told = {line[:16].strip(): line[16:] for line in printed.out.splitlines()}
    assert [told[name] for name in ("frames", "bad frames", "bytes", "in frames", "sizes")] == [
        "61", "1", "222", "220", "1 to 101, 3.6 on average",
    ]  # fmt: skip
    (tmp_path / "empty").touch()
    empty = framestream("stats", "line", "empty")
    assert (0, 0) == (empty.status, empty.out.count("sizes"))
    bars = printed.out.splitlines()[-7:]
    assert bars[:2] == [f"{'1':>24} bytes ▊ 1", f"{'2 to 3':>24} bytes {'█' * 40} 59"]
    assert bars[-1] == f"{'64 to 127':>24} bytes ▊ 1"


def test_stats_of_several_files_count_the_bytes_of_all(framestream, tmp_path):
    for name, content in (("a.log", b"one\ntwo\n"), ("b.log", b"x\n")):
        (tmp_path / name).write_bytes(content)
    printed = framestream("stats", "line", tmp_path / "*.log", "--jobs", 2)
    assert ", 2 processes\n" in printed.out
    assert {"frames          3", "bytes           10", "in frames       10"} <= set(printed.out.splitlines())


def test_stats_of_a_broken_file_tell_what_is_wrong(framestream, file):
    printed = framestream("stats", "length-prefix:2", file)
    assert printed.status == 1
    assert "frames          4\n" in printed.out
    assert f"framestream: {file}: stream ended inside a frame: 4 of 5 bytes arrived (at offset 23)" in printed.err


def test_an_index_is_written_beside_its_file_and_again_after_a_change(framestream, file):
    broken = framestream("index", file, "--framer", "length-prefix:2")
    assert (1, "") == (broken.status, broken.out)
    assert "stream ended inside a frame" in broken.err
    assert not file.with_name("file.fsindex").exists()
    file.write_bytes(PREFIXES[:-4])
    printed = framestream("index", file, "--framer", "length-prefix:2")
    assert (0, f"{file}.fsindex: 4 frames, 1 place\n") == (printed.status, printed.out)
    assert Archive(file, LengthPrefix(2))[3] == b"larger"
    file.write_bytes(PREFIXES[:-4] * 2)
    again = framestream("index", file, "--framer", "length-prefix:2")
    assert (0, f"{file}.fsindex: 8 frames, 1 place\n") == (again.status, again.out)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="this system has no /proc")
def test_a_file_of_the_kernel_that_tells_no_size_is_read_as_a_stream_only(framestream):
    assert framestream("cut", "line", "/proc/self/status", "-n", "1").frames[0].startswith("Name:")
    told = "framestream: /proc/self/status: it tells no size, so it cannot be read in parts\n"
    for command in ("stats line /proc/self/status", "cut line /proc/self/status --jobs 1"):
        assert (1, b"", told) == framestream(*command.split())


@pytest.mark.parametrize("command", ["index", "repair", "stats"])
def test_a_framer_is_looked_for_before_a_file_is_read(framestream, tmp_path, command):
    """All of a compressed file is read when it is opened."""
    path = tmp_path / "damaged.gz"
    path.write_bytes(b"damaged")
    arguments = ["nosuch", path] if command == "stats" else [path, "--framer", "nosuch"]
    printed = framestream(command, *arguments)
    assert printed.status == 2
    assert "no framer named 'nosuch'" in printed.err


def test_a_torn_end_is_cut_off(framestream, file):
    torn = PREFIXES[-4:]
    for whole, stay in ((PREFIXES[:5], "1 frame stays"), (PREFIXES[:-4], "4 frames stay")):
        file.write_bytes(whole + torn)
        printed = framestream("repair", file, "--framer", "length-prefix:2")
        told = f"4 bytes at offset {len(whole)} cut off, and kept in {file}.torn-{len(whole)}; {stay}\n"
        assert (0, True) == (printed.status, printed.out.endswith(told))
    whole = framestream("repair", file, "--framer", "length-prefix:2")
    assert (0, f"{file}: whole, 4 frames\n") == (whole.status, whole.out)
    refused = framestream("repair", file, "--framer", "length-prefix:8")
    assert refused.status == 1
    what, *_, reason = (line for line in refused.err.splitlines() if line.startswith("framestream: "))
    assert f"framestream: {file}: stream ended inside a frame: 23 of " in what
    assert reason.endswith(": this is not a torn end, or not a file of these frames; nothing is cut off")
