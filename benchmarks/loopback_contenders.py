"""The receivers that `loopback` compares, each written as its library's users would for speed."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from framestream import Exactly, IOStream, LengthPrefix, Line, StreamClosed

try:
    from tornado.iostream import IOStream as TornadoStream
    from tornado.iostream import StreamClosedError
except ImportError:  # then it does not take part
    pass

# An asynchronous function of a connection that counts its frames; for Twisted, one that makes a protocol.
Receiver = Callable[[Any], Any]

RECEIVERS: dict[str, dict[str, Receiver]] = {}


def receiver(workload: str, contender: str) -> Callable[[Receiver], Receiver]:
    def note(function: Receiver) -> Receiver:
        RECEIVERS.setdefault(workload, {})[contender] = function
        return function

    return note


def contenders(workload: str) -> list[str]:
    """Return who takes part, leaving out those whose library is missing."""
    names = [name for name in RECEIVERS[workload] if name not in LIBRARIES or find_spec(LIBRARIES[name])]
    if find_spec("uvloop") is not None:
        names += [f"{name} (uvloop)" for name in names if name in UVLOOP]
    return names


LIBRARIES = {"tornado": "tornado", "twisted": "twisted", "trio": "trio", "easynetwork": "easynetwork"}
UVLOOP = ("framestream", "framestream frames", "framestream on_frame", "asyncio streams", "protocol")


def serve(workload: str, contender: str, connections: int) -> None:
    """Accept, receive everything, and print the CPU time it took."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(listener.getsockname()[1], flush=True)
        socks = [listener.accept()[0] for _ in range(connections)]
    for sock in socks:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receive = RECEIVERS[workload][contender.removesuffix(" (uvloop)")]
    started = time.process_time_ns()
    counts = run(contender)(receive, socks)
    print(json.dumps({"cpu": time.process_time_ns() - started, "frames": sum(counts)}), flush=True)


def run(contender: str) -> Callable[[Receiver, list[socket.socket]], list[int]]:
    """Return what runs a contender: the loop it is made for."""
    if contender == "twisted":
        return run_twisted
    if contender == "trio":
        return run_trio
    return run_uvloop if contender.endswith(" (uvloop)") else run_asyncio


async def all_of(receive: Receiver, socks: list[socket.socket]) -> list[int]:
    return await asyncio.gather(*map(receive, socks))


def run_asyncio(receive: Receiver, socks: list[socket.socket]) -> list[int]:
    return asyncio.run(all_of(receive, socks))


def run_uvloop(receive: Receiver, socks: list[socket.socket]) -> list[int]:
    import uvloop

    return uvloop.run(all_of(receive, socks))


def run_trio(receive: Receiver, socks: list[socket.socket]) -> list[int]:
    import trio

    counts = []

    async def one(sock: socket.socket) -> None:
        counts.append(await receive(trio.SocketStream(trio.socket.from_stdlib_socket(sock))))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for sock in socks:
                nursery.start_soon(one, sock)

    trio.run(main)
    return counts


def run_twisted(make_protocol: Receiver, socks: list[socket.socket]) -> list[int]:
    from twisted.internet import protocol, reactor

    open_ones = []

    class Factory(protocol.Factory):
        def buildProtocol(self, address):
            built = make_protocol(self)
            open_ones.append(built)
            return built

        def lost(self) -> None:
            self.left -= 1
            if not self.left:
                reactor.stop()

    factory = Factory()
    factory.left = len(socks)
    for sock in socks:
        reactor.adoptStreamConnection(sock.fileno(), socket.AF_INET, factory)
        sock.close()
    reactor.run()
    return [one.count for one in open_ones]


# framestream


def stream_of(sock: socket.socket) -> IOStream:
    return IOStream(sock, max_frame_size=4 << 20)


@receiver("lines", "framestream")
async def lines_in_batches(sock: socket.socket) -> int:
    count = 0
    async with stream_of(sock) as stream:
        async for batch in stream.batches(Line(None)):
            for _line in batch:
                count += 1
    return count


@receiver("lines", "framestream frames")
async def lines_one_by_one(sock: socket.socket) -> int:
    count = 0
    async with stream_of(sock) as stream:
        async for _line in stream.frames(Line(None)):
            count += 1
    return count


@receiver("lines", "framestream on_frame")
async def lines_by_callback(sock: socket.socket) -> int:
    count = 0
    closed = asyncio.Event()

    def on_line(_line: bytes) -> None:
        nonlocal count
        count += 1

    async with stream_of(sock) as stream:
        stream.set_close_callback(closed.set)
        stream.on_frame(Line(None), on_line)
        await closed.wait()
    return count


async def prefixed_frames(sock: socket.socket) -> int:
    count = 0
    async with stream_of(sock) as stream:
        async for _frame in stream.frames(LengthPrefix(4)):
            count += 1
    return count


