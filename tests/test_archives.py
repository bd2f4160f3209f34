"""Archives: however a file is divided, its splits give the frames of the whole."""

from __future__ import annotations

import bz2
import errno
import gc
import gzip
import logging
import lzma
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import (
    Delimiter,
    EncodeError,
    Exactly,
    FixedLength,
    Framer,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    Line,
    Mapped,
    Msgpack,
    NeedMore,
    PayloadError,
    ReadCondition,
    Regex,
    Span,
    UntilClose,
    Window,
    WorkerError,
    iter_frames,
)
from framestream.archives import (
    Archive,
    ArchiveError,
    Index,
    InMemory,
    Reader,
    Record,
    Split,
    append,
    divide,
    make_index,
    open_sources,
    plan,
    process,
    repair,
    stitch,
    write,
)
from framestream.archives.files import Compressed
from framestream.archives.index import Marks
from framestream.framer import PADDING, Decode, ValueSpan
from framestream.testing.streams import check_division
from framestream.testing.suite import cut_at

LIMIT = 300


def whole(data: bytes, framer: ReadCondition[Any]) -> list[Record]:
    """Return what one process reads."""
    return list(Split(InMemory(data), framer, 0, len(data)).records(on_error="column"))


def until_error(frames: Iterable[Any]) -> list[Any]:
    """Return the frames, and what ended them early."""
    done: list[Any] = []
    try:
        done.extend(frames)
    except FramingError as error:
        done.append((type(error), error.reason, error.offset))
    return done


def of_lines(random: Random) -> bytes:
    return b"".join(random.choice((b"", b"a", b"\xff", b"ab\r", b"x" * 40)) + b"\n" for _ in range(20))


def of_prefixes(random: Random) -> bytes:
    return b"".join(struct.pack(">H", size) + random.randbytes(size) for size in random.choices(range(9), k=40))


def of_msgpack(random: Random) -> bytes:
    values = [{"id": random.randrange(1000), "text": "x" * random.randrange(9)} for _ in range(20)]
    return b"".join(msgpack.packb(value) for value in values)


FRAMERS: dict[str, tuple[ReadCondition[Any], Any]] = {
    "line": (Line(), of_lines),
    "delimiter": (Delimiter(b"\n"), of_lines),
    "overlapping": (Delimiter(b"\n\n", last=True), lambda r: bytes(r.choices(b"a\n", k=60))),
    "half overlapping": (Delimiter((b"ab", b"ba")), lambda r: bytes(r.choices(b"abc", k=60)) + b"ab"),
    "fixed": (FixedLength(7), lambda r: r.randbytes(70)),
    "fixed, torn": (FixedLength(7), lambda r: r.randbytes(73)),
    "exactly": (Exactly(5), lambda r: r.randbytes(50)),
    "prefix": (LengthPrefix(2), of_prefixes),
    "garbage": (LengthPrefix(1), lambda r: r.randbytes(500)),
    "zeros": (LengthPrefix(2), lambda r: bytes(2 * r.randrange(60))),
    "too large": (LengthPrefix(2, max_size=5), of_prefixes),
    "prefixes in a prefix": (LengthPrefix(2), lambda r: struct.pack(">H", len(d := of_prefixes(r))) + d + d),
    "msgpack": (Msgpack(), of_msgpack),
    "regex": (Regex(rb"[^;]*;"), lambda r: b"".join(b"%d;" % r.randrange(999) for _ in range(30))),
    "until close": (UntilClose(), lambda r: r.randbytes(r.randrange(200))),
}


@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=30)
@given(st.integers(0, 1 << 32), st.lists(st.integers(0, 600), max_size=5))
def test_splits_give_what_the_whole_gives(name: str, seed: int, borders: list[int]) -> None:
    framer, make = FRAMERS[name]
    data = make(Random(seed))
    check_division(framer, cut_at(data, borders), step=7, limit=LIMIT)


class Closed(Framer[bytes]):
    """Frames of two bytes, and spaces; a full stop ends the last one, after which there may be others."""

    def find(self, window: Window) -> ValueSpan | NeedMore:
        start = window.start
        if window.data[start : start + 1] == b" ":
            return start, start + 1, start + 1, PADDING
        frame = window.data[start : start + 2]
        if len(frame) < 2:
            return NeedMore(2)
        return start, start + 2, start + 2, Decode(bytes, final=frame.endswith(b"."))

    def encode(self, frame: bytes) -> Any:
        return bytearray(frame)  # streams take any buffer, too


def test_what_is_wrong_at_the_end_of_a_file_is_that_of_its_last_frame() -> None:
    assert check_division(Closed(), [b"a,b", b","]).events[-1].kind == "IncompleteFrame"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def fill(path: Path, name: str, times: int = 40) -> tuple[bytes, ReadCondition[Any]]:
    framer, make = FRAMERS[name]
    data = b"".join(make(Random(number)) for number in range(times))
    path.write_bytes(data)
    return data, framer


def numbers_of(reader: Reader) -> list[int]:
    print("printed")  # as a framer's module may, when it is imported there
    return [record.offset for record in reader.records()]


@pytest.mark.parametrize("name", ["msgpack", "prefix", "overlapping"])
def test_processes_give_the_results_in_order_and_print_elsewhere(path: Path, name: str, capfd: Any) -> None:
    data, framer = fill(path, name)
    results = process(plan(path, framer, parts=5), numbers_of, jobs=2)
    assert [*chain.from_iterable(results)] == [record.offset for record in whole(data, framer)]
    out, err = capfd.readouterr()
    assert (results.walked_twice > 0) == ("printed" in out)
    # A split that was guessed wrong is done again here.
    assert out.count("printed") < 5 <= err.count("printed")


def test_errors_hold_no_traceback_and_no_file(path: Path) -> None:
    """All callers, and what they have, hang on a traceback: a few KiB for each bad frame."""
    path.write_bytes(b"\xff\n" * 10)
    gc.collect()
    gc.disable()
    try:
        before = os.listdir("/dev/fd")
        errors = [record.error for split in plan(path, Line(), parts=3) for record in split.records(on_error="column")]
        assert len(os.listdir("/dev/fd")) == len(before)
    finally:
        gc.enable()
    assert len(errors) == 10
    for error in errors:
        assert error is not None
        assert error.__cause__ is not None
        assert error.__traceback__ is error.__cause__.__traceback__ is None


