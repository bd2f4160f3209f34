"""Archives: however a file is divided, its splits give the frames of the whole."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    FramingError,
    IncompleteFrame,
    LengthPrefix,
    Line,
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
    InMemory,
    OnError,
    Reader,
    Record,
    Split,
    append,
    divide,
    make_index,
    plan,
    process,
    repair,
    stitch,
    write,
)
from framestream.framer import Decode, ValueSpan
from framestream.testing.streams import Division, check_division
from framestream.testing.suite import cut_at

LIMIT = 300


def whole(data: bytes, framer: ReadCondition[Any]) -> list[Record]:
    """Return what one process reads."""
    return list(Split(InMemory(data), framer, 0, len(data)).records(on_error="column"))


def places(records: Iterable[Record]) -> list[tuple[int, int, Any]]:
    return [record[:3] for record in records]


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


@pytest.mark.parametrize("on_error", ["raise", "column"])
@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=15)
@given(st.integers(0, 1 << 32), st.lists(st.integers(0, 600), max_size=5))
def test_splits_give_what_the_whole_gives(name: str, on_error: OnError, seed: int, borders: list[int]) -> None:
    framer, make = FRAMERS[name]
    data = make(Random(seed))
    check_division(framer, Division(cut_at(data, borders), 7, LIMIT, on_error))


def a_file(tmp_path: Path, name: str, times: int = 40) -> tuple[str, bytes, ReadCondition[Any]]:
    framer, make = FRAMERS[name]
    data = b"".join(make(Random(number)) for number in range(times))
    path = tmp_path / "file"
    path.write_bytes(data)
    return str(path), data, framer


def numbers_of(reader: Reader) -> list[int]:
    return [record.offset for record in reader.records()]


@pytest.mark.parametrize("name", ["msgpack", "prefix", "overlapping"])
def test_processes_give_the_results_in_order(tmp_path: Path, name: str) -> None:
    path, data, framer = a_file(tmp_path, name)
    expected = [record.offset for record in whole(data, framer)]
    results = process(plan(path, framer, parts=5), numbers_of, jobs=2)
    assert [offset for offsets in results for offset in offsets] == expected


def test_what_a_process_prints_goes_to_standard_error(tmp_path: Path, capfd: Any) -> None:
    """As a framer's module may, when it is imported there: standard output is the results'."""
    path, _, framer = a_file(tmp_path, "line")
    list(process(plan(path, framer, parts=2), chatter, jobs=2))
    assert capfd.readouterr() == ("", "printed\n" * 2)


def chatter(reader: Reader) -> None:
    print("printed")
    reader.drain()


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    path, _, framer = a_file(tmp_path, "prefix")
    with pytest.raises(WorkerError, match="killed"):
        list(process(plan(path, framer, parts=2), die, jobs=2))


def die(reader: Reader) -> None:
    os._exit(1)


LOCK = threading.Lock()


def test_processes_do_not_inherit_the_locks_of_threads(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "line")
    with LOCK, ThreadPoolExecutor() as threads:
        results = threads.submit(list, process(plan(path, framer, parts=2), with_the_lock, jobs=2)).result()
    assert sum(results) == len(whole(data, framer))


def with_the_lock(reader: Reader) -> int:
    assert LOCK.acquire(timeout=30)
    reader.drain()
    return reader.count


# Run by "-c", it is no module from which another process could import the function.
COPIED = """
import os, time
from framestream.archives import plan, process
def count(reader):
    reader.drain()
    return reader.count
def stay(reader):
    os.write(1, b"here")
    time.sleep(600)
