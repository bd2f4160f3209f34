"""JSON spoken with jq (sequences, lines, arrays, concatenated texts), mpv and qemu (lines both ways)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from framestream import END, NEED_DATA, FrameDecoder, connect, get_framer, iter_frames
from framestream_json import JsonArray, JsonConcat, JsonLines, JsonSeq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 30
QEMU = "qemu-system-x86_64"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed, see plugins/install_peers.sh"
    )


def documents(count: int) -> list[Any]:
    """Return documents of every kind, the same ones each time."""
    source = random.Random(7)
    texts = ["", "plain", "Zoë €😀", 'a "quote" \\ and\nnewline', "[{", "\x7f"]

    def value(depth: int) -> Any:
        kind = source.randrange(8 if depth < 4 else 5)
        if kind == 5:
            return [value(depth + 1) for _ in range(source.randrange(4))]
        if kind > 5:
            return {source.choice(texts) + str(n): value(depth + 1) for n in range(source.randrange(4))}
        scalars = [source.choice(texts), source.randrange(-(10**6), 10**6), source.random(), None, True]
        return scalars[kind]

    return [value(0) for _ in range(count)]


def jq(*arguments: str, given: bytes) -> bytes:
    done = subprocess.run(["jq", *arguments], input=given, capture_output=True, check=True, timeout=TIMEOUT)
    return done.stdout


@needs("jq")
@pytest.mark.parametrize("layout", ["-c", "--tab"])
def test_jq_writes_sequences(layout: str) -> None:
    values = documents(300)
    given = "".join(f"\x1e{json.dumps(value)}\n" for value in values)
    wire = jq("--seq", layout, ".", given=given.encode())
    for size in (1, 1000, 1 << 20):
        chunks = (wire[at : at + size] for at in range(0, len(wire), size))
        assert list(iter_frames(chunks, JsonSeq())) == values


@needs("jq")
@pytest.mark.parametrize("layout", ["-c", "--tab"])
def test_jq_writes_an_array(layout: str) -> None:
    values = documents(300)
    wire = jq("--slurp", layout, ".", given="\n".join(map(json.dumps, values)).encode())
    for size in (1, 1000, 1 << 20):
        chunks = (wire[at : at + size] for at in range(0, len(wire), size))
        assert list(iter_frames(chunks, JsonArray())) == values


@needs("jq")
def test_jq_reads_sequences() -> None:
    values = documents(300)
    wire = jq("--seq", "-c", ".", given=b"".join(map(JsonSeq().encode, values)))
    assert list(iter_frames(wire, JsonSeq())) == values


@needs("jq")
def test_jq_and_the_decoder_agree_on_a_sequence_that_is_cut_off() -> None:
    given = b'\x1e{"a": 1}\n\x1e{"b": [1,\x1e[2]\n\x1e"c'
    done = subprocess.run(["jq", "--seq", "-c", "."], input=given, capture_output=True, timeout=TIMEOUT)
    theirs = list(iter_frames(done.stdout, JsonSeq()))
    decoder = FrameDecoder()
    decoder.receive_data(given)
    ours = list(iter_frames([given[:-3]], JsonSeq(), on_payload_error=lambda error: None))
    assert (ours, theirs) == ([{"a": 1}, [2]], [{"a": 1}, [2]])


@needs("jq")
@pytest.mark.parametrize("layout", ["-c", "--indent=0", "--tab"])
def test_jq_writes_texts_one_after_another(layout: str) -> None:
    values = documents(300)
    arguments = ["--indent", "0"] if layout == "--indent=0" else [layout]
    wire = jq(*arguments, ".", given=b"".join(map(JsonConcat().encode, values)))
    for size in (1, 1000, 1 << 20):
        chunks = (wire[at : at + size] for at in range(0, len(wire), size))
        assert list(iter_frames(chunks, JsonConcat())) == values


@needs("jq")
def test_jq_writes_texts_with_nothing_between_them() -> None:
    values = [value for value in documents(300) if isinstance(value, (dict, list, str))]
    wire = jq("-j", "tojson", given=b"".join(map(JsonLines().encode, values)))
    assert b"}{" in wire
    assert list(iter_frames(wire, JsonConcat())) == values


@needs("jq")
def test_jq_writes_lines() -> None:
    values = documents(300)
    wire = jq("-c", ".", given=b"".join(map(JsonLines().encode, values)))
    assert list(iter_frames(wire, JsonLines())) == values


class Client:
    """A Unix-socket connection to a program that speaks JSON lines."""

    def __init__(self, path: Path, program: subprocess.Popen[bytes]) -> None:
        self.decoder = FrameDecoder()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        for _ in range(1000):
            if path.exists() and self.socket.connect_ex(str(path)) == 0:
                break
            assert program.poll() is None, "the program ended early"
            time.sleep(0.02)

    def send(self, message: Any) -> None:
        self.socket.sendall(JsonLines().encode(message))

    def read(self) -> Any:
        while (frame := self.decoder.next_frame(JsonLines())) is NEED_DATA:
            self.decoder.receive_data(self.socket.recv(100))
        assert frame is not END
        return frame

    def until(self, key: str) -> tuple[Any, list[Any]]:
        """Return the next message with this key, and the ones before it."""
        others: list[Any] = []
        while key not in (message := self.read()):
            others.append(message)
        return message, others


@contextmanager
def running(path: Path, *command: str) -> Iterator[Client]:
    with (path.parent / "log").open("wb") as log:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        client = Client(path, program)
        with client.socket:
            yield client
    finally:
        program.kill()
        program.wait(TIMEOUT)


@needs("mpv")
def test_mpv_is_controlled(tmp_path: Path) -> None:
    path = tmp_path / "s"
    quiet = ["--no-config", "--idle=yes", "--vo=null", "--ao=null", "--no-terminal"]
    with running(path, "mpv", *quiet, f"--input-ipc-server={path}") as client:
        client.send({"command": ["get_version"], "request_id": 1})
        answer, _ = client.until("request_id")
        assert (answer["error"], answer["request_id"]) == ("success", 1)
        client.send({"command": ["observe_property", 7, "volume"]})
        client.send({"command": ["set_property", "volume", 40]})
        client.send({"command": ["get_property", "property-list"], "request_id": 2})
        seen = [client.read()]
        while seen[-1].get("data") != 40:  # the change is announced when the player's loop comes to it
            seen.append(client.read())
        properties = [message["data"] for message in seen if message.get("request_id") == 2]
        while not properties:
            message = client.read()
            properties += [message["data"]] if message.get("request_id") == 2 else []
        assert {"volume", "pause", "chapter-list"} <= set(properties[0])
        assert (seen[-1]["event"], seen[-1]["name"]) == ("property-change", "volume")


@needs(QEMU)
def test_qemu_is_controlled(tmp_path: Path) -> None:
    path = tmp_path / "s"
    machine = ["-machine", "none", "-nodefaults", "-display", "none", "-S"]
    with running(path, QEMU, *machine, "-qmp", f"unix:{path},server=on,wait=off") as client:
        assert client.read()["QMP"]["version"]["qemu"]["major"] >= 7
        client.send({"execute": "qmp_capabilities", "id": "Zoë"})
        assert client.until("return")[0] == {"return": {}, "id": "Zoë"}
        client.send({"execute": "query-qmp-schema"})  # more than 500 entries on one line
        schema, _ = client.until("return")
        assert len(schema["return"]) > 500
        client.send({"execute": "no-such-command"})
        assert client.until("error")[0]["error"]["class"] == "CommandNotFound"
        client.send({"execute": "quit"})
        assert client.until("event")[0]["event"] == "SHUTDOWN"


@needs("jq")
@pytest.mark.parametrize(
    ("command", "framer"),
    [("jq --unbuffered --seq -c .", "json-seq"), ("jq --unbuffered .", "json-concat"), ("jq -c .", "json-lines")],
)
def test_a_stream_speaks_them_by_name(command: str, framer: str) -> None:
    values = documents(50)

    async def talk() -> list[Any]:
        async with await connect(f"exec:{command}", framer=framer) as stream:
            for value in values:
                await stream.send(value)
            await stream.write_eof()
            return [value async for value in stream.frames(get_framer(framer))]

    assert asyncio.run(talk()) == values
