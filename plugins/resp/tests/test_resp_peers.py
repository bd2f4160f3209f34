"""RESP spoken with redis-server, as its client."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from framestream import END, NEED_DATA, FrameDecoder, StreamTimeout, blocking, connect
from framestream_resp import Attributed, ErrorReply, Push, Resp, Verbatim, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="redis-server is not installed, see plugins/install_peers.sh"
    ),
]

TIMEOUT = 20


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a redis-server without persistence; yield the path of its socket."""
    home = tmp_path_factory.mktemp("redis")
    path = home / "s"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(home)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(["redis-server", *options, "--enable-debug-command", "yes"], stdout=log)
    try:
        for _ in range(500):
            if path.exists():
                break
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.02)
        yield path
    finally:
        server.terminate()
        server.wait(TIMEOUT)


class Client:
    """A connection that is read in pieces of `chunk` bytes at most."""

    def __init__(self, path: Path, version: int = 3, chunk: int = 65536) -> None:
        self.framer = Resp(version)  # type: ignore[arg-type]  # 2 or 3
        self.decoder = FrameDecoder(max_frame_size=64 << 20)
        self.chunk = chunk
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        if version == 3:
            assert self.ask("HELLO", 3)[b"proto"] == 3
        assert self.ask("FLUSHALL") == "OK"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *words: bytes | str | float) -> None:
        self.socket.sendall(self.framer.encode(command(*words)))

    def read(self) -> Any:
        while (frame := self.decoder.next_frame(self.framer)) is NEED_DATA:
            self.decoder.receive_data(self.socket.recv(self.chunk))
        assert frame is not END
        return frame

    def ask(self, *words: bytes | str | float) -> Any:
        self.send(*words)
        return self.read()


@pytest.mark.parametrize("chunk", [1, 7, 65536])
@pytest.mark.parametrize("version", [2, 3])
def test_every_kind_of_reply(redis: Path, version: int, chunk: int) -> None:
    with Client(redis, version, chunk) as client:
        assert client.ask("PING") == "PONG"
        assert client.ask("SET", "a", b"\0\r\n\xff") == "OK"
        assert client.ask("GET", "a") == b"\0\r\n\xff"
        assert client.ask("GET", "nothing") is None
        assert client.ask("INCRBY", "n", -(2**63)) == -(2**63)
        assert client.ask("LPUSH", "a", "x").code == "WRONGTYPE"
        assert client.ask("RPUSH", "l", *"abc") == 3
        assert client.ask("LRANGE", "l", 0, -1) == [b"a", b"b", b"c"]
        assert client.ask("LRANGE", "none", 0, -1) == []
        assert client.ask("HSET", "h", "k", "v") == 1
        assert client.ask("HGETALL", "h") == ({b"k": b"v"} if version == 3 else [b"k", b"v"])
        assert client.ask("SADD", "s", "x", "y") == 2
        members = client.ask("SMEMBERS", "s")
        assert (type(members), set(members)) == (set if version == 3 else list, {b"x", b"y"})
        assert client.ask("ZADD", "z", 1.5, "m") == 1
        assert client.ask("ZSCORE", "z", "m") == (1.5 if version == 3 else b"1.5")
        assert client.ask("BLPOP", "none", 0.01) is None


def test_what_only_version_3_has(redis: Path) -> None:
    with Client(redis) as client:
        expected = {
            "string": b"Hello World",
            "integer": 12345,
            "double": 3.141,
            "null": None,
            "array": [0, 1, 2],
            "set": {0, 1, 2},
            "map": {0: False, 1: True, 2: False},
            "verbatim": Verbatim(b"This is a verbatim\nstring"),
            "true": True,
            "false": False,
            "bignum": 1234567999999999999999999999999999999,
        }
        assert {kind: client.ask("DEBUG", "PROTOCOL", kind) for kind in expected} == expected
        attributed = client.ask("DEBUG", "PROTOCOL", "attrib")
        assert isinstance(attributed, Attributed)
        assert attributed.value == b"Some real reply following the attribute"
        assert attributed.attributes == {b"key-popularity": [b"key:123", 90]}