def test_a_process_that_dies_is_told(path: Path) -> None:
    _, framer = fill(path, "prefix")
    with pytest.raises(WorkerError, match="killed"):
        list(process(plan(path, framer, parts=2), die, jobs=2))


def die(reader: Reader) -> None:
    os._exit(1)


LOCK = threading.Lock()


def test_processes_do_not_inherit_the_locks_of_threads(path: Path) -> None:
    data, framer = fill(path, "line")
    with LOCK, ThreadPoolExecutor() as threads:
        results = threads.submit(list, process(plan(path, framer, parts=2), with_the_lock, jobs=2)).result()
    assert sum(results) == len(whole(data, framer))


def with_the_lock(reader: Reader) -> int:
    assert LOCK.acquire(timeout=30)
    LOCK.release()  # one process may do both splits
    reader.drain()
    return reader.count


# Run by "-c", it is no module from which another process could import the function.
COPIED = """
import os, time
from framestream.archives import plan, process
def stay(reader):
    os.write(1, b"here")
    time.sleep(600)
list(process(plan({path!r}, {spec!r}, parts=9), stay, jobs=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_processes_are_copies_of_a_program_with_one_thread_and_end_with_it(path: Path, how: str) -> None:
    _, framer = fill(path, "fixed")
    command = [sys.executable, "-c", COPIED.format(path=str(path), spec=str(framer))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as program:
        assert program.stdout is not None
        assert program.stdout.read(8) == b"herehere"
        if how == "killed":
            program.kill()
        else:
            os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        try:
            _, told = program.communicate(timeout=60)  # the output ends when nobody has it any more
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        assert told.count(b"Traceback") == (how == "interrupted")


AGAIN = """
from framestream.archives import plan, process
def count(reader):
    reader.drain()
    return reader.count
