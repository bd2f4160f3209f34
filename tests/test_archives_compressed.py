"""Archives that are compressed: divided where decompression can begin, and otherwise like any other."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest

from framestream import FixedLength, LengthPrefix, Line
from framestream.archives import (
    Archive,
    ArchiveError,
    Compressed,
    make_index,
    open_sources,
    plan,
    stitch,
    write,
)
from framestream.archives.source import InMemory

RANDOM = Random(1)
FRAMES = [RANDOM.randbytes(RANDOM.randrange(2000)) for _ in range(5000)]
PREFIX = LengthPrefix(2)
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


@pytest.mark.parametrize(
    "wild",
    [
        {"size": 1 << 62},
        {"size": -1},
        {"places": [[0, 0], [5, -1]]},
        {"places": [[0, 0], [5, 1 << 62]]},
        {"places": [[0, "x"]]},
        {"ends": b""},
    ],
)
def test_the_places_of_a_wild_or_foreign_index_are_not_used(tmp_path: Path, wild: dict[str, Any]) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    make_index(path, Line())
    beside = Path(f"{path}.fsindex")
    beside.write_bytes(msgpack.packb(msgpack.unpackb(beside.read_bytes()) | wild))
    assert [frame for split in plan(path, Line()) for frame in split.frames()] == ["one", "two"]


@pytest.mark.parametrize(("size", "how"), [(4, "more"), (6, "more"), (12, "less")])
def test_a_file_that_is_not_as_large_as_its_index_says_is_told(tmp_path: Path, size: int, how: str) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    make_index(path, Line())
    beside = Path(f"{path}.fsindex")
    fields = msgpack.unpackb(beside.read_bytes())
    beside.write_bytes(msgpack.packb(fields | {"size": size, "count": 0, "offsets": [], "counts": []}))
    with pytest.raises(ArchiveError, match=f"it holds {how} than when it was planned"):
        list(plan(path, Line())[0].frames())


def test_the_index_of_other_contents_is_not_used_where_the_store_tells_no_version() -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe("/replaced.gz", gzip.compress(b"one\n"))
    make_index("memory://replaced.gz", Line())
    store.pipe("/replaced.gz", gzip.compress(b"one\ntwo\nthree\n"))
    (split,) = plan("memory://replaced.gz", Line())
    assert list(split.frames()) == ["one", "two", "three"]


def test_a_file_with_nothing_in_it_has_one_split_without_frames(tmp_path: Path) -> None:
    for content in (b"", gzip.compress(b"")):
        path = tmp_path / "x.gz"
        path.write_bytes(content)
        (split,) = plan(path, Line())
        assert list(split.frames()) == []


def test_a_damaged_or_torn_file_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    good = gzip.compress(b"one\n")
    for content, reason in (
        (b"no gzip", r"x\.gz: it is no gzip file, or damaged: .* \(at offset 0\)"),
        (good + b"more", rf"it is no gzip file, or damaged: .* \(at offset {len(good)}\)"),
        (good[:-1], r"it ends inside a gzip member \(at offset 0\)"),
    ):
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match=reason):
            plan(path, Line())


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
        assert Compressed.of(InMemory(member * members, step=1 << 23), "gzip").size == 2 * members
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(3)) < 20 * min(seconds(4_000) for _ in range(3))


def test_zeros_are_no_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(bytes(100_000))
    with pytest.raises(ArchiveError, match=r"no gzip file, or damaged.*offset 0"):
        plan(path, Line())


# Files that fsspec opens


def test_what_fsspec_opens_is_read_written_and_indexed() -> None:
    pytest.importorskip("fsspec")
    url = "memory://store/part.bin"
    names = write(url, FRAMES[:50], PREFIX, part_size=10_000)
    assert names[:2] == ["memory://store/part-00000.bin", "memory://store/part-00001.bin"]
    splits = plan("memory://store/part-*.bin", PREFIX, size=5000)
    assert [frame for split in splits for frame in split.frames()] == FRAMES[:50]
    assert Archive(names[0], PREFIX)[0] == FRAMES[0]
    assert all(split.is_exact for split in splits)


def test_a_frame_by_its_number_takes_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    store = type(pytest.importorskip("fsspec").filesystem("memory"))
    ask, asked = store.cat_file, []
    monkeypatch.setattr(store, "cat_file", lambda *arguments, **range: asked.append(range) or ask(*arguments, **range))
    write("memory://store/many.bin", FRAMES, PREFIX)
    archive = Archive("memory://store/many.bin", PREFIX)
    asked.clear()
    assert archive[2500] == FRAMES[2500]
    assert len(asked) == 1


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
