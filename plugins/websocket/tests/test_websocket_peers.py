"""WebSocket spoken with the websockets package, in both roles."""

from __future__ import annotations

import os
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from framestream import END, NEED_DATA, Delimiter, FrameDecoder, FramingError, iter_frames
from framestream_websocket import Close, Frame, Messages, Opcode, Pong, WebSocket, accept_key, close_code

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from websockets.sync.client import connect as connect_websockets
    from websockets.sync.server import ServerConnection, serve
except ImportError:
    pytest.skip("websockets is not installed, see plugins/install_peers.sh", allow_module_level=True)

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

TIMEOUT = 20
HEAD = Delimiter(b"\r\n\r\n")
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Connection:
    """One end of a connection, read in pieces of `chunk` bytes at most."""

    def __init__(self, peer: socket.socket, *, client: bool, chunk: int = 65536) -> None:
        self.reader, self.writer = WebSocket(masked=not client), WebSocket(masked=client)
        self.decoder = FrameDecoder(max_frame_size=8 << 20)
        self.messages = Messages(max_size=8 << 20)
        self.chunk = chunk
        self.socket = peer
        self.socket.settimeout(TIMEOUT)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def frame(self, condition: Any) -> Any:
        while (frame := self.decoder.next_frame(condition)) is NEED_DATA:
            if chunk := self.socket.recv(self.chunk):
                self.decoder.receive_data(chunk)
            else:
                self.decoder.receive_eof()
        assert frame is not END
        return frame

    def event(self) -> Any:
        while (event := self.messages.add(self.frame(self.reader))) is None:
            pass
        return event

    def send(self, *frames: Frame) -> None:
        self.socket.sendall(b"".join(piece for frame in frames for piece in self.writer.encode(frame)))


def fragments(opcode: Opcode, *payloads: bytes) -> list[Frame]:
    last = len(payloads) - 1
    return [
        Frame(Opcode.CONTINUATION if index else opcode, payload, fin=index == last)
        for index, payload in enumerate(payloads)
    ]


@contextmanager
def echo_server() -> Iterator[int]:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, compression=None, max_size=8 << 20) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


def connect(port: int, chunk: int = 65536) -> Connection:
    one = Connection(socket.create_connection(("127.0.0.1", port)), client=True, chunk=chunk)
    one.socket.sendall(
        b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = one.frame(HEAD)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: " + accept_key(KEY) in head.splitlines()
    return one


@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_a_server_of_websockets_sends_messages_back(chunk: int) -> None:
    with echo_server() as port, connect(port, chunk) as one:
        for size in (0, 1, 125, 126, 5000, 65535, 65536, *([4 << 20] if chunk > 7 else [])):
            message = random.Random(size).randbytes(size)
            with ThreadPoolExecutor(1) as pool:
                sent = pool.submit(one.send, Frame(Opcode.BINARY, message))
                assert one.event() == message
                sent.result(TIMEOUT)
        one.send(*fragments(Opcode.TEXT, b"gr", b"\xc3", b"\xbc\xc3\x9f", b"e"))
        assert one.event() == "gr\u00fc\u00dfe"
        first, *rest = fragments(Opcode.BINARY, b"a", b"b", b"c")
        one.send(first, Frame(Opcode.PING, b"still there?"), *rest)
        assert [one.event(), one.event()] == [Pong(b"still there?"), b"abc"]
        one.send(Close(1001, "going").frame())
        assert one.event() == Close(1001, "going")


@pytest.mark.parametrize(("wire", "code"), [
    (b"\x83\x80abcd", 1002),
    (b"\xc1\x80abcd", 1002),
    (b"\x81\x05Hello", 1002),
    (b"\x09\x80abcd", 1002),
    (b"\x88\x81abcda", 1002),
    (b"\x80\x80abcd", 1002),
    (b"\x81\x81\0\0\0\0\xff", 1007),
])  # fmt: skip
def test_websockets_closes_with_the_same_code(wire: bytes, code: int) -> None:
    messages = Messages()
    with pytest.raises(FramingError) as caught:
        [messages.add(frame) for frame in iter_frames(wire, WebSocket())]
    assert close_code(caught.value) == code
    with echo_server() as port, connect(port) as one:
        one.socket.sendall(wire)
        assert one.event().code == code


def serve_client(server: socket.socket, chunk: int) -> list[Any]:
    """Send one client's messages back, in fragments with a Ping inside; return what it said."""
    peer, _ = server.accept()
    events = []
    with Connection(peer, client=False, chunk=chunk) as one:
        head = one.frame(HEAD)
        key = next(line.split(b": ")[1] for line in head.splitlines() if line.startswith(b"Sec-WebSocket-Key"))
        peer.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
        )
        while True:
            event = one.event()
            events.append(event)
            if isinstance(event, Close):
                one.send(event.frame())
                return events
            if isinstance(event, (str, bytes)):
                kind = Opcode.TEXT if isinstance(event, str) else Opcode.BINARY
                data = event.encode() if isinstance(event, str) else event
                middle = len(data) // 2
                first, last = fragments(kind, data[:middle], data[middle:])
                one.send(first, Frame(Opcode.PING, b"?"), last)


@pytest.mark.parametrize("chunk", [1, 65536])
def test_a_client_of_websockets_is_served(chunk: int) -> None:
    sent: list[str | bytes] = ["", "gr\u00fc\u00dfe", b"\0\xff", "x" * 70_000, b"y" * 100_000]
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        events = pool.submit(serve_client, server, chunk)
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
        with connect_websockets(url, compression=None, max_size=1 << 20) as client:
            for message in sent:
                client.send(message)
                assert client.recv(TIMEOUT) == message
            client.send(["in", " frag", "ments"])
            assert client.recv(TIMEOUT) == "in fragments"
        seen = events.result(TIMEOUT)
    assert [event for event in seen if isinstance(event, (str, bytes))] == [*sent, "in fragments"]
    assert seen.count(Pong(b"?")) == len(sent) + 1
    assert seen[-1] == Close(1000)