async def prefixed_batches(sock: socket.socket) -> int:
    count = 0
    async with stream_of(sock) as stream:
        async for batch in stream.batches(LengthPrefix(4)):
            for _frame in batch:
                count += 1
    return count


async def prefixed_into(sock: socket.socket) -> int:
    """Into a buffer that is kept from frame to frame, as `PrefixedProtocol` does."""
    count, header, place = 0, Exactly(4), bytearray()
    async with stream_of(sock) as stream:
        try:
            while True:
                size = int.from_bytes(await stream.read(header), "big")
                if len(place) != size:
                    place = bytearray(size)
                await stream.read_into(place)
                count += 1
        except StreamClosed:
            return count


@receiver("pairs", "framestream")
async def pairs(sock: socket.socket) -> int:
    line, body = Line(None), Exactly(16)
    count = 0
    async with stream_of(sock) as stream:
        try:
            while True:
                await stream.read(line)
                await stream.read(body)
                count += 1
        except StreamClosed:
            return count


@receiver("echo", "framestream")
async def echo(sock: socket.socket) -> int:
    count = 0
    async with stream_of(sock) as stream:
        async for line in stream.frames(Line(None, keep=True)):
            await stream.write(line)
            count += 1
    return count


@receiver("echo", "framestream on_frame")
async def echo_by_callback(sock: socket.socket) -> int:
    count = 0
    closed = asyncio.Event()
    stream = stream_of(sock)

    def on_line(line: bytes) -> None:
        nonlocal count
        count += 1
        stream.write(line)

    stream.set_close_callback(closed.set)
    stream.on_frame(Line(None, keep=True), on_line)
    await closed.wait()
    return count


# Tornado


@receiver("lines", "tornado")
async def tornado_lines(sock: socket.socket) -> int:
    stream, count = TornadoStream(sock), 0
    try:
        while True:
            await stream.read_until(b"\n")
            count += 1
    except StreamClosedError:
        return count


async def tornado_prefixed(sock: socket.socket) -> int:
    stream, count = TornadoStream(sock), 0
    try:
        while True:
            (size,) = struct.unpack(">I", await stream.read_bytes(4))
            await stream.read_bytes(size)
            count += 1
    except StreamClosedError:
        return count


@receiver("pairs", "tornado")
async def tornado_pairs(sock: socket.socket) -> int:
    stream, count = TornadoStream(sock), 0
    try:
        while True:
            await stream.read_until(b"\n")
            await stream.read_bytes(16)
            count += 1
    except StreamClosedError:
        return count


@receiver("echo", "tornado")
async def tornado_echo(sock: socket.socket) -> int:
    stream, count = TornadoStream(sock), 0
    try:
        while True:
            await stream.write(await stream.read_until(b"\n"))
            count += 1
    except StreamClosedError:
        return count


# asyncio streams


@receiver("lines", "asyncio streams")
async def asyncio_lines(sock: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=sock)
    count = 0
    while await reader.readline():
        count += 1
    writer.close()
    return count


async def asyncio_prefixed(sock: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=sock)
    count = 0
    try:
        while True:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            await reader.readexactly(size)
            count += 1
    except asyncio.IncompleteReadError:
        writer.close()
        return count


@receiver("pairs", "asyncio streams")
async def asyncio_pairs(sock: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=sock)
    count = 0
    while await reader.readline():
        await reader.readexactly(16)
        count += 1
    writer.close()
    return count


@receiver("echo", "asyncio streams")
async def asyncio_echo(sock: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=sock)
    count = 0
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
        count += 1
    writer.close()
    return count


# Protocols written by hand


class LinesProtocol(asyncio.Protocol):
    def __init__(self, done: asyncio.Future[int]) -> None:
        self.done = done
        self.rest = b""
        self.count = 0

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for _line in lines:
            self.count += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(self.count)


class EchoProtocol(LinesProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(line + b"\n")  # type: ignore[attr-defined]
            self.count += 1


class PrefixedProtocol(asyncio.BufferedProtocol):
    """The header into a small buffer, then the body into one of its size, kept from frame to frame."""

    def __init__(self, done: asyncio.Future[int]) -> None:
        self.done = done
        self.count = 0
        self.header = memoryview(bytearray(4))
        self.body = memoryview(b"")
        self.view = self.header
        self.filled = 0
        self.in_body = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self.filled :]

    def buffer_updated(self, size: int) -> None:
        self.filled += size
        if self.filled < len(self.view):
            return
        self.filled = 0
        if self.in_body:
            self.count += 1
            self.view = self.header
        else:
            (wanted,) = struct.unpack(">I", self.header)
            if len(self.body) != wanted:
                self.body = memoryview(bytearray(wanted))
            self.view = self.body
        self.in_body = not self.in_body

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(self.count)


