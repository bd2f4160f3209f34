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
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import reduce
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import ClassVar
from weakref import WeakSet
from zipfile import ZipFile

import msgpack
import pytest
from cutting import refused, wire
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream.archives import (
    Archive,
    Index,
    InMemory,
    Split,
    append,
    divide,
    make_index,
    open_sources,
    plan,
    process,
    repair,
    rows,
    stitch,
    write,
)
from framestream.archives.files import Compressed, Marks
from framestream.archives.source import LocalFile, alone
from framestream.errors import (
    ArchiveError,
    EncodeError,
    FramerContractError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    WorkerError,
)
from framestream.framer import PADDING, Decode, Framer, NeedMore, ReadCondition
from framestream.framers import Delimiter, Exactly, FixedLength, LengthPrefix, Line, Mapped, Msgpack, Regex, UntilClose
from framestream.iterate import iter_frames
from framestream.testing.streams import check_division
from framestream.testing.suite import cut_at

LIMIT = 300
PREFIX = LengthPrefix(2)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")


def whole(data, framer):
    """Return what one process reads."""
    return list(Split(InMemory(data), framer, 0, len(data)).records(on_error="column"))


def frames_of(splits):
    return [frame for split in splits for frame in split.frames()]


def until_error(frames):
    """Return the frames, and what ended them early."""
    done = []
    try:
        done.extend(frames)
    except FramingError as error:
        done.append((type(error), error.reason, error.offset))
    return done


def of_lines(random):
    return b"".join(random.choice((b"", b"a", b"\xff", b"ab\r", b"x" * 40)) + b"\n" for _ in range(20))


def of_prefixes(random):
    return b"".join(struct.pack(">H", size) + random.randbytes(size) for size in random.choices(range(9), k=40))


def of_msgpack(random):
    values = [{"id": random.randrange(1000), "text": "x" * random.randrange(9)} for _ in range(20)]
    return b"".join(msgpack.packb(value) for value in values)


FRAMERS = {
    "line": (Line(), of_lines),
    "delimiter": (Delimiter(b"\n"), of_lines),
    "overlapping": (Delimiter(b"\n\n", last=True), lambda r: bytes(r.choices(b"a\n", k=60))),
    "half overlapping": (Delimiter((b"ab", b"ba")), lambda r: bytes(r.choices(b"abc", k=60)) + b"ab"),
    "fixed": (FixedLength(7), lambda r: r.randbytes(70)),
    "fixed, torn": (FixedLength(7), lambda r: r.randbytes(73)),
    "exactly": (Exactly(5), lambda r: r.randbytes(50)),
    "prefix": (PREFIX, of_prefixes),
    "garbage": (LengthPrefix(1), lambda r: r.randbytes(500)),
    "zeros": (PREFIX, lambda r: bytes(2 * r.randrange(60))),
    "too large": (LengthPrefix(2, max_size=5), of_prefixes),
    "prefixes in a prefix": (PREFIX, lambda r: struct.pack(">H", len(d := of_prefixes(r))) + d + d),
    "msgpack": (Msgpack(), of_msgpack),
    "regex": (Regex(rb"[^;]*;"), lambda r: b"".join(b"%d;" % r.randrange(999) for _ in range(30))),
    "until close": (UntilClose(), lambda r: r.randbytes(r.randrange(200))),
}


@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=30)
@given(st.integers(0, 1 << 32), st.lists(st.integers(0, 600), max_size=5))
def test_splits_give_what_the_whole_gives(name, seed, borders):
    framer, make = FRAMERS[name]
    check_division(framer, cut_at(make(Random(seed)), borders), step=7, limit=LIMIT)


class Closed(Framer[bytes]):
    """Frames of two bytes, and spaces; a full stop ends the last one, after which there may be others."""

    def find(self, window):
        start = window.start
        if window.data[start : start + 1] == b" ":
            return start, start + 1, start + 1, PADDING
        frame = window.data[start : start + 2]
        if len(frame) < 2:
            return NeedMore(2)
        return start, start + 2, start + 2, Decode(bytes, final=frame.endswith(b"."))

    def encode(self, frame):
        return bytearray(frame)  # streams take any buffer, too


def test_what_is_wrong_at_the_end_of_a_file_is_that_of_its_last_frame():
    assert check_division(Closed(), [b"a,b", b","]).events[-1].kind == "IncompleteFrame"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def fill(path, name, times=40):
    framer, make = FRAMERS[name]
    data = b"".join(make(Random(number)) for number in range(times))
    path.write_bytes(data)
    return data, framer


def numbers_of(reader):
    print("printed")  # as a framer's module may, when it is imported there
    return [record.offset for record in reader.records()]


@pytest.mark.parametrize("name", ["msgpack", "prefix", "overlapping"])
def test_processes_give_the_results_in_order_and_print_elsewhere(path, name, capfd):
    data, framer = fill(path, name)
    results = process(plan(path, framer, parts=5), numbers_of, jobs=2)
    assert [*chain.from_iterable(results)] == [record.offset for record in whole(data, framer)]
    out, err = capfd.readouterr()
    assert (results.walked_twice > 0) == ("printed" in out)
    # A split that was guessed wrong is done again here.
    assert out.count("printed") < 5 <= err.count("printed")


def test_errors_hold_no_traceback_and_no_file(path):
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
        assert error.__cause__ is not None
        assert error.__traceback__ is error.__cause__.__traceback__ is None


def die(reader):
    os._exit(1)


LOCK = threading.Lock()


class OfTwo(Exception):
    """An error that is made of two things, and so cannot be made again of its message."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


class WithLock(Exception):
    """An error that has what cannot be pickled."""

    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


def result_of_two(reader):
    reader.drain()
    return OfTwo("disk", "full")


@pytest.mark.parametrize(("function", "reason"), [(die, "killed"), (result_of_two, "cannot be unpickled")])
def test_a_process_that_dies_and_one_whose_result_cannot_be_unpickled_are_told_apart(path, function, reason):
    _, framer = fill(path, "prefix")
    refused(WorkerError, list, process(plan(path, framer, parts=2), function, jobs=2), match=reason)


def fail_with_two(reader):
    reader.drain()
    raise OfTwo("disk", "full")


def end_with_lock(reader):
    reader.error = WithLock()
    raise reader.error


@pytest.mark.parametrize(
    ("function", "kind", "message"), [(fail_with_two, OfTwo, "disk: full"), (end_with_lock, WithLock, "locked")]
)
def test_an_error_that_cannot_be_sent_from_its_process_is_told(path, function, kind, message):
    fill(path, "prefix")
    splits = plan(path, PREFIX, parts=3)
    refused(kind, list, process(splits, function, jobs=1), match=message)
    refused(
        WorkerError, list, process(splits, function, jobs=2), match=f"{kind.__name__} in another process.*{message}"
    )


def with_the_lock(reader):
    assert LOCK.acquire(timeout=30)
    LOCK.release()  # one process may do both splits
    reader.drain()
    return reader.count


def test_processes_do_not_inherit_the_locks_of_threads(path):
    data, framer = fill(path, "line")
    with LOCK, ThreadPoolExecutor() as threads:
        results = threads.submit(list, process(plan(path, framer, parts=2), with_the_lock, jobs=2)).result()
    assert sum(results) == len(whole(data, framer))


# Run by "-c", it is no module from which another process could import the functions.
PROGRAM = """
import os, sys, time
from framestream.archives import plan, process
def stay(reader):
    os.write(1, b"here")
    time.sleep(600)
