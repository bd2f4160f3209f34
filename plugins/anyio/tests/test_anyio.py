"""Frames on anyio's streams: what every front end promises, and what is anyio's own."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Any

import pytest
import trustme
from anyio.abc import SocketStream, UNIXSocketStream
from anyio.from_thread import start_blocking_portal
from anyio.streams.stapled import StapledByteStream
from anyio.streams.tls import TLSAttribute, TLSListener, TLSStream

import anyio
from framestream import IncompleteFrame, LengthPrefix, Line, StreamBusy, StreamClosed
from framestream.testing.front_ends import CLAIMS
from framestream_anyio import FramedBroken, FramedStream, framed

BACKENDS = ["asyncio", "trio"]


async def byte_stream(sock: socket.socket) -> SocketStream:
    kind = UNIXSocketStream if sock.family == socket.AF_UNIX else SocketStream
    return await kind.from_socket(sock)


class FromAThread:
    """A framed stream on a loop in a thread of its own, seen as a `FrontEnd`."""

    def __init__(self, portal: Any, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self.portal = portal

        async def open_stream() -> FramedStream[Any]:
            return framed(await byte_stream(sock), *arguments, **options)

        self.stream = portal.call(open_stream)

    def receive(self, condition: Any = None, *, timeout: float | None = None) -> Any:
        async def receive() -> Any:
            with anyio.fail_after(timeout):
                return await self.stream.receive(condition)

        return self.portal.call(receive)

    def frames(self) -> list[Any]:
        async def frames() -> list[Any]:
            return [frame async for frame in self.stream]

        return self.portal.call(frames)

    def send(self, frame: Any) -> None:
        self.portal.call(self.stream.send, frame)

    def send_eof(self) -> None:
        self.portal.call(self.stream.send_eof)

    def close(self) -> None:
        self.portal.call(self.stream.aclose)

    @property
    def leftover(self) -> bytes:
        return self.stream.leftover


@pytest.fixture(scope="module", params=BACKENDS)
def opener(request: pytest.FixtureRequest) -> Any:
    with start_blocking_portal(request.param) as portal:
        yield lambda *arguments, **options: FromAThread(portal, *arguments, **options)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_it_keeps_what_every_front_end_promises(claim: Any, opener: Any) -> None:
    claim(opener)


# anyio's own


async def joined(*arguments: Any) -> tuple[FramedStream[Any], SocketStream]:
    ours, theirs = socket.socketpair()
    return framed(await byte_stream(ours), *arguments), await byte_stream(theirs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scope_that_cancels_a_receive_loses_nothing(backend: str) -> None:
    async def main() -> None:
        stream, peer = await joined(LengthPrefix(2))
        async with stream, peer:
            for piece in (b"\0", b"\5he", b"ll"):
                await peer.send(piece)
                with anyio.move_on_after(0.01) as scope:
                    await stream.receive()
                assert scope.cancelled_caught
            await peer.send(b"o\0\1!")
            assert b"hello" == await stream.receive()
            with anyio.CancelScope() as scope:
                scope.cancel()
                assert b"!" == await stream.receive()  # it is there: nothing to wait for

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_are_those_of_anyio_and_of_framestream(backend: str) -> None:
    async def main() -> None:
        stream, peer = await joined(Line())
        async with anyio.create_task_group() as group:
            group.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            for kind in (anyio.BusyResourceError, StreamBusy):
                with pytest.raises(kind):
                    await stream.receive()
            with pytest.raises(StreamBusy):
                stream.framed(LengthPrefix(2))
            await peer.send(b"one\n")
        await peer.aclose()
        for kind in (anyio.EndOfStream, StreamClosed):
            with pytest.raises(kind):
                await stream.receive()
        for kind in (anyio.BrokenResourceError, StreamClosed):
            with pytest.raises(kind):
                await stream.send("x")
        await stream.aclose()
        for kind in (anyio.ClosedResourceError, StreamClosed):
            with pytest.raises(kind):
                await stream.send("x")

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_sent_after_a_frame_that_was_truncated(backend: str) -> None:
    async def main() -> None:
        stream, peer = await joined(LengthPrefix(4))
        async with stream, peer:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await stream.send(b"cancelled before it began")
            await stream.send(b"ok")
            assert b"\0\0\0\2ok" == await peer.receive(100)
            with anyio.move_on_after(0.05) as scope:
                while True:
                    await stream.send(b"x" * 1_000_000)
            assert scope.cancelled_caught
            with pytest.raises(FramedBroken, match="truncated"):
                await stream.send(b"more")
            await peer.send(b"\0\0\0\6answer")
            assert b"answer" == await stream.receive()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_pass_under_tls(backend: str) -> None:
    authority = trustme.CA()
    server_context, client_context = (
        ssl.create_default_context(purpose) for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH)
    )
    authority.issue_cert("localhost").configure_cert(server_context)
    authority.configure_trust(client_context)

    async def echo(stream: Any) -> None:
        async with framed(stream, "line") as lines:
            async for line in lines:
                await lines.send(line.upper())

    async def cut_off(stream: Any) -> None:
        await stream.send(b"half")
        await stream.transport_stream.aclose()

    async def connect(port: int) -> FramedStream[str]:
        tcp = await anyio.connect_tcp("127.0.0.1", port)
        return framed(await TLSStream.wrap(tcp, hostname="localhost", ssl_context=client_context), Line())

    async def main() -> None:
        for handler in (echo, cut_off):
            tcp = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
            listener = TLSListener(tcp, server_context)
            async with listener, anyio.create_task_group() as group:
                group.start_soon(listener.serve, handler)
                async with await connect(tcp.extra(anyio.abc.SocketAttribute.local_port)) as stream:
                    assert "TLSv1.3" == stream.extra(TLSAttribute.tls_version)
                    if handler is echo:
                        await stream.send("hello")
                        assert "HELLO" == await stream.receive()
                    else:
                        with pytest.raises(FramedBroken, match="inside a frame"):
                            await stream.receive()
                        assert b"half" == stream.leftover
                group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_pipes_of_a_program_are_a_stream(backend: str) -> None:
    program = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"

    async def main() -> None:
        async with await anyio.open_process([sys.executable, "-c", program]) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            stream = framed(StapledByteStream(process.stdin, process.stdout), Line())
            await stream.send("hello")
            assert "olleh" == await stream.receive()
            await stream.send_eof()
            assert [] == [line async for line in stream]

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frame_above_the_limit_closes_the_stream_if_that_is_its_rule(backend: str) -> None:
    async def main() -> None:
        stream, peer = await joined(LengthPrefix(2))
        await peer.send(b"\0\5hello")
        with pytest.raises(Exception, match="limit 3"):
            await stream.receive(max_size=3, on_oversize="close")
        with pytest.raises(anyio.EndOfStream):
            await peer.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")
        await peer.aclose()
        stream, peer = await joined(Line())
        await peer.send(b"one\n\0\5ha")
        await peer.aclose()
        assert "one" == await stream.receive()
        assert stream is stream.framed("length-prefix:size=2")
        with pytest.raises(IncompleteFrame):
            await stream.receive()
        await stream.aclose()

    anyio.run(main, backend=backend)