def by_protocol(kind: Callable[[asyncio.Future[int]], asyncio.BaseProtocol]) -> Receiver:
    async def receive(sock: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        await loop.create_connection(lambda: kind(done), sock=sock)
        return await done

    return receive


# Twisted, trio, EasyNetwork


def twisted_lines(factory):
    from twisted.protocols.basic import LineOnlyReceiver

    class Lines(LineOnlyReceiver):
        delimiter = b"\n"
        count = 0

        def lineReceived(self, line):
            self.count += 1

        def connectionLost(self, reason):
            factory.lost()

    return Lines()


def twisted_echo(factory):
    from twisted.protocols.basic import LineOnlyReceiver

    class Lines(LineOnlyReceiver):
        delimiter = b"\n"
        count = 0

        def lineReceived(self, line):
            self.sendLine(line)
            self.count += 1

        def connectionLost(self, reason):
            factory.lost()

    return Lines()


def twisted_prefixed(factory):
    from twisted.protocols.basic import Int32StringReceiver

    class Frames(Int32StringReceiver):
        MAX_LENGTH = 4 << 20
        count = 0

        def stringReceived(self, frame):
            self.count += 1

        def connectionLost(self, reason):
            factory.lost()

    return Frames()


async def trio_lines(stream):
    buffer, count = bytearray(), 0
    while chunk := await stream.receive_some():
        buffer += chunk
        start = 0
        while (end := buffer.find(b"\n", start)) >= 0:
            bytes(buffer[start:end])
            start = end + 1
            count += 1
        del buffer[:start]
    return count


async def trio_echo(stream):
    buffer, count = bytearray(), 0
    while chunk := await stream.receive_some():
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            await stream.send_all(bytes(buffer[: end + 1]))
            del buffer[: end + 1]
            count += 1
    return count


async def trio_prefixed(stream):
    buffer, count = bytearray(), 0
    while chunk := await stream.receive_some():
        buffer += chunk
        start = 0
        while len(buffer) - start >= 4:
            (size,) = struct.unpack_from(">I", buffer, start)
            if len(buffer) - start - 4 < size:
                break
            bytes(buffer[start + 4 : start + 4 + size])
            start += 4 + size
            count += 1
        del buffer[:start]
    return count


async def easynetwork_lines(sock: socket.socket) -> int:
    from easynetwork.clients import AsyncTCPNetworkClient
    from easynetwork.exceptions import ClientClosedError
    from easynetwork.protocol import StreamProtocol
    from easynetwork.serializers import StringLineSerializer

    count = 0
    protocol = StreamProtocol(StringLineSerializer())
    async with AsyncTCPNetworkClient(sock, protocol) as client:
        try:
            while True:
                await client.recv_packet()
                count += 1
        except (ConnectionError, ClientClosedError):
            return count


async def easynetwork_echo(sock: socket.socket) -> int:
    from easynetwork.clients import AsyncTCPNetworkClient
    from easynetwork.exceptions import ClientClosedError
    from easynetwork.protocol import StreamProtocol
    from easynetwork.serializers import StringLineSerializer

    count = 0
    protocol = StreamProtocol(StringLineSerializer())
    async with AsyncTCPNetworkClient(sock, protocol) as client:
        try:
            while True:
                await client.send_packet(await client.recv_packet())
                count += 1
        except (ConnectionError, ClientClosedError):
            return count


receiver("lines", "twisted")(twisted_lines)
receiver("echo", "twisted")(twisted_echo)
receiver("lines", "trio")(trio_lines)
receiver("echo", "trio")(trio_echo)
receiver("lines", "easynetwork")(easynetwork_lines)
receiver("echo", "easynetwork")(easynetwork_echo)
receiver("lines", "protocol")(by_protocol(LinesProtocol))
receiver("echo", "protocol")(by_protocol(EchoProtocol))
for size in ("64", "64k", "1m"):
    receiver(f"prefix-{size}", "framestream")(prefixed_frames)
    if size != "64":
        receiver(f"prefix-{size}", "framestream read_into")(prefixed_into)
    receiver(f"prefix-{size}", "tornado")(tornado_prefixed)
    receiver(f"prefix-{size}", "asyncio streams")(asyncio_prefixed)
    receiver(f"prefix-{size}", "twisted")(twisted_prefixed)
    receiver(f"prefix-{size}", "trio")(trio_prefixed)
    receiver(f"prefix-{size}", "protocol")(by_protocol(PrefixedProtocol))
receiver("prefix-64", "framestream batches")(prefixed_batches)
for connections in ("1", "64"):
    RECEIVERS[f"echo-{connections}"] = RECEIVERS["echo"]
