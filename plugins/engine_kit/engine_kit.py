"""What the tests of the engines' plugins share: archives, an object store, fixtures, a worker that dies.

Workers import it, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

from framestream import LengthPrefix, Line, Mapped, ReadCondition, iter_frames

FRAMES = 6000
MAPPINGS = [
    {"id": i, "name": "n" * (i % 40), "ratio": None if i % 3 else i / 2, "tags": ["a", "b"][: i % 3]}
    for i in range(FRAMES)
]
SPECS = {"msgpack": "msgpack", "text": "line", "binary": "length-prefix:format=varint"}
SIZE = 60_000


def archive(kind: str) -> bytes:
    """Return the bytes of an archive, in which nothing but its framing separates the frames."""
    if kind == "msgpack":
        return b"".join(map(msgpack.packb, MAPPINGS))
    if kind == "text":
        return b"".join(b"line %d %b\n" % (i, b"x" * (i % 50)) for i in range(FRAMES))
    encode = LengthPrefix(format="varint").encode
    return b"".join(b"".join(encode(bytes([i % 256]) * (i % 200))) for i in range(FRAMES))


def expected(kind: str) -> list[dict[str, Any]]:
    """Return the rows of an archive, as one process reads them."""
    if kind == "msgpack":
        return MAPPINGS
    data, rows, at = archive(kind), [], 0
    for frame in iter_frames(data, SPECS[kind]):
        prefix = 1 if kind == "text" or len(frame) < 128 else 2
        rows.append({"offset": at, "size": len(frame) + prefix, "frame": frame})
        at += len(frame) + prefix
    return rows


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order of the archive: some engines give them in whatever order they become ready."""
    return sorted(rows, key=lambda row: row.get("offset", row.get("id")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every archive: whole, and as two files that a glob matches."""
    folder = tmp_path_factory.mktemp("archives")
    for kind in SPECS:
        (folder / f"{kind}.bin").write_bytes(archive(kind))
    for number, half in enumerate((MAPPINGS[: FRAMES // 2], MAPPINGS[FRAMES // 2 :])):
        (folder / f"half-{number}.bin").write_bytes(b"".join(map(msgpack.packb, half)))
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[dict[str, Any]]:
    """Serve the files of the folder as s3://archives/; yield the storage options that reach them."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    moto = server.ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        options = {
            "key": "key",
            "secret": "secret",
            "endpoint_url": f"http://{host}:{port}",
        }
        store = s3fs.S3FileSystem(**options, skip_instance_cache=True)
        with suppress(FileExistsError):  # all servers of one process have the same buckets
            store.mkdir("archives")
        for path in folder.glob("*.bin"):
            store.put_file(str(path), f"archives/{path.name}")
        yield options
    finally:
        moto.stop()


CASES = {
    "path": ("msgpack", "{folder}/msgpack.bin"),
    "glob": ("msgpack", "{folder}/half-*.bin"),
    "text": ("text", "{folder}/text.bin"),
    "binary": ("binary", "{folder}/binary.bin"),
    "s3": ("msgpack", "s3://archives/msgpack.bin"),
    "s3-glob": ("msgpack", "s3://archives/half-*.bin"),
    "s3-text": ("text", "s3://archives/text.bin"),
}


def options_for(case: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options with which a case's files can be opened; start the object store if it needs it."""
    return {"storage_options": request.getfixturevalue("store")} if case.startswith("s3") else {}


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Return the path of 2500 lines, and of one after the first 1500 that cannot be decoded."""
    path = tmp_path / "spoilt"
    path.write_bytes(b"good\n" * 1500 + b"\xff\n" + b"good\n" * 1000)
    return path


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(flag: Path, die: Callable[[], object] = kill) -> ReadCondition[str]:
    """Return a framer of lines that dies when it meets a certain one, the first time."""
    return Mapped(Line(), partial(_die_once, str(flag), die))


def _die_once(flag: str, die: Callable[[], object], line: str) -> str:
    if line.startswith(f"line {FRAMES - 100} "):
        with suppress(FileExistsError):
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
            die()
    return line