def count(reader):
    reader.drain()
    return reader.count
path, spec, parts, function = sys.argv[1:]
for _ in range(9):
    print(sum(process(plan(path, spec, parts=int(parts)), globals()[function], jobs=2)))
"""


@on_linux
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_processes_are_copies_of_a_program_with_one_thread_and_end_with_it(path, how):
    _, framer = fill(path, "fixed")
    command = [sys.executable, "-c", PROGRAM, str(path), str(framer), "9", "stay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as program:
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


@on_linux
def test_threads_of_the_call_before_do_not_count(path):
    data, framer = fill(path, "fixed")
    command = [sys.executable, "-c", PROGRAM, str(path), str(framer), "2", "count"]
    assert subprocess.check_output(command).split() == [b"%d" % (len(data) // 7)] * 9


def test_splits_are_small_values_that_can_be_pickled(path):
    data, framer = fill(path, "line")
    splits = plan(path, framer, parts=3)
    pickled = pickle.dumps(splits)
    assert pickle.loads(pickled) == splits
    assert len(pickled) < 1000
    borders = [len(data) * i // 3 for i in range(4)]
    assert [(split.start, split.stop) for split in splits] == list(pairwise(borders))


def test_two_or_four_processes_get_as_much_of_a_large_file_each(path):
    path.touch()
    os.truncate(path, (1 << 30) + 12345)
    sizes = [split.stop - split.start for split in plan(path, "line")]
    assert (len(sizes) % 4, max(sizes) - min(sizes)) == (0, 1)


def test_a_split_whose_first_frame_is_a_guess_is_not_read(path):
    _, framer = fill(path, "prefix")
    reason = r"file: where a frame of .* begins cannot be told .* stitch\(\)"
    refused(ArchiveError, plan(path, framer, parts=2)[1].frames, match=reason)


@pytest.mark.parametrize(
    ("frames", "guess", "walked"), [(b"\2\1\1", 1501, 3), (b"\2\1\1", 1503, 3), (b"\2\2\2", 1501, 1500)]
)
def test_a_split_is_walked_again_only_until_both_chains_meet(frames, guess, walked):
    first, second = divide(InMemory(frames * 1000), LengthPrefix(1), 1500)
    wrong = replace(second, first=guess)
    stitched = stitch([first, second], map=lambda walk, splits: [walk(first), walk(wrong)])
    assert [split.first for split in stitched.splits] == [0, 1500]
    assert stitched.walked_twice == walked


def test_chains_do_not_meet_inside_a_frame_that_is_skipped():
    data = b"\2\2\2" * 3 + b"\5\2\2\2\2\2" + b"\2\2\2" * 4
    borders = pairwise((0, 9, 18, 27))
    first, second, third = (Split(InMemory(data, step=1), LengthPrefix(1, max_size=3), *each) for each in borders)
    guessed = (first, replace(second, first=10), third)
    stitched = stitch([first, second, third], map=lambda walk, splits: map(walk, guessed))
    assert [split.first for split in stitched.splits] == [0, 9, 18]


def test_each_file_begins_anew(tmp_path):
    contents = {"one": b"\1a\1b\1", "two": b"\1c" * 100}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torn, *others = stitch(plan(map(tmp_path.joinpath, contents), LengthPrefix(1), size=100)).splits
    assert until_error(torn.frames())[:-1] == [b"a", b"b"]
    assert frames_of(others) == [b"c"] * 100


def test_chains_in_another_order_are_refused_for_they_would_lose_frames():
    splits = list(divide(InMemory(b"\2\1\1" * 1000), LengthPrefix(1), 500))
    reversing = lambda walk, splits: [*map(walk, splits)][::-1]  # noqa: E731
    refused(ValueError, stitch, splits, map=reversing, match="it must keep the order")


def test_splits_after_what_is_malformed_have_no_frames():
    data = b"\1" * 50 + b"\xc1" + b"\1" * 49
    first, second, *others = stitch(divide(InMemory(data), Msgpack(), 40)).splits
    assert list(first.frames()) == [1] * 33
    refused(FramingError, list, second.frames(), match="at offset 50 of memory")
    assert [list(split.frames()) for split in others] == [[]]


class Ended(ReadCondition[bytes]):
    """Frames with a size of one byte before them, and a comma after."""

    def find(self, window):
        first = window.start + 1
        stop = first + window.data[window.start]
        return first, stop, stop + 1, Decode(bytes, trailer=b",")


def test_an_error_in_a_frame_that_is_skipped_is_that_of_its_split():
    source = InMemory(b"\5hello,\5hello;\5hello,", step=2)
    splits = [Split(source, Ended(), *border, max_frame_size=3) for border in ((0, 9), (9, 14), (14, 21))]

    def read(reader):
        pieces = reader.pieces(in_batches=False, on_oversize="discard")
        return until_error(error and error.offset for _, error in pieces)

    reason = "frame ends with b';' where b',' is expected"
    assert list(process(splits, read, jobs=1)) == [[0, (FramingError, reason, 13)]]


def test_a_frame_that_is_truncated_counts_once():
    data = b"\1a\5large\1b"
    reader = Split(InMemory(data), LengthPrefix(1, max_size=3), 0, len(data)).read()
    pieces = reader.pieces(in_batches=False, on_oversize="truncate")
    assert [frame for frames, _ in pieces for frame in frames] == [b"a", b"lar", b"b"]
    assert (reader.count, reader.bad) == (3, 1)


# Files that are not what they were


@pytest.mark.parametrize(("change", "before", "meanwhile"), [
    (lambda path: os.truncate(path, 1 << 17), "shorter .* plan again", r"shorter while .* \(at offset 131072\)"),
    (lambda path: os.utime(path, ns=(1, 1)), *["it has changed since it was planned .* plan again"] * 2),
], ids=["shorter", "written to"])  # fmt: skip
def test_a_file_may_grow_but_not_change(path, change, before, meanwhile):
    path.write_bytes(bytes(1 << 20))
    (split,) = plan(path, FixedLength(16))
    with path.open("ab") as file:
        file.write(b"more")
    assert len(list(split.frames())) == 1 << 16
    path.write_bytes(bytes(1 << 20))
    (split,) = plan(path, FixedLength(16))
    frames = split.frames()
    next(frames)
    change(path)
    refused(ArchiveError, list, split.frames(), match=f"{path}: .*{before}")
    refused(ArchiveError, list, frames, match=f"{path}: .*{meanwhile}")


GOOD = gzip.compress(b"one\n")
HUNGRY = lzma.compress(b"one\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "preset": 0}])
UNREADABLE = {
    "nosuch": (None, "nosuch: no such file or directory"),
    ".": (None, r"\.: is a directory; give its files, such as \./\*"),
    "nosuch*": (None, r"nosuch\*: nothing matches"),
    "nosuch://bucket/key": (None, "it cannot be read|it needs fsspec"),
    "pipe": (None, "it is a pipe or a device, which cannot be read in parts"),  # its size is 0: it would seem empty
    "zeros.gz": (bytes(100_000), r"no gzip file, or damaged.*offset 0"),
    "no.gz": (b"no gzip", r"no\.gz: it is no gzip file, or damaged: .* \(at offset 0\)"),
    "more.gz": (GOOD + b"more", r"it is no gzip file, or damaged: .* \(at offset 24\)"),
    "torn.gz": (GOOD[:-1], r"it ends inside a gzip member \(at offset 0\)"),
    "no.bz2": (b"no bzip2", r"no\.bz2: it is no bzip2 file, or damaged: .* \(at offset 0\)"),
    "hungry.xz": (HUNGRY, r"it is no xz file, or damaged: Memory usage limit exceeded \(at offset 0\)"),
    "x.lz4": (b"lz4", r"x\.lz4: it is compressed by lz4, which needs: pip install lz4"),
}


@pytest.mark.parametrize("urls", UNREADABLE)
def test_what_cannot_be_opened_is_told(tmp_path, monkeypatch, urls):
    content, reason = UNREADABLE[urls]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    os.mkfifo("pipe")
    if content is not None:
        Path(urls).write_bytes(content)
    refused(ArchiveError, plan, urls, "line", match=reason)


def test_a_glob_finds_no_index_and_a_name_may_look_like_one(tmp_path):
    for name in ("a[1]", "a1"):
        assert write(tmp_path / name, [name], Line()) == [str(tmp_path / name)]
    assert [source.url for source in open_sources(tmp_path / "*")] == [str(tmp_path / name) for name in ("a1", "a[1]")]
    assert sorted(os.listdir(tmp_path)) == ["a1", "a1.fsindex", "a[1]", "a[1].fsindex"]
    assert list(Archive(tmp_path / "a[1]", Line())) == ["a[1]"]


# Indexes


PLACED = {Line(): b"x" * 79 + b"\n", PREFIX: b"\0\x40" + bytes(64), Msgpack(): msgpack.packb({"a": [1] * 60})}


@pytest.mark.parametrize("framer", PLACED, ids=str)
def test_a_place_is_kept_for_each_64_kib_so_that_no_more_is_cut_for_one_frame(framer):
    frame = PLACED[framer]
    data = frame * (3_000_000 // len(frame))
    reader = Split(InMemory(data), framer, 0, len(data)).read()
    reader.drain()
    places = [0, *reader.marks.offsets, len(data)]
    assert max(after - before for before, after in pairwise(places)) <= (1 << 16) + len(frame)
    assert len(places) < len(data) >> 14


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["prefix", "msgpack", "line", "too large"])
def test_an_index_gives_every_frame_by_its_number(path, name, jobs):
    data, framer = fill(path, name, times=300)
    records = whole(data, framer)
    frames = [record.frame for record in records]
    count, done = len(frames), []
    index = make_index(path, framer, jobs=jobs, on_progress=done.append)
    assert (sum(done), index.count) == (len(data), count)
    pickled = pickle.dumps(Archive(path, framer))
    archive = pickle.loads(pickled)
    assert len(archive) == count
    for number in (0, 1, count // 2, count - 1, -1, -count, *range(0, count, count // 9)):
        if records[number].error is None:
            assert archive[number] == frames[number]
        else:
            with pytest.raises((PayloadError, FrameTooLarge), match=rf"at offset {records[number].offset} of {path}"):
                archive[number]
    refused(IndexError, lambda: archive[count], match=f"frame {count} of an archive of {count} frames")
    for wrong in ("1", 1.0):
        reason = f"'{type(wrong).__name__}' object cannot be interpreted as an integer"
        refused(TypeError, archive.__getitem__, wrong, match=reason)
    assert len(pickle.dumps(archive)) == len(pickled)
    if name not in ("line", "too large"):
        assert archive[2:4] == archive.__getitems__([2, 3]) == frames[2:4]
        assert list(archive) == frames
        assert all(split.is_exact for split in plan(path, framer, parts=4))


def test_what_a_caller_makes_of_a_frame_is_not_what_the_next_one_gets(path):
    frames = [{"n": [number]} for number in range(3)]
    write(path, frames, Msgpack())
    archive = Archive(path, Msgpack())
    ways = (lambda: archive[1], lambda: archive[1:2][0], *[lambda: archive.__getitems__([1, 0, 1])[2]] * 2)
    for ask in (*ways, lambda: next(iter(archive))):
        ask()["n"].append("changed")
    one, _, again = archive.__getitems__([1, 0, 1])
    assert one is not again
    assert [archive[1], *archive, one, again] == [frames[1], *frames, frames[1], frames[1]]


def test_what_is_inside_a_frame_is_copied_wherever_it_can_be_changed(path):
    whole = {"text": "a", "n": 1, "x": 0.5, "raw": b"b", "none": None, "yes": True}
    frames = [whole, whole | {"list": []}, [whole], whole | {"map": {}}]
    write(path, frames, Msgpack())
    archive = Archive(path, Msgpack())
    for number, frame in enumerate(frames):
        given = archive[number]
        inside = given[0] if number == 2 else given.get("list", given.get("map", given))
        inside.clear()
        assert archive[number] == frame


def test_a_frame_that_cannot_be_copied_is_given_as_it_is(path):
    deep = reduce(lambda inner, _: [inner], range(1000), 1)
    write(path, [deep, b"abc"], Msgpack())
    assert wire(Msgpack(), Archive(path, Msgpack())[0]) == wire(Msgpack(), deep)
    views = Mapped(Msgpack(), memoryview, bytes)
    make_index(path, views)
    assert bytes(Archive(path, views)[1]) == b"abc"


def test_a_bad_frame_that_is_asked_for_again_holds_no_more_than_before(path):
    path.write_bytes(b"a\n\xff\n")
    make_index(path, Line())
    archive = Archive(path, Line())
    errors = (refused(PayloadError, archive.__getitem__, 1) for _ in range(3))
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1


class Weak:
    """A frame that tells when nobody has it any more."""


def test_threads_that_share_an_archive_keep_no_more_of_it(path):
    alive, meetings = WeakSet(), []

    def decode(payload):
        for meeting in meetings:
            meeting.wait(timeout=20)
        alive.add(frame := Weak())
        return frame

    path.write_bytes(wire(LengthPrefix(), *[bytes(200_000)] * 20))  # each is a block
    framer = Mapped(LengthPrefix(), decode)
    make_index(path, framer)
    archive = Archive(path, framer)
    meetings.append(threading.Barrier(20))
    with ThreadPoolExecutor(20) as threads:
        assert len(list(threads.map(archive.__getitem__, range(20)))) == 20
    gc.collect()
    assert len(alive) == 16
    del archive
    assert not alive  # and without the collector


def test_a_loader_of_pytorch_takes_an_archive(path):
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    write(path, ({"n": n} for n in range(50_000)), Msgpack())
    for workers in (0, 2):
        loader = data.DataLoader(Archive(path, Msgpack()), batch_size=500, num_workers=workers)
        assert [n for batch in loader for n in batch["n"].tolist()] == list(range(50_000))


def test_a_stale_index_is_refused_with_the_reason(path):
    data, framer = fill(path, "prefix")
    refused(ArchiveError, Archive, path, framer, match="no index")
    make_index(path, framer)
    stamp = os.stat(path).st_mtime_ns
    reason = "is of the framing length-prefix:size=2, not length-prefix:size=4"
    refused(ArchiveError, Archive, path, LengthPrefix(4), match=reason)
    reasons = {
        f"had {len(data)} bytes, and has 2": (b"\0\0", stamp),
        "was changed": (data, stamp + 1),
        "begins or ends otherwise": (bytes(len(data)), stamp),
    }
    for reason, (content, when) in reasons.items():
        path.write_bytes(content)
        os.utime(path, ns=(when, when))
        refused(ArchiveError, Archive, path, framer, match=f"stale: .*{reason}.*framestream index")


def rewrite_index(path, **fields):
    (source,) = open_sources(path)
    replace(Index.load(source), **fields).save(source)


@pytest.mark.parametrize("others", ["end", "go on", "are no programs of ours"])
def test_what_is_appended_while_an_index_is_made_leaves_no_stale_one(path, others):
    if others == "go on":
        pytest.importorskip("fcntl", reason="this system has no locks")
    path.write_bytes(b"\0\3one")
    refusal = "another program is appending to it" if others == "go on" else "it is longer than when it was planned"

    def indexing():
        yield b"two"
        refused(ArchiveError, make_index, path, PREFIX, match=f"file: {refusal}")
        yield b"end"

    def appended(_):
        if others == "end":
            append(path, [b"two", b"end"], PREFIX)
        else:
            path.write_bytes(path.read_bytes() + b"\0\3two\0\3end")

    if others == "go on":
        append(path, indexing(), PREFIX)
    else:
        refused(ArchiveError, make_index, path, PREFIX, on_progress=appended, match=f"file: {refusal}")
    if others == "are no programs of ours":
        assert os.listdir(path.parent) == ["file"]
    else:
        assert list(map(Archive(path, PREFIX).__getitem__, range(3))) == [b"one", b"two", b"end"]


def test_a_damaged_index_and_one_that_is_not_true_are_refused(path):
    _, framer = fill(path, "prefix")
    count = make_index(path, framer).count
    rewrite_index(path, count=count + 1)
    reason = f"the index is wrong: frame {count} is not where it says"
    refused(ArchiveError, Archive(path, framer).__getitem__, count, match=reason)
    beside = Path(f"{path}.fsindex")
    data = beside.read_bytes()
    for damaged in (b"", data[:-1], data + b"0", data[:50] + b"0" + data[51:]):
        beside.write_bytes(damaged)
        for use in (Archive, plan):
            refused(ArchiveError, use, path, framer, match=r"fsindex: it is damaged, or .*make it again")
    os.truncate(beside, 1 << 40)  # this would not fit into memory
    reason = r"fsindex: it has 1099511627776 bytes, too many for an index; make it"
    refused(ArchiveError, plan, path, framer, match=reason)
    beside.unlink()
    beside.mkdir()
    refused(ArchiveError, plan, path, framer, match=r"fsindex: is a directory")


def test_an_index_that_is_replaced_while_it_is_read_is_not_called_damaged(path, monkeypatch):
    append(path, [b"one"], PREFIX)

    def replaced(name, *options, real=open, **more):
        if str(name).endswith(".fsindex"):
            monkeypatch.undo()
            append(path, [bytes(60_000)] * 2, PREFIX)
        return real(name, *options, **more)

    monkeypatch.setattr("builtins.open", replaced)
    refused(ArchiveError, Archive, path, PREFIX, match="file.fsindex: it is longer than when it was planned")
    assert len(Archive(path, PREFIX)) == 3


def test_bytes_in_memory_have_no_index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("memory.fsindex").touch()
    source = InMemory(b"one\n")
    assert Index.beside(source, Line()) is None
    refused(ArchiveError, make_index, source, Line(), match="memory: no file can be written next to it")


# Writing


def test_of_two_that_write_a_file_at_once_the_last_one_to_finish_gives_all_of_it(path):
    framer, seen = LengthPrefix(), []

    def frames():
        yield bytes(300_000)
        write(path, [b"other"], framer)
        seen.extend(Archive(path, framer))
        yield b"mine"

    write(path, frames(), framer)
    assert seen == [b"other"]
    assert list(Archive(path, framer)) == [bytes(300_000), b"mine"]
    assert sorted(os.listdir(path.parent)) == ["file", "file.fsindex"]


def test_what_killed_writers_left_is_removed_by_the_next_and_what_others_write_is_not(path):
    living, dead = [], [".file.0123abcd.partial", ".file-00007.fsindex.00000000.partial"]
    others = [".file.mine.partial", ".fil.0123abcd.partial"]

    def leave(*names):
        for name in names:
            path.with_name(name).write_bytes(b"remains")
            os.utime(path.with_name(name), (0, 0))

    def frames():
        yield bytes(300_000)
        living.extend(os.listdir(path.parent))
        os.utime(path.with_name(*living), (0, 0))
        leave(*dead, *others)
        write(path.with_name("file.bin"), [b"one"], LengthPrefix(), part_size=1, index=False)
        assert sorted([*living, *others, "file-00000.bin"]) == sorted(os.listdir(path.parent))
        yield b"end"

    write(path, frames(), LengthPrefix(), index=False)
    assert sorted([*others, "file", "file-00000.bin"]) == sorted(os.listdir(path.parent))


def test_a_file_that_another_has_replaced_gets_no_index_of_ours(path, monkeypatch):
    def replaced(unfinished, name, replace=os.replace):
        replace(unfinished, name)
        path.write_bytes(b"\0\5other")

    monkeypatch.setattr(os, "replace", replaced)
    refused(ArchiveError, write, path, [b"one"], PREFIX, match="file: another program has written it meanwhile")
    assert os.listdir(path.parent) == ["file"]


class UpToTheNext(Framer[bytes]):
    """Frames that end where the next one begins."""

    def find(self, window):
        stop = window.data.find(b">", window.start + 1)
        return NeedMore() if stop < 0 else (window.start + 1, stop, stop)

    def encode(self, frame):
        return b">" + frame


def test_the_first_frame_of_a_file_need_not_be_whole_without_the_next(path):
    assert append(path, [b"one", b"two"], UpToTheNext()) == 2
    refused(IncompleteFrame, append, path, [b"three"], UpToTheNext())


@pytest.mark.parametrize("action", [write, append])
def test_the_disk_is_asked_to_keep_all_that_was_written(path, monkeypatch, action):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    action(path, [b"one", b"two"], PREFIX, index=False)
    assert synced == [10]


def test_what_is_written_does_not_wait_in_memory(path):
    sizes = []

    def frames():
        for _ in range(9):
            yield bytes(60_000)
            sizes.append(next(path.parent.glob(".file.*.partial")).stat().st_size)

    write(path, frames(), PREFIX)
    assert max(sizes) > 1 << 18


@pytest.mark.parametrize(("action", "name", "reason"), [
    (write, "no/file", "no such file"),
    (write, "nosuch://bucket/key", "it cannot be written: protocol not known|it needs fsspec"),
    (repair, "*", "no such file"),
    (append, "memory://remote.bin", "it is not a local file, so it cannot be changed"),
    (repair, "memory://remote.bin", "it is not a local file, so it cannot be changed"),
    (write, "x.gz", r"x\.gz: its name says that it is compressed"),
    (append, "x.gz", r"x\.gz: its name says that it is compressed"),
    (repair, "file", "torn-5: it holds what an earlier repair cut off; move it away"),
])  # fmt: skip
def test_what_cannot_be_written_is_told_and_nothing_changes(tmp_path, monkeypatch, action, name, reason):
    monkeypatch.chdir(tmp_path)
    there = {"file": b"\0\3one\0\3tw", "file.torn-5": b"\0\3xy"}
    for file, content in there.items():
        Path(file).write_bytes(content)
    refused(ArchiveError, action, name, *([] if action is repair else [[b"one"]]), PREFIX, match=reason)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == there


def test_frames_are_appended_and_the_index_follows(path):
    path.symlink_to("target")  # which is not there yet
    assert append(path, [b"one"], PREFIX) == 1
    assert append(path, (b"two" for _ in range(20000)), PREFIX) == 20000
    assert append(path, [b"end"], PREFIX) == 1
    archive = Archive(path, PREFIX)
    assert (len(archive), archive[0], archive[20000], archive[20001]) == (20002, b"one", b"two", b"end")
    os.utime(path, ns=(1, 1))
    make_index(path, PREFIX)
    before = path.read_bytes()
    refused(EncodeError, append, path, [b"good", None], PREFIX)
    assert path.read_bytes() == before
    assert len(Archive(path, PREFIX)) == 20002  # its index is as good as before
    path.write_bytes(before + b"\0")
    refused(ArchiveError, append, path, [b"more"], PREFIX, match="stale")
    refused(IncompleteFrame, append, path, [b"more"], PREFIX, index=False)


def test_nothing_is_appended_whose_index_cannot_be_written(path):
    def frames():
        yield b"two"
        os.mkdir(f"{path}.fsindex")

    path.write_bytes(b"\0\3one")
    refused(ArchiveError, append, path, frames(), PREFIX, match="fsindex: it cannot be written: is a directory")
    assert path.read_bytes() == b"\0\3one"


def test_a_file_that_takes_the_name_of_one_appended_to_is_left_alone(path):
    other, old = path.with_name("other"), path.with_name("old")
    path.write_bytes(b"\0\3one")
    other.write_bytes(b"\0\5other")

    def replacing():
        yield bytes(1000)
        path.rename(old)
        other.rename(path)
        raise KeyError

    refused(KeyError, append, path, replacing(), PREFIX)
    assert (old.read_bytes(), path.read_bytes()) == (b"\0\3one", b"\0\5other")


def test_what_somebody_else_appends_meanwhile_is_neither_overwritten_nor_cut_off(path):
    def others():
        path.write_bytes(path.read_bytes() + b"\0\5other")
        yield b"mine"

    path.write_bytes(b"\0\3one")
    refused(ArchiveError, append, path, others(), PREFIX, match="it is longer than")
    assert path.read_bytes() == b"\0\3one\0\5other"

    def finishing(frame):
        if (data := path.read_bytes()).endswith(b"tw"):
            path.write_bytes(data + b"o")

    path.write_bytes(path.read_bytes() + b"\0\3tw")
    refused(ArchiveError, repair, path, Mapped(PREFIX, finishing), match="it is longer than")
    assert path.read_bytes() == b"\0\3one\0\5other\0\3two"
    assert list(path.parent.iterdir()) == [path]


APPENDING = """
import sys
from framestream.archives import append
def frames():
    for frame in (bytes(300_000), b"mine"):
        yield frame
        print(flush=True)
        sys.stdin.readline()