print(sum(process(plan({path!r}, {spec!r}, parts=2), {function}, jobs=2)))
"""
COPIES = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")


def copying(tmp_path: Path, function: str) -> tuple[bytes, subprocess.Popen[bytes]]:
    path, data, framer = a_file(tmp_path, "fixed")
    program = COPIED.format(path=path, spec=str(framer), function=function)
    return data, subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)


@COPIES
def test_a_program_with_one_thread_needs_no_module_for_the_function(tmp_path: Path) -> None:
    data, program = copying(tmp_path, "count")
    assert int(program.communicate()[0]) == len(data) // 7


@COPIES
def test_processes_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    _, program = copying(tmp_path, "stay")
    assert program.stdout is not None
    program.stdout.read(4)
    program.kill()
    program.communicate(timeout=60)  # the output ends when nobody has it any more


def test_splits_are_small_values_that_can_be_pickled(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "line")
    splits = plan(path, framer, parts=3)
    pickled = pickle.dumps(splits)
    assert pickle.loads(pickled) == splits
    assert len(pickled) < 1000
    assert [(split.start, split.stop) for split in splits] == [
        (len(data) * i // 3, len(data) * (i + 1) // 3) for i in range(3)
    ]


def test_two_or_four_processes_get_as_much_of_a_large_file_each(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate((1 << 30) + 12345)
    sizes = [split.stop - split.start for split in plan(tmp_path / "file", "line")]
    assert len(sizes) % 4 == 0
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1 << 26


def test_a_split_whose_first_frame_is_a_guess_is_not_read(tmp_path: Path) -> None:
    path, _, framer = a_file(tmp_path, "prefix")
    with pytest.raises(ArchiveError, match=r"file: where a frame of .* begins cannot be told .* stitch\(\)"):
        list(plan(path, framer, parts=2)[1].frames())


@pytest.mark.parametrize("on_error", ["skip", "column"])
def test_bad_frames_are_left_out_or_shown(on_error: OnError) -> None:
    data = b"one\n\xff\ntwo\n"
    reader = Split(InMemory(data), Line(), 0, len(data)).read()
    records = list(reader.records(on_error=on_error))
    assert [record.frame for record in records] == ["one", None, "two"][:: 1 if on_error == "column" else 2]
    assert (reader.count, reader.bad) == (3, 1)


class Ended(ReadCondition[bytes]):
    """Frames with a size of one byte before them, and a comma after."""

    def find(self, window: Window) -> ValueSpan:
        first = window.start + 1
        stop = first + window.data[window.start]
        return first, stop, stop + 1, Decode(bytes, trailer=b",")


def test_an_error_in_a_frame_that_is_skipped_is_that_of_its_split() -> None:
    data = b"\5hello,\5hello;\5hello,"
    splits = [
        Split(InMemory(data, step=2), Ended(), *border, max_frame_size=3) for border in ((0, 9), (9, 14), (14, 21))
    ]

    def read(reader: Reader) -> list[Any]:
        pieces = reader.pieces(in_batches=False, on_oversize="discard")
        return until_error(error and error.offset for _, error in pieces)

    reason = "frame ends with b';' where b',' is expected"
    assert list(process(splits, read, jobs=1)) == [[0, (FramingError, reason, 13)]]


# Files that are not what they were


def test_a_file_that_changes_is_not_read(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "prefix")
    (split,) = plan(path, framer)
    changed = {"shorter": data[:-1], "changed": data[:-1] + b"\0"}
    for reason, content in changed.items():
        Path(path).write_bytes(content)
        os.utime(path, ns=(1, 1))
        with pytest.raises(ArchiveError, match=rf"{path}: .*{reason}.*plan again"):
            list(split.frames())


def test_a_file_that_grows_gives_the_frames_that_it_had(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "prefix")
    (split,) = plan(path, framer)
    with open(path, "ab") as file:
        file.write(data)
    assert len(list(split.frames())) == len(whole(data, framer))


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        ("nosuch", "nosuch: no such file or directory"),
        (".", r"\.: is a directory; give its files, such as \./\*"),
        ("nosuch*", r"nosuch\*: nothing matches"),
        ("nosuch://bucket/key", "it cannot be read|it needs fsspec"),
    ],
)
def test_what_cannot_be_opened_is_told(urls: str, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        plan(urls, "line")


def test_a_pipe_cannot_be_divided(tmp_path: Path) -> None:
    """Its size is 0: opened, it would wait for ever, or seem empty."""
    os.mkfifo(path := tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="it is a pipe or a device, which cannot be read in parts"):
        plan(path, "line")


def test_an_error_tells_its_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\3abc\0\3ab")
    with pytest.raises(IncompleteFrame, match=rf"arrived \(at offset 5 of {path}\)"):
        list(plan(path, LengthPrefix(2))[0].frames())


# Indexes


@pytest.mark.parametrize(
    ("framer", "frame"),
    [
        (Line(), b"x" * 79 + b"\n"),
        (LengthPrefix(2), b"\0\x40" + bytes(64)),
        (Msgpack(), msgpack.packb({"a": [1] * 60})),
    ],
    ids=["line", "prefix", "msgpack"],
)
def test_a_place_is_kept_for_each_64_kib_so_that_no_more_is_cut_for_one_frame(
    framer: ReadCondition[Any], frame: bytes
) -> None:
    data = frame * (3_000_000 // len(frame))
    reader = Split(InMemory(data), framer, 0, len(data)).read()
    reader.drain()
    places = [0, *reader.marks.offsets, len(data)]
    assert max(after - before for before, after in pairwise(places)) <= (1 << 16) + len(frame)
    assert len(places) < len(data) >> 14


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["prefix", "msgpack", "line"])
def test_an_index_gives_every_frame_by_its_number(tmp_path: Path, name: str, jobs: int) -> None:
    path, data, framer = a_file(tmp_path, name, times=300)
    records = whole(data, framer)
    frames = [record.frame for record in records]
    done: list[int] = []
    index = make_index(path, framer, jobs=jobs, on_progress=done.append)
    assert sum(done) == len(data)
    assert index.count == len(frames)
    archive = pickle.loads(pickle.dumps(Archive(path, framer)))
    assert len(archive) == len(frames)
    for number in (0, 1, len(frames) // 2, len(frames) - 1, -1, -len(frames), *range(0, len(frames), len(frames) // 9)):
        assert archive.record(number)[:3] == records[number][:3]
        if records[number].error is None:
            assert archive[number] == frames[number]
    with pytest.raises(IndexError, match=f"frame {len(frames)} of an archive of {len(frames)} frames"):
        archive[len(frames)]
    assert places(chain.from_iterable(split.records(on_error="column") for split in archive.splits(parts=3))) == (
        places(records)
    )
    if name != "line":
        assert archive[2:4] == archive.__getitems__([2, 3]) == frames[2:4]
        assert list(archive) == frames
        assert all(split.is_exact for split in plan(path, framer, parts=4))


def test_a_loader_of_pytorch_takes_an_archive(tmp_path: Path) -> None:
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    write(tmp_path / "file", ({"n": n} for n in range(50_000)), Msgpack())
    for workers in (0, 2):
        loader = data.DataLoader(Archive(tmp_path / "file", Msgpack()), batch_size=500, num_workers=workers)
        assert [n for batch in loader for n in batch["n"].tolist()] == list(range(50_000))


def test_a_stale_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "prefix")
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
        Path(path).write_bytes(content)
        os.utime(path, ns=(when, when))
        with pytest.raises(ArchiveError, match=f"stale: .*{reason}.*framestream index"):
            Archive(path, framer)
    Path(path + ".fsindex").write_bytes(b"no index")
    with pytest.raises(ArchiveError, match="not an index that can be read"):
        plan(path, framer)


WILD: dict[str, Any] = {
    "size": [-1, 1 << 63, "x", 1.5, None],
    "count": [-1, 1 << 40, 1 << 63, "x", 2.5, None],
    "offsets": [[-1], [1 << 63], [1 << 63, 1 << 63], [0, 1 << 40], [1 << 20, -5], ["x"], [1.5], 7, None],
    "counts": [[-1], [1 << 63], [], ["x"], None],
    "places": [
        [[0, 5]],
        [[-1, 0]],
        [[0, 0], [9, 1 << 60]],
        [[0, 0], [9, 5], [3, 6]],
        [[0.0, 0]],
        [[0]],
        "x",
        None,
    ],
    "framestream-index": [0, None],
    "more": [1],
}


@pytest.mark.parametrize("name", WILD)
def test_an_index_of_wild_numbers_is_refused(tmp_path: Path, name: str) -> None:
    path, _, framer = a_file(tmp_path, "prefix")
    make_index(path, framer)
    beside = Path(path + ".fsindex")
    true = msgpack.unpackb(beside.read_bytes())
    for wild in WILD[name]:
        beside.write_bytes(msgpack.packb(true | {name: wild}))
        for use in (Archive, plan):
            with pytest.raises(ArchiveError, match=r"fsindex: .*make it again"):
                use(path, framer)


def test_an_index_that_is_not_true_is_told(tmp_path: Path) -> None:
    path, data, framer = a_file(tmp_path, "prefix")
    count = make_index(path, framer).count
    beside = Path(path + ".fsindex")
    beside.write_bytes(msgpack.packb(msgpack.unpackb(beside.read_bytes()) | {"count": count + 1}))
    archive = Archive(path, framer)
    for ask in (archive.__getitem__, archive.record):
        with pytest.raises(ArchiveError, match=f"the index is wrong: frame {count} is not where it says"):
            ask(count)
    assert len(data) > count


def test_what_is_much_too_large_for_an_index_is_not_read(tmp_path: Path) -> None:
    path, _, framer = a_file(tmp_path, "prefix")
    with open(path + ".fsindex", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArchiveError, match=r"fsindex: it has \d+ bytes; at most 16\d+ are read"):
        plan(path, framer)


def test_no_index_is_written_of_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\3ab")
    with pytest.raises(IncompleteFrame):
        make_index(path, LengthPrefix(2))
    assert list(tmp_path.iterdir()) == [path]


# Writing

PREFIX = LengthPrefix(2)


def test_what_is_written_is_read_back_with_its_index(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    frames = [bytes(number % 200) for number in range(3000)]
    assert write(path, frames, PREFIX) == [str(path)]
    assert list(Archive(path, PREFIX)) == frames
    assert Archive(path, PREFIX)[2999] == frames[2999]
    assert sorted(child.name for child in tmp_path.iterdir()) == ["file.bin", "file.bin.fsindex"]


def test_parts_are_numbered_and_hold_whole_frames(tmp_path: Path) -> None:
    frames = [bytes(8)] * 25
    names = write(tmp_path / "log.bin", frames, PREFIX, part_size=100)
    assert [Path(name).name for name in names] == ["log-00000.bin", "log-00001.bin", "log-00002.bin"]
    splits = plan(str(tmp_path / "log-*.bin"), PREFIX)
    assert [frame for split in splits for frame in split.frames()] == frames


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EncodeError):
        write(tmp_path / "file", [b"one", "two"], PREFIX)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArchiveError, match="no such file"):
        write(tmp_path / "no" / "file", [b"one"], PREFIX)


def test_frames_are_appended_and_the_index_follows(tmp_path: Path) -> None:
    path = tmp_path / "file"
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


@pytest.mark.parametrize("action", ["append", "write"])
def test_a_disk_that_takes_no_more_is_told_and_leaves_what_was_there(tmp_path: Path, action: str) -> None:
    """The system first takes a part of what is written, and only then refuses."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any file")