@pytest.mark.parametrize("chunk", [3, 65536])
def test_nested_aggregates(redis: Path, chunk: int) -> None:
    with Client(redis, chunk=chunk) as client:
        commands = client.ask("COMMAND", "DOCS", "get", "xautoclaim")
        assert commands[b"get"][b"arguments"][0][b"type"] == b"key"
        client.ask("XADD", "x", "1-1", "f", "v", "g", "w")
        assert client.ask("XREAD", "STREAMS", "x", "0") == {b"x": [[b"1-1", [b"f", b"v", b"g", b"w"]]]}
        nest = "local t = {} for i = 1, 20 do t = {t, i} end return t"
        deep = client.ask("EVAL", nest, 0)
        for number in range(20, 0, -1):
            deep, last = deep
            assert last == number
        assert deep == []
        assert len(client.ask("COMMAND")) > 200  # among them sets of maps


def test_a_pipeline_of_a_thousand_commands(redis: Path) -> None:
    with Client(redis, chunk=1000) as client:
        commands = [command("INCR", "n") for _ in range(1000)]
        client.socket.sendall(b"".join(map(client.framer.encode, [*commands, command("NONE")])))
        replies = [client.read() for _ in range(1001)]
        assert replies[:-1] == list(range(1, 1001))
        assert isinstance(replies[-1], ErrorReply)


def test_a_bulk_string_of_20_mebibytes(redis: Path) -> None:
    with Client(redis) as client:
        value = bytes(range(256)) * (20 << 12)
        assert client.ask("SET", "big", value) == "OK"
        assert client.ask("MGET", "big", "none") == [value, None]
        assert client.ask("GET", "big") == value


@pytest.mark.parametrize("version", [2, 3])
def test_published_messages(redis: Path, version: int) -> None:
    kind: type[list[Any]] = Push if version == 3 else list
    with Client(redis, version) as subscriber, Client(redis) as publisher:
        assert subscriber.ask("SUBSCRIBE", "news") == kind([b"subscribe", b"news", 1])
        for number in range(100):
            assert publisher.ask("PUBLISH", "news", number) == 1
        messages = [subscriber.read() for _ in range(100)]
        assert messages == [[b"message", b"news", b"%d" % number] for number in range(100)]
        assert {type(message) for message in messages} == {kind}


def test_pushes_between_replies(redis: Path) -> None:
    with Client(redis) as client, Client(redis) as other:
        client.send("CLIENT", "TRACKING", "ON")
        client.send("GET", "k")
        assert [client.read(), client.read()] == ["OK", None]
        other.ask("SET", "k", 1)
        client.send("PING")
        assert sorted([client.read(), client.read()], key=str) == ["PONG", Push([b"invalidate", [b"k"]])]


def test_a_stream_speaks_it_by_name(redis: Path) -> None:
    async def talk() -> list[Any]:
        async with await connect(f"unix:{redis}", framer="resp", max_frame_size=1 << 30) as stream:
            for words in (["HELLO", 3], ["SET", "k", b"x" * 5_000_000], ["GET", "k"], ["SUBSCRIBE", "news"], ["PING"]):
                await stream.send(command(*words))
            replies = [type(await stream.read()), await stream.read()]
            async with stream.open_frame() as body:
                replies.append(sum([len(part) async for part in body]))
            return [*replies, await stream.read(), await stream.read()]

    assert asyncio.run(talk()) == [dict, "OK", 5_000_000, Push([b"subscribe", b"news", 1]), "PONG"]


def test_a_blocking_stream_speaks_it_by_name(redis: Path) -> None:
    big = b"x" * (4 << 20)
    url, options = f"unix:{redis}", {"framer": "resp", "max_frame_size": 8 << 20}
    with blocking.connect(url, **options) as one, blocking.connect(url, **options) as two:
        for number in range(1000):
            one.send(command("ECHO", number))
        assert [one.receive(timeout=TIMEOUT) for _ in range(1000)] == [b"%d" % number for number in range(1000)]
        one.send(command("SET", "big", big))
        assert one.receive(timeout=TIMEOUT) == "OK"
        one.send(command("GET", "big"))
        assert one.receive(timeout=TIMEOUT) == big
        one.send(command("SUBSCRIBE", "news"))
        assert one.receive(timeout=TIMEOUT) == [b"subscribe", b"news", 1]
        with pytest.raises(StreamTimeout):
            one.receive(timeout=0.05)
        two.send(command("PUBLISH", "news", "late"))
        assert two.receive(timeout=TIMEOUT) == 1
        assert next(one.frames()) == [b"message", b"news", b"late"]