append(sys.argv[1], frames(), "length-prefix")
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_while_one_process_appends_no_other_does(path, how):
    pytest.importorskip("fcntl", reason="this system has no locks")
    framer = LengthPrefix()
    write(path, [b"one"], framer)
    command = [sys.executable, "-c", APPENDING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        for _ in range(2):  # when a part is written, and when all is
            other.stdout.readline()
            refused(ArchiveError, append, path, [b"two"], framer, match="file: another program is appending to it, or")
            if how == "killed":
                other.kill()
                break
            other.stdin.write(b"\n")
            other.stdin.flush()
    assert append(path, [b"two"], framer, index=how == "ended") == 1
    frames = [b"one", bytes(300_000), b"mine", b"two"]
    assert list(iter_frames(path, framer)) == [frame for frame in frames if how == "ended" or frame != b"mine"]


def test_what_another_program_is_writing_is_not_repaired(path):
    pytest.importorskip("fcntl", reason="this system has no locks")
    path.write_bytes(b"\0\3one\0\3tw")
    with alone(LocalFile.of(str(path))):
        refused(ArchiveError, repair, path, PREFIX, match="file: another program is appending to it, or repairing it")
    assert repair(path, PREFIX).cut == 4


@contextmanager
def full():
    """A disk that first takes a part of what is written, and only then refuses."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def forgetful():
    """A disk that does not keep what it has taken."""

    def refuse(descriptor):
        raise OSError(errno.EIO, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield


@pytest.mark.parametrize("action", [write, append])
@pytest.mark.parametrize(("disk", "last", "kind", "reason"), [
    (full, b"", ArchiveError, "file: it cannot be written: file too large"),
    (forgetful, b"", ArchiveError, "file: it cannot be written: input/output error"),
    (nullcontext, "text", EncodeError, None),
])  # fmt: skip
def test_what_cannot_be_finished_leaves_what_was_there(path, action, disk, last, kind, reason):
    for there in ([], [b"one"]):
        if there or action is append:
            write(path, there, PREFIX, index=False)
        before = {child: child.read_bytes() for child in path.parent.iterdir()}
        with disk():
            refused(kind, action, path, [*[bytes(100)] * 5000, last], PREFIX, match=reason)
        assert {child: child.read_bytes() for child in path.parent.iterdir()} == before


def test_a_disk_that_goes_away_is_told_although_the_file_cannot_be_closed_either(path, monkeypatch):
    def lose(descriptor):
        os.close(descriptor)
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(os, "fsync", lose)
    refused(ArchiveError, append, path, [b"one"], PREFIX, match="file: it cannot be written")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any file")
def test_a_file_without_permission_to_write_is_told_and_left_alone(path):
    for content, action, *frames in ((b"\0\3one\0\3tw", repair), (b"\0\3one", append, [b"two"])):
        path.write_bytes(content)
        path.chmod(0o444)
        refused(ArchiveError, action, path, *frames, PREFIX, match="file: it cannot be written: permission denied")
        path.chmod(0o644)
        assert (path.read_bytes(), list(path.parent.iterdir())) == (content, [path])


@pytest.mark.parametrize(("framer", "there", "frame"), [
    (Line(), b"one\ntw", "more"),
    (UntilClose(), b"one", b"more"),
    (Delimiter(b";", last=True), b"a;b", b"c"),
], ids=str)  # fmt: skip
def test_nothing_is_appended_that_would_be_joined_to_the_last_frame(path, framer, there, frame):
    path.write_bytes(there)
    reason = rf"would be joined to its last frame \(at offset {len(there)}\)"
    refused(ArchiveError, append, path, [frame], framer, match=reason)
    assert path.read_bytes() == there
    assert append(path, [], framer) == 0


def test_the_end_of_a_file_may_lie_in_the_frames_to_come(path):
    assert append(path, [b"a,", b"b."], Closed()) == 2
    assert append(path, [b"c,", b"d."], Closed()) == 2
    assert list(Archive(path, Closed())) == [b"a,", b"b.", b"c,", b"d."]
    path.write_bytes(b"a.b.c")
    assert repair(path, Closed()).frames == 2


def test_a_torn_end_is_cut_off_and_kept(path):
    url = f"file://{path}"
    torn = b"\0\6too large"[:5]
    path.write_bytes(b"\0\3one" + torn)
    done = repair(url, LengthPrefix(2, max_size=5))
    assert (done.frames, done.size, done.cut) == (1, 5, 5)
    assert (path.read_bytes(), Path(done.torn).read_bytes()) == (b"\0\3one", torn)
    assert repair(url, PREFIX).cut == 0
    assert append(url, [b"two"], PREFIX) == 1
    assert path.read_bytes() == b"\0\3one\0\3two"


class Nested(Delimiter):
    """Frames in frames, which begin where their payload does."""

    def decode(self, payload):
        return list(iter_frames(payload, LengthPrefix(1)))


@pytest.mark.parametrize(("content", "framer", "reason"), [
    (b"\1\xc1\1\2", Msgpack(), "at offset 1"),
    (b"text", LengthPrefix(4), "at offset 0"),
    (b"\1a;\2a;\1a;", Nested(b";"), None),  # the frame that is torn is inside another
    (b"\1a;\2a;", Nested(b";"), None),
    (b"a.b,c", Closed(), r"ended inside a frame: .* \(at offset 4"),  # it would be torn again
], ids=str)  # fmt: skip
def test_what_is_no_torn_end_is_not_cut_off(path, content, framer, reason):
    path.write_bytes(content)
    refused(FramingError, repair, path, framer, match=reason)
    assert path.read_bytes() == content


# Compressed files: divided where decompression can begin, and otherwise like any other

RANDOM = Random(1)
FRAMES = [RANDOM.randbytes(RANDOM.randrange(2000)) for _ in range(5000)]
DATA = b"".join(piece for frame in FRAMES for piece in PREFIX.encode(frame))  # about 5 MB
MEMBER = 1 << 18


def zstd(data):
    try:
        from compression import zstd
    except ImportError:
        zstd = pytest.importorskip("backports.zstd")
    return zstd.compress(data)


def gz(data):
    return gzip.compress(data, 1)


def lz4(data):
    return pytest.importorskip("lz4.frame").compress(data)


def in_members(compress):
    return b"".join(compress(DATA[at : at + MEMBER]) for at in range(0, len(DATA), MEMBER))


KINDS = {
    "gzip": ("x.gz", lambda: gz(DATA), 1),
    "gzip members": ("x.gz", lambda: in_members(gz), 4),
    "gzip members and zeros": ("x.GZ", lambda: in_members(lambda data: gz(data) + bytes(20)), 4),
    "zstd": ("x.zst", lambda: zstd(DATA), 1),
    "zstd frames": ("x.zst", lambda: in_members(zstd), 4),
    "bzip2 streams": ("x.bz2", lambda: in_members(lambda data: bz2.compress(data, 1)), 4),
    "xz streams and zeros": ("x.xz", lambda: in_members(lambda data: lzma.compress(data, preset=0) + bytes(8)), 4),
    "lz4 frames": ("x.lz4", lambda: in_members(lz4), 4),
}


def test_the_log_says_a_name_that_a_terminal_would_obey_in_escapes(tmp_path, caplog):
    path = tmp_path / "x\u202e.gz"
    path.write_bytes(gz(DATA + b"\0\1\xff"))
    caplog.set_level(logging.WARNING)
    [split] = plan(path, Mapped(PREFIX, bytes.decode), parts=4)
    assert len(list(rows(split, on_error="skip"))) < len(FRAMES)
    assert [True, True] == [r"x\u202e.gz" in record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_are_those_of_the_contents(tmp_path, kind, caplog):
    name, compressed, parts = KINDS[kind]
    path = tmp_path / name
    path.write_bytes(compressed())
    with caplog.at_level(logging.WARNING):
        splits = plan(path, PREFIX, parts=4)
    assert len(splits) == parts
    assert {split.start % (1 << 20) for split in splits} == {0}
    assert (parts == 1) == ("cannot be divided" in caplog.text)
    assert frames_of(stitch(splits).splits) == FRAMES
    offsets = [record.offset for split in stitch(splits).splits for record in split.records()]
    assert offsets == [sum(map(len, FRAMES[:number])) + 2 * number for number in range(len(FRAMES))]


def test_an_index_keeps_where_decompression_can_begin(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(in_members(gz))
    (scanned,) = open_sources(path)
    make_index(path, PREFIX)
    (known,) = open_sources(path)
    assert known == scanned
    assert isinstance(known, Compressed)
    archive = Archive(path, PREFIX)
    assert [archive[number] for number in (0, 2500, -1)] == [FRAMES[number] for number in (0, 2500, -1)]
    splits = plan(path, PREFIX, parts=4)
    assert len(splits) > 1
    assert frames_of(splits) == FRAMES
    with path.open("ab") as file:
        file.write(gzip.compress(b"\0\4more"))
    refused(ArchiveError, Archive, path, PREFIX, match=r"stale: the file had .* bytes")


@pytest.fixture
def two_members(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    make_index(path, Line())
    return path


def test_the_places_of_a_damaged_or_foreign_index_are_not_used(two_members):
    rewrite_index(two_members, ends=b"", places=((0, 0), (5, 1)))
    assert frames_of(plan(two_members, Line())) == ["one", "two"]
    Path(f"{two_members}.fsindex").write_bytes(b"damaged")
    assert frames_of(plan(two_members, Line())) == ["one", "two"]


@pytest.mark.parametrize(("size", "how"), [(4, "more"), (6, "more"), (12, "less")])
def test_a_file_that_is_not_as_large_as_its_index_says_is_told(two_members, size, how):
    rewrite_index(two_members, size=size, count=0, marks=Marks())
    refused(ArchiveError, frames_of, plan(two_members, Line()), match=f"it holds {how} than when it was planned")


def test_the_index_of_a_file_that_was_not_compressed_tells_no_places(path):
    write(path, ["one"], Line())
    for suffix in ("", ".fsindex"):
        os.rename(f"{path}{suffix}", f"{path}.gz{suffix}")
    refused(ArchiveError, plan, f"{path}.gz", Line(), match="no gzip file, or damaged")


def test_a_file_with_nothing_in_it_has_one_split_without_frames(tmp_path):
    for content in (b"", gzip.compress(b"")):
        (tmp_path / "x.gz").write_bytes(content)
        (split,) = plan(tmp_path / "x.gz", Line())
        assert list(split.frames()) == []


def test_what_decompresses_to_much_is_read_in_pieces(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24), 9))
    (source,) = open_sources(path)
    assert source.size == 1 << 24
    assert max(map(len, source.chunks(0))) <= 1 << 16
    assert b"".join(source.chunks(5, 70000)) == bytes(69995)


def test_what_is_damaged_after_a_place_is_told_with_its_offset_in_the_file():
    member = gzip.compress(bytes(1 << 20))
    source = Compressed.of(InMemory(member * 3), "gzip")
    spoilt = replace(source, file=InMemory(member * 2 + member[:-8] + bytes(8)))
    reason = rf"no gzip file, or damaged: .* \(at offset {2 * len(member)}\)"
    refused(ArchiveError, list, spoilt.chunks((2 << 20) + 1), match=reason)


def test_tiny_members_cost_what_their_bytes_cost():
    """A decompressor copies what comes after its member: of large blocks, that is much for each."""
    member = gzip.compress(b"a\n")

    def seconds(members):
        began = time.process_time()
        source = Compressed.of(InMemory(member * members, step=1 << 23), "gzip")
        assert (source.size, source.places) == (2 * members, ((0, 0),))
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(3)) < 20 * min(seconds(4_000) for _ in range(3))


# Files that fsspec opens


@pytest.fixture
def store():
    """Return the store of memory:// with no file in it."""
    store = pytest.importorskip("fsspec").filesystem("memory")
    yield store
    store.store.clear()


@pytest.fixture
def asked(store, monkeypatch):
    """Return the list of what is asked of the store."""
    ask, asked = type(store).cat_file, []
    monkeypatch.setattr(type(store), "cat_file", lambda *where, **range: asked.append(range) or ask(*where, **range))
    return asked


def test_what_fsspec_opens_is_read_written_and_indexed(store):
    names = write("memory://part.bin", FRAMES[:50], PREFIX, part_size=10_000)
    assert names == [f"memory://part-{number:05}.bin" for number in range(5)]
    splits = plan("memory://part-*.bin", PREFIX, size=5000)
    assert frames_of(splits) == FRAMES[:50]
    assert Archive(names[0], PREFIX)[0] == FRAMES[0]
    assert all(split.is_exact for split in splits)


def test_a_glob_finds_files_inside_an_archive_of_files(tmp_path):
    pytest.importorskip("fsspec")
    with ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in ("a.bin", "b.bin"):
            packed.writestr(name, b"\0\1" + name[:1].encode())
    splits = plan(f"zip://*.bin::{tmp_path}/x.zip", PREFIX)
    assert frames_of(splits) == [b"a", b"b"]


def test_a_store_gets_its_options_and_no_file_that_cannot_be_finished(tmp_path):
    pytest.importorskip("fsspec")
    options = {"auto_mkdir": True}
    for name, frames in (("good", [b"one"]), ("bad", [b"one", "two"])):
        url = f"local://{tmp_path}/{name}/file"
        with suppress(EncodeError):
            write(url, frames, PREFIX, storage_options=options)
    assert list(Archive(f"local://{tmp_path}/good/file", PREFIX, storage_options=options)) == [b"one"]
    assert list((tmp_path / "bad").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [("cat_file", b"all of it", "9 bytes came where 4 were asked for"), ("info", {}, "does not tell its size")],
)
def test_a_store_without_ranges_is_told(store, monkeypatch, name, answer, reason):
    store.pipe_file("/ranges.bin", b"one\n")
    monkeypatch.setattr(type(store), name, lambda *arguments, **options: answer)
    with pytest.raises(ArchiveError, match=rf"memory://ranges\.bin: .*{reason}"):
        frames_of(plan("memory://ranges.bin", Line()))


def test_a_store_that_is_not_there_when_a_split_is_read_is_told(store, monkeypatch):
    store.pipe_file("/gone.bin", b"one\n")
    splits = plan("memory://gone.bin", Line())
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: {}["bucket"])
    refused(ArchiveError, frames_of, splits, match=r"memory://gone\.bin: it cannot be read: .*bucket")