def test_a_file_without_permission_to_write_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
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


def test_a_file_may_be_named_by_its_url(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\3one\0\3tw")
    assert repair(f"file://{path}", PREFIX).size == 5
    assert append(f"file://{path}", [b"two"], PREFIX) == 1
    assert path.read_bytes() == b"\0\3one\0\3two"


def test_only_local_files_are_changed() -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe("/remote.bin", b"\0\3one\0\3tw")
    with pytest.raises(ArchiveError, match="it is not a local file, so it cannot be changed"):
        append("memory://remote.bin", [b"two"], PREFIX)
    with pytest.raises(ArchiveError, match="it is not a local file, so it cannot be changed"):
        repair("memory://remote.bin", PREFIX)
    assert store.cat("/remote.bin") == b"\0\3one\0\3tw"


def test_nothing_is_written_under_a_name_that_says_it_is_compressed(tmp_path: Path) -> None:
    for action in (write, append):
        with pytest.raises(ArchiveError, match=r"x\.gz: its name says that it is compressed"):
            action(tmp_path / "x.gz", [b"one"], PREFIX)
    assert list(tmp_path.iterdir()) == []


def test_a_pattern_is_no_file_to_repair(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"\0\3one\0\3tw")
    with pytest.raises(ArchiveError, match="no such file"):
        repair(tmp_path / "*.bin", PREFIX)


def test_what_an_earlier_repair_cut_off_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\3one\0\3tw")
    torn = Path(repair(path, PREFIX).torn)
    path.write_bytes(b"\0\3one\0\3xy")
    with pytest.raises(ArchiveError, match="torn-5: it holds what an earlier repair cut off; move it away"):
        repair(path, PREFIX)
    assert (path.read_bytes(), torn.read_bytes()) == (b"\0\3one\0\3xy", b"\0\3tw")


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
    tmp_path: Path, framer: Framer[Any], there: bytes, frame: Any
) -> None:
    path = tmp_path / "file"
    path.write_bytes(there)
    with pytest.raises(ArchiveError, match=rf"would be joined to its last frame \(at offset {len(there)}\)"):
        append(path, [frame], framer)
    assert path.read_bytes() == there
    assert append(path, [], framer) == 0