for _ in range(9):
    print(sum(process(plan({path!r}, {spec!r}, parts=2), count, jobs=2)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
def test_threads_of_the_call_before_do_not_count(path: Path) -> None:
    data, framer = fill(path, "fixed")
    command = [sys.executable, "-c", AGAIN.format(path=str(path), spec=str(framer))]
    assert subprocess.check_output(command).split() == [b"%d" % (len(data) // 7)] * 9


def test_splits_are_small_values_that_can_be_pickled(path: Path) -> None:
    data, framer = fill(path, "line")
    splits = plan(path, framer, parts=3)
    pickled = pickle.dumps(splits)
    assert pickle.loads(pickled) == splits
    assert len(pickled) < 1000
    borders = [len(data) * i // 3 for i in range(4)]
    assert [(split.start, split.stop) for split in splits] == list(pairwise(borders))


def test_two_or_four_processes_get_as_much_of_a_large_file_each(path: Path) -> None:
    path.touch()
    os.truncate(path, (1 << 30) + 12345)
    sizes = [split.stop - split.start for split in plan(path, "line")]
    assert (len(sizes) % 4, max(sizes) - min(sizes)) == (0, 1)


def test_a_split_whose_first_frame_is_a_guess_is_not_read(path: Path) -> None:
    _, framer = fill(path, "prefix")
    with pytest.raises(ArchiveError, match=r"file: where a frame of .* begins cannot be told .* stitch\(\)"):
        list(plan(path, framer, parts=2)[1].frames())


@pytest.mark.parametrize(
    ("frames", "guess", "walked"), [(b"\2\1\1", 1501, 3), (b"\2\1\1", 1503, 3), (b"\2\2\2", 1501, 1500)]
)
def test_a_split_is_walked_again_only_until_both_chains_meet(frames: bytes, guess: int, walked: int) -> None:
    first, second = divide(InMemory(frames * 1000), LengthPrefix(1), 1500)
    wrong = replace(second, first=guess)
    stitched = stitch([first, second], map=lambda walk, splits: [walk(first), walk(wrong)])
    assert [split.first for split in stitched.splits] == [0, 1500]
    assert stitched.walked_twice == walked


def test_each_file_begins_anew(tmp_path: Path) -> None:
    contents = {"one": b"\1a\1b\1", "two": b"\1c" * 100}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torn, *others = stitch(plan(map(tmp_path.joinpath, contents), LengthPrefix(1), size=100)).splits
    assert until_error(torn.frames())[:-1] == [b"a", b"b"]
    assert [frame for split in others for frame in split.frames()] == [b"c"] * 100


def test_chains_in_another_order_are_refused_for_they_would_lose_frames() -> None:
    splits = list(divide(InMemory(b"\2\1\1" * 1000), LengthPrefix(1), 500))
    with pytest.raises(ValueError, match="it must keep the order"):
        stitch(splits, map=lambda walk, splits: [*map(walk, splits)][::-1])


def test_splits_after_what_is_malformed_have_no_frames() -> None:
    data = b"\1" * 50 + b"\xc1" + b"\1" * 49
    first, second, *others = stitch(divide(InMemory(data), Msgpack(), 40)).splits
    assert list(first.frames()) == [1] * 33
    with pytest.raises(FramingError, match="at offset 50"):
        list(second.frames())
    assert [list(split.frames()) for split in others] == [[]]


class Ended(ReadCondition[bytes]):
    """Frames with a size of one byte before them, and a comma after."""

    def find(self, window: Window) -> ValueSpan:
        first = window.start + 1
        stop = first + window.data[window.start]
        return first, stop, stop + 1, Decode(bytes, trailer=b",")


def test_an_error_in_a_frame_that_is_skipped_is_that_of_its_split() -> None:
    data = b"\5hello,\5hello;\5hello,"
    source = InMemory(data, step=2)
    splits = [Split(source, Ended(), *border, max_frame_size=3) for border in ((0, 9), (9, 14), (14, 21))]

    def read(reader: Reader) -> list[Any]:
        pieces = reader.pieces(in_batches=False, on_oversize="discard")
        return until_error(error and error.offset for _, error in pieces)

    reason = "frame ends with b';' where b',' is expected"
    assert list(process(splits, read, jobs=1)) == [[0, (FramingError, reason, 13)]]


def test_a_frame_that_is_truncated_counts_once() -> None:
    data = b"\1a\5large\1b"
    reader = Split(InMemory(data), LengthPrefix(1, max_size=3), 0, len(data)).read()
    pieces = reader.pieces(in_batches=False, on_oversize="truncate")
    assert [frame for frames, _ in pieces for frame in frames] == [b"a", b"lar", b"b"]
    assert (reader.count, reader.bad) == (3, 1)


# Files that are not what they were


def test_a_file_may_grow_but_not_change(path: Path) -> None:
    data, framer = fill(path, "prefix")
    (split,) = plan(path, framer)
    with open(path, "ab") as file:
        file.write(data)
    assert len(list(split.frames())) == len(whole(data, framer))
    for reason, content in {"shorter": data[:-1], "changed": data[:-1] + b"\0"}.items():
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        with pytest.raises(ArchiveError, match=rf"{path}: .*{reason}.*plan again"):
            list(split.frames())


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        ("nosuch", "nosuch: no such file or directory"),
        (".", r"\.: is a directory; give its files, such as \./\*"),
        ("nosuch*", r"nosuch\*: nothing matches"),
        ("nosuch://bucket/key", "it cannot be read|it needs fsspec"),
        ("pipe", "it is a pipe or a device, which cannot be read in parts"),  # its size is 0: it would seem empty
        ("zeros.gz", r"no gzip file, or damaged.*offset 0"),
        ("no.gz", r"no\.gz: it is no gzip file, or damaged: .* \(at offset 0\)"),
        ("more.gz", r"it is no gzip file, or damaged: .* \(at offset 24\)"),
        ("torn.gz", r"it ends inside a gzip member \(at offset 0\)"),
        ("no.bz2", r"no\.bz2: it is no bzip2 file, or damaged: .* \(at offset 0\)"),
        ("hungry.xz", r"it is no xz file, or damaged: Memory usage limit exceeded \(at offset 0\)"),
        ("x.lz4", r"x\.lz4: it is compressed by lz4, which needs: pip install lz4"),
    ],
)
def test_what_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, urls: str, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    good = gzip.compress(b"one\n")
    hungry = lzma.compress(b"one\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "preset": 0}])
    for name, data in (("zeros", bytes(100_000)), ("no", b"no gzip"), ("more", good + b"more"), ("torn", good[:-1])):
        Path(f"{name}.gz").write_bytes(data)
    Path("no.bz2").write_bytes(b"no bzip2")
    Path("x.lz4").write_bytes(b"lz4")
    Path("hungry.xz").write_bytes(hungry)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(ArchiveError, match=reason):
        plan(urls, "line")


def test_a_glob_finds_no_index_and_a_name_may_look_like_one(tmp_path: Path) -> None:
    for name in ("a[1]", "a1"):
        write(tmp_path / name, [name], Line())
    assert [source.url for source in open_sources(tmp_path / "*")] == [str(tmp_path / name) for name in ("a1", "a[1]")]
    assert list(Archive(tmp_path / "a[1]", Line())) == ["a[1]"]


def test_an_error_tells_its_file_and_place(path: Path) -> None:
    path.write_bytes(b"\0\3abc\0\3ab")
    with pytest.raises(IncompleteFrame, match=rf"arrived \(at offset 5 of {path}\)"):
        list(plan(path, LengthPrefix(2))[0].frames())


# Indexes


PLACED = {Line(): b"x" * 79 + b"\n", LengthPrefix(2): b"\0\x40" + bytes(64), Msgpack(): msgpack.packb({"a": [1] * 60})}


@pytest.mark.parametrize("framer", PLACED, ids=str)
def test_a_place_is_kept_for_each_64_kib_so_that_no_more_is_cut_for_one_frame(framer: ReadCondition[Any]) -> None:
    frame = PLACED[framer]
    data = frame * (3_000_000 // len(frame))
    reader = Split(InMemory(data), framer, 0, len(data)).read()
    reader.drain()
    places = [0, *reader.marks.offsets, len(data)]
    assert max(after - before for before, after in pairwise(places)) <= (1 << 16) + len(frame)
    assert len(places) < len(data) >> 14


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["prefix", "msgpack", "line", "too large"])
def test_an_index_gives_every_frame_by_its_number(path: Path, name: str, jobs: int) -> None:
    data, framer = fill(path, name, times=300)
    records = whole(data, framer)
    frames = [record.frame for record in records]
    done: list[int] = []
    index = make_index(path, framer, jobs=jobs, on_progress=done.append)
    assert sum(done) == len(data)
    assert index.count == len(frames)
    pickled = pickle.dumps(Archive(path, framer))
    archive = pickle.loads(pickled)
    assert len(archive) == len(frames)
    for number in (0, 1, len(frames) // 2, len(frames) - 1, -1, -len(frames), *range(0, len(frames), len(frames) // 9)):
        if records[number].error is None:
            assert archive[number] == frames[number]
        else:
            with pytest.raises((PayloadError, FrameTooLarge), match=rf"at offset {records[number].offset} of {path}"):
                archive[number]
    with pytest.raises(IndexError, match=f"frame {len(frames)} of an archive of {len(frames)} frames"):
        archive[len(frames)]
    for wrong in ("1", 1.0):
        with pytest.raises(TypeError, match=f"'{type(wrong).__name__}' object cannot be interpreted as an integer"):
            archive[wrong]  # type: ignore[call-overload]
    assert len(pickle.dumps(archive)) == len(pickled)
    if name not in ("line", "too large"):
        assert archive[2:4] == archive.__getitems__([2, 3]) == frames[2:4]
        assert list(archive) == frames
        assert all(split.is_exact for split in plan(path, framer, parts=4))


def test_a_loader_of_pytorch_takes_an_archive(path: Path) -> None:
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    write(path, ({"n": n} for n in range(50_000)), Msgpack())
    for workers in (0, 2):
        loader = data.DataLoader(Archive(path, Msgpack()), batch_size=500, num_workers=workers)
        assert [n for batch in loader for n in batch["n"].tolist()] == list(range(50_000))


def test_a_stale_index_is_refused_with_the_reason(path: Path) -> None:
    data, framer = fill(path, "prefix")
    with pytest.raises(ArchiveError, match="no index"):
        Archive(path, framer)
    make_index(path, framer)
    stamp = os.stat(path).st_mtime_ns
    with pytest.raises(ArchiveError, match="is of the framing length-prefix:size=2, not length-prefix:size=4"):
        Archive(path, LengthPrefix(4))
    reasons = {
        f"had {len(data)} bytes, and has 2": (b"\0\0", stamp),
        "was changed": (data, stamp + 1),
        "begins or ends otherwise": (bytes(len(data)), stamp),
    }
    for reason, (content, when) in reasons.items():
        path.write_bytes(content)
        os.utime(path, ns=(when, when))
        with pytest.raises(ArchiveError, match=f"stale: .*{reason}.*framestream index"):
            Archive(path, framer)


def rewrite_index(path: str | Path, **fields: Any) -> None:
    (source,) = open_sources(path)
    index = Index.load(source)
    assert index is not None
    replace(index, **fields).save(source)


def test_a_damaged_index_and_one_that_is_not_true_are_refused(path: Path) -> None:
    _, framer = fill(path, "prefix")
    count = make_index(path, framer).count
    rewrite_index(path, count=count + 1)
    with pytest.raises(ArchiveError, match=f"the index is wrong: frame {count} is not where it says"):
        Archive(path, framer)[count]
    beside = Path(f"{path}.fsindex")
    data = beside.read_bytes()
    for damaged in (b"", data[:-1], data + b"0", data[:50] + b"0" + data[51:]):
        beside.write_bytes(damaged)
        for use in (Archive, plan):
            with pytest.raises(ArchiveError, match=r"fsindex: it is damaged, or .*make it again"):
                use(path, framer)
    os.truncate(beside, 1 << 40)  # this would not fit into memory
    with pytest.raises(ArchiveError, match=r"fsindex: it has 1099511627776 bytes, too many for an index; make it"):
        plan(path, framer)
    beside.unlink()
    beside.mkdir()
    with pytest.raises(ArchiveError, match=r"fsindex: is a directory"):
        plan(path, framer)


def test_bytes_in_memory_have_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("memory.fsindex").touch()
    assert Index.beside(InMemory(b"one\n"), Line()) is None
    with pytest.raises(ArchiveError, match="memory: no file can be written next to it"):
        make_index(InMemory(b"one\n"), Line())


# Writing

PREFIX = LengthPrefix(2)


def test_what_is_written_is_read_back_with_its_index(path: Path) -> None:
    frames = [bytes(number % 200) for number in range(3000)]
    assert write(path, frames, PREFIX) == [str(path)]
    assert list(Archive(path, PREFIX)) == frames
    assert Archive(path, PREFIX)[2999] == frames[2999]
    assert sorted(child.name for child in path.parent.iterdir()) == ["file", "file.fsindex"]


def test_what_is_written_does_not_wait_in_memory(path: Path) -> None:
    sizes = []

    def frames() -> Iterator[bytes]:
        for _ in range(9):
            yield bytes(60_000)
            sizes.append(path.with_name(".file.partial").stat().st_size)

    write(path, frames(), PREFIX)
    assert max(sizes) > 1 << 18


def test_a_file_that_cannot_be_finished_is_not_there(path: Path) -> None:
    with pytest.raises(EncodeError):
        write(path, [b"one", "two"], PREFIX)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("action", "name", "reason"),
    [
        (write, "no/file", "no such file"),
        (write, "nosuch://bucket/key", "it cannot be written: protocol not known|it needs fsspec"),
        (repair, "*", "no such file"),
        (append, "memory://remote.bin", "it is not a local file, so it cannot be changed"),
        (repair, "memory://remote.bin", "it is not a local file, so it cannot be changed"),
        (write, "x.gz", r"x\.gz: its name says that it is compressed"),
        (append, "x.gz", r"x\.gz: its name says that it is compressed"),
        (repair, "file", "torn-5: it holds what an earlier repair cut off; move it away"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[..., Any], name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    there = {"file": b"\0\3one\0\3tw", "file.torn-5": b"\0\3xy"}
    for file, content in there.items():
        Path(file).write_bytes(content)
    with pytest.raises(ArchiveError, match=reason):
        action(name, *([] if action is repair else [[b"one"]]), PREFIX)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == there


def test_frames_are_appended_and_the_index_follows(path: Path) -> None:
    path.symlink_to("target")  # which is not there yet
    assert append(path, [b"one"], PREFIX) == 1
    assert append(path, (b"two" for _ in range(20000)), PREFIX) == 20000
    assert append(path, [b"end"], PREFIX) == 1
    archive = Archive(path, PREFIX)
    assert (len(archive), archive[0], archive[20000], archive[20001]) == (20002, b"one", b"two", b"end")
    before = path.read_bytes()
    with pytest.raises(EncodeError):
        append(path, [b"good", None], PREFIX)
    assert path.read_bytes() == before
    path.write_bytes(before + b"\0")
    with pytest.raises(ArchiveError, match="stale"):
        append(path, [b"more"], PREFIX)
    with pytest.raises(IncompleteFrame):
        append(path, [b"more"], PREFIX, index=False)


def test_a_file_that_takes_the_name_of_one_appended_to_is_left_alone(path: Path) -> None:
    other, old = path.with_name("other"), path.with_name("old")
    path.write_bytes(b"\0\3one")
    other.write_bytes(b"\0\5other")

    def replacing() -> Iterator[bytes]:
        yield bytes(1000)
        path.rename(old)
        other.rename(path)
        raise KeyError

    with pytest.raises(KeyError):
        append(path, replacing(), PREFIX)
    assert (old.read_bytes(), path.read_bytes()) == (b"\0\3one", b"\0\5other")


def test_what_somebody_else_appends_meanwhile_is_neither_overwritten_nor_cut_off(path: Path) -> None:
    def others() -> Iterator[bytes]:
        append(path, [b"other"], PREFIX, index=False)
        yield b"mine"

    def finishing(frame: bytes) -> None:
        if (data := path.read_bytes()).endswith(b"tw"):
            path.write_bytes(data + b"o")

    path.write_bytes(b"\0\3one")
    with pytest.raises(ArchiveError, match="it is longer than"):
        append(path, others(), PREFIX)
    assert path.read_bytes() == b"\0\3one\0\5other"
    path.write_bytes(path.read_bytes() + b"\0\3tw")
    with pytest.raises(ArchiveError, match="it is longer than"):
        repair(path, Mapped(PREFIX, finishing))
    assert path.read_bytes() == b"\0\3one\0\5other\0\3two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("action", ["append", "write"])
def test_a_disk_that_takes_no_more_is_told_and_leaves_what_was_there(tmp_path: Path, path: Path, action: str) -> None:
    """The system first takes a part of what is written, and only then refuses."""
    resource = pytest.importorskip("resource")
    write(path, [b"one"], PREFIX, index=False)
    before = path.read_bytes()
    frames = [bytes(100)] * 5000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(ArchiveError, match=f"{path}: it cannot be written: file too large"):
            {"append": append, "write": write}[action](path, frames, PREFIX, index=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_disk_does_not_keep_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ArchiveError, match="file: it cannot be written: input/output error"):
        write(path, [b"one"], PREFIX)
    assert list(path.parent.iterdir()) == []
    path.write_bytes(b"\0\3one")
    with pytest.raises(ArchiveError, match="file: it cannot be written: input/output error"):
        append(path, [b"two"], PREFIX)
    assert path.read_bytes() == b"\0\3one"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any file")
def test_a_file_without_permission_to_write_is_told_and_left_alone(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"\0\3one\0\3tw")
    path.chmod(0o444)
    with pytest.raises(ArchiveError, match="file: it cannot be written: permission denied"):
        repair(path, PREFIX)
    path.chmod(0o644)
    path.write_bytes(b"\0\3one")
    path.chmod(0o444)
    with pytest.raises(ArchiveError, match="file: it cannot be written: permission denied"):
        append(path, [b"two"], PREFIX)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"\0\3one", [path])


@pytest.mark.parametrize(
    ("framer", "there", "frame"),
    [
        (Line(), b"one\ntw", "more"),
        (UntilClose(), b"one", b"more"),
        (Delimiter(b";", last=True), b"a;b", b"c"),
    ],
    ids=str,
)
def test_nothing_is_appended_that_would_be_joined_to_the_last_frame(
    path: Path, framer: Framer[Any], there: bytes, frame: Any
) -> None:
    path.write_bytes(there)
    with pytest.raises(ArchiveError, match=rf"would be joined to its last frame \(at offset {len(there)}\)"):
        append(path, [frame], framer)
    assert path.read_bytes() == there
    assert append(path, [], framer) == 0


def test_the_end_of_a_file_may_lie_in_the_frames_to_come(path: Path) -> None:
    assert append(path, [b"a,", b"b."], Closed()) == 2
    assert append(path, [b"c,", b"d."], Closed()) == 2
    assert list(Archive(path, Closed())) == [b"a,", b"b.", b"c,", b"d."]


def test_a_file_that_begins_with_padding_is_not_walked_twice() -> None:
    assert stitch(divide(InMemory(b"  a,b."), Closed(), 100)).walked_twice == 0


def test_what_would_be_torn_again_is_not_cut_off(path: Path) -> None:
    path.write_bytes(b"a.b,c")
    with pytest.raises(IncompleteFrame, match="at offset 4"):
        repair(path, Closed())
    assert path.read_bytes() == b"a.b,c"
    path.write_bytes(b"a.b.c")
    assert repair(path, Closed()).frames == 2


def test_a_torn_end_is_cut_off_and_kept(path: Path) -> None:
    url = f"file://{path}"
    torn = b"\0\6too large"[:5]
    path.write_bytes(b"\0\3one" + torn)
    done = repair(url, LengthPrefix(2, max_size=5))
    assert (done.frames, done.size, done.cut) == (1, 5, 5)
    assert (path.read_bytes(), Path(done.torn).read_bytes()) == (b"\0\3one", torn)
    assert repair(url, PREFIX).cut == 0
    assert append(url, [b"two"], PREFIX) == 1
    assert path.read_bytes() == b"\0\3one\0\3two"


NESTED = Mapped(LengthPrefix(1), lambda payload: list(iter_frames(payload, PREFIX)))


@pytest.mark.parametrize(
    ("content", "framer"),
    [
        (b"\1\xc1\1\2", Msgpack()),
        (b"text", LengthPrefix(4)),
        (b"\3\0\1a\3\0\2a\3\0\1a", NESTED),  # the frame that is torn is inside another
        (b"\3\0\1a\3\0\2a", NESTED),
    ],
    ids=str,
)
def test_what_is_no_torn_end_is_not_cut_off(path: Path, content: bytes, framer: Framer[Any]) -> None:
    path.write_bytes(content)
    with pytest.raises(FramingError):
        repair(path, framer)
    assert path.read_bytes() == content


# Compressed files: divided where decompression can begin, and otherwise like any other

RANDOM = Random(1)
FRAMES = [RANDOM.randbytes(RANDOM.randrange(2000)) for _ in range(5000)]
DATA = b"".join(piece for frame in FRAMES for piece in PREFIX.encode(frame))  # about 5 MB
MEMBER = 300_000


def zstd(data: bytes) -> bytes:
    try:
        from compression import zstd
    except ImportError:
        zstd = pytest.importorskip("backports.zstd")
    return zstd.compress(data)


def in_members(compress: Callable[[bytes], bytes]) -> bytes:
    return b"".join(compress(DATA[at : at + MEMBER]) for at in range(0, len(DATA), MEMBER))


KINDS: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "gzip": ("x.gz", lambda: gzip.compress(DATA, 1), 1),
    "gzip members": ("x.gz", lambda: in_members(lambda data: gzip.compress(data, 1)), 4),
    "gzip members and zeros": (
        "x.GZ",
        lambda: in_members(lambda data: gzip.compress(data, 1) + bytes(20)),
        4,
    ),
    "zstd": ("x.zst", lambda: zstd(DATA), 1),
    "zstd frames": ("x.zst", lambda: in_members(zstd), 4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_are_those_of_the_contents(tmp_path: Path, kind: str, caplog: Any) -> None:
    name, compressed, parts = KINDS[kind]
    path = tmp_path / name
    path.write_bytes(compressed())
    with caplog.at_level(logging.WARNING):
        splits = plan(path, PREFIX, parts=4)
    assert len(splits) == parts
    assert (parts == 1) == ("cannot be divided" in caplog.text)
    assert [frame for split in stitch(splits).splits for frame in split.frames()] == FRAMES
    offsets = [record.offset for split in stitch(splits).splits for record in split.records()]
    assert offsets == [sum(map(len, FRAMES[:number])) + 2 * number for number in range(len(FRAMES))]


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "x.bz2": bz2.compress,
    "x.xz": lambda data: lzma.compress(data) + bytes(8),
    "x.lz4": lambda data: pytest.importorskip("lz4.frame").compress(data),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_other_compressions_are_divided_too(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(STREAMS[name](bytes(1 << 20)) * 2)
    splits = plan(tmp_path / name, FixedLength(1024), parts=2)
    assert [split.stop for split in splits] == [1 << 20, 2 << 20]
    assert [frame for split in splits for frame in split.frames()] == [bytes(1024)] * 2048


def test_an_index_keeps_where_decompression_can_begin(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(KINDS["gzip members"][1]())
    (scanned,) = open_sources(path)
    make_index(path, PREFIX)
    (known,) = open_sources(path)
    assert known == scanned
    assert isinstance(known, Compressed)
    archive = Archive(path, PREFIX)
    assert [archive[number] for number in (0, 2500, -1)] == [FRAMES[number] for number in (0, 2500, -1)]
    splits = plan(path, PREFIX, parts=4)
    assert len(splits) > 1
    assert [frame for split in splits for frame in split.frames()] == FRAMES
    with path.open("ab") as file:
        file.write(gzip.compress(b"\0\4more"))
    with pytest.raises(ArchiveError, match=r"stale: the file had .* bytes"):
        Archive(path, PREFIX)


@pytest.fixture
def two_members(tmp_path: Path) -> Path:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    make_index(path, Line())
    return path


def test_the_places_of_a_damaged_or_foreign_index_are_not_used(two_members: Path) -> None:
    rewrite_index(two_members, ends=b"", places=((0, 0), (5, 1)))
    assert [frame for split in plan(two_members, Line()) for frame in split.frames()] == ["one", "two"]
    Path(f"{two_members}.fsindex").write_bytes(b"damaged")
    assert [frame for split in plan(two_members, Line()) for frame in split.frames()] == ["one", "two"]


@pytest.mark.parametrize(("size", "how"), [(4, "more"), (6, "more"), (12, "less")])
def test_a_file_that_is_not_as_large_as_its_index_says_is_told(two_members: Path, size: int, how: str) -> None:
    rewrite_index(two_members, size=size, count=0, marks=Marks())
    with pytest.raises(ArchiveError, match=f"it holds {how} than when it was planned"):
        list(plan(two_members, Line())[0].frames())


def test_the_index_of_other_contents_is_not_used_where_the_store_tells_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    ask = type(store).info
    monkeypatch.setattr(type(store), "info", lambda *where: {"size": ask(*where)["size"]})
    store.pipe("/replaced.gz", gzip.compress(b"one\n"))
    make_index("memory://replaced.gz", Line())
    store.pipe("/replaced.gz", gzip.compress(b"one\ntwo\nthree\n"))
    (split,) = plan("memory://replaced.gz", Line())
    assert list(split.frames()) == ["one", "two", "three"]


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])  # the names of tests stay the same
def test_a_file_with_nothing_in_it_has_one_split_without_frames(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    (split,) = plan(tmp_path / "x.gz", Line())
    assert list(split.frames()) == []


def test_what_decompresses_to_much_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24), 9))
    (source,) = open_sources(path)
    assert source.size == 1 << 24
    assert max(map(len, source.chunks(0))) <= 1 << 16
    assert b"".join(source.chunks(5, 70000)) == bytes(69995)


def test_tiny_members_cost_what_their_bytes_cost() -> None:
    """A decompressor copies what comes after its member: of large blocks, that is much for each."""
    member = gzip.compress(b"a\n")

    def seconds(members: int) -> float:
        began = time.process_time()
        source = Compressed.of(InMemory(member * members, step=1 << 23), "gzip")
        assert (source.size, source.places) == (2 * members, ((0, 0),))
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(3)) < 20 * min(seconds(4_000) for _ in range(3))


# Files that fsspec opens


def test_what_fsspec_opens_is_read_written_and_indexed() -> None:
    pytest.importorskip("fsspec")
    url = "memory://store/part.bin"
    names = write(url, FRAMES[:50], PREFIX, part_size=10_000)
    assert names == [f"memory://store/part-{number:05}.bin" for number in range(5)]
    splits = plan("memory://store/part-*.bin", PREFIX, size=5000)
    assert [frame for split in splits for frame in split.frames()] == FRAMES[:50]
    assert Archive(names[0], PREFIX)[0] == FRAMES[0]
    assert all(split.is_exact for split in splits)


def test_a_store_gets_its_options_and_no_file_that_cannot_be_finished(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    options = {"auto_mkdir": True}
    for name, frames in (("good", [b"one"]), ("bad", [b"one", "two"])):
        url = f"local://{tmp_path}/{name}/file"
        with suppress(EncodeError):
            write(url, frames, PREFIX, storage_options=options)
    assert list(Archive(f"local://{tmp_path}/good/file", PREFIX, storage_options=options)) == [b"one"]
    assert list((tmp_path / "bad").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [({"cat_file": b"all of it"}, "9 bytes came where 4 were asked for"), ({"info": {}}, "does not tell its size")],
)
def test_a_store_without_ranges_is_told(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], reason: str) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe_file("/store/ranges.bin", b"one\n")
    for name, value in answer.items():
        monkeypatch.setattr(type(store), name, lambda *arguments, value=value, **options: value)
    with pytest.raises(ArchiveError, match=rf"memory://store/ranges\.bin: .*{reason}"):
        list(plan("memory://store/ranges.bin", Line())[0].frames())


@pytest.mark.parametrize("step", ["__init__", "write", "close", "commit"])
def test_a_store_that_refuses_what_is_written_is_told_with_the_url(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")

    def refuse(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()  # once: Python closes what is left, and from 3.14 on tells if that fails
        raise RuntimeError("bucket is full")

    monkeypatch.setattr(memory.MemoryFile, step, refuse)
    with pytest.raises(ArchiveError, match=r"memory://store/full\.bin: it cannot be written: bucket is full"):
        write("memory://store/full.bin", FRAMES[:9], PREFIX)
    assert not memory.MemoryFileSystem().exists("/store/full.bin")


def test_a_frame_without_an_encoding_is_told_even_if_a_store_refuses_what_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")
    monkeypatch.setattr(memory.MemoryFile, "discard", lambda file: {}[1])
    with pytest.raises(EncodeError):
        write("memory://store/refused.bin", [b"one", "two"], PREFIX)


def test_a_frame_by_its_number_takes_one_request_and_a_compressed_file_few(monkeypatch: pytest.MonkeyPatch) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    ask, asked = type(store).cat_file, []
    monkeypatch.setattr(type(store), "cat_file", lambda *where, **range: asked.append(range) or ask(*where, **range))
    write("memory://store/many.bin", FRAMES, PREFIX)
    archive = Archive("memory://store/many.bin", PREFIX)
    asked.clear()
    assert archive[2500] == FRAMES[2500]
    assert len(asked) == 1
    assert archive.__getitems__([*range(0, 5000, 100)] * 2) == FRAMES[::100] * 2
    assert len(asked) <= 51
    asked.clear()
    assert (archive[4900], archive[0]) == (FRAMES[4900], FRAMES[0])
    assert len(asked) == 1  # the last ones are kept
    store.pipe_file("/store/large.gz", gzip.compress(bytes(40 << 20), 0))
    asked.clear()
    assert open_sources("memory://store/large.gz")[0].size == 40 << 20
    store.rm("/store/large.gz")
    assert len(asked) < 12


def test_the_next_block_is_read_while_one_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    ask, asked = type(store).cat_file, threading.Semaphore(0)
    monkeypatch.setattr(type(store), "cat_file", lambda *where, **range: asked.release() or ask(*where, **range))
    store.pipe_file("/store/ahead.bin", bytes(17 << 20))
    with closing(open_sources("memory://store/ahead.bin")[0].chunks(0, 17 << 20)) as chunks:
        next(chunks)
        assert all(asked.acquire(timeout=60) for _ in range(2))
        assert not asked.acquire(blocking=False)
    store.rm("/store/ahead.bin")


@pytest.mark.parametrize("name", ["ETag", "etag", "mtime", "LastModified", "last_modified", "created"])
def test_another_version_of_a_file_is_not_read_whatever_a_store_calls_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe_file("/store/versions.bin", b"one\n")
    told: dict[str, Any] = {"size": 4, name: "1"}
    kept: dict[str, Any] = {}
    monkeypatch.setattr(type(store), "info", lambda *where: kept or kept.update(told) or kept)
    monkeypatch.setattr(type(store), "invalidate_cache", lambda *where: kept.clear())
    (split,) = plan("memory://store/versions.bin", Line())
    told[name] = "2"
    with pytest.raises(ArchiveError, match=r"it has changed since it was planned \(1, 2\)"):
        list(split.frames())


def test_nothing_is_delivered_of_a_file_that_replaces_another_while_it_is_read() -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe_file("/store/while-read.bin", b"1" * (17 << 20))  # three blocks, one of which is read ahead
    frames = plan("memory://store/while-read.bin", FixedLength(1 << 20), parts=1)[0].frames()
    seen = [next(frames)[:1]]
    store.pipe_file("/store/while-read.bin", b"2" * (18 << 20))
    with pytest.raises(ArchiveError, match=r"while-read\.bin: it is longer .* plan again"):
        seen.extend(frame[:1] for frame in frames)
    store.rm("/store/while-read.bin")
    assert set(seen) == {b"1"}


# Cost


class Counted(InMemory):
    """Bytes that count how many of them are read, by everybody who has them."""

    read: ClassVar[list[int]] = [0]

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        for chunk in super().chunks(start, stop):
            self.read[0] += len(chunk)
            yield chunk


MILLION = 1_000_000
HOSTILE: dict[str, tuple[ReadCondition[Any], Callable[[], bytes]]] = {
    # Every guess in the payload takes what is there for the size of a huge frame.
    "large frames": (LengthPrefix(4), lambda: (struct.pack(">I", MILLION) + b"\x7f" * MILLION) * 16),
    "above the limit": (
        LengthPrefix(4, max_size=10),
        lambda: struct.pack(">I", 16 * MILLION) + b"\x7f" * 16 * MILLION,
    ),
    "one line": (Line(), lambda: b"x" * 16 * MILLION + b"\n"),
    "overlapping": (Delimiter(b"\n\n"), lambda: b"x" * 16 * MILLION + b"\n\n"),
    "msgpack": (Msgpack(), lambda: msgpack.packb(b"\xdb" * MILLION) * 16),
    "until close": (UntilClose(), lambda: b"\x7f" * 16 * MILLION),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_byte_is_read_a_bounded_number_of_times(name: str) -> None:
    framer, data = HOSTILE[name][0], HOSTILE[name][1]()
    source = Counted(data, step=1 << 16)
    splits = list(divide(source, framer, MILLION))
    source.read[0] = 0
    stitched = stitch(splits)
    # For each split: two guesses, the split and a frame at the limit after it, and both once again.
    assert source.read[0] < len(splits) * (600_000 + 2 * (MILLION + (1 << 20) + (1 << 17)))
    frames = chain.from_iterable(split.frames() for split in stitched.splits)
    assert until_error(frames) == until_error(iter_frames(data, framer))


@pytest.mark.parametrize("framer", [LengthPrefix(4), LengthPrefix(format="varint"), Msgpack()], ids=str)
def test_frames_larger_than_what_looks_like_frames_in_them_are_found(framer: Framer[Any]) -> None:
    """Text holds no length of four bytes below the limit, and everywhere one of a single byte."""
    random = Random(1)
    texts = [bytes(random.choices(b"abcdefghij {}:,0123456789", k=random.randrange(1000, 15_000))) for _ in range(400)]
    encoded = [wire if isinstance(wire, bytes) else b"".join(wire) for wire in map(framer.encode, texts)]
    data = b"".join(encoded)
    splits = list(divide(InMemory(data), framer, 1 << 18))
    assert stitch(splits).walked_twice < len(data) / 10


# Mistakes


class Starts(ReadCondition[bytes]):
    """Frames of one byte, and an answer to `find_start` that breaks the contract."""

    synchronises = "exact"

    def __init__(self, answer: Callable[[Window], int | NeedMore]) -> None:
        self.find_start = answer  # type: ignore[method-assign]  # a different one for each test

    def find(self, window: Window) -> Span:
        return window.start, window.start + 1, window.start + 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda window: window.start - 1, "find_start returns -1: no place from 0, where the window starts, to 100"),
        (lambda window: window.start + 9999 * window.eof or NeedMore(), "find_start returns 9999: no place"),
        (lambda window: None, "find_start returns None: no place"),
        (lambda window: NeedMore(resume=101), "no place from 0, where the window starts, to 100"),
        (lambda window: {}[1], "find_start raises KeyError: 1"),
        (lambda window: NeedMore(), "find_start wants more"),
        (lambda window: NeedMore() if window.eof else NeedMore(resume=window.start), "wants more at the end"),
    ],
)
def test_a_framer_that_finds_no_place_is_at_fault(answer: Any, reason: str) -> None:
    split = Split(InMemory(bytes(1000), step=100), Starts(answer), 500, 1000)
    with pytest.raises(FramerContractError, match=reason):
        list(split.frames())


def test_a_framer_that_never_finds_a_place_is_not_given_all_of_a_file() -> None:
    asked: list[int] = []
    starts = Starts(lambda window: asked.append(len(window.data)) or NeedMore())
    with pytest.raises(FramerContractError, match=r"find_start wants more than \d+ bytes"):
        list(Split(InMemory(bytes(40 << 20), step=1 << 23), starts, 1, 40 << 20).frames())
    assert asked[-1] <= 24 << 20


class Dripping(InMemory):
    """Bytes that come with nothing in between."""

    def chunks(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        for chunk in super().chunks(start, stop):
            yield from (b"", chunk)


@pytest.mark.parametrize("framer", [Delimiter(b"--"), LengthPrefix(1)], ids=str)
def test_an_empty_chunk_is_not_the_end(framer: Framer[Any]) -> None:
    data = b"\4abcd-" * 20 + b"-" * 10
    splits = stitch(divide(Dripping(data, step=3), framer, 40)).splits
    frames = chain.from_iterable(split.frames() for split in splits)
    assert until_error(frames) == until_error(iter_frames(data, framer))


def test_mistaken_arguments_are_told(path: Path) -> None:
    _, framer = fill(path, "line")
    for options in ({"parts": 0}, {"size": 0}, {"parts": 1, "size": 1}):
        with pytest.raises(ValueError, match=r"1 or more|not both"):
            plan(path, framer, **options)
    splits = plan(path, framer, parts=3)
    with pytest.raises(ValueError, match="max_frame_size is '1MiB'; it must be a whole number"):
        plan(path, framer, max_frame_size="1MiB")  # type: ignore[arg-type]
    for wrong, kind in ((5, "int"), (b"file", "bytes"), ([b"file"], "bytes"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"a path or URL is of type {kind}; it must be"):
            plan(wrong, framer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="jobs is 0"):
        process(splits, numbers_of, jobs=0)
    with pytest.raises(TypeError, match="function is 5; it must be a function"):
        process(splits, 5, jobs=1)  # type: ignore[arg-type]
    # Python's own pool may wait for ever for what it could not send.
    for what in (splits, lambda reader: 0), (plan(path, Mapped(Line(), lambda line: 0)), numbers_of):
        with pytest.raises(ValueError, match=r"cannot be sent to another process: .*<lambda>"):
            process(*what, jobs=2)
    with pytest.raises(ValueError, match="does not follow"):
        stitch(splits[1:])
    with pytest.raises(ValueError, match="stopped before the end"):
        list(process(splits, lambda reader: next(reader.records()), jobs=1))
    with pytest.raises(ArchiveError, match="stands for 2 files"):
        Path(f"{path}2").touch()
        make_index(f"{path}*", framer)
    with pytest.raises(TypeError, match="can only read"):
        write(path, [], Exactly(3))  # type: ignore[arg-type]  # a type checker tells, too
    with pytest.raises(ValueError, match="part_size is 0; it must be a whole number, 1 or more"):
        write(path, ["one"], Line(), part_size=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: os.truncate(path, 1 << 17), r"it became shorter while it was read \(at offset 131072\)"),
        (lambda path: os.utime(path, ns=(1, 1)), r"it has changed since it was planned .* plan again"),
    ],
    ids=["shorter", "written to"],
)
def test_a_file_that_changes_while_it_is_read_is_told(
    path: Path, change: Callable[[Path], object], reason: str
) -> None:
    path.write_bytes(bytes(1 << 20))
    (split,) = plan(path, FixedLength(16))
    frames = split.frames()
    next(frames)
    change(path)
    with pytest.raises(ArchiveError, match=reason):
        list(frames)