REFUSED = ArchiveError, r"memory://full\.bin: it cannot be written: bucket is full"


@pytest.mark.parametrize(("step", "frames", "error"), [
    *((step, FRAMES[:9], REFUSED) for step in ("__init__", "write", "close", "commit")),
    ("discard", [b"one", "two"], (EncodeError, "str")),  # the first error counts
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_store_that_refuses_what_is_written_is_told_with_the_url(store, monkeypatch, step, frames, error):
    def refuse(*arguments, **options):
        monkeypatch.undo()  # once: Python closes what is left, and from 3.14 on tells if that fails
        raise RuntimeError("bucket is full")

    gc.collect()  # a file of another test that is closed later would be the one that is refused
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile." + step, refuse)
    refused(error[0], write, "memory://full.bin", frames, PREFIX, match=error[1])
    assert not store.exists("/full.bin")


def test_a_frame_by_its_number_takes_one_request_and_a_compressed_file_few(store, asked):
    write("memory://many.bin", FRAMES, PREFIX)
    archive = Archive("memory://many.bin", PREFIX)
    asked.clear()
    assert archive[2500] == FRAMES[2500]
    assert len(asked) == 1
    assert archive.__getitems__([*range(0, 5000, 100)] * 2) == FRAMES[::100] * 2
    assert len(asked) <= 51
    asked.clear()
    assert (archive[4900], archive[0]) == (FRAMES[4900], FRAMES[0])
    assert len(asked) == 1  # the last ones are kept
    store.pipe_file("/large.gz", gzip.compress(bytes(40 << 20), 0))
    asked.clear()
    assert open_sources("memory://large.gz")[0].size == 40 << 20
    assert len(asked) < 12


def test_the_next_block_is_read_while_one_is_cut(store, monkeypatch):
    ask, asked = type(store).cat_file, threading.Semaphore(0)
    monkeypatch.setattr(type(store), "cat_file", lambda *where, **range: asked.release() or ask(*where, **range))
    store.pipe_file("/ahead.bin", bytes(17 << 20))
    with closing(open_sources("memory://ahead.bin")[0].chunks(0, 17 << 20)) as chunks:
        next(chunks)
        assert all(asked.acquire(timeout=60) for _ in range(2))
        assert not asked.acquire(blocking=False)


@pytest.mark.parametrize("name", ["ETag", "etag", "mtime", "LastModified", "last_modified", "created"])
def test_another_version_of_a_file_is_not_read_whatever_a_store_calls_it(store, monkeypatch, name):
    store.pipe_file("/versions.bin", b"one\n")
    told, kept = {"size": 4, name: "1"}, {}
    monkeypatch.setattr(type(store), "info", lambda *where: kept or kept.update(told) or kept)
    monkeypatch.setattr(type(store), "invalidate_cache", lambda *where: kept.clear())
    splits = plan("memory://versions.bin", Line())
    told[name] = "2"
    refused(ArchiveError, frames_of, splits, match=r"it has changed since it was planned \(1, 2\)")


def test_the_index_of_other_contents_is_not_used_where_the_store_tells_no_version(store, monkeypatch):
    ask = type(store).info
    monkeypatch.setattr(type(store), "info", lambda *where: {"size": ask(*where)["size"]})
    store.pipe("/replaced.gz", gzip.compress(b"one\n"))
    make_index("memory://replaced.gz", Line())
    store.pipe("/replaced.gz", gzip.compress(b"one\ntwo\nthree\n"))
    assert frames_of(plan("memory://replaced.gz", Line())) == ["one", "two", "three"]


def test_nothing_is_delivered_of_a_file_that_replaces_another_while_it_is_read(store):
    store.pipe_file("/while-read.bin", b"1" * (17 << 20))  # three blocks, one of which is read ahead
    frames = plan("memory://while-read.bin", FixedLength(1 << 20), parts=1)[0].frames()
    seen = [next(frames)[:1]]
    store.pipe_file("/while-read.bin", b"2" * (18 << 20))
    with pytest.raises(ArchiveError, match=r"while-read\.bin: it is longer .* plan again"):
        seen.extend(frame[:1] for frame in frames)
    assert set(seen) == {b"1"}


# Cost


class Counted(InMemory):
    """Bytes that count how many of them are read, by everybody who has them, and that come with nothing in between."""

    read: ClassVar[list[int]] = [0]

    def chunks(self, start, stop=None):
        for chunk in super().chunks(start, stop):
            self.read[0] += len(chunk)
            yield from (b"", chunk)


MILLION = 1_000_000
HOSTILE = {
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
    "short lines": (Delimiter(b"--"), lambda: (b"\4abcd-" * 20 + b"-" * 10) * 20_000),
    "short prefixes": (LengthPrefix(1), lambda: b"\4abcd\1-" * 400_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_byte_is_read_a_bounded_number_of_times(name):
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
def test_frames_larger_than_what_looks_like_frames_in_them_are_found(framer):
    """Text holds no length of four bytes below the limit, and everywhere one of a single byte."""
    random = Random(1)
    texts = [bytes(random.choices(b"abcdefghij {}:,0123456789", k=random.randrange(1000, 15_000))) for _ in range(400)]
    data = wire(framer, *texts)
    assert stitch(divide(InMemory(data), framer, 1 << 18)).walked_twice < len(data) / 10


class Marked(ReadCondition[bytes]):
    """Frames of 50 bytes, which begin with a mark and refuse anything else."""

    def find(self, window):
        if not window.data.startswith(b"<", window.start):
            raise FramingError("no mark")
        return window.start, window.start + 50, window.start + 50


@pytest.mark.parametrize(
    ("framer", "data", "size"), [(Closed(), b"  a,b.", 100), (Marked(), (b"<" + bytes(49)) * 10_000, 70_001)]
)
def test_neither_padding_nor_what_a_framer_refuses_misleads_a_guess(framer, data, size):
    assert stitch(divide(InMemory(data), framer, size)).walked_twice == 0


# Mistakes


class Starts(ReadCondition[bytes]):
    """Frames of one byte, and an answer to `find_start` that breaks the contract."""

    synchronises = "exact"

    def __init__(self, answer):
        self.find_start = answer

    def find(self, window):
        return window.start, window.start + 1, window.start + 1


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda window: window.start + 9999 * window.eof or NeedMore(), "find_start returns 9999: no place"),
    (lambda window: NeedMore(resume=101), "no place from 0, where the window starts, to 100"),
    (lambda window: NeedMore(), "find_start wants more"),
    (lambda window: NeedMore() if window.eof else NeedMore(resume=window.start), "wants more at the end"),
])  # fmt: skip
def test_a_framer_that_finds_no_place_is_at_fault(answer, reason):
    split = Split(InMemory(bytes(1000), step=100), Starts(answer), 500, 1000)
    refused(FramerContractError, list, split.frames(), match=reason)


def test_a_framer_that_never_finds_a_place_is_not_given_all_of_a_file():
    asked = []
    starts = Starts(lambda window: asked.append(len(window.data)) or NeedMore())
    frames = Split(InMemory(bytes(40 << 20), step=1 << 23), starts, 1, 40 << 20).frames()
    refused(FramerContractError, list, frames, match=r"find_start wants more than \d+ bytes")
    assert asked[-1] <= 24 << 20


def test_mistaken_arguments_are_told(path):
    _, framer = fill(path, "line")
    for options in ({"parts": 0}, {"size": 0}, {"parts": 1, "size": 1}):
        refused(ValueError, plan, path, framer, **options, match=r"1 or more|not both")
    splits = plan(path, framer, parts=3)
    reason = "max_frame_size is '1MiB'; it must be a whole number"
    refused(ValueError, plan, path, framer, max_frame_size="1MiB", match=reason)
    for wrong, kind in ((5, "int"), (b"file", "bytes"), ([b"file"], "bytes"), (None, "NoneType")):
        refused(TypeError, plan, wrong, framer, match=f"a path or URL is of type {kind}; it must be")
    refused(ValueError, process, splits, numbers_of, jobs=0, match="jobs is 0")
    refused(TypeError, process, splits, 5, jobs=1, match="function is 5; it must be a function")
    # Python's own pool may wait for ever for what it could not send.
    for what in (splits, lambda reader: 0), (plan(path, Mapped(Line(), lambda line: 0)), numbers_of):
        refused(ValueError, process, *what, jobs=2, match=r"cannot be sent to another process: .*<lambda>")
    refused(ValueError, stitch, splits[1:], match="does not follow")
    stopping = process(splits, lambda reader: next(reader.records()), jobs=1)
    refused(ValueError, list, stopping, match="stopped before the end")
    Path(f"{path}2").touch()
    refused(ArchiveError, make_index, f"{path}*", framer, match="stands for 2 files")
    refused(TypeError, write, path, [], Exactly(3), match="can only read")  # a type checker tells, too
    reason = "part_size is 0; it must be a whole number, 1 or more"
    refused(ValueError, write, path, ["one"], Line(), part_size=0, match=reason)