def test_a_torn_end_is_cut_off_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\3one\0\3tw")
    assert repair(path, PREFIX, dry_run=True).cut == 4
    done = repair(path, PREFIX)
    assert (done.frames, done.size, done.cut) == (1, 5, 4)
    assert (path.read_bytes(), Path(done.torn).read_bytes()) == (b"\0\3one", b"\0\3tw")
    assert repair(path, PREFIX).cut == 0


def test_what_is_no_torn_end_is_cut_off_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, framer, stays in ((b"\1\xc1\1\2", Msgpack(), 1), (b"text", LengthPrefix(4), 0)):
        path.write_bytes(content)
        with pytest.raises(FramingError):
            repair(path, framer)
        assert path.read_bytes() == content
        assert repair(path, framer, force=True).size == stays


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


def test_mistaken_arguments_are_told(tmp_path: Path) -> None:
    path, _, framer = a_file(tmp_path, "line")
    for options in ({"parts": 0}, {"size": 0}, {"parts": 1, "size": 1}):
        with pytest.raises(ValueError, match=r"must be at least 1|not both"):
            plan(path, framer, **options)
    splits = plan(path, framer, parts=3)
    with pytest.raises(ValueError, match="jobs is 0"):
        process(splits, numbers_of, jobs=0)
    with pytest.raises(ValueError, match="does not follow"):
        stitch(splits[1:])
    with pytest.raises(ValueError, match="must keep the order"):
        stitch(splits, map=lambda function, items: reversed(list(map(function, items))))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="stopped before the end"):
        list(process(splits, lambda reader: next(reader.records()), jobs=1))
    with pytest.raises(ArchiveError, match="stands for 2 files"):
        Path(path + "2").touch()
        make_index(path + "*", framer)
    with pytest.raises(TypeError, match="can only read"):
        write(path, [], Exactly(3))  # type: ignore[arg-type]  # a type checker tells, too
    with pytest.raises(ArchiveError, match="no file can be written"):
        InMemory(b"").write_beside(".x", b"")


def test_a_bad_frame_is_raised_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\n\xff\ntwo\n")
    make_index(path, Line())
    archive = Archive(path, Line())
    with pytest.raises(PayloadError, match=rf"frame at offset 4 of {path}"):
        archive[1]
    assert (archive[0], archive[2]) == ("one", "two")


def test_a_file_that_loses_bytes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    (split,) = plan(path, FixedLength(16))
    frames = split.frames()
    next(frames)
    os.truncate(path, 1 << 17)
    with pytest.raises(ArchiveError, match=r"it became shorter while it was read \(at offset 131072\)"):
        list(frames)
