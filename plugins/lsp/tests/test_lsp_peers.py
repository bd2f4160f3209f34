"""The base protocol spoken with clangd and with pylsp, as their client."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from framestream import END, NEED_DATA, FrameDecoder, connect
from framestream_lsp import Lsp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 60


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed, see plugins/install_peers.sh"
    )


class Client:
    """A language server on two pipes, read in pieces of `chunk` bytes at most."""

    def __init__(self, server: subprocess.Popen[bytes], chunk: int) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self.decoder = FrameDecoder(max_frame_size=16 << 20)
        self.input = server.stdin
        self.output = server.stdout.fileno()
        self.chunk = chunk
        self.last_id = 0
        self.notifications: list[dict[str, Any]] = []

    def notify(self, method: str, params: object) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: object) -> dict[str, Any]:
        """Return the answer; what the server sends before it is kept."""
        self.last_id += 1
        self._send({"id": self.last_id, "method": method, "params": params})
        while (message := self.read()).get("id") != self.last_id:
            self.notifications.append(message)
        return message

    def notified(self, method: str) -> dict[str, Any]:
        """Return what the next notification of this kind, or one that is kept, says."""
        while True:
            message = self.notifications.pop(0) if self.notifications else self.read()
            if message.get("method") == method:
                params: dict[str, Any] = message["params"]
                return params

    def read(self) -> dict[str, Any]:
        while (frame := self.decoder.next_frame(Lsp())) is NEED_DATA:
            chunk = os.read(self.output, self.chunk)
            assert chunk, "the server ended"
            self.decoder.receive_data(chunk)
        assert frame is not END
        assert frame["jsonrpc"] == "2.0"
        message: dict[str, Any] = frame
        return message

    def _send(self, message: dict[str, object]) -> None:
        self.input.write(b"".join(Lsp().encode({"jsonrpc": "2.0", **message})))
        self.input.flush()


@contextmanager
def running(home: Path, chunk: int, *command: str) -> Iterator[Client]:
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(home)}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=home
        )
    try:
        with server:
            client = Client(server, chunk)
            capabilities = client.request(
                "initialize", {"processId": None, "rootUri": home.as_uri(), "capabilities": {}}
            )["result"]["capabilities"]
            assert capabilities["hoverProvider"]
            client.notify("initialized", {})
            yield client
            assert client.request("shutdown", None)["result"] is None
            client.notify("exit", None)
            assert server.wait(TIMEOUT) == 0
    finally:
        server.kill()


def opened(client: Client, path: Path, language: str, text: str) -> list[dict[str, Any]]:
    """Open a document and return its diagnostics."""
    document = {"uri": path.as_uri(), "languageId": language, "version": 1, "text": text}
    client.notify("textDocument/didOpen", {"textDocument": document})
    while (published := client.notified("textDocument/publishDiagnostics"))["uri"] != path.as_uri():
        pass
    diagnostics: list[dict[str, Any]] = published["diagnostics"]
    return diagnostics


@needs("clangd")
@pytest.mark.parametrize("chunk", [1, 65536])
def test_clangd_finds_a_mistake(tmp_path: Path, chunk: int) -> None:
    with running(tmp_path, chunk, "clangd", "--log=error", "--background-index=false") as client:
        path = tmp_path / "größe.c"
        mistakes = opened(client, path, "c", "int größe(void) { return gibtsnicht; }\n")
        assert [("gibtsnicht" in m["message"], m["range"]["start"]["line"]) for m in mistakes] == [(True, 0)]
        fine = opened(client, tmp_path / "fine.c", "c", "int fine(void) { return 1; }\n")
        assert fine == []
        where = {"textDocument": {"uri": (tmp_path / "fine.c").as_uri()}, "position": {"line": 0, "character": 5}}
        assert "fine" in str(client.request("textDocument/hover", where)["result"])
        assert client.request("no/such/method", {})["error"]["code"] == -32601


@needs("pylsp")
@pytest.mark.parametrize("chunk", [7, 65536])
def test_pylsp_finds_a_mistake(tmp_path: Path, chunk: int) -> None:
    with running(tmp_path, chunk, "pylsp") as client:
        mistakes = opened(client, tmp_path / "größe.py", "python", "größe = gibtsnicht\n")
        assert any("gibtsnicht" in mistake["message"] for mistake in mistakes)
        large = "".join(f"name_{n} = {n}\n" for n in range(5000))
        opened(client, tmp_path / "large.py", "python", large)
        where = {"textDocument": {"uri": (tmp_path / "large.py").as_uri()}}
        assert len(client.request("textDocument/documentSymbol", where)["result"]) == 5000


@needs("clangd")
def test_a_stream_speaks_it_by_name() -> None:
    def message(number: int, method: str, params: object) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}

    async def talk() -> list[Any]:
        async with await connect("exec:clangd --log=error --background-index=false", framer="lsp") as stream:
            await stream.send(message(1, "initialize", {"processId": None, "rootUri": None, "capabilities": {}}))
            await stream.send(message(2, "shutdown", None))
            answers = [await stream.read(), await stream.read()]
            await stream.send({"jsonrpc": "2.0", "method": "exit"})
            return [answer["id"] for answer in answers] + [frame async for frame in stream.frames(Lsp())]

    assert asyncio.run(talk()) == [1, 2]
